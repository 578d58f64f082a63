"""The small files of /proc/<pid> that can be written, and other one-liners (fs/proc/base.c, mm/oom_kill.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.clock import task_times_ns
from kernel.errno import EACCES, EINVAL, EPERM, ERANGE, ESRCH, Errno
from kernel.fs.proc_status import thread_count
from kernel.task.capability import CAP_SYS_NICE, CAP_SYS_RESOURCE

if TYPE_CHECKING:
    from kernel.task.task import Task

OOM_SCORE_ADJ_MIN, OOM_SCORE_ADJ_MAX = -1000, 1000
OOM_DISABLE, OOM_ADJUST_MIN, OOM_ADJUST_MAX = -17, -16, 15
_UINT_MAX = 2**32 - 1
_ULONG_MAX = 2**64 - 1


def kstrtoull(text: bytes, limit: int = _ULONG_MAX) -> int:
    """A number as the kernel's kstrtou* functions with base 0 read it: decimal, 0x hexadecimal or 0 octal.

    One newline may follow, one ``+`` precede; text behind a NUL does not count.

    Raises:
        Errno: EINVAL for anything else, ERANGE above ``limit``.
    """
    text = text.split(b"\0")[0]
    if text[:1] == b"+":
        text = text[1:]
    base = 10
    if text[:1] == b"0":
        base = 16 if text[1:2] in (b"x", b"X") and text[2:3] in _digits(16) else 8
    if base == 16:
        text = text[2:]
    end = 0
    valid = _digits(base)
    while end < len(text) and text[end : end + 1] in valid:
        end += 1
    value = int(text[:end], base) if end else 0
    if value > _ULONG_MAX:
        raise Errno(ERANGE)
    if not end or text[end:] not in (b"", b"\n"):
        raise Errno(EINVAL)
    if value > limit:
        raise Errno(ERANGE)
    return value


def kstrtoint(text: bytes) -> int:
    """The same for a signed 32-bit number."""
    negative = text[:1] == b"-"
    if negative and text[1:2] == b"+":
        raise Errno(EINVAL)
    value = kstrtoull(text[1:] if negative else text)
    value = -value if negative else value
    if not -(2**31) <= value < 2**31:
        raise Errno(ERANGE)
    return value


def _digits(base: int) -> frozenset[bytes]:
    return _DIGITS[base]


_DIGITS = {
    base: frozenset(bytes([c]) for c in characters)
    for base, characters in ((8, b"01234567"), (10, b"0123456789"), (16, b"0123456789abcdefABCDEF"))
}


# -- on-demand fork


def use_odf(reader: Task, task: Task) -> str:
    if task.mm is None:
        raise Errno(ESRCH)
    return f"{int(task.mm.use_odf)}\n"


def set_use_odf(writer: Task, task: Task, data: bytes) -> None:
    """1 and 0 switch; any other number is accepted and ignored."""
    value = kstrtoull(data, _UINT_MAX)
    if task.mm is None:
        raise Errno(ESRCH)
    if value in (0, 1):
        task.mm.use_odf = bool(value)


def use_odf_level(reader: Task, task: Task) -> str:
    if task.mm is None:
        raise Errno(ESRCH)
    return f"{task.mm.odf_level}\n"


def set_use_odf_level(writer: Task, task: Task, data: bytes) -> None:
    """1: fork on demand shares PTE tables; 2: PMD tables too; any other number is accepted and ignored."""
    value = kstrtoull(data, _UINT_MAX)
    if task.mm is None:
        raise Errno(ESRCH)
    if value in (1, 2):
        task.mm.odf_level = value


# -- names


def comm(reader: Task, task: Task) -> bytes:
    return task.comm + b"\n"


def set_comm(writer: Task, task: Task, data: bytes) -> None:
    """Threads of the same process only; cut after 15 bytes."""
    if writer.group is not task.group:
        raise Errno(EINVAL)
    task.comm = data[:15].split(b"\0")[0]


def children(reader: Task, task: Task) -> str:
    """The children that this thread made; all are shown at the leader, which is who made them as a rule."""
    if task.tid != task.group.tgid:
        return ""
    return "".join(f"{child.tgid} " for child in task.group.children)


# -- out of memory


def oom_score(reader: Task, task: Task) -> str:
    """Memory in use in thousandths of all, with the adjustment, mapped to 0…1333 (proc_oom_score)."""
    total = max(task.kernel.memory.total_frames, 1)
    points = 0
    if task.mm is not None:
        stats = task.mm.stats()
        points = stats.rss + stats.vm_pte_pages
    adjustment = task.group.oom_score_adj
    if adjustment == OOM_SCORE_ADJ_MIN:
        return "0\n"
    points += adjustment * total // 1000
    return f"{max((1000 + _quotient(points * 1000, total)) * 2 // 3, 0)}\n"


def oom_score_adj(reader: Task, task: Task) -> str:
    return f"{task.group.oom_score_adj}\n"


def set_oom_score_adj(writer: Task, task: Task, data: bytes) -> None:
    value = kstrtoint(data.split(b"\0")[0].strip())
    if not OOM_SCORE_ADJ_MIN <= value <= OOM_SCORE_ADJ_MAX:
        raise Errno(EINVAL)
    _adjust(writer, task, value)


def oom_adj(reader: Task, task: Task) -> str:
    value = task.group.oom_score_adj
    if value == OOM_SCORE_ADJ_MAX:
        return f"{OOM_ADJUST_MAX}\n"
    return f"{min(_quotient(value * -OOM_DISABLE, OOM_SCORE_ADJ_MAX), OOM_ADJUST_MAX)}\n"


def set_oom_adj(writer: Task, task: Task, data: bytes) -> None:
    value = kstrtoint(data.split(b"\0")[0].strip())
    if not OOM_ADJUST_MIN <= value <= OOM_ADJUST_MAX and value != OOM_DISABLE:
        raise Errno(EINVAL)
    if value == OOM_ADJUST_MAX:
        _adjust(writer, task, OOM_SCORE_ADJ_MAX)
    else:
        _adjust(writer, task, _quotient(value * OOM_SCORE_ADJ_MAX, -OOM_DISABLE))


def _adjust(writer: Task, task: Task, value: int) -> None:
    if value < task.group.oom_score_adj and not writer.cred.capable(CAP_SYS_RESOURCE):
        raise Errno(EACCES)
    task.group.oom_score_adj = value


def _quotient(dividend: int, divisor: int) -> int:
    """Division as in C: towards zero."""
    quotient = abs(dividend) // divisor
    return quotient if dividend >= 0 else -quotient


# -- scheduling


def sched(reader: Task, task: Task) -> str:
    """The lines of /proc/<pid>/sched that exist without the scheduler's debugging statistics."""
    head = f"{task.comm.decode('utf-8', 'replace')} ({task.tid}, #threads: {thread_count(task)})"
    run_ns = sum(task_times_ns(task))
    switches = task.voluntary_switches + task.involuntary_switches
    prio = 99 - task.sched_priority if task.sched_policy in (1, 2) else 120 + task.nice
    rows = (
        ("se.sum_exec_runtime", f"{run_ns // 1_000_000}.{run_ns % 1_000_000:06d}"),
        ("nr_switches", switches),
        ("nr_voluntary_switches", task.voluntary_switches),
        ("nr_involuntary_switches", task.involuntary_switches),
        ("policy", task.sched_policy),
        ("prio", prio),
    )
    body = "".join(f"{name:<45}:{value:>21}\n" for name, value in rows)
    return f"{head}\n{'-' * 67}\n{body}"


def schedstat(reader: Task, task: Task) -> str:
    """Time on the CPU in ns, time waiting for it, and how often it was given."""
    return f"{sum(task_times_ns(task))} 0 {task.voluntary_switches + task.involuntary_switches}\n"


def timerslack(reader: Task, task: Task) -> str:
    if task is not reader and not reader.cred.capable(CAP_SYS_NICE):
        raise Errno(EPERM)
    return f"{task.timer_slack_ns}\n"


def set_timerslack(writer: Task, task: Task, data: bytes) -> None:
    value = kstrtoull(data)
    if task is not writer and not writer.cred.capable(CAP_SYS_NICE):
        raise Errno(EPERM)
    task.timer_slack_ns = value or 50_000


def personality(reader: Task, task: Task) -> str:
    return f"{task.personality:08x}\n"


def stack(reader: Task, task: Task) -> str:
    raise Errno(EACCES)  # kernel stacks are for CAP_SYS_ADMIN, which nobody has


def io(reader: Task, task: Task) -> str:
    """Bytes moved by read and write calls; counted by the calls where they count at all."""
    counts = getattr(task.group, "io", None)
    names = ("rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes", "cancelled_write_bytes")
    return "".join(f"{name}: {getattr(counts, name, 0)}\n" for name in names)


# -- user namespaces and audit: fixed


def id_map(reader: Task, task: Task) -> str:
    return f"{0:>10} {0:>10} {_UINT_MAX:>10}\n"


def set_loginuid(writer: Task, task: Task, data: bytes) -> None:
    kstrtoull(data, _UINT_MAX)
    raise Errno(EPERM)


def refuse(writer: Task, task: Task, data: bytes) -> None:
    raise Errno(EPERM)


