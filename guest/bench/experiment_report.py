"""An experiment as tables for the terminal, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from guest.bench.experiment import Experiment
from guest.bench.figures import MARK_HEADINGS, Grid
from guest.bench.report import machine


def _all_grids(experiment: Experiment) -> list[Grid]:
    """The experiment's own, without columns and rows that are empty, and the marks."""
    grids = [_shrunk(grid) for grid in experiment.grids()]
    marks = experiment.marks()
    if marks:
        grids.append(Grid("", MARK_HEADINGS, [mark.cells for mark in marks]))
    return [grid for grid in grids if grid.rows]


def _shrunk(grid: Grid) -> Grid:
    rows = [row for row in grid.rows if any(row[1:])]
    used = [i for i in range(len(grid.headings)) if i == 0 or any(row[i] for row in rows)]
    return Grid(grid.title, tuple(grid.headings[i] for i in used), [[row[i] for i in used] for row in rows],
                grid.note)


def markdown(experiment: Experiment) -> str:
    """For the README."""
    lines: list[str] = []
    for grid in _all_grids(experiment):
        if grid.title:
            lines += [f"{grid.title}:", ""]
        lines += [_line(grid.headings), "|" + " --- |" * len(grid.headings), *map(_line, grid.rows), ""]
        lines += [grid.note, ""] if grid.note else []
    return "\n".join([*lines, footer(experiment)]) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def footer(experiment: Experiment) -> str:
    """What the values are, and where they come from."""
    return f"{'Best values' if experiment.best else 'Medians'}; {machine()}"


def as_json(experiment: Experiment, complete: bool) -> str:
    """Every value with its median and best, in nanoseconds, and all that the tables say."""
    rows: dict[str, dict[str, Any]] = {}
    for (row, contestant), times in experiment.times.items():
        rows.setdefault(row, {})[contestant] = {"median": times.median, "best": times.best, "count": len(times.values),
                                                "values": times.values[:200]}
    return json.dumps({
        "experiment": experiment.name, "title": experiment.title, "machine": machine(), "complete": complete,
        "unit": "ns", "rows": rows,
        "tables": [{"title": grid.title, "headings": grid.headings, "rows": grid.rows, "note": grid.note}
                   for grid in map(_shrunk, experiment.grids())],
        "marks": [{"figure": mark.figure, "measured": mark.measured, "target": mark.target, "reached": mark.reached}
                  for mark in experiment.marks()],
        "notes": experiment.notes}, indent=2, ensure_ascii=False) + "\n"


def tables(experiment: Experiment) -> list[Any]:
    """For the terminal (rich)."""
    from rich.table import Table

    shown = []
    for grid in _all_grids(experiment):
        table = Table(title=grid.title or None, title_justify="left", caption=grid.note or None, caption_justify="left")
        for i, heading in enumerate(grid.headings):
            table.add_column(heading, justify="left" if i == 0 or grid.headings == MARK_HEADINGS else "right")
        for row in grid.rows:
            table.add_row(*row, style="red" if row[-1].endswith("✗") else "")
        shown.append(table)
    return shown
