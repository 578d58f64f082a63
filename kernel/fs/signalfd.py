"""signalfd(2): signals taken by read instead of a handler. Linux: fs/signalfd.c."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from kernel.errno import EAGAIN, EINVAL, Errno
from kernel.fs.anon import AnonFile
from kernel.fs.pollmask import POLLIN
from kernel.fs.uapi import O_NONBLOCK, O_RDWR
from kernel.task.siginfo import SigInfo
from kernel.task.wait import WaitQueue, sleep

if TYPE_CHECKING:
    from kernel.task.task import Task

SIGINFO_SIZE = 128
UNBLOCKABLE = 1 << (9 - 1) | 1 << (19 - 1)
"""SIGKILL and SIGSTOP are silently left out of the set."""

#: ssi_signo, errno, code, pid, uid, fd, tid, band, overrun, trapno, status, int, ptr, utime, stime, addr, addr_lsb
_SIGNALFD_SIGINFO = Struct("<IiiIIiIIIIiiQQQQH")


def pack_siginfo(info: SigInfo) -> bytes:
    """struct signalfd_siginfo, 128 bytes; only the fields of the signal's kind are filled (signalfd_copyinfo)."""
    kind = info.layout
    pid = uid = fd = tid = band = overrun = trapno = status = value_int = value = utime = stime = addr = lsb = 0
    if kind in ("kill", "rt", "chld"):
        pid, uid = info.pid, info.uid
    if kind in ("rt", "timer"):
        value, value_int = info.value & (1 << 64) - 1, info.value_int
    if kind == "timer":
        tid, overrun = info.timer_id, info.overrun
    elif kind == "chld":
        status, utime, stime = info.status, info.utime, info.stime
    elif kind == "poll":
        band, fd = info.band & 0xFFFFFFFF, info.fd
    elif kind == "fault":
        addr, lsb = info.addr, info.addr_lsb
    return _SIGNALFD_SIGINFO.pack(
        info.signo, info.errno, info.code, pid & 0xFFFFFFFF, uid & 0xFFFFFFFF, fd, tid & 0xFFFFFFFF, band, overrun,
        trapno, status, value_int, value, utime, stime, addr, lsb,
    ).ljust(SIGINFO_SIZE, b"\0")


class SignalFile(AnonFile):
    """Reads the signals of ``mask`` that are pending for the *reading* task, its process's included."""

    def __init__(self, task: Task, mask: int, flags: int) -> None:
        super().__init__(task, O_RDWR | flags & O_NONBLOCK, b"signalfd")
        self.kernel = task.kernel
        self.mask = mask & ~UNBLOCKABLE
        self.owner = task
        """Whose queue poll() looks at when no task is current."""

    def _dequeue(self, task: Task) -> SigInfo | None:
        from kernel.task.signal import dequeue_signal

        return dequeue_signal(task, ~self.mask)

    def try_read(self, task: Task, n: int, pos: int | None = None) -> bytes | None:
        room = n // SIGINFO_SIZE
        if not room:
            raise Errno(EINVAL)
        found: list[bytes] = []
        while len(found) < room and (info := self._dequeue(task)) is not None:
            found.append(pack_siginfo(info))
        if not found:
            if self.flags & O_NONBLOCK:
                raise Errno(EAGAIN)
            return None
        return b"".join(found)

    async def read(self, task: Task, n: int, pos: int | None = None) -> bytes:
        while (data := self.try_read(task, n)) is None:
            await sleep(task.actions.signalfd_wait)
        return data

    def poll(self) -> int:
        task = self.kernel.scheduler.current or self.owner
        return POLLIN if (task.pending.mask | task.group.pending.mask) & self.mask else 0

    def wait_queues(self, events: int) -> tuple[WaitQueue, ...]:
        task = self.kernel.scheduler.current or self.owner
        return (task.actions.signalfd_wait,)

    def fdinfo(self, task: Task) -> bytes:
        return b"sigmask:\t%016x\n" % self.mask
