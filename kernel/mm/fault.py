"""Page faults, compiled: demand zero, copy-on-write, tables made private, stack growth. Linux: mm/memory.c.

The order is that of handle_mm_fault: find the VMA, check what it allows, make the table private if it is shared, then
deal with the one entry. What needs the kernel (a page that the cache lacks, a signal) comes back as a code.
"""

from __future__ import annotations

from emu.layout import ACCESS_FETCH, ACCESS_WRITE, M_CODE_MAP, M_FLUSH
from emu.native import copy_bytes, export, hot, load8, load32, load64, store8, store32, store64
from emu.paging import (
    ENTRIES,
    PAGE_SHIFT,
    PAGE_SIZE,
    PMD_SIZE,
    PTE_A,
    PTE_D,
    PTE_FRAME,
    PTE_NX,
    PTE_P,
    PTE_PS,
    PTE_U,
    PTE_W,
    pmd_slot,
)
from kernel.mm.counts import count_entry, count_leaf
from kernel.mm.frames import add_refs, alloc_frame, frame_address, frame_kind, put_frame
from kernel.mm.hugepages import (
    alloc_huge,
    alloc_hugetlb,
    inside_vma,
    is_leaf,
    leaf_head,
    leaf_is_sole,
    leaf_refs,
    page_users,
    put_leaf,
)
from kernel.mm.layout import (
    FAULT_ACCERR,
    FAULT_BUS,
    FAULT_CACHE,
    FAULT_DONE,
    FAULT_MAPERR,
    FAULT_OOM,
    FAULT_RESTART,
    FRAME_ANON,
    FRAME_DIRTY,
    FRAME_FILE,
    FRAME_HUGETLB,
    FRAME_SHMEM,
    K_KIND,
    K_LEAVES_FILLED,
    K_MAPPINGS,
    K_MM,
    K_PAGES_COPIED,
    K_SPACE_COUNT,
    K_SPACES,
    K_THP,
    K_ZERO,
    MM_LEAVES,
    MM_MAJOR,
    MM_MINOR,
    MM_ROOT,
    MM_STACK_GREW,
    MM_STACK_LIMIT,
    MM_THP_DISABLED,
    MM_VMA_COUNT,
    MM_VMAS,
    MP_BYTES,
    MP_CAPACITY,
    MP_FLAGS,
    MP_PAGES,
    MP_SIZE,
    MP_ZERO_FILL,
    STACK_GUARD_GAP,
    SWAPPED,
    THP_ALWAYS,
    THP_MADVISE,
    THP_NEVER,
    V_BYTES,
    V_END,
    V_FLAGS,
    V_MAPPING,
    V_OFFSET,
    V_START,
    VM_EXEC,
    VM_GROWSDOWN,
    VM_HUGEPAGE,
    VM_HUGETLB,
    VM_NOHUGEPAGE,
    VM_READ,
    VM_RESERVED,
    VM_SHARED,
    VM_TAKEN,
    VM_WRITE,
)
from kernel.mm.swapfile import cached_page, entry_slot_number, swap_in
from kernel.mm.tables import make_pmd_slot, own_table, pte_slot


@hot
def find_vma(mm: int, va: int) -> int:
    """The first VMA that ends above ``va`` (as the kernel's find_vma: it may begin above it too), or 0."""
    rows, low, high = load64(mm + MM_VMAS), 0, load64(mm + MM_VMA_COUNT)
    count = high
    while low < high:
        middle = (low + high) >> 1
        if load64(rows + middle * V_BYTES + V_END) > va:
            high = middle
        else:
            low = middle + 1
    return rows + low * V_BYTES if low < count else 0


@hot
def _grow_stack(mm: int, vma: int, va: int) -> int:
    """Extend a VM_GROWSDOWN mapping to ``va``: 1, or 0 where the limit or the guard gap forbids it (expand_stack)."""
    start = va & -PAGE_SIZE
    if load64(vma + V_FLAGS) & VM_GROWSDOWN == 0 or load64(vma + V_END) - start > load64(mm + MM_STACK_LIMIT):
        return 0
    if vma > load64(mm + MM_VMAS):
        below = vma - V_BYTES
        accessible = load64(below + V_FLAGS) & (VM_READ | VM_WRITE | VM_EXEC)
        if accessible and load64(below + V_FLAGS) & VM_GROWSDOWN == 0 and (
                start - load64(below + V_END) < STACK_GUARD_GAP):
            return 0
    grown = (load64(vma + V_START) - start) >> PAGE_SHIFT
    store64(mm + MM_STACK_GREW, load64(mm + MM_STACK_GREW) + grown)
    store64(vma + V_START, start)
    return 1


@hot
def page_bits(flags: int) -> int:
    """The entry bits that a VMA's permissions ask for, W aside."""
    bits = PTE_P | PTE_A
    if flags & (VM_READ | VM_WRITE | VM_EXEC):
        bits |= PTE_U
    if flags & VM_EXEC == 0:
        bits |= PTE_NX
    return bits


@hot
def cached_frame(m: int, mapping: int, index: int) -> int:
    """The frame that holds page ``index`` of a mapping's file; 0 when the cache lacks it."""
    if index >= load64(mapping + MP_CAPACITY):
        return 0
    return load32(load64(mapping + MP_PAGES) + index * 4)


@hot
def _fill_anonymous(m: int, mm: int, table: int, slot: int, flags: int, write: int) -> int:
    """An untouched private page: the zero page for a read, a page of zeros for a write (do_anonymous_page)."""
    if write == 0:
        store64(slot, (load64(m + K_ZERO) << 12) | page_bits(flags))
        count_entry(m, mm, table, 0, 1)
        return FAULT_DONE
    frame = alloc_frame(m, FRAME_ANON, 1)
    if frame == 0:
        return FAULT_OOM
    store64(slot, (frame << 12) | page_bits(flags) | PTE_W | PTE_D)
    count_entry(m, mm, table, FRAME_ANON, 1)
    return FAULT_DONE


@hot
def _fill_mapped(m: int, mm: int, vma: int, table: int, slot: int, va: int, write: int) -> int:
    """An untouched page of a mapped file or of shared memory (do_fault)."""
    flags = load64(vma + V_FLAGS)
    mapping = load64(m + K_MAPPINGS) + load64(vma + V_MAPPING) * MP_BYTES
    position = (va & -PAGE_SIZE) - load64(vma + V_START) + load64(vma + V_OFFSET)
    if position >= (load64(mapping + MP_SIZE) + PAGE_SIZE - 1) & -PAGE_SIZE:
        return FAULT_BUS
    index = position >> PAGE_SHIFT
    frame = cached_frame(m, mapping, index)
    if frame == 0:
        if load64(mapping + MP_FLAGS) & MP_ZERO_FILL == 0 or index >= load64(mapping + MP_CAPACITY):
            return FAULT_CACHE
        frame = alloc_frame(m, FRAME_SHMEM, 1)
        if frame == 0:
            return FAULT_OOM
        store32(load64(mapping + MP_PAGES) + index * 4, frame)
    if write and flags & VM_SHARED == 0:
        copy = alloc_frame(m, FRAME_ANON, 0)
        if copy == 0:
            return FAULT_OOM
        copy_bytes(frame_address(m, copy), frame_address(m, frame), PAGE_SIZE)
        store64(slot, (copy << 12) | page_bits(flags) | PTE_W | PTE_D)
        count_entry(m, mm, table, FRAME_ANON, 1)
        store64(m + K_PAGES_COPIED, load64(m + K_PAGES_COPIED) + 1)
        return FAULT_DONE
    bits = page_bits(flags)
    if write:
        bits |= PTE_W | PTE_D
    add_refs(m, frame, 1)
    store64(slot, (frame << 12) | bits)
    count_entry(m, mm, table, frame_kind(m, frame), 1)
    return FAULT_DONE


@hot
def _write_protected(m: int, mm: int, table: int, slot: int, flags: int) -> int:
    """The first store to a page that is mapped read-only (do_wp_page). The table is private by now."""
    pte = load64(slot)
    if flags & VM_SHARED:
        store64(slot, pte | PTE_W | PTE_D | PTE_A)
        return FAULT_DONE
    old = (pte & PTE_FRAME) >> 12
    zero = old == load64(m + K_ZERO)
    kind = frame_kind(m, old)
    if not zero and kind == FRAME_ANON and page_users(m, old) == 1:
        store64(slot, pte | PTE_W | PTE_D | PTE_A)
        return FAULT_DONE
    new = alloc_frame(m, FRAME_ANON, 1 if zero else 0)
    if new == 0:
        return FAULT_OOM
    if not zero:
        copy_bytes(frame_address(m, new), frame_address(m, old), PAGE_SIZE)
        store64(m + K_PAGES_COPIED, load64(m + K_PAGES_COPIED) + 1)
    executed = load8(load64(m + M_CODE_MAP) + old)
    store64(slot, (new << 12) | page_bits(flags) | PTE_W | PTE_D)
    store64(m + M_FLUSH, 1)
    count_entry(m, mm, table, 0 if zero else kind, -1)
    count_entry(m, mm, table, FRAME_ANON, 1)
    if not zero:
        put_frame(m, old)
    # A fill replaces the TLB entry, but code that ran from the old frame is still found by its virtual address.
    return FAULT_RESTART if executed else FAULT_DONE


@hot
def _fill_swapped(m: int, mm: int, table: int, slot: int, flags: int, write: int) -> int:
    """A page in the swap area comes back (do_swap_page). Where others use it too, a write copies it as ever."""
    number = entry_slot_number(load64(slot))
    spare = 0
    if cached_page(m, number) == 0:
        spare = alloc_frame(m, FRAME_ANON, 0)
        if spare == 0:
            return FAULT_OOM
        store64(mm + MM_MAJOR, load64(mm + MM_MAJOR) + 1)
        store64(mm + MM_MINOR, load64(mm + MM_MINOR) - 1)
    frame = swap_in(m, number, spare)
    store64(slot, (frame << 12) | page_bits(flags) | PTE_D)
    count_entry(m, mm, table, SWAPPED, -1)
    count_entry(m, mm, table, FRAME_ANON, 1)
    if write:
        return _write_protected(m, mm, table, slot, flags)
    return FAULT_DONE


@hot
def _fill_huge(m: int, mm: int, slot: int, flags: int) -> int:
    """The first write to 2 MiB of an anonymous mapping that wants huge pages (do_huge_pmd_anonymous_page).

    FAULT_OOM: no 512 frames lie in a row, small pages must do.
    """
    head = alloc_huge(m, FRAME_ANON, 1)
    if head == 0:
        return FAULT_OOM
    store64(slot, (head << 12) | page_bits(flags) | PTE_W | PTE_D | PTE_PS)
    count_leaf(m, mm, slot, FRAME_ANON, 1)
    store64(m + K_LEAVES_FILLED, load64(m + K_LEAVES_FILLED) + 1)
    return FAULT_DONE


@hot
def _take_from_children(m: int, mm: int, va: int, head: int) -> int:
    """The pool is empty: whoever has the promise keeps the page, the others' leaves at ``va`` go, and their mappings
    get no other page (unmap_ref_private). Returns 0 when out of frames."""
    for i in range(load64(m + K_SPACE_COUNT)):
        other = load64(load64(m + K_SPACES) + i * 8)
        slot = pmd_slot(m, load64(other + MM_ROOT), va)
        if other == mm or slot == 0 or not is_leaf(load64(slot)) or leaf_head(load64(slot)) != head:
            continue
        slot = make_pmd_slot(m, other, va)
        if slot == 0:
            return 0
        store64(slot, 0)
        count_leaf(m, other, slot, FRAME_HUGETLB, -1)
        put_leaf(m, head)
        vma = find_vma(other, va)
        store64(vma + V_FLAGS, load64(vma + V_FLAGS) | VM_TAKEN)
    return 1


@hot
def _copy_hugetlb(m: int, mm: int, slot: int, va: int, flags: int) -> int:
    """The first store to a shared page of the pool: a whole copy (hugetlb_wp). When the pool is empty, the one with the
    promise takes the page and the others get SIGBUS."""
    old = leaf_head(load64(slot))
    new = alloc_hugetlb(m, 0, 0)
    if new == 0:
        if flags & VM_RESERVED == 0:
            return FAULT_BUS
        if _take_from_children(m, mm, va, old) == 0:
            return FAULT_OOM
        if leaf_refs(m, old) > 1:
            return FAULT_BUS
        store64(slot, load64(slot) | PTE_W | PTE_D | PTE_A)
        return FAULT_DONE
    copy_bytes(frame_address(m, new), frame_address(m, old), PMD_SIZE)
    store64(slot, (new << 12) | page_bits(flags) | PTE_W | PTE_D | PTE_PS)
    put_leaf(m, old)
    store64(m + K_PAGES_COPIED, load64(m + K_PAGES_COPIED) + ENTRIES)
    # Code may have run from any of the 512 frames.
    return FAULT_RESTART


@hot
def _hugetlb_fault(m: int, mm: int, vma: int, va: int, write: int) -> int:
    """A fault in a MAP_HUGETLB mapping, which has leaves only (hugetlb_fault)."""
    flags = load64(vma + V_FLAGS)
    slot = make_pmd_slot(m, mm, va)
    if slot == 0:
        return FAULT_OOM
    pmd = load64(slot)
    if pmd & PTE_P == 0:
        head = 0 if flags & VM_TAKEN else alloc_hugetlb(m, flags & VM_RESERVED, 1)
        if head == 0:
            return FAULT_BUS
        pmd = (head << 12) | page_bits(flags) | PTE_PS
        count_leaf(m, mm, slot, FRAME_HUGETLB, 1)
        store64(slot, pmd)
    if write == 0:
        return FAULT_DONE
    if leaf_refs(m, leaf_head(pmd)) > 1:
        return _copy_hugetlb(m, mm, slot, va, flags)
    store64(slot, pmd | PTE_W | PTE_D | PTE_A)
    return FAULT_DONE


@hot
def _wants_huge(m: int, mm: int, flags: int) -> bool:
    """A mapping with VM_* ``flags`` gets 2 MiB pages where they fit (thp_vma_allowable_order)."""
    mode = THP_NEVER if load64(mm + MM_THP_DISABLED) else load64(m + K_THP)
    if mode == THP_ALWAYS:
        return flags & VM_NOHUGEPAGE == 0
    return mode == THP_MADVISE and flags & VM_HUGEPAGE != 0


@hot
def _leaf_fault(m: int, mm: int, vma: int, va: int, write: int) -> int:
    """What a 2 MiB page can do about a fault: a FAULT_* code, or -1 when small pages must deal with it."""
    flags = load64(vma + V_FLAGS)
    slot = pmd_slot(m, load64(mm + MM_ROOT), va)
    pmd = load64(slot) if slot else 0
    if is_leaf(pmd):
        if write == 0:
            return FAULT_DONE if pmd & PTE_U else -1
        if leaf_is_sole(m, leaf_head(pmd)):
            slot = make_pmd_slot(m, mm, va)
            if slot == 0:
                return FAULT_OOM
            # A PMD table that had to be copied has given the page a second leaf.
            if leaf_is_sole(m, leaf_head(pmd)):
                store64(slot, pmd | PTE_W | PTE_D | PTE_A)
                return FAULT_DONE
        return -1
    if pmd == 0 and write and _wants_huge(m, mm, flags) and load64(vma + V_MAPPING) == 0 and (
            inside_vma(load64(vma + V_START), load64(vma + V_END), va)):
        slot = make_pmd_slot(m, mm, va)
        if slot == 0:
            return FAULT_OOM
        if _fill_huge(m, mm, slot, flags) == FAULT_DONE:
            return FAULT_DONE
    return -1


@hot
def _mapped_for_reading(m: int, pmd: int, va: int) -> bool:
    """The tables allow a read as they stand; ``pmd`` is the PMD entry's address or 0."""
    if pmd == 0 or load64(pmd) & PTE_P == 0:
        return False
    leaf = load64(pmd)
    if leaf & PTE_PS == 0:
        leaf = load64(pte_slot(m, leaf, va))
    return leaf & (PTE_P | PTE_U) == PTE_P | PTE_U


@hot
def handle_fault(m: int, mm: int, va: int, access: int) -> int:
    """Make one access to ``va`` possible, or say why it is not: a FAULT_* code."""
    vma = find_vma(mm, va)
    if va < 0 or vma == 0 or (load64(vma + V_START) > va and _grow_stack(mm, vma, va) == 0):
        return FAULT_MAPERR
    flags = load64(vma + V_FLAGS)
    write = 1 if access == ACCESS_WRITE else 0
    if write:
        allowed = flags & VM_WRITE
    elif access == ACCESS_FETCH:
        allowed = flags & VM_EXEC
    else:
        allowed = flags & (VM_READ | VM_WRITE | VM_EXEC)
    if allowed == 0:
        return FAULT_ACCERR
    if write == 0 and _mapped_for_reading(m, pmd_slot(m, load64(mm + MM_ROOT), va), va):
        return FAULT_DONE
    if flags & (VM_HUGETLB | VM_HUGEPAGE) or load64(mm + MM_LEAVES) != 0 or load64(m + K_THP) == THP_ALWAYS:
        code = _hugetlb_fault(m, mm, vma, va, write) if flags & VM_HUGETLB else _leaf_fault(m, mm, vma, va, write)
        if code >= 0:
            if code <= FAULT_RESTART:
                store64(mm + MM_MINOR, load64(mm + MM_MINOR) + 1)
            return code
    # Filling an empty entry changes the table as much as a write does: it must be private even for a read.
    table = own_table(m, mm, va)
    if table == 0:
        return FAULT_OOM
    slot = pte_slot(m, load64(table), va)
    if load64(slot) & PTE_P:
        code = _write_protected(m, mm, table, slot, flags) if write else FAULT_DONE
    elif load64(slot) != 0:
        code = _fill_swapped(m, mm, table, slot, flags, write)
    elif load64(vma + V_MAPPING) != 0:
        code = _fill_mapped(m, mm, vma, table, slot, va, write)
    else:
        code = _fill_anonymous(m, mm, table, slot, flags, write)
    if code <= FAULT_RESTART:
        store64(mm + MM_MINOR, load64(mm + MM_MINOR) + 1)
    return code


@export("i64(i64,i64,i32)")
def fault(m: int, page: int, access: int) -> int:
    """The machine's fault handler: the CPU, in the current address space, could not access ``page``."""
    flush = load64(m + M_FLUSH)
    code = handle_fault(m, load64(m + K_MM), page, access)
    if code == FAULT_DONE:
        # The one entry that changed is about to be filled anew.
        store64(m + M_FLUSH, flush)
    return code


@export("i64(i64,i64,i64,i64)")
def fault_in(m: int, mm: int, va: int, access: int) -> int:
    """As :data:`fault` for any address space; the caller flushes."""
    return handle_fault(m, mm, va, access)


@hot
def mark_dirty(m: int, frame: int) -> None:
    """Remember that a cache frame has bytes which its file may lack."""
    slot = load64(m + K_KIND) + frame
    store8(slot, load8(slot) | FRAME_DIRTY)


@hot
def is_cache_frame(m: int, frame: int) -> bool:
    """The frame belongs to the page cache."""
    kind = frame_kind(m, frame)
    return kind in (FRAME_FILE, FRAME_SHMEM)
