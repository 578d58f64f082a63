"""What Unicorn does not tell, by Capstone: which address an instruction could not access, why a block ended.

The rare path.
"""

from __future__ import annotations

from typing import Any

from emu.registers import Registers

_PAGE = 4096
_REPEATS = frozenset(b"\xf2\xf3")
#: Instructions besides jumps, calls, returns and interrupts behind which the engine begins a new block.
_ENDING = frozenset((
    "syscall", "sysenter", "sysexit", "sysret", "hlt", "pause", "popf", "popfq", "iret", "iretd", "iretq", "mwait",
    "monitor", "xrstor", "xrstor64", "xsetbv", "sti",
))
_STRINGS = ("movs", "stos", "lods", "scas", "cmps", "ins", "outs")
_capstone: Any = None


def _disassembler() -> Any:
    global _capstone
    if _capstone is None:
        import capstone  # 60 ms that most programs never need

        _capstone = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
        _capstone.detail = True
    return _capstone


def _value(registers: Registers, instruction: Any, number: int) -> int:
    name = instruction.reg_name(number)
    if name == "rip":
        return instruction.address + instruction.size
    wide = {"eip": "rip"}.get(name) or ("r" + name[1:] if name[0] == "e" else name.rstrip("d"))
    value = getattr(registers, wide, 0)
    return value if wide == name else value & 0xFFFFFFFF


def _accesses(registers: Registers, instruction: Any) -> list[tuple[int, int]]:
    """(address, bytes) of every memory access the instruction may make."""
    from capstone import x86

    found = []
    for operand in instruction.operands:
        if operand.type == x86.X86_OP_MEM and instruction.mnemonic != "lea":
            memory = operand.mem
            address = memory.disp
            if memory.base:
                address += _value(registers, instruction, memory.base)
            if memory.index:
                address += _value(registers, instruction, memory.index) * memory.scale
            if memory.segment == x86.X86_REG_FS:
                address += registers.fs_base
            elif memory.segment == x86.X86_REG_GS:
                address += registers.gs_base
            found.append((address & 0xFFFFFFFFFFFFFFFF, operand.size or 1))
    mnemonic = instruction.mnemonic.split()[-1]
    if mnemonic.startswith(("push", "call", "enter")):
        found.append(((registers.rsp - 8) & 0xFFFFFFFFFFFFFFFF, 8))
    elif mnemonic.startswith(("pop", "ret")):
        found.append((registers.rsp, 8))
    elif mnemonic == "leave":
        found.append((registers.rbp, 8))
    return found


def faulting_address(registers: Registers, code: bytes, page: int) -> int:
    """The lowest address in ``page`` that the instruction ``code`` at RIP touches; ``page`` itself when unclear."""
    for instruction in _disassembler().disasm(code, registers.rip, 1):
        for address, size in _accesses(registers, instruction):
            if address & -_PAGE == page:
                return address
            if address < page < address + size:
                return page
    return page


def is_memory_operand_noncanonical(registers: Registers, code: bytes) -> bool:
    """The instruction at RIP uses an address outside both halves: a general protection fault, not a page fault."""
    for instruction in _disassembler().disasm(code, registers.rip, 1):
        for address, _ in _accesses(registers, instruction):
            if (1 << 47) <= address < (1 << 64) - (1 << 47):
                return True
    return False


def ends_block(code: bytes, address: int) -> bool:
    """The last instruction of the straight code at ``address`` is one behind which the engine begins a new block."""
    from capstone import x86

    instructions = list(_disassembler().disasm(code, address))
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
