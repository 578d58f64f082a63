"""Moving data between files inside the kernel: splice, tee, vmsplice, sendfile and copy_file_range (fs/splice.c).

Bytes are copied when the call is made, never lent: what a pipe holds can no longer change under its reader, whoever
writes to the page it came from afterwards (CVE-2020-29374).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import EAGAIN, EBADF, EINVAL, EISDIR, EOVERFLOW, ETXTBSY, EXDEV, Errno
from kernel.fs.pipe import PAGE_SIZE, Pipe, PipeFile, broken_pipe
from kernel.fs.uapi import MAX_LFS_FILESIZE, MAX_RW_COUNT, O_APPEND, O_NONBLOCK, S_IFDIR, S_IFREG
from kernel.task.wait import sleep

if TYPE_CHECKING:
    from kernel.fs.file import File
    from kernel.task.task import Task

SPLICE_F_MOVE, SPLICE_F_NONBLOCK, SPLICE_F_MORE, SPLICE_F_GIFT = 1, 2, 4, 8
SPLICE_F_ALL = 0xF
CHUNK = 1 << 16


# -- waiting ---------------------------------------------------------------------------------------------------------


async def wait_for_space(task: Task, pipe: Pipe, nonblocking: bool) -> None:
    """Sleep until a slot is free. Raises Errno: EPIPE (with SIGPIPE) without readers, EAGAIN, ERESTARTSYS."""
    while True:
        if not pipe.readers:
            raise broken_pipe(task)
        if not pipe.full():
            return
        if nonblocking:
            raise Errno(EAGAIN)
        await sleep(pipe.write_queue)


async def wait_for_data(pipe: Pipe, nonblocking: bool) -> bool:
    """Sleep until there is something to read; False at the end of data."""
    while not pipe.slots:
        if not pipe.writers:
            return False
        if nonblocking:
            raise Errno(EAGAIN)
        await sleep(pipe.read_queue)
    return True


def fill(pipe: Pipe, data: bytes) -> None:
    """Append ``data`` in page-sized slots that stay as they are. Precondition: there is room."""
    for start in range(0, len(data), PAGE_SIZE):
        pipe.put_slot(data[start:start + PAGE_SIZE])


def room(pipe: Pipe) -> int:
    """Bytes that fit into the free slots."""
    return (pipe.max_slots - len(pipe.slots)) * PAGE_SIZE


# -- splice ----------------------------------------------------------------------------------------------------------


async def file_to_pipe(task: Task, source: File, pos: int | None, pipe: Pipe, n: int, nonblocking: bool) -> int:
    """One read's worth of ``source`` into the pipe."""
    await wait_for_space(task, pipe, nonblocking)
    n = min(n, room(pipe))
    data = await source.read(task, n) if pos is None else await source.read(task, n, pos)
    if len(data) > room(pipe):  # somebody filled the pipe while the source was waited for
        await wait_for_space(task, pipe, False)
        data = data[:room(pipe)]
    fill(pipe, data)
    return len(data)


async def pipe_to_file(task: Task, pipe: Pipe, target: File, pos: int | None, n: int, nonblocking: bool) -> int:
    """What the pipe holds, up to ``n`` bytes, into ``target``; waits for the first byte only."""
    done = 0
    while done < n:
        if not pipe.slots and done:
            break
        if not await wait_for_data(pipe, nonblocking):
            break
        chunk = bytes(memoryview(pipe.slots[0])[pipe.start:pipe.start + n - done])
        try:
            taken = await (target.write(task, chunk) if pos is None else target.write(task, chunk, pos + done))
        except Errno:
            if done:
                return done
            raise
        pipe.take_slot(taken)
        done += taken
        if taken < len(chunk):
            break
    return done


async def pipe_to_pipe(task: Task, source: Pipe, target: Pipe, n: int, nonblocking: bool) -> int:
    """Move slots (splice_pipe_to_pipe)."""
    if not await wait_for_data(source, nonblocking):
        return 0
    await wait_for_space(task, target, nonblocking)
    done = 0
    while done < n and source.slots and not target.full():
        data = source.take_slot(n - done)
        target.put_slot(data)
        done += len(data)
    return done


async def splice(
    task: Task, source: File, pos_in: int | None, target: File, pos_out: int | None, n: int, flags: int
) -> int:
    """splice(2), descriptors and flags checked; the offsets' kind of file was checked by the caller."""
    if isinstance(source, PipeFile) and isinstance(target, PipeFile):
        if source.pipe is target.pipe:
            raise Errno(EINVAL)
        nonblocking = bool(flags & SPLICE_F_NONBLOCK or (source.flags | target.flags) & O_NONBLOCK)
        return await pipe_to_pipe(task, source.pipe, target.pipe, n, nonblocking)
    if isinstance(source, PipeFile):
        if target.flags & O_APPEND:
            raise Errno(EINVAL)
        nonblocking = bool(flags & SPLICE_F_NONBLOCK or source.flags & O_NONBLOCK)
        return await pipe_to_file(task, source.pipe, target, pos_out, n, nonblocking)
    if isinstance(target, PipeFile):
        nonblocking = bool(flags & SPLICE_F_NONBLOCK or target.flags & O_NONBLOCK)
        return await file_to_pipe(task, source, pos_in, target.pipe, n, nonblocking)
    raise Errno(EINVAL)


# -- tee and vmsplice ------------------------------------------------------------------------------------------------


async def tee(task: Task, source: File, target: File, n: int, flags: int) -> int:
    """tee(2): duplicate without consuming (link_pipe)."""
    if not isinstance(source, PipeFile) or not isinstance(target, PipeFile) or source.pipe is target.pipe:
        raise Errno(EINVAL)
    nonblocking = bool(flags & SPLICE_F_NONBLOCK or (source.flags | target.flags) & O_NONBLOCK)
    if not await wait_for_data(source.pipe, nonblocking):
        return 0
    await wait_for_space(task, target.pipe, nonblocking)
    done, start = 0, source.pipe.start
    for slot in list(source.pipe.slots):
        if done >= n or target.pipe.full():
            break
        data = bytes(slot[start:start + n - done])
        start = 0
        target.pipe.put_slot(data)
        done += len(data)
    return done


async def vmsplice_in(task: Task, file: PipeFile, iov: list[tuple[int, int]], flags: int) -> int:
    """User memory into a pipe, a slot for each page it touches; copied now."""
    pipe = file.pipe
    await wait_for_space(task, pipe, bool(flags & SPLICE_F_NONBLOCK or file.flags & O_NONBLOCK))
    done = 0
    for base, length in iov:
        while length and not pipe.full():
            n = min(length, PAGE_SIZE - base % PAGE_SIZE)
            try:
                data = task.mm.read(base, n)
            except Errno:
                if done:
                    return done
                raise
            pipe.put_slot(data)
            base, length, done = base + n, length - n, done + n
        if length:
            break
    return done


async def vmsplice_out(task: Task, file: PipeFile, iov: list[tuple[int, int]], flags: int) -> int:
    """A pipe into user memory: as readv, but waits for the first byte only."""
    pipe = file.pipe
    if not any(length for _base, length in iov):
        return 0
    if not await wait_for_data(pipe, bool(flags & SPLICE_F_NONBLOCK or file.flags & O_NONBLOCK)):
        return 0
    done = 0
    for base, length in iov:
        data = pipe.take(length) if length else b""
        if data:
            task.mm.write(base, data)
            done += len(data)
        if len(data) < length:
            break
    return done


# -- sendfile and copy_file_range ------------------------------------------------------------------------------------


async def sendfile(task: Task, target: File, source: File, pos: int | None, n: int) -> int:
    """sendfile(2) with checked descriptors; ``pos`` None moves the position of ``source``."""
    if target.flags & O_APPEND or not source.seekable or source.inode.kind == S_IFDIR:
        raise Errno(EINVAL)
    n = min(n, MAX_RW_COUNT)
    if isinstance(target, PipeFile):
        await wait_for_space(task, target.pipe, bool(target.flags & O_NONBLOCK))
        n = min(n, max(room(target.pipe), 0) or PAGE_SIZE)
    at = source.pos if pos is None else pos
    done = 0
    while done < n:
        data = await source.read(task, min(n - done, CHUNK), at + done)
        if not data:
            break
        try:
            taken = await target.write(task, data)
        except Errno:
            if done:
                break
            raise
        done += taken
        if taken < len(data):
            break
    if pos is None:
        source.seek(task, at + done, 0)
    return done


async def copy_file_range(
    task: Task, source: File, pos_in: int | None, target: File, pos_out: int | None, n: int
) -> int:
    """copy_file_range(2) (generic_copy_file_checks): regular files of one file system, in chunks through the cache."""
    for file in (source, target):
        if file.inode.kind == S_IFDIR:
            raise Errno(EISDIR)
        if file.inode.kind != S_IFREG:
            raise Errno(EINVAL)
    if not source.readable or not target.writable or target.flags & O_APPEND:
        raise Errno(EBADF)
    if source.inode.sb is not target.inode.sb:
        raise Errno(EXDEV)
    if target.inode.deny_write:
        raise Errno(ETXTBSY)
    at_in = source.pos if pos_in is None else pos_in
    at_out = target.pos if pos_out is None else pos_out
    if at_in + n > MAX_LFS_FILESIZE or at_out + n > MAX_LFS_FILESIZE:
        raise Errno(EOVERFLOW)
    n = min(n, max(0, source.inode.size - at_in), MAX_RW_COUNT)
    if source.inode is target.inode and at_out < at_in + n and at_out + n > at_in:
        raise Errno(EINVAL)
    done = 0
    while done < n:
        data = await source.read(task, min(n - done, CHUNK), at_in + done)
        if not data:
            break
        try:
            taken = await target.write(task, data, at_out + done)
        except Errno:
            if done:
                break
            raise
        done += taken
        if taken < len(data):
            break
    if pos_in is None:
        source.pos = at_in + done
    if pos_out is None:
        target.pos = at_out + done
    return done
