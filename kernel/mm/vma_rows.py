"""VMA rows as compiled code sees them: finding one by address, growing a stack, the entry bits that one asks for.

Linux: find_vma and expand_stack in mm/mmap.c, vm_get_page_prot. The rows themselves are edited in ``vma.py``.
"""

from __future__ import annotations

from emu.native import hot, load64, store64
from emu.paging import PAGE_SHIFT, PAGE_SIZE, PTE_A, PTE_NX, PTE_P, PTE_U
from kernel.mm.layout import (
    K_STACKS_ASK,
    MM_STACK_ALLOWED,
    MM_STACK_GREW,
    MM_STACK_LIMIT,
    MM_STACKS_ASK,
    MM_VMA_COUNT,
    MM_VMAS,
    STACK_GUARD_GAP,
    STACK_LOWEST,
    V_BYTES,
    V_END,
    V_FLAGS,
    V_START,
    VM_EXEC,
    VM_GROWSDOWN,
    VM_LOCKED,
    VM_READ,
    VM_WRITE,
)


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
def grow_stack(m: int, mm: int, vma: int, va: int) -> int:
    """Extend a VM_GROWSDOWN mapping to ``va``: 1, or 0 where the limit or the guard gap forbids it, or -1 where Python
    must allow it first (expand_stack)."""
    start = va & -PAGE_SIZE
    if start < STACK_LOWEST:
        return 0
    if load64(vma + V_FLAGS) & VM_GROWSDOWN == 0 or load64(vma + V_END) - start > load64(mm + MM_STACK_LIMIT):
        return 0
    if vma > load64(mm + MM_VMAS):
        below = vma - V_BYTES
        accessible = load64(below + V_FLAGS) & (VM_READ | VM_WRITE | VM_EXEC)
        if accessible and load64(below + V_FLAGS) & VM_GROWSDOWN == 0 and (
                start - load64(below + V_END) < STACK_GUARD_GAP):
            return 0
    if load64(m + K_STACKS_ASK) or load64(mm + MM_STACKS_ASK) or load64(vma + V_FLAGS) & VM_LOCKED:
        if load64(mm + MM_STACK_ALLOWED) != start:
            return -1
        store64(mm + MM_STACK_ALLOWED, 0)
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
