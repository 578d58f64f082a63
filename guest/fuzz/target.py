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
#: The end of the files in which afl-fuzz (with ``-e``: ``.cur_input.EXT``), afl-showmap and afl-tmin store what ``@@``
#: stands for; the path is always absolute.
_INPUT = re.compile(r"/(?:\.cur_input(?P<ending>(?:\.[\w+~-]+)*)|\.afl-(?:showmap|tmin|analyze)-temp-\d+)")
#: Directories that afl-fuzz may keep that file in.
_FOLDERS = ("AFL_TMPDIR", "__AFL_OUT_DIR")
#: What the program sees in its place, so that it runs alike in every instance and when an input is looked at later.
GUEST_INPUT = "/tmp/forkyard-input"


def guest_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` without what afl-fuzz put there for us."""
    kept = {name: value for name, value in environment.items() if not _STRIPPED.match(name)}
    if _LAZY not in environment and kept.get("LD_BIND_NOW") == "1":
        del kept["LD_BIND_NOW"]
    return kept


def find_input(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> str | None:
    """The path in ``argv`` that afl-fuzz put in the place of ``@@``; None without one.

    Whatever else is in the same word is not taken for a part of it: ``environment`` or the host's directories tell
    where the path begins.
    """
    environment = environment or {}
    folders = [os.path.join(os.getcwd(), environment[name]) for name in _FOLDERS if name in environment]
    found: dict[str, list[str]] = {}
    for word in argv[1:]:
        for match in _INPUT.finditer(word):
            path = word[_beginning(word, match.start(), folders):match.end()]
            found.setdefault(path.removesuffix(match["ending"] or ""), []).append(path)
    # It is one file: an ending that only some of its names have is the program's business (``@@ @@.out``).
    paths = next(iter(found.values()), None)
    return None if paths is None else min(paths, key=len)


def _beginning(word: str, end: int, folders: Sequence[str]) -> int:
    """Where in ``word`` the path of the directory begins that ends at ``end``."""
    for folder in folders:
        if word.endswith(folder, 0, end):
            return end - len(folder)
    starts = [i for i in range(end + 1) if word[i] == "/" and word[i + 1] != "/"]
    # Of /a/b,c=/d/out the longest that is there: a directory's own name may hold commas, blanks and equals signs.
    return next((i for i in starts if os.path.isdir(word[i:end])), min(starts))


def guest_words(argv: Sequence[str], path: str) -> tuple[list[str], str]:
    """``argv`` with a name of our own for the input file ``path``, and that name; the ending asked for stays."""
    name = GUEST_INPUT + (match["ending"] or "" if (match := _INPUT.search(path)) else PurePath(path).suffix)
    return [argv[0], *(word.replace(path, name) for word in argv[1:])], name


def stdin_is_input() -> bool:
    """Does afl-fuzz give the input on stdin? Then that is a regular file, and /dev/null otherwise."""
    try:
        return stat.S_ISREG(os.fstat(0).st_mode)
    except OSError:
        return False
