"""Giving descriptors to new files: what all calls that make one share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import Errno

if TYPE_CHECKING:
    from kernel.fs.file import File
    from kernel.task.task import Task


def install_new(task: Task, file: File, cloexec: bool, at_least: int = 0) -> int:
    """The lowest free descriptor for ``file``, whose one reference passes to the table; it is dropped on failure.

    Raises:
        Errno: EMFILE.
    """
    try:
        return task.files.install(file, cloexec, at_least)
    except Errno:
        file.put()
        raise


def install_pair(task: Task, first: File, second: File, cloexec: bool, addr: int) -> None:
    """Two descriptors, stored as int[2] at ``addr``; neither stays open when anything fails.

    Raises:
        Errno: EMFILE, EFAULT.
    """
    fds: list[int] = []
    files = task.files
    try:
        fds.append(files.install(first, cloexec))
        fds.append(files.install(second, cloexec))
        task.mm.write(addr, fds[0].to_bytes(4, "little") + fds[1].to_bytes(4, "little"))
    except Errno:
        for fd in fds:
            files.close(fd)
        for file in (first, second)[len(fds):]:
            file.put()
        raise
