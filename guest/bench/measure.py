"""Run the contestants of a row in turn, round by round, and keep what each of them reported."""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guest.build import build

#: One process of a contestant may not take longer.
LIMIT_S = 60.0
_ROOT = str(Path(__file__).parents[2])


class MeasureError(Exception):
    """A contestant failed; the text says which and how."""


@dataclass
class Times:
    """What one contestant of a row reported, in the unit of the row."""

    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def best(self) -> float:
        return min(self.values)

    def pick(self, best: bool) -> float:
        """The value to show."""
        return self.best if best else self.median


def prefix(contestant: str) -> list[str] | None:
    """The words in front of a program's command line; None when the contestant is not installed here.

    Forkyard's options follow its name: ``forkyard --odf``.
    """
    name, *options = contestant.split()
    if name == "native":
        return []
    if name == "forkyard":
        return [sys.executable, "-m", "guest.cli", "run", *options, "--"]
    if name == "trace":
        return [sys.executable, "-m", "guest.cli", "trace", "-o", os.devnull, "--"]
    if name == "bare":
        return [sys.executable, "-m", "emu.bare"]
    tool = shutil.which({"qemu": "qemu-x86_64"}.get(name, name))
    if tool is None:
        return None
    return [tool, "-f", "-o", os.devnull] if name == "strace" else [tool]


def environment() -> dict[str, str]:
    """Ours, with this Forkyard importable and no terminal oddities."""
    path = os.pathsep.join([_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path}


def reported(contestant: str, program: str, args: Sequence[str]) -> list[float]:
    """Run a bench program once; the numbers it printed, without the first, which warms up.

    Raises:
        MeasureError: it failed.
    """
    words = prefix(contestant)
    assert words is not None
    binary = str(build(program))
    if contestant == "bare":
        args = ["work", *args]
    command = [*words, binary, *args]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, env=environment(),
                              stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise MeasureError(f"{contestant}: {program} took longer than {LIMIT_S:g} s") from None
    if done.returncode != 0:
        raise MeasureError(f"{contestant}: {program} ended with status {done.returncode}: {done.stderr.strip()[-500:]}")
    numbers = [float(line) for line in done.stdout.split()]
    return numbers[1:] if len(numbers) > 1 else numbers


@dataclass(frozen=True)
class Outcome:
    """What a program of an experiment printed: name → values in order; under Forkyard also what the session counted."""

    values: dict[str, list[float]]
    stats: dict[str, int] = field(default_factory=dict)
    peak_bytes: int = 0
    """The most memory that the emulator's process has taken from the host; 0 for a native run."""


def observe(options: dict[str, Any] | None, program: str, args: Sequence[str], limit_s: float) -> Outcome:
    """Run a program of an experiment in a process of its own: natively, or in a session with ``options``.

    Raises:
        MeasureError: it failed, or took longer than ``limit_s`` seconds.
        BuildError: it could not be built.
    """
    argv = [str(build(program)), *args]
    if options is not None:
        argv = [sys.executable, "-m", "guest.bench.probe", json.dumps(options), *argv]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=limit_s, env=environment(),
                              stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise MeasureError(f"{program} took longer than {limit_s:g} s") from None
    status, output, errors, told = done.returncode, done.stdout, done.stderr, {}
    if options is not None and status == 0:
        told = json.loads(output)
        status, output, errors = told["status"], told["stdout"], told["stderr"]
    if status != 0:
        raise MeasureError(f"{program} ended with status {status}: {errors.strip()[-300:]}")
    values: dict[str, list[float]] = {}
    for line in output.splitlines():
        name, _, value = line.rpartition(" ")
        values.setdefault(name, []).append(float(value))
    return Outcome(values, told.get("stats", {}), told.get("peak_bytes", 0))


@dataclass(frozen=True)
class Usage:
    """One whole process: wall and CPU seconds, and the most host memory it had."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def usage(contestant: str, program: str, args: Sequence[str], extra: dict[str, str] | None = None) -> Usage:
    """Run a program to its end and look at the whole process, Python's start and its children included.

    Raises:
        MeasureError: it failed.
    """
    words = prefix(contestant)
    assert words is not None
    command = [*words, str(build(program)), *args]
    with tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        # wait4 gives the peak memory of this one child, getrusage the CPU time of its children too.
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
                                 env={**environment(), **(extra or {})})
        _, status, own = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if status:
            errors.seek(0)
            raise MeasureError(f"{contestant}: {program} ended with {status:#x}: {errors.read().decode()[-500:]}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Usage(wall_s, cpu_s, own.ru_maxrss * 1024)
