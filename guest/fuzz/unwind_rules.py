"""The instructions of call frame information and the expressions in them (DWARF 5 §6.4.2 and §2.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

_MAX_INSTRUCTIONS, _MAX_STATES = 20_000, 256


#: DWARF's register numbers on x86-64 (psABI figure 3.36); RA is the return address.
RBP, RSP, RA = 6, 7, 16
#: In the order of DWARF's numbers.
REGISTER_NAMES = ("rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13",
                  "r14", "r15")


class CfiError(Exception):
    """The information is broken, or of a kind that is not understood."""


@dataclass(frozen=True)
class Rule:
    """Where the caller's value of a register is. ``kind``: undefined, same, offset, val_offset (from the CFA),
    register, expression, val_expression; for the CFA itself register (with ``offset``) or expression."""

    kind: str
    value: int = 0
    offset: int = 0
    code: bytes = b""


@dataclass(frozen=True)
class Rules:
    """One row of the table that the information stands for."""

    cfa: Rule
    registers: dict[int, Rule]
    return_register: int
    is_signal_frame: bool
    """The frame was interrupted by a signal: its return address is of the instruction itself, not behind a call."""


@dataclass(frozen=True)
class Cie:
    code_align: int
    data_align: int
    return_register: int
    encoding: int
    has_augmentation_data: bool
    is_signal_frame: bool
    instructions: tuple[int, int]


@dataclass(frozen=True)
class Fde:
    start: int
    end: int
    cie: Cie
    instructions: tuple[int, int]


class Cursor:
    """Reads numbers from ``data``; ``address`` is the virtual address of its first byte.

    Raises:
        CfiError: beyond the end.
    """

    def __init__(self, data: bytes, at: int = 0, address: int = 0) -> None:
        self.data, self.at, self.address = data, at, address

    def take(self, count: int) -> bytes:
        if count < 0 or self.at < 0 or self.at + count > len(self.data):
            raise CfiError("ends too early")
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, size: int, signed: bool = False) -> int:
        return int.from_bytes(self.take(size), "little", signed=signed)

    def uleb(self) -> int:
        value = shift = 0
        while shift < 70:
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value
        raise CfiError("a number too long")

    def sleb(self) -> int:
        value = shift = 0
        while shift < 70:
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value - (1 << shift) if byte & 0x40 else value
        raise CfiError("a number too long")

    def string(self) -> bytes:
        end = self.data.find(b"\0", self.at, self.at + 64)
        if end < 0:
            raise CfiError("a string too long")
        text = self.data[self.at:end]
        self.at = end + 1
        return text

    def encoded(self, encoding: int, base: int | None = None) -> int:
        """A pointer as DW_EH_PE_* say; ``base`` is that of "data-relative"."""
        here = self.address + self.at
        form, relative = encoding & 0x0F, encoding & 0x70
        if form in (0x01, 0x09):
            value = self.uleb() if form == 0x01 else self.sleb()
        else:
            size = {0x00: 8, 0x02: 2, 0x03: 4, 0x04: 8, 0x0A: 2, 0x0B: 4, 0x0C: 8}.get(form)
            if size is None:
                raise CfiError("an unknown encoding")
            value = self.number(size, signed=form >= 0x08)
        if relative == 0x10:
            value += here
        elif relative == 0x30 and base is not None:
            value += base
        elif relative:
            raise CfiError("an unknown encoding")
        return value & (1 << 64) - 1


class _State:
    def __init__(self) -> None:
        self.cfa: Rule | None = None
        self.registers: dict[int, Rule] = {}


def run(data: bytes, address_of_data: int, fde: Fde, address: int) -> Rules:
    """Execute the instructions up to the row of ``address``."""
    state = _State()
    _execute(data, address_of_data, fde.cie, fde.cie.instructions, state, None, 0, 1 << 64)
    _execute(data, address_of_data, fde.cie, fde.instructions, state, dict(state.registers), fde.start, address)
    if state.cfa is None:
        raise CfiError("no CFA")
    return Rules(state.cfa, state.registers, fde.cie.return_register, fde.cie.is_signal_frame)


def _execute(data: bytes, address_of_data: int, cie: Cie, span: tuple[int, int], state: _State,
             initial: dict[int, Rule] | None, here: int, target: int) -> None:
    cursor = Cursor(data[span[0]:span[1]], 0, address_of_data + span[0])
    registers = state.registers
    saved: list[tuple[Rule | None, dict[int, Rule]]] = []

    def based(offset: int) -> Rule:
        if state.cfa is None or state.cfa.kind != "register":
            raise CfiError("an offset without a register")
        return replace(state.cfa, offset=offset)

    for _ in range(_MAX_INSTRUCTIONS):
        if cursor.at >= len(cursor.data):
            return
        code = cursor.number(1)
        high, low = code & 0xC0, code & 0x3F
        advance = None
        if high == 0x40:
            advance = low
        elif high == 0x80:
            registers[low] = Rule("offset", offset=cursor.uleb() * cie.data_align)
        elif high == 0xC0 or code == 0x06:
            number = low if high else cursor.uleb()
            if initial is not None and number in initial:
                registers[number] = initial[number]
            else:
                registers.pop(number, None)
        elif code == 0x00:
            pass
        elif code == 0x01:
            where = cursor.encoded(cie.encoding)
            if where > target:
                return
            here = where
        elif code in (0x02, 0x03, 0x04):
            advance = cursor.number({0x02: 1, 0x03: 2, 0x04: 4}[code])
        elif code in (0x05, 0x11):
            number = cursor.uleb()
            offset = cursor.uleb() if code == 0x05 else cursor.sleb()
            registers[number] = Rule("offset", offset=offset * cie.data_align)
        elif code in (0x07, 0x08):
            registers[cursor.uleb()] = Rule("undefined" if code == 0x07 else "same")
        elif code == 0x09:
            number = cursor.uleb()
            registers[number] = Rule("register", cursor.uleb())
        elif code == 0x0A:
            if len(saved) >= _MAX_STATES:
                raise CfiError("too many states")
            saved.append((state.cfa, dict(registers)))
        elif code == 0x0B:
            if not saved:
                raise CfiError("no state to go back to")
            state.cfa, before = saved.pop()
            registers.clear()
            registers.update(before)
        elif code in (0x0C, 0x12):
            number = cursor.uleb()
            offset = cursor.uleb() if code == 0x0C else cursor.sleb() * cie.data_align
            state.cfa = Rule("register", number, offset)
        elif code == 0x0D:
            number = cursor.uleb()
            state.cfa = replace(based(state.cfa.offset if state.cfa else 0), value=number)
        elif code in (0x0E, 0x13):
            state.cfa = based(cursor.uleb() if code == 0x0E else cursor.sleb() * cie.data_align)
        elif code == 0x0F:
            state.cfa = Rule("expression", code=cursor.take(cursor.uleb()))
        elif code in (0x10, 0x16):
            number = cursor.uleb()
            registers[number] = Rule("expression" if code == 0x10 else "val_expression",
                                     code=cursor.take(cursor.uleb()))
        elif code in (0x14, 0x15):
            number = cursor.uleb()
            offset = cursor.uleb() if code == 0x14 else cursor.sleb()
            registers[number] = Rule("val_offset", offset=offset * cie.data_align)
        elif code == 0x2E:
            cursor.uleb()  # DW_CFA_GNU_args_size
        else:
            raise CfiError("an unknown instruction")
        if advance is not None:
            here += advance * cie.code_align
            if here > target:
                return


def evaluate(code: bytes, registers: dict[int, int], read_word: Callable[[int], int], first: int | None = None) -> int:
    """The value of a DWARF expression (§2.5), as far as call frame information uses them.

    ``read_word(address)`` gives 8 bytes of memory as a number. ``first`` is on the stack at the start.

    Raises:
        CfiError: it is broken, or reads what is not there.
    """
    stack = [] if first is None else [first]
    cursor = Cursor(code)
    mask = (1 << 64) - 1

    def signed(value: int) -> int:
        return value - (1 << 64) if value >> 63 else value

    two = {0x1A: lambda a, b: a & b, 0x1C: lambda a, b: a - b, 0x1E: lambda a, b: a * b, 0x21: lambda a, b: a | b,
           0x22: lambda a, b: a + b, 0x24: lambda a, b: a << min(b, 64), 0x25: lambda a, b: a >> min(b, 64),
           0x27: lambda a, b: a ^ b, 0x29: lambda a, b: int(a == b), 0x2A: lambda a, b: int(signed(a) >= signed(b)),
           0x2B: lambda a, b: int(signed(a) > signed(b)), 0x2C: lambda a, b: int(signed(a) <= signed(b)),
           0x2D: lambda a, b: int(signed(a) < signed(b)), 0x2E: lambda a, b: int(a != b)}
    sizes = {0x08: (1, False), 0x09: (1, True), 0x0A: (2, False), 0x0B: (2, True), 0x0C: (4, False), 0x0D: (4, True),
             0x0E: (8, False), 0x0F: (8, True)}
    try:
        while cursor.at < len(code):
            op = cursor.number(1)
            if 0x30 <= op <= 0x4F:
                stack.append(op - 0x30)
            elif 0x70 <= op <= 0x8F:
                stack.append(registers[op - 0x70] + cursor.sleb())
            elif op == 0x92:
                number = cursor.uleb()
                stack.append(registers[number] + cursor.sleb())
            elif op in sizes:
                stack.append(cursor.number(*sizes[op]))
            elif op in (0x10, 0x11):
                stack.append(cursor.uleb() if op == 0x10 else cursor.sleb())
            elif op == 0x06:
                stack.append(read_word(stack.pop()))
            elif op == 0x12:
                stack.append(stack[-1])
            elif op == 0x13:
                stack.pop()
            elif op == 0x16:
                stack[-1], stack[-2] = stack[-2], stack[-1]
            elif op == 0x23:
                stack.append(stack.pop() + cursor.uleb())
            elif op in two:
                b, a = stack.pop(), stack.pop()
                stack.append(two[op](a, b))
            elif op != 0x96:
                raise CfiError("an unknown operation")
            if stack:
                stack[-1] &= mask
        return stack[-1]
    except (IndexError, KeyError):
        raise CfiError("a broken expression") from None
