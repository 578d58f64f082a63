"""Looking at an address space without changing it: page tables, mappings, figures, for /proc and the checks.

Linux: fs/proc/task_mmu.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emu.paging import (
    ENTRIES,
    PAGE_SHIFT,
    PGD_SHIFT,
    PMD_SHIFT,
    PMD_SIZE,
    PTE_FRAME,
    PTE_P,
    PTE_PS,
    PUD_SHIFT,
)
from kernel.mm import unmap, usercopy
from kernel.mm.layout import (
    MM_ANON,
    MM_FILE,
    MM_MAJOR,
    MM_MINOR,
    MM_PEAK,
    MM_PTES,
    MM_SHMEM,
    MM_SWAP,
    MM_UPPER,
    V_FLAGS,
    VM_EXEC,
    VM_GROWSDOWN,
    VM_LOCKED,
    VM_READ,
    VM_SHARED,
    VM_WRITE,
)
from kernel.mm.vma import Row

if TYPE_CHECKING:
    from kernel.mm.memory import KernelMemory
    from kernel.mm.pagecache import Mapping
    from kernel.mm.vma import VmaSet

_FRAMES = PTE_FRAME >> PAGE_SHIFT


@dataclass(slots=True)
class Vma:
    """A mapping as /proc shows it; ``prot`` is PROT_*, ``name`` the path or "[heap]" and the like."""

    start: int
    end: int
    prot: int
    flags: int
    offset: int
    shared: bool
    file: Any
    name: bytes
    number: int
    """Of shared anonymous memory, which has an inode without a file; else 0."""


@dataclass(slots=True)
class Stats:
    """Memory figures in pages (/proc/pid/statm, status)."""

    rss_anon: int
    rss_file: int
    rss_shmem: int
    vm_pte_pages: int
    total_vm: int
    locked_vm: int
    stack_vm: int
    data_vm: int
    exec_vm: int
    peak_rss: int
    peak_vm: int
    minor_faults: int
    major_faults: int
    swapped: int
    """Pages in the swap area (VmSwap)."""

    @property
    def rss(self) -> int:
        """All resident pages."""
        return self.rss_anon + self.rss_file + self.rss_shmem


class Inspection:
    """The part of an address space that answers questions."""

    memory: KernelMemory
    vmas: VmaSet
    slots: memoryview
    mm: int
    root: int
    start_brk: int
    brk: int
    start_stack: int
    peak_vm: int

    def physical(self, va: int) -> int:
        """Guest-physical address behind ``va`` without faulting, or -1."""
        return usercopy.physical_address.call(self.memory.m, self.mm, va)

    # -- looking at the tables --------------------------------------------------------------------------------------

    def tables(self) -> Iterator[tuple[int, int]]:
        """(first address, frame) of every PTE table, in order of address; a shared one shows in each sharer."""
        return ((va, entry >> PAGE_SHIFT & _FRAMES) for va, entry in self.pmd_entries() if not entry & PTE_PS)

    def leaves(self) -> Iterator[tuple[int, int]]:
        """(first address, first frame) of every 2 MiB leaf."""
        return ((va, entry >> PAGE_SHIFT & _FRAMES) for va, entry in self.pmd_entries() if entry & PTE_PS)

    def pmd_entries(self) -> Iterator[tuple[int, int]]:
        """(first address, entry) of every PMD entry that is present."""
        for base, table in self.pmd_tables():
            for i, entry in self._present(table << PAGE_SHIFT):
                yield base + (i << PMD_SHIFT), entry

    def pmd_tables(self) -> Iterator[tuple[int, int]]:
        """(first address, frame) of every PMD table, in order of address; a shared one shows in each sharer."""
        for i, puds in self._present(self.root):
            for j, pud in self._present(puds & PTE_FRAME):
                yield (i << PGD_SHIFT) + (j << PUD_SHIFT), pud >> PAGE_SHIFT & _FRAMES

    def _present(self, table: int) -> Iterator[tuple[int, int]]:
        """(index, entry) of the present entries of the table at a guest-physical address."""
        row = self.memory.memory.ram.array(np.int64)[table >> 3 : (table >> 3) + ENTRIES]
        for i in np.flatnonzero(row & PTE_P).tolist():
            yield i, int(row[i])

    def sharers(self, address: int) -> int:
        """Address spaces that come to the PTE table which serves ``address``, 0 when there is none.

        Each with a PMD table of its own counts in the table's refs; those that share one count there once.
        """
        at = next((found for found in self.tables() if found[0] == address & -PMD_SIZE), None)
        return sum(at in space.tables() for space in self.memory.spaces.values()) if at else 0

    def addresses_of(self, frame: int) -> Iterator[int]:
        """Where a page frame is mapped in this address space."""
        ram = self.memory.memory.ram.array(np.int64)
        for base, table in self.tables():
            rows = ram[table << 9 : (table << 9) + ENTRIES]
            for i in np.flatnonzero((rows & PTE_P != 0) & (rows & PTE_FRAME == frame << PAGE_SHIFT)).tolist():
                yield base + (i << PAGE_SHIFT)
        for base, head in self.leaves():
            if head <= frame < head + ENTRIES:
                yield base + ((frame - head) << PAGE_SHIFT)

    # -- figures ---------------------------------------------------------------------------------------------------

    def page_bytes(self, start: int, end: int) -> np.ndarray:
        """One byte a page, see unmap.resident_pages."""
        out = np.zeros((end - start) >> PAGE_SHIFT, np.uint8)
        unmap.resident_pages.call(self.memory.m, self.mm, start, end, out.__array_interface__["data"][0])
        return out

    @property
    def total_vm(self) -> int:
        """Mapped pages."""
        rows = self.vmas.rows
        return int((rows[:, 1] - rows[:, 0]).sum()) >> PAGE_SHIFT

    def pages_with(self, mask: int, value: int) -> int:
        """Mapped pages in VMAs whose flags under ``mask`` are ``value``."""
        rows = self.vmas.rows
        chosen = rows[(rows[:, V_FLAGS >> 3] & mask) == value]
        return int((chosen[:, 1] - chosen[:, 0]).sum()) >> PAGE_SHIFT

    def stats(self) -> Stats:
        """The memory figures of this address space."""
        slots = self.slots
        total = self.total_vm
        self.peak_vm = max(self.peak_vm, total)
        return Stats(
            slots[MM_ANON >> 3], slots[MM_FILE >> 3], slots[MM_SHMEM >> 3], slots[MM_PTES >> 3] + slots[MM_UPPER >> 3],
            total, self.pages_with(VM_LOCKED, VM_LOCKED), self.pages_with(VM_GROWSDOWN, VM_GROWSDOWN),
            self.pages_with(VM_WRITE | VM_SHARED | VM_GROWSDOWN, VM_WRITE),
            self.pages_with(VM_EXEC | VM_WRITE | VM_GROWSDOWN, VM_EXEC), slots[MM_PEAK >> 3], self.peak_vm,
            slots[MM_MINOR >> 3], slots[MM_MAJOR >> 3], slots[MM_SWAP >> 3])

    def vma_rows(self) -> list[Vma]:
        """The mappings in order, with the names that /proc/pid/maps shows."""
        return [self._describe(row) for row in self.vmas]

    def _describe(self, row: Row) -> Vma:
        mapping: Mapping | None = self.memory.mappings[row.mapping] if row.mapping else None
        if mapping is not None:
            name = mapping.name if mapping.file is None else mapping.file.path
        elif row.name:
            name = b"[anon:" + self.memory.anonymous_names[row.name] + b"]"
        elif row.start < self.brk and row.end > self.start_brk:
            name = b"[heap]"
        elif row.start <= self.start_stack < row.end:
            name = b"[stack]"
        else:
            name = b""
        prot = row.flags & (VM_READ | VM_WRITE | VM_EXEC)
        return Vma(row.start, row.end, prot, row.flags, row.offset if mapping else 0, bool(row.flags & VM_SHARED),
                   mapping.file if mapping else None, name,
                   mapping.number if mapping and mapping.file is None else 0)
