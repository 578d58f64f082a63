"""The way back to user mode: take signals, act on them, build frames, restart calls (get_signal, handle_signal)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.decode import is_canonical
from kernel.errno import EFAULT, Errno
from kernel.task import jobctl, rseq
from kernel.task.restart import RESTART_CODES, restart_for_handler, restart_without_handler
from kernel.task.sigframe import setup_rt_frame
from kernel.task.siginfo import SigInfo
from kernel.task.signal import (
    dequeue_signal,
    force_signal,
    recalc_sigpending,
    restore_saved_sigmask,
    set_blocked,
)
from kernel.task.signals import (
    SA_NODEFER,
    SA_RESETHAND,
    SI_KERNEL,
    SI_USER,
    SIG_DFL,
    SIG_IGN,
    SIG_KERNEL_IGNORE_MASK,
    SIG_KERNEL_STOP_MASK,
    SIGKILL,
    SIGSEGV,
    SIGSTOP,
    SS_AUTODISARM,
    SS_DISABLE,
)
from kernel.task.sigqueue import Action

if TYPE_CHECKING:
    from kernel.task.task import Task


def exit_to_user(task: Task, result: int | None) -> None:
    """Do what is due before ``task`` runs user code again.

    ``result`` is what the system call returned (already in RAX), None when it does not come from one. Afterwards the
    task may be stopped or dead: the caller looks at ``task.state``.
    """
    if task.stopped_call is not None:
        (task.syscall_number, result), task.stopped_call = task.stopped_call, None
    if result not in RESTART_CODES or task.syscall_number < 0:
        result = None
    while True:
        taken = _get_signal(task) if task.signal_wakeup or task.dying else None
        if task.state != "R":
            if task.state == "T" and result is not None:
                task.stopped_call = task.syscall_number, result
            return
        if taken is None:
            break
        _handle(task, *taken, result)
        result = None
    if result is not None:
        registers = task.registers()
        restart_without_handler(registers, task.syscall_number, result)
        task.set_registers(registers)
    restore_saved_sigmask(task)
    if task.signal_wakeup:  # the old mask lets something in
        exit_to_user(task, None)


def _get_signal(task: Task) -> tuple[SigInfo, Action] | None:
    """The next signal with a handler; default actions happen here. None when there is none, or the task left R."""
    from kernel.task.exit import do_exit

    group = task.group
    while True:
        if task.dying or group.group_exit_status is not None:
            if group.group_exit_status is not None:
                _end(task, SigInfo(group.group_exit_status, SI_USER))
            else:
                do_exit(task, SIGKILL)
            return None
        if group.stop_notice:
            jobctl.give_notice(group)
            continue
        if task.stop_pending:
            jobctl.stop_here(task)
            return None
        info = task.pending.take_synchronous(task.blocked) or dequeue_signal(task, task.blocked)
        if info is None:
            recalc_sigpending(task)
            return None
        recalc_sigpending(task)
        signo = info.signo
        if signo != SIGKILL:
            for observer in task.kernel.events.signal:
                observer(task, info)
        action = task.actions[signo]
        bit = 1 << (signo - 1)
        if action.handler == SIG_IGN:
            continue
        if action.handler != SIG_DFL:
            if action.flags & SA_RESETHAND:
                task.actions[signo] = action._replace(handler=SIG_DFL)
            return info, action
        if bit & SIG_KERNEL_IGNORE_MASK:
            continue
        if bit & SIG_KERNEL_STOP_MASK:
            if signo != SIGSTOP and jobctl.is_orphaned(task):
                continue
            if jobctl.begin_stop(task, signo):
                return None
            continue
        _end(task, info)
        return None


def _end(task: Task, info: SigInfo) -> None:
    """``info`` ends the process of ``task``. One that needed no queue (SIGKILL, SIGTERM …) has lost its cause."""
    from kernel.task.exit import do_group_exit

    for observer in task.kernel.events.fatal:
        observer(task, info)
    do_group_exit(task, info.signo)


def _handle(task: Task, info: SigInfo, action: Action, result: int | None) -> None:
    """Make ``task`` run the handler next (handle_signal, signal_setup_done)."""
    registers = task.registers()
    if result is not None:
        restart_for_handler(registers, task.syscall_number, result, action.flags)
    if task.rseq is not None:
        rseq.abort_section(task, registers)
    try:
        setup_rt_frame(task, registers, info, action)
    except Errno as error:
        if error.code != EFAULT:
            raise
        task.set_registers(registers)
        _force_sigsegv(task, info.signo)
        return
    mask = task.blocked | action.mask
    if not action.flags & SA_NODEFER:
        mask |= 1 << (info.signo - 1)
    task.saved_mask = None
    set_blocked(task, mask)
    if task.sigaltstack[2] & SS_AUTODISARM:
        task.sigaltstack = (0, 0, SS_DISABLE)
    task.set_registers(registers)
    if not is_canonical(action.handler):
        # IRET to it faults, with the frame already built.
        force_signal(task, SigInfo(SIGSEGV, SI_KERNEL, trapno=13))


def _force_sigsegv(task: Task, signo: int) -> None:
    """No frame could be built for ``signo``; for SIGSEGV itself that is the end (force_sigsegv)."""
    if signo == SIGSEGV:
        task.actions[SIGSEGV] = task.actions[SIGSEGV]._replace(handler=SIG_DFL)
    force_signal(task, SigInfo(SIGSEGV, SI_KERNEL))

