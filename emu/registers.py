"""The user-mode registers as one copy, and moving them in and out of the engine or a saved context in one call each."""

from __future__ import annotations

import ctypes
import struct
from typing import Any

from emu.engine import Library

RAX, RBP, RBX, RCX, RDI, RDX, RIP, RSI, RSP = 35, 36, 37, 38, 39, 40, 41, 43, 44
R8, ST0, XMM0 = 106, 114, 122
FPSW, FPCW, FPTAG, MXCSR, FS_BASE, GS_BASE, RFLAGS = 31, 246, 247, 249, 250, 251, 253
_FIP, _FDP, _FOP = 254, 256, 258

GPR_IDS = (RAX, RBX, RCX, RDX, RSI, RDI, RBP, RSP, *range(R8, R8 + 8), RIP, RFLAGS, FS_BASE, GS_BASE)
GPR_NAMES = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
             "r15", "rip", "rflags", "fs_base", "gs_base")
_FPU_WORDS = (FPCW, FPSW, FPTAG, _FOP, _FIP, _FDP, MXCSR)
_VECTORS = (*range(ST0, ST0 + 8), *range(XMM0, XMM0 + 16))
#: Order matters for writing: FPSW holds TOP, by which the ST registers are found.
_READ_IDS = (*GPR_IDS, *_FPU_WORDS, *_VECTORS)
#: RIP is the machine block's; writing ST marks a register valid, so the tags go in once more at the end.
_WRITE_IDS = (*(r for r in GPR_IDS if r != RIP), *_FPU_WORDS, *_VECTORS, FPTAG)
_RIP_INDEX = GPR_IDS.index(RIP)
_CELL = 16
_MXCSR_MASK = 0xFFFF
_GPRS = struct.Struct("<" + "Q8x" * len(GPR_IDS))
_GPRS_WITHOUT_RIP = struct.Struct("<" + "Q8x" * (len(GPR_IDS) - 1))
_WORDS = struct.Struct("<" + "Q8x" * len(_FPU_WORDS))
_FXSAVE_HEAD = struct.Struct("<HHBxHQQII")


class Registers:
    """A copy of the user-mode registers: GPR_NAMES as unsigned integers, ``fxsave`` as 512 bytes (FXSAVE64)."""

    __slots__ = (*GPR_NAMES, "fxsave")

    rax: int
    rbx: int
    rcx: int
    rdx: int
    rsi: int
    rdi: int
    rbp: int
    rsp: int
    r8: int
    r9: int
    r10: int
    r11: int
    r12: int
    r13: int
    r14: int
    r15: int
    rip: int
    rflags: int
    fs_base: int
    gs_base: int
    fxsave: bytes

    def __init__(self, values: tuple[int, ...], fxsave: bytes) -> None:
        for name, value in zip(GPR_NAMES, values, strict=True):
            setattr(self, name, value)
        self.fxsave = fxsave

    def values(self) -> list[int]:
        """The general registers in the order of GPR_NAMES."""
        return [getattr(self, name) for name in GPR_NAMES]

    def general(self) -> dict[str, int]:
        """The general registers by name."""
        return dict(zip(GPR_NAMES, self.values(), strict=True))


class RegisterFile:
    """Buffers for moving all registers at once; ``owner`` is the engine, or a saved context where ``live`` is False."""

    def __init__(self, library: Library) -> None:
        c = library.c
        self._read = {True: c.uc_reg_read_batch, False: c.uc_context_reg_read_batch}
        self._write = {True: c.uc_reg_write_batch, False: c.uc_context_reg_write_batch}
        self._in = _batch(_READ_IDS)
        self._out = _batch(_WRITE_IDS)

    def read(self, owner: Any, live: bool) -> Registers:
        """All registers; RIP is what the engine thinks, which is not where the guest goes on."""
        ids, cells, buffer = self._in
        ctypes.memset(buffer, 0, len(buffer))
        self._read[live](owner, ids, cells, len(_READ_IDS))
        raw = buffer.raw
        at = _GPRS.size
        fpcw, fpsw, tags, fop, fip, fdp, mxcsr = _WORDS.unpack_from(raw, at)
        at += _WORDS.size
        tag = 0
        for i in range(8):
            # FXSAVE keeps one bit a register: valid or not; the full tag word says 3 for empty.
            tag |= ((tags >> (2 * i)) & 3 != 3) << i
        image = bytearray(512)
        _FXSAVE_HEAD.pack_into(image, 0, fpcw & 0xFFFF, fpsw & 0xFFFF, tag, fop & 0x7FF, fip, fdp, mxcsr & 0xFFFFFFFF,
                               _MXCSR_MASK)
        image[32 : 32 + 24 * _CELL] = raw[at : at + 24 * _CELL]
        for i in range(8):
            image[32 + _CELL * i + 10 : 48 + _CELL * i] = bytes(6)
        return Registers(_GPRS.unpack_from(raw), bytes(image))

    def write(self, owner: Any, live: bool, registers: Registers) -> None:
        """All registers but RIP."""
        ids, cells, buffer = self._out
        values = registers.values()
        del values[_RIP_INDEX]
        image = registers.fxsave
        fpcw, fpsw, tag, fop, fip, fdp, mxcsr, _ = _FXSAVE_HEAD.unpack_from(image)
        tags = 0
        for i in range(8):
            tags |= (0 if tag >> i & 1 else 3) << (2 * i)
        _GPRS_WITHOUT_RIP.pack_into(buffer, 0, *values)
        at = _GPRS_WITHOUT_RIP.size
        # A reserved bit of MXCSR would make the next load of it fault.
        _WORDS.pack_into(buffer, at, fpcw, fpsw, tags, fop, fip, fdp, mxcsr & _MXCSR_MASK)
        at += _WORDS.size
        ctypes.memmove(ctypes.addressof(buffer) + at, image[32 : 32 + 24 * _CELL], 24 * _CELL)
        struct.pack_into("<Q", buffer, at + 24 * _CELL, tags)
        self._write[live](owner, ids, cells, len(_WRITE_IDS))


def _batch(ids: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """The id array, the address array and the 16-byte cells of a uc_reg_*_batch call."""
    buffer = ctypes.create_string_buffer(_CELL * len(ids))
    start = ctypes.addressof(buffer)
    return ((ctypes.c_int * len(ids))(*ids),
            (ctypes.c_void_p * len(ids))(*(start + _CELL * i for i in range(len(ids)))), buffer)
