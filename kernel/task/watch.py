"""Ending a run from outside, whatever the guest is doing: when a descriptor of the host becomes readable, or too late.

A thread waits; while the run goes on it asks the scheduler to stop again and again, since one request can be lost.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kernel.task.scheduler import Scheduler

_AGAIN_S = 0.001


class StopWatch:
    """Between begin() and end() the scheduler is stopped when the watched descriptor is readable."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._lock = threading.Lock()
        self._running = False
        self._watched: int | None = None
        self._fired: int | None = None
        """The watched descriptor, once it was readable."""
        self._watches = 0
        """How many descriptors have been watched: tells apart those that bear the same number."""
        self._thread: threading.Thread | None = None
        self._wake_read = self._wake_write = -1
        self._closing = False

    def begin(self, fd: int | None) -> bool:
        """A run begins; ``fd`` may end it, None: nothing does. False when ``fd`` is readable already."""
        if fd != self._watched:
            self._watch(fd)
        elif fd is not None and self._fired == fd:
            if _is_readable(fd):
                return False
            self._watch(fd)  # another file by the same number
        with self._lock:
            if fd is not None and self._fired == fd:
                return False
            self._scheduler.ended = False
            self._running = True
        return True

    def end(self) -> None:
        """The run is over: from here on nothing is stopped."""
        with self._lock:
            self._running = False

    def close(self) -> None:
        """End the thread; harmless when there is none."""
        if self._thread is not None:
            self._closing = True
            self._nudge()
            self._thread.join()
            self._thread = None
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _watch(self, fd: int | None) -> None:
        with self._lock:
            self._watched = fd
            self._fired = None
            self._watches += 1
        if self._thread is None:
            if fd is None:
                return
            self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            self._thread = threading.Thread(target=self._wait, name="forkyard-watch", daemon=True)
            self._thread.start()
        self._nudge()

    def _nudge(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"x")

    def _wait(self) -> None:
        while not self._closing:
            with self._lock:
                fd, watch = self._watched, self._watches
                wanted = fd is not None and self._fired is None
            poller = select.poll()
            poller.register(self._wake_read, select.POLLIN)
            if wanted:
                poller.register(fd, select.POLLIN)  # type: ignore[arg-type]
            ready = [number for number, _ in poller.poll()]
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
            elif fd in ready:
                with self._lock:
                    if watch != self._watches:
                        continue
                    self._fired = fd
                self._stop(watch)

    def _stop(self, watch: int) -> None:
        """Until the run that is to be ended is over."""
        while True:
            with self._lock:
                if not self._running or self._watches != watch:
                    return
                self._scheduler.stop()
            time.sleep(_AGAIN_S)


def _is_readable(fd: int) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(0))
