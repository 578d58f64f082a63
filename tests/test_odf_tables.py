"""Fork on demand, seen from the inside: how many processes share a table at each step, and what was copied.

tests/programs/odf_counts.c plays the scenes; its checkpoints are an unknown system call that is listened to here.
The counts of memory work are those of all processes together, so that runs are deterministic: nobody is preempted by
the clock between two checkpoints. After a fork the parent goes on until it waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from harness import build, run_native

from guest.session import Options, Session

CHECKPOINT = 9999


@dataclass
class Seen:
    """One checkpoint: the table of the address, and the counts of memory work so far."""

    sharers: int
    fork_entries: int
    shared: int
    pmds: int
    copied: int
    rearmed: int
    pages: int
    faults: int
    mappings: int


def play(scene: str, odf: int, level: int = 1) -> dict[int, Seen]:
    """Run a scene with every invariant checked; checkpoint label → what was seen there."""
    seen: dict[int, Seen] = {}
    options = Options(odf=bool(odf), odf_level=level, paranoid=True, deterministic=True)
    with Session(options, on_unknown_syscall=lambda line: None) as session:

        def enter(task: Any, row: Any, number: int, args: tuple[int, ...]) -> None:
            if number == CHECKPOINT:
                stats = session.stats()
                seen[args[0]] = Seen(task.mm.sharers(args[1]), stats.fork_entries, stats.tables_shared,
                                     stats.pmds_copied, stats.tables_copied, stats.tables_rearmed, stats.pages_copied,
                                     stats.faults, len(task.mm.vmas.rows))

        session.events.subscribe("syscall_enter", enter)
        session.start([str(build("odf_counts.c")), scene])
        assert session.run() == 0
    return seen


def work(seen: dict[int, Seen], before: int, after: int) -> tuple[int, int, int]:
    """PMD tables, PTE tables and pages that were copied between two checkpoints."""
    a, b = seen[before], seen[after]
    return b.pmds - a.pmds, b.copied - a.copied, b.pages - a.pages


def sharers(seen: dict[int, Seen]) -> list[int]:
    """The sharers at each checkpoint, in order of label."""
    return [seen[label].sharers for label in sorted(seen)]


#: scene → sharers at its checkpoints under fork on demand, at either level. Under classic fork all are 1 (0 where
#: nothing is mapped).
EXPECTED = {
    "child_write": [1, 2, 1, 1, 1, 1, 1],
    "step_by_step": [2, 2, 1, 1, 1],
    "child_exits": [1, 1],
    "generations": [3, 1, 2, 1, 1, 1],
    "siblings": [2, 3, 2, 3, 1],
    "unmaps": [2, 0, 1, 0, 1],
    "unmaps_gigabyte": [2, 0, 1],
    "two_tables": [2, 1, 2],
    "many_mappings": [1, 2, 1, 1, 2, 1],
    "splits_and_merges": [2, 2, 2, 2, 2, 1],
    "populated": [2, 2, 1, 2, 1, 2, 2, 1],
    "threads": [2, 2, 1, 1, 1, 1, 1, 1, 1],
    "reads": [2, 2, 2, 2],
    "exec_again": [2, 1, 1],
    "vforked": [1, 1, 1, 1],
    "shared_file": [2, 1, 1],
    "toggled": [2, 1, 2, 2],
    "by_number": [2, 1],
    "outsider": [2, 2, 2, 2, 1, 1],
}

levels = pytest.mark.parametrize("level", [1, 2])


@levels
@pytest.mark.parametrize("scene", EXPECTED)
def test_sharers(scene: str, level: int) -> None:
    assert sharers(play(scene, 1, level)) == EXPECTED[scene]


@pytest.mark.parametrize("scene", [scene for scene in EXPECTED if scene not in ("by_number",)])
def test_classic_fork_shares_nothing(scene: str) -> None:
    assert set(sharers(play(scene, 0))) <= {0, 1}


def test_scenes_pass_natively() -> None:
    """Those that judge themselves would say so."""
    for scene in EXPECTED:
        assert run_native([build("odf_counts.c"), scene]).status == 0, scene


@levels
def test_one_table_and_one_page_are_copied(level: int) -> None:
    seen = play("child_write", 1, level)
    assert work(seen, 2, 3) == (level - 1, 1, 1)
    assert work(seen, 3, 4) == (0, 0, 1)
    # The parent is alone again: its tables are made writable in place; the page the child copied is its own too.
    assert work(seen, 5, 7) == (0, 0, 0)
    assert (seen[6].rearmed - seen[5].rearmed, seen[7].rearmed - seen[6].rearmed) == (level, 0)


@levels
def test_each_step_copies_what_it_needs(level: int) -> None:
    """What the first write does at once, in steps: the PMD table, the PTE table, the page."""
    seen = play("step_by_step", 1, level)
    assert [work(seen, step, step + 1) for step in (1, 2, 3)] == [(level - 1, 0, 0), (0, 1, 0), (0, 0, 1)]


@levels
def test_nothing_is_copied_after_a_child_that_only_exits(level: int) -> None:
    """One fault makes the tables writable again, and the other 511 pages are written without one."""
    seen = play("child_exits", 1, level)
    assert work(seen, 1, 2) == (0, 0, 0)
    assert seen[2].faults - seen[1].faults <= 1
    assert seen[2].rearmed - seen[1].rearmed <= 1


@levels
def test_whole_tables_are_dropped_not_copied(level: int) -> None:
    """No entry is worked on either: to change one, the table would have to be copied first (I3, checked here)."""
    seen = play("unmaps", 1, level)
    assert work(seen, 1, 2) == (level - 1, 0, 0)
    assert work(seen, 2, 3) == (0, 1, 0)
    assert work(seen, 3, 4) == (0, 0, 0)
    seen = play("unmaps_gigabyte", 1, level)
    assert work(seen, 1, 2) == (0, 0, 0)


@levels
def test_only_the_written_table_is_copied(level: int) -> None:
    assert work(play("two_tables", 1, level), 1, 2) == (level - 1, 1, 1)


@levels
def test_splits_and_merges_copy_nothing(level: int) -> None:
    """Hazard 16: sharers are counted by table; mappings come and go without a change."""
    seen = play("splits_and_merges", 1, level)
    assert work(seen, 1, 5) == (0, 0, 0)
    assert [seen[label].mappings - seen[1].mappings for label in (2, 3, 4, 5)] == [19, 0, 19, 0]


@levels
def test_looking_into_another_process_copies_nothing(level: int) -> None:
    """Hazards 38, 39: reading another's memory and /proc files leaves its tables shared, writing copies its one."""
    seen = play("outsider", 1, level)
    assert work(seen, 1, 4) == (0, 0, 0)
    assert work(seen, 4, 5) == (level - 1, 1, 1)
    assert work(seen, 5, 6) == (0, 0, 1)


@levels
def test_populating_for_writing_copies(level: int) -> None:
    """Hazard 58: what is only read stays shared; one page is copied for each that is written or locked."""
    seen = play("populated", 1, level)
    assert work(seen, 1, 2) == (0, 0, 0)
    assert work(seen, 2, 3) == (level - 1, 1, 1)
    assert work(seen, 4, 5) == (level - 1, 1, 2)
    assert work(seen, 6, 7) == (0, 0, 0)
    assert work(seen, 7, 8) == (level - 1, 1, 0)


@levels
def test_two_threads_copy_one_table(level: int) -> None:
    """Hazard 51: the first of them copies it, and one reference is dropped; then only pages are copied."""
    seen = play("threads", 1, level)
    assert work(seen, 2, 3) == (level - 1, 1, 1)
    assert [work(seen, label, label + 1) for label in range(3, 8)] == [(0, 0, 1)] * 5


@levels
def test_reading_copies_nothing(level: int) -> None:
    assert work(play("reads", 1, level), 1, 4) == (0, 0, 0)


@levels
def test_vfork_shares_no_tables(level: int) -> None:
    seen = play("vforked", 1, level)
    assert seen[4].shared == seen[1].shared


@pytest.mark.parametrize(("odf", "level", "least", "most"), [(0, 1, 20 * 512, 40 * 512), (1, 1, 20, 60), (1, 2, 1, 10)],
                         ids=["classic", "odf", "level2"])
def test_work_of_a_fork(odf: int, level: int, least: int, most: int) -> None:
    """Classic fork looks at 512 entries where fork on demand looks at one, and at level 2 one serves them all."""
    seen = play("forks_of_twenty_tables", odf, level)
    assert least <= seen[2].fork_entries - seen[1].fork_entries <= most


@levels
def test_a_small_process_loses_nothing(level: int) -> None:
    """Hazard 62: fork and exec of 7 MiB. Copying a table later costs 512 entries as well; with that, fork on demand
    looks at no more of them, and copies no more pages. The time is measured by `forkyard bench server`."""
    classic, ours = play("fork_and_exec", 0), play("fork_and_exec", 1, level)
    for label in (2, 3):
        _, tables, pages = work(ours, label, label + 1)
        entries = [seen[label + 1].fork_entries - seen[label].fork_entries for seen in (classic, ours)]
        assert ours[label + 1].shared - ours[label].shared <= entries[1]
        assert entries[1] + 512 * tables <= entries[0]
        assert pages <= work(classic, label, label + 1)[2]
