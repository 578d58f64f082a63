"""futex, futex_waitv and their kin, robust lists, set_tid_address (kernel/futex/syscalls.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from emu.words import c_int
from kernel.clock import CLOCK_MONOTONIC, CLOCK_REALTIME
from kernel.errno import EINVAL, ENOSYS, EPERM, ESRCH, Errno
from kernel.syscalls.sleep import monotonic_deadline, read_timespec
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Enum, Flags, Hex, Int, Pid, Ptr, Size, Struct, UInt
from kernel.task import futex as fx
from kernel.task.cred import may_access
from kernel.task.futex_pi import futex_lock_pi, futex_unlock_pi

if TYPE_CHECKING:
    from kernel.task.task import Task

FUTEX2_SIZE_U32, FUTEX2_SIZE_MASK, FUTEX2_NUMA, FUTEX2_PRIVATE = 2, 3, 4, 128
FUTEX_WAITV_MAX = 128
_FUTEX_WAITV = struct.Struct("<QQII")  # val, uaddr, flags, reserved

_WITH_TIMEOUT = (fx.FUTEX_WAIT, fx.FUTEX_WAIT_BITSET, fx.FUTEX_LOCK_PI, fx.FUTEX_LOCK_PI2, fx.FUTEX_WAIT_REQUEUE_PI)
_WITH_REALTIME = (fx.FUTEX_WAIT_BITSET, fx.FUTEX_WAIT_REQUEUE_PI, fx.FUTEX_LOCK_PI2)


@syscall(202, "futex", uaddr=Ptr, op=Int, val=UInt, timeout=Ptr, uaddr2=Ptr, val3=UInt)
async def futex(task: Task, uaddr: int, op: int, val: int, timeout: int, uaddr2: int, val3: int) -> int:
    """``timeout`` is a number for the operations that take two counts."""
    command = op & fx.FUTEX_CMD_MASK
    shared = not op & fx.FUTEX_PRIVATE_FLAG
    if command == fx.FUTEX_WAKE and not op & fx.FUTEX_CLOCK_REALTIME:
        return fx.futex_wake(task, uaddr, shared, c_int(val))
    deadline_ns = None
    if timeout and command in _WITH_TIMEOUT:
        deadline_ns = _deadline(task, op, command, timeout)
    if op & fx.FUTEX_CLOCK_REALTIME and command not in _WITH_REALTIME:
        raise Errno(ENOSYS)
    if command == fx.FUTEX_WAIT:
        return await fx.futex_wait(task, uaddr, shared, val, deadline_ns, fx.FUTEX_BITSET_MATCH_ANY)
    if command == fx.FUTEX_WAIT_BITSET:
        return await fx.futex_wait(task, uaddr, shared, val, deadline_ns, val3)
    if command == fx.FUTEX_WAKE_BITSET:
        return fx.futex_wake(task, uaddr, shared, c_int(val), val3)
    if command == fx.FUTEX_REQUEUE:
        return fx.futex_requeue(task, uaddr, shared, uaddr2, c_int(val), c_int(timeout), None)
    if command == fx.FUTEX_CMP_REQUEUE:
        return fx.futex_requeue(task, uaddr, shared, uaddr2, c_int(val), c_int(timeout), val3)
    if command == fx.FUTEX_WAKE_OP:
        return fx.futex_wake_op(task, uaddr, shared, uaddr2, c_int(val), c_int(timeout), val3)
    if command in (fx.FUTEX_LOCK_PI, fx.FUTEX_LOCK_PI2):
        return await futex_lock_pi(task, uaddr, shared, deadline_ns)
    if command == fx.FUTEX_TRYLOCK_PI:
        return await futex_lock_pi(task, uaddr, shared, None, trylock=True)
    if command == fx.FUTEX_UNLOCK_PI:
        return futex_unlock_pi(task, uaddr, shared)
    raise Errno(ENOSYS)


def _deadline(task: Task, op: int, command: int, timeout: int) -> int:
    """When the wait ends, on the monotonic clock: FUTEX_WAIT's time is relative, FUTEX_LOCK_PI's is CLOCK_REALTIME."""
    time_ns = read_timespec(task, timeout)
    if command == fx.FUTEX_WAIT:
        return task.kernel.clock.monotonic_ns() + time_ns
    realtime = op & fx.FUTEX_CLOCK_REALTIME or command == fx.FUTEX_LOCK_PI
    return monotonic_deadline(task, CLOCK_REALTIME if realtime else CLOCK_MONOTONIC, time_ns)


# -- futex2 ------------------------------------------------------------------------------------------------------


def _futex2_shared(flags: int) -> bool:
    """EINVAL for sizes and flags that Linux does not take (32 bits only)."""
    if flags & ~(FUTEX2_SIZE_MASK | FUTEX2_PRIVATE) or flags & FUTEX2_SIZE_MASK != FUTEX2_SIZE_U32:
        raise Errno(EINVAL)
    return not flags & FUTEX2_PRIVATE


def _futex2_deadline(task: Task, timeout: int, clockid: int) -> int | None:
    if not timeout:
        return None
    if clockid not in (CLOCK_MONOTONIC, CLOCK_REALTIME):
        raise Errno(EINVAL)
    return monotonic_deadline(task, clockid, read_timespec(task, timeout))


@syscall(449, "futex_waitv", waiters=Struct("futex_waitv", "in", "nr_futexes"), nr_futexes=UInt, flags=UInt,
         timeout=Struct("timespec", "in"), clockid=Enum("clocknames", "i32"))
async def futex_waitv(task: Task, waiters: int, nr_futexes: int, flags: int, timeout: int, clockid: int) -> int:
    if flags or not 1 <= nr_futexes <= FUTEX_WAITV_MAX or not waiters:
        raise Errno(EINVAL)
    deadline_ns = _futex2_deadline(task, timeout, clockid)
    entries = []
    for index in range(nr_futexes):
        row = task.mm.read(waiters + index * _FUTEX_WAITV.size, _FUTEX_WAITV.size)
        value, address, futex_flags, reserved = _FUTEX_WAITV.unpack(row)
        if reserved or value >> 32:
            raise Errno(EINVAL)
        entries.append((address, _futex2_shared(futex_flags), value))
    return await fx.futex_wait_multiple(task, entries, deadline_ns)


@syscall(454, "futex_wake", uaddr=Ptr, mask=Hex, nr=Int, flags=Flags("futex2"))
def futex_wake(task: Task, uaddr: int, mask: int, nr: int, flags: int) -> int:
    shared = _futex2_shared(flags)
    if mask >> 32:
        raise Errno(EINVAL)
    if nr == 0 and mask:
        return 0
    return fx.futex_wake(task, uaddr, shared, nr, mask)


@syscall(455, "futex_wait", uaddr=Ptr, val=Hex, mask=Hex, flags=Flags("futex2"), timeout=Struct("timespec", "in"),
         clockid=Enum("clocknames", "i32"))
async def futex_wait(task: Task, uaddr: int, val: int, mask: int, flags: int, timeout: int, clockid: int) -> int:
    shared = _futex2_shared(flags)
    if val >> 32 or mask >> 32:
        raise Errno(EINVAL)
    return await fx.futex_wait(task, uaddr, shared, val, _futex2_deadline(task, timeout, clockid), mask)


@syscall(456, "futex_requeue", waiters=Struct("futex_waitv", "in", 2), flags=UInt, nr_wake=Int, nr_requeue=Int)
def futex_requeue(task: Task, waiters: int, flags: int, nr_wake: int, nr_requeue: int) -> int:
    if flags or not waiters:
        raise Errno(EINVAL)
    rows = [_FUTEX_WAITV.unpack(task.mm.read(waiters + i * _FUTEX_WAITV.size, _FUTEX_WAITV.size)) for i in range(2)]
    if any(value >> 32 or reserved for value, _, _, reserved in rows):
        raise Errno(EINVAL)
    shared = [_futex2_shared(row[2]) for row in rows]
    return fx.futex_requeue(task, rows[0][1], shared[0], rows[1][1], nr_wake, nr_requeue, rows[0][0], shared[1])


# -- thread ids and robust lists ---------------------------------------------------------------------------------


@syscall(218, "set_tid_address", returns=Pid, tidptr=Ptr)
def set_tid_address(task: Task, tidptr: int) -> int:
    task.clear_child_tid = tidptr
    return task.tid


@syscall(273, "set_robust_list", head=Ptr, len=Size)
def set_robust_list(task: Task, head: int, length: int) -> None:
    if length != fx.ROBUST_LIST_HEAD_SIZE:
        raise Errno(EINVAL)
    task.robust_list = (head, length)


@syscall(274, "get_robust_list", pid=Pid, head_ptr=Struct("ptr", "out"), len_ptr=Struct("size_t", "out"))
def get_robust_list(task: Task, pid: int, head_ptr: int, len_ptr: int) -> None:
    target = task.kernel.tasks.get(pid) if pid else task
    if target is None:
        raise Errno(ESRCH)
    if target is not task and not may_access(task, target):
        raise Errno(EPERM)
    task.mm.write_u64(len_ptr, fx.ROBUST_LIST_HEAD_SIZE)
    task.mm.write_u64(head_ptr, target.robust_list[0])
