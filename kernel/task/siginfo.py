"""siginfo_t: what a signal says about itself, and its 128 bytes in user memory (include/uapi/asm-generic/siginfo.h)."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Any

from emu.words import U64, c_int
from kernel.task import signals as s

if TYPE_CHECKING:
    from kernel.task.task import Task

SIGINFO_SIZE = 128
KERNEL_SIGINFO_SIZE = 48
"""The part that the kernel knows; the rest is zero."""

_HEAD = Struct("<iii4x")  # si_signo, si_errno, si_code, padding
_KILL = Struct("<iI")  # _kill: si_pid, si_uid
_RT = Struct("<iIQ")  # _rt: si_pid, si_uid, si_value
_TIMER = Struct("<iiQi")  # _timer: si_tid, si_overrun, si_value, si_sys_private
_CHLD = Struct("<iIi4xqq")  # _sigchld: si_pid, si_uid, si_status, si_utime, si_stime
_FAULT = Struct("<Qh")  # _sigfault: si_addr, si_addr_lsb
_POLL = Struct("<qi")  # _sigpoll: si_band, si_fd
_SYS = Struct("<QiI")  # _sigsys: si_call_addr, si_syscall, si_arch

_U32 = (1 << 32) - 1

#: Signals whose positive codes have a layout of their own, and the highest such code (siginfo_layout, kernel/signal.c).
_FAULT_CODES = {s.SIGILL: 11, s.SIGFPE: 15, s.SIGSEGV: 10, s.SIGBUS: 5, s.SIGTRAP: 6}


def siginfo_layout(signo: int, code: int) -> str:
    """Which union member of siginfo_t carries this signal: "kill", "rt", "timer", "chld", "fault", "poll" or "sys"."""
    if s.SI_USER < code < s.SI_KERNEL:
        if code <= _FAULT_CODES.get(signo, 0):
            return "fault"
        if signo == s.SIGCHLD and code <= s.CLD_CONTINUED:
            return "chld"
        if signo == s.SIGSYS and code <= 2:
            return "sys"
        if code <= s.POLL_HUP:
            return "poll"
        return "kill"
    if code == s.SI_TIMER:
        return "timer"
    if code == s.SI_SIGIO:
        return "poll"
    if code < 0:
        return "rt"
    return "kill"


@dataclass(eq=False)
class SigInfo:
    """One signal: number, cause and the fields of its cause. Unused fields stay 0.

    ``raw`` holds the 32 bytes of the union as another program passed them (rt_sigqueueinfo) and then decides
    what pack() writes.
    """

    signo: int
    code: int = s.SI_KERNEL
    errno: int = 0
    pid: int = 0
    uid: int = 0
    addr: int = 0
    status: int = 0
    value: int = 0
    """si_value as 64 bits (sival_ptr; sival_int is the low half)."""
    utime: int = 0
    """Clock ticks (1/100 s), for SIGCHLD."""
    stime: int = 0
    band: int = 0
    fd: int = 0
    timer_id: int = 0
    overrun: int = 0
    call_addr: int = 0
    syscall: int = 0
    arch: int = 0
    addr_lsb: int = 0
    raw: bytes | None = None
    trapno: int | None = None
    """The CPU's exception number, for sigcontext.trapno; None when the CPU did not raise it."""
    error_code: int = 0
    """The CPU's error code, for sigcontext.err."""
    timer: Any = None
    """The POSIX timer that sent it and is to be told when it is dequeued."""

    @classmethod
    def from_task(cls, sender: Task, signo: int, code: int = s.SI_USER, value: int = 0) -> SigInfo:
        """As sent by a program with kill, tkill or sigqueue: carries the sender's pid and real uid."""
        return cls(signo, code, pid=sender.group.tgid, uid=sender.cred.uid, value=value)

    @classmethod
    def fault(cls, signo: int, code: int, addr: int) -> SigInfo:
        """As raised by the CPU at ``addr``."""
        return cls(signo, code, addr=addr)

    @property
    def value_int(self) -> int:
        """si_int, signed."""
        return c_int(self.value)

    @property
    def layout(self) -> str:
        """The union member in use; see siginfo_layout()."""
        return siginfo_layout(self.signo, self.code)

    def pack(self) -> bytes:
        """The 128 bytes of siginfo_t."""
        head = _HEAD.pack(self.signo, self.errno, self.code)
        return (head + (self.raw if self.raw is not None else self._union())).ljust(SIGINFO_SIZE, b"\0")

    def _union(self) -> bytes:
        layout = self.layout
        if layout == "fault":
            return _FAULT.pack(self.addr & U64, self.addr_lsb)
        if layout == "chld":
            return _CHLD.pack(self.pid, self.uid, self.status, self.utime, self.stime)
        if layout == "rt":
            return _RT.pack(self.pid, self.uid, self.value & U64)
        if layout == "timer":
            return _TIMER.pack(self.timer_id, self.overrun, self.value & U64, 0)
        if layout == "poll":
            return _POLL.pack(self.band, self.fd)
        if layout == "sys":
            return _SYS.pack(self.call_addr & U64, self.syscall, self.arch)
        return _KILL.pack(self.pid, self.uid)

    @classmethod
    def unpack(cls, data: bytes) -> SigInfo:
        """A SigInfo from the first 48 bytes of a siginfo_t that a program passes."""
        signo, errno, code = _HEAD.unpack_from(data, 0)
        info = cls(signo, code, errno, raw=bytes(data[_HEAD.size : KERNEL_SIGINFO_SIZE]))
        layout, at = info.layout, _HEAD.size
        if layout == "fault":
            info.addr, info.addr_lsb = _FAULT.unpack_from(data, at)
        elif layout == "chld":
            info.pid, info.uid, info.status, info.utime, info.stime = _CHLD.unpack_from(data, at)
        elif layout == "rt":
            info.pid, info.uid, info.value = _RT.unpack_from(data, at)
        elif layout == "timer":
            info.timer_id, info.overrun, info.value, _private = _TIMER.unpack_from(data, at)
        elif layout == "poll":
            info.band, info.fd = _POLL.unpack_from(data, at)
        elif layout == "sys":
            info.call_addr, info.syscall, info.arch = _SYS.unpack_from(data, at)
        else:
            info.pid, info.uid = _KILL.unpack_from(data, at)
        return info
