"""Run programs under Forkyard from Python.

    from guest.session import run

    done = run(["/bin/busybox", "sh", "-c", "ls | wc -l"], odf=True)
    print(done.returncode, done.stdout)

:func:`run` is like :func:`subprocess.run`. A :class:`Session` gives more: the kernel and its events before the program
starts, and figures afterwards::

    with Session(Options(odf=True)) as session:
        session.events.subscribe("fork", lambda parent, child, flags, odf: print(child.tid, odf))
        session.start(["/bin/bash", "-c", "ls | wc -l"])
        status = session.run()
        print(session.stats().tables_shared)

One session runs at a time in a process; each is a machine of its own, with nothing left of the one before.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emu.engine import EngineError
from emu.layout import M_ANSWERED, M_FAULTS, M_FILLS, M_STARTS
from emu.native import CompileError
from guest.host_signals import HostInterruptError, HostSignals
from guest.launch import LaunchError, start_program
from kernel.kernel import Kernel, Options
from kernel.mm.layout import (
    K_FORK_ENTRIES,
    K_FREE_COUNT,
    K_PAGES_COPIED,
    K_PAGES_ZEROED,
    K_PMDS_COPIED,
    K_TABLES_COPIED,
    K_TABLES_REARMED,
    K_TABLES_SHARED,
    K_USED,
)
from kernel.mm.swap import SwapError

if TYPE_CHECKING:
    from kernel.events import Events
    from kernel.task.task import Task

__all__ = ["CompileError", "Completed", "EngineError", "HostInterruptError", "LaunchError", "Options", "Session",
           "Stats", "SwapError", "run"]

#: As timeout(1).
TIMED_OUT = 124
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Stats:
    """What a session has done so far; the counts of memory work are those of ``kernel/mm/layout.py``."""

    used_bytes: int
    """Guest memory in use now: pages, tables and page cache."""
    fork_entries: int
    """Page-table entries that forks looked at: 512 a table for a classic fork, 1 for one on demand."""
    tables_shared: int
    tables_copied: int
    pmds_copied: int
    """PMD tables copied because they were shared (fork at level 2)."""
    tables_rearmed: int
    """Tables made writable again in place, because the other side had gone."""
    pages_copied: int
    pages_zeroed: int
    faults: int
    tlb_fills: int
    calls_answered: int
    """System calls answered by compiled code."""
    engine_starts: int


@dataclass(frozen=True)
class Completed:
    """How a program ended. ``returncode`` is a shell's: 128+N after signal N, 124 after the time limit."""

    argv: tuple[str, ...]
    returncode: int
    wait_status: int
    """The status word of wait(2)."""
    timed_out: bool
    stdout: bytes
    stderr: bytes
    stats: Stats


class Session:
    """A machine, its kernel and one first program. A context manager; :meth:`close` ends everything.

    ``on_unknown_syscall`` is called with a line of text for each system call number that is not implemented, once a
    number; by default the line goes to stderr.

    Raises:
        CompileError: the hot code could not be compiled (first run).
        EngineError: the engine does not work on this host, or the host has no memory for it.
        Errno: the root directory or a writable path cannot be opened.
        SwapError: there is no room for a swap file of that size.
        MemoryError: the host does not let us reserve the guest's memory.
    """

    def __init__(self, options: Options | None = None, *, progress: Progress | None = None,
                 on_unknown_syscall: Callable[[str], None] | None = None) -> None:
        self.options = options or Options()
        self.signals = HostSignals()
        self.wait_status: int | None = None
        self._report = on_unknown_syscall or _to_stderr
        with self.signals:
            self.kernel = _boot(self.options, progress)
        self.kernel.scheduler.unknown_syscall = self._unknown
        self._closed = False

    @property
    def events(self) -> Events:
        """Where to subscribe; see ``kernel/events.py``."""
        return self.kernel.events

    @property
    def timed_out(self) -> bool:
        """The time limit ended the run."""
        return self.kernel.timed_out

    def start(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        """Load ``argv[0]`` (looked up along PATH in the guest's tree); ``env`` is the host's own by default.

        Raises:
            LaunchError: as a shell would refuse it.
        """
        start_program(self.kernel, argv, os.environ if env is None else env)

    def run(self) -> int:
        """Run until the first process ends; returns the exit status as a shell shows it.

        Signals of the host reach the guest meanwhile (see ``guest/host_signals.py``).

        Raises:
            HostInterruptError: the emulator was ended by a signal that it could not pass on.
        """
        with self.signals:
            self.signals.attach(self.kernel)
            try:
                self.wait_status = self.kernel.run()
            finally:
                self.signals.detach()
        return self.returncode

    @property
    def returncode(self) -> int:
        """The exit status as a shell shows it; of a session that has run."""
        if self.timed_out:
            return TIMED_OUT
        if self.signals.ended_by:
            return 128 + self.signals.ended_by
        status = self.wait_status or 0
        return 128 + (status & 0x7F) if status & 0x7F else status >> 8 & 0xFF

    def stats(self) -> Stats:
        """Figures as of now; also good after close()."""
        get = self.kernel.memory.memory.get
        return Stats(get(K_USED) * 4096, *(get(slot) for slot in (
            K_FORK_ENTRIES, K_TABLES_SHARED, K_TABLES_COPIED, K_PMDS_COPIED, K_TABLES_REARMED, K_PAGES_COPIED,
            K_PAGES_ZEROED, M_FAULTS, M_FILLS, M_ANSWERED, M_STARTS)))

    def touched_bytes(self) -> int:
        """Guest memory that has ever been used: frames in use, and freed ones that the host still holds."""
        get = self.kernel.memory.memory.get
        return (get(K_USED) + get(K_FREE_COUNT)) * 4096

    def close(self) -> None:
        """End all processes and give everything back to the host; may be called again."""
        if not self._closed:
            self._closed = True
            self.kernel.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _unknown(self, task: Task, number: int) -> None:
        name = task.comm.decode(errors="backslashreplace")
        self._report(f"forkyard: system call {number} is not implemented (called by {name})")


def run(argv: Sequence[str], *, env: Mapping[str, str] | None = None, stdin: bytes | int | None = None,
        capture: bool = True, options: Options | None = None, prepare: Callable[[Session], object] | None = None,
        **fields: Any) -> Completed:
    """Run one program to its end.

    Args:
        env: its environment; the host's own by default.
        stdin: bytes for it to read, or a host descriptor; by default our own stdin.
        capture: collect stdout and stderr (through pipes); else they are our own.
        options: or give the fields of Options as keyword arguments: ``run(argv, odf=True, timeout_s=5)``.
        prepare: called with the Session before the program starts: the place to subscribe to events.

    Raises:
        LaunchError: the program cannot be started. What Session raises.
    """
    chosen = Options(**{**(vars(options) if options else {}), **fields})
    with _Streams(chosen, stdin, capture) as streams, Session(chosen) as session:
        if prepare is not None:
            prepare(session)
        session.start(argv, env)
        streams.begin()
        returncode = session.run()
        session.close()
        streams.finish()
        assert session.wait_status is not None
        return Completed(tuple(argv), returncode, session.wait_status, session.timed_out, streams.stdout,
                         streams.stderr, session.stats())


class _Streams:
    """Pipes for the guest's standard streams, with a thread at the host's end of each."""

    def __init__(self, options: Options, stdin: bytes | int | None, capture: bool) -> None:
        self.stdout = self.stderr = b""
        self._ours: list[int] = []
        self._theirs: list[int] = []
        self._threads: list[threading.Thread] = []
        if isinstance(stdin, bytes):
            options.stdin, feed = os.pipe2(os.O_CLOEXEC)
            self._theirs.append(options.stdin)
            self._ours.append(feed)
            self._threads.append(threading.Thread(target=self._feed, args=(feed, stdin), daemon=True))
        elif stdin is not None:
            options.stdin = stdin
        if capture:
            for name in ("stdout", "stderr"):
                source, sink = os.pipe2(os.O_CLOEXEC)
                setattr(options, name, sink)
                self._theirs.append(sink)
                self._ours.append(source)
                self._threads.append(threading.Thread(target=self._collect, args=(name, source), daemon=True))

    def __enter__(self) -> _Streams:
        return self

    def begin(self) -> None:
        """Let data flow."""
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """The guest has ended: close its ends and wait for the rest of the data."""
        while self._theirs:
            os.close(self._theirs.pop())
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        self._threads.clear()

    def __exit__(self, *_: object) -> None:
        self.finish()
        for fd in self._ours:
            if fd >= 0:
                os.close(fd)

    def _feed(self, fd: int, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(fd, view):]
        except OSError:
            pass  # the guest has closed its stdin
        self._ours[0] = -1
        os.close(fd)

    def _collect(self, name: str, fd: int) -> None:
        pieces = []
        while piece := os.read(fd, 1 << 16):
            pieces.append(piece)
        setattr(self, name, b"".join(pieces))


def _boot(options: Options, progress: Progress | None) -> Kernel:
    try:
        return Kernel(options, progress)
    except (OSError, ValueError, OverflowError) as error:
        # mmap() of the guest's memory; ValueError and OverflowError are Python's for sizes beyond the address space.
        wanted = options.memory_bytes >> 20
        raise MemoryError(f"the host does not give {wanted} MiB of address space for --memory: {error}") from error


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
