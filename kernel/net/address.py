"""struct sockaddr_un, in and out (unix(7))."""

from __future__ import annotations

from kernel.errno import EINVAL, Errno
from kernel.net.uapi import AF_UNIX, SOCKADDR_UN_SIZE


def parse_address(raw: bytes) -> bytes:
    """sun_path of a struct sockaddr_un: a path without NUL, an abstract name with its leading NUL, b"" for none.

    Raises:
        Errno: EINVAL for another family or a bad length.
    """
    if not 2 <= len(raw) <= SOCKADDR_UN_SIZE or int.from_bytes(raw[:2], "little") != AF_UNIX:
        raise Errno(EINVAL)
    name = raw[2:]
    return name if name[:1] == b"\0" else name.split(b"\0", 1)[0]


def pack_address(name: bytes | None) -> bytes:
    """struct sockaddr_un as getsockname returns it; a path ends with NUL, an unnamed socket has no sun_path."""
    head = AF_UNIX.to_bytes(2, "little")
    if not name:
        return head
    return head + name if name[:1] == b"\0" else head + name + b"\0"
