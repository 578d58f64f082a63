"""A full recount of page tables and frames, compiled: what ``check.py`` compares the books with.

Scratch arrays (int32 a frame, from the caller): ``seen_tables`` PMD entries per table, ``seen_pages`` distinct tables
per page. A violation ends the count: its code is returned and the three words at ``where`` say where.
"""

from __future__ import annotations

from emu.layout import M_RAM
from emu.native import export, hot, load8, load16, load32, load64, store32, store64
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
from kernel.mm.frames import frame_kind, frame_refs
from kernel.mm.layout import (
    FRAME_ANON,
    FRAME_FILE,
    FRAME_KIND,
    FRAME_PTE_TABLE,
    FRAME_SHMEM,
    FRAME_UPPER_TABLE,
    K_COUNTS,
    K_KIND,
    K_PMD_COUNTS,
    K_ZERO,
    MM_ANON,
    MM_FILE,
    MM_PTES,
    MM_ROOT,
    MM_SHMEM,
    MM_UPPER,
    MM_VMA_COUNT,
    MM_VMAS,
    V_BYTES,
    V_END,
    V_START,
)
from kernel.mm.tables import next_table

#: Codes: the invariant's number times 10, and a variant.
BAD_SHARERS, BAD_SHARED_WRITABLE, BAD_CHANGED, BAD_REFS, BAD_FREE_MAPPED, BAD_BOTH_WRITABLE = 10, 20, 30, 40, 41, 50
BAD_OUTSIDE, BAD_LEAK, BAD_TABLE_COUNTS, BAD_SPACE_COUNTS, BAD_UPPER = 60, 70, 80, 81, 82


@hot
def _bump(array: int, frame: int) -> int:
    value = load32(array + frame * 4) + 1
    store32(array + frame * 4, value)
    return value


@hot
def _report(where: int, a: int, b: int, c: int, code: int) -> int:
    store64(where, a)
    store64(where + 8, b)
    store64(where + 16, c)
    return code


DIGEST_MASK = 0x00FF_FFFF_FFFF_FFFF
"""Keeps a digest the same in wrapping machine arithmetic and in Python's."""


@hot
def _scan_table(m: int, table: int, seen_pages: int, hashes: int, where: int) -> int:
    """Count the pages of a table met for the first time; its own counters must agree."""
    entries = load64(m + M_RAM) + (table << 12)
    anon = file = shmem = present = 0
    digest = 0
    zero = load64(m + K_ZERO)
    for i in range(ENTRIES):
        pte = load64(entries + i * 8)
        digest = (digest * 31 + (pte & ~(PTE_A | PTE_W))) & DIGEST_MASK
        if pte & PTE_P:
            present += 1
            frame = (pte & PTE_FRAME) >> 12
            if frame != zero:
                kind = frame_kind(m, frame)
                _bump(seen_pages, frame)
                if kind == FRAME_ANON:
                    anon += 1
                elif kind == FRAME_FILE:
                    file += 1
                elif kind == FRAME_SHMEM:
                    shmem += 1
                else:
                    return _report(where, table, i, frame, BAD_FREE_MAPPED)
    counts = load64(m + K_COUNTS) + table * 8
    if (load16(counts) != anon or load16(counts + 2) != file or load16(counts + 4) != shmem
            or load16(counts + 6) != present):
        return _report(where, table, present, load16(counts + 6), BAD_TABLE_COUNTS)
    # Slot 0: sharers at the last check, slot 1: digest then. Both shared: nothing but A and W may have changed.
    shared = frame_refs(m, table)
    if shared > 1 and load64(hashes + table * 16) > 1 and load64(hashes + table * 16 + 8) != digest:
        return _report(where, table, shared, 0, BAD_CHANGED)
    store64(hashes + table * 16, shared)
    store64(hashes + table * 16 + 8, digest)
    return 0


@hot
def _inside_vmas(m: int, mm: int, table: int, base: int, where: int) -> int:
    """Every present entry of a table lies in some VMA of this sharer."""
    rows, count = load64(mm + MM_VMAS), load64(mm + MM_VMA_COUNT)
    low, high = 0, count
    while low < high:
        middle = (low + high) >> 1
        if load64(rows + middle * V_BYTES + V_END) > base:
            high = middle
        else:
            low = middle + 1
    entries = load64(m + M_RAM) + (table << 12)
    for i in range(ENTRIES):
        if load64(entries + i * 8) & PTE_P:
            va = base + i * PAGE_SIZE
            while low < count and load64(rows + low * V_BYTES + V_END) <= va:
                low += 1
            if low >= count or load64(rows + low * V_BYTES + V_START) > va:
                return _report(where, table, i, va, BAD_OUTSIDE)
    return 0


@hot
def _scan_pmds(m: int, pmds: int, base: int, seen_tables: int, seen_pages: int, hashes: int, where: int) -> int:
    """Count the tables below a PMD table met for the first time; its own counters must agree."""
    entries = load64(m + M_RAM) + (pmds << 12)
    above = load64(m + K_PMD_COUNTS) + pmds * 16
    anon = file = shmem = tables = 0
    for i in range(ENTRIES):
        pmd = load64(entries + i * 8)
        if pmd & PTE_P:
            table = (pmd & PTE_FRAME) >> 12
            tables += 1
            if frame_refs(m, table) > 1 and pmd & PTE_W:
                return _report(where, table, base + i * PMD_SIZE, frame_refs(m, table), BAD_SHARED_WRITABLE)
            if _bump(seen_tables, table) == 1:
                code = _scan_table(m, table, seen_pages, hashes, where)
                if code:
                    return code
            counts = load64(m + K_COUNTS) + table * 8
            anon += load16(counts)
            file += load16(counts + 2)
            shmem += load16(counts + 4)
    if (anon != load32(above) or file != load32(above + 4) or shmem != load32(above + 8)
            or tables != load32(above + 12)):
        return _report(where, pmds, tables, load32(above + 12), BAD_TABLE_COUNTS)
    return 0


@export("i64(i64,i64,i64,i64,i64,i64)")
def recount_space(m: int, mm: int, seen_tables: int, seen_pages: int, hashes: int, where: int) -> int:
    """Count one address space into the scratch arrays: 0, or the code of what is wrong with it."""
    ram = load64(m + M_RAM)
    root = load64(mm + MM_ROOT)
    uppers = anon = file = shmem = tables = 0
    _bump(seen_tables, root >> 12)
    for i in range(ENTRIES):
        pgd = load64(ram + root + i * 8)
        if pgd & PTE_P == 0:
            continue
        uppers += 1
        _bump(seen_tables, (pgd & PTE_FRAME) >> 12)
        for j in range(ENTRIES):
            pud = load64(ram + (pgd & PTE_FRAME) + j * 8)
            if pud & PTE_P == 0:
                continue
            uppers += 1
            pmds = (pud & PTE_FRAME) >> 12
            base = (i << PGD_SHIFT) + (j << PUD_SHIFT)
            if frame_refs(m, pmds) > 1 and pud & PTE_W:
                return _report(where, pmds, base, frame_refs(m, pmds), BAD_SHARED_WRITABLE)
            if _bump(seen_tables, pmds) == 1:
                code = _scan_pmds(m, pmds, base, seen_tables, seen_pages, hashes, where)
                if code:
                    return code
            above = load64(m + K_PMD_COUNTS) + pmds * 16
            anon += load32(above)
            file += load32(above + 4)
            shmem += load32(above + 8)
            tables += load32(above + 12)
    if uppers != load64(mm + MM_UPPER):
        return _report(where, uppers, load64(mm + MM_UPPER), 0, BAD_UPPER)
    if (anon != load64(mm + MM_ANON) or file != load64(mm + MM_FILE) or shmem != load64(mm + MM_SHMEM)
            or tables != load64(mm + MM_PTES)):
        return _report(where, anon + file + shmem, tables, 0, BAD_SPACE_COUNTS)
    va = next_table(m, root, 0, 1 << 47)
    while va < 1 << 47:
        base = va & -PMD_SIZE
        code = _inside_vmas(m, mm, (load64(pmd_slot(m, root, va)) & PTE_FRAME) >> 12, base, where)
        if code:
            return code
        va = next_table(m, root, base + PMD_SIZE, 1 << 47)
    return 0


@export("i64(i64,i64,i64,i64)")
def recount_writable(m: int, mm: int, seen_pages: int, where: int) -> int:
    """A private page that can be stored to directly is mapped by one table only: 0, or BAD_BOTH_WRITABLE."""
    root = load64(mm + MM_ROOT)
    va = next_table(m, root, 0, 1 << 47)
    while va < 1 << 47:
        base = va & -PMD_SIZE
        pmd = load64(pmd_slot(m, root, va))
        if pmd & PTE_W and load64(pud_slot(m, root, va)) & PTE_W:
            entries = load64(m + M_RAM) + (pmd & PTE_FRAME)
            for i in range(ENTRIES):
                pte = load64(entries + i * 8)
                if pte & PTE_P and pte & PTE_W:
                    frame = (pte & PTE_FRAME) >> 12
                    if frame == load64(m + K_ZERO):
                        return _report(where, (pmd & PTE_FRAME) >> 12, i, frame, BAD_BOTH_WRITABLE)
                    if frame_kind(m, frame) == FRAME_ANON and load32(seen_pages + frame * 4) != 1:
                        return _report(where, (pmd & PTE_FRAME) >> 12, i, frame, BAD_BOTH_WRITABLE)
        va = next_table(m, root, base + PMD_SIZE, 1 << 47)
    return 0


@export("i64(i64,i64,i64)")
def recount_cache(seen_pages: int, frames: int, count: int) -> int:
    """Add one reference for each frame in a cache's array of ``count`` int32. Returns 0."""
    for i in range(count):
        frame = load32(frames + i * 4)
        if frame:
            _bump(seen_pages, frame)
    return 0


@export("i64(i64,i64,i64,i64,i64,i64)")
def recount_frames(m: int, first: int, last: int, seen_tables: int, seen_pages: int, where: int) -> int:
    """Compare every frame of [first, last) with what was counted: 0, or the code of the first difference."""
    for frame in range(first, last):
        kind = load8(load64(m + K_KIND) + frame) & FRAME_KIND
        refs = frame_refs(m, frame)
        if kind in (FRAME_PTE_TABLE, FRAME_UPPER_TABLE):
            seen = load32(seen_tables + frame * 4)
            wrong = BAD_SHARERS
        else:
            seen = load32(seen_pages + frame * 4)
            wrong = BAD_REFS
        if refs != seen:
            return _report(where, frame, refs, seen, BAD_LEAK if seen == 0 else wrong)
    return 0
