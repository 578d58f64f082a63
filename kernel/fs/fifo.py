"""Opening a named pipe: wait for the other side, as fifo_open in fs/pipe.c and fifo(7) say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import ENXIO, Errno
from kernel.fs.anon import PipeInode
from kernel.fs.pipe import Pipe, PipeFile
from kernel.fs.uapi import O_NONBLOCK
from kernel.task.wait import sleep

if TYPE_CHECKING:
    from kernel.fs.dentry import Dentry
    from kernel.task.task import Task


class FifoFile(PipeFile):
    """An open FIFO; the ring lives as long as somebody has the FIFO open."""

    def release(self) -> None:
        super().release()
        if not self.pipe.readers and not self.pipe.writers and self.inode.pipe is self.pipe:
            self.inode.pipe = None


async def open_fifo(task: Task, dentry: Dentry, flags: int) -> FifoFile:
    """Open the FIFO at ``dentry``; without O_NONBLOCK sleeps until both sides are there.

    Raises:
        Errno: ENXIO for O_WRONLY|O_NONBLOCK without a reader; ERESTARTSYS when a signal comes first.
    """
    inode = dentry.inode
    pipe = inode.pipe
    if pipe is None:
        pipe = inode.pipe = Pipe()
    file = FifoFile(pipe, flags, inode, b"", dentry)
    nonblocking = flags & O_NONBLOCK
    if isinstance(inode, PipeInode):  # a pipe opened again through /proc/<pid>/fd waits for nobody
        pipe.add_end(file.readable, file.writable)
        return file
    if not file.readable and nonblocking and not pipe.readers:
        if not pipe.writers:
            inode.pipe = None
        raise Errno(ENXIO)
    pipe.add_end(file.readable, file.writable)
    try:
        if not file.writable and not pipe.writers:
            if nonblocking:
                file.seen_writers = pipe.writer_count
            else:
                seen = pipe.writer_count
                while pipe.writer_count == seen:
                    await sleep(pipe.read_queue)
        elif not file.readable and not pipe.readers:
            seen = pipe.reader_count
            while pipe.reader_count == seen:
                await sleep(pipe.write_queue)
    except BaseException:
        file.put()
        raise
    return file
