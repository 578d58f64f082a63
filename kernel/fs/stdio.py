"""The guest's standard streams: open files that stand for descriptors of the host.

Bytes pass through unchanged and unbuffered. What must wait sleeps on the host descriptor in the scheduler, so other
tasks run meanwhile; the host description's own flags are never touched, O_NONBLOCK is the guest's alone. This is the
one place where the guest reaches the host's descriptors; only what is passed at boot can be reached.
"""

from __future__ import annotations

import fcntl
import os
import select
import stat
from typing import TYPE_CHECKING, Any

from kernel.errno import EACCES, EAGAIN, EINVAL, ENODEV, ENOTTY, EPIPE, ESPIPE, Errno, from_host
from kernel.fs.dentry import Dentry
from kernel.fs.file import File
from kernel.fs.inode import Inode, Stat, SuperBlock
from kernel.fs.pipe import broken_pipe
from kernel.fs.pollmask import ALL, POLLERR, POLLHUP, POLLIN, POLLOUT
from kernel.fs.tmpfs import MemDir
from kernel.fs.tty import Terminal
from kernel.fs.uapi import O_ACCMODE, O_APPEND, O_LARGEFILE, O_NONBLOCK, O_RDWR, O_TRUNC, S_IFDIR
from kernel.task.wait import sleep

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from kernel.mm.pagecache import PageCache
    from kernel.task.task import Task, ThreadGroup

PIPE_BUF = 4096
"""What a host pipe or terminal that polls writable takes without blocking."""
FIONREAD = 0x541B
HOSTFS_MAGIC = 0x00C0FFEE
O_KEPT = O_ACCMODE | O_APPEND | O_NONBLOCK | O_LARGEFILE
"""Flags of the host's description that the guest sees."""


class HostInode(Inode):
    """The file behind a host descriptor; attributes are asked of the host."""

    __slots__ = ("fd", "label", "terminal")

    def __init__(self, sb: SuperBlock, fd: int, terminal: Terminal | None) -> None:
        info = os.fstat(fd)
        super().__init__(sb, info.st_mode, info.st_uid, info.st_gid, info.st_rdev, info.st_ino)
        self.fd = fd
        self.terminal = terminal
        self.label = os.fsencode(os.readlink(f"/proc/self/fd/{fd}"))

    @property
    def size(self) -> int:
        return os.fstat(self.fd).st_size

    def getattr(self, task: Task | None = None) -> Stat:
        s = os.fstat(self.fd)
        return Stat(
            s.st_dev, s.st_ino, s.st_mode, s.st_nlink, s.st_uid, s.st_gid, s.st_rdev, s.st_size, s.st_blksize,
            s.st_blocks, s.st_atime_ns, s.st_mtime_ns, s.st_ctime_ns, None,
        )

    def permission(self, task: Task, mask: int) -> None:
        """Whoever got the stream may open it again; open() checks the mode of access."""

    def setattr(self, task: Task | None, **changes: int) -> None:
        """Ignored: the guest's fchmod and futimens must not change a file of the host."""

    def truncate(self, task: Task | None, size: int) -> None:
        try:
            os.ftruncate(self.fd, size)
        except OSError as error:
            raise from_host(error) from None

    def open(self, task: Task, dentry: Dentry, flags: int) -> File | Awaitable[File]:
        """By /proc/self/fd/N or /dev/stdout: a new description of the same host file."""
        held = fcntl.fcntl(self.fd, fcntl.F_GETFL) & O_ACCMODE
        wanted = flags & O_ACCMODE
        if held != O_RDWR and held != wanted:
            raise Errno(EACCES)
        return HostFile(self, flags & ~O_TRUNC, dentry, self.fd, self.terminal, self.label, own_position=True)


class HostFile(File):
    """An open description on a host descriptor.

    The first one shares the host's file position; one that the guest opened anew (``own_position``) has its own.
    """

    def __init__(
        self,
        inode: Inode,
        flags: int,
        dentry: Dentry | None,
        fd: int,
        terminal: Terminal | None = None,
        label: bytes = b"",
        own_position: bool = False,
    ) -> None:
        super().__init__(flags, inode, label, dentry)
        self.fd = fd
        self.terminal = terminal
        self.seekable = self.is_plain = stat.S_ISREG(inode.mode)
        self.own_position = own_position and self.is_plain
        if self.is_plain and self.writable:
            inode.writers += 1
        self.pollable = not self.is_plain and _pollable(self.fd)
        self._poller = select.poll()
        self._poller.register(self.fd, ALL)

    # -- data

    def _ready(self, events: int) -> bool:
        return bool(self.poll() & (events | POLLERR | POLLHUP))

    def try_read(self, task: Task, n: int, pos: int | None = None) -> bytes | None:
        if self.terminal is not None:
            self.terminal.check_read(task)
        if not self.is_plain and not self._ready(POLLIN):
            self._check_blocking()
            return None
        try:
            if pos is not None:
                return os.pread(self.fd, n, pos)
            if self.own_position:
                data = os.pread(self.fd, n, self.pos)
                self.pos += len(data)
                return data
            return os.read(self.fd, n)
        except BlockingIOError:
            self._check_blocking()
            return None
        except OSError as error:
            raise from_host(error) from None

    async def read(self, task: Task, n: int, pos: int | None = None) -> bytes:
        while (data := self.try_read(task, n, pos)) is None:
            await sleep(host_fds=((self.fd, POLLIN),))
        return data

    def try_write(self, task: Task, data: bytes, pos: int | None = None) -> int | None:
        if self.terminal is not None:
            self.terminal.check_write(task)
        if self.is_plain:
            return self._write_plain(task, data, pos)
        if not self._ready(POLLOUT):
            self._check_blocking()
            return None
        if len(data) > PIPE_BUF:
            if not self.flags & O_NONBLOCK:
                return None
            data = data[:PIPE_BUF]
        return self._write_once(task, data)

    async def write(self, task: Task, data: bytes, pos: int | None = None) -> int:
        done = self.try_write(task, data, pos)
        if done is not None:
            return done
        view, done = memoryview(data), 0
        while done < len(view):
            if self._ready(POLLOUT):
                try:
                    taken = self._write_once(task, view[done:done + PIPE_BUF])
                except Errno:
                    if done:
                        return done
                    raise
                if taken is not None:
                    done += taken
                    continue
            try:
                await sleep(host_fds=((self.fd, POLLOUT),))
            except Errno:
                if done:
                    return done
                raise
        return done

    def _check_blocking(self) -> None:
        """The host is not ready: EAGAIN, or the caller sleeps."""
        if self.flags & O_NONBLOCK:
            raise Errno(EAGAIN)

    def _write_once(self, task: Task, data: bytes | memoryview) -> int | None:
        try:
            return os.write(self.fd, data)
        except BlockingIOError:
            self._check_blocking()
            return None
        except OSError as error:
            if error.errno == EPIPE:
                raise broken_pipe(task) from None
            raise from_host(error) from None

    def _write_plain(self, task: Task, data: bytes, pos: int | None) -> int:
        try:
            if pos is not None:
                return os.pwrite(self.fd, data, pos)
            if not self.own_position:
                return os.write(self.fd, data)
            if self.flags & O_APPEND:
                self.pos = os.fstat(self.fd).st_size
            done = os.pwrite(self.fd, data, self.pos)
            self.pos += done
            return done
        except OSError as error:
            raise from_host(error) from None

    def seek(self, task: Task, offset: int, whence: int) -> int:
        try:
            if not self.own_position:
                return os.lseek(self.fd, offset, whence)
        except OSError as error:
            raise from_host(error) from None
        base = (0, self.pos, os.fstat(self.fd).st_size)
        if whence not in (0, 1, 2) or base[whence] + offset < 0:
            raise Errno(EINVAL)
        self.pos = base[whence] + offset
        return self.pos

    def truncate(self, task: Task, size: int) -> None:
        if not self.is_plain or not self.writable:
            raise Errno(EINVAL)
        self.inode.truncate(task, size)

    def fallocate(self, task: Task, mode: int, offset: int, length: int) -> None:
        if not self.is_plain:
            raise Errno(ESPIPE)
        if mode:
            raise Errno(ENODEV)
        try:
            os.posix_fallocate(self.fd, offset, length)
        except OSError as error:
            raise from_host(error) from None

    def fsync(self, task: Task) -> None:
        try:
            os.fsync(self.fd)
        except OSError as error:
            raise from_host(error) from None

    def mapping(self, prot: int, flags: int) -> PageCache | None:
        raise Errno(ENODEV)

    # -- readiness and control

    def poll(self) -> int:
        found = self._poller.poll(0)
        return found[0][1] if found else 0

    def host_fds(self, events: int) -> tuple[tuple[int, int], ...]:
        return ((self.fd, events & ALL),)

    async def ioctl(self, task: Task, cmd: int, arg: int) -> int:
        if self.terminal is not None:
            return await self.terminal.ioctl(task, self, cmd, arg)
        if cmd != FIONREAD:
            raise Errno(ENOTTY)
        try:
            task.mm.write(arg, fcntl.ioctl(self.fd, cmd, bytes(4)))
        except OSError as error:
            raise from_host(error) from None
        return 0


class TerminalFile(HostFile):
    """/dev/tty: the terminal under the name of the device that was opened."""

    def __init__(self, terminal: Terminal, dentry: Dentry, flags: int) -> None:
        super().__init__(dentry.inode, flags, dentry, terminal.fd, terminal)


def _pollable(fd: int) -> bool:
    """Would epoll_ctl take it?"""
    with select.epoll() as epoll:
        try:
            epoll.register(fd, 0)
        except OSError:
            return False
    return True


def open_standard_streams(kernel: Any, fds: tuple[int, int, int] = (0, 1, 2)) -> list[File | None]:
    """Files for the guest's descriptors 0, 1 and 2 over the host's ``fds``; None where the host has it closed.

    A terminal among them becomes ``kernel.terminal`` (None without one).
    """
    sb = SuperBlock(kernel, b"hostfs", HOSTFS_MAGIC, 0)
    kernel.terminal = None
    files: list[File | None] = []
    for fd in fds:
        try:
            flags = fcntl.fcntl(fd, fcntl.F_GETFL)
            is_terminal = os.isatty(fd)
        except (OSError, ValueError):  # ValueError: a negative number, for a stream that we were started without
            files.append(None)
            continue
        if is_terminal and kernel.terminal is None:
            kernel.terminal = Terminal(kernel, fd)
        inode = HostInode(sb, fd, kernel.terminal if is_terminal else None)
        if is_terminal:
            _name_in_dev(kernel, inode)
        files.append(HostFile(inode, flags & O_KEPT, None, fd, inode.terminal, inode.label))
    return files


def _name_in_dev(kernel: Any, inode: HostInode) -> None:
    """Let the guest find the terminal by the name that ttyname(3) gives, such as /dev/pts/0."""
    if not inode.label.startswith(b"/dev/"):
        return
    *directories, name = inode.label.split(b"/")[2:]
    directory = next((mount.dentry.inode for mount in kernel.vfs.mounts if mount.dentry.path() == b"/dev"), None)
    if directory is None:
        return
    for part in directories:
        if part not in directory.entries:
            directory.entries[part] = MemDir(directory.sb, S_IFDIR | 0o755)
            directory.nlink += 1
        directory = directory.entries[part]
    directory.entries.setdefault(name, inode)


def adopt_terminal(kernel: Any, group: ThreadGroup) -> None:
    """Boot: the first process finds its terminal as a program started by a shell does."""
    if kernel.terminal is not None:
        kernel.terminal.claim(group)

