"""The model: what each step must give, from plain dictionaries. It knows nothing of page tables, frames or VMAs.

A process is a dict from page number to :class:`Page`. Where Linux's answer depends on which neighbouring mappings it
has merged, or differs between versions, :meth:`Model.step` returns None and has done nothing: leave the step out.
To know that a range is one VMA for certain, each page carries the number of its ``area``, new after every cut.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from errno import EACCES, EEXIST, EFAULT, EINVAL, ENOMEM

from model_pages import File, Page, Process, cut, cuts_huge, shown, simple_for_huge
from model_pages import numbers as areas
from model_steps import (
    ADVICE,
    COLLAPSE,
    DOFORK,
    DONTFORK,
    DONTNEED,
    DONTNEED_LOCKED,
    DONTUNMAP,
    FILE_PAGES,
    FIXED,
    FREE,
    HEAP,
    HUGE,
    HUGEPAGE,
    KEEPONFORK,
    MAYMOVE,
    NOHUGEPAGE,
    NOREPLACE,
    POPULATE,
    POPULATE_READ,
    POPULATE_WRITE,
    PRIVATE,
    PRIVATE_READONLY,
    REMOVE,
    SHARED,
    SHARED_READONLY,
    SLOTS,
    WIPEONFORK,
    Step,
    region_end,
)

#: The host's version: what came later it cannot confirm.
LINUX = tuple(int(number) for number in os.uname().release.split("-")[0].split(".")[:2])
OK, NOBODY, ANY = "ok", "-", "any"


def error(code: int) -> str:
    return f"-{code}"


class Model:
    """Up to five processes, the writable file that they all have open, and a read-only one."""

    def __init__(self) -> None:
        self.file = File(FILE_PAGES)
        self.readonly = File(FILE_PAGES, False, {i: [1000 + i, 2000 + i, 0, 0] for i in range(FILE_PAGES)})
        self.processes: dict[int, Process] = {0: Process()}
        self.huge = False
        """Somebody has mapped pages of the pool (MAP_HUGETLB)."""

    def step(self, step: Step) -> str | None:
        """Carry it out; returns what it gives (see ``agrees``), or None: not certain, and not done."""
        operation, slot, *numbers = step
        process = self.processes.get(slot)  # type: ignore[call-overload]
        if process is None:
            return NOBODY
        method: Callable[..., str | None] = getattr(self, f"_{operation}")
        if self.huge and not simple_for_huge(process.pages, operation, numbers):  # type: ignore[arg-type]
            return None
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
        elif kind not in (PRIVATE, HUGE):
            file = self.readonly if kind >= PRIVATE_READONLY else self.file
        if self._munmap(process, page, count) != OK:
            return error(EINVAL)
        area = next(areas)
        self.huge |= kind == HUGE
        for i, number in enumerate(pages):
            process.pages[number] = Page(prot, area, file, offset + i if file else 0, shared, huge=kind == HUGE)
        if extra & POPULATE:
            self._populate([process.pages[number] for number in pages], 1 if shared or not prot & 2 else 2)
        return OK

    def _munmap(self, process: Process, page: int, count: int) -> str:
        if count == 0 or cuts_huge(process.pages, page) or cuts_huge(process.pages, page + count):
            return error(EINVAL)
        cut(process.pages, page, count)
        for number in range(page, page + count):
            process.pages.pop(number, None)
        return OK

    def _mprotect(self, process: Process, page: int, count: int, prot: int) -> str:
        cut(process.pages, page, count)
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

    def _brk(self, process: Process, pages: int) -> str:
        changed = range(HEAP + min(pages, process.brk), HEAP + max(pages, process.brk))
        if pages < process.brk:
            if not any(number in process.pages for number in changed):
                return "no"
            self._munmap(process, changed.start, len(changed))
        elif pages > process.brk:
            # Room for one page more is asked for.
            if any(number in process.pages for number in (*changed, changed.stop)):
                return "no"
            area = next(areas)
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
        if flags & FIXED and old == new and LINUX >= (6, 17):
            return self._move_each(process, page, old, flags, place)
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

    def _move_each(self, process: Process, page: int, count: int, flags: int, place: int) -> str:
        """Several mappings at once; where there is none, nothing happens at the other end either."""
        for i in range(count):
            if page + i in process.pages:
                self._move(process, page + i, 1, 1, flags, place + i)
        return OK

    def _move(self, process: Process, page: int, old: int, new: int, flags: int, place: int) -> None:
        """The pages go to ``place``, then, if they went by a place of the kernel's choice."""
        pages = process.pages
        cut(pages, page, old)
        source = [pages[page + i] for i in range(max(old, 1))]
        area = next(areas)
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
        if advice == REMOVE and LINUX < (6, 7) and any(
                one and one.shared and one.file and one.file.writable and not one.prot & 2 for one in known):
            return None
        if advice == COLLAPSE:
            return ANY
        if advice in (POPULATE_READ, POPULATE_WRITE):
            return self._populate(known, 2 if advice == POPULATE_WRITE else 1)
        if advice in (DONTFORK, DOFORK, HUGEPAGE, NOHUGEPAGE, WIPEONFORK, KEEPONFORK):
            cut(process.pages, page, count)
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
            if access == 2:
                page.write()  # a page of a private mapping is its own from now on, whatever its file gets
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
        return self._why_not(process, page, 1) or shown(process.pages[page].cell())

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

    def _fill(self, process: Process, page: int, count: int, value: int) -> str:
        """A different value in each page of a range, up to the first that cannot be written."""
        for i in range(count):
            if (done := self._store(process, page + i, 0, value + i)) != OK:
                return done
        return OK

    def _digest(self, process: Process, page: int, count: int) -> str | None:
        """All words of a range in one number."""
        total = 0
        for i in range(count):
            why = self._why_not(process, page + i, 1)
            if why:
                return why
            cell = process.pages[page + i].cell()
            if cell[2] or cell[3]:
                return None
            total += (i + 1) * (cell[0] + cell[1])
        return str(total & (1 << 64) - 1)

    def _put(self, process: Process, page: int, word: int, value: int) -> str:
        return error(EFAULT) if self._store(process, page, word, value) != OK else OK

    def _get(self, process: Process, page: int) -> str:
        return error(EFAULT) if self._why_not(process, page, 1) else shown(process.pages[page].cell())

    def _peek(self, slot: int, other: int, page: int) -> str | None:
        if other not in self.processes:
            return NOBODY
        if page >= HEAP:
            return None  # the other's heap may be elsewhere
        known = self.processes[other].pages.get(page)
        return shown(known.cell()) if known and known.prot & 1 and not known.bus else error(EFAULT)

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
        return shown(self.file.cells.get(index, (0, 0, 0, 0)) if index < self.file.pages else (0, 0, 0, 0))

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
                pages[number] = Page(page.prot, page.area, page.file, page.index, page.shared, own, False, page.wipe,
                                     page.huge)
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
