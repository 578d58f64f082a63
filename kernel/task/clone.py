"""Making a task: what a child shares with its parent and what it copies (kernel/fork.c copy_process, kernel_clone)."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernel.errno import EAGAIN, EINVAL, EPERM, ERESTARTNOINTR, Errno
from kernel.fs.pidfd import PidFile
from kernel.task import itimer, rlimit
from kernel.task.capability import CAP_SYS_ADMIN, CAP_SYS_RESOURCE
from kernel.task.rlimit import RLIM_INFINITY, RLIMIT_NPROC
from kernel.task.signals import SIGCHLD, SS_DISABLE
from kernel.task.sigqueue import SignalQueue
from kernel.task.task import Task, ThreadGroup
from kernel.task.wait import WaitQueue, sleep

if TYPE_CHECKING:
    from kernel.mm.address_space import AddressSpace

CSIGNAL = 0xFF
CLONE_VM, CLONE_FS, CLONE_FILES, CLONE_SIGHAND = 0x100, 0x200, 0x400, 0x800
CLONE_PIDFD, CLONE_PTRACE, CLONE_VFORK, CLONE_PARENT, CLONE_THREAD = 0x1000, 0x2000, 0x4000, 0x8000, 0x10000
CLONE_NEWNS, CLONE_SYSVSEM, CLONE_SETTLS = 0x20000, 0x40000, 0x80000
CLONE_PARENT_SETTID, CLONE_CHILD_CLEARTID, CLONE_DETACHED, CLONE_UNTRACED = 0x100000, 0x200000, 0x400000, 0x800000
CLONE_CHILD_SETTID, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x1000000, 0x2000000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET, CLONE_IO = 0x10000000, 0x20000000, 0x40000000, 0x80000000
CLONE_NEWTIME = 0x80
CLONE_CLEAR_SIGHAND, CLONE_INTO_CGROUP = 0x100000000, 0x200000000
CLONE_NEW_NAMESPACES = (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID
                        | CLONE_NEWNET | CLONE_NEWTIME)


@dataclass(slots=True)
class CloneArgs:
    """struct kernel_clone_args; addresses are user addresses, 0 for none."""

    flags: int = 0
    exit_signal: int = 0
    stack: int = 0
    """The child's stack pointer; 0 keeps the parent's."""
    tls: int = 0
    parent_tid: int = 0
    child_tid: int = 0
    pidfd: int = 0


FORK = CloneArgs(exit_signal=SIGCHLD)
VFORK = CloneArgs(flags=CLONE_VFORK | CLONE_VM, exit_signal=SIGCHLD)


def kernel_clone(task: Task, args: CloneArgs, odf: bool = False) -> Task:
    """Make a child of ``task`` and let it run; the caller waits for it under CLONE_VFORK (wait_for_vfork).

    ``odf`` forks on demand whatever the address space's own setting is.

    Raises:
        Errno: as clone(2): EINVAL, EPERM, EAGAIN, ENOMEM, EMFILE; ERESTARTNOINTR when a signal is pending.
    """
    flags = args.flags
    _check_flags(flags)
    if task.signal_wakeup:
        raise Errno(ERESTARTNOINTR)
    _check_limits(task)
    kernel = task.kernel
    odf = odf or task.mm.use_odf
    mm = task.mm
    if not flags & CLONE_VM:
        mm = mm.fork(odf)
    try:
        tid = kernel.tasks.allocate()
        pidfd = _install_pidfd(task, tid, flags, args.pidfd)
    except Errno:
        if mm is not task.mm:
            mm.release()
        raise
    if mm is task.mm:
        mm.users += 1
    child = copy_task(task, tid, mm, args)
    if pidfd is not None:
        pidfd.target = child if flags & CLONE_THREAD else child.group
    if flags & CLONE_PARENT_SETTID:
        _put_tid(task.mm, args.parent_tid, tid)
    if flags & CLONE_CHILD_SETTID:
        _put_tid(mm, args.child_tid, tid)
    if flags & CLONE_VFORK:
        child.vfork_done = WaitQueue()
    if kernel.events.fork:
        for listener in kernel.events.fork:
            listener(task, child, flags | args.exit_signal, odf and not flags & CLONE_VM)
    kernel.scheduler.add(child)
    return child


async def wait_for_vfork(child: Task) -> None:
    """Sleep until the child has left the parent's memory, by execve or exit; only death ends the wait before."""
    while child.vfork_done is not None:
        await sleep(child.vfork_done, interruptible=False)


def _check_flags(flags: int) -> None:
    """The combinations that copy_process refuses, in its order."""
    if flags & CLONE_FS and flags & (CLONE_NEWNS | CLONE_NEWUSER):
        raise Errno(EINVAL)
    if flags & CLONE_THREAD and not flags & CLONE_SIGHAND:
        raise Errno(EINVAL)
    if flags & CLONE_SIGHAND and not flags & CLONE_VM:
        raise Errno(EINVAL)
    if flags & CLONE_THREAD and flags & (CLONE_NEWUSER | CLONE_NEWPID):
        raise Errno(EINVAL)
    if flags & CLONE_PIDFD and flags & CLONE_DETACHED:
        raise Errno(EINVAL)
    if flags & CLONE_NEWIPC and flags & CLONE_SYSVSEM:
        raise Errno(EINVAL)
    if flags & CLONE_NEW_NAMESPACES:
        raise Errno(EPERM)  # there is one of each namespace; nobody may make more


def _check_limits(task: Task) -> None:
    """RLIMIT_NPROC of the real user, and the global limit; EAGAIN."""
    table = task.kernel.tasks
    if len(table) >= table.max_threads:
        raise Errno(EAGAIN)
    limit = rlimit.get(task, RLIMIT_NPROC)
    if limit == RLIM_INFINITY or len(table) < limit:
        return
    cred = task.cred
    if cred.uid == 0 or cred.capable(CAP_SYS_RESOURCE) or cred.capable(CAP_SYS_ADMIN):
        return
    if sum(1 for other in table.values() if other.cred.uid == cred.uid) >= limit:
        raise Errno(EAGAIN)


def copy_task(task: Task, tid: int, mm: AddressSpace, args: CloneArgs) -> Task:
    """The child's task, entered in every table but not yet runnable. Nothing here can fail."""
    kernel, flags = task.kernel, args.flags
    group = task.group if flags & CLONE_THREAD else _copy_group(task, tid, args)
    files, fs, actions = task.files, task.fs, task.actions
    if flags & CLONE_FILES:
        files.users += 1
    else:
        files = files.copy()
    if not flags & CLONE_FS:
        fs = fs.copy()
    if not flags & CLONE_SIGHAND:
        actions = actions.copy()
        if flags & CLONE_CLEAR_SIGHAND:
            actions.reset_for_exec()
    child = Task(
        kernel, tid, group, mm, files, fs, task.cred, actions, SignalQueue(),
        blocked=task.blocked,
        sigaltstack=(0, 0, SS_DISABLE) if flags & (CLONE_VM | CLONE_VFORK) == CLONE_VM else task.sigaltstack,
        context=kernel.machine.cpu.clone_context(
            task, args.stack or None, args.tls if flags & CLONE_SETTLS else None),
        comm=task.comm,
        exe=task.exe.get() if task.exe is not None else None,
        clear_child_tid=args.child_tid if flags & CLONE_CHILD_CLEARTID else 0,
        start_time_ns=kernel.clock.boottime_ns(),
        nice=task.nice,
        sched_policy=task.sched_policy,
        sched_priority=task.sched_priority,
        ioprio=task.ioprio,
        timer_slack_ns=task.timer_slack_ns,
        personality=task.personality,
        no_new_privs=task.no_new_privs,
        mce_flags=task.mce_flags,
        rseq=None if flags & CLONE_VM else task.rseq,
    )  # fmt: skip
    if task.sched_reset_on_fork:
        child.sched_policy, child.sched_priority, child.nice = 0, 0, max(child.nice, 0)
    group.threads.append(child)
    kernel.tasks[tid] = child
    if group is not task.group:
        group.start_time_ns = child.start_time_ns
        kernel.tasks.add_group(group)
    return child


def _copy_group(task: Task, tgid: int, args: CloneArgs) -> ThreadGroup:
    """The child's process (copy_signal)."""
    own = task.group
    parent, parent_thread, exit_signal = own, task, args.exit_signal
    if args.flags & CLONE_PARENT:
        # A sibling; the first process has no parent in the guest, so its siblings are init's.
        parent, parent_thread, exit_signal = own.parent, own.parent_thread, own.exit_signal  # type: ignore[assignment]
    group = ThreadGroup(
        tgid, parent, own.pgid, own.sid, exit_signal,
        parent_thread=parent_thread,
        pending=SignalQueue(),
        rlimits=own.rlimits.copy(),
        controlling_tty=own.controlling_tty,
        dumpable=own.dumpable,
        oom_score_adj=own.oom_score_adj,
        membarrier=own.membarrier,
    )  # fmt: skip
    if parent is not None:
        parent.children.append(group)
    itimer.limit_cpu_time(task.kernel, group)
    return group


def _install_pidfd(task: Task, tid: int, flags: int, address: int) -> PidFile | None:
    """CLONE_PIDFD: a descriptor for the child, its number stored at ``address``; None without the flag."""
    if not flags & CLONE_PIDFD:
        return None
    file = PidFile(task, None)
    fd = task.files.install(file, cloexec=True)
    try:
        task.mm.write_u32(address, fd)
    except Errno:
        task.files.close(fd)
        raise
    return file


def _put_tid(mm: AddressSpace, address: int, tid: int) -> None:
    """Store a thread id for user space; a bad address is ignored, as in schedule_tail()."""
    with contextlib.suppress(Errno):
        mm.write_u32(address, tid)
