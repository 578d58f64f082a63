"""What the user sees while a bench runs: a bar on stderr if that is a terminal, else a line for each step."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator

from guest.progress import Bar, is_terminal
from guest.runner import say

#: As a program that Ctrl-C has ended.
INTERRUPTED = 128 + 2


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt inside; it is for the caller. Outside it ends us, and is ignored if it was."""
    before = signal.getsignal(signal.SIGINT)
    try:
        if before == signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def interrupted(measured: bool) -> int:
    """Say that Ctrl-C came, and what follows; returns the exit status."""
    say("interrupted" + ("; this is what was measured so far" if measured else " before anything was measured"))
    return INTERRUPTED


class Steps(Bar):
    """A context manager over ``total`` steps: :meth:`begin` one, then say what came out with :meth:`done`."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.count = 0

    def __enter__(self) -> Steps:
        if is_terminal():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            self._bar = Progress(TextColumn("forkyard bench"), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn(),
                                 TextColumn("{task.fields[now]}", markup=False), console=Console(stderr=True),
                                 transient=True, refresh_per_second=2)
            self._task = self._bar.add_task("", total=self.total, now="")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self, what: str) -> None:
        """This is being measured now."""
        if self._bar is not None:
            self._bar.update(self._task, now=what)

    def done(self, what: str, result: str) -> None:
        """A step has ended."""
        self.count += 1
        if self._bar is not None:
            self._bar.update(self._task, completed=self.count, now=f"{what}: {result}")
        elif sys.stderr is not None:
            print(f"{self.count}/{self.total} {what}: {result}", file=sys.stderr, flush=True)
