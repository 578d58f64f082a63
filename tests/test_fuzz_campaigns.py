"""What `forkyard fuzz` gives afl-fuzz: a dictionary and roles; the planted example; a launcher that does not grow."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import harness
import pytest

from guest.build import build as build_bundled
from guest.fuzz import dictionary
from guest.fuzz.campaign import Plan
from guest.fuzz.driver import Driver
from guest.fuzz.fuzz_command import Wishes, make_plan
from guest.fuzz.stats import read_stats

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(harness.ROOT)}
SEEDS = harness.ROOT / "examples" / "planted-seeds"
PROGRAM = """
#include <string.h>
#include <stdio.h>
int main(int argc, char **argv) {
    unsigned number = 0;
    if (fread(&number, 1, 4, stdin) == 4 && number == 0x464c457f) puts("an ELF file with words");
    return argc > 1 && (!strcmp(argv[1], "MAGIC") || !strcmp(argv[1], "q\\"b\\\\s"));
}
"""


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("planted") / "planted"
    subprocess.run(["gcc", "-g", "-o", path, harness.ROOT / "examples" / "planted.c"], check=True)
    return path


def fuzz(*words: object) -> str:
    harness.need("afl-fuzz")
    done = subprocess.run([sys.executable, "-m", "guest.cli", "fuzz", *map(str, words)], env=ENVIRONMENT, timeout=200,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done
    return done.stdout


# ---------------------------------------------------------------- the dictionary


def test_tokens_are_the_words_and_numbers_of_a_program(tmp_path: Path, planted: Path) -> None:
    (tmp_path / "a.c").write_text(PROGRAM)
    subprocess.run(["gcc", "-O1", "-fno-builtin", "-o", tmp_path / "a", tmp_path / "a.c"], check=True)
    found = dictionary.tokens(tmp_path / "a")
    assert {b"MAGIC", b'q"b\\s', b"\x7fELF"} <= set(found)
    assert not any(b" " in token for token in found), "messages are no keywords"
    assert {b"FYRD", b"LINK"} <= set(dictionary.tokens(planted))
    dictionary.write(str(tmp_path / "dict"), [b'q"b\\s', b"\x7fELF"])
    assert (tmp_path / "dict").read_text() == '"q\\x22b\\x5cs"\n"\\x7fELF"\n'


def test_large_programs_and_broken_files_make_small_dictionaries(tmp_path: Path) -> None:
    assert len(dictionary.tokens(Path(sys.executable))) <= dictionary.MAX_STRINGS + dictionary.MAX_NUMBERS
    whole = Path("/bin/true").read_bytes()
    for size in (0, 3, 64, 1000, len(whole) // 2):
        (tmp_path / "cut").write_bytes(whole[:size])
        assert dictionary.tokens(tmp_path / "cut") == []
    assert dictionary.tokens(tmp_path / "none") == []


def test_own_dictionary_gives_way(tmp_path: Path, planted: Path) -> None:
    (tmp_path / "mine").write_text('"mine"\n')
    for number, options in enumerate((["-x", tmp_path / "mine"], ["--no-dictionary"])):
        said = fuzz("-i", SEEDS, "-o", tmp_path / f"out{number}", "-V", "1", *options, "--", planted, "@@")
        assert ("-x" in said) == ("-x" in options)
        assert ".forkyard.dict" not in said


# ---------------------------------------------------------------- the roles


def test_one_of_several_tries_every_small_change() -> None:
    plan = Plan("afl-fuzz", "in", "out", ["forkyard", "afl", "--", "p"], jobs=3, deterministic=True)
    assert [name for name in plan.names() if "-D" in plan.command(name)] == ["main"]
    assert "-D" not in Plan("afl-fuzz", "in", "out", ["forkyard"], jobs=3).command("main")


@pytest.mark.parametrize(("jobs", "size", "expected"), [(2, 256, True), (2, 257, False), (1, 10, False)])
def test_only_small_seeds_are_worth_it(tmp_path: Path, jobs: int, size: int, expected: bool) -> None:
    harness.need("afl-fuzz")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "seed").write_bytes(b"x" * size)
    wishes = Wishes(str(tmp_path / "in"), str(tmp_path / "out"), jobs, None, 1 << 16, None, None, (), True, ())
    how = dict.fromkeys(("inst_libs", "inst_ranges", "exclude_ranges", "no_threads", "no_children", "fork_at", "fork",
                         "seed", "memory", "cwd", "env", "odf_level", "no_aslr", "paranoid"))
    assert make_plan(["/bin/cat"], wishes, {**how, "root": "/"}).deterministic == expected
    queue = tmp_path / "out" / "main" / "queue"
    queue.mkdir(parents=True)
    (queue / "id:000000,time:0,execs:0,orig:seed").write_bytes(b"x" * size)
    assert make_plan(["/bin/cat"], replace(wishes, seeds="-"), {**how, "root": "/"}).deterministic == expected


# ---------------------------------------------------------------- campaigns


def test_planted_example_is_a_good_target(tmp_path: Path, planted: Path) -> None:
    """The bug itself is hunted by a slow test."""
    fuzz("-i", SEEDS, "-o", tmp_path / "out", "-V", "2", "--", planted, "@@")
    stats = read_stats(tmp_path / "out" / "main")
    assert stats["stability"] == "100.00%", stats
    assert int(stats["edges_found"]) >= 30, stats
    assert int(stats["execs_done"]) >= 100, stats
    assert ".forkyard.dict" in stats["command_line"]


@pytest.mark.slow
def test_launcher_does_not_grow(tmp_path: Path) -> None:
    """What its runs leave in cycles is collected soon: it was 27 bytes a run for hundreds of thousands of runs."""
    command = [sys.executable, "-m", "guest.cli", "afl", "--", str(build_bundled("fuzz_tiny"))]
    with Driver(command, str(tmp_path), env=ENVIRONMENT) as driver:
        driver.wait_ready()
        sizes = []
        for number in range(30_001):
            driver.run(b"abc%d" % (number % 7))
            if number % 10_000 == 0:
                found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{driver.pid}/status").read_text())
                sizes.append(int(found[1]) if found else 0)
    assert sizes[3] - sizes[1] < 256, sizes
