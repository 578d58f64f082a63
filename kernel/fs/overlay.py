"""The root file system: the host's files below ``--root``, and over them, in memory, what the guest changes.

An inode starts as a view of a host file: metadata from one lstat, contents through a page cache that reads the host
on demand. A change happens in memory alone and *pins* the inode, so that every later lookup of that host file, by
whichever of its hard links, finds the changed one; an unchanged inode is forgotten when nobody uses it. A directory
keeps its changes by name: an inode for what was added or replaced, None (a whiteout) for what was removed. A directory
that the guest made has no lower layer and is an ordinary in-memory one, so it is opaque by nature; a host directory
that is renamed takes its lower layer along.

Inode and device numbers are the host's for the host's files. The host is taken not to change under a running guest:
what has been looked up once stays as it was.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakValueDictionary

from kernel.errno import EACCES, ETXTBSY, Errno
from kernel.fs.hosttree import HostBacking, HostTree, join
from kernel.fs.inode import Inode, StatFs, SuperBlock
from kernel.fs.memfile import MemFile, MemInode, MemSpecial, MemSymlink
from kernel.fs.regular import RegularFile
from kernel.fs.tmpfs import INODE_BYTES, MemDir
from kernel.fs.uapi import O_TRUNC, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from kernel.fs.dentry import Dentry
    from kernel.fs.file import File
    from kernel.mm.pagecache import PageCache
    from kernel.task.task import Task

FIRST_NEW_INO = 0xC0000000
"""Numbers of the guest's own files start here, well above what a host file system of ordinary size uses."""


class OverlayFs(SuperBlock):
    """The union of a host tree and the guest's changes."""

    directory_blocks = 8

    def __init__(self, kernel: Any, tree: HostTree) -> None:
        self.tree = tree
        figures = tree.statfs()
        root = cast(os.stat_result, tree.lstat(b"", b""))
        super().__init__(kernel, b"overlay", figures[0], root.st_dev, FIRST_NEW_INO)
        self.max_inodes = kernel.options.memory_bytes // INODE_BYTES
        self.multigrain = True
        self.statx_attributes = 0x303874
        self.loaded: WeakValueDictionary[tuple[int, int], Inode] = WeakValueDictionary()
        """Host inodes by (st_dev, st_ino)."""
        self.pinned: set[Inode] = set()
        """Those of them that differ from the host's."""
        self.root = self.load(root, b"", b"")

    def directory_size(self, entries: int) -> int:
        """``st_size`` of a directory of the guest's own: one block, as on ext4."""
        return 4096

    def load(self, found: os.stat_result, directory: bytes, name: bytes) -> Inode:
        """The inode of a host file just looked up as ``name`` in ``directory``."""
        key = (found.st_dev, found.st_ino)
        kind = found.st_mode & S_IFMT
        inode = self.loaded.get(key)
        if inode is not None and inode.kind == kind:
            return inode
        lower = Lower(found, directory, name)
        if kind == S_IFREG:
            inode = OverlayFile(self, lower)
        elif kind == S_IFDIR:
            inode = OverlayDir(self, lower)
        elif kind == S_IFLNK:
            inode = OverlaySymlink(self, lower)
        else:
            inode = OverlaySpecial(self, lower)
        self.loaded[key] = inode
        return inode

    def forget(self, inode: Inode) -> None:
        """The last name of ``inode`` is gone."""
        if isinstance(inode, _OverlayInode):
            self.pinned.discard(inode)
        else:
            self.own_inodes -= 1

    def statfs(self) -> StatFs:
        figures = self.tree.statfs()
        kind, bsize, blocks, bfree, bavail, files, ffree, fsid0, fsid1, namelen, frsize, flags = figures
        fsid = fsid0 & 0xFFFFFFFF | (fsid1 & 0xFFFFFFFF) << 32
        return StatFs(kind, bsize, blocks, bfree, bavail, files, ffree, fsid, namelen, frsize, flags)


class Lower:
    """Where a host file was found, and what lstat said."""

    __slots__ = ("directory", "name", "stat")

    def __init__(self, found: os.stat_result, directory: bytes, name: bytes) -> None:
        self.stat = found
        self.directory = directory
        self.name = name

    @property
    def path(self) -> bytes:
        return join(self.directory, self.name) if self.name else self.directory


class _OverlayInode(MemInode):
    """What the inodes that come from the host have in common."""

    __slots__ = ()

    if TYPE_CHECKING:
        lower: Lower  # a slot of each subclass: two bases with slots of their own cannot be combined

    def __init__(self, sb: OverlayFs, lower: Lower) -> None:
        found = lower.stat
        super().__init__(sb, found.st_mode, found.st_uid, found.st_gid, ino=found.st_ino)
        self._load(lower)

    def _load(self, lower: Lower) -> None:
        found = lower.stat
        self.lower = lower  # type: ignore[misc]
        self.ino = found.st_ino
        self.nlink = found.st_nlink
        self.rdev = found.st_rdev
        self.atime = found.st_atime_ns
        self.mtime = found.st_mtime_ns
        self.ctime = found.st_ctime_ns
        self.btime = None

    @property
    def dev(self) -> int:
        return self.lower.stat.st_dev

    def birth_time(self) -> int | None:
        if self.btime is None:
            lower = self.lower
            self.btime = self.sb.tree.birth_time(lower.directory, lower.name)  # type: ignore[attr-defined]
        return self.btime

    def changing(self, data: bool = False) -> None:
        super().changing(data)
        self.sb.pinned.add(self)  # type: ignore[attr-defined]

    def save(self, data: bool) -> dict[str, Any]:
        return {**super().save(data), "pinned": self in self.sb.pinned}  # type: ignore[attr-defined]

    def restore(self, saved: dict[str, Any]) -> None:
        super().restore(saved)
        if not saved["pinned"]:
            self.sb.pinned.discard(self)  # type: ignore[attr-defined]

    def _xattrs(self) -> dict[bytes, bytes]:
        if self.xattrs is None:
            self.xattrs = self.sb.tree.xattrs(self.lower.directory, self.lower.name)  # type: ignore[attr-defined]
        return self.xattrs


class OverlayFile(_OverlayInode, MemFile):
    """A host file, copied up page by page as it is written."""

    __slots__ = ("lower",)

    @property
    def size(self) -> int:
        cache = self.cache
        return self.lower.stat.st_size if cache is None else cache.size

    @property
    def blocks(self) -> int:
        if self not in self.sb.pinned:  # type: ignore[attr-defined]
            return self.lower.stat.st_blocks
        return (self.size + 4095) // 4096 * 8

    def page_cache(self) -> PageCache:
        if self.cache is None:
            from kernel.mm.pagecache import PageCache

            lower, found = self.lower, self.lower.stat
            tree: HostTree = self.sb.tree  # type: ignore[attr-defined]
            backing = HostBacking(tree, lower.directory, lower.name, (found.st_dev, found.st_ino))
            self.cache = PageCache(self.sb.kernel.memory, found.st_size, backing)
        return self.cache

    def _is_unread(self) -> bool:
        cache = self.cache
        return cache is None or (cache.users == 0 and self not in self.sb.pinned)  # type: ignore[attr-defined]

    def set_size(self, size: int) -> None:
        if size == 0 and self.cache is None:
            from kernel.mm.pagecache import PageCache

            self.cache = PageCache(self.sb.kernel.memory, 0)  # nothing of the host's file is left to read
            return
        self.page_cache().truncate(size)

    def seek_data_or_hole(self, offset: int, whence: int) -> int:
        if self not in self.sb.pinned:  # type: ignore[attr-defined]
            backing = cast(HostBacking, self.page_cache().backing)
            try:
                return os.lseek(backing.tree.use(backing), offset, whence)
            except OSError as error:
                raise Errno(error.errno or EACCES) from None
        return offset if whence == os.SEEK_DATA else self.size

    def open(self, task: Task, dentry: Dentry, flags: int) -> File | Awaitable[File]:
        if flags & 3 and self.deny_write:
            raise Errno(ETXTBSY)
        if self.cache is None and not flags & O_TRUNC:
            self.page_cache()  # now, so that open fails where the host does not let us read
        return RegularFile(dentry, flags)


class OverlaySymlink(_OverlayInode, MemSymlink):
    """A host symbolic link."""

    __slots__ = ("lower",)

    def __init__(self, sb: OverlayFs, lower: Lower) -> None:
        target = sb.tree.readlink(lower.directory, lower.name)
        MemSymlink.__init__(self, sb, target, lower.stat.st_uid, lower.stat.st_gid,
                            lower.stat.st_ino)
        self._load(lower)

    @property
    def blocks(self) -> int:
        return self.lower.stat.st_blocks


class OverlaySpecial(_OverlayInode, MemSpecial):
    """A host FIFO, socket or device node: a name that the guest may use for a FIFO or device of its own."""

    __slots__ = ("lower",)


class OverlayDir(_OverlayInode, MemDir):
    """A host directory and the guest's changes in it."""

    __slots__ = ("lower", "whiteouts")

    def __init__(self, sb: OverlayFs, lower: Lower) -> None:
        super().__init__(sb, lower)
        self.whiteouts: set[bytes] = set()
        """Names of the lower layer that are hidden: removed, or replaced by one in ``entries``."""

    def lookup(self, task: Task | None, name: bytes) -> Inode | None:
        inode = self.entries.get(name)
        if inode is not None or name in self.whiteouts:
            return inode
        sb = cast(OverlayFs, self.sb)
        directory = self.lower.path
        found = sb.tree.lstat(directory, name)
        return None if found is None else sb.load(found, directory, name)

    def readdir(self, task: Task | None) -> list[tuple[bytes, int, int]]:
        tree: HostTree = self.sb.tree  # type: ignore[attr-defined]
        own = super().readdir(task)
        hidden = self.whiteouts
        lower = tree.list(self.lower.path)
        if hidden or own:
            lower = [row for row in lower if row[0] not in hidden]
        return lower + own

    def save(self, data: bool) -> dict[str, Any]:
        return {**super().save(data), "whiteouts": self.whiteouts.copy()}

    def restore(self, saved: dict[str, Any]) -> None:
        super().restore(saved)
        self.whiteouts = saved["whiteouts"]

    def _set(self, name: bytes, inode: Inode) -> None:
        self.whiteouts.add(name)
        self.entries[name] = inode

    def _remove(self, name: bytes) -> None:
        self.whiteouts.add(name)
        self.entries.pop(name, None)

    @property
    def size(self) -> int:
        return self.lower.stat.st_size

    @property
    def blocks(self) -> int:
        return self.lower.stat.st_blocks
