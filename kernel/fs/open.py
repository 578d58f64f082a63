"""Opening files: flags, permissions, creation, truncation (fs/open.c, do_open and open_last_lookups of fs/namei.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import (
    EACCES,
    EEXIST,
    EINVAL,
    EISDIR,
    ELOOP,
    ENOENT,
    ENOTDIR,
    EPERM,
    ETXTBSY,
    Errno,
)
from kernel.fs import fsnotify
from kernel.fs.dentry import Dentry
from kernel.fs.file import File, PathFile
from kernel.fs.permission import owner_or_capable
from kernel.fs.uapi import (
    AT_EMPTY_PATH,
    AT_SYMLINK_NOFOLLOW,
    MAY_EXEC,
    MAY_READ,
    MAY_WRITE,
    O_ACCMODE,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOATIME,
    O_NOFOLLOW,
    O_PATH,
    O_PATH_FLAGS,
    O_TMPFILE,
    O_TRUNC,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFLNK,
    S_IFREG,
    S_IFSOCK,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from kernel.fs.inode import Inode
    from kernel.fs.namei import Vfs
    from kernel.task.task import Task

_TMPFILE_BIT = O_TMPFILE & ~O_DIRECTORY
_ACCESS = (MAY_READ, MAY_WRITE, MAY_READ | MAY_WRITE, MAY_READ | MAY_WRITE)


def check_flags(flags: int) -> None:
    """EINVAL for combinations that openat(2) refuses (build_open_flags); ``flags`` has known bits only."""
    if flags & _TMPFILE_BIT:
        if flags & (O_TMPFILE | O_CREAT) != O_TMPFILE:
            raise Errno(EINVAL)
        if not _ACCESS[flags & O_ACCMODE] & MAY_WRITE:
            raise Errno(EINVAL)
    if flags & (O_DIRECTORY | O_CREAT) == O_DIRECTORY | O_CREAT:
        raise Errno(EINVAL)
    if flags & O_PATH and flags & ~O_PATH_FLAGS:
        raise Errno(EINVAL)


def do_open(
    vfs: Vfs, task: Task, dirfd: int, path: bytes, flags: int, mode: int, resolve: int = 0
) -> File | Awaitable[File]:
    """The open file for openat2(2); flags are checked. Awaitable when opening may block."""
    if not path:
        raise Errno(ENOENT)
    if flags & O_PATH:
        return _open_path(vfs, task, dirfd, path, flags, resolve)
    if flags & _TMPFILE_BIT:
        return _open_tmpfile(vfs, task, dirfd, path, flags, mode, resolve)
    created = False
    if flags & O_CREAT:
        dentry, created = _lookup_or_create(vfs, task, dirfd, path, flags, mode, resolve)
    else:
        dentry = vfs.resolve(task, dirfd, path, not flags & O_NOFOLLOW, resolve=resolve)
    inode = dentry.inode
    if flags & O_DIRECTORY and inode.kind != S_IFDIR:
        raise Errno(ENOTDIR)
    if inode.kind in (S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK):
        flags &= ~O_TRUNC
    if not created:
        access = _ACCESS[flags & O_ACCMODE] | (MAY_WRITE if flags & O_TRUNC else 0)
        may_open(task, inode, access, flags)
        if flags & O_TRUNC and inode.deny_write:
            raise Errno(ETXTBSY)
    file = inode.open(task, dentry, flags)
    if fsnotify.active:
        fsnotify.file_event(dentry, fsnotify.IN_OPEN)
    if flags & O_TRUNC and not created:
        try:
            inode.truncate(task, 0)
        except Errno:
            if isinstance(file, File):
                file.put()
            raise
        if fsnotify.active:
            fsnotify.file_event(dentry, fsnotify.IN_MODIFY)
    return file


def may_open(task: Task, inode: Inode, access: int, flags: int) -> None:
    """May the task open the file so?"""
    kind = inode.kind
    if kind == S_IFLNK:
        raise Errno(ELOOP)
    if kind == S_IFDIR and access & MAY_WRITE:
        raise Errno(EISDIR)
    if kind == S_IFDIR and access & MAY_EXEC:
        raise Errno(EACCES)
    inode.permission(task, access)
    if flags & O_NOATIME and not owner_or_capable(inode, task.cred):
        raise Errno(EPERM)


def _open_path(vfs: Vfs, task: Task, dirfd: int, path: bytes, flags: int, resolve: int) -> File:
    dentry = vfs.resolve(task, dirfd, path, not flags & O_NOFOLLOW, resolve=resolve)
    if flags & O_DIRECTORY and dentry.inode.kind != S_IFDIR:
        raise Errno(ENOTDIR)
    return PathFile(dentry, flags)


def _open_tmpfile(
    vfs: Vfs, task: Task, dirfd: int, path: bytes, flags: int, mode: int, resolve: int
) -> File | Awaitable[File]:
    parent = vfs.resolve(task, dirfd, path, not flags & O_NOFOLLOW, resolve=resolve)
    directory = parent.inode
    if directory.kind != S_IFDIR:
        raise Errno(ENOTDIR)
    directory.permission(task, MAY_WRITE | MAY_EXEC)
    inode = directory.tmpfile(task, mode & ~task.fs.umask & 0o7777)
    inode.linkable = not flags & O_EXCL
    dentry = Dentry(b"#%d" % inode.ino, parent, inode)
    dentry.gone = True
    return inode.open(task, dentry, flags)


def _lookup_or_create(
    vfs: Vfs, task: Task, dirfd: int, path: bytes, flags: int, mode: int, resolve: int
) -> tuple[Dentry, bool]:
    """The file that open(O_CREAT) means, made when missing; a dangling symbolic link makes its target."""
    walk, start = vfs.begin(task, dirfd, path, resolve)
    nofollow = flags & (O_NOFOLLOW | O_EXCL)
    while True:
        parent, name, slash = where = vfs.walk_to_parent(walk, start, path)
        if where.is_normal and slash:
            raise Errno(EISDIR)
        dentry = vfs.last_step(walk, parent, name)
        if dentry is None:
            directory = parent.inode
            if directory.nlink == 0:
                raise Errno(ENOENT)
            directory.permission(task, MAY_WRITE | MAY_EXEC)
            inode = directory.create(task, name, mode & ~task.fs.umask & 0o7777)
            if fsnotify.active:
                fsnotify.name_event(directory, fsnotify.IN_CREATE, name, inode)
            return vfs.instantiate(parent, name, inode), True
        if flags & O_EXCL:
            raise Errno(EEXIST)
        if dentry.inode.kind == S_IFLNK:
            if nofollow:
                raise Errno(ELOOP)
            target = vfs.link_target(walk, parent, dentry)
            if isinstance(target, bytes):
                start, path = parent, target
                continue
            dentry = target
        if dentry.inode.kind == S_IFDIR:
            raise Errno(EISDIR)
        return dentry, False


def open_exec(vfs: Vfs, task: Task, dirfd: int, path: bytes, flags: int = 0) -> File:
    """Open a program (do_open_execat): ``flags`` may have AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH.

    Raises:
        Errno: EACCES when it is no regular file or not executable, ETXTBSY while it is open for writing, ELOOP.
    """
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise Errno(EINVAL)
    dentry = vfs.resolve(
        task, dirfd, path, not flags & AT_SYMLINK_NOFOLLOW, empty_ok=bool(flags & AT_EMPTY_PATH)
    )
    inode = dentry.inode
    if inode.kind == S_IFLNK:
        raise Errno(ELOOP)
    if inode.kind != S_IFREG:
        raise Errno(EACCES)
    inode.permission(task, MAY_EXEC)
    if inode.writers > 0:
        raise Errno(ETXTBSY)
    file = inode.open(task, dentry, 0)
    if not isinstance(file, File):
        raise Errno(EACCES)
    file.deny_write = True
    inode.deny_write += 1
    return file


