"""alarm, setitimer, getitimer and the timer_* family."""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING

from kernel import clock as clk
from kernel.clock import NSEC_PER_SEC, NSEC_PER_USEC
from kernel.errno import EAGAIN, EINVAL, EOPNOTSUPP, EPERM, Errno
from kernel.syscalls.table import syscall
from kernel.syscalls.time import cpu_clock, read_clock
from kernel.syscalls.types import Enum, Flags, Int, Struct, UInt
from kernel.task import itimer
from kernel.task.posix_timer import PosixTimer
from kernel.task.rlimit import RLIM_INFINITY, RLIMIT_SIGPENDING
from kernel.task.signal import queued_signals
from kernel.task.signals import NSIG, SIGALRM, SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD, SIGEV_THREAD_ID

if TYPE_CHECKING:
    from kernel.task.task import Task

TIMER_ABSTIME = 1
_ITIMERVAL = struct.Struct("<qqqq")  # it_interval, it_value: seconds and microseconds (or nanoseconds)
_SIGEVENT = struct.Struct("<Qiii44x")  # sigev_value, sigev_signo, sigev_notify, sigev_notify_thread_id
_KTIME_MAX = 2**63 - 1

_CPU_CLOCKS = (clk.CLOCK_PROCESS_CPUTIME_ID, clk.CLOCK_THREAD_CPUTIME_ID)
_NO_TIMERS = (clk.CLOCK_MONOTONIC_RAW, clk.CLOCK_REALTIME_COARSE, clk.CLOCK_MONOTONIC_COARSE)
_ALARM_CLOCKS = (clk.CLOCK_REALTIME_ALARM, clk.CLOCK_BOOTTIME_ALARM)


def _pack_ns(interval_ns: int, value_ns: int) -> bytes:
    return _ITIMERVAL.pack(*divmod(interval_ns, NSEC_PER_SEC), *divmod(value_ns, NSEC_PER_SEC))


def _pack_us(interval_ns: int, value_ns: int) -> bytes:
    seconds, rest = divmod(interval_ns, NSEC_PER_SEC)
    value_s, value_rest = divmod(value_ns, NSEC_PER_SEC)
    return _ITIMERVAL.pack(seconds, rest // NSEC_PER_USEC, value_s, value_rest // NSEC_PER_USEC)


# -- interval timers ---------------------------------------------------------------------------------------------


@syscall(37, "alarm", seconds=UInt)
def alarm(task: Task, seconds: int) -> int:
    _, left_ns = itimer.set_itimer(task.kernel, task.group, itimer.ITIMER_REAL, seconds * NSEC_PER_SEC, 0)
    whole, rest = divmod(left_ns, NSEC_PER_SEC)
    # Rounded to the nearest second, but never to "none was set".
    if (not whole and rest) or rest >= NSEC_PER_SEC // 2:
        whole += 1
    return whole


@syscall(36, "getitimer", which=Enum("itimer_which", "i32"), curr_value=Struct("itimerval", "out"))
def getitimer(task: Task, which: int, curr_value: int) -> None:
    if which not in (itimer.ITIMER_REAL, itimer.ITIMER_VIRTUAL, itimer.ITIMER_PROF):
        raise Errno(EINVAL)
    task.mm.write(curr_value, _pack_us(*itimer.get_itimer(task.group, which)))


@syscall(38, "setitimer", which=Enum("itimer_which", "i32"), new_value=Struct("itimerval", "in"),
         old_value=Struct("itimerval", "out"))
def setitimer(task: Task, which: int, new_value: int, old_value: int) -> None:
    times = (0, 0, 0, 0)
    if new_value:
        times = _ITIMERVAL.unpack(task.mm.read(new_value, _ITIMERVAL.size))
        if times[0] < 0 or times[2] < 0 or not (0 <= times[1] < 1_000_000 and 0 <= times[3] < 1_000_000):
            raise Errno(EINVAL)
    if which not in (itimer.ITIMER_REAL, itimer.ITIMER_VIRTUAL, itimer.ITIMER_PROF):
        raise Errno(EINVAL)
    interval_ns = min(times[0] * NSEC_PER_SEC + times[1] * NSEC_PER_USEC, _KTIME_MAX)
    value_ns = min(times[2] * NSEC_PER_SEC + times[3] * NSEC_PER_USEC, _KTIME_MAX)
    old = itimer.set_itimer(task.kernel, task.group, which, value_ns, interval_ns)
    if old_value:
        task.mm.write(old_value, _pack_us(*old))


# -- POSIX timers ------------------------------------------------------------------------------------------------


@syscall(222, "timer_create", clockid=Enum("clocknames", "i32"), sevp=Struct("sigevent", "in"),
         timerid=Struct("int", "out"))
def timer_create(task: Task, clockid: int, sevp: int, timerid: int) -> None:
    event = _SIGEVENT.unpack(task.mm.read(sevp, _SIGEVENT.size)) if sevp else None
    if clockid in _NO_TIMERS:
        raise Errno(EOPNOTSUPP)
    if clockid in _ALARM_CLOCKS:
        raise Errno(EPERM if task.cred.euid != 0 else EOPNOTSUPP)
    is_cpu_clock = clockid < 0 or clockid in _CPU_CLOCKS
    now_ns = cpu_clock(task, clockid) if is_cpu_clock else partial(read_clock, task, clockid)
    now_ns()
    group = task.group
    limit = group.rlimits.get(RLIMIT_SIGPENDING, (RLIM_INFINITY, RLIM_INFINITY))[0]
    if limit != RLIM_INFINITY and queued_signals(task.kernel, task.cred.uid) >= limit:
        raise Errno(EAGAIN)
    timer_id = next(n for n in range(len(group.posix_timers) + 1) if n not in group.posix_timers)
    value, signo, notify, tid = event if event is not None else (timer_id, SIGALRM, SIGEV_SIGNAL, 0)
    target = None
    if notify == SIGEV_SIGNAL | SIGEV_THREAD_ID:
        target = task.kernel.tasks.get(tid)
        if target is None or target.group is not group:
            raise Errno(EINVAL)
    elif notify not in (SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD):
        raise Errno(EINVAL)
    if notify != SIGEV_NONE and not 1 <= signo <= NSIG:
        raise Errno(EINVAL)
    task.mm.write_u32(timerid, timer_id)
    group.posix_timers[timer_id] = PosixTimer(
        task, timer_id, now_ns, is_cpu_clock, notify, signo, value, target
    )


def _timer(task: Task, timer_id: int) -> PosixTimer:
    timer = task.group.posix_timers.get(timer_id)
    if timer is None:
        raise Errno(EINVAL)
    return timer


@syscall(223, "timer_settime", timerid=Int, flags=Flags("clock_nanosleep", "i32"),
         new_value=Struct("itimerspec", "in"), old_value=Struct("itimerspec", "out"))
def timer_settime(task: Task, timerid: int, flags: int, new_value: int, old_value: int) -> None:
    if not new_value:
        raise Errno(EINVAL)
    times = _ITIMERVAL.unpack(task.mm.read(new_value, _ITIMERVAL.size))
    if times[0] < 0 or times[2] < 0 or not (0 <= times[1] < NSEC_PER_SEC and 0 <= times[3] < NSEC_PER_SEC):
        raise Errno(EINVAL)
    timer = _timer(task, timerid)
    old = timer.get()
    interval_ns = min(times[0] * NSEC_PER_SEC + times[1], _KTIME_MAX)
    timer.set(min(times[2] * NSEC_PER_SEC + times[3], _KTIME_MAX), interval_ns, bool(flags & TIMER_ABSTIME))
    if old_value:
        task.mm.write(old_value, _pack_ns(*old))


@syscall(224, "timer_gettime", timerid=Int, curr_value=Struct("itimerspec", "out"))
def timer_gettime(task: Task, timerid: int, curr_value: int) -> None:
    task.mm.write(curr_value, _pack_ns(*_timer(task, timerid).get()))


@syscall(225, "timer_getoverrun", timerid=Int)
def timer_getoverrun(task: Task, timerid: int) -> int:
    return _timer(task, timerid).last_overrun


@syscall(226, "timer_delete", timerid=Int)
def timer_delete(task: Task, timerid: int) -> None:
    _timer(task, timerid).delete()
    del task.group.posix_timers[timerid]
