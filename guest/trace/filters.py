"""What to show: the ``-e`` expressions of strace(1).

``[qualifier=][!]value[,value]…`` where the qualifier is trace (the default), signal, status, abbrev, verbose, raw or
quiet. A value of trace is a name, ``%class``, ``/regular expression`` or a number; ``?`` before it allows it to match
nothing. Each expression replaces the earlier ones of its qualifier, as in strace.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from guest.trace.classes import CLASSES
from guest.trace.numbers import NAMES, NUMBERS
from guest.trace.structs_task import signal_name
from kernel.syscalls.table import TABLE


class ExpressionError(ValueError):
    """An ``-e`` expression that cannot be understood; the message is for the user."""


#: The old class names that are allowed without the percent sign.
_BARE_CLASSES = ("file", "process", "network", "signal", "ipc", "desc", "memory")
STATUSES = ("successful", "failed", "unfinished", "unavailable", "detached")
_QUALIFIERS = {
    "trace": "trace", "t": "trace", "signal": "signal", "signals": "signal", "s": "signal", "status": "status",
    "abbrev": "abbrev", "a": "abbrev", "verbose": "verbose", "v": "verbose", "raw": "raw", "x": "raw",
    "quiet": "quiet", "q": "quiet", "silent": "quiet", "silence": "quiet",
}
_UNSUPPORTED = {
    "inject": "tampering with system calls", "fault": "fault injection", "read": "dumping what is read",
    "r": "dumping what is read", "write": "dumping what is written", "w": "dumping what is written",
    "kvm": "tracing KVM", "decode-fds": "-e decode-fds (use -y)", "decode-pids": "decoding pids",
    "namespace": "-e namespace",
}
_QUIET = ("attach", "exit", "path-resolution", "personality", "thread-execve", "superseded")


@dataclass
class Selection:
    """Which of a family of names are meant: all but ``names`` if ``inverted``, else just those."""

    names: frozenset[str] = frozenset()
    inverted: bool = True
    """The initial selection is everything."""

    def __contains__(self, name: object) -> bool:
        return (name in self.names) != self.inverted

    @property
    def everything(self) -> bool:
        """Nothing is left out."""
        return self.inverted and not self.names


@dataclass
class Filters:
    """What ``-e`` and ``-P`` choose."""

    trace: Selection = field(default_factory=Selection)
    signal: Selection = field(default_factory=Selection)
    status: Selection = field(default_factory=Selection)
    abbrev: Selection = field(default_factory=Selection)
    verbose: Selection = field(default_factory=Selection)
    raw: Selection = field(default_factory=lambda: Selection(inverted=False))
    quiet: Selection = field(default_factory=lambda: Selection(inverted=False))
    paths: list[bytes] = field(default_factory=list)

    def add(self, expression: str) -> None:
        """Take in one ``-e`` expression.

        Raises:
            ExpressionError: it names an unknown qualifier, system call, class, signal or status.
        """
        head, equals, tail = expression.partition("=")
        if equals and head in _UNSUPPORTED:
            raise ExpressionError(f"{_UNSUPPORTED[head]} is not supported: '{expression}'")
        qualifier, text = (_QUALIFIERS[head], tail) if equals and head in _QUALIFIERS else ("trace", expression)
        setattr(self, qualifier, _selection(text, qualifier))


def _selection(text: str, qualifier: str) -> Selection:
    inverted = False
    while text.startswith("!"):
        inverted, text = not inverted, text[1:]
    if text == "none":
        return Selection(inverted=inverted)
    if text == "all":
        return Selection(inverted=not inverted)
    names: set[str] = set()
    for item in text.split(","):
        names |= _SETS[qualifier](item)
    return Selection(frozenset(names), inverted)


def _known() -> set[str]:
    """Linux's names, and those declared beside them (odfork, calls newer than strace 6.1)."""
    return {*NUMBERS, *(row.name for row in TABLE.values())}


def _syscalls(item: str) -> set[str]:
    optional = item.startswith("?")
    token = item.lstrip("?")
    found: set[str] = set()
    if token.startswith("/"):
        try:
            pattern = re.compile(token[1:])
        except re.error as error:
            raise ExpressionError(f"invalid regular expression '{token[1:]}': {error}") from None
        found = {name for name in _known() if pattern.search(name)}
    elif token.startswith("%") or token in _BARE_CLASSES:
        found = set(CLASSES.get(token.removeprefix("%"), ()))
    elif token.isdigit():
        number = int(token)
        row = TABLE.get(number)
        found = {row.name if row else NAMES[number][0] if number in NAMES else f"syscall_{number:#x}"}
    else:
        name = token.split("@", 1)[0]  # one personality only: name@64
        if name in _known() or name.startswith("syscall_0x"):
            found = {name}
    if not found and not optional:
        raise ExpressionError(f"invalid system call '{item}'")
    return found


def _signals(item: str) -> set[str]:
    if item.isdigit() and 1 <= int(item) <= 64:
        return {signal_name(int(item))}
    name = item.upper()
    name = name if name.startswith("SIG") else "SIG" + name
    if name not in {signal_name(number) for number in range(1, 65)}:
        raise ExpressionError(f"invalid signal '{item}'")
    return {name}


def _statuses(item: str) -> set[str]:
    if item not in STATUSES:
        raise ExpressionError(f"invalid status '{item}'")
    return {item}


def _quiets(item: str) -> set[str]:
    if item not in _QUIET and item != "exits":
        raise ExpressionError(f"invalid quiet message '{item}'")
    return {"exit" if item == "exits" else item}


_SETS = {"trace": _syscalls, "abbrev": _syscalls, "verbose": _syscalls, "raw": _syscalls, "signal": _signals,
         "status": _statuses, "quiet": _quiets}
