"""read, write and their positional and vector forms, lseek (fs/read_write.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel.errno import EAGAIN, EBADF, EFAULT, EINVAL, EOPNOTSUPP, ESPIPE, Errno
from kernel.fs.pollmask import POLLIN, POLLOUT
from kernel.fs.uapi import MAX_RW_COUNT
from kernel.syscalls.table import syscall
from kernel.syscalls.types import BufIn, BufOut, Enum, Fd, Flags, IovecIn, IovecOut, Offset, Size, ULong

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from kernel.fs.file import File
    from kernel.task.task import Task

USER_MAX = 0x7FFFFFFFF000
"""The end of what access_ok lets through (TASK_SIZE_MAX)."""
SIZE_SIGN = 1 << 63
RWF_HIPRI, RWF_DSYNC, RWF_SYNC, RWF_NOWAIT, RWF_APPEND, RWF_NOAPPEND = 1, 2, 4, 8, 16, 32
RWF_SUPPORTED = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND | RWF_NOAPPEND
Iovec = list[tuple[int, int]]


def _check(addr: int, count: int) -> None:
    """access_ok and the sign of the count, in Linux's order."""
    if addr + count > USER_MAX:
        raise Errno(EFAULT)
    if count >= SIZE_SIGN:
        raise Errno(EINVAL)


def _readable(task: Task, fd: int) -> File:
    file = task.files.get(fd)
    if not file.readable:
        raise Errno(EBADF)
    return file


def _writable(task: Task, fd: int) -> File:
    file = task.files.get(fd)
    if not file.writable:
        raise Errno(EBADF)
    return file


# -- one buffer -----------------------------------------------------------------------------------------------------


@syscall(0, "read", blocking=True, fd=Fd, buf=BufOut("count"), count=Size)
def read(task: Task, fd: int, buf: int, count: int) -> int | Awaitable[int]:
    file = task.files.get(fd)
    if not file.readable:
        raise Errno(EBADF)
    if buf + count > USER_MAX:
        _check(buf, count)
    if file.direct:
        return file.read_user(task, buf, count if count < MAX_RW_COUNT else MAX_RW_COUNT)
    if count > file.io_chunk:
        count = file.io_chunk
    data = file.try_read(task, count)
    if data is None:
        return _read_later(task, file, buf, count)
    return _deliver(task, file, buf, data) if data else 0


async def _read_later(task: Task, file: File, buf: int, count: int, pos: int | None = None) -> int:
    """Read from a file that must be waited for; it stays open meanwhile."""
    file.get()
    try:
        data = await file.read(task, count, pos)
    finally:
        file.put()
    return _deliver(task, file, buf, data) if data else 0


def _deliver(task: Task, file: File, buf: int, data: bytes) -> int:
    """Copy what a stream gave to user memory; what does not fit there goes back, if the stream can take it back."""
    try:
        done = task.mm.write_some(buf, data)
    except Errno as error:
        if error.code != EFAULT:
            raise
        done = 0
    return done if done == len(data) else file.unread(data, done)


def _fetch(task: Task, file: File, buf: int, count: int) -> bytes:
    """What a write takes of the program's buffer: all, or the whole units before what cannot be read."""
    data: bytes = task.mm.read_some(buf, count)
    if len(data) < count and file.write_unit > 1:
        data = data[: len(data) // file.write_unit * file.write_unit]
        if not data:
            raise Errno(EFAULT)
    return data


@syscall(1, "write", blocking=True, fd=Fd, buf=BufIn("count"), count=Size)
def write(task: Task, fd: int, buf: int, count: int) -> int | Awaitable[int]:
    file = task.files.get(fd)
    if not file.writable:
        raise Errno(EBADF)
    if buf + count > USER_MAX:
        _check(buf, count)
    if count > MAX_RW_COUNT:
        count = MAX_RW_COUNT
    if file.direct:
        return file.write_user(task, buf, count)
    if count > file.io_chunk:
        return _write_stream(task, file, buf, count)
    data = _fetch(task, file, buf, count) if count else b""
    done = file.try_write(task, data)
    return _write_later(task, file, data) if done is None else done


async def _write_later(task: Task, file: File, data: bytes) -> int:
    """Write to a file that must be waited for; it stays open meanwhile."""
    file.get()
    try:
        return await file.write(task, data)
    finally:
        file.put()


async def _write_stream(task: Task, file: File, buf: int, count: int) -> int:
    """Write to a file that may block, a chunk at a time; what was taken counts when a later chunk fails."""
    done = 0
    chunk = file.io_chunk
    while True:
        try:
            data = _fetch(task, file, buf + done, min(count - done, chunk)) if count else b""
            taken = await file.write(task, data)
        except Errno:
            if done:
                return done
            raise
        done += taken
        if done >= count or taken < len(data) or taken < chunk:
            return done


@syscall(17, "pread64", blocking=True, fd=Fd, buf=BufOut("count"), count=Size, offset=Offset)
def pread64(task: Task, fd: int, buf: int, count: int, offset: int) -> int | Awaitable[int]:
    if offset < 0:
        raise Errno(EINVAL)
    file = task.files.get(fd)
    if not file.seekable:
        raise Errno(ESPIPE)
    if not file.readable:
        raise Errno(EBADF)
    _check(buf, count)
    count = min(count, MAX_RW_COUNT)
    if file.direct:
        return file.read_user(task, buf, count, offset)
    return _read_later(task, file, buf, min(count, file.io_chunk), offset)


@syscall(18, "pwrite64", blocking=True, fd=Fd, buf=BufIn("count"), count=Size, offset=Offset)
def pwrite64(task: Task, fd: int, buf: int, count: int, offset: int) -> int | Awaitable[int]:
    if offset < 0:
        raise Errno(EINVAL)
    file = task.files.get(fd)
    if not file.seekable:
        raise Errno(ESPIPE)
    if not file.writable:
        raise Errno(EBADF)
    _check(buf, count)
    count = min(count, MAX_RW_COUNT)
    if file.direct:
        return file.write_user(task, buf, count, offset)
    return file.write(task, task.mm.read_some(buf, min(count, file.io_chunk)) if count else b"", offset)


# -- vectors --------------------------------------------------------------------------------------------------------


async def _read_vector(task: Task, file: File, iov: Iovec, pos: int | None) -> int:
    done = 0
    if file.direct:
        for base, length in iov:
            if not length:
                continue
            try:
                n = file.read_user(task, base, length, None if pos is None else pos + done)
            except Errno:
                if done:
                    return done
                raise
            done += n
            if n < length:
                break
        return done
    total = min(sum(length for _, length in iov), file.io_chunk)
    data = await file.read(task, total) if pos is None else await file.read(task, total, pos)
    for base, length in iov:
        part = data[done : done + length]
        if not part:
            continue
        n = task.mm.write_some(base, part)
        done += n
        if n < len(part):
            return file.unread(data, done)
    return done


async def _write_vector(task: Task, file: File, iov: Iovec, pos: int | None) -> int:
    total = sum(length for _, length in iov)
    if total <= file.io_chunk:
        data = _gather(task, iov)
        if pos is None:
            return await file.write(task, data)
        return await file.write(task, data, pos)
    done = 0
    for base, length in iov:
        if not length:
            continue
        try:
            if file.direct:
                n = file.write_user(task, base, length, None if pos is None else pos + done)
            else:
                n = await _write_stream(task, file, base, length)
        except Errno:
            if done:
                return done
            raise
        done += n
        if n < length:
            break
    return done


def _gather(task: Task, iov: Iovec) -> bytes:
    """What the segments hold, up to the first byte that cannot be read; EFAULT when that is the very first."""
    parts: list[bytes] = []
    for base, length in iov:
        if not length:
            continue
        try:
            part = task.mm.read_some(base, length)
        except Errno:
            if parts:
                break
            raise
        parts.append(part)
        if len(part) < length:
            break
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _vector(task: Task, addr: int, count: int) -> Iovec:
    """import_iovec: the total is cut at MAX_RW_COUNT."""
    iov: Iovec = task.mm.read_iovec(addr, count)
    left = MAX_RW_COUNT
    result: Iovec = []
    for base, length in iov:
        if base + length > USER_MAX:
            raise Errno(EFAULT)
        length = min(length, left)
        left -= length
        result.append((base, length))
    return result


@syscall(19, "readv", blocking=True, fd=Fd, iov=IovecOut("iovcnt"), iovcnt=ULong)
def readv(task: Task, fd: int, iov: int, iovcnt: int) -> int | Awaitable[int]:
    file = _readable(task, fd)
    return _read_vector(task, file, _vector(task, iov, iovcnt), None)


@syscall(20, "writev", blocking=True, fd=Fd, iov=IovecIn("iovcnt"), iovcnt=ULong)
def writev(task: Task, fd: int, iov: int, iovcnt: int) -> int | Awaitable[int]:
    file = _writable(task, fd)
    vector = _vector(task, iov, iovcnt)
    total = sum(length for _, length in vector)
    if total > file.io_chunk:
        return _write_vector(task, file, vector, None)
    data = _gather(task, vector)
    done = file.try_write(task, data)
    return file.write(task, data) if done is None else done


@syscall(295, "preadv", fd=Fd, iov=IovecOut("iovcnt"), iovcnt=ULong, offset=Offset, offset_high=ULong)
async def preadv(task: Task, fd: int, iov: int, iovcnt: int, offset: int, offset_high: int) -> int:
    if offset < 0:
        raise Errno(EINVAL)
    file = task.files.get(fd)
    if not file.seekable:
        raise Errno(ESPIPE)
    _readable(task, fd)
    return await _read_vector(task, file, _vector(task, iov, iovcnt), offset)


@syscall(296, "pwritev", fd=Fd, iov=IovecIn("iovcnt"), iovcnt=ULong, offset=Offset, offset_high=ULong)
async def pwritev(task: Task, fd: int, iov: int, iovcnt: int, offset: int, offset_high: int) -> int:
    if offset < 0:
        raise Errno(EINVAL)
    file = task.files.get(fd)
    if not file.seekable:
        raise Errno(ESPIPE)
    _writable(task, fd)
    return await _write_vector(task, file, _vector(task, iov, iovcnt), offset)


@syscall(327, "preadv2", fd=Fd, iov=IovecOut("iovcnt"), iovcnt=ULong, offset=Offset, offset_high=ULong,
         flags=Flags("rwf"))
async def preadv2(task: Task, fd: int, iov: int, iovcnt: int, offset: int, offset_high: int, flags: int) -> int:
    file, vector, pos = _second_form(task, fd, iov, iovcnt, offset, False)
    if flags & ~RWF_SUPPORTED or flags & RWF_APPEND:
        raise Errno(EOPNOTSUPP)
    if flags & RWF_NOWAIT and not file.direct and not file.poll() & POLLIN:
        raise Errno(EAGAIN)
    return await _read_vector(task, file, vector, pos)


@syscall(328, "pwritev2", fd=Fd, iov=IovecIn("iovcnt"), iovcnt=ULong, offset=Offset, offset_high=ULong,
         flags=Flags("rwf"))
async def pwritev2(task: Task, fd: int, iov: int, iovcnt: int, offset: int, offset_high: int, flags: int) -> int:
    file, vector, pos = _second_form(task, fd, iov, iovcnt, offset, True)
    if flags & ~RWF_SUPPORTED:
        raise Errno(EOPNOTSUPP)
    if flags & RWF_APPEND and flags & RWF_NOAPPEND:
        raise Errno(EINVAL)
    if flags & RWF_NOWAIT and not file.direct and not file.poll() & POLLOUT:
        raise Errno(EAGAIN)
    if not file.is_regular:
        return await _write_vector(task, file, vector, pos)
    saved = file.flags
    try:
        file.flags = _append_flags(saved, flags)
        done = await _write_vector(task, file, vector, pos)
    finally:
        file.flags = saved
    if flags & (RWF_DSYNC | RWF_SYNC):
        file.fsync(task)
    return done


def _append_flags(file_flags: int, flags: int) -> int:
    from kernel.fs.uapi import O_APPEND

    if flags & RWF_APPEND:
        return file_flags | O_APPEND
    return file_flags & ~O_APPEND if flags & RWF_NOAPPEND else file_flags


def _second_form(task: Task, fd: int, iov: int, count: int, offset: int, for_writing: bool) -> tuple[Any, Iovec, Any]:
    """preadv2 and pwritev2: offset -1 means the file position."""
    if offset < -1:
        raise Errno(EINVAL)
    file = task.files.get(fd)
    if offset != -1 and not file.seekable:
        raise Errno(ESPIPE)
    if not (file.writable if for_writing else file.readable):
        raise Errno(EBADF)
    return file, _vector(task, iov, count), None if offset == -1 else offset


@syscall(8, "lseek", returns=Offset, fd=Fd, offset=Offset, whence=Enum("seek_whence"))
def lseek(task: Task, fd: int, offset: int, whence: int) -> int:
    file = task.files.get(fd)
    if whence > 4:
        raise Errno(EINVAL)
    return file.seek(task, offset, whence)
