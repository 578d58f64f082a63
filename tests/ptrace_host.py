"""Feeds a host process's system calls to Forkyard's tracer, as if its own kernel had emitted them.

What the tracer prints for a real process must be what strace prints for it: the same binary, run twice without ASLR,
once under strace and once under this, is a test of every printer that needs no emulator.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from types import SimpleNamespace
from typing import Any

from kernel.errno import EFAULT, ENAMETOOLONG, Errno
from kernel.events import Events
from kernel.syscalls.table import TABLE

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long
_libc.process_vm_readv.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong,
                                   ctypes.c_ulong]
_libc.process_vm_readv.restype = ctypes.c_ssize_t
_TRACEME, _CONT, _GETREGS, _SYSCALL, _SETOPTIONS, _GETSIGINFO = 0, 7, 12, 24, 0x4200, 0x4202
_O_TRACESYSGOOD, _O_TRACEEXEC, _O_EXITKILL = 1, 16, 1 << 20
_ADDR_NO_RANDOMIZE = 0x40000


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class HostMemory:
    """The memory of a traced host process, with the calls that ``task.mm`` offers."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        with open(f"/proc/{pid}/stat") as file:
            stat = file.read().rsplit(")", 1)[1].split()
        self.start_stack = int(stat[25])
        self.arg_start, self.arg_end, self.env_start, self.env_end = map(int, stat[45:49])

    def read_some(self, address: int, size: int) -> bytes:
        data = b""
        while size > 0:
            step = min(size, 4096 - address % 4096)
            # like strace, and unlike /proc/PID/mem, this respects PROT_NONE
            part = ctypes.create_string_buffer(step)
            local, remote = _Iovec(ctypes.addressof(part), step), _Iovec(address, step)
            done = _libc.process_vm_readv(self.pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
            if done > 0:
                data += part.raw[:done]
            if done < step:
                break
            address, size = address + step, size - step
        if not data and size > 0:
            raise Errno(EFAULT)
        return data

    def read(self, address: int, size: int) -> bytes:
        data = self.read_some(address, size) if size else b""
        if len(data) < size:
            raise Errno(EFAULT)
        return data

    def cstring(self, address: int, limit: int = 4096) -> bytes:
        data = self.read_some(address, limit)
        if b"\0" not in data:
            raise Errno(ENAMETOOLONG if len(data) == limit else EFAULT)
        return data.split(b"\0", 1)[0]


class _Info:
    """The siginfo of PTRACE_GETSIGINFO, as the kernel's SigInfo shows itself."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        (self.signo,) = struct.unpack_from("<i", raw)

    def pack(self) -> bytes:
        return self.raw


def _ptrace(request: int, pid: int, address: Any = 0, data: Any = 0) -> None:
    if _libc.ptrace(request, pid, address, data) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _registers(pid: int) -> SimpleNamespace:
    raw = ctypes.create_string_buffer(27 * 8)
    _ptrace(_GETREGS, pid, 0, ctypes.addressof(raw))
    v = struct.unpack("<27Q", raw.raw)
    args = struct.unpack("<6q", struct.pack("<6Q", v[14], v[13], v[12], v[7], v[9], v[8]))
    (result,) = struct.unpack("<q", struct.pack("<Q", v[10]))
    return SimpleNamespace(number=v[15], args=args, result=result, rsp=v[19])


def _child(argv: list[str], env: dict[str, str], stdio: tuple[int, int, int] | None) -> None:
    _libc.personality(_ADDR_NO_RANDOMIZE)
    for target, fd in enumerate(stdio or ()):
        os.dup2(fd, target)
    os.closerange(3, 1024)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them
        signal.signal(number, signal.SIG_DFL)
    _ptrace(_TRACEME, 0)
    os.kill(os.getpid(), signal.SIGSTOP)
    os.execvpe(argv[0], argv, env)


def trace_host(argv: list[str], tracer_of: Any, env: dict[str, str] | None = None,
               stdio: tuple[int, int, int] | None = None) -> int:
    """Run ``argv`` on the host without ASLR, its events going to ``tracer_of(events)``; returns the wait status.

    Only the first process is followed.
    """
    env = dict(os.environ) if env is None else env
    pid = os.fork()
    if pid == 0:
        try:
            _child(argv, env, stdio)
        finally:
            os._exit(127)
    os.waitpid(pid, 0)
    _ptrace(_SETOPTIONS, pid, 0, _O_TRACESYSGOOD | _O_TRACEEXEC | _O_EXITKILL)
    events = Events()
    tracer = tracer_of(events)
    tracer.attach()
    task: Any = SimpleNamespace(tid=pid, mm=None, files=None, dying=False, registers=lambda: _registers(pid))
    inside: SimpleNamespace | None = None
    started = False
    _ptrace(_SYSCALL, pid)
    while True:
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            for callback in events.exit:
                callback(task, status)
            break
        deliver = 0
        stop = status >> 8 & 0xFF
        if status >> 16 == 4:  # PTRACE_EVENT_EXEC
            task.mm = HostMemory(pid)
            started = True
            for callback in events.exec:
                callback(task, os.fsencode(argv[0]))
            if inside is not None and inside.first:
                inside = SimpleNamespace(first=True)
        elif stop == signal.SIGTRAP | 0x80:
            regs = _registers(pid)
            if inside is None:
                inside = SimpleNamespace(number=regs.number, args=regs.args, first=not started)
                if started:
                    for callback in events.syscall_enter:
                        callback(task, TABLE.get(regs.number), regs.number, regs.args)
            else:
                if not inside.first:
                    for callback in events.syscall_exit:
                        callback(task, TABLE.get(inside.number), inside.number, inside.args, regs.result)
                inside = None
        else:
            raw = ctypes.create_string_buffer(128)
            _ptrace(_GETSIGINFO, pid, 0, ctypes.addressof(raw))
            if started:
                for callback in events.signal:
                    callback(task, _Info(raw.raw))
            deliver = stop
        _ptrace(_SYSCALL, pid, 0, deliver)
    tracer.finish()
    return status
