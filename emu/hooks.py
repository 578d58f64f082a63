"""What Unicorn calls while the guest runs, and the loop that starts it: all compiled.

Every hook gets the machine block as its user data. A hook that needs Python stores a STOP_* code and stops the engine;
:data:`run` then returns that code.
"""

from __future__ import annotations

from emu.blocks import forget_resume, resume_inside, set_stepping, stopped_before
from emu.layout import (
    ACCESS_FETCH,
    ACCESS_WRITE,
    CONSTANTS,
    DIRECT_MAP,
    GATE,
    M_ANSWERED,
    M_BREAKS,
    M_CODE_MAP,
    M_CODE_WRITTEN,
    M_CONSTANTS,
    M_CTL,
    M_EMU_START,
    M_EMU_STOP,
    M_FAULT_ACCESS,
    M_FAULT_CODE,
    M_FAULT_HANDLER,
    M_FAULT_PAGE,
    M_FAULT_STOPS,
    M_FAULTS,
    M_FILLS,
    M_FLUSH,
    M_FRAMES,
    M_GATE_PAGE,
    M_HAS_RESULT,
    M_IN_IDS,
    M_IN_VALUES,
    M_OBSERVED,
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
    M_SCRATCH,
    M_STALE,
    M_STALE_COUNT,
    M_STARTS,
    M_STEP_FRAME,
    M_STOP,
    M_SYSCALL_FLAGS,
    M_SYSCALL_RIP,
    M_TLB_ROOT,
    M_UC,
    M_VECTOR,
    STOP_BREAK,
    STOP_DROPPING,
    STOP_ENTERING,
    STOP_ERROR,
    STOP_EXCEPTION,
    STOP_FAULT,
    STOP_FAULTED,
    STOP_INVALID,
    STOP_NONE,
    STOP_SYSCALL,
)
from emu.native import (
    call1,
    call2,
    call3,
    call4,
    call5,
    export,
    hot,
    load8,
    load64,
    store8,
    store32,
    store64,
)
from emu.paging import PAGE_MASK, PTE_A, PTE_D, PTE_NX, PTE_U, frame_behind, walk

PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4

#: Answers of the kernel's fault handler that the machine understands; every other code stops the guest.
FILL_FLUSH = 2

FAULT_DONE = 0
"""The tables are in order now: walk again."""
FAULT_RESTART = 1
"""As FAULT_DONE, but translated code may be looked up under a stale address: stop, flush, start again."""

UC_ERR_OK = 0
UC_CTL_TB_REMOVE_CACHE = 9 | 2 << 26 | 1 << 30
UC_CTL_TLB_FLUSH = 11 | 1 << 30
_REG_RAX, _REG_RIP = 35, 41


@hot
def _answer(result: int, physical: int, perms: int) -> int:
    store64(result, physical)
    store32(result + 8, perms)
    return 1


@hot
def _try_fill(m: int, page: int, access: int, result: int) -> int:
    """Fill the TLB entry from the page tables as they stand: 1, or 0 when they do not allow the access.

    A frame is never executable and writable through the TLB at once, or Unicorn could run translations of bytes that
    were overwritten through another address: it watches the address that was executed, and that only until the next
    store. FILL_FLUSH: the frame changes sides, the TLB must be flushed first.
    """
    slot, writable = walk(m, page)
    if slot == 0:
        return 0
    pte = load64(slot)
    if pte & PTE_U == 0:
        return 0
    perms = PROT_READ
    bits = pte | PTE_A
    if access == ACCESS_WRITE:
        if writable == 0:
            return 0
        bits |= PTE_D
        perms |= PROT_WRITE
    elif writable != 0 and pte & PTE_D:
        # A clean page is filled read-only so that the first store comes back here and sets D.
        perms |= PROT_WRITE
    physical = frame_behind(pte, page) << 12
    executed = load64(m + M_CODE_MAP) + (physical >> 12)
    stepping = load64(m + M_STEP_FRAME) == physical >> 12
    if access == ACCESS_FETCH:
        if pte & PTE_NX:
            return 0
        # X is given on fetch only, so that the code map has exactly the frames that were executed.
        perms |= PROT_EXEC
        if load8(executed) == 0:
            store8(executed, 1)
            return FILL_FLUSH
    if load8(executed) and not stepping:
        if access == ACCESS_WRITE:
            store64(m + M_CODE_WRITTEN, physical >> 12)
            return FILL_FLUSH
        perms &= ~PROT_WRITE
    elif stepping:
        perms |= PROT_EXEC
    if bits != pte:
        store64(slot, bits)
    return _answer(result, physical, perms)


@export("i64(i64,i64,i32,i64,i64)")
def tlb_fill(uc: int, va: int, access: int, result: int, m: int) -> int:
    """UC_HOOK_TLB_FILL: walk the page tables, let the kernel handle the fault, or stop the guest."""
    page = va & PAGE_MASK
    store64(m + M_FILLS, load64(m + M_FILLS) + 1)
    filled = _try_fill(m, page, access, result)
    if filled == 1:
        return 1
    if page < 0:
        # Both are open only while the machine itself looks: M_STOP says so, and the TLB is flushed afterwards.
        if load64(m + M_STOP) == STOP_DROPPING and 0 <= (page - DIRECT_MAP) >> 12 < load64(m + M_FRAMES):
            return _answer(result, page - DIRECT_MAP, PROT_READ | PROT_EXEC)
        if load64(m + M_STOP) == STOP_ENTERING and page == GATE:
            return _answer(result, load64(m + M_GATE_PAGE), PROT_READ | PROT_EXEC)
    code = FAULT_RESTART
    if filled == 0 and load64(m + M_STOP) != STOP_ENTERING:
        store64(m + M_FAULTS, load64(m + M_FAULTS) + 1)
        code = call3(load64(m + M_FAULT_HANDLER), m, page, access)
        if code == FAULT_DONE and load64(m + M_FAULT_STOPS) == 0:
            filled = _try_fill(m, page, access, result)
            if filled == 1:
                return 1
    store64(m + M_FAULT_CODE, code)
    store64(m + M_FAULT_PAGE, page)
    store64(m + M_FAULT_ACCESS, access)
    store64(m + M_STOP, STOP_FAULT)
    return 0


@export("void(i64,i64)")
def syscall_hook(uc: int, m: int) -> None:
    """UC_HOOK_INSN for SYSCALL: answer a constant at once, or stop with the registers read."""
    call4(load64(m + M_REG_READ_BATCH), uc, load64(m + M_IN_IDS), load64(m + M_IN_VALUES), 9)
    store64(m + M_RCX, load64(m + M_SYSCALL_RIP) + 2)
    store64(m + M_R11, load64(m + M_SYSCALL_FLAGS))
    number = load64(m + M_REGS)
    if 0 <= number < CONSTANTS and load64(m + M_OBSERVED) == 0:
        answer = load64(load64(m + M_CONSTANTS) + number * 8)
        if answer != 0:
            store64(m + M_RESULT, load64(answer))
            store64(m + M_ANSWERED, load64(m + M_ANSWERED) + 1)
            call4(load64(m + M_REG_WRITE_BATCH), uc, load64(m + M_OUT_IDS), load64(m + M_OUT_VALUES), 3)
            return
    call4(load64(m + M_REG_WRITE_BATCH), uc, load64(m + M_OUT_IDS), load64(m + M_OUT_VALUES), 2)
    store64(m + M_RIP, load64(m + M_RCX))
    store64(m + M_STOP, STOP_SYSCALL)
    call1(load64(m + M_EMU_STOP), uc)


@export("void(i64,u32,i64)")
def interrupt_hook(uc: int, vector: int, m: int) -> None:
    """UC_HOOK_INTR: an exception or INT n; the kernel makes a signal of it."""
    store64(m + M_VECTOR, vector)
    store64(m + M_STOP, STOP_EXCEPTION)
    call1(load64(m + M_EMU_STOP), uc)


@export("i64(i64,i64)")
def invalid_hook(uc: int, m: int) -> int:
    """UC_HOOK_INSN_INVALID: an undefined opcode."""
    store64(m + M_STOP, STOP_INVALID)
    call1(load64(m + M_EMU_STOP), uc)
    return 0


@hot
def mark_stale(m: int, frame: int) -> None:
    """Note that the kernel has changed a frame that was executed; its translations go before the guest runs on.

    A frame is listed once at most, so the list never overflows.
    """
    if load8(load64(m + M_CODE_MAP) + frame) == 0:
        return
    count = load64(m + M_STALE_COUNT)
    store64(load64(m + M_STALE) + count * 8, frame)
    store64(m + M_STALE_COUNT, count + 1)
    store8(load64(m + M_CODE_MAP) + frame, 0)


@hot
def _drop_stale(m: int) -> None:
    """Throw away the translations of frames that were written or freed behind Unicorn's back."""
    count = load64(m + M_STALE_COUNT)
    if count == 0:
        return
    store64(m + M_STALE_COUNT, 0)
    store64(m + M_STOP, STOP_DROPPING)
    for i in range(count):
        frame = load64(load64(m + M_STALE) + i * 8)
        start = DIRECT_MAP + (frame << 12)
        call4(load64(m + M_CTL), load64(m + M_UC), UC_CTL_TB_REMOVE_CACHE, start, start + 4096)
    store64(m + M_FLUSH, 1)


@hot
def _store_to_code(m: int) -> int:
    """The instruction at RIP stores into a frame that was executed: its translations go, then it may.

    Where the instruction lies in that very frame neither order of the two permissions gets it done: it is run alone,
    with both. Returns STOP_NONE, or why the engine stopped behind it.
    """
    frame = load64(m + M_CODE_WRITTEN)
    store64(m + M_CODE_WRITTEN, 0)
    mark_stale(m, frame)
    rip = load64(m + M_RIP)
    here, _ = walk(m, rip & PAGE_MASK)
    behind, _ = walk(m, (rip + 14) & PAGE_MASK)
    if (here == 0 or frame_behind(load64(here), rip) != frame) and (
            behind == 0 or frame_behind(load64(behind), rip + 14) != frame):
        return STOP_NONE
    uc = load64(m + M_UC)
    _drop_stale(m)
    call2(load64(m + M_CTL), uc, UC_CTL_TLB_FLUSH)
    store64(m + M_STEP_FRAME, frame)
    store8(load64(m + M_CODE_MAP) + frame, 1)
    store64(m + M_STOP, STOP_NONE)
    set_stepping(m, 1)
    # Two: a store into its own translation makes Unicorn begin the instruction again, and that counts.
    call5(load64(m + M_EMU_START), uc, rip, 0, 0, 2)
    call3(load64(m + M_REG_READ), uc, _REG_RIP, m + M_SCRATCH)
    store64(m + M_RIP, load64(m + M_SCRATCH))
    set_stepping(m, 0)
    if 0 <= load64(m + M_SCRATCH) - rip <= 2 * 15:
        resume_inside(m, load64(m + M_SCRATCH))
    store64(m + M_STEP_FRAME, 0)
    store8(load64(m + M_CODE_MAP) + frame, 1)
    mark_stale(m, frame)
    store64(m + M_FLUSH, 1)
    stop = load64(m + M_STOP)
    # A fault behind it will happen again.
    return STOP_NONE if stop == STOP_FAULT else stop


@export("i64(i64,i64)")
def run(m: int, count: int) -> int:
    """Run the guest until something needs Python; ``count`` limits the instructions (0: none). Returns STOP_*.

    STOP_NONE means that somebody called uc_emu_stop: a timer, a signal of the host, or a limit of instructions or
    blocks. STOP_BREAK means that an address of Cpu.break_at was reached, STOP_FAULTED that a fault was dealt with and
    somebody wants to look (M_FAULT_STOPS).
    """
    uc = load64(m + M_UC)
    while True:
        _drop_stale(m)
        if load64(m + M_FLUSH) != 0 or load64(m + M_TLB_ROOT) != load64(m + M_ROOT):
            call2(load64(m + M_CTL), uc, UC_CTL_TLB_FLUSH)
            store64(m + M_FLUSH, 0)
            store64(m + M_TLB_ROOT, load64(m + M_ROOT))
        if load64(m + M_HAS_RESULT) != 0:
            call3(load64(m + M_REG_WRITE), uc, _REG_RAX, m + M_RESULT)
            store64(m + M_HAS_RESULT, 0)
        forget_resume(m, load64(m + M_RIP))
        store64(m + M_STOP, STOP_NONE)
        store64(m + M_STARTS, load64(m + M_STARTS) + 1)
        error = call5(load64(m + M_EMU_START), uc, load64(m + M_RIP), 0, 0, count) & 0xFFFFFFFF
        stop = load64(m + M_STOP)
        if stop == STOP_SYSCALL:
            return stop
        call3(load64(m + M_REG_READ), uc, _REG_RIP, m + M_SCRATCH)
        rip = load64(m + M_SCRATCH)
        if stop == STOP_NONE:
            rip, own = stopped_before(m, rip)
            if own == 0 and load64(m + M_BREAKS) != 0 and error == UC_ERR_OK:
                stop = STOP_BREAK
        store64(m + M_RIP, rip)
        if stop == STOP_FAULT and load64(m + M_FAULT_ACCESS) != ACCESS_FETCH:
            resume_inside(m, rip)
        if stop == STOP_FAULT and load64(m + M_FAULT_CODE) <= FAULT_RESTART:
            store64(m + M_FLUSH, 1)
            stop = STOP_NONE
            if load64(m + M_CODE_WRITTEN) != 0:
                stop = _store_to_code(m)
            if stop == STOP_NONE and load64(m + M_FAULT_STOPS) != 0:
                stop = STOP_FAULTED
            if stop == STOP_NONE:
                continue
            return stop
        if stop == STOP_NONE and error != UC_ERR_OK:
            store64(m + M_VECTOR, error)
            return STOP_ERROR
        return stop
