"""epoll_create, epoll_ctl, epoll_wait and their kin (fs/eventpoll.c)."""

from __future__ import annotations

from struct import Struct as Layout
from typing import TYPE_CHECKING

from kernel.errno import EFAULT, EINTR, EINVAL, Errno
from kernel.fs import poll as waiting
from kernel.fs.epoll import EPOLL_CTL_DEL, MAX_EVENTS, EpollFile, control, epoll_of
from kernel.fs.pollmask import POLLIN
from kernel.fs.uapi import O_CLOEXEC
from kernel.syscalls.install import install_new
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Enum, Fd, Flags, Int, Size, Struct
from kernel.task.signal import restore_saved_sigmask_unless, set_user_sigmask

if TYPE_CHECKING:
    from kernel.task.task import Task

EPOLL_CLOEXEC = O_CLOEXEC
NSEC_PER_MSEC = 1_000_000

_EPOLL_EVENT = Layout("<IQ")


@syscall(213, "epoll_create", returns=Fd, size=Int)
def epoll_create(task: Task, size: int) -> int:
    if size <= 0:
        raise Errno(EINVAL)
    return install_new(task, EpollFile(task), False)


@syscall(291, "epoll_create1", returns=Fd, flags=Flags("epoll_create"))
def epoll_create1(task: Task, flags: int) -> int:
    if flags & ~EPOLL_CLOEXEC:
        raise Errno(EINVAL)
    return install_new(task, EpollFile(task), bool(flags & EPOLL_CLOEXEC))


@syscall(233, "epoll_ctl", epfd=Fd, op=Enum("epoll_ctl"), fd=Fd, event=Struct("epoll_event", "in"))
def epoll_ctl(task: Task, epfd: int, op: int, fd: int, event: int) -> None:
    events = data = 0
    if op != EPOLL_CTL_DEL:
        events, data = _EPOLL_EVENT.unpack(task.mm.read(event, _EPOLL_EVENT.size))
    epoll = task.files.get(epfd)
    file = task.files.get(fd)
    if not getattr(file, "pollable", False):
        from kernel.errno import EPERM

        raise Errno(EPERM)
    if epoll is file:
        raise Errno(EINVAL)
    control(epoll_of(epoll), op, fd, file, events, data)


async def _wait(task: Task, epfd: int, addr: int, maxevents: int, timeout_ns: int | None) -> int:
    if not 0 < maxevents <= MAX_EVENTS:
        raise Errno(EINVAL)
    if addr + maxevents * _EPOLL_EVENT.size > (1 << 47) - 4096:
        raise Errno(EFAULT)
    epoll = epoll_of(task.files.get(epfd))

    def look() -> list[tuple[int, int]]:
        return epoll.collect(maxevents)

    deadline_ns = waiting.deadline_after(task, timeout_ns)
    found = await waiting.wait_for(task, look, [(epoll, POLLIN)], deadline_ns, timeout_ns == 0, EINTR)
    if found:
        task.mm.write(addr, b"".join(_EPOLL_EVENT.pack(mask, data) for mask, data in found))
    return len(found)


@syscall(232, "epoll_wait", epfd=Fd, events=Struct("epoll_event", "out", "return"), maxevents=Int, timeout=Int)
async def epoll_wait(task: Task, epfd: int, events: int, maxevents: int, timeout: int) -> int:
    return await _wait(task, epfd, events, maxevents, None if timeout < 0 else timeout * NSEC_PER_MSEC)


async def _wait_masked(
    task: Task, epfd: int, events: int, maxevents: int, timeout_ns: int | None, sigmask: int, size: int
) -> int:
    set_user_sigmask(task, sigmask, size)
    interrupted = False
    try:
        return await _wait(task, epfd, events, maxevents, timeout_ns)
    except Errno as error:
        interrupted = error.code == EINTR
        raise
    finally:
        restore_saved_sigmask_unless(task, interrupted)


@syscall(
    281, "epoll_pwait", epfd=Fd, events=Struct("epoll_event", "out", "return"), maxevents=Int, timeout=Int,
    sigmask=Struct("sigset", "in"), sigsetsize=Size,
)
async def epoll_pwait(
    task: Task, epfd: int, events: int, maxevents: int, timeout: int, sigmask: int, sigsetsize: int
) -> int:
    timeout_ns = None if timeout < 0 else timeout * NSEC_PER_MSEC
    return await _wait_masked(task, epfd, events, maxevents, timeout_ns, sigmask, sigsetsize)


@syscall(
    441, "epoll_pwait2", epfd=Fd, events=Struct("epoll_event", "out", "return"), maxevents=Int,
    timeout=Struct("timespec", "in"), sigmask=Struct("sigset", "in"), sigsetsize=Size,
)
async def epoll_pwait2(
    task: Task, epfd: int, events: int, maxevents: int, timeout: int, sigmask: int, sigsetsize: int
) -> int:
    timeout_ns = waiting.read_timespec(task, timeout)
    return await _wait_masked(task, epfd, events, maxevents, timeout_ns, sigmask, sigsetsize)
