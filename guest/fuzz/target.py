"""What the program under test gets from the fuzzer's side: its environment, and which file the inputs come in."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import PurePath

#: Made for the launcher by afl-fuzz; a program that saw them could behave in another way.
_STRIPPED = re.compile(r"(__)?AFL_|QASAN_|(ASAN|LSAN|MSAN|UBSAN)_OPTIONS$")
#: afl-fuzz sets LD_BIND_NOW=1 unless this variable is there.
_LAZY = "LD_BIND_LAZY"
#: The files in which afl-fuzz (with ``-e``: ``.cur_input.EXT``), afl-showmap and afl-tmin store what ``@@`` stands for;
#: the path is always absolute.
_INPUT = re.compile(r"/(?:.*/)?(?:\.cur_input(?P<ending>\.[^/:,=]*)?|\.afl-(?:showmap|tmin|analyze)-temp-\d+)")
#: What the program sees in its place, so that it runs alike in every instance and when an input is looked at later.
GUEST_INPUT = "/tmp/forkyard-input"


def guest_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` without what afl-fuzz put there for us."""
    kept = {name: value for name, value in environment.items() if not _STRIPPED.match(name)}
    if _LAZY not in environment and kept.get("LD_BIND_NOW") == "1":
        del kept["LD_BIND_NOW"]
    return kept


def find_input(argv: Sequence[str]) -> str | None:
    """The path in ``argv`` that afl-fuzz put in the place of ``@@``; None without one."""
    return next((found[0] for word in argv[1:] if (found := _INPUT.search(word))), None)


def guest_words(argv: Sequence[str], path: str) -> tuple[list[str], str]:
    """``argv`` with a name of our own for the input file ``path``, and that name; the ending asked for stays."""
    found = _INPUT.fullmatch(path)
    name = GUEST_INPUT + ((found["ending"] or "") if found else PurePath(path).suffix)
    return [argv[0], *(word.replace(path, name) for word in argv[1:])], name


def stdin_is_input() -> bool:
    """Does afl-fuzz give the input on stdin? Then that is a regular file, and /dev/null otherwise."""
    try:
        return stat.S_ISREG(os.fstat(0).st_mode)
    except OSError:
        return False
