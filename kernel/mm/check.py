"""The invariants of memory, checked by recounting everything (``--paranoid``; tests call it after every kernel entry).

==  ==================================================================================================
I1  ``sharers(T)`` is the number of PMD entries that point at T
I2  while it is above 1, W is clear in each of them
I3  an entry of T changes only while it is 1 (Accessed bits, and W taken away by a copy, excepted)
I4  ``refs(page)`` is the number of distinct tables that map it, plus one for the cache; no mapped page is free
I5  W in the PMD entry and in the PTE of a private page means that exactly one table maps it
I6  every present entry lies in a VMA of each sharer
I7  nothing is left after the last exit: every frame in use is accounted for
I8  the counters equal the recount
==  ==================================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kernel.mm import recount
from kernel.mm.layout import K_FREE_COUNT, K_FRESH, K_TABLES_REARMED, K_USED
from kernel.mm.memory import FIRST_FRAME

if TYPE_CHECKING:
    from kernel.mm.memory import KernelMemory


class InvariantError(AssertionError):
    """Memory is not as it must be; the text names the invariant, the table, the entry and the processes."""


class Checker:
    """Scratch memory for repeated checks of one kernel's memory."""

    def __init__(self, memory: KernelMemory, users: Any = None) -> None:
        self.memory = memory
        self.users = users
        """Called with an address space: the processes that use it, for messages."""
        self.hashes = np.zeros((0, 2), np.int64)
        self.where = np.zeros(3, np.int64)
        self.rearmed = 0

    def check(self) -> None:
        """Recount everything.

        Raises:
            InvariantError: the first violation found.
        """
        memory = self.memory
        fresh = memory.memory.get(K_FRESH)
        if len(self.hashes) < fresh:
            hashes = np.zeros((2 * fresh, 2), np.int64)
            hashes[: len(self.hashes)] = self.hashes
            self.hashes = hashes
        rearmed = memory.memory.get(K_TABLES_REARMED)
        if rearmed != self.rearmed:
            # Some table was private in between and may have changed then; which one is not recorded.
            self.rearmed = rearmed
            self.hashes[:] = 0
        tables, pages = np.zeros(fresh, np.int32), np.zeros(fresh, np.int32)
        args = tuple(_address(a) for a in (tables, pages, self.hashes, self.where))
        m = memory.m
        for space in memory.spaces.values():
            self._judge(recount.recount_space.call(m, space.mm, *args), space)
        for space in memory.spaces.values():
            self._judge(recount.recount_writable.call(m, space.mm, args[1], args[3]), space)
        for cache in memory.caches:
            if cache.frames.size:
                recount.recount_cache.call(args[1], _address(cache.frames), cache.frames.size)
        self._judge(recount.recount_frames.call(m, FIRST_FRAME, fresh, args[0], args[1], args[3]), None)
        # A table that is no longer shared, or gone, starts afresh.
        self.hashes[:fresh][tables == 0] = 0
        in_use = int(np.count_nonzero(memory.refs[FIRST_FRAME:fresh]))
        if in_use != memory.memory.get(K_USED) or in_use + memory.memory.get(K_FREE_COUNT) != fresh - FIRST_FRAME:
            raise InvariantError(f"I8: {in_use} frames are in use, the counter says {memory.memory.get(K_USED)}, "
                                 f"{memory.memory.get(K_FREE_COUNT)} are free of {fresh - FIRST_FRAME}")

    def _judge(self, code: int, space: Any) -> None:
        if code == 0:
            return
        a, b, c = self.where.tolist()
        who = "" if space is None else f" in {self._describe(space)}"
        text = {
            recount.BAD_SHARERS: f"I1: table in frame {a:#x} counts {b} sharers, {c} PMD entries point at it; "
                                 f"used by {self._users_of(a)}",
            recount.BAD_SHARED_WRITABLE: f"I2: table in frame {a:#x} has {c} sharers, but W is set in the PMD entry "
                                         f"for {b:#x}; used by {self._users_of(a)}",
            recount.BAD_CHANGED: f"I3: an entry of the table in frame {a:#x} changed while it had {b} sharers; "
                                 f"used by {self._users_of(a)}",
            recount.BAD_REFS: f"I4: page frame {a:#x} counts {b} references, {c} were found; "
                              f"mapped by {self._mappers(a)}",
            recount.BAD_FREE_MAPPED: f"I4: entry {b} of the table in frame {a:#x} maps frame {c:#x}, which is free; "
                                     f"used by {self._users_of(a)}",
            recount.BAD_BOTH_WRITABLE: f"I5: entry {b} of the table in frame {a:#x} may be stored to, but other tables "
                                       f"map frame {c:#x} too: {self._mappers(c)}",
            recount.BAD_OUTSIDE: f"I6: entry {b} of the table in frame {a:#x} maps {c:#x}, where there is no VMA",
            recount.BAD_LEAK: f"I7: frame {a:#x} (kind {int(self.memory.kind[a])}) has {b} references, "
                              f"but nobody uses it",
            recount.BAD_TABLE_COUNTS: f"I8: table in frame {a:#x} has {b} entries, its counters say {c}",
            recount.BAD_SPACE_COUNTS: f"I8: {a} pages and {b} tables were counted, the counters differ",
            recount.BAD_UPPER: f"I8: {a} upper tables were found, the counter says {b}",
        }[code]
        raise InvariantError(text + who)

    def _describe(self, space: Any) -> str:
        owners = self.users(space) if self.users is not None else ""
        return f"address space {space.number}" + (f" of {owners}" if owners else "")

    def _users_of(self, table: int) -> str:
        """The address spaces that point at a PTE table, with the address it serves there."""
        return self._search(lambda space: [hex(va) for va, frame in space.tables() if frame == table])

    def _mappers(self, frame: int) -> str:
        """The address spaces that map a page, with its addresses."""
        return self._search(lambda space: [hex(va) for va in space.addresses_of(frame)])

    def _search(self, find: Any) -> str:
        found = [f"{self._describe(space)} at {', '.join(places)}"
                 for space in self.memory.spaces.values() if (places := find(space))]
        return "; ".join(found) or "nobody"


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def make_checker(kernel: Any) -> Checker:
    """A checker whose messages name the kernel's processes."""

    def users(space: Any) -> str:
        return ", ".join(f"{task.comm.decode(errors='replace')}[{task.tid}]"
                         for task in kernel.tasks.values() if task.mm is space)

    return Checker(kernel.memory, users)
