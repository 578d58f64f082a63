"""Limits and timers on CPU time end a program that computes, under the fuzzer's virtual time as on the host."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import harness
import pytest

from guest.fuzz.driver import Driver

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(harness.ROOT)}
#: A virtual second is a hundred million blocks: some seconds on a busy machine.
LIMIT_S = 60.0
KINDS = {b"l": signal.SIGXCPU, b"p": signal.SIGPROF, b"v": signal.SIGVTALRM, b"t": signal.SIGUSR1, b"T": signal.SIGUSR1}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["native", "run"])
def test_program_ends_when_its_cpu_time_is_over(where: str, kind: bytes) -> None:
    path = harness.build("cpu_limits.c", "gcc")
    if where == "native":
        result = harness.run_native([path], stdin=kind)
    else:
        result = harness.run_forkyard([path], stdin=kind, options=["--deterministic"], paranoid=False)
    assert result.status == 128 + KINDS[kind]


def test_launcher_sees_it_too(tmp_path: Path) -> None:
    """Though no other task is there that would want to run."""
    command = [sys.executable, "-m", "guest.cli", "afl", "--", str(harness.build("cpu_limits.c", "gcc"))]
    with Driver(command, str(tmp_path), env=ENVIRONMENT) as driver:
        driver.wait_ready()
        for kind, signo in (*KINDS.items(), (b"p", signal.SIGPROF)):
            outcome = driver.run(kind, LIMIT_S)
            assert (outcome.status, outcome.timed_out) == (signo, False)
