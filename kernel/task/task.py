"""A task (one thread), and the thread group (one process) it belongs to: Linux's task_struct and signal_struct."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kernel.task.wait import Sleep, WaitQueue

if TYPE_CHECKING:
    from emu.cpu import Context
    from emu.registers import Registers
    from kernel.fs.fdtable import FdTable
    from kernel.fs.namei import FsContext
    from kernel.kernel import Kernel
    from kernel.mm.address_space import AddressSpace
    from kernel.task.cred import Credentials
    from kernel.task.signal import SignalActions, SignalQueue


@dataclass(eq=False)
class ThreadGroup:
    """What the threads of one process share beyond memory and files (signal_struct)."""

    tgid: int
    parent: ThreadGroup | None
    """The process that waits for this one; None for the first process and for orphans: see kernel.task.pid."""
    pgid: int
    sid: int
    exit_signal: int = 17
    """Sent to the parent at the end; SIGCHLD unless clone said otherwise, 0 for none."""
    parent_thread: Task | None = None
    """The thread of ``parent`` whose child this is (__WNOTHREAD, PR_SET_PDEATHSIG)."""
    threads: list[Task] = field(default_factory=list)
    """The living threads; empty in a zombie."""
    dead_leader: Task | None = None
    """The first thread once it has ended: it bears the process's name and credentials until the process is reaped."""
    children: list[ThreadGroup] = field(default_factory=list)
    pending: SignalQueue = field(default=None)  # type: ignore[assignment]
    """Signals sent to the process as a whole."""
    rlimits: dict[int, tuple[int, int]] = field(default_factory=dict)
    """RLIMIT_* → (soft, hard); RLIM_INFINITY is 2**64 - 1."""
    child_wait: WaitQueue = field(default_factory=WaitQueue)
    """Woken when a child of this process changes state (wait4 sleeps here)."""
    exit_status: int | None = None
    """wait(2) status once the last thread has ended: the group is then a zombie until reaped."""
    reaped: bool = False
    """The process has been waited for: nothing but a pidfd knows of it."""
    end_wait: WaitQueue | None = None
    """Woken when a thread ends and when the process is reaped; made by the first pidfd."""
    group_exit_status: int | None = None
    """Set by exit_group or a fatal signal while threads are still dying."""
    stop_status: int | None = None
    """The stop signal while stopped; None while running."""
    stop_reported: bool = True
    stop_signal: int = 0
    """The signal of the stop that is under way or done."""
    stop_count: int = 0
    """Threads that have still to stop before the process counts as stopped."""
    stop_notice: int = 0
    """CLD_STOPPED or CLD_CONTINUED that a thread has still to report to the parent (SIGNAL_CLD_MASK)."""
    continued_unreported: bool = False
    utime_ns: int = 0
    stime_ns: int = 0
    children_utime_ns: int = 0
    children_stime_ns: int = 0
    maxrss_pages: int = 0
    children_maxrss_pages: int = 0
    itimers: dict[int, Any] = field(default_factory=dict)
    posix_timers: dict[int, Any] = field(default_factory=dict)
    did_exec: bool = False
    is_child_subreaper: bool = False
    controlling_tty: Any = None
    dumpable: int = 1
    membarrier: int = 0
    """The MEMBARRIER_CMD_REGISTER_* that were called."""
    oom_score_adj: int = 0
    """-1000 (never killed) to 1000; inherited by fork."""
    start_time_ns: int = 0

    @property
    def leader(self) -> Task | None:
        """The thread whose tid is the process's pid, while it lives."""
        return next((t for t in self.threads if t.tid == self.tgid), None)


@dataclass(eq=False)
class Task:
    """One thread. ``tid`` is its thread id; ``pid`` of getpid(2) is ``group.tgid``."""

    kernel: Kernel
    tid: int
    group: ThreadGroup
    mm: AddressSpace
    """None once the thread has begun to exit."""
    files: FdTable
    fs: FsContext
    """cwd, root, umask (fs_struct; shared under CLONE_FS)."""
    cred: Credentials
    actions: SignalActions
    """The signal handlers (sighand_struct; shared under CLONE_SIGHAND)."""
    pending: SignalQueue
    """Signals sent to this thread alone."""
    blocked: int = 0
    """Signal mask: bit N-1 is signal N."""
    real_blocked: int = 0
    """The mask to go back to while sigtimedwait lets its signals in (they count as blocked, not as fatal)."""
    saved_mask: int | None = None
    """The mask to go back to after sigsuspend, ppoll and their kin (TIF_RESTORE_SIGMASK)."""
    sigaltstack: tuple[int, int, int] = (0, 0, 2)
    """(address, bytes, flags); flags SS_DISABLE = 2 when there is none."""
    context: Context | None = None
    """The CPU state while another task runs; see registers()."""
    state: str = "R"
    """As in /proc/<pid>/stat: R, S (interruptible), D, T (stopped), P (parked), Z, X."""
    coroutine: Any = None
    """The suspended system call, if it is blocked in one."""
    sleep: Sleep | None = None
    syscall_number: int = -1
    """The call in progress (orig_rax), -1 outside."""
    syscall_args: tuple[int, ...] = ()
    restart: Any = None
    """The coroutine function that restart_syscall(2) runs (ERESTART_RESTARTBLOCK)."""
    comm: bytes = b""
    exe: Any = None
    """The open file that execve loaded (for /proc/<pid>/exe)."""
    clear_child_tid: int = 0
    robust_list: tuple[int, int] = (0, 0)
    rseq: tuple[int, int, int] | None = None
    """(address, bytes, signature) of the registered rseq area."""
    vfork_done: WaitQueue | None = None
    """Woken when this vfork child execs or exits."""
    pdeath_signal: int = 0
    exit_code: int = 0
    dying: bool = False
    """A fatal signal or exit_group has condemned this thread: it runs no more user code."""
    signal_wakeup: bool = False
    """A signal may be deliverable: look before going back to user mode (TIF_SIGPENDING)."""
    stop_pending: bool = False
    """This thread has still to take part in the stop of its group (JOBCTL_STOP_PENDING)."""
    stopped_call: tuple[int, int] | None = None
    """(number, result) of the call that a stop interrupted, for the restart rules once the thread goes on."""
    trap: tuple[int, int, int] = (0, 0, 0)
    """(error code, exception number, cr2) of the last CPU exception, as sigcontext shows them."""
    utime_ns: int = 0
    stime_ns: int = 0
    start_time_ns: int = 0
    nice: int = 0
    sched_policy: int = 0
    """SCHED_*; kept for those who ask, the scheduler treats all alike."""
    sched_priority: int = 0
    sched_reset_on_fork: bool = False
    ioprio: int = 0
    timer_slack_ns: int = 50_000
    personality: int = 0
    voluntary_switches: int = 0
    """Times the task gave up the CPU by blocking, and times it was preempted; the scheduler counts."""
    involuntary_switches: int = 0
    no_new_privs: bool = False
    mce_flags: int = 0
    """PF_MCE_PROCESS and PF_MCE_EARLY, as prctl(PR_MCE_KILL) sets them."""
    wakeups: deque[Any] = field(default_factory=deque)

    @property
    def pid(self) -> int:
        """What getpid(2) returns."""
        return self.group.tgid

    def registers(self) -> Registers:
        """A copy of the user-mode registers, FXSAVE image included."""
        return self.kernel.machine.cpu.get_registers(self)

    def set_registers(self, registers: Registers) -> None:
        """Replace the user-mode registers."""
        self.kernel.machine.cpu.set_registers(self, registers)
