"""Counting resident pages so that fork needs no per-page work: by PTE table, by PMD table, by address space.

An address space's figures are the sums over the tables it points at, so sharing a table, or a table of tables, adds
its counters once. Linux: the RSS counters of mm_struct, which fork copies page by page.
"""

from __future__ import annotations

from emu.layout import M_RAM
from emu.native import hot, load16, load32, load64, store16, store32, store64
from emu.paging import ENTRIES, PTE_FRAME
from kernel.mm.layout import (
    FRAME_ANON,
    K_COUNTS,
    K_PMD_COUNTS,
    MM_ANON,
    MM_FILE,
    MM_LEAVES,
    MM_PEAK,
    MM_PTES,
    MM_SHMEM,
    MM_UPPER,
    PC_BYTES,
    PC_LEAVES,
    PC_TABLES,
    SWAPPED,
    TC_BYTES,
    TC_ENTRIES,
)

#: Columns of pages by kind: anonymous, file, shmem, in the swap area.
COLUMNS = 4


@hot
def table_counts(m: int, table: int) -> int:
    """Host address of the counters (TC_*) of the PTE table in frame ``table``."""
    return load64(m + K_COUNTS) + table * TC_BYTES


@hot
def pmd_counts(m: int, slot: int) -> int:
    """Host address of the counters (PC_*) of the PMD table that holds the entry at ``slot``."""
    return load64(m + K_PMD_COUNTS) + ((slot - load64(m + M_RAM)) >> 12) * PC_BYTES


@hot
def _add(address: int, change: int) -> None:
    store64(address, load64(address) + change)


@hot
def _add32(address: int, change: int) -> None:
    store32(address, load32(address) + change)


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
    store16(counts + TC_ENTRIES, load16(counts + TC_ENTRIES) + change)
    if FRAME_ANON <= kind <= SWAPPED:
        column = kind - FRAME_ANON
        store16(counts + column * 2, load16(counts + column * 2) + change)
        _add32(pmd_counts(m, slot) + column * 4, change)
        _add(mm + MM_ANON + column * 8, change)
        if change > 0:
            note_peak(mm)


@hot
def count_table(m: int, mm: int, slot: int, table: int, sign: int) -> None:
    """Enter all pages of the table in frame ``table``, which comes to (+1) or goes from (-1) the PMD entry ``slot``."""
    counts, above = table_counts(m, table), pmd_counts(m, slot)
    for column in range(COLUMNS):
        pages = sign * load16(counts + column * 2)
        _add32(above + column * 4, pages)
        _add(mm + MM_ANON + column * 8, pages)
    _add32(above + PC_TABLES, sign)
    _add(mm + MM_PTES, sign)
    if sign > 0:
        note_peak(mm)


@hot
def count_leaf(m: int, mm: int, slot: int, kind: int, sign: int) -> None:
    """Enter a 2 MiB leaf that comes to (+1) or goes from (-1) the PMD entry ``slot``; the pool's are no RSS."""
    above = pmd_counts(m, slot)
    if kind == FRAME_ANON:
        _add32(above, sign * ENTRIES)
        _add(mm + MM_ANON, sign * ENTRIES)
    _add32(above + PC_LEAVES, sign)
    _add(mm + MM_LEAVES, sign)
    if sign > 0:
        note_peak(mm)


@hot
def count_pmds(m: int, mm: int, frame: int, sign: int) -> None:
    """Enter all pages and tables below the PMD table in ``frame``, which this address space gains or loses whole."""
    counts = load64(m + K_PMD_COUNTS) + frame * PC_BYTES
    for column in range(COLUMNS):
        _add(mm + MM_ANON + column * 8, sign * load32(counts + column * 4))
    _add(mm + MM_PTES, sign * load32(counts + PC_TABLES))
    _add(mm + MM_LEAVES, sign * load32(counts + PC_LEAVES))
    _add(mm + MM_UPPER, sign)
    if sign > 0:
        note_peak(mm)
