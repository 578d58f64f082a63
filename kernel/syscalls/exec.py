"""execve(2) and execveat(2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import ENOENT, Errno
from kernel.syscalls.table import syscall
from kernel.syscalls.types import AtFd, EnvVec, Flags, Path, StrVec
from kernel.task.exec import AT_EMPTY_PATH, AT_FDCWD, do_execve, from_user

if TYPE_CHECKING:
    from kernel.task.task import Task


@syscall(59, "execve", pathname=Path, argv=StrVec, envp=EnvVec)
def execve(task: Task, pathname: int, argv: int, envp: int) -> int:
    """Run another program in this process."""
    return _execveat(task, AT_FDCWD, pathname, argv, envp, 0)


@syscall(322, "execveat", dirfd=AtFd, pathname=Path, argv=StrVec, envp=EnvVec, flags=Flags("execveat"))
def execveat(task: Task, dirfd: int, pathname: int, argv: int, envp: int, flags: int) -> int:
    """The same, by a descriptor: fexecve(3)."""
    return _execveat(task, dirfd, pathname, argv, envp, flags)


def _execveat(task: Task, dirfd: int, pathname: int, argv: int, envp: int, flags: int) -> int:
    path = task.mm.cstring(pathname)
    if not path and not flags & AT_EMPTY_PATH:
        raise Errno(ENOENT)
    do_execve(task, dirfd, path, flags, from_user(task.mm, argv, envp))
    return 0
