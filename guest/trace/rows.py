"""Compiled printers: for each declared system call, one function that shows its entry and one its exit.

Built once per row; the entry of a call with plain numbers is a single f-string.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emu.words import c_int
from guest.trace import special_files, special_ipc, special_memory, special_misc, special_process
from guest.trace.arguments import Printer, printer
from guest.trace.call import Call, Style
from guest.trace.numbers import NAMES
from guest.trace.results import RESULTS, result_text
from guest.trace.scalars import fd_path
from guest.trace.text import octal_mode, pointer
from kernel.syscalls import types as t
from kernel.syscalls.table import Syscall

#: name → entry printer of the calls whose arguments depend on each other.
SPECIAL: dict[str, Callable[[Call], str]] = {
    **special_files.CALLS, **special_memory.CALLS, **special_process.CALLS, **special_ipc.CALLS,
    **special_misc.CALLS,
}
#: These show the name and nothing of the arguments that their declarations may have.
_NO_ARGUMENTS = frozenset({"fork", "vfork", "odfork"})


class RowPrinter:
    """How one system call is shown. ``entry(c, r)`` gives ``name(args…`` as far as known, and sets ``c.rest``."""

    __slots__ = ("entry", "name", "number", "result", "row", "style")

    def __init__(self, number: int, row: Syscall | None, style: Style | None = None, raw: bool = False) -> None:
        self.number = number
        self.row = row
        self.style = style or Style()
        self.name = row.name if row else NAMES.get(number, ("",))[0] or f"syscall_{number:#x}"
        self.entry: Callable[[Call, tuple[int, ...]], str]
        count = len(row.args) if row else NAMES.get(number, ("", 6))[1]
        if raw:
            self.entry = _compile_entry(self.name, [Printer(inline="{r[{i}] & 0xffffffffffffffff:#x}")] * count)
        elif self.name in SPECIAL:
            self.entry = _special_entry(self.name, SPECIAL[self.name])
        elif row is None or self.name in _NO_ARGUMENTS:
            printers = [Printer(inline="{r[{i}] & 0xffffffffffffffff:#x}")] * (0 if row else count)
            self.entry = _compile_entry(self.name, printers)
        else:
            printers = [_printer_or_hex(row, arg) for arg in row.args.values()]
            first_late = next((i for i, p in enumerate(printers) if p.late), None)
            if first_late is None:
                self.entry = _compile_entry(self.name, printers)
            else:
                # strace does not look at what was passed in either, once the call has failed
                args = list(row.args.values())
                printers = [_unless_failed(p) if i > first_late and isinstance(args[i], t.Struct) else p
                            for i, p in enumerate(printers)]
                self.entry = _compile_split(self.name, printers, first_late)
        self.result = RESULTS.get(self.name) or _declared_result(row)


def _unless_failed(plain: Printer) -> Printer:
    show = plain.show
    assert show is not None
    return Printer(lambda c, v: pointer(v) if c.failed else show(c, v), late=plain.late)


def _printer_or_hex(row: Syscall, arg: t.Arg) -> Printer:
    """A declaration that asks for a table or structure unknown here must not end a trace (a test finds it)."""
    try:
        return printer(row, arg)
    except KeyError:
        return Printer(inline="{r[{i}] & 0xffffffffffffffff:#x}")


def _declared_result(row: Syscall | None) -> Callable[[Call], str]:
    returns = row.returns if row else t.Long
    if isinstance(returns, (t._Hex, t._Ptr)):
        return lambda c: f"{(c.result or 0) & 0xFFFFFFFFFFFFFFFF:#x}" if c.result else "0"
    if isinstance(returns, t._Fd):
        return lambda c: f"{c.result}{fd_path(c, c_int(c.result or 0)) if c.style.fd_paths else ''}"
    if isinstance(returns, t._Mode):
        return lambda c: octal_mode((c.result or 0) & 0xFFFFFFFF)
    return result_text


def _source(printers: list[Printer], names: dict[str, Any], first: int) -> str:
    pieces = []
    for i, p in enumerate(printers, first):
        if p.inline:
            pieces.append(p.inline.replace("{i}", str(i)))
        else:
            names[f"p{i}"] = p.show
            pieces.append(f"{{p{i}(c, r[{i}])}}")
    return ", ".join(pieces)


def _compile(source: str, names: dict[str, Any], what: str) -> Any:
    return eval(compile(source, f"<trace {what}>", "eval"), names)


def _compile_entry(name: str, printers: list[Printer]) -> Callable[[Call, tuple[int, ...]], str]:
    names: dict[str, Any] = {}
    body = _source(printers, names, 0)
    return _compile(f"lambda c, r: f'{name}({body}'", names, name)


def _compile_split(name: str, printers: list[Printer], late: int) -> Callable[[Call, tuple[int, ...]], str]:
    """As :func:`_compile_entry`, leaving the arguments from ``late`` on for the exit."""
    early: dict[str, Any] = {}
    head = _source(printers[:late], early, 0) + (", " if late else "")
    tail_names: dict[str, Any] = {}
    tail = _source(printers[late:], tail_names, late)
    rest = _compile(f"lambda c: (lambda r: f'{tail}')(c.regs)", tail_names, name)
    show = _compile(f"lambda c, r: f'{name}({head}'", early, name)

    def entry(c: Call, r: tuple[int, ...]) -> str:
        c.rest = rest
        return show(c, r)

    return entry


def _special_entry(name: str, show: Callable[[Call], str]) -> Callable[[Call, tuple[int, ...]], str]:
    head = f"{name}("
    return lambda c, r: head + show(c)
