"""``forkyard bench server``: runs per second of a fork server with much memory; the paper's AFL figure."""

from __future__ import annotations

from collections.abc import Sequence

from guest.bench import contestants as who
from guest.bench import figures
from guest.bench.experiment import Experiment, Run
from guest.bench.figures import Grid, Mark, Panel, Series
from guest.bench.measure import Outcome

SIZE_MIB, CONTROL_MIB = 1078, 7
#: Tables (2 MiB) that a child writes under.
TABLES = (0, 1, 4, 16, 64, 256, 539)
CONTROL_TABLES = (0, 1, 3)
#: The child of the mark: SQLite's under AFL reads one file and parses it.
MARKED = 16
#: EuroSys '21: AFL on SQLite with 1078 MB, runs per second.
PAPER = (63.0, 206.0)
FASTER, SLACK = 3.3, 0.10
#: Rounds in one process, runs in each, and fewer of those for the host, whose own take long.
_ROUNDS, _RUNS, _HOST_RUNS = 4, 40, 5


class ServerExperiment(Experiment):
    """Rows are ``MIB/TABLES``; values are the times of a run."""

    name = "server"
    title = "A fork server: runs per second"

    def __init__(self, best: bool = False, size_mib: int = SIZE_MIB, tables: Sequence[int] = TABLES) -> None:
        super().__init__(best)
        self.plan = {CONTROL_MIB: CONTROL_TABLES,
                     size_mib: tuple(sorted(t for t in set(tables) if t <= size_mib // 2))}
        self.mib = size_mib

    def runs(self) -> list[Run]:
        return [Run(figures.size_text(mib), one, "bench_forkserver",
                    (str(mib), str(_ROUNDS), str(runs), ",".join(map(str, tables)), ",".join(kinds)),
                    (mib << 20) * 5 // 4 + (256 << 20), (mib << 20) * 5 // 4)
                for mib, tables in self.plan.items()
                for one, kinds, runs in ((who.FORKYARD, who.OURS, _RUNS), (who.HOST, (who.HOST,), _HOST_RUNS))]

    def take(self, run: Run, outcome: Outcome) -> str:
        self.add_all(outcome.values, f"{run.args[0]}/")
        least = f":{run.args[3].partition(',')[0]}"
        return ", ".join(f"{name.removesuffix(least)} {figures.duration(min(values))} a run"
                         for name, values in outcome.values.items() if name.endswith(least))

    def grids(self) -> list[Grid]:
        rows = []
        for mib, counts in self.plan.items():
            for tables in counts:
                row = f"{mib}/{tables}"
                faster = [self.turns(row, who.CLASSIC, contestant) for contestant in who.ON_DEMAND]
                rows.append([figures.size_text(mib), str(tables), *self.cells(row, lambda ns: figures.digits(1e9 / ns)),
                             *("" if times is None else f"{figures.digits(times)} ×" for times in faster)])
        paper = ["1078 MB, AFL on SQLite", "", *[""] * 6, *(figures.digits(rate) for rate in PAPER)]
        return [self.table(self.title, ("memory", "tables written"), [*rows, paper], "odf 1 to classic",
                           "odf 2 to classic", *who.PAPER)]

    def marks(self) -> list[Mark]:
        marks = []
        for contestant in who.ON_DEMAND:
            marks += figures.at_least(
                f"runs at {SIZE_MIB} MiB, {MARKED} tables written, {contestant} against classic",
                self.turns(f"{SIZE_MIB}/{MARKED}", who.CLASSIC, contestant), FASTER, "more")
        for contestant in who.ON_DEMAND:
            control = [ratio for tables in CONTROL_TABLES
                       if (ratio := self.turns(f"{CONTROL_MIB}/{tables}", who.CLASSIC, contestant)) is not None]
            if control:
                least = min(control)
                marks.append(Mark(f"runs at {CONTROL_MIB} MiB, {contestant} against classic", f"{least - 1:+.1%}",
                                  f"≥ {-SLACK:+.0%}", least >= 1 - SLACK))
        return marks

    def panels(self) -> list[Panel]:
        panels = []
        for mib, counts in self.plan.items():
            # A logarithmic axis has no 0: those that write nothing stand at 1/2.
            points = [(float(tables or 0.5), f"{mib}/{tables}") for tables in counts]
            lines = self.series(points, lambda ns: 1e9 / ns)
            if mib == SIZE_MIB:
                # What the paper's target writes is not known: a line across.
                ends = [points[0][0], points[-1][0]]
                lines += [Series(name, ends, [rate, rate]) for name, rate in zip(who.PAPER, PAPER, strict=True)]
            panels.append(Panel(figures.size_text(mib), "tables (2 MiB) that the child writes under", "runs per second",
                                lines, log_x=True, log_y=mib != CONTROL_MIB, ticks={x: str(int(x)) for x, _ in points}))
        return panels
