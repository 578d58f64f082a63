"""Four-level page tables as the x86-64 hardware defines them: the only file that knows the bits.

::

    63  62..52    51..12         11..9   8 7  6 5 4   3   2 1 0
    NX  (soft)    frame address  (soft)  G PS D A PCD PWT U W P

A virtual address is 9 + 9 + 9 + 9 + 12 bits: PML4, PDPT, PD and PT index, offset in the page. Each table is one frame
with 512 entries of 8 bytes (Intel SDM volume 3A, 4.5). A level-1 table is called a *PTE table* here, the entries that
point at it *PMD entries*, as in Linux.
"""

from __future__ import annotations

from emu.layout import M_RAM, M_ROOT
from emu.native import hot, load64

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
PAGE_MASK = -PAGE_SIZE
PMD_SHIFT = 21
PMD_SIZE = 1 << PMD_SHIFT
PUD_SHIFT = 30
PUD_SIZE = 1 << PUD_SHIFT
PGD_SHIFT = 39
ENTRIES = 512

PTE_P = 1 << 0  # present
PTE_W = 1 << 1  # writable; at an upper level: for all below
PTE_U = 1 << 2  # user; clear on a PROT_NONE page
PTE_A = 1 << 5  # accessed
PTE_D = 1 << 6  # dirty
PTE_PS = 1 << 7  # a 2 MiB leaf (in a PMD entry)
PTE_NX = -(1 << 63)  # no execute: the sign bit of a signed 64-bit entry
PTE_FRAME = 0x000FFFFFFFFFF000
#: What the kernel puts into an entry that points at a table.
TABLE_BITS = PTE_P | PTE_W | PTE_U | PTE_A

#: The first address that is not user space (TASK_SIZE_MAX: the last page is never mapped).
TASK_SIZE = (1 << 47) - PAGE_SIZE


@hot
def entry_slot(table: int, va: int, shift: int) -> int:
    """Host address of the entry for ``va`` in the table at host address ``table``."""
    return table + ((va >> shift) & 511) * 8


@hot
def pud_slot(m: int, root: int, va: int) -> int:
    """Host address of the entry that points at the PMD table for ``va``; 0 when an upper table is absent."""
    ram = load64(m + M_RAM)
    entry = load64(entry_slot(ram + root, va, PGD_SHIFT))
    if entry & PTE_P == 0:
        return 0
    return entry_slot(ram + (entry & PTE_FRAME), va, PUD_SHIFT)


@hot
def pmd_slot(m: int, root: int, va: int) -> int:
    """Host address of the PMD entry for ``va`` below the PML4 at physical ``root``; 0 when an upper table is absent."""
    slot = pud_slot(m, root, va)
    if slot == 0 or load64(slot) & PTE_P == 0:
        return 0
    return entry_slot(load64(m + M_RAM) + (load64(slot) & PTE_FRAME), va, PMD_SHIFT)


@hot
def walk_from(m: int, root: int, va: int) -> tuple[int, int]:
    """The hardware's walk from the PML4 at physical ``root``: (host address of the leaf entry, W of all levels).

    The first is 0 when a level is not present. A 2 MiB leaf is its PMD entry.
    """
    ram = load64(m + M_RAM)
    slot = pud_slot(m, root, va)
    if slot == 0:
        return 0, 0
    pud = load64(slot)
    if pud & PTE_P == 0:
        return 0, 0
    slot = entry_slot(ram + (pud & PTE_FRAME), va, PMD_SHIFT)
    pmd = load64(slot)
    if pmd & PTE_P == 0:
        return 0, 0
    if pmd & PTE_PS:
        return slot, pud & pmd & PTE_W
    slot = entry_slot(ram + (pmd & PTE_FRAME), va, PAGE_SHIFT)
    pte = load64(slot)
    if pte & PTE_P == 0:
        return 0, 0
    return slot, pud & pmd & pte & PTE_W


@hot
def frame_behind(leaf: int, va: int) -> int:
    """The frame that the leaf entry ``leaf``, a PTE or a 2 MiB leaf, gives for ``va``."""
    frame = (leaf & PTE_FRAME) >> PAGE_SHIFT
    if leaf & PTE_PS:
        return (frame & -ENTRIES) | ((va >> PAGE_SHIFT) & (ENTRIES - 1))
    return frame


@hot
def walk(m: int, va: int) -> tuple[int, int]:
    """walk_from the PML4 in use."""
    return walk_from(m, load64(m + M_ROOT), va)
