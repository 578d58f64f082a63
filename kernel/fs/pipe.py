"""Pipes: the ring of page-sized slots that pipe(2), FIFOs, splice and tee share.

As in Linux a pipe is counted in *slots* of one page, not in bytes: a write goes into the last slot when its odd part
fits there, and takes new slots for the rest. Capacity, PIPE_BUF atomicity and the poll masks all follow from that.
Linux: fs/pipe.c, pipe(7).
"""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING, Any

from emu.paging import PAGE_SIZE
from kernel.errno import EAGAIN, EBADF, EBUSY, EINVAL, ENOTTY, EPERM, EPIPE, Errno
from kernel.fs.file import File
from kernel.fs.pollmask import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM
from kernel.fs.uapi import O_DIRECT, O_NONBLOCK, O_RDONLY, O_WRONLY
from kernel.task.wait import WaitQueue, sleep

if TYPE_CHECKING:
    from kernel.task.task import Task

PIPE_BUF = 4096
DEFAULT_SLOTS = 16
MAX_SLOTS_USER = 256
"""/proc/sys/fs/pipe-max-size (1 MiB) in slots."""

FIONREAD = 0x541B

_READABLE = POLLIN | POLLRDNORM
_WRITABLE = POLLOUT | POLLWRNORM


class Packet(bytes):
    """A slot written in packet mode (O_DIRECT): one read takes it whole, the rest of it is lost."""


class Pipe:
    """The ring (struct pipe_inode_info).

    Invariants: ``slots`` holds no empty slot; ``start`` bytes of the first slot have been read, and only a
    ``bytearray`` slot may be written to (PIPE_BUF_FLAG_CAN_MERGE).
    """

    __slots__ = (
        "max_slots", "read_queue", "reader_count", "readers", "slots", "start", "write_queue", "writer_count",
        "writers",
    )

    def __init__(self) -> None:
        self.slots: deque[bytearray | bytes] = deque()
        self.start = 0
        self.max_slots = DEFAULT_SLOTS
        self.readers = 0
        self.writers = 0
        self.reader_count = 0
        """How many readers there have ever been; a FIFO's open waits for it to move."""
        self.writer_count = 0
        self.read_queue = WaitQueue()
        self.write_queue = WaitQueue()

    def size(self) -> int:
        """Bytes that can be read now."""
        return sum(map(len, self.slots)) - self.start

    def full(self) -> bool:
        """No free slot; a few bytes may still merge into the last one."""
        return len(self.slots) >= self.max_slots

    def take(self, n: int) -> bytes:
        """Up to ``n`` bytes from the front, b"" when empty; wakes writers when a slot became free."""
        slots = self.slots
        if not slots:
            return b""
        was_full = len(slots) >= self.max_slots
        slot, start = slots[0], self.start
        end = start + n
        if end < len(slot) or type(slot) is Packet:
            data = bytes(slot[start:end])
            if type(slot) is Packet:
                slots.popleft()
                self.start = 0
            else:
                self.start = end
        else:
            data = bytes(slot[start:]) if start else bytes(slot)
            slots.popleft()
            self.start = 0
            if len(data) < n and slots:
                data = self._take_more(data, n)
        queue = self.write_queue
        if (queue.sleepers and was_full) or queue.listeners:
            queue.wake()
        return data

    def _take_more(self, data: bytes, n: int) -> bytes:
        """Go on over the following slots; a packet is never joined to anything."""
        slots, parts, left = self.slots, [data], n - len(data)
        while left and slots and type(slots[0]) is not Packet:
            slot = slots[0]
            if len(slot) <= left:
                parts.append(slots.popleft())  # type: ignore[arg-type]
                left -= len(slot)
            else:
                parts.append(bytes(slot[:left]))
                self.start = left
                left = 0
        return b"".join(parts)

    def put(self, data: bytes | memoryview, packets: bool = False) -> int:
        """Append as much of ``data`` as fits, as pipe_write does; returns the number of bytes taken."""
        slots = self.slots
        n = len(data)
        done = 0
        if slots:
            odd = n & (PAGE_SIZE - 1)
            last = slots[-1]
            if odd and type(last) is bytearray and len(last) + odd <= PAGE_SIZE:
                last += data[:odd] if odd != n else data
                done = odd
        while done < n and len(slots) < self.max_slots:
            chunk = data[done:done + PAGE_SIZE]
            slots.append(Packet(chunk) if packets else bytearray(chunk))
            done += len(chunk)
        queue = self.read_queue
        if done and (queue.sleepers or queue.listeners):
            queue.wake()
        return done

    def put_slot(self, data: bytes) -> None:
        """Append one slot that later writes never extend (splice, tee, vmsplice). The pipe must not be full."""
        assert data and len(data) <= PAGE_SIZE and not self.full()
        self.slots.append(bytes(data))
        queue = self.read_queue
        if queue.sleepers or queue.listeners:
            queue.wake()

    def put_back(self, data: bytes) -> None:
        """``data``, just taken, could not be delivered."""
        if self.start:
            self.slots[0] = self.slots[0][self.start:]
            self.start = 0
        self.slots.appendleft(data)
        self.read_queue.wake()

    def take_slot(self, n: int) -> bytes:
        """Up to ``n`` bytes of the first slot alone; b"" when empty."""
        if not self.slots:
            return b""
        return self.take(min(n, len(self.slots[0]) - self.start))

    def resize(self, task: Task, size: int) -> int:
        """F_SETPIPE_SZ: round ``size`` (bytes) up to a power-of-two number of pages; returns the new capacity.

        Raises:
            Errno: EINVAL over 2 GiB, EPERM above pipe-max-size without CAP_SYS_RESOURCE, EBUSY when the
                content would not fit.
        """
        if size > 1 << 31:
            raise Errno(EINVAL)
        slots = 1 << (max(size, PAGE_SIZE) + PAGE_SIZE - 1 >> 12).bit_length() - 1
        if slots << 12 < size:
            slots <<= 1
        if slots > self.max_slots and slots > MAX_SLOTS_USER and task.cred.euid != 0:
            raise Errno(EPERM)
        if slots < len(self.slots):
            raise Errno(EBUSY)
        grown = slots > self.max_slots
        self.max_slots = slots
        if grown:
            self.write_queue.wake()
        return slots << 12

    def add_end(self, reader: bool, writer: bool) -> None:
        """A new open end: let blocked opens and pollers know."""
        if reader:
            self.readers += 1
            self.reader_count += 1
            self.write_queue.wake()
        if writer:
            self.writers += 1
            self.writer_count += 1
            self.read_queue.wake()

    def drop_end(self, reader: bool, writer: bool) -> None:
        """An end is closed: the other side finds EOF or EPIPE; without any end the content is gone."""
        self.readers -= reader
        self.writers -= writer
        if not self.readers and not self.writers:
            self.slots.clear()
            self.start = 0
            return
        self.read_queue.wake()
        self.write_queue.wake()


def broken_pipe(task: Task) -> Errno:
    """EPIPE, with the SIGPIPE that goes with it (send_sig: si_code SI_KERNEL's cousin SI_USER of oneself)."""
    from kernel.task.signal import SIGPIPE, SigInfo, send_signal

    send_signal(task, SigInfo(SIGPIPE, code=0, pid=task.pid, uid=task.cred.uid))
    return Errno(EPIPE)


class PipeFile(File):
    """One end of a pipe, or both for a FIFO opened O_RDWR."""

    pollable = True
    write_unit = PAGE_SIZE

    def __init__(self, pipe: Pipe, flags: int, inode: Any, label: bytes = b"", dentry: Any = None) -> None:
        super().__init__(flags, inode, label, dentry)
        self.pipe = pipe
        self.seen_writers = -1
        """A FIFO opened before any writer reports no POLLHUP until one has come (f_version)."""

    def try_read(self, task: Task, n: int, pos: int | None = None) -> bytes | None:
        pipe = self.pipe
        if pipe.slots:
            return pipe.take(n) if n else b""
        if not n or not pipe.writers:
            return b""
        if self.flags & O_NONBLOCK:
            raise Errno(EAGAIN)
        return None

    async def read(self, task: Task, n: int, pos: int | None = None) -> bytes:
        while (data := self.try_read(task, n)) is None:
            await sleep(self.pipe.read_queue)
        return data

    def unread(self, data: bytes, done: int) -> int:
        """Linux takes a slot out when it has been copied whole: give the others back."""
        done -= done % PAGE_SIZE
        self.pipe.put_back(data[done:])
        return super().unread(data, done)

    def try_write(self, task: Task, data: bytes, pos: int | None = None) -> int | None:
        pipe = self.pipe
        if not data:
            return 0
        if not pipe.readers:
            raise broken_pipe(task)
        flags = self.flags
        if flags & O_NONBLOCK:
            done = pipe.put(data, bool(flags & O_DIRECT))
            if not done:
                raise Errno(EAGAIN)
            return done
        n = len(data)
        if n <= PAGE_SIZE and (len(pipe.slots) < pipe.max_slots or self._merges(n)):
            return pipe.put(data, bool(flags & O_DIRECT))
        if n <= (pipe.max_slots - len(pipe.slots)) * PAGE_SIZE:
            return pipe.put(data, bool(flags & O_DIRECT))
        return None

    def _merges(self, n: int) -> bool:
        """A full pipe still takes ``n`` bytes in its last slot."""
        last = self.pipe.slots[-1]
        return n < PAGE_SIZE and type(last) is bytearray and len(last) + n <= PAGE_SIZE

    async def write(self, task: Task, data: bytes, pos: int | None = None) -> int:
        done = self.try_write(task, data)
        if done is not None:
            return done
        view, done = memoryview(data), 0
        while True:
            if not self.pipe.readers:
                error = broken_pipe(task)
                if done:
                    return done
                raise error
            done += self.pipe.put(view[done:], bool(self.flags & O_DIRECT))
            if done == len(view):
                return done
            if self.flags & O_NONBLOCK:
                return done
            try:
                await sleep(self.pipe.write_queue)
            except Errno:
                if done:
                    return done
                raise

    def poll(self) -> int:
        pipe, mask = self.pipe, 0
        if self.readable:
            if pipe.slots:
                mask |= _READABLE
            if not pipe.writers and self.seen_writers != pipe.writer_count:
                mask |= POLLHUP
        if self.writable:
            if len(pipe.slots) < pipe.max_slots:
                mask |= _WRITABLE
            if not pipe.readers:
                mask |= POLLERR
        return mask

    def wait_queues(self, events: int) -> tuple[WaitQueue, ...]:
        queues = (self.pipe.read_queue,) if self.readable else ()
        return (*queues, self.pipe.write_queue) if self.writable else queues

    async def ioctl(self, task: Task, cmd: int, arg: int) -> int:
        if cmd != FIONREAD:
            raise Errno(ENOTTY)
        task.mm.write(arg, struct.pack("<i", self.pipe.size()))
        return 0

    def release(self) -> None:
        self.pipe.drop_end(self.readable, self.writable)


def new_pipe(task: Task, flags: int) -> tuple[PipeFile, PipeFile]:
    """pipe2(2)'s two ends, reader first. ``flags``: O_NONBLOCK and O_DIRECT are kept."""
    from kernel.fs.anon import pipe_inode

    pipe = Pipe()
    inode = pipe_inode(task)
    inode.pipe = pipe
    path = b"pipe:[%d]" % inode.ino
    reader = PipeFile(pipe, O_RDONLY | flags & O_NONBLOCK, inode, path)
    writer = PipeFile(pipe, O_WRONLY | flags & (O_NONBLOCK | O_DIRECT), inode, path)
    pipe.add_end(True, False)
    pipe.add_end(False, True)
    return reader, writer


def pipe_of(file: File) -> Pipe | None:
    """The pipe behind ``file``, if it is one."""
    return file.pipe if isinstance(file, PipeFile) else None


def resize(task: Task, file: File, size: int) -> int:
    """F_SETPIPE_SZ. Raises Errno(EBADF) when ``file`` is no pipe."""
    if (pipe := pipe_of(file)) is None:
        raise Errno(EBADF)
    return pipe.resize(task, size)
