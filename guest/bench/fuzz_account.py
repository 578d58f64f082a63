"""``python -m guest.bench.fuzz_account FILE OPTIONS -- PROGRAM ARGS…``: ``forkyard afl`` that keeps account of itself.

It runs as for a fuzzer. After a second of runs it writes to FILE, as JSON, what one of them took on average: the
stages, all by the clock of this thread, and what is left of the time from the end of the run before as the protocol.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guest.environment import as_given
from guest.fuzz.afl_command import Job, launch, real_server
from guest.fuzz.cli import afl

if TYPE_CHECKING:
    from guest.fuzz.forkserver import ForkServer
    from guest.session import Stats

#: Runs before those that count: the first ones translate the program's code.
WARM_UP_RUNS = 30
_LEAST_CPU_NS = 1_000_000_000


class Account:
    """In the place of ``server.run``: runs, and keeps account."""

    def __init__(self, server: ForkServer, path: Path) -> None:
        self._server, self._path = server, path
        self._run = server.run
        self._runs = self._first_ns = self._begun_ns = 0
        self._before: Stats

    def run(self, stop_fd: int | None = None) -> int:
        """One run. What counts lies between the ends of two, so each run has one turn of the protocol."""
        begun_ns = time.thread_time_ns()
        status = self._run(stop_fd)
        now_ns = time.thread_time_ns()
        self._runs += 1
        if self._runs == 1:
            self._first_ns = now_ns - begun_ns
        elif self._runs == WARM_UP_RUNS:
            self._before = self._server.session.stats()
            self._server.measure()
            self._begun_ns = time.thread_time_ns()
        elif self._begun_ns and now_ns - self._begun_ns >= _LEAST_CPU_NS:
            self._path.write_text(json.dumps(self._sums(now_ns - self._begun_ns)))
            self._begun_ns = 0
        return status

    def _sums(self, whole_ns: int) -> dict[str, float]:
        profile, after = self._server.profile(), self._server.session.stats()
        sums = {name: value for name, value in vars(profile).items() if name.endswith("_ns")}
        sums["protocol_ns"] = whole_ns - sum(sums.values())
        sums |= {"faults": after.faults - self._before.faults,
                 "pages": after.pages_copied - self._before.pages_copied,
                 "tables": after.tables_copied - self._before.tables_copied}
        return {"first": self._first_ns, **{name: value / profile.runs for name, value in sums.items()}}


def main(path: str, *words: str) -> int:
    """Returns the launcher's exit status."""
    def make(job: Job, how: Mapping[str, Any]) -> ForkServer:
        server = real_server(job, how)
        server.run = Account(server, Path(path)).run  # type: ignore[method-assign]
        return server

    how = afl.make_context("afl", list(words)).params
    return launch(how.pop("argv"), as_given(os.environ), how, make)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
