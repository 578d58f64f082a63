"""Interactive shells on a terminal: the same keys natively and under Forkyard show the same screen."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from harness import ENVIRONMENT, ROOT, TIMEOUT_S, forkyard_argv

Step = tuple[bytes, bytes]
"""Keys to press, and a pattern that must then appear before the next step."""

CTRL_C, CTRL_D, CTRL_Z = b"\x03", b"\x04", b"\x1a"
PROMPT = b"shell> "
BEGUN = b"begun\r\n"
"""The command runs, in the foreground: the words as typed have quotes in them."""

JOBS: list[Step] = [
    (b"", PROMPT),
    (b"echo one | cat; test -t 0 && test -t 1 && echo terminal\r", PROMPT),
    (b"tty | cut -c 1-8\r", PROMPT),
    (b"sh -c 'echo be\"\"gun; exec sleep 7777'\r", BEGUN),
    (CTRL_C, PROMPT),
    (b"echo status $?\r", PROMPT),
    (b"sh -c 'echo be\"\"gun; exec cat'\r", BEGUN),
    (b"typed\r", b"typed\r\ntyped\r\n"),
    (CTRL_Z, PROMPT),
    (b"jobs\r", PROMPT),
    (b"fg\r", b"exec cat.*\n"),
    (b"again\r", b"again\r\nagain\r\n"),
    (CTRL_D, PROMPT),
    (b"echo to the terminal > /dev/tty\r", PROMPT),
    (b"stopped() { until grep -q ') T' /proc/$!/stat; do :; done; }\r", PROMPT),
    # One line: whether a job stops before or after the next prompt is a race on the host, too.
    (b"cat /dev/tty & stopped; jobs\r", PROMPT),
    (b"fg\r", b"cat /dev/tty.*\n"),
    (b"last\r", b"last\r\nlast\r\n"),
    (CTRL_C, PROMPT),
    (b"echo cleared\r", PROMPT),
    (b"echo be\"\"gun; read x; echo \"<$x>\"\r", BEGUN),
    (b"wordz\x7fs\r", b"<words>\r\n" + PROMPT),
    (b"exit 7\r", b""),
]


class Screen:
    """A program on a pseudo-terminal of its own."""

    def __init__(self, argv: Sequence[str], cwd: Path) -> None:
        environment = {**ENVIRONMENT, "PS1": PROMPT.decode(), "TERM": "dumb", "PYTHONPATH": str(ROOT)}
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execvpe(argv[0], list(argv), environment)
        self.shown = b""

    def step(self, keys: bytes, until: bytes) -> None:
        """Press keys; wait until ``until`` (or the end of the program, where it is empty) shows."""
        start = len(self.shown)
        os.write(self.fd, keys)
        deadline = time.monotonic() + TIMEOUT_S
        while not until or not re.search(until, self.shown[start:]):
            seen = self.shown[start:].decode(errors="replace")
            assert time.monotonic() < deadline, f"after {keys!r} no {until!r} in:\n{seen}"
            if select.select([self.fd], [], [], 1)[0]:
                try:
                    data = os.read(self.fd, 4096)
                except OSError:
                    data = b""
                if not data:
                    assert not until, f"it ends after {keys!r}, without {until!r}:\n{seen}"
                    return
                self.shown += data.replace(b"\x1b[6n", b"")

    def end(self) -> int:
        """The exit status."""
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def play(argv: Sequence[str], cwd: Path, steps: Sequence[Step]) -> tuple[str, int]:
    """The screen, without what differs by nature, and the exit status."""
    screen = Screen(argv, cwd)
    for keys, until in steps:
        screen.step(keys, until)
    status = screen.end()
    text = screen.shown.replace(b"\r", b"").decode(errors="replace")
    return re.sub(r"\[1\] \d+", "[1] PID", text), status


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux terminals")
@pytest.mark.parametrize("shell", ["busybox sh", "bash --norc --noediting -i"])
def test_job_control(shell: str, odf: int, scratch: Path) -> None:
    argv = shell.split()
    path = shutil.which(argv[0], path=ENVIRONMENT["PATH"])
    if path is None:
        pytest.skip(f"no {argv[0]}")
    argv[0] = path
    native = play(argv, scratch, JOBS)
    guest = play(forkyard_argv(argv, odf=odf, paranoid=False), scratch, JOBS)
    assert guest == native
    assert guest[1] == 7
