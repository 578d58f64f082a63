"""From the registers of a stopped thread to the frames that called it.

Call frame information is believed where there is any. Without it the function's code tells what it has pushed, then
comes the chain of frame pointers; at last the stack is searched for words that point behind a call. A frame says how it
was found.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from emu.words import U64
from guest.fuzz.unwind_cfi import CallFrames
from guest.fuzz.unwind_code import stack_use
from guest.fuzz.unwind_rules import RA, RBP, REGISTER_NAMES, RSP, CfiError, Rule, Rules, evaluate

_WORD = struct.Struct("<Q")
_SCAN_WORDS, _MAX_SCANNED = 512, 16
#: ``mov $15, %rax; syscall``: where a signal handler returns to (glibc's and musl's __restore_rt).
_SIGRETURN = bytes.fromhex("48c7c00f0000000f05")
#: Where ucontext_t keeps the registers, by DWARF's numbers; RIP last (arch/x86/include/uapi/asm/sigcontext.h).
_UCONTEXT = {8: 0, 9: 1, 10: 2, 11: 3, 12: 4, 13: 5, 14: 6, 15: 7, 5: 8, 4: 9, 6: 10, 3: 11, 1: 12, 0: 13, 2: 14, 7: 15,
             RA: 16}
_UCONTEXT_REGISTERS, _RT_SIGFRAME_UC = 40, 0
_MAX_FUNCTION_BYTES, _FRAME_BYTES, _LONGEST_INSTRUCTION = 1 << 16, 1 << 20, 15
_SET_FRAME, _PAGE = bytes.fromhex("554889e5"), 4096


@dataclass
class RawFrame:
    """One frame by addresses alone."""

    pc: int
    sp: int
    found_by: str
    """``registers`` for the innermost, ``cfi``, ``code`` (what the function did to the stack), ``frame pointer``,
    ``entry`` (return address on top of the stack) or ``scan`` (a guess)."""
    is_exact: bool
    """``pc`` is an instruction that was about to run; else it stands behind a call."""
    is_signal_handler_return: bool = False
    """The trampoline that a signal handler returns to; the frame after it was interrupted."""

    @property
    def lookup(self) -> int:
        """The address to look names up by: within the call instruction."""
        return self.pc if self.is_exact else self.pc - 1


class Space(Protocol):
    """The memory of the stopped process."""

    def read(self, address: int, count: int) -> bytes:
        """Bytes of memory; fewer at the end of what can be read."""

    def is_code(self, address: int) -> bool:
        """Is the address in an executable mapping?"""

    def call_frames(self, address: int) -> tuple[CallFrames, int] | None:
        """The unwind information of the module that ``address`` is in, and how far the module was moved."""

    def function_start(self, address: int) -> int | None:
        """Where the function around ``address`` begins, if that is known."""


def unwind(space: Space, registers: dict[int, int], limit: int) -> list[RawFrame]:
    """The frames from the innermost on, at most ``limit``. ``registers`` by DWARF's numbers, RA the program counter."""
    frames = [RawFrame(registers[RA], registers[RSP], "registers", True)]
    scanned = 0
    while len(frames) < limit:
        frame = frames[-1]
        step = _caller(space, registers, frame)
        if step is None:
            break
        registers, how = step
        if how == "scan":
            scanned += 1
            if scanned > _MAX_SCANNED:
                break
        sp = registers[RSP]
        if how not in ("signal", "scan") and sp <= frame.sp and len(frames) > 1:
            break  # the stack does not go up: it is not a stack
        found_by = "scan" if scanned else "cfi" if how == "signal" else how  # what a guess leads to is one
        frames.append(RawFrame(registers[RA], sp, found_by, how == "signal"))
    return frames


def _caller(space: Space, registers: dict[int, int], frame: RawFrame) -> tuple[dict[int, int], str] | None:
    """The registers in the caller of ``frame`` and how they were found; None at the end of the stack."""
    if not space.is_code(frame.lookup):
        return _after_bad_jump(space, registers, frame)
    if space.read(frame.pc, len(_SIGRETURN)) == _SIGRETURN:
        frame.is_signal_handler_return = frame.is_exact = True
        return _interrupted(space, registers)
    found = space.call_frames(frame.lookup)
    if found is not None:
        frames, bias = found
        rules = frames.rules(frame.lookup - bias)
        if rules is not None:
            if rules.registers.get(rules.return_register, Rule("offset")).kind == "undefined":
                return None
            try:
                caller = _apply(space, registers, rules)
            except CfiError:
                return _scan(space, registers, registers[RSP])
            return (caller, "signal" if rules.is_signal_frame else "cfi") if caller[RA] else None
    return _without_information(space, registers, frame)


def _apply(space: Space, registers: dict[int, int], rules: Rules) -> dict[int, int]:
    """The caller's registers by the table.

    Raises:
        CfiError: what it says cannot be read.
    """
    word = _reader(space)

    def value(rule: Rule, first: int | None = None) -> int:
        if rule.kind == "register":
            if rule.value not in registers:
                raise CfiError("an unknown register")
            return registers[rule.value] + rule.offset & U64
        return evaluate(rule.code, registers, word, first)

    cfa = value(rules.cfa)
    caller = dict(registers)
    caller[RSP] = cfa
    for number, rule in rules.registers.items():
        if rule.kind == "offset":
            caller[number] = word(cfa + rule.offset)
        elif rule.kind == "val_offset":
            caller[number] = cfa + rule.offset & U64
        elif rule.kind == "register":
            caller[number] = value(rule)
        elif rule.kind == "expression":
            caller[number] = word(value(rule, cfa))
        elif rule.kind == "val_expression":
            caller[number] = value(rule, cfa)
    if rules.return_register != RA:
        caller[RA] = caller.get(rules.return_register, 0)
    return caller


def _reader(space: Space) -> Callable[[int], int]:
    def word(address: int) -> int:
        data = space.read(address & U64, 8)
        if len(data) < 8:
            raise CfiError("memory that is not there")
        return int(_WORD.unpack(data)[0])

    return word


def _interrupted(space: Space, registers: dict[int, int]) -> tuple[dict[int, int], str] | None:
    """What the signal interrupted, from the ucontext_t that the handler's frame leaves on top of the stack."""
    base = registers[RSP] + _RT_SIGFRAME_UC + _UCONTEXT_REGISTERS
    data = space.read(base, 8 * 17)
    if len(data) < 8 * 17:
        return None
    words = struct.unpack("<17Q", data)
    return {number: words[index] for number, index in _UCONTEXT.items()}, "signal"


# -- guessing --------------------------------------------------------------------------------------------------------


def _after_bad_jump(space: Space, registers: dict[int, int], frame: RawFrame) -> tuple[dict[int, int], str] | None:
    """The program counter is no code. After a bad call the return address is on top; after a bad return it is not."""
    if frame.found_by == "registers":
        top = space.read(registers[RSP], 8)
        if len(top) == 8 and _is_return_address(space, _WORD.unpack(top)[0]):
            return {**registers, RA: _WORD.unpack(top)[0], RSP: registers[RSP] + 8}, "entry"
    if frame.found_by != "scan":
        return _scan(space, registers, registers[RSP])
    return None


def _without_information(space: Space, registers: dict[int, int],
                         frame: RawFrame) -> tuple[dict[int, int], str] | None:
    start = space.function_start(frame.lookup)
    if start is not None and start <= frame.pc <= start + _MAX_FUNCTION_BYTES:
        found = _by_code(space, registers, start, frame)
        if found is not None:
            return found
    base = registers[RBP]
    pair = space.read(base, 16)
    if len(pair) == 16 and registers[RSP] <= base < registers[RSP] + _FRAME_BYTES:
        saved, back = struct.unpack("<QQ", pair)
        fits = _uses_frame_pointers(space, frame.pc) if start is None else _calls(space, back) in (start, None)
        if fits and _is_return_address(space, back):
            return {**registers, RBP: saved, RA: back, RSP: base + 16}, "frame pointer"
    return _scan(space, registers, registers[RSP], start)


def _uses_frame_pointers(space: Space, pc: int) -> bool:
    """Do functions hereabouts begin with ``push rbp; mov rbp, rsp``?"""
    page = pc & -_PAGE
    return _SET_FRAME in space.read(page - _PAGE, _PAGE) + space.read(page, pc - page)


def _by_code(space: Space, registers: dict[int, int], start: int,
             frame: RawFrame) -> tuple[dict[int, int], str] | None:
    """By what the function has done to the stack since it began."""
    use = stack_use(space.read(start, frame.pc - start + _LONGEST_INSTRUCTION), start, frame.pc)
    if use is None:
        return None
    cfa = registers[use.register] + use.offset & U64
    if not registers[RSP] <= cfa < registers[RSP] + _FRAME_BYTES:
        return None
    back = space.read(cfa - 8, 8)
    if len(back) < 8 or not _is_return_address(space, _WORD.unpack(back)[0]):
        return None
    caller = {**registers, RSP: cfa, RA: _WORD.unpack(back)[0]}
    for number, offset in use.saved.items():
        value = space.read(cfa + offset & U64, 8)
        if len(value) == 8:
            (caller[number],) = _WORD.unpack(value)
    return caller, "code"


def _scan(space: Space, registers: dict[int, int], start: int,
          function: int | None = None) -> tuple[dict[int, int], str] | None:
    """The first word on the stack that points behind a call; behind a call of ``function``, if there is one."""
    data = space.read(start & -8, 8 * _SCAN_WORDS)
    first = None
    for index in range(len(data) // 8):
        (value,) = _WORD.unpack_from(data, 8 * index)
        if _is_return_address(space, value):
            found = {**registers, RA: value, RSP: (start & -8) + 8 * index + 8}
            if function is None or _calls(space, value) == function:
                return found, "scan"
            first = first or found
    return (first, "scan") if first is not None else None


def _calls(space: Space, back: int) -> int | None:
    """What the call before a return address calls, where the instruction says it."""
    code = space.read(back - 5, 5)
    if len(code) < 5 or code[0] != 0xE8:
        return None
    return back + int.from_bytes(code[1:], "little", signed=True) & U64


def _is_return_address(space: Space, address: int) -> bool:
    """Does ``address`` stand behind a call instruction: E8 and a displacement, or FF /2 in any of its lengths?"""
    if address < 4096 or not space.is_code(address - 1):
        return False
    code = space.read(address - 7, 7)
    if len(code) < 7:
        return False
    if code[2] == 0xE8:
        return True
    return any(code[7 - size] == 0xFF and code[8 - size] >> 3 & 7 == 2 and _call_bytes(code[8 - size:]) == size
               for size in (2, 3, 4, 6, 7))


def _call_bytes(modrm: bytes) -> int:
    """The length of FF /2 by its ModRM byte and SIB."""
    mode, low = modrm[0] >> 6, modrm[0] & 7
    if mode == 3:
        return 2
    size = 2 + (low == 4)
    if mode == 1:
        return size + 1
    if mode == 2 or (low == 5 and mode == 0):
        return size + 4
    if low == 4 and len(modrm) > 1 and modrm[1] & 7 == 5:
        return size + 4
    return size


def by_number(values: dict[str, int]) -> dict[int, int]:
    """Registers by name → by DWARF's numbers, for unwind()."""
    found = {number: values[name] for number, name in enumerate(REGISTER_NAMES)}
    found[RA] = values["rip"]
    return found
