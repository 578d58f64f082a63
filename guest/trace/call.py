"""One system call being shown, and how to read what its arguments point at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from emu.words import c_int
from kernel.errno import Errno

#: The most bytes that one array element type or buffer makes the tracer read.
READ_LIMIT = 1 << 20


@dataclass(slots=True)
class Style:
    """How values are shown; the defaults are strace's."""

    string_limit: int = 32
    """-s: bytes shown of a string or buffer, elements shown of an array."""
    verbose: bool = False
    """-v: structures in full."""
    hex_strings: int = 0
    """-x: 1 shows strings with non-ASCII bytes in hexadecimal, 2 all strings."""
    fd_paths: int = 0
    """-y: the path behind each descriptor; 2 (-yy) means more about sockets and devices."""


class Call:
    """A system call in progress: its raw arguments and, at exit, its result."""

    # defaults of the class: making a call must be cheap, and most keep them
    rest: Callable[[Call], str] | None = None
    """Shows the arguments that are known only at exit; None when all have been shown."""
    aux: str | None = None
    """What follows the result in parentheses."""
    value: str | None = None
    """The result as shown, when it is not what the row says."""
    text = ""
    """The line so far."""
    shown = 0
    """Columns of it that have been written out."""
    start_ns = 0
    result: int | None = None
    """None until the call returns; then the value or -errno."""

    def __init__(self, task: Any, regs: tuple[int, ...], style: Style, printer: Any = None) -> None:
        self.task = task
        self.regs = regs
        """The argument registers, signed 64-bit."""
        self.style = style
        self.printer = printer
        """The RowPrinter that shows it."""

    @property
    def mm(self) -> Any:
        """The task's address space as it is now; None once it has begun to exit."""
        return self.task.mm

    @property
    def failed(self) -> bool:
        """The call returned an error (or is to be restarted)."""
        return self.result is not None and -4096 < self.result < 0

    def arg(self, index: int) -> int:
        """Argument ``index`` as an unsigned 64-bit number."""
        return self.regs[index] & 0xFFFFFFFFFFFFFFFF

    def int32(self, index: int) -> int:
        """Argument ``index`` as a C int."""
        return c_int(self.regs[index])

    def uint32(self, index: int) -> int:
        """Argument ``index`` as a C unsigned int."""
        return self.regs[index] & 0xFFFFFFFF

    def read(self, address: int, size: int) -> bytes | None:
        """``size`` bytes of guest memory, or None if any of them is inaccessible."""
        if size > READ_LIMIT or self.mm is None:
            return None
        try:
            return bytes(self.mm.read(address, size))
        except Errno:
            return None

    def read_some(self, address: int, size: int) -> bytes:
        """As many of ``size`` bytes as are accessible, possibly none."""
        if self.mm is None:
            return b""
        try:
            return bytes(self.mm.read_some(address, min(size, READ_LIMIT)))
        except Errno:
            return b""
