"""Decoders for ioctl(2): terminals, window sizes and the few requests that Forkyard's files answer."""

from __future__ import annotations

import struct
from collections.abc import Callable

from emu.words import c_int
from guest.trace.call import Call
from guest.trace.structs import fixed, one
from guest.trace.tables import enum_table, flag_table
from guest.trace.text import bytes_text, escape, pointer


@fixed(36, "termios", "ktermios")
def termios(c: Call, data: bytes) -> str:
    """The kernel's struct termios (19 control characters): no characters unless verbose."""
    iflag, oflag, cflag, lflag, line = struct.unpack_from("<IIIIB", data)
    delays = "|".join(
        _delay(oflag, mask, names)
        for mask, names in (
            (0x100, "NL0 NL1"), (0x600, "CR0 CR1 CR2 CR3"), (0x1800, "TAB0 TAB1 TAB2 XTABS"), (0x2000, "BS0 BS1"),
            (0x4000, "VT0 VT1"), (0x8000, "FF0 FF1"),
        )
    )
    baud = enum_table("baud").text(cflag & 0x100F)
    input_baud = f"{enum_table('baud').text(cflag >> 16 & 0x100F)}<<IBSHIFT|" if cflag >> 16 & 0x100F else ""
    size = f"CS{5 + (cflag >> 4 & 3)}"
    text = (f"{{c_iflag={_bits('c_iflag', iflag)}, c_oflag={delays}|{_bits('c_oflag', oflag & ~0xFF00)}, "
            f"c_cflag={baud}|{input_baud}{size}|{_bits('c_cflag', cflag & ~0x100F103F)}, "
            f"c_lflag={_bits('c_lflag', lflag)}")
    if not c.style.verbose:
        return text + ", ...}"
    names = ("VINTR", "VQUIT", "VERASE", "VKILL", "VEOF", "VTIME", "VMIN", "VSWTC", "VSTART", "VSTOP", "VSUSP", "VEOL",
             "VREPRINT", "VDISCARD", "VWERASE", "VLNEXT", "VEOL2", "17", "18")
    shown = [f'[{name}]="{escape(data[17 + i:18 + i])}"' for i, name in enumerate(names)]
    return f"{text}, c_line={_line(line)}, c_cc=[{', '.join(shown)}]}}"


def _line(line: int) -> str:
    return "N_TTY" if line == 0 else f"{line:#x}"


def _bits(table: str, value: int) -> str:
    return flag_table(table).text(value) if value else ""


def _delay(flags: int, mask: int, names: str) -> str:
    shift = (mask & -mask).bit_length() - 1
    return names.split()[(flags & mask) >> shift]


@fixed(8, "winsize")
def winsize(c: Call, data: bytes) -> str:
    """struct winsize."""
    rows, columns, xpixel, ypixel = struct.unpack("<4H", data)
    return f"{{ws_row={rows}, ws_col={columns}, ws_xpixel={xpixel}, ws_ypixel={ypixel}}}"


_IN_INT = {0x5421: "FIONBIO", 0x5410: "TIOCSPGRP", 0x5423: "TIOCSETD", 0x40045431: "TIOCSPTLCK", 0x8901: "FIOSETOWN",
           0x8902: "SIOCSPGRP", 0x5452: "FIOASYNC", 0x5420: "TIOCPKT"}
_OUT_INT = {0x541B: "FIONREAD", 0x540F: "TIOCGPGRP", 0x5429: "TIOCGSID", 0x5411: "TIOCOUTQ", 0x5424: "TIOCGETD",
            0x80045430: "TIOCGPTN", 0x8903: "FIOGETOWN", 0x8904: "SIOCGPGRP", 0x80045438: "TIOCGPKT",
            0x80045439: "TIOCGPTLCK", 0x80045440: "TIOCGEXCL"}
_NO_ARG = {0x5450, 0x5451, 0x5422, 0x540C, 0x540D, 0x541D, 0x5427, 0x5428, 0x5437, 0x541F}
_PLAIN_INT = {0x5409, 0x5425, 0x540E, 0x5441, 0x40049409}
#: Terminal requests that lead to structures which strace 6.1 decodes and Forkyard's terminals do not have.
_POINTER = {0x5405, 0x5406, 0x5407, 0x5408, 0x5415, 0x5416, 0x5417, 0x5418, 0x5419, 0x541A, 0x5456, 0x5457}
_IN: dict[int, Callable[[Call, int], str]] = {
    0x5402: lambda c, a: one(c, "termios", a),
    0x5403: lambda c, a: one(c, "termios", a),
    0x5404: lambda c, a: one(c, "termios", a),
    0x5414: lambda c, a: one(c, "winsize", a),
    0x540A: lambda c, a: enum_table("tcflow").text(a),
    0x540B: lambda c, a: enum_table("tcflush").text(a),
    0x5412: lambda c, a: _one_byte(c, a),
    0x40086602: lambda c, a: _inode_flags(c, a),
}
def _inode_flags(c: Call, address: int) -> str:
    data = c.read(address, 4) if address else None
    if data is None:
        return pointer(address)
    return f"[{flag_table('inode_flags').text(int.from_bytes(data, 'little'))}]"


_OUT: dict[int, Callable[[Call, int], str]] = {
    0x5401: lambda c, a: one(c, "termios", a),
    0x5413: lambda c, a: one(c, "winsize", a),
    0x80086601: _inode_flags,
}


def _one_byte(c: Call, address: int) -> str:
    data = c.read(address, 1) if address else None
    return pointer(address) if data is None else bytes_text(data, c.style)


def ioctl_name(request: int) -> str:
    """The request's name, or its parts as _IOC(direction, type, number, size)."""
    name = enum_table("ioctl").names.get(request)
    if name:
        return name
    directions = ("_IOC_NONE", "_IOC_WRITE", "_IOC_READ", "_IOC_READ|_IOC_WRITE")
    kind, number, size = request >> 8 & 0xFF, request & 0xFF, request >> 16 & 0x3FFF
    return f"_IOC({directions[request >> 30 & 3]}, {kind:#x}, {_hex(number)}, {_hex(size)})"


def _hex(value: int) -> str:
    return f"{value:#x}" if value else "0"


def ioctl(c: Call) -> str:
    """ioctl(fd, request, argument): the argument decoded at entry or exit as the request asks."""
    from guest.trace.scalars import fd_text

    request, argument = c.uint32(1), c.arg(2)
    head = f"{fd_text(c, c.regs[0])}, {ioctl_name(request)}"
    if request in _NO_ARG:
        return head
    if request in _IN_INT:
        return f"{head}, {one(c, 'int', argument)}"
    if request in _IN:
        return f"{head}, {_IN[request](c, argument)}"
    if request in _PLAIN_INT:
        return f"{head}, {c_int(argument)}"
    late = (lambda c, a: one(c, "int", a)) if request in _OUT_INT else _OUT.get(request)
    if late is None and request in _POINTER:
        return f"{head}, {pointer(argument)}"
    if late is None:
        return f"{head}, {pointer_or_zero(argument)}"

    def rest(c: Call) -> str:
        return pointer(argument) if c.failed else late(c, argument)

    c.rest = rest
    return head + ", "


def pointer_or_zero(value: int) -> str:
    """An ioctl argument of unknown meaning: hexadecimal, 0 plain."""
    return f"{value:#x}" if value else "0"
