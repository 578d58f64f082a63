"""``forkyard crash``: replay what a fuzzer found, and say what each input does."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from guest.runner import FAILED, guarded, say

#: Every input crashed or hung; some did not; the command line makes no sense.
ALL, SOME_NOT, USAGE = 0, 1, 2

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


def crash_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of ``forkyard crash`` alone."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def crash(words: Sequence[str], env: Mapping[str, str], how: Mapping[str, Any]) -> int:
    """Replay and report; returns the exit status."""
    return guarded(lambda: _crash(words, env, how))


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
        return FAILED
    if how["as_json"]:
        click.echo(as_json(job, outcomes))
    else:
        show.end(outcomes)
    return ALL if all(outcome.reproduced for outcome in outcomes) else SOME_NOT


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

        text = headline(outcome.crash) if outcome.crash is not None and outcome.reproduced else outcome.text
        if outcome.kind == "timeout":
            text = f"{outcome.text}: {text}"
        known = self._first.get(outcome.group) if outcome.group is not None else None
        click.echo(f"{click.style(printable(outcome.path), bold=True)}: {printable(text)}")
        if known is not None:
            click.echo(f"  stack as of {printable(os.path.basename(known))}")
        elif outcome.group is not None:
            self._first[outcome.group] = outcome.path
        if outcome.reproduced and (known is None or self._everything):
            for line in full(outcome):
                click.echo(line)
            click.echo()

    def end(self, outcomes: Sequence[Any]) -> None:
        from guest.fuzz.report import summary

        for line in summary(outcomes):
            click.echo(line)
