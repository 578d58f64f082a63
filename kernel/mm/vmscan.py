"""Which anonymous pages go to the swap area: those whose Accessed bit is still clear when the scan comes round.

The second-chance clock of mm/vmscan.c, over page tables instead of a list of pages: a table that several address
spaces share is looked at once a round. Its entries become swap entries in place, which all sharers see alike; the
counters of each are adjusted. What is locked in any of them stays.
"""

from __future__ import annotations

from emu.layout import M_FLUSH, M_RAM
from emu.native import export, hot, load16, load32, load64, store16, store32, store64
from emu.paging import (
    ENTRIES,
    PAGE_SIZE,
    PMD_SIZE,
    PTE_A,
    PTE_D,
    PTE_FRAME,
    PTE_P,
    pmd_slot,
)
from kernel.mm.counts import pmd_counts, table_counts
from kernel.mm.entries import forget_digest, set_entry, set_shared_entry
from kernel.mm.frames import frame_kind, frame_refs, put_frame
from kernel.mm.hugepages import is_leaf, leaf_head, leaf_is_sole, page_users
from kernel.mm.layout import (
    FRAME_ANON,
    FRAME_HUGETLB,
    K_SCAN_ROUND,
    K_SPACE_COUNT,
    K_SPACES,
    K_STAMP,
    K_SWAP_SLOTS,
    K_USED,
    K_ZERO,
    MM_ANON,
    MM_LEAVES,
    MM_PTES,
    MM_ROOT,
    MM_SWAP,
    MM_VMA_COUNT,
    MM_VMAS,
    PC_STAMP,
    TC_ENTRIES,
    TC_ROUND,
    V_BYTES,
    V_FLAGS,
    V_START,
    VM_LOCKED,
)
from kernel.mm.swapfile import swap_out
from kernel.mm.tables import free_table_if_empty, next_table, own_table, pmds_shared, split_leaf
from kernel.mm.vma_rows import find_vma

#: What one scan has freed, per address: frames; pages that left tables; and where the next scan goes on.
SCAN_FREED, SCAN_NEXT, SCAN_BYTES = 0, 8, 16
#: What became of a page that was to go.
AREA_FULL, SWAPPED_OUT, DROPPED = range(3)


@hot
def _points_at(m: int, mm: int, va: int, table: int) -> int:
    """Host address of this address space's PMD entry for ``va`` if it points at the table in frame ``table``, or 0."""
    slot = pmd_slot(m, load64(mm + MM_ROOT), va)
    if slot == 0 or is_leaf(load64(slot)) or load64(slot) & PTE_P == 0:
        return 0
    return slot if (load64(slot) & PTE_FRAME) >> 12 == table else 0


@hot
def _locked(mm: int, base: int) -> bool:
    """Some VMA within the 2 MiB at ``base`` is locked."""
    vma = find_vma(mm, base)
    last = load64(mm + MM_VMAS) + load64(mm + MM_VMA_COUNT) * V_BYTES
    while vma != 0 and vma < last and load64(vma + V_START) < base + PMD_SIZE:
        if load64(vma + V_FLAGS) & VM_LOCKED:
            return True
        vma += V_BYTES
    return False


@hot
def _locked_somewhere(m: int, base: int, table: int) -> bool:
    """Some sharer of the table has locked memory there. A fork gives the table the same place in the child."""
    for i in range(load64(m + K_SPACE_COUNT)):
        mm = load64(load64(m + K_SPACES) + i * 8)
        if _points_at(m, mm, base, table) and _locked(mm, base):
            return True
    return False


@hot
def _count_for_all(m: int, base: int, table: int, swapped: int, dropped: int) -> None:
    """Pages of the table have become swap entries or have been dropped: enter that with every sharer."""
    counts = table_counts(m, table)
    store16(counts, load16(counts) - swapped - dropped)
    store16(counts + 6, load16(counts + 6) + swapped)
    store16(counts + TC_ENTRIES, load16(counts + TC_ENTRIES) - dropped)
    stamp = load64(m + K_STAMP) % 0x7FFFFFFF + 1
    store64(m + K_STAMP, stamp)
    for i in range(load64(m + K_SPACE_COUNT)):
        mm = load64(load64(m + K_SPACES) + i * 8)
        slot = _points_at(m, mm, base, table)
        if slot == 0:
            continue
        store64(mm + MM_ANON, load64(mm + MM_ANON) - swapped - dropped)
        store64(mm + MM_SWAP, load64(mm + MM_SWAP) + swapped)
        above = pmd_counts(m, slot)
        if load32(above + PC_STAMP) != stamp:
            store32(above + PC_STAMP, stamp)
            store32(above, load32(above) - swapped - dropped)
            store32(above + 12, load32(above + 12) + swapped)


@hot
def _let_go(m: int, slot: int) -> int:
    """Take an anonymous page out of the PTE at ``slot``: SWAPPED_OUT, DROPPED, or AREA_FULL (or none) and no change."""
    pte = load64(slot)
    frame = (pte & PTE_FRAME) >> 12
    if pte & PTE_D == 0:
        # MADV_FREE: nobody has stored to it since.
        set_shared_entry(m, slot, 0)
        put_frame(m, frame)
        return DROPPED
    return SWAPPED_OUT if load64(m + K_SWAP_SLOTS) and swap_out(m, slot, frame) else AREA_FULL


@hot
def _scan_table(m: int, table: int, base: int, want: int) -> int:
    """Swap out the pages of a table that were not accessed since the last round; returns frames freed, -1 when the
    swap area is full."""
    entries = load64(m + M_RAM) + (table << 12)
    zero = load64(m + K_ZERO)
    swapped = dropped = full = 0
    used = load64(m + K_USED)
    for i in range(ENTRIES):
        slot = entries + i * 8
        pte = load64(slot)
        if used - load64(m + K_USED) >= want:
            break
        if pte & PTE_P == 0:
            continue
        frame = (pte & PTE_FRAME) >> 12
        if frame == zero or frame_kind(m, frame) != FRAME_ANON:
            continue
        if pte & PTE_A:
            set_shared_entry(m, slot, pte & ~PTE_A)
            continue
        left = _let_go(m, slot)
        if left == AREA_FULL:
            full = 1
            break
        swapped += left == SWAPPED_OUT
        dropped += left == DROPPED
    if swapped or dropped:
        _count_for_all(m, base, table, swapped, dropped)
        forget_digest(m, table)
    freed = used - load64(m + K_USED)
    return -1 if full and freed == 0 else freed


@hot
def _scan_leaf(m: int, mm: int, slot: int, base: int) -> bool:
    """A 2 MiB page that was not accessed is split, so that its parts can go; True when a table is there now.

    In a shared PMD table, too: all sharers have the table in the place of the leaf then.
    """
    pmd = load64(slot)
    if frame_kind(m, leaf_head(pmd)) == FRAME_HUGETLB:
        return False
    if pmd & PTE_A:
        set_shared_entry(m, slot, pmd & ~PTE_A)
        return False
    if split_leaf(m, mm, slot) == 0:
        return False
    for i in range(load64(m + K_SPACE_COUNT)):
        other = load64(load64(m + K_SPACES) + i * 8)
        if other != mm and pmd_slot(m, load64(other + MM_ROOT), base) == slot:
            store64(other + MM_LEAVES, load64(other + MM_LEAVES) - 1)
            store64(other + MM_PTES, load64(other + MM_PTES) + 1)
    return True


@export("i64(i64,i64,i64,i64,i64)")
def scan_space(m: int, mm: int, start: int, want: int, out: int) -> int:
    """Free up to ``want`` frames of one address space, from address ``start`` on: 1, or 0 when the swap area is full.

    ``out`` (SCAN_*) gets the frames freed and the address where the next scan of this space goes on, 1 << 47 at its
    end.
    """
    root = load64(mm + MM_ROOT)
    end = 1 << 47
    freed, full = 0, 0
    va = next_table(m, root, start, end)
    while va < end and freed < want and full == 0:
        base = va & -PMD_SIZE
        slot = pmd_slot(m, root, va)
        if not _locked(mm, base) and (not is_leaf(load64(slot)) or _scan_leaf(m, mm, slot, base)):
            table = (load64(slot) & PTE_FRAME) >> 12
            seen = table_counts(m, table) + TC_ROUND
            shared = frame_refs(m, table) > 1 or pmds_shared(m, root, va)
            if load16(seen) != load64(m + K_SCAN_ROUND) and not (shared and _locked_somewhere(m, base, table)):
                got = _scan_table(m, table, base, want - freed)
                if got < 0:
                    full = 1
                else:
                    freed += got
                if freed < want:
                    store16(seen, load64(m + K_SCAN_ROUND))
            if not shared:
                free_table_if_empty(m, mm, slot)
        # Where enough was found, the same table goes on giving the next time.
        va = base if freed >= want else next_table(m, root, base + PMD_SIZE, end)
    store64(out + SCAN_FREED, freed)
    store64(out + SCAN_NEXT, va)
    store64(m + M_FLUSH, 1)
    return 0 if full else 1


@hot
def _age_table(m: int, pmd: int, base: int, start: int, end: int, out: int) -> None:
    """The pages of [start, end) in one private table: clear A, or swap out."""
    table = (pmd & PTE_FRAME) >> 12
    swapped = dropped = 0
    for page in range(start, end, PAGE_SIZE):
        slot = load64(m + M_RAM) + (table << 12) + ((page - base) >> 12) * 8
        pte = load64(slot)
        frame = (pte & PTE_FRAME) >> 12
        if pte & PTE_P == 0 or frame == load64(m + K_ZERO) or frame_kind(m, frame) != FRAME_ANON:
            continue
        if page_users(m, frame) != 1:
            continue
        if not out:
            set_entry(m, slot, pte & ~PTE_A)
        else:
            left = _let_go(m, slot)
            swapped += left == SWAPPED_OUT
            dropped += left == DROPPED
    if swapped or dropped:
        _count_for_all(m, base, table, swapped, dropped)


@export("i64(i64,i64,i64,i64,i64)")
def age_range(m: int, mm: int, start: int, end: int, out: int) -> int:
    """MADV_COLD, or MADV_PAGEOUT with ``out``: pages that only this address space maps become the next to go, or go.

    Tables and pages that others map too are left alone (madvise_cold_or_pageout_pte_range). Returns 0.
    """
    root = load64(mm + MM_ROOT)
    va = next_table(m, root, start, end)
    while va < end:
        base = va & -PMD_SIZE
        slot = pmd_slot(m, root, va)
        mine = pmds_shared(m, root, va) == 0
        if is_leaf(load64(slot)):
            inside = start <= base and base + PMD_SIZE <= end
            if mine and leaf_is_sole(m, leaf_head(load64(slot))):
                if inside and not out:
                    set_entry(m, slot, load64(slot) & ~PTE_A)
                else:
                    own_table(m, mm, va)
        if mine and not is_leaf(load64(slot)) and frame_refs(m, (load64(slot) & PTE_FRAME) >> 12) == 1:
            _age_table(m, load64(slot), base, max(start, base), min(end, base + PMD_SIZE), out)
            free_table_if_empty(m, mm, slot)
        va = next_table(m, root, base + PMD_SIZE, end)
    store64(m + M_FLUSH, 1)
    return 0
