"""The invariants of memory, checked by recounting everything (``--paranoid``: after every kernel entry).

==  ==================================================================================================
I1  ``sharers(T)`` is the number of PMD entries that point at T
I2  while it is above 1, W is clear in each of them
I3  an entry of T changes only while it is 1 (Accessed bits, W taken away by a copy, and a page's way to the swap
    area, which all sharers see, excepted)
I4  ``refs(page)`` is the number of distinct tables that map it, plus one for the cache; no mapped page is free. The
    same holds for leaves and the 2 MiB pages that they map, and for swap entries and slots
I5  W in the PMD entry and in the PTE of a private page means that exactly one table maps it; W in a leaf, that it is
    the 2 MiB page's only mapper
I6  every present entry lies in a VMA of each sharer
I7  nothing is left after the last exit: every frame in use is accounted for
I8  the counters equal the recount
==  ==================================================================================================
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np

from emu.memory import Reservation
from emu.paging import ENTRIES
from kernel.mm import recount
from kernel.mm.layout import (
    DIGEST_BYTES,
    K_DIGESTS,
    K_FREE_COUNT,
    K_FRESH,
    K_HUGE_FREE_COUNT,
    K_POOL_RESERVED,
    K_TABLE_END,
    K_TABLE_NEXT,
    K_USED,
    K_WRONG_STORE,
)
from kernel.mm.memory import FIRST_FRAME

if TYPE_CHECKING:
    from kernel.mm.memory import KernelMemory


#: So many faults in a row are checked one by one, and of those that follow one in so many.
FAULTS_EACH, FAULTS_SOME = 8, 64


class InvariantError(AssertionError):
    """Memory is not as it must be; the text names the invariant, the table, the entry and the processes."""


class Checker:
    """Scratch memory for repeated checks of one kernel's memory."""

    def __init__(self, memory: KernelMemory, users: Any = None) -> None:
        self.memory = memory
        self.users = users
        """Called with an address space: the processes that use it, for messages."""
        if memory.digests is None:
            memory.digests = Reservation(memory.total_frames * DIGEST_BYTES)
            memory.memory.set(K_DIGESTS, memory.digests.address)
        self.digests = memory.digests.array(np.int64).reshape(-1, DIGEST_BYTES // 8)
        """For each PTE table its sharers at the last check and a digest of its entries; compiled code forgets the
        tables that were private since."""
        self.digests[: memory.memory.get(K_FRESH)] = 0
        self._tables = Reservation(memory.total_frames * 4)
        self._pages = Reservation(memory.total_frames * 4)
        self._slots = Reservation(memory.swap.slots * 4 if memory.swap is not None else 4)
        self.block = np.zeros(recount.SEEN_BYTES // 8, np.int64)
        self._known = (-1, -1)
        """The caches as they were when they were listed."""
        self._arrays: list[Any] = []
        self._pairs = _words([])
        self._faults = 0
        """Since the last entry of another kind."""
        self.block[:4] = [block.address for block in (self._tables, self._pages, self._slots, memory.digests)]

    def check_fault(self) -> None:
        """check(), but of a long run of faults, as when memory is filled, one in FAULTS_SOME is enough.

        Raises:
            InvariantError: the first violation found.
        """
        self._faults += 1
        if self._faults <= FAULTS_EACH or self._faults % FAULTS_SOME == 0:
            self.check()

    def check_entry(self) -> None:
        """check() after a kernel entry of another kind."""
        self._faults = 0
        self.check()

    def check(self) -> None:
        """Recount everything.

        Raises:
            InvariantError: the first violation found.
        """
        memory, seen = self.memory, self.block
        fresh = memory.memory.get(K_FRESH)
        self._judge_stores()
        spaces = list(memory.spaces.values())
        addresses = _words([space.mm for space in spaces])
        seen[4:6] = ctypes.addressof(addresses), len(spaces)
        self._list_caches()
        code = recount.recount.call(memory.m, FIRST_FRAME, fresh, _address(seen))
        if code:
            space = int(seen[recount.SEEN_SPACE // 8])
            self._judge(code, spaces[space] if space >= 0 else None)
        in_use = int(seen[recount.SEEN_USED // 8])
        free = (memory.memory.get(K_FREE_COUNT) + ENTRIES * memory.memory.get(K_HUGE_FREE_COUNT)
                + memory.memory.get(K_TABLE_END) - memory.memory.get(K_TABLE_NEXT))
        if in_use != memory.memory.get(K_USED) or in_use + free != fresh - FIRST_FRAME:
            raise InvariantError(f"I8: {in_use} frames are in use, the counter says {memory.memory.get(K_USED)}, "
                                 f"{free} are free of {fresh - FIRST_FRAME}")

    def _list_caches(self) -> None:
        """Tell compiled code where the arrays of frames are that count as references; they seldom change."""
        memory = self.memory
        known = memory.caches_changed, len(memory.caches)
        if known != self._known:
            arrays = [*(cache.frames for cache in memory.caches), memory.swap_cache, memory.swap_reserve]
            self._arrays = [frames for frames in arrays if frames.size]
            self._pairs = _words([word for frames in self._arrays for word in (_address(frames), frames.size)])
            self.block[6:8] = ctypes.addressof(self._pairs), len(self._arrays)
            self._known = known

    def check_end(self) -> None:
        """The last process is gone: what is in use now is the page cache's, and nothing else.

        Raises:
            InvariantError: as check(), and I7 for what outlived the processes.
        """
        self.check()
        memory = self.memory
        left = [f"address space {number}" for number in memory.spaces]
        left += [f"a mapping of {mapping.name.decode(errors='replace')} with {mapping.users} users"
                 for mapping in memory.mappings if mapping is not None]
        cached = sum(cache.cached_pages for cache in list(memory.caches))
        pool = ENTRIES * memory.pool_pages
        if memory.used_frames != cached + pool:
            left.append(f"{memory.used_frames} frames, of which the page cache has {cached}, the huge page pool {pool}")
        if pool and memory.memory.get(K_POOL_RESERVED):
            left.append(f"{memory.memory.get(K_POOL_RESERVED)} promised pages of the pool")
        if memory.swap is not None and memory.swap.used_pages:
            left.append(f"{memory.swap.used_pages} pages in the swap area")
        if left:
            raise InvariantError(f"I7: after the last exit there are still {', '.join(left)}")

    def _judge_stores(self) -> None:
        """No entry was stored to while its table had sharers (kernel.mm.entries)."""
        slot = self.memory.memory.get(K_WRONG_STORE)
        if slot:
            table, entry = divmod((slot - self.memory.memory.ram.address) >> 3, ENTRIES)
            raise InvariantError(f"I3: entry {entry} of the table in frame {table:#x} was stored to while it had "
                                 f"sharers; used by {self._users_of(table)}")

    def _judge(self, code: int, space: Any) -> None:
        a, b, c = self.block[recount.SEEN_WHERE // 8 :][:3].tolist()
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
            recount.BAD_LEAF_REFS: f"I4: 2 MiB page at frame {a:#x} counts {b} leaves, {c} were found; "
                                   f"mapped by {self._mappers(a)}",
            recount.BAD_SLOT_REFS: f"I4: swap slot {a} counts {b} tables, {c} were found",
            recount.BAD_LEAF_WRITABLE: f"I5: the leaf for {b:#x} may be stored to, but {c} leaves and entries map its "
                                       f"2 MiB page at frame {a:#x}: {self._mappers(a)}",
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


def _address(array: Any) -> int:
    """Of a NumPy array's data; quicker than ``__array_interface__``."""
    return ctypes.addressof(ctypes.c_char.from_buffer(array))


def _words(values: list[int]) -> Any:
    """An array for compiled code."""
    return (ctypes.c_int64 * len(values))(*values)


def make_checker(kernel: Any) -> Checker:
    """A checker whose messages name the kernel's processes."""

    def users(space: Any) -> str:
        return ", ".join(f"{task.comm.decode(errors='replace')}[{task.tid}]"
                         for task in kernel.tasks.values() if task.mm is space)

    return Checker(kernel.memory, users)
