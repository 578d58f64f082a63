"""Page faults, compiled: demand zero, copy-on-write, tables made private, stack growth. Linux: mm/memory.c.

The order is that of handle_mm_fault: find the VMA, check what it allows, make the table private if it is shared, then
deal with the one entry. What needs the kernel (a page that the cache lacks, a signal) comes back as a code.
"""

from __future__ import annotations

from emu.layout import ACCESS_FETCH, ACCESS_WRITE, M_CODE_MAP, M_FLUSH
from emu.native import copy_bytes, export, hot, load8, load32, load64, store32, store64
from emu.paging import PAGE_SHIFT, PAGE_SIZE, PTE_A, PTE_D, PTE_FRAME, PTE_P, PTE_PS, PTE_U, PTE_W, pmd_slot
from kernel.mm.counts import count_entry
from kernel.mm.entries import set_entry
from kernel.mm.frames import add_refs, alloc_frame, frame_address, frame_kind, put_frame
from kernel.mm.huge_fault import hugetlb_fault, leaf_fault
from kernel.mm.hugepages import page_users
from kernel.mm.layout import (
    FAULT_ACCERR,
    FAULT_BUS,
    FAULT_CACHE,
    FAULT_DONE,
    FAULT_MAPERR,
    FAULT_OOM,
    FAULT_RESTART,
    FAULT_STACK,
    FRAME_ANON,
    FRAME_SHMEM,
    K_MAPPINGS,
    K_MM,
    K_PAGES_COPIED,
    K_THP,
    K_ZERO,
    MM_LEAVES,
    MM_MAJOR,
    MM_MINOR,
    MM_ROOT,
    MP_BYTES,
    MP_CAPACITY,
    MP_FLAGS,
    MP_PAGES,
    MP_SIZE,
    MP_ZERO_FILL,
    PTE_GUARD,
    SWAPPED,
    THP_ALWAYS,
    V_FLAGS,
    V_MAPPING,
    V_OFFSET,
    V_START,
    VM_EXEC,
    VM_HUGEPAGE,
    VM_HUGETLB,
    VM_READ,
    VM_SHARED,
    VM_STORED,
    VM_WRITE,
)
from kernel.mm.swapfile import cached_page, entry_slot_number, swap_in
from kernel.mm.tables import own_table, pte_slot
from kernel.mm.vma_rows import find_vma, grow_stack, page_bits


@hot
def cached_frame(m: int, mapping: int, index: int) -> int:
    """The frame that holds page ``index`` of a mapping's file; 0 when the cache lacks it."""
    if index >= load64(mapping + MP_CAPACITY):
        return 0
    return load32(load64(mapping + MP_PAGES) + index * 4)


@hot
def _fill_anonymous(m: int, mm: int, table: int, slot: int, flags: int, write: int) -> int:
    """An untouched private page: the zero page for a read, a page of zeros for a write (do_anonymous_page)."""
    if write == 0:
        set_entry(m, slot, (load64(m + K_ZERO) << 12) | page_bits(flags))
        count_entry(m, mm, table, 0, 1)
        return FAULT_DONE
    frame = alloc_frame(m, FRAME_ANON, 1)
    if frame == 0:
        return FAULT_OOM
    set_entry(m, slot, (frame << 12) | page_bits(flags) | PTE_W | PTE_D)
    count_entry(m, mm, table, FRAME_ANON, 1)
    return FAULT_DONE


@hot
def _fill_mapped(m: int, mm: int, vma: int, table: int, slot: int, va: int, write: int) -> int:
    """An untouched page of a mapped file or of shared memory (do_fault)."""
    flags = load64(vma + V_FLAGS)
    mapping = load64(m + K_MAPPINGS) + load64(vma + V_MAPPING) * MP_BYTES
    position = (va & -PAGE_SIZE) - load64(vma + V_START) + load64(vma + V_OFFSET)
    if position >= (load64(mapping + MP_SIZE) + PAGE_SIZE - 1) & -PAGE_SIZE:
        return FAULT_BUS
    index = position >> PAGE_SHIFT
    frame = cached_frame(m, mapping, index)
    if frame == 0:
        if load64(mapping + MP_FLAGS) & MP_ZERO_FILL == 0 or index >= load64(mapping + MP_CAPACITY):
            return FAULT_CACHE
        frame = alloc_frame(m, FRAME_SHMEM, 1)
        if frame == 0:
            return FAULT_OOM
        store32(load64(mapping + MP_PAGES) + index * 4, frame)
    if write and flags & VM_SHARED == 0:
        copy = alloc_frame(m, FRAME_ANON, 0)
        if copy == 0:
            return FAULT_OOM
        copy_bytes(frame_address(m, copy), frame_address(m, frame), PAGE_SIZE)
        set_entry(m, slot, (copy << 12) | page_bits(flags) | PTE_W | PTE_D)
        count_entry(m, mm, table, FRAME_ANON, 1)
        store64(m + K_PAGES_COPIED, load64(m + K_PAGES_COPIED) + 1)
        return FAULT_DONE
    bits = page_bits(flags)
    if write:
        bits |= PTE_W | PTE_D
    add_refs(m, frame, 1)
    set_entry(m, slot, (frame << 12) | bits)
    count_entry(m, mm, table, frame_kind(m, frame), 1)
    return FAULT_DONE


@hot
def _write_protected(m: int, mm: int, table: int, slot: int, flags: int) -> int:
    """The first store to a page that is mapped read-only (do_wp_page). The table is private by now."""
    pte = load64(slot)
    if flags & VM_SHARED:
        set_entry(m, slot, pte | PTE_W | PTE_D | PTE_A)
        return FAULT_DONE
    old = (pte & PTE_FRAME) >> 12
    zero = old == load64(m + K_ZERO)
    kind = frame_kind(m, old)
    if not zero and kind == FRAME_ANON and page_users(m, old) == 1:
        set_entry(m, slot, pte | PTE_W | PTE_D | PTE_A)
        return FAULT_DONE
    new = alloc_frame(m, FRAME_ANON, 1 if zero else 0)
    if new == 0:
        return FAULT_OOM
    if not zero:
        copy_bytes(frame_address(m, new), frame_address(m, old), PAGE_SIZE)
        store64(m + K_PAGES_COPIED, load64(m + K_PAGES_COPIED) + 1)
    executed = load8(load64(m + M_CODE_MAP) + old)
    set_entry(m, slot, (new << 12) | page_bits(flags) | PTE_W | PTE_D)
    store64(m + M_FLUSH, 1)
    count_entry(m, mm, table, 0 if zero else kind, -1)
    count_entry(m, mm, table, FRAME_ANON, 1)
    if not zero:
        put_frame(m, old)
    # A fill replaces the TLB entry, but code that ran from the old frame is still found by its virtual address.
    return FAULT_RESTART if executed else FAULT_DONE


@hot
def _fill_swapped(m: int, mm: int, table: int, slot: int, flags: int, write: int) -> int:
    """A page in the swap area comes back (do_swap_page). Where others use it too, a write copies it as ever."""
    number = entry_slot_number(load64(slot))
    spare = 0
    if cached_page(m, number) == 0:
        spare = alloc_frame(m, FRAME_ANON, 0)
        if spare == 0:
            return FAULT_OOM
        store64(mm + MM_MAJOR, load64(mm + MM_MAJOR) + 1)
        store64(mm + MM_MINOR, load64(mm + MM_MINOR) - 1)
    frame = swap_in(m, number, spare)
    set_entry(m, slot, (frame << 12) | page_bits(flags) | PTE_D)
    count_entry(m, mm, table, SWAPPED, -1)
    count_entry(m, mm, table, FRAME_ANON, 1)
    if write:
        return _write_protected(m, mm, table, slot, flags)
    return FAULT_DONE


@hot
def _mapped_for_reading(m: int, pmd: int, va: int) -> bool:
    """The tables allow a read as they stand; ``pmd`` is the PMD entry's address or 0."""
    if pmd == 0 or load64(pmd) & PTE_P == 0:
        return False
    leaf = load64(pmd)
    if leaf & PTE_PS == 0:
        leaf = load64(pte_slot(m, leaf, va))
    return leaf & (PTE_P | PTE_U) == PTE_P | PTE_U


@hot
def handle_fault(m: int, mm: int, va: int, access: int) -> int:
    """Make one access to ``va`` possible, or say why it is not: a FAULT_* code."""
    vma = find_vma(mm, va)
    if va < 0 or vma == 0:
        return FAULT_MAPERR
    if load64(vma + V_START) > va:
        grown = grow_stack(m, mm, vma, va)
        if grown <= 0:
            return FAULT_STACK if grown else FAULT_MAPERR
    flags = load64(vma + V_FLAGS)
    write = 1 if access == ACCESS_WRITE else 0
    if write:
        allowed = flags & VM_WRITE
    elif access == ACCESS_FETCH:
        allowed = flags & VM_EXEC
    else:
        allowed = flags & (VM_READ | VM_WRITE | VM_EXEC)
    if allowed == 0:
        return FAULT_ACCERR
    if write and flags & (VM_SHARED | VM_STORED) == 0:
        store64(vma + V_FLAGS, flags | VM_STORED)
    if write == 0 and _mapped_for_reading(m, pmd_slot(m, load64(mm + MM_ROOT), va), va):
        return FAULT_DONE
    if flags & (VM_HUGETLB | VM_HUGEPAGE) or load64(mm + MM_LEAVES) != 0 or load64(m + K_THP) == THP_ALWAYS:
        code = hugetlb_fault(m, mm, vma, va, write) if flags & VM_HUGETLB else leaf_fault(m, mm, vma, va, write)
        if code >= 0:
            if code <= FAULT_RESTART:
                store64(mm + MM_MINOR, load64(mm + MM_MINOR) + 1)
            return code
    # Filling an empty entry changes the table as much as a write does: it must be private even for a read.
    table = own_table(m, mm, va)
    if table == 0:
        return FAULT_OOM
    slot = pte_slot(m, load64(table), va)
    if load64(slot) & PTE_GUARD:
        code = FAULT_MAPERR
    elif load64(slot) & PTE_P:
        code = _write_protected(m, mm, table, slot, flags) if write else FAULT_DONE
    elif load64(slot) != 0:
        code = _fill_swapped(m, mm, table, slot, flags, write)
    elif load64(vma + V_MAPPING) != 0:
        code = _fill_mapped(m, mm, vma, table, slot, va, write)
    else:
        code = _fill_anonymous(m, mm, table, slot, flags, write)
    if code <= FAULT_RESTART:
        store64(mm + MM_MINOR, load64(mm + MM_MINOR) + 1)
    return code


@export("i64(i64,i64,i32)")
def fault(m: int, page: int, access: int) -> int:
    """The machine's fault handler: the CPU, in the current address space, could not access ``page``."""
    flush = load64(m + M_FLUSH)
    code = handle_fault(m, load64(m + K_MM), page, access)
    if code == FAULT_DONE:
        # The one entry that changed is about to be filled anew.
        store64(m + M_FLUSH, flush)
    return code


@export("i64(i64,i64,i64,i64)")
def fault_in(m: int, mm: int, va: int, access: int) -> int:
    """As :data:`fault` for any address space; the caller flushes."""
    return handle_fault(m, mm, va, access)
