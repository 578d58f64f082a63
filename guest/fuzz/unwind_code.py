"""Where a function without unwind information keeps its return address, from its code: gdb's prologue analysis.

Reads from the function's beginning to the program counter and keeps count of what is pushed. musl's functions and
assembly are simple enough for that; what is found is believed only when a return address is there.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

from guest.fuzz.unwind_rules import RBP, REGISTER_NAMES, RSP

_MAX_INSTRUCTIONS = 20_000
_KEPT = {"rbx", "rbp", "r12", "r13", "r14", "r15"}


@dataclass
class StackUse:
    """The canonical frame address is the value of ``register`` plus ``offset``; the caller's registers that were saved
    stand at ``saved`` bytes from it."""

    register: int
    offset: int
    saved: dict[int, int] = field(default_factory=dict)


@functools.cache
def _disassembler() -> Any:
    import capstone

    return capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)


def stack_use(code: bytes, start: int, pc: int) -> StackUse | None:
    """At ``pc`` of the function that begins at ``start`` with ``code``; None where its code is beyond this."""
    depth = body = 8  # bytes from the stack pointer up to the frame address
    frame: int | None = None
    saved: dict[int, int] = {}
    arriving: dict[int, int] = {}
    after_end = False
    for address, size, name, operands in _disassembler().disasm_lite(code, start, _MAX_INSTRUCTIONS):
        if address in arriving:
            depth = arriving[address]
        elif after_end:
            depth = body
        after_end = False
        if address >= pc:
            # In the middle of an instruction: this is not the code that runs.
            return _result(depth, frame, saved) if address == pc else None
        words = [word.strip() for word in operands.split(",")]
        if name == "push":
            depth += 8
            if words[0] in _KEPT and REGISTER_NAMES.index(words[0]) not in saved and frame is None:
                saved[REGISTER_NAMES.index(words[0])] = -depth
        elif name == "pop":
            depth -= 8
            if words[0] == "rbp":
                frame = None
        elif name in ("sub", "add") and words[0] == "rsp":
            if (amount := _number(words[1])) is None:
                return _result(depth, frame, saved) if frame is not None else None
            depth += amount if name == "sub" else -amount
        elif name == "mov" and words == ["rbp", "rsp"]:
            frame = depth
        elif name == "leave" and frame is not None:
            depth, frame = frame - 8, None
        elif words[0] == "rsp" and name in ("lea", "mov", "and") and frame is None:
            return None
        if name.startswith("j") and (target := _number(words[0])) is not None and target > address:
            arriving.setdefault(target, depth)
        if name in ("ret", "jmp", "hlt", "ud2"):
            after_end = True
        else:
            body = max(body, depth)
        if address + size == pc:
            return _result(arriving.get(pc, body if after_end else depth), frame, saved)
    return None


def _result(depth: int, frame: int | None, saved: dict[int, int]) -> StackUse | None:
    if frame is not None:
        return StackUse(RBP, frame, saved)
    return StackUse(RSP, depth, {n: at for n, at in saved.items() if -at <= depth}) if depth >= 8 else None


def _number(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None
