"""How many address spaces map each page: what PSS divides by (fs/proc/task_mmu.c: smaps_page_accumulate).

A frame's references count tables, and a table may have many sharers: so the number is counted when it is asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from emu.paging import ENTRIES, PAGE_SHIFT, PMD_SIZE, PTE_FRAME, PTE_P, PTE_PS
from kernel.mm.layout import K_FRESH, K_SWAP_FRESH

if TYPE_CHECKING:
    from kernel.mm.address_space import AddressSpace
    from kernel.mm.memory import KernelMemory

_FRAMES = PTE_FRAME >> PAGE_SHIFT
#: Tables looked at in one go: 1 MiB.
_CHUNK = 256


class MapCounts:
    """The counts of one moment, for all pages and swap slots."""

    def __init__(self, memory: KernelMemory) -> None:
        self._ram = memory.memory.ram.array(np.int64).reshape(-1, ENTRIES)
        self._pages = np.zeros(memory.memory.get(K_FRESH), np.int32)
        self._slots = np.zeros(max(memory.memory.get(K_SWAP_FRESH), 1), np.int32)
        self._entries: dict[AddressSpace, tuple[list[int], list[int]]] = {}
        pmds: Counter[int] = Counter()
        for space in memory.spaces.values():
            pmds.update(frame for _, frame in space.pmd_tables())
        tables: Counter[int] = Counter()
        for frame, sharers in pmds.items():
            row = self._ram[frame]
            for entry in row[row & PTE_P != 0].tolist():
                if entry & PTE_PS:
                    head = entry >> PAGE_SHIFT & _FRAMES
                    self._pages[head : head + ENTRIES] += sharers
                else:
                    tables[entry >> PAGE_SHIFT & _FRAMES] += sharers
        frames = np.fromiter(tables, np.int64, len(tables))
        weights = np.fromiter(tables.values(), np.int32, len(tables))
        for first in range(0, len(frames), _CHUNK):
            self._count(frames[first : first + _CHUNK], weights[first : first + _CHUNK])

    def _count(self, tables: np.ndarray, sharers: np.ndarray) -> None:
        rows = self._ram[tables]
        for chosen, counts in (((rows & PTE_P) != 0, self._pages), ((rows != 0) & (rows & PTE_P == 0), self._slots)):
            np.add.at(counts, rows[chosen] >> PAGE_SHIFT & _FRAMES, np.repeat(sharers, np.count_nonzero(chosen, 1)))

    def tables(self, mm: AddressSpace, start: int, end: int) -> list[tuple[int, int]]:
        """(first address, entry) of each PMD entry of ``mm`` that maps a part of [start, end)."""
        if mm not in self._entries:
            found = list(mm.pmd_entries())
            self._entries[mm] = [base for base, _ in found], [entry for _, entry in found]
        bases, entries = self._entries[mm]
        first, last = bisect_left(bases, start & -PMD_SIZE), bisect_left(bases, end)
        return list(zip(bases[first:last], entries[first:last], strict=True))

    def mappers(self, entry: int, first: int, last: int) -> np.ndarray:
        """How many address spaces map pages [first, last) of the 512 behind a PMD entry, or their swap slots."""
        frame = entry >> PAGE_SHIFT & _FRAMES
        if entry & PTE_PS:
            return self._pages[frame + first : frame + last]
        row = self._ram[frame, first:last]
        frames = row >> PAGE_SHIFT & _FRAMES
        present = row & PTE_P != 0
        counts = np.zeros(last - first, np.int32)
        counts[present] = self._pages[frames[present]]
        swapped = ~present & (row != 0)
        counts[swapped] = self._slots[frames[swapped]]
        return counts
