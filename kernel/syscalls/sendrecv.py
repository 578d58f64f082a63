"""send, recv and their message forms (net/socket.c)."""

from __future__ import annotations

from struct import Struct as Layout
from typing import TYPE_CHECKING, NamedTuple

from kernel.errno import EAGAIN, EINVAL, EMSGSIZE, ENOBUFS, Errno
from kernel.fs import poll as waiting
from kernel.net.address import pack_address
from kernel.net.scm import Ancillary, ControlWriter, deliver, parse
from kernel.net.skb import Message
from kernel.net.uapi import (
    MSG_CMSG_CLOEXEC,
    MSG_DONTWAIT,
    MSG_ERRQUEUE,
    MSG_PEEK,
    MSG_TRUNC,
    MSG_WAITFORONE,
    SOCK_STREAM,
    SOCKADDR_STORAGE_SIZE,
)
from kernel.net.unix import UnixSocket
from kernel.syscalls.socket import read_address, socket_of, write_address
from kernel.syscalls.table import syscall
from kernel.syscalls.types import BufIn, BufOut, Fd, Flags, Int, Size, Struct, UInt

if TYPE_CHECKING:
    from kernel.task.task import Task

IOV_MAX = 1024
MAX_RW_COUNT = 0x7FFFF000
STREAM_PIECE = 1 << 20
"""What is copied from the program at a time."""
MAX_CONTROL = 1 << 20
"""Stands for sysctl net.core.optmem_max."""

_MSGHDR = Layout("<QI4xQQQQI4x")
_MMSGHDR_SIZE = 64
_NAMELEN_OFFSET, _CONTROLLEN_OFFSET, _FLAGS_OFFSET = 8, 40, 48


Iovec = list[tuple[int, int]]


class MsgHdr(NamedTuple):
    """struct msghdr, with its vector copied."""

    name: int
    namelen: int
    iov: Iovec
    control: int
    controllen: int

    @property
    def size(self) -> int:
        return min(sum(length for _base, length in self.iov), MAX_RW_COUNT)


def read_msghdr(task: Task, addr: int) -> MsgHdr:
    """Copy a struct msghdr (copy_msghdr_from_user). Raises Errno: EFAULT, EINVAL, EMSGSIZE, ENOBUFS."""
    name, namelen, iov, count, control, controllen, _flags = _MSGHDR.unpack(task.mm.read(addr, _MSGHDR.size))
    if not name:
        namelen = 0
    if namelen & 0x80000000:
        raise Errno(EINVAL)
    if count > IOV_MAX:
        raise Errno(EMSGSIZE)
    return MsgHdr(name, min(namelen, SOCKADDR_STORAGE_SIZE), task.mm.read_iovec(iov, count), control, controllen)


def gather(task: Task, iov: Iovec, start: int, size: int) -> bytes:
    """``size`` bytes of a vector from byte ``start`` on, or what there is; EFAULT when any is not accessible."""
    parts = []
    for base, length in iov:
        if start >= length:
            start -= length
            continue
        n = min(length - start, size)
        if n <= 0:
            break
        parts.append(task.mm.read(base + start, n))
        start, size = 0, size - n
    return parts[0] if len(parts) == 1 else b"".join(parts)


def scatter(task: Task, iov: Iovec, data: bytes) -> None:
    """Spread ``data`` over a vector."""
    offset = 0
    for base, length in iov:
        if offset >= len(data):
            break
        task.mm.write(base, data[offset:offset + length])
        offset += length


# -- sending ---------------------------------------------------------------------------------------------------------


async def _send(
    task: Task, file: UnixSocket, iov: Iovec, flags: int, address: bytes | None, extra: Ancillary | None
) -> int:
    """Send a vector: a message whole, or as far as to see that it is too long; a stream piece by piece."""
    total = min(sum(length for _base, length in iov), MAX_RW_COUNT)
    piece = STREAM_PIECE if file.kind == SOCK_STREAM else max(file.sndbuf, 1)
    done = 0
    file.get()
    try:
        while True:
            try:
                data = gather(task, iov, done, min(piece, total - done))
                sent = await file.send(task, data, flags, address, extra)
            except Errno:
                if done:
                    return done
                raise
            done += sent
            if done >= total or sent < len(data):
                return done
            extra = None
    finally:
        if extra is not None:
            extra.drop()
        file.put()


@syscall(
    44, "sendto", sockfd=Fd, buf=BufIn("len"), len=Size, flags=Flags("msg"), dest_addr=Struct("sockaddr", "in"),
    addrlen=Int,
)
async def sendto(task: Task, sockfd: int, buf: int, len: int, flags: int, dest_addr: int, addrlen: int) -> int:
    file = socket_of(task, sockfd)
    address = read_address(task, dest_addr, addrlen) if dest_addr else None
    return await _send(task, file, [(buf, len)], flags, address or None, None)


async def _sendmsg(task: Task, file: UnixSocket, addr: int, flags: int) -> int:
    header = read_msghdr(task, addr)
    address = read_address(task, header.name, header.namelen) if header.namelen else None
    if header.controllen > MAX_CONTROL:
        raise Errno(ENOBUFS)
    control = task.mm.read(header.control, header.controllen) if header.control and header.controllen else b""
    extra = parse(task, control) if control else None
    return await _send(task, file, header.iov, flags & ~MSG_CMSG_CLOEXEC, address, extra)


@syscall(46, "sendmsg", sockfd=Fd, msg=Struct("msghdr", "in"), flags=Flags("msg"))
async def sendmsg(task: Task, sockfd: int, msg: int, flags: int) -> int:
    return await _sendmsg(task, socket_of(task, sockfd), msg, flags)


@syscall(307, "sendmmsg", sockfd=Fd, msgvec=Struct("mmsghdr", "inout", "vlen"), vlen=UInt, flags=Flags("msg"))
async def sendmmsg(task: Task, sockfd: int, msgvec: int, vlen: int, flags: int) -> int:
    file = socket_of(task, sockfd)
    done = 0
    for index in range(min(vlen, IOV_MAX)):
        at = msgvec + index * _MMSGHDR_SIZE
        try:
            sent = await _sendmsg(task, file, at, flags)
            task.mm.write(at + _MSGHDR.size, sent.to_bytes(4, "little"))
        except Errno:
            if done:
                return done
            raise
        done += 1
    return done


# -- receiving -------------------------------------------------------------------------------------------------------


async def _recv(task: Task, file: UnixSocket, size: int, flags: int) -> Message:
    if flags & MSG_ERRQUEUE:
        raise Errno(EAGAIN)
    file.get()
    try:
        return await file.recv(task, size, flags)
    finally:
        file.put()


def _result(message: Message, flags: int) -> int:
    """Bytes copied, or with MSG_TRUNC the datagram's own length."""
    return max(message.length, len(message.data)) if flags & MSG_TRUNC else len(message.data)


@syscall(
    45, "recvfrom", sockfd=Fd, buf=BufOut("len"), len=Size, flags=Flags("msg"), src_addr=Struct("sockaddr", "out"),
    addrlen=Struct("int", "inout"),
)
async def recvfrom(task: Task, sockfd: int, buf: int, len: int, flags: int, src_addr: int, addrlen: int) -> int:
    file = socket_of(task, sockfd)
    message = await _recv(task, file, min(len, MAX_RW_COUNT), flags)
    message.extra.drop()
    if message.data:
        try:
            task.mm.write(buf, message.data)
        except Errno:
            if not flags & MSG_PEEK:
                file.unread(message.data, 0)
            raise
    if src_addr:
        write_address(task, pack_address(message.name) if message.name else b"", src_addr, addrlen)
    return _result(message, flags)


async def _recvmsg(task: Task, file: UnixSocket, addr: int, flags: int) -> int:
    header = read_msghdr(task, addr)
    message = await _recv(task, file, header.size, flags & ~MSG_CMSG_CLOEXEC)
    writer = ControlWriter(task, header.control, header.controllen)
    try:
        scatter(task, header.iov, message.data)
        deliver(task, message.extra, file.pass_credentials, writer, flags)
    finally:
        message.extra.drop()
    name = pack_address(message.name) if message.name else b""
    if header.name:
        if name:
            task.mm.write(header.name, name[:header.namelen])
        task.mm.write(addr + _NAMELEN_OFFSET, len(name).to_bytes(4, "little"))
    shown = message.flags | writer.flags | flags & MSG_CMSG_CLOEXEC
    task.mm.write(addr + _FLAGS_OFFSET, shown.to_bytes(4, "little"))
    task.mm.write(addr + _CONTROLLEN_OFFSET, writer.used.to_bytes(8, "little"))
    return _result(message, flags)


@syscall(47, "recvmsg", sockfd=Fd, msg=Struct("msghdr", "out"), flags=Flags("msg"))
async def recvmsg(task: Task, sockfd: int, msg: int, flags: int) -> int:
    return await _recvmsg(task, socket_of(task, sockfd), msg, flags)


@syscall(
    299, "recvmmsg", sockfd=Fd, msgvec=Struct("mmsghdr", "inout", "vlen"), vlen=UInt, flags=Flags("msg"),
    timeout=Struct("timespec", "inout"),
)
async def recvmmsg(task: Task, sockfd: int, msgvec: int, vlen: int, flags: int, timeout: int) -> int:
    """``timeout`` is looked at between messages only, as the manual complains."""
    timeout_ns = waiting.read_timespec(task, timeout)
    deadline_ns = waiting.deadline_after(task, timeout_ns)
    file = socket_of(task, sockfd)
    done = 0
    for index in range(min(vlen, IOV_MAX)):
        at = msgvec + index * _MMSGHDR_SIZE
        try:
            got = await _recvmsg(task, file, at, flags & ~MSG_WAITFORONE)
            task.mm.write(at + _MSGHDR.size, got.to_bytes(4, "little"))
        except Errno:
            if done:
                break
            raise
        done += 1
        if flags & MSG_WAITFORONE:
            flags |= MSG_DONTWAIT
        if deadline_ns is not None and task.kernel.clock.monotonic_ns() >= deadline_ns:
            break
    waiting.write_back_timeout(task, timeout, deadline_ns, timeout_ns, 1)
    return done
