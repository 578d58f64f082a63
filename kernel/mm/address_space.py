"""An address space: page tables, VMAs and the layout that exec gave it. Linux: mm_struct.

This class is the state and its life (new, fork, release). Access to user memory is in ``uaccess.py``, what only looks
is in ``inspection.py``; the mapping calls are functions over it in ``mmap.py``, ``mremap.py`` and ``madvise.py``.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from emu.layout import M_FLUSH
from emu.paging import PAGE_SIZE
from kernel.errno import ENOMEM, Errno
from kernel.mm import fork, hugetlb, limits, overcommit, unmap
from kernel.mm.inspection import Inspection, Stats, Vma
from kernel.mm.layout import (
    MM_ROOT,
    MM_STACK_LIMIT,
    MM_STACKS_ASK,
    MM_THP_DISABLED,
    V_FLAGS,
    VM_DONTCOPY,
    VM_GUARDED,
    VM_LOCKED_MASK,
    VM_RESERVED,
    VM_TAKEN,
)
from kernel.mm.pagecache import PageCache
from kernel.mm.uaccess import UserAccess
from kernel.mm.vma import VmaSet

if TYPE_CHECKING:
    from kernel.mm.memory import KernelMemory

__all__ = ["AddressSpace", "Stats", "Vma"]

_numbers = itertools.count(1)
#: Locks (mlock(2)), and what the pool of 2 MiB pages has promised or taken.
_NOT_INHERITED = VM_LOCKED_MASK | VM_RESERVED | VM_TAKEN


class AddressSpace(UserAccess, Inspection):
    """``users`` counts the tasks that run in it; ``use_odf`` and ``odf_level`` choose how its next fork works."""

    def __init__(self, memory: KernelMemory) -> None:
        self.memory = memory
        self.number = next(_numbers)
        self.vmas = VmaSet(memory)
        self.slots = self.vmas.slots
        self.mm = self.vmas.address
        """The mm block's address for compiled code."""
        self.slots[MM_ROOT >> 3] = memory.new_root()
        self.slots[MM_STACK_LIMIT >> 3] = 8 << 20
        self.row = 0
        """Where compiled code finds this address space among all."""
        memory.add_space(self)
        memory.memory.set(M_FLUSH, 1)
        self.users = 1
        self.use_odf = False
        self.odf_level = 1
        """What fork on demand shares: 1 PTE tables, 2 PMD tables too."""
        self.start_code = self.end_code = self.start_data = self.end_data = 0
        self.start_brk = self.brk = self.start_stack = 0
        self.arg_start = self.arg_end = self.env_start = self.env_end = 0
        self.mmap_base = (1 << 47) - PAGE_SIZE
        self.auxv = b""
        self.exe: Any = None
        self.default_flags = 0
        """Of VM_LOCKED_MASK after mlockall(MCL_FUTURE)."""
        self.peak_vm = 0
        self.dumpable = 1
        self.code_segments: Any = None
        """What kernel.coverage has found out about the mappings of code; None when they have changed since."""

    @classmethod
    def new(cls, kernel: Any) -> AddressSpace:
        """An empty address space (mm_alloc).

        Raises:
            Errno: ENOMEM.
        """
        return cls(kernel.memory)

    @property
    def root(self) -> int:  # type: ignore[override]
        """Physical address of the PML4."""
        return self.slots[MM_ROOT >> 3]

    @property
    def thp_disabled(self) -> bool:
        """No 2 MiB pages without the pool here (PR_SET_THP_DISABLE); fork copies it, execve keeps it."""
        return self.slots[MM_THP_DISABLED >> 3] != 0

    @thp_disabled.setter
    def thp_disabled(self, value: bool) -> None:
        self.slots[MM_THP_DISABLED >> 3] = value

    # -- life ------------------------------------------------------------------------------------------------------

    def fork(self, odf: bool) -> AddressSpace:
        """A child address space: tables copied, or shared when ``odf`` (dup_mmap).

        Raises:
            Errno: ENOMEM; every count is as it was then.
        """
        overcommit.check_fork(self)
        child = AddressSpace(self.memory)
        level = self.odf_level if odf else 0
        try:
            child.vmas.copy_from(self.vmas, _without_dontcopy)
            for name in ("use_odf", "odf_level", "start_code", "end_code", "start_data", "end_data", "start_brk", "brk",
                         "start_stack", "arg_start", "arg_end", "env_start", "env_end", "mmap_base", "auxv", "exe",
                         "peak_vm", "dumpable", "thp_disabled", "code_segments"):
                setattr(child, name, getattr(self, name))
            for slot in (MM_STACK_LIMIT, MM_STACKS_ASK):
                child.slots[slot >> 3] = self.slots[slot >> 3]
            while not fork.fork_tables.call(self.memory.m, self.mm, child.mm, level):
                unmap.zap_range.call(self.memory.m, child.mm, 0, 1 << 47)
                if not self.memory.reclaim():
                    raise Errno(ENOMEM)
        except BaseException:
            child.release()
            raise
        return child

    def release(self) -> None:
        """Give back every page, table and file (exit_mmap)."""
        if self.number not in self.memory.spaces:
            return
        self.memory.remove_space(self)
        hugetlb.release_all(self)
        unmap.free_tables.call(self.memory.m, self.mm)
        self.vmas.clear()
        self.memory.trim()

    def until_memory(self, operation: Any, *args: int) -> None:
        """Call a compiled operation on this address space that returns 0 when out of frames; reclaim and try again.

        Raises:
            Errno: ENOMEM when nothing can be reclaimed; the operation has had no effect that a guest could see.
        """
        while not operation.call(self.memory.m, self.mm, *args):
            if not self.memory.reclaim():
                raise Errno(ENOMEM)

    def unmap_file_range(self, cache: PageCache, start: int, end: int, copies: bool) -> None:
        """Remove the pages of a byte range that its file has lost, private ``copies`` too (unmap_mapping_range).

        Raises:
            Errno: ENOMEM when a shared table could not be copied.
        """
        numbers = {mapping.number for mapping in cache.mappings}
        for row in self.vmas:
            if row.mapping in numbers:
                low = max(start - row.offset, 0) + row.start
                high = min(end - row.offset + row.start, row.end)
                if low >= high:
                    continue
                if copies:
                    keep = unmap.KEEP_GUARDS if row.flags & VM_GUARDED else unmap.KEEP_TABLES
                    self.until_memory(unmap.discard_range, low, high, keep)
                else:
                    self.until_memory(unmap.advise_range, low, high, unmap.ZAP_CACHE)

    def set_stack_limits(self, stack_bytes: int, total_bytes: int) -> None:
        """RLIMIT_STACK and RLIMIT_AS for the growth of stacks: compiled code compares with the one, and asks about the
        other if there is one."""
        self.slots[MM_STACK_LIMIT >> 3] = min(stack_bytes, 1 << 46)
        self.slots[MM_STACKS_ASK >> 3] = total_bytes != limits.INFINITY

    # -- the mapping calls, in their own files ---------------------------------------------------------------------

    def mmap(self, address: int, length: int, prot: int, flags: int, file: Any = None, offset: int = 0) -> int:
        """See ``kernel.mm.mmap.mmap``."""
        from kernel.mm.mmap import mmap

        return mmap(self, address, length, prot, flags, file, offset)

    def munmap(self, address: int, length: int) -> None:
        """See ``kernel.mm.mmap.munmap``."""
        from kernel.mm.mmap import munmap

        munmap(self, address, length)

    def mprotect(self, address: int, length: int, prot: int) -> None:
        """See ``kernel.mm.mmap.mprotect``."""
        from kernel.mm.mmap import mprotect

        mprotect(self, address, length, prot)


def _without_dontcopy(rows: np.ndarray) -> np.ndarray:
    flags = rows[:, V_FLAGS >> 3]
    if not (flags & (VM_DONTCOPY | _NOT_INHERITED)).any():
        return rows
    flags &= ~_NOT_INHERITED
    return rows[flags & VM_DONTCOPY == 0]

