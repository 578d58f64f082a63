"""Process identifiers: the table of tasks by number, process groups, sessions, and who is whose parent.

Linux: kernel/pid.c, kernel/sys.c. A number stays taken while a task, an unreaped process, a process group or a session
bears it. Number 1 is an init that exists only as a number: it adopts orphans and reaps them at once, as the host's
init would, and is the parent of the first process and the session that it starts in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import EAGAIN, EPERM, ESRCH, Errno

if TYPE_CHECKING:

    from kernel.kernel import Kernel
    from kernel.task.task import Task, ThreadGroup

PID_MAX = 32768
"""Numbers are below this (kernel.pid_max); at its end the search starts again at RESERVED_PIDS."""
RESERVED_PIDS = 300
FIRST_PID = 1000
INIT_PID = 1
MAX_THREADS = 4096
"""Tasks in all (kernel.threads-max): what makes a fork bomb harmless."""

SYS_GETPID, SYS_GETPPID, SYS_GETPGRP, SYS_GETTID = 39, 110, 111, 186


class PidTable(dict[int, "Task"]):
    """All tasks by tid: live threads, and the last thread of a process that nobody has waited for yet.

    ``groups`` holds the processes by tgid, zombies included; ``pgroups`` and ``sessions`` their members by number.
    """

    def __init__(self, pid_max: int = PID_MAX, first: int = FIRST_PID) -> None:
        super().__init__()
        self.groups: dict[int, ThreadGroup] = {}
        self.pgroups: dict[int, dict[ThreadGroup, None]] = {}
        self.sessions: dict[int, dict[ThreadGroup, None]] = {}
        self.pid_max = pid_max
        self.last = first - 1
        self.max_threads = MAX_THREADS
        self.threads_alive = 0
        self.threads_of_uid: dict[int, int] = {}
        """Live and zombie tasks by real uid at creation, for RLIMIT_NPROC."""

    def taken(self, number: int) -> bool:
        """Does anything bear ``number``?"""
        return number in self or number in self.groups or number in self.pgroups or number in self.sessions

    def allocate(self) -> int:
        """The next free number, cyclically (alloc_pid).

        Raises:
            Errno: EAGAIN when all are taken.
        """
        number = self.last
        for _ in range(self.pid_max):
            number += 1
            if number >= self.pid_max:
                number = RESERVED_PIDS
            if not self.taken(number):
                self.last = number
                return number
        raise Errno(EAGAIN)

    def add_group(self, group: ThreadGroup) -> None:
        """Enter a new process under its tgid, pgid and sid."""
        self.groups[group.tgid] = group
        self.pgroups.setdefault(group.pgid, {})[group] = None
        self.sessions.setdefault(group.sid, {})[group] = None

    def remove_group(self, group: ThreadGroup) -> None:
        """Forget a process that has been reaped."""
        self.groups.pop(group.tgid, None)
        self._leave(self.pgroups, group.pgid, group)
        self._leave(self.sessions, group.sid, group)

    def move_to_pgroup(self, group: ThreadGroup, pgid: int) -> None:
        """Change the process group (change_pid)."""
        self._leave(self.pgroups, group.pgid, group)
        group.pgid = pgid
        self.pgroups.setdefault(pgid, {})[group] = None

    def move_to_session(self, group: ThreadGroup, sid: int) -> None:
        """Change session and process group (set_special_pids)."""
        self._leave(self.sessions, group.sid, group)
        group.sid = sid
        self.sessions.setdefault(sid, {})[group] = None
        self.move_to_pgroup(group, sid)

    def pgroup(self, pgid: int) -> list[ThreadGroup]:
        """The processes of a process group, zombies included; empty when there is none."""
        return list(self.pgroups.get(pgid, ()))

    def session(self, sid: int) -> list[ThreadGroup]:
        """The processes of a session, zombies included."""
        return list(self.sessions.get(sid, ()))

    @staticmethod
    def _leave(index: dict[int, dict[ThreadGroup, None]], number: int, group: ThreadGroup) -> None:
        members = index.get(number)
        if members is not None:
            members.pop(group, None)
            if not members:
                del index[number]


def find_task(kernel: Kernel, tid: int) -> Task:
    """The task with number ``tid``, zombies included.

    Raises:
        Errno: ESRCH.
    """
    task = kernel.tasks.get(tid)
    if task is None:
        raise Errno(ESRCH)
    return task


def parent_pid(group: ThreadGroup) -> int:
    """What getppid(2) returns: the init that adopts orphans when the process has no parent among the guest's."""
    return group.parent.tgid if group.parent is not None else INIT_PID


def constant_answers(task: Task) -> dict[int, int]:
    """System call number → result, of the calls in this area whose answer the compiled hook may give."""
    group = task.group
    return {SYS_GETPID: group.tgid, SYS_GETTID: task.tid, SYS_GETPPID: parent_pid(group), SYS_GETPGRP: group.pgid}


def set_session(task: Task) -> int:
    """setsid(2): a new session and process group, both numbered as the process; returns the number.

    Raises:
        Errno: EPERM when the process leads a session, or a process group bears its number.
    """
    group, table = task.group, task.kernel.tasks
    if group.sid == group.tgid or group.tgid in table.pgroups:
        raise Errno(EPERM)
    table.move_to_session(group, group.tgid)
    group.controlling_tty = None
    return group.sid


def is_orphaned_pgroup(kernel: Kernel, pgid: int, ignored: ThreadGroup | None = None) -> bool:
    """Has no member a parent in another process group of the same session? (will_become_orphaned_pgrp)

    ``ignored`` is a member that is about to leave; dead members do not count, and init counts for nobody.
    """
    for member in kernel.tasks.pgroups.get(pgid, ()):
        parent = member.parent
        if member is ignored or parent is None or is_dead(member):
            continue
        if parent.pgid != pgid and parent.sid == member.sid:
            return False
    return True


def is_dead(group: ThreadGroup) -> bool:
    """Have all threads ended?"""
    return group.exit_status is not None
