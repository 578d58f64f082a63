"""Names: link, symlink, unlink, rename, mknod and their *at forms (fs/namei.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import EINVAL, Errno
from kernel.fs import nameops
from kernel.fs.uapi import AT_FDCWD, AT_REMOVEDIR
from kernel.syscalls.table import syscall
from kernel.syscalls.types import AtFd, Flags, Mode, Path, UInt

if TYPE_CHECKING:
    from kernel.task.task import Task


@syscall(86, "link", oldpath=Path, newpath=Path)
def link(task: Task, oldpath: int, newpath: int) -> None:
    linkat(task, AT_FDCWD, oldpath, AT_FDCWD, newpath, 0)


@syscall(265, "linkat", olddirfd=AtFd, oldpath=Path, newdirfd=AtFd, newpath=Path, flags=Flags("at"))
def linkat(task: Task, olddirfd: int, oldpath: int, newdirfd: int, newpath: int, flags: int) -> None:
    cstring = task.mm.cstring
    nameops.link(task.kernel.vfs, task, olddirfd, cstring(oldpath), newdirfd, cstring(newpath), flags)


@syscall(88, "symlink", target=Path, linkpath=Path)
def symlink(task: Task, target: int, linkpath: int) -> None:
    symlinkat(task, target, AT_FDCWD, linkpath)


@syscall(266, "symlinkat", target=Path, newdirfd=AtFd, linkpath=Path)
def symlinkat(task: Task, target: int, newdirfd: int, linkpath: int) -> None:
    cstring = task.mm.cstring
    nameops.symlink(task.kernel.vfs, task, cstring(target), newdirfd, cstring(linkpath))


@syscall(87, "unlink", pathname=Path)
def unlink(task: Task, pathname: int) -> None:
    nameops.unlink(task.kernel.vfs, task, AT_FDCWD, task.mm.cstring(pathname))


@syscall(263, "unlinkat", dirfd=AtFd, pathname=Path, flags=Flags("unlinkat"))
def unlinkat(task: Task, dirfd: int, pathname: int, flags: int) -> None:
    if flags & ~AT_REMOVEDIR:
        raise Errno(EINVAL)
    remove = nameops.rmdir if flags & AT_REMOVEDIR else nameops.unlink
    remove(task.kernel.vfs, task, dirfd, task.mm.cstring(pathname))


@syscall(82, "rename", oldpath=Path, newpath=Path)
def rename(task: Task, oldpath: int, newpath: int) -> None:
    renameat2(task, AT_FDCWD, oldpath, AT_FDCWD, newpath, 0)


@syscall(264, "renameat", olddirfd=AtFd, oldpath=Path, newdirfd=AtFd, newpath=Path)
def renameat(task: Task, olddirfd: int, oldpath: int, newdirfd: int, newpath: int) -> None:
    renameat2(task, olddirfd, oldpath, newdirfd, newpath, 0)


@syscall(316, "renameat2", olddirfd=AtFd, oldpath=Path, newdirfd=AtFd, newpath=Path, flags=Flags("rename"))
def renameat2(task: Task, olddirfd: int, oldpath: int, newdirfd: int, newpath: int, flags: int) -> None:
    cstring = task.mm.cstring
    nameops.rename(task.kernel.vfs, task, olddirfd, cstring(oldpath), newdirfd, cstring(newpath), flags)


@syscall(133, "mknod", pathname=Path, mode=Mode, dev=UInt)
def mknod(task: Task, pathname: int, mode: int, dev: int) -> None:
    nameops.mknod(task.kernel.vfs, task, AT_FDCWD, task.mm.cstring(pathname), mode & 0xFFFF, dev)


@syscall(259, "mknodat", dirfd=AtFd, pathname=Path, mode=Mode, dev=UInt)
def mknodat(task: Task, dirfd: int, pathname: int, mode: int, dev: int) -> None:
    nameops.mknod(task.kernel.vfs, task, dirfd, task.mm.cstring(pathname), mode & 0xFFFF, dev)
