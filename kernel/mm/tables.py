"""PTE tables: finding them, making them, sharing them, making a shared one one's own.

Rules (ODF): ``sharers(T)`` is T's reference count. While it is above 1, W is clear in every PMD entry that points at T
and no entry of T changes, but for Accessed bits and for W being taken away when T is copied. A table that is being
copied is complete before a PMD entry points at it.
"""

from __future__ import annotations

from emu.layout import M_FLUSH, M_RAM
from emu.native import hot, load16, load64, store16, store64
from emu.paging import (
    ENTRIES,
    PAGE_SHIFT,
    PGD_SHIFT,
    PMD_SHIFT,
    PMD_SIZE,
    PTE_FRAME,
    PTE_P,
    PTE_W,
    PUD_SHIFT,
    TABLE_BITS,
    entry_slot,
)
from kernel.mm.frames import add_refs, alloc_frame, frame_address, frame_kind, frame_refs, free_frame
from kernel.mm.layout import (
    FRAME_ANON,
    FRAME_FILE,
    FRAME_PTE_TABLE,
    FRAME_SHMEM,
    FRAME_UPPER_TABLE,
    K_COUNTS,
    K_TABLES_COPIED,
    K_TABLES_REARMED,
    K_ZERO,
    MM_ANON,
    MM_FILE,
    MM_PEAK,
    MM_PTES,
    MM_ROOT,
    MM_SHMEM,
    MM_UPPER,
)


@hot
def count_entry(m: int, mm: int, table: int, kind: int, change: int) -> None:
    """Enter a page of ``kind`` that appears in (+1) or goes from (-1) the private table in frame ``table``."""
    counts = load64(m + K_COUNTS) + table * 8
    if kind == FRAME_ANON:
        store16(counts, load16(counts) + change)
        store64(mm + MM_ANON, load64(mm + MM_ANON) + change)
    elif kind == FRAME_FILE:
        store16(counts + 2, load16(counts + 2) + change)
        store64(mm + MM_FILE, load64(mm + MM_FILE) + change)
    elif kind == FRAME_SHMEM:
        store16(counts + 4, load16(counts + 4) + change)
        store64(mm + MM_SHMEM, load64(mm + MM_SHMEM) + change)
    store16(counts + 6, load16(counts + 6) + change)
    if change > 0:
        note_peak(mm)


@hot
def note_peak(mm: int) -> None:
    """Keep the high-water mark of resident pages (VmHWM)."""
    resident = load64(mm + MM_ANON) + load64(mm + MM_FILE) + load64(mm + MM_SHMEM)
    if resident > load64(mm + MM_PEAK):
        store64(mm + MM_PEAK, resident)


@hot
def count_table(m: int, mm: int, table: int, sign: int) -> None:
    """Enter all pages of a table that this address space begins (+1) or ceases (-1) to point at."""
    counts = load64(m + K_COUNTS) + table * 8
    store64(mm + MM_ANON, load64(mm + MM_ANON) + sign * load16(counts))
    store64(mm + MM_FILE, load64(mm + MM_FILE) + sign * load16(counts + 2))
    store64(mm + MM_SHMEM, load64(mm + MM_SHMEM) + sign * load16(counts + 4))
    store64(mm + MM_PTES, load64(mm + MM_PTES) + sign)
    if sign > 0:
        note_peak(mm)


@hot
def _descend(m: int, mm: int, slot: int) -> int:
    """The upper table that the entry at ``slot`` points at, made if absent; 0 when no frame is left."""
    entry = load64(slot)
    if entry & PTE_P == 0:
        frame = alloc_frame(m, FRAME_UPPER_TABLE, 1)
        if frame == 0:
            return 0
        entry = (frame << 12) | TABLE_BITS
        store64(slot, entry)
        store64(mm + MM_UPPER, load64(mm + MM_UPPER) + 1)
    return load64(m + M_RAM) + (entry & PTE_FRAME)


@hot
def make_pmd_slot(m: int, mm: int, va: int) -> int:
    """Host address of the PMD entry for ``va``, upper tables made as needed; 0 when no frame is left."""
    table = load64(m + M_RAM) + load64(mm + MM_ROOT)
    table = _descend(m, mm, entry_slot(table, va, PGD_SHIFT))
    if table == 0:
        return 0
    table = _descend(m, mm, entry_slot(table, va, PUD_SHIFT))
    if table == 0:
        return 0
    return entry_slot(table, va, PMD_SHIFT)


@hot
def next_table(m: int, root: int, va: int, end: int) -> int:
    """The first address from ``va`` on (below ``end``) whose PMD entry is present, or ``end``."""
    ram = load64(m + M_RAM)
    while va < end:
        entry = load64(entry_slot(ram + root, va, PGD_SHIFT))
        if entry & PTE_P == 0:
            va = ((va >> PGD_SHIFT) + 1) << PGD_SHIFT
            continue
        entry = load64(entry_slot(ram + (entry & PTE_FRAME), va, PUD_SHIFT))
        if entry & PTE_P == 0:
            va = ((va >> PUD_SHIFT) + 1) << PUD_SHIFT
            continue
        pmds = ram + (entry & PTE_FRAME)
        stop = min(end, ((va >> PUD_SHIFT) + 1) << PUD_SHIFT)
        while va < stop:
            if load64(entry_slot(pmds, va, PMD_SHIFT)) & PTE_P:
                return va
            va = (va & -PMD_SIZE) + PMD_SIZE
    return end


@hot
def copy_entry(m: int, slot: int) -> int:
    """The entry as a second table may hold it; a private page loses W here as well, and gains a reference."""
    pte = load64(slot)
    if pte & PTE_P == 0:
        return pte
    frame = (pte & PTE_FRAME) >> 12
    if frame == load64(m + K_ZERO):
        return pte
    add_refs(m, frame, 1)
    if pte & PTE_W and frame_kind(m, frame) == FRAME_ANON:
        pte &= ~PTE_W
        store64(slot, pte)
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
        store64(target + i * 8, pte)
    counts = load64(m + K_COUNTS)
    store64(counts + new * 8, load64(counts + old * 8))
    add_refs(m, old, -1)
    store64(slot, (new << 12) | TABLE_BITS)
    store64(m + K_TABLES_COPIED, load64(m + K_TABLES_COPIED) + 1)
    return target


@hot
def own_table(m: int, mm: int, va: int) -> int:
    """Host address of a PTE table for ``va`` that belongs to this address space alone; 0 when no frame is left.

    Made if absent, copied if shared, made writable again if this was the last of its sharers.
    """
    slot = make_pmd_slot(m, mm, va)
    if slot == 0:
        return 0
    pmd = load64(slot)
    if pmd & PTE_P == 0:
        frame = alloc_frame(m, FRAME_PTE_TABLE, 1)
        if frame == 0:
            return 0
        store64(load64(m + K_COUNTS) + frame * 8, 0)
        store64(slot, (frame << 12) | TABLE_BITS)
        store64(mm + MM_PTES, load64(mm + MM_PTES) + 1)
        return frame_address(m, frame)
    frame = (pmd & PTE_FRAME) >> 12
    if frame_refs(m, frame) > 1:
        return unshare(m, slot)
    if pmd & PTE_W == 0:
        store64(slot, pmd | PTE_W)
        store64(m + K_TABLES_REARMED, load64(m + K_TABLES_REARMED) + 1)
    return frame_address(m, frame)


@hot
def own_range(m: int, mm: int, start: int, end: int, whole: int) -> int:
    """Make the present tables in a range this address space's own: 1, or 0 when no frame is left.

    Without ``whole``, tables that the range covers entirely are left as they are (they will be dropped, not changed).
    Nothing that the guest can see changes, so a caller that gets 0 can just report ENOMEM.
    """
    root = load64(mm + MM_ROOT)
    va = next_table(m, root, start, end)
    while va < end:
        base = va & -PMD_SIZE
        covered = start <= base and base + PMD_SIZE <= end
        if (whole != 0 or not covered) and own_table(m, mm, va) == 0:
            return 0
        va = next_table(m, root, base + PMD_SIZE, end)
    return 1


@hot
def free_table_if_empty(m: int, mm: int, slot: int) -> None:
    """Free the private table behind the PMD entry at ``slot`` once its last entry is gone."""
    table = (load64(slot) & PTE_FRAME) >> 12
    if load16(load64(m + K_COUNTS) + table * 8 + 6) == 0:
        store64(slot, 0)
        store64(mm + MM_PTES, load64(mm + MM_PTES) - 1)
        free_frame(m, table)
        store64(m + M_FLUSH, 1)


@hot
def pte_slot(m: int, pmd: int, va: int) -> int:
    """Host address of the PTE for ``va`` in the table that the PMD entry ``pmd`` points at."""
    return entry_slot(load64(m + M_RAM) + (pmd & PTE_FRAME), va, PAGE_SHIFT)
