"""What Unicorn does not tell, by Capstone: which memory an instruction accesses, why a block ended.

The rare path.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from emu.paging import PAGE_SIZE
from emu.registers import Registers
from emu.words import U64

_REPEATS = frozenset(b"\xf2\xf3")
#: Instructions besides jumps, calls, returns and interrupts behind which the engine begins a new block.
_ENDING = frozenset((
    "syscall", "sysenter", "sysexit", "sysret", "hlt", "pause", "popf", "popfq", "iret", "iretd", "iretq", "mwait",
    "monitor", "xrstor", "xrstor64", "xsetbv", "sti",
))
_STRINGS = ("movs", "stos", "lods", "scas", "cmps", "ins", "outs")
#: The instructions whose operand of 16 bytes in memory need not be aligned.
_UNALIGNED = frozenset(("movups", "movupd", "movdqu", "lddqu", "pcmpestri", "pcmpestrm", "pcmpistri", "pcmpistrm"))


@dataclass(frozen=True)
class Access:
    """A memory access of an instruction. ``size`` in bytes, None when it is not known."""

    kind: str
    """``read``, ``write`` or ``execute``."""
    address: int
    size: int | None
    operand: str | None
    """The operand of the instruction, as ``[rax + 8]``."""
    is_stack: bool = False
    """It goes through the stack segment: outside both halves it is a stack fault, others are protection faults."""

    @property
    def is_canonical(self) -> bool:
        """Does it stay in the two halves of the address space?"""
        return is_canonical(self.address) and is_canonical(self.address + (self.size or 1) - 1)

    def touches(self, address: int) -> bool:
        """Is the byte at ``address`` one of it?"""
        return self.address <= address < self.address + (self.size or 1)


@functools.cache
def disassembler() -> Any:
    """Capstone, with the details of each instruction."""
    import capstone  # 60 ms that most programs never need

    engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    engine.detail = True
    return engine


def is_canonical(address: int) -> bool:
    """May a register that is used as an address hold this one (48 bits, sign-extended)?"""
    return address < 1 << 47 or address >= (1 << 64) - (1 << 47)


def register_value(registers: Mapping[str, int], name: str) -> int:
    """A general register of any width by its name."""
    if name in registers:
        return registers[name]
    if name[-1] in "dwb" and name[:-1] in registers:  # r8d, r8w, r8b
        return registers[name[:-1]] & {"d": 0xFFFFFFFF, "w": 0xFFFF, "b": 0xFF}[name[-1]]
    if name[0] == "e":
        return registers.get("r" + name[1:], 0) & 0xFFFFFFFF
    if len(name) == 2 and name[1] == "h":
        return registers.get(f"r{name[0]}x", 0) >> 8 & 0xFF
    if name.endswith("l"):
        return registers.get(f"r{name[:-1]}x" if len(name) == 2 else f"r{name[:-1]}", 0) & 0xFF
    return registers.get("r" + name, 0) & 0xFFFF


def operand_register(registers: Mapping[str, int], instruction: Any, number: int) -> int:
    """A register by Capstone's number, of RIP the value that the instruction sees; 0 for none."""
    if not number:
        return 0
    name = instruction.reg_name(number)
    if name in ("rip", "eip"):
        return int(instruction.address + instruction.size)
    return register_value(registers, name)


def accesses(registers: Mapping[str, int], instruction: Any) -> list[Access]:
    """Every memory access that the instruction may make, implicit ones of the stack included, in their order."""
    mnemonic = instruction.mnemonic.split()[-1]
    explicit, implicit = _operands(registers, instruction, mnemonic), _implicit(registers, instruction, mnemonic)
    return implicit + explicit if mnemonic.startswith("pop") else explicit + implicit


def _operands(registers: Mapping[str, int], instruction: Any, mnemonic: str) -> list[Access]:
    import capstone
    from capstone import x86

    found = []
    for operand in instruction.operands:
        if operand.type != x86.X86_OP_MEM or mnemonic in ("lea", "nop"):
            continue
        memory = operand.mem
        address = memory.disp + operand_register(registers, instruction, memory.base)
        address += operand_register(registers, instruction, memory.index) * memory.scale
        has_segment = memory.segment in (x86.X86_REG_FS, x86.X86_REG_GS)
        if has_segment:
            address += registers["fs_base" if memory.segment == x86.X86_REG_FS else "gs_base"]
        if mnemonic == "pop" and memory.base == x86.X86_REG_RSP:
            address += operand.size  # RSP has moved by then
        # An index does not count, and the other segments' prefixes mean nothing. Alignment is looked at first.
        is_stack = memory.base in (x86.X86_REG_RSP, x86.X86_REG_RBP) and not has_segment and not (
            operand.size == 16 and address % 16 and mnemonic not in _UNALIGNED)
        text = instruction.op_str[instruction.op_str.find("["):instruction.op_str.find("]") + 1]
        kind = "write" if operand.access & capstone.CS_AC_WRITE else "read"
        found.append(Access(kind, address & U64, operand.size or None, text or None, is_stack))
        if operand.access & capstone.CS_AC_READ and kind == "write":
            found.append(Access("read", address & U64, operand.size or None, text or None, is_stack))
    return found


def _implicit(registers: Mapping[str, int], instruction: Any, mnemonic: str) -> list[Access]:
    found = []
    if mnemonic.startswith(("push", "call", "lcall", "enter")):
        found.append(Access("write", (registers["rsp"] - 8) & U64, 8, None, True))
    elif mnemonic.startswith(("pop", "ret", "iret")) and mnemonic != "popcnt":
        found.append(Access("read", registers["rsp"], 8, None, True))
    elif mnemonic == "leave":
        found.append(Access("read", registers["rbp"], 8, None, True))
    if mnemonic == "enter" and instruction.operands[1].imm & 31 > 1:  # copies pointers of outer frames
        found.append(Access("read", (registers["rbp"] - 8) & U64, 8, None, True))
    return found


def branch_target(registers: Mapping[str, int], instruction: Any, read: Callable[[int, int], bytes]) -> int | None:
    """Where a return, or an indirect call or jump, would go; None for others. ``read(address, count)`` reads memory."""
    from capstone import x86

    mnemonic = instruction.mnemonic.split()[-1]
    where = None
    if mnemonic.startswith("ret"):
        where = registers["rsp"]
    elif mnemonic in ("call", "jmp") and instruction.operands:
        operand = instruction.operands[0]
        if operand.type == x86.X86_OP_REG:
            return operand_register(registers, instruction, operand.reg)
        where = next((a.address for a in accesses(registers, instruction) if a.kind == "read"), None)
    data = read(where, 8) if where is not None else b""
    return int.from_bytes(data, "little") if len(data) == 8 else None


def before_branch(registers: Registers, start: int, code: bytes, read: Callable[[int, int], bytes]) \
        -> dict[str, int] | None:
    """The registers in front of the return, indirect call or jump that led to RIP and ends the block ``code`` at
    ``start``; None when it was none of them."""
    last = next(reversed(list(disassembler().disasm(code, start))), None)
    if last is None or last.address + last.size != start + len(code):
        return None
    mnemonic, before = last.mnemonic.split()[-1], registers.general()
    before["rip"] = last.address
    if mnemonic.startswith("ret"):
        more = last.operands[0].imm if last.operands else 0
        before["rsp"] = (before["rsp"] - 8 - more) & U64
    elif mnemonic == "call":
        if int.from_bytes(read(before["rsp"], 8), "little") != last.address + last.size:
            return None
        before["rsp"] = (before["rsp"] + 8) & U64
    return before if branch_target(before, last, read) == registers.rip else None


def _at_rip(registers: Registers, code: bytes) -> list[Access]:
    instruction = next(disassembler().disasm(code, registers.rip, 1), None)
    return [] if instruction is None else accesses(registers.general(), instruction)


def faulting_access(registers: Registers, code: bytes, page: int) -> Access | None:
    """The first access of the instruction ``code`` at RIP that touches ``page``; when unclear the first of all."""
    found = _at_rip(registers, code)
    return next((access for access in found if access.address & -PAGE_SIZE == page or access.touches(page)),
                found[0] if found else None)


def noncanonical_access(registers: Registers, code: bytes) -> Access | None:
    """The access of the instruction ``code`` at RIP that leaves both halves of the address space."""
    return next((access for access in _at_rip(registers, code) if not access.is_canonical), None)


def ends_block(code: bytes, address: int) -> bool:
    """The last instruction of the straight code at ``address`` is one behind which the engine begins a new block."""
    from capstone import x86

    instructions = list(disassembler().disasm(code, address))
    if not instructions:
        return True
    last = instructions[-1]
    mnemonic = last.mnemonic.split()[-1]
    if mnemonic in _ENDING or any(last.group(group) for group in (
            x86.X86_GRP_JUMP, x86.X86_GRP_CALL, x86.X86_GRP_RET, x86.X86_GRP_INT)):
        return True
    if mnemonic.startswith(_STRINGS) and last.prefix[0] in _REPEATS:
        return True
    # A load of SS holds back interrupts for one instruction.
    return mnemonic in ("mov", "pop") and bool(last.operands) and last.operands[0].reg == x86.X86_REG_SS
