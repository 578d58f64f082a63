"""/proc/<pid>/{status,stat,statm} and the other files that describe a task in one go (fs/proc/array.c, base.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.clock import NSEC_PER_TICK, group_times_ns, task_times_ns
from kernel.mm import hugetlb
from kernel.task import rlimit
from kernel.task.cred import may_access
from kernel.task.pid import parent_pid

if TYPE_CHECKING:
    from kernel.task.task import Task

PAGE = 4096
PAGE_KB = 4
_STATES = {
    "R": "R (running)", "S": "S (sleeping)", "D": "D (disk sleep)", "T": "T (stopped)", "t": "t (tracing stop)",
    "X": "X (dead)", "Z": "Z (zombie)",
}  # fmt: skip
#: The function of Linux in which a blocked system call sleeps, by number.
_WAITS = {
    0: "pipe_read", 1: "pipe_write", 7: "poll_schedule_timeout", 23: "poll_schedule_timeout", 34: "do_sys_pause",
    35: "hrtimer_nanosleep", 61: "do_wait", 72: "fcntl_setlk", 73: "locks_lock_inode_wait", 130: "sigsuspend",
    202: "futex_wait_queue", 230: "hrtimer_nanosleep", 232: "ep_poll", 247: "do_wait", 270: "poll_schedule_timeout",
    271: "poll_schedule_timeout", 281: "ep_poll", 128: "do_sigtimedwait",
}  # fmt: skip
_MEMS_ALLOWED = ",".join(["00000000"] * 31 + ["00000001"])
PF_RANDOMIZE, PF_FORKNOEXEC = 0x00400000, 0x00000040
_SCHED_RT = (1, 2)


def comm_text(task: Task) -> str:
    """The command name as text; bytes that are no UTF-8 come through unchanged."""
    return task.comm.decode("utf-8", "surrogateescape")


def status(reader: Task, task: Task) -> str:
    """/proc/<pid>/status."""
    name = comm_text(task).replace("\\", "\\\\").replace("\n", "\\n")
    lines = [f"Name:\t{name}"]
    if task.fs is not None:
        lines.append(f"Umask:\t{_octal4(task.fs.umask)}")
    cred, group = task.cred, task.group
    lines += [
        f"State:\t{_STATES.get(task.state, task.state)}",
        f"Tgid:\t{group.tgid}",
        "Ngid:\t0",
        f"Pid:\t{task.tid}",
        f"PPid:\t{parent_pid(group)}",
        "TracerPid:\t0",
        f"Uid:\t{cred.uid}\t{cred.euid}\t{cred.suid}\t{cred.fsuid}",
        f"Gid:\t{cred.gid}\t{cred.egid}\t{cred.sgid}\t{cred.fsgid}",
        f"FDSize:\t{fd_table_size(task)}",
        "Groups:\t" + " ".join(map(str, cred.groups)) + " ",
        f"NStgid:\t{group.tgid}",
        f"NSpid:\t{task.tid}",
        f"NSpgid:\t{group.pgid}",
        f"NSsid:\t{group.sid}",
        "Kthread:\t0",
    ]
    if task.mm is not None:
        lines += _memory_lines(task)
        lines += ["CoreDumping:\t0", f"THP_enabled:\t{int(not task.mm.thp_disabled)}",
                  "untag_mask:\t0xffffffffffffffff"]
    lines += _signal_lines(task)
    lines += [
        f"CapInh:\t{cred.cap_inheritable:016x}",
        f"CapPrm:\t{cred.cap_permitted:016x}",
        f"CapEff:\t{cred.cap_effective:016x}",
        f"CapBnd:\t{cred.cap_bounding:016x}",
        f"CapAmb:\t{cred.cap_ambient:016x}",
        f"NoNewPrivs:\t{int(task.no_new_privs)}",
        "Seccomp:\t0",
        "Seccomp_filters:\t0",
        "Speculation_Store_Bypass:\tnot vulnerable",
        "SpeculationIndirectBranch:\tnot affected",
        "Cpus_allowed:\t1",
        "Cpus_allowed_list:\t0",
        f"Mems_allowed:\t{_MEMS_ALLOWED}",
        "Mems_allowed_list:\t0",
        f"voluntary_ctxt_switches:\t{task.voluntary_switches}",
        f"nonvoluntary_ctxt_switches:\t{task.involuntary_switches}",
    ]
    return "\n".join(lines) + "\n"


def _memory_lines(task: Task) -> list[str]:
    mm = task.mm
    stats = mm.stats()
    text_pages = _text_pages(task)
    rows = (
        ("VmPeak", stats.peak_vm), ("VmSize", stats.total_vm), ("VmLck", stats.locked_vm), ("VmPin", 0),
        ("VmHWM", max(stats.peak_rss, stats.rss)), ("VmRSS", stats.rss), ("RssAnon", stats.rss_anon),
        ("RssFile", stats.rss_file), ("RssShmem", stats.rss_shmem), ("VmData", stats.data_vm),
        ("VmStk", stats.stack_vm), ("VmExe", min(text_pages, stats.exec_vm)),
        ("VmLib", max(stats.exec_vm - text_pages, 0)), ("VmPTE", stats.vm_pte_pages), ("VmSwap", stats.swapped),
        ("HugetlbPages", 512 * hugetlb.pages_in_use(mm)),
    )  # fmt: skip
    return [f"{name}:\t{pages * PAGE_KB:8} kB" for name, pages in rows]


def _signal_lines(task: Task) -> list[str]:
    group = task.group
    shared = group.pending.mask if group.pending is not None else 0
    queued = sum(len(thread.pending) for thread in group.threads) + (len(group.pending) if group.pending else 0)
    actions = task.actions
    ignored, caught = (actions.ignored_mask, actions.caught_mask) if actions is not None else (0, 0)
    return [
        f"Threads:\t{thread_count(task)}",
        f"SigQ:\t{queued}/{group.rlimits.get(rlimit.RLIMIT_SIGPENDING, (4096, 4096))[0]}",
        f"SigPnd:\t{task.pending.mask if task.pending is not None else 0:016x}",
        f"ShdPnd:\t{shared:016x}",
        f"SigBlk:\t{task.blocked:016x}",
        f"SigIgn:\t{ignored:016x}",
        f"SigCgt:\t{caught:016x}",
    ]


def stat_of_thread(reader: Task, task: Task) -> str:
    """/proc/<pid>/task/<tid>/stat."""
    return _stat(reader, task, whole=False)


def stat_of_process(reader: Task, task: Task) -> str:
    """/proc/<pid>/stat: times and faults of all threads."""
    return _stat(reader, task, whole=True)


def _stat(reader: Task, task: Task, whole: bool) -> str:
    group, mm = task.group, task.mm
    permitted = may_access(reader, task)
    user, system = group_times_ns(group) if whole else task_times_ns(task)
    stats = mm.stats() if mm is not None else None
    actions = task.actions
    blocked, pending = task.blocked, task.pending.mask if task.pending is not None else 0
    ignored, caught = (actions.ignored_mask, actions.caught_mask) if actions is not None else (0, 0)
    priority = -1 - task.sched_priority if task.sched_policy in _SCHED_RT else 20 + task.nice
    flags = (PF_RANDOMIZE if task.kernel.options.aslr else 0) | (0 if group.did_exec else PF_FORKNOEXEC)
    flags |= task.mce_flags
    tty_number, tty_group = _terminal(task)
    landmarks = [0] * 3
    rest = [0] * 7
    if mm is not None and permitted:
        landmarks = [mm.start_code, mm.end_code, mm.start_stack]
        rest = [mm.start_data, mm.end_data, mm.start_brk, mm.arg_start, mm.arg_end, mm.env_start, mm.env_end]
    elif mm is not None:
        landmarks = [1, 1, 0]
    fields = [
        parent_pid(group), group.pgid, group.sid, tty_number, tty_group, flags,
        stats.minor_faults if stats else 0, 0, stats.major_faults if stats else 0, 0,
        user // NSEC_PER_TICK, system // NSEC_PER_TICK,
        group.children_utime_ns // NSEC_PER_TICK, group.children_stime_ns // NSEC_PER_TICK,
        priority, task.nice, thread_count(task), 0,
        task.start_time_ns // NSEC_PER_TICK,
        stats.total_vm * PAGE if stats else 0, stats.rss if stats else 0,
        group.rlimits.get(rlimit.RLIMIT_RSS, (rlimit.RLIM_INFINITY, 0))[0],
        *landmarks, 0, 0,
        *(mask & 0x7FFFFFFF for mask in (pending, blocked, ignored, caught)),
        0 if task.state == "R" or not permitted else 1, 0, 0,
        group.exit_signal if task.tid == group.tgid else -1, 0,
        task.sched_priority, task.sched_policy, 0, 0, 0,
        *rest, group.exit_status or 0 if permitted else 0,
    ]  # fmt: skip
    head = f"{task.tid} ({comm_text(task)}) {task.state}"
    return head + "".join(f" {field}" for field in fields) + "\n"


def statm(reader: Task, task: Task) -> str:
    """/proc/<pid>/statm, in pages."""
    mm = task.mm
    if mm is None:
        return "0 0 0 0 0 0 0\n"
    stats = mm.stats()
    return (
        f"{stats.total_vm} {stats.rss} {stats.rss_file + stats.rss_shmem} {_text_pages(task)} 0 "
        f"{stats.data_vm + stats.stack_vm} 0\n"
    )


def wchan(reader: Task, task: Task) -> str:
    """/proc/<pid>/wchan: where a sleeping task waits, "0" for others."""
    if task.state == "R" or not may_access(reader, task):
        return "0"
    return _WAITS.get(task.syscall_number, "do_signal_stop" if task.state == "T" else "schedule")


def syscall(reader: Task, task: Task) -> str:
    """/proc/<pid>/syscall: number, arguments, stack and instruction pointer of a task that is not on the CPU."""
    if task is not reader and task.state == "R":
        return "running\n"
    if task.mm is None:
        return "-1 0x0 0x0\n"
    registers = task.registers()
    if task.syscall_number < 0:
        return f"-1 0x{registers.rsp:x} 0x{registers.rip:x}\n"
    r = registers
    values = (r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9, r.rsp, r.rip)
    return f"{task.syscall_number} " + " ".join(f"0x{value:x}" for value in values) + "\n"


def limits(reader: Task, task: Task) -> str:
    """/proc/<pid>/limits."""
    lines = [f"{'Limit':<25} {'Soft Limit':<20} {'Hard Limit':<20} {'Units':<10}"]
    for number, (name, unit) in enumerate(_LIMITS):
        soft, hard = task.group.rlimits.get(number, (rlimit.RLIM_INFINITY, rlimit.RLIM_INFINITY))
        shown = ["unlimited" if value == rlimit.RLIM_INFINITY else str(value) for value in (soft, hard)]
        lines.append(f"{name:<25} {shown[0]:<20} {shown[1]:<20} " + (f"{unit:<10}" if unit else ""))
    return "\n".join(lines) + "\n"


_LIMITS = (
    ("Max cpu time", "seconds"), ("Max file size", "bytes"), ("Max data size", "bytes"), ("Max stack size", "bytes"),
    ("Max core file size", "bytes"), ("Max resident set", "bytes"), ("Max processes", "processes"),
    ("Max open files", "files"), ("Max locked memory", "bytes"), ("Max address space", "bytes"),
    ("Max file locks", "locks"), ("Max pending signals", "signals"), ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""), ("Max realtime priority", ""), ("Max realtime timeout", "us"),
)  # fmt: skip


def fd_table_size(task: Task) -> int:
    """``FDSize``: how many descriptors the table has room for: 64, then powers of two from 256."""
    if task.files is None:
        return 0
    highest = max((fd for fd, _ in task.files.items()), default=0)
    size = 64
    while size <= highest:
        size = 256 if size == 64 else size * 2
    return size


def thread_count(task: Task) -> int:
    """Threads of the process, a dead leader included (get_nr_threads)."""
    group = task.group
    return len(group.threads) + (group.dead_leader is not None)


def _octal4(value: int) -> str:
    return f"0{value:03o}" if value else "0000"


def _text_pages(task: Task) -> int:
    mm = task.mm
    return (-(-mm.end_code // PAGE) - mm.start_code // PAGE) if mm.end_code else 0


def _terminal(task: Task) -> tuple[int, int]:
    """(device number, foreground process group) of the controlling terminal; (0, -1) without one."""
    terminal = task.group.controlling_tty
    if terminal is None:
        return 0, -1
    device = getattr(terminal, "rdev", 0)
    major, minor = device >> 8 & 0xFFF, device & 0xFF | device >> 12 & 0xFFF00
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12, getattr(terminal, "foreground", -1)
