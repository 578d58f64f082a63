"""Moving pages within an address space: mremap. Linux: move_page_tables in mm/mremap.c."""

from __future__ import annotations

from emu.layout import M_FLUSH
from emu.native import export, hot, load64, store64
from emu.paging import PAGE_SIZE, PMD_SIZE, PTE_FRAME, PTE_P, pmd_slot
from kernel.mm.counts import count_entry, count_leaf
from kernel.mm.entries import set_entry
from kernel.mm.frames import frame_kind, frame_refs
from kernel.mm.hugepages import is_leaf, leaf_head
from kernel.mm.layout import MM_ROOT, SWAPPED
from kernel.mm.tables import free_table_if_empty, make_pmd_slot, next_table, own_range, own_table, pmds_shared, pte_slot


@hot
def _moves_whole(m: int, root: int, va: int, old: int, new: int, size: int) -> bool:
    """At ``va`` begins a 2 MiB leaf that can be moved as one (move_huge_pmd)."""
    return ((va | (va - old + new)) & (PMD_SIZE - 1) == 0 and va + PMD_SIZE <= old + size
            and is_leaf(load64(pmd_slot(m, root, va))))


@hot
def _drop_empty(m: int, mm: int, new: int, size: int) -> None:
    """Free the private tables without an entry that serve [new, new + size)."""
    root = load64(mm + MM_ROOT)
    va = next_table(m, root, new, new + size)
    while va < new + size:
        slot = pmd_slot(m, root, va)
        pmd = load64(slot)
        if not is_leaf(pmd) and pmds_shared(m, root, va) == 0 and frame_refs(m, (pmd & PTE_FRAME) >> 12) == 1:
            free_table_if_empty(m, mm, slot)
        va = next_table(m, root, (va & -PMD_SIZE) + PMD_SIZE, new + size)


@export("i64(i64,i64,i64,i64,i64)")
def prepare_move(m: int, mm: int, old: int, new: int, size: int) -> int:
    """Make the tables on both sides private, the new ones where pages will arrive: 1, or 0 for ENOMEM."""
    root = load64(mm + MM_ROOT)
    if own_range(m, mm, old, old + size, 1) == 0:
        return 0
    va = next_table(m, root, old, old + size)
    while va < old + size:
        stop = min(old + size, (va & -PMD_SIZE) + PMD_SIZE)
        if _moves_whole(m, root, va, old, new, size):
            if make_pmd_slot(m, mm, va - old + new) == 0:
                return 0
            va = next_table(m, root, stop, old + size)
            continue
        # One old table may arrive in two new ones.
        first, last = va - old + new, stop - PAGE_SIZE - old + new
        if own_table(m, mm, va) == 0 or own_table(m, mm, first) == 0 or own_table(m, mm, last) == 0:
            return 0
        va = next_table(m, root, stop, old + size)
    return 1


@hot
def _move_leaf(m: int, mm: int, source: int, target: int) -> None:
    """The leaf at the PMD entry ``source`` goes to ``target``; both PMD tables are private."""
    pmd = load64(source)
    kind = frame_kind(m, leaf_head(pmd))
    set_entry(m, source, 0)
    count_leaf(m, mm, source, kind, -1)
    set_entry(m, target, pmd)
    count_leaf(m, mm, target, kind, 1)


@export("i64(i64,i64,i64,i64,i64)")
def move_range(m: int, mm: int, old: int, new: int, size: int) -> int:
    """Move the pages of [old, old + size) to ``new``, where nothing is mapped, after prepare_move. Returns 0."""
    root = load64(mm + MM_ROOT)
    va = next_table(m, root, old, old + size)
    while va < old + size:
        base = va & -PMD_SIZE
        source = pmd_slot(m, root, va)
        if is_leaf(load64(source)):
            _move_leaf(m, mm, source, make_pmd_slot(m, mm, va - old + new))
            va = next_table(m, root, base + PMD_SIZE, old + size)
            continue
        for page in range(max(old, base), min(old + size, base + PMD_SIZE), PAGE_SIZE):
            slot = pte_slot(m, load64(source), page)
            pte = load64(slot)
            if pte:
                target = own_table(m, mm, page - old + new)
                kind = frame_kind(m, (pte & PTE_FRAME) >> 12) if pte & PTE_P else SWAPPED
                count_entry(m, mm, source, kind, -1)
                set_entry(m, slot, 0)
                set_entry(m, pte_slot(m, load64(target), page - old + new), pte)
                count_entry(m, mm, target, kind, 1)
        free_table_if_empty(m, mm, source)
        va = next_table(m, root, base + PMD_SIZE, old + size)
    # A target table in which nothing arrived goes again.
    _drop_empty(m, mm, new, size)
    store64(m + M_FLUSH, 1)
    return 0


@export("i64(i64,i64,i64,i64)")
def forget_move(m: int, mm: int, new: int, size: int) -> int:
    """There is no memory for a move: the tables that prepare_move made at ``new`` go. Returns 0."""
    _drop_empty(m, mm, new, size)
    return 0
