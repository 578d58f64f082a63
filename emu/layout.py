"""The machine block: the one piece of state that compiled code and Python share, as 64-bit slots.

Compiled functions get its address as ``m`` and read ``load64(m + M_RAM)``. The first part belongs to the machine;
the kernel puts its own slots behind ``M_KERNEL`` (``kernel/mm/layout.py``).
"""

from __future__ import annotations

#: Host address of guest-physical address 0, and the number of 4 KiB frames there.
M_RAM, M_FRAMES = 0 * 8, 1 * 8
#: The engine's handle and the addresses of the C functions that compiled code calls.
M_UC, M_EMU_START, M_EMU_STOP, M_REG_READ, M_REG_READ_BATCH, M_REG_WRITE, M_REG_WRITE_BATCH, M_CTL = (
    n * 8 for n in range(2, 10))
#: Guest-physical address of the PML4 in use, and the one that the TLB was filled from.
M_ROOT, M_TLB_ROOT = 10 * 8, 11 * 8
#: Set when a translation that the TLB may hold has been changed behind its back.
M_FLUSH = 12 * 8
#: One byte a frame: 1 once an instruction was fetched from it, so that Unicorn may hold its translation.
M_CODE_MAP = 13 * 8
#: Frames whose translations must be dropped before guest code runs again: array of frame numbers, count.
M_STALE, M_STALE_COUNT = 14 * 8, 15 * 8
#: Why run() came back (STOP_*), the CPU exception's vector, the faulting page, the access, the fault handler's code.
M_STOP, M_VECTOR, M_FAULT_PAGE, M_FAULT_ACCESS, M_FAULT_CODE = (n * 8 for n in range(17, 22))
#: Compiled function ``fault(m, page, access) -> code`` of the kernel.
M_FAULT_HANDLER = 22 * 8
#: Where the guest continues.
M_RIP = 23 * 8
#: Registers at a system call, read in one batch: RAX RDI RSI RDX R10 R8 R9, then RIP and RFLAGS.
M_REGS = 24 * 8
M_SYSCALL_RIP, M_SYSCALL_FLAGS = 31 * 8, 32 * 8
#: 1 when RAX is to be written from M_RESULT before the guest goes on.
M_HAS_RESULT, M_RESULT = 33 * 8, 34 * 8
#: Table of constant answers: slot n holds the address of call n's answer, or 0. Ignored while M_OBSERVED is set.
M_CONSTANTS, M_OBSERVED = 35 * 8, 36 * 8
#: RCX and R11 as ``syscall`` leaves them, and the batches' arrays of register ids and value addresses.
M_RCX, M_R11, M_IN_IDS, M_IN_VALUES, M_OUT_IDS, M_OUT_VALUES = (n * 8 for n in range(37, 43))
#: Scratch for one register value.
M_SCRATCH = 43 * 8
#: Counters: TLB fills, faults taken, system calls answered in the hook, times the engine was started.
M_FILLS, M_FAULTS, M_ANSWERED, M_STARTS = (n * 8 for n in range(44, 48))
#: Frame of the supervisor page that holds ``sysretq``, and its virtual address.
M_GATE_PAGE = 48 * 8

#: Frame that was executed and that the guest is about to store into (0: none); frame that may be both executed and
#: stored to while one instruction is stepped (0: none).
M_CODE_WRITTEN, M_STEP_FRAME = 49 * 8, 50 * 8

#: The block counter's own slots (``emu/blocks.py``), 0 while no block is counted.
M_BLOCKS = 51 * 8
#: Number of addresses that the guest stops at (``Cpu.break_at``).
M_BREAKS = 52 * 8

#: Not 0: run() comes back after each fault that the kernel's compiled code has dealt with (STOP_FAULTED).
M_FAULT_STOPS = 53 * 8

M_KERNEL = 64 * 8
M_BYTES = 256 * 8

#: Values of M_STOP.
STOP_NONE, STOP_SYSCALL, STOP_FAULT, STOP_EXCEPTION, STOP_INVALID, STOP_ERROR, STOP_BREAK, STOP_FAULTED = range(8)
#: While the machine drops translations, or enters user mode for the first time.
STOP_DROPPING, STOP_ENTERING = -1, -2

#: The number of system call numbers that the table of constant answers covers.
CONSTANTS = 512

#: Access kinds as Unicorn's TLB-fill hook reports them (UC_MEM_READ, UC_MEM_WRITE, UC_MEM_FETCH).
ACCESS_READ, ACCESS_WRITE, ACCESS_FETCH = 16, 17, 18

#: Virtual address at which the TLB-fill hook shows all physical memory to UC_CTL_TB_REMOVE_CACHE and nobody else.
DIRECT_MAP = 0xFFFF888000000000 - (1 << 64)
#: Virtual address of the page that holds the one supervisor instruction.
GATE = 0xFFFFFFFFFF600000 - (1 << 64)
