"""Memory calls whose arguments need more than their declared types say."""

from __future__ import annotations

from collections.abc import Callable

from guest.trace.call import Call
from guest.trace.scalars import fd_text
from guest.trace.tables import flag_table
from guest.trace.text import pointer


def _mmap(c: Call) -> str:
    offset = c.arg(5)
    return (f"{pointer(c.arg(0))}, {c.arg(1)}, {flag_table('mmap_prot').text(c.arg(2))}, "
            f"{flag_table('mmap').text(c.arg(3))}, {fd_text(c, c.regs[4])}, {f'{offset:#x}' if offset else '0'}")


def _mremap(c: Call) -> str:
    head = f"{pointer(c.arg(0))}, {c.arg(1)}, {c.arg(2)}, {flag_table('mremap').text(c.arg(3))}"
    return f"{head}, {pointer(c.arg(4))}" if c.arg(3) & 3 == 3 else head


def _mincore(c: Call) -> str:
    def rest(c: Call) -> str:
        pages = (c.arg(1) + 4095) // 4096
        data = None if c.failed or not c.arg(2) else c.read(c.arg(2), min(pages, c.style.string_limit))
        if data is None:
            return pointer(c.arg(2))
        more = ", ..." if pages > c.style.string_limit else ""
        return f"[{', '.join(str(byte & 1) for byte in data)}{more}]"

    c.rest = rest
    return f"{pointer(c.arg(0))}, {c.arg(1)}, "


CALLS: dict[str, Callable[[Call], str]] = {
    "mmap": _mmap,
    "mremap": _mremap,
    "mincore": _mincore,
    "brk": lambda c: pointer(c.arg(0)),
}
