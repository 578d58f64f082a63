"""Attributes: chmod, chown, utimes and their forms, umask (fs/open.c, fs/utimes.c, fs/attr.c)."""

from __future__ import annotations

from struct import Struct as Layout
from typing import TYPE_CHECKING

from kernel.errno import EINVAL, EOPNOTSUPP, EPERM, Errno
from kernel.fs import fsnotify
from kernel.fs.permission import owner_or_capable
from kernel.fs.uapi import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    MAY_WRITE,
    S_IFDIR,
    S_IFLNK,
    S_ISGID,
    S_ISUID,
    S_IXGRP,
    UTIME_NOW,
    UTIME_OMIT,
)
from kernel.syscalls.table import syscall
from kernel.syscalls.types import AtFd, Fd, Flags, Gid, Mode, Path, Struct, Uid
from kernel.task.capability import CAP_CHOWN, CAP_FSETID

if TYPE_CHECKING:
    from kernel.fs.dentry import Dentry
    from kernel.task.task import Task

_TIMESPECS = Layout("<qqqq")
_UTIMBUF = Layout("<qq")
SECOND = 10**9
NO_ID = 0xFFFFFFFF


def _path(task: Task, dirfd: int, pathname: int, flags: int) -> Dentry:
    return task.kernel.vfs.resolve(
        task, dirfd, task.mm.cstring(pathname), not flags & AT_SYMLINK_NOFOLLOW, empty_ok=bool(flags & AT_EMPTY_PATH)
    )


def _set(task: Task, dentry: Dentry, **changes: int) -> None:
    """notify_change: set the attributes and tell the watchers."""
    dentry.inode.setattr(task, **changes)
    if fsnotify.active:
        times = [name in changes for name in ("atime", "mtime")]
        if times == [True, False] and len(changes) == 1:
            mask = fsnotify.IN_ACCESS
        elif times == [False, True] and len(changes) == 1:
            mask = fsnotify.IN_MODIFY
        else:
            mask = fsnotify.IN_ATTRIB
        fsnotify.file_event(dentry, mask)


# -- mode -----------------------------------------------------------------------------------------------------------


def _chmod(task: Task, dentry: Dentry, mode: int) -> None:
    inode, cred = dentry.inode, task.cred
    mode &= 0o7777
    if not owner_or_capable(inode, cred):
        raise Errno(EPERM)
    if inode.kind == S_IFLNK:
        raise Errno(EOPNOTSUPP)
    if not cred.in_group(inode.gid) and not cred.capable(CAP_FSETID):
        mode &= ~S_ISGID
    _set(task, dentry, mode=mode)


@syscall(90, "chmod", pathname=Path, mode=Mode)
def chmod(task: Task, pathname: int, mode: int) -> None:
    _chmod(task, _path(task, AT_FDCWD, pathname, 0), mode)


@syscall(91, "fchmod", fd=Fd, mode=Mode)
def fchmod(task: Task, fd: int, mode: int) -> None:
    _chmod(task, task.files.get(fd).dentry, mode)


@syscall(268, "fchmodat", dirfd=AtFd, pathname=Path, mode=Mode)
def fchmodat(task: Task, dirfd: int, pathname: int, mode: int) -> None:
    _chmod(task, _path(task, dirfd, pathname, 0), mode)


@syscall(452, "fchmodat2", dirfd=AtFd, pathname=Path, mode=Mode, flags=Flags("at"))
def fchmodat2(task: Task, dirfd: int, pathname: int, mode: int, flags: int) -> None:
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise Errno(EINVAL)
    _chmod(task, _path(task, dirfd, pathname, flags), mode)


@syscall(95, "umask", returns=Mode, mask=Mode)
def umask(task: Task, mask: int) -> int:
    old = task.fs.umask
    task.fs.umask = mask & 0o777
    return old


# -- owner ----------------------------------------------------------------------------------------------------------


def _chown(task: Task, dentry: Dentry, uid: int, gid: int) -> None:
    inode, cred = dentry.inode, task.cred
    changes: dict[str, int] = {}
    if uid != NO_ID:
        changes["uid"] = uid
    if gid != NO_ID:
        changes["gid"] = gid
    privileged = cred.capable(CAP_CHOWN)
    owner = cred.fsuid == inode.uid
    if uid != NO_ID and not privileged and not (owner and uid == inode.uid):
        raise Errno(EPERM)
    if gid != NO_ID and not privileged and not (owner and (gid == inode.gid or cred.in_group(gid))):
        raise Errno(EPERM)
    if not changes and not owner_or_capable(inode, cred):
        raise Errno(EPERM)
    mode = inode.mode
    if inode.kind != S_IFDIR:  # a new owner shall not inherit the old one's privileges
        mode &= ~S_ISUID
        if mode & S_IXGRP or (not cred.in_group(inode.gid) and not cred.capable(CAP_FSETID)):
            mode &= ~S_ISGID
        if mode != inode.mode:
            changes["mode"] = mode
    _set(task, dentry, **changes)


@syscall(92, "chown", pathname=Path, owner=Uid, group=Gid)
def chown(task: Task, pathname: int, owner: int, group: int) -> None:
    _chown(task, _path(task, AT_FDCWD, pathname, 0), owner, group)


@syscall(93, "fchown", fd=Fd, owner=Uid, group=Gid)
def fchown(task: Task, fd: int, owner: int, group: int) -> None:
    _chown(task, task.files.get(fd).dentry, owner, group)


@syscall(94, "lchown", pathname=Path, owner=Uid, group=Gid)
def lchown(task: Task, pathname: int, owner: int, group: int) -> None:
    _chown(task, _path(task, AT_FDCWD, pathname, AT_SYMLINK_NOFOLLOW), owner, group)


@syscall(260, "fchownat", dirfd=AtFd, pathname=Path, owner=Uid, group=Gid, flags=Flags("at"))
def fchownat(task: Task, dirfd: int, pathname: int, owner: int, group: int, flags: int) -> None:
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise Errno(EINVAL)
    _chown(task, _path(task, dirfd, pathname, flags), owner, group)


# -- times ----------------------------------------------------------------------------------------------------------


def _utimes(task: Task, dentry: Dentry, times: tuple[int, int, int, int] | None) -> None:
    """Set access and modification time: (s, ns, s, ns), where ns may be UTIME_NOW or UTIME_OMIT; None is now."""
    inode = dentry.inode
    now = inode.sb.now()
    if times is None or (times[1] == UTIME_NOW and times[3] == UTIME_NOW):
        if not owner_or_capable(inode, task.cred):
            inode.permission(task, MAY_WRITE)
        _set(task, dentry, atime=now, mtime=now)
        return
    if not owner_or_capable(inode, task.cred):
        raise Errno(EPERM)
    changes: dict[str, int] = {}
    for name, seconds, nanoseconds in (("atime", times[0], times[1]), ("mtime", times[2], times[3])):
        if nanoseconds == UTIME_NOW:
            changes[name] = now
        elif nanoseconds != UTIME_OMIT:
            changes[name] = min(max(seconds, -(1 << 31)), TIME_MAX) * SECOND + nanoseconds
    _set(task, dentry, **changes)


TIME_MAX = 0x37FFFFFFF
"""The last second that ext4 can store (year 2446)."""


def _do_utimes(task: Task, dirfd: int, pathname: int, times: tuple[int, int, int, int] | None, flags: int) -> None:
    if times is not None:
        for nanoseconds in (times[1], times[3]):
            if nanoseconds not in (UTIME_NOW, UTIME_OMIT) and not 0 <= nanoseconds < SECOND:
                raise Errno(EINVAL)
    if not pathname and dirfd != AT_FDCWD:
        if flags:
            raise Errno(EINVAL)
        dentry = task.files.get(dirfd).dentry
    else:
        if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
            raise Errno(EINVAL)
        dentry = _path(task, dirfd, pathname, flags)
    _utimes(task, dentry, times)


def _microseconds(task: Task, addr: int) -> tuple[int, int, int, int] | None:
    """struct timeval[2]."""
    if not addr:
        return None
    s0, us0, s1, us1 = _TIMESPECS.unpack(task.mm.read(addr, 32))
    if not (0 <= us0 < 1000000 and 0 <= us1 < 1000000):
        raise Errno(EINVAL)
    return s0, us0 * 1000, s1, us1 * 1000


@syscall(280, "utimensat", dirfd=AtFd, pathname=Path, times=Struct("timespec", "in", 2), flags=Flags("at"))
def utimensat(task: Task, dirfd: int, pathname: int, times: int, flags: int) -> None:
    values = None
    if times:
        values = _TIMESPECS.unpack(task.mm.read(times, 32))
        if values[1] == UTIME_OMIT and values[3] == UTIME_OMIT:
            return
    _do_utimes(task, dirfd, pathname, values, flags)


@syscall(261, "futimesat", dirfd=AtFd, pathname=Path, times=Struct("timeval", "in", 2))
def futimesat(task: Task, dirfd: int, pathname: int, times: int) -> None:
    _do_utimes(task, dirfd, pathname, _microseconds(task, times), 0)


@syscall(235, "utimes", filename=Path, times=Struct("timeval", "in", 2))
def utimes(task: Task, filename: int, times: int) -> None:
    _do_utimes(task, AT_FDCWD, filename, _microseconds(task, times), 0)


@syscall(132, "utime", filename=Path, times=Struct("utimbuf"))
def utime(task: Task, filename: int, times: int) -> None:
    values = None
    if times:
        access, modification = _UTIMBUF.unpack(task.mm.read(times, 16))
        values = (access, 0, modification, 0)
    _do_utimes(task, AT_FDCWD, filename, values, 0)
