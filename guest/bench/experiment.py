"""What the experiments on fork have in common: a schedule of runs, the values they gave, and tables made of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import ClassVar

from guest.bench import contestants as who
from guest.bench.figures import Grid, Mark, Panel, Series
from guest.bench.measure import Outcome, Times, observe


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
        options = who.SESSIONS[run.contestant]
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
        values = [self.value(row, contestant) for contestant in who.ALL]
        return ["" if value is None else show(value) for value in values]

    def series(self, points: Sequence[tuple[float, str]], scale: Callable[[float], float]) -> list[Series]:
        """One line a contestant over (x, row)."""
        lines = []
        for contestant in who.ALL:
            found = [(x, value) for x, row in points if (value := self.value(row, contestant)) is not None]
            if found:
                lines.append(Series(contestant, [x for x, _ in found], [scale(value) for _, value in found]))
        return lines

    def table(self, title: str, first: tuple[str, ...], rows: list[list[str]], *extra: str, note: str = "") -> Grid:
        """The columns ``first``, one a contestant, and ``extra``; short rows are filled up."""
        headings = (*first, *who.HEADINGS.values(), *extra)
        return Grid(title, headings, [row + [""] * (len(headings) - len(row)) for row in rows], note)
