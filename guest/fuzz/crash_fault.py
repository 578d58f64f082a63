"""The instruction at which a thread was stopped: its text, which memory it wanted, and what was wrong with that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emu.decode import Access, accesses, branch_target, disassembler, is_canonical, register_value
from kernel.task import signals as s
from kernel.task.trap import TRAP_GP, TRAP_PF, TRAP_SS

if TYPE_CHECKING:
    from guest.fuzz.backtrace import TaskSpace
    from kernel.mm.inspection import Vma
    from kernel.task.siginfo import SigInfo
    from kernel.task.task import Task

_LONGEST_INSTRUCTION = 15
_BEFORE, _AFTER = 3, 3
_MAX_SYNC_BYTES = 1 << 16
_NEAR_NULL = 1 << 16
_STACK_MARGIN = 1 << 20
_VM_GROWSDOWN = 0x100
#: Bits of the page-fault error code (arch/x86/include/asm/trap_pf.h).
_PF_WRITE, _PF_INSTR = 2, 16


@dataclass(frozen=True)
class Instruction:
    """One instruction; ``text`` in Intel syntax, as Capstone writes it."""

    address: int
    code: bytes
    text: str


def _text(instruction: Any) -> str:
    return f"{instruction.mnemonic} {instruction.op_str}".rstrip()


def disassemble(space: TaskSpace, pc: int) -> list[Instruction]:
    """Some instructions before ``pc``, where the beginning of the function is known, the one at it, and some after.

    Empty where nothing can be read; an undefined instruction is ``(bad)``.
    """
    start = space.function_start(pc)
    before: list[Instruction] = []
    if start is not None and 0 < pc - start <= _MAX_SYNC_BYTES:
        code = space.read(start, pc - start)
        before = [Instruction(i.address, bytes(i.bytes), _text(i)) for i in disassembler().disasm(code, start)]
        if not before or before[-1].address + len(before[-1].code) != pc:
            before = []  # data between the code: what was read is not what runs
    code = space.read(pc, _LONGEST_INSTRUCTION * (_AFTER + 1))
    after = [Instruction(i.address, bytes(i.bytes), _text(i)) for i in disassembler().disasm(code, pc, _AFTER + 1)]
    if not after and code:
        after = [Instruction(pc, code[:1], "(bad)")]
    return before[-_BEFORE:] + after


def _decoded(space: TaskSpace, pc: int) -> Any:
    code = space.read(pc, _LONGEST_INSTRUCTION)
    return next(disassembler().disasm(code, pc, 1), None)


def failed_access(task: Task, info: SigInfo, registers: dict[str, int], space: TaskSpace) -> Access | None:
    """What memory access the CPU refused; None for a signal of another kind."""
    if info.trapno == TRAP_PF:
        error = info.error_code
        kind = "execute" if error & _PF_INSTR else "write" if error & _PF_WRITE else "read"
        if kind == "execute":
            return Access(kind, info.addr, None, None)
        instruction = _decoded(space, registers["rip"])
        wanted = accesses(registers, instruction) if instruction is not None else []
        # Capstone does not know of every instruction which of its operands is written.
        for access in sorted(wanted, key=lambda access: access.kind != kind):
            if access.touches(info.addr):
                return Access(kind, info.addr, access.size, access.operand)
        return Access(kind, info.addr, None, None)
    if info.trapno in (TRAP_GP, TRAP_SS):
        if not is_canonical(registers["rip"]):
            return Access("execute", registers["rip"], None, None)
        instruction = _decoded(space, registers["rip"])
        wanted = accesses(registers, instruction) if instruction is not None else []
        for access in sorted(wanted, key=lambda access: access.is_stack != (info.trapno == TRAP_SS)):
            if not access.is_canonical:
                return access
        target = branch_target(registers, instruction, space.read) if instruction is not None else None
        if target is not None and not is_canonical(target):
            return Access("execute", target, None, None)
    return None


def describe(info: SigInfo, access: Access | None, registers: dict[str, int], space: TaskSpace) -> str:
    """A few words for what went wrong, such as ``write to a null pointer``."""
    if access is not None:
        if access.address in (info.addr, 0) or info.trapno not in (TRAP_GP, TRAP_SS):
            vma = space.vma(access.address)
            if _is_stack_overflow(access.address, registers["rsp"], vma, space):
                return "stack overflow"
        return _access_text(info, access, space)
    texts: dict[int, Callable[[], str]] = {
        s.SIGFPE: lambda: _arithmetic(info, registers, space),
        s.SIGILL: lambda: "undefined instruction" if not _is_ud2(registers["rip"], space)
        else "trap instruction (ud2)",
        s.SIGTRAP: lambda: "single step" if info.code == s.TRAP_TRACE else "breakpoint instruction",
        s.SIGABRT: lambda: "abort",
        s.SIGSYS: lambda: "forbidden system call",
        s.SIGKILL: lambda: "killed (out of memory, out of CPU time, or by itself)",
        s.SIGXCPU: lambda: "CPU time limit",
        s.SIGXFSZ: lambda: "file size limit",
        s.SIGPIPE: lambda: "write to a pipe that nobody reads",
        **dict.fromkeys((s.SIGALRM, s.SIGVTALRM, s.SIGPROF), lambda: "a timer that nothing handles"),
    }
    if info.signo in (s.SIGSEGV, s.SIGBUS) and info.code <= 0:
        return "sent by a process"
    if info.trapno in (TRAP_GP, TRAP_SS):
        return "general protection fault" if info.trapno == TRAP_GP else "stack fault"
    return texts.get(info.signo, lambda: "sent by a process, and not handled")()


def _access_text(info: SigInfo, access: Access, space: TaskSpace) -> str:
    verb = {"read": "read from", "write": "write to", "execute": "jump to"}[access.kind]
    if not access.is_canonical:
        return f"{verb} a non-canonical address"
    if info.signo == s.SIGBUS:
        return f"{verb} a mapping beyond the end of its file"
    if access.address < _NEAR_NULL:
        return f"{verb} a null pointer"
    vma = space.vma(access.address)
    if vma is None:
        return f"{verb} an unmapped address"
    if access.kind == "execute":
        return "jump to memory that is not executable"
    if not vma.prot:
        return f"{verb} protected memory"
    return f"{verb} read-only memory" if access.kind == "write" else f"{verb} unreadable memory"


def _is_stack_overflow(address: int, rsp: int, vma: Vma | None, space: TaskSpace) -> bool:
    """The access is near the stack pointer and just below a stack, or in the guard of a thread's."""
    if abs(address - rsp) > _STACK_MARGIN:
        return False
    above = next((v for v in space.maps if v.end > address and v.start >= rsp & -4096 and v.prot & 2), None)
    if vma is None:
        return above is not None and bool(above.flags & _VM_GROWSDOWN) and above.start - address <= _STACK_MARGIN
    return not vma.prot and above is not None and above.start == vma.end


def _is_ud2(pc: int, space: TaskSpace) -> bool:
    return space.read(pc, 2) == b"\x0f\x0b"


def _arithmetic(info: SigInfo, registers: dict[str, int], space: TaskSpace) -> str:
    if info.code != s.FPE_INTDIV:
        return "floating-point exception"
    instruction = _decoded(space, registers["rip"])
    if instruction is not None and instruction.mnemonic in ("div", "idiv") and instruction.operands:
        from capstone import x86

        operand = instruction.operands[0]
        size = operand.size or 8
        if operand.type == x86.X86_OP_REG:
            value = register_value(registers, instruction.reg_name(operand.reg))
        else:
            where = next((a.address for a in accesses(registers, instruction)), 0)
            value = int.from_bytes(space.read(where, size), "little")
        return "quotient too large" if value else "division by zero"
    return "division by zero, or quotient too large"
