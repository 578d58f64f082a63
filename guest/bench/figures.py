"""What an experiment shows: numbers as people write them, tables, marks to reach, and pictures."""

from __future__ import annotations

from dataclasses import dataclass, field

#: The headings of a table of marks.
MARK_HEADINGS = ("figure", "measured", "to reach")


@dataclass(frozen=True)
class Grid:
    """A table as text."""

    title: str
    headings: tuple[str, ...]
    rows: list[list[str]]
    note: str = ""
    """A sentence below the table."""


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


def at_most(figure: str, ns: float | None, limit_ns: float) -> list[Mark]:
    """A time that has a limit; no mark where it was not measured."""
    return [] if ns is None else [Mark(figure, duration(ns), f"≤ {duration(limit_ns)}", ns <= limit_ns)]


def at_least(figure: str, times: float | None, limit: float, what: str) -> list[Mark]:
    """A ratio: so many times faster, or less; no mark where it was not measured."""
    return [] if times is None else [Mark(figure, f"{digits(times)} × {what}", f"≥ {limit:g} ×", times >= limit)]
