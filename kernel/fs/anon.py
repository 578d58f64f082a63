"""Inodes of files that have no name: pipefs, sockfs and anon_inodefs (fs/pipe.c, net/socket.c, fs/anon_inodes.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from kernel.errno import ENXIO, Errno
from kernel.fs.file import File
from kernel.fs.inode import Inode, SuperBlock
from kernel.fs.uapi import ANON_INODE_FS_MAGIC, PIPEFS_MAGIC, S_IFIFO, S_IFSOCK, SOCKFS_MAGIC
from kernel.task.wait import WaitQueue, sleep

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from kernel.fs.dentry import Dentry
    from kernel.task.task import Task

SOCKFS_DEV = 8
PIPEFS_DEV = 13
ANON_INODEFS_DEV = 14
_FIRST_INO = 1000


class _FileSystems:
    """The three superblocks of one kernel."""

    def __init__(self, kernel: Any) -> None:
        self.pipefs = SuperBlock(kernel, b"pipefs", PIPEFS_MAGIC, PIPEFS_DEV, _FIRST_INO)
        self.sockfs = SuperBlock(kernel, b"sockfs", SOCKFS_MAGIC, SOCKFS_DEV, _FIRST_INO)
        self.anon = SuperBlock(kernel, b"anon_inodefs", ANON_INODE_FS_MAGIC, ANON_INODEFS_DEV, _FIRST_INO)
        self.anon_inode = Inode(self.anon, 0o600)


_OF_KERNEL: WeakKeyDictionary[Any, _FileSystems] = WeakKeyDictionary()


def _of(kernel: Any) -> _FileSystems:
    systems = _OF_KERNEL.get(kernel)
    if systems is None:
        systems = _OF_KERNEL[kernel] = _FileSystems(kernel)
    return systems


def super_blocks(kernel: Any) -> list[SuperBlock]:
    """pipefs, sockfs and anon_inodefs."""
    systems = _of(kernel)
    return [systems.pipefs, systems.sockfs, systems.anon]


class PipeInode(Inode):
    """A pipe(2)'s inode; /proc/<pid>/fd/N opens it anew as a FIFO."""

    __slots__ = ()

    def open(self, task: Task, dentry: Dentry, flags: int) -> File | Awaitable[File]:
        from kernel.fs.fifo import open_fifo

        return open_fifo(task, dentry, flags)

    def setattr(self, task: Task | None, **changes: int) -> None:
        set_attributes(self, changes)


class SocketInode(Inode):
    """A socket's inode; it cannot be opened by its /proc name."""

    __slots__ = ()

    def open(self, task: Task, dentry: Dentry, flags: int) -> File | Awaitable[File]:
        raise Errno(ENXIO)

    def setattr(self, task: Task | None, **changes: int) -> None:
        set_attributes(self, changes)


def set_attributes(inode: Inode, changes: dict[str, int]) -> None:
    """simple_setattr: permission bits, owner and times of an inode that lives in memory."""
    for name, value in changes.items():
        setattr(inode, name, inode.mode & ~0o7777 | value & 0o7777 if name == "mode" else value)


def pipe_inode(task: Task) -> Inode:
    """A new inode on pipefs, owned by the caller."""
    return PipeInode(_of(task.kernel).pipefs, S_IFIFO | 0o600, task.cred.fsuid, task.cred.fsgid)


def socket_inode(task: Task) -> Inode:
    """A new inode on sockfs, owned by the caller."""
    return SocketInode(_of(task.kernel).sockfs, S_IFSOCK | 0o777, task.cred.fsuid, task.cred.fsgid)


def anonymous_inode(task: Task) -> Inode:
    """The one inode that all anonymous files share."""
    return _of(task.kernel).anon_inode


class AnonFile(File):
    """A file on anonymous_inode(): it has no contents to seek in, but lseek says so politely (noop_llseek)."""

    pollable = True

    def __init__(self, task: Task, flags: int, name: bytes) -> None:
        super().__init__(flags, anonymous_inode(task), b"anon_inode:[%s]" % name)

    def seek(self, task: Task, offset: int, whence: int) -> int:
        return self.pos


class QueueFile(AnonFile):
    """An anonymous file whose readers, writers and pollers wait on one ``queue``."""

    def __init__(self, task: Task, flags: int, name: bytes) -> None:
        super().__init__(task, flags, name)
        self.queue = WaitQueue()

    async def read(self, task: Task, n: int, pos: int | None = None) -> bytes:
        while (data := self.try_read(task, n)) is None:
            await sleep(self.queue)
        return data

    def wait_queues(self, events: int) -> tuple[WaitQueue, ...]:
        return (self.queue,)
