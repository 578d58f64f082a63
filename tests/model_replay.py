"""Repeat steps of the model test in every way, side by side: ``python tests/model_replay.py FILE`` or ``'steps; …'``.

    python tests/model_replay.py 'mmap 0 0 8 3 0 0 0; store 0 1 0 7; fork 0 1 1; store 1 1 0 8; load 0 1'
    python tests/model_replay.py steps.txt native odf
"""

from __future__ import annotations

import errno
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from model_steps import OPERATIONS, agrees, from_text
from model_ways import ALL_WAYS, WAYS, certain, first_difference


def main(arguments: list[str]) -> int:
    """Print the table; 1 when anything differs from the model, 2 for wrong usage."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        print("operations:", *(f"  {name} slot {' '.join(fields)}" for name, fields in OPERATIONS.items()), sep="\n")
        return 2
    ways = arguments[1:] or list(WAYS)
    if unknown := [way for way in ways if way not in ALL_WAYS]:
        print(f"no such way: {', '.join(unknown)}; there are: {'; '.join(ALL_WAYS)}", file=sys.stderr)
        return 2
    try:
        text = arguments[0] if " " in arguments[0] else Path(arguments[0]).read_text()
        steps, expected = certain(from_text(text))
    except (OSError, ValueError) as problem:
        print(problem, file=sys.stderr)
        return 2
    found = {way: ALL_WAYS[way](steps) for way in ways}
    print(f"{'step':44}" + "".join(f"{name:>14}" for name in ("model", *ways)))
    for i, step in enumerate(steps):
        cells = [found[way][i] if i < len(found[way]) else "nothing" for way in ways]
        marked = [cell if agrees(expected[i], cell) else f"*{cell}" for cell in cells]
        words = " ".join(map(str, step))
        print(f"{i:3} {words:40}" + "".join(f"{_named(cell):>14}" for cell in (expected[i], *marked)))
    for way, results in found.items():
        for line in results[len(steps):]:
            print(f"{way}: {line}")
    wrong = [way for way in ways if first_difference(expected, found[way]) is not None]
    print(f"not as the model: {', '.join(wrong)}" if wrong else "all agree")
    return 1 if wrong else 0


def _named(cell: str) -> str:
    number = cell.lstrip("*-")
    if number.isdigit() and "-" in cell and int(number) in errno.errorcode:
        return cell.replace(f"-{number}", errno.errorcode[int(number)])
    return cell


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
