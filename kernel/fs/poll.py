"""Waiting for files to become ready: what poll, select and their kin share (fs/select.c)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from kernel.errno import EFAULT, EINTR, EINVAL, ERESTARTNOHAND, Errno
from kernel.task.wait import WaitQueue, sleep

if TYPE_CHECKING:
    from kernel.fs.file import File
    from kernel.task.task import Task

NSEC_PER_SEC = 1_000_000_000
KTIME_MAX = (1 << 63) - 1

T = TypeVar("T")


def deadline_after(task: Task, timeout_ns: int | None) -> int | None:
    """The monotonic deadline of a relative timeout; None waits for ever."""
    if timeout_ns is None:
        return None
    return min(task.kernel.clock.monotonic_ns() + timeout_ns, KTIME_MAX)


async def wait_for(
    task: Task,
    look: Callable[[], T],
    watched: Iterable[tuple[File, int]],
    deadline_ns: int | None,
    poll_only: bool,
    interrupt_code: int,
) -> T:
    """Call ``look`` until it returns something true, and return that; the last, empty, result at the deadline.

    ``watched`` are (file, events); ``poll_only`` never sleeps (a timeout of zero).

    Raises:
        Errno: ``interrupt_code`` when a signal is pending and nothing is ready.
    """
    from kernel.task.signal import signal_pending

    found = look()
    if found:
        return found
    if signal_pending(task):
        raise Errno(interrupt_code)
    if poll_only:
        return found
    pairs = list(watched)
    held = [file.get() for file, _events in pairs]
    try:
        while True:
            queues: list[WaitQueue] = []
            host: list[tuple[int, int]] = []
            for file, events in pairs:
                queues.extend(file.wait_queues(events))
                host.extend(file.host_fds(events))
            woken = await sleep(
                *dict.fromkeys(queues), deadline_ns=deadline_ns, host_fds=host, interrupt_code=interrupt_code
            )
            found = look()
            if found or not woken:
                return found
    finally:
        for file in held:
            file.put()


def read_timespec(task: Task, addr: int) -> int | None:
    """A relative timeout in nanoseconds, None for a null pointer; EINVAL unless normalised and not negative."""
    if not addr:
        return None
    raw = task.mm.read(addr, 16)
    sec = int.from_bytes(raw[:8], "little", signed=True)
    nsec = int.from_bytes(raw[8:], "little", signed=True)
    if sec < 0 or not 0 <= nsec < NSEC_PER_SEC:
        raise Errno(EINVAL)
    return sec * NSEC_PER_SEC + nsec


def write_back_timeout(task: Task, addr: int, deadline_ns: int | None, timeout_ns: int | None, unit_ns: int) -> bool:
    """Store the time left as timespec (``unit_ns`` 1) or timeval (1000); False when memory refuses it.

    A timeout of zero is left alone (poll_select_finish).
    """
    if not addr or not timeout_ns or deadline_ns is None:
        return True
    left = max(0, deadline_ns - task.kernel.clock.monotonic_ns())
    sec, nsec = divmod(left, NSEC_PER_SEC)
    try:
        task.mm.write(addr, sec.to_bytes(8, "little") + (nsec // unit_ns).to_bytes(8, "little"))
    except Errno as error:
        if error.code != EFAULT:
            raise
        return False
    return True


def no_restart(error: Errno) -> Errno:
    """The time left could not be stored, so the call must not be run again."""
    return Errno(EINTR) if error.code == ERESTARTNOHAND else error
