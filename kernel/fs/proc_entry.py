"""What all entries below /proc/<pid> share: whose they are, what happens when the process has gone (fs/proc/base.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import EACCES, EINVAL, ESRCH, Errno
from kernel.fs.inode import SuperBlock
from kernel.fs.seqfile import GeneratedFile, GeneratedInode, PseudoInode
from kernel.fs.uapi import S_IFDIR
from kernel.task.cred import may_access

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.fs.dentry import Dentry
    from kernel.fs.file import File
    from kernel.task.task import Task

#: Inode numbers: those of one process are a block of this size, so that they stay the same from one look to the next.
_INO_BLOCK = 4096
_FIRST_PID_INO = 1 << 20
_NUMBERS: dict[str, int] = {}


def entry_ino(task: Task, name: str, extra: int = 0) -> int:
    """A number that no other entry has: by thread, by the entry's name, and by descriptor."""
    number = _NUMBERS.setdefault(name, len(_NUMBERS) + 1)
    return _FIRST_PID_INO + (task.tid * _INO_BLOCK + number) + (extra << 40)


def is_alive(task: Task) -> bool:
    """Has the thread not been reaped? A zombie counts as alive; a reused number does not."""
    return task.kernel.tasks.get(task.tid) is task


def check_alive(task: Task) -> Task:
    """ESRCH once the thread is gone."""
    if not is_alive(task):
        raise Errno(ESRCH)
    return task


def check_access(reader: Task, target: Task, code: int = EACCES) -> None:
    """``code`` unless ``reader`` may look inside ``target``."""
    if not may_access(reader, target):
        raise Errno(code)


def set_owner(inode: PseudoInode, target: Task) -> None:
    """Entries belong to the effective user; to root when the process is not dumpable (task_dump_owner)."""
    if inode.mode == S_IFDIR | 0o555 or target.group.dumpable == 1:
        inode.uid, inode.gid = target.cred.euid, target.cred.egid


class TaskFile(GeneratedInode):
    """A file about one thread, or its process. ``generate(reader, target)`` and ``store(writer, target, data)``."""

    __slots__ = ("_make", "_private", "_take", "target")

    def __init__(
        self,
        sb: SuperBlock,
        target: Task,
        name: str,
        permissions: int,
        make: Callable[[Task, Task], bytes | str] | None,
        take: Callable[[Task, Task, bytes], None] | None = None,
        private: bool = False,
    ) -> None:
        super().__init__(sb, permissions, ino=entry_ino(target, name), write_error=EINVAL)
        self.target = target
        self._make = make
        self._take = take
        self._private = private
        set_owner(self, target)

    def generate(self, task: Task) -> bytes:
        target = check_alive(self.target)
        if self._make is None:
            raise Errno(EINVAL)
        text = self._make(task, target)
        return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text

    def store(self, task: Task, data: bytes) -> None:
        if self._take is None:
            raise Errno(EINVAL)
        self._take(task, check_alive(self.target), data)

    def open(self, task: Task, dentry: Dentry, flags: int) -> File:
        check_alive(self.target)
        if self._private:
            check_access(task, self.target)
        return GeneratedFile(dentry, flags)
