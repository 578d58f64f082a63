"""pidfd_open(2), pidfd_send_signal(2) and pidfd_getfd(2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import EBADF, EINVAL, ENOENT, EPERM, ESRCH, Errno
from kernel.fs.pidfd import PidFile
from kernel.fs.uapi import O_EXCL, O_NONBLOCK
from kernel.syscalls.signal import check_kill_permission
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Fd, Flags, Pid, Signal, Struct
from kernel.task import cred
from kernel.task.pid import find_task
from kernel.task.siginfo import KERNEL_SIGINFO_SIZE, SigInfo
from kernel.task.signal import send_signal
from kernel.task.signals import SI_TKILL, SI_USER

if TYPE_CHECKING:
    from kernel.task.task import Task

PIDFD_NONBLOCK = O_NONBLOCK
PIDFD_THREAD = O_EXCL
PIDFD_SIGNAL_THREAD, PIDFD_SIGNAL_THREAD_GROUP, PIDFD_SIGNAL_PROCESS_GROUP = 1, 2, 4


def pidfd_file(task: Task, fd: int) -> PidFile:
    """The pidfd behind ``fd``; EBADF for anything else."""
    file = task.files.get(fd)
    if not isinstance(file, PidFile):
        raise Errno(EBADF)
    return file


@syscall(434, "pidfd_open", returns=Fd, pid=Pid, flags=Flags("pidfd_open"))
def pidfd_open(task: Task, pid: int, flags: int) -> int:
    """A descriptor for a process, or with PIDFD_THREAD for a thread."""
    if flags & ~(PIDFD_NONBLOCK | PIDFD_THREAD) or pid <= 0:
        raise Errno(EINVAL)
    target = find_task(task.kernel, pid)
    if flags & PIDFD_THREAD:
        return task.files.install(PidFile(task, target, flags), cloexec=True)
    if target.tid != target.group.tgid:
        raise Errno(ENOENT)
    return task.files.install(PidFile(task, target.group, flags), cloexec=True)


@syscall(424, "pidfd_send_signal", pidfd=Fd, sig=Signal, info=Struct("siginfo", "in"), flags=Flags("pidfd_send_signal"))
def pidfd_send_signal(task: Task, pidfd: int, sig: int, info: int, flags: int) -> int:
    """Signal the process (or thread, or process group, by ``flags``)."""
    if flags not in (0, PIDFD_SIGNAL_THREAD, PIDFD_SIGNAL_THREAD_GROUP, PIDFD_SIGNAL_PROCESS_GROUP):
        raise Errno(EINVAL)
    file = pidfd_file(task, pidfd)
    group, thread = file.group, file.thread
    if flags == PIDFD_SIGNAL_THREAD and thread is None:
        thread = group.leader
    if info:
        passed = SigInfo.unpack(task.mm.read(info, KERNEL_SIGINFO_SIZE))
        if passed.signo != sig:
            raise Errno(EINVAL)
        if (passed.code >= 0 or passed.code == SI_TKILL) and group is not task.group:
            raise Errno(EPERM)
    else:
        passed = SigInfo.from_task(task, sig, SI_TKILL if thread is not None else SI_USER)
    if file.reaped:
        raise Errno(ESRCH)
    targets = [group]
    if flags == PIDFD_SIGNAL_PROCESS_GROUP:
        targets = task.kernel.tasks.pgroup(group.tgid)
        if not targets:
            raise Errno(ESRCH)
    for target in targets:
        check_kill_permission(task, target, target.leader or target.dead_leader, passed)
        if sig and thread is not None and flags in (0, PIDFD_SIGNAL_THREAD):
            send_signal(thread, passed)
        elif sig:
            send_signal(target, passed)
    return 0


@syscall(438, "pidfd_getfd", returns=Fd, pidfd=Fd, targetfd=Fd, flags=Flags(""))
def pidfd_getfd(task: Task, pidfd: int, targetfd: int, flags: int) -> int:
    """A duplicate of another process's descriptor."""
    if flags:
        raise Errno(EINVAL)
    file = pidfd_file(task, pidfd)
    target = file.thread or file.group.leader
    if target is None or target.state in "ZX":
        raise Errno(ESRCH)
    if not cred.may_access(task, target, real=True):
        raise Errno(EPERM)
    wanted = target.files.get_raw(targetfd)
    fd = task.files.install(wanted, cloexec=True)
    wanted.get()
    return fd
