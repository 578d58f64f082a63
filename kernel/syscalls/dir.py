"""Directories: getdents, mkdir, rmdir, chdir, getcwd, chroot (fs/readdir.c, fs/namei.c, fs/open.c, fs/d_path.c)."""

from __future__ import annotations

from struct import Struct as Layout
from typing import TYPE_CHECKING

from kernel.errno import EINVAL, ENAMETOOLONG, ENOTDIR, EPERM, ERANGE, Errno
from kernel.fs import fsnotify, nameops
from kernel.fs.uapi import AT_FDCWD, MAY_EXEC, PATH_MAX, S_IFDIR
from kernel.syscalls.table import syscall
from kernel.syscalls.types import AtFd, Fd, Mode, Path, Size, Struct, UInt
from kernel.task.capability import CAP_SYS_CHROOT

if TYPE_CHECKING:
    from kernel.task.task import Task

_DIRENT64 = Layout("<QqHB")
_DIRENT = Layout("<QqH")


@syscall(217, "getdents64", fd=Fd, dirp=Struct("linux_dirent64", "out"), count=UInt)
def getdents64(task: Task, fd: int, dirp: int, count: int) -> int:
    return _getdents(task, fd, dirp, count, True)


@syscall(78, "getdents", fd=Fd, dirp=Struct("linux_dirent", "out"), count=UInt)
def getdents(task: Task, fd: int, dirp: int, count: int) -> int:
    return _getdents(task, fd, dirp, count, False)


def _getdents(task: Task, fd: int, dirp: int, count: int, wide: bool) -> int:
    file = task.files.get(fd)
    out = bytearray()
    position = file.pos
    for name, ino, kind, after in file.readdir(task):
        if wide:
            size = 19 + len(name) + 8 & ~7
            record = _DIRENT64.pack(ino, after, size, kind) + name
        else:
            size = 18 + len(name) + 2 + 7 & ~7
            record = (_DIRENT.pack(ino, after, size) + name).ljust(size - 1, b"\0") + bytes((kind,))
        if len(out) + size > count:
            if not out:
                raise Errno(EINVAL)
            break
        out += record.ljust(size, b"\0")
        position = after
    task.mm.write(dirp, out)
    file.pos = position
    if fsnotify.active:
        fsnotify.file_event(file.dentry, fsnotify.IN_ACCESS)
    return len(out)


@syscall(83, "mkdir", pathname=Path, mode=Mode)
def mkdir(task: Task, pathname: int, mode: int) -> None:
    nameops.mkdir(task.kernel.vfs, task, AT_FDCWD, task.mm.cstring(pathname), mode)


@syscall(258, "mkdirat", dirfd=AtFd, pathname=Path, mode=Mode)
def mkdirat(task: Task, dirfd: int, pathname: int, mode: int) -> None:
    nameops.mkdir(task.kernel.vfs, task, dirfd, task.mm.cstring(pathname), mode)


@syscall(84, "rmdir", pathname=Path)
def rmdir(task: Task, pathname: int) -> None:
    nameops.rmdir(task.kernel.vfs, task, AT_FDCWD, task.mm.cstring(pathname))


@syscall(80, "chdir", path=Path)
def chdir(task: Task, path: int) -> None:
    task.fs.cwd = nameops.directory_for(task.kernel.vfs, task, task.mm.cstring(path))


@syscall(81, "fchdir", fd=Fd)
def fchdir(task: Task, fd: int) -> None:
    dentry = task.files.get_raw(fd).dentry
    if dentry.inode is None or dentry.inode.kind != S_IFDIR:
        raise Errno(ENOTDIR)
    dentry.inode.permission(task, MAY_EXEC)
    task.fs.cwd = dentry


@syscall(161, "chroot", path=Path)
def chroot(task: Task, path: int) -> None:
    dentry = nameops.directory_for(task.kernel.vfs, task, task.mm.cstring(path))
    if not task.cred.capable(CAP_SYS_CHROOT):
        raise Errno(EPERM)
    task.fs.root = dentry


@syscall(79, "getcwd", buf=Path, size=Size)
def getcwd(task: Task, buf: int, size: int) -> int:
    path = nameops.current_directory(task) + b"\0"
    if len(path) > PATH_MAX:
        raise Errno(ENAMETOOLONG)
    if len(path) > size:
        raise Errno(ERANGE)
    task.mm.write(buf, path)
    return len(path)
