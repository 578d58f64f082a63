"""A process parked at its fork point, and one child of it for each input: the kernel's side of a fork server.

    with ForkServer(Options(), ["./target", "/in"], input=BytesInput(path="/in")) as server:
        server.prepare()
        server.input.data = b"A" * 100
        status = server.run()            # as wait(2) gives it

Every run begins in the same state: process numbers, virtual time, random bytes and what the children before it wrote to
files in memory are put back. The program's memory is the parked process's, shared by fork on demand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guest.fuzz.forkpoint import ForkPoint
from guest.fuzz.input import BytesInput, InputSource
from guest.session import Options, Session

if TYPE_CHECKING:
    from kernel.events import Events
    from kernel.kernel import Kernel


@dataclass(frozen=True)
class Profile:
    """Where the time of the runs since the last profile() went, in nanoseconds of this process's CPU time."""

    runs: int
    input_ns: int
    """Fetching the input and making it the program's file."""
    fork_ns: int
    guest_ns: int
    """Guest code, with the faults and translations that the compiled code does on the way."""
    kernel_ns: int
    """System calls, signals and faults that Python finishes."""
    exit_ns: int
    """The end of the child and of what it left, and the way back to the state before."""


class ForkServer:
    """One program, parked; :meth:`run` it again and again. A context manager; :meth:`close` ends everything.

    Args:
        options: ``deterministic`` is set in a copy; stdin, where the input is the program's stdin, is replaced.
        argv: the program and its arguments, ``@@`` already replaced by ``input.path``.
        env: the program's environment; the caller's own by default.
        fork_at: ``entry``, ``main``, ``first-read``, an address (``0x401136``: virtual in a program without PIE, else
            an offset from its load address; ``libfoo.so+0x1234``) or a symbol.
        coverage: what COVERAGE defines; None for none.
        fork: ``odf`` shares page tables on demand, ``classic`` copies them.
        input: where the bytes come from.
        on_notice: called with lines for people (the fork point fell back to the entry, an unknown system call).
    """

    def __init__(self, options: Options | None, argv: Sequence[str], *, env: Mapping[str, str] | None = None,
                 fork_at: str = "first-read", coverage: Any = None, fork: str = "odf",
                 input: InputSource | None = None, on_notice: Callable[[str], None] | None = None) -> None:
        self.session: Session
        self.input: InputSource = input or BytesInput()
        self.fork_point: ForkPoint
        """Where the process is parked; after prepare()."""
        raise NotImplementedError

    @property
    def kernel(self) -> Kernel:
        return self.session.kernel

    @property
    def events(self) -> Events:
        """Where to subscribe (kernel/events.py): before prepare(), or between it and run() to see the runs alone."""
        return self.session.events

    def prepare(self) -> ForkPoint:
        """Start the program and park it.

        Raises:
            LaunchError: it cannot be started.
            ForkPointError: it ends before the fork point, or there is no such place.
        """
        raise NotImplementedError

    def run(self, stop_fd: int | None = None) -> int:
        """Run one child on the bytes that the input source has now; returns its wait(2) status word.

        The child's own children and threads are ended with it. When ``stop_fd`` becomes readable (the pidfd of the
        sentinel) the run ends at once, with status 9 (SIGKILL), also out of a system call that sleeps.

        Raises:
            InputError: the input cannot be read; nothing was run.
        """
        raise NotImplementedError

    def run_whole(self, stop_fd: int | None = None) -> int:
        """Let the parked process itself go on to its end, without a fork; returns its wait(2) status word.

        For a launcher without a fuzzer. Nothing can be run afterwards.
        """
        raise NotImplementedError

    def profile(self) -> Profile:
        """Where the time went since the last call, or since prepare()."""
        raise NotImplementedError

    def close(self) -> None:
        """End all processes and give everything back to the host; may be called again."""
        raise NotImplementedError

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
