"""``forkyard bench fault``: what one access costs after a fork."""

from __future__ import annotations

import statistics

from guest.bench import contestants as who
from guest.bench import figures
from guest.bench.experiment import Experiment, Run
from guest.bench.figures import Grid, Mark, Panel, Series
from guest.bench.measure import Outcome

SIZE_MIB = 1024
#: What bench_forkfault prints → what it is.
KINDS = {
    "read": "read of a page, child alive",
    "write": "first write under a table, child alive",
    "next": "next write under that table",
    "again": "first write under a table, child gone",
    "after": "next write under that table, child gone",
}
WORST = "worst table"
#: EuroSys '21: the worst write fault, ns.
PAPER = (2.3e3, 12.2e3)
LIMIT_NS = 12e3
_ROUNDS = 5


class FaultExperiment(Experiment):
    """Rows are kinds of access, their values those of all tables and rounds.

    ``tables`` has them by table: its median over the rounds is free of the host's interruptions, which meet another
    table in each, but not of what is slow there every time. WORST is the highest of these medians.
    """

    name = "fault"

    def __init__(self, best: bool = False, size_mib: int = SIZE_MIB) -> None:
        super().__init__(best)
        self.mib = size_mib
        self.tables: dict[tuple[str, str], list[list[float]]] = {}

    @property
    def title(self) -> str:  # type: ignore[override]
        return f"One access after a fork of {figures.size_text(self.mib)}"

    def runs(self) -> list[Run]:
        return [Run(figures.size_text(self.mib), contestant, "bench_forkfault", (str(self.mib), str(_ROUNDS)),
                    (self.mib << 20) * 5 // 4 + (256 << 20), self.mib << 20) for contestant in who.ALL]

    def take(self, run: Run, outcome: Outcome) -> str:
        for kind in KINDS:
            values = outcome.values[kind]
            self.add(kind, run.contestant, values)
            count = len(values) // _ROUNDS
            tables = self.tables.setdefault((kind, run.contestant), [[] for _ in range(count)])
            for table, collected in enumerate(tables):
                collected += values[table::count]
        return f"first write {figures.duration(statistics.median(outcome.values['write']))}"

    def worst(self, kind: str, contestant: str) -> float | None:
        """The slowest table's usual time, ns."""
        tables = self.tables.get((kind, contestant))
        return max(statistics.median(values) for values in tables) if tables else None

    def grids(self) -> list[Grid]:
        rows = []
        for kind, what in KINDS.items():
            rows.append([what, *self.cells(kind, figures.duration)])
            if kind == "write":
                worst = [self.worst(kind, contestant) for contestant in who.ALL]
                rows.append([f"… {WORST}", *("" if ns is None else figures.duration(ns) for ns in worst),
                             *(figures.duration(ns) for ns in PAPER)])
        return [self.table(self.title, ("access",), rows, *who.PAPER)]

    def marks(self) -> list[Mark]:
        return [mark for contestant in who.ON_DEMAND for mark in figures.at_most(
            f"worst write fault after fork, {contestant}", self.worst("write", contestant), LIMIT_NS)]

    def panels(self) -> list[Panel]:
        ticks = {0.0: "read", 1.0: "first write\nunder a table", 2.0: f"… {WORST}", 3.0: "next write",
                 4.0: "child gone:\nfirst write", 5.0: "child gone:\nnext write"}
        lines = []
        for contestant in who.ALL:
            values = [self.value("read", contestant), self.value("write", contestant),
                      self.worst("write", contestant), *(self.value(kind, contestant) for kind in
                                                         ("next", "again", "after"))]
            found = [(float(x), ns / 1e3) for x, ns in enumerate(values) if ns is not None]
            if found:
                lines.append(Series(contestant, [x for x, _ in found], [y for _, y in found]))
        for name, ns in zip(who.PAPER, PAPER, strict=True):
            lines.append(Series(name, [2.0], [ns / 1e3]))
        return [Panel(self.title, "", "time of the access, µs", lines, log_y=True, ticks=ticks, bars=True)]
