"""The path of a host process, instruction by instruction: what a program's coverage must follow from."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long
_TRACEME, _PEEKUSER, _SINGLESTEP, _SETOPTIONS = 0, 3, 9, 0x4200
_O_EXITKILL = 1 << 20
_RIP = 16 * 8
_ADDR_NO_RANDOMIZE = 0x0040000


def step(argv: list[str]) -> Iterator[int]:
    """The addresses of the instructions that a program executes on the host, ASLR off; a repeated one each time."""
    pid = os.fork()
    if pid == 0:
        try:
            _libc.personality(ctypes.c_ulong(_ADDR_NO_RANDOMIZE))
            _libc.ptrace(_TRACEME, 0, None, None)
            os.execve(argv[0], argv, {})
        finally:
            os._exit(127)
    try:
        _, status = os.waitpid(pid, 0)
        assert os.WIFSTOPPED(status), f"{argv[0]} cannot be traced"
        _libc.ptrace(_SETOPTIONS, pid, None, _O_EXITKILL)
        while os.WIFSTOPPED(status):
            yield _libc.ptrace(_PEEKUSER, pid, _RIP, None) & (1 << 64) - 1
            signo = os.WSTOPSIG(status)
            _libc.ptrace(_SINGLESTEP, pid, None, None if signo == signal.SIGTRAP else signo)
            _, status = os.waitpid(pid, 0)
        pid = 0
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
