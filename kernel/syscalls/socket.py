"""Making, naming and connecting sockets (net/socket.c). AF_UNIX is the one family; the guest has no network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import (
    EAFNOSUPPORT,
    EINVAL,
    ENOTCONN,
    ENOTSOCK,
    EPROTONOSUPPORT,
    ESOCKTNOSUPPORT,
    Errno,
)
from kernel.net.address import pack_address
from kernel.net.uapi import (
    AF_MAX,
    AF_UNIX,
    SHUT_RDWR,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_MAX,
    SOCK_NONBLOCK,
    SOCK_RAW,
    SOCK_SEQPACKET,
    SOCK_STREAM,
    SOCK_TYPE_MASK,
    SOCKADDR_STORAGE_SIZE,
)
from kernel.net.unix import UnixSocket, new_socket
from kernel.syscalls.install import install_new, install_pair
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Enum, Fd, Flags, Int, Struct

if TYPE_CHECKING:
    from kernel.task.task import Task


def socket_of(task: Task, fd: int) -> UnixSocket:
    """The socket at ``fd``. Raises Errno: EBADF, ENOTSOCK."""
    file = task.files.get(fd)
    if not isinstance(file, UnixSocket):
        raise Errno(ENOTSOCK)
    return file


def read_address(task: Task, addr: int, length: int) -> bytes:
    """A sockaddr that the program passes (move_addr_to_kernel)."""
    if not 0 <= length <= SOCKADDR_STORAGE_SIZE:
        raise Errno(EINVAL)
    return task.mm.read(addr, length) if length else b""


def write_address(task: Task, raw: bytes, addr: int, length_addr: int) -> None:
    """Store a sockaddr, cut to the room given in ``*length_addr``, and its full length (move_addr_to_user)."""
    room = int.from_bytes(task.mm.read(length_addr, 4), "little", signed=True)
    if room < 0:
        raise Errno(EINVAL)
    cut = raw[:room]
    if cut:
        task.mm.write(addr, cut)
    task.mm.write(length_addr, len(raw).to_bytes(4, "little"))


def _checked_kind(family: int, kind: int, protocol: int) -> tuple[int, int]:
    """(socket kind, flags) of socket(2) and socketpair(2), with the errors of __sock_create and unix_create."""
    flags = kind & ~SOCK_TYPE_MASK
    if flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC):
        raise Errno(EINVAL)
    kind &= SOCK_TYPE_MASK
    if not 0 <= family < AF_MAX:
        raise Errno(EAFNOSUPPORT)
    if kind >= SOCK_MAX:
        raise Errno(EINVAL)
    if family != AF_UNIX:
        raise Errno(EAFNOSUPPORT)
    if protocol not in (0, AF_UNIX):
        raise Errno(EPROTONOSUPPORT)
    if kind == SOCK_RAW:
        kind = SOCK_DGRAM
    if kind not in (SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET):
        raise Errno(ESOCKTNOSUPPORT)
    return kind, flags


@syscall(41, "socket", returns=Fd, domain=Enum("address_family"), type=Flags("socket_type"), protocol=Int)
def socket(task: Task, domain: int, type: int, protocol: int) -> int:
    kind, flags = _checked_kind(domain, type, protocol)
    return install_new(task, new_socket(task, kind, flags & SOCK_NONBLOCK), bool(flags & SOCK_CLOEXEC))


@syscall(
    53, "socketpair", domain=Enum("address_family"), type=Flags("socket_type"), protocol=Int, sv=Struct("pipefd", "out")
)
def socketpair(task: Task, domain: int, type: int, protocol: int, sv: int) -> None:
    kind, flags = _checked_kind(domain, type, protocol)
    first = new_socket(task, kind, flags & SOCK_NONBLOCK)
    second = new_socket(task, kind, flags & SOCK_NONBLOCK)
    first.pair_with(task, second)
    install_pair(task, first, second, bool(flags & SOCK_CLOEXEC), sv)


@syscall(49, "bind", sockfd=Fd, addr=Struct("sockaddr", "in"), addrlen=Int)
def bind(task: Task, sockfd: int, addr: int, addrlen: int) -> None:
    file = socket_of(task, sockfd)
    file.bind(task, read_address(task, addr, addrlen))


@syscall(50, "listen", sockfd=Fd, backlog=Int)
def listen(task: Task, sockfd: int, backlog: int) -> None:
    socket_of(task, sockfd).listen(task, backlog)


async def _accept(task: Task, fd: int, addr: int, length_addr: int, flags: int) -> int:
    if flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC):
        raise Errno(EINVAL)
    listener = socket_of(task, fd)
    task.files.check_room()
    listener.get()
    try:
        new = await listener.accept(task, flags & SOCK_NONBLOCK)
    finally:
        listener.put()
    if addr:
        try:
            write_address(task, pack_address(new.peer.name if new.peer else None), addr, length_addr)
        except Errno:
            new.put()
            raise
    return install_new(task, new, bool(flags & SOCK_CLOEXEC))


@syscall(43, "accept", returns=Fd, sockfd=Fd, addr=Struct("sockaddr", "out"), addrlen=Struct("int", "inout"))
async def accept(task: Task, sockfd: int, addr: int, addrlen: int) -> int:
    return await _accept(task, sockfd, addr, addrlen, 0)


@syscall(
    288, "accept4", returns=Fd, sockfd=Fd, addr=Struct("sockaddr", "out"), addrlen=Struct("int", "inout"),
    flags=Flags("socket_flags"),
)
async def accept4(task: Task, sockfd: int, addr: int, addrlen: int, flags: int) -> int:
    return await _accept(task, sockfd, addr, addrlen, flags)


@syscall(42, "connect", sockfd=Fd, addr=Struct("sockaddr", "in"), addrlen=Int)
async def connect(task: Task, sockfd: int, addr: int, addrlen: int) -> None:
    file = socket_of(task, sockfd)
    await file.connect(task, read_address(task, addr, addrlen))


@syscall(48, "shutdown", sockfd=Fd, how=Enum("shutdown"))
def shutdown(task: Task, sockfd: int, how: int) -> None:
    file = socket_of(task, sockfd)
    if how > SHUT_RDWR:
        raise Errno(EINVAL)
    file.shutdown(how + 1)


@syscall(51, "getsockname", sockfd=Fd, addr=Struct("sockaddr", "out"), addrlen=Struct("int", "inout"))
def getsockname(task: Task, sockfd: int, addr: int, addrlen: int) -> None:
    write_address(task, pack_address(socket_of(task, sockfd).name), addr, addrlen)


@syscall(52, "getpeername", sockfd=Fd, addr=Struct("sockaddr", "out"), addrlen=Struct("int", "inout"))
def getpeername(task: Task, sockfd: int, addr: int, addrlen: int) -> None:
    peer = socket_of(task, sockfd).peer
    if peer is None:
        raise Errno(ENOTCONN)
    write_address(task, pack_address(peer.name), addr, addrlen)

