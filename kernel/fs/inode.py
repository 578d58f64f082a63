"""Inodes and the file systems they belong to: what every kind of file answers, and with which error it refuses.

A file system subclasses :class:`Inode` and overrides what it can do; everything else fails as Linux's VFS does when
the operation is missing. Permission checks, path walking and the dentry cache are ``kernel.fs.namei``'s business: an
inode method is only called when it is allowed. Linux: include/linux/fs.h, fs/inode.c.

Times are integers in nanoseconds of the realtime clock. Names are bytes without slash, never ``.`` or ``..``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from kernel.errno import EACCES, EINVAL, ELOOP, ENOTDIR, ENOTSUP, ENXIO, EPERM, Errno
from kernel.fs.permission import generic_permission
from kernel.fs.uapi import S_IFDIR, S_IFLNK, S_IFMT

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from kernel.fs.dentry import Dentry
    from kernel.fs.file import File
    from kernel.fs.undo import Undo
    from kernel.mm.pagecache import PageCache
    from kernel.task.task import Task


class Stat(NamedTuple):
    """What stat(2) and statx(2) report; sizes in bytes, ``blocks`` in units of 512 bytes, times in nanoseconds."""

    dev: int
    ino: int
    mode: int
    nlink: int
    uid: int
    gid: int
    rdev: int
    size: int
    blksize: int
    blocks: int
    atime: int
    mtime: int
    ctime: int
    btime: int | None
    """Time of birth, None where the file system has none."""


class StatFs(NamedTuple):
    """What statfs(2) reports."""

    type: int
    bsize: int
    blocks: int
    bfree: int
    bavail: int
    files: int
    ffree: int
    fsid: int
    namelen: int
    frsize: int
    flags: int


class SuperBlock:
    """One mounted file system."""

    def __init__(self, kernel: Any, kind: bytes, magic: int, dev: int, first_ino: int = 1) -> None:
        self.kernel = kernel
        self.kind = kind
        """The name in /proc/mounts (``ext4``, ``tmpfs``, ``proc``)."""
        self.magic = magic
        """``f_type`` of statfs(2)."""
        self.dev = dev
        """``st_dev`` of its files."""
        self.source = kind
        self.mount_options = b"rw,relatime"
        self.multigrain = False
        """Time stamps are fine-grained when asked for: statx leaves them out of its mask when not."""
        self.statx_attributes = 0x203000
        """``stx_attributes_mask``: AUTOMOUNT, MOUNT_ROOT and DAX for all file systems."""
        self.next_ino = first_ino
        self.own_inodes = 0
        """Files that exist in memory alone, kept below ``max_inodes`` (ENOSPC)."""
        self.max_inodes = 1 << 62
        self.now = kernel.clock.timestamp_ns
        """The time stamps' clock."""
        self.undo: Undo | None = None
        """Remembers what changes, for it to be taken back."""

    def new_ino(self) -> int:
        """An inode number that no other file of this file system has."""
        ino = self.next_ino
        self.next_ino += 1
        return ino

    def statfs(self) -> StatFs:
        """The figures of simple_statfs: a file system without a size."""
        return StatFs(self.magic, 4096, 0, 0, 0, 0, 0, self.dev, 255, 4096, 0x20 | 0x1000)

    def sync(self) -> None:
        """Write dirty data to where it is kept."""


class Inode:
    """A file of any kind. ``mode`` includes the type; the type never changes."""

    __slots__ = (
        "__weakref__", "atime", "btime", "cache", "ctime", "deny_write", "gid", "ino", "kind", "linkable", "locks",
        "mode", "mtime", "nlink", "opens", "pipe", "rdev", "sb", "socket", "uid", "watchers", "writers",
    )  # fmt: skip

    volatile = False
    """A directory whose entries come and go by themselves: its children are looked up anew every time (procfs)."""
    known: Any = None
    """Of a volatile directory: the dentries of its children that are in use, a weak map from name."""

    def __init__(self, sb: SuperBlock, mode: int, uid: int = 0, gid: int = 0, rdev: int = 0, ino: int = 0) -> None:
        self.sb = sb
        self.ino = ino or sb.new_ino()
        self.mode = mode
        self.kind = mode & S_IFMT
        self.uid = uid
        self.gid = gid
        self.nlink = 1
        self.rdev = rdev
        self.atime = self.mtime = self.ctime = sb.now()
        self.btime: int | None = self.ctime
        self.cache: PageCache | None = None
        self.locks: Any = None
        """flock and fcntl locks (kernel.fs.locks)."""
        self.pipe: Any = None
        """The pipe behind a FIFO while it is open (kernel.fs.fifo)."""
        self.socket: Any = None
        """The socket bound to this name (kernel.net.unix)."""
        self.watchers: Any = None
        """The watches of kernel.fs.inotify, a list when there are any."""
        self.linkable = False
        """Made without a name by O_TMPFILE, and may be given one."""
        self.opens = 0
        """Open descriptions of a regular file."""
        self.writers = 0
        """Open descriptions that may write (i_writecount)."""
        self.deny_write = 0
        """Programs being executed from this file: opening it for writing gives ETXTBSY."""

    # -- attributes

    @property
    def dev(self) -> int:
        """``st_dev``."""
        return self.sb.dev

    @property
    def is_dir(self) -> bool:
        return self.kind == S_IFDIR

    @property
    def is_symlink(self) -> bool:
        return self.kind == S_IFLNK

    @property
    def size(self) -> int:
        """``st_size`` in bytes."""
        return 0

    @property
    def blocks(self) -> int:
        """``st_blocks``: what the file occupies, in units of 512 bytes."""
        return 0

    def getattr(self, task: Task | None = None) -> Stat:
        """What stat(2) reports."""
        return Stat(
            self.dev, self.ino, self.mode, self.nlink, self.uid, self.gid, self.rdev, self.size, 4096, self.blocks,
            self.atime, self.mtime, self.ctime, self.btime,
        )  # fmt: skip

    def birth_time(self) -> int | None:
        """``stx_btime`` in nanoseconds."""
        return self.btime

    def setattr(self, task: Task | None, **changes: int) -> None:
        """Set any of ``mode`` (permission bits), ``uid``, ``gid``, ``atime``, ``mtime`` and ``ctime``."""
        raise Errno(EPERM)

    def permission(self, task: Task, mask: int) -> None:
        """Raise EACCES unless the task's file credentials allow ``mask``, an OR of MAY_READ, MAY_WRITE, MAY_EXEC."""
        generic_permission(self, task.cred, mask)

    def changing(self, data: bool = False) -> None:
        """The inode is about to differ from what its file system loaded, in its ``data`` too: keep it."""
        if self.sb.undo is not None:
            self.sb.undo.keep(self, data)

    def accessed(self, now: int) -> None:
        """The contents have been looked at: the access time becomes ``now``."""
        if self.sb.undo is not None:
            self.sb.undo.keep_atime(self)
        self.atime = now

    # -- directories

    def lookup(self, task: Task, name: bytes) -> Inode | None:
        """The entry ``name`` or None."""
        raise Errno(ENOTDIR)

    def readdir(self, task: Task) -> Iterable[tuple[bytes, int, int]]:
        """(name, inode number, file type as S_IF* >> 12) of all entries but ``.`` and ``..``."""
        raise Errno(ENOTDIR)

    def create(self, task: Task, name: bytes, mode: int) -> Inode:
        """Make a regular file."""
        raise Errno(EACCES)

    def mkdir(self, task: Task, name: bytes, mode: int) -> Inode:
        """Make a directory."""
        raise Errno(EPERM)

    def mknod(self, task: Task, name: bytes, mode: int, rdev: int) -> Inode:
        """Make a FIFO, socket or device node."""
        raise Errno(EPERM)

    def symlink(self, task: Task, name: bytes, target: bytes) -> Inode:
        """Make a symbolic link."""
        raise Errno(EPERM)

    def link(self, task: Task, name: bytes, inode: Inode) -> None:
        """Give ``inode``, of the same file system, one more name."""
        raise Errno(EPERM)

    def unlink(self, task: Task, name: bytes, inode: Inode) -> None:
        """Remove the name of a file that is no directory."""
        raise Errno(EPERM)

    def rmdir(self, task: Task, name: bytes, inode: Inode) -> None:
        """Remove an empty directory (ENOTEMPTY otherwise)."""
        raise Errno(EPERM)

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
        """Move ``inode`` to ``new_name`` in ``new_dir``, of the same file system; replace or exchange ``target``."""
        raise Errno(EPERM)

    def tmpfile(self, task: Task, mode: int) -> Inode:
        """A regular file without a name (O_TMPFILE)."""
        raise Errno(ENOTSUP)

    # -- symbolic links

    def readlink(self, task: Task) -> bytes:
        """The target of a symbolic link."""
        raise Errno(EINVAL)

    def jump(self, task: Task) -> Dentry | None:
        """Where a magic link (/proc/<pid>/fd/N, exe, cwd, root) leads; None for an ordinary one."""
        return None

    # -- contents

    def open(self, task: Task, dentry: Dentry, flags: int) -> File | Awaitable[File]:
        """A new open description. Awaitable where opening may block (FIFOs)."""
        raise Errno(ELOOP if self.kind == S_IFLNK else ENXIO)

    def page_cache(self) -> PageCache:
        """The file's data; made on first need, one for the life of the inode."""
        raise Errno(EINVAL)

    def truncate(self, task: Task | None, size: int) -> None:
        """Set the size of a regular file."""
        raise Errno(EINVAL)

    def fsync(self) -> None:
        """Write dirty data to where it is kept."""

    # -- extended attributes

    def getxattr(self, task: Task, name: bytes) -> bytes:
        raise Errno(ENOTSUP)

    def setxattr(self, task: Task, name: bytes, value: bytes, flags: int) -> None:
        raise Errno(ENOTSUP)

    def removexattr(self, task: Task, name: bytes) -> None:
        raise Errno(ENOTSUP)

    def listxattr(self, task: Task) -> list[bytes]:
        return []
