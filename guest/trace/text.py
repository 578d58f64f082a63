"""The smallest pieces of a trace line: strings, addresses, modes, device numbers, dates, results."""

from __future__ import annotations

import os
import re
import time

from guest.trace.call import Call, Style
from guest.trace.tables import enum_table
from kernel import errno

_PLAIN = re.compile(r"[ !#-\[\]-~]*\Z").match
_SPECIAL = re.compile(r"([^ !#-\[\]-~])(?=([0-7])?)").sub
_NAMED = {'"': '\\"', "\\": "\\\\", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_SHORT = {chr(i): _NAMED.get(chr(i), f"\\{i:o}") for i in range(256)}
_LONG = {chr(i): _NAMED.get(chr(i), f"\\{i:03o}") for i in range(256)}
_HEX = [f"\\x{i:02x}" for i in range(256)]
_NON_ASCII = re.compile(rb"[^\t-\r -~]").search


def _escape(match: re.Match[str]) -> str:
    # an octal escape before a digit needs all its three digits
    return (_LONG if match.group(2) else _SHORT)[match.group(1)]


def escape(data: bytes, style: Style | None = None) -> str:
    """``data`` as the inside of a C string literal."""
    if style is not None and style.hex_strings and (style.hex_strings > 1 or _NON_ASCII(data)):
        return hex_escape(data)
    text = data.decode("latin-1")
    return text if _PLAIN(text) else _SPECIAL(_escape, text)


def hex_escape(data: bytes) -> str:
    """``data`` with every byte as \\xNN."""
    return "".join([_HEX[byte] for byte in data])


def pointer(value: int) -> str:
    """An address that is not decoded."""
    return f"{value & 0xFFFFFFFFFFFFFFFF:#x}" if value else "NULL"


def buffer(c: Call, address: int, size: int, force_hex: bool = False) -> str:
    """``size`` bytes at ``address``, shortened to the string limit; the address if they cannot be read."""
    if not address:
        return "NULL"
    limit = c.style.string_limit
    data = c.read(address, min(size, limit)) if size else b""
    if data is None:
        return pointer(address)
    return f'"{hex_escape(data) if force_hex else escape(data, c.style)}"' + ("..." if size > limit else "")


def bytes_text(data: bytes, style: Style) -> str:
    """Bytes already at hand, shortened to the string limit."""
    limit = style.string_limit
    return f'"{escape(data[:limit], style)}"' + ("..." if len(data) > limit else "")


def c_string(c: Call, address: int, limit: int | None = None) -> str:
    """The NUL-terminated string at ``address``, shortened; the address if it runs into inaccessible memory."""
    if not address:
        return "NULL"
    if limit is None:
        limit = c.style.string_limit
    data = c.read_some(address, limit + 1)
    end = data.find(b"\0")
    if end >= 0:
        return f'"{escape(data[:end], c.style)}"'
    if len(data) <= limit:
        return pointer(address)
    return f'"{escape(data[:limit], c.style)}"...'


def path(c: Call, address: int) -> str:
    """A file name: a string shown up to PATH_MAX."""
    return c_string(c, address, 4095)


def fixed_string(data: bytes, style: Style) -> str:
    """A char array that need not be terminated (utsname, sun_path, comm)."""
    return f'"{escape(data.split(bytes(1), 1)[0], style)}"'


def octal_mode(value: int) -> str:
    """Permission bits: at least three octal digits."""
    return f"0{value:o}" if value > 0o77 else f"{value:03o}"


def file_mode(value: int) -> str:
    """A mode with its file type: S_IFREG|S_ISUID|0755."""
    kind = value & 0o170000
    parts = []
    if kind:
        name = enum_table("file_type").names.get(kind)
        parts.append(name if name else f"{kind:#o}")
    for bit, name in ((0o4000, "S_ISUID"), (0o2000, "S_ISGID"), (0o1000, "S_ISVTX")):
        if value & bit and kind:
            parts.append(name)
            value &= ~bit
    parts.append(octal_mode(value & (0o777 if kind else 0o7777)))
    return "|".join(parts)


def plain_hex(value: int) -> str:
    """Hexadecimal, 0 without a prefix."""
    return f"{value:#x}" if value else "0"


def device(number: int) -> str:
    """A dev_t: makedev(major, minor) in hexadecimal."""
    major = (number >> 8) & 0xFFF | (number >> 32) & ~0xFFF
    minor = number & 0xFF | (number >> 12) & ~0xFF & 0xFFFFFFFF
    return f"makedev({plain_hex(major & 0xFFFFFFFF)}, {plain_hex(minor)})"


def date(seconds: int, fraction: int = 0, digits: int = 9) -> str:
    """The date of a timestamp as strace comments it, local time; empty for the epoch and the impossible.

    ``fraction`` counts 10**-digits of a second.
    """
    if (seconds == 0 and fraction == 0) or abs(seconds) > 1 << 40 or not 0 <= fraction < 10**digits:
        return ""
    part = f".{fraction:0{digits}d}" if fraction else ""
    local = time.localtime(seconds)
    return time.strftime(f"%Y-%m-%dT%H:%M:%S{part}%z", local)


def dated(text: str, seconds: int, fraction: int = 0, digits: int = 9) -> str:
    """``text`` followed by the date it means, as a comment."""
    comment = date(seconds, fraction, digits)
    return f"{text} /* {comment} */" if comment else text


_RESTART_TEXT = {
    errno.ERESTARTSYS: "To be restarted if SA_RESTART is set",
    errno.ERESTARTNOINTR: "To be restarted",
    errno.ERESTARTNOHAND: "To be restarted if no handler",
    errno.ERESTART_RESTARTBLOCK: "Interrupted by signal",
}


def _error(code: int) -> str:
    restart = _RESTART_TEXT.get(code)
    if restart:
        return f"? {errno.name(code)} ({restart})"
    if code == errno.ENOTSUPP:
        return "-1 ENOTSUPP (Unknown error 524)"
    name = errno.name(code)
    if name == f"E{code}":
        return f"-1 (errno {code})"
    # strace's table calls these so; Python prefers the older names
    name = {"EWOULDBLOCK": "EAGAIN", "EDEADLOCK": "EDEADLK", "ENOTSUP": "EOPNOTSUPP"}.get(name, name)
    return f"-1 {name} ({os.strerror(code)})"


#: What stands right of the equals sign for each error, by error number.
ERRORS: dict[int, str] = {code: _error(code) for code in range(1, 4096)}
