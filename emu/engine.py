"""libunicorn through ctypes: the dozen functions the machine calls, without the Python binding's dispatch."""

from __future__ import annotations

import ctypes
import importlib.util
import mmap
import re
from pathlib import Path
from typing import Any

UC_ARCH_X86, UC_MODE_64 = 4, 8
UC_HOOK_INTR, UC_HOOK_INSN, UC_HOOK_BLOCK = 1, 2, 8
UC_HOOK_INSN_INVALID, UC_HOOK_TLB_FILL = 1 << 14, 1 << 17
UC_X86_INS_SYSCALL = 699
UC_TLB_VIRTUAL = 1
UC_PROT_ALL = 7
_MAP_NORESERVE = 0x4000
_TRANSLATION_BUFFER = 1 << 30
"""Bytes that libunicorn reserves for translated code, and room around it."""
NO_EXIT_REQUEST_OFFSET = 0x7F2
"""Of uc_struct.no_exit_request in libunicorn 2.1.4, 64-bit."""
UC_CTL_EXITS_ENABLE = 4 | 1 << 26 | 1 << 30
UC_CTL_EXITS = 6 | 2 << 26 | 1 << 30
UC_CTL_TB_FLUSH = 10 | 1 << 30
UC_CTL_TLB_TYPE = 12 | 1 << 26 | 1 << 30


class EngineError(Exception):
    """libunicorn refused a call: a defect of the emulator or a host out of memory, never the guest's doing."""


def _library_path() -> Path:
    spec = importlib.util.find_spec("unicorn")
    if spec is None or spec.origin is None:
        raise EngineError("the unicorn package is not installed")
    return Path(spec.origin).parent / "lib" / "libunicorn.so.2"


class Library:
    """libunicorn.so with argument types declared; calls release the GIL."""

    def __init__(self) -> None:
        self.c = ctypes.CDLL(str(_library_path()))
        p, u64, size = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_size_t
        for name, args in {
            "uc_open": [ctypes.c_int, ctypes.c_int, p],
            "uc_close": [p],
            "uc_mem_map_ptr": [p, u64, size, ctypes.c_uint32, p],
            "uc_reg_read": [p, ctypes.c_int, p],
            "uc_reg_write": [p, ctypes.c_int, p],
            "uc_reg_read_batch": [p, p, p, ctypes.c_int],
            "uc_reg_write_batch": [p, p, p, ctypes.c_int],
            "uc_emu_start": [p, u64, u64, u64, size],
            "uc_emu_stop": [p],
            "uc_context_alloc": [p, p],
            "uc_context_save": [p, p],
            "uc_context_restore": [p, p],
            "uc_context_reg_write": [p, ctypes.c_int, p],
            "uc_context_reg_read": [p, ctypes.c_int, p],
            "uc_context_reg_read_batch": [p, p, p, ctypes.c_int],
            "uc_context_reg_write_batch": [p, p, p, ctypes.c_int],
            "uc_context_free": [p],
        }.items():
            function = getattr(self.c, name)
            function.argtypes = args
            function.restype = ctypes.c_int

    def check(self, error: int, what: str) -> None:
        """Raise EngineError unless ``error`` is UC_ERR_OK."""
        if error:
            self.c.uc_strerror.restype = ctypes.c_char_p
            raise EngineError(f"{what}: {self.c.uc_strerror(error).decode()}")

    def check_address_space(self) -> None:
        """Unicorn ends the whole process when it cannot reserve its translation buffer: see before that it can.

        Raises:
            EngineError: under a limit of address space (ulimit -v) that is too low.
        """
        try:
            mmap.mmap(-1, _TRANSLATION_BUFFER, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE).close()
        except OSError as error:
            raise EngineError(f"no address space for its translation buffer of {_TRANSLATION_BUFFER >> 20} MiB "
                              f"({error.strerror}; see ulimit -v)") from None

    def address(self, name: str) -> int:
        """Where a function's code is, for compiled callers."""
        return ctypes.cast(getattr(self.c, name), ctypes.c_void_p).value or 0

    def stop_between_blocks(self, uc: Any) -> None:
        """Let asynchronous stops take effect where a translated block begins, and nowhere else.

        By default Unicorn also looks for a stop after every load and store and then loses the program counter: it
        becomes the block's start, and what the block has done is done again. ``uc_struct.no_exit_request`` leaves
        those looks out (and makes the code faster). Call it before anything is translated. The field's offset is read
        from the function that tests it where its code is x86-64.
        """
        code = ctypes.string_at(self.address("check_exit_request_x86_64"), 32)
        found = re.search(rb"\x80[\xb8-\xbf](.{4})\x00", code, re.DOTALL)  # cmp byte [reg + offset], 0
        offset = int.from_bytes(found[1], "little") if found else NO_EXIT_REQUEST_OFFSET
        field = ctypes.c_uint8.from_address(uc.value + offset)
        if field.value:
            raise EngineError("this libunicorn is not the one that Forkyard knows")
        field.value = 1

    def hook(self, uc: Any, kind: int, callback: int, user_data: int, *extra: int, first: int = 1,
             last: int = 0) -> int:
        """uc_hook_add with a compiled callback; returns its handle.

        Args:
            extra: the instruction number for UC_HOOK_INSN.
            first, last: addresses between which it is called; everywhere when first > last.
        """
        handle = ctypes.c_size_t()
        args = [ctypes.byref(handle), ctypes.c_int(kind), ctypes.c_void_p(callback), ctypes.c_void_p(user_data),
                ctypes.c_uint64(first), ctypes.c_uint64(last), *(ctypes.c_int(e) for e in extra)]
        self.check(self.c.uc_hook_add(uc, *args), "uc_hook_add")
        return handle.value

    def unhook(self, uc: Any, handle: int) -> None:
        """uc_hook_del."""
        self.check(self.c.uc_hook_del(uc, ctypes.c_size_t(handle)), "uc_hook_del")

    def flush_translations(self, uc: Any) -> None:
        """Throw all translations away."""
        self.check(self.c.uc_ctl(uc, ctypes.c_uint32(UC_CTL_TB_FLUSH)), "flush of translations")
