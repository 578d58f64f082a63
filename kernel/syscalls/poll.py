"""poll, ppoll, select and pselect6 (fs/select.c)."""

from __future__ import annotations

from struct import Struct as Layout
from typing import TYPE_CHECKING

from kernel.errno import EBADF, EINVAL, ERESTART_RESTARTBLOCK, ERESTARTNOHAND, Errno
from kernel.fs import poll as waiting
from kernel.fs.pollmask import (
    ALWAYS,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLNVAL,
    POLLOUT,
    POLLPRI,
    POLLRDBAND,
    POLLRDNORM,
    POLLWRBAND,
    POLLWRNORM,
)
from kernel.fs.uapi import RLIMIT_NOFILE
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Int, Size, Struct, UInt
from kernel.task.signal import restore_saved_sigmask_unless, set_user_sigmask

if TYPE_CHECKING:
    from kernel.fs.file import File
    from kernel.task.task import Task

NSEC_PER_MSEC = 1_000_000
NSEC_PER_USEC = 1_000
FDS_BITS = 64

_POLLFD = Layout("<ihh")
_POLLFD_SIZE = 8
_PAIR = Layout("<qq")
_SIGSET_ARG = Layout("<QQ")

SELECT_IN = POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR
SELECT_OUT = POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR
SELECT_EX = POLLPRI


# -- poll ------------------------------------------------------------------------------------------------------------


async def _do_poll(
    task: Task, addr: int, count: int, timeout_ns: int | None, deadline_ns: int | None, code: int
) -> int:
    """do_sys_poll; ``deadline_ns`` overrides the timeout when a call is taken up again."""
    limit = task.group.rlimits.get(RLIMIT_NOFILE)
    if limit is not None and count > limit[0]:
        raise Errno(EINVAL)
    raw = task.mm.read(addr, count * _POLLFD_SIZE) if count else b""
    entries = list(_POLLFD.iter_unpack(raw))
    files: list[File | None] = []
    get = task.files.get
    for fd, _events, _revents in entries:
        try:
            files.append(get(fd) if fd >= 0 else None)
        except Errno:
            files.append(None)
    revents = [0] * count

    def look() -> int:
        ready = 0
        for index, (fd, events, _old) in enumerate(entries):
            file = files[index]
            if file is not None:
                mask = file.poll() & (events & 0xFFFF | ALWAYS)
            else:
                mask = POLLNVAL if fd >= 0 else 0
            revents[index] = mask
            if mask:
                ready += 1
        return ready

    def write_back() -> None:
        out = bytearray(raw)
        for index, mask in enumerate(revents):
            out[index * 8 + 6:index * 8 + 8] = mask.to_bytes(2, "little")
        if out:
            task.mm.write(addr, bytes(out))

    watched = [(file, entry[1] & 0xFFFF | ALWAYS) for entry, file in zip(entries, files, strict=True) if file]
    try:
        found = await waiting.wait_for(task, look, watched, deadline_ns, timeout_ns == 0, code)
    except Errno as error:
        if error.code == code:
            write_back()
        raise
    write_back()
    return found


@syscall(7, "poll", fds=Struct("pollfd", "inout", "nfds"), nfds=UInt, timeout=Int)
async def poll(task: Task, fds: int, nfds: int, timeout: int) -> int:
    """Interrupted it is continued by restart_syscall with the same deadline."""
    timeout_ns = None if timeout < 0 else timeout * NSEC_PER_MSEC
    return await _poll_until(task, fds, nfds, timeout_ns, waiting.deadline_after(task, timeout_ns))


async def _poll_until(task: Task, fds: int, nfds: int, timeout_ns: int | None, deadline_ns: int | None) -> int:
    try:
        return await _do_poll(task, fds, nfds, timeout_ns, deadline_ns, ERESTART_RESTARTBLOCK)
    except Errno as error:
        if error.code == ERESTART_RESTARTBLOCK:

            async def again(task: Task) -> int:
                return await _poll_until(task, fds, nfds, timeout_ns, deadline_ns)

            task.restart = again
        raise


@syscall(
    271, "ppoll", fds=Struct("pollfd", "inout", "nfds"), nfds=UInt, tmo_p=Struct("timespec", "inout"),
    sigmask=Struct("sigset", "in"), sigsetsize=Size,
)
async def ppoll(task: Task, fds: int, nfds: int, tmo_p: int, sigmask: int, sigsetsize: int) -> int:
    timeout_ns = waiting.read_timespec(task, tmo_p)
    set_user_sigmask(task, sigmask, sigsetsize)
    deadline_ns = waiting.deadline_after(task, timeout_ns)
    interrupted = False
    try:
        return await _do_poll(task, fds, nfds, timeout_ns, deadline_ns, ERESTARTNOHAND)
    except Errno as error:
        interrupted = error.code == ERESTARTNOHAND
        if interrupted and not waiting.write_back_timeout(task, tmo_p, deadline_ns, timeout_ns, 1):
            raise waiting.no_restart(error) from None
        raise
    finally:
        restore_saved_sigmask_unless(task, interrupted)
        if not interrupted:
            waiting.write_back_timeout(task, tmo_p, deadline_ns, timeout_ns, 1)


# -- select ----------------------------------------------------------------------------------------------------------


def _read_set(task: Task, addr: int, size: int) -> int:
    """An fd_set of ``size`` bytes as one integer; 0 for a null pointer."""
    return int.from_bytes(task.mm.read(addr, size), "little") if addr and size else 0


async def _do_select(
    task: Task, n: int, addrs: tuple[int, int, int], timeout_ns: int | None, deadline_ns: int | None
) -> int:
    """core_sys_select: three bit sets in, three bit sets out."""
    if n < 0:
        raise Errno(EINVAL)
    n = min(n, max(FDS_BITS, max(task.files, default=0) + 1 + FDS_BITS & -FDS_BITS))
    size = (n + FDS_BITS - 1) // FDS_BITS * 8
    wanted = [_read_set(task, addr, size) & (1 << n) - 1 for addr in addrs]
    union = wanted[0] | wanted[1] | wanted[2]
    watched: list[tuple[int, File, int]] = []
    while union:
        fd = (union & -union).bit_length() - 1
        union &= union - 1
        events = sum(
            mask for mask, bits in zip((SELECT_IN, SELECT_OUT, SELECT_EX), wanted, strict=True) if bits >> fd & 1
        )
        try:
            watched.append((fd, task.files.get(fd), events))
        except Errno:
            raise Errno(EBADF) from None
    result = [0, 0, 0]

    def look() -> int:
        result[:] = [0, 0, 0]
        ready = 0
        for fd, file, _events in watched:
            mask = file.poll()
            for index, bits in enumerate((SELECT_IN, SELECT_OUT, SELECT_EX)):
                if wanted[index] >> fd & 1 and mask & bits:
                    result[index] |= 1 << fd
                    ready += 1
        return ready

    pairs = [(file, events | ALWAYS) for _fd, file, events in watched]
    ready = await waiting.wait_for(task, look, pairs, deadline_ns, timeout_ns == 0, ERESTARTNOHAND)
    for addr, bits in zip(addrs, result, strict=True):
        if addr and size:
            task.mm.write(addr, bits.to_bytes(size, "little"))
    return ready


async def _select(
    task: Task, n: int, addrs: tuple[int, int, int], timeout_addr: int, timeout_ns: int | None, unit_ns: int
) -> int:
    """Select, then write the time left and settle the signal mask (poll_select_finish)."""
    deadline_ns = waiting.deadline_after(task, timeout_ns)
    interrupted = False
    try:
        return await _do_select(task, n, addrs, timeout_ns, deadline_ns)
    except Errno as error:
        interrupted = error.code == ERESTARTNOHAND
        if interrupted and not waiting.write_back_timeout(task, timeout_addr, deadline_ns, timeout_ns, unit_ns):
            raise waiting.no_restart(error) from None
        raise
    finally:
        restore_saved_sigmask_unless(task, interrupted)
        if not interrupted:
            waiting.write_back_timeout(task, timeout_addr, deadline_ns, timeout_ns, unit_ns)


@syscall(
    23, "select", n=Int, readfds=Struct("fd_set", "inout"), writefds=Struct("fd_set", "inout"),
    exceptfds=Struct("fd_set", "inout"), timeout=Struct("timeval", "inout"),
)
async def select(task: Task, n: int, readfds: int, writefds: int, exceptfds: int, timeout: int) -> int:
    timeout_ns = None
    if timeout:
        sec, usec = _PAIR.unpack(task.mm.read(timeout, _PAIR.size))
        sec += usec // 1_000_000 if usec >= 0 else -(-usec // 1_000_000)
        usec = usec % 1_000_000 if usec >= 0 else -(-usec % 1_000_000)
        if sec < 0 or usec < 0:
            raise Errno(EINVAL)
        timeout_ns = sec * waiting.NSEC_PER_SEC + usec * NSEC_PER_USEC
    return await _select(task, n, (readfds, writefds, exceptfds), timeout, timeout_ns, NSEC_PER_USEC)


@syscall(
    270, "pselect6", n=Int, readfds=Struct("fd_set", "inout"), writefds=Struct("fd_set", "inout"),
    exceptfds=Struct("fd_set", "inout"), timeout=Struct("timespec", "inout"), sig=Struct("sigset_argpack", "in"),
)
async def pselect6(task: Task, n: int, readfds: int, writefds: int, exceptfds: int, timeout: int, sig: int) -> int:
    mask_addr, mask_size = _SIGSET_ARG.unpack(task.mm.read(sig, _SIGSET_ARG.size)) if sig else (0, 0)
    timeout_ns = waiting.read_timespec(task, timeout)
    set_user_sigmask(task, mask_addr, mask_size)
    return await _select(task, n, (readfds, writefds, exceptfds), timeout, timeout_ns, 1)
