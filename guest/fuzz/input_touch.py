"""Does a system call look at the input, and what does it see? Asked in front of each call before the fork point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emu.words import c_int
from kernel.errno import Errno
from kernel.fs.uapi import AT_FDCWD
from kernel.syscalls.types import AtFd, Fd, Path

if TYPE_CHECKING:
    from kernel.syscalls.table import Syscall
    from kernel.task.task import Task

#: Calls on a descriptor of the input that see nothing of it, and do nothing that a fork would undo.
_HARMLESS = frozenset({"close", "dup", "dup2", "dup3", "fadvise64", "fcntl", "ioctl"})
#: Calls that touch the file and see nothing that another input would change: positions are put back for each run.
_OPENING = frozenset({"open", "openat", "openat2", "access", "faccessat", "faccessat2", "readlink", "readlinkat",
                      "name_to_handle_at", "inotify_add_watch", "chdir", "statfs", "fstatfs"})
#: Calls that tell its size, which a program may remember.
_ASKING = frozenset({"stat", "fstat", "lstat", "newfstatat", "statx", "lseek"})
_PATH_MAX = 4096


def touches(task: Task, row: Syscall | None, args: list[int], inode: Any) -> bool:
    """The call opens, reads, maps or asks about the file ``inode``, by a descriptor or by any of its names."""
    if row is None:
        return False
    directory = AT_FDCWD
    for kind, value in zip(row.args.values(), args, strict=False):
        if kind is Fd:
            if row.name not in _HARMLESS and _inode_of(task, c_int(value)) is inode:
                return True
        elif kind is AtFd:
            directory = c_int(value)
        elif kind is Path and _named(task, directory, value) is inode:
            return True
    # The empty path of an *at call means the descriptor itself.
    return directory >= 0 and _inode_of(task, directory) is inode


def sees(row: Syscall) -> str | None:
    """What a call that touches the input learns of it: ``bytes``, ``size`` or nothing."""
    return None if row.name in _OPENING else "size" if row.name in _ASKING else "bytes"


def _inode_of(task: Task, fd: int) -> Any:
    try:
        return task.files.get_raw(fd).inode
    except Errno:
        return None


def _named(task: Task, directory: int, address: int) -> Any:
    try:
        path = task.mm.cstring(address & (1 << 64) - 1, _PATH_MAX)
        return task.kernel.vfs.resolve(task, directory, path).inode
    except Errno:
        return None
