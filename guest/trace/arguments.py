"""From a declaration to a printer: each ``Arg`` becomes a function of the call and the raw register.

An argument is *early* (shown when the call is entered) or *late* (known only when it returns). Like strace, a call
shows its arguments in order up to the first late one at entry, and the rest at exit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from emu.words import U64
from guest.trace.call import Call
from guest.trace.scalars import at_fd_text, fd_text
from guest.trace.structs import FIXED, READ_COUNT, SIZED, array, one
from guest.trace.structs_fs import iovec_array
from guest.trace.structs_task import signal_name
from guest.trace.tables import enum_table, flag_table
from guest.trace.text import buffer, c_string, octal_mode, path, pointer
from kernel.syscalls import types as t
from kernel.syscalls.table import Syscall

Show = Callable[[Call, int], str]

I32 = "((r[{i}] & 0xffffffff) ^ 0x80000000) - 0x80000000"
_INLINE: dict[type, str] = {
    t._Int: f"{{{I32}}}",
    t._UInt: "{r[{i}] & 0xffffffff}",
    t._Long: "{r[{i}]}",
    t._Pid: f"{{{I32}}}",
}


@dataclass(frozen=True)
class Printer:
    """How one argument is shown."""

    show: Show | None = None
    inline: str = ""
    """Python f-string source over ``r`` instead of a function, for the quickest."""
    late: bool = False


def _reference(row: Syscall, name: str | int | None) -> Callable[[Call], int]:
    """The number that an argument called ``name`` holds, the number itself, or the result ("return")."""
    if isinstance(name, int):
        constant = name
        return lambda c: constant
    if name in ("return", "returns", "result"):
        return lambda c: c.result or 0
    index = list(row.args).index(str(name))
    convert = list(row.args.values())[index].convert
    if convert == "i32":
        return lambda c: c.int32(index)
    if convert == "u32":
        return lambda c: c.uint32(index)
    return lambda c: c.arg(index)


def printer(row: Syscall, arg: t.Arg) -> Printer:
    """The printer of one declared argument of ``row``."""
    inline = _INLINE.get(type(arg))
    if inline is not None:
        return Printer(inline=inline)
    if type(arg) is t.Arg:
        return Printer(inline="{r[{i}] & 0xffffffffffffffff}")
    if isinstance(arg, (t.Flags, t.Enum)):
        return Printer(named(arg))
    if isinstance(arg, t.Struct):
        return structure(row, arg)
    if isinstance(arg, (t.BufIn, t.BufOut)):
        size = _reference(row, arg.size)
        if isinstance(arg, t.BufIn):
            return Printer(lambda c, v: buffer(c, v & U64, size(c)))
        return Printer(lambda c, v: pointer(v) if c.failed else buffer(c, v & U64, min(c.result or 0, size(c))),
                       late=True)
    if isinstance(arg, t.IovecIn):  # IovecOut is one too
        count = _reference(row, arg.count)
        if not isinstance(arg, t.IovecOut):
            return Printer(lambda c, v: iovec_array(c, v & U64, count(c)))
        return Printer(lambda c, v: iovec_array(c, v & U64, count(c), max(c.result or 0, 0), c.failed), late=True)
    return Printer(_SIMPLE[type(arg)])


def named(arg: t.Flags | t.Enum) -> Show:
    """A value with a table of names."""
    mask = 0xFFFFFFFF if arg.convert in ("i32", "u32") else U64
    if isinstance(arg, t.Flags):
        flag_text = flag_table(arg.table).text
        return lambda c, v: flag_text(v & mask)
    try:
        table = enum_table(arg.table)
    except KeyError:
        flag_text = flag_table(arg.table).text  # one-of-many with modifiers (socket types)
        return lambda c, v: flag_text(v & mask)
    return lambda c, v: table.text_unsigned(v & mask)


def structure(row: Syscall, arg: t.Struct) -> Printer:
    """A pointer to a structure or an array of them."""
    name, late = arg.name, arg.way != "in"
    if name in SIZED:
        sized_show = SIZED[name]
        size = _reference(row, arg.count if arg.count is not None else "return")
        show: Show = lambda c, v: sized_show(c, v & U64, size(c))  # noqa: E731
    elif arg.count is None:
        FIXED[name]  # a missing decoder is an error now, not in the middle of a trace
        show = lambda c, v: one(c, name, v & U64)  # noqa: E731
    else:
        FIXED[name]
        count = _reference(row, arg.count)
        show = lambda c, v: array(c, name, v & U64, count(c))  # noqa: E731
    if not late:
        return Printer(show)
    return Printer(lambda c, v: pointer(v) if c.failed else show(c, v), late=True)


_MANY = 1 << 20  # more variables than execve takes: a guest may pass a gigabyte of them


def _string_vector(c: Call, address: int) -> str:
    """argv: ``["ls", "-l"]``, at most the string limit's number of them."""
    address &= U64
    if not address:
        return "NULL"
    parts: list[str] = []
    while True:
        raw = c.read(address + 8 * len(parts), 8)
        if raw is None:
            if not parts:
                return pointer(address)
            parts.append(f"... /* {address + 8 * len(parts):#x} */")
            break
        item = int.from_bytes(raw, "little")
        if not item:
            break
        if len(parts) >= (READ_COUNT if c.style.verbose else c.style.string_limit):
            parts.append("...")
            break
        parts.append(c_string(c, item))
    return f"[{', '.join(parts)}]"


def environment(c: Call, address: int) -> str:
    """envp: the address and the number of variables, or all of them with -v."""
    if c.style.verbose:
        return _string_vector(c, address)
    address &= U64
    if not address:
        return "NULL"
    count = 0
    while count < _MANY:
        data = c.read_some(address + 8 * count, 512)
        if len(data) < 8:
            if not count:
                return pointer(address)
            return f"{address:#x} /* {count} vars, unterminated */"
        for offset in range(0, len(data) - 7, 8):
            if data[offset : offset + 8] == bytes(8):
                return f"{address:#x} /* {count} var{'' if count == 1 else 's'} */"
            count += 1
    return f"{address:#x} /* {count} vars, unterminated */"


def signal_text(c: Call, value: int) -> str:
    """A signal number by name; 0 and nonsense as a number."""
    return signal_name(((value & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000)


_SIMPLE: dict[type, Show] = {
    t._Hex: lambda c, v: f"{v & U64:#x}" if v else "0",
    t._Ptr: lambda c, v: pointer(v),
    t._Fd: fd_text,
    t._AtFd: at_fd_text,
    t._Path: lambda c, v: path(c, v & U64),
    t._Str: lambda c, v: c_string(c, v & U64),
    t._StrVec: _string_vector,
    t._EnvVec: environment,
    t._Mode: lambda c, v: octal_mode(v & 0xFFFFFFFF),
    t._Signal: signal_text,
    t._Uid: lambda c, v: str(v & 0xFFFFFFFF) if v & 0xFFFFFFFF != 0xFFFFFFFF else "-1",
}
string_vector = _string_vector
