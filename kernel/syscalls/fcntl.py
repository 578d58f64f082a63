"""dup, fcntl, flock and ioctl (fs/fcntl.c, fs/file.c, fs/locks.c, fs/ioctl.c)."""

from __future__ import annotations

from struct import Struct as Layout
from typing import TYPE_CHECKING

from emu.words import c_int
from kernel.errno import EBADF, EBUSY, EINVAL, EOPNOTSUPP, EOVERFLOW, EPERM, ESRCH, Errno
from kernel.fs import locks, pipe
from kernel.fs.locks import F_RDLCK, F_UNLCK, F_WRLCK, OFFSET_MAX
from kernel.fs.uapi import (
    F_SEAL_EXEC,
    F_SEAL_FUTURE_WRITE,
    F_SEAL_GROW,
    F_SEAL_SEAL,
    F_SEAL_SHRINK,
    F_SEAL_WRITE,
    O_APPEND,
    O_ASYNC,
    O_CLOEXEC,
    O_DIRECT,
    O_NOATIME,
    O_NONBLOCK,
    S_IFDIR,
    S_IFREG,
    SEEK_CUR,
    SEEK_END,
    SEEK_SET,
    TMPFS_MAGIC,
)
from kernel.syscalls.install import install_new
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Enum, Fd, Flags, Hex

if TYPE_CHECKING:
    from kernel.fs.file import File
    from kernel.fs.inode import Inode
    from kernel.task.task import Task

F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL = 0, 1, 2, 3, 4
F_GETLK, F_SETLK, F_SETLKW = 5, 6, 7
F_SETOWN, F_GETOWN, F_SETSIG, F_GETSIG = 8, 9, 10, 11
F_SETOWN_EX, F_GETOWN_EX = 15, 16
F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW = 36, 37, 38
F_SETLEASE, F_GETLEASE = 1024, 1025
F_DUPFD_CLOEXEC, F_SETPIPE_SZ, F_GETPIPE_SZ = 1030, 1031, 1032
F_ADD_SEALS, F_GET_SEALS = 1033, 1034

FD_CLOEXEC = 1
F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP = 0, 1, 2
NSIG = 64
ALL_SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE | F_SEAL_EXEC

_SETFL_MASK = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME | O_ASYNC
_ALLOWED_ON_PATH = frozenset((F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL))

_FLOCK = Layout("<hh4xqqi4x")  # l_type, l_whence, l_start, l_len, l_pid
_OWNER_EX = Layout("<ii")


# -- dup -------------------------------------------------------------------------------------------------------------


@syscall(32, "dup", returns=Fd, oldfd=Fd)
def dup(task: Task, oldfd: int) -> int:
    return install_new(task, task.files.get_raw(oldfd).get(), False)


@syscall(33, "dup2", returns=Fd, oldfd=Fd, newfd=Fd)
def dup2(task: Task, oldfd: int, newfd: int) -> int:
    if oldfd == newfd:
        task.files.get_raw(oldfd)
        return newfd
    return _dup_to(task, oldfd, newfd, False)


@syscall(292, "dup3", returns=Fd, oldfd=Fd, newfd=Fd, flags=Flags("open"))
def dup3(task: Task, oldfd: int, newfd: int, flags: int) -> int:
    if flags & ~O_CLOEXEC or oldfd == newfd:
        raise Errno(EINVAL)
    return _dup_to(task, oldfd, newfd, bool(flags & O_CLOEXEC))


def _dup_to(task: Task, oldfd: int, newfd: int, cloexec: bool) -> int:
    files = task.files
    if not 0 <= newfd < files.limit():
        raise Errno(EBADF)
    file = files.get_raw(oldfd).get()
    try:
        return files.replace(newfd, file, cloexec)
    except Errno:
        file.put()
        raise


# -- fcntl -----------------------------------------------------------------------------------------------------------


@syscall(72, "fcntl", fd=Fd, cmd=Enum("fcntl"), arg=Hex)
async def fcntl(task: Task, fd: int, cmd: int, arg: int) -> int:
    files = task.files
    file = files.get_raw(fd)
    if file.is_path and cmd not in _ALLOWED_ON_PATH:
        raise Errno(EBADF)
    if cmd == F_GETFL:
        return file.flags & ~O_CLOEXEC
    if cmd == F_SETFL:
        return _set_flags(task, file, arg)
    if cmd == F_GETFD:
        return FD_CLOEXEC if files.cloexec(fd) else 0
    if cmd == F_SETFD:
        files.set_cloexec(fd, bool(arg & FD_CLOEXEC))
        return 0
    if cmd in (F_DUPFD, F_DUPFD_CLOEXEC):
        at_least = arg & 0xFFFFFFFF
        if at_least >= files.limit():
            raise Errno(EINVAL)
        return install_new(task, file.get(), cmd == F_DUPFD_CLOEXEC, at_least)
    if cmd in (F_GETLK, F_OFD_GETLK):
        return _get_lock(task, file, arg, ofd=cmd == F_OFD_GETLK)
    if cmd in (F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW):
        await _set_lock(task, file, arg, wait=cmd in (F_SETLKW, F_OFD_SETLKW), ofd=cmd >= F_OFD_GETLK)
        return 0
    if cmd == F_SETPIPE_SZ:
        return pipe.resize(task, file, arg & 0xFFFFFFFF)
    if cmd == F_GETPIPE_SZ:
        ring = pipe.pipe_of(file)
        if ring is None:
            raise Errno(EBADF)
        return ring.max_slots * pipe.PAGE_SIZE
    if cmd in (F_ADD_SEALS, F_GET_SEALS):
        return _seals(task, file, cmd, arg & 0xFFFFFFFF)
    return _owner(task, file, cmd, arg)


def _set_flags(task: Task, file: File, flags: int) -> int:
    """F_SETFL: only O_APPEND, O_NONBLOCK, O_DIRECT, O_NOATIME and O_ASYNC change."""
    inode = file.inode
    if flags & O_NOATIME and not file.flags & O_NOATIME and task.cred.fsuid not in (0, inode.uid if inode else 0):
        raise Errno(EPERM)
    if flags & O_DIRECT and not file.is_regular and pipe.pipe_of(file) is None:
        raise Errno(EINVAL)
    file.flags = file.flags & ~_SETFL_MASK | flags & _SETFL_MASK
    return 0


def _owner(task: Task, file: File, cmd: int, arg: int) -> int:
    """Who gets SIGIO (f_owner): kept as (type, id, signal). No file sends SIGIO yet."""
    kind, number, signo = file.owner or (F_OWNER_PID, 0, 0)
    if cmd == F_GETOWN:
        return -number if kind == F_OWNER_PGRP else number
    if cmd == F_SETOWN:
        number = c_int(arg)
        if number == -(1 << 31):
            raise Errno(EINVAL)
        kind, number = (F_OWNER_PGRP, -number) if number < 0 else (F_OWNER_PID, number)
    elif cmd == F_GETOWN_EX:
        task.mm.write(arg, _OWNER_EX.pack(kind, number))
        return 0
    elif cmd == F_SETOWN_EX:
        kind, number = _OWNER_EX.unpack(task.mm.read(arg, _OWNER_EX.size))
        if kind not in (F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP):
            raise Errno(EINVAL)
    elif cmd == F_GETSIG:
        return signo
    elif cmd == F_SETSIG:
        signo = arg
        if not 0 <= signo <= NSIG:
            raise Errno(EINVAL)
    elif cmd == F_GETLEASE:
        return F_UNLCK
    else:
        raise Errno(EINVAL)
    if cmd in (F_SETOWN, F_SETOWN_EX) and number:
        tasks = task.kernel.tasks
        known = tasks.pgroup(number) if kind == F_OWNER_PGRP else number in tasks
        if not known:
            raise Errno(ESRCH)
    file.owner = (kind, number, signo)
    return 0


def _seals(task: Task, file: File, cmd: int, seals: int) -> int:
    """F_ADD_SEALS and F_GET_SEALS: memfd_create(2) and tmpfs files."""
    inode = file.inode
    held = getattr(inode, "seals", None)
    if held is None or inode.sb.magic != TMPFS_MAGIC:
        raise Errno(EINVAL)
    if cmd == F_GET_SEALS:
        return held
    if not file.writable:
        raise Errno(EPERM)
    if seals & ~ALL_SEALS:
        raise Errno(EINVAL)
    if held & F_SEAL_SEAL:
        raise Errno(EPERM)
    if seals & F_SEAL_WRITE and not held & F_SEAL_WRITE and _mapped_for_writing(task, inode):
        raise Errno(EBUSY)
    if seals & F_SEAL_EXEC and inode.mode & 0o111:
        seals |= F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE
    inode.seals = held | seals
    return 0


def _mapped_for_writing(task: Task, inode: Inode) -> bool:
    """Could somebody write to the file through a shared mapping (mapping_deny_writable)?"""
    spaces = {other.mm for other in task.kernel.tasks.values() if other.mm is not None}
    return any(
        vma.shared and vma.file is not None and vma.file.inode is inode and vma.file.writable
        for mm in spaces
        for vma in mm.vma_rows()
    )


# -- record locks ----------------------------------------------------------------------------------------------------


def _lock_range(file: File, whence: int, start: int, length: int) -> tuple[int, int]:
    """[first, last] byte of a struct flock (flock64_to_posix_lock)."""
    if whence == SEEK_SET:
        base = 0
    elif whence == SEEK_CUR:
        base = file.pos
    elif whence == SEEK_END:
        base = file.inode.size
    else:
        raise Errno(EINVAL)
    if start > OFFSET_MAX - base:
        raise Errno(EOVERFLOW)
    start += base
    if start < 0:
        raise Errno(EINVAL)
    if length > 0:
        if length - 1 > OFFSET_MAX - start:
            raise Errno(EOVERFLOW)
        return start, start + length - 1
    if length < 0:
        if start + length < 0:
            raise Errno(EINVAL)
        return start + length, start - 1
    return start, OFFSET_MAX


def _get_lock(task: Task, file: File, addr: int, *, ofd: bool) -> int:
    kind, whence, offset, length, pid = _FLOCK.unpack(task.mm.read(addr, _FLOCK.size))
    if kind not in (F_RDLCK, F_WRLCK):
        raise Errno(EINVAL)
    start, end = _lock_range(file, whence, offset, length)
    if ofd and pid:
        raise Errno(EINVAL)
    held = file.inode.locks
    owner = file if ofd else task.files
    other = held.conflict(owner, kind == F_WRLCK, start, end) if held is not None else None
    if other is None:
        task.mm.write(addr, F_UNLCK.to_bytes(2, "little"))
        return 0
    span = 0 if other.end == OFFSET_MAX else other.end - other.start + 1
    task.mm.write(addr, _FLOCK.pack(F_WRLCK if other.write else F_RDLCK, SEEK_SET, other.start, span, other.pid))
    return 0


async def _set_lock(task: Task, file: File, addr: int, *, wait: bool, ofd: bool) -> None:
    kind, whence, offset, length, pid = _FLOCK.unpack(task.mm.read(addr, _FLOCK.size))
    start, end = _lock_range(file, whence, offset, length)
    if kind == F_RDLCK:
        if not file.readable:
            raise Errno(EBADF)
    elif kind == F_WRLCK:
        if not file.writable:
            raise Errno(EBADF)
    elif kind != F_UNLCK:
        raise Errno(EINVAL)
    if ofd and pid:
        raise Errno(EINVAL)
    await locks.set_record_lock(
        task, file.inode, file if ofd else task.files, kind, start, end, wait=wait, ofd=ofd
    )


# -- flock -----------------------------------------------------------------------------------------------------------

LOCK_SH, LOCK_EX, LOCK_NB, LOCK_UN, LOCK_MAND = 1, 2, 4, 8, 32


@syscall(73, "flock", fd=Fd, operation=Flags("flock"))
async def flock(task: Task, fd: int, operation: int) -> None:
    if operation & LOCK_MAND:
        raise Errno(EOPNOTSUPP)
    command = operation & ~LOCK_NB
    if command not in (LOCK_SH, LOCK_EX, LOCK_UN):
        raise Errno(EINVAL)
    file = task.files.get(fd)
    if command == LOCK_UN:
        if file.inode.locks is not None:
            file.inode.locks.unlock_flock(file)
        return
    if not (file.readable or file.writable):
        raise Errno(EBADF)
    await locks.flock(task, file, command == LOCK_EX, not operation & LOCK_NB)


# -- ioctl -----------------------------------------------------------------------------------------------------------

FIGETBSZ = 2
FIONREAD = 0x541B
FIONBIO = 0x5421
FIONCLEX, FIOCLEX, FIOASYNC = 0x5450, 0x5451, 0x5452
FIOQSIZE = 0x5460
FICLONE, FICLONERANGE = 0x40049409, 0x4020940D


@syscall(16, "ioctl", fd=Fd, cmd=Enum("ioctl"), arg=Hex)
async def ioctl(task: Task, fd: int, cmd: int, arg: int) -> int:
    files = task.files
    file = files.get(fd)
    if cmd in (FIOCLEX, FIONCLEX):
        files.set_cloexec(fd, cmd == FIOCLEX)
        return 0
    if cmd in (FIONBIO, FIOASYNC):
        bit = O_NONBLOCK if cmd == FIONBIO else O_ASYNC
        on = any(task.mm.read(arg, 4))
        file.flags = file.flags | bit if on else file.flags & ~bit
        return 0
    kind = file.inode.kind if file.inode is not None else 0
    if kind in (S_IFREG, S_IFDIR):
        if cmd == FIOQSIZE:
            task.mm.write(arg, file.inode.size.to_bytes(8, "little"))
            return 0
        if cmd == FIGETBSZ:
            task.mm.write(arg, (4096).to_bytes(4, "little"))
            return 0
        if cmd == FIONREAD and kind == S_IFREG:
            task.mm.write(arg, (file.inode.size - file.pos & 0xFFFFFFFF).to_bytes(4, "little"))
            return 0
        if cmd in (FICLONE, FICLONERANGE):
            raise Errno(EOPNOTSUPP)
    return await file.ioctl(task, cmd, arg)
