"""Run a guest for the command line: everything that can go wrong becomes one line on stderr and an exit status.

====== ================================================================================================================
0-255  the program's own
128+N  the program, or Forkyard on its behalf, was ended by signal N
127    the program, or its interpreter, was not found
126    it cannot be executed
125    Forkyard itself failed
124    the time limit was reached
2      wrong usage of the command line
====== ================================================================================================================
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guest.session import Session
    from kernel.kernel import Options

FAILED = 125
#: Something that the user must put right.
WRONG_USAGE = 2
SIGPIPE_STATUS = 128 + 13
#: No descriptor of the host: the guest finds that stream closed.
CLOSED = -1


class OutputError(Exception):
    """What we print cannot be written."""

    def __init__(self, name: str, error: OSError) -> None:
        super().__init__(f"{name}: {error.strerror}")
        self.is_broken_pipe = isinstance(error, BrokenPipeError)


def say(message: str) -> None:
    """One line on stderr, if there is one."""
    try:
        os.write(2, f"forkyard: {message}\n".encode(errors="backslashreplace"))
    except OSError:
        return


def closed_streams() -> dict[str, int]:
    """Fields of Options for the standard streams that we were started without.

    They are opened on /dev/null on the host's side, so that no other file gets their number.
    """
    fields = {}
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            fields[name] = CLOSED
    return fields


def make_options(odf: bool, odf_level: int, root: str, writable: Sequence[str], cwd: str | None, memory: int,
                 swap: int | None, hugepages: int, timeout: float | None, no_aslr: bool, deterministic: bool,
                 seed: int | None, paranoid: bool) -> Options:
    """Options of the kernel from those of the command line."""
    from kernel.kernel import Options

    return Options(root=root, writable=list(writable), memory_bytes=memory, swap_bytes=swap or 0, hugepages=hugepages,
                   aslr=not no_aslr, odf=odf, odf_level=odf_level, paranoid=paranoid, timeout_s=timeout, cwd=cwd,
                   deterministic=deterministic or seed is not None, seed=seed or 0)


def run_guest(argv: Sequence[str], env: Mapping[str, str], prepare: Callable[[Session], Callable[[], object]] | None,
              how: Mapping[str, Any]) -> int:
    """Run ``argv`` and return the exit status for the host's shell.

    Args:
        prepare: called with the session before the program starts; what it returns is called after the end.
        how: the arguments of make_options().
    """
    streams = closed_streams()

    def work() -> int:
        options = make_options(**how)
        for name, value in streams.items():
            setattr(options, name, value)
        return _run(argv, env, prepare, options)

    return guarded(work)


def guarded(work: Callable[[], int]) -> int:
    """Call ``work`` for an exit status; whatever goes wrong in it becomes one line and the status for that."""
    try:
        from guest.session import CompileError, EngineError, HostInterruptError, LaunchError, SwapError
    except ImportError as error:
        say(f"{str(error).strip().splitlines()[-1]}: is Forkyard installed completely? (pip install .)")
        return _debug(FAILED)
    except (MemoryError, OSError) as error:
        say(f"the host has no memory for Python's own libraries: {str(error) or 'out of memory'}")
        return _debug(FAILED)
    try:
        return work()
    except LaunchError as error:
        say(str(error))
        return error.status
    except HostInterruptError as error:
        return 128 + error.signo
    except OutputError as error:
        if error.is_broken_pipe:
            return SIGPIPE_STATUS
        say(str(error))
        return FAILED
    except CompileError as error:
        say(f"the machine could not be compiled: {str(error).strip().splitlines()[-1]}")
        return _debug(FAILED)
    except SwapError as error:
        say(str(error))
        return FAILED
    except EngineError as error:
        say(f"the CPU engine failed: {error}")
        return _debug(FAILED)
    except MemoryError as error:
        say(f"out of memory: {error}" if error.args else "the host has no memory left")
        return _debug(FAILED)
    except KeyboardInterrupt:
        return 128 + 2
    except Exception as error:
        say(f"internal error: {_place(error)}{type(error).__name__}: {error} (FORKYARD_DEBUG=1 shows more)")
        return _debug(FAILED)


def leave(status: int) -> None:
    """End the process now: there is nothing that the interpreter's own slow way out would clean up."""
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            say(f"standard output: {error.strerror}")
        status = status or FAILED
    os._exit(status)


def _run(argv: Sequence[str], env: Mapping[str, str],
         prepare: Callable[[Session], Callable[[], object]] | None, options: Options) -> int:
    from guest.progress import CompileProgress
    from guest.session import LaunchError, Session
    from kernel.errno import Errno

    progress = CompileProgress()
    try:
        session = Session(options, progress=progress, on_unknown_syscall=lambda line: say(line.removeprefix(
            "forkyard: ")))
    except Errno as error:
        failure = LaunchError(f"--writable {' '.join(options.writable)}", error.code)
        failure.status = FAILED
        raise failure from None
    finally:
        progress.close()
    with session:
        finish = prepare(session) if prepare is not None else None
        try:
            session.start(argv, env)
            status = session.run()
            session.close()
        finally:
            if finish is not None:
                finish()
    if session.timed_out:
        say(f"ended after {options.timeout_s:g} s")
    return status


def _place(error: BaseException) -> str:
    """Where in our source it happened."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    code = trace.tb_frame.f_code
    return f"{'/'.join(code.co_filename.split('/')[-3:])}:{trace.tb_lineno}: "


def _debug(status: int) -> int:
    """With FORKYARD_DEBUG, show the traceback of the exception being handled."""
    if os.environ.get("FORKYARD_DEBUG"):
        import traceback

        traceback.print_exc(file=sys.stderr)
    return status
