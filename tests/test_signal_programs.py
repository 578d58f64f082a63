"""Signals, timers, futexes and threads: guest programs that judge themselves, natively and under Forkyard."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import check_test_program

SUITES = ["signals_basic", "signals_frame", "signals_faults", "signals_stack", "signals_restart", "signals_timers",
          "signals_jobs", "futex_ops", "threads_basic"]


@pytest.mark.parametrize("odf", [0, 1])
@pytest.mark.parametrize("suite", SUITES)
def test_suite(suite: str, odf: int, scratch: Path) -> None:
    check_test_program(f"{suite}.c", "gcc-static", odf, cwd=scratch, files={})


@pytest.mark.parametrize("suite", ["signals_frame", "threads_basic"])
def test_suite_dynamic(suite: str, scratch: Path) -> None:
    check_test_program(f"{suite}.c", "gcc", 1, cwd=scratch, files={})


@pytest.mark.slow
@pytest.mark.parametrize("odf", [0, 1])
@pytest.mark.parametrize("toolchain", ["gcc", "musl-static"])
@pytest.mark.parametrize("suite", SUITES)
def test_suite_other_libc(suite: str, toolchain: str, odf: int, scratch: Path) -> None:
    check_test_program(f"{suite}.c", toolchain, odf, cwd=scratch, files={})
