"""Random sequences of mapping calls, accesses and forks over several address spaces, against a plain-dict model.

The model knows nothing of tables: a process is a dict from page number to a page, a fork copies the dict. After every
step all invariants are recounted. A failing case shrinks; ``pytest -m slow`` runs 20,000 steps.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from emu import native
from kernel.errno import EFAULT, ENOMEM, Errno
from kernel.mm import madvise as advice_of
from kernel.mm import mmap as maps
from kernel.mm import mremap as remaps
from kernel.mm.address_space import AddressSpace
from kernel.mm.check import Checker
from kernel.mm.layout import K_TABLES_COPIED, K_TABLES_SHARED
from kernel.mm.memory import KernelMemory
from kernel.mm.pagecache import PageCache

PAGE = 4096
BASE = 0x200000000 - 2 * PAGE
#: Two pages before a table begins, two tables, and two pages of a third: every boundary is within reach.
PAGES = 2 + 1024 + 2
FILE_PAGES = 6
NO_LIMIT = 1 << 62

#: Page numbers that fall together, and on both sides of the tables' edges.
page_numbers = st.sampled_from([0, 1, 2, 3, 4, 5, 256, 511, 512, 513, 514, 515, 516, 1000, 1025, 1026, 1027])
lengths = st.sampled_from([1, 1, 1, 2, 3, 7, 510, 512, 600, 1024])
prots = st.sampled_from([0, 1, 3, 3, 3, 7])
values = st.integers(1, 1 << 60)


@dataclass
class Page:
    """What one process sees at one page: ``cell`` holds the value; a private file page without one shows the file's."""

    prot: int
    cell: list[int] | None
    shared: bool = False
    source: list[int] | None = None
    dontfork: bool = False
    wipe: bool = False

    @property
    def value(self) -> int:
        cell = self.cell if self.cell is not None else self.source
        return cell[0] if cell is not None else 0


class ModelFile:
    """A file of FILE_PAGES pages as mmap wants one."""

    path = b"/model"
    readable = writable = True

    def __init__(self, memory: KernelMemory) -> None:
        self.cache = PageCache(memory, FILE_PAGES * PAGE)
        self.cells = [[0] for _ in range(FILE_PAGES)]

    def mapping(self, prot: int, flags: int) -> PageCache:
        return self.cache

    def get(self) -> ModelFile:
        return self

    def put(self) -> None:
        pass


class Process:
    """An address space and what the model says of it."""

    numbers = itertools.count(1)

    def __init__(self, space: AddressSpace, pages: dict[int, Page]) -> None:
        self.space, self.pages = space, pages
        self.number = next(self.numbers)

    def clip(self, first: int, count: int) -> range:
        return range(first, min(first + count, PAGES))


def address(page: int) -> int:
    return BASE + page * PAGE


class MemoryMachine(RuleBasedStateMachine):
    """One step is one call or access by one of up to five processes."""

    def __init__(self) -> None:
        super().__init__()
        native.load()
        self.memory = KernelMemory(64 << 20)
        self.checker = Checker(self.memory)
        self.file = ModelFile(self.memory)
        self.processes = [Process(AddressSpace(self.memory), {})]
        self.processes[0].space.use_odf = True

    def pick(self, which: int) -> Process:
        return self.processes[which % len(self.processes)]

    # -- mapping ---------------------------------------------------------------------------------------------------

    @rule(which=st.integers(0, 4), first=page_numbers, count=lengths, prot=prots, shared=st.booleans())
    def map_anonymous(self, which: int, first: int, count: int, prot: int, shared: bool) -> None:
        process = self.pick(which)
        pages = process.clip(first, count)
        flags = maps.MAP_FIXED | maps.MAP_ANONYMOUS | (maps.MAP_SHARED if shared else maps.MAP_PRIVATE)
        process.space.mmap(address(first), len(pages) * PAGE, prot, flags)
        for page in pages:
            process.pages[page] = Page(prot, [0], shared)

    @rule(which=st.integers(0, 4), first=page_numbers, prot=prots, shared=st.booleans(),
          offset=st.integers(0, FILE_PAGES - 1))
    def map_file(self, which: int, first: int, prot: int, shared: bool, offset: int) -> None:
        process = self.pick(which)
        pages = process.clip(first, FILE_PAGES - offset)
        flags = maps.MAP_FIXED | (maps.MAP_SHARED if shared else maps.MAP_PRIVATE)
        process.space.mmap(address(first), len(pages) * PAGE, prot, flags, self.file, offset * PAGE)
        for i, page in enumerate(pages):
            cell = self.file.cells[offset + i]
            process.pages[page] = Page(prot, cell if shared else None, shared, cell)

    @rule(which=st.integers(0, 4), first=page_numbers, count=lengths)
    def unmap(self, which: int, first: int, count: int) -> None:
        process = self.pick(which)
        pages = process.clip(first, count)
        process.space.munmap(address(first), len(pages) * PAGE)
        for page in pages:
            process.pages.pop(page, None)

    @rule(which=st.integers(0, 4), first=page_numbers, count=lengths, prot=prots)
    def protect(self, which: int, first: int, count: int, prot: int) -> None:
        process = self.pick(which)
        pages = process.clip(first, count)
        hole = next((page for page in pages if page not in process.pages), None)
        try:
            process.space.mprotect(address(first), len(pages) * PAGE, prot)
        except Errno as error:
            assert error.code == ENOMEM and hole is not None
        else:
            assert hole is None
        # What lies before the hole has changed.
        for page in itertools.takewhile(process.pages.__contains__, pages):
            process.pages[page].prot = prot

    @rule(which=st.integers(0, 4), first=page_numbers, count=lengths, place=page_numbers)
    def move(self, which: int, first: int, count: int, place: int) -> None:
        process = self.pick(which)
        count = min(count, PAGES - first, PAGES - place)
        row = process.space.vmas.find(address(first))
        overlap = first < place + count and place < first + count
        if row is None or row.end < address(first + count) or overlap:
            return
        flags = remaps.MREMAP_MAYMOVE | remaps.MREMAP_FIXED
        remaps.mremap(process.space, address(first), count * PAGE, count * PAGE, flags, address(place), NO_LIMIT,
                      NO_LIMIT)
        moved = [process.pages.pop(first + i) for i in range(count)]
        for i, page in enumerate(moved):
            process.pages[place + i] = page

    @rule(which=st.integers(0, 4), first=page_numbers, count=lengths,
          advice=st.sampled_from([advice_of.MADV_DONTNEED, advice_of.MADV_FREE, advice_of.MADV_DONTFORK,
                                  advice_of.MADV_DOFORK, advice_of.MADV_WIPEONFORK, advice_of.MADV_KEEPONFORK]))
    def advise(self, which: int, first: int, count: int, advice: int) -> None:
        process = self.pick(which)
        pages = process.clip(first, count)
        known = [process.pages.get(page) for page in pages]
        private_only = advice in (advice_of.MADV_FREE, advice_of.MADV_WIPEONFORK)
        if private_only and any(p is not None and (p.shared or p.source is not None) for p in known):
            return
        try:
            advice_of.madvise(process.space, address(first), len(pages) * PAGE, advice)
        except Errno as error:
            assert error.code == ENOMEM and None in known
        for page in filter(None, known):
            if advice == advice_of.MADV_DONTNEED and not page.shared:
                page.cell = None if page.source is not None else [0]
            elif advice in (advice_of.MADV_DONTFORK, advice_of.MADV_DOFORK):
                page.dontfork = advice == advice_of.MADV_DONTFORK
            elif advice in (advice_of.MADV_WIPEONFORK, advice_of.MADV_KEEPONFORK):
                page.wipe = advice == advice_of.MADV_WIPEONFORK

    # -- accesses --------------------------------------------------------------------------------------------------

    @rule(which=st.integers(0, 4), page=page_numbers, value=values)
    def store(self, which: int, page: int, value: int) -> None:
        process = self.pick(which)
        known = process.pages.get(page)
        try:
            process.space.write_u64(address(page) + 8, value)
        except Errno as error:
            assert error.code == EFAULT and (known is None or not known.prot & 2)
            return
        assert known is not None and known.prot & 2
        if known.cell is None:
            known.cell = [0]
        known.cell[0] = value

    @rule(which=st.integers(0, 4), page=page_numbers)
    def load(self, which: int, page: int) -> None:
        process = self.pick(which)
        known = process.pages.get(page)
        try:
            found = process.space.read_u64(address(page) + 8)
        except Errno as error:
            assert error.code == EFAULT and (known is None or not known.prot)
            return
        assert known is not None and known.prot
        assert found == known.value

    @rule(index=st.integers(0, FILE_PAGES - 1), value=values)
    def write_file(self, index: int, value: int) -> None:
        self.file.cache.write(index * PAGE + 8, value.to_bytes(8, "little"))
        self.file.cells[index][0] = value

    # -- processes -------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.processes) < 5)
    @rule(which=st.integers(0, 4), odf=st.booleans())
    def fork(self, which: int, odf: bool) -> None:
        parent = self.pick(which)
        space = parent.space.fork(odf or parent.space.use_odf)
        pages = {}
        for number, page in parent.pages.items():
            if page.dontfork:
                continue
            cell = page.cell
            if page.wipe:
                cell = [0]
            elif not page.shared and cell is not None:
                cell = [cell[0]]
            pages[number] = Page(page.prot, cell, page.shared, page.source, False, page.wipe)
        self.processes.append(Process(space, pages))

    @precondition(lambda self: len(self.processes) > 1)
    @rule(which=st.integers(0, 4))
    def exit(self, which: int) -> None:
        process = self.pick(which)
        self.processes.remove(process)
        process.space.release()

    @rule(which=st.integers(0, 4), odf=st.booleans(), level=st.integers(1, 2))
    def toggle(self, which: int, odf: bool, level: int) -> None:
        space = self.pick(which).space
        space.use_odf, space.odf_level = odf, level

    # -- after every step ------------------------------------------------------------------------------------------

    @invariant()
    def books_balance(self) -> None:
        self.checker.check()

    def teardown(self) -> None:
        for process in self.processes:
            for page in sorted(process.pages):
                if process.pages[page].prot and page in (0, 1, 2, 3, 511, 512, 513, 514, 1025, 1026, 1027):
                    assert process.space.read_u64(address(page) + 8) == process.pages[page].value
        for process in self.processes:
            process.space.release()
        self.checker.check()
        self.file.cache.truncate(0)
        assert self.memory.used_frames == 0, "a frame outlived the last exit"


def _run(examples: int, steps: int) -> None:
    limits: Any = settings(max_examples=examples, stateful_step_count=steps, deadline=None, print_blob=True,
                           suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(MemoryMachine, settings=limits)


def test_model() -> None:
    _run(60, 40)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_model_long() -> None:
    """20,000 steps."""
    _run(200, 100)


def test_model_reaches_what_it_is_about() -> None:
    """The steps share tables and copy them: a model test that never does proves nothing."""
    machine = MemoryMachine()
    machine.map_anonymous(0, 0, 600, 3, False)
    machine.store(0, 3, 7)
    machine.fork(0, True)
    machine.store(1, 3, 8)
    machine.load(0, 3)
    get = machine.memory.memory.get
    assert get(K_TABLES_SHARED) >= 1 and get(K_TABLES_COPIED) == 1
    machine.teardown()
