"""``#!`` lines: how the first 256 bytes of a script name its interpreter. Linux: fs/binfmt_script.c; execve(2)."""

from __future__ import annotations

from dataclasses import dataclass

from kernel.errno import ENOEXEC, Errno

BINPRM_BUF_SIZE = 256
_BLANKS = b" \t"


@dataclass(frozen=True, slots=True)
class Shebang:
    """The interpreter's path and its optional argument."""

    interpreter: bytes
    argument: bytes | None


def is_script(start: bytes) -> bool:
    """Does the file begin with ``#!``?"""
    return start[:2] == b"#!"


def parse(start: bytes) -> Shebang:
    """Read the line in ``start``, the first BINPRM_BUF_SIZE bytes of the file padded with zeros.

    An argument may be cut at the end of the buffer, an interpreter's path may not. Everything after the first blanks is
    one argument, trailing blanks removed.

    Raises:
        Errno: ENOEXEC when no interpreter is named or its path may be cut.
    """
    limit = BINPRM_BUF_SIZE - 1
    end = start.find(b"\n")
    if end < 0:
        name = _next_non_blank(start, 2, limit)
        if name is None or _next_terminator(start, name, limit) is None:
            raise Errno(ENOEXEC)
        end = limit
    while start[end - 1] in _BLANKS:
        end -= 1
    name = _next_non_blank(start, 2, end)
    if name is None or name == end:
        raise Errno(ENOEXEC)
    separator = _next_terminator(start, name, end)
    argument = None
    if separator is not None and start[separator] != 0:
        first = _next_non_blank(start, separator, end)
        # At ``end`` there is only the newline or the blanks that were trimmed.
        argument = _c_string(start, first, end) if first is not None else None
    return Shebang(_c_string(start, name, end if separator is None else separator), argument)


def _next_non_blank(data: bytes, first: int, last: int) -> int | None:
    """The first position in [first, last] that holds neither space nor tab."""
    return next((i for i in range(first, last + 1) if data[i] not in _BLANKS), None)


def _next_terminator(data: bytes, first: int, last: int) -> int | None:
    """The first position in [first, last] that holds a space, tab or NUL."""
    return next((i for i in range(first, last + 1) if data[i] in b" \t\0"), None)


def _c_string(data: bytes, first: int, end: int) -> bytes:
    return data[first:end].split(b"\0", 1)[0]
