"""Making, ending and waiting for processes; process groups and sessions."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from kernel.errno import E2BIG, EACCES, EAGAIN, EBADF, EINVAL, EPERM, ESRCH, Errno
from kernel.fs.uapi import O_NONBLOCK
from kernel.syscalls.pidfd import pidfd_file
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Enum, Flags, Int, Pid, Ptr, Size, Struct
from kernel.task import clone as c
from kernel.task import pid as pids
from kernel.task.clone import CloneArgs, kernel_clone, wait_for_vfork
from kernel.task.elf import TASK_SIZE
from kernel.task.exit import do_exit, do_group_exit
from kernel.task.reap import (
    WALL,
    WCLONE,
    WCONTINUED,
    WEXITED,
    WNOHANG,
    WNOTHREAD,
    WNOWAIT,
    WSTOPPED,
    WUNTRACED,
    Report,
    wait_for_child,
)
from kernel.task.signals import NSIG, SIGCHLD

if TYPE_CHECKING:
    from kernel.task.task import Task, ThreadGroup

P_ALL, P_PID, P_PGID, P_PIDFD = range(4)
INT_MIN, INT_MAX = -(1 << 31), (1 << 31) - 1

_CLONE_ARGS = struct.Struct("<11Q")
_CLONE_ARGS_SIZE_VER0, _CLONE_ARGS_SIZE_VER2 = 64, 88
_MAX_PID_NS_LEVEL = 32
_CLONE3_FLAGS = (1 << 32) - 1 | c.CLONE_CLEAR_SIGHAND | c.CLONE_INTO_CGROUP


# -- making ----------------------------------------------------------------------------------------------------------


@syscall(57, "fork")
def fork(task: Task) -> int:
    """A copy of this process; on demand if use_odf is set."""
    return kernel_clone(task, c.FORK).tid


@syscall(600, "odfork")
def odfork(task: Task) -> int:
    """A copy of this process, on demand this once. Not in Linux."""
    return kernel_clone(task, c.FORK, odf=True).tid


@syscall(58, "vfork")
async def vfork(task: Task) -> int:
    """A child that borrows this process's memory until it calls execve or exits."""
    child = kernel_clone(task, c.VFORK)
    await wait_for_vfork(child)
    return child.tid


@syscall(56, "clone", flags=Flags("clone", "u64"), stack=Ptr, parent_tid=Ptr, child_tid=Ptr, tls=Ptr)
async def clone(task: Task, flags: int, stack: int, parent_tid: int, child_tid: int, tls: int) -> int:
    """A process or thread that shares what ``flags`` says; their low byte is the signal at its end."""
    flags &= (1 << 32) - 1
    args = CloneArgs(flags & ~c.CSIGNAL, flags & c.CSIGNAL, stack, tls, parent_tid, child_tid, parent_tid)
    return await _clone(task, args)


@syscall(435, "clone3", cl_args=Struct("clone_args", "inout"), size=Size)
async def clone3(task: Task, cl_args: int, size: int) -> int:
    """The same with all arguments in a structure."""
    return await _clone(task, _read_clone_args(task, cl_args, size))


async def _clone(task: Task, args: CloneArgs) -> int:
    flags = args.flags
    if flags & c.CLONE_PIDFD and flags & c.CLONE_PARENT_SETTID and args.pidfd == args.parent_tid:
        raise Errno(EINVAL)  # two answers in one place
    child = kernel_clone(task, args)
    tid = child.tid
    if flags & c.CLONE_VFORK:
        await wait_for_vfork(child)
    return tid


def _read_clone_args(task: Task, address: int, size: int) -> CloneArgs:
    """Copy and check struct clone_args (copy_clone_args_from_user, clone3_args_valid)."""
    if size > 4096:
        raise Errno(E2BIG)
    if size < _CLONE_ARGS_SIZE_VER0:
        raise Errno(EINVAL)
    data = task.mm.read(address, size)
    if any(data[_CLONE_ARGS.size :]):
        raise Errno(E2BIG)
    (flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size,
     cgroup) = _CLONE_ARGS.unpack(data[: _CLONE_ARGS.size].ljust(_CLONE_ARGS.size, b"\0"))
    if set_tid_size > _MAX_PID_NS_LEVEL or bool(set_tid) != bool(set_tid_size):
        raise Errno(EINVAL)
    if exit_signal & ~c.CSIGNAL or exit_signal > NSIG:
        raise Errno(EINVAL)
    if flags & c.CLONE_INTO_CGROUP and (cgroup > INT_MAX or size < _CLONE_ARGS_SIZE_VER2):
        raise Errno(EINVAL)
    if flags & ~_CLONE3_FLAGS or flags & (c.CLONE_DETACHED | c.CSIGNAL & ~c.CLONE_NEWTIME):
        raise Errno(EINVAL)
    if flags & c.CLONE_SIGHAND and flags & c.CLONE_CLEAR_SIGHAND:
        raise Errno(EINVAL)
    if flags & (c.CLONE_THREAD | c.CLONE_PARENT) and exit_signal:
        raise Errno(EINVAL)
    if bool(stack) != bool(stack_size) or stack_size > TASK_SIZE or stack > TASK_SIZE - stack_size:
        raise Errno(EINVAL)
    if set_tid:
        raise Errno(EPERM)  # choosing numbers takes CAP_CHECKPOINT_RESTORE, which nobody has here
    if flags & c.CLONE_INTO_CGROUP:
        raise Errno(EBADF)  # no descriptor refers to a cgroup
    return CloneArgs(flags, exit_signal, stack + stack_size, tls, parent_tid, child_tid, pidfd)


# -- ending ----------------------------------------------------------------------------------------------------------


@syscall(60, "exit", status=Int)
def exit_thread(task: Task, status: int) -> int:
    """End this thread."""
    do_exit(task, (status & 0xFF) << 8)
    return 0


@syscall(231, "exit_group", status=Int)
def exit_group(task: Task, status: int) -> int:
    """End this process."""
    do_group_exit(task, (status & 0xFF) << 8)
    return 0


# -- waiting ---------------------------------------------------------------------------------------------------------


@syscall(61, "wait4", returns=Pid, pid=Pid, wstatus=Struct("wait_status", "out"), options=Flags("wait"),
         rusage=Struct("rusage", "out"))
async def wait4(task: Task, pid: int, wstatus: int, options: int, rusage: int) -> int:
    """Wait for a child to end, or with WUNTRACED and WCONTINUED to stop and go on."""
    if options & ~(WNOHANG | WUNTRACED | WCONTINUED | WNOTHREAD | WCLONE | WALL):
        raise Errno(EINVAL)
    if pid == INT_MIN:
        raise Errno(ESRCH)
    report = await wait_for_child(task, _wait4_selection(task, pid), options | WEXITED)
    if report.pid:
        if wstatus:
            task.mm.write_u32(wstatus, report.word)
        if rusage:
            task.mm.write(rusage, report.usage.pack())
    return report.pid


@syscall(247, "waitid", which=Enum("waitid"), pid=Pid, infop=Struct("siginfo", "out"), options=Flags("wait"),
         rusage=Struct("rusage", "out"))
async def waitid(task: Task, which: int, pid: int, infop: int, options: int, rusage: int) -> int:
    """Wait for a change of state of a child, told in a siginfo_t."""
    report, error = Report(), None
    try:
        selects = _waitid_selection(task, which, pid, options)
        nonblocking = which == P_PIDFD and bool(pidfd_file(task, pid).flags & O_NONBLOCK)
        report = await wait_for_child(task, selects, options | (WNOHANG if nonblocking else 0))
        if nonblocking and not report.pid and not options & WNOHANG:
            raise Errno(EAGAIN)
    except Errno as raised:
        error = raised
    if report.pid and rusage:
        task.mm.write(rusage, report.usage.pack())
    if infop and task.mm is not None:
        # Without a child the fields are zeroed, errors included.
        task.mm.write(infop, struct.pack("<iii", SIGCHLD if report.pid else 0, 0, report.code))
        task.mm.write(infop + 16, struct.pack("<iIi", report.pid, report.uid, report.status))
    if error is not None:
        raise error
    return 0


def _wait4_selection(task: Task, pid: int) -> Callable[[ThreadGroup], bool]:
    if pid > 0:
        return _with_pid(pid)
    return _any_child if pid == -1 else _in_pgroup(-pid or task.group.pgid)


def _waitid_selection(task: Task, which: int, pid: int, options: int) -> Callable[[ThreadGroup], bool]:
    if options & ~(WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | WNOTHREAD | WCLONE | WALL):
        raise Errno(EINVAL)
    if not options & (WEXITED | WSTOPPED | WCONTINUED):
        raise Errno(EINVAL)
    if which == P_ALL:
        return _any_child
    if which == P_PID and pid > 0:
        return _with_pid(pid)
    if which == P_PGID and pid >= 0:
        return _in_pgroup(pid or task.group.pgid)
    if which == P_PIDFD and pid >= 0:
        group = pidfd_file(task, pid).group
        return lambda child: child is group
    raise Errno(EINVAL)


def _any_child(child: ThreadGroup) -> bool:
    return True


def _with_pid(pid: int) -> Callable[[ThreadGroup], bool]:
    return lambda child: child.tgid == pid


def _in_pgroup(pgid: int) -> Callable[[ThreadGroup], bool]:
    return lambda child: child.pgid == pgid


# -- who is who ------------------------------------------------------------------------------------------------------


@syscall(39, "getpid", returns=Pid)
def getpid(task: Task) -> int:
    """The number of this process."""
    return task.group.tgid


@syscall(186, "gettid", returns=Pid)
def gettid(task: Task) -> int:
    """The number of this thread."""
    return task.tid


@syscall(110, "getppid", returns=Pid)
def getppid(task: Task) -> int:
    """The number of the parent."""
    return pids.parent_pid(task.group)


@syscall(111, "getpgrp", returns=Pid)
def getpgrp(task: Task) -> int:
    """The process group of this process."""
    return task.group.pgid


@syscall(121, "getpgid", returns=Pid, pid=Pid)
def getpgid(task: Task, pid: int) -> int:
    """The process group of ``pid``, 0 for this process."""
    return (pids.find_task(task.kernel, pid) if pid else task).group.pgid


@syscall(124, "getsid", returns=Pid, pid=Pid)
def getsid(task: Task, pid: int) -> int:
    """The session of ``pid``, 0 for this process."""
    return (pids.find_task(task.kernel, pid) if pid else task).group.sid


@syscall(112, "setsid", returns=Pid)
def setsid(task: Task) -> int:
    """Begin a session."""
    return pids.set_session(task)


@syscall(109, "setpgid", pid=Pid, pgid=Pid)
def setpgid(task: Task, pid: int, pgid: int) -> int:
    """Move this process, or a child that has not called execve, to another process group of the session."""
    own, table = task.group, task.kernel.tasks
    pid = pid or own.tgid
    pgid = pgid or pid
    if pgid < 0:
        raise Errno(EINVAL)
    target = pids.find_task(task.kernel, pid)
    group = target.group
    if target.tid != group.tgid:
        raise Errno(EINVAL)
    if group.parent is own:
        if group.sid != own.sid:
            raise Errno(EPERM)
        if group.did_exec:
            raise Errno(EACCES)
    elif group is not own:
        raise Errno(ESRCH)
    if group.sid == group.tgid:
        raise Errno(EPERM)
    if pgid != pid and all(member.sid != own.sid for member in table.pgroup(pgid)):
        raise Errno(EPERM)
    table.move_to_pgroup(group, pgid)
    return 0
