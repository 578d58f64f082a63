"""madvise: what each advice does here. Linux: mm/madvise.c.

Advice about reading ahead and about merging or poisoning pages cannot change what a program sees and is accepted after
the same checks; think twice before adding one to that list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.paging import PAGE_MASK, PAGE_SHIFT, PMD_SIZE, TASK_SIZE
from kernel.errno import EACCES, EFAULT, EINVAL, ENOMEM, EPERM, Errno
from kernel.mm import guards, hugetlb, khugepaged, unmap, vmscan
from kernel.mm.layout import (
    FAULT_OOM,
    FAULT_RESTART,
    K_COPY_CODE,
    VM_DONTCOPY,
    VM_DONTDUMP,
    VM_DONTEXPAND,
    VM_DROPPABLE,
    VM_GUARDED,
    VM_HUGEPAGE,
    VM_HUGETLB,
    VM_LOCKED,
    VM_MAYSHARE,
    VM_MAYWRITE,
    VM_MERGEABLE,
    VM_NOHUGEPAGE,
    VM_READ,
    VM_SHARED,
    VM_STORED,
    VM_WIPEONFORK,
    VM_WRITE,
)
from kernel.mm.mmap import page_align
from kernel.mm.usercopy import populate_range
from kernel.mm.vma import Row

if TYPE_CHECKING:
    from kernel.mm.address_space import AddressSpace

(MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED) = range(5)
(MADV_FREE, MADV_REMOVE, MADV_DONTFORK, MADV_DOFORK, MADV_MERGEABLE, MADV_UNMERGEABLE, MADV_HUGEPAGE, MADV_NOHUGEPAGE,
 MADV_DONTDUMP, MADV_DODUMP, MADV_WIPEONFORK, MADV_KEEPONFORK, MADV_COLD, MADV_PAGEOUT, MADV_POPULATE_READ,
 MADV_POPULATE_WRITE, MADV_DONTNEED_LOCKED, MADV_COLLAPSE) = range(8, 26)
MADV_HWPOISON, MADV_SOFT_OFFLINE, MADV_GUARD_INSTALL, MADV_GUARD_REMOVE = range(100, 104)

#: Without visible effect: there is no read-ahead to steer.
_NO_EFFECT = {MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED}
#: Advice that sets and clears VM_* flags: (set, clear).
_FLAGS = {
    MADV_DONTFORK: (VM_DONTCOPY, 0),
    MADV_DOFORK: (0, VM_DONTCOPY),
    MADV_DONTDUMP: (VM_DONTDUMP, 0),
    MADV_DODUMP: (0, VM_DONTDUMP),
    MADV_WIPEONFORK: (VM_WIPEONFORK, 0),
    MADV_KEEPONFORK: (0, VM_WIPEONFORK),
    MADV_MERGEABLE: (VM_MERGEABLE, 0),
    MADV_UNMERGEABLE: (0, VM_MERGEABLE),
    MADV_HUGEPAGE: (VM_HUGEPAGE, VM_NOHUGEPAGE),
    MADV_NOHUGEPAGE: (VM_NOHUGEPAGE, VM_HUGEPAGE),
}
_KNOWN = _NO_EFFECT | set(_FLAGS) | {
    MADV_DONTNEED, MADV_DONTNEED_LOCKED, MADV_FREE, MADV_REMOVE, MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_COLD,
    MADV_PAGEOUT, MADV_COLLAPSE, MADV_GUARD_INSTALL, MADV_GUARD_REMOVE}


def madvise(mm: AddressSpace, start: int, length: int, advice: int) -> None:
    """Apply ``advice`` to whole pages.

    Raises:
        Errno: EINVAL; ENOMEM for a hole, after the rest was done; EBADF, EACCES, EFAULT, EPERM by advice.
    """
    if advice in (MADV_HWPOISON, MADV_SOFT_OFFLINE):
        raise Errno(EPERM)
    if advice not in _KNOWN or start & ~PAGE_MASK:
        raise Errno(EINVAL)
    size = page_align(length)
    if (length and not size) or start + size >= 1 << 64:
        raise Errno(EINVAL)
    if size == 0:
        return
    end = start + size
    if start >= TASK_SIZE:
        raise Errno(ENOMEM)
    end = min(end, TASK_SIZE)
    if advice in (MADV_POPULATE_READ, MADV_POPULATE_WRITE):
        _populate(mm, start, end, advice == MADV_POPULATE_WRITE)
        return
    complete = mm.vmas.covered(start, end)
    for row in mm.vmas.overlapping(start, end):
        _apply(mm, row, max(row.start, start), min(row.end, end), advice)
    if not complete:
        raise Errno(ENOMEM)


def _apply(mm: AddressSpace, row: Row, start: int, end: int, advice: int) -> None:
    if row.flags & VM_HUGETLB:
        start, end = _whole_huge_pages(start, end, advice)
    if advice in (MADV_DONTNEED, MADV_DONTNEED_LOCKED):
        if row.flags & VM_LOCKED and advice == MADV_DONTNEED:
            raise Errno(EINVAL)
        hugetlb.discard(mm, row, start, end)
        keep = unmap.KEEP_GUARDS if row.flags & VM_GUARDED else unmap.KEEP_TABLES
        mm.until_memory(unmap.discard_range, start, end, keep)
        mm.memory.trim()
    elif advice == MADV_FREE:
        if row.mapping or row.flags & VM_LOCKED:
            raise Errno(EINVAL)
        mm.until_memory(unmap.advise_range, start, end, unmap.LAZY_FREE)
    elif advice == MADV_REMOVE:
        _remove(mm, row, start, end)
    elif advice in _FLAGS:
        _set_flags(mm, row, start, end, advice)
    elif advice in (MADV_COLD, MADV_PAGEOUT):
        if row.flags & VM_LOCKED:
            raise Errno(EINVAL)
        vmscan.age_range.call(mm.memory.m, mm.mm, start, end, advice == MADV_PAGEOUT)
    elif advice == MADV_COLLAPSE:
        _collapse(mm, row, start, end)
    elif advice == MADV_GUARD_INSTALL:
        _install_guards(mm, row, start, end)
    elif advice == MADV_GUARD_REMOVE:
        if row.flags & (VM_DONTEXPAND | VM_HUGETLB):
            raise Errno(EINVAL)
        mm.until_memory(guards.remove_guards, start, end)


def _install_guards(mm: AddressSpace, row: Row, start: int, end: int) -> None:
    """What was there is lost; whoever comes there gets SIGSEGV until the guards go (madvise_guard_install)."""
    if row.flags & (VM_DONTEXPAND | VM_HUGETLB | VM_LOCKED):
        raise Errno(EINVAL)

    def change(part: Row) -> Row:
        part.flags |= VM_GUARDED if part.flags & VM_SHARED else VM_GUARDED | VM_STORED
        return part

    mm.vmas.transform(row.start, row.end, change)
    mm.until_memory(guards.install_guards, start, end)


def _whole_huge_pages(start: int, end: int, advice: int) -> tuple[int, int]:
    """What an advice may touch of a MAP_HUGETLB mapping: whole pages from an aligned start, and no MADV_FREE."""
    if advice in (MADV_DONTNEED, MADV_DONTNEED_LOCKED):
        if start & (PMD_SIZE - 1):
            raise Errno(EINVAL)
        return start, max(end & -PMD_SIZE, start)
    if advice in (MADV_FREE, MADV_COLD, MADV_PAGEOUT, MADV_COLLAPSE):
        raise Errno(EINVAL)
    return start, end


def _collapse(mm: AddressSpace, row: Row, start: int, end: int) -> None:
    """MADV_COLLAPSE: each whole 2 MiB of anonymous memory becomes a 2 MiB page, now.

    Raises:
        Errno: EINVAL where nothing was ever stored, the mapping is too small or not anonymous, or some part of it has
            nothing to collapse (the other parts are done); ENOMEM.
    """
    fits = (row.end - PMD_SIZE) & -PMD_SIZE >= row.start
    if row.mapping or row.flags & (VM_NOHUGEPAGE | VM_STORED) != VM_STORED or not fits or mm.thp_disabled:
        raise Errno(EINVAL)
    failed = False
    for base in range((start + PMD_SIZE - 1) & -PMD_SIZE, (end & -PMD_SIZE), PMD_SIZE):
        code = khugepaged.collapse.call(mm.memory.m, mm.mm, base, row.flags)
        if code == khugepaged.NO_MEMORY:
            raise Errno(ENOMEM)
        failed |= code != khugepaged.COLLAPSED
    if failed:
        raise Errno(EINVAL)


def _remove(mm: AddressSpace, row: Row, start: int, end: int) -> None:
    """MADV_REMOVE: punch a hole into the file or shared memory behind a shared mapping that may be writable."""
    if row.flags & VM_LOCKED or not row.mapping:
        raise Errno(EINVAL)
    if row.flags & (VM_SHARED | VM_MAYWRITE) != VM_SHARED | VM_MAYWRITE:
        raise Errno(EACCES)
    mapping = mm.memory.mappings[row.mapping]
    assert mapping is not None
    mapping.cache.punch(start - row.start + row.offset, end - start)


def _set_flags(mm: AddressSpace, row: Row, start: int, end: int, advice: int) -> None:
    if advice == MADV_WIPEONFORK and (row.mapping or row.flags & VM_SHARED):
        raise Errno(EINVAL)
    if advice in (MADV_KEEPONFORK, MADV_DODUMP) and row.flags & VM_DROPPABLE:
        raise Errno(EINVAL)
    if advice == MADV_MERGEABLE and row.flags & (VM_SHARED | VM_MAYSHARE | VM_DONTEXPAND | VM_HUGETLB | VM_DROPPABLE):
        return
    added, removed = _FLAGS[advice]

    def change(part: Row) -> Row:
        part.flags = (part.flags & ~removed) | added
        return part

    mm.vmas.transform(start, end, change)


def _populate(mm: AddressSpace, start: int, end: int, write: bool) -> None:
    """MADV_POPULATE_READ and _WRITE: as reading or writing a byte of each page would."""
    for row in mm.vmas.overlapping(start, end):
        if row.start > start:
            break
        if not row.flags & (VM_WRITE if write else VM_READ):
            raise Errno(EINVAL)
        stop = min(row.end, end)
        while start < stop:
            start = populate_range.call(mm.memory.m, mm.mm, start | write, stop)
            code = mm.memory.memory.get(K_COPY_CODE)
            if start < stop:
                code = mm.resolve(start, 17 if write else 16, code)
                if code > FAULT_RESTART:
                    raise Errno(ENOMEM if code == FAULT_OOM else EFAULT)
    if start < end:
        raise Errno(ENOMEM)


def mincore(mm: AddressSpace, start: int, length: int) -> bytes:
    """One byte a page, bit 0 set when it is in memory.

    Raises:
        Errno: EINVAL (unaligned), ENOMEM (a hole).
    """
    if start & ~PAGE_MASK:
        raise Errno(EINVAL)
    end = start + page_align(length)
    if end > TASK_SIZE or not mm.vmas.covered(start, end):
        raise Errno(ENOMEM)
    present = mm.page_bytes(start, end) & 1
    for row in mm.vmas.overlapping(start, end):
        if row.mapping:
            mapping = mm.memory.mappings[row.mapping]
            assert mapping is not None
            low, high = max(row.start, start), min(row.end, end)
            first = (low - row.start + row.offset) >> PAGE_SHIFT
            held = mapping.cache.frames[first : first + ((high - low) >> PAGE_SHIFT)] != 0
            at = (low - start) >> PAGE_SHIFT
            present[at : at + held.size] |= held
    return present.tobytes()


