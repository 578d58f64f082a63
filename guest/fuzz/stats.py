"""What afl-fuzz tells about its work: the file ``fuzzer_stats``, and between its updates the same figures by StatsD.

afl-fuzz writes the file about once a minute; with AFL_STATSD it sends most of it every second to a UDP port, here one
of the loop-back interface that we hold ourselves.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_PREFIX = "fuzzing."
_DATAGRAM_BYTES = 1 << 16


def read_stats(folder: Path) -> dict[str, str]:
    """``fuzzer_stats`` of an instance's directory; empty before it is there."""
    try:
        text = (folder / "fuzzer_stats").read_text(errors="replace")
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, colon, value in (line.partition(":") for line in text.splitlines())
            if colon}


def count_inputs(folder: Path) -> int:
    """How many inputs afl-fuzz saved in ``queue``, ``crashes`` or ``hangs``."""
    try:
        return sum(name.startswith("id:") for name in os.listdir(folder))
    except OSError:
        return 0


class Receiver:
    """A UDP port that one afl-fuzz sends its figures to; ``figures`` are the latest."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._socket.bind(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.figures: dict[str, str] = {}

    def poll(self) -> None:
        """Take in what has arrived."""
        with contextlib.suppress(BlockingIOError):
            while True:
                text = self._socket.recv(_DATAGRAM_BYTES).decode(errors="replace")
                for line in text.splitlines():
                    name, _, rest = line.partition(":")
                    self.figures[name.removeprefix(_PREFIX)] = rest.partition("|")[0]

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()


@dataclass(frozen=True)
class Figures:
    """Of one instance, or of all together."""

    executions: int = 0
    per_second: float = 0.0
    corpus: int = 0
    pending: int = 0
    edges: int = 0
    map_size: int = 0
    crashes: int = 0
    hangs: int = 0
    cycles: int = 0
    stability: float | None = None
    """Percent; None while it is not known."""
    last_find: int = 0
    """Seconds since the epoch; 0: nothing was found."""
    extra: dict[str, str] = field(default_factory=dict, repr=False, compare=False)


def figures(folder: Path, live: dict[str, str]) -> Figures:
    """An instance's, from its directory and what it sent since."""
    stats = read_stats(folder)
    newest = {**stats, **live}

    def number(name: str) -> float:
        try:
            return float(newest.get(name, "0").rstrip("%"))
        except ValueError:
            return 0.0

    return Figures(
        executions=int(number("execs_done")), per_second=number("execs_per_sec"), corpus=int(number("corpus_count")),
        pending=int(number("pending_total")), edges=int(number("edges_found")), map_size=int(number("total_edges")),
        crashes=count_inputs(folder / "crashes"), hangs=count_inputs(folder / "hangs"),
        cycles=int(max(number("cycles_done"), number("cycle_done"))),
        stability=number("stability") if "stability" in stats else None, last_find=int(number("last_find")),
        extra=newest)


def together(parts: Iterable[Figures]) -> Figures:
    """The sum over instances. Edges are those of the instance that found most: they share what they find."""
    all_parts = list(parts)
    known = [part.stability for part in all_parts if part.stability is not None]
    return Figures(
        executions=sum(part.executions for part in all_parts), per_second=sum(part.per_second for part in all_parts),
        corpus=max((part.corpus for part in all_parts), default=0),
        pending=max((part.pending for part in all_parts), default=0),
        edges=max((part.edges for part in all_parts), default=0),
        map_size=max((part.map_size for part in all_parts), default=0),
        crashes=sum(part.crashes for part in all_parts), hangs=sum(part.hangs for part in all_parts),
        cycles=min((part.cycles for part in all_parts), default=0), stability=min(known, default=None),
        last_find=max((part.last_find for part in all_parts), default=0))


def ago(seconds: float) -> str:
    """A span of time for people, in its two largest units."""
    whole = int(max(seconds, 0))
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next((i for i, (count, _) in enumerate(parts) if count), 3)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2])


def since(moment: int) -> str:
    """How long ago a moment was; "never" for 0."""
    return f"{ago(time.time() - moment)} ago" if moment else "never"
