"""Telling watchers what happens to files (fs/notify/fsnotify.c): the hooks that the other modules call.

An event on a file goes to those who watch the file and, with its name, to those who watch its directory. While nobody
watches anything (``active`` is 0) a hook is one comparison.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from kernel.fs.uapi import S_IFDIR

if TYPE_CHECKING:
    from kernel.fs.dentry import Dentry
    from kernel.fs.inode import Inode

IN_ACCESS = 0x001
IN_MODIFY = 0x002
IN_ATTRIB = 0x004
IN_CLOSE_WRITE = 0x008
IN_CLOSE_NOWRITE = 0x010
IN_OPEN = 0x020
IN_MOVED_FROM = 0x040
IN_MOVED_TO = 0x080
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_DELETE_SELF = 0x400
IN_MOVE_SELF = 0x800
IN_ALL_EVENTS = 0xFFF
IN_UNMOUNT = 0x2000
IN_Q_OVERFLOW = 0x4000
IN_IGNORED = 0x8000
IN_ISDIR = 0x40000000

active = 0
"""Watches that exist, in all kernels of this process."""
_cookies = count(1)


def file_event(dentry: Dentry, mask: int) -> None:
    """Something was done to, or through, the file ``dentry``."""
    inode = dentry.inode
    if inode is None:
        return
    if inode.kind == S_IFDIR:
        mask |= IN_ISDIR
    parent = dentry.parent
    if parent is not None and parent.inode.watchers:
        _deliver(parent.inode, mask, dentry.name, 0)
    if inode.watchers:
        _deliver(inode, mask, b"", 0)


def name_event(directory: Inode, mask: int, name: bytes, inode: Inode, cookie: int = 0) -> None:
    """A name was made, removed or moved in ``directory``."""
    if directory.watchers:
        _deliver(directory, mask | (IN_ISDIR if inode.kind == S_IFDIR else 0), name, cookie)


def removed(directory: Inode, name: bytes, inode: Inode) -> None:
    """``name`` was removed; when it was the last, what watches the file learns that it is gone."""
    if inode.kind != S_IFDIR:
        inode_event(inode, IN_ATTRIB)
        name_event(directory, IN_DELETE, name, inode)
    if inode.nlink == 0 and not inode.opens:
        destroyed(inode)
    if inode.kind == S_IFDIR:
        name_event(directory, IN_DELETE, name, inode)


def destroyed(inode: Inode) -> None:
    """The file itself is gone: its last name and its last open description."""
    inode_event(inode, IN_DELETE_SELF)
    for watch in tuple(inode.watchers or ()):
        watch.end()


def moved(
    old_dir: Inode, old_name: bytes, new_dir: Inode, new_name: bytes, inode: Inode, target: Inode | None = None
) -> None:
    """A file changed its name, perhaps to that of ``target``."""
    cookie = next(_cookies) & 0xFFFFFFFF
    name_event(old_dir, IN_MOVED_FROM, old_name, inode, cookie)
    name_event(new_dir, IN_MOVED_TO, new_name, inode, cookie)
    if target is not None and target.kind != S_IFDIR:
        inode_event(target, IN_ATTRIB)
    inode_event(inode, IN_MOVE_SELF)
    if target is not None and target.nlink == 0 and not target.opens:
        destroyed(target)


def inode_event(inode: Inode, mask: int) -> None:
    """An event for those who watch the file itself only."""
    if inode.watchers:
        _deliver(inode, mask | (IN_ISDIR if inode.kind == S_IFDIR and mask == IN_ATTRIB else 0), b"", 0)


def _deliver(inode: Inode, mask: int, name: bytes, cookie: int) -> None:
    watchers: tuple[Any, ...] = tuple(inode.watchers)
    for watch in watchers:
        if watch.mask & mask & IN_ALL_EVENTS:
            watch.deliver(mask, name, cookie)
