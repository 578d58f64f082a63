"""mmap, munmap, mprotect, brk: checks in the order of Linux's do_mmap, then VMAs, then page tables.

A call that can run out of memory does so before it changes anything (``own_tables``), so ENOMEM has no partial effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emu.paging import PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, PMD_SIZE, TASK_SIZE
from emu.words import U64
from kernel.errno import EACCES, EBUSY, EEXIST, EINVAL, ENOMEM, EOPNOTSUPP, EOVERFLOW, Errno
from kernel.mm import hugetlb, limits, overcommit, protect, unmap, usercopy
from kernel.mm.layout import (
    FAULT_RESTART,
    K_COPY_CODE,
    VM_ACCOUNT,
    VM_DONTDUMP,
    VM_DONTEXPAND,
    VM_DROPPABLE,
    VM_EXEC,
    VM_GROWSDOWN,
    VM_HUGETLB,
    VM_LOCKED,
    VM_LOCKED_MASK,
    VM_LOCKONFAULT,
    VM_MAYEXEC,
    VM_MAYREAD,
    VM_MAYSHARE,
    VM_MAYWRITE,
    VM_NOHUGEPAGE,
    VM_NORESERVE,
    VM_READ,
    VM_SHARED,
    VM_STORED,
    VM_WIPEONFORK,
    VM_WRITE,
)
from kernel.mm.pagecache import Mapping, PageCache
from kernel.mm.vma import MAX_MAP_COUNT, Row

if TYPE_CHECKING:
    from kernel.mm.address_space import AddressSpace

PROT_READ, PROT_WRITE, PROT_EXEC, PROT_SEM = 1, 2, 4, 8
PROT_GROWSDOWN, PROT_GROWSUP = 0x01000000, 0x02000000
MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE, MAP_DROPPABLE, MAP_TYPE = 1, 2, 3, 8, 0xF
MAP_FIXED, MAP_ANONYMOUS, MAP_32BIT, MAP_ABOVE4G = 0x10, 0x20, 0x40, 0x80
MAP_GROWSDOWN, MAP_DENYWRITE, MAP_EXECUTABLE, MAP_LOCKED = 0x100, 0x800, 0x1000, 0x2000
MAP_NORESERVE, MAP_POPULATE, MAP_NONBLOCK, MAP_STACK = 0x4000, 0x8000, 0x10000, 0x20000
MAP_HUGETLB, MAP_SYNC, MAP_FIXED_NOREPLACE = 0x40000, 0x80000, 0x100000
MAP_HUGE_SIZES = 0x7C000000
#: What MAP_SHARED_VALIDATE knows (LEGACY_MAP_MASK).
_MAP_KNOWN = (MAP_TYPE | MAP_FIXED | MAP_ANONYMOUS | MAP_32BIT | MAP_ABOVE4G | MAP_GROWSDOWN | MAP_DENYWRITE
              | MAP_EXECUTABLE | MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK | MAP_STACK | MAP_HUGETLB
              | MAP_HUGE_SIZES)

#: Nothing is mapped below this address without CAP_SYS_RAWIO (vm.mmap_min_addr).
MIN_ADDRESS = 4096
#: Where MAP_32BIT looks.
_BOTTOM_32BIT, _TOP_32BIT = 1 << 30, 1 << 31
_ANY = VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC


def page_align(length: int) -> int:
    """``length`` rounded up to whole pages; 0 where 64 bits overflow."""
    return (length + PAGE_SIZE - 1) & PAGE_MASK & U64


def mmap(mm: AddressSpace, address: int, length: int, prot: int, flags: int, file: Any, offset: int) -> int:
    """Map ``length`` bytes of ``file`` (None: zeros) from byte ``offset`` on; returns the address (do_mmap).

    Raises:
        Errno: as mmap(2) lists them.
    """
    if length == 0 or (flags & MAP_HUGETLB and file is not None):
        raise Errno(EINVAL)
    if not flags & (MAP_FIXED | MAP_FIXED_NOREPLACE):
        address = page_align(address)
        if 0 < address < MIN_ADDRESS:
            address = MIN_ADDRESS
    size = page_align(length)
    if size == 0 or size > TASK_SIZE:
        raise Errno(ENOMEM)
    if offset + size > 1 << 63:
        raise Errno(EOVERFLOW)
    if mm.vmas.count > MAX_MAP_COUNT:
        raise Errno(ENOMEM)
    if flags & MAP_HUGETLB:
        size = hugetlb.align(size)
    address = _choose_address(mm, address, size, flags)
    vm_flags = (prot & (PROT_READ | PROT_WRITE | PROT_EXEC)) | _ANY | mm.default_flags
    kind = flags & MAP_TYPE
    if flags & MAP_LOCKED:
        vm_flags |= VM_LOCKED
    if flags & MAP_STACK:
        # Large pages would make a thread's stack resident that is never used.
        vm_flags |= VM_NOHUGEPAGE
    # A huge page comes from a file of its own.
    backed = file is not None or flags & MAP_HUGETLB
    if kind not in (MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE if backed else MAP_DROPPABLE):
        raise Errno(EINVAL)
    if kind == MAP_SHARED_VALIDATE and flags & ~_MAP_KNOWN:
        raise Errno(EOPNOTSUPP)
    if flags & MAP_HUGETLB and kind != MAP_PRIVATE:
        # The pool has pages for private memory only.
        raise Errno(ENOMEM)
    cache: PageCache | None = None
    name = b""
    if file is not None:
        vm_flags = _check_file(file, prot, kind, vm_flags)
        cache = file.mapping(prot, flags)
        name = file.path
    elif kind == MAP_DROPPABLE:
        # Nothing drops it before the last page is needed, but its other rules are the host's.
        if flags & (MAP_LOCKED | MAP_GROWSDOWN):
            raise Errno(EINVAL)
        vm_flags |= VM_DROPPABLE | VM_NORESERVE | VM_WIPEONFORK | VM_DONTDUMP
    if flags & MAP_GROWSDOWN:
        if kind != MAP_PRIVATE or file is not None:
            raise Errno(EINVAL)
        vm_flags |= VM_GROWSDOWN
    if flags & MAP_NORESERVE and mm.memory.overcommit.mode != overcommit.OVERCOMMIT_NEVER:
        vm_flags |= VM_NORESERVE
    if kind in (MAP_SHARED, MAP_SHARED_VALIDATE):
        vm_flags |= VM_SHARED | VM_MAYSHARE
        if file is not None and not file.writable:
            vm_flags &= ~(VM_MAYWRITE | VM_SHARED)
        if cache is None:
            cache, name, file, offset = PageCache(mm.memory, size), b"/dev/zero (deleted)", None, 0
            cache.released = True
            if not vm_flags & VM_NORESERVE:
                overcommit.check_promise(mm, size >> PAGE_SHIFT)
                cache.promised_pages = size >> PAGE_SHIFT
    if overcommit.is_accountable(vm_flags) and not flags & MAP_HUGETLB:
        overcommit.check_promise(mm, (size >> PAGE_SHIFT) - overcommit.accounted_pages(mm, address, address + size))
        vm_flags |= VM_ACCOUNT
    if flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) and mm.vmas.overlapping(address, address + size):
        munmap(mm, address, size)
    if flags & MAP_HUGETLB:
        vm_flags = hugetlb.reserve(mm.memory, size, vm_flags | VM_DONTEXPAND)
    if cache is None:
        mm.vmas.insert(Row(address, address + size, vm_flags))
    else:
        mapping = _mapping_for(mm, cache, file, name)
        mm.vmas.insert(Row(address, address + size, vm_flags, mapping.number, offset))
    if (flags & MAP_POPULATE and not flags & MAP_NONBLOCK) or vm_flags & VM_LOCKED:
        populate(mm, address, address + size)
    return address


def _choose_address(mm: AddressSpace, address: int, size: int, flags: int) -> int:
    """get_unmapped_area: the address asked for if it can be had, else the highest hole below the mmap base."""
    if flags & MAP_HUGETLB and not flags & (MAP_FIXED | MAP_FIXED_NOREPLACE):
        return hugetlb.align(_choose_address(mm, hugetlb.align(address), size + PMD_SIZE, flags & ~MAP_HUGETLB))
    if flags & (MAP_FIXED | MAP_FIXED_NOREPLACE):
        if address & ((PMD_SIZE if flags & MAP_HUGETLB else PAGE_SIZE) - 1):
            raise Errno(EINVAL)
        if address > TASK_SIZE - size:
            raise Errno(ENOMEM)
        if flags & MAP_FIXED_NOREPLACE and mm.vmas.overlapping(address, address + size):
            raise Errno(EEXIST)
        return address
    top = _TOP_32BIT if flags & MAP_32BIT else TASK_SIZE
    if address and address <= top - size and mm.vmas.is_free(address, address + size):
        return address
    if flags & MAP_32BIT:
        found = mm.vmas.free_area(size, _BOTTOM_32BIT, _TOP_32BIT)
    else:
        found = mm.vmas.free_area(size, MIN_ADDRESS, mm.mmap_base)
        if found is None:
            # Bottom-up above the base, as Linux does when the top-down area is full.
            found = mm.vmas.free_area(size, mm.mmap_base, TASK_SIZE)
    if found is None:
        raise Errno(ENOMEM)
    return found


def _check_file(file: Any, prot: int, kind: int, vm_flags: int) -> int:
    """Permissions of a file mapping; returns the VM_* flags without what the file can never allow."""
    if kind != MAP_PRIVATE and prot & PROT_WRITE and not file.writable:
        raise Errno(EACCES)
    if not file.readable:
        raise Errno(EACCES)
    return vm_flags


def _mapping_for(mm: AddressSpace, cache: PageCache, file: Any, name: bytes) -> Mapping:
    """The cache's row of the mapping table for this name: one is shared by all who mapped the file by that name."""
    for mapping in cache.mappings:
        if mapping.name == name and (mapping.file is None) == (file is None):
            return mapping
    return Mapping(mm.memory, cache, file, name)


def populate(mm: AddressSpace, start: int, end: int) -> int:
    """Fault in [start, end), for writing where private pages may be written; stops at the first page that cannot be.

    Memory that is to be locked when it is touched counts as there (populate_vma_page_range). Returns the address
    reached (``end`` when all is there).
    """
    memory = mm.memory
    for row in mm.vmas.overlapping(start, end):
        if row.flags & VM_LOCKONFAULT:
            continue
        low, high = max(row.start, start), min(row.end, end)
        if not row.flags & (VM_READ | VM_WRITE | VM_EXEC):
            return low
        write = row.flags & (VM_WRITE | VM_SHARED) == VM_WRITE
        while low < high:
            low = usercopy.populate_range.call(memory.m, mm.mm, low | write, high)
            if low < high:
                code = mm.resolve(low, 17 if write else 16, memory.memory.get(K_COPY_CODE))
                if code > FAULT_RESTART:
                    return low
    return end


def munmap(mm: AddressSpace, address: int, length: int) -> None:
    """Remove what is mapped in a range; holes are fine.

    Raises:
        Errno: EINVAL for an unaligned or impossible range; ENOMEM when a shared table could not be copied.
    """
    if address & ~PAGE_MASK or address > TASK_SIZE or length == 0 or length > TASK_SIZE - address:
        raise Errno(EINVAL)
    end = address + page_align(length)
    rows = mm.vmas.overlapping(address, end)
    if not rows:
        return
    if rows[0].start < address and end < rows[0].end and mm.vmas.count >= MAX_MAP_COUNT:
        # Before any page goes.
        raise Errno(ENOMEM)
    hugetlb.check_edges(mm, address, end)
    hugetlb.unreserve(mm, rows, address, end)
    synced = _synced_caches(mm, rows)
    mm.until_memory(unmap.zap_range, address, end)
    mm.vmas.transform(address, end, lambda row: None)
    for cache in synced:
        cache.sync()
    mm.memory.trim()


def _synced_caches(mm: AddressSpace, rows: list[Row]) -> list[PageCache]:
    """The caches behind shared rows whose stores go to a host file."""
    found = []
    for row in rows:
        if row.flags & VM_SHARED and row.mapping:
            mapping = mm.memory.mappings[row.mapping]
            if mapping is not None and mapping.cache.backing is not None and mapping.cache.backing.writable:
                found.append(mapping.cache)
    return found


def mprotect(mm: AddressSpace, address: int, length: int, prot: int) -> None:
    """Change the permissions of whole pages (do_mprotect_pkey).

    Raises:
        Errno: EINVAL, ENOMEM (a hole: what lies before it has changed, as on Linux), EACCES (never writable).
    """
    grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP)
    prot &= ~(PROT_GROWSDOWN | PROT_GROWSUP)
    if grows == PROT_GROWSDOWN | PROT_GROWSUP:
        raise Errno(EINVAL)
    if address & ~PAGE_MASK:
        raise Errno(EINVAL)
    if length == 0:
        return
    size = page_align(length)
    end = address + size
    if end <= address or end > 1 << 64:
        raise Errno(ENOMEM)
    if prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC | PROT_SEM):
        raise Errno(EINVAL)
    rows = mm.vmas.overlapping(address, end) if address < TASK_SIZE else []
    if not rows:
        raise Errno(ENOMEM)
    row = rows[0]
    if grows & PROT_GROWSDOWN:
        if not row.flags & VM_GROWSDOWN:
            raise Errno(EINVAL)
        address = row.start
    elif grows and row.start <= address:
        raise Errno(EINVAL)
    wanted = prot & (VM_READ | VM_WRITE | VM_EXEC)
    position = address
    for row in mm.vmas.overlapping(address, end):
        if row.start > position:
            raise Errno(ENOMEM)
        if wanted & ~(row.flags >> 4) & 7:
            raise Errno(EACCES)
        low, high = max(row.start, address), min(row.end, end)
        flags = (row.flags & ~(VM_READ | VM_WRITE | VM_EXEC)) | wanted
        if flags != row.flags:
            _change_protection(mm, low, high, _account(mm, row, flags, high - low))
            if row.flags & (VM_WRITE | VM_SHARED | VM_LOCKED) == VM_LOCKED and flags & VM_WRITE:
                # Locked memory does not fault later.
                populate(mm, low, high)
        position = high
    if position < end:
        raise Errno(ENOMEM)


def _account(mm: AddressSpace, row: Row, flags: int, size: int) -> int:
    """``flags`` with VM_ACCOUNT as mprotect_fixup sets it: what becomes writable is promised from then on, and for good
    unless nothing was stored there yet.

    Raises:
        Errno: ENOMEM when that much cannot be promised, or becomes more data than RLIMIT_DATA.
    """
    if flags & VM_WRITE:
        if not limits.may_expand(mm, flags, size) and limits.may_expand(mm, row.flags, size):
            raise Errno(ENOMEM)
        if not row.flags & (VM_ACCOUNT | VM_WRITE | VM_SHARED | VM_NORESERVE | VM_HUGETLB):
            overcommit.check_promise(mm, size >> PAGE_SHIFT)
            flags |= VM_ACCOUNT
    elif flags & (VM_ACCOUNT | VM_STORED) == VM_ACCOUNT and not row.mapping:
        flags &= ~VM_ACCOUNT
    return flags


def _change_protection(mm: AddressSpace, start: int, end: int, flags: int) -> None:
    hugetlb.check_edges(mm, start, end)
    mm.until_memory(protect.own_tables, start, end)

    def change(row: Row) -> Row:
        row.flags = flags
        return row

    mm.vmas.transform(start, end, change)
    protect.protect_range.call(mm.memory.m, mm.mm, start, end, flags)


def brk(mm: AddressSpace, address: int) -> int:
    """Set the end of the heap; returns the end as it is then, unchanged when it cannot be so (brk(2))."""
    if address < mm.start_brk or address > TASK_SIZE:
        return mm.brk
    if address - mm.start_brk + mm.end_data - mm.start_data > mm.memory.limits.get(limits.RLIMIT_DATA)[0]:
        return mm.brk
    old_end, new_end = page_align(mm.brk), page_align(address)
    try:
        if new_end < old_end:
            if not mm.vmas.overlapping(new_end, old_end):
                return mm.brk  # what was there has been unmapped
            munmap(mm, new_end, old_end - new_end)
        elif new_end > old_end:
            # The next mapping must keep the distance of a stack guard if it is a stack.
            if mm.vmas.overlapping(old_end, new_end + PAGE_SIZE):
                return mm.brk
            flags, grown = VM_READ | VM_WRITE | VM_ACCOUNT | _ANY | mm.default_flags, new_end - old_end
            if not limits.may_lock(mm, flags, grown) or not limits.may_expand(mm, flags, grown):
                return mm.brk
            if mm.vmas.count > MAX_MAP_COUNT:
                return mm.brk
            overcommit.check_promise(mm, grown >> PAGE_SHIFT)
            mm.vmas.insert(Row(old_end, new_end, flags))
            if flags & VM_LOCKED:
                populate(mm, old_end, new_end)
    except Errno:
        return mm.brk
    mm.brk = address
    return address


def set_lock(mm: AddressSpace, start: int, end: int, locked: int) -> None:
    """mlock and munlock of whole pages (the limits are the caller's to check); ``locked`` of VM_LOCKED_MASK is set.

    Raises:
        Errno: ENOMEM for a hole (what lies before it has changed) or when the pages cannot be brought in.
    """
    reached = min(mm.vmas.reach(start), end)

    def change(row: Row) -> Row:
        if not row.flags & (VM_DONTEXPAND | VM_DROPPABLE):
            row.flags = (row.flags & ~VM_LOCKED_MASK) | locked
        return row

    mm.vmas.transform(start, reached, change)
    if reached < end:
        raise Errno(ENOMEM)


def msync(mm: AddressSpace, start: int, end: int, write: bool, invalidate: bool) -> None:
    """Write stores through shared mappings in a range to their files.

    Raises:
        Errno: ENOMEM for a hole (the rest is done first) or without a frame for a table, EBUSY for locked memory that
            is to be invalidated, the host's error.
    """
    complete = mm.vmas.covered(start, end)
    for row in mm.vmas.overlapping(start, end):
        if invalidate and row.flags & VM_LOCKED:
            raise Errno(EBUSY)
        if write and row.flags & VM_SHARED and row.mapping:
            mm.until_memory(unmap.advise_range, max(row.start, start), min(row.end, end), unmap.CLEAN)
            mapping = mm.memory.mappings[row.mapping]
            if mapping is not None:
                mapping.cache.sync()
    if not complete:
        raise Errno(ENOMEM)


