"""The CPU: one Unicorn engine that runs all tasks in turn, in ring 3, over the page tables in guest memory."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from typing import Any

from emu import hooks, native
from emu.coverage import NO_PATH, Blocks
from emu.engine import (
    UC_ARCH_X86,
    UC_CTL_EXITS,
    UC_CTL_EXITS_ENABLE,
    UC_CTL_TLB_TYPE,
    UC_HOOK_INSN,
    UC_HOOK_INSN_INVALID,
    UC_HOOK_INTR,
    UC_HOOK_TLB_FILL,
    UC_MODE_64,
    UC_PROT_ALL,
    UC_TLB_VIRTUAL,
    UC_X86_INS_SYSCALL,
    EngineError,
    Library,
)
from emu.layout import (
    CONSTANTS,
    GATE,
    M_BREAKS,
    M_CONSTANTS,
    M_CTL,
    M_EMU_START,
    M_EMU_STOP,
    M_FAULT_PAGE,
    M_FLUSH,
    M_GATE_PAGE,
    M_HAS_RESULT,
    M_IN_IDS,
    M_IN_VALUES,
    M_OUT_IDS,
    M_OUT_VALUES,
    M_R11,
    M_RCX,
    M_REG_READ,
    M_REG_READ_BATCH,
    M_REG_WRITE,
    M_REG_WRITE_BATCH,
    M_REGS,
    M_RESULT,
    M_RIP,
    M_ROOT,
    M_STOP,
    M_SYSCALL_FLAGS,
    M_SYSCALL_RIP,
    M_UC,
    STOP_ENTERING,
    STOP_FAULT,
)
from emu.memory import Memory, Reservation
from emu.registers import (
    FPCW,
    FPTAG,
    FS_BASE,
    GPR_IDS,
    GS_BASE,
    MXCSR,
    R8,
    RAX,
    RCX,
    RDI,
    RDX,
    RFLAGS,
    RIP,
    RSI,
    RSP,
    RegisterFile,
    Registers,
)

_CR4, _MSR = 54, 248
_CR4_VALUE = 1 << 5 | 1 << 9 | 1 << 10  # PAE, OSFXSR, OSXMMEXCPT
_MSR_EFER, _MSR_STAR = 0xC0000080, 0xC0000081
_EFER_VALUE = 1 | 1 << 8 | 1 << 10 | 1 << 11  # SCE, LME, LMA, NXE
_USER_RFLAGS = 0x202
_NOWHERE = 0x1000


class Context:
    """The state of a task that is not on the CPU."""

    __slots__ = ("_library", "blocks", "handle", "has_result", "result", "rip")

    def __init__(self, library: Library, uc: Any) -> None:
        handle = ctypes.c_void_p()
        library.check(library.c.uc_context_alloc(uc, ctypes.byref(handle)), "uc_context_alloc")
        self._library = library
        self.handle = handle
        self.rip = 0
        self.has_result = 0
        self.result = 0
        self.blocks = NO_PATH
        """What the block counter keeps of a task (Blocks.save)."""

    def __del__(self) -> None:
        self._library.c.uc_context_free(self.handle)


class Cpu:
    """Runs the current task; ``task`` arguments are any objects with a ``context`` attribute.

    The live registers belong to ``current``; every other task's are in its Context. Results of system calls are
    written with :meth:`set_result` and reach RAX when the task next runs. With ``count_blocks`` there is ``blocks``:
    budgets and coverage, at a cost for every block of the guest.
    """

    def __init__(self, memory: Memory, gate_frame: int, fault_handler: native.Export,
                 progress: Callable[[int, int, str], None] | None = None, *, count_blocks: bool = False) -> None:
        native.load(progress)
        self.memory = memory
        self.slots = memory.slots
        self.library = library = Library()
        handle = ctypes.c_void_p()
        library.check_address_space()
        library.check(library.c.uc_open(UC_ARCH_X86, UC_MODE_64, ctypes.byref(handle)), "uc_open")
        library.stop_between_blocks(handle)
        self.uc = handle
        self.current: Any = None
        self._free_contexts: list[Context] = []
        self.register_file = RegisterFile(library)
        for slot, name in ((M_EMU_START, "uc_emu_start"), (M_EMU_STOP, "uc_emu_stop"), (M_REG_READ, "uc_reg_read"),
                           (M_REG_READ_BATCH, "uc_reg_read_batch"), (M_REG_WRITE, "uc_reg_write"),
                           (M_REG_WRITE_BATCH, "uc_reg_write_batch"), (M_CTL, "uc_ctl")):
            memory.set(slot, library.address(name))
        memory.set(M_UC, handle.value or 0)
        memory.set(hooks.M_FAULT_HANDLER, fault_handler.address)
        self.constants = Reservation(CONSTANTS * 8 * 2)
        self._constant_slots = self.constants.view.cast("B").cast("q")
        memory.set(M_CONSTANTS, self.constants.address)
        self._prepare_batches()
        control = library.c.uc_ctl
        library.check(control(handle, ctypes.c_uint32(UC_CTL_EXITS_ENABLE), ctypes.c_int(1)), "exits")
        library.check(control(handle, ctypes.c_uint32(UC_CTL_TLB_TYPE), ctypes.c_int(UC_TLB_VIRTUAL)), "virtual TLB")
        library.check(library.c.uc_mem_map_ptr(handle, 0, memory.frames << 12, UC_PROT_ALL, memory.ram.address),
                      "uc_mem_map_ptr")
        for kind, entry, extra in ((UC_HOOK_TLB_FILL, hooks.tlb_fill, ()), (UC_HOOK_INTR, hooks.interrupt_hook, ()),
                                   (UC_HOOK_INSN_INVALID, hooks.invalid_hook, ()),
                                   (UC_HOOK_INSN, hooks.syscall_hook, (UC_X86_INS_SYSCALL,))):
            library.hook(handle, kind, entry.address, memory.m, *extra)
        self.blocks: Blocks | None = None
        if count_blocks:
            # Before anything is translated: a translation calls the hooks that were there when it was made.
            self.blocks = Blocks(memory, library, handle)
        self._enter_user_mode(gate_frame)
        self._clean = Context(library, handle)
        library.check(library.c.uc_context_save(handle, self._clean.handle), "uc_context_save")

    def close(self) -> None:
        """Free the engine; the Cpu is not to be used afterwards."""
        if self.uc:
            self.library.c.uc_close(self.uc)
            self.uc = ctypes.c_void_p()

    # -- running ---------------------------------------------------------------------------------------------------

    def run(self, instructions: int = 0) -> int:
        """Run the current task until it needs the kernel; returns a STOP_* code of ``emu.layout``."""
        return hooks.run.call(self.memory.m, instructions)

    def stop(self) -> None:
        """Make :meth:`run` return soon; safe from another thread. May be without effect when it is not running."""
        if self.blocks is not None:
            self.blocks.kick()
        if self.uc:
            self.library.c.uc_emu_stop(self.uc)

    def break_at(self, addresses: Sequence[int]) -> None:
        """Stop before the instruction at any of these virtual addresses: :meth:`run` returns STOP_BREAK.

        The instruction is the next to be executed then, and is never executed while the address is listed. All
        translations are thrown away: this is for the rare stop, not for stepping.
        """
        array = (ctypes.c_uint64 * max(len(addresses), 1))(*addresses)
        control = self.library.c.uc_ctl
        self.library.check(control(self.uc, ctypes.c_uint32(UC_CTL_EXITS), array, ctypes.c_size_t(len(addresses))),
                           "exits")
        self.library.flush_translations(self.uc)
        self.slots[M_BREAKS >> 3] = len(addresses)
        self.flush()

    def switch_to(self, task: Any, root: int) -> None:
        """Make ``task`` current: save the one before it, restore this one, use the tables at physical ``root``."""
        slots = self.slots
        if task is not self.current:
            if self.current is not None:
                self._save(self.current)
            context = task.context
            self.library.c.uc_context_restore(self.uc, context.handle)
            slots[M_RIP >> 3] = context.rip
            slots[M_HAS_RESULT >> 3] = context.has_result
            slots[M_RESULT >> 3] = context.result
            if self.blocks is not None:
                self.blocks.restore(context.blocks)
            self.current = task
        slots[M_ROOT >> 3] = root

    def forget(self, task: Any) -> None:
        """The task is gone: its registers need not be kept."""
        if task is self.current:
            self.current = None
        if task.context is not None:
            self._free_contexts.append(task.context)
            task.context = None

    def flush(self) -> None:
        """Drop the TLB before the guest goes on."""
        self.slots[M_FLUSH >> 3] = 1

    # -- results and constant answers ------------------------------------------------------------------------------

    def set_result(self, task: Any, result: int) -> None:
        """RAX of ``task`` when it runs next."""
        if task is self.current:
            self.slots[M_RESULT >> 3] = result
            self.slots[M_HAS_RESULT >> 3] = 1
        else:
            task.context.result = result
            task.context.has_result = 1

    def set_constants(self, answers: dict[int, int]) -> None:
        """Answer these system calls inside the hook from now on, for as long as this task runs."""
        slots = self._constant_slots
        for number, value in answers.items():
            slots[CONSTANTS + number] = value
            slots[number] = self.constants.address + (CONSTANTS + number) * 8

    # -- registers -------------------------------------------------------------------------------------------------

    def get_registers(self, task: Any) -> Registers:
        """A copy of the task's registers, a pending result included in RAX."""
        live = task is self.current
        registers = self.register_file.read(self.uc if live else task.context.handle, live)
        if live:
            rip = self.slots[M_RIP >> 3]
            has_result, result = self.slots[M_HAS_RESULT >> 3], self.slots[M_RESULT >> 3]
        else:
            rip, has_result, result = task.context.rip, task.context.has_result, task.context.result
        registers.rip = rip & 0xFFFFFFFFFFFFFFFF
        if has_result:
            registers.rax = result & 0xFFFFFFFFFFFFFFFF
        return registers

    def set_registers(self, task: Any, registers: Registers) -> None:
        """Replace the task's registers; a pending result is overridden by ``registers.rax``."""
        live = task is self.current
        self.register_file.write(self.uc if live else task.context.handle, live, registers)
        rip = registers.rip - (1 << 64) if registers.rip >> 63 else registers.rip
        if live:
            self.slots[M_RIP >> 3] = rip
            self.slots[M_HAS_RESULT >> 3] = 0
        else:
            task.context.rip = rip
            task.context.has_result = 0

    def reset(self, task: Any, rip: int, rsp: int) -> None:
        """A fresh program: every register zero but RIP and RSP (elf/exec)."""
        if task is not self.current:
            if self.current is not None:
                self._save(self.current)
            self.current = task
            if task.context is None:
                task.context = self._new_context()
        self.library.c.uc_context_restore(self.uc, self._clean.handle)
        cell = ctypes.c_uint64(rsp)
        self.library.c.uc_reg_write(self.uc, RSP, ctypes.byref(cell))
        self.slots[M_RIP >> 3] = rip
        self.slots[M_HAS_RESULT >> 3] = 0
        if self.blocks is not None:
            self.blocks.restore(NO_PATH)

    def clone_context(self, parent: Any, rsp: int | None = None, fs_base: int | None = None) -> Context:
        """The state of a child of ``parent`` after fork or clone: the same, with RAX = 0."""
        context = self._new_context()
        c = self.library.c
        if parent is self.current:
            c.uc_context_save(self.uc, context.handle)
            context.rip = self.slots[M_RIP >> 3]
            context.blocks = NO_PATH if self.blocks is None else self.blocks.save()
        else:
            if self.current is not None:
                self._save(self.current)
                self.current = None
            c.uc_context_restore(self.uc, parent.context.handle)
            c.uc_context_save(self.uc, context.handle)
            context.rip, context.blocks = parent.context.rip, parent.context.blocks
        context.result, context.has_result = 0, 1
        for register, value in ((RSP, rsp), (FS_BASE, fs_base)):
            if value is not None:
                cell = ctypes.c_uint64(value)
                c.uc_context_reg_write(context.handle, register, ctypes.byref(cell))
        return context

    def clean_exception(self) -> None:
        """Clear the engine's "exception in flight": after vectors 0 and 10-13 the next one would be a double fault."""
        registers = self.get_registers(self.current)
        self.library.c.uc_context_restore(self.uc, self._clean.handle)
        self.set_registers(self.current, registers)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _new_context(self) -> Context:
        return self._free_contexts.pop() if self._free_contexts else Context(self.library, self.uc)

    def _save(self, task: Any) -> None:
        if task.context is None:
            task.context = self._new_context()
        context, slots = task.context, self.slots
        self.library.c.uc_context_save(self.uc, context.handle)
        context.rip = slots[M_RIP >> 3]
        context.has_result = slots[M_HAS_RESULT >> 3]
        context.result = slots[M_RESULT >> 3]
        if self.blocks is not None:
            context.blocks = self.blocks.save()

    def _prepare_batches(self) -> None:
        """The id and address arrays that the system call hook hands to uc_reg_*_batch."""
        m, memory = self.memory.m, self.memory
        ids_in = (RAX, RDI, RSI, RDX, R8 + 2, R8, R8 + 1, RIP, RFLAGS)
        slots_in = [M_REGS + 8 * i for i in range(7)] + [M_SYSCALL_RIP, M_SYSCALL_FLAGS]
        ids_out, slots_out = (RCX, R8 + 3, RAX), (M_RCX, M_R11, M_RESULT)
        self._batches: list[Any] = [
            (ctypes.c_int * 9)(*ids_in), (ctypes.c_void_p * 9)(*(m + s for s in slots_in)),
            (ctypes.c_int * 3)(*ids_out), (ctypes.c_void_p * 3)(*(m + s for s in slots_out)),
        ]
        for slot, array in zip((M_IN_IDS, M_IN_VALUES, M_OUT_IDS, M_OUT_VALUES), self._batches, strict=True):
            memory.set(slot, ctypes.addressof(array))

    def _enter_user_mode(self, gate_frame: int) -> None:
        """Leave ring 0 for good by one SYSRETQ on a supervisor page (Intel SDM volume 2B)."""
        c, memory = self.library.c, self.memory
        memory.page(gate_frame)[:3] = b"\x48\x0f\x07"
        memory.set(M_GATE_PAGE, gate_frame << 12)

        def write(register: int, value: int) -> None:
            self.library.check(c.uc_reg_write(self.uc, register, ctypes.byref(ctypes.c_uint64(value))), "uc_reg_write")

        for msr, value in ((_MSR_EFER, _EFER_VALUE), (_MSR_STAR, 0x23 << 48 | 0x08 << 32)):
            cell = struct.pack("<IxxxxQ", msr, value)
            self.library.check(c.uc_reg_write(self.uc, _MSR, cell), "write MSR")
        control = ctypes.c_uint64()
        c.uc_reg_read(self.uc, _CR4, ctypes.byref(control))
        write(_CR4, control.value | _CR4_VALUE)
        write(RCX, _NOWHERE)
        write(R8 + 3, _USER_RFLAGS)
        memory.set(M_STOP, STOP_ENTERING)
        c.uc_emu_start(self.uc, GATE & 0xFFFFFFFFFFFFFFFF, 0, 0, 0)
        # No table maps the target: the fetch that fails there shows that SYSRETQ was executed.
        if memory.get(M_STOP) != STOP_FAULT or memory.get(M_FAULT_PAGE) != _NOWHERE:
            raise EngineError("the engine did not enter user mode")
        for register in (*GPR_IDS[:16], FS_BASE, GS_BASE):
            write(register, 0)
        write(FPCW, 0x37F)
        write(FPTAG, 0xFFFF)
        write(MXCSR, 0x1F80)
        memory.set(M_FLUSH, 1)
