"""Scheduling parameters: one CPU, and policies that are kept and reported (kernel/sched/syscalls.c, block/ioprio.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kernel.errno import E2BIG, EACCES, EINVAL, EPERM, ESRCH, Errno
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Enum, Flags, Int, Pid, Ptr, Size, Struct
from kernel.task import rlimit
from kernel.task.capability import CAP_SYS_NICE

if TYPE_CHECKING:
    from kernel.task.task import Task

SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_IDLE, SCHED_DEADLINE = 0, 1, 2, 3, 5, 6
SCHED_RESET_ON_FORK = 0x40000000
_POLICIES = (SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_IDLE)
_REALTIME = (SCHED_FIFO, SCHED_RR)
_MAX_RT_PRIORITY = 99

CPUMASK_BYTES = 8
"""cpumask_size(): what sched_getaffinity returns with at most 64 CPUs."""
ONLINE_CPUS = 1
"""The engine is one CPU: bit 0."""

_ATTR = struct.Struct("<IIQiIQQQII")
"""struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period, util_min, util_max."""
_ATTR_SIZE_VER0 = 48
_SCHED_FLAG_RESET_ON_FORK = 1
_BASE_SLICE_NS = 1_400_000
_RR_TIMESLICE_NS = 100_000_000

PRIO_PROCESS, PRIO_PGRP, PRIO_USER = 0, 1, 2
_IOPRIO_CLASS_RT, _IOPRIO_CLASS_IDLE = 1, 3


@syscall(24, "sched_yield")
def sched_yield(task: Task) -> None:
    task.kernel.scheduler.yield_()


@syscall(203, "sched_setaffinity", pid=Pid, len=Size, mask=Struct("cpu_set", "in", "len"))
def sched_setaffinity(task: Task, pid: int, length: int, mask: int) -> None:
    length &= 0xFFFFFFFF
    bits = int.from_bytes(task.mm.read(mask, min(length, CPUMASK_BYTES)), "little")
    target = _find(task, pid)
    if not _owns(task, target) and not task.cred.capable(CAP_SYS_NICE):
        raise Errno(EPERM)
    if not bits & ONLINE_CPUS:
        raise Errno(EINVAL)


@syscall(204, "sched_getaffinity", pid=Pid, len=Size, mask=Struct("cpu_set", "out", "len"))
def sched_getaffinity(task: Task, pid: int, length: int, mask: int) -> int:
    length &= 0xFFFFFFFF
    if length == 0 or length % 8:
        raise Errno(EINVAL)
    _find(task, pid)
    task.mm.write(mask, ONLINE_CPUS.to_bytes(CPUMASK_BYTES, "little"))
    return CPUMASK_BYTES


@syscall(144, "sched_setscheduler", pid=Pid, policy=Enum("schedulers", "i32"), param=Struct("sched_param", "in"))
def sched_setscheduler(task: Task, pid: int, policy: int, param: int) -> None:
    if policy < 0 or not param or pid < 0:
        raise Errno(EINVAL)
    (priority,) = struct.unpack("<i", task.mm.read(param, 4))
    target = _find(task, pid)
    reset = bool(policy & SCHED_RESET_ON_FORK)
    _set_policy(task, target, policy & ~SCHED_RESET_ON_FORK, priority, target.nice, reset)


@syscall(142, "sched_setparam", pid=Pid, param=Struct("sched_param", "in"))
def sched_setparam(task: Task, pid: int, param: int) -> None:
    if not param or pid < 0:
        raise Errno(EINVAL)
    (priority,) = struct.unpack("<i", task.mm.read(param, 4))
    target = _find(task, pid)
    _set_policy(task, target, target.sched_policy, priority, target.nice, target.sched_reset_on_fork)


@syscall(145, "sched_getscheduler", pid=Pid, returns=Enum("schedulers", "i32"))
def sched_getscheduler(task: Task, pid: int) -> int:
    target = _find(task, pid, negative_is_einval=True)
    return target.sched_policy | (SCHED_RESET_ON_FORK if target.sched_reset_on_fork else 0)


@syscall(143, "sched_getparam", pid=Pid, param=Struct("sched_param", "out"))
def sched_getparam(task: Task, pid: int, param: int) -> None:
    if not param:
        raise Errno(EINVAL)
    target = _find(task, pid, negative_is_einval=True)
    task.mm.write(param, struct.pack("<i", target.sched_priority))


@syscall(146, "sched_get_priority_max", policy=Enum("schedulers", "i32"))
def sched_get_priority_max(task: Task, policy: int) -> int:
    if policy not in (*_POLICIES, SCHED_DEADLINE, 7):
        raise Errno(EINVAL)
    return _MAX_RT_PRIORITY if policy in _REALTIME else 0


@syscall(147, "sched_get_priority_min", policy=Enum("schedulers", "i32"))
def sched_get_priority_min(task: Task, policy: int) -> int:
    if policy not in (*_POLICIES, SCHED_DEADLINE, 7):
        raise Errno(EINVAL)
    return 1 if policy in _REALTIME else 0


@syscall(148, "sched_rr_get_interval", pid=Pid, tp=Struct("timespec", "out"))
def sched_rr_get_interval(task: Task, pid: int, tp: int) -> None:
    target = _find(task, pid, negative_is_einval=True)
    # the fair class reports its slice rounded down to jiffies: 0
    slice_ns = _RR_TIMESLICE_NS if target.sched_policy == SCHED_RR else 0
    task.mm.write(tp, struct.pack("<qq", 0, slice_ns))


@syscall(315, "sched_getattr", pid=Pid, attr=Struct("sched_attr", "out"), size=Int, flags=Int)
def sched_getattr(task: Task, pid: int, attr: int, size: int, flags: int) -> None:
    if not attr or pid < 0 or not _ATTR_SIZE_VER0 <= size & 0xFFFFFFFF <= 4096 or flags:
        raise Errno(EINVAL)
    target = _find(task, pid)
    realtime = target.sched_policy in _REALTIME
    size = min(size, _ATTR.size)
    packed = _ATTR.pack(
        size, target.sched_policy, _SCHED_FLAG_RESET_ON_FORK if target.sched_reset_on_fork else 0,
        0 if realtime else target.nice, target.sched_priority, 0 if realtime else _BASE_SLICE_NS, 0, 0, 0, 0,
    )  # fmt: skip
    task.mm.write(attr, packed[:size])


@syscall(314, "sched_setattr", pid=Pid, attr=Struct("sched_attr", "inout"), flags=Int)
def sched_setattr(task: Task, pid: int, attr: int, flags: int) -> None:
    if not attr or pid < 0 or flags:
        raise Errno(EINVAL)
    size = task.mm.read_u32(attr) or _ATTR_SIZE_VER0
    if not _ATTR_SIZE_VER0 <= size <= 4096:
        task.mm.write_u32(attr, _ATTR.size)
        raise Errno(E2BIG)
    raw = task.mm.read(attr, size)
    if any(raw[_ATTR.size :]):
        task.mm.write_u32(attr, _ATTR.size)
        raise Errno(E2BIG)
    _, policy, attr_flags, nice, priority, *_ = _ATTR.unpack(raw[: _ATTR.size].ljust(_ATTR.size, b"\0"))
    if policy >= 2**31:
        raise Errno(EINVAL)
    target = _find(task, pid)
    if attr_flags & ~_SCHED_FLAG_RESET_ON_FORK:
        raise Errno(EINVAL)
    _set_policy(task, target, policy, priority, max(-20, min(19, nice)), bool(attr_flags))


@syscall(140, "getpriority", which=Enum("priorities", "i32"), who=Int)
def getpriority(task: Task, which: int, who: int) -> int:
    """Returns 20 - nice (40…1) of the most favoured task chosen; libc turns it back."""
    return max(20 - target.nice for target in _chosen(task, which, who))


@syscall(141, "setpriority", which=Enum("priorities", "i32"), who=Int, prio=Int)
def setpriority(task: Task, which: int, who: int, prio: int) -> None:
    nice = max(-20, min(19, prio))
    error: int | None = None
    for target in _chosen(task, which, who):
        if not _owns(task, target) and not task.cred.capable(CAP_SYS_NICE):
            error = EPERM
        elif nice < target.nice and not _may_raise_to(task, nice):
            error = EACCES
        else:
            target.nice = nice
    if error is not None:
        raise Errno(error)


@syscall(252, "ioprio_get", which=Enum("ioprio_who", "i32"), who=Int)
def ioprio_get(task: Task, which: int, who: int) -> int:
    if which not in (1, 2, 3):
        raise Errno(EINVAL)
    targets = _chosen(task, which - 1, who)
    if which == 1:
        return targets[0].ioprio
    # a task without a class of its own counts with the one its nice value implies (get_task_ioprio)
    return min(target.ioprio or 2 << 13 | (target.nice + 20) // 5 for target in targets)


@syscall(251, "ioprio_set", which=Enum("ioprio_who", "i32"), who=Int, ioprio=Int)
def ioprio_set(task: Task, which: int, who: int, ioprio: int) -> None:
    level_class, level = ioprio >> 13 & 7, ioprio & 7
    if level_class > _IOPRIO_CLASS_IDLE or (level_class == 0 and level):
        raise Errno(EINVAL)
    if level_class == _IOPRIO_CLASS_RT and not task.cred.capable(CAP_SYS_NICE):
        raise Errno(EPERM)
    if which not in (1, 2, 3):
        raise Errno(EINVAL)
    targets = _chosen(task, which - 1, who)
    if any(not _owns(task, target) and not task.cred.capable(CAP_SYS_NICE) for target in targets):
        raise Errno(EPERM)
    for target in targets:
        target.ioprio = ioprio


@syscall(309, "getcpu", cpu=Struct("unsigned", "out"), node=Struct("unsigned", "out"), tcache=Ptr)
def getcpu(task: Task, cpu: int, node: int, tcache: int) -> None:
    for address in (cpu, node):
        if address:
            task.mm.write_u32(address, 0)


@syscall(135, "personality", persona=Flags("personality"), returns=Flags("personality"))
def personality(task: Task, persona: int) -> int:
    old = task.personality
    if persona != 0xFFFFFFFF:
        task.personality = persona
    return old


def _find(task: Task, pid: int, negative_is_einval: bool = False) -> Task:
    if pid < 0 and negative_is_einval:
        raise Errno(EINVAL)
    target = task.kernel.tasks.get(pid) if pid and pid != task.tid else task
    if target is None:
        raise Errno(ESRCH)
    return target


def _chosen(task: Task, which: int, who: int) -> list[Task]:
    """The tasks named by PRIO_PROCESS, PRIO_PGRP or PRIO_USER; ESRCH when there are none."""
    if which not in (PRIO_PROCESS, PRIO_PGRP, PRIO_USER):
        raise Errno(EINVAL)
    if which == PRIO_PROCESS:
        return [_find(task, who)]
    everyone = list(task.kernel.tasks.values())
    if which == PRIO_PGRP:
        pgid = who or task.group.pgid
        found = [t for t in everyone if t.group.pgid == pgid]
    else:
        uid = who & 0xFFFFFFFF or task.cred.uid
        found = [t for t in everyone if t.cred.uid == uid]
    if not found:
        raise Errno(ESRCH)
    return found


def _owns(task: Task, target: Task) -> bool:
    """The caller's effective uid is the target's real or effective one."""
    return task.cred.euid in (target.cred.euid, target.cred.uid)


def _may_raise_to(task: Task, nice: int) -> bool:
    """can_nice: CAP_SYS_NICE, or RLIMIT_NICE (1…40 stands for nice 19…-20)."""
    return task.cred.capable(CAP_SYS_NICE) or 20 - nice <= rlimit.get(task, rlimit.RLIMIT_NICE)


def _set_policy(task: Task, target: Task, policy: int, priority: int, nice: int, reset_on_fork: bool) -> None:
    """Check and store, in the order of __sched_setscheduler."""
    if policy not in _POLICIES:
        raise Errno(EINVAL)  # SCHED_DEADLINE promises what one emulated CPU cannot keep
    realtime = policy in _REALTIME
    if not 0 <= priority <= _MAX_RT_PRIORITY or realtime != bool(priority):
        raise Errno(EINVAL)
    if not task.cred.capable(CAP_SYS_NICE):
        limit = rlimit.get(task, rlimit.RLIMIT_RTPRIO)
        if not realtime and nice < target.nice and not _may_raise_to(task, nice):
            raise Errno(EPERM)
        if realtime and (
            (policy != target.sched_policy and not limit) or (priority > target.sched_priority and priority > limit)
        ):
            raise Errno(EPERM)
        leaves_idle = target.sched_policy == SCHED_IDLE and policy != SCHED_IDLE
        if leaves_idle and not _may_raise_to(task, target.nice):
            raise Errno(EPERM)
        if not _owns(task, target) or (target.sched_reset_on_fork and not reset_on_fork):
            raise Errno(EPERM)
    target.sched_policy, target.sched_priority, target.sched_reset_on_fork = policy, priority, reset_on_fork
    if not realtime:
        target.nice = nice
