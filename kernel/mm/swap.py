"""The swap area: one host file, mapped, that holds the pages which memory has no room for. Linux: mm/swapfile.c.

The file has no name: it is gone with the process, however that ends. Its blocks are taken at the start, so that a full
disk is an error there and not in the middle of a guest's work.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import tempfile
from typing import TYPE_CHECKING

import numpy as np

from emu.memory import Reservation
from emu.paging import PAGE_SHIFT
from kernel.mm import frames, swapfile, vmscan
from kernel.mm.layout import (
    FRAME_RESERVED,
    K_FRAME_SLOT,
    K_SCAN_ROUND,
    K_SWAP,
    K_SWAP_CACHE,
    K_SWAP_FREE,
    K_SWAP_FRESH,
    K_SWAP_INS,
    K_SWAP_OUTS,
    K_SWAP_REFS,
    K_SWAP_SLOTS,
    K_SWAP_USED,
)

if TYPE_CHECKING:
    from kernel.mm.memory import KernelMemory

#: What /proc/swaps calls it.
NAME = b"/swapfile"
_LAST_ROUND = 0x7FFF
_END = 1 << 47


class SwapError(Exception):
    """There can be no swap area of that size; the text says why."""


class Swap:
    """``size_bytes`` of swap for the address spaces of one memory.

    Raises:
        SwapError: the host's disk is full, or the temporary directory cannot be written.
    """

    def __init__(self, memory: KernelMemory, size_bytes: int) -> None:
        self.memory = memory
        self.slots = slots = size_bytes >> PAGE_SHIFT
        directory = tempfile.gettempdir()
        try:
            with tempfile.TemporaryFile(prefix="forkyard-swap-", dir=directory) as file:
                os.posix_fallocate(file.fileno(), 0, slots << PAGE_SHIFT)
                self.map = mmap.mmap(file.fileno(), slots << PAGE_SHIFT)
        except OSError as error:
            reason = os.strerror(error.errno or errno.EIO)
            raise SwapError(f"no swap file of {size_bytes >> 20} MiB in {directory}: {reason}") from error
        self._tables = {
            K_SWAP_REFS: Reservation(slots * 4), K_SWAP_CACHE: Reservation(slots * 4),
            K_SWAP_FREE: Reservation(slots * 4), K_FRAME_SLOT: Reservation(memory.total_frames * 4),
        }
        for slot, table in self._tables.items():
            memory.memory.set(slot, table.address)
        self._address = ctypes.c_char.from_buffer(self.map)
        memory.memory.set(K_SWAP, ctypes.addressof(self._address))
        memory.memory.set(K_SWAP_SLOTS, slots)
        memory.memory.set(K_SWAP_FRESH, 1)
        self.cache = self._tables[K_SWAP_CACHE].array(np.int32)
        self._found = np.zeros(vmscan.SCAN_BYTES // 8, np.int64)
        self.reserve = np.zeros(1, np.int32)
        """A frame for reclaim itself: to take pages out of a 2 MiB page needs a table."""
        self.reserve[0] = frames.new_frame.call(memory.m, FRAME_RESERVED, 0)
        self._hand = (0, 0)
        """Number of an address space and the address there where the next scan begins."""

    @property
    def total_pages(self) -> int:
        """Pages that the area can hold (slot 0 is the header on Linux and never used)."""
        return self.slots - 1

    @property
    def used_pages(self) -> int:
        return self.memory.memory.get(K_SWAP_USED)

    @property
    def pages_out(self) -> int:
        """Pages written since the start (pswpout)."""
        return self.memory.memory.get(K_SWAP_OUTS)

    @property
    def pages_in(self) -> int:
        """Pages read since the start (pswpin)."""
        return self.memory.memory.get(K_SWAP_INS)

    @property
    def cached_pages(self) -> int:
        """Frames in the swap cache."""
        return int(np.count_nonzero(self.cache[: self.memory.memory.get(K_SWAP_FRESH)]))

    def reclaim(self, want: int) -> int:
        """Free ``want`` frames by writing pages out; returns how many it were, 0 when the area is full or all is in
        use."""
        memory = self.memory
        if self.reserve[0]:
            memory.put(int(self.reserve[0]))
        freed = swapfile.shrink_swap_cache.call(memory.m, want)
        # Rounds from the hand on: the first takes the Accessed bits away, the second finds what stayed without.
        for _ in range(3):
            if freed >= want:
                break
            got, complete = self._round(want - freed)
            freed += got
            if not complete:
                break
        self.reserve[0] = frames.new_frame.call(memory.m, FRAME_RESERVED, 0)
        return freed

    def _round(self, want: int) -> tuple[int, bool]:
        """Scan all address spaces once from the hand on: (frames freed, False when the area is full)."""
        memory = self.memory
        number, start = self._hand
        if start == 0:
            memory.memory.set(K_SCAN_ROUND, memory.memory.get(K_SCAN_ROUND) % _LAST_ROUND + 1)
        freed = 0
        for space in sorted(memory.spaces.values(), key=lambda space: (space.number < number, space.number)):
            begin = start if space.number == number else 0
            complete = vmscan.scan_space.call(memory.m, space.mm, begin, want - freed, self._found_address)
            got, behind = self._found.tolist()
            freed += got
            if not complete or freed >= want:
                self._hand = (space.number, behind) if behind < _END else (space.number + 1, 0)
                return freed, bool(complete)
        self._hand = (number, 0)
        return freed, True

    @property
    def _found_address(self) -> int:
        return self._found.__array_interface__["data"][0]

    def close(self) -> None:
        """swapoff at the end: no address space is left. The host gets its disk blocks back."""
        if self.reserve[0]:
            self.memory.put(int(self.reserve[0]))
            self.reserve[0] = 0
        for slot in (K_SWAP_SLOTS, K_SWAP_FRESH, K_SWAP, K_SWAP_USED):
            self.memory.memory.set(slot, 0)
        del self._address
        self.map.close()
