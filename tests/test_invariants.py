"""Each invariant of kernel/mm/check.py is broken by hand, under a running guest, and must be reported.

tests/programs/odf_counts.c plays a scene; at one of its checkpoints the kernel's state is damaged, checked and mended,
so that the guest ends as if nothing had been.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from harness import build

from emu.paging import PAGE_SHIFT, PGD_SHIFT, PMD_SHIFT, PTE_D, PTE_FRAME, PTE_P, PTE_PS, PTE_W, PUD_SHIFT
from guest.session import Options, Session
from kernel.mm import check, protect, recount
from kernel.mm.check import Checker, InvariantError, make_checker
from kernel.mm.layout import (
    FRAME_ANON,
    FRAME_FREE,
    K_PMD_COUNTS,
    K_SWAP_REFS,
    K_USED,
    K_WRONG_STORE,
    MM_ANON,
    MM_UPPER,
    PC_BYTES,
    TC_ENTRIES,
)

CHECKPOINT = 9999


class View:
    """The guest's memory at a checkpoint: ``space`` is the process that reached it, ``va`` the address it gave."""

    def __init__(self, session: Session, task: Any, va: int) -> None:
        self.kernel = session.kernel
        self.memory = session.kernel.memory
        self.checker = make_checker(session.kernel)
        self.space, self.va = task.mm, va
        self.words = self.memory.memory.ram.array(np.int64)

    def slot(self, va: int, level: int, space: Any = None) -> int:
        """Index in ``words`` of the entry for ``va``; ``level`` is one of the *_SHIFT numbers."""
        table = (space or self.space).root
        for shift in (PGD_SHIFT, PUD_SHIFT, PMD_SHIFT, PAGE_SHIFT):
            index = (table >> 3) + (va >> shift & 511)
            if shift == level:
                return index
            assert int(self.words[index]) & (PTE_P | PTE_PS) == PTE_P, "no table there"
            table = int(self.words[index]) & PTE_FRAME
        raise AssertionError(level)

    def frame(self, level: int) -> int:
        """The frame that the entry for ``va`` names."""
        return (int(self.words[self.slot(self.va, level)]) & PTE_FRAME) >> PAGE_SHIFT

    def others(self) -> list[Any]:
        """The address spaces that share the table for ``va``."""
        return [space for space in self.memory.spaces.values() if space is not self.space]

    def table_of(self, slot: int, dtype: Any) -> np.ndarray:
        """One of the kernel's own tables, by its slot in the machine block."""
        tables = {**self.memory._tables, **(self.memory.swap._tables if self.memory.swap else {})}
        return tables[slot].array(dtype)


def _flip(array: Any, index: Any, change: int, checker: Checker) -> None:
    """Add ``change`` to one number, check, and take it back whatever comes of it."""
    old = array[index]
    array[index] = int(old) + change
    try:
        checker.check()
    finally:
        array[index] = old


def _flip_bit(v: View, slot: int, bit: int, on: bool) -> None:
    """Set or clear one bit of an entry that has it the other way: what the entry points at stays what it is, so that
    whoever walks the damaged tables stays in the guest's memory."""
    assert bool(int(v.words[slot]) & bit) != on
    _flip(v.words, slot, bit if on else -bit, v.checker)


def sharers(v: View) -> None:
    _flip(v.memory.refs, v.frame(PMD_SHIFT), 1, v.checker)


def shared_writable(v: View) -> None:
    _flip_bit(v, v.slot(v.va, PMD_SHIFT), PTE_W, True)


def shared_writable_above(v: View) -> None:
    _flip_bit(v, v.slot(v.va, PUD_SHIFT), PTE_W, True)


def changed(v: View) -> None:
    v.checker.check()  # now it knows the table
    _flip_bit(v, v.slot(v.va + 5 * 4096, PAGE_SHIFT), PTE_D, False)


def wrong_store(v: View) -> None:
    """mprotect without making the table private first; the entries stay as they are."""
    row = v.space.vmas.find(v.va)
    protect.protect_range.call(v.memory.m, v.space.mm, v.va + 7 * 4096, v.va + 8 * 4096, row.flags)
    try:
        v.checker.check()
    finally:
        v.memory.memory.set(K_WRONG_STORE, 0)


def refs(v: View) -> None:
    _flip(v.memory.refs, v.frame(PAGE_SHIFT), 1, v.checker)


def free_mapped(v: View) -> None:
    _flip(v.memory.kind, v.frame(PAGE_SHIFT), FRAME_FREE - FRAME_ANON, v.checker)


def both_writable(v: View) -> None:
    _flip_bit(v, v.slot(v.va + 9 * 4096, PAGE_SHIFT), PTE_W, True)


def outside(v: View) -> None:
    row = v.space.vmas.index(v.va)
    assert v.space.vmas.array[row, 1] == v.va + (2 << 20)
    _flip(v.space.vmas.array, (row, 1), -4096, v.checker)


def leak(v: View) -> None:
    frame = v.memory.alloc(FRAME_ANON, zeroed=True)
    try:
        v.checker.check()
    finally:
        v.memory.put(frame)


def table_counts(v: View) -> None:
    _flip(v.memory.counts, (v.frame(PMD_SHIFT), TC_ENTRIES // 2), 1, v.checker)


def pmd_counts(v: View) -> None:
    _flip(v.table_of(K_PMD_COUNTS, np.int32), v.frame(PUD_SHIFT) * PC_BYTES // 4, 1, v.checker)


def space_counts(v: View) -> None:
    _flip(v.space.slots, MM_ANON >> 3, 1, v.checker)


def upper(v: View) -> None:
    _flip(v.space.slots, MM_UPPER >> 3, 1, v.checker)


def used(v: View) -> None:
    memory = v.memory.memory
    memory.set(K_USED, memory.get(K_USED) + 1)
    try:
        v.checker.check()
    finally:
        memory.set(K_USED, memory.get(K_USED) - 1)


def leaf_refs(v: View) -> None:
    _flip(v.memory.counts, (v.frame(PMD_SHIFT) & -512, 0), 1, v.checker)


def leaf_writable(v: View) -> None:
    _flip_bit(v, v.slot(v.va, PMD_SHIFT), PTE_W, True)


def slot_refs(v: View) -> None:
    entry = int(v.words[v.slot(v.va, PAGE_SHIFT)])
    _flip(v.table_of(K_SWAP_REFS, np.int32), (entry & PTE_FRAME) >> PAGE_SHIFT, 1, v.checker)


@dataclass
class Damage:
    """What is broken where, and what the checker must say: {t}, {p}: the table's and the page's frame, {who}: all
    processes that share the table, with the address."""

    code: int | None
    scene: str
    label: int
    damage: Callable[[View], None]
    text: str
    level: int = 1


DAMAGES = [
    Damage(recount.BAD_SHARERS, "child_write", 2, sharers,
           "I1: table in frame {t} counts 3 sharers, 2 PMD entries point at it; used by {who}"),
    Damage(recount.BAD_SHARED_WRITABLE, "child_write", 2, shared_writable,
           "I2: table in frame {t} has 2 sharers, but W is set in the PMD entry for {va}; used by {who} in {me}"),
    Damage(recount.BAD_SHARED_WRITABLE, "child_write", 2, shared_writable_above,
           "I2: table in frame {m} has 2 sharers, but W is set", level=2),
    Damage(recount.BAD_CHANGED, "child_write", 2, changed,
           "I3: an entry of the table in frame {t} changed while it had 2 sharers; used by {who}"),
    Damage(None, "child_write", 2, wrong_store,
           "I3: entry 7 of the table in frame {t} was stored to while it had sharers; used by {who}"),
    Damage(recount.BAD_REFS, "child_write", 2, refs,
           "I4: page frame {p} counts 2 references, 1 were found; mapped by {who}"),
    Damage(recount.BAD_FREE_MAPPED, "child_write", 2, free_mapped,
           "I4: entry 0 of the table in frame {t} maps frame {p}, which is free; used by {who}"),
    Damage(recount.BAD_LEAF_REFS, "leaf", 1, leaf_refs, "I4: 2 MiB page at frame {h} counts 3 leaves, 2 were found"),
    Damage(recount.BAD_SLOT_REFS, "swapped", 1, slot_refs, "I4: swap slot {p} counts 2 tables, 1 were found"),
    Damage(recount.BAD_BOTH_WRITABLE, "child_write", 4, both_writable,
           "I5: entry 9 of the table in frame {t} may be stored to, but other tables map frame "),
    Damage(recount.BAD_LEAF_WRITABLE, "leaf", 1, leaf_writable,
           "I5: the leaf for {va} may be stored to, but 2 leaves and entries map its 2 MiB page at frame {h}"),
    Damage(recount.BAD_OUTSIDE, "child_write", 2, outside,
           "I6: entry 511 of the table in frame {t} maps {end}, where there is no VMA in {me}"),
    Damage(recount.BAD_LEAK, "child_write", 2, leak, "I7: frame "),
    Damage(recount.BAD_TABLE_COUNTS, "child_write", 2, table_counts,
           "I8: table in frame {t} has 512 entries, its counters say 513"),
    Damage(recount.BAD_TABLE_COUNTS, "child_write", 2, pmd_counts, "I8: table in frame {m} has "),
    Damage(recount.BAD_SPACE_COUNTS, "child_write", 2, space_counts, "I8: "),
    Damage(recount.BAD_UPPER, "child_write", 2, upper, "I8: "),
    Damage(None, "child_write", 2, used, "I8: "),
]


@pytest.mark.parametrize("case", DAMAGES, ids=lambda case: f"{case.damage.__name__}-{case.level}")
def test_damage_is_reported(case: Damage) -> None:
    said: list[str] = []
    expected = ""
    options = Options(odf=True, odf_level=case.level, paranoid=True, memory_bytes=256 << 20, swap_bytes=64 << 20)
    with Session(options, on_unknown_syscall=lambda line: None) as session:

        def enter(task: Any, row: Any, number: int, args: tuple[int, ...]) -> None:
            nonlocal expected
            if number != CHECKPOINT or args[0] != case.label:
                return
            view = View(session, task, args[1])
            view.checker.check()
            expected = _fill(case.text, view, task)
            view.checker = make_checker(session.kernel)
            with pytest.raises(InvariantError) as failure:
                case.damage(view)
            said.append(str(failure.value))
            make_checker(session.kernel).check()

        session.events.subscribe("syscall_enter", enter)
        session.start([str(build("odf_counts.c")), case.scene])
        assert session.run() == 0
    assert len(said) == 1, "the checkpoint was not reached once"
    assert said[0].startswith(expected), (said[0], expected)


def _fill(text: str, view: View, task: Any) -> str:
    names = {space: _owners(view, space) for space in view.memory.spaces.values()}
    table = view.frame(PMD_SHIFT)
    who = [f"address space {space.number} of {owners} at {view.va:#x}" for space, owners in names.items()
           if any(frame == table for _, frame in space.tables())]
    me = f"address space {view.space.number} of {task.comm.decode()}[{task.tid}]"
    values = {"t": hex(table), "m": hex(view.frame(PUD_SHIFT)), "h": hex(table & -512), "va": hex(view.va),
              "end": hex(view.va + 511 * 4096), "who": "; ".join(who), "me": me, "p": ""}
    if "{p}" in text:
        frame = view.frame(PAGE_SHIFT)
        values["p"] = str(frame) if "slot" in text else hex(frame)
    return re.sub(r"\{(\w+)\}", lambda found: values[found[1]], text)


def _owners(view: View, space: Any) -> str:
    tasks = [task for task in view.kernel.tasks.values() if task.mm is space]
    return ", ".join(f"{task.comm.decode()}[{task.tid}]" for task in tasks)


def test_every_code_is_covered() -> None:
    codes = {value for name, value in vars(recount).items() if name.startswith("BAD_")}
    assert codes == {case.code for case in DAMAGES} - {None}
    assert {case.text[:2] for case in DAMAGES} == {f"I{n}" for n in range(1, 9)}


def test_a_run_ends_with_nothing_left() -> None:
    """What check_end() says of a machine that has ended, and of one where something was forgotten."""
    with Session(Options(odf=True, memory_bytes=128 << 20)) as session:
        session.start([str(build("odf_counts.c")), "generations"])
        assert session.run() == 0
        checker = make_checker(session.kernel)
        checker.check_end()
        memory = session.kernel.memory
        assert memory.used_frames == sum(cache.cached_pages for cache in memory.caches)
        space = memory.alloc(FRAME_ANON, zeroed=True)
        with pytest.raises(InvariantError, match=r"^I7: frame 0x[0-9a-f]+ \(kind 1\) has 1 references, but nobody"):
            checker.check_end()
        memory.put(space)
        checker.check_end()
        from kernel.mm.address_space import AddressSpace

        forgotten = AddressSpace(memory)
        with pytest.raises(InvariantError, match=r"^I7: after the last exit there are still address space \d+, "):
            checker.check_end()
        forgotten.release()
        checker.check_end()


def test_paranoid_runs_check_after_every_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault is a kernel entry as a system call is, also where compiled code deals with it alone."""
    checks: list[None] = []
    monkeypatch.setattr(Checker, "check", lambda self: checks.append(None))
    for each in (1 << 30, check.FAULTS_EACH):
        monkeypatch.setattr(check, "FAULTS_EACH", each)
        checks.clear()
        with Session(Options(odf=True, paranoid=True, memory_bytes=128 << 20)) as session:
            session.start([str(build("odf_counts.c")), "child_exits"])
            assert session.run() == 0
            stats = session.stats()
        assert stats.faults > 512
        assert (len(checks) >= stats.faults) == (each > 512)


def test_paranoid_runs_check_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[int] = []
    monkeypatch.setattr(Checker, "check_end", lambda self: ends.append(self.memory.used_frames))
    for paranoid in (False, True):
        with Session(Options(paranoid=paranoid, memory_bytes=128 << 20)) as session:
            session.start(["/bin/true"])
            session.run()
    assert len(ends) == 1
