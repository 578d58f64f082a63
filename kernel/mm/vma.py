"""VMAs: the sorted array of mappings of one address space, the only truth about them. Linux: mm/mmap.c.

Compiled code searches the same rows that Python edits. All edits go through :meth:`VmaSet.replace`, which keeps the
users of each file mapping counted.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emu.memory import Reservation
from kernel.errno import ENOMEM, Errno
from kernel.mm import tables
from kernel.mm.layout import (
    MM_BYTES,
    MM_LEAVES,
    MM_VMA_COUNT,
    MM_VMAS,
    STACK_GUARD_GAP,
    V_BYTES,
    V_FLAGS,
    VM_GROWSDOWN,
    VM_HISTORY,
)

if TYPE_CHECKING:
    from kernel.mm.memory import KernelMemory

#: /proc/sys/vm/max_map_count.
MAX_MAP_COUNT = 65530
_COLUMNS = V_BYTES // 8
_SMALL = 1024


@dataclass(slots=True)
class Row:
    """One VMA as a Python object; ``start`` and ``end`` are addresses, ``offset`` the file offset of ``start``."""

    start: int
    end: int
    flags: int
    mapping: int = 0
    offset: int = 0
    name: int = 0

    def cut(self, start: int, end: int) -> Row:
        """The part of this VMA within [start, end)."""
        low, high = max(self.start, start), min(self.end, end)
        offset = self.offset + (low - self.start) if self.mapping else 0
        return Row(low, high, self.flags, self.mapping, offset, self.name)

    def follows(self, before: Row) -> bool:
        """This VMA continues ``before`` and can be one with it (vma_merge)."""
        return (before.end == self.start and not (before.flags ^ self.flags) & ~VM_HISTORY
                and before.mapping == self.mapping and before.name == self.name
                and (self.mapping == 0 or before.offset + (before.end - before.start) == self.offset))

    def values(self) -> tuple[int, ...]:
        return (self.start, self.end, self.flags, self.mapping, self.offset, self.name)


class VmaSet:
    """The rows, in a NumPy array of shape (capacity, 6) whose address and length stand in the mm block.

    Invariants: rows are sorted and do not overlap; each mapping's ``users`` counts the rows that name it.
    """

    def __init__(self, memory: KernelMemory) -> None:
        self.memory = memory
        self.block = np.zeros(MM_BYTES // 8, np.int64)
        self.address: int = self.block.__array_interface__["data"][0]
        """The mm block's address, ``mm`` of compiled code."""
        self.slots: memoryview = self.block.data
        self._allocate(64)
        self.count = 0

    def _allocate(self, capacity: int) -> None:
        # A mapping of its own, touched as it fills, is for those with many; the others must be quick to make.
        flat = np.zeros(capacity * _COLUMNS, np.int64) if capacity <= _SMALL else Reservation(
            capacity * V_BYTES).array(np.int64)[: capacity * _COLUMNS]
        self.array = flat.reshape(-1, _COLUMNS)
        self.slots[MM_VMAS >> 3] = flat.__array_interface__["data"][0]

    @property
    def rows(self) -> np.ndarray:
        """The live rows, shape (count, 6); a view."""
        return self.array[: self.count]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.slice(0, self.count))

    def slice(self, first: int, last: int) -> list[Row]:
        """Rows first…last-1 as objects."""
        return [Row(*values) for values in self.array[first:last].tolist()]

    def index(self, address: int) -> int:
        """Number of the first row that ends above ``address`` (find_vma)."""
        return bisect_right(self.array[: self.count, 1], address)

    def find(self, address: int) -> Row | None:
        """The VMA that contains ``address``."""
        i = self.index(address)
        if i < self.count and self.array[i, 0] <= address:
            return Row(*self.array[i].tolist())
        return None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Numbers (first, last) of the rows that overlap [start, end)."""
        first = self.index(start)
        last = first
        while last < self.count and self.array[last, 0] < end:
            last += 1
        return first, last

    def overlapping(self, start: int, end: int) -> list[Row]:
        """The VMAs that overlap [start, end), uncut."""
        return self.slice(*self.span(start, end))

    def reach(self, start: int) -> int:
        """The first address from ``start`` on that is not mapped."""
        for row in self.slice(self.index(start), self.count):
            if row.start > start:
                break
            start = row.end
        return start

    def covered(self, start: int, end: int) -> bool:
        """No hole in [start, end)."""
        for row in self.overlapping(start, end):
            if row.start > start:
                return False
            start = row.end
        return start >= end

    def is_free(self, start: int, end: int) -> bool:
        """Nothing is mapped in [start, end), and no stack above keeps it free as its guard gap (vm_start_gap)."""
        i = self.index(start)
        if i == self.count:
            return True
        gap = STACK_GUARD_GAP if self.array[i, V_FLAGS >> 3] & VM_GROWSDOWN else 0
        return end <= self.array[i, 0] - gap

    def replace(self, first: int, last: int, rows: list[Row], most: int = MAX_MAP_COUNT) -> None:
        """Put ``rows`` in the place of rows first…last-1.

        Raises:
            Errno: ENOMEM where there would be more than ``most`` then; nothing has changed.
        """
        count = self.count - (last - first) + len(rows)
        if count > most and count > self.count:
            raise Errno(ENOMEM)
        # Users come before they go, or a mapping that only moves would be let go.
        gone = [number for number in self.array[first:last, 3].tolist() if number]
        for row in rows:
            if row.mapping:
                mapping = self.memory.mappings[row.mapping]
                assert mapping is not None
                mapping.use(1)
        tail = self.array[last : self.count].copy()
        if count > len(self.array):
            old = self.array
            self._allocate(max(count, 2 * len(old)))
            self.array[:first] = old[:first]
        if rows:
            self.array[first : first + len(rows)] = [row.values() for row in rows]
        self.array[first + len(rows) : count] = tail
        self.count = count
        self.slots[MM_VMA_COUNT >> 3] = count
        for number in gone:
            mapping = self.memory.mappings[number]
            assert mapping is not None
            mapping.use(-1)

    def transform(self, start: int, end: int, change: Callable[[Row], Row | None]) -> None:
        """Cut the VMAs at ``start`` and ``end``, pass each part inside to ``change``, join what can be joined.

        ``change`` returns the new VMA, or None to remove it.

        Raises:
            Errno: ENOMEM, see :meth:`replace`, or when a 2 MiB leaf across an edge cannot be split.
        """
        for edge in (start, end):
            while self.slots[MM_LEAVES >> 3] and not tables.split_at.call(self.memory.m, self.address, edge):
                if not self.memory.reclaim():
                    raise Errno(ENOMEM)
        first, last = self.span(start, end)
        parts: list[Row] = []
        for row in self.slice(first, last):
            if row.start < start:
                parts.append(row.cut(row.start, start))
            inside = change(row.cut(start, end))
            if inside is not None:
                parts.append(inside)
            if row.end > end:
                parts.append(row.cut(end, row.end))
        self._join(first, last, parts)

    def insert(self, row: Row) -> None:
        """Add a VMA where nothing is mapped, joined with its neighbours if they are alike.

        A new one may be one above the limit, which no cut may pass: so do_mmap and split_vma compare.
        """
        first = self.index(row.start)
        self._join(first, first, [row], MAX_MAP_COUNT + 1)

    def _join(self, first: int, last: int, parts: list[Row], most: int = MAX_MAP_COUNT) -> None:
        if first > 0:
            first -= 1
            parts = [*self.slice(first, first + 1), *parts]
        if last < self.count:
            parts += self.slice(last, last + 1)
            last += 1
        joined: list[Row] = []
        for row in parts:
            if joined and row.follows(joined[-1]):
                joined[-1].end = row.end
                joined[-1].flags |= row.flags
            else:
                joined.append(row)
        self.replace(first, last, joined, most)

    def copy_from(self, other: VmaSet, keep: Callable[[np.ndarray], np.ndarray]) -> None:
        """Become a copy of ``other``'s rows, filtered and changed by ``keep`` (for fork)."""
        rows = keep(other.rows.copy())
        if len(rows) > len(self.array):
            self._allocate(2 * len(rows))
        self.array[: len(rows)] = rows
        self.count = len(rows)
        self.slots[MM_VMA_COUNT >> 3] = self.count
        self._use_mappings(1)

    def clear(self) -> None:
        """Remove all rows (exit_mmap)."""
        self._use_mappings(-1)
        self.count = 0
        self.slots[MM_VMA_COUNT >> 3] = 0

    def _use_mappings(self, change: int) -> None:
        mappings = self.memory.mappings
        for number in self.rows[:, 3].tolist():
            if number:
                mapping = mappings[number]
                assert mapping is not None
                mapping.use(change)

    def free_area(self, size: int, bottom: int, top: int) -> int | None:
        """The highest hole of ``size`` bytes between ``bottom`` and ``top`` (top-down search), or None."""
        rows = self.rows
        starts, ends = rows[:, 0], rows[:, 1]
        # A stack keeps its guard gap free below it.
        guarded = np.where(rows[:, 2] & VM_GROWSDOWN, starts - STACK_GUARD_GAP, starts)
        high = np.minimum(np.append(guarded, top), top)
        low = np.maximum(np.insert(ends, 0, bottom), bottom)
        fits = np.flatnonzero(high - low >= size)
        return int(high[fits[-1]]) - size if fits.size else None
