"""``forkyard crash``: replay what a fuzzer found, and say what each input does."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from guest.environment import as_given
from guest.fuzz.options import fuzz_options
from guest.options import PROGRAM
from guest.runner import OutputError, guarded, leave, say

#: Every input crashed or hung; some did not; the command line makes no sense.
ALL, SOME_NOT, USAGE = 0, 1, 2
_EPILOG = """\b
Exit status: 0 if every input crashed or hung, 1 if some did not; 2 for wrong usage; 127 if PROGRAM was not found,
126 if it cannot be executed; 125 if Forkyard itself failed.

AFL_CRASH_EXITCODE is the exit status that counts as a crash, as for afl-fuzz."""

_OPTIONS = (
    click.option("-i", "--input", "named", multiple=True, metavar="PATH",
                 help="An input, or a directory of inputs. May be repeated; all words after -- are then the "
                      "program's."),
    click.option("-t", "--time-limit", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True,
                 metavar="SEC", help="A run that takes longer is a hang; the report says where it was."),
    click.option("-a", "--all", "everything", is_flag=True,
                 help="A full report for every input, not only for the first of each distinct stack."),
    click.option("--json", "as_json", is_flag=True, help="One JSON object with everything about every input."),
)


def inputs_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """The program, its arguments and the inputs."""
    return click.argument("words", metavar="-- PROGRAM [ARGS]... INPUTS...", nargs=-1, required=True,
                          type=click.UNPROCESSED)(command)


def _crash_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command(context_settings=PROGRAM, epilog=_EPILOG)
@_crash_options
@fuzz_options
@inputs_argument
def crash(words: tuple[str, ...], **how: Any) -> None:
    """Run PROGRAM on each of INPUTS, as the launcher does, and report the crashes and hangs.

    Of each distinct stack the first gets a full report: signal, instruction, memory access, registers, backtrace with
    source lines, mappings, and the end of what the program wrote to stderr.

    INPUTS are the words at the end that are files, or directories of files (README.txt is left out). They take the
    place of @@ among ARGS; without @@ they are PROGRAM's stdin, unless they lie in the output directory of an afl-fuzz
    that ran PROGRAM with @@: then it is run as it was there. Where a file among ARGS is no input, write ::: before the
    inputs, or name them with -i.

    \b
    forkyard crash -- ./target out/default/crashes/*
    forkyard crash -- ./target -x @@ out/default/crashes
    forkyard crash -i out/default/hangs -t 2 -- ./target -c my.conf @@
    forkyard crash --json -- ./target @@ /dev/null ::: crash-*
    """
    env = as_given(os.environ)
    leave(guarded(lambda: _crash(words, env, how)))


def _crash(words: Sequence[str], env: Mapping[str, str], how: Mapping[str, Any]) -> int:
    from guest.fuzz.crash_inputs import InputsError, find_job
    from guest.fuzz.crash_run import Outcome, Replayer
    from guest.fuzz.forkpoint import ForkPointError
    from guest.fuzz.report_json import as_json
    from guest.fuzz.target import guest_environment

    try:
        job = find_job(words, how["named"])
        crash_exit_code = _crash_exit_code(env)
    except InputsError as error:
        say(str(error))
        return USAGE
    if job.notice is not None:
        say(job.notice)
    outcomes: list[Outcome] = []
    show = _Text(how["everything"])
    try:
        with Replayer(job, {**guest_environment(env), **dict(how.get("env", ()))}, how, how["time_limit"],
                      crash_exit_code, say) as replayer:
            for path in job.inputs:
                outcome = replayer.run(path)
                outcomes.append(outcome)
                if not how["as_json"]:
                    show.one(outcome)
    except ForkPointError as error:
        say(str(error))
        return USAGE
    if how["as_json"]:
        _echo(as_json(job, outcomes))
    else:
        show.end(outcomes)
    return ALL if all(outcome.reproduced for outcome in outcomes) else SOME_NOT


def _echo(line: str) -> None:
    try:
        click.echo(line)
    except OSError as error:
        raise OutputError("standard output", error) from error


def _crash_exit_code(env: Mapping[str, str]) -> int | None:
    """The exit status that counts as a crash, from the variable that afl-fuzz reads it from."""
    from guest.fuzz.crash_inputs import InputsError

    text = env.get("AFL_CRASH_EXITCODE")
    if text is None:
        return None
    try:
        code = int(text)
    except ValueError:
        code = 1 << 8
    if not -128 <= code <= 255:
        raise InputsError(f"AFL_CRASH_EXITCODE={text} is not an exit status")
    return code & 0xFF


class _Text:
    """The report on stdout, as it grows."""

    def __init__(self, everything: bool) -> None:
        self._everything = everything
        self._first: dict[str, str] = {}

    def one(self, outcome: Any) -> None:
        from guest.fuzz.report import full, headline, printable

        text = outcome.text
        if outcome.crash is not None and outcome.reproduced:
            text = headline(outcome.crash)
        known = self._first.get(outcome.group) if outcome.group is not None else None
        _echo(f"{click.style(printable(outcome.path), bold=True)}: {printable(text)}")
        if known is not None:
            _echo(f"  stack as of {printable(os.path.basename(known))}")
        elif outcome.group is not None:
            self._first[outcome.group] = outcome.path
        if outcome.reproduced and (known is None or self._everything):
            for line in full(outcome):
                _echo(line)
            _echo("")

    def end(self, outcomes: Sequence[Any]) -> None:
        from guest.fuzz.report import summary

        for line in summary(outcomes):
            _echo(line)
