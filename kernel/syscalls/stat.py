"""stat and its forms, statx, access, readlink, statfs (fs/stat.c, fs/open.c, fs/statfs.c)."""

from __future__ import annotations

import dataclasses
from struct import Struct as Layout
from typing import TYPE_CHECKING

from kernel.errno import EINVAL, ENOENT, Errno
from kernel.fs.uapi import (
    AT_EACCESS,
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_NO_AUTOMOUNT,
    AT_STATX_SYNC_TYPE,
    AT_SYMLINK_NOFOLLOW,
    S_IFLNK,
    major,
    minor,
)
from kernel.syscalls.table import syscall
from kernel.syscalls.types import AtFd, BufOut, Fd, Flags, Int, Path, Struct, ULong

if TYPE_CHECKING:
    from kernel.fs.inode import Inode, Stat, StatFs
    from kernel.task.task import Task

STAT = Layout("<QQQIII4xQqqqqQqQqQ24x")
STATX = Layout("<IIQIIIH2xQQQQ" + "qI4x" * 4 + "IIIIQII96x")
STATFS = Layout("<qqQQQQQQqqq32x")
SECOND = 10**9

STATX_BTIME, STATX_MNT_ID, STATX_BASIC_STATS = 0x800, 0x1000, 0x7FF
STATX_MTIME_CTIME = 0xC0
STATX_RESERVED = 0x80000000
STATX_ATTR_MOUNT_ROOT = 0x2000


def pack_stat(st: Stat) -> bytes:
    """struct stat of x86-64."""
    atime, mtime, ctime = st.atime, st.mtime, st.ctime
    return STAT.pack(
        st.dev, st.ino, st.nlink, st.mode, st.uid, st.gid, st.rdev, st.size, st.blksize, st.blocks,
        atime // SECOND, atime % SECOND, mtime // SECOND, mtime % SECOND, ctime // SECOND, ctime % SECOND,
    )  # fmt: skip


def _find(task: Task, dirfd: int, pathname: int, flags: int) -> Inode:
    """The file that a stat call means; a NULL path is an empty one under AT_EMPTY_PATH."""
    if flags & AT_EMPTY_PATH:
        path = task.mm.cstring(pathname) if pathname else b""
        if not path:
            return task.fs.cwd.inode if dirfd == AT_FDCWD else task.files.get_raw(dirfd).inode
    else:
        path = task.mm.cstring(pathname)
    return task.kernel.vfs.resolve(task, dirfd, path, not flags & AT_SYMLINK_NOFOLLOW).inode


@syscall(4, "stat", pathname=Path, statbuf=Struct("stat", "out"))
def stat(task: Task, pathname: int, statbuf: int) -> None:
    inode = task.kernel.vfs.resolve(task, AT_FDCWD, task.mm.cstring(pathname)).inode
    task.mm.write(statbuf, pack_stat(inode.getattr(task)))


@syscall(6, "lstat", pathname=Path, statbuf=Struct("stat", "out"))
def lstat(task: Task, pathname: int, statbuf: int) -> None:
    inode = task.kernel.vfs.resolve(task, AT_FDCWD, task.mm.cstring(pathname), False).inode
    task.mm.write(statbuf, pack_stat(inode.getattr(task)))


@syscall(5, "fstat", fd=Fd, statbuf=Struct("stat", "out"))
def fstat(task: Task, fd: int, statbuf: int) -> None:
    task.mm.write(statbuf, pack_stat(task.files.get_raw(fd).inode.getattr(task)))


@syscall(262, "newfstatat", dirfd=AtFd, pathname=Path, statbuf=Struct("stat", "out"), flags=Flags("at"))
def newfstatat(task: Task, dirfd: int, pathname: int, statbuf: int, flags: int) -> None:
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE):
        raise Errno(EINVAL)
    inode = _find(task, dirfd, pathname, flags)
    task.mm.write(statbuf, pack_stat(inode.getattr(task)))


@syscall(332, "statx", dirfd=AtFd, pathname=Path, flags=Flags("at_statx"), mask=Flags("statx"),
         statxbuf=Struct("statx", "out"))
def statx(task: Task, dirfd: int, pathname: int, flags: int, mask: int, statxbuf: int) -> None:
    if mask & STATX_RESERVED or flags & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE:
        raise Errno(EINVAL)
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE):
        raise Errno(EINVAL)
    vfs = task.kernel.vfs
    path = b"" if flags & AT_EMPTY_PATH and not pathname else task.mm.cstring(pathname)
    dentry = vfs.resolve(
        task, dirfd, path, not flags & AT_SYMLINK_NOFOLLOW, empty_ok=bool(flags & AT_EMPTY_PATH)
    )
    inode = dentry.inode
    st = inode.getattr(task)
    result = STATX_BASIC_STATS | STATX_MNT_ID
    btime = inode.birth_time() if mask & STATX_BTIME else None
    if btime is not None:
        result |= STATX_BTIME
    if not mask & STATX_MTIME_CTIME and inode.sb.multigrain:
        result &= ~STATX_MTIME_CTIME
    times: list[int] = []
    for time in (st.atime, btime or 0, st.ctime, st.mtime):
        times += divmod(time, SECOND)
    data = STATX.pack(
        result, st.blksize, STATX_ATTR_MOUNT_ROOT if dentry.is_mount else 0, st.nlink, st.uid, st.gid, st.mode,
        st.ino, st.size, st.blocks, inode.sb.statx_attributes, *times, major(st.rdev), minor(st.rdev), major(st.dev),
        minor(st.dev), vfs.mount_of(dentry).id, 0, 0,
    )  # fmt: skip
    task.mm.write(statxbuf, data)


# -- access ---------------------------------------------------------------------------------------------------------


def _access(task: Task, dirfd: int, pathname: int, mode: int, flags: int) -> None:
    if mode & ~7:
        raise Errno(EINVAL)
    if flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise Errno(EINVAL)
    cred = task.cred
    if not flags & AT_EACCESS and (
        cred.fsuid != cred.uid or cred.fsgid != cred.gid or cred.cap_effective != cred.cap_permitted or cred.uid
    ):
        # access(2) asks for the real ids: a set-user-id program's question about its user
        effective = cred.cap_permitted if cred.uid == 0 else 0
        task.cred = dataclasses.replace(cred, fsuid=cred.uid, fsgid=cred.gid, cap_effective=effective)
    try:
        path = task.mm.cstring(pathname)
        inode = task.kernel.vfs.resolve(
            task, dirfd, path, not flags & AT_SYMLINK_NOFOLLOW, empty_ok=bool(flags & AT_EMPTY_PATH)
        ).inode
        if mode:
            inode.permission(task, mode)
    finally:
        task.cred = cred


@syscall(21, "access", pathname=Path, mode=Flags("access"))
def access(task: Task, pathname: int, mode: int) -> None:
    _access(task, AT_FDCWD, pathname, mode, 0)


@syscall(269, "faccessat", dirfd=AtFd, pathname=Path, mode=Flags("access"))
def faccessat(task: Task, dirfd: int, pathname: int, mode: int) -> None:
    _access(task, dirfd, pathname, mode, 0)


@syscall(439, "faccessat2", dirfd=AtFd, pathname=Path, mode=Flags("access"), flags=Flags("faccessat"))
def faccessat2(task: Task, dirfd: int, pathname: int, mode: int, flags: int) -> None:
    _access(task, dirfd, pathname, mode, flags)


# -- readlink -------------------------------------------------------------------------------------------------------


def _readlink(task: Task, dirfd: int, pathname: int, buf: int, size: int) -> int:
    if size <= 0:
        raise Errno(EINVAL)
    path = task.mm.cstring(pathname)
    dentry = task.kernel.vfs.resolve(task, dirfd, path, False, empty_ok=True)
    inode = dentry.inode
    if not path and (dirfd == AT_FDCWD or inode.kind != S_IFLNK):
        raise Errno(ENOENT)
    if inode.kind != S_IFLNK:
        raise Errno(EINVAL)
    target = inode.readlink(task)[:size]
    if inode.atime <= inode.mtime or inode.atime <= inode.ctime:
        inode.accessed(inode.sb.now())
    task.mm.write(buf, target)
    return len(target)


@syscall(89, "readlink", pathname=Path, buf=BufOut("bufsiz"), bufsiz=Int)
def readlink(task: Task, pathname: int, buf: int, bufsiz: int) -> int:
    return _readlink(task, AT_FDCWD, pathname, buf, bufsiz)


@syscall(267, "readlinkat", dirfd=AtFd, pathname=Path, buf=BufOut("bufsiz"), bufsiz=Int)
def readlinkat(task: Task, dirfd: int, pathname: int, buf: int, bufsiz: int) -> int:
    return _readlink(task, dirfd, pathname, buf, bufsiz)


# -- statfs ---------------------------------------------------------------------------------------------------------


def _pack_statfs(figures: StatFs) -> bytes:
    return STATFS.pack(*figures)


@syscall(137, "statfs", pathname=Path, buf=Struct("statfs", "out"))
def statfs(task: Task, pathname: int, buf: int) -> None:
    inode = task.kernel.vfs.resolve(task, AT_FDCWD, task.mm.cstring(pathname)).inode
    task.mm.write(buf, _pack_statfs(inode.sb.statfs()))


@syscall(138, "fstatfs", fd=Fd, buf=Struct("statfs", "out"))
def fstatfs(task: Task, fd: int, buf: int) -> None:
    task.mm.write(buf, _pack_statfs(task.files.get_raw(fd).inode.sb.statfs()))


@syscall(136, "ustat", dev=ULong, ubuf=ULong)
def ustat(task: Task, dev: int, ubuf: int) -> None:
    for mount in task.kernel.vfs.mounts:
        if mount.sb.dev == dev:
            figures = mount.sb.statfs()
            task.mm.write(ubuf, Layout("<i4xQ12x4x").pack(figures.bfree & 0x7FFFFFFF, figures.ffree))
            return
    raise Errno(EINVAL)


