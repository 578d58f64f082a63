"""Kernel timers: callbacks at deadlines of the monotonic clock, in the order of the deadlines."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class Timer:
    """One pending callback."""

    __slots__ = ("_timers", "callback", "deadline_ns")

    def __init__(self, timers: Timers, deadline_ns: int, callback: Callable[[], object]) -> None:
        self._timers = timers
        self.deadline_ns = deadline_ns
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        """The callback will not run; harmless when it has."""
        if self.callback is not None:
            self.callback = None
            self._timers.forget_one()


class Timers:
    """All timers of the kernel; the scheduler runs them."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timer]] = []
        self._order = itertools.count()
        self._cancelled = 0
        """How many were cancelled since the heap was cleaned: a guest may set a far timer again and again."""

    def add(self, deadline_ns: int, callback: Callable[[], object]) -> Timer:
        """Call ``callback`` once the monotonic clock has reached ``deadline_ns``."""
        timer = Timer(self, deadline_ns, callback)
        heapq.heappush(self._heap, (deadline_ns, next(self._order), timer))
        return timer

    def forget_one(self) -> None:
        """One has been cancelled; clean up when most of the heap is."""
        self._cancelled += 1
        if self._cancelled > 64 and self._cancelled * 2 > len(self._heap):
            self._cancelled = 0
            live = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(live)
            self._heap = live

    def next_deadline(self) -> int | None:
        """The earliest deadline, None without timers."""
        heap = self._heap
        while heap and heap[0][2].callback is None:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def is_due(self, now_ns: int) -> bool:
        """From any thread: the first timer's deadline has passed. It only looks, so it may see a cancelled one."""
        first = self._heap[:1]
        return bool(first) and first[0][0] <= now_ns

    def run_expired(self, now_ns: int) -> None:
        """Run what is due."""
        while self._heap and self._heap[0][0] <= now_ns:
            timer = heapq.heappop(self._heap)[2]
            callback, timer.callback = timer.callback, None
            if callback is not None:
                callback()
