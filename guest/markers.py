"""Generated parts of the README: what stands between ``<!-- NAME: begin … -->`` and ``<!-- NAME: end -->``."""

from __future__ import annotations

import re
from pathlib import Path


def replace(text: str, name: str, body: str) -> str:
    """``text`` with ``body`` between the markers of ``name``.

    Raises:
        ValueError: the markers are not there.
    """
    begin = re.search(rf"^<!-- {name}: begin.*-->\n", text, re.MULTILINE)
    end = re.search(rf"^<!-- {name}: end -->$", text, re.MULTILINE)
    if begin is None or end is None or end.start() < begin.end():
        raise ValueError(f"there are no markers for {name}")
    return text[: begin.end()] + body + text[end.start() :]


def update(path: str, name: str, body: str) -> None:
    """Replace the part in the file at ``path``.

    Raises:
        OSError, ValueError: it cannot be read or written, or has no markers.
    """
    file = Path(path)
    file.write_text(replace(file.read_text(), name, body))
