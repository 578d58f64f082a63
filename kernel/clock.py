"""The guest's clocks: the host's in ordinary runs, virtual time from a seed in deterministic ones.

All values are nanoseconds. The monotonic and boottime clocks count from the host's boot, so that the guest's
`/proc/uptime` and its start times agree with what the host shows. Linux: kernel/time/timekeeping.c.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernel.task.task import Task, ThreadGroup

NSEC_PER_SEC = 1_000_000_000
NSEC_PER_USEC = 1_000
USER_HZ = 100
"""Ticks per second in times(2) and /proc (sysconf(_SC_CLK_TCK))."""
NSEC_PER_TICK = NSEC_PER_SEC // USER_HZ

CLOCK_REALTIME = 0
CLOCK_MONOTONIC = 1
CLOCK_PROCESS_CPUTIME_ID = 2
CLOCK_THREAD_CPUTIME_ID = 3
CLOCK_MONOTONIC_RAW = 4
CLOCK_REALTIME_COARSE = 5
CLOCK_MONOTONIC_COARSE = 6
CLOCK_BOOTTIME = 7
CLOCK_REALTIME_ALARM = 8
CLOCK_BOOTTIME_ALARM = 9
CLOCK_SGI_CYCLE = 10
CLOCK_TAI = 11

COARSE_RESOLUTION_NS = 4_000_000
"""One jiffy at CONFIG_HZ=250."""

_VIRTUAL_EPOCH_NS = 1_700_000_000 * NSEC_PER_SEC
_VIRTUAL_UPTIME_NS = 1_000 * NSEC_PER_SEC
_VIRTUAL_READ_NS = 1_000
"""What one look at a virtual clock costs: a program that polls the time sees it pass."""


class Clock:
    """Time as the guest sees it.

    With ``options.deterministic`` time stands still but for :meth:`advance` (the scheduler's block budget),
    :meth:`advance_to` (the scheduler has nothing to run before a deadline) and one microsecond per look.
    """

    def __init__(self, options: Any = None) -> None:
        self.virtual = bool(getattr(options, "deterministic", False))
        seed = getattr(options, "seed", None) or 0
        self._now_ns = _VIRTUAL_UPTIME_NS
        self._epoch_ns = _VIRTUAL_EPOCH_NS + (seed % 1_000_000) * NSEC_PER_SEC
        if not self.virtual:
            # the methods below would only pass the call on, and these are looked at all the time
            for name, function in (
                ("peek_ns", time.monotonic_ns), ("monotonic_ns", time.monotonic_ns), ("realtime_ns", time.time_ns),
                ("timestamp_ns", time.time_ns),
            ):  # fmt: skip
                setattr(self, name, function)
        self.start_ns = self.peek_ns()
        """The monotonic time at which this kernel was booted."""

    def peek_ns(self) -> int:
        """The monotonic clock, without the cost of a look."""
        return self._now_ns if self.virtual else time.monotonic_ns()

    def monotonic_ns(self) -> int:
        """CLOCK_MONOTONIC: the clock of all the kernel's deadlines."""
        if not self.virtual:
            return time.monotonic_ns()
        self._now_ns += _VIRTUAL_READ_NS
        return self._now_ns

    def realtime_ns(self) -> int:
        """CLOCK_REALTIME: since 1970-01-01 00:00 UTC."""
        if not self.virtual:
            return time.time_ns()
        return self._epoch_ns + self.monotonic_ns() - _VIRTUAL_UPTIME_NS

    def timestamp_ns(self) -> int:
        """CLOCK_REALTIME for the times of files: no look of the guest's, and so without the cost of one."""
        return self._epoch_ns + self._now_ns - _VIRTUAL_UPTIME_NS if self.virtual else time.time_ns()

    def boottime_ns(self) -> int:
        """CLOCK_BOOTTIME: monotonic plus the time the machine was suspended."""
        if self.virtual:
            return self.monotonic_ns()
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic_ns()

    @staticmethod
    def host_ns() -> int:
        """The host's monotonic clock, whatever the guest's is: for limits on the emulator itself."""
        return time.monotonic_ns()

    def boot_realtime_s(self) -> int:
        """The wall-clock second of the boot (``btime`` of /proc/stat)."""
        if self.virtual:
            return (self._epoch_ns - _VIRTUAL_UPTIME_NS) // NSEC_PER_SEC
        return (time.time_ns() - self.boottime_ns()) // NSEC_PER_SEC

    def save(self) -> int:
        """What restore() takes to set a virtual clock back."""
        return self._now_ns

    def restore(self, saved: int) -> None:
        """Let virtual time be again what it was at save()."""
        self._now_ns = saved

    def advance(self, duration_ns: int) -> None:
        """Let virtual time pass; does nothing to real time."""
        if self.virtual and duration_ns > 0:
            self._now_ns += duration_ns

    def advance_to(self, deadline_ns: int) -> None:
        """Let virtual time jump to ``deadline_ns`` (monotonic) when it lies ahead."""
        if self.virtual and deadline_ns > self._now_ns:
            self._now_ns = deadline_ns


def task_times_ns(task: Task) -> tuple[int, int]:
    """(user, system) time of one thread, the running slice included."""
    return task.utime_ns + _running_slice_ns(task), task.stime_ns


def group_times_ns(group: ThreadGroup) -> tuple[int, int]:
    """(user, system) time of a process: its ended threads and its live ones."""
    user, system = group.utime_ns, group.stime_ns
    for task in group.threads:
        thread_user, thread_system = task_times_ns(task)
        user += thread_user
        system += thread_system
    return user, system


def _running_slice_ns(task: Task) -> int:
    """What the scheduler has not yet added to ``task.utime_ns``, if it tells."""
    pending = getattr(getattr(task.kernel, "scheduler", None), "unaccounted_ns", None)
    return pending(task) if pending is not None else 0
