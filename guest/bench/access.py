"""``forkyard bench access``: fork, and a child that touches part of the memory; figure 8 of the paper."""

from __future__ import annotations

from guest.bench import contestants as who
from guest.bench import figures
from guest.bench.experiment import Experiment, Run
from guest.bench.figures import Grid, Mark, Panel
from guest.bench.measure import Outcome

SIZE_MIB = 256
STEPS = 10
#: Percent of the touched pages that are read only, the others written.
READS = (100, 50, 0)
#: On demand may take so much longer than classic, at any point.
SLACK = 0.05
#: Rounds in one process.
_ROUNDS = 4


class AccessExperiment(Experiment):
    """Rows are ``READS/step``."""

    name = "access"

    def __init__(self, best: bool = False, size_mib: int = SIZE_MIB) -> None:
        super().__init__(best)
        self.mib = size_mib

    @property
    def title(self) -> str:  # type: ignore[override]
        return f"Fork of {figures.size_text(self.mib)}, and the child touches a part of it, one word a page"

    def runs(self) -> list[Run]:
        return [Run(figures.size_text(self.mib), one, "bench_forkaccess",
                    (str(self.mib), str(_ROUNDS), str(STEPS), ",".join(map(str, READS)), ",".join(kinds)),
                    (self.mib << 20) * 9 // 4 + (256 << 20), (self.mib << 20) * 2)
                for one, kinds in ((who.FORKYARD, who.OURS), (who.HOST, (who.HOST,)))]

    def take(self, run: Run, outcome: Outcome) -> str:
        self.add_all(outcome.values)
        whole = f"{READS[-1]}/{STEPS}"
        return "all of it written " + ", ".join(
            f"{name.partition(':')[0]} {figures.duration(min(values))}" for name, values in outcome.values.items()
            if name.endswith(f":{whole}"))

    def grids(self) -> list[Grid]:
        grids = []
        for reads in READS:
            rows = []
            for step in range(STEPS + 1):
                row = f"{reads}/{step}"
                slower = [self.slower(row, contestant) for contestant in who.ON_DEMAND]
                rows.append([f"{100 * step // STEPS} %", *self.cells(row, figures.duration),
                             *("" if part is None else f"{part:+.1%}" for part in slower)])
            grids.append(self.table(f"{self.title}: {_mix(reads)}", ("touched",), rows, "odf 1 to classic",
                                    "odf 2 to classic"))
        return grids

    def slower(self, row: str, contestant: str) -> float | None:
        """By what part on demand takes longer than classic there; negative: less."""
        times = self.turns(row, contestant, who.CLASSIC)
        return None if times is None else times - 1

    def marks(self) -> list[Mark]:
        marks = []
        for contestant in who.ON_DEMAND:
            parts = {row: part for row, name in self.times if name == contestant
                     and (part := self.slower(row, contestant)) is not None}
            if parts:
                worst = max(parts, key=lambda row: parts[row])
                reads, step = worst.split("/")
                marks.append(Mark(f"slower than classic anywhere, {contestant}",
                                  f"{parts[worst]:+.1%} at {100 * int(step) // STEPS} % touched, {_mix(int(reads))}",
                                  f"≤ {SLACK:+.0%}", parts[worst] <= SLACK))
        return marks

    def panels(self) -> list[Panel]:
        return [Panel(_mix(reads), "memory touched, %", "fork and access, ms",
                      self.series([(100 * step / STEPS, f"{reads}/{step}") for step in range(STEPS + 1)],
                                  lambda ns: ns / 1e6)) for reads in READS]


def _mix(reads: int) -> str:
    if reads in (0, 100):
        return "only read" if reads else "only written"
    return f"{reads} % read, {100 - reads} % written"
