"""Files in memory: tmpfs (/dev/shm, memfd_create), and the part of the overlay that the guest itself has written.

Linux: mm/shmem.c, fs/libfs.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emu.paging import PAGE_SIZE
from kernel.errno import ENOSPC, ENOTEMPTY, ENXIO, EPERM, ETXTBSY, Errno
from kernel.fs.inode import Inode, StatFs, SuperBlock
from kernel.fs.memxattr import MemXattrs
from kernel.fs.regular import DirectoryFile, RegularFile, check_size
from kernel.fs.uapi import (
    F_SEAL_GROW,
    F_SEAL_SHRINK,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    S_ISGID,
    S_IXGRP,
    SEEK_DATA,
    TMPFS_MAGIC,
)
from kernel.task.capability import CAP_FSETID

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from kernel.fs.dentry import Dentry
    from kernel.fs.file import File
    from kernel.mm.pagecache import PageCache
    from kernel.task.task import Task

_ATTRIBUTES = ("mode", "uid", "gid", "nlink", "rdev", "atime", "mtime", "ctime", "btime", "linkable")
INODE_BYTES = 1 << 14
"""Guest memory for each file that may exist in memory: they cost the emulator memory that it does not count."""


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


class MemDir(MemInode):
    """A directory. Subclasses that have more than ``entries`` override the four primitives at the top."""

    __slots__ = ("entries",)

    def __init__(self, sb: SuperBlock, mode: int, uid: int = 0, gid: int = 0, rdev: int = 0, ino: int = 0) -> None:
        super().__init__(sb, mode, uid, gid, rdev, ino)
        self.nlink = 2
        self.entries: dict[bytes, Inode] = {}

    def lookup(self, task: Task | None, name: bytes) -> Inode | None:
        return self.entries.get(name)

    def readdir(self, task: Task | None) -> list[tuple[bytes, int, int]]:
        return [(name, inode.ino, inode.kind >> 12) for name, inode in self.entries.items()]

    def _set(self, name: bytes, inode: Inode) -> None:
        self.entries[name] = inode

    def _remove(self, name: bytes) -> None:
        del self.entries[name]

    def is_empty(self, task: Task | None) -> bool:
        return not self.readdir(task)

    @property
    def size(self) -> int:
        return self.sb.directory_size(len(self.entries))  # type: ignore[attr-defined]

    @property
    def blocks(self) -> int:
        return self.sb.directory_blocks  # type: ignore[attr-defined]

    # -- making entries

    def _owner(self, task: Task, mode: int) -> tuple[int, int, int]:
        """(mode, uid, gid) of a new file here (inode_init_owner)."""
        cred = task.cred
        gid = cred.fsgid
        if self.mode & S_ISGID:
            gid = self.gid
            if mode & S_IFMT == S_IFDIR:
                mode |= S_ISGID
            elif mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP and not cred.in_group(gid) and (
                not cred.capable(CAP_FSETID)
            ):
                mode &= ~S_ISGID
        return mode, cred.fsuid, gid

    def save(self, data: bool) -> dict[str, Any]:
        return {**super().save(data), "entries": self.entries.copy()}

    def restore(self, saved: dict[str, Any]) -> None:
        super().restore(saved)
        self.entries = saved["entries"]

    def _check_room(self) -> None:
        """ENOSPC when the file system has as many files as it may."""
        if self.sb.own_inodes >= self.sb.max_inodes:
            raise Errno(ENOSPC)

    def _enter(self, name: bytes, inode: Inode) -> Inode:
        self._check_room()
        self._modified()
        self.sb.own_inodes += 1
        self._set(name, inode)
        return inode

    def _modified(self) -> None:
        """An entry is about to come or go."""
        self.changing()
        self.mtime = self.ctime = self.sb.now()

    def create(self, task: Task, name: bytes, mode: int) -> Inode:
        return self._enter(name, MemFile(self.sb, *self._owner(task, S_IFREG | mode & 0o7777)))

    def tmpfile(self, task: Task, mode: int) -> Inode:
        inode = MemFile(self.sb, *self._owner(task, S_IFREG | mode & 0o7777))
        inode.nlink = 0
        return inode

    def mkdir(self, task: Task, name: bytes, mode: int) -> Inode:
        inode = self._enter(name, MemDir(self.sb, *self._owner(task, S_IFDIR | mode & 0o1777)))
        self._count_directory(1)
        return inode

    def add_mount_point(self, name: bytes) -> Inode:
        """An empty directory to mount on, made at boot where the tree has none."""
        inode = MemDir(self.sb, S_IFDIR | 0o755)
        self.changing()
        self._set(name, inode)
        self._count_directory(1)
        return inode

    def place(self, name: bytes, inode: Inode) -> None:
        """Let ``name`` be ``inode`` from now on, whatever it was: what a user of the kernel may do before it runs."""
        self._modified()
        self._set(name, inode)

    def mknod(self, task: Task, name: bytes, mode: int, rdev: int) -> Inode:
        return self._enter(name, MemSpecial(self.sb, *self._owner(task, mode), rdev))

    def symlink(self, task: Task, name: bytes, target: bytes) -> Inode:
        _, uid, gid = self._owner(task, S_IFLNK | 0o777)
        return self._enter(name, MemSymlink(self.sb, target, uid, gid))

    def link(self, task: Task, name: bytes, inode: Inode) -> None:
        if inode.nlink == 0:
            self._check_room()
            self.sb.own_inodes += 1
        inode.changing()
        inode.nlink += 1
        inode.ctime = self.sb.now()
        self._modified()
        self._set(name, inode)

    # -- removing and moving them

    def unlink(self, task: Task, name: bytes, inode: Inode) -> None:
        self._modified()
        self._remove(name)
        self._dropped(inode)

    def rmdir(self, task: Task, name: bytes, inode: Inode) -> None:
        if not inode.is_empty(task):  # type: ignore[attr-defined]
            raise Errno(ENOTEMPTY)
        self._modified()
        self._remove(name)
        self._count_directory(-1)
        inode.changing()
        inode.nlink = 0
        self.sb.forget(inode)  # type: ignore[attr-defined]

    def rename(
        self,
        task: Task,
        name: bytes,
        inode: Inode,
        new_dir: Inode,
        new_name: bytes,
        target: Inode | None,
        exchange: bool,
    ) -> None:
        assert isinstance(new_dir, MemDir)
        if not exchange and target is not None and target.is_dir and not target.is_empty(task):  # type: ignore[attr-defined]
            raise Errno(ENOTEMPTY)
        self._modified()
        new_dir._modified()
        inode.changing()
        if target is not None:
            target.changing()
        if exchange:
            assert target is not None
            self._set(name, target)
            if self is not new_dir:
                new_dir._count_directory(inode.is_dir - target.is_dir)
                self._count_directory(target.is_dir - inode.is_dir)
            target.ctime = self.sb.now()
        else:
            if target is not None and target.is_dir:
                target.nlink = 0
                new_dir._count_directory(-1)
                self.sb.forget(target)  # type: ignore[attr-defined]
            elif target is not None:
                self._dropped(target)
            self._remove(name)
            if inode.is_dir and self is not new_dir:
                self._count_directory(-1)
                new_dir._count_directory(1)
        new_dir._set(new_name, inode)
        inode.ctime = self.sb.now()

    def _dropped(self, inode: Inode) -> None:
        """One name less for a file."""
        inode.changing()
        inode.nlink -= 1
        inode.ctime = self.sb.now()
        if inode.nlink == 0:
            self.sb.forget(inode)  # type: ignore[attr-defined]

    def _count_directory(self, delta: int) -> None:
        """A sub-directory came or went; file systems that do not count links of directories say 1."""
        if self.nlink != 1:
            self.nlink += delta

    def open(self, task: Task, dentry: Dentry, flags: int) -> File | Awaitable[File]:
        return DirectoryFile(dentry, flags)


class TmpFs(SuperBlock):
    """A file system in memory."""

    directory_blocks = 0

    def __init__(self, kernel: Any, dev: int, kind: bytes = b"tmpfs", mode: int = 0o1777) -> None:
        super().__init__(kernel, kind, TMPFS_MAGIC, dev)
        self.root = MemDir(self, S_IFDIR | mode)
        self.max_inodes = kernel.options.memory_bytes // INODE_BYTES
        self.multigrain = kind == b"tmpfs"
        self.statx_attributes = 0x203070

    def directory_size(self, entries: int) -> int:
        """``st_size`` of a directory: 20 bytes an entry, as shmem counts (BOGO_DIRENT_SIZE)."""
        return 40 + 20 * entries

    def forget(self, inode: Inode) -> None:
        """The last name of ``inode`` is gone."""
        self.own_inodes -= 1

    def statfs(self) -> StatFs:
        total, free = memory_pages(self.kernel)
        files = self.max_inodes
        return StatFs(
            self.magic, PAGE_SIZE, total, free, free, files, files - self.own_inodes, self.dev, 255, PAGE_SIZE,
            0x20 | 0x1000,
        )


def memory_pages(kernel: Any) -> tuple[int, int]:
    """(total, free) pages of guest memory."""
    from kernel.memory_info import memory_info

    info = memory_info(kernel)
    return info.total, info.free
