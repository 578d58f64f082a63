"""nanosleep, clock_nanosleep and restart_syscall (kernel/time/{hrtimer,posix-timers}.c, kernel/signal.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kernel import clock as clk
from kernel.clock import NSEC_PER_SEC
from kernel.errno import EFAULT, EINTR, EINVAL, EOPNOTSUPP, ERESTART_RESTARTBLOCK, ERESTARTNOHAND, Errno
from kernel.syscalls.table import syscall
from kernel.syscalls.time import cpu_clock
from kernel.syscalls.types import Enum, Flags, Struct
from kernel.task.wait import sleep

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.task.task import Task

TIMER_ABSTIME = 1
CPUCLOCK_PERTHREAD = 4
_TIMESPEC = struct.Struct("<qq")
_KTIME_MAX = 2**63 - 1
_CPU_CLOCK_POLL_NS = 4_000_000

_NO_NSLEEP = (
    clk.CLOCK_THREAD_CPUTIME_ID,
    clk.CLOCK_MONOTONIC_RAW,
    clk.CLOCK_REALTIME_COARSE,
    clk.CLOCK_MONOTONIC_COARSE,
    clk.CLOCK_REALTIME_ALARM,
    clk.CLOCK_BOOTTIME_ALARM,
)


def read_timespec(task: Task, address: int) -> int:
    """A struct timespec as nanoseconds, at most what a ktime_t holds.

    Raises:
        Errno: EFAULT; EINVAL when negative or with a fraction of a second or more.
    """
    seconds, nanoseconds = _TIMESPEC.unpack(task.mm.read(address, _TIMESPEC.size))
    if seconds < 0 or not 0 <= nanoseconds < NSEC_PER_SEC:
        raise Errno(EINVAL)
    return min(seconds * NSEC_PER_SEC + nanoseconds, _KTIME_MAX)


@syscall(35, "nanosleep", req=Struct("timespec", "in"), rem=Struct("timespec", "out"))
async def nanosleep(task: Task, req: int, rem: int) -> None:
    duration_ns = read_timespec(task, req)
    await _sleep_until(task, task.kernel.clock.monotonic_ns() + duration_ns, rem)


@syscall(230, "clock_nanosleep", clockid=Enum("clocknames", "i32"), flags=Flags("clock_nanosleep", "i32"),
         request=Struct("timespec", "in"), remain=Struct("timespec", "out"))
async def clock_nanosleep(task: Task, clockid: int, flags: int, request: int, remain: int) -> None:
    if clockid in _NO_NSLEEP:
        raise Errno(EOPNOTSUPP)
    if clockid >= 0 and clockid not in (clk.CLOCK_REALTIME, clk.CLOCK_MONOTONIC, clk.CLOCK_BOOTTIME, clk.CLOCK_TAI,
                                        clk.CLOCK_PROCESS_CPUTIME_ID):
        raise Errno(EINVAL)
    time_ns = read_timespec(task, request)
    if clockid < 0 or clockid == clk.CLOCK_PROCESS_CPUTIME_ID:
        if clockid & CPUCLOCK_PERTHREAD and ~(clockid >> 3) in (0, task.tid):
            raise Errno(EINVAL)
        now_ns = cpu_clock(task, clockid)
        await _sleep_cpu_time(task, now_ns, time_ns if flags & TIMER_ABSTIME else time_ns + now_ns())
    elif flags & TIMER_ABSTIME:
        deadline_ns = monotonic_deadline(task, clockid, time_ns)
        while task.kernel.clock.monotonic_ns() < deadline_ns:
            await sleep(deadline_ns=deadline_ns, interrupt_code=ERESTARTNOHAND)
    else:
        await _sleep_until(task, task.kernel.clock.monotonic_ns() + time_ns, remain)


@syscall(219, "restart_syscall")
async def restart_syscall(task: Task) -> int | None:
    """Continue the call that ended with ERESTART_RESTARTBLOCK; programs do not call it themselves."""
    restart, task.restart = task.restart, None
    if restart is None:
        raise Errno(EINTR)
    return await restart(task)


def monotonic_deadline(task: Task, clockid: int, time_ns: int) -> int:
    """The monotonic time at which clock ``clockid`` shows ``time_ns``."""
    clock = task.kernel.clock
    if clockid == clk.CLOCK_MONOTONIC:
        return time_ns
    now = clock.boottime_ns() if clockid == clk.CLOCK_BOOTTIME else clock.realtime_ns()
    return time_ns - now + clock.monotonic_ns()


async def _sleep_until(task: Task, deadline_ns: int, remain: int) -> None:
    """Sleep; interrupted, write the time that is left and let restart_syscall go on with the same deadline."""
    clock = task.kernel.clock
    try:
        while clock.monotonic_ns() < deadline_ns:
            await sleep(deadline_ns=deadline_ns, interrupt_code=ERESTART_RESTARTBLOCK)
    except Errno:
        left_ns = deadline_ns - clock.monotonic_ns()
        if left_ns <= 0:
            return
        if remain:
            try:
                task.mm.write(remain, _TIMESPEC.pack(*divmod(left_ns, NSEC_PER_SEC)))
            except Errno:
                raise Errno(EFAULT) from None

        async def again(task: Task) -> None:
            await _sleep_until(task, deadline_ns, remain)

        task.restart = again
        raise


async def _sleep_cpu_time(task: Task, now_ns: Callable[[], int], until_ns: int) -> None:
    """Sleep until other threads have used CPU time up to ``until_ns``: looked at now and then."""
    clock = task.kernel.clock
    while (left_ns := until_ns - now_ns()) > 0:
        await sleep(deadline_ns=clock.monotonic_ns() + max(left_ns, _CPU_CLOCK_POLL_NS), interrupt_code=ERESTARTNOHAND)
