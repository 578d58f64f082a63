"""The cache of names: what has been looked up, and names that are made, moved and removed (fs/dcache.c)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from kernel.errno import ENAMETOOLONG, Errno
from kernel.fs.dentry import Dentry
from kernel.fs.uapi import NAME_MAX

if TYPE_CHECKING:
    from kernel.fs.inode import Inode
    from kernel.fs.undo import Undo
    from kernel.task.task import Task

CACHE_LIMIT = 60_000
"""Entries looked up before the unused ones are dropped."""


class DentryCache:
    """The tree below ``root``."""

    def __init__(self, root: Dentry) -> None:
        self.root = root
        self._cached = 0
        self.undo: Undo | None = None
        """Remembers which names change, for them to be taken back."""

    def lookup(self, task: Task, parent: Dentry, name: bytes) -> Dentry | None:
        """An entry not in the cache yet."""
        if len(name) > NAME_MAX:
            raise Errno(ENAMETOOLONG)
        directory = parent.inode
        inode = directory.lookup(task, name)
        if directory.volatile:
            if inode is None:
                return None
            known = directory.known
            if known is None:
                return Dentry(name, parent, inode)
            child = known.get(name)
            if child is None or child.inode is not inode or child.parent is not parent:
                child = known[name] = Dentry(name, parent, inode)
            return child
        child = None if inode is None else Dentry(name, parent, inode)
        parent.children[name] = child
        self._cached += 1
        if self._cached > CACHE_LIMIT:
            self._cached = 0
            self._prune(self.root)
        return child

    def _prune(self, top: Dentry) -> None:
        """Forget entries that nobody holds; their file systems find them again."""
        parents, order = [top], []
        while parents:  # not recursive: a guest can nest directories as deep as it likes
            dentry = parents.pop()
            order.append(dentry)
            parents += [child for child in dentry.children.values() if child is not None and child.children]
        dentry = top
        while order:
            dentry = order.pop()  # children come before their parents
            children = dentry.children
            for name in list(children):
                child = children[name]
                # references: ``children``, ``child`` and getrefcount's own argument
                if child is None or not (child.children or child.is_mount or sys.getrefcount(child) > 3):
                    del children[name]

    # -- keeping the cache true

    def instantiate(self, parent: Dentry, name: bytes, inode: Inode) -> Dentry:
        """A name was made."""
        dentry = Dentry(name, parent, inode)
        self._remember(parent, name, dentry)
        return dentry

    def _remember(self, parent: Dentry, name: bytes, dentry: Dentry) -> None:
        directory = parent.inode
        if not directory.volatile:
            if self.undo is not None:
                self.undo.keep_name(parent, name)
            parent.children[name] = dentry
        elif directory.known is not None:
            directory.known[name] = dentry

    def drop(self, dentry: Dentry) -> None:
        """A name was removed."""
        self._uncache(dentry)
        dentry.gone = True

    def _uncache(self, dentry: Dentry) -> None:
        """``dentry`` is no longer where it was."""
        parent = dentry.parent
        if self.undo is not None:
            self.undo.keep_dentry(dentry)
        if parent is not None and parent.children.get(dentry.name) is dentry:
            if self.undo is not None:
                self.undo.keep_name(parent, dentry.name)
            parent.children[dentry.name] = None

    def move(self, dentry: Dentry, parent: Dentry, name: bytes) -> None:
        """A name became another, in the same directory or elsewhere."""
        self._uncache(dentry)
        dentry.parent, dentry.name = parent, name
        self._remember(parent, name, dentry)
