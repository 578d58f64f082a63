"""A process parked at its fork point, and one child of it for each input: the kernel's side of a fork server.

    with ForkServer(Options(), ["./target", "/in"], input=BytesInput(path="/in")) as server:
        server.prepare()
        server.input.data = b"A" * 100
        status = server.run()            # as wait(2) gives it

Every run begins in the same state: process numbers, virtual time, random bytes and what the children before it wrote to
files in memory are put back. The program's memory is the parked process's, shared by fork on demand.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from guest.fuzz.forkpoint import Finder, ForkPoint
from guest.fuzz.input import BytesInput, InputError, InputSource
from guest.fuzz.input_file import InputFile
from guest.session import Options, Session
from kernel.errno import Errno
from kernel.rewind import Rewind
from kernel.task import exit as task_exit
from kernel.task.park import Parked
from kernel.task.signals import SIGKILL
from kernel.task.watch import StopWatch

if TYPE_CHECKING:
    from kernel.events import Events
    from kernel.kernel import Kernel
    from kernel.syscalls.table import Syscall
    from kernel.task.task import Task

_EXITS = ("exit", "exit_group")
PREPARE_LIMIT_S = 120.0
"""How long the program may take to reach its fork point."""


@dataclass
class Profile:
    """Where the time of the runs since the last profile() went, in nanoseconds of this thread's CPU time."""

    runs: int = 0
    input_ns: int = 0
    """Fetching the input and making it the program's file."""
    fork_ns: int = 0
    guest_ns: int = 0
    """Guest code, with the faults and translations that the compiled code does on the way."""
    kernel_ns: int = 0
    """System calls, signals and faults that Python finishes."""
    exit_ns: int = 0
    """The end of the child, from its call of exit_group on, and of what it left, and the way back to the state before;
    of a child that is ended by a signal only the latter."""


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
        self.input: InputSource = input or BytesInput()
        self.argv, self.env, self.fork_at = list(argv), env, fork_at
        self.fork_point: ForkPoint
        """Where the process is parked; after prepare()."""
        self._on_demand = fork == "odf"
        self._notice = on_notice or _ignore
        self.session = Session(replace(options or Options(), deterministic=True, coverage=coverage),
                               on_unknown_syscall=self._notice)
        self._watch = StopWatch(self.kernel.scheduler)
        self._file: InputFile
        self._task: Task
        self._parked: Parked | None = None
        self._rewind: Rewind | None = None
        self._clock = _Stages()

    @property
    def kernel(self) -> Kernel:
        return self.session.kernel

    @property
    def events(self) -> Events:
        """Where to subscribe (kernel/events.py): before prepare(), or between it and run() to see the runs alone."""
        return self.session.events

    # -- the life of a server --------------------------------------------------------------------------------------

    def prepare(self) -> ForkPoint:
        """Start the program and park it.

        Raises:
            LaunchError: it cannot be started.
            ForkPointError: it ends before the fork point, or there is no such place.
            InputError: the input's name cannot be used in the guest, or it cannot be read.
        """
        try:
            self._file = InputFile(self.kernel, self.input.path)
        except Errno as error:
            raise InputError(f"{self.input.path}: {os.strerror(error.code)}") from None
        self._fetch()
        self.session.start(self.argv, self.env)
        first = self.kernel.init.threads[0]
        if self.input.path is None:
            self._file.use_as_stdin(first.files)
        finder = Finder(self.kernel, self._run_in_time, self._file.inode)
        self._task, self.fork_point = finder.find(self.fork_at)
        if self.fork_point.notice is not None:
            self._notice(self.fork_point.notice)
        return self.fork_point

    def run(self, stop_fd: int | None = None) -> int:
        """Run one child on the bytes that the input source has now; returns its wait(2) status word.

        The child's own children and threads are ended with it. When ``stop_fd`` becomes readable (the pidfd of the
        sentinel) the run ends at once, with status 9 (SIGKILL), also out of a system call that sleeps.

        Raises:
            InputError: the input cannot be read; nothing was run.
        """
        clock, kernel = self._clock, self.kernel
        clock.begin()
        if self._parked is None:
            self._parked = Parked(self._task)
            self._rewind = Rewind(kernel, self._task.files)
        self._fetch()
        clock.stage("input_ns")
        if not self._watch.begin(stop_fd):
            return SIGKILL
        try:
            child = self._parked.fork(self._on_demand)
        except Errno:
            self._watch.end()
            return SIGKILL  # no memory for a child: what a guest that is out of memory gets
        group = child.group
        clock.stage("fork_ns")
        try:
            kernel.scheduler.run()
        finally:
            self._watch.end()
            clock.stage("kernel_ns")
            task_exit.kill_all(kernel)
            self._rewind.restore()  # type: ignore[union-attr]
            clock.end()
        return SIGKILL if group.exit_status is None else group.exit_status

    def run_whole(self, stop_fd: int | None = None) -> int:
        """Let the parked process itself go on to its end, without a fork; returns its wait(2) status word.

        For a launcher without a fuzzer. Nothing can be run afterwards.
        """
        self._fetch()
        if not self._watch.begin(stop_fd):
            return SIGKILL
        self._task.state = "R"
        self.kernel.scheduler.add(self._task)
        try:
            return self.kernel.run()
        finally:
            self._watch.end()

    def close(self) -> None:
        """End all processes and give everything back to the host; may be called again."""
        self._watch.close()
        if self._parked is not None:
            self._parked.release()
            self._parked = None
        self.session.close()

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- figures ---------------------------------------------------------------------------------------------------

    def measure(self, on: bool = True) -> None:
        """Take the time of the stages of each run from now on; it costs some microseconds a run, so it is off first."""
        self._clock.remove()
        self._clock = _Measured(self.kernel) if on else _Stages()

    def profile(self) -> Profile:
        """Where the time went since the last call, or since measure()."""
        return self._clock.profile()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _fetch(self) -> None:
        try:
            self._file.store(self.input.fetch())
        except Errno as error:
            raise InputError(f"the input is too large: {os.strerror(error.code)}") from None

    def _run_in_time(self) -> bool:
        """Run until something parks; False when that has taken PREPARE_LIMIT_S."""
        read, write = os.pipe2(os.O_CLOEXEC)
        alarm = threading.Timer(PREPARE_LIMIT_S, os.write, (write, b"x"))
        alarm.daemon = True
        alarm.start()
        try:
            self._watch.begin(read)
            self.kernel.scheduler.run()
            return not select.select([read], [], [], 0)[0]
        finally:
            self._watch.end()
            self._watch.begin(None)
            self._watch.end()
            alarm.cancel()
            alarm.join()
            os.close(read)
            os.close(write)


class _Stages:
    """Takes no time."""

    def begin(self) -> None:
        """A run begins."""

    def stage(self, name: str) -> None:
        """What was done since the last call was ``name``, a field of Profile."""

    def end(self) -> None:
        """The run is over; what was done since the last call was its end."""

    def profile(self) -> Profile:
        """The sums, which begin anew."""
        return Profile()

    def remove(self) -> None:
        """No more times are to be taken."""


class _Measured(_Stages):
    """Takes the time of each stage; of guest code by a stop watch around the engine."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._sums = Profile()
        self._last_ns = self._guest_ns = self._exit_began_ns = 0
        kernel.scheduler.before_syscall = self._look
        cpu = kernel.machine.cpu
        run = type(cpu).run.__get__(cpu)

        def timed(instructions: int = 0) -> int:
            begun_ns = time.thread_time_ns()
            try:
                return run(instructions)
            finally:
                self._guest_ns += time.thread_time_ns() - begun_ns

        cpu.run = timed  # type: ignore[method-assign]

    def begin(self) -> None:
        self._guest_ns = self._exit_began_ns = 0
        self._last_ns = time.thread_time_ns()

    def _look(self, task: Task, row: Syscall | None, args: list[int]) -> bool:
        if row is not None and row.name in _EXITS and task.group is self._kernel.init:
            self._exit_began_ns = time.thread_time_ns()
        return False

    def stage(self, name: str) -> None:
        now = time.thread_time_ns()
        if name == "kernel_ns" and self._exit_began_ns:
            now = self._exit_began_ns
        setattr(self._sums, name, getattr(self._sums, name) + now - self._last_ns)
        self._last_ns = now

    def end(self) -> None:
        self.stage("exit_ns")
        self._sums.runs += 1
        self._sums.guest_ns += self._guest_ns
        self._sums.kernel_ns -= self._guest_ns

    def profile(self) -> Profile:
        sums, self._sums = self._sums, Profile()
        return sums

    def remove(self) -> None:
        self._kernel.scheduler.before_syscall = None
        del self._kernel.machine.cpu.run


def _ignore(line: str) -> None:
    """Nobody wants to know."""
