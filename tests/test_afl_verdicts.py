"""`forkyard afl` with the bare driver: how a run may end, and that nothing of it reaches the next run or the host.

Coverage is looked at by test_afl.py; here the launcher gets no map.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import harness
import pytest
from test_afl_protocol import alive, eventually, segments

from guest.fuzz.driver import Driver, DriverError

LAUNCHER = [sys.executable, "-m", "guest.cli", "afl"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(harness.ROOT)}


def start(folder: Path, *words: object, **how: object) -> Driver:
    folder.mkdir(exist_ok=True)
    return Driver([*LAUNCHER, *map(str, words)], str(folder), env=ENVIRONMENT, coverage=False,
                  **how)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=["classic", "odf"])
def verdicts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """One launcher for all kinds of ends: each must leave it fit for the next."""
    program = harness.build("afl_verdicts.c", "gcc-static")
    with start(tmp_path_factory.mktemp("afl"), "--fork", request.param, "--memory", "64M", "--paranoid", "--", program,
               "@@") as driver:
        driver.wait_ready()
        yield driver


@pytest.mark.parametrize(("data", "status"), [
    (b"7", 7 << 8), (b"A", signal.SIGABRT), (b"N", signal.SIGSEGV), (b"Q", signal.SIGKILL), (b"D", 4 << 8), (b"", 0),
    (b"3" * 100_000, 3 << 8), (b"S", 0)])
def test_status_is_that_of_the_host(verdicts: Driver, data: bytes, status: int) -> None:
    """sleep(1000) is over at once: time is virtual."""
    for _ in range(2):
        outcome = verdicts.run(data)
        assert (outcome.status, outcome.timed_out) == (status, False)


@pytest.mark.parametrize("data", [b"L", b"P", b"F", b"T"])
def test_hang_is_ended_and_the_next_run_is_as_ever(verdicts: Driver, data: bytes) -> None:
    for _ in range(2):
        outcome = verdicts.run(data, 0.2)
        assert (outcome.status, outcome.timed_out) == (signal.SIGKILL, True)
        assert verdicts.run(b"5").status == 5 << 8


def test_out_of_memory_ends_the_program_alone(verdicts: Driver) -> None:
    """As the host's OOM killer, or malloc's NULL, has it; the launcher goes on."""
    for _ in range(2):
        assert verdicts.run(b"M", 30).status in (signal.SIGKILL, 5 << 8)
        assert verdicts.run(b"6").status == 6 << 8


@pytest.mark.parametrize("shared", [False, True], ids=["as-given", "shared"])
@pytest.mark.parametrize("words", [["@@"], []], ids=["file", "stdin"])
def test_input_arrives_in_every_way(tmp_path: Path, shared: bool, words: list[str]) -> None:
    program = harness.build("afl_verdicts.c", "gcc")
    with start(tmp_path / "in", "--", program, *words, shared=shared) as driver:
        driver.wait_ready()
        for digit in (b"1", b"2", b"9"):
            assert driver.run(digit).status == int(digit) << 8


def test_two_launchers_are_alike(tmp_path: Path) -> None:
    """What the program sees does not depend on where the fuzzer keeps its files, nor on its variables."""
    harness.need("busybox")
    seen = []
    for name in ("a", "another-and-longer-name"):
        folder = tmp_path / name
        folder.mkdir()
        environment = {**ENVIRONMENT, "__AFL_OUT_DIR": name, "AFL_SOMETHING": name, "ASAN_OPTIONS": name}
        # The program's own view of its words and environment, reported through a checksum.
        script = 'set -- $(printf "%s " "$@" $(env) | cksum); exit $(( $1 % 251 ))'
        with Driver([*LAUNCHER, "--fork-at", "entry", "--", "busybox", "sh", "-c", script, "sh", "@@"], str(folder),
                    env=environment, coverage=False) as driver:
            driver.wait_ready()
            seen.append(driver.run(b"x").status)
    assert seen[0] == seen[1]


# ---------------------------------------------------------------- wrong usage


@pytest.mark.parametrize(("words", "message"), [
    (["--", "/no/such/program", "@@"], "/no/such/program: No such file or directory"),
    (["--", "/etc/passwd", "@@"], "/etc/passwd: "),
    (["--fork-at", "no_such_symbol", "--", "/bin/true", "@@"], "no_such_symbol"),
    (["--fork-at", "0x1", "--", "/bin/true", "@@"], "0x1"),
])
def test_bad_target_is_explained(tmp_path: Path, words: list[str], message: str) -> None:
    with start(tmp_path / "in", *words) as driver:
        with pytest.raises(DriverError) as caught:
            driver.wait_ready()
        assert message in str(caught.value)
        assert "Traceback" not in str(caught.value)
        assert driver.wait() >> 8 in (2, 126, 127)


def test_without_a_fuzzer_it_is_like_run() -> None:
    program = harness.build("afl_verdicts.c", "gcc-static")
    for data, status in ((b"7", 7), (b"N", -signal.SIGSEGV), (b"Q", -signal.SIGKILL), (b"A", -signal.SIGABRT)):
        done = subprocess.run([*LAUNCHER, "--", str(program)], input=data, env=ENVIRONMENT, capture_output=True,
                              timeout=harness.TIMEOUT_S)
        assert done.returncode == status
        assert done.stdout == b""


# ---------------------------------------------------------------- nothing is left behind


@pytest.mark.parametrize("data", [b"L", b"P", b"F"])
def test_all_ends_with_a_launcher_that_is_killed(tmp_path: Path, data: bytes) -> None:
    before, program = segments(), harness.build("afl_verdicts.c", "gcc-static")
    with start(tmp_path / "in", "--", program) as driver:
        driver.wait_ready()
        driver.run(b"1")
        driver.begin(data)
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        assert eventually(lambda: not alive(driver.sentinel))
    assert eventually(lambda: segments() <= before), "shared memory is left behind"


@pytest.mark.parametrize("data", [b"L", b"P", b"F"])
def test_launcher_ends_with_a_fuzzer_that_is_gone(tmp_path: Path, data: bytes) -> None:
    before, program = segments(), harness.build("afl_verdicts.c", "gcc-static")
    with start(tmp_path / "in", "--", program) as driver:
        driver.wait_ready()
        driver.begin(data)
        driver.hang_up()
        driver.wait()
        assert eventually(lambda: not alive(driver.sentinel))
    assert eventually(lambda: segments() <= before), "shared memory is left behind"
