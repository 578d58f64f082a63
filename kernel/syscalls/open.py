"""open and its forms, creat, close, close_range, memfd_create (fs/open.c, mm/memfd.c)."""

from __future__ import annotations

from struct import Struct as Layout
from typing import TYPE_CHECKING, cast

from emu.paging import PAGE_SIZE
from kernel.errno import E2BIG, EAGAIN, EFAULT, EINVAL, ENOENT, Errno
from kernel.fs.file import File
from kernel.fs.memfd import open_memfd
from kernel.fs.open import check_flags, do_open
from kernel.fs.uapi import (
    AT_FDCWD,
    MFD_ALLOW_SEALING,
    MFD_CLOEXEC,
    MFD_EXEC,
    MFD_NOEXEC_SEAL,
    O_CLOEXEC,
    O_CREAT,
    O_LARGEFILE,
    O_PATH,
    O_PATH_FLAGS,
    O_TMPFILE,
    O_TRUNC,
    O_WRONLY,
    RESOLVE_ALL,
    RESOLVE_BENEATH,
    RESOLVE_CACHED,
    RESOLVE_IN_ROOT,
    VALID_OPEN_FLAGS,
)
from kernel.syscalls.install import install_new
from kernel.syscalls.table import syscall
from kernel.syscalls.types import AtFd, Fd, Flags, Mode, Path, Size, Str, Struct, UInt

if TYPE_CHECKING:
    from kernel.task.task import Task

OPEN_HOW = Layout("<QQQ")
CLOSE_RANGE_UNSHARE, CLOSE_RANGE_CLOEXEC = 2, 4
MFD_NAME_MAX = 249


async def _open(task: Task, dirfd: int, pathname: int, flags: int, mode: int) -> int:
    flags = flags & VALID_OPEN_FLAGS | O_LARGEFILE
    if flags & (O_CREAT | O_TMPFILE & ~0o200000 | O_PATH):
        check_flags(flags & O_PATH_FLAGS if flags & O_PATH and not flags & O_CREAT else flags & ~O_PATH)
        if flags & O_PATH:
            flags &= O_PATH_FLAGS
    path = task.mm.cstring(pathname)
    if not path:
        raise Errno(ENOENT)
    task.files.check_room()
    file = do_open(task.kernel.vfs, task, dirfd, path, flags, mode & 0o7777)
    if not isinstance(file, File):
        file = await file
    return install_new(task, file, bool(flags & O_CLOEXEC))


@syscall(2, "open", returns=Fd, pathname=Path, flags=Flags("open"), mode=Mode)
async def open_(task: Task, pathname: int, flags: int, mode: int) -> int:
    return await _open(task, AT_FDCWD, pathname, flags, mode)


@syscall(257, "openat", returns=Fd, dirfd=AtFd, pathname=Path, flags=Flags("open"), mode=Mode)
async def openat(task: Task, dirfd: int, pathname: int, flags: int, mode: int) -> int:
    return await _open(task, dirfd, pathname, flags, mode)


@syscall(85, "creat", returns=Fd, pathname=Path, mode=Mode)
async def creat(task: Task, pathname: int, mode: int) -> int:
    return await _open(task, AT_FDCWD, pathname, O_CREAT | O_WRONLY | O_TRUNC, mode)


@syscall(437, "openat2", returns=Fd, dirfd=AtFd, pathname=Path, how=Struct("open_how"), size=Size)
async def openat2(task: Task, dirfd: int, pathname: int, how: int, size: int) -> int:
    if size < OPEN_HOW.size:
        raise Errno(EINVAL)
    if size > PAGE_SIZE:
        raise Errno(E2BIG)
    raw = task.mm.read(how, size)
    if any(raw[OPEN_HOW.size :]):
        raise Errno(E2BIG)
    flags, mode, resolve = OPEN_HOW.unpack_from(raw)
    if flags & ~VALID_OPEN_FLAGS or resolve & ~RESOLVE_ALL:
        raise Errno(EINVAL)
    if resolve & RESOLVE_BENEATH and resolve & RESOLVE_IN_ROOT:
        raise Errno(EINVAL)
    if mode & ~0o7777 or (mode and not flags & (O_CREAT | O_TMPFILE & ~0o200000)):
        raise Errno(EINVAL)
    check_flags(flags)
    if resolve & RESOLVE_CACHED and flags & (O_TRUNC | O_CREAT | O_TMPFILE & ~0o200000):
        raise Errno(EAGAIN)
    path = task.mm.cstring(pathname)
    if not path:
        raise Errno(ENOENT)
    task.files.check_room()
    file = do_open(task.kernel.vfs, task, dirfd, path, flags, mode, resolve & ~RESOLVE_CACHED)
    if not isinstance(file, File):
        file = await file
    return install_new(task, file, bool(flags & O_CLOEXEC))


@syscall(3, "close", fd=Fd)
def close(task: Task, fd: int) -> None:
    task.files.close(fd)


@syscall(436, "close_range", first=UInt, last=UInt, flags=Flags("close_range"))
def close_range(task: Task, first: int, last: int, flags: int) -> None:
    if flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) or first > last:
        raise Errno(EINVAL)
    if flags & CLOSE_RANGE_UNSHARE and task.files.users > 1:
        shared = task.files
        task.files = shared.copy()
        shared.users -= 1
    task.files.close_range(first, last, bool(flags & CLOSE_RANGE_CLOEXEC))


@syscall(319, "memfd_create", returns=Fd, name=Str, flags=Flags("memfd"))
def memfd_create(task: Task, name: int, flags: int) -> int:
    if flags & ~(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC):
        raise Errno(EINVAL)
    if flags & MFD_EXEC and flags & MFD_NOEXEC_SEAL:
        raise Errno(EINVAL)
    try:
        text = task.mm.cstring(name, MFD_NAME_MAX + 1)
    except Errno as error:
        raise Errno(EFAULT if error.code == EFAULT else EINVAL) from None
    file = open_memfd(task, text, flags)
    return install_new(task, cast(File, file), bool(flags & MFD_CLOEXEC))
