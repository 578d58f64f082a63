"""timerfd: timers that are read. Linux: fs/timerfd.c."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel.errno import EAGAIN, EFAULT, EINVAL, Errno
from kernel.fs.anon import QueueFile
from kernel.fs.pollmask import POLLIN
from kernel.fs.uapi import O_NONBLOCK, O_RDWR

if TYPE_CHECKING:
    from kernel.task.task import Task

CLOCK_REALTIME = 0
CLOCK_MONOTONIC = 1
CLOCK_BOOTTIME = 7
CLOCK_REALTIME_ALARM = 8
CLOCK_BOOTTIME_ALARM = 9
ALARM_CLOCKS = (CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM)
CLOCKS = (CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM)

TFD_TIMER_ABSTIME = 1
TFD_TIMER_CANCEL_ON_SET = 2


class TimerFile(QueueFile):
    """One timer. Deadlines are kept on the kernel's monotonic clock, in nanoseconds; 0 is disarmed."""

    def __init__(self, task: Task, clock_id: int, flags: int) -> None:
        super().__init__(task, O_RDWR | flags & O_NONBLOCK, b"timerfd")
        self.kernel = task.kernel
        self.clock_id = clock_id
        self.settime_flags = 0
        self.deadline_ns = 0
        self.interval_ns = 0
        self.ticks = 0
        """Expirations not yet read; those of a periodic timer since the first are added when it is read."""
        self.timer: Any = None

    def _clock_ns(self) -> int:
        clock = self.kernel.clock
        if self.clock_id == CLOCK_MONOTONIC:
            return clock.monotonic_ns()
        if self.clock_id in (CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM):
            return clock.boottime_ns()
        return clock.realtime_ns()

    def set(self, value_ns: int, interval_ns: int, flags: int) -> None:
        """Arm (or with ``value_ns`` 0 disarm) the timer; pending expirations are forgotten."""
        self._cancel()
        self.settime_flags = flags
        self.ticks = 0
        self.interval_ns = interval_ns
        if not value_ns:
            return
        now = self.kernel.clock.monotonic_ns()
        delay = value_ns - self._clock_ns() if flags & TFD_TIMER_ABSTIME else value_ns
        self._arm(max(1, now + delay))

    def _arm(self, deadline_ns: int) -> None:
        self.deadline_ns = deadline_ns
        self.timer = self.kernel.timers.add(deadline_ns, self._expire)

    def _cancel(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = None
        self.deadline_ns = 0

    def _expire(self) -> None:
        """The hrtimer's callback: it is not started again before somebody reads (timerfd_tmrproc)."""
        self.timer = None
        self.ticks += 1
        self.queue.wake()

    def _catch_up(self) -> None:
        """Count the periods that have passed and start the next one."""
        if self.timer is not None or not self.interval_ns or not self.deadline_ns:
            return
        now = self.kernel.clock.monotonic_ns()
        passed = max(0, now - self.deadline_ns) // self.interval_ns
        self.ticks += passed
        self._arm(self.deadline_ns + (passed + 1) * self.interval_ns)

    def remaining(self) -> tuple[int, int]:
        """(time to the next expiration, interval) in nanoseconds; 0 when disarmed."""
        if self.ticks and self.interval_ns and self.timer is None:
            passed_before = self.ticks
            self._catch_up()
            self.ticks = max(self.ticks, passed_before)
        if self.timer is None:
            return 0, self.interval_ns
        return max(1, self.deadline_ns - self.kernel.clock.monotonic_ns()), self.interval_ns

    def try_read(self, task: Task, n: int, pos: int | None = None) -> bytes | None:
        if n < 8:
            raise Errno(EINVAL)
        if not self.ticks:
            if self.flags & O_NONBLOCK:
                raise Errno(EAGAIN)
            return None
        self._catch_up()
        ticks, self.ticks = self.ticks, 0
        return ticks.to_bytes(8, "little")

    def unread(self, data: bytes, done: int) -> int:
        """The ticks have been taken, whether they arrived or not."""
        raise Errno(EFAULT)

    def poll(self) -> int:
        return POLLIN if self.ticks else 0

    def fdinfo(self, task: Task) -> bytes:
        value, interval = self.remaining()
        return b"clockid: %d\nticks: %d\nsettime flags: 0%o\nit_value: (%d, %d)\nit_interval: (%d, %d)\n" % (
            self.clock_id, self.ticks, self.settime_flags, *divmod(value, 10**9), *divmod(interval, 10**9),
        )

    def release(self) -> None:
        self._cancel()
