"""An address space: page tables, VMAs and the layout that exec gave it. Linux: mm_struct.

This class is the state, its life (new, fork, release) and access to user memory; the mapping calls are in ``mmap.py``,
``mremap.py`` and ``madvise.py`` as functions over it.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emu.layout import ACCESS_READ, ACCESS_WRITE, M_FLUSH
from emu.paging import (
    ENTRIES,
    PAGE_MASK,
    PAGE_SHIFT,
    PAGE_SIZE,
    PGD_SHIFT,
    PMD_SHIFT,
    PMD_SIZE,
    PTE_FRAME,
    PTE_P,
    PUD_SHIFT,
)
from kernel.errno import EFAULT, EINVAL, ENAMETOOLONG, ENOMEM, Errno
from kernel.mm import fault, fork, unmap, usercopy
from kernel.mm.layout import (
    FAULT_BUS,
    FAULT_CACHE,
    FAULT_DONE,
    FAULT_OOM,
    FAULT_RESTART,
    K_COPY_CODE,
    K_COPY_VA,
    MM_ANON,
    MM_FILE,
    MM_MAJOR,
    MM_MINOR,
    MM_PEAK,
    MM_PTES,
    MM_ROOT,
    MM_SHMEM,
    MM_STACK_LIMIT,
    MM_UPPER,
    V_FLAGS,
    VM_DONTCOPY,
    VM_EXEC,
    VM_GROWSDOWN,
    VM_LOCKED,
    VM_READ,
    VM_SHARED,
    VM_WRITE,
)
from kernel.mm.pagecache import Mapping, PageCache, host_address
from kernel.mm.vma import Row, VmaSet

if TYPE_CHECKING:
    from kernel.mm.memory import KernelMemory

_numbers = itertools.count(1)
_IOV_MAX = 1024
_SCRATCH_BYTES = 1 << 16
_U32, _I32, _U64 = struct.Struct("<I"), struct.Struct("<i"), struct.Struct("<Q")


@dataclass(slots=True)
class Vma:
    """A mapping as /proc shows it; ``prot`` is PROT_*, ``name`` the path or "[heap]" and the like."""

    start: int
    end: int
    prot: int
    flags: int
    offset: int
    shared: bool
    file: Any
    name: bytes


@dataclass(slots=True)
class Stats:
    """Memory figures in pages (/proc/pid/statm, status)."""

    rss_anon: int
    rss_file: int
    rss_shmem: int
    vm_pte_pages: int
    total_vm: int
    locked_vm: int
    stack_vm: int
    data_vm: int
    exec_vm: int
    peak_rss: int
    peak_vm: int
    minor_faults: int
    major_faults: int

    @property
    def rss(self) -> int:
        """All resident pages."""
        return self.rss_anon + self.rss_file + self.rss_shmem


class AddressSpace:
    """``users`` counts the tasks that run in it; ``use_odf`` and ``odf_level`` choose how its next fork works."""

    def __init__(self, memory: KernelMemory) -> None:
        self.memory = memory
        self.number = next(_numbers)
        self.vmas = VmaSet(memory)
        self.slots = self.vmas.slots
        self.mm = self.vmas.address
        """The mm block's address for compiled code."""
        self.slots[MM_ROOT >> 3] = memory.new_root()
        self.slots[MM_STACK_LIMIT >> 3] = 8 << 20
        memory.spaces[self.number] = self
        memory.memory.set(M_FLUSH, 1)
        self.users = 1
        self.use_odf = False
        self.odf_level = 1
        """What fork on demand shares: 1 PTE tables, 2 PMD tables too."""
        self.start_code = self.end_code = self.start_data = self.end_data = 0
        self.start_brk = self.brk = self.start_stack = 0
        self.arg_start = self.arg_end = self.env_start = self.env_end = 0
        self.mmap_base = (1 << 47) - PAGE_SIZE
        self.auxv = b""
        self.exe: Any = None
        self.default_flags = 0
        """VM_LOCKED after mlockall(MCL_FUTURE)."""
        self.peak_vm = 0
        self.dumpable = 1

    @classmethod
    def new(cls, kernel: Any) -> AddressSpace:
        """An empty address space (mm_alloc).

        Raises:
            Errno: ENOMEM.
        """
        return cls(kernel.memory)

    @property
    def root(self) -> int:
        """Physical address of the PML4."""
        return self.slots[MM_ROOT >> 3]

    # -- life ------------------------------------------------------------------------------------------------------

    def fork(self, odf: bool) -> AddressSpace:
        """A child address space: tables copied, or shared when ``odf`` (dup_mmap).

        Raises:
            Errno: ENOMEM; every count is as it was then.
        """
        child = AddressSpace(self.memory)
        level = self.odf_level if odf else 0
        try:
            child.vmas.copy_from(self.vmas, _without_dontcopy)
            for name in ("use_odf", "odf_level", "start_code", "end_code", "start_data", "end_data", "start_brk", "brk",
                         "start_stack", "arg_start", "arg_end", "env_start", "env_end", "mmap_base", "auxv", "exe",
                         "peak_vm", "dumpable"):
                setattr(child, name, getattr(self, name))
            child.slots[MM_STACK_LIMIT >> 3] = self.slots[MM_STACK_LIMIT >> 3]
            while not fork.fork_tables.call(self.memory.m, self.mm, child.mm, level):
                unmap.zap_range.call(self.memory.m, child.mm, 0, 1 << 47)
                if not self.memory.reclaim():
                    raise Errno(ENOMEM)
        except BaseException:
            child.release()
            raise
        return child

    def release(self) -> None:
        """Give back every page, table and file (exit_mmap)."""
        if self.memory.spaces.pop(self.number, None) is None:
            return
        unmap.free_tables.call(self.memory.m, self.mm)
        self.vmas.replace(0, self.vmas.count, [])
        self.memory.trim()

    # -- user memory -----------------------------------------------------------------------------------------------

    def read(self, address: int, count: int) -> bytes:
        """``count`` bytes at ``address``.

        Raises:
            Errno: EFAULT when any of them is not accessible.
        """
        data = self._read(address, count)
        if len(data) != count:
            raise Errno(EFAULT)
        return data

    def read_some(self, address: int, count: int) -> bytes:
        """As many of ``count`` bytes as are accessible; EFAULT when none is."""
        data = self._read(address, count)
        if not data and count:
            raise Errno(EFAULT)
        return data

    def _read(self, address: int, count: int) -> bytes:
        if count <= _SCRATCH_BYTES:
            scratch = self.memory.scratch
            target = scratch.address
        else:
            if count > 1 << 47:
                return b""
            big = bytearray(min(count, self.memory.total_frames << PAGE_SHIFT))
            target = host_address(big)
            count = len(big)
        done = 0
        m = self.memory.m
        while True:
            done += usercopy.copy_from_user.call(m, self.mm, target + done, address + done, count - done)
            if done == count or not self._copy_resolved(ACCESS_READ):
                break
        if count <= _SCRATCH_BYTES:
            return bytes(scratch.view[:done])
        return bytes(big) if done == count else bytes(memoryview(big)[:done])

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Store ``data`` at ``address``.

        Raises:
            Errno: EFAULT; what lies before the bad address has been stored, as copy_to_user does.
        """
        if self.write_some(address, data) != len(data):
            raise Errno(EFAULT)

    def write_some(self, address: int, data: bytes | bytearray | memoryview) -> int:
        """Store as much of ``data`` as is accessible; returns the number of bytes."""
        count = len(data)
        if count <= _SCRATCH_BYTES:
            scratch = self.memory.scratch
            scratch.view[:count] = data
            source = scratch.address
        else:
            data = data if isinstance(data, bytearray) else bytearray(data)
            source = host_address(data)
        done = 0
        m = self.memory.m
        while True:
            done += usercopy.copy_to_user.call(m, self.mm, address + done, source + done, count - done)
            if done == count or not self._copy_resolved(ACCESS_WRITE):
                return done

    def cstring(self, address: int, limit: int = 4096) -> bytes:
        """The C string at ``address`` without its NUL.

        Raises:
            Errno: EFAULT; ENAMETOOLONG when there is no NUL within ``limit`` bytes.
        """
        scratch = self.memory.scratch
        limit = min(limit, _SCRATCH_BYTES)
        m = self.memory.m
        done = 0
        while True:
            got = usercopy.string_from_user.call(m, self.mm, scratch.address + done, address + done, limit - done)
            if got >= 0:
                if done + got == limit:
                    raise Errno(ENAMETOOLONG)
                return bytes(scratch.view[: done + got])
            done += -1 - got
            if not self._copy_resolved(ACCESS_READ):
                raise Errno(EFAULT)

    def read_u32(self, address: int) -> int:
        return _U32.unpack(self.read(address, 4))[0]

    def read_i32(self, address: int) -> int:
        return _I32.unpack(self.read(address, 4))[0]

    def read_u64(self, address: int) -> int:
        return _U64.unpack(self.read(address, 8))[0]

    def read_i64(self, address: int) -> int:
        value = self.read_u64(address)
        return value - (1 << 64) if value >> 63 else value

    def write_u32(self, address: int, value: int) -> None:
        self.write(address, _U32.pack(value & 0xFFFFFFFF))

    def write_i32(self, address: int, value: int) -> None:
        self.write(address, _U32.pack(value & 0xFFFFFFFF))

    def write_u64(self, address: int, value: int) -> None:
        self.write(address, _U64.pack(value & 0xFFFFFFFFFFFFFFFF))

    def read_iovec(self, address: int, count: int) -> list[tuple[int, int]]:
        """``count`` struct iovec as (base, length).

        Raises:
            Errno: EINVAL for more than 1024 or a negative length; EFAULT.
        """
        if not 0 <= count <= _IOV_MAX:
            raise Errno(EINVAL)
        vectors = list(struct.iter_unpack("<QQ", self.read(address, 16 * count)))
        if any(length >> 63 for _, length in vectors):
            raise Errno(EINVAL)
        return vectors

    def futex_key(self, address: int, shared: bool) -> tuple[Any, ...]:
        """What identifies a futex word: the page of the shared mapping behind it, or this address space and address.

        Raises:
            Errno: EFAULT when a shared futex is not mapped.
        """
        if shared:
            row = self.vmas.find(address)
            if row is None:
                raise Errno(EFAULT)
            if row.flags & VM_SHARED and row.mapping:
                mapping = self.memory.mappings[row.mapping]
                assert mapping is not None
                return ("shared", id(mapping.cache), address - row.start + row.offset)
        return ("private", self.number, address)

    # -- faults ----------------------------------------------------------------------------------------------------

    def _copy_resolved(self, access: int) -> bool:
        """A user copy stopped: do what it needs; False when the address is simply bad."""
        get = self.memory.memory.get
        return self.resolve(get(K_COPY_VA), access, get(K_COPY_CODE)) <= FAULT_RESTART

    def resolve(self, va: int, access: int, code: int) -> int:
        """Do what compiled code could not for a fault: read a file page, find memory. Returns a FAULT_* code."""
        if code == FAULT_CACHE:
            row = self.vmas.find(va)
            if row is None or not row.mapping:
                return FAULT_BUS
            mapping = self.memory.mappings[row.mapping]
            assert mapping is not None
            try:
                mapping.cache.fill(((va & PAGE_MASK) - row.start + row.offset) >> PAGE_SHIFT)
            except Errno as error:
                if error.code != ENOMEM:
                    return FAULT_BUS
                code = FAULT_OOM
            else:
                self.slots[MM_MAJOR >> 3] += 1
                return FAULT_DONE
        if code == FAULT_OOM:
            memory = self.memory
            if memory.reclaim() or (memory.out_of_memory is not None and memory.out_of_memory()):
                return FAULT_DONE
        return code

    def fault_in(self, va: int, access: int) -> int:
        """Make one access possible as the CPU would; FAULT_DONE, or the FAULT_* code that says why not."""
        while True:
            code = fault.fault_in.call(self.memory.m, self.mm, va, access)
            if code <= FAULT_RESTART:
                self.memory.memory.set(M_FLUSH, 1)
                return FAULT_DONE
            if self.resolve(va, access, code) > FAULT_RESTART:
                return code

    def unmap_file_range(self, cache: PageCache, start: int, end: int, copies: bool) -> None:
        """Remove the pages of a byte range that its file has lost, private ``copies`` too (unmap_mapping_range).

        Raises:
            Errno: ENOMEM when a shared table could not be copied.
        """
        numbers = {mapping.number for mapping in cache.mappings}
        zap = unmap.zap_range if copies else unmap.zap_cache_pages
        for row in self.vmas:
            if row.mapping in numbers:
                low = max(start - row.offset, 0) + row.start
                high = min(end - row.offset + row.start, row.end)
                while low < high and not zap.call(self.memory.m, self.mm, low, high):
                    if not self.memory.reclaim():
                        raise Errno(ENOMEM)

    def physical(self, va: int) -> int:
        """Guest-physical address behind ``va`` without faulting, or -1."""
        return usercopy.physical_address.call(self.memory.m, self.mm, va)

    # -- looking at the tables --------------------------------------------------------------------------------------

    def tables(self) -> Iterator[tuple[int, int]]:
        """(first address, frame) of every PTE table, in order of address; a shared one shows in each sharer."""
        ram = self.memory.memory.ram.array(np.int64)

        def entries(table: int) -> Iterator[tuple[int, int]]:
            rows = ram[table >> 3 : (table >> 3) + ENTRIES]
            for i in np.flatnonzero(rows & PTE_P).tolist():
                yield i, int(rows[i]) & PTE_FRAME

        for i, puds in entries(self.root):
            for j, pmds in entries(puds):
                for k, table in entries(pmds):
                    yield (i << PGD_SHIFT) + (j << PUD_SHIFT) + (k << PMD_SHIFT), table >> PAGE_SHIFT

    def sharers(self, address: int) -> int:
        """Sharers of the PTE table that serves ``address``; 0 when there is none."""
        base = address & -PMD_SIZE
        return next((int(self.memory.refs[frame]) for va, frame in self.tables() if va == base), 0)

    def addresses_of(self, frame: int) -> Iterator[int]:
        """Where a page frame is mapped in this address space."""
        ram = self.memory.memory.ram.array(np.int64)
        for base, table in self.tables():
            rows = ram[table << 9 : (table << 9) + ENTRIES]
            for i in np.flatnonzero((rows & PTE_P != 0) & (rows & PTE_FRAME == frame << PAGE_SHIFT)).tolist():
                yield base + (i << PAGE_SHIFT)

    # -- figures ---------------------------------------------------------------------------------------------------

    def page_bytes(self, start: int, end: int) -> np.ndarray:
        """One byte a page, see unmap.resident_pages."""
        out = np.zeros((end - start) >> PAGE_SHIFT, np.uint8)
        unmap.resident_pages.call(self.memory.m, self.mm, start, end, out.__array_interface__["data"][0])
        return out

    @property
    def total_vm(self) -> int:
        """Mapped pages."""
        rows = self.vmas.rows
        return int((rows[:, 1] - rows[:, 0]).sum()) >> PAGE_SHIFT

    def pages_with(self, mask: int, value: int) -> int:
        """Mapped pages in VMAs whose flags under ``mask`` are ``value``."""
        rows = self.vmas.rows
        chosen = rows[(rows[:, V_FLAGS >> 3] & mask) == value]
        return int((chosen[:, 1] - chosen[:, 0]).sum()) >> PAGE_SHIFT

    def stats(self) -> Stats:
        """The memory figures of this address space."""
        slots = self.slots
        total = self.total_vm
        self.peak_vm = max(self.peak_vm, total)
        return Stats(
            slots[MM_ANON >> 3], slots[MM_FILE >> 3], slots[MM_SHMEM >> 3], slots[MM_PTES >> 3] + slots[MM_UPPER >> 3],
            total, self.pages_with(VM_LOCKED, VM_LOCKED), self.pages_with(VM_GROWSDOWN, VM_GROWSDOWN),
            self.pages_with(VM_WRITE | VM_SHARED | VM_GROWSDOWN, VM_WRITE),
            self.pages_with(VM_EXEC | VM_WRITE | VM_GROWSDOWN, VM_EXEC), slots[MM_PEAK >> 3], self.peak_vm,
            slots[MM_MINOR >> 3], slots[MM_MAJOR >> 3])

    def vma_rows(self) -> list[Vma]:
        """The mappings in order, with the names that /proc/pid/maps shows."""
        return [self._describe(row) for row in self.vmas]

    def _describe(self, row: Row) -> Vma:
        mapping: Mapping | None = self.memory.mappings[row.mapping] if row.mapping else None
        if mapping is not None:
            name = mapping.name if mapping.file is None else mapping.file.path
        elif row.name:
            name = b"[anon:" + self.memory.anonymous_names[row.name] + b"]"
        elif row.start < self.brk and row.end > self.start_brk:
            name = b"[heap]"
        elif row.start <= self.start_stack < row.end:
            name = b"[stack]"
        else:
            name = b""
        prot = row.flags & (VM_READ | VM_WRITE | VM_EXEC)
        return Vma(row.start, row.end, prot, row.flags, row.offset if mapping else 0, bool(row.flags & VM_SHARED),
                   mapping.file if mapping else None, name)

    def set_stack_limit(self, limit_bytes: int) -> None:
        """RLIMIT_STACK for the growth of stacks."""
        self.slots[MM_STACK_LIMIT >> 3] = min(limit_bytes, 1 << 46)

    # -- the mapping calls, in their own files ---------------------------------------------------------------------

    def mmap(self, address: int, length: int, prot: int, flags: int, file: Any = None, offset: int = 0) -> int:
        """See ``kernel.mm.mmap.mmap``."""
        from kernel.mm.mmap import mmap

        return mmap(self, address, length, prot, flags, file, offset)

    def munmap(self, address: int, length: int) -> None:
        """See ``kernel.mm.mmap.munmap``."""
        from kernel.mm.mmap import munmap

        munmap(self, address, length)

    def mprotect(self, address: int, length: int, prot: int) -> None:
        """See ``kernel.mm.mmap.mprotect``."""
        from kernel.mm.mmap import mprotect

        mprotect(self, address, length, prot)


def _without_dontcopy(rows: np.ndarray) -> np.ndarray:
    rows = rows[(rows[:, V_FLAGS >> 3] & VM_DONTCOPY) == 0]
    # Locks are not inherited (mlock(2)).
    rows[:, V_FLAGS >> 3] &= ~VM_LOCKED
    return rows

