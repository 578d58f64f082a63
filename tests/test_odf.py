"""Fork on demand: the hazard table of tests/programs/odf_*.c, natively, with classic fork and on demand."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import WAYS, build, check_test_program, run_forkyard, run_native

SUITES = ["odf_share", "odf_ranges", "odf_kernel", "odf_advise", "odf_huge", "odf_leaves", "odf_swap"]


@pytest.mark.parametrize("suite", SUITES)
def test_hazards(suite: str, odf: int, scratch: Path) -> None:
    check_test_program(f"{suite}.c", "gcc-static", odf, cwd=scratch, files={})


@pytest.mark.parametrize("suite", SUITES)
def test_hazards_one_level_up(suite: str, scratch: Path) -> None:
    """use_odf_level 2: PMD tables are shared too, and every outcome is the same."""
    check_test_program(f"{suite}.c", "gcc-static", 1, options=WAYS["level2"], cwd=scratch, files={})


@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("toolchain", ["gcc", "musl", "musl-static", "gcc-fixed"])
def test_hazards_other_toolchains(suite: str, toolchain: str, odf: int, scratch: Path) -> None:
    check_test_program(f"{suite}.c", toolchain, odf, cwd=scratch, files={})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("suite", ["odf_huge", "odf_leaves"])
def test_hazards_with_a_pool(suite: str, way: str, scratch: Path) -> None:
    """Hazard 60 with MAP_HUGETLB too, for which the host has no pages; leaves are asserted, for there are some."""
    guest = run_forkyard([build(f"{suite}.c")], options=[*WAYS[way], "--hugepages", "20"], cwd=scratch, files={})
    native = run_native([build(f"{suite}.c")], cwd=scratch, files={})
    assert (guest.text, guest.status, native.status) == (native.text, 0, 0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("suite", ["odf_swap", "mem_swap"])
def test_hazards_with_swap(suite: str, way: str, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hazard 59: half as much memory again as the machine has; nothing of the swap area is left on the host."""
    monkeypatch.setenv("TMPDIR", str(scratch))
    options = [*WAYS[way], "--memory", "32M", "--swap", "160M"]
    guest = run_forkyard([build(f"{suite}.c")], options=options, env={"TMPDIR": str(scratch)})
    native = run_native([build(f"{suite}.c")])
    assert (guest.text, guest.status, native.status) == (native.text, 0, 0)
    assert list(scratch.iterdir()) == []


def test_switch_is_on_for_the_whole_tree(scratch: Path) -> None:
    """--odf is the same as having written 1 to use_odf before: the program need not ask."""
    program = build("odf_share.c")
    native = run_native([program])
    guest = run_forkyard([program], odf=1, cwd=scratch, files={})
    assert (guest.text, guest.status) == (native.text, native.status)
