"""Fork on demand, seen from the inside: how many processes share a table at each step, and what was copied.

tests/programs/odf_counts.c plays the scenes; its checkpoints are an unknown system call that is listened to here.
The counts of memory work are those of all processes together, so that runs are deterministic: nobody is preempted by
the clock between two checkpoints. After a fork the parent goes on until it waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from harness import build

from guest.session import Options, Session

CHECKPOINT = 9999


@dataclass
class Seen:
    """One checkpoint: the table of the address, and the counts of memory work so far."""

    sharers: int
    fork_entries: int
    shared: int
    copied: int
    rearmed: int
    pages: int


def play(scene: str, odf: int) -> dict[int, Seen]:
    """Run a scene with every invariant checked; checkpoint label → what was seen there."""
    seen: dict[int, Seen] = {}
    options = Options(odf=bool(odf), paranoid=True, deterministic=True)
    with Session(options, on_unknown_syscall=lambda line: None) as session:

        def enter(task: Any, row: Any, number: int, args: tuple[int, ...]) -> None:
            if number == CHECKPOINT:
                stats = session.stats()
                seen[args[0]] = Seen(task.mm.sharers(args[1]), stats.fork_entries, stats.tables_shared,
                                     stats.tables_copied, stats.tables_rearmed, stats.pages_copied)

        session.events.subscribe("syscall_enter", enter)
        session.start([str(build("odf_counts.c")), scene])
        assert session.run() == 0
    return seen


def sharers(seen: dict[int, Seen]) -> list[int]:
    """The sharers at each checkpoint, in order of label."""
    return [seen[label].sharers for label in sorted(seen)]


#: scene → sharers at its checkpoints under fork on demand. Under classic fork all are 1 (0 where nothing is mapped).
EXPECTED = {
    "child_write": [1, 2, 1, 1, 1, 1, 1],
    "child_exits": [1, 1],
    "generations": [3, 1, 2, 1, 1, 1],
    "siblings": [2, 3, 2, 3, 1],
    "unmaps": [2, 0, 1, 0, 1],
    "two_tables": [2, 1, 2],
    "many_mappings": [1, 2, 1, 1, 2, 1],
    "reads": [2, 2, 2, 2],
    "exec_again": [2, 1, 1],
    "vforked": [1, 1, 1, 1],
    "shared_file": [2, 1, 1],
    "toggled": [2, 1, 2, 2],
    "by_number": [2, 1],
    "outsider": [2, 2, 2, 2, 1, 1],
}


@pytest.mark.parametrize("scene", EXPECTED)
def test_sharers(scene: str) -> None:
    assert sharers(play(scene, 1)) == EXPECTED[scene]


@pytest.mark.parametrize("scene", [scene for scene in EXPECTED if scene not in ("by_number",)])
def test_classic_fork_shares_nothing(scene: str) -> None:
    assert set(sharers(play(scene, 0))) <= {0, 1}


def test_one_table_and_one_page_are_copied() -> None:
    seen = play("child_write", 1)
    assert (seen[3].copied - seen[2].copied, seen[3].pages - seen[2].pages) == (1, 1)
    assert (seen[4].copied - seen[3].copied, seen[4].pages - seen[3].pages) == (0, 1)
    # The parent is alone again: its table is made writable in place; the page the child copied is its own too.
    assert (seen[7].copied - seen[5].copied, seen[7].pages - seen[5].pages) == (0, 0)


def test_nothing_is_copied_after_a_child_that_only_exits() -> None:
    seen = play("child_exits", 1)
    assert (seen[2].copied - seen[1].copied, seen[2].pages - seen[1].pages) == (0, 0)
    assert seen[2].rearmed - seen[1].rearmed <= 1


def test_whole_tables_are_dropped_not_copied() -> None:
    seen = play("unmaps", 1)
    assert seen[2].copied == seen[1].copied
    assert (seen[3].copied - seen[2].copied, seen[3].pages - seen[2].pages) == (1, 0)
    assert seen[4].copied == seen[3].copied


def test_only_the_written_table_is_copied() -> None:
    seen = play("two_tables", 1)
    assert seen[2].copied - seen[1].copied == 1


def test_looking_into_another_process_copies_nothing() -> None:
    """Hazards 38, 39: reading another's memory and /proc files leaves its tables shared, writing copies its one."""
    seen = play("outsider", 1)
    assert [seen[label].sharers for label in (1, 2, 3, 4, 5)] == [2, 2, 2, 2, 1]
    assert seen[4].copied - seen[1].copied <= 1  # that of the program: code that runs for the first time fills an entry
    assert (seen[5].copied - seen[4].copied, seen[5].pages - seen[4].pages) == (1, 1)
    assert (seen[6].copied - seen[5].copied, seen[6].pages - seen[5].pages) == (0, 1)


def test_reading_copies_nothing() -> None:
    seen = play("reads", 1)
    assert (seen[4].copied - seen[1].copied, seen[4].pages - seen[1].pages) == (0, 0)
    assert (seen[2].sharers, seen[4].sharers) == (2, 2)


def test_vfork_shares_no_tables() -> None:
    seen = play("vforked", 1)
    assert seen[4].shared == seen[1].shared


@pytest.mark.parametrize(("odf", "least", "most"), [(0, 20 * 512, 40 * 512), (1, 20, 60)], ids=["classic", "odf"])
def test_work_of_a_fork(odf: int, least: int, most: int) -> None:
    """Classic fork looks at 512 entries where fork on demand looks at one."""
    seen = play("forks_of_twenty_tables", odf)
    assert least <= seen[2].fork_entries - seen[1].fork_entries <= most
