"""Error numbers and the one exception that carries them.

A system call handler returns a value or raises :class:`Errno`; the entry code turns it into ``-errno`` in RAX.
The four ERESTART codes never reach a program: ``kernel.task.restart`` replaces them by EINTR or runs the call again
(include/linux/errno.h).
"""

from __future__ import annotations

import errno as _errno
import os
from errno import *  # noqa: F403  -- the host is Linux too: its numbers are the guest's

ERESTARTSYS = 512
ERESTARTNOINTR = 513
ERESTARTNOHAND = 514
ERESTART_RESTARTBLOCK = 516
ENOTSUPP = 524

_RESTART_NAMES = {
    ERESTARTSYS: "ERESTARTSYS",
    ERESTARTNOINTR: "ERESTARTNOINTR",
    ERESTARTNOHAND: "ERESTARTNOHAND",
    ERESTART_RESTARTBLOCK: "ERESTART_RESTARTBLOCK",
}


class Errno(Exception):  # noqa: N818 -- the field's own term
    """A system call failed with ``code``, a positive error number."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code

    def __str__(self) -> str:
        return f"{name(self.code)} ({os.strerror(self.code)})"


def name(code: int) -> str:
    """The symbolic name of an error number: ``name(2) == "ENOENT"``."""
    return _RESTART_NAMES.get(code) or _errno.errorcode.get(code, f"E{code}")


def from_host(error: OSError) -> Errno:
    """The guest's view of an error that the host reported for it."""
    return Errno(error.errno if error.errno is not None else _errno.EIO)
