"""Taking back what the guest has changed in file systems in memory: the overlay, tmpfs, /dev, and the names in them.

From :meth:`Undo.begin` on, an inode is saved before its first change, and a name in the dentry cache at every change.
Files below ``--writable`` are the host's, and stay as the guest leaves them. Memory that is shared between processes
(MAP_SHARED) is not looked after where the mapping was there before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel.fs.memfile import MemInode

if TYPE_CHECKING:
    from kernel.fs.dentry import Dentry
    from kernel.fs.inode import Inode, SuperBlock
    from kernel.fs.namei import Vfs

_ABSENT: Any = object()


class Undo:
    """What has changed since begin(), or since it was last taken back."""

    def __init__(self, vfs: Vfs) -> None:
        self.vfs = vfs
        mounted: list[SuperBlock] = [*(mount.sb for mount in vfs.mounts), vfs.shm]
        self._supers = [sb for sb in mounted if isinstance(getattr(sb, "root", None), MemInode)]
        self._inodes: dict[MemInode, dict[str, Any]] = {}
        self._atimes: dict[Inode, int] = {}
        self._names: list[tuple[Any, ...]] = []
        """(children, name, what was there), or (dentry, its parent, its name, gone)."""
        self._counts: list[tuple[SuperBlock, int]] = []

    def begin(self) -> None:
        """From now on changes can be taken back."""
        self._counts = [(sb, sb.own_inodes) for sb in self._supers]
        for sb in self._supers:
            sb.undo = self
        self.vfs.undo = self

    def end(self) -> None:
        """What has changed stays, and is no longer remembered."""
        for sb in self._supers:
            sb.undo = None
        self.vfs.undo = None
        self._forget()

    def restore(self) -> None:
        """Make everything what it was at begin(). No file that has been opened since may be open."""
        if self._names:
            for entry in reversed(self._names):
                self._restore_name(*entry)
        if self._inodes:
            for inode, saved in self._inodes.items():
                inode.restore(saved)
            for sb, count in self._counts:
                sb.own_inodes = count
        for file, atime in self._atimes.items():
            file.atime = atime
        self._forget()

    def _forget(self) -> None:
        self._names.clear()
        self._inodes.clear()
        self._atimes.clear()

    @staticmethod
    def _restore_name(thing: Any, key: Any, old: Any, gone: bool | None = None) -> None:
        if gone is not None:
            thing.parent, thing.name, thing.gone = key, old, gone
        elif old is _ABSENT:
            thing.pop(key, None)
        else:
            thing[key] = old

    # -- what the file systems report, each before the change ------------------------------------------------------

    def keep(self, inode: Any, data: bool) -> None:
        """``inode`` is about to change, its ``data`` too."""
        saved = self._inodes.get(inode)
        if saved is None:
            self._inodes[inode] = inode.save(data)
        elif data and "data" not in saved:
            saved["data"] = inode.save(True).get("data")

    def keep_atime(self, inode: Inode) -> None:
        """The access time of ``inode`` is about to change."""
        self._atimes.setdefault(inode, inode.atime)

    def keep_name(self, parent: Dentry, name: bytes) -> None:
        """What ``name`` means in ``parent`` is about to change in the cache."""
        self._names.append((parent.children, name, parent.children.get(name, _ABSENT)))

    def keep_dentry(self, dentry: Dentry) -> None:
        """``dentry`` is about to be removed or moved."""
        self._names.append((dentry, dentry.parent, dentry.name, dentry.gone))
