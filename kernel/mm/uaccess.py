"""User memory as the kernel sees it, in Python: what copies in and out, and what compiled code leaves to Python.

Linux: include/linux/uaccess.h, mm/memory.c, mm/gup.c.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, cast

from emu.layout import ACCESS_READ, ACCESS_WRITE, M_FLUSH
from emu.paging import PAGE_MASK, PAGE_SHIFT
from kernel.errno import EFAULT, EINVAL, ENAMETOOLONG, ENOMEM, Errno
from kernel.mm import fault, limits, usercopy
from kernel.mm.layout import (
    FAULT_BUS,
    FAULT_CACHE,
    FAULT_DONE,
    FAULT_MAPERR,
    FAULT_OOM,
    FAULT_RESTART,
    FAULT_STACK,
    K_COPY_CODE,
    K_COPY_VA,
    MM_MAJOR,
    MM_STACK_ALLOWED,
    VM_SHARED,
)
from kernel.mm.pagecache import host_address

if TYPE_CHECKING:
    from kernel.mm.address_space import AddressSpace
    from kernel.mm.memory import KernelMemory
    from kernel.mm.vma import VmaSet

_IOV_MAX = 1024
_SCRATCH_BYTES = 1 << 16
_U32, _I32, _U64 = struct.Struct("<I"), struct.Struct("<i"), struct.Struct("<Q")


class UserAccess:
    """The part of an address space that reads, writes and faults in its pages."""

    memory: KernelMemory
    vmas: VmaSet
    slots: memoryview
    mm: int
    number: int

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
        big: bytearray | None = None
        if count <= _SCRATCH_BYTES:
            target = self.memory.scratch.address
        else:
            # A huge count must not cost huge memory: the buffer grows as far as there is something to read.
            mapped = self.vmas.reach(address) - address
            big = bytearray(min(count, max(mapped, _SCRATCH_BYTES)))
            target = host_address(big)
        done = 0
        m = self.memory.m
        while True:
            room = count if big is None else len(big)
            done += usercopy.copy_from_user.call(m, self.mm, target + done, address + done, room - done)
            if done == count:
                break
            if done == room:
                assert big is not None
                big.extend(bytes(min(count - done, room)))
                target = host_address(big)
            elif not self._copy_resolved(ACCESS_READ):
                break
        if big is None:
            return bytes(self.memory.scratch.view[:done])
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
        if code == FAULT_STACK:
            row = self.vmas.slice(i := self.vmas.index(va), i + 1)[0]
            if not limits.may_grow_stack(cast("AddressSpace", self), row, va & PAGE_MASK):
                return FAULT_MAPERR
            self.slots[MM_STACK_ALLOWED >> 3] = va & PAGE_MASK
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
