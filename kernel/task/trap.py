"""CPU exceptions and faults become signals (arch/x86/kernel/traps.c, arch/x86/mm/fault.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.decode import Access, before_branch, faulting_access, is_canonical, noncanonical_access
from emu.layout import ACCESS_FETCH, ACCESS_WRITE, M_FAULT_ACCESS, M_FAULT_CODE, M_FAULT_PAGE, M_RIP, M_VECTOR
from emu.words import U64
from kernel.errno import Errno
from kernel.mm.layout import FAULT_ACCERR, FAULT_BUS, FAULT_OOM, FAULT_RESTART
from kernel.task.siginfo import SigInfo
from kernel.task.signal import force_signal
from kernel.task.signals import (
    BUS_ADRALN,
    BUS_ADRERR,
    FPE_FLTDIV,
    FPE_FLTINV,
    FPE_FLTOVF,
    FPE_FLTRES,
    FPE_FLTUND,
    FPE_INTDIV,
    ILL_ILLOPN,
    SEGV_ACCERR,
    SEGV_MAPERR,
    SI_KERNEL,
    SIGBUS,
    SIGFPE,
    SIGILL,
    SIGKILL,
    SIGSEGV,
    SIGTRAP,
    TRAP_BRKPT,
    TRAP_TRACE,
)

if TYPE_CHECKING:
    from kernel.task.task import Task

_INT1 = b"\xf1"
_TASK_SIZE_MAX = (1 << 47) - 4096
#: Bits of the page-fault error code.
_PF_PROT, _PF_WRITE, _PF_USER, _PF_INSTR = 1, 2, 4, 16
TRAP_DE, TRAP_DB, TRAP_BP, TRAP_UD, TRAP_SS, TRAP_GP, TRAP_PF = 0, 1, 3, 6, 12, 13, 14
TRAP_MF, TRAP_AC, TRAP_XF = 16, 17, 19


def page_fault(task: Task) -> None:
    """The guest stopped at a fault: let the kernel finish it, or send SIGSEGV, SIGBUS or SIGKILL."""
    memory = task.kernel.memory.memory
    page, access, code = memory.get(M_FAULT_PAGE), memory.get(M_FAULT_ACCESS), memory.get(M_FAULT_CODE)
    for listener in task.kernel.events.fault:
        listener(task, page, access)
    code = task.mm.resolve(page, access, code)
    if code <= FAULT_RESTART:
        return
    if code == FAULT_OOM:
        if not task.signal_wakeup:
            force_signal(task, SigInfo(SIGKILL, SI_KERNEL))
        return
    error = _PF_USER | (_PF_WRITE if access == ACCESS_WRITE else 0) | (_PF_INSTR if access == ACCESS_FETCH else 0)
    start, where, found = page & U64, task.registers().rip, None
    if access != ACCESS_FETCH:
        found = faulting_access(task.registers(), _code(task), start)
        where = found.address if found is not None else start
    address = where if where & -4096 == start else start
    # All of an access is looked at before any page of it.
    if not is_canonical(start) or (found is not None and not found.is_canonical):
        if access == ACCESS_FETCH:
            _go_back(task)
        force_signal(task, _outside(found))
    elif code == FAULT_BUS:
        force_signal(task, SigInfo(SIGBUS, BUS_ADRERR, addr=address, trapno=TRAP_PF, error_code=error))
    else:
        si_code = SEGV_ACCERR if code == FAULT_ACCERR else SEGV_MAPERR
        # Of addresses above a program's own Linux never says that nothing is there.
        if address >= _TASK_SIZE_MAX or task.mm.physical(page) >= 0:
            error |= _PF_PROT
        force_signal(task, SigInfo(SIGSEGV, si_code, addr=address, trapno=TRAP_PF, error_code=error))


def branch_behind(task: Task) -> dict[str, int] | None:
    """The registers in front of the return, call or jump by which ``task`` came to RIP, where there is no code.

    None when it is not known: without a block counter, or when the kernel put RIP there.
    """
    blocks = task.kernel.machine.cpu.blocks
    if blocks is None or not blocks.last[1]:
        return None
    start, size = blocks.last
    return before_branch(task.registers(), start, _read(task, start, size), lambda *where: _read(task, *where))


def _go_back(task: Task) -> None:
    """A branch out of both halves of the address space faults before it is taken; the engine notices behind it."""
    cpu, before = task.kernel.machine.cpu, branch_behind(task)
    if before is not None and cpu.blocks is not None:
        registers = task.registers()
        registers.rip, registers.rsp = before["rip"], before["rsp"]
        cpu.set_registers(task, registers)
        cpu.blocks.resume_inside(registers.rip)


def _read(task: Task, address: int, count: int) -> bytes:
    try:
        return task.mm.read_some(address, count)
    except Errno:
        return b""


def _code(task: Task) -> bytes:
    return _read(task, task.registers().rip, 15)


def _outside(access: Access | None) -> SigInfo:
    """For an access that leaves both halves of the address space: a stack fault or a general protection fault."""
    if access is not None and access.is_stack:
        return SigInfo(SIGBUS, SI_KERNEL, addr=0, trapno=TRAP_SS, error_code=0)
    return SigInfo(SIGSEGV, SI_KERNEL, addr=0, trapno=TRAP_GP, error_code=0)


def exception(task: Task) -> None:
    """The CPU raised an exception, or the guest executed INT n."""
    kernel = task.kernel
    vector = kernel.memory.memory.get(M_VECTOR)
    rip = kernel.memory.memory.get(M_RIP) & U64
    kernel.machine.cpu.clean_exception()
    if vector == TRAP_DE:
        info = SigInfo(SIGFPE, FPE_INTDIV, addr=rip, trapno=TRAP_DE, error_code=0)
    elif vector == TRAP_DB:
        info = SigInfo(SIGTRAP, TRAP_TRACE, addr=rip, trapno=TRAP_DB, error_code=0)
    elif vector == TRAP_BP:
        info = SigInfo(SIGTRAP, SI_KERNEL, addr=0, trapno=TRAP_BP, error_code=0)
    elif vector == TRAP_UD:
        info = _undefined(task, rip)
    elif vector == TRAP_MF:
        info = SigInfo(SIGFPE, _x87_code(task), addr=rip, trapno=TRAP_MF, error_code=0)
    elif vector == TRAP_XF:
        info = SigInfo(SIGFPE, _sse_code(task), addr=rip, trapno=TRAP_XF, error_code=0)
    elif vector == TRAP_AC:
        info = SigInfo(SIGBUS, BUS_ADRALN, addr=0, trapno=TRAP_AC, error_code=0)
    else:
        # A general protection fault, INT 0x80 (no 32-bit system calls here) or another INT n.
        info = SigInfo(SIGSEGV, SI_KERNEL, addr=0, trapno=TRAP_GP, error_code=0)
    force_signal(task, info)


def _float_code(pending: int) -> int:
    """The si_code for a set of exception bits (fpu__exception_code): IE DE ZE OE UE PE."""
    for bit, code in ((0x01, FPE_FLTINV), (0x04, FPE_FLTDIV), (0x08, FPE_FLTOVF), (0x12, FPE_FLTUND),
                      (0x20, FPE_FLTRES)):
        if pending & bit:
            return code
    return 0


def _x87_code(task: Task) -> int:
    image = task.registers().fxsave
    control, status = int.from_bytes(image[0:2], "little"), int.from_bytes(image[2:4], "little")
    return _float_code(status & ~control & 0x3F)


def _sse_code(task: Task) -> int:
    mxcsr = int.from_bytes(task.registers().fxsave[24:28], "little")
    return _float_code(mxcsr & ~(mxcsr >> 7) & 0x3F)


def invalid_opcode(task: Task) -> None:
    """An undefined instruction, or one that the engine does not know."""
    cpu = task.kernel.machine.cpu
    cpu.clean_exception()
    force_signal(task, _undefined(task, task.kernel.memory.memory.get(M_RIP) & U64))


def _undefined(task: Task, rip: int) -> SigInfo:
    """SIGILL, but for INT1, which is not one of the engine's instructions: a debug exception behind it."""
    if _code(task)[:1] != _INT1:
        return SigInfo(SIGILL, ILL_ILLOPN, addr=rip, trapno=TRAP_UD, error_code=0)
    registers = task.registers()
    registers.rip = rip + 1
    task.kernel.machine.cpu.set_registers(task, registers)
    return SigInfo(SIGTRAP, TRAP_BRKPT, addr=rip + 1, trapno=TRAP_DB, error_code=0)


def engine_error(task: Task) -> None:
    """The engine gave up without an exception: an access outside both halves of the address space."""
    task.kernel.machine.cpu.clean_exception()
    registers = task.registers()
    access = noncanonical_access(registers, _code(task))
    if access is not None:
        force_signal(task, _outside(access))
    else:
        force_signal(task, _undefined(task, registers.rip))
