"""The system's names, figures and usage: uname, sysinfo, getrusage, getrandom, syslog (kernel/sys.c and others)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from emu.paging import PAGE_SIZE
from kernel.clock import NSEC_PER_SEC
from kernel.errno import EFAULT, EINVAL, EPERM, Errno
from kernel.memory_info import memory_info
from kernel.syscalls.table import syscall
from kernel.syscalls.types import BufIn, BufOut, Enum, Flags, Int, Size, Struct
from kernel.task import rusage
from kernel.task.capability import CAP_SYS_ADMIN
from kernel.task.loadavg import load_average
from kernel.task.uts import NEW_UTS_LEN

if TYPE_CHECKING:
    from kernel.task.task import Task

_SYSINFO = struct.Struct("<q 3Q 6Q HHI QQI4x")
"""struct sysinfo: uptime, loads, six memory figures in mem_unit, procs, pads, high memory, mem_unit; 112 bytes."""

RUSAGE_SELF, RUSAGE_CHILDREN, RUSAGE_THREAD = 0, -1, 1
GRND_NONBLOCK, GRND_RANDOM, GRND_INSECURE = 1, 2, 4
_RANDOM_CHUNK = 1 << 20
_RANDOM_MAX = 0x7FFFF000


@syscall(63, "uname", buf=Struct("utsname", "out"))
def uname(task: Task, buf: int) -> None:
    task.mm.write(buf, task.kernel.uts.pack())


@syscall(170, "sethostname", name=BufIn("len"), len=Int)
def sethostname(task: Task, name: int, length: int) -> None:
    _set_name(task, "nodename", name, length)


@syscall(171, "setdomainname", name=BufIn("len"), len=Int)
def setdomainname(task: Task, name: int, length: int) -> None:
    _set_name(task, "domainname", name, length)


@syscall(99, "sysinfo", info=Struct("sysinfo", "out"))
def sysinfo(task: Task, info: int) -> None:
    kernel = task.kernel
    memory = memory_info(kernel)
    loads = (int(load * 65536) for load in load_average(kernel))
    task.mm.write(info, _SYSINFO.pack(
        kernel.clock.boottime_ns() // NSEC_PER_SEC, *loads,
        memory.total * PAGE_SIZE, memory.free * PAGE_SIZE, memory.shmem * PAGE_SIZE, 0,
        memory.swap_total * PAGE_SIZE, memory.swap_free * PAGE_SIZE,
        min(len(kernel.tasks), 0xFFFF), 0, 0, 0, 0, 1,
    ))  # fmt: skip


@syscall(98, "getrusage", who=Enum("usagewho", "i32"), usage=Struct("rusage", "out"))
def getrusage(task: Task, who: int, usage: int) -> None:
    if who == RUSAGE_SELF:
        used = rusage.of_process(task.group)
    elif who == RUSAGE_CHILDREN:
        used = rusage.of_children(task.group)
    elif who == RUSAGE_THREAD:
        used = rusage.of_thread(task)
    else:
        raise Errno(EINVAL)
    task.mm.write(usage, used.pack())


@syscall(318, "getrandom", buf=BufOut("count"), count=Size, flags=Flags("getrandom_flags"))
def getrandom(task: Task, buf: int, count: int, flags: int) -> int:
    if flags & ~(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE):
        raise Errno(EINVAL)
    if flags & (GRND_INSECURE | GRND_RANDOM) == GRND_INSECURE | GRND_RANDOM:
        raise Errno(EINVAL)
    count = min(count, _RANDOM_MAX)
    done = 0
    while done < count:
        chunk = task.kernel.random.bytes(min(count - done, _RANDOM_CHUNK))
        written = task.mm.write_some(buf + done, chunk)
        if not written and not done:
            raise Errno(EFAULT)
        done += written
        if written < len(chunk):
            break
    return done


@syscall(103, "syslog", type=Enum("syslog_action_type", "i32"), bufp=BufOut("len"), len=Int)
def syslog(task: Task, action: int, buf: int, length: int) -> None:
    raise Errno(EPERM)  # dmesg_restrict is 1 and nobody has CAP_SYSLOG


def _set_name(task: Task, field: str, address: int, length: int) -> None:
    if not task.cred.capable(CAP_SYS_ADMIN):
        raise Errno(EPERM)
    if not 0 <= length <= NEW_UTS_LEN:
        raise Errno(EINVAL)
    task.kernel.uts.set_name(field, task.mm.read(address, length))
