"""Scheduling and odds and ends whose arguments depend on each other or on the result."""

from __future__ import annotations

from collections.abc import Callable

from guest.trace.call import Call
from guest.trace.results import hex_result
from guest.trace.structs import array, one
from guest.trace.structs_task import sched_attr
from guest.trace.tables import enum_table, flag_table
from guest.trace.text import plain_hex, pointer

_IOPRIO_CLASSES = ("IOPRIO_CLASS_NONE", "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE")


def _ioprio(value: int) -> str:
    kind, data = value >> 13 & 0x7, value & 0x1FFF
    name = _IOPRIO_CLASSES[kind] if kind < 4 else f"{kind:#x} /* IOPRIO_CLASS_??? */"
    return f"IOPRIO_PRIO_VALUE({name}, {data})"


def _ioprio_get(c: Call) -> str:
    def rest(c: Call) -> str:
        if not c.failed:
            c.aux = _ioprio(c.result or 0)
        return ""

    c.rest = rest
    return f"{enum_table('ioprio_who').text(c.uint32(0))}, {c.int32(1)}"


def _ioprio_set(c: Call) -> str:
    return f"{enum_table('ioprio_who').text(c.uint32(0))}, {c.int32(1)}, {_ioprio(c.uint32(2))}"


def _membarrier(c: Call) -> str:
    command, flags = c.uint32(0), c.uint32(1)
    flags_text = {0: "0", 1: "MEMBARRIER_CMD_FLAG_CPU"}.get(flags) or f"{flags:#x} /* MEMBARRIER_CMD_FLAG_??? */"
    if command == 0:
        c.rest = _membarrier_commands
    text = f"{enum_table('membarrier').text(command)}, {flags_text}"
    return f"{text}, {c.int32(2)}" if flags & 1 else text


def _membarrier_commands(c: Call) -> str:
    if not c.failed:
        c.value = hex_result(c)
        names = enum_table("membarrier").names
        c.aux = "|".join(name for bit, name in names.items() if bit and (c.result or 0) & bit)
    return ""


def _kcmp(c: Call) -> str:
    kind = c.uint32(2)
    head = f"{c.int32(0)}, {c.int32(1)}, {enum_table('kcmp').text(kind)}"
    if kind == 0:
        return f"{head}, {c.int32(3)}, {c.int32(4)}"
    return head if 1 <= kind <= 6 else f"{head}, {plain_hex(c.arg(3))}, {plain_hex(c.arg(4))}"


def _attributes(c: Call, address: int, size: int) -> str:
    """struct sched_attr as long as the kernel and the caller both know it."""
    data = c.read(address, 56 if size >= 56 else 48) if address else None
    return pointer(address) if data is None else sched_attr(c, data)


def _sched_getattr(c: Call) -> str:
    size = c.uint32(2)

    def rest(c: Call) -> str:
        shown = pointer(c.arg(1)) if c.failed else _attributes(c, c.arg(1), size)
        return f"{shown}, {size}, {c.uint32(3)}"

    c.rest = rest
    return f"{c.int32(0)}, "


def _sched_setattr(c: Call) -> str:
    size = c.read(c.arg(1), 4) if c.arg(1) else None
    shown = pointer(c.arg(1)) if size is None else _attributes(c, c.arg(1), int.from_bytes(size, "little"))
    return f"{c.int32(0)}, {shown}, {c.uint32(2)}"


def _futex_waitv(c: Call) -> str:
    return (f"{array(c, 'futex_waitv', c.arg(0), c.uint32(1))}, {c.uint32(1)}, {plain_hex(c.uint32(2))}, "
            f"{one(c, 'timespec', c.arg(3))}, {enum_table('clockid').text(c.uint32(4))}")


def _rseq(c: Call) -> str:
    return f"{pointer(c.arg(0))}, {c.uint32(1):#x}, {flag_table('rseq_flags').text(c.uint32(2))}, {c.uint32(3):#x}"


CALLS: dict[str, Callable[[Call], str]] = {
    "ioprio_get": _ioprio_get,
    "ioprio_set": _ioprio_set,
    "membarrier": _membarrier,
    "kcmp": _kcmp,
    "sched_getattr": _sched_getattr,
    "sched_setattr": _sched_setattr,
    "futex_waitv": _futex_waitv,
    "rseq": _rseq,
}
