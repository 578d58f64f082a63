"""/proc: the root directory, ``self`` and ``thread-self`` (fs/proc/root.c).

``ProcFs(kernel)`` is the inode to mount. What is below a process is made anew at every look (``kernel.fs.proc_pid``);
the rest stands in one table. ``proc_status``, ``proc_memory``, ``proc_fd``, ``proc_knobs`` and ``proc_mounts`` write
the files of a process, ``proc_system`` and ``proc_sys`` those of the system.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kernel.fs.inode import Inode, StatFs
from kernel.fs.proc_entry import entry_ino
from kernel.fs.proc_fd import parse_fd
from kernel.fs.proc_pid import PROCESS_ENTRIES, PidDir
from kernel.fs.proc_sys import sys_directory
from kernel.fs.proc_system import add_system_files
from kernel.fs.seqfile import PseudoDir, PseudoLink, PseudoSuperBlock
from kernel.fs.uapi import S_IFDIR

if TYPE_CHECKING:
    from kernel.task.task import Task

PROC_SUPER_MAGIC = 0x9FA0
PROC_DEV = 21
PROC_ROOT_INO = 1
_FIRST_STATIC_INO = 4026531850
_SELF_INO, _THREAD_SELF_INO = 4026531840, 4026531841


class ProcSuperBlock(PseudoSuperBlock):
    """The file system; statfs shows a file system without blocks."""

    lookup_fails = True

    def statfs(self) -> StatFs:
        return super().statfs()._replace(type=PROC_SUPER_MAGIC, fsid=0)


class ProcFs(PseudoDir):
    """The directory /proc: the table, and the processes."""

    __slots__ = ()
    volatile = True

    def __init__(self, kernel: Any) -> None:
        sb = ProcSuperBlock(kernel, b"proc", PROC_SUPER_MAGIC, PROC_DEV, _FIRST_STATIC_INO)
        super().__init__(sb, ino=PROC_ROOT_INO)
        self.add("self", PseudoLink(sb, lambda task: b"%d" % task.group.tgid, ino=_SELF_INO))
        self.add(
            "thread-self",
            PseudoLink(sb, lambda task: b"%d/task/%d" % (task.group.tgid, task.tid), ino=_THREAD_SELF_INO),
        )
        self.symlink_to("mounts", "self/mounts")
        self.symlink_to("net", "self/net")
        add_system_files(self, kernel)
        for name in ("fs", "tty"):
            self.directory(name)
        self.text("tty/drivers", "")
        self.add("sys", sys_directory(sb, kernel.sysctl))

    def lookup(self, task: Task, name: bytes) -> Inode | None:
        found = self.entries.get(name)
        if found is not None:
            return found
        process = _process(self.sb.kernel, parse_fd(name))
        return PidDir(self.sb, process, PROCESS_ENTRIES) if process is not None else self.missing()

    def readdir(self, task: Task) -> Iterable[tuple[bytes, int, int]]:
        processes = []
        for pid in sorted(self.sb.kernel.tasks.groups):
            process = _process(self.sb.kernel, pid)
            if process is not None:
                processes.append((b"%d" % pid, entry_ino(process, "."), S_IFDIR >> 12))
        return [*super().readdir(task), *processes]


def _process(kernel: Any, number: int) -> Task | None:
    """The task to show for /proc/<number>: the leader of a process, or any thread by its own number."""
    return kernel.tasks.get(number) if number > 0 else None
