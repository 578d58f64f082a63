"""``forkyard replay``: one input under the tracer, run exactly as the launcher runs it for afl-fuzz."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import click

from guest.environment import as_given
from guest.fuzz.crash_command import USAGE, inputs_argument
from guest.fuzz.options import fuzz_options
from guest.options import PROGRAM, Seconds
from guest.runner import guarded, leave, say
from guest.trace_command import trace_options, tracing

_TIMED_OUT = 124
_EPILOG = """\b
Exit status: the program's own; 128+N if signal N ended it; 124 after --timeout; 2 for wrong usage; 127 if PROGRAM was
not found, 126 if it cannot be executed; 125 if Forkyard itself failed."""


@click.command(context_settings=PROGRAM, epilog=_EPILOG)
@click.option("-i", "--input", "named", metavar="FILE",
              help="The input; all words after -- are then the program's.")
@click.option("--stdio", is_flag=True,
              help="Let PROGRAM's stdout and stderr through; they go to /dev/null otherwise, as under afl-fuzz.")
@click.option("--timeout", type=Seconds(), metavar="SEC", help="End after SEC seconds, with exit status 124.")
@trace_options
@fuzz_options
@inputs_argument
def replay(words: tuple[str, ...], **options: Any) -> None:
    """Run PROGRAM on one input, as the launcher does, and show its system calls as forkyard trace does.

    Time, process numbers, random bytes, addresses and the way in which the input is read are those of the run in which
    afl-fuzz saw it. The input is the last word, in the place of @@ or as stdin; see forkyard crash.

    \b
    forkyard replay -- ./target @@ out/default/crashes/id:000000,*
    forkyard replay -f -e trace=%file -- ./target out/default/hangs/id:000000,*
    """
    env = as_given(os.environ)
    prepare, _ = tracing(options)
    leave(guarded(lambda: _replay(words, env, options, prepare)))


def _replay(words: Sequence[str], env: Mapping[str, str], how: Mapping[str, Any], prepare: Any) -> int:
    from guest.fuzz.crash_inputs import InputsError, find_job
    from guest.fuzz.crash_run import make_server
    from guest.fuzz.forkpoint import ForkPointError
    from guest.fuzz.input import BytesInput, InputError
    from guest.fuzz.target import guest_environment

    try:
        job = find_job(words, [how["named"]] if how["named"] is not None else [])
        if len(job.inputs) > 1:
            raise InputsError(f"{len(job.inputs)} inputs, but one can be replayed at a time: forkyard crash takes many")
        with open(job.inputs[0], "rb") as stream:
            data = stream.read()
    except InputsError as error:
        say(str(error))
        return USAGE
    except OSError as error:
        say(f"{job.inputs[0]}: {error.strerror}")
        return USAGE
    if job.notice is not None:
        say(job.notice)
    # Up to its entry the program is traced as it is; from there its child goes on, as in each run of the launcher. A
    # later place would be looked for by a scout, whose calls would show.
    where = "entry" if how["fork_at"] == "first-read" else how["fork_at"]
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    output = (1, 2) if how["stdio"] else (null, null)
    server = make_server(job, {**guest_environment(env), **dict(how["env"])}, {**how, "fork_at": where}, null, say,
                         output)
    with server:
        source = server.input
        assert isinstance(source, BytesInput)
        source.data = data
        finish = prepare(server.session)
        try:
            server.prepare()
            finish.tracer.restart()
            status, timed_out = _run(server, how["timeout"])
        except (ForkPointError, InputError) as error:
            say(str(error))
            return USAGE
        finally:
            finish()
    if timed_out:
        say(f"ended after {how['timeout']:g} s")
        return _TIMED_OUT
    return 128 + (status & 0x7F) if status & 0x7F else status >> 8 & 0xFF


def _run(server: Any, timeout_s: float | None) -> tuple[int, bool]:
    """(wait status, was it the time limit that ended the run)."""
    if timeout_s is None:
        return server.run(), False
    stop = os.eventfd(0, os.EFD_CLOEXEC)
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        os.eventfd_write(stop, 1)

    timer = threading.Timer(timeout_s, expire)
    timer.daemon = True
    timer.start()
    status = server.run(stop)
    timer.cancel()
    return status, expired.is_set() and status & 0x7F == 9
