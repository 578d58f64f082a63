"""Counting resident pages so that fork needs no per-page work: by PTE table, by PMD table, by address space.

An address space's figures are the sums over the tables it points at, so sharing a table, or a table of tables, adds
its counters once. Linux: the RSS counters of mm_struct, which fork copies page by page.
"""

from __future__ import annotations

from emu.layout import M_RAM
from emu.native import hot, load16, load32, load64, store16, store32, store64
from emu.paging import PTE_FRAME
from kernel.mm.layout import (
    FRAME_ANON,
    FRAME_SHMEM,
    K_COUNTS,
    K_PMD_COUNTS,
    MM_ANON,
    MM_FILE,
    MM_PEAK,
    MM_PTES,
    MM_SHMEM,
    MM_UPPER,
)

#: Offsets of the last counter of a row: all entries of a PTE table (int16), PTE tables of a PMD table (int32).
ENTRIES_COUNT, TABLES_COUNT = 6, 12


@hot
def table_counts(m: int, table: int) -> int:
    """Host address of the four int16 counters of the PTE table in frame ``table``."""
    return load64(m + K_COUNTS) + table * 8


@hot
def pmd_counts(m: int, slot: int) -> int:
    """Host address of the four int32 counters of the PMD table that holds the entry at ``slot``."""
    return load64(m + K_PMD_COUNTS) + ((slot - load64(m + M_RAM)) >> 12) * 16


@hot
def note_peak(mm: int) -> None:
    """Keep the high-water mark of resident pages (VmHWM)."""
    resident = load64(mm + MM_ANON) + load64(mm + MM_FILE) + load64(mm + MM_SHMEM)
    if resident > load64(mm + MM_PEAK):
        store64(mm + MM_PEAK, resident)


@hot
def count_entry(m: int, mm: int, slot: int, kind: int, change: int) -> None:
    """Enter a page of ``kind`` that appears (+1) in or goes (-1) from the table behind the PMD entry at ``slot``.

    Both the table and the PMD table belong to this address space alone. The zero page counts as an entry only.
    """
    counts = table_counts(m, (load64(slot) & PTE_FRAME) >> 12)
    store16(counts + ENTRIES_COUNT, load16(counts + ENTRIES_COUNT) + change)
    if FRAME_ANON <= kind <= FRAME_SHMEM:
        column = kind - FRAME_ANON
        store16(counts + column * 2, load16(counts + column * 2) + change)
        above = pmd_counts(m, slot) + column * 4
        store32(above, load32(above) + change)
        store64(mm + MM_ANON + column * 8, load64(mm + MM_ANON + column * 8) + change)
        if change > 0:
            note_peak(mm)


@hot
def count_table(m: int, mm: int, slot: int, table: int, sign: int) -> None:
    """Enter all pages of the table in frame ``table``, which comes to (+1) or goes from (-1) the PMD entry ``slot``."""
    counts, above = table_counts(m, table), pmd_counts(m, slot)
    for column in range(3):
        pages = sign * load16(counts + column * 2)
        store32(above + column * 4, load32(above + column * 4) + pages)
        store64(mm + MM_ANON + column * 8, load64(mm + MM_ANON + column * 8) + pages)
    store32(above + TABLES_COUNT, load32(above + TABLES_COUNT) + sign)
    store64(mm + MM_PTES, load64(mm + MM_PTES) + sign)
    if sign > 0:
        note_peak(mm)


@hot
def count_pmds(m: int, mm: int, frame: int, sign: int) -> None:
    """Enter all pages and tables below the PMD table in ``frame``, which this address space gains or loses whole."""
    counts = load64(m + K_PMD_COUNTS) + frame * 16
    for column in range(3):
        store64(mm + MM_ANON + column * 8, load64(mm + MM_ANON + column * 8) + sign * load32(counts + column * 4))
    store64(mm + MM_PTES, load64(mm + MM_PTES) + sign * load32(counts + TABLES_COUNT))
    store64(mm + MM_UPPER, load64(mm + MM_UPPER) + sign)
    if sign > 0:
        note_peak(mm)
