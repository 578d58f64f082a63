"""Sending signals, choosing who takes them, waking sleepers, and taking them off the queues (kernel/signal.c).

What happens on the way back to user mode is in ``kernel.task.delivery``; stopping and continuing in
``kernel.task.jobctl``; the frame in ``kernel.task.sigframe``. Constants, SigInfo, SignalQueue and SignalActions are
exported from here as well.

Invariant: ``task.signal_wakeup`` is set while a signal that the task does not block is pending for it, or it has to
stop or to die (TIF_SIGPENDING). Everything that changes masks or queues ends in recalc_sigpending().
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import EAGAIN, EINVAL, Errno
from kernel.task import jobctl
from kernel.task.rlimit import RLIM_INFINITY, RLIMIT_SIGPENDING
from kernel.task.siginfo import SIGINFO_SIZE, SigInfo, siginfo_layout
from kernel.task.signals import *  # noqa: F403 -- constants, as their kernel names
from kernel.task.signals import (
    SI_USER,
    SIG_DFL,
    SIG_IGN,
    SIG_KERNEL_COREDUMP_MASK,
    SIG_KERNEL_IGNORE_MASK,
    SIG_KERNEL_ONLY_MASK,
    SIG_KERNEL_STOP_MASK,
    SIGALRM,
    SIGCONT,
    SIGKILL,
    SIGRTMIN,
    sigmask,
)
from kernel.task.sigqueue import Action, SignalActions, SignalQueue
from kernel.task.task import Task, ThreadGroup

if TYPE_CHECKING:
    from kernel.kernel import Kernel

__all__ = [
    "SIGINFO_SIZE",
    "Action",
    "SigInfo",
    "SignalActions",
    "SignalQueue",
    "dequeue_signal",
    "exit_signals",
    "exit_to_user",
    "force_signal",
    "recalc_sigpending",
    "restore_saved_sigmask",
    "restore_saved_sigmask_unless",
    "send_signal",
    "set_blocked",
    "set_user_sigmask",
    "siginfo_layout",
    "signal_pending",
]

_UNBLOCKABLE = SIG_KERNEL_ONLY_MASK
_NEVER_FATAL = SIG_KERNEL_STOP_MASK | SIG_KERNEL_IGNORE_MASK


# -- masks -----------------------------------------------------------------------------------------------------------


def signal_pending(task: Task) -> bool:
    """Is there a signal for ``task`` that interrupts a sleep?"""
    return task.signal_wakeup


def recalc_sigpending(task: Task) -> None:
    """Set or clear ``task.signal_wakeup`` from queues, mask, stop and death (recalc_sigpending)."""
    task.signal_wakeup = bool(
        (task.pending.mask | task.group.pending.mask) & ~task.blocked or task.stop_pending or task.dying
    )


def set_blocked(task: Task, mask: int) -> None:
    """Change the signal mask; SIGKILL and SIGSTOP stay out of it (set_current_blocked)."""
    mask &= ~_UNBLOCKABLE
    if task.signal_wakeup and len(task.group.threads) > 1:
        _retarget_shared_pending(task, mask & ~task.blocked)
    task.blocked = mask
    recalc_sigpending(task)


def set_user_sigmask(task: Task, address: int, size: int) -> None:
    """The temporary mask of ppoll, pselect6 and epoll_pwait; nothing when ``address`` is 0.

    The old mask waits in ``task.saved_mask``: end with restore_saved_sigmask_unless().

    Raises:
        Errno: EINVAL unless ``size`` is 8, EFAULT.
    """
    if not address:
        return
    if size != 8:
        raise Errno(EINVAL)
    mask = task.mm.read_u64(address)
    task.saved_mask = task.blocked
    set_blocked(task, mask)


def restore_saved_sigmask(task: Task) -> None:
    """Go back to the mask before set_user_sigmask() or sigsuspend."""
    if task.saved_mask is not None:
        mask, task.saved_mask = task.saved_mask, None
        set_blocked(task, mask)


def restore_saved_sigmask_unless(task: Task, interrupted: bool) -> None:
    """As restore_saved_sigmask(), but a call that a signal interrupted leaves that to exit_to_user()."""
    if not interrupted or not task.signal_wakeup:
        restore_saved_sigmask(task)


# -- sending ---------------------------------------------------------------------------------------------------------


def send_signal(target: Task | ThreadGroup, info: SigInfo, force: bool = False) -> None:
    """Send ``info`` to a thread, or to a process: then any of its threads may take it.

    ``force`` delivers it even when it is ignored by default. A process that is already dying or dead takes nothing.

    Raises:
        Errno: EAGAIN for a queued (real-time, from a program) signal beyond RLIMIT_SIGPENDING.
    """
    group = target.group if isinstance(target, Task) else target
    threads = [t for t in group.threads if t.state not in "ZX"]
    if not threads:
        return
    signo = info.signo
    main = target if isinstance(target, Task) else (group.leader or threads[0])
    if main.state in "ZX":
        if isinstance(target, Task):
            return
        main = threads[0]
    if not prepare_signal(main, signo, force):
        return
    queue = target.pending
    if signo < SIGRTMIN and queue.mask >> (signo - 1) & 1:
        return
    if signo == SIGKILL:
        queue.mark(signo)
    elif _may_queue(main, info):
        queue.add(info)
    elif signo >= SIGRTMIN and info.code != SI_USER:
        raise Errno(EAGAIN)
    else:
        queue.mark(signo)
    complete_signal(main, signo, shared=not isinstance(target, Task))


def complete_signal(main: Task, signo: int, shared: bool) -> None:
    """A signal has been queued: find a thread to take it and wake it (complete_signal)."""
    group = main.group
    if main.actions.signalfd_wait.sleepers or main.actions.signalfd_wait.listeners:
        main.actions.signalfd_wait.wake()
    if _wants_signal(signo, main):
        chosen = main
    elif not shared or len(group.threads) == 1:
        return
    else:
        for thread in group.threads:
            if _wants_signal(signo, thread):
                chosen = thread
                break
        else:
            return
    if _is_fatal(chosen, signo) and group.group_exit_status is None and (
        signo == SIGKILL or not (chosen.real_blocked >> (signo - 1) & 1 or group.threads[0].kernel.events.signal)
    ):
        _start_group_exit(group, signo)
        return
    wake_for_signal(chosen, fatal=signo == SIGKILL)


def wake_for_signal(task: Task, fatal: bool = False) -> None:
    """Make ``task`` look at its signals; ends its sleep if that is interruptible, or ``fatal`` (signal_wake_up)."""
    task.signal_wakeup = True
    sleep = task.sleep
    if sleep is not None and not sleep.done and (sleep.interruptible or fatal):
        sleep.finish(error=Errno(sleep.interrupt_code))
    elif fatal and task.state == "T":
        jobctl.wake_stopped(task)


def queued_signals(kernel: Kernel, uid: int) -> int:
    """Queue entries held by the tasks of a real user: what RLIMIT_SIGPENDING counts (SigQ of /proc/<pid>/status)."""
    groups: dict[ThreadGroup, None] = {}
    count = 0
    for task in kernel.tasks.values():
        if task.cred.uid == uid:
            count += len(task.pending)
            groups[task.group] = None
    return count + sum(len(group.pending) + len(group.posix_timers) for group in groups)


def _may_queue(main: Task, info: SigInfo) -> bool:
    """Is there room for the siginfo? Signals below SIGRTMIN that no program composed always have."""
    if info.signo < SIGRTMIN and info.code >= 0:
        return True
    limit = main.group.rlimits.get(RLIMIT_SIGPENDING, (RLIM_INFINITY, RLIM_INFINITY))[0]
    return limit == RLIM_INFINITY or queued_signals(main.kernel, main.cred.uid) < limit


def prepare_signal(main: Task, signo: int, force: bool) -> bool:
    """Side effects that do not wait for delivery; False when the signal is dropped (prepare_signal)."""
    group = main.group
    if group.group_exit_status is not None:
        return False
    bit = 1 << (signo - 1)
    if bit & SIG_KERNEL_STOP_MASK:
        _discard(group, sigmask(SIGCONT))
    elif signo == SIGCONT:
        _discard(group, SIG_KERNEL_STOP_MASK)
        jobctl.continue_group(group)
    return not _is_ignored(main, signo, force)


def _is_ignored(task: Task, signo: int, force: bool) -> bool:
    """Blocked signals are never ignored: the action may change before they are let in. Nor are watched ones."""
    bit = 1 << (signo - 1)
    if (task.blocked | task.real_blocked) & bit:
        return False
    if task.kernel.events.signal and signo != SIGKILL:
        return False  # an observer sees ignored signals too, as a tracer does
    if force and task.actions[signo].handler == SIG_DFL:
        return False
    return task.actions.ignores(signo)


def _wants_signal(signo: int, task: Task) -> bool:
    """Would waking ``task`` get ``signo`` delivered at once? (wants_signal)"""
    if task.blocked >> (signo - 1) & 1 or task.dying or task.state in "ZX":
        return False
    if signo == SIGKILL:
        return True
    if task.state == "T":
        return False
    return not task.signal_wakeup or task.kernel.scheduler.current is task


def _is_fatal(task: Task, signo: int) -> bool:
    """Ends the process without a core dump and without a handler (sig_fatal and not sig_kernel_coredump)."""
    bit = 1 << (signo - 1)
    if bit & (_NEVER_FATAL | SIG_KERNEL_COREDUMP_MASK):
        return False
    return task.actions[signo].handler == SIG_DFL


def _start_group_exit(group: ThreadGroup, signo: int) -> None:
    """Condemn all threads now, so that even killable sleeps end (SIGNAL_GROUP_EXIT)."""
    group.group_exit_status = signo
    group.stop_count = 0
    for thread in list(group.threads):
        thread.stop_pending = False
        if thread.state not in "ZX":
            thread.pending.mark(SIGKILL)
            thread.dying = True
            wake_for_signal(thread, fatal=True)


def _discard(group: ThreadGroup, mask: int) -> None:
    """Drop pending signals of ``mask`` everywhere in the process."""
    group.pending.discard(mask)
    for thread in group.threads:
        thread.pending.discard(mask)


def discard_ignored(group: ThreadGroup, signo: int) -> None:
    """sigaction has made ``signo`` ignored: forget pending ones."""
    _discard(group, 1 << (signo - 1))
    for thread in group.threads:
        recalc_sigpending(thread)


def _retarget_shared_pending(task: Task, mask: int) -> None:
    """``task`` no longer takes the signals of ``mask``: let other threads take pending ones."""
    waiting = task.group.pending.mask & mask
    if not waiting:
        return
    for thread in task.group.threads:
        if thread is task or thread.dying or thread.state in "ZX" or not waiting & ~thread.blocked:
            continue
        waiting &= thread.blocked
        if not thread.signal_wakeup:
            wake_for_signal(thread)
        if not waiting:
            break


def exit_signals(task: Task) -> None:
    """``task`` begins to exit: it takes no more signals, and others see to those it would have (exit_signals)."""
    task.dying = True
    if task.group.group_exit_status is None and len(task.group.threads) > 1:
        _retarget_shared_pending(task, ~task.blocked & (1 << 64) - 1)
    if task.stop_pending:
        jobctl.participate_in_stop(task)


# -- taking off the queue --------------------------------------------------------------------------------------------


def dequeue_signal(task: Task, blocked: int) -> SigInfo | None:
    """Take the next signal not in ``blocked``, the thread's own before the process's; None when there is none."""
    signo = task.pending.next(blocked)
    if signo:
        info = task.pending.take(signo)
    else:
        queue = task.group.pending
        signo = queue.next(blocked)
        if not signo:
            recalc_sigpending(task)
            return None
        info = queue.take(signo)
        if signo == SIGALRM and task.group.itimers:
            from kernel.task.itimer import rearm_real

            rearm_real(task.group)
    if info.timer is not None:
        info.timer.dequeued(info)
    recalc_sigpending(task)
    return info


def force_signal(task: Task, info: SigInfo) -> None:
    """A signal that the task cannot evade: blocked or ignored, it gets the default action (force_sig_info).

    For CPU exceptions ``info.addr`` is the address; trapno, error code and cr2 of the next frame come from ``info``.
    """
    if info.trapno is not None:
        task.trap = (info.error_code, info.trapno, info.addr if info.trapno == 14 else task.trap[2])
    signo = info.signo
    bit = 1 << (signo - 1)
    action = task.actions[signo]
    if task.blocked & bit or action.handler == SIG_IGN:
        task.actions[signo] = action._replace(handler=SIG_DFL)
        task.blocked &= ~bit
    send_signal(task, info, force=True)
    task.signal_wakeup = True


def exit_to_user(task: Task, result: int | None) -> None:
    """See ``kernel.task.delivery.exit_to_user``."""
    from kernel.task.delivery import exit_to_user as deliver

    deliver(task, result)
