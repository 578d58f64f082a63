"""Guest-physical memory and the machine block: host mappings that cost nothing until they are touched."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import numpy as np

from emu.layout import M_BYTES, M_CODE_MAP, M_FRAMES, M_RAM, M_STALE
from emu.paging import PAGE_SIZE

_MAP_NORESERVE = 0x4000
_MADV_DONTNEED = 4

_libc = ctypes.CDLL(None, use_errno=True)
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class Reservation:
    """``size`` bytes of zeroed host memory, taken from the host page by page as they are written."""

    def __init__(self, size: int) -> None:
        self.size = max(size, PAGE_SIZE)
        self.map = mmap.mmap(-1, self.size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
        self.view = memoryview(self.map)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.map))

    def array(self, dtype: Any) -> Any:
        """The whole reservation as a NumPy array."""
        return np.frombuffer(self.map, dtype=dtype)

    def give_back(self, offset: int, size: int) -> None:
        """Return pages to the host; they read as zero afterwards."""
        _libc.madvise(self.address + offset, size, _MADV_DONTNEED)


class Memory:
    """The guest's RAM of ``frames`` 4 KiB frames, and the machine block ``m`` that describes it to compiled code."""

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self.ram = Reservation(frames * PAGE_SIZE)
        self.code_map = Reservation(frames)
        # One more than there are frames: a frame is listed at most once, because its code-map byte is cleared.
        self.stale = Reservation((frames + 1) * 8)
        self.block = Reservation(M_BYTES)
        self.m = self.block.address
        self.slots = self.block.view.cast("B").cast("q")
        """The machine block as signed 64-bit integers: ``slots[M_RIP // 8]``."""
        self.set(M_RAM, self.ram.address)
        self.set(M_FRAMES, frames)
        self.set(M_CODE_MAP, self.code_map.address)
        self.set(M_STALE, self.stale.address)

    def get(self, slot: int) -> int:
        """The value of a machine-block slot (an ``M_*`` byte offset)."""
        return self.slots[slot >> 3]

    def set(self, slot: int, value: int) -> None:
        self.slots[slot >> 3] = value

    def page(self, frame: int) -> memoryview:
        """The 4096 bytes of a frame, writable. The caller marks the frame stale if it may have been executed."""
        return self.ram.view[frame * PAGE_SIZE : (frame + 1) * PAGE_SIZE]
