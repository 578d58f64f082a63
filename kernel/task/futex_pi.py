"""Priority-inheriting futexes (kernel/futex/pi.c): the kernel hands the lock over, in order of arrival.

The word holds the owner's tid and FUTEX_WAITERS once somebody sleeps. Priorities are not boosted: the scheduler has
one class.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kernel.errno import (
    EAGAIN,
    EDEADLK,
    EINVAL,
    EPERM,
    ERESTARTNOINTR,
    ESRCH,
    ETIMEDOUT,
    Errno,
)
from kernel.task.futex import FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS, futex_key, table
from kernel.task.wait import WaitQueue, sleep

if TYPE_CHECKING:
    from kernel.mm.address_space import AddressSpace
    from kernel.task.task import Task


@dataclass(eq=False, slots=True)
class PiWaiter:
    """One thread that waits for the lock."""

    task: Task
    mm: AddressSpace
    address: int
    queue: WaitQueue = field(default_factory=WaitQueue)
    owns: bool = False


@dataclass(eq=False, slots=True)
class PiState:
    """A lock with waiters; invariant: ``waiters`` is not empty while it is in the table."""

    owner: Task
    waiters: deque[PiWaiter] = field(default_factory=deque)


def _acquire(task: Task, address: int, key: Hashable) -> PiState | None:
    """Take the lock if it is free: None then; else the state to wait in (futex_lock_pi_atomic).

    Raises:
        Errno: EDEADLK when the caller has it, ESRCH when the owner does not exist, EINVAL when the word and the
            kernel disagree.
    """
    word = task.mm.read_u32(address)
    if word & FUTEX_TID_MASK == task.tid:
        raise Errno(EDEADLK)
    state = table(task.kernel).pi.get(key)
    if state is not None:
        if word & FUTEX_TID_MASK != state.owner.tid:
            raise Errno(EINVAL)
        return state
    if not word & FUTEX_TID_MASK:
        task.mm.write_u32(address, word & FUTEX_OWNER_DIED | task.tid)
        return None
    task.mm.write_u32(address, word | FUTEX_WAITERS)
    owner = task.kernel.tasks.get(word & FUTEX_TID_MASK)
    if owner is None or owner.state in "ZX":
        raise Errno(ESRCH)
    if owner.mm is not task.mm and key == futex_key(task, address, False):
        raise Errno(EPERM)
    return PiState(owner)


async def futex_lock_pi(task: Task, address: int, shared: bool, deadline_ns: int | None, trylock: bool = False) -> int:
    """Lock; ``deadline_ns`` is monotonic.

    Raises:
        Errno: as _acquire(); EAGAIN for a trylock that would wait, ETIMEDOUT, ERESTARTNOINTR.
    """
    key = futex_key(task, address, shared)
    state = _acquire(task, address, key)
    if state is None:
        return 0
    if trylock:
        raise Errno(EAGAIN)
    states = table(task.kernel).pi
    states[key] = state
    waiter = PiWaiter(task, task.mm, address)
    state.waiters.append(waiter)
    try:
        while not waiter.owns:
            woken = await sleep(waiter.queue, deadline_ns=deadline_ns, interrupt_code=ERESTARTNOINTR)
            if not woken and not waiter.owns:
                raise Errno(ETIMEDOUT)
    except Errno:
        if waiter.owns:
            return 0
        raise
    finally:
        if not waiter.owns:
            state.waiters.remove(waiter)
            if not state.waiters:
                states.pop(key, None)
    return 0


def futex_unlock_pi(task: Task, address: int, shared: bool) -> int:
    """Unlock, or hand the lock to the first waiter. EPERM when the caller does not have it."""
    key = futex_key(task, address, shared)
    word = task.mm.read_u32(address)
    if word & FUTEX_TID_MASK != task.tid:
        raise Errno(EPERM)
    state = table(task.kernel).pi.get(key)
    if state is None:
        task.mm.write_u32(address, 0)
    else:
        _hand_over(task, key, state, 0)
    return 0


def _hand_over(task: Task, key: Hashable, state: PiState, extra: int) -> None:
    """Make the first waiter the owner; FUTEX_WAITERS stays, so that its unlock comes to the kernel too."""
    waiter = state.waiters.popleft()
    waiter.owns = True
    state.owner = waiter.task
    if not state.waiters:
        table(task.kernel).pi.pop(key, None)
    with suppress(Errno):  # the new owner may have unmapped its lock
        waiter.mm.write_u32(waiter.address, FUTEX_WAITERS | extra | waiter.task.tid)
    waiter.queue.wake()


def exit_pi_state_list(task: Task) -> None:
    """Hand the locks of a dying thread to their first waiters, marked FUTEX_OWNER_DIED."""
    states = table(task.kernel).pi
    for key, state in list(states.items()):
        if state.owner is task:
            _hand_over(task, key, state, FUTEX_OWNER_DIED)
