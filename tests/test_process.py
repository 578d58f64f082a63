"""Processes: tests/programs/process_*.c natively and under Forkyard, and hostile programs through execve."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import build, check, check_test_program

SUITES = ["process_fork", "process_wait", "process_exec", "process_group"]


@pytest.mark.parametrize("suite", SUITES)
def test_static_glibc(suite: str, odf: int, scratch: Path) -> None:
    check_test_program(f"{suite}.c", "gcc-static", odf, cwd=scratch, files={})


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("toolchain", ["gcc", "musl-static"])
def test_other_libc(suite: str, toolchain: str, scratch: Path) -> None:
    check_test_program(f"{suite}.c", toolchain, 1, cwd=scratch, files={})


@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("toolchain", ["musl", "gcc-fixed", "gcc-static-pie"])
def test_other_toolchains(suite: str, toolchain: str, odf: int, scratch: Path) -> None:
    check_test_program(f"{suite}.c", toolchain, odf, cwd=scratch, files={})


@pytest.mark.parametrize("options", [[], ["--no-aslr"]])
def test_elf_fields(options: list[str], scratch: Path) -> None:
    """1600 programs, one header field changed in each: the same errno, exit status or signal as the host's."""
    check([build("process_elf.c")], cwd=scratch, files={}, odf=[1], options=options, paranoid=False)
