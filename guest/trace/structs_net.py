"""Decoders for sockets: addresses, messages with their vectors and ancillary data, option values."""

from __future__ import annotations

import socket
import struct

from guest.trace.call import Call
from guest.trace.structs import fixed, sized
from guest.trace.structs_fs import iovec_array
from guest.trace.tables import enum_table, flag_table
from guest.trace.text import bytes_text, escape, plain_hex, pointer


@sized("sockaddr", "sockaddr_storage")
def sockaddr(c: Call, address: int, size: int) -> str:
    """A socket address of ``size`` bytes; the address when it is too short to have a family."""
    if not address:
        return "NULL"
    if size < 2:
        return pointer(address)
    data = c.read(address, min(size, 128))
    return pointer(address) if data is None else sockaddr_text(c, data)


def sockaddr_text(c: Call, data: bytes) -> str:
    """``{sa_family=AF_UNIX, sun_path="/x"}`` and its kin."""
    (family,) = struct.unpack_from("<H", data)
    head = f"{{sa_family={enum_table('socket_family').text(family)}"
    body = data[2:]
    if family == socket.AF_UNIX:
        return head + _sun_path(c, body[:108]) + "}"
    if family == socket.AF_INET and len(data) >= 16:
        (port,) = struct.unpack_from(">H", body)
        return f'{head}, sin_port=htons({port}), sin_addr=inet_addr("{socket.inet_ntoa(body[2:6])}")}}'
    if family == socket.AF_INET6 and len(data) >= 24:
        port, flow = struct.unpack_from(">HI", body)
        text = socket.inet_ntop(socket.AF_INET6, body[6:22])
        scope = f", sin6_scope_id={struct.unpack_from('<I', body, 22)[0]}" if len(data) >= 28 else ""
        return (f"{head}, sin6_port=htons({port}), sin6_flowinfo=htonl({flow}), "
                f'inet_pton(AF_INET6, "{text}", &sin6_addr){scope}}}')
    if family == socket.AF_NETLINK and len(data) >= 12:
        pid, groups = struct.unpack_from("<iI", body, 2)
        return f"{head}, nl_pid={pid}, nl_groups={f'{groups:#08x}' if groups else '00000000'}}}"
    return f'{head}, sa_data="{escape(body)}"}}' if body else head + "}"


def _sun_path(c: Call, path: bytes) -> str:
    if not path:
        return ""
    if path[0]:
        return f', sun_path="{escape(path.split(bytes(1), 1)[0], c.style)}"'
    if len(path) == 1:
        return ', sun_path=@""'
    return f', sun_path=@"{escape(path[1:], c.style)}"'


_msghdr = struct.Struct("<QixxxxQQQQi").unpack_from


def msghdr_text(c: Call, data: bytes, data_size: int | None, namelen_in: int | None, failed: bool = False) -> str:
    """struct msghdr; ``data_size`` bounds the bytes its vector holds, ``namelen_in`` is msg_namelen before the call."""
    name, namelen, iov, iovlen, control, controllen, flags = _msghdr(data)
    name_size = namelen if namelen_in is None else min(namelen, namelen_in)
    name_text = pointer(name) if failed or not name else sockaddr(c, name, name_size)
    shown_len = f"{namelen}" if namelen_in is None or namelen_in == namelen else f"{namelen_in} => {namelen}"
    parts = [f"msg_name={name_text}", f"msg_namelen={shown_len}",
             f"msg_iov={iovec_array(c, iov, iovlen, data_size, addresses=failed)}", f"msg_iovlen={iovlen}"]
    if control and controllen and not failed:
        parts.append(f"msg_control={_control(c, control, controllen)}")
    parts.append(f"msg_controllen={controllen}")
    parts.append(f"msg_flags={flag_table('msg').text(flags & 0xFFFFFFFF)}")
    return "{" + ", ".join(parts) + "}"


def _control(c: Call, address: int, size: int) -> str:
    data = c.read(address, min(size, 65536))
    if data is None:
        return pointer(address)
    items = []
    offset = 0
    while offset + 16 <= len(data):
        length, level, kind = struct.unpack_from("<Qii", data, offset)
        payload = data[offset + 16 : offset + length] if length >= 16 else b""
        types = {1: "SCM_RIGHTS", 2: "SCM_CREDENTIALS"} if level == 1 else {}
        kind_text = types.get(kind, f"{plain_hex(kind)}{' /* SCM_??? */' if level == 1 else ''}")
        item = f"cmsg_len={length}, cmsg_level={enum_table('sockopt_level').text(level)}, cmsg_type={kind_text}"
        if payload and kind in types:
            item += f", cmsg_data={_control_data(c, types.get(kind), payload)}"
        items.append("{" + item + "}")
        if length < 16:
            items.append(f"... /* {address + offset:#x} */")
            break
        offset += (length + 7) & ~7
    return f"[{', '.join(items)}]"


def _control_data(c: Call, kind: str | None, payload: bytes) -> str:
    if kind == "SCM_RIGHTS":
        return str(list(struct.unpack(f"<{len(payload) // 4}i", payload[: len(payload) // 4 * 4])))
    if kind == "SCM_CREDENTIALS" and len(payload) >= 12:
        return ucred(c, payload[:12])
    return bytes_text(payload, c.style)


@fixed(12, "ucred")
def ucred(c: Call, data: bytes) -> str:
    """struct ucred."""
    pid, uid, gid = struct.unpack("<iII", data)
    return f"{{pid={pid}, uid={uid}, gid={gid}}}"


def option_value(c: Call, level: int, name: int, address: int, size: int) -> str:
    """The value of a socket option, as setsockopt passes it or getsockopt returned it."""
    if not address:
        return "NULL"
    data = c.read(address, min(size, 256)) if size > 0 else b""
    if data is None or size <= 0:
        return pointer(address)
    if level == 1 and name == 13:
        return _fields(data, ("l_onoff", "l_linger"))
    if level == 1 and name == 17:
        return _fields(data, ("pid", "uid", "gid"))
    if level == 1 and name in (20, 21) and len(data) >= 16:
        return bytes_text(data, c.style)
    if level in (0, 1, 6, 41) and size < 4 and (level, name) != (1, 25):  # SO_BINDTODEVICE is a string
        return pointer(address)
    if len(data) == 4:
        (value,) = struct.unpack("<i", data)
        return f"[{_option_int(level, name, value)}]"
    return bytes_text(data, c.style)


def _fields(data: bytes, names: tuple[str, ...]) -> str:
    """A structure of ints, as many of its fields as there are bytes for."""
    values = struct.unpack(f"<{len(data) // 4}i", data[: len(data) // 4 * 4])
    return "{" + ", ".join(f"{name}={value}" for name, value in zip(names, values, strict=False)) + "}"


def _option_int(level: int, name: int, value: int) -> str:
    if level == 1 and name == 4 and value:
        from kernel.errno import name as errno_name

        return errno_name(value)
    return str(value)
