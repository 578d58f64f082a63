"""``forkyard bench fork``: the fork call by the size of the process; figure 1 of the paper."""

from __future__ import annotations

from collections.abc import Sequence

from guest.bench import contestants as who
from guest.bench import figures
from guest.bench.experiment import Experiment, Run
from guest.bench.figures import Grid, Mark, Panel, Series
from guest.bench.measure import Outcome

SIZES_MIB = (64, 256, 1 << 10, 4 << 10, 16 << 10, 50 << 10)
#: MiB → (fork, on-demand fork) in ns: EuroSys '21, AMD EPYC, Linux 5.6.19.
PAPER = {1 << 10: (6.54e6, 0.10e6), 50 << 10: (253.9e6, 0.94e6)}
GIB, LARGEST = 1 << 10, 50 << 10
#: What a fork of the program takes without any more memory: the rest is page-table work.
BARE = "nothing more"
#: Calls in one process, up to 4 GiB and above; of the bare one many, because the best of them counts.
_FORKS, _FORKS_LARGE, _FORKS_BARE = 40, 10, 400
_NOTE = f"Page-table work is a call less the best one with {BARE}, of {_FORKS_BARE} in each process."


class ForkExperiment(Experiment):
    """Rows are sizes; besides times it keeps the entries that a fork visits, and the emulator's peak memory."""

    name = "fork"
    title = "The fork call, as the guest times it"

    def __init__(self, best: bool = False, sizes_mib: Sequence[int] = SIZES_MIB) -> None:
        super().__init__(best)
        self.sizes = {BARE: 0, **{figures.size_text(mib): mib for mib in sizes_mib}}
        self.entries: dict[tuple[str, str], float] = {}
        self.peaks: dict[tuple[str, str], int] = {}

    def runs(self) -> list[Run]:
        return [Run(row, contestant, "bench_forksize", (str(mib), str(_forks(mib))), _guest_bytes(mib), mib << 20)
                for row, mib in self.sizes.items() for contestant in who.ALL]

    def take(self, run: Run, outcome: Outcome) -> str:
        values = outcome.values["fork"]
        self.add(run.row, run.contestant, values)
        if outcome.stats:
            place = run.row, run.contestant
            self.entries[place] = outcome.stats["fork_entries"] / (len(values) + len(outcome.values["first"]))
            self.peaks[place] = max(self.peaks.get(place, 0), outcome.peak_bytes)
        return figures.duration(min(values))

    def grids(self) -> list[Grid]:
        times = [[row, *self.cells(row, figures.duration), *(figures.duration(ns) for ns in PAPER.get(mib, ()))]
                 for row, mib in self.sizes.items()]
        work = [[row, *(f"{self.entries[row, name]:.0f}" if (row, name) in self.entries else "" for name in who.OURS),
                 *(f"{self.peaks[row, name] >> 20} MiB" if (row, name) in self.peaks else "" for name in who.OURS)]
                for row in self.sizes]
        return [
            self.table(self.title, ("memory",), times, *who.PAPER, note=_NOTE),
            Grid("Page-table entries that one fork visits, and the most host memory that the emulator had",
                 ("memory", *(f"entries: {name}" for name in who.OURS),
                  *(f"host memory: {name}" for name in who.OURS)), work),
        ]

    def marks(self) -> list[Mark]:
        marks = []
        gib, largest = figures.size_text(GIB), figures.size_text(LARGEST)
        for one in who.ON_DEMAND:
            marks += figures.at_most(f"fork call at 1 GiB, {one}", self.value(gib, one), 250e3)
            marks += figures.at_least(f"… against the host's own fork, {one}", self.ratio(gib, who.HOST, one), 50,
                                      "faster")
        for one, limit in ((who.ODF1, 1e6), (who.ODF2, 300e3)):
            marks += figures.at_most(f"fork call at 50 GiB, {one}", self.value(largest, one), limit)
            marks += figures.at_least(f"page-table work at 50 GiB, {one} against classic",
                                      self.less_work(largest, one), 270, "less time")
        peaks = [peak for (row, _), peak in self.peaks.items() if row == largest]
        if peaks:
            marks.append(Mark("host memory for the 50 GiB guest", f"{max(peaks) >> 20} MiB", "≤ 1 GB",
                              max(peaks) <= 10**9))
        return marks

    def work(self, row: str, contestant: str) -> float | None:
        """The part of the call that the size accounts for, in ns: what is beyond the same fork of a bare process.

        The best of that one's calls, because others are longer only for what the machine did besides.
        """
        call, bare = self.value(row, contestant), self.times.get((BARE, contestant))
        return None if call is None or bare is None else max(call - bare.best, 0.0)

    def less_work(self, row: str, contestant: str) -> float | None:
        """How many times less page-table work than classic fork."""
        classic, work = self.work(row, who.CLASSIC), self.work(row, contestant)
        # Less than a nanosecond cannot be told from nothing.
        return None if classic is None or work is None else classic / max(work, 1)

    def panels(self) -> list[Panel]:
        points = [(float(mib), row) for row, mib in self.sizes.items() if mib]
        lines = self.series(points, lambda ns: ns / 1e6)
        for column, name in enumerate(who.PAPER):
            known = sorted(mib for mib in PAPER if mib in self.sizes.values())
            if known:
                lines.append(Series(name, [float(mib) for mib in known], [PAPER[mib][column] / 1e6 for mib in known]))
        return [Panel(self.title, "memory of the process", "time of the fork call, ms", lines, log_x=True, log_y=True,
                      ticks=dict(points), ends=True)]


def _forks(mib: int) -> int:
    return _FORKS_BARE if not mib else _FORKS if mib <= 4 << 10 else _FORKS_LARGE


def _guest_bytes(mib: int) -> int:
    """RAM for that much memory, its page tables, the copies of them that a classic fork makes, and a program."""
    return (mib << 20) + 2 * (mib << 20) // 512 + (256 << 20)
