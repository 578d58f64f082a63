"""A launcher whose program is a few lines of Python: the protocol can be tested without the emulator.

    python tests/afl_fake.py [@@]

What "the program" does is the first word of its input: ``exit N``, ``signal N``, ``sleep`` (until it is stopped),
``late`` (until it is stopped, too, and yet it has ended by itself), ``break`` (the server itself fails);
anything else exits with 0. Its coverage is one byte for each pair of neighbours in the input.
"""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from guest.fuzz.afl_command import Job, launch
from guest.fuzz.forkpoint import ForkPoint


class FakeServer:
    """Stands for guest.fuzz.forkserver.ForkServer."""

    def __init__(self, job: Job, how: Any) -> None:
        self.job = job

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""

    def prepare(self) -> ForkPoint:
        """It stands at its fork point already."""
        return ForkPoint("entry", 0, "at its first line")

    def run(self, stop_fd: int | None = None) -> int:
        data = self.job.input.fetch()
        self.cover(data)
        word, _, number = data.decode(errors="replace").partition(" ")
        if word in ("sleep", "late"):
            select.select([stop_fd] if stop_fd is not None else [], [], [])
            return 9 if word == "sleep" else 0
        if word == "break":
            raise RuntimeError("the server breaks")
        return {"exit": int(number or 0) << 8, "signal": int(number or 0)}.get(word, 0) if number.isdecimal() else 0

    run_whole = run

    def cover(self, data: bytes) -> None:
        segment = self.job.coverage
        if segment is not None:
            for a, b in zip(b"\0" + data, data, strict=False):
                segment.view[(a * 251 + b) % self.job.map_size] = 1


if __name__ == "__main__":
    status = launch(["fake", *sys.argv[1:]], dict(os.environ), {"input_file": None},
                    lambda job, how: FakeServer(job, how))  # type: ignore[arg-type,return-value]
    os._exit(status)
