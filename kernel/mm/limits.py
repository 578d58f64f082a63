"""What resource limits allow of an address space. Linux: may_expand_vm, mlock_future_ok, acct_stack_growth.

The limits are those of the task that runs, whoever's memory it is; the kernel itself has none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emu.paging import PAGE_SHIFT
from kernel.errno import Errno
from kernel.mm import overcommit
from kernel.mm.layout import VM_GROWSDOWN, VM_LOCKED, VM_SHARED, VM_WRITE

if TYPE_CHECKING:
    from kernel.mm.address_space import AddressSpace
    from kernel.mm.vma import Row

RLIMIT_DATA, RLIMIT_STACK, RLIMIT_MEMLOCK, RLIMIT_AS = 2, 3, 8, 9
INFINITY = 2**64 - 1


@dataclass
class Limits:
    """How to ask for the limits in force."""

    get: Callable[[int], tuple[int, int]] = lambda number: (INFINITY, INFINITY)
    """RLIMIT_* to its soft and hard value."""
    may_lock_all: Callable[[], bool] = lambda: True
    """CAP_IPC_LOCK."""


def may_expand(mm: AddressSpace, flags: int, size: int) -> bool:
    """RLIMIT_AS lets ``size`` more bytes be mapped with VM_* ``flags``, and RLIMIT_DATA, if they are private writable
    ones (may_expand_vm)."""
    get = mm.memory.limits.get
    most = get(RLIMIT_AS)[0]
    if most != INFINITY and mm.total_vm + (size >> PAGE_SHIFT) > most >> PAGE_SHIFT:
        return False
    soft, hard = get(RLIMIT_DATA)
    if soft == INFINITY or flags & (VM_WRITE | VM_SHARED | VM_GROWSDOWN) != VM_WRITE:
        return True
    now = mm.pages_with(VM_WRITE | VM_SHARED | VM_GROWSDOWN, VM_WRITE) + (size >> PAGE_SHIFT)
    return now <= soft >> PAGE_SHIFT or (soft == 0 and now <= hard >> PAGE_SHIFT)


def may_lock(mm: AddressSpace, flags: int, size: int) -> bool:
    """RLIMIT_MEMLOCK lets ``size`` more bytes be mapped with VM_* ``flags`` (mlock_future_ok)."""
    if not flags & VM_LOCKED or mm.memory.limits.may_lock_all():
        return True
    most = mm.memory.limits.get(RLIMIT_MEMLOCK)[0]
    return mm.pages_with(VM_LOCKED, VM_LOCKED) + (size >> PAGE_SHIFT) <= most >> PAGE_SHIFT


def may_grow_stack(mm: AddressSpace, row: Row, start: int) -> bool:
    """The stack in ``row`` may begin at ``start``; compiled code has looked at RLIMIT_STACK (acct_stack_growth)."""
    grown = row.start - start
    if not may_expand(mm, row.flags, grown) or not may_lock(mm, row.flags, grown):
        return False
    try:
        overcommit.check_promise(mm, grown >> PAGE_SHIFT)
    except Errno:
        return False
    return True
