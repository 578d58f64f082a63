"""getsockopt and setsockopt at level SOL_SOCKET (net/core/sock.c)."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct as Layout
from typing import TYPE_CHECKING

from kernel.errno import EDOM, EINVAL, ENODATA, ENOPROTOOPT, EOPNOTSUPP, EPERM, ERANGE, Errno
from kernel.net.uapi import (
    AF_UNIX,
    SO_ACCEPTCONN,
    SO_BROADCAST,
    SO_DEBUG,
    SO_DOMAIN,
    SO_DONTROUTE,
    SO_ERROR,
    SO_KEEPALIVE,
    SO_LINGER,
    SO_NO_CHECK,
    SO_OOBINLINE,
    SO_PASSCRED,
    SO_PASSSEC,
    SO_PEEK_OFF,
    SO_PEERCRED,
    SO_PEERGROUPS,
    SO_PRIORITY,
    SO_PROTOCOL,
    SO_RCVBUF,
    SO_RCVBUFFORCE,
    SO_RCVLOWAT,
    SO_RCVTIMEO,
    SO_RCVTIMEO_NEW,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SO_SNDBUF,
    SO_SNDBUFFORCE,
    SO_SNDLOWAT,
    SO_SNDTIMEO,
    SO_SNDTIMEO_NEW,
    SO_TIMESTAMP,
    SO_TYPE,
    SOL_SOCKET,
)
from kernel.net.unix import LISTEN, UnixSocket
from kernel.syscalls.socket import socket_of
from kernel.syscalls.table import syscall
from kernel.syscalls.types import BufIn, Enum, Fd, Int, Ptr, Struct
from kernel.task.capability import CAP_NET_ADMIN

if TYPE_CHECKING:
    from kernel.task.task import Task

NSEC_PER_SEC = 1_000_000_000
MEM_MAX = 212992
"""net.core.{r,w}mem_max."""
SOCK_MIN_SNDBUF, SOCK_MIN_RCVBUF = 4608, 2304

_TIMEVAL = Layout("<qq")
_LINGER = Layout("<ii")
_FLAGS = (
    SO_DEBUG, SO_DONTROUTE, SO_BROADCAST, SO_KEEPALIVE, SO_OOBINLINE, SO_NO_CHECK, SO_REUSEADDR, SO_TIMESTAMP,
    SO_PASSSEC,
)
"""Options that are on or off and mean nothing to AF_UNIX; they read back."""


def _int(value: int) -> bytes:
    return (value & 0xFFFFFFFF).to_bytes(4, "little")


def _timeval(timeout_ns: int | None) -> bytes:
    sec, nsec = divmod(timeout_ns or 0, NSEC_PER_SEC)
    return _TIMEVAL.pack(sec, nsec // 1000)


_GETTERS: dict[int, Callable[[UnixSocket], bytes]] = {
    SO_TYPE: lambda s: _int(s.kind),
    SO_ERROR: lambda s: _int(s.take_error()),
    SO_DOMAIN: lambda s: _int(AF_UNIX),
    SO_PROTOCOL: lambda s: _int(0),
    SO_SNDBUF: lambda s: _int(s.sndbuf),
    SO_RCVBUF: lambda s: _int(s.rcvbuf),
    SO_ACCEPTCONN: lambda s: _int(s.state == LISTEN),
    SO_PASSCRED: lambda s: _int(s.pass_credentials),
    SO_PEERCRED: lambda s: s.peer_cred.pack(),
    SO_RCVLOWAT: lambda s: _int(s.rcvlowat),
    SO_SNDLOWAT: lambda s: _int(1),
    SO_RCVTIMEO: lambda s: _timeval(s.rcv_timeout_ns),
    SO_SNDTIMEO: lambda s: _timeval(s.snd_timeout_ns),
    SO_RCVTIMEO_NEW: lambda s: _timeval(s.rcv_timeout_ns),
    SO_SNDTIMEO_NEW: lambda s: _timeval(s.snd_timeout_ns),
    SO_LINGER: lambda s: _LINGER.pack(s.options.get(SO_LINGER, 0) & 0xFFFF, s.options.get(SO_LINGER, 0) >> 16),
    SO_PRIORITY: lambda s: _int(s.options.get(SO_PRIORITY, 0)),
    SO_PEEK_OFF: lambda s: _int(-1),
}


@syscall(
    55, "getsockopt", sockfd=Fd, level=Enum("sockopt_level"), optname=Enum("sockopt"), optval=Ptr,
    optlen=Struct("int", "inout"),
)
def getsockopt(task: Task, sockfd: int, level: int, optname: int, optval: int, optlen: int) -> None:
    file = socket_of(task, sockfd)
    if level != SOL_SOCKET:
        raise Errno(EOPNOTSUPP)
    room = int.from_bytes(task.mm.read(optlen, 4), "little", signed=True)
    if room < 0:
        raise Errno(EINVAL)
    if optname == SO_PEERGROUPS:
        value = b"".join(_int(gid) for gid in file.peer_groups)
        if file.peer is None:
            raise Errno(ENODATA)
        if len(value) > room:
            task.mm.write(optlen, _int(len(value)))
            raise Errno(ERANGE)
    elif optname in _GETTERS:
        value = _GETTERS[optname](file)
    elif optname in _FLAGS:
        value = _int(file.options.get(optname, 0))
    else:
        raise Errno(ENOPROTOOPT)
    value = value[:room]
    task.mm.write(optval, value)
    task.mm.write(optlen, _int(len(value)))


@syscall(
    54, "setsockopt", sockfd=Fd, level=Enum("sockopt_level"), optname=Enum("sockopt"), optval=BufIn("optlen"),
    optlen=Int,
)
def setsockopt(task: Task, sockfd: int, level: int, optname: int, optval: int, optlen: int) -> None:
    file = socket_of(task, sockfd)
    if optlen < 0:
        raise Errno(EINVAL)
    if level != SOL_SOCKET:
        raise Errno(EOPNOTSUPP)
    if optlen < 4:
        raise Errno(EINVAL)
    value = int.from_bytes(task.mm.read(optval, 4), "little", signed=True)
    if optname in (SO_SNDBUF, SO_SNDBUFFORCE, SO_RCVBUF, SO_RCVBUFFORCE):
        _set_buffer(task, file, optname, value)
    elif optname in (SO_RCVTIMEO, SO_SNDTIMEO, SO_RCVTIMEO_NEW, SO_SNDTIMEO_NEW):
        _set_timeout(task, file, optname, optval, optlen)
    elif optname == SO_PASSCRED:
        file.pass_credentials = bool(value)
    elif optname == SO_RCVLOWAT:
        file.rcvlowat = value if value > 0 else 0x7FFFFFFF if value < 0 else 1
    elif optname == SO_LINGER:
        if optlen < _LINGER.size:
            raise Errno(EINVAL)
        on, seconds = _LINGER.unpack(task.mm.read(optval, _LINGER.size))
        file.options[SO_LINGER] = bool(on) | (seconds & 0xFFFF) << 16
    elif optname == SO_PRIORITY:
        if not 0 <= value <= 6 and not task.cred.capable(CAP_NET_ADMIN):
            raise Errno(EPERM)
        file.options[SO_PRIORITY] = value
    elif optname in _FLAGS:
        file.options[optname] = int(bool(value))
    elif optname == SO_REUSEPORT:
        raise Errno(EOPNOTSUPP)
    else:
        raise Errno(ENOPROTOOPT)


def _set_buffer(task: Task, file: UnixSocket, optname: int, value: int) -> None:
    """Twice what is asked for, because it pays for the overhead too; at most twice the system's limit."""
    force = optname in (SO_SNDBUFFORCE, SO_RCVBUFFORCE)
    if force and not task.cred.capable(CAP_NET_ADMIN):
        raise Errno(EPERM)
    value &= 0xFFFFFFFF
    value = min(max(value if value < 1 << 31 else 0, 0), (1 << 30) - 1) if force else min(value, MEM_MAX)
    if optname in (SO_SNDBUF, SO_SNDBUFFORCE):
        file.sndbuf = max(value * 2, SOCK_MIN_SNDBUF)
        file.write_queue.wake()
    else:
        file.rcvbuf = max(value * 2, SOCK_MIN_RCVBUF)


def _set_timeout(task: Task, file: UnixSocket, optname: int, addr: int, length: int) -> None:
    if length < _TIMEVAL.size:
        raise Errno(EINVAL)
    sec, usec = _TIMEVAL.unpack(task.mm.read(addr, _TIMEVAL.size))
    if not 0 <= usec < 1_000_000:
        raise Errno(EDOM)
    timeout_ns = None if sec == usec == 0 else max(0, sec) * NSEC_PER_SEC + (usec * 1000 if sec >= 0 else 0)
    if optname in (SO_RCVTIMEO, SO_RCVTIMEO_NEW):
        file.rcv_timeout_ns = timeout_ns
    else:
        file.snd_timeout_ns = timeout_ns

