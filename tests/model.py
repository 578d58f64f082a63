"""The model: what each step must give, from plain dictionaries. It knows nothing of page tables, frames or VMAs.

A process is a dict from page number to :class:`Page`. Where Linux's answer depends on which neighbouring mappings it
has merged, or differs between versions, :meth:`Model.step` returns None and has done nothing: leave the step out.
To know that a range is one VMA for certain, each page carries the number of its ``area``, new after every cut.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from errno import EACCES, EEXIST, EFAULT, EINVAL, ENOMEM

from model_steps import (
    FILE_PAGES,
    HEAP,
    NOREPLACE,
    PRIVATE,
    PRIVATE_READONLY,
    SHARED,
    SHARED_READONLY,
    SLOTS,
    Step,
    region_end,
)

MAYMOVE, FIXED, DONTUNMAP = 1, 2, 4
(DONTNEED, FREE, REMOVE, DONTFORK, DOFORK, HUGEPAGE, NOHUGEPAGE, WIPEONFORK, KEEPONFORK, POPULATE_READ, POPULATE_WRITE,
 DONTNEED_LOCKED) = 4, 8, 9, 10, 11, 14, 15, 18, 19, 22, 23, 24
#: Advice that nobody can see the effect of: NORMAL, RANDOM, SEQUENTIAL, WILLNEED, DONTDUMP, DODUMP, COLD, PAGEOUT.
UNSEEN = (0, 1, 2, 3, 16, 17, 20, 21)
ADVICE = (DONTNEED, FREE, REMOVE, DONTFORK, DOFORK, HUGEPAGE, NOHUGEPAGE, WIPEONFORK, KEEPONFORK, POPULATE_READ,
          POPULATE_WRITE, DONTNEED_LOCKED, *UNSEEN)
OK, NOBODY = "ok", "-"

#: A page's two words, and whether each may have become 0 meanwhile.
Cell = list[int]
_numbers = itertools.count(1)


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


def error(code: int) -> str:
    return f"-{code}"


class Model:
    """Up to five processes, the writable file that they all have open, and a read-only one."""

    def __init__(self) -> None:
        self.file = File(FILE_PAGES)
        self.readonly = File(FILE_PAGES, False, {i: [1000 + i, 2000 + i, 0, 0] for i in range(FILE_PAGES)})
        self.processes: dict[int, Process] = {0: Process()}

    def step(self, step: Step) -> str | None:
        """Carry it out; returns what it gives (see ``agrees``), or None: not certain, and not done."""
        operation, slot, *numbers = step
        process = self.processes.get(slot)  # type: ignore[call-overload]
        if process is None:
            return NOBODY
        method: Callable[..., str | None] = getattr(self, f"_{operation}")
        if operation in ("fork", "exit", "truncate", "fread", "fwrite", "peek", "poke"):
            return method(slot, *numbers)
        return method(process, *numbers)

    # -- mapping ---------------------------------------------------------------------------------------------------

    def _mmap(self, process: Process, page: int, count: int, prot: int, kind: int, offset: int,
              extra: int) -> str:
        if count == 0:
            return error(EINVAL)
        pages = range(page, page + count)
        if extra & NOREPLACE and any(number in process.pages for number in pages):
            return error(EEXIST)
        if kind == SHARED_READONLY and prot & 2:
            return error(EACCES)
        shared, file = bool(kind & 1), None
        if kind == SHARED:
            file, offset = File(count), 0
        elif kind != PRIVATE:
            file = self.readonly if kind >= PRIVATE_READONLY else self.file
        self._munmap(process, page, count)
        area = next(_numbers)
        for i, number in enumerate(pages):
            process.pages[number] = Page(prot, area, file, offset + i if file else 0, shared)
        return OK

    def _munmap(self, process: Process, page: int, count: int) -> str:
        if count == 0:
            return error(EINVAL)
        _cut(process.pages, page, count)
        for number in range(page, page + count):
            process.pages.pop(number, None)
        return OK

    def _mprotect(self, process: Process, page: int, count: int, prot: int) -> str:
        _cut(process.pages, page, count)
        for number in range(page, page + count):
            known = process.pages.get(number)
            if known is None:
                return error(ENOMEM)
            if prot & 2 and known.shared and known.file and not known.file.writable:
                return error(EACCES)
            known.prot = prot
        return OK

    def _msync(self, process: Process, page: int, count: int) -> str:
        whole = all(number in process.pages for number in range(page, page + count))
        return OK if whole else error(ENOMEM)

    def _brk(self, process: Process, pages: int) -> str | None:
        changed = range(HEAP + min(pages, process.brk), HEAP + max(pages, process.brk))
        if pages < process.brk:
            if not any(number in process.pages for number in changed):
                return None  # until brk says no, as Linux does
            self._munmap(process, changed.start, len(changed))
        elif pages > process.brk:
            # Room for one page more is asked for.
            if any(number in process.pages for number in (*changed, changed.stop)):
                return "no"
            area = next(_numbers)
            for number in changed:
                process.pages[number] = Page(3, area)
        process.brk = pages
        return OK

    def _mremap(self, process: Process, page: int, old: int, new: int, flags: int, place: int) -> str | None:
        pages = process.pages
        to_place = flags & (FIXED | DONTUNMAP)
        if (to_place and not flags & MAYMOVE) or (flags & DONTUNMAP and old != new) or new == 0:
            return error(EINVAL)
        first = pages.get(page)
        if flags & FIXED and page + old > place and place + new > page:
            return error(EINVAL) if first else None
        if first is None:
            return error(EFAULT)
        if not to_place and old >= new:
            if old > new:
                self._munmap(process, page + new, old - new)
            return OK
        areas = {known.area if known else 0 for known in map(pages.get, range(page, page + old))}
        if 0 in areas and not to_place:
            return error(EFAULT)
        if 0 in areas or len(areas) > 1:
            return None
        if old == 0 and not first.shared:
            return None if to_place else error(EINVAL)
        if not to_place:
            grown = range(page + old, page + new)
            if old and grown.stop <= region_end(page) and not any(number in pages for number in grown):
                for i, number in enumerate(grown):
                    pages[number] = self._beyond(pages[page + old - 1], i + 1)
                return OK
            if not flags & MAYMOVE:
                return error(ENOMEM) if grown.stop <= region_end(page) or page + old in pages else None
            if old and grown.stop > region_end(page) and page + old not in pages:
                return None
        self._move(process, page, old, new, flags, place)
        return OK if flags & FIXED else "moved"

    def _move(self, process: Process, page: int, old: int, new: int, flags: int, place: int) -> None:
        """The pages go to ``place``, then, if they went by a place of the kernel's choice."""
        pages = process.pages
        _cut(pages, page, old)
        source = [pages[page + i] for i in range(max(old, 1))]
        area = next(_numbers)
        moved = [replace(known, area=area) for known in source[:new]]
        if old == 0:
            moved = [replace(source[0], area=area)]
        moved += [replace(self._beyond(moved[-1], i + 1), area=area) for i in range(new - len(moved))]
        if flags & DONTUNMAP:
            for known in source:
                known.own = None
        elif old:
            self._munmap(process, page, old)
        self._munmap(process, place, new)
        for i, known in enumerate(moved):
            pages[place + i] = known

    @staticmethod
    def _beyond(last: Page, distance: int) -> Page:
        """The page that a mapping gets ``distance`` pages behind ``last`` when it grows."""
        return replace(last, own=None, index=last.index + distance if last.file else 0)

    # -- advice ----------------------------------------------------------------------------------------------------

    def _madvise(self, process: Process, page: int, count: int, advice: int) -> str | None:
        if advice not in ADVICE:
            return error(EINVAL)
        known = [process.pages.get(number) for number in range(page, page + count)]
        if advice == REMOVE and any(one and one.shared and one.file and one.file.writable and not one.prot & 2
                                    for one in known):
            return None  # allowed since Linux 6.7
        if advice in (POPULATE_READ, POPULATE_WRITE):
            return self._populate(known, 2 if advice == POPULATE_WRITE else 1)
        if advice in (DONTFORK, DOFORK, HUGEPAGE, NOHUGEPAGE, WIPEONFORK, KEEPONFORK):
            _cut(process.pages, page, count)
        for one in known:
            code = self._advise(one, advice) if one else 0
            if code:
                return error(code)
        return error(ENOMEM) if None in known else OK

    @staticmethod
    def _advise(page: Page, advice: int) -> int:
        """One page; returns an errno or 0."""
        if advice in (DONTNEED, DONTNEED_LOCKED):
            page.own = None
        elif advice == FREE:
            if page.file:
                return EINVAL
            if page.own:
                page.own[2:] = 1, 1
        elif advice == REMOVE:
            if page.file is None:
                return EINVAL
            if not page.shared or not page.file.writable:
                return EACCES
            page.file.cells.pop(page.index, None)
        elif advice in (DONTFORK, DOFORK):
            page.dontfork = advice == DONTFORK
        elif advice in (WIPEONFORK, KEEPONFORK):
            if advice == WIPEONFORK and page.file:
                return EINVAL
            page.wipe = advice == WIPEONFORK
        return 0

    @staticmethod
    def _populate(known: list[Page | None], access: int) -> str:
        for page in known:
            if page is None:
                return error(ENOMEM)
            if not page.prot & access or page.bus:
                return error(EFAULT if page.prot & access else EINVAL)
        return OK

    # -- accesses --------------------------------------------------------------------------------------------------

    @staticmethod
    def _why_not(process: Process, page: int, access: int) -> str:
        """The signal that the CPU's access gets, or empty."""
        known = process.pages.get(page)
        return known.refusal(access) if known else "SEGV1"

    @staticmethod
    def _set(process: Process, page: int, word: int, value: int) -> None:
        cell = process.pages[page].write()
        cell[word], cell[2 + word] = value, 0

    def _store(self, process: Process, page: int, word: int, value: int) -> str:
        why = self._why_not(process, page, 2)
        if not why:
            self._set(process, page, word, value)
        return why or OK

    def _load(self, process: Process, page: int) -> str:
        return self._why_not(process, page, 1) or _shown(process.pages[page].cell())

    def _cross(self, process: Process, page: int, value: int) -> str | None:
        """The upper half of one page's last word and the lower half of the next page's first, in one store."""
        first, second = self._why_not(process, page, 2), self._why_not(process, page + 1, 2)
        if first or second:
            return first or second if not (first and second) or first == second else None
        last = process.pages[page].cell()[1]
        if process.pages[page].cell()[3] or process.pages[page + 1].cell()[2]:
            return None
        self._set(process, page, 1, last & 0xFFFFFFFF | value << 32)
        # Both may be the same page of a file.
        next_ = process.pages[page + 1].cell()[0]
        self._set(process, page + 1, 0, next_ & ~0xFFFFFFFF | value)
        return OK

    def _put(self, process: Process, page: int, word: int, value: int) -> str:
        return error(EFAULT) if self._store(process, page, word, value) != OK else OK

    def _get(self, process: Process, page: int) -> str:
        return error(EFAULT) if self._why_not(process, page, 1) else _shown(process.pages[page].cell())

    def _peek(self, slot: int, other: int, page: int) -> str | None:
        if other not in self.processes:
            return NOBODY
        if page >= HEAP:
            return None  # the other's heap may be elsewhere
        known = self.processes[other].pages.get(page)
        return _shown(known.cell()) if known and known.prot & 1 and not known.bus else error(EFAULT)

    def _poke(self, slot: int, other: int, page: int, word: int, value: int) -> str | None:
        if other not in self.processes:
            return NOBODY
        return self._put(self.processes[other], page, word, value) if page < HEAP else None

    # -- the file --------------------------------------------------------------------------------------------------

    def _fwrite(self, slot: int, index: int, word: int, value: int) -> str | None:
        if index >= self.file.pages:
            return None  # what is behind the end of the last page is not modelled
        cell = self.file.cell(index)
        cell[word] = value
        return OK

    def _fread(self, slot: int, index: int) -> str:
        return _shown(self.file.cells.get(index, (0, 0, 0, 0)) if index < self.file.pages else (0, 0, 0, 0))

    def _truncate(self, slot: int, pages: int) -> str:
        self.file.pages = pages
        self.file.cells = {index: cell for index, cell in self.file.cells.items() if index < pages}
        for process in self.processes.values():
            for page in process.pages.values():
                if page.file is self.file and page.index >= pages:
                    page.own = None  # private copies go, too
        return OK

    # -- processes -------------------------------------------------------------------------------------------------

    def _fork(self, slot: int, to: int, explicit: int) -> str:
        if to in self.processes or not 0 <= to < SLOTS:
            return NOBODY
        parent = self.processes[slot]
        pages = {}
        for number, page in parent.pages.items():
            if not page.dontfork:
                own = None if page.wipe or page.own is None else list(page.own)
                pages[number] = Page(page.prot, page.area, page.file, page.index, page.shared, own, False, page.wipe)
        self.processes[to] = Process(pages, parent.brk)
        return OK

    def _exit(self, slot: int, killed: int) -> str:
        del self.processes[slot]
        return OK

    def _exec(self, process: Process) -> str:
        process.pages, process.brk = {}, 0
        return OK

    def _odf(self, process: Process, on: int, level: int) -> str:
        return OK


def _shown(cell: Cell | tuple[int, ...]) -> str:
    return ",".join(f"{cell[i]}?" if cell[2 + i] and cell[i] else str(cell[i]) for i in (0, 1))


def _cut(pages: dict[int, Page], first: int, count: int) -> None:
    """A call dealt with this range alone: its parts, and what follows it, count as areas of their own from now on."""
    renamed: dict[int, int] = {}
    end = first + count
    for number in range(first, end):
        page = pages.get(number)
        if page is not None:
            if page.area not in renamed:
                renamed[page.area] = next(_numbers)
            page.area = renamed[page.area]
    behind = pages.get(end)
    if behind is not None and behind.area in renamed:
        old, new = behind.area, next(_numbers)
        while behind is not None and behind.area == old:
            behind.area = new
            end += 1
            behind = pages.get(end)
