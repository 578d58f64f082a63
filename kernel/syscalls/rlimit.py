"""getrlimit, setrlimit, prlimit64 (kernel/sys.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kernel.errno import EPERM, ESRCH, Errno
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Enum, Pid, Struct
from kernel.task import rlimit
from kernel.task.capability import CAP_SYS_RESOURCE

if TYPE_CHECKING:
    from kernel.task.task import Task

_RLIMIT = struct.Struct("<QQ")
"""struct rlimit64: soft, hard."""


@syscall(97, "getrlimit", resource=Enum("rlimit_resource"), rlim=Struct("rlimit", "out"))
def getrlimit(task: Task, resource: int, rlim: int) -> None:
    task.mm.write(rlim, _RLIMIT.pack(*rlimit.exchange(task, task.group, resource, None)))


@syscall(160, "setrlimit", resource=Enum("rlimit_resource"), rlim=Struct("rlimit", "in"))
def setrlimit(task: Task, resource: int, rlim: int) -> None:
    soft, hard = _RLIMIT.unpack(task.mm.read(rlim, _RLIMIT.size))
    rlimit.exchange(task, task.group, resource, (soft, hard))


@syscall(
    302,
    "prlimit64",
    pid=Pid,
    resource=Enum("rlimit_resource"),
    new_limit=Struct("rlimit64", "in"),
    old_limit=Struct("rlimit64", "out"),
)
def prlimit64(task: Task, pid: int, resource: int, new_limit: int, old_limit: int) -> None:
    new = None
    if new_limit:
        soft, hard = _RLIMIT.unpack(task.mm.read(new_limit, _RLIMIT.size))
        new = (soft, hard)
    target = task.kernel.tasks.get(pid) if pid and pid != task.tid else task
    if target is None:
        raise Errno(ESRCH)
    if target is not task and not _may_change(task, target):
        raise Errno(EPERM)
    old = rlimit.exchange(task, target.group, resource, new)
    if old_limit:
        task.mm.write(old_limit, _RLIMIT.pack(*old))


def _may_change(task: Task, target: Task) -> bool:
    """All ids of ``target`` are the caller's real ones, or CAP_SYS_RESOURCE (check_prlimit_permission)."""
    cred, other = task.cred, target.cred
    same = cred.uid == other.euid == other.suid == other.uid and cred.gid == other.egid == other.sgid == other.gid
    return same or cred.capable(CAP_SYS_RESOURCE)
