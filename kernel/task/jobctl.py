"""Stopping and continuing a process: every thread stops for itself, the last one tells the parent (do_signal_stop).

A stop signal is *acted on* when a thread takes it off a queue on its way to user mode; SIGCONT acts when it is *sent*.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.clock import NSEC_PER_TICK, group_times_ns
from kernel.task import pid
from kernel.task.siginfo import SigInfo
from kernel.task.signals import CLD_CONTINUED, CLD_STOPPED, SA_NOCLDSTOP, SIG_IGN, SIGCHLD, SIGCONT

if TYPE_CHECKING:
    from kernel.task.task import Task, ThreadGroup


def begin_stop(task: Task, signo: int) -> bool:
    """Stop the process of ``task`` by ``signo``; ``task`` itself stops at once. False when the process is dying."""
    from kernel.task.signal import wake_for_signal

    group = task.group
    if group.group_exit_status is not None:
        return False
    if group.stop_status is None:
        group.stop_signal = signo
    group.stop_count = 0
    for thread in group.threads:
        if thread.dying or thread.state in "TZX":
            continue
        thread.stop_pending = True
        group.stop_count += 1
        if thread is not task:
            wake_for_signal(thread)
    stop_here(task)
    return True


def stop_here(task: Task) -> None:
    """Put ``task`` into state T until wake_stopped()."""
    task.state = "T"
    task.signal_wakeup = True  # it looks for signals again before it runs
    participate_in_stop(task)


def participate_in_stop(task: Task) -> None:
    """Count ``task`` as stopped (or gone); the last thread reports the stop to the parent."""
    group = task.group
    task.stop_pending = False
    if not group.stop_count:
        return
    group.stop_count -= 1
    if group.stop_count == 0 and group.stop_status is None and any(t.state == "T" for t in group.threads):
        group.stop_status = group.stop_signal
        group.stop_reported = False
        group.continued_unreported = False
        for observer in task.kernel.events.stop:
            observer(task, group.stop_signal)
        notify_parent(group, CLD_STOPPED)


def continue_group(group: ThreadGroup) -> None:
    """SIGCONT has been sent: end a stop that is done or under way (prepare_signal)."""
    notice = 0
    if group.stop_status is not None:
        notice = CLD_CONTINUED
    elif group.stop_count:
        notice = CLD_STOPPED
    for thread in group.threads:
        thread.stop_pending = False
    if notice:
        group.stop_notice = notice
        group.continued_unreported = True
        group.stop_reported = True
        group.stop_status = None
        group.stop_count = 0
    for thread in group.threads:
        if thread.state == "T":
            wake_stopped(thread)
        elif notice:
            thread.signal_wakeup = True  # somebody has to give the notice


def wake_stopped(task: Task) -> None:
    """Make a stopped thread runnable; it goes through exit_to_user() before user mode."""
    task.state = "R"
    task.signal_wakeup = True
    task.kernel.scheduler.wake(task)


def give_notice(group: ThreadGroup) -> None:
    """Tell the parent of a stop or continuation that happened while no thread could (SIGNAL_CLD_MASK)."""
    notice, group.stop_notice = group.stop_notice, 0
    notify_parent(group, notice)


def notify_parent(group: ThreadGroup, why: int) -> None:
    """SIGCHLD with CLD_STOPPED or CLD_CONTINUED, unless SA_NOCLDSTOP; wait4 wakes in any case."""
    from kernel.task.signal import send_signal

    parent = group.parent
    if parent is None or not parent.threads:
        return
    user, system = group_times_ns(group)
    leader = group.leader or group.threads[0]
    info = SigInfo(
        SIGCHLD,
        why,
        pid=group.tgid,
        uid=leader.cred.uid,
        status=SIGCONT if why == CLD_CONTINUED else group.stop_signal & 0x7F,
        utime=user // NSEC_PER_TICK,
        stime=system // NSEC_PER_TICK,
    )
    action = parent.threads[0].actions[SIGCHLD]
    if action.handler != SIG_IGN and not action.flags & SA_NOCLDSTOP:
        send_signal(parent, info)
    parent.child_wait.wake()


def is_orphaned(task: Task) -> bool:
    """Is nobody there who could continue the process group? Terminal stop signals are then ignored.

    The first process counts as the child of a shell outside that controls it.
    """
    group = task.group
    if any(member.parent is None and member.tgid != pid.INIT_PID for member in task.kernel.tasks.pgroup(group.pgid)):
        return False
    return pid.is_orphaned_pgroup(task.kernel, group.pgid)
