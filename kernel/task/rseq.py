"""Restartable sequences: the area a thread shares with the kernel, the abort of what was interrupted (kernel/rseq.c).

There is one CPU, so its number never changes; what is left is the promise that a critical section that was preempted or
interrupted by a signal goes on at its abort handler.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kernel.errno import EBUSY, EFAULT, EINVAL, EPERM, Errno
from kernel.task.siginfo import SigInfo
from kernel.task.signals import SI_KERNEL, SIGSEGV

if TYPE_CHECKING:
    from emu.registers import Registers
    from kernel.task.task import Task

_ORIGINAL_SIZE = 32
_ALIGN = 32
_RSEQ_CS_OFFSET = 8
_NODE_ID_OFFSET = 20
_DESCRIPTOR = struct.Struct("<IIQQQ")
"""struct rseq_cs: version, flags, start_ip, post_commit_offset, abort_ip."""
_CPU_ID_UNINITIALIZED = 0xFFFFFFFF
_TASK_SIZE = 0x7FFFFFFFF000


def register(task: Task, address: int, length: int, signature: int) -> None:
    """Use the area at ``address`` from now on.

    Raises:
        Errno: EBUSY when this area is in use already, EINVAL when another is or this one cannot be, EPERM for another
            signature, EFAULT.
    """
    if task.rseq is not None:
        if task.rseq[:2] != (address, length):
            raise Errno(EINVAL)
        raise Errno(EBUSY if task.rseq[2] == signature else EPERM)
    if length < _ORIGINAL_SIZE or address % _ALIGN:
        raise Errno(EINVAL)
    if address + length > _TASK_SIZE:
        raise Errno(EFAULT)
    _set_cpu(task, address, 0)
    task.mm.write_u64(address + _RSEQ_CS_OFFSET, 0)
    task.rseq = (address, length, signature)


def unregister(task: Task, address: int, length: int, signature: int) -> None:
    """Stop using the area; its CPU number becomes -1. EINVAL and EPERM as for :func:`register`."""
    if task.rseq is None or task.rseq[:2] != (address, length):
        raise Errno(EINVAL)
    if task.rseq[2] != signature:
        raise Errno(EPERM)
    _set_cpu(task, address, _CPU_ID_UNINITIALIZED)
    task.rseq = None


def preempted(task: Task) -> None:
    """Another task may run now: abort the critical section that the task is in."""
    assert task.rseq is not None
    try:
        if not task.mm.read_u64(task.rseq[0] + _RSEQ_CS_OFFSET):
            return
    except Errno:
        _kill(task)
        return
    registers = task.registers()
    if abort_section(task, registers):
        task.set_registers(registers)


def abort_section(task: Task, registers: Registers) -> bool:
    """Move ``registers`` to the abort handler if they are inside a critical section (rseq_ip_fixup).

    Returns whether they were changed. A descriptor that makes no sense means SIGSEGV.
    """
    assert task.rseq is not None
    address, _, signature = task.rseq
    mm = task.mm
    try:
        pointer = mm.read_u64(address + _RSEQ_CS_OFFSET)
        if not pointer:
            return False
        version, flags, start, length, abort = _DESCRIPTOR.unpack(mm.read(pointer, _DESCRIPTOR.size))
        sensible = version == 0 and max(start, start + length, abort) < _TASK_SIZE
        if not sensible or start <= abort < start + length or mm.read_u32(abort - 4) != signature:
            raise Errno(EINVAL)
        inside = start <= registers.rip < start + length
        if inside and flags:
            raise Errno(EINVAL)
        mm.write_u64(address + _RSEQ_CS_OFFSET, 0)
    except Errno:
        _kill(task)
        return False
    if inside:
        registers.rip = abort
    return inside


def _set_cpu(task: Task, address: int, cpu: int) -> None:
    """cpu_id_start, cpu_id; node_id, mm_cid."""
    start = 0 if cpu == _CPU_ID_UNINITIALIZED else cpu
    task.mm.write(address, struct.pack("<II", start, cpu))
    task.mm.write(address + _NODE_ID_OFFSET, bytes(8))


def _kill(task: Task) -> None:
    from kernel.task.signal import force_signal

    force_signal(task, SigInfo(SIGSEGV, SI_KERNEL))
