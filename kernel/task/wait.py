"""Sleeping and waking: what a system call that blocks may await.

A blocked call is a coroutine suspended in :func:`sleep`. The scheduler resumes it when a queue it waits on is woken,
its deadline passes, a host descriptor is ready, or a signal arrives; the last raises ``Errno(ERESTARTSYS)`` (or the
code given) inside the coroutine, so cleanup is ordinary ``try/finally``. Linux: kernel/sched/wait.c.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kernel.errno import ERESTARTSYS

if TYPE_CHECKING:
    from collections.abc import Generator

    from kernel.task.task import Task


class WaitQueue:
    """Tasks that wait for one thing to happen, in order of arrival.

    ``listeners`` are callables run at every wake (epoll's edge detection); they must not block.
    """

    __slots__ = ("listeners", "sleepers")

    def __init__(self) -> None:
        self.sleepers: dict[Sleep, None] = {}
        self.listeners: list[Any] = []

    def wake(self, limit: int | None = None) -> int:
        """Make up to ``limit`` sleepers runnable (all by default); returns how many."""
        woken = 0
        for sleep_ in list(self.sleepers) if self.sleepers else ():
            if limit is not None and woken >= limit:
                break
            if sleep_.finish(True):
                woken += 1
        if self.listeners:
            for listener in list(self.listeners):
                listener()
        return woken


@dataclass(eq=False, slots=True)
class Sleep:
    """One suspended wait; yielded to the scheduler, which fills in ``task``."""

    queues: tuple[WaitQueue, ...] = ()
    deadline_ns: int | None = None
    host_fds: tuple[tuple[int, int], ...] = ()
    interruptible: bool = True
    interrupt_code: int = ERESTARTSYS
    task: Task | None = None
    done: bool = False
    result: Any = None
    error: BaseException | None = None
    wake_list: list[Any] = field(default_factory=list)

    def finish(self, result: Any = None, error: BaseException | None = None) -> bool:
        """End the wait; returns False when it had ended already."""
        if self.done:
            return False
        self.done, self.result, self.error = True, result, error
        for queue in self.queues:
            queue.sleepers.pop(self, None)
        if self.task is not None:
            if self.task.state in "SD":
                self.task.state = "R"  # runnable, though its turn is yet to come
            self.task.kernel.scheduler.wake(self.task)
        return True

    def __await__(self) -> Generator[Sleep, None, Any]:
        for queue in self.queues:
            queue.sleepers[self] = None
        try:
            yield self
        finally:
            for queue in self.queues:
                queue.sleepers.pop(self, None)
        if self.error is not None:
            raise self.error
        return self.result


async def sleep(
    *queues: WaitQueue,
    deadline_ns: int | None = None,
    host_fds: Iterable[tuple[int, int]] = (),
    interruptible: bool = True,
    interrupt_code: int = ERESTARTSYS,
) -> bool:
    """Wait until any of ``queues`` is woken, a host descriptor is ready or ``deadline_ns`` passes.

    ``deadline_ns`` is absolute, on the kernel's monotonic clock. ``host_fds`` are (host fd, poll events).
    Returns True when woken, False when the deadline passed. A woken task must look again: wakes may be spurious.

    Raises:
        Errno: ``interrupt_code`` when a signal is to be delivered and the sleep is ``interruptible``;
            a fatal signal ends an uninterruptible sleep too (TASK_KILLABLE).
    """
    return await Sleep(queues, deadline_ns, tuple(host_fds), interruptible, interrupt_code)
