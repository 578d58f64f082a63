"""A process taken out of the world as it stands, for children to be forked from it: a fork server's parent.

While it is parked nothing in the guest can see it, signal it or wait for it. A child bears its number, its parent and
its place in session and process group, and goes on where it stands; so a child cannot tell that it is one, and what the
program has remembered of itself (getpid, the tid in its thread block) stays true. What fork(2) does not hand down is
not handed down: other threads, timers, record locks, pending signals, CPU times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.fs.stdio import HostFile
from kernel.fs.uapi import S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG
from kernel.mm.layout import V_FLAGS, VM_SHARED, VM_WRITE
from kernel.task import exit as task_exit
from kernel.task.clone import CLONE_PARENT, CloneArgs, copy_task

if TYPE_CHECKING:
    from kernel.task.task import Task

_LIKE_ITS_PARENT = CloneArgs(flags=CLONE_PARENT)
_STATELESS = (S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK)
_SHARED_STORE = VM_SHARED | VM_WRITE


def entanglement(task: Task) -> str | None:
    """What keeps children that are forked from ``task`` one after the other from being alike; None when nothing does.

    Threads and timers are not there in a child, and what it does to another process, a pipe or shared memory stays
    done. Files are no matter: their contents and positions are put back (kernel.rewind).
    """
    group = task.group
    if len(group.threads) > 1:
        return f"{len(group.threads)} threads"
    if len(task.kernel.groups) > 1:
        return "child processes"
    if group.posix_timers or any(number >= 0 for number in group.itimers):
        return "a timer"
    for _, file in task.files.items():
        inode = file.inode
        if inode is None or isinstance(file, HostFile):
            continue
        if inode.kind not in _STATELESS:
            return "an open pipe, socket or the like"
        if inode.locks is not None and (inode.locks.records or inode.locks.flocks):
            return "a locked file"
    if ((task.mm.vmas.rows[:, V_FLAGS >> 3] & _SHARED_STORE) == _SHARED_STORE).any():
        return "shared memory"
    return None


class Parked:
    """The process of ``task``, which is not running; its other threads never run again.

    The tables that it is entered in forget it: it lives until :meth:`release`.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.kernel = task.kernel
        self._rax = task.registers().rax
        tables = self.kernel.tasks
        for thread in task.group.threads:
            self.kernel.scheduler.park(thread)
            del tables[thread.tid]
        if task.group.dead_leader is not None:
            tables.pop(task.group.tgid, None)
        tables.remove_group(task.group)

    def fork(self, odf: bool) -> Task:
        """A child, ready to run. There may be one at a time, as it bears the parked process's number.

        Raises:
            Errno: ENOMEM.
        """
        task, kernel = self.task, self.kernel
        now = kernel.clock.save()
        mm = task.mm.fork(odf)
        child = copy_task(task, task.tid, mm, _LIKE_ITS_PARENT)
        kernel.clock.restore(now)  # a look at a virtual clock takes time
        # The guest has not called fork: no result, and nothing of the C library's own to set up anew.
        kernel.machine.cpu.set_result(child, self._rax - (self._rax >> 63 << 64))
        child.robust_list = task.robust_list
        child.clear_child_tid = task.clear_child_tid
        child.pdeath_signal = task.pdeath_signal
        child.start_time_ns = child.group.start_time_ns = task.group.start_time_ns
        child.group.did_exec = task.group.did_exec
        child.group.is_child_subreaper = task.group.is_child_subreaper
        kernel.init = child.group
        kernel.scheduler.add(child)
        return child

    def release(self) -> None:
        """End the parked process; harmless when that has been done. A child of it that lives keeps its number."""
        tables, tgid = self.kernel.tasks, self.task.group.tgid
        tasks, group = dict(tables), tables.groups.get(tgid)
        task_exit.kill_group(self.task.group)
        tables.update(tasks)
        if group is not None:
            tables.add_group(group)
