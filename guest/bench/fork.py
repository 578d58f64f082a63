"""``forkyard bench fork``: the fork call by the size of the process; figure 1 of the paper."""

from __future__ import annotations

from collections.abc import Sequence

from guest.bench.experiment import (
    CLASSIC,
    CONTESTANTS,
    HEADINGS,
    HOST,
    ODF1,
    ODF2,
    OURS,
    PAPER_CLASSIC,
    PAPER_ODF,
    Experiment,
    Grid,
    Mark,
    Panel,
    Run,
    Series,
    at_least,
    at_most,
    duration,
    size_text,
)
from guest.bench.measure import Outcome

SIZES_MIB = (64, 256, 1 << 10, 4 << 10, 16 << 10, 50 << 10)
#: MiB → (fork, on-demand fork) in ns: EuroSys '21, AMD EPYC, Linux 5.6.19.
PAPER = {1 << 10: (6.54e6, 0.10e6), 50 << 10: (253.9e6, 0.94e6)}
GIB, LARGEST = 1 << 10, 50 << 10
#: What a fork of the program takes without any more memory: the rest is page-table work.
BARE = "nothing more"
#: Calls in one process, for processes up to 4 GiB and above.
_FORKS, _FORKS_LARGE = 40, 10


class ForkExperiment(Experiment):
    """Rows are sizes; besides times it keeps the entries that a fork visits, and the emulator's peak memory."""

    name = "fork"
    title = "The fork call, as the guest times it"

    def __init__(self, best: bool = False, sizes_mib: Sequence[int] = SIZES_MIB) -> None:
        super().__init__(best)
        self.sizes = {BARE: 0, **{size_text(mib): mib for mib in sizes_mib}}
        self.entries: dict[tuple[str, str], float] = {}
        self.peaks: dict[tuple[str, str], int] = {}

    def runs(self) -> list[Run]:
        return [Run(row, contestant, "bench_forksize", (str(mib), str(_forks(mib))), _guest_bytes(mib), mib << 20)
                for row, mib in self.sizes.items() for contestant in CONTESTANTS]

    def take(self, run: Run, outcome: Outcome) -> str:
        values = outcome.values["fork"]
        self.add(run.row, run.contestant, values)
        if outcome.stats:
            place = run.row, run.contestant
            self.entries[place] = outcome.stats["fork_entries"] / (len(values) + len(outcome.values["first"]))
            self.peaks[place] = max(self.peaks.get(place, 0), outcome.peak_bytes)
        return duration(min(values))

    def grids(self) -> list[Grid]:
        times = [[row, *self.cells(row, duration), *(duration(ns) for ns in PAPER.get(mib, ()))]
                 for row, mib in self.sizes.items()]
        work = [[row, *(f"{self.entries[row, name]:.0f}" if (row, name) in self.entries else "" for name in OURS),
                 *(f"{self.peaks[row, name] >> 20} MiB" if (row, name) in self.peaks else "" for name in OURS)]
                for row in self.sizes]
        return [
            Grid(self.title, ("memory", *HEADINGS.values(), PAPER_CLASSIC, PAPER_ODF),
                 [row + [""] * (7 - len(row)) for row in times]),
            Grid("Page-table entries that one fork visits, and the most host memory that the emulator had",
                 ("memory", *(f"entries: {name}" for name in OURS), *(f"host memory: {name}" for name in OURS)), work),
        ]

    def marks(self) -> list[Mark]:
        marks = []
        gib, largest = size_text(GIB), size_text(LARGEST)
        for contestant in (ODF1, ODF2):
            call = self.value(gib, contestant)
            if call is not None:
                marks.append(at_most(f"fork call at 1 GiB, {contestant}", call, 250e3))
            faster = self.ratio(gib, HOST, contestant)
            if faster is not None:
                marks.append(at_least(f"… against the host's own fork, {contestant}", faster, 50, "faster"))
        for contestant, limit in ((ODF1, 1e6), (ODF2, 300e3)):
            call = self.value(largest, contestant)
            if call is not None:
                marks.append(at_most(f"fork call at 50 GiB, {contestant}", call, limit))
            classic, work = self.work(largest, CLASSIC), self.work(largest, contestant)
            if classic is not None and work is not None:
                # Less than a nanosecond cannot be told from nothing.
                marks.append(at_least(f"page-table work at 50 GiB, {contestant} against classic",
                                       classic / max(work, 1), 270, "less time"))
        peaks = [peak for (row, _), peak in self.peaks.items() if row == largest]
        if peaks:
            marks.append(Mark("host memory for the 50 GiB guest", f"{max(peaks) >> 20} MiB", "≤ 1 GB",
                              max(peaks) <= 10**9))
        return marks

    def work(self, row: str, contestant: str) -> float | None:
        """The part of the call that the size accounts for, in ns: what is beyond the same fork of a bare process."""
        call, bare = self.value(row, contestant), self.value(BARE, contestant)
        return None if call is None or bare is None else max(call - bare, 0.0)

    def panels(self) -> list[Panel]:
        points = [(float(mib), row) for row, mib in self.sizes.items() if mib]
        lines = self.series(points, lambda ns: ns / 1e6)
        for name, column in ((PAPER_CLASSIC, 0), (PAPER_ODF, 1)):
            known = sorted(mib for mib in PAPER if mib in self.sizes.values())
            if known:
                lines.append(Series(name, [float(mib) for mib in known], [PAPER[mib][column] / 1e6 for mib in known]))
        return [Panel(self.title, "memory of the process", "time of the fork call, ms", lines, log_x=True, log_y=True,
                      ticks=dict(points), ends=True)]


def _forks(mib: int) -> int:
    return _FORKS if mib <= 4 << 10 else _FORKS_LARGE


def _guest_bytes(mib: int) -> int:
    """RAM for that much memory, its page tables, the copies of them that a classic fork makes, and a program."""
    return (mib << 20) + 2 * (mib << 20) // 512 + (256 << 20)
