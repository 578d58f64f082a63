"""Changing what entries allow: mprotect. Linux: mm/mprotect.c."""

from __future__ import annotations

from emu.layout import M_FLUSH
from emu.native import export, hot, load64, store64
from emu.paging import PAGE_SIZE, PMD_SIZE, PTE_A, PTE_D, PTE_FRAME, PTE_P, PTE_PS, PTE_W, pmd_slot
from kernel.mm.entries import set_entry
from kernel.mm.hugepages import is_leaf
from kernel.mm.layout import MM_ROOT, PTE_GUARD, VM_WRITE
from kernel.mm.tables import next_table, own_range, pte_slot
from kernel.mm.vma_rows import page_bits


@export("i64(i64,i64,i64,i64)")
def own_tables(m: int, mm: int, start: int, end: int) -> int:
    """Make every table in a range private, before its entries change: 1, or 0 for ENOMEM with nothing changed."""
    return own_range(m, mm, start, end, 1)


@hot
def _protected(leaf: int, flags: int) -> int:
    """The present entry ``leaf`` with the permissions of VM_* ``flags``."""
    bits = (page_bits(flags) & ~PTE_A) | (leaf & (PTE_FRAME | PTE_A | PTE_D))
    return bits | (leaf & PTE_W) if flags & VM_WRITE else bits


@export("i64(i64,i64,i64,i64,i64)")
def protect_range(m: int, mm: int, start: int, end: int, flags: int) -> int:
    """Give the present pages of [start, end) the permissions of VM_* ``flags``. The tables are private. Returns 0.

    W never comes back here: whether a page may be stored to directly is the fault handler's to say.
    """
    root = load64(mm + MM_ROOT)
    va = next_table(m, root, start, end)
    while va < end:
        base = va & -PMD_SIZE
        slot = pmd_slot(m, root, va)
        pmd = load64(slot)
        if is_leaf(pmd):
            set_entry(m, slot, _protected(pmd, flags) | PTE_PS)
            va = next_table(m, root, base + PMD_SIZE, end)
            continue
        for page in range(max(start, base), min(end, base + PMD_SIZE), PAGE_SIZE):
            slot = pte_slot(m, pmd, page)
            pte = load64(slot)
            if pte & PTE_P and pte & PTE_GUARD == 0:
                set_entry(m, slot, _protected(pte, flags))
        va = next_table(m, root, base + PMD_SIZE, end)
    store64(m + M_FLUSH, 1)
    return 0
