"""Inodes in memory but directories: regular files, symbolic links, FIFOs and devices (mm/shmem.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emu.paging import PAGE_SIZE
from kernel.errno import ENXIO, EPERM, ETXTBSY, Errno
from kernel.fs.inode import Inode, SuperBlock
from kernel.fs.memxattr import MemXattrs
from kernel.fs.regular import RegularFile, check_size
from kernel.fs.uapi import F_SEAL_GROW, F_SEAL_SHRINK, S_IFCHR, S_IFIFO, S_IFLNK, S_IFMT, SEEK_DATA

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from kernel.fs.dentry import Dentry
    from kernel.fs.file import File
    from kernel.mm.pagecache import PageCache
    from kernel.task.task import Task

_ATTRIBUTES = ("mode", "uid", "gid", "nlink", "rdev", "atime", "mtime", "ctime", "btime", "linkable")


class MemInode(MemXattrs, Inode):
    """Metadata kept in memory."""

    __slots__ = ("xattrs",)

    def __init__(self, sb: SuperBlock, mode: int, uid: int = 0, gid: int = 0, rdev: int = 0, ino: int = 0) -> None:
        super().__init__(sb, mode, uid, gid, rdev, ino)
        self.xattrs: dict[bytes, bytes] | None = None

    def save(self, data: bool) -> dict[str, Any]:
        """What restore() takes to make the inode again what it is now, its ``data`` included."""
        saved: dict[str, Any] = {name: getattr(self, name) for name in _ATTRIBUTES}
        saved["xattrs"] = None if self.xattrs is None else self.xattrs.copy()
        return saved

    def restore(self, saved: dict[str, Any]) -> None:
        """Take back what has happened since save()."""
        for name in _ATTRIBUTES:
            setattr(self, name, saved[name])
        self.xattrs = saved["xattrs"]

    def _xattrs(self) -> dict[bytes, bytes]:
        if self.xattrs is None:
            self.xattrs = {}
        return self.xattrs

    def setattr(self, task: Task | None, **changes: int) -> None:
        self.changing()
        for name, value in changes.items():
            if name == "mode":
                value = self.mode & S_IFMT | value & 0o7777
            setattr(self, name, value)
        if "ctime" not in changes:
            self.ctime = self.sb.now()

    def fsync(self) -> None:
        """Memory is as safe as it gets."""


class MemFile(MemInode):
    """A regular file. ``seals`` are those of memfd_create(2)."""

    __slots__ = ("seals",)

    def __init__(self, sb: SuperBlock, mode: int, uid: int = 0, gid: int = 0, rdev: int = 0, ino: int = 0) -> None:
        super().__init__(sb, mode, uid, gid, rdev, ino)
        self.seals = 0

    def __del__(self) -> None:
        if getattr(self, "cache", None) is not None:
            self._drop_cache()

    def _drop_cache(self) -> None:
        cache = self.cache
        assert cache is not None
        cache.release()
        if cache.backing is not None:
            cache.backing.close()  # type: ignore[attr-defined]

    def save(self, data: bool) -> dict[str, Any]:
        saved = {**super().save(data), "seals": self.seals}
        if data:
            saved["data"] = None if self._is_unread() else self.page_cache().read(0, self.size)
        return saved

    def restore(self, saved: dict[str, Any]) -> None:
        super().restore(saved)
        self.seals = saved["seals"]
        data = saved.get("data")
        if data is not None:
            cache = self.page_cache()
            cache.truncate(len(data))
            cache.write(0, data)
        elif "data" in saved and self.cache is not None:
            self._drop_cache()
            self.cache = None

    def _is_unread(self) -> bool:
        """Nothing would be lost with the page cache."""
        return self.cache is None

    @property
    def size(self) -> int:
        cache = self.cache
        return 0 if cache is None else cache.size

    @property
    def blocks(self) -> int:
        cache = self.cache
        return 0 if cache is None else cache.cached_pages * (PAGE_SIZE // 512)

    def page_cache(self) -> PageCache:
        if self.cache is None:
            from kernel.mm.pagecache import PageCache

            self.cache = PageCache(self.sb.kernel.memory, 0)
        return self.cache

    def set_size(self, size: int) -> None:
        """Change the size without checks."""
        self.page_cache().truncate(size)

    def truncate(self, task: Task | None, size: int) -> None:
        old = self.size
        if size > old:
            check_size(task, self, size)
        if self.seals and ((self.seals & F_SEAL_SHRINK and size < old) or (self.seals & F_SEAL_GROW and size > old)):
            raise Errno(EPERM)
        self.changing(data=size != old)
        if size != old:
            self.set_size(size)
        self.mtime = self.ctime = self.sb.now()

    def seek_data_or_hole(self, offset: int, whence: int) -> int:
        """lseek's SEEK_DATA and SEEK_HOLE for ``offset`` below the size."""
        cache = self.page_cache()
        first = offset // PAGE_SIZE
        present = cache.frames[first : -(-cache.size // PAGE_SIZE)] != 0
        wanted = present if whence == SEEK_DATA else ~present
        found = int(wanted.argmax()) if wanted.any() else len(wanted)
        position = max(offset, (first + found) * PAGE_SIZE)
        if position >= cache.size or found == len(wanted):
            if whence == SEEK_DATA:
                raise Errno(ENXIO)
            return min(max(offset, (first + found) * PAGE_SIZE), cache.size)
        return position

    def open(self, task: Task, dentry: Dentry, flags: int) -> File | Awaitable[File]:
        if flags & 3 and self.deny_write:
            raise Errno(ETXTBSY)
        return RegularFile(dentry, flags)


class MemSymlink(MemInode):
    """A symbolic link."""

    __slots__ = ("target",)

    def __init__(self, sb: SuperBlock, target: bytes, uid: int = 0, gid: int = 0, ino: int = 0) -> None:
        super().__init__(sb, S_IFLNK | 0o777, uid, gid, ino=ino)
        self.target = target

    @property
    def size(self) -> int:
        return len(self.target)

    def readlink(self, task: Task) -> bytes:
        return self.target


class MemSpecial(MemInode):
    """A FIFO, socket or device node."""

    __slots__ = ()

    def open(self, task: Task, dentry: Dentry, flags: int) -> File | Awaitable[File]:
        if self.kind == S_IFIFO:
            from kernel.fs.fifo import open_fifo

            return open_fifo(task, dentry, flags)
        if self.kind == S_IFCHR:
            from kernel.fs.devices import open_device

            return open_device(task, dentry, flags)
        raise Errno(ENXIO)
