"""Signal actions, masks and stacks, waiting for signals, and sending them (kernel/signal.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from emu.decode import is_canonical
from kernel.clock import NSEC_PER_SEC
from kernel.errno import EAGAIN, EINTR, EINVAL, EPERM, ERESTARTNOHAND, ESRCH, Errno
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Enum, Pid, Signal, Size, Struct
from kernel.task import signals as s
from kernel.task.capability import CAP_KILL
from kernel.task.sigframe import restore_rt_frame, sas_ss_flags, set_sigaltstack
from kernel.task.siginfo import KERNEL_SIGINFO_SIZE, SIGINFO_SIZE, SigInfo
from kernel.task.signal import (
    Action,
    dequeue_signal,
    discard_ignored,
    force_signal,
    send_signal,
    set_blocked,
)
from kernel.task.wait import sleep

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernel.task.task import Task, ThreadGroup

_SIGSET_BYTES = 8
_SIGACTION = struct.Struct("<QQQQ")  # sa_handler, sa_flags, sa_restorer, sa_mask
_STACK = struct.Struct("<Qi4xQ")  # ss_sp, ss_flags, ss_size
_TIMESPEC = struct.Struct("<qq")
_INIT_PID = 1


# -- actions, masks, stacks --------------------------------------------------------------------------------------


@syscall(13, "rt_sigaction", signum=Signal, act=Struct("sigaction", "in"), oldact=Struct("sigaction", "out"),
         sigsetsize=Size)
def rt_sigaction(task: Task, signum: int, act: int, oldact: int, sigsetsize: int) -> None:
    if sigsetsize != _SIGSET_BYTES:
        raise Errno(EINVAL)
    new = None
    if act:
        handler, flags, restorer, mask = _SIGACTION.unpack(task.mm.read(act, _SIGACTION.size))
        new = Action(handler, flags & s.UAPI_SA_FLAGS, restorer, mask & ~s.SIG_KERNEL_ONLY_MASK)
    if not 1 <= signum <= s.NSIG or (new is not None and s.SIG_KERNEL_ONLY_MASK >> (signum - 1) & 1):
        raise Errno(EINVAL)
    old = task.actions[signum]
    if new is not None:
        task.actions[signum] = new
        if task.actions.ignores(signum):
            discard_ignored(task.group, signum)
    if oldact:
        task.mm.write(oldact, _SIGACTION.pack(old.handler, old.flags, old.restorer, old.mask))


@syscall(14, "rt_sigprocmask", how=Enum("sigprocmask_how", "i32"), set=Struct("sigset", "in"),
         oldset=Struct("sigset", "out"), sigsetsize=Size)
def rt_sigprocmask(task: Task, how: int, new: int, old: int, sigsetsize: int) -> None:
    if sigsetsize != _SIGSET_BYTES:
        raise Errno(EINVAL)
    before = task.blocked
    if new:
        mask = task.mm.read_u64(new)
        if how == s.SIG_BLOCK:
            mask = before | mask
        elif how == s.SIG_UNBLOCK:
            mask = before & ~mask
        elif how != s.SIG_SETMASK:
            raise Errno(EINVAL)
        set_blocked(task, mask)
    if old:
        task.mm.write_u64(old, before)


@syscall(15, "rt_sigreturn")
def rt_sigreturn(task: Task) -> int:
    registers = task.registers()
    task.syscall_number = -1  # whatever RAX becomes, nothing is restarted
    task.restart = None
    try:
        mask = restore_rt_frame(task, registers)
    except Errno:
        force_signal(task, SigInfo(s.SIGSEGV))
        return 0
    set_blocked(task, mask)
    task.set_registers(registers)
    if not is_canonical(registers.rip):
        force_signal(task, SigInfo(s.SIGSEGV, trapno=13))
    return registers.rax - (registers.rax >> 63 << 64)


@syscall(127, "rt_sigpending", set=Struct("sigset", "out"), sigsetsize=Size)
def rt_sigpending(task: Task, address: int, sigsetsize: int) -> None:
    if sigsetsize > _SIGSET_BYTES:
        raise Errno(EINVAL)
    pending = (task.pending.mask | task.group.pending.mask) & task.blocked
    task.mm.write(address, pending.to_bytes(8, "little")[:sigsetsize])


@syscall(131, "sigaltstack", ss=Struct("stack_t", "in"), old_ss=Struct("stack_t", "out"))
def sigaltstack(task: Task, ss: int, old_ss: int) -> None:
    new = _STACK.unpack(task.mm.read(ss, _STACK.size)) if ss else None
    sp = task.registers().rsp
    base, size, flags = task.sigaltstack
    shown = sas_ss_flags(task, sp) | flags & s.SS_AUTODISARM
    if new is not None:
        set_sigaltstack(task, sp, new[0], new[1] & 0xFFFFFFFF, new[2])
    if old_ss:
        task.mm.write(old_ss, _STACK.pack(base, shown - (shown >> 31 << 32), size))


# -- waiting -----------------------------------------------------------------------------------------------------


@syscall(34, "pause")
async def pause(task: Task) -> None:
    while not task.signal_wakeup:
        await sleep(interrupt_code=ERESTARTNOHAND)
    raise Errno(ERESTARTNOHAND)


@syscall(130, "rt_sigsuspend", mask=Struct("sigset", "in"), sigsetsize=Size)
async def rt_sigsuspend(task: Task, mask: int, sigsetsize: int) -> None:
    if sigsetsize != _SIGSET_BYTES:
        raise Errno(EINVAL)
    new = task.mm.read_u64(mask)
    task.saved_mask = task.blocked
    set_blocked(task, new)
    while not task.signal_wakeup:
        await sleep(interrupt_code=ERESTARTNOHAND)
    raise Errno(ERESTARTNOHAND)


@syscall(128, "rt_sigtimedwait", set=Struct("sigset", "in"), info=Struct("siginfo", "out"),
         timeout=Struct("timespec", "in"), sigsetsize=Size)
async def rt_sigtimedwait(task: Task, address: int, info: int, timeout: int, sigsetsize: int) -> int:
    if sigsetsize != _SIGSET_BYTES:
        raise Errno(EINVAL)
    wanted = task.mm.read_u64(address) & ~s.SIG_KERNEL_ONLY_MASK
    duration_ns = None
    if timeout:
        seconds, nanoseconds = _TIMESPEC.unpack(task.mm.read(timeout, _TIMESPEC.size))
        if seconds < 0 or not 0 <= nanoseconds < NSEC_PER_SEC:
            raise Errno(EINVAL)
        duration_ns = seconds * NSEC_PER_SEC + nanoseconds
    taken = dequeue_signal(task, ~wanted)
    timed_out = duration_ns == 0
    if taken is None and not timed_out:
        deadline_ns = None if duration_ns is None else task.kernel.clock.monotonic_ns() + duration_ns
        task.real_blocked = task.blocked
        set_blocked(task, task.blocked & ~wanted)
        try:
            if not task.signal_wakeup:
                timed_out = not await sleep(deadline_ns=deadline_ns, interrupt_code=EINTR)
        except Errno:
            pass
        finally:
            before, task.real_blocked = task.real_blocked, 0
            set_blocked(task, before)
        taken = dequeue_signal(task, ~wanted)
    if taken is None:
        raise Errno(EAGAIN if timed_out else EINTR)
    if info:
        task.mm.write(info, taken.pack())
    return taken.signo


# -- sending -----------------------------------------------------------------------------------------------------


@syscall(62, "kill", pid=Pid, sig=Signal)
def kill(task: Task, pid: int, sig: int) -> None:
    kill_something(task, pid, SigInfo.from_task(task, sig))


@syscall(200, "tkill", tid=Pid, sig=Signal)
def tkill(task: Task, tid: int, sig: int) -> None:
    if tid <= 0:
        raise Errno(EINVAL)
    _send_specific(task, 0, tid, SigInfo.from_task(task, sig, s.SI_TKILL))


@syscall(234, "tgkill", tgid=Pid, tid=Pid, sig=Signal)
def tgkill(task: Task, tgid: int, tid: int, sig: int) -> None:
    if tid <= 0 or tgid <= 0:
        raise Errno(EINVAL)
    _send_specific(task, tgid, tid, SigInfo.from_task(task, sig, s.SI_TKILL))


@syscall(129, "rt_sigqueueinfo", tgid=Pid, sig=Signal, info=Struct("siginfo", "in"))
def rt_sigqueueinfo(task: Task, tgid: int, sig: int, info: int) -> None:
    passed = _copy_siginfo(task, sig, info)
    if (passed.code >= 0 or passed.code == s.SI_TKILL) and task.tid != tgid:
        raise Errno(EPERM)
    _kill_process(task, tgid, passed)


@syscall(297, "rt_tgsigqueueinfo", tgid=Pid, tid=Pid, sig=Signal, info=Struct("siginfo", "in"))
def rt_tgsigqueueinfo(task: Task, tgid: int, tid: int, sig: int, info: int) -> None:
    passed = _copy_siginfo(task, sig, info)
    if tid <= 0 or tgid <= 0:
        raise Errno(EINVAL)
    if (passed.code >= 0 or passed.code == s.SI_TKILL) and task.tid != tid:
        raise Errno(EPERM)
    _send_specific(task, tgid, tid, passed)


def _copy_siginfo(task: Task, signo: int, address: int) -> SigInfo:
    """The siginfo that a program passes, its si_signo replaced by the argument."""
    data = task.mm.read(address, SIGINFO_SIZE)
    return SigInfo.unpack(signo.to_bytes(4, "little", signed=True) + data[4:KERNEL_SIGINFO_SIZE])


def kill_something(task: Task, pid: int, info: SigInfo) -> None:
    """kill(2) for every kind of ``pid`` (kill_something_info).

    Raises:
        Errno: EINVAL for a bad signal, ESRCH when there is no target, EPERM when none may be signalled.
    """
    table = task.kernel.tasks
    if pid > 0:
        _kill_process(task, pid, info)
    elif pid == -(1 << 31):
        raise Errno(ESRCH)
    elif pid == -1:
        others = [g for g in list(table.groups.values()) if g.tgid != _INIT_PID and g is not task.group]
        _kill_each(task, others, info, everybody=True)
    else:
        _kill_each(task, table.pgroup(-pid if pid else task.group.pgid), info)


def _kill_each(task: Task, groups: Iterable[ThreadGroup], info: SigInfo, everybody: bool = False) -> None:
    """Signal several processes; succeeds when one of them could be. kill(-1) passes over EPERM in silence."""
    last, succeeded = ESRCH, False
    for group in groups:
        try:
            _send_checked(task, group, info)
            succeeded = True
        except Errno as error:
            if everybody and error.code == EPERM:
                succeeded = True
            last = error.code
    if not succeeded:
        raise Errno(last)


def _kill_process(task: Task, pid: int, info: SigInfo) -> None:
    """Signal the process that ``pid`` (of any of its threads) belongs to; a zombie takes it without effect."""
    target = task.kernel.tasks.get(pid)
    group = target.group if target is not None else task.kernel.tasks.groups.get(pid)
    if group is None or pid <= 0:
        raise Errno(ESRCH)
    _send_checked(task, group, info)


def _send_specific(task: Task, tgid: int, tid: int, info: SigInfo) -> None:
    """Signal one thread, of process ``tgid`` unless that is 0 (do_send_specific)."""
    target = task.kernel.tasks.get(tid)
    if target is None or (tgid > 0 and target.group.tgid != tgid):
        raise Errno(ESRCH)
    check_kill_permission(task, target.group, target, info)
    if info.signo:
        send_signal(target, info)


def _send_checked(task: Task, group: ThreadGroup, info: SigInfo) -> None:
    check_kill_permission(task, group, group.leader or (group.threads[0] if group.threads else None), info)
    if info.signo:
        send_signal(group, info)


def check_kill_permission(task: Task, group: ThreadGroup, target: Task | None, info: SigInfo) -> None:
    """May ``task`` send ``info`` there? Anybody in a session may send SIGCONT to the others.

    Raises:
        Errno: EINVAL for a signal number out of range, EPERM.
    """
    if not 0 <= info.signo <= s.NSIG:
        raise Errno(EINVAL)
    if group is task.group or target is None or info.code > 0:
        return
    mine, other = task.cred, target.cred
    if mine.euid in (other.suid, other.uid) or mine.uid in (other.suid, other.uid) or mine.capable(CAP_KILL):
        return
    if info.signo == s.SIGCONT and group.sid == task.group.sid:
        return
    raise Errno(EPERM)


