"""Resource usage: struct rusage for getrusage(2), wait4(2) and waitid(2) (kernel/sys.c)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernel.clock import NSEC_PER_SEC, NSEC_PER_USEC, group_times_ns, task_times_ns

if TYPE_CHECKING:
    from kernel.task.task import Task, ThreadGroup

_RUSAGE = struct.Struct("<18q")
"""utime, stime (seconds, µs each), then 14 longs from ru_maxrss (kB) on; we count the first, minflt and majflt."""
PAGE_KB = 4


@dataclass
class Usage:
    """What a thread or process has used."""

    utime_ns: int = 0
    stime_ns: int = 0
    maxrss_pages: int = 0
    minor_faults: int = 0
    major_faults: int = 0
    voluntary_switches: int = 0
    involuntary_switches: int = 0

    def pack(self) -> bytes:
        """struct rusage, 144 bytes."""
        user, system = (
            (ns // NSEC_PER_SEC, ns % NSEC_PER_SEC // NSEC_PER_USEC) for ns in (self.utime_ns, self.stime_ns)
        )
        return _RUSAGE.pack(
            *user, *system, self.maxrss_pages * PAGE_KB, 0, 0, 0, self.minor_faults, self.major_faults,
            0, 0, 0, 0, 0, 0,
            self.voluntary_switches, self.involuntary_switches,
        )  # fmt: skip


def of_thread(task: Task) -> Usage:
    """RUSAGE_THREAD."""
    user, system = task_times_ns(task)
    usage = Usage(user, system, _maxrss(task.group))
    _add_faults(usage, task)
    return usage


def of_process(group: ThreadGroup) -> Usage:
    """RUSAGE_SELF."""
    user, system = group_times_ns(group)
    usage = Usage(user, system, _maxrss(group))
    if group.threads:
        _add_faults(usage, group.threads[0])
    return usage


def of_children(group: ThreadGroup) -> Usage:
    """RUSAGE_CHILDREN: those that were waited for."""
    return Usage(group.children_utime_ns, group.children_stime_ns, group.children_maxrss_pages)


def faults(task: Task) -> tuple[int, int]:
    """(minor, major) faults of the address space that ``task`` uses."""
    stats = task.mm.stats() if task.mm is not None else None
    return getattr(stats, "minor_faults", 0), getattr(stats, "major_faults", 0)


def _add_faults(usage: Usage, task: Task) -> None:
    usage.minor_faults, usage.major_faults = faults(task)


def _maxrss(group: ThreadGroup) -> int:
    """Pages: the peak of the address space in use, or of one that an exec replaced."""
    peak = 0
    mm = next((task.mm for task in group.threads if task.mm is not None), None)
    if mm is not None:
        peak = getattr(mm.stats(), "peak_rss", 0)
    return max(peak, group.maxrss_pages)
