"""Memory: tests/programs/mem_*.c natively and under Forkyard, use_odf 0 and 1."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import WAYS, build, check, check_test_program, difference, run_forkyard, run_native

SUITES = ["mem_anon", "mem_protect", "mem_remap", "mem_advise", "mem_shared", "mem_code", "mem_swap",
          "mem_limits", "mem_guard"]


@pytest.mark.parametrize("suite", SUITES)
def test_static_glibc(suite: str, odf: int, scratch: Path) -> None:
    check_test_program(f"{suite}.c", "gcc-static", odf, cwd=scratch, files={})


def test_advice_one_level_up(scratch: Path) -> None:
    """What hazard 45 says of mincore and the figures holds with PMD tables shared, too."""
    check_test_program("mem_advise.c", "gcc-static", 1, options=WAYS["level2"], cwd=scratch, files={})


@pytest.mark.parametrize("suite", SUITES)
def test_dynamic_glibc(suite: str, scratch: Path) -> None:
    check_test_program(f"{suite}.c", "gcc", 1, cwd=scratch, files={})


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.slow
@pytest.mark.parametrize("toolchain", ["musl", "musl-static", "gcc-fixed", "gcc-static-pie"])
def test_other_toolchains(suite: str, toolchain: str, odf: int, scratch: Path) -> None:
    check_test_program(f"{suite}.c", toolchain, odf, cwd=scratch, files={})


def test_files_in_the_overlay(odf: int, scratch: Path) -> None:
    """Without --writable the same holds for files that live in memory, and the host has none of them."""
    argv = [build("mem_shared.c"), "odf" if odf else "classic"]
    native = run_native(argv, cwd=scratch, files={})
    (scratch / "left-behind").unlink()
    guest = run_forkyard(argv, cwd=scratch)
    native.files.clear()
    assert not (wrong := difference(native, guest)), wrong
    assert list(scratch.iterdir()) == []


def test_bad_pointers(scratch: Path) -> None:
    """150 system calls, seven kinds of pointer each: the same errno as the host's."""
    check([build("mem_badptr.c")], cwd=scratch, files={}, odf=[1], status=0)


@pytest.mark.parametrize("seed", range(1, 9))
def test_random_calls(seed: int, odf: int, scratch: Path) -> None:
    """Two hundred mapping calls on an arena of 48 pages, with forks: each result and all flags as the host's."""
    check([build("mem_random.c"), str(seed), "200"], cwd=scratch, odf=[odf], status=0)


#: Here Linux keeps neighbours apart that have different anon_vma, and we join them (README).
JOINED = {17, 20, 36}


@pytest.mark.slow
@pytest.mark.parametrize("seed", sorted({*range(10, 50)} - JOINED))
def test_more_random_calls(seed: int, scratch: Path) -> None:
    check([build("mem_random.c"), str(seed), "400"], cwd=scratch, odf=[1], status=0)


def test_flags_of_mmap(scratch: Path) -> None:
    """Every flag bit with every type of mapping and kind of file: the same errno as the host's."""
    pool = int(Path("/proc/sys/vm/nr_hugepages").read_text())
    check([build("mem_flags.c"), *(["pool"] if pool else [])], cwd=scratch, odf=[1], status=0)


@pytest.mark.parametrize("way", WAYS)
def test_strict_overcommit(way: str, scratch: Path) -> None:
    """overcommit_memory 2 near the limit; the program only tries it where the machine is its own."""
    check_test_program("mem_overcommit.c", "gcc-static", way != "classic", options=[*WAYS[way], "--memory", "256M"],
                       cwd=scratch, files={})


def test_most_mappings(scratch: Path) -> None:
    """max_map_count and one: the invariants are not checked after each of a hundred thousand calls."""
    program = build("mem_count.c")
    native = run_native([program], cwd=scratch)
    guest = run_forkyard([program], paranoid=False, cwd=scratch)
    assert native.status == 0, native
    assert not (wrong := difference(native, guest)), wrong
