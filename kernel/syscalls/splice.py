"""splice, tee, vmsplice, sendfile and copy_file_range: arguments and offsets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import EBADF, EINVAL, ESPIPE, Errno
from kernel.fs import splice as moving
from kernel.fs.pipe import PipeFile
from kernel.fs.uapi import MAX_RW_COUNT
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Fd, Flags, IovecIn, Size, Struct, ULong

if TYPE_CHECKING:
    from kernel.fs.file import File
    from kernel.task.task import Task


def _offset(task: Task, addr: int) -> int | None:
    """*addr as loff_t, None for a null pointer."""
    if not addr:
        return None
    return int.from_bytes(task.mm.read(addr, 8), "little", signed=True)


def _store_offset(task: Task, addr: int, value: int) -> None:
    task.mm.write(addr, value.to_bytes(8, "little", signed=True))


def _splice_offset(task: Task, file: File, addr: int) -> int | None:
    """The offset for one side of splice(2)."""
    if not addr:
        return None
    if isinstance(file, PipeFile):
        raise Errno(ESPIPE)
    if not file.seekable:
        raise Errno(EINVAL)
    offset = _offset(task, addr)
    if offset is not None and offset < 0:
        raise Errno(EINVAL)
    return offset


@syscall(
    275, "splice", fd_in=Fd, off_in=Struct("loff_t", "inout"), fd_out=Fd, off_out=Struct("loff_t", "inout"), len=Size,
    flags=Flags("splice"),
)
async def splice(task: Task, fd_in: int, off_in: int, fd_out: int, off_out: int, len: int, flags: int) -> int:
    if not len:
        return 0
    if flags & ~moving.SPLICE_F_ALL:
        raise Errno(EINVAL)
    source, target = task.files.get(fd_in), task.files.get(fd_out)
    if not source.readable or not target.writable:
        raise Errno(EBADF)
    if not isinstance(source, PipeFile) and not isinstance(target, PipeFile):
        raise Errno(EINVAL)
    for file, addr in ((source, off_in), (target, off_out)):
        if addr and isinstance(file, PipeFile):
            raise Errno(ESPIPE)
    pos_out = _splice_offset(task, target, off_out)
    pos_in = _splice_offset(task, source, off_in)
    source.get()
    target.get()
    try:
        done = await moving.splice(task, source, pos_in, target, pos_out, min(len, MAX_RW_COUNT), flags)
    finally:
        source.put()
        target.put()
    if pos_in is not None:
        _store_offset(task, off_in, pos_in + done)
    if pos_out is not None:
        _store_offset(task, off_out, pos_out + done)
    return done


@syscall(276, "tee", fd_in=Fd, fd_out=Fd, len=Size, flags=Flags("splice"))
async def tee(task: Task, fd_in: int, fd_out: int, len: int, flags: int) -> int:
    if flags & ~moving.SPLICE_F_ALL:
        raise Errno(EINVAL)
    if not len:
        return 0
    source, target = task.files.get(fd_in), task.files.get(fd_out)
    if not source.readable or not target.writable:
        raise Errno(EBADF)
    return await moving.tee(task, source, target, len, flags)


@syscall(278, "vmsplice", fd=Fd, iov=IovecIn("nr_segs"), nr_segs=ULong, flags=Flags("splice"))
async def vmsplice(task: Task, fd: int, iov: int, nr_segs: int, flags: int) -> int:
    if flags & ~moving.SPLICE_F_ALL:
        raise Errno(EINVAL)
    file = task.files.get(fd)
    if not isinstance(file, PipeFile):
        raise Errno(EBADF)
    vector = task.mm.read_iovec(iov, nr_segs)
    if not any(length for _base, length in vector):
        return 0
    if file.writable:
        return await moving.vmsplice_in(task, file, vector, flags)
    return await moving.vmsplice_out(task, file, vector, flags)


@syscall(40, "sendfile", out_fd=Fd, in_fd=Fd, offset=Struct("loff_t", "inout"), count=Size)
async def sendfile(task: Task, out_fd: int, in_fd: int, offset: int, count: int) -> int:
    pos = _offset(task, offset)
    source = task.files.get(in_fd)
    if not source.readable:
        raise Errno(EBADF)
    if pos is not None and not source.seekable:
        raise Errno(ESPIPE)
    if pos is not None and pos < 0:
        raise Errno(EINVAL)
    target = task.files.get(out_fd)
    if not target.writable:
        raise Errno(EBADF)
    source.get()
    target.get()
    try:
        done = await moving.sendfile(task, target, source, pos, count)
    finally:
        source.put()
        target.put()
    if pos is not None:
        _store_offset(task, offset, pos + done)
    return done


@syscall(
    326, "copy_file_range", fd_in=Fd, off_in=Struct("loff_t", "inout"), fd_out=Fd, off_out=Struct("loff_t", "inout"),
    len=Size, flags=ULong,
)
async def copy_file_range(task: Task, fd_in: int, off_in: int, fd_out: int, off_out: int, len: int, flags: int) -> int:
    source, target = task.files.get(fd_in), task.files.get(fd_out)
    pos_in, pos_out = _offset(task, off_in), _offset(task, off_out)
    if flags & 0xFFFFFFFF:
        raise Errno(EINVAL)
    for pos in (pos_in, pos_out):
        if pos is not None and pos < 0:
            raise Errno(EINVAL)
    done = await moving.copy_file_range(task, source, pos_in, target, pos_out, len)
    if pos_in is not None:
        _store_offset(task, off_in, pos_in + done)
    if pos_out is not None:
        _store_offset(task, off_out, pos_out + done)
    return done
