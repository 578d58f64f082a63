"""What the four experiments on fork have in common: contestants, a schedule of runs, tables, marks and pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, ClassVar

from guest.bench.measure import Outcome, Times, observe

CLASSIC, ODF1, ODF2, HOST = "classic", "odf 1", "odf 2", "host"
#: Who takes part, and as what session; None is the host itself.
CONTESTANTS: dict[str, dict[str, Any] | None] = {
    CLASSIC: {}, ODF1: {"odf": True}, ODF2: {"odf": True, "odf_level": 2}, HOST: None}
#: One session in which the program itself switches between the kinds of fork.
FORKYARD = "Forkyard"
#: Session options by who runs; None is the host itself.
SESSIONS: dict[str, dict[str, Any] | None] = {**CONTESTANTS, FORKYARD: {}}
OURS = (CLASSIC, ODF1, ODF2)
HEADINGS = {CLASSIC: "classic fork", ODF1: "on demand, level 1", ODF2: "on demand, level 2", HOST: "host's own fork"}
PAPER_CLASSIC, PAPER_ODF = "paper: fork", "paper: on demand"
#: The first column of a table of marks.
MARK_HEADINGS = ("figure", "measured", "to reach")


@dataclass(frozen=True)
class Run:
    """One process to be started: a bench program as one contestant."""

    row: str
    contestant: str
    """A contestant, or FORKYARD for all of ours."""
    program: str
    args: tuple[str, ...]
    memory_bytes: int
    """The guest's RAM."""
    touched_bytes: int
    """What the same takes natively."""

    @property
    def label(self) -> str:
        return f"{self.row}, {self.contestant}"


@dataclass(frozen=True)
class Grid:
    """A table as text."""

    title: str
    headings: tuple[str, ...]
    rows: list[list[str]]


@dataclass(frozen=True)
class Mark:
    """A figure to reach."""

    figure: str
    measured: str
    target: str
    reached: bool

    @property
    def cells(self) -> list[str]:
        return [self.figure, self.measured, f"{self.target} {'✓' if self.reached else '✗'}"]


@dataclass(frozen=True)
class Series:
    """A line (or the bars of one colour) of a picture; ``name`` is a contestant's or a PAPER_ name."""

    name: str
    xs: list[float]
    ys: list[float]


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    title: str
    x_label: str
    y_label: str
    series: list[Series]
    log_x: bool = False
    log_y: bool = False
    ticks: dict[float, str] = field(default_factory=dict)
    """Labels on the x axis; default: numbers."""
    bars: bool = False
    ends: bool = False
    """Show the value of the last point of each line."""


class Experiment(ABC):
    """Collects what the runs gave in ``times``: (row, contestant) → values in nanoseconds."""

    name: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, best: bool = False) -> None:
        self.best = best
        """Show the best values, not the medians."""
        self.times: dict[tuple[str, str], Times] = {}
        self.notes: list[str] = []
        """What was not measured and why, a line each."""

    @abstractmethod
    def runs(self) -> list[Run]:
        """One round: contestants in turn, so that a disturbance meets all alike."""

    def perform(self, run: Run, limit_s: float) -> Outcome:
        """Do it: start the bench program as the contestant.

        Raises:
            MeasureError: it failed, or took longer than ``limit_s`` seconds.
        """
        options = SESSIONS[run.contestant]
        if options is not None:
            options = {**options, "memory_bytes": run.memory_bytes}
        return observe(options, run.program, run.args, limit_s)

    @abstractmethod
    def take(self, run: Run, outcome: Outcome) -> str:
        """Keep what a run gave; returns it in a few words."""

    @abstractmethod
    def grids(self) -> list[Grid]:
        """The tables, as far as there is something to show."""

    @abstractmethod
    def marks(self) -> list[Mark]:
        """The figures to reach that have been measured."""

    @abstractmethod
    def panels(self) -> list[Panel]:
        """The picture."""

    # -- for the experiments ---------------------------------------------------------------------------------------

    def add(self, row: str, contestant: str, values: Iterable[float]) -> None:
        """Keep values of a row."""
        self.times.setdefault((row, contestant), Times()).values += values

    def value(self, row: str, contestant: str) -> float | None:
        """The one to show; None when it was not measured."""
        times = self.times.get((row, contestant))
        return times.pick(self.best) if times is not None and times.values else None

    def add_all(self, values: dict[str, list[float]], prefix: str = "") -> None:
        """Keep what a program prints that names ``contestant:row``."""
        for name, times in values.items():
            contestant, _, row = name.partition(":")
            self.add(prefix + row, contestant, times)

    def turns(self, row: str, over: str, under: str) -> float | None:
        """The median of ``over`` / ``under``, pair by pair as they took turns: free of what slows both for a while."""
        upper, lower = self.times.get((row, over)), self.times.get((row, under))
        if upper is None or lower is None:
            return None
        return median(a / b for a, b in zip(upper.values, lower.values, strict=True))

    def ratio(self, row: str, slow: str, fast: str) -> float | None:
        """How many times longer ``slow`` took."""
        upper, lower = self.value(row, slow), self.value(row, fast)
        return upper / lower if upper is not None and lower else None

    def cells(self, row: str, show: Callable[[float], str]) -> list[str]:
        """One cell a contestant."""
        values = [self.value(row, contestant) for contestant in CONTESTANTS]
        return ["" if value is None else show(value) for value in values]

    def series(self, points: Sequence[tuple[float, str]], scale: Callable[[float], float]) -> list[Series]:
        """One line a contestant over (x, row)."""
        lines = []
        for contestant in CONTESTANTS:
            found = [(x, value) for x, row in points if (value := self.value(row, contestant)) is not None]
            if found:
                lines.append(Series(contestant, [x for x, _ in found], [scale(value) for _, value in found]))
        return lines


def digits(value: float) -> str:
    """Three significant digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def duration(ns: float) -> str:
    """A time with its unit."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= size * 0.9995:
            return f"{digits(ns / size)} {unit}"
    return f"{digits(ns)} ns"


def size_text(mib: int) -> str:
    """MiB as people write them."""
    return f"{mib / 1024:g} GiB" if mib >= 1024 and mib % 256 == 0 else f"{mib} MiB"


def at_most(figure: str, ns: float, limit_ns: float) -> Mark:
    """A time that has a limit."""
    return Mark(figure, duration(ns), f"≤ {duration(limit_ns)}", ns <= limit_ns)


def at_least(figure: str, times: float, limit: float, what: str) -> Mark:
    """A ratio: so many times faster, or less."""
    return Mark(figure, f"{digits(times)} × {what}", f"≥ {limit:g} ×", times >= limit)
