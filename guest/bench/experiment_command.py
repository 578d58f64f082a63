"""Run an experiment round by round, then show its tables, its marks and its picture."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from guest import markers
from guest.bench import experiment_report as report
from guest.bench.contestants import HOST
from guest.bench.experiment import Experiment, Run
from guest.bench.measure import MeasureError
from guest.bench.plot import PlotError, draw, prepare
from guest.bench.steps import Steps, interrupted, interruptible
from guest.build import BuildError, build
from guest.progress import CompileProgress
from guest.runner import FAILED, say

WRONG_USAGE = 2
#: One process may not take longer.
LIMIT_S = 600.0
#: Of the memory that is free, the host's own fork may take this part: others may want some, too.
HOST_SHARE = 0.5


@dataclass(frozen=True)
class Show:
    """How to show what was measured."""

    form: str = "table"
    """table, markdown or json."""
    picture: str | None = None
    write: str | None = None
    """The file with markers for the experiment's tables."""


def run_experiment(experiment: Experiment, rounds: int, show: Show, *, host: bool = True) -> int:
    """Measure and show; returns the exit status: 0 whatever the numbers are, 130 after Ctrl-C.

    Args:
        host: measure the host's own fork too, where its memory allows.
    """
    runs = [run for run in experiment.runs() if host or run.contestant != HOST]
    try:
        if show.picture is not None:
            prepare(show.picture)
        if show.write is not None:
            _update(show.write, experiment, None)
    except (OSError, ValueError, PlotError) as error:
        say(str(error))
        return WRONG_USAGE
    try:
        with interruptible():
            _get_ready(runs)
            status = _measure(experiment, runs, rounds)
    except KeyboardInterrupt:
        status = interrupted(bool(experiment.times))
    except (BuildError, MeasureError) as error:
        say(str(error))
        return FAILED
    if not experiment.times:
        for note in experiment.notes:
            say(note)
        return status or FAILED
    try:
        _show(experiment, show, complete=status == 0)
    except (OSError, ValueError, PlotError) as error:
        say(str(error))
        return status or FAILED
    return status


def _get_ready(runs: list[Run]) -> None:
    """Compile the machine and the programs before the clock runs.

    Raises:
        BuildError: a program cannot be built. MeasureError: the machine cannot be compiled.
    """
    from emu import native
    from guest import session  # noqa: F401 -- what is to be compiled

    progress = CompileProgress()
    try:
        native.load(progress)
    except native.CompileError as error:
        raise MeasureError(f"the machine could not be compiled: {str(error).strip().splitlines()[-1]}") from None
    finally:
        progress.close()
    for program in {run.program for run in runs if run.program}:
        build(program)


def _measure(experiment: Experiment, runs: list[Run], rounds: int) -> int:
    """All runs, round by round; a run that fails is noted and left out from then on. Returns the exit status."""
    status = 0
    failed: set[Run] = set()
    with Steps(len(runs) * rounds) as steps:
        for _ in range(rounds):
            for run in runs:
                if run in failed:
                    steps.done(run.label, "left out")
                    continue
                steps.begin(run.label)
                if run.contestant == HOST and run.touched_bytes > HOST_SHARE * free_bytes():
                    failed.add(run)
                    experiment.notes.append(f"{run.label}: not measured, it would take more than half of the host's "
                                            f"free memory ({free_bytes() >> 20} MiB)")
                    steps.done(run.label, "left out, for lack of memory")
                    continue
                try:
                    steps.done(run.label, experiment.take(run, experiment.perform(run, LIMIT_S)))
                except MeasureError as error:
                    failed.add(run)
                    status = FAILED
                    experiment.notes.append(f"{run.label}: {error}")
                    steps.done(run.label, str(error))
    return status


def free_bytes() -> int:
    """The host's available memory; a great deal where it does not tell."""
    try:
        with open("/proc/meminfo") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) * 1024
    except (OSError, StopIteration, ValueError, IndexError):
        return 1 << 62


def _show(experiment: Experiment, show: Show, *, complete: bool) -> None:
    """Raises OSError, ValueError (no markers), PlotError."""
    if show.form == "json":
        print(report.as_json(experiment, complete), end="")
    elif show.form == "markdown":
        print(report.markdown(experiment), end="")
    else:
        from rich.console import Console

        console = Console(width=None if sys.stdout.isatty() else 200)
        for table in report.tables(experiment):
            console.print(table)
        console.print(report.footer(experiment), style="dim", markup=False, highlight=False, soft_wrap=True)
    for note in experiment.notes:
        say(note)
    if show.picture is not None:
        draw(experiment, show.picture)
    if show.write is not None:
        if not complete:
            say(f"{show.write} stays as it is: not everything was measured")
            return
        _update(show.write, experiment, report.markdown(experiment))


def _update(path: str, experiment: Experiment, text: str | None) -> None:
    """Put ``text`` between the markers of the experiment; None: just see that they are there.

    Raises:
        OSError, ValueError: it cannot be read or written, or has no markers.
    """
    name = f"bench {experiment.name}"
    try:
        if text is None:
            markers.replace(Path(path).read_text(), name, "")
        else:
            markers.update(path, name, text)
    except OSError as error:
        raise OSError(f"--write {path}: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"--write {path}: {error}") from None
