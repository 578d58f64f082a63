"""What is measured: one row a kind of work, with its contestants and the mark to reach."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field

from guest.bench.measure import Times, reported, usage

#: Host memory that Forkyard may use beyond 1.1 x what the guest touches.
BASE_BYTES = 300 << 20
_TOUCHED_MIB = 256


@dataclass(frozen=True)
class Row:
    """``contestants``: name → count of operations, small where each is slow, so that a round takes about 0.1 s."""

    name: str
    unit: str
    contestants: dict[str, int]
    program: str = ""
    args: tuple[str, ...] = ()
    divide: float = 1.0
    """Nanoseconds of the program in one ``unit``."""
    target: str = ""
    meets: Callable[[dict[str, float]], bool] | None = None
    """Given a value for each contestant: is the mark reached?"""
    measure: Callable[[str], list[float]] | None = field(default=None, repr=False)
    """How to get values in another way than from what the program prints; called with the contestant."""
    rounds: int = 0
    """Fixed number of rounds; 0: as asked for."""

    def once(self, contestant: str) -> list[float]:
        """Values of one more round."""
        if self.measure is not None:
            return self.measure(contestant)
        count = self.contestants[contestant]
        return [value / self.divide for value in reported(contestant, self.program, ("4", str(count), *self.args))]


def _cpu_seconds(contestant: str) -> list[float]:
    return [usage(contestant, "bench_hello", ()).cpu_s]


def _first_run(contestant: str) -> list[float]:
    with tempfile.TemporaryDirectory(prefix="forkyard-bench-") as folder:
        return [usage(contestant, "bench_hello", (), {"FORKYARD_CACHE": folder}).wall_s]


def _memory(contestant: str) -> list[float]:
    return [usage(contestant, "bench_touch", (str(_TOUCHED_MIB),)).peak_bytes / (1 << 20)]


def _below(limit: float, contestant: str = "forkyard") -> Callable[[dict[str, float]], bool]:
    return lambda values: values[contestant] <= limit


def _ratio(limit: float, ours: str, theirs: str) -> Callable[[dict[str, float]], bool]:
    return lambda values: theirs not in values or values[ours] <= limit * values[theirs]


ROWS = (
    Row("system call in Python (getpgid)", "µs", {"native": 1000000, "forkyard": 30000, "qemu": 200000}, "bench_call",
        ("getpgid",), 1e3, "≤ 4 µs", _below(4)),
    Row("system call in the hook (getppid)", "µs", {"native": 1000000, "forkyard": 300000, "qemu": 200000},
        "bench_call", ("getppid",), 1e3, "≤ 0.5 µs", _below(0.5)),
    Row("getppid, traced to /dev/null", "µs", {"native": 1000000, "trace": 8000, "strace": 1000}, "bench_call",
        ("getppid",), 1e3, "≤ 1/8 of strace", _ratio(1 / 8, "trace", "strace")),
    Row("pipe: write and read 1 byte", "µs", {"native": 200000, "forkyard": 8000, "qemu": 40000}, "bench_pipe", (),
        1e3, "≤ 10 µs", _below(10)),
    Row("fork + exit + wait4, small program", "µs", {"native": 500, "forkyard": 200, "forkyard --odf": 200, "qemu": 40},
        "bench_fork", (), 1e3, "≤ 1/2 of qemu", _ratio(1 / 2, "forkyard", "qemu")),
    Row("fork alone, 256 MiB written", "µs", {"native": 5, "forkyard": 5, "forkyard --odf": 5}, "bench_fork", ("256",),
        1e3, "--odf below classic", _ratio(1, "forkyard --odf", "forkyard")),
    Row("first write to a page (zero)", "µs", {"native": 4096, "forkyard": 4096, "qemu": 4096}, "bench_fault",
        ("zero",), 1e3, "≤ 2 µs", _below(2)),
    Row("first write to a page (copy)", "µs", {"native": 4096, "forkyard": 4096, "qemu": 4096}, "bench_fault", ("cow",),
        1e3, "≤ 2 µs", _below(2)),
    Row("compute loop, one step", "ns", {"native": 20000000, "forkyard": 8000000, "bare": 8000000, "qemu": 10000000},
        "bench_compute", (), 1, "≤ 1.1 of bare Unicorn", _ratio(1.1, "forkyard", "bare")),
    Row("static hello, whole process, CPU", "s", {"native": 1, "forkyard": 1, "qemu": 1}, target="≤ 0.8 s",
        meets=_below(0.8), measure=_cpu_seconds),
    Row("static hello, first run ever, elapsed", "s", {"forkyard": 1}, target="≤ 60 s", meets=_below(60),
        measure=_first_run, rounds=1),
    Row(f"host memory, guest touches {_TOUCHED_MIB} MiB", "MiB", {"native": 1, "forkyard": 1, "qemu": 1},
        target=f"≤ 1.1 × {_TOUCHED_MIB} + 300 MB",
        meets=_below(1.1 * _TOUCHED_MIB + BASE_BYTES / (1 << 20)), measure=_memory, rounds=1),
)


@dataclass
class Result:
    """A measured row; contestants that are not installed are not in ``times``."""

    row: Row
    times: dict[str, Times]
    best: bool = False
    """Go by the best values instead of the medians."""

    @property
    def values(self) -> dict[str, float]:
        """One value for each contestant, in the row's unit."""
        return {name: times.best if self.best else times.median for name, times in self.times.items()}

    @property
    def reached(self) -> bool | None:
        """None for a row without a mark."""
        return None if self.row.meets is None else self.row.meets(self.values)
