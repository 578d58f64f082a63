"""pidfd: a descriptor for a process or thread, readable once it has ended (fs/pidfs.c, kernel/pid.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import EBADF, Errno
from kernel.fs.anon import anonymous_inode
from kernel.fs.file import File
from kernel.fs.pollmask import POLLHUP, POLLIN, POLLRDNORM
from kernel.fs.uapi import O_NONBLOCK, O_RDWR
from kernel.task.task import Task
from kernel.task.wait import WaitQueue

if TYPE_CHECKING:
    from kernel.task.task import ThreadGroup


class PidFile(File):
    """``target`` is a process, or one thread of it under PIDFD_THREAD; None until clone has made it."""

    pollable = True

    def __init__(self, task: Task, target: ThreadGroup | Task | None, flags: int = 0) -> None:
        super().__init__(O_RDWR | flags & O_NONBLOCK, anonymous_inode(task), b"anon_inode:[pidfd]")
        self.target = target

    @property
    def group(self) -> ThreadGroup:
        """The process; EBADF before there is one."""
        if self.target is None:
            raise Errno(EBADF)
        return self.target.group if isinstance(self.target, Task) else self.target

    @property
    def thread(self) -> Task | None:
        """The thread that the descriptor is for, None when it is for the process."""
        return self.target if isinstance(self.target, Task) else None

    @property
    def reaped(self) -> bool:
        """Does the number stand for nobody any more?"""
        return self.group.reaped

    def poll(self) -> int:
        thread = self.thread
        if thread is not None and thread.state not in "ZX":
            return 0
        if thread is None and self.group.exit_status is None:
            return 0
        gone = thread.state == "X" if thread is not None else self.reaped
        return POLLIN | POLLRDNORM | (POLLHUP if gone else 0)

    def wait_queues(self, events: int) -> tuple[WaitQueue, ...]:
        group = self.group
        if group.end_wait is None:
            group.end_wait = WaitQueue()
        return (group.end_wait,)

    def fdinfo(self, task: Task) -> bytes:
        number = -1 if self.reaped else self.group.tgid
        return b"Pid:\t%d\nNSpid:\t%d\n" % (number, number)
