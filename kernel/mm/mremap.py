"""mremap: grow, shrink or move a mapping with its pages. Linux: mm/mremap.c."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.paging import PAGE_MASK, PAGE_SHIFT, PMD_SIZE, TASK_SIZE
from kernel.errno import EAGAIN, EFAULT, EINVAL, ENOMEM, Errno
from kernel.mm import hugetlb, limits, remap
from kernel.mm.layout import (
    VM_ACCOUNT,
    VM_DONTEXPAND,
    VM_HUGETLB,
    VM_LOCKED,
    VM_LOCKED_MASK,
    VM_MAYSHARE,
    VM_SHARED,
    VM_STORED,
)
from kernel.mm.mmap import _choose_address, munmap, page_align, populate
from kernel.mm.overcommit import check_promise
from kernel.mm.vma import MAX_MAP_COUNT, Row

if TYPE_CHECKING:
    from kernel.mm.address_space import AddressSpace

MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP = 1, 2, 4


def mremap(mm: AddressSpace, old: int, old_length: int, new_length: int, flags: int, new: int) -> int:
    """Change the size or place of a mapping; returns its address.

    Raises:
        Errno: EINVAL, EFAULT (no such mapping), ENOMEM, EAGAIN (locked memory limit).
    """
    if flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP) or old & ~PAGE_MASK:
        raise Errno(EINVAL)
    if flags & MREMAP_FIXED and not flags & MREMAP_MAYMOVE:
        raise Errno(EINVAL)
    old_size, new_size = page_align(old_length), page_align(new_length)
    if flags & MREMAP_DONTUNMAP and (not flags & MREMAP_MAYMOVE or old_size != new_size):
        raise Errno(EINVAL)
    if new_size == 0 or new_size > TASK_SIZE:
        raise Errno(EINVAL)
    overlap = old + old_size > new and new + new_size > old
    if flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) and (new & ~PAGE_MASK or new > TASK_SIZE - new_size or overlap):
        raise Errno(EINVAL)
    row = _find(mm, old)
    if row.flags & VM_HUGETLB:
        old_size, new_size = hugetlb.align(old_size), hugetlb.align(new_size)
        if (old | new) & (PMD_SIZE - 1) or new_size > old_size:
            raise Errno(EINVAL)
    if flags & MREMAP_DONTUNMAP and row.flags & VM_DONTEXPAND:
        raise Errno(EINVAL)
    if flags & MREMAP_FIXED and old_size == new_size:
        return _move_all(mm, old, old_size, flags, new)
    if flags & (MREMAP_FIXED | MREMAP_DONTUNMAP):
        return _move_to(mm, row, old, old_size, new_size, flags, new)
    if old_size >= new_size:
        if old_size > new_size:
            munmap(mm, old + new_size, old_size - new_size)
        return old
    _check(mm, row, old, old_size, new_size)
    if old_size == row.end - old and _can_grow(mm, row, new_size - old_size):
        _extend(mm, row, new_size - old_size)
        return old
    if not flags & MREMAP_MAYMOVE:
        raise Errno(ENOMEM)
    return _move(mm, row, old, old_size, new_size, _choose_address(mm, 0, new_size, 0), flags)


def _check(mm: AddressSpace, row: Row, old: int, old_size: int, new_size: int) -> None:
    """vma_to_resize: may this part of this VMA be moved and have the new size?"""
    if old_size == 0 and not row.flags & (VM_SHARED | VM_MAYSHARE):
        raise Errno(EINVAL)
    if old_size > row.end - old:
        raise Errno(EFAULT)
    if new_size == old_size:
        return
    if row.flags & VM_DONTEXPAND:
        raise Errno(EFAULT)
    grown = new_size - old_size
    if not limits.may_lock(mm, row.flags, grown):
        raise Errno(EAGAIN)
    if not limits.may_expand(mm, row.flags, grown):
        raise Errno(ENOMEM)
    if row.flags & VM_ACCOUNT:
        check_promise(mm, grown >> PAGE_SHIFT)


def _can_grow(mm: AddressSpace, row: Row, grown: int) -> bool:
    return row.end + grown <= TASK_SIZE and not mm.vmas.overlapping(row.end, row.end + grown)


def _extend(mm: AddressSpace, row: Row, grown: int) -> None:
    offset = row.offset + (row.end - row.start) if row.mapping else 0
    mm.vmas.insert(Row(row.end, row.end + grown, row.flags, row.mapping, offset, row.name))
    if row.flags & VM_LOCKED:
        populate(mm, row.end, row.end + grown)


def _move_all(mm: AddressSpace, old: int, size: int, flags: int, new: int) -> int:
    """remap_move: to a fixed place without a change of size, as many mappings as there are; holes between them stay.

    What came before a mapping that cannot be moved has been moved then.
    """
    for row in mm.vmas.overlapping(old, old + size):
        start = max(row.start, old)
        length = min(row.end, old + size) - start
        _move_to(mm, row, start, length, length, flags, new + start - old)
    return new


def _move_to(mm: AddressSpace, row: Row, old: int, old_size: int, new_size: int, flags: int, new: int) -> int:
    """mremap_to: MREMAP_FIXED, MREMAP_DONTUNMAP or both."""
    _check(mm, row, old, min(old_size, new_size), new_size)
    if flags & MREMAP_FIXED:
        munmap(mm, new, new_size)
        # The target may have been a part of the same mapping.
        row = _find(mm, old)
    if old_size > new_size:
        munmap(mm, old + new_size, old_size - new_size)
        old_size = new_size
        row = _find(mm, old)
    if flags & MREMAP_DONTUNMAP:
        if not limits.may_expand(mm, row.flags, new_size):
            raise Errno(ENOMEM)
        if row.flags & VM_ACCOUNT:
            check_promise(mm, new_size >> PAGE_SHIFT)
    target = new if flags & MREMAP_FIXED else _choose_address(mm, new & PAGE_MASK, new_size, 0)
    return _move(mm, row, old, old_size, new_size, target, flags)


def _find(mm: AddressSpace, address: int) -> Row:
    row = mm.vmas.find(address) if address < TASK_SIZE else None
    if row is None:
        raise Errno(EFAULT)
    return row


def _move(mm: AddressSpace, row: Row, old: int, old_size: int, new_size: int, new: int, flags: int) -> int:
    """move_vma: a VMA at the new place, the pages after it, the old VMA gone unless MREMAP_DONTUNMAP."""
    m = mm.memory.m
    if mm.vmas.count >= MAX_MAP_COUNT - 3:
        # It may take that many more while it lasts.
        raise Errno(ENOMEM)
    if old_size:
        try:
            mm.until_memory(remap.prepare_move, old, new, old_size)
        except Errno:
            remap.forget_move.call(m, mm.mm, new, old_size)
            raise
    offset = row.offset + (old - row.start) if row.mapping else 0
    mm.vmas.insert(Row(new, new + new_size, row.flags, row.mapping, offset, row.name))
    if old_size:
        remap.move_range.call(m, mm.mm, old, new, old_size)
        hugetlb.moved(mm, row, old_size)
        if flags & MREMAP_DONTUNMAP:
            # Linux takes the lock from all of the old mapping, not only from the part that moved.
            gone = VM_LOCKED_MASK | (VM_STORED if (old, old_size) == (row.start, row.end - row.start) else 0)
            mm.vmas.transform(row.start, row.end, lambda part: _without(part, gone))
        else:
            munmap(mm, old, old_size)
    if row.flags & VM_LOCKED:
        populate(mm, new, new + new_size)
    return new


def _without(row: Row, flags: int) -> Row:
    row.flags &= ~flags
    return row


