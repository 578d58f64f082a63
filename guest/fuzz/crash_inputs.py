"""Which words of a command line are the program's and which are inputs, for ``crash`` and ``replay``.

::

    -- ./target -x OUT/default/crashes/*         the words at the end that are files of the host: inputs
    -- ./target -x @@ OUT/default/crashes/*      the same; each takes the place of @@
    -- ./target -x @@ out.png ::: FILES          inputs after :::, whatever the words before it are
    -i OUT/default/crashes -- ./target @@        a file or directory with -i: all words are the program's

A directory stands for the files in it, but for AFL++'s README.txt and what begins with a dot. Without ``@@`` the input
is the program's stdin, unless the inputs lie in an output directory of afl-fuzz whose fuzzer_stats says that the same
program was fuzzed with ``@@``: then it is run as it was there.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SEPARATOR = ":::"
_AT = "@@"
_NOT_INPUTS = {"README.txt"}
_MAX_STATS_BYTES = 1 << 20


class InputsError(Exception):
    """There is nothing to run, or nothing to run it on; the text says what is missing."""


@dataclass(frozen=True)
class Job:
    """What to run on what."""

    argv: list[str]
    placeholder: str | None
    """What stands in ``argv`` for the input's name; None when the input is stdin."""
    inputs: list[str]
    notice: str | None = None
    """What was concluded and not said by the user."""

    @property
    def text(self) -> str:
        """The command as a shell would take it."""
        return shlex.join(self.argv) + ("" if self.placeholder else " < input")


def find_job(words: Sequence[str], named: Sequence[str]) -> Job:
    """Sort out the words behind ``--`` and the values of ``-i``.

    Raises:
        InputsError: there is no program, or there are no inputs.
    """
    argv = list(words)
    given = list(named)
    if SEPARATOR in argv:
        at = len(argv) - 1 - argv[::-1].index(SEPARATOR)
        given += argv[at + 1:]
        argv = argv[:at]
    elif not given:
        first = _first_input(argv)
        argv, given = argv[:first], argv[first:]
    if not argv:
        raise InputsError("which program? Write -- PROGRAM [ARGS] INPUTS")
    inputs = [path for word in given for path in expand(word)]
    if not inputs:
        if given:
            raise InputsError(f"no files in {', '.join(given)}")
        last = argv[-1]
        # Most likely a misspelt input, which was taken for one of the program's words.
        if len(argv) > 1 and not last.startswith("-") and _AT not in last and not os.path.lexists(last):
            raise InputsError(f"no inputs: {last}: No such file or directory")
        raise InputsError("no inputs: name files or directories at the end")
    has_at = any(_AT in word for word in argv[1:])
    if not has_at and (told := _campaign_argv(argv, inputs)) is not None:
        return Job(told, _AT, inputs, f"as afl-fuzz ran it: {shlex.join(told)}")
    return Job(argv, _AT if has_at else None, inputs)


def _first_input(argv: Sequence[str]) -> int:
    """Number of the first of the words at the end that are files or directories of the host, behind @@ if there is
    one; a device such as /dev/null is not an input."""
    last_at = max((i for i, word in enumerate(argv) if _AT in word), default=0)
    first = len(argv)
    while first - 1 > last_at and (os.path.isfile(argv[first - 1]) or os.path.isdir(argv[first - 1])):
        first -= 1
    return first


def expand(word: str) -> list[str]:
    """The inputs that a word names: a file, or those in a directory.

    Raises:
        InputsError: it cannot be read.
    """
    try:
        if os.path.isdir(word):
            names = sorted(entry.name for entry in os.scandir(word) if entry.is_file() and not _is_other(entry.name))
            return [os.path.join(word, name) for name in names]
        os.stat(word)
    except (OSError, ValueError) as error:
        raise InputsError(f"{word}: {getattr(error, 'strerror', None) or error}") from None
    return [] if os.path.basename(word) in _NOT_INPUTS else [word]


def _is_other(name: str) -> bool:
    return name in _NOT_INPUTS or name.startswith(".")


def _campaign_argv(argv: Sequence[str], inputs: Sequence[str]) -> list[str] | None:
    """The program and arguments, with @@, that afl-fuzz found ``inputs`` with; None where that cannot be told.

    Only when the user gave the program alone, or with the same arguments but for @@.
    """
    try:
        stats = Path(os.path.abspath(inputs[0])).parent.parent / "fuzzer_stats"
        with stats.open("rb") as stream:
            text = stream.read(_MAX_STATS_BYTES).decode(errors="surrogateescape")
    except (OSError, ValueError):
        return None
    line = re.search(r"^command_line\s*:\s*(.*)$", text, re.MULTILINE)
    # afl-fuzz joins the words with blanks, whatever is in them.
    words = line[1].split() if line is not None else []
    name = os.path.basename(argv[0])
    for at in range(len(words) - 1, 0, -1):
        rest = words[at + 1:]
        if os.path.basename(words[at]) == name and any(_AT in word for word in rest):
            plain = [word for word in rest if word != _AT]
            return [argv[0], *rest] if len(argv) == 1 or list(argv[1:]) == plain else None
    return None
