"""Interactive shells on a terminal: the same keys natively and under Forkyard show the same screen."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from harness import ENVIRONMENT, ROOT, forkyard_argv

Step = tuple[bytes, bytes]
"""Keys to press, and what must then appear before the next step (after the echo of the keys)."""

CTRL_C, CTRL_D, CTRL_Z = b"\x03", b"\x04", b"\x1a"
PROMPT = b"> "

JOBS: list[Step] = [
    (b"", PROMPT),
    (b"echo one | cat; test -t 0 && test -t 1 && echo terminal\r", PROMPT),
    (b"tty | cut -c 1-8\r", PROMPT),
    (b"sleep 77\r", b"sleep 77"),
    (CTRL_C, PROMPT),
    (b"echo status $?\r", PROMPT),
    (b"cat\r", b"cat"),
    (b"typed\r", b"typed\r\ntyped"),
    (CTRL_Z, PROMPT),
    (b"jobs\r", PROMPT),
    (b"fg\r", b"cat"),
    (b"again\r", b"again\r\nagain"),
    (CTRL_D, PROMPT),
    (b"echo to the terminal > /dev/tty\r", PROMPT),
    # One line: whether a job stops before or after the next prompt is a race on the host, too.
    (b"cat /dev/tty & sleep 1; jobs\r", b"topped"),
    (b"kill -9 %1; sleep 1\r", PROMPT),
    (b"echo cleared\r", PROMPT),
    (b"read x; echo \"<$x>\"\r", b"read x"),
    (b"wordz\x7fs\r", b"<words>"),
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

    def step(self, keys: bytes, until: bytes, timeout_s: float) -> None:
        """Press keys; wait until ``until`` (or the end of the program) shows."""
        start = len(self.shown)
        if keys:
            time.sleep(0.6 if keys in (CTRL_C, CTRL_D, CTRL_Z) else 0.1)
            os.write(self.fd, keys)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    data = os.read(self.fd, 4096)
                except OSError:
                    data = b""
                if not data:
                    return
                self.shown += data
                continue
            fresh = self.shown[start:].replace(b"\x1b[6n", b"")
            if until and until in fresh and (until != PROMPT or fresh.endswith(PROMPT)):
                return
        raise AssertionError(f"after {keys!r} no {until!r} in:\n{self.shown.decode(errors='replace')}")

    def end(self) -> int:
        """The exit status."""
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def play(argv: Sequence[str], cwd: Path, steps: Sequence[Step]) -> tuple[str, int]:
    """The screen, without what differs by nature, and the exit status."""
    screen = Screen(argv, cwd)
    for keys, until in steps:
        screen.step(keys, until, 60)
    status = screen.end()
    text = screen.shown.replace(b"\x1b[6n", b"").replace(b"\r", b"").decode(errors="replace")
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
    subprocess.run(forkyard_argv([path, "true"], paranoid=False), cwd=ROOT, capture_output=True)  # compiled by now
    guest = play(forkyard_argv(argv, odf=odf, paranoid=False), scratch, JOBS)
    assert guest == native
    assert guest[1] == 7
