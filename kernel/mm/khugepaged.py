"""Making one 2 MiB page of what a table maps: MADV_COLLAPSE. Linux: collapse_huge_page in mm/khugepaged.c."""

from __future__ import annotations

from emu.layout import M_FLUSH
from emu.native import copy_bytes, export, load64, store64
from emu.paging import ENTRIES, PAGE_SHIFT, PAGE_SIZE, PTE_D, PTE_FRAME, PTE_P, PTE_PS, PTE_W, pmd_slot
from kernel.mm.counts import count_leaf, count_table
from kernel.mm.entries import set_entry
from kernel.mm.frames import frame_address, free_frame, put_frame
from kernel.mm.hugepages import alloc_huge, is_leaf
from kernel.mm.layout import FRAME_ANON, K_ZERO, MM_ROOT, PTE_GUARD, VM_WRITE
from kernel.mm.swapfile import entry_slot_number, peek, swap_put
from kernel.mm.tables import own_table
from kernel.mm.vma_rows import page_bits

COLLAPSED, NO_MEMORY, NOTHING_THERE = 1, 0, -1


@export("i64(i64,i64,i64,i64)")
def collapse(m: int, mm: int, base: int, flags: int) -> int:
    """Copy the pages of the anonymous 2 MiB at ``base``, in a VMA with VM_* ``flags``, into a 2 MiB page.

    Returns COLLAPSED, NO_MEMORY with nothing changed, or NOTHING_THERE.
    """
    slot = pmd_slot(m, load64(mm + MM_ROOT), base)
    if slot == 0 or load64(slot) & PTE_P == 0:
        return NOTHING_THERE
    if is_leaf(load64(slot)):
        return COLLAPSED
    slot = own_table(m, mm, base)
    if slot == 0:
        return NO_MEMORY
    table = (load64(slot) & PTE_FRAME) >> PAGE_SHIFT
    for i in range(ENTRIES):
        if load64(frame_address(m, table) + i * 8) & PTE_GUARD:
            return NOTHING_THERE
    head = alloc_huge(m, FRAME_ANON, 1)
    if head == 0:
        return NO_MEMORY
    entries, target = frame_address(m, table), frame_address(m, head)
    # The counters still see the old entries.
    count_table(m, mm, slot, table, -1)
    for i in range(ENTRIES):
        pte = load64(entries + i * 8)
        frame = (pte & PTE_FRAME) >> PAGE_SHIFT
        if pte and pte & PTE_P == 0:
            peek(m, target + i * PAGE_SIZE, entry_slot_number(pte))
            swap_put(m, entry_slot_number(pte))
        elif pte and frame != load64(m + K_ZERO):
            copy_bytes(target + i * PAGE_SIZE, frame_address(m, frame), PAGE_SIZE)
            put_frame(m, frame)
    free_frame(m, table)
    writable = PTE_W if flags & VM_WRITE else 0
    set_entry(m, slot, (head << PAGE_SHIFT) | page_bits(flags) | writable | PTE_D | PTE_PS)
    count_leaf(m, mm, slot, FRAME_ANON, 1)
    store64(m + M_FLUSH, 1)
    return COLLAPSED
