"""Fork points that the user names: behind the input's first read every run would be the first, and that is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import harness
import pytest

from guest.fuzz.driver import Driver, DriverError

LAUNCHER = [sys.executable, "-m", "guest.cli", "afl"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(harness.ROOT)}


def start(folder: Path, where: str, *argv: object, entry_point: bool = False) -> Driver:
    env = {**ENVIRONMENT, "AFL_ENTRYPOINT": where} if entry_point else ENVIRONMENT
    options = [] if entry_point else ["--fork-at", where]
    return Driver([*LAUNCHER, *options, "--", *map(str, argv)], str(folder), env=env, coverage=False)


@pytest.mark.parametrize("toolchain", ["gcc", "musl-static"])
@pytest.mark.parametrize("words", [["@@"], []])
@pytest.mark.parametrize("way", ["read", "buffered", "map", "child"])
def test_place_behind_the_first_read_is_refused(tmp_path: Path, way: str, words: list[str], toolchain: str) -> None:
    program = harness.build("fork_place.c", toolchain)
    with start(tmp_path, "process", program, way, *words, entry_point=way == "read") as driver:
        with pytest.raises(DriverError, match="looked at its input before process, by (read|readv|mmap) in "
                                              r"(main|fill) \(fork_place.c:\d+\).*--fork-at first-read"):
            driver.wait_ready()
        assert driver.wait() >> 8 == 2
    with start(tmp_path, "main", program, way, *words) as driver:
        driver.wait_ready()
        assert [driver.run(b"x" * n).status >> 8 for n in (3, 9, 1)] == [3, 9, 1]


@pytest.mark.parametrize("words", [["@@"], []])
def test_input_that_is_open_but_not_read_is_another_in_each_run(tmp_path: Path, words: list[str]) -> None:
    with start(tmp_path, "process", harness.build("fork_place.c", "gcc"), "open", *words) as driver:
        driver.wait_ready()
        assert [line for line in driver.messages() if not line.startswith("parked")] == []
        assert [driver.run(b"x" * n).status >> 8 for n in (3, 9, 1)] == [3, 9, 1]


def test_size_that_was_asked_for_is_a_notice(tmp_path: Path) -> None:
    with start(tmp_path, "process", harness.build("fork_place.c", "gcc"), "size", "@@") as driver:
        driver.wait_ready()
        assert any("may know the size of the first input" in line for line in driver.messages())


def test_campaign_is_refused(tmp_path: Path) -> None:
    harness.need("afl-fuzz")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "seed").write_bytes(b"x")
    words = ["fuzz", "-i", "in", "-o", "out", "-V", "1", "--fork-at", "process", "--",
             str(harness.build("fork_place.c", "gcc")), "read", "@@"]
    done = subprocess.run([sys.executable, "-m", "guest.cli", *words], cwd=tmp_path, env=ENVIRONMENT, timeout=120,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 2
    assert "looked at its input before process, by read in fill" in done.stderr


# ---------------------------------------------------------------- what else the user is told


def fuzz(folder: Path, *words: object, **env: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-m", "guest.cli", "fuzz", *map(str, words)], cwd=folder, timeout=200,
                          env={**ENVIRONMENT, **env}, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    harness.need("afl-fuzz")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "seed").write_bytes(b"x")
    return tmp_path


def test_program_that_does_not_reach_its_fork_point(seeds: Path) -> None:
    status, said = fuzz(seeds, "-i", "in", "-o", "out", "--", harness.build("fork_place.c", "gcc"), "loop", "@@",
                        AFL_FORKSRV_INIT_TMOUT="4000")
    assert status == 2
    assert "did not reach its fork point within 4 s" in said
    assert "--fork-at entry" in said
    assert "AFL_FORKSRV_INIT_TMOUT" in said


def test_nothing_to_go_on_with(seeds: Path) -> None:
    status, said = fuzz(seeds, "-i", "-", "-o", "nothing", "--", "/bin/cat")
    assert (status, "there is none in -o nothing" in said) == (2, True)
    assert not (seeds / "nothing").exists()


def test_seed_above_a_mebibyte_is_cut_as_afl_does(seeds: Path) -> None:
    (seeds / "in" / "seed").write_bytes(b"x" * (1 << 20) + b"y")
    status, said = fuzz(seeds, "-i", "in", "-o", "out", "-V", "1", "--", harness.build("fork_place.c", "gcc"), "read",
                        "@@")
    assert (status, "afl-fuzz takes the first MiB of it" in said) == (0, True), said


def test_seeds_that_all_crash_are_the_users_to_put_right(seeds: Path) -> None:
    status, said = fuzz(seeds, "-i", "in", "-o", "out", "-V", "1", "--inst-libs", "--", "sh", "-c", "kill -SEGV $$")
    assert status == 2, said
    assert "crash" in said


@pytest.mark.parametrize("words", [["./nosuch", "k/a"], ["/bin/cat", "k/a"]])
def test_missing_input_of_crash_is_named(words: list[str]) -> None:
    result = harness.run_forkyard(words, command="crash", paranoid=False)
    assert (result.status, result.stderr) == (2, b"forkyard: no inputs: k/a: No such file or directory\n")


@pytest.mark.parametrize("options", [[], ["--deterministic"]])
def test_int1_is_a_trap_behind_it(options: list[str]) -> None:
    path = harness.build("trap_int1.c", "gcc")
    native = harness.run_native([path])
    guest = harness.run_forkyard([path], options=options, paranoid=False)
    assert (guest.stdout, guest.status) == (native.stdout, native.status)
    assert native.stdout.startswith(b"5 code")
