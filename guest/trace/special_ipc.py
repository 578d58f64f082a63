"""Polling and sockets: sets that the call narrows, and values whose size another argument holds."""

from __future__ import annotations

import struct
from collections.abc import Callable

from guest.trace.call import Call
from guest.trace.scalars import fd_text
from guest.trace.structs import array, one
from guest.trace.structs_fs import pipefd
from guest.trace.structs_net import msghdr_text, option_value, sockaddr
from guest.trace.tables import enum_table, flag_table
from guest.trace.text import buffer, pointer


def _poll_result(c: Call, timeout: Callable[[Call], str | None]) -> None:
    """Sets the auxiliary text: the ready descriptors, or that time ran out; then what is left of the time."""
    if c.failed:
        return
    left = timeout(c)
    if not c.result:
        c.aux = "Timeout"
        return
    ready: list[str] = []
    count = min(c.uint32(1), 1024)
    data = c.read_some(c.arg(0), count * 8)
    for offset in range(0, len(data) - 7, 8):
        fd, _, revents = struct.unpack_from("<ihH", data, offset)
        if revents:
            if len(ready) >= c.style.string_limit and not c.style.verbose:
                ready.append("...")
                break
            ready.append(f"{{fd={fd_text(c, fd)}, revents={flag_table('poll_events').text(revents)}}}")
    c.aux = f"[{', '.join(ready)}]" + (f", left {left}" if left else "")


def _poll_set(c: Call) -> str:
    return f"{array(c, 'pollfd', c.arg(0), c.uint32(1))}, {c.uint32(1)}"


def _poll(c: Call) -> str:
    def rest(c: Call) -> str:
        _poll_result(c, lambda c: None)
        return ""

    c.rest = rest
    return f"{_poll_set(c)}, {c.int32(2)}"


def _sigset_argument(c: Call, address: int, size: int) -> str:
    return one(c, "sigset", address) if size == 8 else pointer(address)


def _ppoll(c: Call) -> str:
    def rest(c: Call) -> str:
        _poll_result(c, lambda c: one(c, "timespec", c.arg(2)) if c.arg(2) else None)
        return ""

    c.rest = rest
    return (f"{_poll_set(c)}, {one(c, 'timespec', c.arg(2))}, {_sigset_argument(c, c.arg(3), c.arg(4))}, "
            f"{c.arg(4)}")


def _fd_set(c: Call, address: int, count: int) -> list[int] | None:
    """The descriptors in a set of ``count`` bits; None when there is no set or it is unreadable."""
    if not address or count <= 0:
        return None
    data = c.read(address, (min(count, 65536) + 63) // 64 * 8)
    if data is None:
        return None
    mask = int.from_bytes(data, "little") & ((1 << count) - 1)
    return [i for i in range(mask.bit_length()) if mask >> i & 1]


def _set_text(c: Call, address: int, count: int) -> str:
    members = _fd_set(c, address, count)
    if members is None:
        return pointer(address)
    return f"[{' '.join(fd_text(c, fd) for fd in members)}]"


def _select(c: Call, kind: str) -> str:
    count = min(max(c.int32(0), 0), 1024 * 64)
    sets = ", ".join(_set_text(c, c.arg(i), count) for i in (1, 2, 3))

    def rest(c: Call) -> str:
        if c.failed:
            return ""
        if not c.result:
            c.aux = "Timeout"
            return ""
        parts = []
        for index, name in ((1, "in"), (2, "out"), (3, "except")):
            members = _fd_set(c, c.arg(index), count)
            if members:
                parts.append(f"{name} [{' '.join(fd_text(c, fd) for fd in members)}]")
        if c.arg(4):
            parts.append(f"left {one(c, kind, c.arg(4))}")
        c.aux = ", ".join(parts) or None
        return ""

    c.rest = rest
    return f"{c.int32(0)}, {sets}, {one(c, kind, c.arg(4))}"


def _pselect6(c: Call) -> str:
    text = _select(c, "timespec")
    pack = c.arg(5)
    data = c.read(pack, 16) if pack else None
    if data is None:
        return f"{text}, {pointer(pack)}"
    address, size = struct.unpack("<QQ", data)
    return f"{text}, {{sigmask={_sigset_argument(c, address, size)}, sigsetsize={size}}}"


def _epoll(c: Call, has_timespec: bool, has_mask: bool) -> str:
    def rest(c: Call) -> str:
        # what is shown after a failure is not looked at, though it was passed in
        events = pointer(c.arg(1)) if c.failed else array(c, "epoll_event", c.arg(1), c.result or 0)
        timeout = str(c.int32(3))
        if has_timespec:
            timeout = pointer(c.arg(3)) if c.failed else one(c, "timespec", c.arg(3))
        mask = pointer(c.arg(4)) if c.failed else _sigset_argument(c, c.arg(4), c.arg(5))
        return f"{events}, {c.int32(2)}, {timeout}" + (f", {mask}, {c.arg(5)}" if has_mask else "")

    c.rest = rest
    return f"{fd_text(c, c.regs[0])}, "


def _epoll_ctl(c: Call) -> str:
    op = c.uint32(1)
    event = pointer(c.arg(3)) if op == 2 else one(c, "epoll_event", c.arg(3))
    return f"{fd_text(c, c.regs[0])}, {enum_table('epoll_ctl').text(op)}, {fd_text(c, c.regs[2])}, {event}"


def _pipe2(c: Call) -> str:
    # open flags without an access mode: 0 is 0
    flags = flag_table("open_bits").text(c.uint32(1))
    c.rest = lambda c: f"{pointer(c.arg(0)) if c.failed else pipefd(c, c.arg(0), 2)}, {flags}"
    return ""


def _socket(c: Call) -> str:
    family = c.uint32(0)
    return f"{_family_type(c)}, {_protocol(family, c.uint32(2))}"


def _family_type(c: Call) -> str:
    return f"{enum_table('socket_family').text(c.uint32(0))}, {flag_table('socket_type').text(c.uint32(1))}"


def _protocol(family: int, protocol: int) -> str:
    if family in (2, 10):
        return enum_table("ipproto").text(protocol)
    if family == 16:
        return enum_table("netlink_protocol").text(protocol)
    return str(protocol)


def _socketpair(c: Call) -> str:
    c.rest = lambda c: pointer(c.arg(3)) if c.failed else pipefd(c, c.arg(3), 2)
    return f"{_family_type(c)}, {_protocol(c.uint32(0), c.uint32(2))}, "


def _address_in(c: Call) -> str:
    return f"{fd_text(c, c.regs[0])}, {sockaddr(c, c.arg(1), c.int32(2))}, {c.int32(2)}"


def _length(c: Call, address: int) -> int | None:
    data = c.read(address, 4) if address else None
    return None if data is None else int.from_bytes(data, "little", signed=True)


def _address_out(flags: str | None) -> Callable[[Call], str]:
    def show(c: Call) -> str:
        before = _length(c, c.arg(2))

        def rest(c: Call) -> str:
            tail = f", {flag_table(flags).text(c.uint32(3))}" if flags else ""
            after = _length(c, c.arg(2))
            if c.arg(1) == 0 or before is None or after is None:
                return f"{pointer(c.arg(1))}, {_length_text(c.arg(2), before, None)}{tail}"
            if c.failed:
                return f"{pointer(c.arg(1))}, [{before}]{tail}"
            return f"{sockaddr(c, c.arg(1), min(before, after))}, {_length_text(c.arg(2), before, after)}{tail}"

        c.rest = rest
        return f"{fd_text(c, c.regs[0])}, "

    return show


def _length_text(address: int, before: int | None, after: int | None) -> str:
    if before is None:
        return pointer(address)
    return f"[{before}]" if after is None or after == before else f"[{before} => {after}]"


def _sendto(c: Call) -> str:
    return (f"{fd_text(c, c.regs[0])}, {buffer(c, c.arg(1), c.arg(2))}, {c.arg(2)}, "
            f"{flag_table('msg').text(c.uint32(3))}, {sockaddr(c, c.arg(4), c.int32(5))}, {c.int32(5)}")


def _recvfrom(c: Call) -> str:
    before = _length(c, c.arg(5))

    def rest(c: Call) -> str:
        data = pointer(c.arg(1)) if c.failed else buffer(c, c.arg(1), min(c.result or 0, c.arg(2)))
        text = f"{data}, {c.arg(2)}, {flag_table('msg').text(c.uint32(3))}"
        after = _length(c, c.arg(5))
        if c.failed or before is None or after is None:
            return f"{text}, {pointer(c.arg(4))}, {_length_text(c.arg(5), before, None)}"
        source = sockaddr(c, c.arg(4), min(before, after))
        return f"{text}, {source}, {_length_text(c.arg(5), before, after)}"

    c.rest = rest
    return f"{fd_text(c, c.regs[0])}, "


def _sendmsg(c: Call) -> str:
    data = c.read(c.arg(1), 56) if c.arg(1) else None
    message = pointer(c.arg(1)) if data is None else msghdr_text(c, data, None, None)
    return f"{fd_text(c, c.regs[0])}, {message}, {flag_table('msg').text(c.uint32(2))}"


def _recvmsg(c: Call) -> str:
    data = c.read(c.arg(1), 56) if c.arg(1) else None
    namelen = None if data is None else struct.unpack_from("<i", data, 8)[0]

    def rest(c: Call) -> str:
        flags = flag_table("msg").text(c.uint32(2))
        now = c.read(c.arg(1), 56) if c.arg(1) else None
        if now is None:
            return f"{pointer(c.arg(1))}, {flags}"
        if c.failed:
            return f"{{msg_namelen={namelen}}}, {flags}"
        return f"{msghdr_text(c, now, c.result or 0, namelen)}, {flags}"

    c.rest = rest
    return f"{fd_text(c, c.regs[0])}, "


def _message_vector(c: Call, address: int, count: int, out: bool) -> str:
    if not address:
        return "NULL"
    parts: list[str] = []
    for i in range(min(count, 1024, c.style.string_limit)):
        data = c.read(address + i * 64, 64)
        if data is None:
            if not parts:
                return pointer(address)
            parts.append(f"... /* {address + i * 64:#x} */")
            break
        (length,) = struct.unpack_from("<I", data, 56)
        text = f"{{msg_hdr={msghdr_text(c, data[:56], length if out else None, None)}"
        parts.append(text + (f", msg_len={length}}}" if out or length else "}"))
    return f"[{', '.join(parts)}]"


def _sendmmsg(c: Call) -> str:
    tail = f"{c.uint32(2)}, {flag_table('msg').text(c.uint32(3))}"

    def rest(c: Call) -> str:
        shown = _message_vector(c, c.arg(1), c.uint32(2) if c.failed else c.result or 0, not c.failed)
        return f"{shown}, {tail}"

    c.rest = rest
    return f"{fd_text(c, c.regs[0])}, "


def _recvmmsg(c: Call) -> str:
    timeout = one(c, "timespec", c.arg(4))

    def rest(c: Call) -> str:
        shown = pointer(c.arg(1)) if c.failed else _message_vector(c, c.arg(1), c.result or 0, True)
        return f"{shown}, {c.uint32(2)}, {flag_table('msg').text(c.uint32(3))}, {timeout}"

    c.rest = rest
    return f"{fd_text(c, c.regs[0])}, "


_OPTIONS = {0: "ip", 1: "socket", 6: "tcp", 17: "udp", 41: "ipv6"}


def _option_name(level: int, option: int, get: bool) -> str:
    names = _OPTIONS.get(level)
    if names is None:
        return f"{option:#x}" if option else "0"
    table = enum_table(f"sockopt_{names}")
    if get:
        try:
            special = enum_table(f"sockopt_{names}_get").names.get(option)
        except KeyError:
            special = None
        if special:
            return special
    return table.text(option)


def _setsockopt(c: Call) -> str:
    level, option, size = c.uint32(1), c.uint32(2), c.int32(4)
    name = _option_name(level, option, False)
    return (f"{fd_text(c, c.regs[0])}, {enum_table('sockopt_level').text(level)}, {name}, "
            f"{option_value(c, level, option, c.arg(3), size)}, {size}")


def _getsockopt(c: Call) -> str:
    level, option = c.uint32(1), c.uint32(2)
    before = _length(c, c.arg(4))

    def rest(c: Call) -> str:
        after = _length(c, c.arg(4))
        if c.failed or before is None or after is None:
            return f"{pointer(c.arg(3))}, {_length_text(c.arg(4), before, None)}"
        value = option_value(c, level, option, c.arg(3), min(before, after))
        return f"{value}, {_length_text(c.arg(4), before, after)}"

    c.rest = rest
    return f"{fd_text(c, c.regs[0])}, {enum_table('sockopt_level').text(level)}, {_option_name(level, option, True)}, "


CALLS: dict[str, Callable[[Call], str]] = {
    "poll": _poll,
    "ppoll": _ppoll,
    "select": lambda c: _select(c, "timeval"),
    "pselect6": _pselect6,
    "epoll_wait": lambda c: _epoll(c, False, False),
    "epoll_pwait": lambda c: _epoll(c, False, True),
    "epoll_pwait2": lambda c: _epoll(c, True, True),
    "epoll_ctl": _epoll_ctl,
    "pipe2": _pipe2,
    "dup3": lambda c: (f"{fd_text(c, c.regs[0])}, {fd_text(c, c.regs[1])}, "
                       f"{flag_table('open_bits').text(c.uint32(2))}"),
    "socket": _socket,
    "socketpair": _socketpair,
    "connect": _address_in,
    "bind": _address_in,
    "accept": _address_out(None),
    "accept4": _address_out("accept4"),
    "getsockname": _address_out(None),
    "getpeername": _address_out(None),
    "sendto": _sendto,
    "recvfrom": _recvfrom,
    "sendmsg": _sendmsg,
    "recvmsg": _recvmsg,
    "sendmmsg": _sendmmsg,
    "recvmmsg": _recvmmsg,
    "setsockopt": _setsockopt,
    "getsockopt": _getsockopt,
}
