"""Memory calls whose arguments need more than their declared types say."""

from __future__ import annotations

import struct
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


def _node_mask(c: Call, address: int, bits: int) -> str:
    """A NUMA node mask of ``bits`` bits, in words."""
    words = (bits + 63) // 64
    data = c.read(address, words * 8) if address and 0 < words <= 1024 else None
    if data is None:
        return pointer(address)
    shown = [f"{value:016x}" for (value,) in struct.iter_unpack("<Q", data)]
    return f"[{', '.join(shown)}]"


def _get_mempolicy(c: Call) -> str:
    def rest(c: Call) -> str:
        tail = f"{c.arg(2)}, {pointer(c.arg(3))}, {flag_table('mempolicy_flags').text(c.arg(4))}"
        if c.failed:
            return f"{pointer(c.arg(0))}, {pointer(c.arg(1))}, {tail}"
        data = c.read(c.arg(0), 4) if c.arg(0) else None
        mode = pointer(c.arg(0)) if data is None else f"[{_policy(int.from_bytes(data, 'little'))}]"
        return f"{mode}, {_node_mask(c, c.arg(1), c.arg(2))}, {tail}"

    c.rest = rest
    return ""


def _policy(mode: int) -> str:
    return flag_table("mempolicy_modes").text(mode)


CALLS: dict[str, Callable[[Call], str]] = {
    "mmap": _mmap,
    "mremap": _mremap,
    "mincore": _mincore,
    "set_mempolicy": lambda c: f"{_policy(c.uint32(0))}, {_node_mask(c, c.arg(1), c.arg(2))}, {c.arg(2)}",
    "get_mempolicy": _get_mempolicy,
    "mbind": lambda c: (f"{pointer(c.arg(0))}, {c.arg(1)}, {_policy(c.uint32(2))}, "
                        f"{_node_mask(c, c.arg(3), c.arg(4))}, {c.arg(4)}, "
                        f"{flag_table('mbind_flags').text(c.uint32(5))}"),
    "brk": lambda c: pointer(c.arg(0)),
}
