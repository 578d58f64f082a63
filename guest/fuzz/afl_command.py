"""``forkyard afl``: what afl-fuzz, afl-showmap, afl-cmin and afl-tmin start in the place of the program under test.

With a fuzzer at the other end it is a fork server until the fuzzer goes; without one it runs the program once, fills
the coverage map if there is one, and ends as the program ended.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from guest.fuzz import protocol, shm
from guest.fuzz.target import find_input, guest_environment, guest_words, stdin_is_input
from guest.runner import FAILED, WRONG_USAGE, closed_streams, guarded, say

if TYPE_CHECKING:
    from guest.fuzz.forkserver import ForkServer
    from guest.fuzz.input import InputSource
    from kernel.coverage import CoverageOptions

#: What AFL++ takes when neither the user nor the launcher says another size (config.h, MAP_SIZE).
DEFAULT_MAP_BYTES = 65536
_MIN_MAP_BYTES = 64
FIRST_READ = "first-read"
#: How AFL++'s QEMU mode is told to run a function again and again without a fork.
_PERSISTENT = ("AFL_QEMU_PERSISTENT_ADDR", "AFL_QEMU_SNAPSHOT")


class SetupError(Exception):
    """The launcher was started in a way that cannot work; ``code`` is what the fuzzer is told (FS_ERROR_…), if any."""

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


@dataclass
class Job:
    """One launcher's work, as the environment and the command line give it."""

    argv: list[str]
    env: dict[str, str]
    input: InputSource
    has_fuzzer: bool
    coverage: shm.Segment | None
    map_size: int
    """Bytes of the coverage segment that are used."""
    shared_test_case: bool


MakeServer = Callable[[Job, Mapping[str, Any]], "ForkServer"]


def launch(argv: Sequence[str], env: Mapping[str, str], how: Mapping[str, Any],
           make_server: MakeServer | None = None) -> int:
    """Be the launcher; returns the exit status, or ends this process with the signal that ended the program.

    Args:
        env: our environment, with what the fuzzer put there.
        how: values of the command's options.
        make_server: another fork server than the real one.
    """
    has_fuzzer = protocol.find_fuzzer()
    streams = closed_streams()
    _die_as_told()

    def run() -> int:
        try:
            job = make_job(argv, env, how, has_fuzzer)
            return _serve(job, (make_server or real_server)(job, {**how, "streams": streams}))
        except SetupError as error:
            say(str(error))
            if has_fuzzer and error.code is not None:
                protocol.say_error(error.code)
            return WRONG_USAGE

    return guarded(run)


def make_job(argv: Sequence[str], env: Mapping[str, str], how: Mapping[str, Any], has_fuzzer: bool) -> Job:
    """What is to be done.

    Raises:
        SetupError: it cannot be done.
    """
    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        raise SetupError("address space is limited: leave out -m of afl-fuzz (ulimit -v), and give --memory instead")
    for name in env:
        if name.startswith(_PERSISTENT):
            say(f"{name} is not supported, and not needed: --fork-at ADDRESS forks there for each input")
    coverage = _attach("__AFL_SHM_ID", protocol.FS_ERROR_SHMAT)
    map_size = _map_size(env, coverage)
    source, words, shared = _input(list(argv), how.get("input_file") or find_input(argv, env), has_fuzzer)
    return Job(words, {**guest_environment(env), **dict(how.get("env", ()))}, source, has_fuzzer, coverage, map_size,
               shared)


def _attach(variable: str, code: int) -> shm.Segment | None:
    try:
        return shm.attach_named(variable)
    except OSError as error:
        raise SetupError(f"{variable}: {error.strerror}", code) from None
    except ValueError as error:
        raise SetupError(str(error), code) from None


def _map_size(env: Mapping[str, str], coverage: shm.Segment | None) -> int:
    """AFL_MAP_SIZE as afl reads it, 65536 without; at most what the segment holds, and a power of two."""
    text = env.get("AFL_MAP_SIZE")
    size = DEFAULT_MAP_BYTES
    if text is not None:
        if not text.isdecimal() or int(text) < _MIN_MAP_BYTES:
            raise SetupError(f"AFL_MAP_SIZE={text} is not a size of at least {_MIN_MAP_BYTES} bytes",
                             protocol.FS_ERROR_MAP_SIZE)
        size = int(text)
    if coverage is not None:
        # With -U afl-fuzz keeps to 65536, whatever the variable says.
        size = min(size, coverage.size)
    return 1 << (size.bit_length() - 1)


def _input(argv: list[str], path: str | None, has_fuzzer: bool) -> tuple[InputSource, list[str], bool]:
    """Where the inputs come from, the program's words with the name that it sees, and whether memory is shared."""
    from guest.fuzz.input import BytesInput, DescriptorInput, FileInput, SharedInput

    seen = None
    if path is not None:
        argv, seen = guest_words(argv, path)
    elif has_fuzzer and not stdin_is_input():
        raise SetupError("which file holds the input? Write @@ where the program takes its name, or give --input FILE")
    case = _attach("__AFL_SHM_FUZZ_ID", protocol.FS_ERROR_SHM_OPEN) if has_fuzzer else None
    if case is not None:
        return SharedInput(case.view, seen), argv, True
    if path is not None:
        return FileInput(seen or path, path), argv, False
    return DescriptorInput() if stdin_is_input() else BytesInput(_all_of_stdin()), argv, False


def _all_of_stdin() -> bytes:
    """What a pipe or terminal gives; nothing when stdin is closed."""
    try:
        with open(0, "rb", closefd=False) as stream:
            return stream.read()
    except OSError:
        return b""


def real_server(job: Job, how: Mapping[str, Any]) -> ForkServer:
    """The job's fork server; ``how`` has the values of the options, and what launch() found closed."""
    from guest.fuzz.forkserver import ForkServer
    from guest.fuzz.options import session_fields
    from guest.session import Options

    fork_at = how["fork_at"]
    if fork_at == FIRST_READ:
        # Without a fuzzer nothing is forked, and nothing needs to be found out before.
        fork_at = os.environ.get("AFL_ENTRYPOINT", FIRST_READ if job.has_fuzzer else "entry")
    options = Options(**session_fields(how), **how["streams"])
    return ForkServer(options, job.argv, env=job.env, fork_at=fork_at, fork=how["fork"], input=job.input,
                      coverage=_coverage(job, how), on_notice=say)


def _coverage(job: Job, how: Mapping[str, Any]) -> CoverageOptions | None:
    """What counts; None without a map.

    Raises:
        SetupError: a range cannot be read.
    """
    if job.coverage is None:
        return None
    from guest.fuzz.options import coverage_variables
    from kernel.coverage import from_environment

    try:
        return from_environment({**os.environ, **coverage_variables(how)}, job.coverage.address, job.map_size,
                                threads=not how["no_threads"], children=not how["no_children"])
    except ValueError as error:
        raise SetupError(str(error)) from None


def _serve(job: Job, server: ForkServer) -> int:
    from guest.fuzz.forkpoint import ForkPointError
    from guest.fuzz.input import InputError
    from guest.session import LaunchError

    with server:
        try:
            point = server.prepare()
        except (LaunchError, ForkPointError) as error:
            say(str(error))
            if job.has_fuzzer and isinstance(error, LaunchError) and job.coverage is not None:
                job.coverage.view[:4] = protocol.EXEC_FAIL_SIG.to_bytes(4, "little")
            return error.status if isinstance(error, LaunchError) else WRONG_USAGE
        if job.has_fuzzer:
            say(f"{protocol.PARKED}{point.where}")
        try:
            if job.has_fuzzer and protocol.say_hello(_hello(job)):
                # Else what runs leave in cycles would pile up until it is a quarter of all objects: megabytes.
                gc.freeze()
                protocol.serve(server)
                return 0
            status = server.run_whole()
        except (InputError, protocol.ProtocolError) as error:
            say(str(error))
            return FAILED
    return _end_as(status)


def _hello(job: Job) -> int:
    return protocol.hello_word(None if job.coverage is None else job.map_size, job.shared_test_case)


def _die_as_told() -> None:
    """No core files, and signals end us: nobody waits for what we would have to say."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    for signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signo, signal.SIG_DFL)


def _end_as(status: int) -> int:
    """The exit status for a wait(2) status; a signal ends us in the same way, because that is what afl-showmap sees."""
    signo = status & 0x7F
    return _raise(signo) if signo else status >> 8 & 0xFF


def _raise(signo: int) -> NoReturn:
    if signo not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(signo, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signo])
    os.kill(os.getpid(), signo)
    os._exit(128 + signo)
