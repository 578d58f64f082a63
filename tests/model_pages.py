"""What the model knows of a process: pages, their contents, and which of them are one mapping for certain."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from model_steps import DONTNEED, POPULATE_WRITE

#: A page's two words, and whether each may have become 0 meanwhile.
Cell = list[int]
numbers = itertools.count(1)


@dataclass
class File:
    """What a file or shared memory holds: page index → cell."""

    pages: int
    writable: bool = True
    cells: dict[int, Cell] = field(default_factory=dict)

    def cell(self, index: int) -> Cell:
        return self.cells.setdefault(index, [0, 0, 0, 0])


@dataclass(slots=True)
class Page:
    """A mapped page of one process; ``own`` is its private copy, without which it shows its file, or zeros."""

    prot: int
    area: int
    file: File | None = None
    index: int = 0
    shared: bool = False
    own: Cell | None = None
    dontfork: bool = False
    wipe: bool = False
    huge: bool = False
    """Part of a MAP_HUGETLB page."""

    @property
    def bus(self) -> bool:
        return self.own is None and self.file is not None and self.index >= self.file.pages

    def cell(self) -> Cell | tuple[int, ...]:
        if self.own is not None:
            return self.own
        if self.file is not None:
            return self.file.cells.get(self.index, (0, 0, 0, 0))
        return 0, 0, 0, 0

    def write(self) -> Cell:
        """The cell that a store changes."""
        if self.shared:
            assert self.file is not None
            return self.file.cell(self.index)
        if self.own is None:
            self.own = list(self.cell())
        return self.own

    def refusal(self, access: int) -> str:
        """The signal that the CPU gets for reading (1) or writing (2) here; empty for none."""
        if not (self.prot & 2 if access == 2 else self.prot):
            return "SEGV2"
        return "BUS2" if self.bus else ""


@dataclass
class Process:
    pages: dict[int, Page] = field(default_factory=dict)
    brk: int = 0


def shown(cell: Cell | tuple[int, ...]) -> str:
    return ",".join(f"{cell[i]}?" if cell[2 + i] and cell[i] else str(cell[i]) for i in (0, 1))


def cut(pages: dict[int, Page], first: int, count: int) -> None:
    """A call dealt with this range alone: its parts, and what follows it, count as areas of their own from now on."""
    renamed: dict[int, int] = {}
    end = first + count
    for number in range(first, end):
        page = pages.get(number)
        if page is not None:
            if page.area not in renamed:
                renamed[page.area] = next(numbers)
            page.area = renamed[page.area]
    behind = pages.get(end)
    if behind is not None and behind.area in renamed:
        old, new = behind.area, next(numbers)
        while behind is not None and behind.area == old:
            behind.area = new
            end += 1
            behind = pages.get(end)


def cuts_huge(pages: dict[int, Page], page: int) -> bool:
    """A mapping that ended at ``page`` would end within a MAP_HUGETLB page."""
    before, behind = pages.get(page - 1), pages.get(page)
    return bool(before and behind and before.huge and behind.huge and (page - 2) % 512)


def simple_for_huge(pages: dict[int, Page], operation: str, words: list[int]) -> bool:
    """Nobody asks of a MAP_HUGETLB mapping what has rules of its own."""
    if operation not in ("mprotect", "mremap", "madvise"):
        return True
    page, count = words[0], words[1]
    ranges = [range(page, page + count)]
    if operation == "mremap":
        ranges = [range(page, page + max(count, words[2])), range(words[4], words[4] + words[2])]
    if not any(number in pages and pages[number].huge for some in ranges for number in some):
        return True
    if operation == "mremap" or (operation == "madvise" and words[2] not in (DONTNEED, POPULATE_WRITE)):
        return False
    return not cuts_huge(pages, page) and not cuts_huge(pages, page + count)
