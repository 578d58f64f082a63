"""Files in memory: tmpfs (/dev/shm, memfd_create), and the part of the overlay that the guest itself has written.

Linux: mm/shmem.c, fs/libfs.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emu.paging import PAGE_SIZE
from kernel.errno import ENOSPC, ENOTEMPTY, Errno
from kernel.fs.inode import Inode, StatFs, SuperBlock
from kernel.fs.memfile import MemFile, MemInode, MemSpecial, MemSymlink
from kernel.fs.regular import DirectoryFile
from kernel.fs.uapi import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISGID, S_IXGRP, TMPFS_MAGIC
from kernel.task.capability import CAP_FSETID

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from kernel.fs.dentry import Dentry
    from kernel.fs.file import File
    from kernel.task.task import Task

INODE_BYTES = 1 << 14
"""Guest memory for each file that may exist in memory: they cost the emulator memory that it does not count."""


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
