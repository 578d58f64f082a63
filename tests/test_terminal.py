"""An interactive shell on a pseudo-terminal: line editing, Ctrl-C, Ctrl-Z, Ctrl-D, and the modes afterwards."""

from __future__ import annotations

import os
import pty
import select
import sys
import termios
import time
from collections.abc import Iterator

import harness
import pytest

LIMIT_S = 120.0
#: Prints "begun" when the job is in the foreground; the words as typed do not hold it.
BEGIN = b"sh -c 'echo be\"\"gun; exec %s'"


class Terminal:
    """``forkyard run -- ARGV`` on a terminal of its own."""

    def __init__(self, *argv: str) -> None:
        env = {**harness.ENVIRONMENT, "PS1": "% ", "TERM": "dumb", "PYTHONPATH": str(harness.ROOT)}
        env |= {name: value for name, value in os.environ.items() if name.startswith("FORKYARD")}
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [sys.executable, "-m", "guest.cli", "run", "--", *argv], env)
        self.modes = termios.tcgetattr(self.fd)
        self.seen = b""

    def expect(self, text: bytes) -> bytes:
        """Read until ``text`` has come; what came before it is returned and dropped."""
        deadline = time.monotonic() + LIMIT_S
        while text not in self.seen:
            assert time.monotonic() < deadline, f"no {text!r} after {self.seen!r}"
            if select.select([self.fd], [], [], 0.2)[0]:
                self.seen += os.read(self.fd, 4096)
        before, _, self.seen = self.seen.partition(text)
        return before

    def send(self, text: bytes, expect: bytes = b"") -> None:
        """Type ``text``, then wait for ``expect``."""
        os.write(self.fd, text)
        if expect:
            self.expect(expect)

    def status(self) -> int:
        """Wait for the end; the exit status."""
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    self.seen += os.read(self.fd, 4096)
                except OSError:
                    break
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def terminal(request: pytest.FixtureRequest) -> Iterator[Terminal]:
    opened = Terminal(*request.param)
    yield opened
    opened.close()


@pytest.mark.parametrize("terminal", [("/bin/busybox", "sh")], indirect=True)
def test_busybox_sh(terminal: Terminal) -> None:
    t = terminal
    t.expect(b"% ")
    t.send(b"echo a$((1+1))b\n", b"a2b\r\n")
    t.send(BEGIN % b"sleep 100" + b"; echo not\n", b"begun\r\n")
    t.send(b"\x03", b"% ")
    t.send(b"echo status $?\n", b"status 130\r\n")
    t.send(b"echo abc\x7f\x7fXY\n", b"\r\naXY\r\n")
    t.expect(b"% ")
    t.send(b"half a line\x03", b"% ")
    t.send(BEGIN % b"cat" + b"\n", b"begun\r\n")  # what is typed while the shell still reads is its own
    t.send(b"line\n", b"line\r\nline\r\n")
    t.send(b"\x04", b"% ")
    t.send(b"exit 5\n")
    assert t.status() == 5
    assert termios.tcgetattr(t.fd) == t.modes


@pytest.mark.parametrize("terminal", [("/bin/bash", "--norc")], indirect=True)
def test_bash_job_control(terminal: Terminal) -> None:
    t = terminal
    t.expect(b"% ")
    t.send(BEGIN % b"sleep 100" + b"\n", b"begun\r\n")
    t.send(b"\x1a", b"Stopped")
    t.send(b"jobs\n", b"Stopped")
    t.expect(b"% ")
    t.send(b"kill %1\n")
    while b"Terminated" not in t.expect(b"% "):  # the shell tells before the first prompt after it
        t.send(b"\n")
    t.send(b"exit 6\n")
    assert t.status() == 6
    assert termios.tcgetattr(t.fd) == t.modes


@pytest.mark.parametrize("terminal", [("/bin/cat",)], indirect=True)
def test_ctrl_c_ends_a_program(terminal: Terminal) -> None:
    t = terminal
    t.send(b"hello\n", b"hello\r\nhello\r\n")
    t.send(b"\x03")
    assert t.status() == 130


@pytest.mark.parametrize("terminal", [("/bin/busybox", "vi", "/tmp/no-such-file")], indirect=True)
def test_modes_are_restored_when_killed(terminal: Terminal) -> None:
    t = terminal
    t.expect(b"~")
    assert termios.tcgetattr(t.fd) != t.modes
    os.kill(t.pid, 15)
    assert t.status() == 143
    assert termios.tcgetattr(t.fd) == t.modes
