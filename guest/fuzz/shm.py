"""System V shared memory that the fuzzer made: the coverage map and the test case."""

from __future__ import annotations

import ctypes
import os
import struct

_IPC_RMID, _IPC_STAT = 0, 2
_IPC_PRIVATE, _IPC_CREAT = 0, 0o1000
#: ``struct shmid_ds`` of x86-64 Linux (asm-generic/shmbuf.h): its length, and where shm_segsz stands.
_SHMID_DS_BYTES, _SEGSZ_OFFSET = 112, 48
_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_libc.shmget.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_int]
_libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
_libc.shmat.restype = ctypes.c_void_p
_libc.shmdt.argtypes = [ctypes.c_void_p]
_libc.shmctl.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p]


class Segment:
    """One attached segment: ``size`` bytes at ``address``, also as the writable ``view``.

    It is marked for removal at once: Linux then frees it with the last process that has it attached, so that nothing
    stays when the fuzzer, whose task it would be, is killed (shmctl(2)). Others may still attach until then.

    Raises:
        OSError: there is no such segment, or no access to it.
    """

    def __init__(self, shm_id: int) -> None:
        address = _libc.shmat(shm_id, None, 0)
        if address in (None, _FAILED):
            raise _error(f"shared memory {shm_id}")
        self.address = int(address)
        info = ctypes.create_string_buffer(_SHMID_DS_BYTES)
        if _libc.shmctl(shm_id, _IPC_STAT, info):
            raise _error(f"shared memory {shm_id}")
        (self.size,) = struct.unpack_from("Q", info, _SEGSZ_OFFSET)
        # Not ours to remove when another user owns it: then it stays as it would have without us.
        _libc.shmctl(shm_id, _IPC_RMID, None)
        self.view = memoryview((ctypes.c_ubyte * self.size).from_address(self.address)).cast("B")

    def detach(self) -> None:
        """Let go of it; ``view`` must not be used any more."""
        self.view.release()
        _libc.shmdt(self.address)


def create(size: int) -> tuple[int, Segment]:
    """A new segment of our own and its id, as afl-fuzz makes them; it is gone with the last process that has it.

    Raises:
        OSError: the host does not give it.
    """
    shm_id = _libc.shmget(_IPC_PRIVATE, size, _IPC_CREAT | 0o600)
    if shm_id < 0:
        raise _error(f"{size} bytes of shared memory")
    return shm_id, Segment(shm_id)


def attach_named(variable: str) -> Segment | None:
    """The segment whose id stands in an environment variable; None without the variable. Id 0 is a valid one.

    Raises:
        OSError: it cannot be attached.
        ValueError: the variable holds no number.
    """
    text = os.environ.get(variable)
    if text is None:
        return None
    try:
        shm_id = int(text)
    except ValueError:
        raise ValueError(f"{variable} is {text!r}, not the number of a segment") from None
    return Segment(shm_id)


def _error(what: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{what}: {os.strerror(code)}")
