"""inotify(7): watches on files and directories, and the queue of events that is read (fs/notify/inotify)."""

from __future__ import annotations

from collections import deque
from struct import Struct
from typing import TYPE_CHECKING

from kernel.errno import EAGAIN, EEXIST, EINVAL, ENOSPC, ENOTTY, Errno
from kernel.fs import fsnotify
from kernel.fs.anon import QueueFile
from kernel.fs.fsnotify import IN_ALL_EVENTS, IN_IGNORED, IN_Q_OVERFLOW
from kernel.fs.pollmask import POLLIN, POLLRDNORM
from kernel.fs.uapi import O_NONBLOCK, O_RDONLY

if TYPE_CHECKING:
    from kernel.fs.inode import Inode
    from kernel.task.task import Task

IN_ONLYDIR = 0x01000000
IN_DONT_FOLLOW = 0x02000000
IN_EXCL_UNLINK = 0x04000000
IN_MASK_CREATE = 0x10000000
IN_MASK_ADD = 0x20000000
IN_ONESHOT = 0x80000000
MAX_QUEUED_EVENTS = 16384
MAX_WATCHES = 65536
FIONREAD = 0x541B

_EVENT = Struct("<iIII")


class Watch:
    """What one inotify instance wants to hear of one inode."""

    __slots__ = ("file", "inode", "mask", "wd")

    def __init__(self, file: InotifyFile, wd: int, inode: Inode, mask: int) -> None:
        self.file = file
        self.wd = wd
        self.inode = inode
        self.mask = mask

    def deliver(self, mask: int, name: bytes, cookie: int) -> None:
        """Queue an event that the mask selects."""
        self.file.queue_event(self.wd, mask, name, cookie)
        if self.mask & IN_ONESHOT:
            self.end()

    def end(self) -> None:
        """The watch is removed, for whatever reason; the reader learns of it."""
        if self.detach():
            self.file.queue_event(self.wd, IN_IGNORED, b"", 0)

    def detach(self) -> bool:
        """Hear no more; False when it has ended before."""
        if self.file.watches.pop(self.wd, None) is None:
            return False
        self.inode.watchers.remove(self)
        fsnotify.active -= 1
        return True


class InotifyFile(QueueFile):
    """An inotify instance: its watches by descriptor and the events not read yet."""

    def __init__(self, task: Task, flags: int) -> None:
        super().__init__(task, O_RDONLY | flags & O_NONBLOCK, b"inotify")
        self.watches: dict[int, Watch] = {}
        self.events: deque[tuple[int, int, int, bytes]] = deque()
        self._next_wd = 1

    def add(self, inode: Inode, mask: int) -> int:
        """inotify_add_watch(2): a new watch, or a new mask for the one there is.

        Raises:
            Errno: EEXIST with IN_MASK_CREATE, ENOSPC.
        """
        wanted = mask & (IN_ALL_EVENTS | IN_ONESHOT | IN_EXCL_UNLINK)
        for watch in inode.watchers or ():
            if watch.file is self:
                if mask & IN_MASK_CREATE:
                    raise Errno(EEXIST)
                watch.mask = watch.mask | wanted if mask & IN_MASK_ADD else wanted
                return watch.wd
        if len(self.watches) >= MAX_WATCHES:
            raise Errno(ENOSPC)
        watch = Watch(self, self._next_wd, inode, wanted)
        self._next_wd += 1
        self.watches[watch.wd] = watch
        if inode.watchers is None:
            inode.watchers = []
        inode.watchers.append(watch)
        fsnotify.active += 1
        return watch.wd

    def remove(self, wd: int) -> None:
        """inotify_rm_watch(2). Raises Errno: EINVAL."""
        watch = self.watches.get(wd)
        if watch is None:
            raise Errno(EINVAL)
        watch.end()

    def queue_event(self, wd: int, mask: int, name: bytes, cookie: int) -> None:
        """Append an event, unless it equals the last one; too many become one overflow event."""
        event = (wd, mask, cookie, name)
        if self.events and self.events[-1] == event:
            return
        if len(self.events) >= MAX_QUEUED_EVENTS:
            event = (-1, IN_Q_OVERFLOW, 0, b"")
            if self.events[-1] == event:
                return
        self.events.append(event)
        self.queue.wake()

    # -- the file

    def try_read(self, task: Task, n: int, pos: int | None = None) -> bytes | None:
        if not self.events:
            if self.flags & O_NONBLOCK:
                raise Errno(EAGAIN)
            return None
        out = bytearray()
        while self.events:
            wd, mask, cookie, name = self.events[0]
            size = (len(name) + _EVENT.size) // _EVENT.size * _EVENT.size if name else 0
            if len(out) + _EVENT.size + size > n:
                break
            out += _EVENT.pack(wd, mask, cookie, size) + name.ljust(size, b"\0")
            self.events.popleft()
        if not out:
            raise Errno(EINVAL)
        return bytes(out)

    def poll(self) -> int:
        return POLLIN | POLLRDNORM if self.events else 0

    async def ioctl(self, task: Task, cmd: int, arg: int) -> int:
        if cmd != FIONREAD:
            raise Errno(ENOTTY)
        size = sum(
            _EVENT.size + ((len(name) + _EVENT.size) // _EVENT.size * _EVENT.size if name else 0)
            for _, _, _, name in self.events
        )
        task.mm.write_i32(arg, size)
        return 0

    def release(self) -> None:
        for watch in list(self.watches.values()):
            watch.detach()
