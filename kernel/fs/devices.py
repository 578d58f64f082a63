"""/dev: the device nodes that programs expect, and their open files (drivers/char/mem.c, drivers/char/random.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel.errno import EINVAL, ENODEV, ENOSPC, ENXIO, Errno
from kernel.fs.file import File
from kernel.fs.memfile import MemSpecial, MemSymlink
from kernel.fs.tmpfs import MemDir, TmpFs
from kernel.fs.uapi import S_IFCHR, S_IFDIR, SEEK_CUR, SEEK_END, SEEK_SET, makedev

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kernel.fs.dentry import Dentry
    from kernel.mm.pagecache import PageCache
    from kernel.task.task import Task

DEVTMPFS_DEV = 6
SHM_DEV = 27
RNDGETENTCNT = 0x80045200
ENTROPY_BITS = 256


class _MemoryDevice(File):
    """/dev/null and its kin: a position that stays where it is."""

    seekable = True
    direct = True

    def seek(self, task: Task, offset: int, whence: int) -> int:
        if whence not in (SEEK_SET, SEEK_CUR, SEEK_END):
            raise Errno(EINVAL)
        self.pos = 0
        return 0

    def try_write(self, task: Task, data: bytes, pos: int | None = None) -> int:
        return len(data)

    def write_user(self, task: Task, addr: int, count: int, pos: int | None = None) -> int:
        return count  # not even looked at


class NullFile(_MemoryDevice):
    """/dev/null."""

    def try_read(self, task: Task, n: int, pos: int | None = None) -> bytes:
        return b""


class ZeroFile(_MemoryDevice):
    """/dev/zero."""

    def try_read(self, task: Task, n: int, pos: int | None = None) -> bytes:
        return bytes(n)

    def mapping(self, prot: int, flags: int) -> PageCache | None:
        return None


class FullFile(ZeroFile):
    """/dev/full."""

    def write_user(self, task: Task, addr: int, count: int, pos: int | None = None) -> int:
        raise Errno(ENOSPC)

    def try_write(self, task: Task, data: bytes, pos: int | None = None) -> int:
        raise Errno(ENOSPC)

    def mapping(self, prot: int, flags: int) -> PageCache | None:
        raise Errno(ENODEV)


class RandomFile(_MemoryDevice):
    """/dev/random and /dev/urandom."""

    def seek(self, task: Task, offset: int, whence: int) -> int:
        return self.pos

    def try_read(self, task: Task, n: int, pos: int | None = None) -> bytes:
        return task.kernel.random.bytes(n)

    async def ioctl(self, task: Task, cmd: int, arg: int) -> int:
        if cmd == RNDGETENTCNT:
            task.mm.write_i32(arg, ENTROPY_BITS)
            return 0
        raise Errno(EINVAL)


_FILES: dict[int, Callable[..., File]] = {
    makedev(1, 3): NullFile,
    makedev(1, 5): ZeroFile,
    makedev(1, 7): FullFile,
    makedev(1, 8): RandomFile,
    makedev(1, 9): RandomFile,
}
TTY = makedev(5, 0)


def open_device(task: Task, dentry: Dentry, flags: int) -> File | Awaitable[File]:
    """Open a character device by its number; ENXIO when there is no such device."""
    rdev = dentry.inode.rdev
    make = _FILES.get(rdev)
    if make is not None:
        return make(flags, dentry=dentry)
    if rdev == TTY:
        return open_tty(task, dentry, flags)
    raise Errno(ENXIO)


def open_tty(task: Task, dentry: Dentry, flags: int) -> File:
    """/dev/tty: the controlling terminal of the session; ENXIO without one."""
    terminal = task.group.controlling_tty
    if terminal is None:
        raise Errno(ENXIO)
    return terminal.open(dentry, flags)


def make_devtmpfs(kernel: Any) -> tuple[TmpFs, TmpFs]:
    """The file systems of /dev and /dev/shm."""
    dev = TmpFs(kernel, DEVTMPFS_DEV, b"devtmpfs", 0o755)
    root = dev.root
    for name, numbers in (
        (b"null", (1, 3)), (b"zero", (1, 5)), (b"full", (1, 7)), (b"random", (1, 8)), (b"urandom", (1, 9)),
        (b"tty", (5, 0)),
    ):  # fmt: skip
        root.entries[name] = MemSpecial(dev, S_IFCHR | 0o666, rdev=makedev(*numbers))
    for name, target in (
        (b"fd", b"/proc/self/fd"), (b"stdin", b"/proc/self/fd/0"), (b"stdout", b"/proc/self/fd/1"),
        (b"stderr", b"/proc/self/fd/2"),
    ):  # fmt: skip
        root.entries[name] = MemSymlink(dev, target)
    for name, mode in ((b"shm", 0o1777), (b"pts", 0o755)):
        root.entries[name] = MemDir(dev, S_IFDIR | mode)
        root.nlink += 1
    shm = TmpFs(kernel, SHM_DEV)
    return dev, shm

