"""Faults that 2 MiB pages answer: those of MAP_HUGETLB mappings and of anonymous memory that wants huge pages.

Linux: mm/huge_memory.c and mm/hugetlb.c. ``fault.py`` asks here first; what a leaf cannot do is left to small pages.
"""

from __future__ import annotations

from emu.native import copy_bytes, hot, load64, store64
from emu.paging import ENTRIES, PMD_SIZE, PTE_A, PTE_D, PTE_P, PTE_PS, PTE_U, PTE_W, pmd_slot
from kernel.mm.counts import count_leaf
from kernel.mm.entries import set_entry
from kernel.mm.frames import frame_address
from kernel.mm.hugepages import (
    alloc_huge,
    alloc_hugetlb,
    inside_vma,
    is_leaf,
    leaf_head,
    leaf_is_sole,
    leaf_refs,
    put_leaf,
)
from kernel.mm.layout import (
    FAULT_BUS,
    FAULT_DONE,
    FAULT_OOM,
    FAULT_RESTART,
    FRAME_ANON,
    FRAME_HUGETLB,
    K_LEAVES_FILLED,
    K_PAGES_COPIED,
    K_SPACE_COUNT,
    K_SPACES,
    K_THP,
    MM_ROOT,
    MM_THP_DISABLED,
    MM_VMA_COUNT,
    MM_VMAS,
    THP_ALWAYS,
    THP_MADVISE,
    THP_NEVER,
    V_BYTES,
    V_END,
    V_FLAGS,
    V_MAPPING,
    V_START,
    VM_HUGEPAGE,
    VM_HUGETLB,
    VM_NOHUGEPAGE,
    VM_RESERVED,
    VM_TAKEN,
)
from kernel.mm.tables import make_pmd_slot, next_table
from kernel.mm.vma_rows import page_bits


@hot
def _fill_huge(m: int, mm: int, slot: int, flags: int) -> int:
    """The first write to 2 MiB of an anonymous mapping that wants huge pages (do_huge_pmd_anonymous_page).

    FAULT_OOM: no 512 frames lie in a row, small pages must do.
    """
    head = alloc_huge(m, FRAME_ANON, 1)
    if head == 0:
        return FAULT_OOM
    set_entry(m, slot, (head << 12) | page_bits(flags) | PTE_W | PTE_D | PTE_PS)
    count_leaf(m, mm, slot, FRAME_ANON, 1)
    store64(m + K_LEAVES_FILLED, load64(m + K_LEAVES_FILLED) + 1)
    return FAULT_DONE


@hot
def _take_leaf(m: int, other: int, vma: int, head: int) -> int:
    """Remove the leaf of the 2 MiB page from the mapping ``vma``, if it has one: 1, or 0 when out of frames."""
    root, end = load64(other + MM_ROOT), load64(vma + V_END)
    va = next_table(m, root, load64(vma + V_START), end)
    while va < end:
        pmd = load64(pmd_slot(m, root, va))
        if is_leaf(pmd) and leaf_head(pmd) == head:
            slot = make_pmd_slot(m, other, va)
            if slot == 0:
                return 0
            set_entry(m, slot, 0)
            count_leaf(m, other, slot, FRAME_HUGETLB, -1)
            put_leaf(m, head)
            store64(vma + V_FLAGS, load64(vma + V_FLAGS) | VM_TAKEN)
            return 1
        va = next_table(m, root, (va & -PMD_SIZE) + PMD_SIZE, end)
    return 1


@hot
def _take_from_children(m: int, mm: int, head: int) -> int:
    """The pool is empty: whoever has the promise keeps the page, the others' leaves go, wherever they have moved them,
    and their mappings get no other page (unmap_ref_private). Returns 0 when out of frames."""
    for i in range(load64(m + K_SPACE_COUNT)):
        other = load64(load64(m + K_SPACES) + i * 8)
        rows = load64(other + MM_VMAS)
        for row in range(0 if other == mm else load64(other + MM_VMA_COUNT)):
            vma = rows + row * V_BYTES
            if load64(vma + V_FLAGS) & VM_HUGETLB and _take_leaf(m, other, vma, head) == 0:
                return 0
    return 1


@hot
def _copy_hugetlb(m: int, mm: int, slot: int, flags: int) -> int:
    """The first store to a shared page of the pool: a whole copy (hugetlb_wp). When the pool is empty, the one with the
    promise takes the page and the others get SIGBUS."""
    old = leaf_head(load64(slot))
    new = alloc_hugetlb(m, 0, 0)
    if new == 0:
        if flags & VM_RESERVED == 0:
            return FAULT_BUS
        if _take_from_children(m, mm, old) == 0:
            return FAULT_OOM
        if leaf_refs(m, old) > 1:
            return FAULT_BUS
        set_entry(m, slot, load64(slot) | PTE_W | PTE_D | PTE_A)
        return FAULT_DONE
    copy_bytes(frame_address(m, new), frame_address(m, old), PMD_SIZE)
    set_entry(m, slot, (new << 12) | page_bits(flags) | PTE_W | PTE_D | PTE_PS)
    put_leaf(m, old)
    store64(m + K_PAGES_COPIED, load64(m + K_PAGES_COPIED) + ENTRIES)
    # Code may have run from any of the 512 frames.
    return FAULT_RESTART


@hot
def hugetlb_fault(m: int, mm: int, vma: int, va: int, write: int) -> int:
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
        set_entry(m, slot, pmd)
    if write == 0:
        return FAULT_DONE
    if leaf_refs(m, leaf_head(pmd)) > 1:
        return _copy_hugetlb(m, mm, slot, flags)
    set_entry(m, slot, pmd | PTE_W | PTE_D | PTE_A)
    return FAULT_DONE


@hot
def _wants_huge(m: int, mm: int, flags: int) -> bool:
    """A mapping with VM_* ``flags`` gets 2 MiB pages where they fit (thp_vma_allowable_order)."""
    mode = THP_NEVER if load64(mm + MM_THP_DISABLED) else load64(m + K_THP)
    if mode == THP_ALWAYS:
        return flags & VM_NOHUGEPAGE == 0
    return mode == THP_MADVISE and flags & VM_HUGEPAGE != 0


@hot
def leaf_fault(m: int, mm: int, vma: int, va: int, write: int) -> int:
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
                set_entry(m, slot, pmd | PTE_W | PTE_D | PTE_A)
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
