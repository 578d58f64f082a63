"""Reading the clocks: time, gettimeofday, clock_gettime and kin (kernel/time/)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kernel import clock as clk
from kernel.clock import NSEC_PER_SEC, NSEC_PER_TICK, NSEC_PER_USEC, USER_HZ, group_times_ns, task_times_ns
from kernel.errno import EINVAL, EPERM, Errno
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Enum, Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.task.task import Task

_TIMESPEC = struct.Struct("<qq")
_pack_timespec = _TIMESPEC.pack
_TIMEZONE = struct.Struct("<ii")
_TIMEX = struct.Struct("<I4x qqqq i4x qqq qq q qq i4x qqqqq i44x")
"""struct timex (include/uapi/linux/timex.h), 208 bytes."""

_CPUCLOCK_PERTHREAD = 4
_CPUCLOCK_PROF, _CPUCLOCK_VIRT, _CPUCLOCK_SCHED, _CLOCKFD = range(4)
_COARSE = (clk.CLOCK_REALTIME_COARSE, clk.CLOCK_MONOTONIC_COARSE)

_STA_UNSYNC = 0x40
_TIME_ERROR = 5
_ADJ_ADJTIME_READ = 0xA001
"""ADJ_OFFSET_SS_READ: the one mode that changes nothing."""
_JIFFIES_AT_BOOT = 2**32 - 300 * 250
"""INITIAL_JIFFIES at CONFIG_HZ=250: jiffies start five minutes before they wrap; times(2) shows it."""


@syscall(201, "time", tloc=Struct("time_t", "out"))
def time(task: Task, tloc: int) -> int:
    now = task.kernel.clock.realtime_ns() // NSEC_PER_SEC
    if tloc:
        task.mm.write(tloc, struct.pack("<q", now))
    return now


@syscall(96, "gettimeofday", tv=Struct("timeval", "out"), tz=Struct("timezone", "out"))
def gettimeofday(task: Task, tv: int, tz: int) -> None:
    if tv:
        seconds, nanoseconds = divmod(task.kernel.clock.realtime_ns(), NSEC_PER_SEC)
        task.mm.write(tv, _TIMESPEC.pack(seconds, nanoseconds // NSEC_PER_USEC))
    if tz:
        task.mm.write(tz, _TIMEZONE.pack(0, 0))


@syscall(164, "settimeofday", tv=Struct("timeval", "in"), tz=Struct("timezone", "in"))
def settimeofday(task: Task, tv: int, tz: int) -> None:
    if tv:
        seconds, microseconds = _TIMESPEC.unpack(task.mm.read(tv, _TIMESPEC.size))
        if not 0 <= microseconds < 1_000_000:
            raise Errno(EINVAL)
        _valid_time(seconds, microseconds * NSEC_PER_USEC)
    if tz:
        task.mm.read(tz, _TIMEZONE.size)
    raise Errno(EPERM)


@syscall(228, "clock_gettime", clockid=Enum("clocknames", "i32"), tp=Struct("timespec", "out"))
def clock_gettime(task: Task, clockid: int, tp: int) -> None:
    if clockid == clk.CLOCK_MONOTONIC:  # the two that are asked for all the time
        now = task.kernel.clock.monotonic_ns()
    elif clockid == clk.CLOCK_REALTIME:
        now = task.kernel.clock.realtime_ns()
    else:
        now = read_clock(task, clockid)
    task.mm.write(tp, _pack_timespec(now // NSEC_PER_SEC, now % NSEC_PER_SEC))


@syscall(229, "clock_getres", clockid=Enum("clocknames", "i32"), res=Struct("timespec", "out"))
def clock_getres(task: Task, clockid: int, res: int) -> None:
    resolution = clock_resolution(task, clockid)
    if res:
        task.mm.write(res, _TIMESPEC.pack(*divmod(resolution, NSEC_PER_SEC)))


@syscall(227, "clock_settime", clockid=Enum("clocknames", "i32"), tp=Struct("timespec", "in"))
def clock_settime(task: Task, clockid: int, tp: int) -> None:
    if clockid >= 0 and clockid not in (
        clk.CLOCK_REALTIME,
        clk.CLOCK_PROCESS_CPUTIME_ID,
        clk.CLOCK_THREAD_CPUTIME_ID,
    ):
        raise Errno(EINVAL)
    seconds, nanoseconds = _TIMESPEC.unpack(task.mm.read(tp, _TIMESPEC.size))
    if clockid < 0:
        clock_resolution(task, clockid)
    elif clockid == clk.CLOCK_REALTIME:
        _valid_time(seconds, nanoseconds)
    raise Errno(EPERM)


@syscall(159, "adjtimex", buf=Struct("timex", "inout"))
def adjtimex(task: Task, buf: int) -> int:
    return _adjtime(task, buf)


@syscall(305, "clock_adjtime", clockid=Enum("clocknames", "i32"), buf=Struct("timex", "inout"))
def clock_adjtime(task: Task, clockid: int, buf: int) -> int:
    task.mm.read(buf, _TIMEX.size)
    if clockid != clk.CLOCK_REALTIME:
        raise Errno(EINVAL)
    return _adjtime(task, buf)


@syscall(100, "times", buf=Struct("tms", "out"))
def times(task: Task, buf: int) -> int:
    if buf:
        group = task.group
        user, system = group_times_ns(group)
        values = (user, system, group.children_utime_ns, group.children_stime_ns)
        task.mm.write(buf, struct.pack("<4q", *(value // NSEC_PER_TICK for value in values)))
    return _JIFFIES_AT_BOOT * USER_HZ // 250 + task.kernel.clock.monotonic_ns() // NSEC_PER_TICK


def read_clock(task: Task, clockid: int) -> int:
    """The value of a clock as ``task`` sees it, in ns.

    Raises:
        Errno: EINVAL for a clock that does not exist, or a CPU clock of a process that does not.
    """
    kernel_clock = task.kernel.clock
    if clockid in (clk.CLOCK_REALTIME, clk.CLOCK_TAI):
        return kernel_clock.realtime_ns()
    if clockid in (clk.CLOCK_MONOTONIC, clk.CLOCK_MONOTONIC_RAW):
        return kernel_clock.monotonic_ns()
    if clockid == clk.CLOCK_BOOTTIME:
        return kernel_clock.boottime_ns()
    if clockid in _COARSE:
        now = kernel_clock.realtime_ns() if clockid == clk.CLOCK_REALTIME_COARSE else kernel_clock.monotonic_ns()
        return now - now % clk.COARSE_RESOLUTION_NS
    if clockid == clk.CLOCK_PROCESS_CPUTIME_ID:
        return sum(group_times_ns(task.group))
    if clockid == clk.CLOCK_THREAD_CPUTIME_ID:
        return sum(task_times_ns(task))
    if clockid < 0:
        return _read_cpu_clock(task, clockid)
    raise Errno(EINVAL)


def clock_resolution(task: Task, clockid: int) -> int:
    """The resolution of a clock in ns; EINVAL as for :func:`read_clock`."""
    if clockid < 0:
        _read_cpu_clock(task, clockid)
        return 1 if clockid & 3 == _CPUCLOCK_SCHED else clk.COARSE_RESOLUTION_NS
    if clockid in _COARSE:
        return clk.COARSE_RESOLUTION_NS
    read_clock(task, clockid)
    return 1


def _read_cpu_clock(task: Task, clockid: int) -> int:
    """A CPU-time clock named by ``(~pid) << 3 | per thread << 2 | which`` (clock_getcpuclockid(3))."""
    which, pid = clockid & 3, ~(clockid >> 3)
    if which == _CLOCKFD or pid < 0:
        raise Errno(EINVAL)
    target = task.kernel.tasks.get(pid) if pid else task
    if clockid & _CPUCLOCK_PERTHREAD:
        if target is None or target.group is not task.group:
            raise Errno(EINVAL)
        user, system = task_times_ns(target)
    else:
        if target is None or (pid and target.tid != target.group.tgid):
            raise Errno(EINVAL)
        user, system = group_times_ns(target.group)
    return user if which == _CPUCLOCK_VIRT else user + system


def cpu_clock(task: Task, clockid: int) -> Callable[[], int]:
    """A function that reads a CPU-time clock (negative, or one of the two *_CPUTIME_ID) at any later time.

    Raises:
        Errno: EINVAL as for :func:`read_clock`.
    """
    read_clock(task, clockid)
    if clockid >= 0:
        target, per_thread, which = task, clockid == clk.CLOCK_THREAD_CPUTIME_ID, _CPUCLOCK_SCHED
    else:
        which, per_thread = clockid & 3, bool(clockid & _CPUCLOCK_PERTHREAD)
        target = task.kernel.tasks[~(clockid >> 3)] if ~(clockid >> 3) else task

    def read_ns() -> int:
        user, system = task_times_ns(target) if per_thread else group_times_ns(target.group)
        return user if which == _CPUCLOCK_VIRT else user + system

    return read_ns


def _adjtime(task: Task, buf: int) -> int:
    """Report an unsynchronised clock; every change is refused (kernel/time/ntp.c)."""
    fields = _TIMEX.unpack(task.mm.read(buf, _TIMEX.size))
    modes = fields[0]
    if modes not in (0, _ADJ_ADJTIME_READ):
        raise Errno(EPERM)
    seconds, nanoseconds = divmod(task.kernel.clock.realtime_ns(), NSEC_PER_SEC)
    maxerror = esterror = 16_000_000
    task.mm.write(buf, _TIMEX.pack(
        modes, 0, 0, maxerror, esterror, _STA_UNSYNC, 2, 1, 32_768_000, seconds, nanoseconds // NSEC_PER_USEC,
        10_000, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ))  # fmt: skip
    return _TIME_ERROR


def _valid_time(seconds: int, nanoseconds: int) -> None:
    """EINVAL unless this is a time the clock could be set to (timespec64_valid_settod)."""
    if seconds < 0 or not 0 <= nanoseconds < NSEC_PER_SEC or seconds >= 2**63 // NSEC_PER_SEC:
        raise Errno(EINVAL)
