"""Run a program once for each input, and say how each run ended: with a crash, a hang or nothing special."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from guest.fuzz.crash import Crash, Witness
from guest.fuzz.crash_groups import stack_hash
from guest.fuzz.crash_inputs import Job
from guest.fuzz.forkserver import ForkServer
from guest.fuzz.input import BytesInput, InputError
from guest.fuzz.options import session_fields
from guest.fuzz.target import guest_words
from guest.session import Options

if TYPE_CHECKING:
    from collections.abc import Callable

_SIGKILL = 9
_AGAIN_S = 0.001


@dataclass
class Outcome:
    """How one run ended."""

    path: str
    """The input's file on the host."""
    size: int
    """Its length in bytes."""
    kind: str
    """``crash``, ``timeout``, ``exit`` or ``error`` (the input could not be read)."""
    status: int
    """As wait(2) has it."""
    seconds: float
    crash: Crash | None = None
    """Also for a timeout: where the program was."""
    others: list[Crash] = field(default_factory=list)
    """Of the program's children."""
    output: str = ""
    """The end of what the program wrote to stderr."""
    error: str = ""
    group: str | None = None
    """The name of its group: the same for crashes that are alike."""

    @property
    def reproduced(self) -> bool:
        """Did the input do what it was kept for: crash, or hang?"""
        return self.kind in ("crash", "timeout")

    @property
    def text(self) -> str:
        """How it ended, in a few words."""
        if self.error:
            return self.error
        if self.kind == "timeout":
            return "timeout"
        signo = self.status & 0x7F
        if signo:
            from guest.trace.structs_task import signal_name

            return signal_name(signo)
        return f"exit status {self.status >> 8 & 0xFF}"


class Replayer:
    """A parked program that :meth:`run` gives one input after the other. A context manager.

    Raises:
        LaunchError: the program cannot be started.
        ForkPointError: it ends before its fork point.
    """

    def __init__(self, job: Job, env: Mapping[str, str], how: Mapping[str, Any], timeout_s: float | None,
                 crash_exit_code: int | None, say: Callable[[str], None]) -> None:
        self._timeout_s = timeout_s
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        """Ends a run; the same for all, as the fork server tells descriptors apart by their numbers."""
        self._server = make_server(job, env, how, self._null, say)
        try:
            self._server.prepare()
            self._witness = Witness(self._server.kernel, crash_exit_code)
        except BaseException:
            self.close()
            raise
        self._crash_exit_code = crash_exit_code

    def close(self) -> None:
        """End the program; may be called again."""
        self._server.close()
        if self._null >= 0:
            os.close(self._null)
            os.close(self._stop)
            self._null = -1

    def __enter__(self) -> Replayer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, path: str) -> Outcome:
        """One run on the input in ``path``."""
        source = self._server.input
        assert isinstance(source, BytesInput)
        try:
            with open(path, "rb") as stream:
                source.data = stream.read()
        except OSError as error:
            return Outcome(path, 0, "error", 0, 0.0, error=f"{error.strerror}")
        self._witness.begin()
        begin = time.monotonic()
        try:
            status, timed_out = self._run_limited()
        except InputError as error:
            return Outcome(path, len(source.data), "error", 0, 0.0, error=str(error))
        evidence = self._witness.evidence
        outcome = Outcome(path, len(source.data), "exit", status, time.monotonic() - begin, evidence.crash,
                          evidence.others, evidence.output.decode(errors="backslashreplace"))
        if timed_out:
            outcome.kind = "timeout"
        elif status & 0x7F or (self._crash_exit_code is not None and status >> 8 & 0xFF == self._crash_exit_code):
            outcome.kind = "crash"
        if outcome.reproduced and outcome.crash is not None:
            outcome.group = stack_hash(outcome.crash)
        elif outcome.reproduced:
            outcome.group = outcome.text
        return outcome

    def _run_limited(self) -> tuple[int, bool]:
        """Run the child; after the time limit look where it is and end it. Returns (wait status, was it the limit)."""
        if self._timeout_s is None:
            return self._server.run(), False
        kernel = self._server.kernel
        over, expired = threading.Event(), threading.Event()

        def look() -> None:
            """In the emulator's thread, between two steps of the guest."""
            task = kernel.init.leader or next(iter(kernel.init.threads), None)
            if task is None or over.is_set():
                return
            self._witness.look_at(task, f"timeout after {self._timeout_s:g} s")
            expired.set()
            over.set()
            os.eventfd_write(self._stop, 1)

        def expire() -> None:
            kernel.scheduler.posted.put(look)
            while not over.wait(_AGAIN_S):
                kernel.machine.cpu.stop()  # one request can be lost

        timer = threading.Timer(self._timeout_s, expire)
        timer.daemon = True
        timer.start()
        try:
            status = self._server.run(self._stop)
        finally:
            timer.cancel()
            over.set()
            timer.join()
            if expired.is_set():
                os.eventfd_read(self._stop)
        return status, expired.is_set() and status & 0x7F == _SIGKILL


def make_server(job: Job, env: Mapping[str, str], how: Mapping[str, Any], null: int, say: Callable[[str], None],
                output: tuple[int, int] | None = None) -> ForkServer:
    """A fork server as the launcher has it, for inputs that the caller gives.

    ``null`` is open on /dev/null, where stdout and stderr go as under afl-fuzz; ``output`` are others.
    """
    stdout, stderr = output or (null, null)
    path = None
    argv = list(job.argv)
    if job.placeholder is not None:
        argv, path = guest_words(argv, job.placeholder)
    options = Options(**session_fields(how), stdin=null, stdout=stdout, stderr=stderr)
    return ForkServer(options, argv, env=env, fork_at=how["fork_at"], fork=how["fork"],
                      input=BytesInput(path=path), on_notice=say)
