"""How ``forkyard bench fuzz`` gets its numbers: launchers under the bare driver and under afl-fuzz, and a fork server's
own account of its time.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guest.bench.measure import MeasureError, environment
from guest.fuzz.driver import MAP_BYTES, Driver, DriverError
from guest.fuzz.setup import launcher
from guest.fuzz.stats import Receiver

#: Runs before those that count: the first ones translate the program's code.
_WARM_UP_RUNS = 30
#: CPU time of the launcher in one measurement, and the most runs for it.
_LEAST_CPU_S, _MOST_RUNS, _BATCH = 1.0, 20_000, 20
#: What afl-fuzz gets for each contestant, and the end that follows.
AFL_SECONDS, _AFL_END_S = 5, 60.0
_START_LIMIT_S = 60.0
_AFL_SETTINGS = {"AFL_NO_UI": "1", "AFL_SKIP_CPUFREQ": "1", "AFL_NO_AFFINITY": "1", "AFL_FAST_CAL": "1",
                 "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES": "1", "AFL_FORKSRV_INIT_TMOUT": "60000"}


@dataclass(frozen=True)
class Target:
    """A program to fuzz, with @@ among its words, and one input."""

    argv: tuple[str, ...]
    seed: bytes
    memory_bytes: int
    """The guest's RAM."""


def command(target: Target, fork: str) -> list[str]:
    """The launcher's command line."""
    return [*launcher(), "afl", "--fork", fork, "--memory", str(target.memory_bytes), "--", *target.argv]


def drive(target: Target, fork: str, *, coverage: bool = True) -> dict[str, list[float]]:
    """Run the seed again and again with the bare driver.

    Returns:
        ``ready``: ns from the start to the hello; ``run``: ns of the launcher's CPU time for a run, a value a batch.

    Raises:
        MeasureError: the launcher fails.
    """
    values: list[float] = []
    try:
        with tempfile.TemporaryDirectory(prefix="forkyard-bench-") as folder, \
                Driver(command(target, fork), folder, env=_quiet(), coverage=coverage) as driver:
            ready_s = driver.wait_ready(_START_LIMIT_S)
            for _ in range(_WARM_UP_RUNS):
                driver.run(target.seed)
            started_s = before_s = driver.cpu_seconds()
            while before_s - started_s < _LEAST_CPU_S and len(values) * _BATCH < _MOST_RUNS:
                for _ in range(_BATCH):
                    driver.run(target.seed)
                now_s = driver.cpu_seconds()
                values.append((now_s - before_s) * 1e9 / _BATCH)
                before_s = now_s
    except (DriverError, OSError) as error:
        raise MeasureError(f"{target.argv[0]}: {error}") from None
    return {"ready": [ready_s * 1e9], "run": values}


def fuzz(target: Target, fork: str | None) -> dict[str, list[float]]:
    """Let afl-fuzz work for some seconds: with our launcher, or with -n natively for None.

    Returns:
        ``afl``: elapsed ns for a run.

    Raises:
        MeasureError: afl-fuzz fails.
    """
    words = ["-n", "--", *target.argv] if fork is None else ["-U", "--", *command(target, fork)]
    # With -n afl-fuzz writes no fuzzer_stats; it sends its figures all the same.
    receiver = Receiver()
    told = {"AFL_STATSD": "1", "AFL_STATSD_HOST": "127.0.0.1", "AFL_STATSD_PORT": str(receiver.port)}
    with tempfile.TemporaryDirectory(prefix="forkyard-bench-") as folder:
        seeds, out = Path(folder, "in"), Path(folder, "out")
        seeds.mkdir()
        (seeds / "seed").write_bytes(target.seed)
        child = subprocess.Popen(
            ["afl-fuzz", "-i", seeds, "-o", out, "-t", "5000", "-V", str(AFL_SECONDS), *words],
            env={**_quiet(), **_AFL_SETTINGS, **told}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True)
        try:
            said, _ = child.communicate(timeout=AFL_SECONDS + _AFL_END_S)
        except subprocess.TimeoutExpired:
            raise MeasureError("afl-fuzz does not end") from None
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            receiver.poll()
            receiver.close()
    rate = float(receiver.figures.get("execs_per_sec", 0))
    if child.returncode or rate == 0:
        raise MeasureError(f"afl-fuzz: {said.decode(errors='replace').strip().splitlines()[-1:]}")
    return {"afl": [1e9 / rate]}


def account(target: Target, fork: str) -> dict[str, list[float]]:
    """Where the time of a run goes, in a process of its own: the fields of ``guest.fuzz.forkserver.Profile``.

    Raises:
        MeasureError: it fails.
    """
    question = {"argv": target.argv, "seed": target.seed.hex(), "memory_bytes": target.memory_bytes, "fork": fork}
    try:
        done = subprocess.run([sys.executable, "-m", "guest.bench.fuzz_runs", json.dumps(question)], text=True,
                              capture_output=True, stdin=subprocess.DEVNULL, env=_quiet(), timeout=_START_LIMIT_S * 2)
    except subprocess.TimeoutExpired:
        raise MeasureError(f"{target.argv[0]}: the fork server takes too long") from None
    if done.returncode:
        raise MeasureError(f"{target.argv[0]}: {done.stderr.strip()[-300:]}")
    return {name: [float(value)] for name, value in json.loads(done.stdout).items()}


def has_afl() -> bool:
    """Is AFL++ installed?"""
    return shutil.which("afl-fuzz") is not None


def _quiet() -> dict[str, str]:
    """Our environment, without settings of a fuzzer."""
    return {name: value for name, value in environment().items() if not name.startswith(("AFL_", "__AFL_"))}


def _answer(question: dict[str, Any]) -> dict[str, float]:
    """In the process of its own: a fork server with a coverage map, and its account for one run."""
    import ctypes

    from guest.fuzz.forkserver import ForkServer
    from guest.fuzz.input import BytesInput
    from guest.fuzz.target import guest_words
    from guest.session import Options
    from kernel.coverage import CoverageOptions

    edges = (ctypes.c_uint8 * MAP_BYTES)()
    argv, path = guest_words(question["argv"], "@@")
    with open(os.devnull, "r+") as nothing, ForkServer(
            Options(memory_bytes=question["memory_bytes"], stdin=nothing.fileno(), stdout=nothing.fileno(),
                    stderr=nothing.fileno()),
            argv, fork=question["fork"], input=BytesInput(bytes.fromhex(question["seed"]), path),
            coverage=CoverageOptions(ctypes.addressof(edges), MAP_BYTES)) as server:
        server.prepare()
        first_ns = -time.thread_time_ns()
        server.run()
        first_ns += time.thread_time_ns()
        for _ in range(_WARM_UP_RUNS):
            server.run()
        server.measure()
        stats = server.session.stats
        before, runs, end = stats(), 0, time.thread_time() + _LEAST_CPU_S
        while time.thread_time() < end:
            server.run()
            runs += 1
        after, profile = stats(), server.profile()
    stages = {name: getattr(profile, name) / runs for name in vars(profile) if name.endswith("_ns")}
    counts = {"faults": after.faults - before.faults, "pages": after.pages_copied - before.pages_copied,
              "tables": after.tables_copied - before.tables_copied}
    return {**stages, "first": float(first_ns), **{name: count / runs for name, count in counts.items()}}


if __name__ == "__main__":
    try:
        print(json.dumps(_answer(json.loads(sys.argv[1]))))
    except Exception as error:  # whoever started us shows this line
        sys.exit(f"{type(error).__name__}: {error}")
