"""rseq(2): register a restartable-sequences area (kernel/rseq.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import EINVAL, Errno
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Flags, Ptr, UInt
from kernel.task import rseq as restartable

if TYPE_CHECKING:
    from kernel.task.task import Task

RSEQ_FLAG_UNREGISTER = 1


@syscall(334, "rseq", rseq=Ptr, rseq_len=UInt, flags=Flags("rseq_flags"), sig=UInt)
def rseq(task: Task, address: int, length: int, flags: int, signature: int) -> None:
    if flags & RSEQ_FLAG_UNREGISTER:
        if flags != RSEQ_FLAG_UNREGISTER or not address:
            raise Errno(EINVAL)
        restartable.unregister(task, address, length, signature)
        return
    if flags:
        raise Errno(EINVAL)
    restartable.register(task, address, length, signature)
