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
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakValueDictionary

from kernel.errno import EIO, EPERM, ESTALE, Errno
from kernel.fs.hostbacking import WritableBacking, host_errors
from kernel.fs.hostfile import HostFile, HostInode
from kernel.fs.hosttree import HostTree, join
from kernel.fs.inode import Inode, StatFs, SuperBlock
from kernel.fs.memfile import MemSpecial
from kernel.fs.regular import DirectoryFile
from kernel.fs.tmpfs import TmpFs
from kernel.fs.uapi import S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from kernel.fs.dentry import Dentry
    from kernel.fs.file import File
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
        inode = cast(HostInode, inode)
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


class HostLink(HostInode):
    """A symbolic link."""

    __slots__ = ()

    def readlink(self, task: Task) -> bytes:
        return self.sb.tree.readlink(*self.where())


class HostSpecial(HostInode):
    """A FIFO, which works among guest processes, or a socket or device, which does not."""

    __slots__ = ()

    open = MemSpecial.open


class HostDir(HostInode):
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
        directory, old = cast(HostInode, inode).where()
        tree = self.sb.tree
        with host_errors():
            source = os.dup(tree.directory(directory))
            try:
                os.link(old, name, src_dir_fd=source, dst_dir_fd=self._host(), follow_symlinks=False)
            finally:
                os.close(source)
        cast(HostInode, inode).refresh()

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
        cast(HostInode, inode).place = (new_dir, new_name)
        if exchange:
            cast(HostInode, target).place = (self, name)
        elif target is not None:
            target.nlink = 0 if target.is_dir else target.nlink - 1
        tree.forget(join(self.path(), name))
        tree.forget(join(new_dir.path(), new_name))

    def is_empty(self, task: Task | None) -> bool:
        return not self.sb.tree.list(self.path())

    def open(self, task: Task, dentry: Dentry, flags: int) -> File | Awaitable[File]:
        return DirectoryFile(dentry, flags)
