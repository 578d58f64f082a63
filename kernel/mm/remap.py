"""Moving pages within an address space: mremap. Linux: move_page_tables in mm/mremap.c."""

from __future__ import annotations

from emu.layout import M_FLUSH
from emu.native import export, load64, store64
from emu.paging import PAGE_SIZE, PMD_SIZE, PTE_FRAME, PTE_P, pmd_slot
from kernel.mm.counts import count_entry
from kernel.mm.frames import frame_kind
from kernel.mm.layout import MM_ROOT
from kernel.mm.tables import free_table_if_empty, next_table, own_range, own_table, pte_slot


@export("i64(i64,i64,i64,i64,i64)")
def prepare_move(m: int, mm: int, old: int, new: int, size: int) -> int:
    """Make the tables on both sides private, the new ones where pages will arrive: 1, or 0 for ENOMEM."""
    root = load64(mm + MM_ROOT)
    if own_range(m, mm, old, old + size, 1) == 0:
        return 0
    va = next_table(m, root, old, old + size)
    while va < old + size:
        stop = min(old + size, (va & -PMD_SIZE) + PMD_SIZE)
        # One old table may arrive in two new ones.
        if own_table(m, mm, va - old + new) == 0 or own_table(m, mm, stop - PAGE_SIZE - old + new) == 0:
            return 0
        va = next_table(m, root, stop, old + size)
    return 1


@export("i64(i64,i64,i64,i64,i64)")
def move_range(m: int, mm: int, old: int, new: int, size: int) -> int:
    """Move the pages of [old, old + size) to ``new``, where nothing is mapped, after prepare_move. Returns 0."""
    root = load64(mm + MM_ROOT)
    va = next_table(m, root, old, old + size)
    while va < old + size:
        base = va & -PMD_SIZE
        source = pmd_slot(m, root, va)
        for page in range(max(old, base), min(old + size, base + PMD_SIZE), PAGE_SIZE):
            slot = pte_slot(m, load64(source), page)
            pte = load64(slot)
            if pte & PTE_P:
                target = own_table(m, mm, page - old + new)
                kind = frame_kind(m, (pte & PTE_FRAME) >> 12)
                count_entry(m, mm, source, kind, -1)
                store64(slot, 0)
                store64(pte_slot(m, load64(target), page - old + new), pte)
                count_entry(m, mm, target, kind, 1)
        free_table_if_empty(m, mm, source)
        va = next_table(m, root, base + PMD_SIZE, old + size)
    # A target table in which nothing arrived goes again.
    va = next_table(m, root, new, new + size)
    while va < new + size:
        free_table_if_empty(m, mm, pmd_slot(m, root, va))
        va = next_table(m, root, (va & -PMD_SIZE) + PMD_SIZE, new + size)
    store64(m + M_FLUSH, 1)
    return 0
