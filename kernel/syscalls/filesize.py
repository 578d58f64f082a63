"""Size and safety of data: truncate, fallocate, the sync family, fadvise, readahead (fs/open.c, fs/sync.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import EBADF, EFBIG, EINVAL, EISDIR, ENODEV, EOPNOTSUPP, ESPIPE, ETXTBSY, Errno
from kernel.fs import fsnotify
from kernel.fs.uapi import (
    AT_FDCWD,
    FALLOC_FL_COLLAPSE_RANGE,
    FALLOC_FL_INSERT_RANGE,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_UNSHARE_RANGE,
    FALLOC_FL_ZERO_RANGE,
    MAX_LFS_FILESIZE,
    MAY_WRITE,
    S_IFBLK,
    S_IFDIR,
    S_IFIFO,
    S_IFLNK,
    S_IFREG,
    TMPFS_MAGIC,
)
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Enum, Fd, Flags, Offset, Path, Size

if TYPE_CHECKING:
    from kernel.task.task import Task

_RANGE_MODES = (
    FALLOC_FL_PUNCH_HOLE
    | FALLOC_FL_COLLAPSE_RANGE
    | FALLOC_FL_ZERO_RANGE
    | FALLOC_FL_INSERT_RANGE
    | FALLOC_FL_UNSHARE_RANGE
)
SYNC_FILE_RANGE_VALID = 7


@syscall(76, "truncate", path=Path, length=Offset)
def truncate(task: Task, path: int, length: int) -> None:
    if length < 0:
        raise Errno(EINVAL)
    dentry = task.kernel.vfs.resolve(task, AT_FDCWD, task.mm.cstring(path))
    inode = dentry.inode
    if inode.kind == S_IFDIR:
        raise Errno(EISDIR)
    if inode.kind != S_IFREG:
        raise Errno(EINVAL)
    inode.permission(task, MAY_WRITE)
    if inode.deny_write:
        raise Errno(ETXTBSY)
    inode.truncate(task, length)
    if fsnotify.active:
        fsnotify.file_event(dentry, fsnotify.IN_MODIFY)


@syscall(77, "ftruncate", fd=Fd, length=Offset)
def ftruncate(task: Task, fd: int, length: int) -> None:
    if length < 0:
        raise Errno(EINVAL)
    file = task.files.get(fd)
    if file.inode.kind != S_IFREG or not file.writable:
        raise Errno(EINVAL)
    file.truncate(task, length)


@syscall(285, "fallocate", fd=Fd, mode=Flags("fallocate", "i32"), offset=Offset, len=Offset)
def fallocate(task: Task, fd: int, mode: int, offset: int, length: int) -> None:
    file = task.files.get(fd)
    if offset < 0 or length <= 0:
        raise Errno(EINVAL)
    if mode & ~(_RANGE_MODES | FALLOC_FL_KEEP_SIZE):
        raise Errno(EOPNOTSUPP)
    kind = mode & _RANGE_MODES
    keep = bool(mode & FALLOC_FL_KEEP_SIZE)
    if kind & (kind - 1) or (kind == FALLOC_FL_PUNCH_HOLE and not keep):
        raise Errno(EOPNOTSUPP)
    if keep and kind in (FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE, FALLOC_FL_UNSHARE_RANGE):
        raise Errno(EOPNOTSUPP)
    if not file.writable:
        raise Errno(EBADF)
    inode = file.inode
    if inode.kind == S_IFIFO:
        raise Errno(ESPIPE)
    if inode.kind == S_IFDIR:
        raise Errno(EISDIR)
    if inode.kind not in (S_IFREG, S_IFBLK):
        raise Errno(ENODEV)
    if offset + length > MAX_LFS_FILESIZE:
        raise Errno(EFBIG)
    if kind == FALLOC_FL_UNSHARE_RANGE or (
        inode.sb.magic == TMPFS_MAGIC and mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE)
    ):
        raise Errno(EOPNOTSUPP)
    if not file.is_regular:
        raise Errno(EOPNOTSUPP)
    file.fallocate(task, mode, offset, length)


@syscall(162, "sync")
def sync(task: Task) -> None:
    task.kernel.vfs.sync()


@syscall(306, "syncfs", fd=Fd)
def syncfs(task: Task, fd: int) -> None:
    task.files.get(fd).inode.sb.sync()


@syscall(74, "fsync", fd=Fd)
def fsync(task: Task, fd: int) -> None:
    task.files.get(fd).fsync(task)


@syscall(75, "fdatasync", fd=Fd)
def fdatasync(task: Task, fd: int) -> None:
    task.files.get(fd).fsync(task)


@syscall(277, "sync_file_range", fd=Fd, offset=Offset, nbytes=Offset, flags=Flags("sync_file_range"))
def sync_file_range(task: Task, fd: int, offset: int, nbytes: int, flags: int) -> None:
    file = task.files.get(fd)
    if flags & ~SYNC_FILE_RANGE_VALID or offset < 0 or nbytes < 0 or offset + nbytes > MAX_LFS_FILESIZE:
        raise Errno(EINVAL)
    if file.inode.kind not in (S_IFREG, S_IFBLK, S_IFDIR, S_IFLNK):
        raise Errno(ESPIPE)
    if file.is_regular:
        file.fsync(task)


@syscall(221, "fadvise64", fd=Fd, offset=Offset, len=Size, advice=Enum("fadvise"))
def fadvise64(task: Task, fd: int, offset: int, length: int, advice: int) -> None:
    file = task.files.get(fd)
    if file.inode.kind == S_IFIFO:
        raise Errno(ESPIPE)
    if length >= 1 << 63 or advice > 5:
        raise Errno(EINVAL)
    # all six are hints about caching; the page cache has no use for them


@syscall(187, "readahead", fd=Fd, offset=Offset, count=Size)
def readahead(task: Task, fd: int, offset: int, count: int) -> None:
    file = task.files.get(fd)
    if not file.readable:
        raise Errno(EBADF)
    if file.inode.kind not in (S_IFREG, S_IFBLK) or not file.is_regular:
        raise Errno(EINVAL)
    # nothing to do: the cache reads the host's, which reads ahead by itself
