"""--writable PATH: a host file or directory that the guest changes for real.

Every operation is done on the host at once, by one name in a directory opened as ``hosttree`` says, so it cannot leave
the path that was given. Data goes through the page cache, which writes through; stores of MAP_SHARED mappings reach
the host at msync, munmap, fsync and exit. Host changes are seen when a file is looked up, stat'ed or opened while the
guest does not have it open.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakValueDictionary

from kernel.errno import EACCES, EIO, EPERM, ESTALE, ETXTBSY, Errno
from kernel.fs.hostbacking import WritableBacking, host_errors
from kernel.fs.hosttree import HostTree, join
from kernel.fs.inode import Inode, Stat, StatFs, SuperBlock
from kernel.fs.regular import DirectoryFile, RegularFile, check_size
from kernel.fs.tmpfs import MemSpecial, TmpFs
from kernel.fs.uapi import S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from kernel.fs.dentry import Dentry
    from kernel.fs.file import File
    from kernel.mm.pagecache import PageCache
    from kernel.task.task import Task


class HostFs(SuperBlock):
    """A writable piece of the host's tree; ``name`` limits it to one file of the tree's root directory."""

    def __init__(self, kernel: Any, tree: HostTree, name: bytes = b"") -> None:
        self.tree = tree
        found = tree.lstat(b"", name)
        if found is None:
            raise Errno(ESTALE)
        super().__init__(kernel, b"hostfs", tree.statfs()[0], found.st_dev)
        self.loaded: WeakValueDictionary[tuple[int, int], Inode] = WeakValueDictionary()
        self.root = self.load(found, None, name)

    def load(self, found: os.stat_result, parent: HostDir | None, name: bytes) -> Inode:
        """The inode of a host file just looked up."""
        key = (found.st_dev, found.st_ino)
        kind = found.st_mode & S_IFMT
        inode = self.loaded.get(key)
        if inode is None or inode.kind != kind or inode.nlink == 0:  # the host may use a number again
            make = {S_IFREG: HostFile, S_IFDIR: HostDir, S_IFLNK: HostLink}.get(kind, HostSpecial)
            inode = self.loaded[key] = make(self, found)
        inode = cast(_HostInode, inode)
        inode.place = (parent, name)
        inode.update(found)
        return inode

    def sync(self) -> None:
        for inode in list(self.loaded.values()):
            inode.fsync()

    def statfs(self) -> StatFs:
        kind, bsize, blocks, bfree, bavail, files, ffree, fsid0, fsid1, namelen, frsize, flags = self.tree.statfs()
        fsid = fsid0 & 0xFFFFFFFF | (fsid1 & 0xFFFFFFFF) << 32
        return StatFs(kind, bsize, blocks, bfree, bavail, files, ffree, fsid, namelen, frsize, flags)


class _HostInode(Inode):
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


class HostFile(_HostInode):
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


class HostLink(_HostInode):
    """A symbolic link."""

    __slots__ = ()

    def readlink(self, task: Task) -> bytes:
        return self.sb.tree.readlink(*self.where())


class HostSpecial(_HostInode):
    """A FIFO, which works among guest processes, or a socket or device, which does not."""

    __slots__ = ()

    open = MemSpecial.open


class HostDir(_HostInode):
    """A directory. Its children are looked up on the host each time."""

    __slots__ = ("known",)

    volatile = True

    def __init__(self, sb: HostFs, found: os.stat_result) -> None:
        super().__init__(sb, found)
        self.known: WeakValueDictionary[bytes, Dentry] = WeakValueDictionary()

    def path(self) -> bytes:
        """Below the tree's root."""
        names = []
        here: HostDir | None = self
        while here is not None:
            parent, name = here.place
            names.append(name)
            here = parent
        return b"/".join(name for name in reversed(names) if name)

    def where(self) -> tuple[bytes, bytes]:
        return self.path(), b""

    def _host(self) -> int:
        return self.sb.tree.directory(self.path())

    def lookup(self, task: Task, name: bytes) -> Inode | None:
        found = self.sb.tree.lstat(self.path(), name)
        return None if found is None else self.sb.load(found, self, name)

    def readdir(self, task: Task) -> list[tuple[bytes, int, int]]:
        return self.sb.tree.list(self.path())

    def _made(self, task: Task, name: bytes) -> Inode:
        """A new entry: owned by whom the guest says, where the host lets us."""
        cred = task.cred
        if cred.fsuid != os.geteuid() or cred.fsgid != os.getegid():
            with contextlib.suppress(OSError):
                gid = -1 if self.mode & stat.S_ISGID else cred.fsgid
                os.chown(name, cred.fsuid, gid, dir_fd=self._host(), follow_symlinks=False)
        inode = self.lookup(task, name)
        if inode is None:
            raise Errno(EIO)
        return inode

    def create(self, task: Task, name: bytes, mode: int) -> Inode:
        with host_errors():
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, 0o600, dir_fd=self._host())
            try:
                os.fchmod(fd, mode & 0o7777)
            finally:
                os.close(fd)
        return self._made(task, name)

    def mkdir(self, task: Task, name: bytes, mode: int) -> Inode:
        with host_errors():
            os.mkdir(name, 0o700, dir_fd=self._host())
        inode = self._made(task, name)
        inode.setattr(task, mode=inode.mode & stat.S_ISGID | mode & 0o1777)
        return inode

    def mknod(self, task: Task, name: bytes, mode: int, rdev: int) -> Inode:
        if mode & S_IFMT not in (S_IFIFO, S_IFSOCK):
            raise Errno(EPERM)
        with host_errors():
            os.mknod(name, mode & S_IFMT | 0o600, dir_fd=self._host())
        inode = self._made(task, name)
        inode.setattr(task, mode=mode)
        return inode

    def symlink(self, task: Task, name: bytes, target: bytes) -> Inode:
        with host_errors():
            os.symlink(target, name, dir_fd=self._host())
        return self._made(task, name)

    def add_mount_point(self, name: bytes) -> Inode:
        """An empty directory to mount on, made at boot where the host has none; the host is left alone."""
        return TmpFs(self.sb.kernel, self.dev, mode=0o755).root

    def tmpfile(self, task: Task, mode: int) -> Inode:
        fd = self.sb.tree.tmpfile(self.path(), mode)
        inode = HostFile(self.sb, os.fstat(fd))
        self.sb.loaded[inode.dev, inode.ino] = inode
        inode.place = (self, b"#%d" % inode.ino)
        inode.adopt(fd)
        return inode

    def link(self, task: Task, name: bytes, inode: Inode) -> None:
        if inode.cache is not None:
            self.sb.tree.link(cast(WritableBacking, inode.cache.backing).fd, self.path(), name)
            inode.getattr(task)
            return
        directory, old = cast(_HostInode, inode).where()
        tree = self.sb.tree
        with host_errors():
            source = os.dup(tree.directory(directory))
            try:
                os.link(old, name, src_dir_fd=source, dst_dir_fd=self._host(), follow_symlinks=False)
            finally:
                os.close(source)
        cast(_HostInode, inode).refresh()

    def unlink(self, task: Task, name: bytes, inode: Inode) -> None:
        with host_errors():
            os.unlink(name, dir_fd=self._host())
        inode.nlink -= 1

    def rmdir(self, task: Task, name: bytes, inode: Inode) -> None:
        with host_errors():
            os.rmdir(name, dir_fd=self._host())
        self.sb.tree.forget(join(self.path(), name))
        inode.nlink = 0

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
        tree = self.sb.tree
        new_dir = cast(HostDir, new_dir)
        tree.rename(self.path(), name, new_dir.path(), new_name, exchange)
        cast(_HostInode, inode).place = (new_dir, new_name)
        if exchange:
            cast(_HostInode, target).place = (self, name)
        elif target is not None:
            target.nlink = 0 if target.is_dir else target.nlink - 1
        tree.forget(join(self.path(), name))
        tree.forget(join(new_dir.path(), new_name))

    def is_empty(self, task: Task | None) -> bool:
        return not self.sb.tree.list(self.path())

    def open(self, task: Task, dentry: Dentry, flags: int) -> File | Awaitable[File]:
        return DirectoryFile(dentry, flags)
