"""The fuzzer's side of the protocol, and nothing else: it drives a launcher without afl-fuzz.

For the check before a campaign, for measuring a launcher apart from the fuzzer, and for tests. It does what AFL++'s
``afl-forkserver.c`` does: pipes as 198 and 199, shared memory, the input in a file or in shared memory, and a kill of
the pid it was told when a run takes too long.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

from guest.fuzz import shm
from guest.fuzz.protocol import (
    CONTROL_FD,
    FS_OPT_ENABLED,
    FS_OPT_ERROR,
    FS_OPT_SHDMEM_FUZZ,
    PARKED,
    SHDMEM_ANSWER,
    STATUS_FD,
)

MAP_BYTES = 65536
MAX_INPUT_BYTES = 1 << 20
#: As long as no other is asked for.
START_LIMIT_S, RUN_LIMIT_S = 60.0, 60.0

#: clock_getcpuclockid(3): the clock of another process is made from its pid and this.
_CPUCLOCK_SCHED = 2


class DriverError(Exception):
    """The launcher did not do its part; the text ends with what it wrote to stderr."""


class DriverTimeoutError(DriverError):
    """The launcher did not do it in time."""


@dataclass(frozen=True)
class Outcome:
    """One run: its wait(2) status, whether it was ended at the limit, and how long the launcher took for it."""

    status: int
    timed_out: bool
    seconds: float


class Driver:
    """A launcher started as afl-fuzz starts it. A context manager.

    Args:
        argv: the launcher's command line; ``@@`` is replaced by the input file's path. Without one it is its stdin.
        folder: where the input file is kept; None: it has no name, so that nothing stays whatever happens to us, and
            test cases in shared memory (``shared``) must do.
        shared: offer test cases in shared memory.
        coverage: give it a map.
    """

    def __init__(self, argv: Sequence[str], folder: str | None, *, env: Mapping[str, str] | None = None,
                 shared: bool = True, coverage: bool = True, map_bytes: int = MAP_BYTES) -> None:
        self._named = folder is not None
        self.path = os.path.join(os.path.abspath(folder or "/"), ".cur_input")
        self._input = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600) if self._named \
            else os.memfd_create("forkyard-input")
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 -- closed by close()
        self._environment = dict(os.environ if env is None else env)
        self._map = self._segment("__AFL_SHM_ID", map_bytes) if coverage else None
        self._case = self._segment("__AFL_SHM_FUZZ_ID", 4 + MAX_INPUT_BYTES) if shared else None
        self.hello = 0
        self.sentinel = 0
        """The pid that the launcher named last."""
        self._was_killed = 0
        command_reader, self._command = os.pipe2(os.O_CLOEXEC)
        self._status, status_writer = os.pipe2(os.O_CLOEXEC)
        stdin = None if any("@@" in word for word in argv) else self._input
        self._started = time.monotonic()
        self.pid = os.posix_spawnp(
            argv[0], [word.replace("@@", self.path) for word in argv], self._environment, setsid=True,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, stdin, 0) if stdin is not None else
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_DUP2, self._errors.fileno(), 2),
                (os.POSIX_SPAWN_DUP2, command_reader, CONTROL_FD), (os.POSIX_SPAWN_DUP2, status_writer, STATUS_FD)])
        os.close(command_reader)
        os.close(status_writer)

    def _segment(self, variable: str, size: int) -> shm.Segment:
        shm_id, segment = shm.create(size)
        self._environment[variable] = str(shm_id)
        return segment

    # -- the protocol ----------------------------------------------------------------------------------------------

    def wait_ready(self, limit_s: float = START_LIMIT_S) -> float:
        """Take the launcher's hello; returns the seconds since it was started.

        Raises:
            DriverError: it ends, reports an error, or takes longer.
        """
        self.hello = self._read(limit_s, "start")
        seconds = time.monotonic() - self._started
        if self.hello & FS_OPT_ERROR == FS_OPT_ERROR:
            raise self._failure(f"the launcher reports error {self.hello >> 8 & 0xFFFF}")
        if not self._takes_shared():
            self._detach(self._case)
            self._case = None
        elif self._case is None:
            raise self._failure("the launcher wants test cases in shared memory, which it was not offered")
        else:
            self._write(SHDMEM_ANSWER)
        return seconds

    def run(self, data: bytes, limit_s: float = RUN_LIMIT_S) -> Outcome:
        """Run the program once on ``data``.

        Raises:
            DriverError: the launcher has ended, or does not answer.
        """
        started = time.perf_counter()
        self.begin(data)
        timed_out = not select.select([self._status], [], [], limit_s)[0]
        if timed_out:
            os.kill(self.sentinel, signal.SIGKILL)
        self._was_killed = int(timed_out)
        status = self._read(START_LIMIT_S, "answer")
        return Outcome(status, timed_out, time.perf_counter() - started)

    def coverage(self) -> bytes:
        """The map as the last run left it."""
        return b"" if self._map is None else bytes(self._map.view)

    def hang_up(self) -> None:
        """Close the pipes, as the death of a fuzzer does."""
        for fd in (self._command, self._status):
            if fd >= 0:
                os.close(fd)
        self._command = self._status = -1

    def begin(self, data: bytes) -> None:
        """Ask for a run and do not wait for its end.

        Raises:
            DriverError: the launcher has ended, or does not answer.
        """
        if self._map is not None:
            self._map.view[:] = bytes(self._map.size)
        self._store(data)
        self._write(self._was_killed)
        self.sentinel = self._read(START_LIMIT_S, "name a process")

    def cpu_seconds(self) -> float:
        """CPU time that the launcher has used so far."""
        return time.clock_gettime(~self.pid << 3 | _CPUCLOCK_SCHED)

    def messages(self) -> list[str]:
        """The lines that the launcher wrote to stderr."""
        self._errors.seek(0)
        text = self._errors.read().decode(errors="replace")
        return [line.removeprefix("forkyard: ") for line in text.splitlines() if line.strip()]

    def wait(self, limit_s: float = START_LIMIT_S) -> int:
        """The wait(2) status of the launcher, which has been told to end.

        Raises:
            DriverError: it does not end.
        """
        pidfd = os.pidfd_open(self.pid)
        ended = select.select([pidfd], [], [], limit_s)[0]
        os.close(pidfd)
        if not ended:
            raise self._failure("the launcher does not end")
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return status

    def close(self) -> None:
        """End the launcher; may be called again."""
        self.hang_up()
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
        self._detach(self._map)
        self._detach(self._case)
        self._map = self._case = None
        if self._input >= 0:
            os.close(self._input)
            self._input = -1
            if self._named:
                os.unlink(self.path)
            self._errors.close()

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) \
            -> None:
        self.close()

    # -- parts -----------------------------------------------------------------------------------------------------

    def _takes_shared(self) -> bool:
        return self.hello & FS_OPT_ENABLED == FS_OPT_ENABLED and bool(self.hello & FS_OPT_SHDMEM_FUZZ)

    def _store(self, data: bytes) -> None:
        if self._case is not None:
            data = data[:MAX_INPUT_BYTES]
            self._case.view[4 : 4 + len(data)] = data
            self._case.view[:4] = len(data).to_bytes(4, sys.byteorder)
            return
        os.lseek(self._input, 0, os.SEEK_SET)
        os.ftruncate(self._input, 0)
        os.write(self._input, data)
        os.lseek(self._input, 0, os.SEEK_SET)

    def _detach(self, segment: shm.Segment | None) -> None:
        if segment is not None:
            segment.detach()

    def _read(self, limit_s: float, what: str) -> int:
        if not select.select([self._status], [], [], limit_s)[0]:
            raise self._failure(f"the launcher does not {what} within {limit_s:g} s", DriverTimeoutError)
        word = os.read(self._status, 4)
        if len(word) != 4:
            raise self._failure(f"the launcher ended instead of going on to {what}")
        return int.from_bytes(word, sys.byteorder)

    def _write(self, word: int) -> None:
        try:
            os.write(self._command, word.to_bytes(4, sys.byteorder))
        except BrokenPipeError:
            raise self._failure("the launcher has ended") from None

    def _failure(self, text: str, kind: type[DriverError] = DriverError) -> DriverError:
        said = "; ".join(line for line in self.messages() if not line.startswith(PARKED))
        return kind(f"{text}: {said}" if said else text)
