"""The bench as a table, as Markdown for the README, and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from typing import Any

from guest.bench.figures import digits
from guest.bench.rows import Result

#: Columns of the table: heading → the contestant, or the first of several that a row has.
COLUMNS = {
    "native": ("native",), "Forkyard": ("forkyard", "trace"), "--odf": ("forkyard --odf",), "qemu-user": ("qemu",),
    "strace": ("strace",), "bare Unicorn": ("bare",),
}


def cells(result: Result) -> list[str]:
    """A line of the table: what, the columns, Forkyard against each other contestant, the mark."""
    values = result.values
    shown = []
    ours = next(name for name in ("forkyard", "trace") if name in values)
    for contestants in COLUMNS.values():
        value = next((values[name] for name in contestants if name in values), None)
        shown.append("" if value is None else f"{digits(value)} {result.row.unit}")
    ratios = ", ".join(f"{digits(values[ours] / values[name])} × {name}" for name in values
                       if name != ours and values[name] > 0)
    mark = result.row.target + {True: " ✓", False: " ✗", None: ""}[result.reached]
    return [result.row.name, *shown, ratios, mark]


HEADINGS = ("work", *COLUMNS, "Forkyard is", "to reach")


def machine() -> str:
    """Where the numbers come from, in one line."""
    model = ""
    try:
        with open("/proc/cpuinfo") as lines:
            model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        pass
    return f"{model or platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}, " \
           f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"


def markdown(results: Sequence[Result]) -> str:
    """For the README."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + " --- |" * len(HEADINGS)]
    lines += ["| " + " | ".join(cells(result)) + " |" for result in results]
    return "\n".join([*lines, "", machine()]) + "\n"


def as_json(results: Sequence[Result]) -> str:
    """Every value, with medians and ratios."""
    rows: list[dict[str, Any]] = [
        {"name": r.row.name, "unit": r.row.unit, "target": r.row.target, "reached": r.reached,
         "median": {name: times.median for name, times in r.times.items()},
         "best": {name: times.best for name, times in r.times.items()},
         "values": {name: times.values for name, times in r.times.items()}} for r in results]
    return json.dumps({"machine": machine(), "rows": rows}, indent=2, ensure_ascii=False) + "\n"


def table(results: Sequence[Result]) -> Any:
    """For the terminal (rich); columns that no row uses are left out."""
    from rich.table import Table

    rows = [cells(result) for result in results]
    used = [i for i in range(len(HEADINGS)) if any(row[i] for row in rows)]
    shown = Table(title=machine(), title_justify="left", title_style="dim")
    for i in used:
        shown.add_column(HEADINGS[i], justify="left" if i in (0, len(HEADINGS) - 1, len(HEADINGS) - 2) else "right")
    for row, result in zip(rows, results, strict=True):
        shown.add_row(*(row[i] for i in used), style="red" if result.reached is False else "")
    return shown
