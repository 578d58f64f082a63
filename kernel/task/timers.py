"""Kernel timers: callbacks at deadlines of the monotonic clock, in the order of the deadlines."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class Timer:
    """One pending callback."""

    __slots__ = ("callback", "deadline_ns")

    def __init__(self, deadline_ns: int, callback: Callable[[], object]) -> None:
        self.deadline_ns = deadline_ns
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        """The callback will not run; harmless when it has."""
        self.callback = None


class Timers:
    """All timers of the kernel; the scheduler runs them."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timer]] = []
        self._order = itertools.count()

    def add(self, deadline_ns: int, callback: Callable[[], object]) -> Timer:
        """Call ``callback`` once the monotonic clock has reached ``deadline_ns``."""
        timer = Timer(deadline_ns, callback)
        heapq.heappush(self._heap, (deadline_ns, next(self._order), timer))
        return timer

    def next_deadline(self) -> int | None:
        """The earliest deadline, None without timers."""
        heap = self._heap
        while heap and heap[0][2].callback is None:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def is_due(self, now_ns: int) -> bool:
        """From any thread: the first timer's deadline has passed. It only looks, so it may see a cancelled one."""
        heap = self._heap
        return bool(heap) and heap[0][0] <= now_ns

    def run_expired(self, now_ns: int) -> None:
        """Run what is due."""
        heap = self._heap
        while heap and heap[0][0] <= now_ns:
            timer = heapq.heappop(heap)[2]
            callback, timer.callback = timer.callback, None
            if callback is not None:
                callback()
