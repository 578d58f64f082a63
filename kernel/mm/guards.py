"""Guards: entries that make pages inaccessible without a mapping of their own. Linux: madvise_guard_install.

A guard takes the place of an untouched page. It goes with munmap or MADV_GUARD_REMOVE, not with MADV_DONTNEED; fork
copies it or shares its table, and mremap moves it, as any entry.
"""

from __future__ import annotations

from emu.layout import M_FLUSH
from emu.native import export, hot, load64, store64
from emu.paging import PAGE_SIZE, PMD_SIZE, PTE_NX, PTE_P, pmd_slot
from kernel.mm.counts import count_entry
from kernel.mm.entries import set_entry
from kernel.mm.hugepages import is_leaf
from kernel.mm.layout import K_ZERO, MM_ROOT, PTE_GUARD
from kernel.mm.tables import next_table, own_table, pte_slot
from kernel.mm.unmap import zap_entry


@hot
def _own_guarded(m: int, mm: int, start: int, end: int) -> int:
    """Make the tables with guards in [start, end) private: 1, or 0 when out of frames. The others stay shared."""
    root = load64(mm + MM_ROOT)
    va = next_table(m, root, start, end)
    while va < end:
        base = va & -PMD_SIZE
        pmd = load64(pmd_slot(m, root, va))
        if not is_leaf(pmd):
            found = 0
            for page in range(max(start, base), min(end, base + PMD_SIZE), PAGE_SIZE):
                found |= load64(pte_slot(m, pmd, page)) & PTE_GUARD
            if found and own_table(m, mm, va) == 0:
                return 0
        va = next_table(m, root, base + PMD_SIZE, end)
    return 1


@export("i64(i64,i64,i64,i64)")
def install_guards(m: int, mm: int, start: int, end: int) -> int:
    """Put guards in the place of all pages of [start, end): 1, or 0 when out of frames (nothing is done then)."""
    for base in range(start & -PMD_SIZE, end, PMD_SIZE):
        if own_table(m, mm, base) == 0:
            return 0
    guard = (load64(m + K_ZERO) << 12) | PTE_P | PTE_NX | PTE_GUARD
    for page in range(start, end, PAGE_SIZE):
        table = pmd_slot(m, load64(mm + MM_ROOT), page)
        slot = pte_slot(m, load64(table), page)
        if load64(slot) & PTE_GUARD == 0:
            if load64(slot):
                zap_entry(m, mm, table, slot)
            set_entry(m, slot, guard)
            count_entry(m, mm, table, 0, 1)
    store64(m + M_FLUSH, 1)
    return 1


@export("i64(i64,i64,i64,i64)")
def remove_guards(m: int, mm: int, start: int, end: int) -> int:
    """Make untouched pages of the guards in [start, end): 1, or 0 when out of frames (nothing is done then)."""
    if _own_guarded(m, mm, start, end) == 0:
        return 0
    root = load64(mm + MM_ROOT)
    va = next_table(m, root, start, end)
    while va < end:
        base = va & -PMD_SIZE
        table = pmd_slot(m, root, va)
        if not is_leaf(load64(table)):
            for page in range(max(start, base), min(end, base + PMD_SIZE), PAGE_SIZE):
                slot = pte_slot(m, load64(table), page)
                if load64(slot) & PTE_GUARD:
                    set_entry(m, slot, 0)
                    count_entry(m, mm, table, 0, -1)
        va = next_table(m, root, base + PMD_SIZE, end)
    store64(m + M_FLUSH, 1)
    return 1
