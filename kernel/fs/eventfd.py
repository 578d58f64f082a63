"""eventfd(2): a 64-bit counter behind a descriptor. Linux: fs/eventfd.c."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import EAGAIN, EFAULT, EINVAL, Errno
from kernel.fs.anon import QueueFile
from kernel.fs.pollmask import POLLERR, POLLIN, POLLOUT
from kernel.fs.uapi import O_NONBLOCK, O_RDWR
from kernel.task.wait import sleep

if TYPE_CHECKING:
    from kernel.task.task import Task

ULLONG_MAX = (1 << 64) - 1

EFD_SEMAPHORE = 1


class EventFile(QueueFile):
    """The counter; invariant: 0 <= counter < 2**64 - 1."""

    write_unit = 8

    def __init__(self, task: Task, count: int, flags: int, semaphore: bool) -> None:
        super().__init__(task, O_RDWR | flags & O_NONBLOCK, b"eventfd")
        self.counter = count
        self.semaphore = semaphore

    def try_read(self, task: Task, n: int, pos: int | None = None) -> bytes | None:
        if n < 8:
            raise Errno(EINVAL)
        if not self.counter:
            if self.flags & O_NONBLOCK:
                raise Errno(EAGAIN)
            return None
        taken = 1 if self.semaphore else self.counter
        self.counter -= taken
        self.queue.wake()
        return taken.to_bytes(8, "little")

    def unread(self, data: bytes, done: int) -> int:
        """The count has been taken, whether it arrived or not."""
        raise Errno(EFAULT)

    def try_write(self, task: Task, data: bytes, pos: int | None = None) -> int | None:
        if len(data) != 8:
            raise Errno(EINVAL)
        added = int.from_bytes(data[:8], "little")
        if added == ULLONG_MAX:
            raise Errno(EINVAL)
        if added >= ULLONG_MAX - self.counter:
            if self.flags & O_NONBLOCK:
                raise Errno(EAGAIN)
            return None
        self.counter += added
        self.queue.wake()
        return 8

    async def write(self, task: Task, data: bytes, pos: int | None = None) -> int:
        while (done := self.try_write(task, data)) is None:
            await sleep(self.queue)
        return done

    def poll(self) -> int:
        mask = POLLIN if self.counter else 0
        if self.counter == ULLONG_MAX:
            mask |= POLLERR
        if self.counter < ULLONG_MAX - 1:
            mask |= POLLOUT
        return mask

    def fdinfo(self, task: Task) -> bytes:
        return b"eventfd-count: %16x\n" % self.counter
