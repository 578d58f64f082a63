"""Taking pages out of an address space: munmap, MADV_DONTNEED, exit. Linux: zap_page_range and free_pgtables."""

from __future__ import annotations

from emu.layout import M_FLUSH, M_RAM
from emu.native import export, hot, load64, store8, store64
from emu.paging import (
    ENTRIES,
    PAGE_SHIFT,
    PAGE_SIZE,
    PMD_SIZE,
    PTE_A,
    PTE_D,
    PTE_FRAME,
    PTE_P,
    PTE_W,
    PUD_SIZE,
    pmd_slot,
    pud_slot,
)
from kernel.mm.counts import count_entry, count_leaf, count_pmds, count_table
from kernel.mm.entries import set_entry
from kernel.mm.frames import (
    add_refs,
    frame_address,
    frame_kind,
    frame_refs,
    free_frame,
    is_cache_frame,
    mark_dirty,
    put_frame,
)
from kernel.mm.hugepages import is_leaf, leaf_head, leaf_refs, page_users, put_leaf
from kernel.mm.layout import (
    FRAME_ANON,
    FRAME_HUGETLB,
    K_ZERO,
    MM_PTES,
    MM_ROOT,
    MM_UPPER,
    PTE_GUARD,
    SWAPPED,
)
from kernel.mm.swapfile import entry_slot_number, swap_put
from kernel.mm.tables import (
    free_table_if_empty,
    next_table,
    own_range,
    pmds_shared,
    pte_slot,
)

#: What advise_range does.
CLEAN, LAZY_FREE, ZAP_CACHE = range(3)
#: What zap_tables leaves.
KEEP_NOTHING, KEEP_TABLES, KEEP_GUARDS = range(3)


@hot
def zap_entry(m: int, mm: int, table: int, slot: int) -> None:
    """Clear one entry of the private table behind the PMD entry ``table``; a cache page keeps its Dirty bit."""
    pte = load64(slot)
    frame = (pte & PTE_FRAME) >> 12
    set_entry(m, slot, 0)
    if pte & PTE_P == 0:
        count_entry(m, mm, table, SWAPPED, -1)
        swap_put(m, entry_slot_number(pte))
        return
    if frame == load64(m + K_ZERO):
        count_entry(m, mm, table, 0, -1)
        return
    count_entry(m, mm, table, frame_kind(m, frame), -1)
    if pte & PTE_D and is_cache_frame(m, frame):
        mark_dirty(m, frame)
    put_frame(m, frame)


@hot
def _put_table(m: int, table: int) -> None:
    """A shared table loses a sharer and no entry is looked at, a private one goes with its pages."""
    if add_refs(m, table, -1) > 0:
        return
    entries = frame_address(m, table)
    zero = load64(m + K_ZERO)
    for i in range(ENTRIES):
        pte = load64(entries + i * 8)
        if pte & PTE_P:
            frame = (pte & PTE_FRAME) >> 12
            if frame != zero:
                if pte & PTE_D and is_cache_frame(m, frame):
                    mark_dirty(m, frame)
                put_frame(m, frame)
        elif pte:
            swap_put(m, entry_slot_number(pte))
    free_frame(m, table)


@hot
def _drop_table(m: int, mm: int, slot: int) -> None:
    """Clear a PMD entry that points at a table."""
    table = (load64(slot) & PTE_FRAME) >> 12
    set_entry(m, slot, 0)
    count_table(m, mm, slot, table, -1)
    _put_table(m, table)


@hot
def _drop_leaf(m: int, mm: int, slot: int) -> None:
    """Clear a PMD entry that maps 2 MiB itself."""
    head = leaf_head(load64(slot))
    set_entry(m, slot, 0)
    count_leaf(m, mm, slot, frame_kind(m, head), -1)
    put_leaf(m, head)


@hot
def _drop_pmds(m: int, mm: int, slot: int) -> None:
    """Clear a PUD entry: a shared PMD table loses a sharer and no entry is looked at, a private one goes with all."""
    frame = (load64(slot) & PTE_FRAME) >> 12
    set_entry(m, slot, 0)
    count_pmds(m, mm, frame, -1)
    if add_refs(m, frame, -1) > 0:
        return
    entries = frame_address(m, frame)
    for i in range(ENTRIES):
        pmd = load64(entries + i * 8)
        if is_leaf(pmd):
            put_leaf(m, leaf_head(pmd))
        elif pmd & PTE_P:
            _put_table(m, (pmd & PTE_FRAME) >> 12)
    free_frame(m, frame)


@hot
def zap_tables(m: int, mm: int, start: int, end: int, keep: int) -> int:
    """Remove every page in [start, end): 1, or 0 when a shared table could not be copied (nothing is removed then).

    KEEP_TABLES: the mapping stays, and with it the tables that the range covers in part. KEEP_GUARDS: the guards, too.
    """
    if own_range(m, mm, start, end, 1 if keep == KEEP_GUARDS else 0) == 0:
        return 0
    root = load64(mm + MM_ROOT)
    va = next_table(m, root, start, end)
    while va < end:
        base = va & -PMD_SIZE
        gigabyte = va & -PUD_SIZE
        slot = pmd_slot(m, root, va)
        if keep != KEEP_GUARDS and start <= gigabyte and gigabyte + PUD_SIZE <= end:
            _drop_pmds(m, mm, pud_slot(m, root, va))
            base = gigabyte + PUD_SIZE - PMD_SIZE
        elif is_leaf(load64(slot)):
            # own_range has split those that the range covers in part.
            _drop_leaf(m, mm, slot)
        elif keep != KEEP_GUARDS and start <= base and base + PMD_SIZE <= end:
            _drop_table(m, mm, slot)
        else:
            for page in range(max(start, base), min(end, base + PMD_SIZE), PAGE_SIZE):
                entry = pte_slot(m, load64(slot), page)
                if load64(entry) and (keep != KEEP_GUARDS or load64(entry) & PTE_GUARD == 0):
                    zap_entry(m, mm, slot, entry)
            if keep == KEEP_NOTHING:
                free_table_if_empty(m, mm, slot)
        va = next_table(m, root, base + PMD_SIZE, end)
    store64(m + M_FLUSH, 1)
    return 1


@export("i64(i64,i64,i64,i64)")
def zap_range(m: int, mm: int, start: int, end: int) -> int:
    """The mappings of [start, end) are about to go, and their pages go now: 1, or 0 for ENOMEM."""
    return zap_tables(m, mm, start, end, KEEP_NOTHING)


@export("i64(i64,i64,i64,i64,i64)")
def discard_range(m: int, mm: int, start: int, end: int, keep: int) -> int:
    """The pages of [start, end) go, the mapping stays (KEEP_TABLES, KEEP_GUARDS): 1, or 0 for ENOMEM."""
    return zap_tables(m, mm, start, end, keep)


@export("i64(i64,i64)")
def free_tables(m: int, mm: int) -> int:
    """The address space is at its end: give back every page and every table, the PML4 last. Returns 0."""
    zap_tables(m, mm, 0, 1 << 47, KEEP_NOTHING)
    root = load64(mm + MM_ROOT)
    ram = load64(m + M_RAM)
    for i in range(ENTRIES // 2):
        pgd = load64(ram + root + i * 8)
        if pgd & PTE_P:
            puds = ram + (pgd & PTE_FRAME)
            for j in range(ENTRIES):
                pud = load64(puds + j * 8)
                if pud & PTE_P:
                    free_frame(m, (pud & PTE_FRAME) >> 12)
            free_frame(m, (pgd & PTE_FRAME) >> 12)
    free_frame(m, root >> 12)
    store64(mm + MM_UPPER, 0)
    store64(mm + MM_PTES, 0)
    store64(mm + MM_ROOT, 0)
    store64(m + M_FLUSH, 1)
    return 0


@hot
def _advise_entry(m: int, mm: int, table: int, slot: int, action: int) -> None:
    """Do ``action`` to one present entry of the private table behind the PMD entry ``table``."""
    pte = load64(slot)
    frame = (pte & PTE_FRAME) >> 12
    if is_cache_frame(m, frame):
        if action == CLEAN and pte & PTE_D:
            mark_dirty(m, frame)
            set_entry(m, slot, pte & ~(PTE_D | PTE_W))
        elif action == ZAP_CACHE:
            zap_entry(m, mm, table, slot)
    elif action == LAZY_FREE and frame_kind(m, frame) == FRAME_ANON:
        set_entry(m, slot, pte & ~PTE_D)


@export("i64(i64,i64,i64,i64,i64)")
def advise_range(m: int, mm: int, start: int, end: int, action: int) -> int:
    """Do ``action`` to the pages of [start, end): 1, or 0 when out of frames (nothing is done then).

    CLEAN (msync): the Dirty bits of cache pages move to their frames, so that they can be written back; the entries
    lose W and D, and the next store sets them again. LAZY_FREE (MADV_FREE): private pages count as clean until stored
    to again, and reclaim may drop them. ZAP_CACHE: cache pages go, private copies stay.
    """
    if own_range(m, mm, start, end, 1) == 0:
        return 0
    root = load64(mm + MM_ROOT)
    va = next_table(m, root, start, end)
    while va < end:
        base = va & -PMD_SIZE
        slot = pmd_slot(m, root, va)
        if is_leaf(load64(slot)):
            if action == LAZY_FREE:
                set_entry(m, slot, load64(slot) & ~PTE_D)
        else:
            for page in range(max(start, base), min(end, base + PMD_SIZE), PAGE_SIZE):
                entry = pte_slot(m, load64(slot), page)
                if load64(entry) & PTE_P:
                    _advise_entry(m, mm, slot, entry, action)
            free_table_if_empty(m, mm, slot)
        va = next_table(m, root, base + PMD_SIZE, end)
    store64(m + M_FLUSH, 1)
    return 1


@hot
def _page_byte(m: int, pte: int, sharers: int) -> int:
    frame = (pte & PTE_FRAME) >> 12
    if pte & PTE_GUARD:
        return 32
    if frame == load64(m + K_ZERO):
        return 1 | 32
    byte = 1
    if pte & PTE_D:
        byte |= 2
    if pte & PTE_A:
        byte |= 4
    own = 2 if is_cache_frame(m, frame) else 1
    if frame_kind(m, frame) in (FRAME_ANON, FRAME_HUGETLB):
        byte |= 8
    if sharers > 1 or page_users(m, frame) > own:
        byte |= 16
    return byte


@export("i64(i64,i64,i64,i64,i64)")
def resident_pages(m: int, mm: int, start: int, end: int, out: int) -> int:
    """Write one byte a page to host address ``out``: 1 present, 2 dirty, 4 accessed, 8 anonymous, 16 mapped elsewhere
    too, 32 the zero page, or alone a guard, 64 part of a leaf, 128 in the swap area. Pages without a table are 0.
    Returns 0."""
    root = load64(mm + MM_ROOT)
    va = next_table(m, root, start, end)
    while va < end:
        base = va & -PMD_SIZE
        pmd = load64(pmd_slot(m, root, va))
        leaf = is_leaf(pmd)
        sharers = pmds_shared(m, root, va)
        sharers += leaf_refs(m, leaf_head(pmd)) if leaf else frame_refs(m, (pmd & PTE_FRAME) >> 12)
        byte = 64 | _page_byte(m, pmd, sharers) if leaf else 0
        for page in range(max(start, base), min(end, base + PMD_SIZE), PAGE_SIZE):
            if not leaf:
                pte = load64(pte_slot(m, pmd, page))
                byte = _page_byte(m, pte, sharers) if pte & PTE_P else (128 if pte else 0)
            store8(out + ((page - start) >> PAGE_SHIFT), byte)
        va = next_table(m, root, base + PMD_SIZE, end)
    return 0
