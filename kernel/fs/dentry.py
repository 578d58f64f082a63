"""Names: the tree of directory entries that paths are walked in, and that paths are read off (fs/dcache.c).

A mounted file system is grafted in: the root dentry of the file system takes the place of the directory it covers in
the children of that directory's parent, and says so by ``is_mount``. There are no bind mounts, so a dentry alone is
what Linux needs a (mount, dentry) pair for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kernel.fs.inode import Inode


class Dentry:
    """``name`` in ``parent`` is ``inode``. The parent of a root, and of a nameless file, is None."""

    __slots__ = ("__weakref__", "children", "gone", "inode", "is_mount", "label", "name", "parent")

    def __init__(self, name: bytes, parent: Dentry | None, inode: Inode, label: bytes | None = None) -> None:
        self.name = name
        self.parent = parent
        self.inode = inode
        self.children: dict[bytes, Dentry | None] = {}
        """The entries looked up so far; None for a name known not to exist."""
        self.gone = False
        """Unlinked; paths show `` (deleted)``."""
        self.is_mount = False
        self.label = label
        """What a file outside the tree shows instead of a path: ``pipe:[123]``, ``/memfd:x (deleted)``."""

    def path(self, root: Dentry | None = None) -> bytes:
        """The path from ``root`` (the top of the tree when None), as readlink of /proc/self/fd shows it (d_path)."""
        if self.label is not None:
            return self.label
        text, reached = self._walk_up(root)
        if not reached:
            text = b"(unreachable)" + text
        return text + b" (deleted)" if self.gone else text

    def path_is_reachable(self, root: Dentry) -> bool:
        """Is this dentry at or below ``root``?"""
        return self._walk_up(root)[1]

    def _walk_up(self, root: Dentry | None) -> tuple[bytes, bool]:
        names = []
        dentry = self
        while dentry is not root and dentry.parent is not None:
            names.append(dentry.name)
            dentry = dentry.parent
        names.append(b"")
        names.reverse()
        return b"/".join(names) if len(names) > 1 else b"/", root is None or dentry is root

    def is_below(self, other: Dentry) -> bool:
        """Is ``other`` this dentry or one of its ancestors?"""
        dentry: Dentry | None = self
        while dentry is not None:
            if dentry is other:
                return True
            dentry = dentry.parent
        return False

    def mounts_below(self) -> bool:
        """Is this a mount point, or the parent of one?"""
        return self.is_mount or any(child.is_mount for child in self.children.values() if child)
