"""The timers of timer_create(2) (kernel/time/posix-timers.c).

A timer that has expired queues one signal; further expiries before that is taken are counted as overruns. A periodic
timer is armed again when its signal is taken off the queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel.task.itimer import CpuAlarm
from kernel.task.siginfo import SigInfo
from kernel.task.signals import SI_TIMER, SIGEV_NONE, SIGEV_THREAD_ID

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.task.task import Task, ThreadGroup

DELAYTIMER_MAX = 2**31 - 1


class PosixTimer:
    """One timer of a process; times in ns on its own clock."""

    def __init__(self, task: Task, timer_id: int, now_ns: Callable[[], int], is_cpu_clock: bool, notify: int,
                 signo: int, value: int, target: Task | None) -> None:
        self.kernel = task.kernel
        self.group: ThreadGroup = task.group
        self.timer_id = timer_id
        self.now_ns, self.is_cpu_clock = now_ns, is_cpu_clock
        """The timer's clock; CPU time runs no faster than real time, and not steadily."""
        self.notify, self.signo, self.value = notify, signo, value
        self.target = target
        """The thread that SIGEV_THREAD_ID names."""
        self.interval_ns = 0
        self.expires_ns = 0
        """Next expiry; 0 when disarmed."""
        self.overrun = 0
        self.last_overrun = 0
        self._armed: Any = None
        self._queued: SigInfo | None = None

    def _arm(self) -> None:
        if self.is_cpu_clock:
            self._armed = CpuAlarm(self.kernel, self.now_ns, self.expires_ns, self._expire)
        else:
            deadline_ns = self.expires_ns - self.now_ns() + self.kernel.clock.monotonic_ns()
            self._armed = self.kernel.timers.add(deadline_ns, self._expire)

    def _disarm(self) -> None:
        armed, self._armed = self._armed, None
        if armed is not None:
            armed.cancel()

    # -- what the system calls do ---------------------------------------------------------------------------------

    def get(self) -> tuple[int, int]:
        """(interval, time to the next expiry); the latter is 0 when disarmed and at least 1 when not."""
        if not self.expires_ns:
            return self.interval_ns, 0
        left_ns = self.expires_ns - self.now_ns()
        if left_ns <= 0:
            if self.interval_ns and (self._queued is not None or self.notify == SIGEV_NONE):
                left_ns = self.interval_ns - -left_ns % self.interval_ns
            elif self.notify == SIGEV_NONE or self._queued is not None:
                return self.interval_ns, 0
            else:
                left_ns = 1
        return self.interval_ns, left_ns

    def set(self, value_ns: int, interval_ns: int, absolute: bool) -> None:
        """Arm it, or with ``value_ns`` 0 disarm it."""
        self._disarm()
        self._forget_signal()
        self.overrun = self.last_overrun = 0
        self.expires_ns = 0
        self.interval_ns = interval_ns if value_ns else 0
        if value_ns:
            self.expires_ns = value_ns if absolute else self.now_ns() + value_ns
            if self.notify != SIGEV_NONE:
                self._arm()

    def delete(self) -> None:
        """Disarm it for good and drop its pending signal."""
        self._disarm()
        self._forget_signal()
        self.expires_ns = 0

    def _forget_signal(self) -> None:
        """A signal of the earlier setting that is still queued is not delivered."""
        info, self._queued = self._queued, None
        if info is None:
            return
        info.timer = None
        for queue in [self.group.pending, *(thread.pending for thread in self.group.threads)]:
            if info in queue.entries:
                queue.entries.remove(info)
                if all(other.signo != info.signo for other in queue.entries):
                    queue.mask &= ~(1 << (info.signo - 1))

    # -- expiry ---------------------------------------------------------------------------------------------------

    def _expire(self) -> None:
        self._armed = None
        info = SigInfo(self.signo, SI_TIMER, timer_id=self.timer_id, value=self.value, timer=self)
        self._queued = info
        if not send_timer_signal(self, info):
            self._queued = None
            self._next_period()
            if not self.interval_ns:
                self.expires_ns = 0

    def _next_period(self) -> int:
        """Move to the first period that lies ahead and arm; returns how many were passed over."""
        if not self.interval_ns:
            return 0
        missed = max(self.now_ns() - self.expires_ns, 0) // self.interval_ns
        self.expires_ns += (missed + 1) * self.interval_ns
        self._arm()
        return missed

    def dequeued(self, info: SigInfo) -> None:
        """The signal is about to be delivered: fill in the overrun count and go on (posixtimer_rearm)."""
        if info is not self._queued:
            return
        self._queued = None
        if not self.interval_ns:
            self.expires_ns = 0
        self.last_overrun = min(self._next_period(), DELAYTIMER_MAX)
        info.overrun = self.last_overrun


def send_timer_signal(timer: PosixTimer, info: SigInfo) -> bool:
    """Queue the timer's signal without regard to limits; False when it is ignored (send_sigqueue)."""
    from kernel.task.signal import complete_signal, prepare_signal

    group = timer.group
    threads = [thread for thread in group.threads if thread.state not in "ZX"]
    if timer.notify == SIGEV_THREAD_ID and timer.target is not None:
        if timer.target not in threads:
            return False
        main, queue = timer.target, timer.target.pending
    elif threads:
        main, queue = group.leader or threads[0], group.pending
        if main not in threads:
            main = threads[0]
    else:
        return False
    if not prepare_signal(main, info.signo, False):
        return False
    queue.add(info)
    complete_signal(main, info.signo, shared=queue is group.pending)
    return True
