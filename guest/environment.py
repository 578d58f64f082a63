"""The environment that the command was started with."""

from __future__ import annotations

import os
from collections.abc import Mapping

_COERCED = "LC_CTYPE"
_INITIAL = "/proc/self/environ"
"""The strings that execve got: setenv does not change them."""


def as_given(environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` without what Python itself put there: in the C locale it sets LC_CTYPE to C.UTF-8 (PEP 538)."""
    given = dict(environment)
    try:
        with open(_INITIAL, "rb") as file:
            initial = dict(item.split(b"=", 1) for item in file.read().split(b"\0") if b"=" in item)
    except OSError:
        return given
    before = initial.get(os.fsencode(_COERCED))
    if before is None:
        given.pop(_COERCED, None)
    else:
        given[_COERCED] = os.fsdecode(before)
    return given
