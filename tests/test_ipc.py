"""Pipes, polling, locks, event descriptors, sockets: tests/programs/ipc_*.c natively and under Forkyard."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import check_test_program

SUITES = ["ipc_pipe", "ipc_poll", "ipc_epoll", "ipc_events", "ipc_locks", "ipc_socket", "ipc_scm", "ipc_sockopt",
          "ipc_splice", "ipc_preempt"]


@pytest.mark.parametrize("suite", SUITES)
def test_static_glibc(suite: str, odf: int, scratch: Path) -> None:
    check_test_program(f"{suite}.c", "gcc-static", odf, cwd=scratch, files={})


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.slow
@pytest.mark.parametrize("toolchain", ["gcc", "musl-static"])
def test_other_toolchains(suite: str, toolchain: str, odf: int, scratch: Path) -> None:
    check_test_program(f"{suite}.c", toolchain, odf, cwd=scratch, files={})
