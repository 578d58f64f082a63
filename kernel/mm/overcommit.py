"""How much memory may be promised. Linux: __vm_enough_memory, accountable_mapping.

Promised are the VM_ACCOUNT mappings (private and writable, now or once) and shared memory. No running total is kept:
the sum is made from VMAs and caches when it is asked for, which is in mode 2 and for /proc/meminfo only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emu.paging import PAGE_SHIFT
from kernel.errno import ENOMEM, Errno
from kernel.mm.layout import VM_ACCOUNT, VM_DONTCOPY, VM_NORESERVE, VM_SHARED, VM_WRITE

if TYPE_CHECKING:
    from kernel.mm.address_space import AddressSpace
    from kernel.mm.memory import KernelMemory

#: vm.overcommit_memory.
OVERCOMMIT_GUESS, OVERCOMMIT_ALWAYS, OVERCOMMIT_NEVER = range(3)
_KB_SHIFT = PAGE_SHIFT - 10


@dataclass
class Overcommit:
    """The settings of /proc/sys/vm that govern promises."""

    mode: int = OVERCOMMIT_GUESS
    ratio: int = 50
    """Percent of memory that mode 2 promises besides swap; ``kbytes`` takes its place when not 0."""
    kbytes: int = 0
    admin_reserve_kbytes: int = 0
    user_reserve_kbytes: int = 0
    privileged: Callable[[], bool] = lambda: True
    """Whether who asks has CAP_SYS_ADMIN."""


def is_accountable(flags: int) -> bool:
    """A new mapping with these VM_* flags is a promise of memory (accountable_mapping)."""
    return flags & (VM_NORESERVE | VM_SHARED | VM_WRITE) == VM_WRITE


def commit_limit(memory: KernelMemory) -> int:
    """``CommitLimit`` in pages: what mode 2 promises at most."""
    rules = memory.overcommit
    own = rules.kbytes >> _KB_SHIFT if rules.kbytes else memory.total_frames * rules.ratio // 100
    return own + memory.backed_frames - memory.total_frames


def committed_pages(memory: KernelMemory) -> int:
    """``Committed_AS`` in pages: what is promised in any mode."""
    private = sum(space.pages_with(VM_ACCOUNT, VM_ACCOUNT) for space in memory.spaces.values())
    shared = sum(cache.promised_pages or cache.cached_pages for cache in list(memory.caches) if cache.backing is None)
    return private + shared


def accounted_pages(mm: AddressSpace, start: int, end: int) -> int:
    """Pages of [start, end) that are promised already."""
    return sum(min(row.end, end) - max(row.start, start) for row in mm.vmas.overlapping(start, end)
               if row.flags & VM_ACCOUNT) >> PAGE_SHIFT


def check_promise(mm: AddressSpace, pages: int) -> None:
    """May ``pages`` more be promised to this address space (__vm_enough_memory)?

    Raises:
        Errno: ENOMEM.
    """
    memory, rules = mm.memory, mm.memory.overcommit
    if rules.mode == OVERCOMMIT_ALWAYS or pages <= 0:
        return
    if rules.mode == OVERCOMMIT_GUESS:
        # Refuse only what could never be there.
        if pages > memory.backed_frames:
            raise Errno(ENOMEM)
        return
    allowed = commit_limit(memory)
    if not rules.privileged():
        allowed -= rules.admin_reserve_kbytes >> _KB_SHIFT
    # A process may not grow so far that nobody could end it any more.
    allowed -= min(mm.total_vm // 32, rules.user_reserve_kbytes >> _KB_SHIFT)
    if committed_pages(memory) + pages >= allowed:
        raise Errno(ENOMEM)


def check_fork(mm: AddressSpace) -> None:
    """May all that a child would get be promised again (dup_mmap)?

    Raises:
        Errno: ENOMEM.
    """
    rules = mm.memory.overcommit
    if rules.mode == OVERCOMMIT_ALWAYS:
        return
    # Few rows: a loop is quicker than NumPy, and every fork comes here.
    sizes = [end - start for start, end, flags, *_ in mm.vmas.rows.tolist()
             if flags & (VM_ACCOUNT | VM_DONTCOPY) == VM_ACCOUNT]
    # One mapping after the other: only mode 2 looks at the sum.
    total = max(sizes, default=0) if rules.mode == OVERCOMMIT_GUESS else sum(sizes)
    check_promise(mm, total >> PAGE_SHIFT)
