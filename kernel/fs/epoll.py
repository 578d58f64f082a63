"""epoll(7): interest lists with level- and edge-triggered readiness. Linux: fs/eventpoll.c.

Each item listens on the wait queues of its file; a wake puts it on the ready list. epoll_wait takes items off that
list, asks the file what holds, and puts level-triggered ones back, so a wait costs what is ready, not what is watched.
Files behind a host descriptor have no wait queue that the host would wake; they are asked anew at every wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel.errno import EEXIST, EINVAL, ELOOP, ENOENT, EPERM, Errno
from kernel.fs.anon import AnonFile
from kernel.fs.file import File
from kernel.fs.pollmask import ALWAYS, EPOLLET, EPOLLEXCLUSIVE, EPOLLONESHOT, EPOLLWAKEUP, POLLIN, POLLOUT, POLLRDNORM
from kernel.fs.uapi import O_RDWR
from kernel.task.wait import WaitQueue

if TYPE_CHECKING:
    from kernel.task.task import Task

EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD = 1, 2, 3
EP_MAX_NESTS = 4
"""How many times one instance may watch another in a row."""
MAX_EVENTS = (1 << 31) // 12 - 1
"""EP_MAX_EVENTS: the most that maxevents may be."""

_PRIVATE = EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE
_EXCLUSIVE_OK = POLLIN | POLLOUT | ALWAYS | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE


class EpollItem:
    """One watched (descriptor, file) (struct epitem)."""

    __slots__ = ("data", "epoll", "events", "fd", "file", "host_mask", "queues")

    def __init__(self, epoll: EpollFile, fd: int, file: File, events: int, data: int) -> None:
        self.epoll = epoll
        self.fd = fd
        self.file = file
        self.events = events
        self.data = data
        self.queues: tuple[WaitQueue, ...] = ()
        self.host_mask = 0
        """What a host-backed file reported last, to find its edges."""

    def attach(self) -> None:
        """Listen for wakes, and for the end of the file."""
        self.queues = self.file.wait_queues(self.events | ALWAYS)
        for queue in self.queues:
            queue.listeners.append(self.wake)
        self.file.release_hooks.append(self.file_gone)

    def detach(self) -> None:
        """Stop watching and forget the item."""
        for queue in self.queues:
            if self.wake in queue.listeners:
                queue.listeners.remove(self.wake)
        self.queues = ()
        if self.file_gone in self.file.release_hooks:
            self.file.release_hooks.remove(self.file_gone)
        self.epoll.items.pop((self.fd, self.file), None)
        self.epoll.ready.pop(self, None)

    def file_gone(self, file: File) -> None:
        """The last descriptor of the file is closed (eventpoll_release)."""
        self.detach()

    def wake(self) -> None:
        """ep_poll_callback: something happened to the file."""
        if self.events & ~_PRIVATE:
            self.epoll.make_ready(self)

    def current(self) -> int:
        """The events of interest that hold now."""
        return self.file.poll() & (self.events | ALWAYS) if self.events & ~_PRIVATE else 0


class EpollFile(AnonFile):
    """One interest list. ``ready`` keeps the order in which items became ready."""

    def __init__(self, task: Task) -> None:
        super().__init__(task, O_RDWR, b"eventpoll")
        self.items: dict[tuple[int, File], EpollItem] = {}
        self.ready: dict[EpollItem, None] = {}
        self.queue = WaitQueue()
        self._waking = False

    # -- epoll_ctl

    def add(self, fd: int, file: File, events: int, data: int) -> None:
        """EPOLL_CTL_ADD.

        Raises:
            Errno: EEXIST; EPERM for files that cannot be polled (regular files, directories); ELOOP for a cycle or
                too deep a nest; EINVAL for itself and for combinations that EPOLLEXCLUSIVE forbids.
        """
        if not getattr(file, "pollable", False):
            raise Errno(EPERM)
        if file is self:
            raise Errno(EINVAL)
        if events & EPOLLEXCLUSIVE and (isinstance(file, EpollFile) or events & ~_EXCLUSIVE_OK & 0xFFFFFFFF):
            raise Errno(EINVAL)
        if isinstance(file, EpollFile) and (file.watches(self) or _chain(self, file) > EP_MAX_NESTS + 1):
            raise Errno(ELOOP)
        if (fd, file) in self.items:
            raise Errno(EEXIST)
        item = EpollItem(self, fd, file, events | ALWAYS, data)
        self.items[fd, file] = item
        item.attach()
        if item.current():
            self.make_ready(item)

    def find(self, fd: int, file: File) -> EpollItem:
        """The item of EPOLL_CTL_MOD and DEL; ENOENT."""
        item = self.items.get((fd, file))
        if item is None:
            raise Errno(ENOENT)
        return item

    def modify(self, fd: int, file: File, events: int, data: int) -> None:
        """EPOLL_CTL_MOD: also what arms a one-shot item again."""
        if events & EPOLLEXCLUSIVE:
            raise Errno(EINVAL)
        item = self.find(fd, file)
        if item.events & EPOLLEXCLUSIVE:
            raise Errno(EINVAL)
        item.events, item.data, item.host_mask = events | ALWAYS, data, 0
        for queue in item.queues:
            queue.listeners.remove(item.wake)
        item.queues = file.wait_queues(item.events)
        for queue in item.queues:
            queue.listeners.append(item.wake)
        if item.current():
            self.make_ready(item)

    def watches(self, other: EpollFile) -> bool:
        """Is ``other`` reachable over what this instance watches?"""
        return any(
            file is other or (isinstance(file, EpollFile) and file.watches(other)) for _fd, file in self.items
        )

    # -- readiness

    def make_ready(self, item: EpollItem) -> None:
        """Put ``item`` on the ready list and wake who waits; instances that watch each other cannot recurse."""
        self.ready[item] = None
        if self._waking:
            return
        self._waking = True
        try:
            self.queue.wake()
        finally:
            self._waking = False

    def _look_at_host(self) -> None:
        """Find out about files whose readiness only the host knows."""
        for item in self.items.values():
            if item.file.host_fds(item.events):
                mask = item.current()
                if mask & ~item.host_mask or (mask and not item.events & EPOLLET):
                    self.ready[item] = None
                item.host_mask = mask

    def collect(self, limit: int) -> list[tuple[int, int]]:
        """Up to ``limit`` pairs (events, data), as epoll_wait reports them (ep_send_events)."""
        self._look_at_host()
        found: list[tuple[int, int]] = []
        again: list[EpollItem] = []
        for item in list(self.ready):
            if len(found) >= limit:
                break
            del self.ready[item]
            mask = item.current()
            if not mask:
                continue
            found.append((mask, item.data))
            if item.events & EPOLLONESHOT:
                item.events &= _PRIVATE
            elif not item.events & EPOLLET:
                again.append(item)
        for item in again:
            self.ready[item] = None
        return found

    def poll(self) -> int:
        self._look_at_host()
        for item in list(self.ready):
            if item.current():
                return POLLIN | POLLRDNORM
            del self.ready[item]
        return 0

    def wait_queues(self, events: int) -> tuple[WaitQueue, ...]:
        return (self.queue,)

    def host_fds(self, events: int) -> tuple[tuple[int, int], ...]:
        """Those of all watched files."""
        return tuple(pair for item in self.items.values() for pair in item.file.host_fds(item.events & 0xFFFF))

    def fdinfo(self, task: Task) -> bytes:
        return b"".join(
            b"tfd: %8d events: %8x data: %16x  pos:%d ino:%x sdev:%x\n"
            % (item.fd, item.events, item.data, item.file.pos, item.file.inode.ino, item.file.inode.dev)
            for item in self.items.values()
        )

    def release(self) -> None:
        for item in list(self.items.values()):
            item.detach()


def _chain(upper: EpollFile, lower: EpollFile) -> int:
    """How many instances the longest chain would have if ``upper`` watched ``lower``."""
    return _depth_above(upper) + _depth_below(lower)


def _depth_below(epoll: EpollFile) -> int:
    """How many instances lie on the longest chain that starts at this one."""
    return 1 + max((_depth_below(file) for _fd, file in epoll.items if isinstance(file, EpollFile)), default=0)


def _depth_above(epoll: EpollFile) -> int:
    """How many instances lie on the longest chain that ends at this one."""
    watchers = (getattr(hook, "__self__", None) for hook in epoll.release_hooks)
    return 1 + max((_depth_above(item.epoll) for item in watchers if isinstance(item, EpollItem)), default=0)


def epoll_of(file: File) -> EpollFile:
    """EINVAL unless ``file`` is an epoll instance."""
    if not isinstance(file, EpollFile):
        raise Errno(EINVAL)
    return file


def control(epoll: EpollFile, op: int, fd: int, file: File, events: int, data: int) -> Any:
    """epoll_ctl(2), descriptors resolved."""
    if op == EPOLL_CTL_ADD:
        return epoll.add(fd, file, events, data)
    if op == EPOLL_CTL_DEL:
        return epoll.find(fd, file).detach()
    if op == EPOLL_CTL_MOD:
        return epoll.modify(fd, file, events, data)
    raise Errno(EINVAL)
