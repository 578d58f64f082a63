"""MAP_HUGETLB: private anonymous mappings of 2 MiB pages that a pool has promised. Linux: mm/hugetlb.c.

The pool is empty until vm.nr_hugepages (or ``--hugepages``) fills it. A mapping reserves its pages when it is made, so
that faults of the process that made it find one; a child's copy has no such promise and may get SIGBUS.

Invariant: K_POOL_RESERVED is the number of pages not yet present in all VMAs with VM_RESERVED.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.paging import PAGE_SHIFT, PMD_SHIFT, PMD_SIZE
from kernel.errno import EINVAL, ENOMEM, Errno
from kernel.mm.layout import K_POOL_FREE, K_POOL_RESERVED, V_FLAGS, VM_HUGETLB, VM_NORESERVE, VM_RESERVED
from kernel.mm.vma import Row

if TYPE_CHECKING:
    from kernel.mm.address_space import AddressSpace
    from kernel.mm.memory import KernelMemory

_LEAF = 64  # see unmap.resident_pages
_INSIDE = PMD_SIZE - 1


def align(length: int) -> int:
    """``length`` in bytes rounded up to whole 2 MiB pages."""
    return (length + _INSIDE) & -PMD_SIZE


def reserve(memory: KernelMemory, size: int, flags: int) -> int:
    """Promise the pages of a new mapping of ``size`` bytes; returns its VM_* flags (hugetlb_reserve_pages).

    Raises:
        Errno: ENOMEM when the pool has not so many left.
    """
    if flags & VM_NORESERVE:
        return flags | VM_HUGETLB
    pages = size >> PMD_SHIFT
    promised = memory.memory.get(K_POOL_RESERVED)
    if promised + pages > memory.memory.get(K_POOL_FREE):
        raise Errno(ENOMEM)
    memory.memory.set(K_POOL_RESERVED, promised + pages)
    return flags | VM_HUGETLB | VM_RESERVED


def check_edges(mm: AddressSpace, start: int, end: int) -> None:
    """A mapping of 2 MiB pages can only be cut between them.

    Raises:
        Errno: EINVAL.
    """
    if (start | end) & _INSIDE:
        for edge in (start, end):
            row = mm.vmas.find(edge)
            if row is not None and row.flags & VM_HUGETLB and row.start < edge and edge & _INSIDE:
                raise Errno(EINVAL)


def _present(mm: AddressSpace, start: int, end: int) -> int:
    """2 MiB pages present in a range."""
    return int((mm.page_bytes(start, end) & _LEAF != 0).sum()) >> (PMD_SHIFT - PAGE_SHIFT)


def _promise(mm: AddressSpace, pages: int) -> None:
    memory = mm.memory.memory
    memory.set(K_POOL_RESERVED, memory.get(K_POOL_RESERVED) + pages)


def unreserve(mm: AddressSpace, rows: list[Row], start: int, end: int) -> None:
    """The part [start, end) of the mappings ``rows`` is about to go: what is not present is no longer promised."""
    for row in rows:
        if row.flags & VM_RESERVED:
            low, high = max(row.start, start), min(row.end, end)
            _promise(mm, _present(mm, low, high) - ((high - low) >> PMD_SHIFT))


def discard(mm: AddressSpace, row: Row, start: int, end: int) -> None:
    """The pages of [start, end) are about to go back to the pool, but the mapping stays (MADV_DONTNEED)."""
    if row.flags & VM_RESERVED:
        _promise(mm, _present(mm, start, end))


def moved(mm: AddressSpace, row: Row, size: int) -> None:
    """``size`` bytes of the mapping ``row`` have a new place, and its promise with them; munmap of the old one, where
    nothing is present now, is about to take back as much."""
    if row.flags & VM_RESERVED:
        _promise(mm, size >> PMD_SHIFT)


def release_all(mm: AddressSpace) -> None:
    """The address space is at its end."""
    if mm.memory.pool_pages and (mm.vmas.rows[:, V_FLAGS >> 3] & VM_RESERVED).any():
        unreserve(mm, list(mm.vmas), 0, 1 << 47)


def pages_in_use(mm: AddressSpace) -> int:
    """HugetlbPages of /proc/pid/status, in 2 MiB pages."""
    if not (mm.vmas.rows[:, V_FLAGS >> 3] & VM_HUGETLB).any():
        return 0
    return sum(_present(mm, row.start, row.end) for row in mm.vmas if row.flags & VM_HUGETLB)
