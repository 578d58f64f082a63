"""Another process's memory and identity: process_vm_readv/writev, kcmp (mm/process_vm_access.c, kernel/kcmp.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel.errno import EBADF, EFAULT, EINVAL, EPERM, ESRCH, Errno
from kernel.mm.layout import VM_READ
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Enum, IovecIn, IovecOut, Pid, SSize, ULong
from kernel.task.cred import may_access

if TYPE_CHECKING:
    from kernel.task.task import Task

_CHUNK = 1 << 20
_MAX_TOTAL = 0x7FFFF000
(KCMP_FILE, KCMP_VM, KCMP_FILES, KCMP_FS, KCMP_SIGHAND, KCMP_IO, KCMP_SYSVSEM, KCMP_EPOLL_TFD) = range(8)


@syscall(
    310, "process_vm_readv", returns=SSize,
    pid=Pid, local_iov=IovecOut("liovcnt"), liovcnt=ULong, remote_iov=IovecIn("riovcnt"), riovcnt=ULong, flags=ULong,
)  # fmt: skip
def process_vm_readv(task: Task, pid: int, lvec: int, lcount: int, rvec: int, rcount: int, flags: int) -> int:
    return _transfer(task, pid, lvec, lcount, rvec, rcount, flags, write=False)


@syscall(
    311, "process_vm_writev", returns=SSize,
    pid=Pid, local_iov=IovecIn("liovcnt"), liovcnt=ULong, remote_iov=IovecIn("riovcnt"), riovcnt=ULong, flags=ULong,
)  # fmt: skip
def process_vm_writev(task: Task, pid: int, lvec: int, lcount: int, rvec: int, rcount: int, flags: int) -> int:
    return _transfer(task, pid, lvec, lcount, rvec, rcount, flags, write=True)


@syscall(312, "kcmp", pid1=Pid, pid2=Pid, type=Enum("kcmp_types", "i32"), idx1=ULong, idx2=ULong)
def kcmp(task: Task, pid1: int, pid2: int, kind: int, idx1: int, idx2: int) -> int:
    """0 when the two resources are the same object, else 1 or 2: an order that lasts as long as the objects."""
    first, second = task.kernel.tasks.get(pid1), task.kernel.tasks.get(pid2)
    if first is None or second is None:
        raise Errno(ESRCH)
    if not may_access(task, first, real=True) or not may_access(task, second, real=True):
        raise Errno(EPERM)
    if kind == KCMP_FILE:
        return _order(_file(first, idx1), _file(second, idx2))
    if kind == KCMP_VM:
        return _order(first.mm, second.mm)
    if kind == KCMP_FILES:
        return _order(first.files, second.files)
    if kind == KCMP_FS:
        return _order(first.fs, second.fs)
    if kind == KCMP_SIGHAND:
        return _order(first.actions, second.actions)
    if kind in (KCMP_IO, KCMP_SYSVSEM):
        return 0  # nobody has an I/O context or semaphore undo list: NULL equals NULL
    raise Errno(EINVAL)


def _order(first: Any, second: Any) -> int:
    if first is second:
        return 0
    return 1 if id(first) < id(second) else 2


def _file(target: Task, fd: int) -> Any:
    if fd >= 2**31 or target.files is None:
        raise Errno(EBADF)
    return target.files.get_raw(fd)


def _transfer(
    task: Task, pid: int, lvec: int, lcount: int, rvec: int, rcount: int, flags: int, *, write: bool
) -> int:
    """Copy between the vectors; returns the bytes moved, fewer than asked when part of the other side is missing."""
    if flags:
        raise Errno(EINVAL)
    local = task.mm.read_iovec(lvec, lcount)
    if not sum(length for _, length in local):
        return 0
    remote = task.mm.read_iovec(rvec, rcount)
    target = task.kernel.tasks.get(pid)
    if target is None or target.mm is None:
        raise Errno(ESRCH)
    if not may_access(task, target, real=True):
        raise Errno(EPERM)
    room = min(sum(length for _, length in local), sum(length for _, length in remote), _MAX_TOTAL)
    source, sink = (task.mm, target.mm) if write else (target.mm, task.mm)
    from_, to = (_Cursor(local), _Cursor(remote)) if write else (_Cursor(remote), _Cursor(local))
    done = 0
    while done < room:
        count = min(from_.left(), to.left(), room - done, _CHUNK)
        try:
            allowed = count if write else _readable(source, from_.address(), count)
            data = source.read_some(from_.address(), allowed)
        except Errno as error:
            if error.code != EFAULT or not done:
                raise
            break
        moved = sink.write_some(to.address(), data)
        if not moved and not done:
            raise Errno(EFAULT)
        done += moved
        if moved < count:
            break
        from_.advance(moved)
        to.advance(moved)
    return done


def _readable(mm: Any, address: int, count: int) -> int:
    """How many of ``count`` bytes may be read from outside: VM_READ is asked for, unlike of the processor's own loads.

    Raises:
        Errno: EFAULT when none.
    """
    end = address
    for row in mm.vmas.overlapping(address, address + count):
        if row.start > end or not row.flags & VM_READ:
            break
        end = row.end
    if end == address:
        raise Errno(EFAULT)
    return min(count, end - address)


class _Cursor:
    """A place in an I/O vector."""

    def __init__(self, vector: list[tuple[int, int]]) -> None:
        self._vector = [(base, length) for base, length in vector if length]
        self._index = self._offset = 0

    def address(self) -> int:
        return self._vector[self._index][0] + self._offset

    def left(self) -> int:
        """Bytes from here to the end of this element."""
        return self._vector[self._index][1] - self._offset

    def advance(self, count: int) -> None:
        self._offset += count
        if self._offset == self._vector[self._index][1]:
            self._index, self._offset = self._index + 1, 0
