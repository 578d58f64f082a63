"""File locks: flock(2), POSIX record locks and open-file-description locks (fs/locks.c, fcntl(2)).

Record locks belong to a process (its descriptor table) or, for F_OFD_*, to an open file description; they cover byte
ranges, split and merge. flock locks belong to a description and cover the whole file. The two kinds ignore each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernel.errno import EAGAIN, EDEADLK, Errno
from kernel.task.wait import WaitQueue, sleep

if TYPE_CHECKING:
    from kernel.fs.file import File
    from kernel.fs.inode import Inode
    from kernel.task.task import Task

F_RDLCK = 0
F_WRLCK = 1
F_UNLCK = 2

OFFSET_MAX = (1 << 63) - 1


@dataclass(eq=False, slots=True)
class RecordLock:
    """One held range; ``end`` is included."""

    owner: Any
    """The FdTable of the process, or the File of an OFD lock."""
    write: bool
    start: int
    end: int
    pid: int
    """What F_GETLK reports; -1 for OFD locks."""


class LockList:
    """All locks of one inode (file_lock_context).

    Invariant: ``records`` is sorted by start within each owner, and ranges of one owner neither overlap nor touch
    with the same type.
    """

    __slots__ = ("flocks", "queue", "records")

    def __init__(self) -> None:
        self.records: list[RecordLock] = []
        self.flocks: dict[File, bool] = {}
        """Holder → exclusive."""
        self.queue = WaitQueue()

    # -- record locks

    def conflict(self, owner: Any, write: bool, start: int, end: int) -> RecordLock | None:
        """The first lock of somebody else that forbids this one."""
        for lock in self.records:
            if lock.owner is not owner and (write or lock.write) and lock.start <= end and start <= lock.end:
                return lock
        return None

    def set(self, owner: Any, kind: int, start: int, end: int, pid: int) -> None:
        """Give ``owner`` a lock on [start, end], or take it away; the owner's own locks there give way.

        Precondition: there is no conflict.
        """
        kept: list[RecordLock] = []
        released = False
        write = kind == F_WRLCK
        for lock in self.records:
            if lock.owner is not owner or lock.end + 1 < start or end + 1 < lock.start:
                kept.append(lock)
                continue
            if kind != F_UNLCK and lock.write == write:  # same type, overlapping or touching: one range
                start, end = min(start, lock.start), max(end, lock.end)
                continue
            if lock.end < start or end < lock.start:
                kept.append(lock)
                continue
            released = True
            if lock.start < start:
                kept.append(RecordLock(owner, lock.write, lock.start, start - 1, lock.pid))
            if lock.end > end:
                kept.append(RecordLock(owner, lock.write, end + 1, lock.end, lock.pid))
        if kind != F_UNLCK:
            kept.append(RecordLock(owner, write, start, end, pid))
        kept.sort(key=lambda lock: lock.start)
        self.records = kept
        if released:
            self.queue.wake()

    # -- flock

    def try_flock(self, file: File, exclusive: bool) -> bool:
        """Take or convert; a conversion gives the old lock up first, even when it then fails, as Linux does."""
        held = self.flocks.get(file)
        if held is exclusive:
            return True
        if held is not None:
            self.unlock_flock(file)
        if any(other is not file and (exclusive or theirs) for other, theirs in self.flocks.items()):
            return False
        self.flocks[file] = exclusive
        return True

    def unlock_flock(self, file: File) -> None:
        """LOCK_UN; nothing when it is not held."""
        if self.flocks.pop(file, None) is not None:
            self.queue.wake()

    # -- ends

    def release_owner(self, owner: Any) -> None:
        """A process closed a descriptor of this file: all its record locks go (locks_remove_posix)."""
        before = len(self.records)
        self.records = [lock for lock in self.records if lock.owner is not owner]
        if len(self.records) != before:
            self.queue.wake()

    def release_file(self, file: File) -> None:
        """The last reference to ``file`` is gone: its flock and OFD locks go (locks_remove_file)."""
        self.release_owner(file)
        self.unlock_flock(file)


def lock_list(inode: Inode) -> LockList:
    """The inode's locks, made on first need."""
    if inode.locks is None:
        inode.locks = LockList()
    return inode.locks


#: Who waits for whom, for EDEADLK: owner → the owner whose lock it sleeps on (blocked_hash).
_WAITS_FOR: dict[Any, Any] = {}
MAX_DEADLK_ITERATIONS = 10


def _would_deadlock(owner: Any, holder: Any) -> bool:
    """Does ``holder`` wait, through others, for ``owner``?"""
    for _ in range(MAX_DEADLK_ITERATIONS):
        if holder is owner:
            return True
        holder = _WAITS_FOR.get(holder)
        if holder is None:
            return False
    return False


async def set_record_lock(
    task: Task, inode: Inode, owner: Any, kind: int, start: int, end: int, *, wait: bool, ofd: bool
) -> None:
    """F_SETLK, F_SETLKW and their OFD forms.

    Raises:
        Errno: EAGAIN on a conflict without ``wait``; EDEADLK when processes would wait for each other; ERESTARTSYS.
    """
    locks = lock_list(inode)
    pid = -1 if ofd else task.pid
    if kind != F_UNLCK:
        while (other := locks.conflict(owner, kind == F_WRLCK, start, end)) is not None:
            if not wait:
                raise Errno(EAGAIN)
            if not ofd and _would_deadlock(owner, other.owner):
                raise Errno(EDEADLK)
            _WAITS_FOR[owner] = other.owner
            try:
                await sleep(locks.queue)
            finally:
                _WAITS_FOR.pop(owner, None)
    locks.set(owner, kind, start, end, pid)


async def flock(task: Task, file: File, exclusive: bool, wait: bool) -> None:
    """LOCK_SH and LOCK_EX. Raises Errno: EWOULDBLOCK without ``wait``, ERESTARTSYS."""
    locks = lock_list(file.inode)
    while not locks.try_flock(file, exclusive):
        if not wait:
            raise Errno(EAGAIN)
        await sleep(locks.queue)
