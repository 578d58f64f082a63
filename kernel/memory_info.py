"""How the guest's memory is used, in pages: one set of figures for sysinfo(2), /proc/meminfo and /proc/vmstat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernel.mm.layout import (
    FRAME_ANON,
    FRAME_DIRTY,
    FRAME_FILE,
    FRAME_HUGE,
    FRAME_KIND,
    FRAME_PTE_TABLE,
    FRAME_SHMEM,
    FRAME_UPPER_TABLE,
    K_FRESH,
    K_POOL_FREE,
    K_POOL_RESERVED,
)

if TYPE_CHECKING:
    from kernel.kernel import Kernel


@dataclass(frozen=True)
class MemoryInfo:
    """Pages of 4 KiB."""

    total: int
    free: int
    anon: int
    file: int
    """In the page cache, shared memory not counted."""
    shmem: int
    dirty: int
    mapped: int
    """File pages that some process maps."""
    page_tables: int
    anon_huge: int
    """Anonymous pages that are part of a 2 MiB page."""
    pool_total: int
    """2 MiB pages (not 4 KiB) set apart for MAP_HUGETLB, free and promised ones."""
    pool_free: int
    pool_promised: int
    swap_total: int
    swap_free: int
    swap_cached: int

    @property
    def cached(self) -> int:
        """``Cached`` of /proc/meminfo."""
        return self.file + self.shmem

    @property
    def available(self) -> int:
        """``MemAvailable``: free, and what clean cache can give back."""
        return min(self.total, self.free + self.file - self.dirty)


def memory_info(kernel: Kernel) -> MemoryInfo:
    """Count the frame table."""
    memory = kernel.memory
    used = memory.kind[: memory.memory.get(K_FRESH)]  # frames never handed out are free
    kinds = np.bincount(used & FRAME_KIND, minlength=FRAME_KIND + 1)
    swap = memory.swap
    files = (used & FRAME_KIND) == FRAME_FILE
    file, idle = int(kinds[FRAME_FILE]), 0
    if kernel.clock.virtual:
        # What is in the cache and not in use is there from other runs, and no matter of this one.
        idle = int(np.count_nonzero((memory.refs[: len(used)][files] == 1) & (used[files] & FRAME_DIRTY == 0)))
    return MemoryInfo(
        total=memory.total_frames,
        free=memory.free_frames + idle,
        anon=int(kinds[FRAME_ANON]),
        file=file - idle,
        shmem=int(kinds[FRAME_SHMEM]),
        dirty=int(np.count_nonzero(used[files] & FRAME_DIRTY)),
        mapped=int(np.count_nonzero(memory.refs[: len(used)][files] > 1)),
        page_tables=int(kinds[FRAME_PTE_TABLE] + kinds[FRAME_UPPER_TABLE]),
        anon_huge=int(np.count_nonzero(used & (FRAME_HUGE | FRAME_KIND) == FRAME_HUGE | FRAME_ANON)),
        pool_total=memory.pool_pages,
        pool_free=memory.memory.get(K_POOL_FREE),
        pool_promised=memory.memory.get(K_POOL_RESERVED),
        swap_total=swap.total_pages if swap else 0,
        swap_free=swap.total_pages - swap.used_pages if swap else 0,
        swap_cached=swap.cached_pages if swap else 0,
    )
