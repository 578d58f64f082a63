"""The clock interrupt: a thread that stops the guest when something else is due (kernel/time/tick-sched.c).

It looks every TICK_S, and at once when a signal of the host has arrived: Python runs its handlers only between
bytecodes, and there are none while the guest runs.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable

TICK_S = 0.01


class Ticker:
    """``due()`` says whether the guest should be stopped, ``stop()`` stops it; both are called from the thread."""

    def __init__(self, due: Callable[[], bool], stop: Callable[[], None]) -> None:
        self._due, self._stop = due, stop
        self.wake_read, self.wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        """Pipe for signal.set_wakeup_fd: a byte in it stops the guest."""
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="forkyard-tick", daemon=True)

    def start(self) -> None:
        """Begin to tick; nothing when it does already."""
        if not self._thread.is_alive():
            self._thread.start()

    def end(self) -> None:
        """Stop ticking and close the pipe; harmless when that has been done."""
        if self._ended:
            return
        self._ended = True
        with contextlib.suppress(OSError):
            os.write(self.wake_write, b"x")
        if self._thread.is_alive():
            self._thread.join()
        os.close(self.wake_read)
        os.close(self.wake_write)

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self.wake_read, select.POLLIN)
        urgent = 0
        while not self._ended:
            if poller.poll(TICK_S * 1000):
                with contextlib.suppress(BlockingIOError):
                    os.read(self.wake_read, 4096)
                # The stop is lost if the guest is just being started: ask again for a while.
                urgent = 5
            if urgent or self._due():
                urgent = max(urgent - 1, 0)
                self._stop()
