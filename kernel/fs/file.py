"""Open file descriptions: what a descriptor refers to, and what system calls ask of it (fs/file_table.c).

A description is shared by dup, fork and SCM_RIGHTS and counted by ``get`` and ``put``; ``release`` runs when the last
reference goes. Subclasses override what they can do; the rest fails as Linux does when the operation is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from kernel.errno import EFAULT, EINVAL, ENODEV, ENOTDIR, ENOTTY, ESPIPE, Errno
from kernel.fs import fsnotify
from kernel.fs.dentry import Dentry
from kernel.fs.pollmask import ALWAYS_READY
from kernel.fs.uapi import O_ACCMODE, O_CREATION_FLAGS, O_PATH, O_RDONLY, O_RDWR, O_WRONLY, S_IFREG

if TYPE_CHECKING:
    from kernel.fs.inode import Inode
    from kernel.mm.pagecache import PageCache
    from kernel.task.task import Task
    from kernel.task.wait import WaitQueue


class File:
    """An open file description.

    ``pos`` is the file position in bytes; ``flags`` are the O_* that fcntl(F_GETFL) reports. A file that is not in the
    tree (a pipe, a socket) gives ``label``, which readlink of /proc/self/fd/N shows.
    """

    is_regular = False
    """Data is in the inode's page cache (RegularFile)."""
    direct = False
    """Has ``read_user`` and ``write_user``, which move any amount to and from user memory without blocking."""
    seekable = False
    """Has a position: pread, pwrite and lseek do not fail with ESPIPE."""
    io_chunk = 1 << 20
    """The read and write calls move at most so many bytes at a time; whole messages need more (datagram sockets)."""
    write_unit = 1
    """Where only part of the program's buffer can be read, write takes whole units of so many bytes, or fails."""

    def __init__(
        self, flags: int, inode: Inode | None = None, label: bytes = b"", dentry: Dentry | None = None
    ) -> None:
        if dentry is not None and inode is None:
            inode = dentry.inode
        self.flags = flags & ~O_CREATION_FLAGS
        self.inode: Any = inode
        self._dentry = dentry
        self.label = label
        self.pos = 0
        self.count = 1
        mode = flags & O_ACCMODE
        is_path = bool(flags & O_PATH)
        self.is_path = is_path
        """Opened with O_PATH: only the calls that take FdTable.get_raw see it."""
        self.readable = mode in (O_RDONLY, O_RDWR) and not is_path
        self.writable = mode in (O_WRONLY, O_RDWR) and not is_path
        self.deny_write = False
        """Opened for execution; its release lets the file be written again."""
        self.release_hooks: list[Callable[[File], None]] = []
        """Called with the file when the last reference goes (epoll)."""
        self.owner: Any = None
        """F_SETOWN and F_SETSIG."""

    # -- identity

    @property
    def dentry(self) -> Dentry:
        """The name the file was opened by; a nameless one for files outside the tree."""
        if self._dentry is None:
            self._dentry = Dentry(b"", None, self.inode, self.label)
        return self._dentry

    @property
    def path(self) -> bytes:
        """What readlink(/proc/self/fd/N) shows, for a reader whose root is the top of the tree."""
        return self.label if self._dentry is None else self._dentry.path()

    # -- life

    def get(self) -> File:
        """Take one more reference."""
        self.count += 1
        return self

    def put(self) -> None:
        """Drop a reference; the last one releases the file."""
        self.count -= 1
        if self.count == 0:
            for hook in tuple(self.release_hooks):
                hook(self)
            inode = self.inode
            if inode is not None:
                if inode.locks is not None:
                    inode.locks.release_file(self)
                if self.writable and inode.kind == S_IFREG:
                    inode.writers -= 1
                if self.deny_write:
                    inode.deny_write -= 1
                if fsnotify.active and self._dentry is not None and not self.is_path:
                    written = fsnotify.IN_CLOSE_WRITE if self.writable else fsnotify.IN_CLOSE_NOWRITE
                    fsnotify.file_event(self._dentry, written)
            self.release()

    def release(self) -> None:
        """The last reference is gone."""

    # -- data

    def try_read(self, task: Task, n: int, pos: int | None = None) -> bytes | None:
        """As ``read``, for files that need not wait; None when only ``read`` can say."""
        return None

    def try_write(self, task: Task, data: bytes, pos: int | None = None) -> int | None:
        """As ``write``, for files that need not wait; None when only ``write`` can say."""
        return None

    def read_user(self, task: Task, addr: int, count: int, pos: int | None = None) -> int:
        """Read to user memory; only where ``direct``."""
        done = 0
        while done < count:
            data = self.try_read(task, min(count - done, self.io_chunk), pos)
            if not data:
                break
            try:
                copied = copy_out(task, addr + done, data)
            except Errno:
                if not done:
                    raise
                break
            done += copied
            if copied < len(data):
                break
        return done

    def write_user(self, task: Task, addr: int, count: int, pos: int | None = None) -> int:
        """Write from user memory as much as is accessible, fits limits and finds room; only where ``direct``."""
        done = 0
        while done < count:
            n = min(count - done, self.io_chunk)
            try:
                data = task.mm.read_some(addr + done, n)
                written = self.try_write(task, data, None if pos is None else pos + done)
            except Errno:
                if not done:
                    raise
                break
            assert written is not None
            done += written
            if written < n:
                break
        return done

    async def read(self, task: Task, n: int, pos: int | None = None) -> bytes:
        """Up to ``n`` bytes from ``pos``, or from the file position, which moves; empty at the end."""
        data = self.try_read(task, n, pos)
        if data is None:
            raise Errno(EINVAL)
        return data

    async def write(self, task: Task, data: bytes, pos: int | None = None) -> int:
        """Write at ``pos``, or at the file position, which moves; returns how many bytes were taken."""
        done = self.try_write(task, data, pos)
        if done is None:
            raise Errno(EINVAL)
        return done

    def unread(self, data: bytes, done: int) -> int:
        """Only ``done`` bytes of ``data``, just read, reached the program: what read returns. The rest is lost here.

        Raises:
            Errno: EFAULT when that is nothing.
        """
        if not done:
            raise Errno(EFAULT)
        return done

    def seek(self, task: Task, offset: int, whence: int) -> int:
        """lseek(2)."""
        raise Errno(ESPIPE)

    def truncate(self, task: Task, size: int) -> None:
        """ftruncate(2)."""
        raise Errno(EINVAL)

    def fallocate(self, task: Task, mode: int, offset: int, length: int) -> None:
        """fallocate(2), arguments checked."""
        raise Errno(ESPIPE if not self.seekable else ENODEV)

    def fsync(self, task: Task) -> None:
        """fsync(2)."""
        raise Errno(EINVAL)

    def mapping(self, prot: int, flags: int) -> PageCache | None:
        """The page cache to map, or None for a mapping that behaves as an anonymous one (/dev/zero).

        Raises:
            Errno: ENODEV when the file cannot be mapped, EACCES or EPERM when not in this way, as mmap(2).
        """
        raise Errno(ENODEV)

    # -- directories

    def readdir(self, task: Task) -> Iterable[tuple[bytes, int, int, int]]:
        """(name, inode number, type, position after it) from the position on; the caller sets ``pos``."""
        raise Errno(ENOTDIR)

    # -- readiness and control

    def poll(self) -> int:
        """POLL* bits that hold now."""
        return ALWAYS_READY

    def wait_queues(self, events: int) -> tuple[WaitQueue, ...]:
        """The queues that are woken when any of ``events`` (POLL*) may have come true."""
        return ()

    def host_fds(self, events: int) -> tuple[tuple[int, int], ...]:
        """(host descriptor, poll events) to watch as well."""
        return ()

    async def ioctl(self, task: Task, cmd: int, arg: int) -> int:
        """ioctl(2)."""
        raise Errno(ENOTTY)

    def fdinfo(self, task: Task) -> bytes:
        """Lines that /proc/<pid>/fdinfo/N has beyond pos, flags, mnt_id and ino."""
        return b""


class PathFile(File):
    """An O_PATH descriptor: a place in the tree and nothing more."""

    def __init__(self, dentry: Dentry, flags: int) -> None:
        super().__init__(flags, dentry=dentry)


def copy_out(task: Task, addr: int, data: bytes) -> int:
    """Copy to user memory as far as it is accessible; EFAULT only when nothing is (copy_to_user)."""
    mm = task.mm
    try:
        mm.write(addr, data)
        return len(data)
    except Errno as error:
        if error.code != EFAULT:
            raise
        done: int = mm.write_some(addr, data)
        if not done:
            raise
        return done
