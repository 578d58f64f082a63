"""Interval timers: alarm, setitimer, getitimer (kernel/time/itimer.c); RLIMIT_CPU; the CPU-time ticker they share.

ITIMER_REAL is a kernel timer. It is armed again when its SIGALRM is taken off the queue, as Linux does, so a blocked
SIGALRM is sent once. ITIMER_VIRTUAL and ITIMER_PROF look at the process's CPU time; it cannot pass faster than the
clock, so a kernel timer at the earliest possible moment looks again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel.clock import NSEC_PER_SEC, group_times_ns
from kernel.task.rlimit import RLIM_INFINITY, RLIMIT_CPU
from kernel.task.siginfo import SigInfo
from kernel.task.signals import SI_KERNEL, SIGALRM, SIGKILL, SIGPROF, SIGVTALRM, SIGXCPU

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.kernel import Kernel
    from kernel.task.task import ThreadGroup

ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF = 0, 1, 2
_CPU_LIMIT = -1
"""Where ThreadGroup.itimers keeps the timer of RLIMIT_CPU."""
CPU_POLL_MIN_NS = 1_000_000
"""The shortest time between two looks at a CPU clock."""
CPU_POLL_IDLE_NS = 10_000_000
"""The same while the clock does not move."""


class CpuAlarm:
    """Calls ``expired`` when ``read_ns()``, a clock that runs no faster than real time, reaches ``until_ns``."""

    def __init__(self, kernel: Kernel, read_ns: Callable[[], int], until_ns: int, expired: Callable[[], None]) -> None:
        self.kernel, self.read_ns, self.until_ns, self.expired = kernel, read_ns, until_ns, expired
        self._timer: Any = None
        self._last_ns = -1
        self._look()

    def cancel(self) -> None:
        """Forget it."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _look(self) -> None:
        now = self.read_ns()
        if now >= self.until_ns and self._timer is not None:
            self._timer = None
            self.expired()
            return
        floor = CPU_POLL_IDLE_NS if now == self._last_ns else CPU_POLL_MIN_NS
        self._last_ns = now
        delay_ns = max(self.until_ns - now, floor)
        self._timer = self.kernel.timers.add(self.kernel.clock.monotonic_ns() + delay_ns, self._look)


class RealTimer:
    """ITIMER_REAL of one process."""

    def __init__(self, kernel: Kernel, group: ThreadGroup) -> None:
        self.kernel, self.group = kernel, group
        self.interval_ns = 0
        self.deadline_ns = 0
        self.timer: Any = None

    def remaining_ns(self) -> int:
        """Time to the next expiry: 0 when disarmed, at least 1 µs when it is due."""
        if self.timer is None:
            return 0
        return max(self.deadline_ns - self.kernel.clock.monotonic_ns(), 1000)

    def set(self, value_ns: int, interval_ns: int) -> None:
        """Arm it, or with 0 disarm it."""
        self.cancel()
        self.interval_ns = interval_ns
        if value_ns:
            self._arm(self.kernel.clock.monotonic_ns() + value_ns)

    def cancel(self) -> None:
        """Disarm."""
        timer, self.timer = self.timer, None
        if timer is not None:
            timer.cancel()

    def rearm(self) -> None:
        """Its SIGALRM has been taken: go on with the next period that lies ahead."""
        if self.timer is None and self.interval_ns:
            late_ns = self.kernel.clock.monotonic_ns() - self.deadline_ns
            self._arm(self.deadline_ns + (max(late_ns, 0) // self.interval_ns + 1) * self.interval_ns)

    def _arm(self, deadline_ns: int) -> None:
        self.deadline_ns = deadline_ns
        self.timer = self.kernel.timers.add(deadline_ns, self._expire)

    def _expire(self) -> None:
        from kernel.task.signal import send_signal

        self.timer = None
        send_signal(self.group, SigInfo(SIGALRM, SI_KERNEL))


class CpuTimer:
    """ITIMER_VIRTUAL or ITIMER_PROF of one process."""

    def __init__(self, kernel: Kernel, group: ThreadGroup, which: int) -> None:
        self.kernel, self.group, self.which = kernel, group, which
        self.interval_ns = 0
        self.alarm: CpuAlarm | None = None

    def _read_ns(self) -> int:
        user, system = group_times_ns(self.group)
        return user if self.which == ITIMER_VIRTUAL else user + system

    def remaining_ns(self) -> int:
        """CPU time to the next expiry; 0 when disarmed."""
        return max(self.alarm.until_ns - self._read_ns(), 1000) if self.alarm is not None else 0

    def set(self, value_ns: int, interval_ns: int) -> None:
        """Arm it, or with 0 disarm it."""
        self.cancel()
        self.interval_ns = interval_ns
        if value_ns:
            self.alarm = CpuAlarm(self.kernel, self._read_ns, self._read_ns() + value_ns, self._expire)

    def cancel(self) -> None:
        """Disarm."""
        alarm, self.alarm = self.alarm, None
        if alarm is not None:
            alarm.cancel()

    def _expire(self) -> None:
        from kernel.task.signal import send_signal

        until_ns = self.alarm.until_ns if self.alarm is not None else 0
        self.alarm = None
        if self.interval_ns:
            missed = max(self._read_ns() - until_ns, 0) // self.interval_ns
            until_ns += (missed + 1) * self.interval_ns
            self.alarm = CpuAlarm(self.kernel, self._read_ns, until_ns, self._expire)
        send_signal(self.group, SigInfo(SIGVTALRM if self.which == ITIMER_VIRTUAL else SIGPROF, SI_KERNEL))


class CpuLimit:
    """RLIMIT_CPU of one process: SIGXCPU at the soft limit and every second after it, SIGKILL at the hard one."""

    def __init__(self, kernel: Kernel, group: ThreadGroup, soft_s: int, hard_s: int) -> None:
        self.kernel, self.group, self.hard_s = kernel, group, hard_s
        self.next_s = soft_s
        self._alarm = self._arm()

    def cancel(self) -> None:
        """The limit is lifted, or the process ends."""
        self._alarm.cancel()

    def _arm(self) -> CpuAlarm:
        return CpuAlarm(self.kernel, lambda: sum(group_times_ns(self.group)), self.next_s * NSEC_PER_SEC, self._expire)

    def _expire(self) -> None:
        from kernel.task.signal import send_signal

        if self.next_s >= self.hard_s:
            send_signal(self.group, SigInfo(SIGKILL, SI_KERNEL))
            return
        self.next_s += 1
        self._alarm = self._arm()
        send_signal(self.group, SigInfo(SIGXCPU, SI_KERNEL))


def limit_cpu_time(kernel: Kernel, group: ThreadGroup) -> None:
    """Put the RLIMIT_CPU of ``group`` in force, after setrlimit or in a new process (update_rlimit_cpu)."""
    old = group.itimers.pop(_CPU_LIMIT, None)
    if old is not None:
        old.cancel()
    soft_s, hard_s = group.rlimits.get(RLIMIT_CPU, (RLIM_INFINITY, RLIM_INFINITY))
    if soft_s != RLIM_INFINITY:
        group.itimers[_CPU_LIMIT] = CpuLimit(kernel, group, max(soft_s, 1), hard_s)


def get_itimer(group: ThreadGroup, which: int) -> tuple[int, int]:
    """(interval, time left) in ns."""
    timer = group.itimers.get(which)
    return (timer.interval_ns, timer.remaining_ns()) if timer is not None else (0, 0)


def set_itimer(kernel: Kernel, group: ThreadGroup, which: int, value_ns: int, interval_ns: int) -> tuple[int, int]:
    """Arm or disarm a timer; returns the (interval, time left) that it had."""
    old = get_itimer(group, which)
    timer = group.itimers.get(which)
    if timer is None:
        if not value_ns:
            return old
        timer = RealTimer(kernel, group) if which == ITIMER_REAL else CpuTimer(kernel, group, which)
        group.itimers[which] = timer
    timer.set(value_ns, interval_ns)
    return old


def rearm_real(group: ThreadGroup) -> None:
    """A SIGALRM has been taken off the queue of the process."""
    timer = group.itimers.get(ITIMER_REAL)
    if timer is not None:
        timer.rearm()


def cancel_all(group: ThreadGroup) -> None:
    """The process ends: no timer of any kind may fire any more."""
    for timer in group.itimers.values():
        timer.cancel()
    group.itimers.clear()
    delete_posix_timers(group)


def delete_posix_timers(group: ThreadGroup) -> None:
    """execve and exit delete the timers of timer_create (exit_itimers)."""
    for timer in list(group.posix_timers.values()):
        timer.delete()
    group.posix_timers.clear()
