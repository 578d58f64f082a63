"""unshare(2): stop sharing files or directories with other tasks; new namespaces need privileges (kernel/fork.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import EINVAL, EPERM, Errno
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Flags

if TYPE_CHECKING:
    from kernel.task.task import Task

CLONE_VM = 0x100
CLONE_FS = 0x200
CLONE_FILES = 0x400
CLONE_SIGHAND = 0x800
CLONE_THREAD = 0x10000
CLONE_SYSVSEM = 0x40000
CLONE_NEWTIME = 0x80
CLONE_NEWUSER = 0x10000000
_NAMESPACES = CLONE_NEWTIME | 0x20000 | 0x2000000 | 0x4000000 | 0x8000000 | CLONE_NEWUSER | 0x20000000 | 0x40000000
"""CLONE_NEW{TIME,NS,CGROUP,UTS,IPC,USER,PID,NET}."""


@syscall(272, "unshare", flags=Flags("unshare_flags", "u64"))
def unshare(task: Task, flags: int) -> None:
    known = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | _NAMESPACES
    if flags & ~known:
        raise Errno(EINVAL)
    if flags & (CLONE_VM | CLONE_SIGHAND | CLONE_THREAD) and len(task.group.threads) > 1:
        raise Errno(EINVAL)
    if flags & CLONE_VM and task.mm.users > 1:
        raise Errno(EINVAL)
    if flags & _NAMESPACES:
        raise Errno(EPERM)
    if flags & CLONE_FS and task.fs.users > 1:
        task.fs.users -= 1
        task.fs = task.fs.copy()
    if flags & CLONE_FILES and task.files.users > 1:
        task.files.users -= 1
        task.files = task.files.copy()
