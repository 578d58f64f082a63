"""Work that comes from outside the guest's own doing: a signal of the host, another thread.

A handler of Python runs between any two bytecodes, in the middle of a fork for all we know; so it leaves its work here
and the scheduler does it between two kernel entries.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable


class Postbox:
    """``read_fd`` becomes readable when something has been put in, so that an idle scheduler wakes up."""

    def __init__(self) -> None:
        self._callbacks: deque[Callable[[], object]] = deque()
        self.read_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    def put(self, callback: Callable[[], object]) -> None:
        """Have ``callback`` run soon, between kernel entries; safe from a signal handler and from any thread."""
        self._callbacks.append(callback)
        if self._write_fd >= 0:
            with contextlib.suppress(BlockingIOError):
                os.write(self._write_fd, b"x")

    def run(self) -> None:
        """Run what has been put in."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.read_fd, 4096)
        while self._callbacks:
            self._callbacks.popleft()()

    def close(self) -> None:
        """Close the pipe; what is put in afterwards is never run."""
        if self._write_fd >= 0:
            os.close(self.read_fd)
            os.close(self._write_fd)
            self.read_fd = self._write_fd = -1
