"""Ctrl-C at moments that a person hits by chance: wherever it comes, there is no traceback and no `Aborted!`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import afl_seeds
import harness
import pytest
from test_afl import write
from test_afl_protocol import eventually, segments

from guest.build import build as build_bundled

#: Python runs it before anything of ours: it interrupts the process, once, at an audit event.
AT_EVENT = """
import os, signal, sys

moments = [os.environ.pop("INTERRUPT_AT", None)]  # our children are left alone

def hook(event, args):
    if moments == [" ".join([event, *map(str, args[:1])])]:
        moments.clear()
        os.kill(os.getpid(), signal.SIGINT)

sys.addaudithook(hook)
"""
MODULE = ("-m", "guest.cli")
SCRIPT = ("-c", "import sys; from guest.cli import command_line; sys.exit(command_line())")
FUZZ = ("fuzz", "-i", "SEEDS", "-o", "OUT", "-V", "1", "--", "PROGRAM", "@@")


def interrupt(tmp_path: Path, moment: str, *words: str, start: tuple[str, ...] = MODULE, ignored: bool = False) \
        -> tuple[int, str]:
    """Exit status, negative for death by a signal, and all that it says."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(AT_EVENT)
    names = {"SEEDS": tmp_path / "in", "OUT": tmp_path / "out"}
    if "SEEDS" in words:
        harness.need("afl-fuzz")
        write(tmp_path / "in", [afl_seeds.WORDS])
        names["PROGRAM"] = build_bundled("fuzz_tiny")
    done = subprocess.run(
        [sys.executable, *start, *(str(names.get(word, word)) for word in words)], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=harness.TIMEOUT_S,
        env={**os.environ, "PYTHONPATH": f"{tmp_path / 'site'}:{harness.ROOT}", "INTERRUPT_AT": moment},
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignored else None)
    return done.returncode, done.stdout


@pytest.mark.parametrize("start", [MODULE, SCRIPT], ids=["module", "script"])
@pytest.mark.parametrize(("moment", "words"), [
    ("import click", ("--version",)),
    ("import click", ("run", "--", "true")),
    ("import guest.session", ("run", "--", "true")),
    ("import guest.trace.tracer", ("trace", "--", "true")),
    ("import guest.demo", ("demo",)),
    ("import guest.session", ("demo",)),
    ("import guest.coverage", ("syscalls",)),
    ("import guest.bench.command", ("bench",)),
    ("import guest.bench.experiment_command", ("bench", "fork")),
    ("import guest.session", ("afl", "--", "true")),
    ("import guest.session", ("crash", "--", "true", "x")),
    ("import guest.fuzz.fuzz_command", FUZZ),
    ("import guest.session", FUZZ),
])
def test_ctrl_c_while_it_starts_is_quiet(tmp_path: Path, moment: str, words: tuple[str, ...], start: tuple[str, ...]) \
        -> None:
    assert interrupt(tmp_path, moment, *words, start=start) == (-signal.SIGINT, "")


def test_ctrl_c_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    status, said = interrupt(tmp_path, "import click", "--version", ignored=True)
    assert (status, said.startswith("forkyard ")) == (0, True), said


def test_ctrl_c_while_the_machine_starts_is_quiet(tmp_path: Path) -> None:
    status, said = interrupt(tmp_path, "mmap.__new__ -1", "demo")
    assert (status, said.count("\n")) == (130, 1), said  # the line with the command that it runs


@pytest.mark.parametrize("event", ["subprocess.Popen", "os.posix_spawn"], ids=["compiles", "tries the seeds"])
def test_ctrl_c_before_a_campaign_is_quiet(tmp_path: Path, event: str) -> None:
    before = segments()
    assert interrupt(tmp_path, f"{event} {sys.executable}", *FUZZ) == (130, "")
    assert eventually(lambda: segments() <= before), "shared memory is left behind"


def test_ctrl_c_from_the_first_moment_of_a_campaign_shows_its_table(tmp_path: Path) -> None:
    status, said = interrupt(tmp_path, f"subprocess.Popen {shutil.which('afl-fuzz')}", *FUZZ)
    assert (status, "runs/s" in said) == (0, True), said
    assert "No crashes so far" in said


def test_ctrl_c_while_a_bench_gets_ready_is_told(tmp_path: Path) -> None:
    status, said = interrupt(tmp_path, "import emu.native", "bench", "fork", "--sizes", "8M")
    assert (status, said) == (130, "forkyard: interrupted before anything was measured\n")
