"""Changing what entries allow: mprotect. Linux: mm/mprotect.c."""

from __future__ import annotations

from emu.layout import M_FLUSH
from emu.native import export, load64, store64
from emu.paging import PAGE_SIZE, PMD_SIZE, PTE_A, PTE_D, PTE_FRAME, PTE_P, PTE_W, pmd_slot
from kernel.mm.fault import page_bits
from kernel.mm.layout import MM_ROOT, VM_WRITE
from kernel.mm.tables import next_table, own_range, pte_slot


@export("i64(i64,i64,i64,i64)")
def own_tables(m: int, mm: int, start: int, end: int) -> int:
    """Make every table in a range private, before its entries change: 1, or 0 for ENOMEM with nothing changed."""
    return own_range(m, mm, start, end, 1)


@export("i64(i64,i64,i64,i64,i64)")
def protect_range(m: int, mm: int, start: int, end: int, flags: int) -> int:
    """Give the present pages of [start, end) the permissions of VM_* ``flags``. The tables are private. Returns 0.

    W never comes back here: whether a page may be stored to directly is the fault handler's to say.
    """
    root = load64(mm + MM_ROOT)
    va = next_table(m, root, start, end)
    while va < end:
        base = va & -PMD_SIZE
        pmd = load64(pmd_slot(m, root, va))
        for page in range(max(start, base), min(end, base + PMD_SIZE), PAGE_SIZE):
            slot = pte_slot(m, pmd, page)
            pte = load64(slot)
            if pte & PTE_P:
                bits = (page_bits(flags) & ~PTE_A) | (pte & (PTE_FRAME | PTE_A | PTE_D))
                if flags & VM_WRITE:
                    bits |= pte & PTE_W
                store64(slot, bits)
        va = next_table(m, root, base + PMD_SIZE, end)
    store64(m + M_FLUSH, 1)
    return 0
