"""A full recount of page tables and frames, compiled: what ``check.py`` compares the books with.

``seen`` is a block of words (SEEN_*): the addresses of the caller's scratch arrays (int32 a frame, PMD entries per
table or leaves per 2 MiB page, and distinct tables per page; int32 a slot, tables per slot; digests of tables, two
int64 a frame), and lists of what is to be counted. A violation ends the count: its code is returned, three words in
the block say where, and one in which address space.
"""

from __future__ import annotations

from emu.layout import M_RAM
from emu.native import export, fill_bytes, hot, load8, load16, load32, load64, store32, store64
from emu.paging import (
    ENTRIES,
    PAGE_SIZE,
    PGD_SHIFT,
    PMD_SIZE,
    PTE_A,
    PTE_FRAME,
    PTE_P,
    PTE_W,
    PUD_SHIFT,
    pmd_slot,
    pud_slot,
)
from kernel.mm.counts import table_counts
from kernel.mm.frames import frame_kind, frame_refs
from kernel.mm.hugepages import is_leaf, leaf_head, leaf_refs, page_users
from kernel.mm.layout import (
    DIGEST_BYTES,
    FRAME_ANON,
    FRAME_FILE,
    FRAME_FREE,
    FRAME_HUGE,
    FRAME_KIND,
    FRAME_PTE_TABLE,
    FRAME_SHMEM,
    FRAME_UPPER_TABLE,
    K_KIND,
    K_PMD_COUNTS,
    K_SWAP_FRESH,
    K_ZERO,
    MM_ANON,
    MM_FILE,
    MM_LEAVES,
    MM_PTES,
    MM_ROOT,
    MM_SHMEM,
    MM_SWAP,
    MM_UPPER,
    MM_VMA_COUNT,
    MM_VMAS,
    PC_BYTES,
    PC_LEAVES,
    PC_TABLES,
    TC_ENTRIES,
    V_BYTES,
    V_END,
    V_START,
)
from kernel.mm.swapfile import swap_refs
from kernel.mm.tables import next_table, next_used
from kernel.mm.vma_rows import find_vma

#: Offsets in the block. The lists are of addresses of mm, and of pairs: an int32 array of frames and its length.
SEEN_TABLES, SEEN_PAGES, SEEN_SLOTS, SEEN_HASHES = 0, 8, 16, 24
SEEN_SPACES, SEEN_SPACE_COUNT, SEEN_CACHES, SEEN_CACHE_COUNT = 32, 40, 48, 56
#: Results: three words about a violation, the index of its address space or -1, and how many frames are in use.
SEEN_WHERE, SEEN_SPACE, SEEN_USED = 64, 88, 96
SEEN_BYTES = 104

#: Codes: the invariant's number times 10, and a variant.
BAD_SHARERS, BAD_SHARED_WRITABLE, BAD_CHANGED, BAD_REFS, BAD_FREE_MAPPED, BAD_BOTH_WRITABLE = 10, 20, 30, 40, 41, 50
BAD_OUTSIDE, BAD_LEAK, BAD_TABLE_COUNTS, BAD_SPACE_COUNTS, BAD_UPPER = 60, 70, 80, 81, 82
BAD_LEAF_REFS, BAD_SLOT_REFS, BAD_LEAF_WRITABLE = 42, 43, 51


@hot
def _bump(array: int, frame: int) -> int:
    value = load32(array + frame * 4) + 1
    store32(array + frame * 4, value)
    return value


@hot
def _report(seen: int, a: int, b: int, c: int, code: int) -> int:
    store64(seen + SEEN_WHERE, a)
    store64(seen + SEEN_WHERE + 8, b)
    store64(seen + SEEN_WHERE + 16, c)
    return code


#: Odd; times an entry's index it is the entry's weight in its table's digest.
DIGEST_WEIGHT = 0x1E37_79B9_7F4A_7C15
DIGEST_MASK = 0x00FF_FFFF_FFFF_FFFF
"""Keeps a digest the same in wrapping machine arithmetic and in Python's."""


@hot
def _scan_table(m: int, table: int, seen: int) -> int:
    """Count the pages of a table met for the first time; its own counters must agree."""
    entries = load64(m + M_RAM) + (table << 12)
    anon = file = shmem = swapped = present = 0
    digest = 0
    zero = load64(m + K_ZERO)
    i = next_used(entries, 0)
    while i < ENTRIES:
        pte = load64(entries + i * 8)
        digest = (digest + (pte & ~(PTE_A | PTE_W)) * ((i + 1) * DIGEST_WEIGHT & DIGEST_MASK)) & DIGEST_MASK
        present += 1
        frame = (pte & PTE_FRAME) >> 12
        if pte & PTE_P == 0:
            swapped += 1
            _bump(load64(seen + SEEN_SLOTS), frame)
        elif frame != zero:
            kind = frame_kind(m, frame)
            _bump(load64(seen + SEEN_PAGES), frame)
            if kind == FRAME_ANON:
                anon += 1
            elif kind == FRAME_FILE:
                file += 1
            elif kind == FRAME_SHMEM:
                shmem += 1
            else:
                return _report(seen, table, i, frame, BAD_FREE_MAPPED)
        i = next_used(entries, i + 1)
    counts = table_counts(m, table)
    if (load16(counts) != anon or load16(counts + 2) != file or load16(counts + 4) != shmem
            or load16(counts + 6) != swapped or load16(counts + TC_ENTRIES) != present):
        return _report(seen, table, present, load16(counts + TC_ENTRIES), BAD_TABLE_COUNTS)
    # Slot 0: sharers at the last check, slot 1: digest then. Both shared: nothing but A and W may have changed.
    hashes = load64(seen + SEEN_HASHES) + table * DIGEST_BYTES
    shared = frame_refs(m, table)
    if shared > 1 and load64(hashes) > 1 and load64(hashes + 8) != digest:
        return _report(seen, table, shared, 0, BAD_CHANGED)
    store64(hashes, shared)
    store64(hashes + 8, digest)
    return 0


@hot
def _in_some_vma(mm: int, start: int, end: int) -> bool:
    """One VMA covers [start, end)."""
    vma = find_vma(mm, start)
    return vma != 0 and load64(vma + V_START) <= start and load64(vma + V_END) >= end


@hot
def _inside_vmas(m: int, mm: int, pmd: int, base: int, seen: int) -> int:
    """Every entry behind the PMD entry ``pmd`` lies in some VMA of this sharer; a leaf lies in one VMA."""
    if is_leaf(pmd):
        if _in_some_vma(mm, base, base + PMD_SIZE):
            return 0
        return _report(seen, leaf_head(pmd), 0, base, BAD_OUTSIDE)
    if _in_some_vma(mm, base, base + PMD_SIZE):
        return 0
    table = (pmd & PTE_FRAME) >> 12
    vma = find_vma(mm, base)
    last = load64(mm + MM_VMAS) + load64(mm + MM_VMA_COUNT) * V_BYTES
    entries = load64(m + M_RAM) + (table << 12)
    i = next_used(entries, 0)
    while i < ENTRIES:
        va = base + i * PAGE_SIZE
        while vma and load64(vma + V_END) <= va:
            vma = vma + V_BYTES if vma + V_BYTES < last else 0
        if vma == 0 or load64(vma + V_START) > va:
            return _report(seen, table, i, va, BAD_OUTSIDE)
        i = next_used(entries, i + 1)
    return 0


@hot
def _scan_pmds(m: int, pmds: int, base: int, seen: int) -> int:
    """Count the tables and leaves below a PMD table met for the first time; its own counters must agree."""
    entries = load64(m + M_RAM) + (pmds << 12)
    above = load64(m + K_PMD_COUNTS) + pmds * PC_BYTES
    anon = file = shmem = swapped = tables = leaves = 0
    i = next_used(entries, 0)
    while i < ENTRIES:
        pmd = load64(entries + i * 8)
        if is_leaf(pmd):
            leaves += 1
            _bump(load64(seen + SEEN_TABLES), leaf_head(pmd))
            if frame_kind(m, leaf_head(pmd)) == FRAME_ANON:
                anon += ENTRIES
        elif pmd & PTE_P:
            table = (pmd & PTE_FRAME) >> 12
            tables += 1
            if frame_refs(m, table) > 1 and pmd & PTE_W:
                return _report(seen, table, base + i * PMD_SIZE, frame_refs(m, table), BAD_SHARED_WRITABLE)
            if _bump(load64(seen + SEEN_TABLES), table) == 1:
                code = _scan_table(m, table, seen)
                if code:
                    return code
            counts = table_counts(m, table)
            anon += load16(counts)
            file += load16(counts + 2)
            shmem += load16(counts + 4)
            swapped += load16(counts + 6)
        i = next_used(entries, i + 1)
    if (anon != load32(above) or file != load32(above + 4) or shmem != load32(above + 8)
            or swapped != load32(above + 12) or tables != load32(above + PC_TABLES)
            or leaves != load32(above + PC_LEAVES)):
        return _report(seen, pmds, tables, load32(above + PC_TABLES), BAD_TABLE_COUNTS)
    return 0


@hot
def _recount_space(m: int, mm: int, seen: int) -> int:
    """Count one address space into the scratch arrays: 0, or the code of what is wrong with it."""
    ram = load64(m + M_RAM)
    root = load64(mm + MM_ROOT)
    uppers = pages = tables = leaves = swapped = 0
    seen_tables = load64(seen + SEEN_TABLES)
    _bump(seen_tables, root >> 12)
    i = next_used(ram + root, 0)
    while i < ENTRIES:
        puds = load64(ram + root + i * 8) & PTE_FRAME
        uppers += 1
        _bump(seen_tables, puds >> 12)
        j = next_used(ram + puds, 0)
        while j < ENTRIES:
            pud = load64(ram + puds + j * 8)
            uppers += 1
            pmds = (pud & PTE_FRAME) >> 12
            base = (i << PGD_SHIFT) + (j << PUD_SHIFT)
            if frame_refs(m, pmds) > 1 and pud & PTE_W:
                return _report(seen, pmds, base, frame_refs(m, pmds), BAD_SHARED_WRITABLE)
            if _bump(seen_tables, pmds) == 1:
                code = _scan_pmds(m, pmds, base, seen)
                if code:
                    return code
            above = load64(m + K_PMD_COUNTS) + pmds * PC_BYTES
            # One number for the three kinds: a mistake between them shows in the PMD tables' own counts.
            pages += load32(above) + 3 * load32(above + 4) + 5 * load32(above + 8)
            swapped += load32(above + 12)
            tables += load32(above + PC_TABLES)
            leaves += load32(above + PC_LEAVES)
            j = next_used(ram + puds, j + 1)
        i = next_used(ram + root, i + 1)
    if uppers != load64(mm + MM_UPPER):
        return _report(seen, uppers, load64(mm + MM_UPPER), 0, BAD_UPPER)
    if (pages != load64(mm + MM_ANON) + 3 * load64(mm + MM_FILE) + 5 * load64(mm + MM_SHMEM)
            or swapped != load64(mm + MM_SWAP) or tables != load64(mm + MM_PTES)
            or leaves != load64(mm + MM_LEAVES)):
        return _report(seen, pages, tables, 0, BAD_SPACE_COUNTS)
    va = next_table(m, root, 0, 1 << 47)
    while va < 1 << 47:
        base = va & -PMD_SIZE
        code = _inside_vmas(m, mm, load64(pmd_slot(m, root, va)), base, seen)
        if code:
            return code
        va = next_table(m, root, base + PMD_SIZE, 1 << 47)
    return 0


@hot
def _writable_leaf(m: int, pmd: int, va: int, seen: int) -> int:
    """A 2 MiB page that can be stored to directly has one leaf, and no table maps a part of it."""
    head = leaf_head(pmd)
    mappers = load32(load64(seen + SEEN_TABLES) + head * 4)
    for i in range(ENTRIES):
        mappers += load32(load64(seen + SEEN_PAGES) + (head + i) * 4)
    return 0 if mappers == 1 else _report(seen, head, va, mappers, BAD_LEAF_WRITABLE)


@hot
def _writable_pages(m: int, pmd: int, seen: int) -> int:
    entries = load64(m + M_RAM) + (pmd & PTE_FRAME)
    i = next_used(entries, 0)
    while i < ENTRIES:
        pte = load64(entries + i * 8)
        if pte & PTE_P and pte & PTE_W:
            frame = (pte & PTE_FRAME) >> 12
            shared = frame_kind(m, frame) == FRAME_ANON and (
                load32(load64(seen + SEEN_PAGES) + frame * 4) != 1 or page_users(m, frame) != 1)
            if shared or frame == load64(m + K_ZERO):
                return _report(seen, (pmd & PTE_FRAME) >> 12, i, frame, BAD_BOTH_WRITABLE)
        i = next_used(entries, i + 1)
    return 0


@hot
def _recount_writable(m: int, mm: int, seen: int) -> int:
    """A private page that can be stored to directly is mapped by one table only: 0, or what is wrong."""
    root = load64(mm + MM_ROOT)
    va = next_table(m, root, 0, 1 << 47)
    while va < 1 << 47:
        base = va & -PMD_SIZE
        pmd = load64(pmd_slot(m, root, va))
        if pmd & PTE_W and load64(pud_slot(m, root, va)) & PTE_W:
            code = _writable_leaf(m, pmd, base, seen) if is_leaf(pmd) else _writable_pages(m, pmd, seen)
            if code:
                return code
        va = next_table(m, root, base + PMD_SIZE, 1 << 47)
    return 0


@hot
def _recount_caches(seen: int) -> None:
    """Add one reference for each frame that a cache holds."""
    pages = load64(seen + SEEN_PAGES)
    for cache in range(load64(seen + SEEN_CACHE_COUNT)):
        frames = load64(load64(seen + SEEN_CACHES) + cache * 16)
        for i in range(load64(load64(seen + SEEN_CACHES) + cache * 16 + 8)):
            frame = load32(frames + i * 4)
            if frame:
                _bump(pages, frame)


@hot
def _bad_frame(m: int, frame: int, seen: int) -> int:
    kind = load8(load64(m + K_KIND) + frame)
    refs = frame_refs(m, frame)
    counted = load32(load64(seen + SEEN_TABLES) + frame * 4)
    if kind & FRAME_KIND in (FRAME_PTE_TABLE, FRAME_UPPER_TABLE):
        if refs != counted:
            return _report(seen, frame, refs, counted, BAD_LEAK if counted == 0 else BAD_SHARERS)
        return 0
    head = frame & -ENTRIES
    if kind & FRAME_HUGE:
        counted = load32(load64(seen + SEEN_TABLES) + head * 4)
        if leaf_refs(m, head) != counted:
            return _report(seen, head, leaf_refs(m, head), counted, BAD_LEAK if counted == 0 else BAD_LEAF_REFS)
    elif counted:
        return _report(seen, frame, 0, counted, BAD_LEAF_REFS)
    counted = load32(load64(seen + SEEN_PAGES) + frame * 4)
    if refs != counted:
        return _report(seen, frame, refs, counted, BAD_LEAK if counted == 0 else BAD_REFS)
    return 0


@hot
def _recount_frames(m: int, first: int, last: int, seen: int) -> int:
    """Compare every frame of [first, last) and every slot with what was counted: 0, or the first difference's code."""
    used = 0
    for frame in range(first, last):
        code = _bad_frame(m, frame, seen)
        if code:
            return code
        used += frame_kind(m, frame) != FRAME_FREE
        digest = load64(seen + SEEN_HASHES) + frame * DIGEST_BYTES
        if load32(load64(seen + SEEN_TABLES) + frame * 4) == 0 and load64(digest):
            store64(digest, 0)  # the table is gone, the next one starts afresh
    store64(seen + SEEN_USED, used)
    for number in range(load64(m + K_SWAP_FRESH)):
        counted = load32(load64(seen + SEEN_SLOTS) + number * 4)
        if swap_refs(m, number) != counted:
            return _report(seen, number, swap_refs(m, number), counted, BAD_SLOT_REFS)
    return 0


@export("i64(i64,i64,i64,i64)")
def recount(m: int, first: int, last: int, seen: int) -> int:
    """Count everything anew, frames [first, last): 0, or the code of the first violation."""
    fill_bytes(load64(seen + SEEN_TABLES), 0, last * 4)
    fill_bytes(load64(seen + SEEN_PAGES), 0, last * 4)
    fill_bytes(load64(seen + SEEN_SLOTS), 0, load64(m + K_SWAP_FRESH) * 4)
    spaces = load64(seen + SEEN_SPACES)
    for i in range(load64(seen + SEEN_SPACE_COUNT)):
        store64(seen + SEEN_SPACE, i)
        code = _recount_space(m, load64(spaces + i * 8), seen)
        if code:
            return code
    for i in range(load64(seen + SEEN_SPACE_COUNT)):
        store64(seen + SEEN_SPACE, i)
        code = _recount_writable(m, load64(spaces + i * 8), seen)
        if code:
            return code
    store64(seen + SEEN_SPACE, -1)
    _recount_caches(seen)
    return _recount_frames(m, first, last, seen)
