"""What the user sees while the hot code is compiled: once after installation and after each change of the source."""

from __future__ import annotations

import os
import sys
from typing import Any


class Bar:
    """A bar on stderr, where that is a terminal."""

    _bar: Any = None
    _task: Any = None

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class CompileProgress(Bar):
    """Called with (done, total, name). A bar on stderr if that is a terminal, else one line. Nothing on stdout."""

    _said = False

    def __call__(self, done: int, total: int, name: str) -> None:
        if not self._said:
            self._said = True
            self._begin(total)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, name=name.rpartition(".")[2])

    def _begin(self, total: int) -> None:
        if not is_terminal():
            if sys.stderr is not None:
                print("forkyard: compiling the machine for this host (once, up to a minute) ...", file=sys.stderr,
                      flush=True)
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._bar = Progress(TextColumn("forkyard: compiling the machine for this host, once"), BarColumn(30),
                             TimeElapsedColumn(), TextColumn("{task.fields[name]}"), console=Console(stderr=True),
                             transient=True)
        self._task = self._bar.add_task("", total=total, name="starting")
        self._bar.start()


def is_terminal() -> bool:
    """A terminal on which a line can be drawn anew."""
    try:
        return os.isatty(2) and os.environ.get("TERM") not in (None, "", "dumb", "unknown")
    except OSError:
        return False
