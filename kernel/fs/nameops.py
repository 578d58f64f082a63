"""Making, removing and moving names: mkdir, mknod, symlink, link, unlink, rmdir, rename (the vfs_* of fs/namei.c).

Each function checks in Linux's order, calls the directory's inode, and keeps the dentry cache true.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import (
    EBUSY,
    EEXIST,
    EINVAL,
    EISDIR,
    EMLINK,
    ENOENT,
    ENOTDIR,
    ENOTEMPTY,
    EPERM,
    EXDEV,
    Errno,
)
from kernel.fs import fsnotify
from kernel.fs.permission import check_sticky, owner_or_capable
from kernel.fs.uapi import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_FOLLOW,
    MAY_EXEC,
    MAY_READ,
    MAY_WRITE,
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    RENAME_WHITEOUT,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFMT,
    S_IFREG,
    S_IFSOCK,
    S_ISGID,
    S_ISUID,
    S_IXGRP,
)
from kernel.task.capability import CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_MKNOD

if TYPE_CHECKING:
    from kernel.fs.dentry import Dentry
    from kernel.fs.inode import Inode
    from kernel.fs.namei import Parent, Vfs
    from kernel.task.task import Task

LINK_MAX = 65000
"""EXT4_LINK_MAX."""


def _for_creation(vfs: Vfs, task: Task, where: Parent, is_dir: bool) -> None:
    """The checks of filename_create: the name must be free."""
    if not where.is_normal:
        raise Errno(EEXIST)
    if vfs.child(task, where.dentry, where.name) is not None:
        raise Errno(EEXIST)
    if where.slash and not is_dir:
        raise Errno(ENOENT)


def _may_create(task: Task, directory: Inode) -> None:
    if directory.nlink == 0:
        raise Errno(ENOENT)
    directory.permission(task, MAY_WRITE | MAY_EXEC)


def _may_delete(task: Task, directory: Inode, victim: Dentry, is_dir: bool) -> None:
    """May the task remove ``victim`` from ``directory``, as a directory or as something else?"""
    directory.permission(task, MAY_WRITE | MAY_EXEC)
    check_sticky(directory, victim.inode, task.cred)
    if is_dir:
        if victim.inode.kind != S_IFDIR:
            raise Errno(ENOTDIR)
        if victim.parent is None:
            raise Errno(EBUSY)
    elif victim.inode.kind == S_IFDIR:
        raise Errno(EISDIR)
    if directory.nlink == 0:
        raise Errno(ENOENT)


def mkdir(vfs: Vfs, task: Task, dirfd: int, path: bytes, mode: int) -> None:
    """mkdirat(2)."""
    where = vfs.parent_of(task, dirfd, path)
    _for_creation(vfs, task, where, True)
    directory = where.dentry.inode
    _may_create(task, directory)
    if directory.nlink >= LINK_MAX:
        raise Errno(EMLINK)
    inode = directory.mkdir(task, where.name, mode & ~task.fs.umask & 0o1777)
    _made(vfs, where, inode)


def _made(vfs: Vfs, where: Parent, inode: Inode) -> Dentry:
    """A name is there: let the cache and the watchers know."""
    if fsnotify.active:
        fsnotify.name_event(where.dentry.inode, fsnotify.IN_CREATE, where.name, inode)
    return vfs.instantiate(where.dentry, where.name, inode)


def mknod(vfs: Vfs, task: Task, dirfd: int, path: bytes, mode: int, rdev: int) -> Dentry:
    """mknodat(2): any type but a directory or symbolic link; type 0 is a regular file."""
    kind = mode & S_IFMT
    if kind == S_IFDIR:
        raise Errno(EPERM)
    if kind not in (0, S_IFREG, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK):
        raise Errno(EINVAL)
    where = vfs.parent_of(task, dirfd, path)
    _for_creation(vfs, task, where, False)
    directory = where.dentry.inode
    _may_create(task, directory)
    permissions = mode & ~task.fs.umask & 0o7777
    if kind in (0, S_IFREG):
        inode = directory.create(task, where.name, permissions)
    else:
        if kind in (S_IFCHR, S_IFBLK) and rdev != 0 and not task.cred.capable(CAP_MKNOD):
            raise Errno(EPERM)
        inode = directory.mknod(task, where.name, kind | permissions, rdev if kind in (S_IFCHR, S_IFBLK) else 0)
    return _made(vfs, where, inode)


def symlink(vfs: Vfs, task: Task, target: bytes, dirfd: int, path: bytes) -> None:
    """symlinkat(2)."""
    if not target:
        raise Errno(ENOENT)
    where = vfs.parent_of(task, dirfd, path)
    _for_creation(vfs, task, where, False)
    directory = where.dentry.inode
    _may_create(task, directory)
    _made(vfs, where, directory.symlink(task, where.name, target))


def link(vfs: Vfs, task: Task, old_fd: int, old_path: bytes, new_fd: int, new_path: bytes, flags: int) -> None:
    """linkat(2)."""
    if flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH):
        raise Errno(EINVAL)
    if flags & AT_EMPTY_PATH and not old_path and not task.cred.capable(CAP_DAC_READ_SEARCH):
        raise Errno(ENOENT)
    old = vfs.resolve(task, old_fd, old_path, bool(flags & AT_SYMLINK_FOLLOW), empty_ok=bool(flags & AT_EMPTY_PATH))
    where = vfs.parent_of(task, new_fd, new_path)
    _for_creation(vfs, task, where, False)
    inode, directory = old.inode, where.dentry.inode
    if inode is None or inode.sb is not directory.sb:
        raise Errno(EXDEV)
    if vfs.protected_hardlinks:
        _may_linkat(task, inode)
    _may_create(task, directory)
    if inode.kind == S_IFDIR:
        raise Errno(EPERM)
    if inode.nlink == 0 and not inode.linkable:
        raise Errno(ENOENT)
    if inode.nlink >= LINK_MAX:
        raise Errno(EMLINK)
    directory.link(task, where.name, inode)
    inode.linkable = False
    if fsnotify.active:
        fsnotify.inode_event(inode, fsnotify.IN_ATTRIB)
    _made(vfs, where, inode)


def _may_linkat(task: Task, inode: Inode) -> None:
    """fs.protected_hardlinks: only to one's own files, or to safe ones that one may read and write."""
    if owner_or_capable(inode, task.cred):
        return
    unsafe = (
        inode.kind != S_IFREG
        or inode.mode & S_ISUID
        or inode.mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP
    )
    if not unsafe:
        try:
            inode.permission(task, MAY_READ | MAY_WRITE)
            return
        except Errno:
            pass
    if not task.cred.capable(CAP_FOWNER):
        raise Errno(EPERM)


def unlink(vfs: Vfs, task: Task, dirfd: int, path: bytes) -> None:
    """unlinkat(2) without AT_REMOVEDIR."""
    where = vfs.parent_of(task, dirfd, path)
    if not where.is_normal:
        raise Errno(EISDIR)
    victim = vfs.child(task, where.dentry, where.name)
    if victim is None:
        raise Errno(ENOENT)
    if where.slash:
        raise Errno(EISDIR if victim.inode.kind == S_IFDIR else ENOTDIR)
    _may_delete(task, where.dentry.inode, victim, False)
    if victim.is_mount:
        raise Errno(EBUSY)
    where.dentry.inode.unlink(task, where.name, victim.inode)
    _removed(vfs, where, victim)


def _removed(vfs: Vfs, where: Parent, victim: Dentry) -> None:
    """A name is gone: let the cache and the watchers know."""
    vfs.drop(victim)
    if fsnotify.active:
        fsnotify.removed(where.dentry.inode, where.name, victim.inode)


def rmdir(vfs: Vfs, task: Task, dirfd: int, path: bytes) -> None:
    """rmdir(2)."""
    where = vfs.parent_of(task, dirfd, path)
    if where.name == b"..":
        raise Errno(ENOTEMPTY)
    if where.name == b".":
        raise Errno(EINVAL)
    if where.name == b"":
        raise Errno(EBUSY)
    victim = vfs.child(task, where.dentry, where.name)
    if victim is None:
        raise Errno(ENOENT)
    _may_delete(task, where.dentry.inode, victim, True)
    if victim.mounts_below():
        raise Errno(EBUSY if victim.is_mount else ENOTEMPTY)
    where.dentry.inode.rmdir(task, where.name, victim.inode)
    _removed(vfs, where, victim)


def rename(vfs: Vfs, task: Task, old_fd: int, old_path: bytes, new_fd: int, new_path: bytes, flags: int) -> None:
    """renameat2(2)."""
    if flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT):
        raise Errno(EINVAL)
    if flags & (RENAME_NOREPLACE | RENAME_WHITEOUT) and flags & RENAME_EXCHANGE:
        raise Errno(EINVAL)
    old_where = vfs.parent_of(task, old_fd, old_path)
    new_where = vfs.parent_of(task, new_fd, new_path)
    old_dir, new_dir = old_where.dentry.inode, new_where.dentry.inode
    if old_dir.sb is not new_dir.sb:
        raise Errno(EXDEV)
    if not old_where.is_normal:
        raise Errno(EBUSY)
    if not new_where.is_normal:
        raise Errno(EEXIST if flags & RENAME_NOREPLACE else EBUSY)
    exchange = bool(flags & RENAME_EXCHANGE)
    old = vfs.child(task, old_where.dentry, old_where.name)
    if old is None:
        raise Errno(ENOENT)
    new = vfs.child(task, new_where.dentry, new_where.name)
    if flags & RENAME_NOREPLACE and new is not None:
        raise Errno(EEXIST)
    if exchange:
        if new is None:
            raise Errno(ENOENT)
        if new.inode.kind != S_IFDIR and new_where.slash:
            raise Errno(ENOTDIR)
    if old.inode.kind != S_IFDIR and (old_where.slash or (not exchange and new_where.slash)):
        raise Errno(ENOTDIR)
    if new_where.dentry.is_below(old):
        raise Errno(EINVAL)
    if new is not None and old_where.dentry.is_below(new):
        raise Errno(EINVAL if exchange else ENOTEMPTY)
    _rename(vfs, task, old, new, old_where, new_where, flags)


def _rename(
    vfs: Vfs, task: Task, old: Dentry, new: Dentry | None, old_where: Parent, new_where: Parent, flags: int
) -> None:
    """vfs_rename: the permissions and the deed."""
    old_dir, new_dir = old_where.dentry.inode, new_where.dentry.inode
    source = old.inode
    is_dir = source.kind == S_IFDIR
    exchange = bool(flags & RENAME_EXCHANGE)
    target = None if new is None else new.inode
    if source is target:
        return
    _may_delete(task, old_dir, old, is_dir)
    if new is None or target is None:
        _may_create(task, new_dir)
    else:
        _may_delete(task, new_dir, new, target.kind == S_IFDIR if exchange else is_dir)
    if new_dir is not old_dir:
        if is_dir:
            source.permission(task, MAY_WRITE)
        if exchange and target is not None and target.kind == S_IFDIR:
            target.permission(task, MAY_WRITE)
    if old.mounts_below() or (new is not None and new.mounts_below()):
        raise Errno(EBUSY)
    if is_dir and new_dir is not old_dir and not exchange and target is None and new_dir.nlink >= LINK_MAX:
        raise Errno(EMLINK)
    old_dir.rename(task, old_where.name, source, new_dir, new_where.name, target, exchange)
    if new is not None and not exchange:
        vfs.drop(new)
    vfs.move(old, new_where.dentry, new_where.name)
    if exchange and new is not None:
        vfs.move(new, old_where.dentry, old_where.name)
    if fsnotify.active:
        fsnotify.moved(old_dir, old_where.name, new_dir, new_where.name, source, None if exchange else target)
        if exchange and target is not None:
            fsnotify.moved(new_dir, new_where.name, old_dir, old_where.name, target)
    if flags & RENAME_WHITEOUT:
        inode = old_dir.mknod(task, old_where.name, S_IFCHR, 0)
        vfs.instantiate(old_where.dentry, old_where.name, inode)


def current_directory(task: Task) -> bytes:
    """getcwd(2): the path, with ``(unreachable)`` in front when it is outside the root; ENOENT when it was removed."""
    cwd = task.fs.cwd
    if cwd.gone:
        raise Errno(ENOENT)
    return cwd.path(task.fs.root)


def directory_for(vfs: Vfs, task: Task, path: bytes) -> Dentry:
    """The directory that chdir(2) or chroot(2) means."""
    dentry = vfs.resolve(task, AT_FDCWD, path)
    if dentry.inode.kind != S_IFDIR:
        raise Errno(ENOTDIR)
    dentry.inode.permission(task, MAY_EXEC)
    return dentry
