"""The kernel's view of guest memory as a whole: frames, mappings of files, and what is left. One per kernel."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from emu.memory import Memory, Reservation
from emu.paging import ENTRIES, PAGE_SHIFT, PAGE_SIZE, PMD_SIZE
from kernel.errno import ENOMEM, Errno
from kernel.mm import frames, hugepages
from kernel.mm.layout import (
    FRAME_FREE,
    FRAME_RESERVED,
    FRAME_UPPER_TABLE,
    FRAME_ZEROED,
    K_COUNTS,
    K_FREE,
    K_FREE_COUNT,
    K_FRESH,
    K_HUGE_FREE,
    K_HUGE_FREE_COUNT,
    K_KIND,
    K_LIMIT,
    K_MAPPINGS,
    K_PMD_COUNTS,
    K_POOL,
    K_REFS,
    K_SPACE_COUNT,
    K_SPACES,
    K_TABLE_END,
    K_TABLE_NEXT,
    K_THP,
    K_USED,
    K_ZERO,
    MP_BYTES,
    PC_BYTES,
    TC_BYTES,
    THP_MADVISE,
)
from kernel.mm.limits import Limits
from kernel.mm.overcommit import Overcommit

if TYPE_CHECKING:
    from kernel.mm.address_space import AddressSpace
    from kernel.mm.pagecache import Mapping, PageCache
    from kernel.mm.swap import Swap

#: Rows of the mapping table: file mappings that can exist at once.
MAX_MAPPINGS = 1 << 16
#: Freed frames kept for reuse; above twice this many, the rest goes back to the host in bulk.
KEEP_FREE = 8192
#: The same in 2 MiB pages.
KEEP_FREE_HUGE = 16
#: One reclaim frees this part of memory if it can, and at least so many frames.
RECLAIM_SHARE, RECLAIM_LEAST = 64, 64
#: Address spaces that can exist at once.
MAX_SPACES = 1 << 20
_NO_FRAMES = np.zeros(0, np.int32)

GATE_FRAME, ZERO_FRAME, FIRST_FRAME = 1, 2, 3


class KernelMemory:
    """Frame table, mapping table and the list of address spaces.

    ``kind`` (uint8), ``refs`` (int32) and ``counts`` (int16, shape (frames, 8)) are NumPy views of what compiled code
    uses; see ``kernel/mm/layout.py``.
    """

    def __init__(self, size_bytes: int) -> None:
        count = max(size_bytes >> PAGE_SHIFT, 64)
        self.memory = memory = Memory(count)
        self.m = memory.m
        self.ram = memory.ram.view
        """All of guest memory: frame N at N * PAGE_SIZE."""
        self._tables = {
            K_REFS: Reservation(count * 4), K_KIND: Reservation(count), K_COUNTS: Reservation(count * TC_BYTES),
            K_PMD_COUNTS: Reservation(count * PC_BYTES), K_FREE: Reservation(count * 4),
            K_MAPPINGS: Reservation(MAX_MAPPINGS * MP_BYTES), K_SPACES: Reservation(MAX_SPACES * 8),
            K_HUGE_FREE: Reservation(count // ENTRIES * 4), K_POOL: Reservation(count // ENTRIES * 4),
        }
        for slot, table in self._tables.items():
            memory.set(slot, table.address)
        self.refs = self._tables[K_REFS].array(np.int32)
        self.kind = self._tables[K_KIND].array(np.uint8)
        self.counts = self._tables[K_COUNTS].array(np.int16)[: count * TC_BYTES // 2].reshape(-1, TC_BYTES // 2)
        self.free_stack = self._tables[K_FREE].array(np.int32)
        self.mapping_rows = self._tables[K_MAPPINGS].array(np.int64).reshape(-1, MP_BYTES // 8)
        memory.set(K_LIMIT, count)
        memory.set(K_FRESH, FIRST_FRAME)
        memory.set(K_ZERO, ZERO_FRAME)
        memory.set(K_THP, THP_MADVISE)
        self.kind[:FIRST_FRAME] = FRAME_RESERVED
        self.refs[:FIRST_FRAME] = 1
        self.mappings: list[Mapping | None] = [None]
        self._free_mappings: list[int] = []
        self.spaces: dict[int, AddressSpace] = {}
        """Live address spaces by their number."""
        self._space_blocks = self._tables[K_SPACES].array(np.int64)
        self._space_rows: list[AddressSpace] = []
        self.swap: Swap | None = None
        self.digests: Reservation | None = None
        """The checker's notes on tables (kernel.mm.check)."""
        self.pool_pages = 0
        """2 MiB pages set apart for MAP_HUGETLB (vm.nr_hugepages)."""
        self.anonymous_names: list[bytes] = [b""]
        self.out_of_memory: Callable[[], bool] | None = None
        """Called when reclaim found nothing; returns True when it freed frames (the OOM killer)."""
        self.caches: weakref.WeakSet[PageCache] = weakref.WeakSet()
        self.caches_changed = 0
        """How often one of them has got another array of frames."""
        self.scratch = Reservation(1 << 16)
        """Buffer through which small user copies pass (64 KiB)."""
        total_kb = count << (PAGE_SHIFT - 10)
        self.limits = Limits()
        self.overcommit = Overcommit(admin_reserve_kbytes=min(total_kb // 32, 8192),
                                     user_reserve_kbytes=min(total_kb // 32, 131072))
        self.file_reserve = min(count // 16, 16384)
        """Frames that write(2) leaves to programs: a full file system gives ENOSPC and not the OOM killer."""

    # -- frames ----------------------------------------------------------------------------------------------------

    @property
    def total_frames(self) -> int:
        return self.memory.frames

    @property
    def backed_frames(self) -> int:
        """Pages that RAM and swap area together can hold."""
        return self.total_frames + (self.swap.total_pages if self.swap is not None else 0)

    @property
    def used_frames(self) -> int:
        """Frames allocated to pages, tables and cache."""
        return self.memory.get(K_USED) - int(np.count_nonzero(self.swap_reserve))

    @property
    def free_frames(self) -> int:
        """Frames that can still be allocated."""
        get = self.memory.get
        return (get(K_FREE_COUNT) + ENTRIES * get(K_HUGE_FREE_COUNT) + get(K_TABLE_END) - get(K_TABLE_NEXT)
                + get(K_LIMIT) - get(K_FRESH))

    @property
    def swap_cache(self) -> np.ndarray:
        """The frames of the swap cache, by slot; 0 where it has none."""
        return self.swap.cache if self.swap is not None else _NO_FRAMES

    @property
    def swap_reserve(self) -> np.ndarray:
        """The frame that reclaim keeps for itself, if it has one."""
        return self.swap.reserve if self.swap is not None else _NO_FRAMES

    def alloc(self, kind: int, *, zeroed: bool) -> int:
        """A frame with one reference.

        Raises:
            Errno: ENOMEM when none is left, even after clean cache pages were dropped.
        """
        frame = frames.new_frame.call(self.m, kind, zeroed)
        if frame == 0 and self.reclaim():
            frame = frames.new_frame.call(self.m, kind, zeroed)
        if frame == 0:
            raise Errno(ENOMEM)
        return frame

    def reclaim(self) -> bool:
        """Drop cached file pages that can be read again, and swap pages out until a batch is free; returns whether
        that freed any."""
        freed = self.drop_caches()
        batch = max(self.total_frames // RECLAIM_SHARE, RECLAIM_LEAST)
        if freed < batch and self.swap is not None:
            freed += self.swap.reclaim(batch - freed)
        return freed > 0

    def drop_caches(self) -> int:
        """Free clean pages of files that nobody maps; returns how many (/proc/sys/vm/drop_caches)."""
        return sum(cache.drop_clean() for cache in list(self.caches))

    def put(self, frame: int) -> None:
        """Drop one reference to a frame."""
        frames.release_frame.call(self.m, frame)

    def new_root(self) -> int:
        """Physical address of an empty PML4."""
        return self.alloc(FRAME_UPPER_TABLE, zeroed=True) << PAGE_SHIFT

    def page(self, frame: int) -> memoryview:
        """The bytes of a frame."""
        return self.memory.page(frame)

    def frame_changed(self, frame: int) -> None:
        """The kernel wrote into a frame that may hold code."""
        if self.memory.code_map.map[frame]:
            frames.frame_changed.call(self.m, frame)

    def trim(self) -> None:
        """Give freed frames back to the host when many have gathered. Cheap to call: it looks at one number."""
        if self.memory.get(K_HUGE_FREE_COUNT) > KEEP_FREE_HUGE:
            self._trim_huge()
        count = self.memory.get(K_FREE_COUNT)
        if count <= 2 * KEEP_FREE:
            return
        # The bottom of the stack is the least recently freed part.
        surplus = np.sort(self.free_stack[: count - KEEP_FREE])
        dirty = surplus[(self.kind[surplus] & FRAME_ZEROED) == 0]
        if dirty.size == 0:
            return
        breaks = np.flatnonzero(np.diff(dirty) != 1) + 1
        starts = dirty[np.concatenate(([0], breaks))]
        ends = dirty[np.concatenate((breaks - 1, [dirty.size - 1]))] + 1
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            self.memory.ram.give_back(start * PAGE_SIZE, (end - start) * PAGE_SIZE)
        self.kind[dirty] = FRAME_FREE | FRAME_ZEROED
        self.free_stack[: count - KEEP_FREE] = surplus

    def _trim_huge(self) -> None:
        """Give the 2 MiB pages that are free as a whole back to the host, but for those freed last."""
        surplus = self._tables[K_HUGE_FREE].array(np.int32)[: self.memory.get(K_HUGE_FREE_COUNT) - KEEP_FREE_HUGE]
        for head in surplus[(self.kind[surplus] & FRAME_ZEROED) == 0].tolist():
            self.memory.ram.give_back(head * PAGE_SIZE, PMD_SIZE)
            self.kind[head : head + ENTRIES] = FRAME_FREE | FRAME_ZEROED

    def resize_pool(self, pages: int) -> None:
        """Make the pool for MAP_HUGETLB ``pages`` 2 MiB pages large, as far as memory and its users allow
        (set_max_huge_pages)."""
        while self.pool_pages < pages and hugepages.pool_grow.call(self.m):
            self.pool_pages += 1
        while self.pool_pages > pages and hugepages.pool_shrink.call(self.m):
            self.pool_pages -= 1

    # -- address spaces --------------------------------------------------------------------------------------------

    def add_space(self, space: AddressSpace) -> None:
        """Enter a live address space: compiled code finds it in a list of blocks.

        Raises:
            Errno: ENOMEM above MAX_SPACES.
        """
        row = len(self._space_rows)
        if row == MAX_SPACES:
            raise Errno(ENOMEM)
        self._space_rows.append(space)
        self._space_blocks[row] = space.mm
        space.row = row
        self.spaces[space.number] = space
        self.memory.set(K_SPACE_COUNT, row + 1)

    def remove_space(self, space: AddressSpace) -> None:
        """The address space is at its end."""
        del self.spaces[space.number]
        last = self._space_rows.pop()
        if last is not space:
            self._space_rows[space.row] = last
            self._space_blocks[space.row] = last.mm
            last.row = space.row
        self.memory.set(K_SPACE_COUNT, len(self._space_rows))

    # -- mappings of files -----------------------------------------------------------------------------------------

    def add_mapping(self, mapping: Mapping) -> int:
        """A row of the mapping table for ``mapping``.

        Raises:
            Errno: ENOMEM when the table is full.
        """
        if self._free_mappings:
            number = self._free_mappings.pop()
            self.mappings[number] = mapping
        elif len(self.mappings) < MAX_MAPPINGS:
            number = len(self.mappings)
            self.mappings.append(mapping)
        else:
            raise Errno(ENOMEM)
        return number

    def drop_mapping(self, number: int) -> None:
        """No VMA uses the row any more."""
        self.mappings[number] = None
        self.mapping_rows[number] = 0
        self._free_mappings.append(number)
