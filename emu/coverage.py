"""Coverage: which addresses count, under which key, in which map; and the number of blocks as a clock.

An edge is ``position(block) ^ (position(block before) >> 1)``, as AFL has it. A position is a hash of the module's key
and the block's offset in the module's file, so that neither ASLR nor the order of loading shows in the map. The
compiled half is ``blocks.py``.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from emu.blocks import (
    B_BUDGET,
    B_BYTES,
    B_COUNT,
    B_DECODE,
    B_KICK,
    B_LAST,
    B_LAST_SIZE,
    B_LENGTH,
    B_LIMIT,
    B_LOW,
    B_MACHINE,
    B_MAP,
    B_MASK,
    B_PREVIOUS,
    B_RESUME,
    B_SEGMENT_COUNT,
    B_SEGMENTS,
    B_SPACE,
    B_TAIL,
    B_TAIL_START,
    UNLIMITED,
    block_hook,
)
from emu.decode import ends_block
from emu.engine import UC_HOOK_BLOCK, Library
from emu.layout import M_BLOCKS, M_FLUSH
from emu.memory import Memory, Reservation
from emu.paging import PAGE_MASK, PAGE_SIZE, PMD_SIZE, PTE_FRAME, PTE_PS, walk

PROGRAMS_END = 0x7000_0000_0000
"""Programs lie below (but static PIE), libraries above."""
_Range = tuple[int, int, int]
_numbers = itertools.count()


def module_key(name: bytes) -> int:
    """A stable 62-bit number for a module's name."""
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little") >> 2 | 1


class Segments:
    """A division of the address space into what counts and what does not; may be shared by address spaces.

    Args:
        ranges: (start, end, key): a block at ``address`` in [start, end) has the identity ``key + address``. A
            module's key is :func:`module_key` of its name minus where its offset 0 lies. They must not overlap.
    """

    def __init__(self, ranges: Iterable[_Range]) -> None:
        rows = [(0, 0)]
        for start, end, key in sorted(ranges):
            if start < rows[-1][0]:
                raise ValueError(f"ranges overlap at {start:#x}")
            if rows[-1][0] == start:
                rows.pop()
            rows += [(start, key), (end, 0)]
        self.rows = np.array(rows, dtype=np.int64)
        self.number = next(_numbers) & 0xFFFF
        """Tells apart what lies at the same addresses."""
        self.end = rows[-1][0]
        """Behind the last address that counts."""

    def ranges(self) -> list[_Range]:
        """What counts, as it was given (but sorted)."""
        rows = self.rows.tolist()
        return [(start, end, key) for (start, key), (end, _) in itertools.pairwise(rows) if key]


NOTHING = Segments(())

#: What each task has of its own.
_OWN = tuple(slot >> 3 for slot in (B_PREVIOUS, B_RESUME, B_TAIL_START, B_TAIL, B_LAST, B_LAST_SIZE))
NO_PATH: tuple[int, ...] = (0,) * len(_OWN)
"""Blocks.save() of a task that has not run."""


class Blocks:
    """The machine's block counter; made by ``Cpu`` when it is asked to count blocks.

    The hook sees no libraries until it has to: until there is a budget, or code that counts lies among them.
    """

    def __init__(self, memory: Memory, library: Library, uc: Any) -> None:
        self._memory = memory
        self._library, self._uc = library, uc
        self._block = Reservation(B_BYTES)
        self.address = self._block.address
        """User data of ``blocks.block_hook``."""
        self.slots = self._block.view.cast("B").cast("q")
        self._decode = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(self._ends_block)
        self._map: Any = (ctypes.c_uint8 * 1)()
        self._segments = NOTHING
        slots = self.slots
        slots[B_MACHINE >> 3] = memory.m
        slots[B_DECODE >> 3] = ctypes.cast(self._decode, ctypes.c_void_p).value or 0
        slots[B_MAP >> 3] = ctypes.addressof(self._map)
        self.budget = slots[B_BUDGET >> 3] = UNLIMITED
        self.set_segments(NOTHING)
        memory.set(M_BLOCKS, self.address)
        self._hook = library.hook(uc, UC_HOOK_BLOCK, block_hook.address, self.address, first=0, last=PROGRAMS_END - 1)
        self._sees_all = False

    def see_all(self) -> None:
        """Have the hook called for every block. What was translated before lacks the call."""
        if not self._sees_all:
            self._sees_all = True
            self._library.unhook(self._uc, self._hook)
            self._hook = self._library.hook(self._uc, UC_HOOK_BLOCK, block_hook.address, self.address)
            self._library.flush_translations(self._uc)
            self._memory.set(M_FLUSH, 1)

    # -- the clock -------------------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """Blocks that the guest has begun: those that are covered, and all while there is a budget."""
        return self.slots[B_COUNT >> 3]

    def set_budget(self, last: int) -> None:
        """Stop the guest (STOP_NONE) before the block that would make ``count`` greater than ``last``.

        While there is a budget (not UNLIMITED), all blocks count and not only those that are covered.
        """
        if last != UNLIMITED:
            self.see_all()
        self.budget = last
        self.slots[B_BUDGET >> 3] = last
        self.slots[B_LIMIT >> 3] = 0

    def kick(self) -> None:
        """Stop the guest before its next block; from any thread. It is stopped at once if it runs only later."""
        self.slots[B_KICK >> 3] = 1
        self.slots[B_LIMIT >> 3] = 0

    # -- coverage --------------------------------------------------------------------------------------------------

    def set_map(self, address: int, size: int) -> None:
        """Fill the map of ``size`` bytes at host ``address`` from now on; the power of two in it, that is.

        Raises:
            ValueError: it has no bytes, or more than 2^30.
        """
        if not 1 <= size <= 1 << 30:
            raise ValueError(f"a map of {size} bytes: it must have at least one, and at most 2^30")
        self.slots[B_MAP >> 3] = address
        self.slots[B_MASK >> 3] = (1 << size.bit_length() - 1) - 1

    def set_segments(self, segments: Segments) -> None:
        """What counts from now on. Blocks that count before :meth:`set_map` go nowhere."""
        if segments is self._segments and self.slots[B_SEGMENT_COUNT >> 3]:
            return
        if segments.end > PROGRAMS_END:
            self.see_all()
        self._segments = segments
        slots = self.slots
        slots[B_SEGMENTS >> 3] = segments.rows.ctypes.data
        slots[B_SEGMENT_COUNT >> 3] = len(segments.rows)
        slots[B_LOW >> 3] = slots[B_LENGTH >> 3] = 0
        slots[B_SPACE >> 3] = segments.number << 47

    # -- what each task has of its own -----------------------------------------------------------------------------

    def save(self) -> tuple[int, ...]:
        """The current task's place in its path: kept while others run."""
        slots = self.slots
        return tuple([slots[i] for i in _OWN])

    def restore(self, state: tuple[int, ...]) -> None:
        slots = self.slots
        for i, value in zip(_OWN, state, strict=True):
            slots[i] = value
        slots[B_LIMIT >> 3] = 0

    @property
    def last(self) -> tuple[int, int]:
        """(address, bytes) of the last block that the current task began; of its program alone before :meth:`see_all`.
        """
        return self.slots[B_LAST >> 3], self.slots[B_LAST_SIZE >> 3]

    def resume_inside(self, rip: int) -> None:
        """The guest will go on at ``rip``, in the middle of a block that was begun before."""
        self.slots[B_RESUME >> 3] = rip
        self.slots[B_LIMIT >> 3] = 0

    def _ends_block(self, start: int, end: int) -> int:
        """From the hook, once for each long block that was left at its end: was that end one of the program's?"""
        try:
            return int(ends_block(self._read(start, end), start))
        except Exception:  # nothing may propagate through the engine
            return 1

    def _read(self, start: int, end: int) -> bytes:
        """Code at a virtual address of the running task, which has just executed it."""
        pieces = []
        while start < end:
            slot, _ = walk(self._memory.m, start & PAGE_MASK)
            entry = ctypes.c_int64.from_address(slot).value
            physical = entry & PTE_FRAME
            if entry & PTE_PS:
                physical = physical & -PMD_SIZE | start & (PMD_SIZE - 1)
            physical = (physical & PAGE_MASK) + (start & ~PAGE_MASK)
            size = min(end, (start & PAGE_MASK) + PAGE_SIZE) - start
            pieces.append(bytes(self._memory.ram.view[physical : physical + size]))
            start += size
        return b"".join(pieces)
