"""Page tables: finding them, making them, sharing them, making a shared one one's own.

Two levels can be shared: PTE tables, and PMD tables with all that lies below. The rules are the same one level up, with
PUD entries in the place of PMD entries; a PTE table below a shared PMD table counts as one sharer there.

Rules (ODF): ``sharers(T)`` is T's reference count. While it is above 1, W is clear in every PMD entry that points at T
and no entry of T changes, but for Accessed bits and for W being taken away when T is copied. A table that is being
copied is complete before a PMD entry points at it.
"""

from __future__ import annotations

from emu.layout import M_FLUSH, M_RAM
from emu.native import copy_bytes, export, fill_bytes, hot, load16, load64, store16, store64
from emu.paging import (
    ENTRIES,
    PAGE_SHIFT,
    PGD_SHIFT,
    PMD_SHIFT,
    PMD_SIZE,
    PTE_FRAME,
    PTE_P,
    PTE_PS,
    PTE_W,
    PUD_SHIFT,
    PUD_SIZE,
    TABLE_BITS,
    entry_slot,
    pmd_slot,
    pud_slot,
)
from kernel.mm.counts import count_leaf, count_table, table_counts
from kernel.mm.entries import forget_digest, set_entry, set_new_entry, set_shared_entry
from kernel.mm.frames import add_refs, alloc_frame, frame_address, frame_kind, frame_refs, free_frame
from kernel.mm.hugepages import add_leaf, is_leaf, leaf_head, put_leaf
from kernel.mm.layout import (
    FRAME_ANON,
    FRAME_PTE_TABLE,
    FRAME_UPPER_TABLE,
    K_COUNTS,
    K_LEAVES_SPLIT,
    K_PMD_COUNTS,
    K_PMDS_COPIED,
    K_TABLES_COPIED,
    K_TABLES_REARMED,
    K_ZERO,
    MM_ROOT,
    MM_UPPER,
    PC_BYTES,
    TC_BYTES,
    TC_ENTRIES,
)
from kernel.mm.swapfile import swap_dup


@hot
def _descend(m: int, mm: int, slot: int) -> int:
    """The upper table that the entry at ``slot`` points at, made if absent; 0 when no frame is left."""
    entry = load64(slot)
    if entry & PTE_P == 0:
        frame = alloc_frame(m, FRAME_UPPER_TABLE, 1)
        if frame == 0:
            return 0
        entry = (frame << 12) | TABLE_BITS
        set_entry(m, slot, entry)
        store64(mm + MM_UPPER, load64(mm + MM_UPPER) + 1)
    return load64(m + M_RAM) + (entry & PTE_FRAME)


@hot
def _unshare_pmds(m: int, slot: int) -> int:
    """Give this address space its own copy of the shared PMD table behind the PUD entry at ``slot``: 1, or 0.

    Every PTE table and every 2 MiB page below gains a user: both copies point at it now, neither with W.
    """
    old = (load64(slot) & PTE_FRAME) >> 12
    new = alloc_frame(m, FRAME_UPPER_TABLE, 0)
    if new == 0:
        return 0
    source, target = frame_address(m, old), frame_address(m, new)
    for i in range(ENTRIES):
        pmd = load64(source + i * 8)
        if pmd & PTE_P:
            if is_leaf(pmd):
                add_leaf(m, leaf_head(pmd))
            else:
                add_refs(m, (pmd & PTE_FRAME) >> 12, 1)
            pmd &= ~PTE_W
            set_shared_entry(m, source + i * 8, pmd)
        set_new_entry(m, target + i * 8, pmd)
    counts = load64(m + K_PMD_COUNTS)
    copy_bytes(counts + new * PC_BYTES, counts + old * PC_BYTES, PC_BYTES)
    add_refs(m, old, -1)
    set_entry(m, slot, (new << 12) | TABLE_BITS)
    store64(m + K_PMDS_COPIED, load64(m + K_PMDS_COPIED) + 1)
    return 1


@hot
def make_pud_slot(m: int, mm: int, va: int) -> int:
    """Host address of the PUD entry for ``va``, the tables above made as needed; 0 when no frame is left."""
    table = _descend(m, mm, entry_slot(load64(m + M_RAM) + load64(mm + MM_ROOT), va, PGD_SHIFT))
    return entry_slot(table, va, PUD_SHIFT) if table else 0


@hot
def make_pmd_slot(m: int, mm: int, va: int) -> int:
    """Host address of the PMD entry for ``va`` in a PMD table of this address space alone; 0 when out of frames.

    Upper tables are made as needed, a shared PMD table is copied, or made writable again by its last sharer.
    """
    slot = make_pud_slot(m, mm, va)
    if slot == 0:
        return 0
    pud = load64(slot)
    if pud & PTE_P == 0:
        if _descend(m, mm, slot) == 0:
            return 0
        fill_bytes(load64(m + K_PMD_COUNTS) + ((load64(slot) & PTE_FRAME) >> 12) * PC_BYTES, 0, PC_BYTES)
    elif frame_refs(m, (pud & PTE_FRAME) >> 12) > 1:
        if _unshare_pmds(m, slot) == 0:
            return 0
    elif pud & PTE_W == 0:
        set_entry(m, slot, pud | PTE_W)
        store64(m + K_TABLES_REARMED, load64(m + K_TABLES_REARMED) + 1)
    return entry_slot(load64(m + M_RAM) + (load64(slot) & PTE_FRAME), va, PMD_SHIFT)


@hot
def pmds_shared(m: int, root: int, va: int) -> int:
    """The PMD table for ``va`` is there and has other sharers."""
    slot = pud_slot(m, root, va)
    if slot == 0 or load64(slot) & PTE_P == 0:
        return 0
    return 1 if frame_refs(m, (load64(slot) & PTE_FRAME) >> 12) > 1 else 0


@hot
def next_used(entries: int, i: int) -> int:
    """The first entry from ``i`` on that is not 0, or ENTRIES; most tables have few."""
    while i < ENTRIES:
        if load64(entries + i * 8):
            return i
        i += 1
        while i & 7 == 0 and i < ENTRIES:
            group = entries + i * 8
            if (load64(group) | load64(group + 8) | load64(group + 16) | load64(group + 24)
                    | load64(group + 32) | load64(group + 40) | load64(group + 48) | load64(group + 56)):
                break
            i += 8
    return ENTRIES


@hot
def next_table(m: int, root: int, va: int, end: int) -> int:
    """The first address from ``va`` on (below ``end``) whose PMD entry is present, or ``end``.

    Entries of upper tables are present or 0.
    """
    ram = load64(m + M_RAM)
    while va < end:
        entry = load64(entry_slot(ram + root, va, PGD_SHIFT))
        if entry & PTE_P == 0:
            va = ((va >> PGD_SHIFT) + 1) << PGD_SHIFT
            continue
        puds = ram + (entry & PTE_FRAME)
        i = (va >> PUD_SHIFT) & (ENTRIES - 1)
        used = next_used(puds, i)
        if used > i:
            va = ((va >> PUD_SHIFT) + used - i) << PUD_SHIFT
            continue
        pmds = ram + (load64(puds + i * 8) & PTE_FRAME)
        i = (va >> PMD_SHIFT) & (ENTRIES - 1)
        used = next_used(pmds, i)
        if used < ENTRIES:
            return va if used == i else min(((va >> PMD_SHIFT) + used - i) << PMD_SHIFT, end)
        va = ((va >> PUD_SHIFT) + 1) << PUD_SHIFT
    return end


@hot
def copy_entry(m: int, slot: int) -> int:
    """The entry as a second table may hold it; a private page loses W here as well, and gains a reference."""
    pte = load64(slot)
    if pte & PTE_P == 0:
        swap_dup(m, pte)
        return pte
    frame = (pte & PTE_FRAME) >> 12
    if frame == load64(m + K_ZERO):
        return pte
    add_refs(m, frame, 1)
    if pte & PTE_W and frame_kind(m, frame) == FRAME_ANON:
        pte &= ~PTE_W
        set_shared_entry(m, slot, pte)
    return pte


@hot
def unshare(m: int, slot: int) -> int:
    """Give this address space its own copy of the shared table behind the PMD entry at ``slot``; 0 if out of frames.

    Returns the new table's host address. The old table keeps its other sharers; if one is left, its next write fault
    sets W in its PMD entry and copies nothing.
    """
    old = (load64(slot) & PTE_FRAME) >> 12
    new = alloc_frame(m, FRAME_PTE_TABLE, 0)
    if new == 0:
        return 0
    source, target = frame_address(m, old), frame_address(m, new)
    for i in range(ENTRIES):
        pte = load64(source + i * 8)
        if pte != 0:
            pte = copy_entry(m, source + i * 8)
        set_new_entry(m, target + i * 8, pte)
    counts = load64(m + K_COUNTS)
    copy_bytes(counts + new * TC_BYTES, counts + old * TC_BYTES, TC_BYTES)
    add_refs(m, old, -1)
    set_entry(m, slot, (new << 12) | TABLE_BITS)
    store64(m + K_TABLES_COPIED, load64(m + K_TABLES_COPIED) + 1)
    return target


@hot
def split_leaf(m: int, mm: int, slot: int) -> int:
    """Put a table of 512 entries in the place of the leaf at ``slot``: 1, or 0 if out of frames. Where the PMD table is
    shared the caller counts that for the other sharers.

    The other mappers of the 2 MiB page keep their leaves (__split_huge_pmd). W stays where the leaf had it: the page
    was this one's alone, and a part of it is no more shared than the whole.
    """
    table = alloc_frame(m, FRAME_PTE_TABLE, 0)
    if table == 0:
        return 0
    pmd = load64(slot)
    head = leaf_head(pmd)
    entries, bits = frame_address(m, table), pmd & ~(PTE_FRAME | PTE_PS)
    for i in range(ENTRIES):
        add_refs(m, head + i, 1)
        set_new_entry(m, entries + i * 8, ((head + i) << 12) | bits)
    counts = table_counts(m, table)
    fill_bytes(counts, 0, TC_BYTES)
    store16(counts, ENTRIES)
    store16(counts + TC_ENTRIES, ENTRIES)
    count_leaf(m, mm, slot, FRAME_ANON, -1)
    set_shared_entry(m, slot, (table << 12) | TABLE_BITS)
    count_table(m, mm, slot, table, 1)
    put_leaf(m, head)
    store64(m + K_LEAVES_SPLIT, load64(m + K_LEAVES_SPLIT) + 1)
    store64(m + M_FLUSH, 1)
    return 1


@hot
def own_table(m: int, mm: int, va: int) -> int:
    """Host address of the PMD entry of a PTE table for ``va`` that belongs to this address space alone; 0 if out of
    frames.

    Made if absent, copied if shared, made writable again if this was the last of its sharers; a leaf is split.
    """
    slot = make_pmd_slot(m, mm, va)
    if slot == 0:
        return 0
    pmd = load64(slot)
    if pmd & PTE_P == 0:
        frame = alloc_frame(m, FRAME_PTE_TABLE, 1)
        if frame == 0:
            return 0
        fill_bytes(table_counts(m, frame), 0, TC_BYTES)
        set_entry(m, slot, (frame << 12) | TABLE_BITS)
        count_table(m, mm, slot, frame, 1)
        return slot
    if pmd & PTE_PS:
        return slot if split_leaf(m, mm, slot) else 0
    frame = (pmd & PTE_FRAME) >> 12
    if frame_refs(m, frame) > 1:
        return slot if unshare(m, slot) else 0
    if pmd & PTE_W == 0:
        set_entry(m, slot, pmd | PTE_W)
        forget_digest(m, frame)
        store64(m + K_TABLES_REARMED, load64(m + K_TABLES_REARMED) + 1)
    return slot


@export("i64(i64,i64,i64)")
def split_at(m: int, mm: int, va: int) -> int:
    """A VMA is about to begin or end at ``va``: no leaf may lie across (vma_adjust_trans_huge). 1, or 0 for ENOMEM."""
    slot = pmd_slot(m, load64(mm + MM_ROOT), va)
    if va & (PMD_SIZE - 1) == 0 or slot == 0 or not is_leaf(load64(slot)):
        return 1
    return 1 if own_table(m, mm, va) else 0


@hot
def own_range(m: int, mm: int, start: int, end: int, whole: int) -> int:
    """Make the present tables in a range this address space's own: 1, or 0 when no frame is left.

    Without ``whole``, tables that the range covers entirely are left as they are (they will be dropped, not changed).
    A leaf that the range covers stays one, in a PMD table of this address space's own; any other is split.
    Nothing that the guest can see changes, so a caller that gets 0 can just report ENOMEM.
    """
    root = load64(mm + MM_ROOT)
    va = next_table(m, root, start, end)
    while va < end:
        base = va & -PMD_SIZE
        gigabyte = va & -PUD_SIZE
        if whole == 0 and start <= gigabyte and gigabyte + PUD_SIZE <= end:
            # The PMD table will go with all that is below.
            va = next_table(m, root, gigabyte + PUD_SIZE, end)
            continue
        inside = start <= base and base + PMD_SIZE <= end
        if whole != 0 and inside and is_leaf(load64(pmd_slot(m, root, va))):
            slot = make_pmd_slot(m, mm, va)
        elif whole != 0 or not inside:
            slot = own_table(m, mm, va)
        elif pmds_shared(m, root, va):
            # The table will be dropped from a PMD table that stays.
            slot = make_pmd_slot(m, mm, va)
        else:
            slot = 1
        if slot == 0:
            return 0
        va = next_table(m, root, base + PMD_SIZE, end)
    return 1


@hot
def free_table_if_empty(m: int, mm: int, slot: int) -> None:
    """Free the private table behind the PMD entry at ``slot`` once its last entry is gone."""
    table = (load64(slot) & PTE_FRAME) >> 12
    if load16(table_counts(m, table) + TC_ENTRIES) == 0:
        count_table(m, mm, slot, table, -1)
        set_entry(m, slot, 0)
        free_frame(m, table)
        store64(m + M_FLUSH, 1)


@hot
def pte_slot(m: int, pmd: int, va: int) -> int:
    """Host address of the PTE for ``va`` in the table that the PMD entry ``pmd`` points at."""
    return entry_slot(load64(m + M_RAM) + (pmd & PTE_FRAME), va, PAGE_SHIFT)
