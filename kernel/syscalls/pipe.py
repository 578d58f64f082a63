"""pipe, pipe2 and the event descriptors: eventfd, signalfd, timerfd."""

from __future__ import annotations

from struct import Struct as Layout
from typing import TYPE_CHECKING

from emu.words import c_int
from kernel.errno import EINVAL, EPERM, Errno
from kernel.fs import timerfd
from kernel.fs.eventfd import EFD_SEMAPHORE, EventFile
from kernel.fs.pipe import new_pipe
from kernel.fs.signalfd import UNBLOCKABLE, SignalFile
from kernel.fs.uapi import O_CLOEXEC, O_DIRECT, O_NONBLOCK
from kernel.syscalls.install import install_new, install_pair
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Enum, Fd, Flags, Size, Struct, UInt

if TYPE_CHECKING:
    from kernel.task.task import Task

NSEC_PER_SEC = 1_000_000_000
CAP_WAKE_ALARM = 35

_ITIMERSPEC = Layout("<qqqq")  # it_interval, it_value


@syscall(22, "pipe", pipefd=Struct("pipefd", "out"))
def pipe(task: Task, pipefd: int) -> None:
    install_pair(task, *new_pipe(task, 0), False, pipefd)


@syscall(293, "pipe2", pipefd=Struct("pipefd", "out"), flags=Flags("open"))
def pipe2(task: Task, pipefd: int, flags: int) -> None:
    if flags & ~(O_CLOEXEC | O_NONBLOCK | O_DIRECT):
        raise Errno(EINVAL)
    install_pair(task, *new_pipe(task, flags), bool(flags & O_CLOEXEC), pipefd)


# -- eventfd ---------------------------------------------------------------------------------------------------------


@syscall(284, "eventfd", returns=Fd, initval=UInt)
def eventfd(task: Task, initval: int) -> int:
    return install_new(task, EventFile(task, initval, 0, False), False)


@syscall(290, "eventfd2", returns=Fd, initval=UInt, flags=Flags("eventfd"))
def eventfd2(task: Task, initval: int, flags: int) -> int:
    if flags & ~(O_CLOEXEC | O_NONBLOCK | EFD_SEMAPHORE):
        raise Errno(EINVAL)
    return install_new(task, EventFile(task, initval, flags, bool(flags & EFD_SEMAPHORE)), bool(flags & O_CLOEXEC))


# -- signalfd --------------------------------------------------------------------------------------------------------


def _signalfd(task: Task, fd: int, mask_addr: int, size: int, flags: int) -> int:
    if size != 8:
        raise Errno(EINVAL)
    mask = int.from_bytes(task.mm.read(mask_addr, 8), "little")
    if flags & ~(O_CLOEXEC | O_NONBLOCK):
        raise Errno(EINVAL)
    if fd == -1:
        return install_new(task, SignalFile(task, mask, flags), bool(flags & O_CLOEXEC))
    file = task.files.get(fd)
    if not isinstance(file, SignalFile):
        raise Errno(EINVAL)
    file.mask = mask & ~UNBLOCKABLE
    task.actions.signalfd_wait.wake()
    return fd


@syscall(282, "signalfd", returns=Fd, fd=Fd, mask=Struct("sigset", "in"), sizemask=Size)
def signalfd(task: Task, fd: int, mask: int, sizemask: int) -> int:
    return _signalfd(task, fd, mask, sizemask, 0)


@syscall(289, "signalfd4", returns=Fd, fd=Fd, mask=Struct("sigset", "in"), sizemask=Size, flags=Flags("signalfd"))
def signalfd4(task: Task, fd: int, mask: int, sizemask: int, flags: int) -> int:
    return _signalfd(task, fd, mask, sizemask, flags)


# -- timerfd ---------------------------------------------------------------------------------------------------------


@syscall(283, "timerfd_create", returns=Fd, clockid=Enum("clockid"), flags=Flags("timerfd"))
def timerfd_create(task: Task, clockid: int, flags: int) -> int:
    clockid = c_int(clockid)
    if flags & ~(O_CLOEXEC | O_NONBLOCK) or clockid not in timerfd.CLOCKS:
        raise Errno(EINVAL)
    if clockid in timerfd.ALARM_CLOCKS and not task.cred.capable(CAP_WAKE_ALARM):
        raise Errno(EPERM)
    return install_new(task, timerfd.TimerFile(task, clockid, flags), bool(flags & O_CLOEXEC))


def _timer_file(task: Task, fd: int) -> timerfd.TimerFile:
    file = task.files.get(fd)
    if not isinstance(file, timerfd.TimerFile):
        raise Errno(EINVAL)
    return file


def _store(task: Task, addr: int, value_ns: int, interval_ns: int) -> None:
    task.mm.write(addr, _ITIMERSPEC.pack(*divmod(interval_ns, NSEC_PER_SEC), *divmod(value_ns, NSEC_PER_SEC)))


@syscall(
    286, "timerfd_settime", fd=Fd, flags=Flags("timerfd_settime"), new_value=Struct("itimerspec", "in"),
    old_value=Struct("itimerspec", "out"),
)
def timerfd_settime(task: Task, fd: int, flags: int, new_value: int, old_value: int) -> None:
    interval_sec, interval_nsec, sec, nsec = _ITIMERSPEC.unpack(task.mm.read(new_value, _ITIMERSPEC.size))
    if flags & ~(timerfd.TFD_TIMER_ABSTIME | timerfd.TFD_TIMER_CANCEL_ON_SET):
        raise Errno(EINVAL)
    if min(interval_sec, sec) < 0 or not (0 <= nsec < NSEC_PER_SEC and 0 <= interval_nsec < NSEC_PER_SEC):
        raise Errno(EINVAL)
    file = _timer_file(task, fd)
    old = file.remaining()
    file.set(sec * NSEC_PER_SEC + nsec, interval_sec * NSEC_PER_SEC + interval_nsec, flags)
    if old_value:
        _store(task, old_value, *old)


@syscall(287, "timerfd_gettime", fd=Fd, curr_value=Struct("itimerspec", "out"))
def timerfd_gettime(task: Task, fd: int, curr_value: int) -> None:
    _store(task, curr_value, *_timer_file(task, fd).remaining())
