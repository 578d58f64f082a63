"""Accessed and Dirty bits in tables that processes share, hazards 43 and 44: who sets them, where, and what is copied.

The scene "bits" of tests/programs/odf_counts.c has a table of 512 pages without either bit; its checkpoints are an
unknown system call that is listened to here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from harness import build

from emu.paging import ENTRIES, PMD_SIZE, PTE_A, PTE_D
from guest.session import Options, Session

CHECKPOINT = 9999


@dataclass
class Table:
    """The table of the checkpoint's address in one process: its frame, and the pages whose bits are set."""

    frame: int
    accessed: set[int]
    dirty: set[int]


@dataclass
class Seen:
    """One checkpoint: the process that reached it, the other one that maps the address, tables copied so far."""

    own: Table
    copied: int
    other: list[Table] = field(default_factory=list)

    @property
    def shared(self) -> bool:
        return [table.frame for table in self.other] == [self.own.frame]


def _entries(session: Session, frame: int) -> np.ndarray:
    words = session.kernel.memory.memory.ram.array(np.int64)
    return words[frame * ENTRIES : (frame + 1) * ENTRIES]


def _pages(entries: np.ndarray, bit: int) -> set[int]:
    return set(np.flatnonzero(entries & bit).tolist())


def play(level: int) -> dict[int, Seen]:
    """Run the scene with every invariant checked; checkpoint label → what was seen there."""
    seen: dict[int, Seen] = {}
    options = Options(odf=True, odf_level=level, paranoid=True, deterministic=True, memory_bytes=256 << 20)
    with Session(options, on_unknown_syscall=lambda line: None) as session:

        def table(space: Any, va: int) -> Table | None:
            for at, frame in space.tables():
                if at & -PMD_SIZE == va & -PMD_SIZE:
                    entries = _entries(session, frame)
                    return Table(frame, _pages(entries, PTE_A), _pages(entries, PTE_D))
            return None

        def enter(task: Any, row: Any, number: int, args: tuple[int, ...]) -> None:
            if number != CHECKPOINT:
                return
            own = table(task.mm, args[1])
            assert own is not None
            if args[0] == 1:
                _entries(session, own.frame)[:] &= ~PTE_A  # fork flushes the TLB
            others = [table(space, args[1]) for space in session.kernel.memory.spaces.values() if space is not task.mm]
            seen[args[0]] = Seen(own, session.stats().tables_copied, [other for other in others if other is not None])

        session.events.subscribe("syscall_enter", enter)
        session.start([str(build("odf_counts.c")), "bits"])
        assert session.run() == 0
    assert sorted(seen) == list(range(1, 11))
    return seen


@pytest.fixture(scope="module", params=[1, 2])
def scene(request: pytest.FixtureRequest) -> dict[int, Seen]:
    return play(request.param)


def test_accessed_is_set_in_a_shared_table(scene: dict[int, Seen]) -> None:
    """Hazard 43: in place, for every sharer, and nothing is copied for it."""
    assert scene[2].shared
    assert scene[2].own.accessed == set()
    assert scene[3].shared
    assert scene[3].own.accessed == scene[3].other[0].accessed == {3}
    assert scene[4].shared
    assert scene[4].own.accessed - {4} == {3}  # the kernel's reading may count
    assert scene[3].copied == scene[2].copied
    # Each has its own table from here on.
    assert not scene[7].shared
    assert 20 in scene[7].own.accessed
    assert 20 not in scene[7].other[0].accessed
    assert 40 in scene[10].own.accessed
    assert 40 not in scene[10].other[0].accessed


def test_dirty_is_set_in_the_writers_copy_only(scene: dict[int, Seen]) -> None:
    """Hazard 44: never in a table that has sharers; after the copy in the writer's."""
    assert scene[1].own.dirty == set()
    for label in (2, 3, 4):
        assert scene[label].shared
        assert scene[label].own.dirty == set()
    for label, dirty in ((5, {7}), (6, {7, 8})):
        assert not scene[label].shared
        assert scene[label].own.dirty == dirty
        assert scene[label].other[0].dirty == set()
    assert scene[5].copied - scene[4].copied == 1
    # The parent, alone on the old table, reads and then writes there.
    assert scene[7].own.dirty == set()
    assert scene[8].own.dirty == {21}
    assert scene[8].other[0].dirty == {7, 8}
    # The other way round: the parent writes, the child keeps the table as it was.
    assert not scene[9].shared
    assert scene[9].own.dirty == {30}
    assert scene[9].other[0].dirty == set()
    assert scene[10].own.dirty == set()
