"""Carries out the steps of the model test on the kernel's address spaces, without a CPU, and checks all invariants."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from model_steps import (
    ARENA_PAGES,
    FILE_PAGES,
    HEAP,
    HUGE,
    NOREPLACE,
    NORESERVE,
    PAGE,
    POPULATE,
    PRIVATE_READONLY,
    SHARED,
    WORDS,
    Step,
)

from emu import native
from emu.layout import ACCESS_READ, ACCESS_WRITE
from kernel.errno import EFAULT, Errno
from kernel.mm import madvise as advice_of
from kernel.mm import mmap as maps
from kernel.mm import mremap as remaps
from kernel.mm.address_space import AddressSpace
from kernel.mm.check import Checker
from kernel.mm.layout import FAULT_ACCERR, FAULT_BUS, FAULT_DONE, FAULT_MAPERR, VM_READ
from kernel.mm.memory import KernelMemory
from kernel.mm.pagecache import PageCache

ARENA = 0x200000000 - 2 * PAGE
HEAP_START = ARENA + (ARENA_PAGES + 1) * PAGE  # in the arena's last table
_SIGNALS = {FAULT_MAPERR: "SEGV1", FAULT_ACCERR: "SEGV2", FAULT_BUS: "BUS2"}
_PAGE_WORDS = struct.Struct(f"<{PAGE // 8}Q")


def address(page: int) -> int:
    return ARENA + page * PAGE if page < HEAP else HEAP_START + (page - HEAP) * PAGE


class _Pattern:
    """The backing of the read-only file."""

    writable = False
    data = b"".join(struct.pack("<Q", 1000 + i) + bytes(PAGE - 16) + struct.pack("<Q", 2000 + i)
                    for i in range(FILE_PAGES))

    def read_into(self, offset: int, view: memoryview) -> int:
        piece = self.data[offset : offset + len(view)]
        view[: len(piece)] = piece
        return len(piece)

    def read_pages(self, offset: int, views: list[memoryview]) -> int:
        return sum(self.read_into(offset + i * PAGE, view) for i, view in enumerate(views))

    def write(self, offset: int, data: Any) -> int:
        raise AssertionError("nobody writes to the read-only file")


READONLY_BYTES = _Pattern.data


class _File:
    """An open file as mmap wants one."""

    readable = True

    def __init__(self, memory: KernelMemory, path: bytes, backing: _Pattern | None) -> None:
        self.path, self.writable = path, backing is None
        self.cache = PageCache(memory, FILE_PAGES * PAGE, backing)

    def mapping(self, prot: int, flags: int) -> PageCache:
        return self.cache

    def get(self) -> _File:
        return self

    def put(self) -> None:
        pass


class Spaces:
    """A kernel's memory, and address spaces by slot."""

    def __init__(self, memory: KernelMemory | None = None) -> None:
        native.load()
        self.memory = memory or KernelMemory(64 << 20)
        self.checker = Checker(self.memory)
        self.file = _File(self.memory, b"/model", None)
        self.readonly = _File(self.memory, b"/readonly", _Pattern())
        self.spaces = {0: self._new(False, 1)}

    def _new(self, use_odf: bool, level: int) -> AddressSpace:
        space = AddressSpace(self.memory)
        space.start_brk = space.brk = HEAP_START
        space.use_odf, space.odf_level = use_odf, level
        return space

    def step(self, step: Step) -> str:
        """Carry it out; returns what it gives, in the words of programs/model.c."""
        operation, slot, *numbers = step
        space = self.spaces.get(slot)  # type: ignore[call-overload]
        if space is None:
            return "-"
        method: Callable[..., str | None] = getattr(self, f"_{operation}")
        try:
            return method(*((slot,) if operation in ("fork", "exit", "exec") else (space,)), *numbers) or "ok"
        except Errno as error:
            return f"-{error.code}"

    def close(self) -> None:
        """The last exits: nothing may be left.

        Raises:
            AssertionError: something is.
        """
        for space in self.spaces.values():
            space.release()
        self.checker.check()
        for file in (self.file, self.readonly):
            file.cache.truncate(0)
        self.memory.resize_pool(0)
        self.checker.check()
        if self.memory.swap is not None:
            assert self.memory.swap.used_pages == 0, "a page in swap outlived the last exit"
        self.abandon()
        assert self.memory.used_frames == 0, "a frame outlived the last exit"

    def abandon(self) -> None:
        """What the host lent goes back."""
        if self.memory.swap is not None:
            self.memory.swap.close()
            self.memory.swap = None

    # -- mapping ---------------------------------------------------------------------------------------------------

    def _mmap(self, space: AddressSpace, page: int, count: int, prot: int, kind: int, offset: int, extra: int) -> None:
        flags = maps.MAP_FIXED_NOREPLACE if extra & NOREPLACE else maps.MAP_FIXED
        flags |= maps.MAP_SHARED if kind & 1 else maps.MAP_PRIVATE
        flags |= (maps.MAP_POPULATE if extra & POPULATE else 0) | (maps.MAP_NORESERVE if extra & NORESERVE else 0)
        file = None
        if kind <= SHARED or kind == HUGE:
            flags |= maps.MAP_ANONYMOUS | (maps.MAP_HUGETLB if kind == HUGE else 0)
        else:
            file = self.readonly if kind >= PRIVATE_READONLY else self.file
        space.mmap(address(page), count * PAGE, prot, flags, file, offset * PAGE if file else 0)

    def _munmap(self, space: AddressSpace, page: int, count: int) -> None:
        space.munmap(address(page), count * PAGE)

    def _mprotect(self, space: AddressSpace, page: int, count: int, prot: int) -> None:
        space.mprotect(address(page), count * PAGE, prot)

    def _mremap(self, space: AddressSpace, page: int, old: int, new: int, flags: int, place: int) -> str:
        start, target = address(page), address(place)
        fixed = flags & remaps.MREMAP_FIXED
        now = remaps.mremap(space, start, old * PAGE, new * PAGE, flags, target if fixed else 0)
        if fixed or now == start:
            return "ok"
        flags = remaps.MREMAP_MAYMOVE | remaps.MREMAP_FIXED
        remaps.mremap(space, now, new * PAGE, new * PAGE, flags, target)
        return "moved"

    def _madvise(self, space: AddressSpace, page: int, count: int, advice: int) -> None:
        advice_of.madvise(space, address(page), count * PAGE, advice)

    def _msync(self, space: AddressSpace, page: int, count: int) -> None:
        maps.msync(space, address(page), address(page) + count * PAGE, True, False)

    def _brk(self, space: AddressSpace, pages: int) -> str:
        end = HEAP_START + pages * PAGE
        return "ok" if maps.brk(space, end) == end else "no"

    # -- accesses --------------------------------------------------------------------------------------------------

    def _store(self, space: AddressSpace, page: int, word: int, value: int) -> str | None:
        return self._cpu_write(space, address(page) + WORDS[word], value)

    def _cross(self, space: AddressSpace, page: int, value: int) -> str | None:
        return self._cpu_write(space, address(page) + PAGE - 4, value << 32 | value)

    @staticmethod
    def _cpu_write(space: AddressSpace, start: int, value: int) -> str | None:
        for page in {start & -PAGE: 0, (start + 7) & -PAGE: 0}:
            code = space.fault_in(page, ACCESS_WRITE)
            if code != FAULT_DONE:
                return _SIGNALS.get(code, f"fault {code}")
        space.write_u64(start, value)
        return None

    def _load(self, space: AddressSpace, page: int) -> str:
        code = space.fault_in(address(page), ACCESS_READ)
        return self._get(space, page) if code == FAULT_DONE else _SIGNALS.get(code, f"fault {code}")

    def _fill(self, space: AddressSpace, page: int, count: int, value: int) -> str | None:
        for i in range(count):
            if wrong := self._store(space, page + i, 0, value + i):
                return wrong
        return None

    def _digest(self, space: AddressSpace, page: int, count: int) -> str:
        try:
            data = space.read(address(page), count * PAGE)
        except Errno:
            for i in range(count):
                code = space.fault_in(address(page + i), ACCESS_READ)
                if code != FAULT_DONE:
                    return _SIGNALS.get(code, f"fault {code}")
            return "cannot be read as a whole"
        sums = np.frombuffer(data, np.uint64).reshape(count, -1).sum(axis=1, dtype=np.uint64)
        return str(int((sums * np.arange(1, count + 1, dtype=np.uint64)).sum(dtype=np.uint64)))

    def _put(self, space: AddressSpace, page: int, word: int, value: int) -> None:
        space.write_u64(address(page) + WORDS[word], value)

    def _get(self, space: AddressSpace, page: int) -> str:
        return _shown(space.read(address(page), PAGE))

    def _peek(self, space: AddressSpace, other: int, page: int) -> str:
        if other not in self.spaces:
            return "-"
        row = self.spaces[other].vmas.find(address(page))
        if row is None or not row.flags & VM_READ:
            raise Errno(EFAULT)  # process_vm_readv's own check
        return self._get(self.spaces[other], page)

    def _poke(self, space: AddressSpace, other: int, page: int, word: int, value: int) -> str | None:
        return self._put(self.spaces[other], page, word, value) if other in self.spaces else "-"

    # -- the file --------------------------------------------------------------------------------------------------

    def _fwrite(self, space: AddressSpace, index: int, word: int, value: int) -> None:
        self.file.cache.write(index * PAGE + WORDS[word], struct.pack("<Q", value))

    def _fread(self, space: AddressSpace, index: int) -> str:
        return _shown(self.file.cache.read(index * PAGE, PAGE).ljust(PAGE, b"\0"))

    def _truncate(self, space: AddressSpace, pages: int) -> None:
        self.file.cache.truncate(pages * PAGE)

    # -- processes -------------------------------------------------------------------------------------------------

    def _fork(self, slot: int, to: int, explicit: int) -> str | None:
        if to in self.spaces:
            return "-"
        parent = self.spaces[slot]
        self.spaces[to] = parent.fork(bool(explicit) or parent.use_odf)
        return None

    def _exit(self, slot: int, killed: int) -> None:
        self.spaces.pop(slot).release()

    def _exec(self, slot: int) -> None:
        old = self.spaces[slot]
        self.spaces[slot] = self._new(old.use_odf, old.odf_level)
        old.release()

    def _odf(self, space: AddressSpace, on: int, level: int) -> None:
        space.use_odf, space.odf_level = bool(on), level


def _shown(data: bytes) -> str:
    words = _PAGE_WORDS.unpack(data)
    rest = sum(words) - words[0] - words[-1]
    return f"{words[0]},{words[-1]}" + (f"+{rest}" if rest else "")
