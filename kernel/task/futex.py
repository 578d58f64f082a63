"""Futexes: queues of sleepers keyed by a word of user memory (kernel/futex/{core,waitwake,requeue}.c).

One engine runs one task at a time and a kernel entry is never interrupted, so reading the word and joining the queue
is one step without locks. Priority-inheriting locks are in ``kernel.task.futex_pi``.
"""

from __future__ import annotations

import struct
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emu.words import U64
from kernel.errno import EAGAIN, EFAULT, EINVAL, ENOSYS, ERESTART_RESTARTBLOCK, ERESTARTSYS, ETIMEDOUT, Errno
from kernel.task.wait import WaitQueue, sleep

if TYPE_CHECKING:
    from kernel.kernel import Kernel
    from kernel.task.futex_pi import PiState
    from kernel.task.task import Task

FUTEX_WAIT, FUTEX_WAKE, FUTEX_FD, FUTEX_REQUEUE, FUTEX_CMP_REQUEUE, FUTEX_WAKE_OP = range(6)
FUTEX_LOCK_PI, FUTEX_UNLOCK_PI, FUTEX_TRYLOCK_PI, FUTEX_WAIT_BITSET, FUTEX_WAKE_BITSET = range(6, 11)
FUTEX_WAIT_REQUEUE_PI, FUTEX_CMP_REQUEUE_PI, FUTEX_LOCK_PI2 = 11, 12, 13
FUTEX_PRIVATE_FLAG, FUTEX_CLOCK_REALTIME = 128, 256
FUTEX_CMD_MASK = ~(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME)
FUTEX_BITSET_MATCH_ANY = 0xFFFFFFFF

FUTEX_WAITERS, FUTEX_OWNER_DIED, FUTEX_TID_MASK = 0x80000000, 0x40000000, 0x3FFFFFFF

FUTEX_OP_SET, FUTEX_OP_ADD, FUTEX_OP_OR, FUTEX_OP_ANDN, FUTEX_OP_XOR = range(5)
FUTEX_OP_OPARG_SHIFT = 8

ROBUST_LIST_LIMIT = 2048
ROBUST_LIST_HEAD_SIZE = 24
_ROBUST_HEAD = struct.Struct("<QqQ")  # list.next, futex_offset, list_op_pending
_USER_END = (1 << 47) - 4096


@dataclass(eq=False, slots=True)
class Waiter:
    """One sleeper on one futex; ``key`` changes when it is requeued."""

    key: Hashable
    bitset: int
    queue: WaitQueue
    """Woken once the waiter has been taken out of the table; shared by the waiters of one futex_waitv."""
    woken: bool = False


class FutexTable:
    """All futexes with sleepers. Invariant: no list is empty, and a waiter is in exactly the list of its key."""

    def __init__(self) -> None:
        self.waiters: dict[Hashable, list[Waiter]] = {}
        self.pi: dict[Hashable, PiState] = {}

    def add(self, waiter: Waiter) -> None:
        """Queue behind those that are there."""
        self.waiters.setdefault(waiter.key, []).append(waiter)

    def discard(self, waiter: Waiter) -> None:
        """Take out a waiter that gives up; nothing when it has been woken."""
        if waiter.woken:
            return
        queued = self.waiters.get(waiter.key)
        if queued is not None and waiter in queued:
            queued.remove(waiter)
            if not queued:
                del self.waiters[waiter.key]

    def wake(self, key: Hashable, count: int, bitset: int = FUTEX_BITSET_MATCH_ANY) -> int:
        """Wake waiters with a common bit, oldest first; returns how many. As in Linux ``count`` 0 counts as 1."""
        queued = self.waiters.get(key)
        if queued is None:
            return 0
        woken = 0
        for waiter in [w for w in queued if w.bitset & bitset]:
            queued.remove(waiter)
            waiter.woken = True
            waiter.queue.wake()
            woken += 1
            if woken >= count:
                break
        if not queued:
            del self.waiters[key]
        return woken

    def requeue(self, key: Hashable, target: Hashable, wake: int, move: int) -> int:
        """Wake the first ``wake`` waiters and move up to ``move`` others; returns the number of both."""
        queued = self.waiters.get(key)
        if queued is None:
            return 0
        touched = 0
        for waiter in list(queued):
            if touched - wake >= move:
                break
            touched += 1
            if touched > wake:
                if target == key:
                    continue
                queued.remove(waiter)
                waiter.key = target
                self.add(waiter)
            else:
                queued.remove(waiter)
                waiter.woken = True
                waiter.queue.wake()
        if not queued:
            del self.waiters[key]
        return touched


def table(kernel: Kernel) -> FutexTable:
    """The kernel's futexes."""
    found: FutexTable | None = getattr(kernel, "futexes", None)
    if found is None:
        found = FutexTable()
        setattr(kernel, "futexes", found)  # noqa: B010 -- declared nowhere else
    return found


def futex_key(task: Task, address: int, shared: bool) -> Hashable:
    """What tells one futex from another: the two forms are different futexes even where memory is private.

    Raises:
        Errno: EINVAL for an address that is not a multiple of 4, EFAULT.
    """
    if address & 3:
        raise Errno(EINVAL)
    if address >= _USER_END:
        raise Errno(EFAULT)
    return shared, task.mm.futex_key(address, shared)


# -- waiting and waking ------------------------------------------------------------------------------------------


async def futex_wait(task: Task, address: int, shared: bool, value: int, deadline_ns: int | None, bitset: int) -> int:
    """Sleep while the word holds ``value``; ``deadline_ns`` is monotonic.

    Raises:
        Errno: EAGAIN when it does not, ETIMEDOUT, EFAULT, EINVAL; ERESTARTSYS or, with a deadline,
            ERESTART_RESTARTBLOCK when a signal came.
    """
    if not bitset:
        raise Errno(EINVAL)
    futexes = table(task.kernel)
    key = futex_key(task, address, shared)
    if task.mm.read_u32(address) != value:
        raise Errno(EAGAIN)
    waiter = Waiter(key, bitset, WaitQueue())
    futexes.add(waiter)
    code = ERESTARTSYS if deadline_ns is None else ERESTART_RESTARTBLOCK
    try:
        while not waiter.woken:
            if not await sleep(waiter.queue, deadline_ns=deadline_ns, interrupt_code=code) and not waiter.woken:
                raise Errno(ETIMEDOUT)
    except Errno as error:
        if waiter.woken:
            return 0
        if error.code == ERESTART_RESTARTBLOCK:

            async def again(task: Task) -> int:
                return await futex_wait(task, address, shared, value, deadline_ns, bitset)

            task.restart = again
        raise
    finally:
        futexes.discard(waiter)
    return 0


def futex_wake(task: Task, address: int, shared: bool, count: int, bitset: int = FUTEX_BITSET_MATCH_ANY) -> int:
    """Wake up to ``count`` sleepers; returns how many."""
    if not bitset:
        raise Errno(EINVAL)
    return table(task.kernel).wake(futex_key(task, address, shared), count, bitset)


def wake_address(task: Task, address: int, count: int = 1) -> int:
    """The wake of clear_child_tid and robust lists: of sleepers that used the shared form."""
    return futex_wake(task, address, True, count)


def futex_requeue(task: Task, address: int, shared: bool, target: int, wake: int, move: int, expected: int | None,
                  shared_target: bool | None = None) -> int:
    """FUTEX_REQUEUE, and with ``expected`` FUTEX_CMP_REQUEUE (EAGAIN unless the word holds it)."""
    if wake < 0 or move < 0:
        raise Errno(EINVAL)
    key = futex_key(task, address, shared)
    other = futex_key(task, target, shared if shared_target is None else shared_target)
    if expected is not None and task.mm.read_u32(address) != expected:
        raise Errno(EAGAIN)
    return table(task.kernel).requeue(key, other, wake, move)


def futex_wake_op(task: Task, address: int, shared: bool, other: int, wake: int, wake_other: int, encoded: int) -> int:
    """FUTEX_WAKE_OP: change the second word, wake on the first, and on the second if its old value compares."""
    key, other_key = futex_key(task, address, shared), futex_key(task, other, shared)
    compares = _atomic_op(task, other, encoded)
    futexes = table(task.kernel)
    woken = futexes.wake(key, wake)
    if compares:
        woken += futexes.wake(other_key, wake_other)
    return woken


def _sign_extend(value: int, bits: int) -> int:
    return (value ^ 1 << (bits - 1)) - (1 << (bits - 1))


def _atomic_op(task: Task, address: int, encoded: int) -> bool:
    """``*address = *address OP oparg``; was the old value CMP cmparg? (futex_atomic_op_inuser)"""
    operation, comparison = encoded >> 28 & 7, encoded >> 24 & 15
    argument = _sign_extend(encoded >> 12 & 0xFFF, 12)
    against = _sign_extend(encoded & 0xFFF, 12)
    if encoded >> 28 & FUTEX_OP_OPARG_SHIFT:
        argument = 1 << (argument & 31)
    old = task.mm.read_u32(address)
    if operation == FUTEX_OP_SET:
        new = argument
    elif operation == FUTEX_OP_ADD:
        new = old + argument
    elif operation == FUTEX_OP_OR:
        new = old | argument
    elif operation == FUTEX_OP_ANDN:
        new = old & ~argument
    elif operation == FUTEX_OP_XOR:
        new = old ^ argument
    else:
        raise Errno(ENOSYS)
    task.mm.write_u32(address, new & 0xFFFFFFFF)
    signed = _sign_extend(old, 32)
    outcomes = (signed == against, signed != against, signed < against, signed >= against, signed <= against,
                signed > against)  # fmt: skip
    if comparison >= len(outcomes):
        raise Errno(ENOSYS)
    return outcomes[comparison]


async def futex_wait_multiple(task: Task, entries: list[tuple[int, bool, int]], deadline_ns: int | None) -> int:
    """futex_waitv(2): wait on all (address, shared, value); returns the index of one that was woken."""
    futexes = table(task.kernel)
    queue = WaitQueue()
    waiters: list[Waiter] = []
    try:
        for address, shared, value in entries:
            key = futex_key(task, address, shared)
            if task.mm.read_u32(address) != value:
                raise Errno(EAGAIN)
            waiter = Waiter(key, FUTEX_BITSET_MATCH_ANY, queue)
            waiters.append(waiter)
            futexes.add(waiter)
        try:
            while not any(waiter.woken for waiter in waiters):
                if not await sleep(queue, deadline_ns=deadline_ns, interrupt_code=ERESTARTSYS):
                    if any(waiter.woken for waiter in waiters):
                        break
                    raise Errno(ETIMEDOUT)
        except Errno:
            if not any(waiter.woken for waiter in waiters):
                raise
        return max(index for index, waiter in enumerate(waiters) if waiter.woken)
    finally:
        for waiter in waiters:
            futexes.discard(waiter)


# -- robust lists ------------------------------------------------------------------------------------------------


def exit_robust_list(task: Task) -> None:
    """Mark the robust futexes that a dying thread holds, and hand on its priority-inheriting ones.

    The list is the program's: it is followed for at most ROBUST_LIST_LIMIT steps, and an unreadable entry ends it.
    """
    from kernel.task.futex_pi import exit_pi_state_list

    if task.robust_list[0] and task.mm is not None:
        with suppress(Errno):
            _walk_robust_list(task, task.robust_list[0])
    exit_pi_state_list(task)


def _walk_robust_list(task: Task, head: int) -> None:
    first, offset, pending = _ROBUST_HEAD.unpack(task.mm.read(head, _ROBUST_HEAD.size))
    entry = first
    for _ in range(ROBUST_LIST_LIMIT):
        address, is_pi = entry & ~1, bool(entry & 1)
        if address == head:
            break
        try:
            following = task.mm.read_u64(address)
            broken = False
        except Errno:
            following, broken = 0, True
        if address != pending & ~1:
            _handle_futex_death(task, (address + offset) & U64, is_pi, pending_op=False)
        if broken:
            return
        entry = following
    if pending:
        _handle_futex_death(task, ((pending & ~1) + offset) & U64, bool(pending & 1), pending_op=True)


def _handle_futex_death(task: Task, address: int, is_pi: bool, pending_op: bool) -> None:
    """Set FUTEX_OWNER_DIED in a word that names the dying thread and wake one waiter; EFAULT ends the walk."""
    if address & 3:
        raise Errno(EFAULT)
    word = task.mm.read_u32(address)
    if pending_op and not is_pi and not word:
        # It died between releasing the lock and waking the next.
        wake_address(task, address)
        return
    if word & FUTEX_TID_MASK != task.tid:
        return
    task.mm.write_u32(address, word & FUTEX_WAITERS | FUTEX_OWNER_DIED)
    if not is_pi and word & FUTEX_WAITERS:
        wake_address(task, address)
