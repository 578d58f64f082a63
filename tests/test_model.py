"""Random sequences of mapping calls, accesses, forks, exits and execs against a plain model, in every way there is.

The same steps (``model_steps.py``) are carried out by the model (``model.py``), by the kernel's address spaces with all
invariants checked after each (``model_space.py``), and by a C program natively and under Forkyard with classic fork and
with fork on demand at both levels (``programs/model.c``). A failing case shrinks and prints the command that repeats it
everywhere, side by side.
"""

from __future__ import annotations

import shlex
from typing import Any

import model_replay
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from model_machine import (
    HugeSpacesMachine,
    Machine,
    NoMuchShared,
    PoolRules,
    SpacesMachine,
    SwapSpacesMachine,
    native_machine,
)
from model_space import Spaces, address
from model_steps import PAGE, from_text, to_text
from model_ways import WAYS, certain, first_difference

from kernel.mm.address_space import AddressSpace
from kernel.mm.layout import K_TABLES_COPIED, K_TABLES_SHARED

GUESTS = ("classic", "odf", "odf level 2")


def run_machine(machine: type[Machine], examples: int, steps: int, **more: Any) -> None:
    limits: Any = settings(max_examples=examples, stateful_step_count=steps, deadline=None,
                           suppress_health_check=list(HealthCheck), **more)
    run_state_machine_as_test(machine, settings=limits)


@pytest.mark.parametrize("machine", [SpacesMachine, SwapSpacesMachine, HugeSpacesMachine])
def test_address_spaces(machine: type[Machine]) -> None:
    run_machine(machine, 30, 40)


def test_host() -> None:
    """The model is right: Linux says the same."""
    run_machine(native_machine(("native",)), 30, 50)


def test_guest() -> None:
    run_machine(native_machine(("native", *GUESTS)), 15, 40)


def test_guest_with_little_memory_and_with_huge_pages() -> None:
    run_machine(native_machine(("odf, swap",), NoMuchShared), 5, 40)
    run_machine(native_machine(("odf, huge",), PoolRules), 5, 40)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("machine", [SpacesMachine, SwapSpacesMachine, HugeSpacesMachine])
def test_address_spaces_long(machine: type[Machine]) -> None:
    """20,000 steps on each kind of memory."""
    run_machine(machine, 200, 100)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_guest_long() -> None:
    run_machine(native_machine(("native", *GUESTS)), 300, 100)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("ways", "rules"), [
    (("odf, checked", "odf level 2, checked"), Machine),
    (("classic, swap", "odf, swap", "odf level 2, swap", "odf, swap, checked"), NoMuchShared),
    (("classic, huge", "odf, huge", "odf level 2, huge"), PoolRules),
], ids=["checked", "swap", "huge"])
def test_guest_long_on_other_memory(ways: tuple[str, ...], rules: type[Machine]) -> None:
    run_machine(native_machine(ways, rules), 60, 80)


# -- the test itself ---------------------------------------------------------------------------------------------------


def test_planted_bug_is_found_shrinks_and_repeats(monkeypatch: pytest.MonkeyPatch,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    """With a fork that forgets a page the tests fail, in few steps, and the command shows where."""
    fork = AddressSpace.fork

    def forgetful_fork(self: AddressSpace, odf: bool) -> AddressSpace:
        child = fork(self, odf)
        child.munmap(address(3), PAGE)
        return child

    with monkeypatch.context() as patched:
        patched.setattr(AddressSpace, "fork", forgetful_fork)
        with pytest.raises(AssertionError) as failure:
            run_machine(SpacesMachine, 30, 5, database=None, derandomize=True)
        text = str(failure.value)
        command = shlex.split(text.splitlines()[-1])
        assert command[-3:-1] == ["python", "tests/model_replay.py"], text
        steps = from_text(command[-1])
        assert len(steps) <= 5 and "fork" in {step[0] for step in steps}, text
        assert model_replay.main([command[-1]]) == 1
        assert "not as the model: spaces, classic, odf, odf level 2" in capsys.readouterr().out
    assert model_replay.main([command[-1]]) == 0
    assert "all agree" in capsys.readouterr().out


def test_every_result_is_compared() -> None:
    """A wrong line, one too few and one too many are differences; a word that may be 0 is none."""
    assert first_difference(["ok", "7?,8"], ["ok", "0,8"]) is None
    assert first_difference(["ok", "7?,8"], ["ok", "0,0"]) == 1
    assert first_difference(["ok", "7,8"], ["ok"]) == 1
    assert first_difference(["ok"], ["ok", "exit status 3"]) == 1


def test_steps_share_and_copy_tables() -> None:
    """A model test that never does proves nothing."""
    spaces = Spaces()
    for step in from_text("odf 0 1 1; mmap 0 0 600 3 0 0 0; store 0 3 0 7; fork 0 1 0; store 1 3 0 8; load 0 3"):
        found = spaces.step(step)
    assert found == "7,0"
    get = spaces.memory.memory.get
    assert get(K_TABLES_SHARED) >= 1 and get(K_TABLES_COPIED) == 1
    spaces.close()


@pytest.mark.parametrize("way", WAYS)
def test_way(way: str) -> None:
    """A list by hand that has every operation and every kind of result."""
    steps = from_text("""
        odf 0 1 2; mmap 0 0 600 3 0 0 0; mmap 0 1 2 3 0 0 1; store 0 1 0 7; put 0 1 1 8; madvise 0 3 1 8; load 0 1
        fork 0 1 0; fork 0 2 1; cross 1 1 5; load 1 2; get 0 2; peek 2 1 1; poke 2 1 1 0 9; load 1 1
        mprotect 1 1 1 0; store 1 1 0 1; load 1 1; get 1 1; munmap 1 1 1; store 1 1 0 1; put 1 1 0 1; mprotect 1 0 3 3
        mmap 2 8 6 3 3 0 0; store 2 9 0 3; fread 0 1; fwrite 0 1 1 4; load 2 9; truncate 0 1; load 2 9; get 2 9
        mmap 2 20 2 1 4 1 0; load 2 20; mmap 2 20 2 3 5 0 0; mremap 2 8 6 7 1 30; msync 2 8 6; load 2 8
        brk 0 4; store 0 2051 0 6; brk 0 2; load 0 2051; mremap 2 20 2 8 1 40; mmap 2 48 1 3 0 0 0
        mremap 2 40 8 9 1 50; mmap 2 60 1 2 0 0 0; peek 1 2 60; load 2 60; exec 1; load 1 0
        mmap 2 70 1 1 5 5 0; mremap 2 70 0 1 1 72; load 2 72
        exit 1 1; load 1 0; exit 2 0; fork 0 1 0; load 1 1
    """)
    kept, expected = certain(steps)
    assert kept == steps == from_text(to_text(steps))
    assert first_difference(expected, WAYS[way](steps)) is None, way
