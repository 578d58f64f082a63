"""arch_prctl(2): the bases of FS and GS (arch/x86/kernel/process_64.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kernel.errno import EINVAL, ENODEV, EPERM, Errno
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Enum, Hex

if TYPE_CHECKING:
    from kernel.task.task import Task

TASK_SIZE_MAX = 0x7FFFFFFFF000
ARCH_SET_GS = 0x1001
ARCH_SET_FS = 0x1002
ARCH_GET_FS = 0x1003
ARCH_GET_GS = 0x1004
ARCH_GET_CPUID = 0x1011
ARCH_SET_CPUID = 0x1012


@syscall(158, "arch_prctl", code=Enum("archvals"), addr=Hex)
def arch_prctl(task: Task, code: int, addr: int) -> int | None:
    if code in (ARCH_SET_FS, ARCH_SET_GS):
        if addr >= TASK_SIZE_MAX:
            raise Errno(EPERM)
        registers = task.registers()
        if code == ARCH_SET_FS:
            registers.fs_base = addr
        else:
            registers.gs_base = addr
        task.set_registers(registers)
        return 0
    if code in (ARCH_GET_FS, ARCH_GET_GS):
        registers = task.registers()
        base = registers.fs_base if code == ARCH_GET_FS else registers.gs_base
        task.mm.write(addr, struct.pack("<Q", base))
        return 0
    if code == ARCH_GET_CPUID:
        return 1
    if code == ARCH_SET_CPUID:
        raise Errno(ENODEV)
    raise Errno(EINVAL)
