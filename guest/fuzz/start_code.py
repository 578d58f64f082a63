"""Finding ``main`` in a program without symbols: it is the first argument of the C library's start function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.decode import disassembler
from kernel.errno import Errno

if TYPE_CHECKING:
    from kernel.task.task import Task

PROT_EXEC = 4
_MAX_BYTES, _MAX_JUMPS = 256, 4


def find_main(task: Task, entry: int) -> int | None:
    """What RDI is loaded with before ``_start``, or what it calls, calls on; None when it does nothing of the kind.

    glibc: ``lea rdi, [rip + main]; call *__libc_start_main``. musl: ``mov rdi, rsp; call _start_c``, which has it.
    """
    from capstone import x86

    address = entry
    for _ in range(_MAX_JUMPS):
        try:
            code = task.mm.read_some(address, _MAX_BYTES)
        except Errno:
            return None
        candidate: int | None = None
        target: int | None = None
        for instruction in disassembler().disasm(code, address):
            operands = instruction.operands
            if instruction.id in (x86.X86_INS_CALL, x86.X86_INS_JMP):
                target = operands[0].imm if operands[0].type == x86.X86_OP_IMM else None
                break
            if len(operands) == 2 and operands[0].type == x86.X86_OP_REG and (
                    operands[0].reg in (x86.X86_REG_RDI, x86.X86_REG_EDI)):
                candidate = None
                source = operands[1]
                if instruction.id == x86.X86_INS_LEA and source.mem.base == x86.X86_REG_RIP:
                    candidate = instruction.address + instruction.size + source.mem.disp
                elif source.type == x86.X86_OP_IMM:
                    candidate = source.imm & 0xFFFFFFFFFFFFFFFF
        if candidate is not None and is_code(task, candidate):
            return candidate
        if target is None:
            return None
        address = target
    return None


def is_code(task: Task, address: int) -> bool:
    """Is ``address`` mapped for execution?"""
    return any(vma.start <= address < vma.end and vma.prot & PROT_EXEC for vma in task.mm.vma_rows())
