"""membarrier(2): on one CPU every switch of tasks is a full barrier, so the commands only check their arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import EINVAL, EPERM, Errno
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Enum, Int, UInt

if TYPE_CHECKING:
    from kernel.task.task import Task

CMD_QUERY = 0
CMD_GLOBAL = 1 << 0
CMD_GLOBAL_EXPEDITED = 1 << 1
CMD_REGISTER_GLOBAL_EXPEDITED = 1 << 2
CMD_PRIVATE_EXPEDITED = 1 << 3
CMD_REGISTER_PRIVATE_EXPEDITED = 1 << 4
CMD_GET_REGISTRATIONS = 1 << 9
_SUPPORTED = (
    CMD_GLOBAL | CMD_GLOBAL_EXPEDITED | CMD_REGISTER_GLOBAL_EXPEDITED | CMD_PRIVATE_EXPEDITED
    | CMD_REGISTER_PRIVATE_EXPEDITED | CMD_GET_REGISTRATIONS
)  # fmt: skip


@syscall(324, "membarrier", cmd=Enum("membarrier_cmds", "i32"), flags=UInt, cpu_id=Int)
def membarrier(task: Task, cmd: int, flags: int, cpu_id: int) -> int:
    if flags:
        raise Errno(EINVAL)
    group = task.group
    if cmd == CMD_QUERY:
        return _SUPPORTED
    if cmd in (CMD_REGISTER_GLOBAL_EXPEDITED, CMD_REGISTER_PRIVATE_EXPEDITED):
        group.membarrier |= cmd
        return 0
    if cmd == CMD_PRIVATE_EXPEDITED:
        if not group.membarrier & CMD_REGISTER_PRIVATE_EXPEDITED:
            raise Errno(EPERM)
        return 0
    if cmd == CMD_GET_REGISTRATIONS:
        return group.membarrier
    if cmd in (CMD_GLOBAL, CMD_GLOBAL_EXPEDITED):
        return 0
    raise Errno(EINVAL)
