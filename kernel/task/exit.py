"""How threads and processes end, and who is told (kernel/exit.c, kernel/signal.c do_notify_parent).

One task runs at a time, so the end of a process is one step here: the threads that are asleep or preempted are ended
on the spot by the one that called exit_group or took the fatal signal.

States: a thread that ends is X and gone, except the leader, which stays in the table as Z until the process is reaped.
A process is a zombie from the end of its last thread (``exit_status`` set) until it is waited for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel import clock
from kernel.errno import Errno
from kernel.mm.layout import MM_PEAK
from kernel.task import futex, itimer, signal
from kernel.task import pid as pids
from kernel.task.siginfo import SigInfo
from kernel.task.signals import (
    CLD_DUMPED,
    CLD_EXITED,
    CLD_KILLED,
    NSIG,
    SA_NOCLDWAIT,
    SI_KERNEL,
    SI_USER,
    SIG_IGN,
    SIGCHLD,
    SIGCONT,
    SIGHUP,
    SIGKILL,
)

if TYPE_CHECKING:
    from kernel.kernel import Kernel
    from kernel.task.task import Task, ThreadGroup

CORE_FLAG = 0x80
NS_PER_TICK = 10_000_000


def do_group_exit(task: Task, status: int) -> None:
    """End the process of ``task``, which is running; ``status`` is in wait(2) form. The first call's status counts."""
    group = task.group
    if group.group_exit_status is None:
        group.group_exit_status = status
    status = group.group_exit_status
    kill_other_threads(task, status)
    do_exit(task, status)


def kill_other_threads(task: Task, status: int) -> None:
    """End all threads of the process but ``task`` (zap_other_threads)."""
    for thread in list(task.group.threads):
        if thread is not task:
            kill_thread(thread, status)


def kill_group(group: ThreadGroup, status: int = SIGKILL) -> None:
    """End a process none of whose threads is running kernel code at this moment."""
    if group.group_exit_status is None:
        group.group_exit_status = status
    for thread in list(group.threads):
        kill_thread(thread, group.group_exit_status)


def kill_thread(thread: Task, status: int) -> None:
    """End a thread that is not running: its system call, if it sleeps in one, is unwound by its ``finally`` clauses."""
    coroutine, thread.coroutine = thread.coroutine, None
    if thread.sleep is not None:
        thread.sleep.done = True
        thread.sleep = None
    if coroutine is not None:
        coroutine.close()
    do_exit(thread, status)


def kill_all(kernel: Kernel) -> None:
    """End every process: the emulator stops (the first process has ended, a timeout, Ctrl-C)."""
    while groups := [group for group in kernel.tasks.groups.values() if group.threads]:
        for group in groups:
            kill_group(group)


def do_exit(task: Task, status: int) -> None:
    """End one thread; the order of the steps is Linux's.

    Args:
        status: the wait(2) status that the process gets if this is its last thread and nobody called exit_group.
    """
    if task.state in ("X", "Z"):
        return
    kernel, group = task.kernel, task.group
    task.exit_code = status
    last = all(thread is task for thread in group.threads)
    if last:
        itimer.cancel_all(group)
        if task.mm is not None:
            group.maxrss_pages = max(group.maxrss_pages, task.mm.slots[MM_PEAK >> 3])
    signal.exit_signals(task)
    release_memory(task)
    if task.files is not None:
        release_files(task)
    if task.fs is not None:
        task.fs = None  # type: ignore[assignment]
    if task.exe is not None:
        task.exe.put()
        task.exe = None
    if last:
        _leave_terminal(group)
    user, system = clock.task_times_ns(task)
    group.utime_ns += user
    group.stime_ns += system
    if kernel.events.exit:
        for listener in kernel.events.exit:
            listener(task, status)
    _exit_notify(task)
    kernel.scheduler.remove(task)


def release_memory(task: Task) -> None:
    """Leave the address space: by exit, and by execve before it takes a new one (mm_release, mmput)."""
    leave_user_state(task)
    mm = task.mm
    if mm is not None:
        task.mm = None  # type: ignore[assignment]
        mm.users -= 1
        if mm.users == 0:
            mm.release()


def leave_user_state(task: Task) -> None:
    """Settle what user memory waits for: robust futexes, clear_child_tid, the parent in vfork (exec_mm_release)."""
    mm = task.mm
    if mm is not None:
        futex.exit_robust_list(task)
        task.robust_list = (0, 0)
        address, task.clear_child_tid = task.clear_child_tid, 0
        if address and mm.users > 1:
            try:
                mm.write_u32(address, 0)
                futex.wake_address(task, address, 1)
            except Errno:
                pass
    if task.vfork_done is not None:
        queue, task.vfork_done = task.vfork_done, None
        queue.wake()


def release_files(task: Task) -> None:
    """Leave the descriptor table; the last user closes the files."""
    files = task.files
    task.files = None  # type: ignore[assignment]
    files.users -= 1
    if files.users == 0:
        files.close_all()


def notify_parent(group: ThreadGroup) -> bool:
    """Tell the parent that the process has ended; True when nobody will wait for it (do_notify_parent)."""
    parent = group.parent
    if parent is None:
        return True
    signo, autoreap = group.exit_signal, False
    if parent.threads and signo == SIGCHLD:
        action = parent.threads[0].actions[SIGCHLD]
        if action.handler == SIG_IGN or action.flags & SA_NOCLDWAIT:
            autoreap = True
            if action.handler == SIG_IGN:
                signo = 0
    if 1 <= signo <= NSIG and parent.threads:
        signal.send_signal(parent, child_info(group, signo))
    parent.child_wait.wake()
    return autoreap


def child_info(group: ThreadGroup, signo: int) -> SigInfo:
    """The siginfo_t that tells a parent how ``group`` has ended."""
    code, status = exit_cause(group.exit_status or 0)
    leader = group_leader(group)
    user, system = group.utime_ns, group.stime_ns
    return SigInfo(signo, code, pid=group.tgid, uid=leader.cred.uid if leader is not None else 0, status=status,
                   utime=user // NS_PER_TICK, stime=system // NS_PER_TICK)


def exit_cause(status: int) -> tuple[int, int]:
    """(si_code, si_status) for a wait(2) status word: CLD_EXITED with the exit code, or CLD_KILLED/CLD_DUMPED."""
    if status & 0x7F:
        return (CLD_DUMPED if status & CORE_FLAG else CLD_KILLED), status & 0x7F
    return CLD_EXITED, status >> 8 & 0xFF


def group_leader(group: ThreadGroup) -> Task | None:
    """The leader, alive or dead; None after the process was reaped."""
    for thread in group.threads:
        return thread.kernel.tasks.get(group.tgid)
    return group.dead_leader


def release_group(kernel: Kernel, group: ThreadGroup) -> None:
    """Forget a zombie (release_task)."""
    kernel.tasks.pop(group.tgid, None)
    kernel.tasks.remove_group(group)
    group.reaped = True
    if group.dead_leader is not None:
        group.dead_leader.state = "X"
    if group.parent is not None and group in group.parent.children:
        group.parent.children.remove(group)
    if group.end_wait is not None:
        group.end_wait.wake()


def _exit_notify(task: Task) -> None:
    kernel, group = task.kernel, task.group
    _forget_children(task)
    group.threads.remove(task)
    if task.tid == group.tgid:
        task.state = "Z"
        group.dead_leader = task
    else:
        task.state = "X"
        kernel.tasks.pop(task.tid, None)
    if group.threads:
        if group.end_wait is not None:
            group.end_wait.wake()
        return
    # Without exit_group the last thread's status counts, not the leader's (synchronize_group_exit).
    group.exit_status = task.exit_code if group.group_exit_status is None else group.group_exit_status
    if group.parent is not None:
        _hang_up_orphaned_pgroup(kernel, group, group.parent, group)
    autoreap = notify_parent(group)
    if group.end_wait is not None:
        group.end_wait.wake()
    if autoreap:
        release_group(kernel, group)


def _forget_children(father: Task) -> None:
    """The children of a dying thread get another parent: a thread beside it, or the reaper (forget_original_parent)."""
    group, kernel = father.group, father.kernel
    if not group.children:
        return
    heirs = [thread for thread in group.threads if thread is not father]
    for child in list(group.children):
        if child.parent_thread is not None and child.parent_thread is not father:
            continue
        for thread in list(child.threads):
            if thread.pdeath_signal:
                signal.send_signal(child, SigInfo.from_task(father, thread.pdeath_signal, SI_USER))
        child.parent_thread = heirs[0] if heirs else None
    if heirs:
        return
    reaper = _find_reaper(group)
    orphans, group.children = group.children, []
    for child in orphans:
        child.parent = reaper
        child.parent_thread = reaper.threads[0] if reaper is not None else None
        child.exit_signal = SIGCHLD
        if reaper is not None:
            reaper.children.append(child)
        if pids.is_dead(child) and notify_parent(child):
            release_group(kernel, child)
        _hang_up_orphaned_pgroup(kernel, child, group, None)


def _find_reaper(group: ThreadGroup) -> ThreadGroup | None:
    """The nearest living ancestor that asked for orphans (PR_SET_CHILD_SUBREAPER), else None: init."""
    ancestor = group.parent
    while ancestor is not None:
        if ancestor.is_child_subreaper and ancestor.threads:
            return ancestor
        ancestor = ancestor.parent
    return None


def _hang_up_orphaned_pgroup(kernel: Kernel, group: ThreadGroup, parent: ThreadGroup,
                             leaving: ThreadGroup | None) -> None:
    """SIGHUP and SIGCONT to a process group with stopped members that nobody can continue now (kill_orphaned_pgrp)."""
    if parent.pgid == group.pgid or parent.sid != group.sid:
        return
    members = kernel.tasks.pgroup(group.pgid)
    if all(member.stop_status is None for member in members):
        return
    if pids.is_orphaned_pgroup(kernel, group.pgid, leaving):
        for signo in (SIGHUP, SIGCONT):
            for member in members:
                if member.threads:
                    signal.send_signal(member, SigInfo(signo, SI_KERNEL))


def _leave_terminal(group: ThreadGroup) -> None:
    """The end of a session leader hangs up its terminal's foreground process group (disassociate_ctty)."""
    tty = group.controlling_tty
    if tty is not None and group.sid == group.tgid:
        tty.session_leader_exited(group)
