"""Inodes at and below a --writable PATH: attributes, and regular files. Directories are in hostfs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from kernel.errno import EACCES, ESTALE, ETXTBSY, Errno
from kernel.fs.hostbacking import WritableBacking, host_errors
from kernel.fs.inode import Inode, Stat
from kernel.fs.regular import RegularFile, check_size
from kernel.fs.uapi import S_IFLNK

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from kernel.fs.dentry import Dentry
    from kernel.fs.file import File
    from kernel.fs.hostfs import HostDir, HostFs
    from kernel.mm.pagecache import PageCache
    from kernel.task.task import Task


class HostInode(Inode):
    """A host file; its attributes are read from the host whenever they matter."""

    __slots__ = ("found", "place")

    sb: HostFs

    def __init__(self, sb: HostFs, found: os.stat_result) -> None:
        super().__init__(sb, found.st_mode, found.st_uid, found.st_gid, found.st_rdev, found.st_ino)
        self.btime = None
        self.update(found)
        self.place: tuple[HostDir | None, bytes] = (None, b"")

    def update(self, found: os.stat_result) -> None:
        """Take over what the host says."""
        self.found = found
        self.mode, self.uid, self.gid, self.nlink = found.st_mode, found.st_uid, found.st_gid, found.st_nlink
        self.atime, self.mtime, self.ctime = found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns

    def where(self) -> tuple[bytes, bytes]:
        """(directory path, name) below the tree's root."""
        parent, name = self.place
        return (b"" if parent is None else parent.path()), name

    def refresh(self) -> None:
        """Look at the host again; a file that is gone keeps what was known."""
        if self.nlink == 0:
            return
        found = self.sb.tree.lstat(*self.where())
        if found is not None and (found.st_dev, found.st_ino) == (self.found.st_dev, self.found.st_ino):
            self.update(found)

    @property
    def dev(self) -> int:
        return self.found.st_dev

    @property
    def size(self) -> int:
        return self.found.st_size

    @property
    def blocks(self) -> int:
        return self.found.st_blocks

    def getattr(self, task: Task | None = None) -> Stat:
        self.refresh()
        return super().getattr(task)

    @contextlib.contextmanager
    def handle(self) -> Iterator[str]:
        """A path of the host that means this very file, whatever its kind."""
        directory, name = self.where()
        tree = self.sb.tree
        with host_errors():
            flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name or b".", flags, dir_fd=tree.directory(directory))
            try:
                now = os.fstat(fd)
                if (now.st_dev, now.st_ino) != (self.found.st_dev, self.found.st_ino):
                    raise Errno(ESTALE)
                yield f"/proc/self/fd/{fd}"
            finally:
                os.close(fd)

    def setattr(self, task: Task | None, **changes: int) -> None:
        with self.handle() as place:
            if "uid" in changes or "gid" in changes:
                directory, name = self.where()
                os.chown(
                    name or b".", changes.get("uid", -1), changes.get("gid", -1),
                    dir_fd=self.sb.tree.directory(directory), follow_symlinks=False,
                )  # fmt: skip
            if "mode" in changes and self.kind != S_IFLNK:
                os.chmod(place, changes["mode"] & 0o7777)
            if "atime" in changes or "mtime" in changes:
                times = (changes.get("atime", self.atime), changes.get("mtime", self.mtime))
                directory, name = self.where()
                os.utime(
                    name or b".", ns=times, dir_fd=self.sb.tree.directory(directory), follow_symlinks=False
                )
        self.refresh()

    def getxattr(self, task: Task, name: bytes) -> bytes:
        with self.handle() as place:
            return os.getxattr(place, name)

    def setxattr(self, task: Task, name: bytes, value: bytes, flags: int) -> None:
        with self.handle() as place:
            os.setxattr(place, name, value, flags)

    def removexattr(self, task: Task, name: bytes) -> None:
        with self.handle() as place:
            os.removexattr(place, name)

    def listxattr(self, task: Task) -> list[bytes]:
        if self.kind == S_IFLNK:
            return []
        with self.handle() as place:
            return [os.fsencode(name) for name in os.listxattr(place)]


class HostFile(HostInode):
    """A regular file."""

    __slots__ = ("own_change", "seals", "stamp")

    def __init__(self, sb: HostFs, found: os.stat_result) -> None:
        self.seals = 0
        self.own_change = False
        """Written by the guest since ``stamp`` was taken."""
        self.stamp = (found.st_size, found.st_mtime_ns)
        super().__init__(sb, found)

    def __del__(self) -> None:
        cache = getattr(self, "cache", None)
        if cache is not None:
            with contextlib.suppress(Errno):
                cache.release()
            cache.backing.close()

    @property
    def size(self) -> int:
        return self.found.st_size if self.cache is None else self.cache.size

    def update(self, found: os.stat_result) -> None:
        super().update(found)
        stamp = (found.st_size, found.st_mtime_ns)
        if self.own_change:
            self.own_change = False
            self.stamp = stamp

    def page_cache(self) -> PageCache:
        if self.cache is None:
            from kernel.mm.pagecache import PageCache

            backing = self._open_host()
            size = os.fstat(backing.fd).st_size
            self.cache = PageCache(self.sb.kernel.memory, size, backing)
        return self.cache

    def _open_host(self) -> WritableBacking:
        directory, name = self.where()
        identity = (self.found.st_dev, self.found.st_ino)
        for mode in (os.O_RDWR, os.O_WRONLY):  # write-only where the host lets its user do no more
            with contextlib.suppress(Errno):
                return WritableBacking(self.sb.tree.open_file(directory, name, identity, mode), True, mode == os.O_RDWR)
        return WritableBacking(self.sb.tree.open_file(directory, name, identity, os.O_RDONLY), False)

    def adopt(self, fd: int) -> None:
        """Use ``fd``, open for reading and writing, for the contents."""
        from kernel.mm.pagecache import PageCache

        self.cache = PageCache(self.sb.kernel.memory, os.fstat(fd).st_size, WritableBacking(fd, True))

    def changing(self, data: bool = False) -> None:
        self.own_change = True

    def set_size(self, size: int) -> None:
        """Change the size, on the host too."""
        cache = self.page_cache()
        cast(WritableBacking, cache.backing).truncate(size)
        cache.truncate(size)

    def truncate(self, task: Task | None, size: int) -> None:
        if size > self.size:
            check_size(task, self, size)
        self.set_size(size)
        self.changing()

    def seek_data_or_hole(self, offset: int, whence: int) -> int:
        self.fsync()
        with host_errors():
            return os.lseek(cast(WritableBacking, self.page_cache().backing).fd, offset, whence)

    def fsync(self) -> None:
        if self.cache is not None:
            self.cache.sync()

    def getattr(self, task: Task | None = None) -> Stat:
        if self.cache is not None:
            with contextlib.suppress(OSError):
                self.update(os.fstat(cast(WritableBacking, self.cache.backing).fd))
            return Inode.getattr(self, task)
        return super().getattr(task)

    def setattr(self, task: Task | None, **changes: int) -> None:
        if self.cache is None or "ctime" in changes:
            super().setattr(task, **changes)
            return
        fd = cast(WritableBacking, self.cache.backing).fd  # works for a file without a name, too
        with host_errors():
            if "uid" in changes or "gid" in changes:
                os.fchown(fd, changes.get("uid", -1), changes.get("gid", -1))
            if "mode" in changes:
                os.fchmod(fd, changes["mode"] & 0o7777)
            if "atime" in changes or "mtime" in changes:
                os.utime(fd, ns=(changes.get("atime", self.atime), changes.get("mtime", self.mtime)))
            self.update(os.fstat(fd))

    def open(self, task: Task, dentry: Dentry, flags: int) -> File | Awaitable[File]:
        if flags & 3 and self.deny_write:
            raise Errno(ETXTBSY)
        self.refresh()
        stamp = (self.found.st_size, self.found.st_mtime_ns)
        cache = self.cache
        if cache is not None and stamp != self.stamp and not self.writers and not cache.users:
            self.cache = None  # somebody else has written it
            cache.release()
            cast(WritableBacking, cache.backing).close()
        self.stamp = stamp
        backing = cast(WritableBacking, self.page_cache().backing)
        if not backing.allows(flags):
            better = self._open_host()
            if not better.allows(flags):
                better.close()
                raise Errno(EACCES)
            backing.fd, better.fd = better.fd, backing.fd
            backing.writable, backing.readable = better.writable, better.readable
            better.close()
        return RegularFile(dentry, flags)
