"""Random steps for the model test: a hypothesis state machine that grows a list of them, guided by the model."""

from __future__ import annotations

from collections.abc import Container

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from model import Model
from model_steps import (
    ADVICE,
    DONTNEED,
    DONTUNMAP,
    FILE_PAGES,
    FIXED,
    HEAP,
    HUGE,
    MAYMOVE,
    POPULATE,
    POPULATE_WRITE,
    PRIVATE_FILE,
    PRIVATE_READONLY,
    SHARED,
    SHARED_READONLY,
    SLOTS,
    Step,
    agrees,
    region_end,
)
from model_ways import SPACES, compare, explain

#: Page numbers that fall together, and on both sides of the tables' edges (2, 514 and 1026 in the arena).
ARENA_PLACES = (0, 1, 2, 3, 4, 5, 256, 511, 512, 513, 514, 515, 516, 1000, 1025, 1026, 1027)
HEAP_PLACES = tuple(HEAP + page for page in (0, 1, 2, 3, 496, 497, 520))
PLACES = ARENA_PLACES + HEAP_PLACES

which = st.integers(0, SLOTS - 1)
#: Where: see ``Machine.aim``.
aims = st.integers(0, 4 * len(PLACES) - 1)
places = st.sampled_from(PLACES)
counts = st.sampled_from((1, 1, 1, 2, 3, 7, 256, 510, 512, 512, 600, 1024))
few = st.sampled_from((0, 1, 1, 2, 3, 512))
# PROT_EXEC alone is left out: processors with protection keys make it execute-only.
prots = st.sampled_from((3, 3, 3, 0, 1, 2, 5, 7))
values = st.integers(1, 99)
words = st.integers(0, 1)
seldom = st.integers(0, 3).map(lambda number: number == 3)


class Machine(RuleBasedStateMachine):
    """One rule a kind of step. ``steps`` is what was done, ``expected`` what the model said to it."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.steps: list[Step] = []
        self.expected: list[str] = []
        self.settled: int | None = None
        """The steps from here on only look."""
        self.take("odf", 0, 1, 1)
        self.take("mmap", 0, 0, 600, 3, 0, 0, 0)

    def aim(self, who: int, number: int, count: int = 1) -> tuple[int, int]:
        """A place in ``who``'s memory, and ``count`` cut to what is mapped there; one time in four, anywhere."""
        live = sorted(self.model.processes)
        pages = self.model.processes[live[who % len(live)]].pages
        mapped = [page for page in PLACES if page in pages]
        page = PLACES[number >> 2]
        if number & 3 == 3 or not mapped:
            return page, min(count, region_end(page) - page)
        return self.run(pages, mapped[(number >> 2) % len(mapped)], count)

    @staticmethod
    def run(pages: Container[int], page: int, count: int) -> tuple[int, int]:
        """``page`` and how many of ``count`` pages from there on are mapped, at least 1."""
        return page, next((i for i in range(1, count) if page + i not in pages), count)

    def take(self, operation: str, who: int, *numbers: int) -> None:
        """Let live process ``who`` (counted round and round) do it, if the model knows what must come of it."""
        live = sorted(self.model.processes)
        step = (operation, live[who % len(live)], *numbers)
        expected = self.model.step(step)
        if expected is not None:
            self.steps.append(step)
            self.expected.append(expected)
            self.taken(step, expected)

    def taken(self, step: Step, expected: str) -> None:
        """For subclasses: a step was added."""

    def look_around(self) -> None:
        """Load the pages that hold something, and those at the edges, in every process."""
        self.settled = len(self.steps)
        for who, (_, process) in enumerate(sorted(self.model.processes.items())):
            held = [number for number, page in process.pages.items() if any(page.cell()[:2])]
            for page in sorted({*held[:40], *ARENA_PLACES, *HEAP_PLACES[:3]}):
                self.take("load", who, page)
            for page in (0, 2, 514, 1026, HEAP):
                self.take("digest", who, *self.run(process.pages, page, 512))
        for index in range(FILE_PAGES):
            self.take("fread", 0, index)

    # -- mapping ---------------------------------------------------------------------------------------------------

    @rule(who=which, page=places, count=counts, prot=prots, kind=st.integers(0, SHARED),
          extra=st.sampled_from((0, 0, 0, 1, 2, 4)))
    def mmap(self, who: int, page: int, count: int, prot: int, kind: int, extra: int) -> None:
        # The frames that MAP_POPULATE takes cost time, and a few show as much.
        count = min(count, 7) if extra & POPULATE else count
        self.take("mmap", who, page, min(count, region_end(page) - page), prot, kind, 0, extra)

    @rule(who=which, page=places, count=st.integers(1, FILE_PAGES), prot=prots,
          kind=st.integers(PRIVATE_FILE, SHARED_READONLY), offset=st.integers(0, FILE_PAGES - 1))
    def mmap_file(self, who: int, page: int, count: int, prot: int, kind: int, offset: int) -> None:
        count = min(count, FILE_PAGES - offset if kind >= PRIVATE_READONLY else count)
        self.take("mmap", who, page, min(count, region_end(page) - page), prot, kind, offset, 0)

    @rule(who=which, at=aims, count=counts | few)
    def munmap(self, who: int, at: int, count: int) -> None:
        self.take("munmap", who, *self.aim(who, at, count))

    @rule(who=which, at=aims, count=counts | few, prot=prots)
    def mprotect(self, who: int, at: int, count: int, prot: int) -> None:
        self.take("mprotect", who, *self.aim(who, at, count), prot)

    @rule(who=which, at=aims, count=counts, place=places, flags=st.sampled_from((FIXED, FIXED | DONTUNMAP)))
    def move(self, who: int, at: int, count: int, place: int, flags: int) -> None:
        page, count = self.aim(who, at, min(count, region_end(place) - place))
        self.take("mremap", who, page, count, count, flags | MAYMOVE, place)

    @rule(who=which, at=aims, old=counts | few, new=counts | few, place=places,
          flags=st.sampled_from((0, MAYMOVE, MAYMOVE, MAYMOVE | FIXED, FIXED, MAYMOVE | DONTUNMAP)))
    def resize(self, who: int, at: int, old: int, new: int, place: int, flags: int) -> None:
        page, old = self.aim(who, at, old)
        self.take("mremap", who, page, old, min(new, region_end(place) - place), flags, place)

    @rule(who=which, at=aims, count=counts | few, advice=st.sampled_from((*ADVICE, 7)))
    def madvise(self, who: int, at: int, count: int, advice: int) -> None:
        self.take("madvise", who, *self.aim(who, at, count), advice)

    @rule(who=which, at=aims, count=counts)
    def msync(self, who: int, at: int, count: int) -> None:
        self.take("msync", who, *self.aim(who, at, count))

    @rule(who=which, pages=st.sampled_from((0, 1, 2, 4, 498, 600)))
    def brk(self, who: int, pages: int) -> None:
        self.take("brk", who, pages)

    @rule(who=which, prot=prots, page=st.sampled_from((2, 514)))
    def map_whole_table(self, who: int, page: int, prot: int) -> None:
        """2 MiB that can be one leaf."""
        self.take("mmap", who, page, 512, prot, 0, 0, 0)
        self.take("madvise", who, page, 512, 14)

    # -- accesses --------------------------------------------------------------------------------------------------

    @rule(who=which, at=aims, word=words, value=values, by_kernel=st.booleans())
    def store(self, who: int, at: int, word: int, value: int, by_kernel: bool) -> None:
        self.take("put" if by_kernel else "store", who, self.aim(who, at)[0], word, value)

    @rule(who=which, at=aims, by_kernel=st.booleans())
    def load(self, who: int, at: int, by_kernel: bool) -> None:
        self.take("get" if by_kernel else "load", who, self.aim(who, at)[0])

    @rule(who=which, at=aims, count=counts, value=values)
    def fill(self, who: int, at: int, count: int, value: int) -> None:
        self.take("fill", who, *self.aim(who, at, count), value)

    @rule(who=which, at=aims, count=counts)
    def digest(self, who: int, at: int, count: int) -> None:
        self.take("digest", who, *self.aim(who, at, count))

    @rule(who=which, at=aims, value=values)
    def cross(self, who: int, at: int, value: int) -> None:
        self.take("cross", who, self.aim(who, at)[0], value)

    @rule(who=which, other=which, at=aims, word=words, value=values, write=st.booleans())
    def reach_over(self, who: int, other: int, at: int, word: int, value: int, write: bool) -> None:
        page, _ = self.aim(other, at)
        live = sorted(self.model.processes)
        other = live[other % len(live)]
        if write:
            self.take("poke", who, other, page, word, value)
        else:
            self.take("peek", who, other, page)

    @rule(who=which, index=st.integers(0, FILE_PAGES - 1), word=words, value=values)
    def write_file(self, who: int, index: int, word: int, value: int) -> None:
        self.take("fwrite", who, index, word, value)

    @rule(who=which, pages=st.integers(0, FILE_PAGES))
    def truncate(self, who: int, pages: int) -> None:
        self.take("truncate", who, pages)

    # -- processes -------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.model.processes) < SLOTS)
    @rule(who=which, explicit=st.booleans())
    def fork(self, who: int, explicit: bool) -> None:
        free = next(slot for slot in range(SLOTS) if slot not in self.model.processes)
        self.take("fork", who, free, int(explicit))

    @precondition(lambda self: len(self.model.processes) > 1)
    @rule(who=which, killed=st.booleans(), kept=seldom)
    def exit(self, who: int, killed: bool, kept: bool) -> None:
        if not kept:
            self.take("exit", who, int(killed))

    @precondition(lambda self: len(self.model.processes) > 1)
    @rule(who=which, really=seldom)
    def exec(self, who: int, really: bool) -> None:
        if really:
            self.take("exec", who)

    @rule(who=which, on=st.booleans(), level=st.integers(1, 2))
    def odf(self, who: int, on: bool, level: int) -> None:
        self.take("odf", who, int(on), level)


class SpacesMachine(Machine):
    """Each step is carried out at once on the kernel's address spaces, and all invariants are checked after it."""

    way = "spaces"

    def __init__(self) -> None:
        self.spaces = SPACES[self.way]()
        self.failed = False
        super().__init__()

    def taken(self, step: Step, expected: str) -> None:
        try:
            found = self.spaces.step(step)
            self.spaces.checker.check()
        except Exception as problem:
            found = f"{type(problem).__name__}: {problem}"
        if not agrees(expected, found):
            self.failed = True
            # Once more, as a whole: the text is then made as for the other ways.
            compare(self.steps, self.expected, self.way, self.settled)
            raise AssertionError(explain(self.steps, self.expected, [*self.expected[:-1], found], self.way))

    def teardown(self) -> None:
        if self.failed:
            self.spaces.abandon()
            return
        self.look_around()
        try:
            self.spaces.close()
        except Exception:
            compare(self.steps, self.expected, self.way, self.settled)
            raise


class PoolRules(Machine):
    """With MAP_HUGETLB, which the host can only confirm when its pool has pages."""

    @rule(who=which, page=st.sampled_from((2, 514)), tables=st.integers(1, 2), prot=prots)
    def mmap_huge(self, who: int, page: int, tables: int, prot: int) -> None:
        self.take("mmap", who, page, 512 * tables if page == 2 else 512, prot, HUGE, 0, 0)

    @rule(who=which, page=st.sampled_from((2, 514)), advice=st.sampled_from((DONTNEED, POPULATE_WRITE)))
    def advise_huge(self, who: int, page: int, advice: int) -> None:
        self.take("madvise", who, page, 512, advice)


class HugeSpacesMachine(PoolRules, SpacesMachine):
    way = "spaces, huge"


class NoMuchShared(Machine):
    """For less memory than what the steps fill: shared memory is not swapped, and much of it would not fit."""

    def take(self, operation: str, who: int, *numbers: int) -> None:
        if operation == "mmap" and numbers[3] == SHARED:
            numbers = (numbers[0], min(numbers[1], 7), *numbers[2:])
        super().take(operation, who, *numbers)


class SwapSpacesMachine(NoMuchShared, SpacesMachine):
    way = "spaces, swap"


def native_machine(ways: tuple[str, ...], rules: type[Machine] = Machine) -> type[Machine]:
    """A machine that lets each of ``ways`` carry out the whole list; once one has failed, only that one."""
    failed: list[str] = []

    class NativeMachine(rules):  # type: ignore[misc,valid-type]
        def teardown(self) -> None:
            self.look_around()
            for way in failed or ways:
                try:
                    compare(self.steps, self.expected, way, self.settled)
                except AssertionError:
                    failed[:] = [way]
                    raise

    return NativeMachine
