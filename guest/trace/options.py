"""What the command line of ``forkyard trace`` says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TextIO

from guest.trace.call import Style
from guest.trace.filters import Filters


@dataclass
class TraceOptions:
    """What the command line says; the defaults are strace's."""

    follow_forks: bool = False
    """-f"""
    to_file: bool = False
    """-o: lines carry a bare pid under -f, and there are no "attached" messages."""
    separate_outputs: Callable[[int], TextIO] | None = None
    """-ff with -o: gives the output of each task by its id."""
    filters: Filters = field(default_factory=Filters)
    style: Style = field(default_factory=Style)
    timestamps: int = 0
    """-t, -tt, -ttt: 1, 2, 3"""
    relative: bool = False
    """-r"""
    syscall_times: bool = False
    """-T"""
    syscall_numbers: bool = False
    """-n"""
    show_comm: bool = False
    """-Y: the command name with each pid."""
    column: int = 40
    """-a"""
    summary: str = ""
    """"" for none, "only" for -c, "too" for -C"""
    summary_sort: str = "time"
    """-S"""
    quiet: int = 0
    """-q (no attach messages), -qq (no exit messages either)"""
    line_buffered: bool | None = None
    """Write every line at once; by default if the output is a terminal or not a file of ours."""
