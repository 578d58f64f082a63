"""inotify_init, inotify_add_watch, inotify_rm_watch (fs/notify/inotify/inotify_user.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import EINVAL, ENOTDIR, Errno
from kernel.fs.fsnotify import IN_ALL_EVENTS
from kernel.fs.inotify import (
    IN_DONT_FOLLOW,
    IN_EXCL_UNLINK,
    IN_MASK_ADD,
    IN_MASK_CREATE,
    IN_ONESHOT,
    IN_ONLYDIR,
    InotifyFile,
)
from kernel.fs.uapi import AT_FDCWD, MAY_READ, O_CLOEXEC, O_NONBLOCK, S_IFDIR
from kernel.syscalls.install import install_new
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Fd, Flags, Int, Path

if TYPE_CHECKING:
    from kernel.task.task import Task

_OPTIONS = IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK | IN_MASK_CREATE | IN_MASK_ADD | IN_ONESHOT
_EVENTS = IN_ALL_EVENTS | 0x2000 | 0x4000 | 0x8000 | 0x40000000


@syscall(253, "inotify_init", returns=Fd)
def inotify_init(task: Task) -> int:
    return inotify_init1(task, 0)


@syscall(294, "inotify_init1", returns=Fd, flags=Flags("inotify_init"))
def inotify_init1(task: Task, flags: int) -> int:
    if flags & ~(O_CLOEXEC | O_NONBLOCK):
        raise Errno(EINVAL)
    return install_new(task, InotifyFile(task, flags), bool(flags & O_CLOEXEC))


def _instance(task: Task, fd: int) -> InotifyFile:
    file = task.files.get(fd)
    if not isinstance(file, InotifyFile):
        raise Errno(EINVAL)
    return file


@syscall(254, "inotify_add_watch", fd=Fd, pathname=Path, mask=Flags("inotify_mask"))
def inotify_add_watch(task: Task, fd: int, pathname: int, mask: int) -> int:
    if not mask & (IN_ALL_EVENTS | 0x2000 | 0x4000 | 0x8000) or mask & ~(_EVENTS | _OPTIONS):
        raise Errno(EINVAL)
    if mask & IN_MASK_ADD and mask & IN_MASK_CREATE:
        task.files.get(fd)
        raise Errno(EINVAL)
    instance = _instance(task, fd)
    path = task.mm.cstring(pathname)
    inode = task.kernel.vfs.resolve(task, AT_FDCWD, path, not mask & IN_DONT_FOLLOW).inode
    if mask & IN_ONLYDIR and inode.kind != S_IFDIR:
        raise Errno(ENOTDIR)
    inode.permission(task, MAY_READ)
    return instance.add(inode, mask)


@syscall(255, "inotify_rm_watch", fd=Fd, wd=Int)
def inotify_rm_watch(task: Task, fd: int, wd: int) -> None:
    _instance(task, fd).remove(wd)
