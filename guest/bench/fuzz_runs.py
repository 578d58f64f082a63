"""How ``forkyard bench fuzz`` gets its numbers: launchers under the bare driver and under afl-fuzz."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from guest.bench.fuzz_account import WARM_UP_RUNS
from guest.bench.measure import MeasureError, environment
from guest.fuzz.driver import Driver, DriverError
from guest.fuzz.setup import launcher
from guest.fuzz.stats import Receiver

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
    return [*launcher(), "afl", *_words(target, fork)]


def _words(target: Target, fork: str) -> list[str]:
    return ["--fork", fork, "--memory", str(target.memory_bytes), "--", *target.argv]


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
            for _ in range(WARM_UP_RUNS):
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
    """Where the time of a run goes: the averages that guest.bench.fuzz_account writes.

    Raises:
        MeasureError: the launcher fails.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="forkyard-bench-") as folder:
            told = Path(folder, "account")
            words = [sys.executable, "-m", "guest.bench.fuzz_account", str(told), *_words(target, fork)]
            with Driver(words, folder, env=_quiet()) as driver:
                driver.wait_ready(_START_LIMIT_S)
                while not told.exists():
                    driver.run(target.seed)
            return {name: [value] for name, value in json.loads(told.read_text()).items()}
    except (DriverError, OSError) as error:
        raise MeasureError(f"{target.argv[0]}: {error}") from None


def has_afl() -> bool:
    """Is AFL++ installed?"""
    return shutil.which("afl-fuzz") is not None


def _quiet() -> dict[str, str]:
    """Our environment, without settings of a fuzzer."""
    return {name: value for name, value in environment().items() if not name.startswith(("AFL_", "__AFL_"))}
