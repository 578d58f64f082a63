"""prctl(2) (kernel/sys.c)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from kernel.errno import EBADF, EFAULT, EINVAL, ENAMETOOLONG, ENODEV, ENOMEM, ENXIO, EPERM, Errno
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Enum, Hex, ULong
from kernel.task import cred as creds
from kernel.task.capability import CAP_LAST_CAP, CAP_SETPCAP, CAP_SYS_RESOURCE

if TYPE_CHECKING:
    from kernel.mm.address_space import AddressSpace
    from kernel.task.task import Task

TASK_COMM_LEN = 16
DEFAULT_TIMER_SLACK_NS = 50_000

PR_MCE_KILL_CLEAR, PR_MCE_KILL_SET = 0, 1
PR_MCE_KILL_LATE, PR_MCE_KILL_EARLY, PR_MCE_KILL_DEFAULT = 0, 1, 2
PF_MCE_PROCESS, PF_MCE_EARLY = 0x00000080, 0x08000000

PR_SET_VMA = 0x53564D41
PR_SET_VMA_ANON_NAME = 0
PR_GET_AUXV = 0x41555856
_ANON_NAME_MAX = 80
_MAX_NAMES = 4096
"""Different names in all; they are kept for ever."""

_Option = Callable[["Task", int, int, int, int], "int | None"]
_OPTIONS: dict[int, _Option] = {}


@syscall(
    157,
    "prctl",
    returns=Hex,
    option=Enum("prctl_options", "i32"),
    arg2=ULong,
    arg3=ULong,
    arg4=ULong,
    arg5=ULong,
)
def prctl(task: Task, option: int, arg2: int, arg3: int, arg4: int, arg5: int) -> int | None:
    run = _OPTIONS.get(option)
    if run is None:
        raise Errno(EINVAL)
    return run(task, arg2, arg3, arg4, arg5)


def _option(number: int) -> Callable[[_Option], _Option]:
    def enter(run: _Option) -> _Option:
        _OPTIONS[number] = run
        return run

    return enter


def _nothing_else(*args: int) -> None:
    """EINVAL unless the arguments that an option does not use are 0."""
    if any(args):
        raise Errno(EINVAL)


def _put_int(task: Task, address: int, value: int) -> None:
    task.mm.write(address, struct.pack("<i", value))


@_option(1)
def _set_pdeathsig(task: Task, signal: int, *_: int) -> None:
    if signal > 64:
        raise Errno(EINVAL)
    task.pdeath_signal = signal


@_option(2)
def _get_pdeathsig(task: Task, address: int, *_: int) -> None:
    _put_int(task, address, task.pdeath_signal)


@_option(3)
def _get_dumpable(task: Task, *_: int) -> int:
    return task.group.dumpable


@_option(4)
def _set_dumpable(task: Task, value: int, *_: int) -> None:
    if value not in (0, 1):
        raise Errno(EINVAL)
    task.group.dumpable = value


@_option(7)
def _get_keepcaps(task: Task, *_: int) -> int:
    return int(bool(task.cred.securebits & creds.SECBIT_KEEP_CAPS))


@_option(8)
def _set_keepcaps(task: Task, value: int, *_: int) -> None:
    if value > 1:
        raise Errno(EINVAL)
    if task.cred.securebits & creds.SECBIT_KEEP_CAPS_LOCKED:
        raise Errno(EPERM)
    new = task.cred.copy()
    new.securebits = new.securebits & ~creds.SECBIT_KEEP_CAPS | (creds.SECBIT_KEEP_CAPS if value else 0)
    task.cred = new


@_option(13)
def _get_timing(task: Task, *_: int) -> int:
    return 0  # PR_TIMING_STATISTICAL


@_option(14)
def _set_timing(task: Task, value: int, *_: int) -> None:
    _nothing_else(value)


@_option(15)
def _set_name(task: Task, address: int, *_: int) -> None:
    task.comm = read_comm(task, address)


@_option(16)
def _get_name(task: Task, address: int, *_: int) -> None:
    task.mm.write(address, task.comm[: TASK_COMM_LEN - 1].ljust(TASK_COMM_LEN, b"\0"))


@_option(21)
def _get_seccomp(task: Task, *_: int) -> int:
    return 0


@_option(23)
def _capbset_read(task: Task, capability: int, *_: int) -> int:
    if capability > CAP_LAST_CAP:
        raise Errno(EINVAL)
    return task.cred.cap_bounding >> capability & 1


@_option(24)
def _capbset_drop(task: Task, capability: int, *_: int) -> None:
    if not task.cred.capable(CAP_SETPCAP):
        raise Errno(EPERM)
    if capability > CAP_LAST_CAP:
        raise Errno(EINVAL)
    new = task.cred.copy()
    new.cap_bounding &= ~(1 << capability)
    task.cred = new


@_option(25)
def _get_tsc(task: Task, address: int, *_: int) -> None:
    _put_int(task, address, 1)  # PR_TSC_ENABLE


@_option(26)
def _set_tsc(task: Task, value: int, *_: int) -> None:
    if value != 1:  # PR_TSC_SIGSEGV (2) would need the engine to trap RDTSC
        raise Errno(EINVAL)


@_option(27)
def _get_securebits(task: Task, *_: int) -> int:
    return task.cred.securebits


@_option(28)
def _set_securebits(task: Task, value: int, *_: int) -> None:
    old = task.cred.securebits
    locks = old >> 1 & 0x555
    if locks & (old ^ value) or (old & 0xAAA) & ~value or value & ~0xFFF or not task.cred.capable(CAP_SETPCAP):
        raise Errno(EPERM)
    new = task.cred.copy()
    new.securebits = value
    task.cred = new


@_option(29)
def _set_timerslack(task: Task, slack_ns: int, *_: int) -> None:
    if task.sched_policy not in (1, 2):  # real-time tasks have none
        task.timer_slack_ns = slack_ns if 0 < slack_ns < 2**63 else DEFAULT_TIMER_SLACK_NS


@_option(30)
def _get_timerslack(task: Task, *_: int) -> int:
    return min(task.timer_slack_ns, 2**31 - 1)


@_option(31)
def _perf_disable(task: Task, *_: int) -> int:
    return 0  # there are no performance counters to stop


@_option(32)
def _perf_enable(task: Task, *_: int) -> int:
    return 0


@_option(33)
def _mce_kill(task: Task, command: int, policy: int, arg4: int, arg5: int) -> None:
    _nothing_else(arg4, arg5)
    if command == PR_MCE_KILL_CLEAR:
        _nothing_else(policy)
        task.mce_flags &= ~PF_MCE_PROCESS
        return
    if command != PR_MCE_KILL_SET:
        raise Errno(EINVAL)
    task.mce_flags |= PF_MCE_PROCESS
    if policy == PR_MCE_KILL_EARLY:
        task.mce_flags |= PF_MCE_EARLY
    elif policy == PR_MCE_KILL_LATE:
        task.mce_flags &= ~PF_MCE_EARLY
    elif policy == PR_MCE_KILL_DEFAULT:
        task.mce_flags = 0
    else:
        raise Errno(EINVAL)  # with PF_MCE_PROCESS set, as on Linux


@_option(34)
def _mce_kill_get(task: Task, *args: int) -> int:
    _nothing_else(*args)
    if not task.mce_flags & PF_MCE_PROCESS:
        return PR_MCE_KILL_DEFAULT
    return PR_MCE_KILL_EARLY if task.mce_flags & PF_MCE_EARLY else PR_MCE_KILL_LATE


@_option(35)
def _set_mm(task: Task, option: int, address: int, arg4: int, arg5: int) -> None:
    if arg5 or (arg4 and option not in (12, 14, 15)):
        raise Errno(EINVAL)
    raise Errno(EPERM)  # without CAP_SYS_RESOURCE; with it, we still do not move a process's landmarks


@_option(36)
def _set_child_subreaper(task: Task, value: int, *_: int) -> None:
    task.group.is_child_subreaper = bool(value)


@_option(37)
def _get_child_subreaper(task: Task, address: int, *_: int) -> None:
    _put_int(task, address, int(task.group.is_child_subreaper))


@_option(38)
def _set_no_new_privs(task: Task, value: int, *rest: int) -> None:
    _nothing_else(*rest)
    if value != 1:
        raise Errno(EINVAL)
    task.no_new_privs = True


@_option(39)
def _get_no_new_privs(task: Task, *args: int) -> int:
    _nothing_else(*args)
    return int(task.no_new_privs)


@_option(40)
def _get_tid_address(task: Task, address: int, *_: int) -> None:
    task.mm.write(address, struct.pack("<Q", task.clear_child_tid))


@_option(42)
def _get_thp_disable(task: Task, *args: int) -> int:
    _nothing_else(*args)
    return int(task.mm.thp_disabled)


@_option(41)
def _set_thp_disable(task: Task, value: int, *rest: int) -> None:
    _nothing_else(*rest)
    task.mm.thp_disabled = bool(value)


@_option(47)
def _cap_ambient(task: Task, command: int, capability: int, arg4: int, arg5: int) -> int | None:
    _nothing_else(arg4, arg5)
    old, new = task.cred, task.cred.copy()
    if command == 4:  # PR_CAP_AMBIENT_CLEAR_ALL
        _nothing_else(capability)
        new.cap_ambient = 0
        task.cred = new
        return 0
    if capability > CAP_LAST_CAP or command not in (1, 2, 3):
        raise Errno(EINVAL)
    bit = 1 << capability
    if command == 1:  # PR_CAP_AMBIENT_IS_SET
        return int(bool(old.cap_ambient & bit))
    if command == 2:  # PR_CAP_AMBIENT_RAISE
        if not old.cap_permitted & old.cap_inheritable & bit or old.securebits & creds.SECBIT_NO_CAP_AMBIENT_RAISE:
            raise Errno(EPERM)
        new.cap_ambient |= bit
    else:
        new.cap_ambient &= ~bit
    task.cred = new
    return 0


@_option(52)
def _get_speculation(task: Task, which: int, *rest: int) -> int:
    _nothing_else(*rest)
    if which in (0, 1, 2):
        return 0  # PR_SPEC_NOT_AFFECTED: an emulated CPU does not speculate
    raise Errno(ENODEV)


@_option(53)
def _set_speculation(task: Task, which: int, control: int, *rest: int) -> None:
    _nothing_else(*rest)
    raise Errno(ENXIO if which in (0, 1, 2) else ENODEV)


@_option(57)
@_option(58)
def _io_flusher(task: Task, *_: int) -> None:
    if not task.cred.capable(CAP_SYS_RESOURCE):
        raise Errno(EPERM)
    raise Errno(EINVAL)


@_option(65)
def _set_mdwe(task: Task, bits: int, *rest: int) -> None:
    _nothing_else(bits, *rest)  # memory-deny-write-execute is not offered


@_option(66)
def _get_mdwe(task: Task, *args: int) -> int:
    _nothing_else(*args)
    return 0


@_option(67)
def _set_memory_merge(task: Task, value: int, *rest: int) -> None:
    _nothing_else(value, *rest)


@_option(68)
def _get_memory_merge(task: Task, *args: int) -> int:
    _nothing_else(*args)
    return 0


@_option(PR_SET_VMA)
def _set_vma(task: Task, what: int, start: int, length: int, name_address: int) -> None:
    """PR_SET_VMA_ANON_NAME: a name for /proc/<pid>/maps, or none (madvise_set_anon_name)."""
    if what != PR_SET_VMA_ANON_NAME:
        raise Errno(EINVAL)
    name = b""
    if name_address:
        try:
            name = task.mm.cstring(name_address, _ANON_NAME_MAX)
        except Errno as error:
            raise Errno(EINVAL if error.code == ENAMETOOLONG else error.code) from None
        if any(not 0x20 <= c < 0x7F or c in b"\\`$[]" for c in name):
            raise Errno(EINVAL)
    end = start + (length + 0xFFF & ~0xFFF)
    if start & 0xFFF or end > 2**64 or (length and end == start):
        raise Errno(EINVAL)
    if end > start:
        _name_mappings(task.mm, start, end, name)


@_option(PR_GET_AUXV)
def _get_auxv(task: Task, address: int, size: int, arg4: int, arg5: int) -> int:
    _nothing_else(arg4, arg5)
    auxv: bytes = task.mm.auxv
    if size:
        task.mm.write(address, auxv[:size])
    return len(auxv)


def _name_mappings(mm: AddressSpace, start: int, end: int, name: bytes) -> None:
    """Name the anonymous mappings of a range; EBADF at one of a file, ENOMEM where nothing is mapped."""
    rows = mm.vmas.overlapping(start, end)
    if any(row.mapping for row in rows):
        raise Errno(EBADF)
    names = mm.memory.anonymous_names
    if name not in names:
        if len(names) >= _MAX_NAMES:
            raise Errno(ENOMEM)
        names.append(name)
    number = names.index(name)
    mm.vmas.transform(start, end, lambda row: replace(row, name=number))
    if not mm.vmas.covered(start, end):
        raise Errno(ENOMEM)


def read_comm(task: Task, address: int) -> bytes:
    """A command name from user memory, cut after 15 bytes (strncpy_from_user in PR_SET_NAME)."""
    raw: bytes = task.mm.read_some(address, TASK_COMM_LEN - 1)
    end = raw.find(b"\0")
    if end < 0 and len(raw) < TASK_COMM_LEN - 1:
        raise Errno(EFAULT)
    return raw if end < 0 else raw[:end]
