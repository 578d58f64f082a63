"""``forkyard bench fuzz``: runs per second of fuzzed programs, and where the time of one run goes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from guest.bench import contestants as who
from guest.bench import figures, fuzz_runs
from guest.bench.experiment import Experiment, Run
from guest.bench.figures import Grid, Mark, Panel, Series
from guest.bench.fuzz_runs import Target
from guest.bench.measure import MeasureError, Outcome
from guest.build import build

TINY, READELF, BIG = "tiny static program", "readelf -a", "1 GiB before the fork point"
_BIG_MIB = 1024
_WORDS = b"a few words\n"
#: What one launcher is asked for: the time of a run by the bare driver, without coverage, under afl-fuzz, and its own
#: account.
DRIVER, DARK, AFL, ACCOUNT = "driver", "no coverage", "afl-fuzz", "account"
_KINDS = {who.CLASSIC: "classic", who.ODF1: "odf"}
#: Stages of a run → field of the account.
_STAGES = {"input": "input_ns", "fork": "fork_ns", "guest code, faults": "guest_ns", "system calls": "kernel_ns",
           "exit": "exit_ns", "protocol": "protocol_ns"}
_NOTE = "Of a launcher that keeps account of its runs; what that costs counts as protocol."
_COUNTS = {"faults": "faults", "pages copied": "pages", "tables copied": "tables"}
#: The issue's marks.
TINY_RATE, FASTER, COVERAGE_RATIO, READY_NS = 1500.0, 3.3, 1.5, 1e9


@dataclass(frozen=True)
class FuzzRun(Run):
    """A run of an experiment that says itself how it is done."""

    way: str = DRIVER

    @property
    def label(self) -> str:
        return f"{self.row}, {self.contestant}, {self.way}"


class FuzzExperiment(Experiment):
    """Rows are ``PROGRAM/WHAT``; values are nanoseconds (counts for faults, pages and tables)."""

    name = "fuzz"
    title = "Fuzzing: runs per second"

    def __init__(self, best: bool = False) -> None:
        super().__init__(best)
        self.accounts: dict[tuple[str, str], list[dict[str, float]]] = {}
        """(program, contestant) → one account a round."""

    def runs(self) -> list[Run]:
        runs: list[Run] = []
        for row in (TINY, READELF, BIG):
            touched = _BIG_MIB << 20 if row == BIG else 0
            for way in (DRIVER, ACCOUNT, AFL):
                runs += [FuzzRun(row, one, _program(row), (), 0, 2 * touched, way) for one in (who.CLASSIC, who.ODF1)]
            runs.append(FuzzRun(row, who.HOST, _program(row), (), 0, touched, AFL))
            if row == READELF:
                runs.append(FuzzRun(row, who.ODF1, "", (), 0, 0, DARK))
        return [run for run in runs if run.way != AFL or fuzz_runs.has_afl()]  # type: ignore[attr-defined]

    def perform(self, run: Run, limit_s: float) -> Outcome:
        assert isinstance(run, FuzzRun)
        target = _target(run.row)
        kind = _KINDS.get(run.contestant)
        if run.way == AFL:
            return Outcome(fuzz_runs.fuzz(target, kind))
        assert kind is not None
        if run.way == ACCOUNT:
            return Outcome(fuzz_runs.account(target, kind))
        return Outcome(fuzz_runs.drive(target, kind, coverage=run.way == DRIVER))

    def take(self, run: Run, outcome: Outcome) -> str:
        assert isinstance(run, FuzzRun)
        for what, values in outcome.values.items():
            self.add(f"{run.row}/{DARK if run.way == DARK else what}", run.contestant, values)
        if run.way == ACCOUNT:
            account = {what: values[0] for what, values in outcome.values.items()}
            self.accounts.setdefault((run.row, run.contestant), []).append(account)
            return f"{figures.duration(_whole(account))} a run"
        values = outcome.values["afl" if run.way == AFL else "run"]
        return f"{_rate(min(values) if self.best else sorted(values)[len(values) // 2])} runs/s"

    # -- what is shown ---------------------------------------------------------------------------------------------

    def grids(self) -> list[Grid]:
        rows = (TINY, READELF, BIG)
        speed = []
        for row in rows:
            faster = self.ratio(f"{row}/run", who.CLASSIC, who.ODF1)
            speed.append([row, *self._both(f"{row}/run", _rate),
                          "" if faster is None else f"{figures.digits(faster)} ×", *self._both(f"{row}/afl", _rate),
                          self._cell(f"{row}/afl", who.HOST, _rate)])
        headings = ("program", "on demand, CPU time", "classic, CPU time", "on demand to classic",
                    "under afl-fuzz, on demand", "under afl-fuzz, classic", "natively, afl-fuzz -n")
        stages = [self._stages(row, one) for row in rows for one in (who.ODF1, who.CLASSIC)]
        return [Grid(self.title, headings, speed),
                Grid("Where the CPU time of one run goes, in µs; faults, pages and tables are counts",
                     ("program", "fork()", *_STAGES, "together", *_COUNTS, "first run"), stages, _NOTE)]

    def marks(self) -> list[Mark]:
        marks = []
        tiny = self.value(f"{TINY}/run", who.ODF1)
        if tiny is not None:
            marks.append(Mark(f"{TINY}: runs per second of launcher CPU time", _rate(tiny), f"≥ {TINY_RATE:,.0f}",
                              1e9 / tiny >= TINY_RATE))
        marks += figures.at_least(f"{BIG}: on demand against classic", self.ratio(f"{BIG}/run", who.CLASSIC, who.ODF1),
                                  FASTER, "more")
        lit, dark = self.value(f"{READELF}/run", who.ODF1), self.value(f"{READELF}/{DARK}", who.ODF1)
        if lit and dark:
            marks.append(Mark(f"{READELF}: time with coverage against without", f"{figures.digits(lit / dark)} ×",
                              f"≤ {COVERAGE_RATIO:g} ×", lit / dark <= COVERAGE_RATIO))
        return marks + figures.at_most("start to fork server ready, warm", self.value(f"{TINY}/ready", who.ODF1),
                                       READY_NS)

    def panels(self) -> list[Panel]:
        """Rates side by side."""
        rows = {float(x): row for x, row in enumerate((TINY, READELF, BIG))}
        series = []
        for contestant in (who.CLASSIC, who.ODF1):
            found = [(x, value) for x, row in rows.items() if (value := self.value(f"{row}/run", contestant))]
            series.append(Series(contestant, [x for x, _ in found], [1e9 / value for _, value in found]))
        return [Panel(self.title, "", "runs per second of CPU time", series, log_y=True, ticks=rows, bars=True)]

    # -- parts -----------------------------------------------------------------------------------------------------

    def _cell(self, row: str, contestant: str, show: Callable[[float], str]) -> str:
        value = self.value(row, contestant)
        return "" if value is None else show(value)

    def _both(self, row: str, show: Callable[[float], str]) -> list[str]:
        return [self._cell(row, contestant, show) for contestant in (who.ODF1, who.CLASSIC)]

    def _stages(self, row: str, contestant: str) -> list[str]:
        # One account as a whole: medians of its parts, each of another round, would not add up.
        accounts = sorted(self.accounts.get((row, contestant), ()), key=_whole)
        if not accounts:
            return [""] * (len(_STAGES) + len(_COUNTS) + 4)
        account = accounts[0 if self.best else len(accounts) // 2]
        times = [*(account[name] for name in _STAGES.values()), _whole(account)]
        return [row, "on demand" if contestant == who.ODF1 else "classic",
                *(figures.digits(ns / 1e3) for ns in times),
                *(figures.digits(account[name]) for name in _COUNTS.values()),
                self._cell(f"{row}/first", contestant, figures.duration)]


def _whole(account: dict[str, float]) -> float:
    return sum(account[name] for name in _STAGES.values())


def _rate(ns: float) -> str:
    return f"{1e9 / ns:,.0f}"


def _program(row: str) -> str:
    return {TINY: "fuzz_tiny", BIG: "fuzz_big"}.get(row, "")


def _target(row: str) -> Target:
    """Raises MeasureError: there is no readelf here, or nothing for it to read."""
    if row == TINY:
        return Target((str(build("fuzz_tiny")), "@@"), _WORDS, 256 << 20)
    if row == BIG:
        return Target((str(build("fuzz_big")), str(_BIG_MIB), "@@"), _WORDS, (_BIG_MIB + 512) << 20)
    try:
        where = subprocess.run(["cc", "-print-file-name=crt1.o"], capture_output=True, text=True).stdout.strip()
        return Target(("readelf", "-a", "@@"), Path(where).read_bytes(), 512 << 20)
    except OSError as error:
        raise MeasureError(f"no object file to read: crt1.o of cc: {error.strerror}") from None
