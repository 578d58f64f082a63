"""The two kinds of fork: the page-table half of dup_mmap. Linux: copy_page_range in mm/memory.c.

::

    classic                                on demand
    parent PMD ── T   (W cleared)          parent PMD (W cleared) ──┐
    child  PMD ── T'  (copy of T)          child  PMD (W clear)   ──┴── T, sharers 2

A 2 MiB leaf has no table: both kinds give the child a leaf as well and take W from both.
Classic fork looks at every present entry; fork on demand looks at one PMD entry where the other looks at 512. At level
2 it shares PMD tables in the same way and looks at one PUD entry for a GiB. Both work by the GiB where no VMA there is
the parent's alone, and by the table elsewhere.
"""

from __future__ import annotations

from emu.layout import M_FLUSH
from emu.native import copy_bytes, export, hot, load64, store64
from emu.paging import (
    ENTRIES,
    PAGE_SHIFT,
    PAGE_SIZE,
    PMD_SIZE,
    PTE_FRAME,
    PTE_P,
    PTE_PS,
    PTE_W,
    PUD_SIZE,
    pmd_slot,
    pud_slot,
)
from kernel.mm.counts import count_entry, count_leaf, count_pmds, count_table
from kernel.mm.entries import set_entry, set_new_entry, set_shared_entry
from kernel.mm.frames import add_refs, frame_address, frame_kind
from kernel.mm.hugepages import add_leaf, is_leaf, leaf_head
from kernel.mm.layout import (
    K_FORK_ENTRIES,
    K_PMD_COUNTS,
    K_TABLES_SHARED,
    K_ZERO,
    MM_ROOT,
    MM_UPPER,
    MM_VMA_COUNT,
    MM_VMAS,
    PC_BYTES,
    SWAPPED,
    V_BYTES,
    V_END,
    V_FLAGS,
    V_START,
    VM_DONTCOPY,
    VM_WIPEONFORK,
)
from kernel.mm.tables import copy_entry, make_pmd_slot, make_pud_slot, next_table, own_table, pte_slot

_PRIVATE_TO_PARENT = VM_DONTCOPY | VM_WIPEONFORK


@hot
def _copy_pages(m: int, parent: int, child: int, source: int, start: int, end: int) -> int:
    """Copy the present entries of [start, end), all below one PMD entry, into the child's own table: 1, or 0."""
    zero = load64(m + K_ZERO)
    target = 0
    for page in range(start, end, PAGE_SIZE):
        slot = pte_slot(m, load64(source), page)
        pte = load64(slot)
        if pte:
            if target == 0:
                target = own_table(m, child, page)
                if target == 0:
                    return 0
            frame = (pte & PTE_FRAME) >> 12
            kind = SWAPPED
            if pte & PTE_P:
                kind = 0 if frame == zero else frame_kind(m, frame)
            set_entry(m, pte_slot(m, load64(target), page), copy_entry(m, slot))
            count_entry(m, child, target, kind, 1)
    store64(m + K_FORK_ENTRIES, load64(m + K_FORK_ENTRIES) + ((end - start) >> PAGE_SHIFT))
    return 1


@hot
def _share_table(m: int, child: int, source: int, va: int) -> int:
    """Let the child point at the parent's PTE table: 1, or 0 when out of frames."""
    target = make_pmd_slot(m, child, va)
    if target == 0:
        return 0
    pmd = load64(source) & ~PTE_W
    table = (pmd & PTE_FRAME) >> 12
    add_refs(m, table, 1)
    # Below a PMD table that is itself shared this takes W from every sharer: they get it back as after any fork.
    set_shared_entry(m, source, pmd)
    set_entry(m, target, pmd)
    count_table(m, child, target, table, 1)
    return 1


@hot
def _share_leaf(m: int, child: int, source: int, va: int) -> int:
    """Let the child map the parent's 2 MiB page, copy-on-write for both: 1, or 0 when out of frames."""
    target = make_pmd_slot(m, child, va)
    if target == 0:
        return 0
    pmd = load64(source) & ~PTE_W
    set_shared_entry(m, source, pmd)
    set_entry(m, target, pmd)
    add_leaf(m, leaf_head(pmd))
    count_leaf(m, child, target, frame_kind(m, leaf_head(pmd)), 1)
    store64(m + K_FORK_ENTRIES, load64(m + K_FORK_ENTRIES) + 1)
    return 1


@hot
def _share_tables(m: int, child: int, source: int, va: int) -> int:
    """Let the child point at all tables and 2 MiB pages below the parent's PUD entry ``source``: 1, or 0 when out of
    frames. It gets a PMD table of its own, with the parent's entries and counters."""
    target = make_pmd_slot(m, child, va & -PUD_SIZE)
    if target == 0:
        return 0
    old = (load64(source) & PTE_FRAME) >> 12
    new = (load64(pud_slot(m, load64(child + MM_ROOT), va)) & PTE_FRAME) >> 12
    entries = frame_address(m, old)
    shared = 0
    for i in range(ENTRIES):
        pmd = load64(entries + i * 8)
        if pmd & PTE_P == 0:
            continue
        if pmd & PTE_PS:
            add_leaf(m, leaf_head(pmd))
        else:
            add_refs(m, (pmd & PTE_FRAME) >> 12, 1)
        # Below a PMD table that is itself shared this takes W from every sharer: they get it back as after any fork.
        set_shared_entry(m, entries + i * 8, pmd & ~PTE_W)
        set_new_entry(m, target + i * 8, pmd & ~PTE_W)
        shared += 1
    counts = load64(m + K_PMD_COUNTS)
    copy_bytes(counts + new * PC_BYTES, counts + old * PC_BYTES, PC_BYTES)
    count_pmds(m, child, new, 1)
    # The PMD table itself was counted when it was made.
    store64(child + MM_UPPER, load64(child + MM_UPPER) - 1)
    store64(m + K_TABLES_SHARED, load64(m + K_TABLES_SHARED) + shared)
    store64(m + K_FORK_ENTRIES, load64(m + K_FORK_ENTRIES) + shared)
    return 1


@hot
def _share_pmds(m: int, child: int, source: int, va: int) -> int:
    """Let the child point at the parent's PMD table, with all PTE tables below: 1, or 0 when out of frames."""
    target = make_pud_slot(m, child, va)
    if target == 0:
        return 0
    pud = load64(source) & ~PTE_W
    frame = (pud & PTE_FRAME) >> 12
    add_refs(m, frame, 1)
    set_entry(m, source, pud)
    set_entry(m, target, pud)
    count_pmds(m, child, frame, 1)
    store64(m + K_TABLES_SHARED, load64(m + K_TABLES_SHARED) + 1)
    store64(m + K_FORK_ENTRIES, load64(m + K_FORK_ENTRIES) + 1)
    return 1


@hot
def _has_private_part(mm: int, first: int, base: int, size: int) -> int:
    """Some VMA within [base, base + size) is kept from the child, or is zeros there; ``first`` is one row there."""
    rows, count = load64(mm + MM_VMAS), load64(mm + MM_VMA_COUNT)
    row = first
    while row > 0 and load64(rows + (row - 1) * V_BYTES + V_END) > base:
        row -= 1
    while row < count and load64(rows + row * V_BYTES + V_START) < base + size:
        if load64(rows + row * V_BYTES + V_FLAGS) & _PRIVATE_TO_PARENT:
            return 1
        row += 1
    return 0


@hot
def _fork_gigabyte(m: int, parent: int, child: int, va: int, level: int) -> int:
    """Share all that is below the PUD entry for ``va``: 1 when the child has it, now or already; 0 if out of frames."""
    source = pud_slot(m, load64(parent + MM_ROOT), va)
    target = pud_slot(m, load64(child + MM_ROOT), va)
    if target != 0 and load64(target) & PTE_P:
        # An earlier VMA in the same GiB has done it.
        return 1
    return _share_pmds(m, child, source, va) if level > 1 else _share_tables(m, child, source, va)


@hot
def _fork_table(m: int, parent: int, child: int, row: int, va: int, on_demand: int) -> int:
    """Share or copy the PTE table for ``va``, as far as the VMA in ``row`` goes: 1, or 0 when out of frames."""
    vma = load64(parent + MM_VMAS) + row * V_BYTES
    start, end = load64(vma + V_START), load64(vma + V_END)
    base = va & -PMD_SIZE
    source = pmd_slot(m, load64(parent + MM_ROOT), va)
    if is_leaf(load64(source)):
        return _share_leaf(m, child, source, va)
    inside = start <= base and base + PMD_SIZE <= end
    if on_demand == 0 or (not inside and _has_private_part(parent, row, base, PMD_SIZE)):
        return _copy_pages(m, parent, child, source, max(start, base), min(end, base + PMD_SIZE))
    done = 0 if inside else pmd_slot(m, load64(child + MM_ROOT), va)
    if done != 0 and load64(done) & PTE_P:
        # An earlier VMA in the same 2 MiB has shared the table already.
        return 1
    store64(m + K_TABLES_SHARED, load64(m + K_TABLES_SHARED) + 1)
    store64(m + K_FORK_ENTRIES, load64(m + K_FORK_ENTRIES) + 1)
    return _share_table(m, child, source, va)


@export("i64(i64,i64,i64,i64)")
def fork_tables(m: int, parent: int, child: int, level: int) -> int:
    """Give the empty address space ``child`` what ``parent`` has: 1, or 0 when out of frames.

    ``level`` 0 copies every entry, 1 shares PTE tables, 2 PMD tables too. After 0 the caller releases the child, which
    restores every count; W bits that were taken away come back by themselves at the next store.
    """
    root = load64(parent + MM_ROOT)
    rows = load64(parent + MM_VMAS)
    store64(m + M_FLUSH, 1)
    # Asked once a GiB, not for each of the many VMAs that it may hold.
    gigabyte, together = -1, 0
    for row in range(load64(parent + MM_VMA_COUNT)):
        vma = rows + row * V_BYTES
        if load64(vma + V_FLAGS) & _PRIVATE_TO_PARENT:
            continue
        end = load64(vma + V_END)
        va = next_table(m, root, load64(vma + V_START), end)
        while va < end:
            if va & -PUD_SIZE != gigabyte:
                gigabyte = va & -PUD_SIZE
                together = 1 if level and not _has_private_part(parent, row, gigabyte, PUD_SIZE) else 0
            if together:
                done, behind = _fork_gigabyte(m, parent, child, va, level), gigabyte + PUD_SIZE
            else:
                done, behind = _fork_table(m, parent, child, row, va, level), (va & -PMD_SIZE) + PMD_SIZE
            if done == 0:
                return 0
            va = next_table(m, root, behind, end)
    return 1
