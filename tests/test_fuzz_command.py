"""`forkyard fuzz`: what it checks, what it starts, what it shows, and that all of it ends when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import afl_seeds
import harness
import pytest
from test_afl import ENVIRONMENT, LIMIT_S, attached, children, processes, write
from test_afl_protocol import alive, eventually, segments

from guest.build import build as build_bundled
from guest.fuzz.campaign import Campaign, CampaignError, Plan
from guest.fuzz.stats import Figures, figures, together

FUZZ = [sys.executable, "-m", "guest.cli", "fuzz"]


def fuzz(*words: object, env: dict[str, str] | None = None, limit_s: float = LIMIT_S) -> tuple[int, str]:
    """Exit status, and all that it says."""
    if env is None:
        harness.need("afl-fuzz")
    done = subprocess.run([*FUZZ, *map(str, words)], env=env or ENVIRONMENT, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit_s)
    return done.returncode, done.stdout.decode()


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    return write(tmp_path / "in", [afl_seeds.WORDS])


# ---------------------------------------------------------------- what it checks


@pytest.mark.parametrize(("program", "message"), [
    ("/no/such/program", "No such file or directory"), ("no-such-program", "not found in PATH"),
    ("/etc/passwd", "is not an ELF program"), ("/bin/which", "is a script"), ("/tmp", "Is a directory"),
])
def test_target_is_checked(seeds: Path, tmp_path: Path, program: str, message: str) -> None:
    status, said = fuzz("-i", seeds, "-o", tmp_path / "out", "--", program, "@@")
    assert status == 2
    assert said.startswith(f"forkyard: {program}")
    assert message in said
    assert said.count("\n") == 1


def test_target_of_another_machine(seeds: Path, tmp_path: Path) -> None:
    program = bytearray(Path("/bin/true").read_bytes())
    program[18] = 183
    (tmp_path / "arm").write_bytes(program)
    status, said = fuzz("-i", seeds, "-o", tmp_path / "out", "--", tmp_path / "arm", "@@")
    assert (status, "only x86-64" in said) == (2, True)


@pytest.mark.parametrize(("make", "message"), [
    (lambda folder: None, "No such file or directory"), (lambda folder: folder.mkdir(), "no files"),
    (lambda folder: write(folder, [b""]), "only empty files"),
    (lambda folder: folder.write_text("x"), "Not a directory"),
])
def test_seeds_are_checked(tmp_path: Path, make: object, message: str) -> None:
    make(tmp_path / "seeds")  # type: ignore[operator]
    status, said = fuzz("-i", tmp_path / "seeds", "-o", tmp_path / "out", "--", "/bin/true", "@@")
    assert (status, message in said, said.count("\n")) == (2, True, 1), said


def test_output_is_checked(seeds: Path, tmp_path: Path) -> None:
    for out, message in ((seeds, "that is the directory of the seeds"), ("/proc/x", "-o /proc/x: "),
                         (seeds / "seed0" / "x", "Not a directory")):
        status, said = fuzz("-i", seeds, "-o", out, "--", "/bin/true", "@@")
        assert (status, message in said, said.count("\n")) == (2, True, 1), said


def test_afl_must_be_there(seeds: Path, tmp_path: Path) -> None:
    status, said = fuzz("-i", seeds, "-o", tmp_path / "out", "--", "/bin/true", "@@", env={**ENVIRONMENT, "PATH": "/x"})
    assert (status, said) == (2, "forkyard: afl-fuzz is not installed: apt-get install afl++\n")


@pytest.mark.parametrize("words", [
    ["-t", "4"], ["-t", "fast"], ["--jobs", "0"], ["--map-size", "65537"], ["--map-size", "x"], ["--afl", "'"],
    ["-V", "0"], ["--fork", "spoon"], ["--memory", "1"], ["--seed", "-1"]])
def test_bad_options_are_refused(seeds: Path, tmp_path: Path, words: list[str]) -> None:
    status, said = fuzz("-i", seeds, "-o", tmp_path / "out", *words, "--", "/bin/true", "@@")
    assert status == 2
    assert "Error: Invalid value for" in said
    assert "Traceback" not in said


def test_launcher_that_does_not_come_up_is_explained(seeds: Path, tmp_path: Path) -> None:
    status, said = fuzz("-i", seeds, "-o", tmp_path / "out", "--fork-at", "nowhere", "--", "/bin/true", "@@")
    assert status == 2
    assert "nowhere" in said.splitlines()[-1]


def test_program_without_edges_is_explained(seeds: Path, tmp_path: Path) -> None:
    """Its code is all in a library, or before the fork point: afl-fuzz would only say that there is no coverage."""
    status, said = fuzz("-i", seeds, "-o", tmp_path / "out", "--exclude-ranges", "fuzz_tiny", "--",
                        build_bundled("fuzz_tiny"), "@@")
    assert (status, "touches no edge" in said) == (2, True), said


# ---------------------------------------------------------------- what it plans


def plan(**how: object) -> Plan:
    return Plan("/usr/bin/afl-fuzz", "in", "out", ["forkyard", "afl", "--", "prog", "@@"], **how)  # type: ignore[arg-type]


def test_one_main_and_the_others_secondary() -> None:
    assert plan(jobs=3).names() == ["main", "second-1", "second-2"]
    assert plan(jobs=2, join="b").names() == ["b-1", "b-2"]
    assert plan().command("main") == ["/usr/bin/afl-fuzz", "-U", "-M", "main", "-i", "in", "-o", "out", "--",
                                      "forkyard", "afl", "--", "prog", "@@"]
    assert plan().command("b-1")[2:4] == ["-S", "b-1"]


def test_larger_map_needs_another_mode() -> None:
    large = plan(map_size=1 << 18)
    assert "-U" not in large.command("main")
    assert large.settings()["AFL_MAP_SIZE"] == "262144"
    assert "AFL_SKIP_BIN_CHECK=1" in large.shown("main")


def test_variables_of_the_user_win() -> None:
    given = {"AFL_FORKSRV_INIT_TMOUT": "7", "HOME": "/"}
    assert plan().environment("main", given)["AFL_FORKSRV_INIT_TMOUT"] == "7"


def test_every_other_secondary_does_not_trim() -> None:
    jobs = plan(jobs=4)
    assert ["AFL_DISABLE_TRIM" in jobs.environment(name, {}) for name in jobs.names()] == [False, True, False, True]


def test_figures_are_added_up(tmp_path: Path) -> None:
    (tmp_path / "crashes").mkdir()
    (tmp_path / "crashes" / "id:000000,sig:11").touch()
    (tmp_path / "crashes" / "README.txt").touch()
    (tmp_path / "fuzzer_stats").write_text("execs_done        : 10\nedges_found : 7\nstability   : 99.50%\n")
    one = figures(tmp_path, {"execs_done": "25", "execs_per_sec": "3.5"})
    assert one == Figures(executions=25, per_second=3.5, edges=7, crashes=1, stability=99.5)
    both = together([one, Figures(executions=5, per_second=1, edges=9, hangs=2)])
    assert both == Figures(executions=30, per_second=4.5, edges=9, crashes=1, hangs=2, stability=99.5)


# ---------------------------------------------------------------- what it does


def test_campaign_of_two_goes_on_where_it_ended(seeds: Path, tmp_path: Path) -> None:
    words = ["-i", seeds, "-o", tmp_path / "out", "--jobs", "2", "-V", "3", "--", build_bundled("fuzz_tiny"), "@@"]
    for _ in range(2):
        status, said = fuzz(*words)
        assert status == 0, said
        assert "parked: " in said
        assert "-S HOST-1" in said
        assert "rsync " in said
        assert "second-1" in said
        assert "together" in said
    assert not processes(str(tmp_path))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"main", "second-1", ".forkyard.dict"}


@pytest.mark.parametrize("signo", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_everything_ends_with_it(seeds: Path, tmp_path: Path, signo: int) -> None:
    harness.need("afl-fuzz")
    before = segments()
    command = [*FUZZ, "-i", str(seeds), "-o", str(tmp_path / "out"), "--jobs", "2", "--",
               str(build_bundled("fuzz_tiny")), "@@"]
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    hunt = subprocess.Popen(command, env={**ENVIRONMENT, "TMPDIR": str(temporary)}, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        assert eventually(lambda: len(list(tmp_path.glob("out/*/fuzzer_stats"))) == 2, LIMIT_S)
        os.kill(hunt.pid, signo)
        said = hunt.communicate(timeout=LIMIT_S)[0].decode()
        if signo != signal.SIGKILL:
            assert hunt.returncode == 0, said
            assert "together" in said
            assert "Traceback" not in said
        assert eventually(lambda: not processes(str(tmp_path)), LIMIT_S), "a process is left behind"
        assert eventually(lambda: segments() <= before), "shared memory is left behind"
        assert list(temporary.iterdir()) == []
    finally:
        hunt.kill()
        hunt.communicate()


def test_nothing_stays_when_killed_while_it_tries_the_seeds(tmp_path: Path) -> None:
    harness.need("afl-fuzz")
    before, seeds, temporary = segments(), write(tmp_path / "in", [b"L"]), tmp_path / "tmp"
    temporary.mkdir()
    command = [*FUZZ, "-i", str(seeds), "-o", str(tmp_path / "out"), "--",
               str(harness.build("afl_verdicts.c", "gcc-static")), "@@"]
    hunt = subprocess.Popen(command, env={**ENVIRONMENT, "TMPDIR": str(temporary)}, stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert eventually(lambda: any(map(attached, children(hunt.pid))), LIMIT_S)
        launchers = children(hunt.pid)
    finally:
        hunt.kill()
        hunt.wait()
    assert eventually(lambda: not any(map(alive, launchers)), LIMIT_S), "a process is left behind"
    assert eventually(lambda: segments() <= before), "shared memory is left behind"
    assert list(temporary.iterdir()) == []
    assert list((tmp_path / "out").iterdir()) == []


def test_afl_that_gives_up_is_reported(seeds: Path, tmp_path: Path) -> None:
    status, said = fuzz("-i", seeds, "-o", tmp_path / "out", "--afl", "-p nonsense", "--", build_bundled("fuzz_tiny"),
                        "@@")
    assert status == 2
    assert "main: PROGRAM ABORT : Unknown -p power schedule" in said
    assert not processes(str(tmp_path))


#: As afl-fuzz prints it: advice that ends nothing, in colours and over several lines.
ADVICE = ("\x1b[0m\x1b[1;91m[-] \x1b[0mUh-oh, looks like all 2 CPU cores on your system are allocated to\n"
          "    other instances of afl-fuzz.\n")


@pytest.mark.parametrize(("said", "end", "expected"), [
    (ADVICE, "kill -9 $$", "killed by signal 9 (SIGKILL)"),
    ("", "kill -SEGV $$", "killed by signal 11 (SIGSEGV)"),
    (ADVICE, "exit 3", "afl-fuzz ended with status 3"),
    (ADVICE + "\x0f\x1b[1;91m\n[-] PROGRAM ABORT : \x1b[0mNo\nway\x1b[1;91m\n         Location : \x1b[0mf(), a.c:1\n",
     "exit 1", "PROGRAM ABORT : No way"),
    ("[-]  SYSTEM ERROR : Unable to open 'x'\n    Stop location : main(), a.c:1\n       OS message : Is a directory\n",
     "exit 1", "SYSTEM ERROR : Unable to open 'x': Is a directory"),
    ("/usr/bin/afl-fuzz: invalid option -- 'J'\nafl-fuzz [ options ]\n  a line of its help\n", "exit 1",
     "invalid option -- 'J'"),
], ids=["kill", "segv", "status", "abort", "error", "option"])
def test_reason_of_an_end_is_no_advice(tmp_path: Path, said: str, end: str, expected: str) -> None:
    (tmp_path / "said").write_text(said)
    fake = tmp_path / "afl-fuzz"
    fake.write_text(f"#!/bin/sh\ncat {tmp_path}/said\n{end}\n")
    fake.chmod(0o755)
    with Campaign(Plan(str(fake), "in", str(tmp_path), ["prog"]), ENVIRONMENT) as campaign:
        campaign.instances[0].process.wait(LIMIT_S)
        with pytest.raises(CampaignError) as failure:
            campaign.running()
    assert str(failure.value) == f"main: {expected}"


@pytest.mark.parametrize("count", [2, 9])
def test_seeds_that_all_crash_are_refused(tmp_path: Path, count: int) -> None:
    seeds, program = write(tmp_path / "in", [b"A"] * count), harness.build("afl_verdicts.c", "gcc-static")
    words = ["-i", seeds, "-o", tmp_path / "out", "-V", "1", "--", program, "@@"]
    assert fuzz(*words) == (2, "forkyard: every seed crashes the program: afl-fuzz needs at least one that does not\n")
    status, said = fuzz(*words[:-3], "--afl", "-C", *words[-3:])
    assert status == 0, said  # -C explores crashes: it begins with them
    assert "leaves it out" not in said


def test_one_good_seed_behind_many_that_crash_is_enough(tmp_path: Path) -> None:
    seeds, program = write(tmp_path / "in", [*[b"A"] * 9, b"7 7"]), harness.build("afl_verdicts.c", "gcc-static")
    status, said = fuzz("-i", seeds, "-o", tmp_path / "out", "-V", "1", "--", program, "@@")
    assert (status, "On further machines" in said) == (0, True), said
