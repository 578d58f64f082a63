"""The command: measure the chosen rows, a line of progress for each, then the report."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence

from guest import markers
from guest.bench import report
from guest.bench.measure import MeasureError, Times, prefix, reported
from guest.bench.rows import ROWS, Result, Row
from guest.bench.steps import Steps, interrupted, interruptible
from guest.build import BuildError
from guest.runner import FAILED, say

#: What one row may take before its last rounds are left out, so that the whole bench ends within two minutes.
ROW_BUDGET_S = 8.0


def measure_row(row: Row, rounds: int) -> Result:
    """Run all contestants that are here, in turn, round by round.

    Raises:
        BuildError, MeasureError: see there.
    """
    times = {name: Times() for name in row.contestants if prefix(name) is not None}
    started = time.monotonic()
    for done in range(row.rounds or rounds):
        if done and (time.monotonic() - started) * (done + 1) / done > ROW_BUDGET_S:
            break
        for name, collected in times.items():
            collected.values += row.once(name)
    return Result(row, times)


def results(rows: Sequence[Row], rounds: int) -> Iterator[Result]:
    """Measure one row after the other."""
    # The machine may have to be compiled first; that is not to count.
    reported("forkyard", "bench_call", ("1", "1"))
    for row in rows:
        yield measure_row(row, rounds)


def bench(form: str, names: Sequence[str], rounds: int, *, cold: bool, best: bool, write: str | None) -> int:
    """Measure and print; returns the exit status: 0 whatever the numbers are, 130 after Ctrl-C.

    Args:
        form: "table", "markdown" or "json".
        names: parts of the names of rows; none for all.
        cold: include the first run ever.
        best: show the best values, not the medians.
        write: the file whose table is to be brought up to date.
    """
    rows = [row for row in ROWS if not names or any(name.lower() in row.name.lower() for name in names)]
    if not cold:
        rows = [row for row in rows if "first run" not in row.name]
    if not rows:
        say(f"no row is called {' or '.join(names)}; there are: {'; '.join(row.name for row in ROWS)}")
        return 2
    done: list[Result] = []
    status = 0
    try:
        with interruptible(), Steps(len(rows)) as steps:
            steps.begin(rows[0].name)
            for result in results(rows, rounds):
                result.best = best
                done.append(result)
                cells = report.cells(result)
                steps.done(cells[0], ", ".join(filter(None, cells[1:-1])))
    except KeyboardInterrupt:
        status = interrupted(bool(done))
    except (BuildError, MeasureError) as error:
        say(str(error))
        return FAILED
    if not done:
        return status
    if write is not None and status == 0:
        try:
            markers.update(write, "bench", report.markdown(done))
        except (OSError, ValueError) as error:
            say(f"{write}: {error}")
            return FAILED
    if form == "json":
        print(report.as_json(done), end="")
    elif form == "markdown":
        print(report.markdown(done), end="")
    else:
        from rich.console import Console

        Console(width=None if sys.stdout.isatty() else 200).print(report.table(done))
    return status
