"""The two kinds of fork: the page-table half of dup_mmap. Linux: copy_page_range in mm/memory.c.

::

    classic                                on demand
    parent PMD ── T   (W cleared)          parent PMD (W cleared) ──┐
    child  PMD ── T'  (copy of T)          child  PMD (W clear)   ──┴── T, sharers 2

Classic fork looks at every present entry; fork on demand looks at one PMD entry where the other looks at 512.
"""

from __future__ import annotations

from emu.layout import M_FLUSH
from emu.native import export, hot, load64, store64
from emu.paging import PAGE_SIZE, PMD_SIZE, PTE_FRAME, PTE_P, PTE_W, pmd_slot
from kernel.mm.frames import add_refs, frame_kind
from kernel.mm.layout import (
    K_FORK_ENTRIES,
    K_TABLES_SHARED,
    K_ZERO,
    MM_ROOT,
    MM_VMA_COUNT,
    MM_VMAS,
    V_BYTES,
    V_END,
    V_FLAGS,
    V_START,
    VM_DONTCOPY,
    VM_WIPEONFORK,
)
from kernel.mm.tables import copy_entry, count_entry, count_table, make_pmd_slot, next_table, own_table, pte_slot

_PRIVATE_TO_PARENT = VM_DONTCOPY | VM_WIPEONFORK


@hot
def _copy_pages(m: int, parent: int, child: int, source: int, start: int, end: int) -> int:
    """Copy the present entries of [start, end), all below one PMD entry, into the child's own table: 1, or 0."""
    visited = 0
    zero = load64(m + K_ZERO)
    target = 0
    for page in range(start, end, PAGE_SIZE):
        slot = pte_slot(m, load64(source), page)
        visited += 1
        if load64(slot) & PTE_P:
            if target == 0:
                if own_table(m, child, page) == 0:
                    return 0
                target = pmd_slot(m, load64(child + MM_ROOT), page)
            frame = (load64(slot) & PTE_FRAME) >> 12
            store64(pte_slot(m, load64(target), page), copy_entry(m, slot))
            kind = 0 if frame == zero else frame_kind(m, frame)
            count_entry(m, child, (load64(target) & PTE_FRAME) >> 12, kind, 1)
    store64(m + K_FORK_ENTRIES, load64(m + K_FORK_ENTRIES) + visited)
    return 1


@hot
def _share_table(m: int, child: int, source: int, va: int) -> int:
    """Let the child point at the parent's table: 1, or 0 when out of frames."""
    target = make_pmd_slot(m, child, va)
    if target == 0:
        return 0
    pmd = load64(source) & ~PTE_W
    table = (pmd & PTE_FRAME) >> 12
    add_refs(m, table, 1)
    store64(source, pmd)
    store64(target, pmd)
    count_table(m, child, table, 1)
    return 1


@hot
def _has_private_part(mm: int, first: int, base: int) -> int:
    """Some VMA within the 2 MiB at ``base`` is kept from the child, or is zeros there; ``first`` is one row."""
    rows, count = load64(mm + MM_VMAS), load64(mm + MM_VMA_COUNT)
    row = first
    while row > 0 and load64(rows + (row - 1) * V_BYTES + V_END) > base:
        row -= 1
    while row < count and load64(rows + row * V_BYTES + V_START) < base + PMD_SIZE:
        if load64(rows + row * V_BYTES + V_FLAGS) & _PRIVATE_TO_PARENT:
            return 1
        row += 1
    return 0


@export("i64(i64,i64,i64,i64)")
def fork_tables(m: int, parent: int, child: int, on_demand: int) -> int:
    """Give the empty address space ``child`` what ``parent`` has: 1, or 0 when out of frames.

    After 0 the caller releases the child, which restores every count; W bits that were taken away come back by
    themselves at the next store.
    """
    root = load64(parent + MM_ROOT)
    rows = load64(parent + MM_VMAS)
    shared = 0
    store64(m + M_FLUSH, 1)
    for row in range(load64(parent + MM_VMA_COUNT)):
        vma = rows + row * V_BYTES
        if load64(vma + V_FLAGS) & _PRIVATE_TO_PARENT:
            continue
        start, end = load64(vma + V_START), load64(vma + V_END)
        va = next_table(m, root, start, end)
        while va < end:
            base = va & -PMD_SIZE
            source = pmd_slot(m, root, va)
            inside = start <= base and base + PMD_SIZE <= end
            if on_demand and (inside or _has_private_part(parent, row, base) == 0):
                done = 0 if inside else pmd_slot(m, load64(child + MM_ROOT), va)
                # An earlier VMA in the same 2 MiB may have shared the table already.
                if done == 0 or load64(done) & PTE_P == 0:
                    shared += 1
                    if _share_table(m, child, source, va) == 0:
                        return 0
            elif _copy_pages(m, parent, child, source, max(start, base), min(end, base + PMD_SIZE)) == 0:
                return 0
            va = next_table(m, root, base + PMD_SIZE, end)
    store64(m + K_TABLES_SHARED, load64(m + K_TABLES_SHARED) + shared)
    store64(m + K_FORK_ENTRIES, load64(m + K_FORK_ENTRIES) + shared)
    return 1
