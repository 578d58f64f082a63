"""Mapping the segments of an ELF program and its interpreter into a fresh address space.

Everything here runs after the point of no return of execve: the old program is gone, and an ``Errno`` means that the
new one dies of SIGSEGV. Linux: fs/binfmt_elf.c (load_elf_binary from begin_new_exec on, load_elf_interp, elf_load).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernel.errno import EFAULT, EINVAL, ENOMEM, EOVERFLOW, EPERM, Errno
from kernel.task.elf import (
    ET_DYN,
    ET_EXEC,
    PAGE_MASK,
    PAGE_SIZE,
    PF_R,
    PF_W,
    PF_X,
    TASK_SIZE,
    U64,
    Program,
    Segment,
    bad_address,
    maximum_alignment,
    page_align,
    total_mapping_size,
)

if TYPE_CHECKING:
    from kernel.mm.address_space import AddressSpace

PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_FIXED_NOREPLACE = 0x02, 0x10, 0x20, 0x100000

ELF_ET_DYN_BASE = TASK_SIZE // 3 * 2
"""Where a position-independent program goes that has an interpreter, before randomisation."""


@dataclass
class Image:
    """Where a program lies: what the auxiliary vector, /proc/<pid>/stat and brk are told."""

    load_bias: int = 0
    phdr_address: int = 0
    program_entry: int = 0
    """AT_ENTRY."""
    entry: int = 0
    """Where execution starts: the interpreter's entry if there is one."""
    interpreter_base: int = 0
    """AT_BASE."""
    start_code: int = U64
    end_code: int = 0
    start_data: int = 0
    end_data: int = 0
    brk: int = 0


def load_program(mm: AddressSpace, file: Any, program: Program, random_offset: int,
                 interpreter: tuple[Any, Program] | None) -> Image:
    """Map ``program`` from ``file``, and its ``interpreter`` (file, headers) if it has one.

    ``random_offset`` (bytes, page-aligned) moves a position-independent program.

    Raises:
        Errno: any; the program cannot run.
    """
    header, loads = program.header, program.loads
    image = Image()
    bias = total_size = 0
    for index, segment in enumerate(loads):
        prot = _protection(segment)
        flags = MAP_PRIVATE
        if index:
            flags |= MAP_FIXED
        elif header.type == ET_EXEC:
            flags |= MAP_FIXED_NOREPLACE
        else:
            total_size = total_mapping_size(loads)
            if not total_size:
                raise Errno(EINVAL)
            alignment = maximum_alignment(loads)
            if interpreter is not None:
                bias = (ELF_ET_DYN_BASE + random_offset) & -(alignment or 1)
                flags |= MAP_FIXED_NOREPLACE
            elif alignment > PAGE_SIZE:
                # Find a hole with room for the alignment, then map at the aligned address in it.
                bias = _load_segment(mm, file, 0, segment, prot, flags, total_size)
                _unmap(mm, bias, page_align(total_size))
                bias &= -alignment
                flags |= MAP_FIXED_NOREPLACE
            bias = (bias - segment.vaddr) & PAGE_MASK & U64
        address = _load_segment(mm, file, (bias + segment.vaddr) & U64, segment, prot, flags, total_size)
        total_size = 0
        if index == 0 and header.type == ET_DYN:
            bias = (bias + address - ((bias + segment.vaddr) & PAGE_MASK)) & U64
        if segment.offset <= header.phoff < segment.offset + segment.filesz:
            image.phdr_address = (header.phoff - segment.offset + segment.vaddr) & U64
        _account(image, segment)
    image.load_bias = bias
    for name in ("phdr_address", "start_code", "end_code", "start_data", "end_data", "brk"):
        setattr(image, name, (getattr(image, name) + bias) & U64)
    image.program_entry = (header.entry + bias) & U64
    image.brk = page_align(image.brk)
    image.entry = image.program_entry
    if interpreter is not None:
        image.interpreter_base, image.entry = _load_interpreter(mm, *interpreter, bias)
    if bad_address(image.entry):
        raise Errno(EINVAL)
    return image


def _account(image: Image, segment: Segment) -> None:
    """Check that the segment lies in user space, and let it widen code, data and brk (addresses without the bias)."""
    start, file_end = segment.vaddr, (segment.vaddr + segment.filesz) & U64
    if segment.flags & PF_X:
        image.start_code = min(image.start_code, start)
    image.start_data = max(image.start_data, start)
    if bad_address(start) or segment.filesz > segment.memsz or segment.memsz > TASK_SIZE - start:
        raise Errno(EINVAL)
    if segment.flags & PF_X:
        image.end_code = max(image.end_code, file_end)
    image.end_data = max(image.end_data, file_end)
    image.brk = max(image.brk, start + segment.memsz)


def _load_interpreter(mm: AddressSpace, file: Any, program: Program, program_bias: int) -> tuple[int, int]:
    """Map ld.so; returns its base (AT_BASE) and entry address (load_elf_interp)."""
    header, loads = program.header, program.loads
    if header.type not in (ET_EXEC, ET_DYN):
        raise Errno(EPERM)
    total_size = total_mapping_size(loads)
    if not total_size:
        raise Errno(EINVAL)
    base = 0
    for index, segment in enumerate(loads):
        flags = MAP_PRIVATE
        if header.type == ET_EXEC or index:
            flags |= MAP_FIXED
        elif not program_bias:
            # The program is fixed: let mmap choose, whatever address the interpreter was linked for.
            base = -segment.vaddr & U64
        address = _load_segment(mm, file, (base + segment.vaddr) & U64, segment, _protection(segment), flags,
                                total_size)
        total_size = 0
        if index == 0 and header.type == ET_DYN:
            base = (address - (segment.vaddr & PAGE_MASK)) & U64
        start = (base + segment.vaddr) & U64
        if bad_address(start) or segment.filesz > segment.memsz or segment.memsz > TASK_SIZE - start:
            raise Errno(ENOMEM)
    return base, (base + header.entry) & U64


def _load_segment(mm: AddressSpace, file: Any, address: int, segment: Segment, prot: int, flags: int,
                  total_size: int) -> int:
    """Map one PT_LOAD with its zeroed tail; returns the page where it begins (elf_load)."""
    if segment.filesz:
        start = _map(mm, file, address, segment, prot, flags, total_size)
        in_page = segment.vaddr % PAGE_SIZE
        zero_start, zero_end = start + in_page + segment.filesz, start + in_page + segment.memsz
        if segment.memsz > segment.filesz:
            _zero_rest_of_page(mm, zero_start & U64, prot)
    else:
        start = zero_start = address & PAGE_MASK & U64
        zero_end = zero_start + segment.vaddr % PAGE_SIZE + segment.memsz
    if segment.memsz > segment.filesz:
        _map_zeros(mm, page_align(zero_start), page_align(zero_end), prot & PROT_EXEC)
    return start


def _map(mm: AddressSpace, file: Any, address: int, segment: Segment, prot: int, flags: int, total_size: int) -> int:
    """Map the part of a segment that is in the file (elf_map, vm_mmap)."""
    in_page = segment.vaddr % PAGE_SIZE
    size = page_align(segment.filesz + in_page)
    offset = (segment.offset - in_page) & U64
    address &= PAGE_MASK & U64
    if not size:
        return address
    length = page_align(total_size) if total_size else size
    # What the kernel's unsigned 64-bit sums would refuse, before Python's unbounded ones go on.
    if offset % PAGE_SIZE or not length or offset + length > U64:
        raise Errno(EINVAL)
    if length > TASK_SIZE:
        raise Errno(ENOMEM)
    if offset + length > (1 << 63) - 1:
        raise Errno(EOVERFLOW)
    if flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) and address > TASK_SIZE - length:
        raise Errno(ENOMEM)
    if address > TASK_SIZE - length:
        address = 0  # only a hint
    start = mm.mmap(address, length, prot, flags, file, offset)
    if bad_address(start):
        raise Errno(EINVAL)
    _unmap(mm, start + size, length - size)
    return start


def _unmap(mm: AddressSpace, start: int, length: int) -> None:
    """Unmap what was mapped too much; the kernel ignores that the range may be none at all."""
    if 0 < length <= TASK_SIZE - start:
        mm.munmap(start, length)


def _map_zeros(mm: AddressSpace, start: int, end: int, executable: int) -> None:
    """Anonymous pages for [start, end), over what may be there (vm_brk_flags)."""
    length = (end - start) & U64
    if not length:
        return
    if length > TASK_SIZE or start > TASK_SIZE - length:
        raise Errno(ENOMEM)
    mm.mmap(start, length, PROT_READ | PROT_WRITE | executable, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, None, 0)


def _zero_rest_of_page(mm: AddressSpace, address: int, prot: int) -> None:
    """The bytes of the file behind the segment's end are not the program's (padzero)."""
    rest = -address % PAGE_SIZE
    if not rest:
        return
    try:
        mm.write(address, bytes(rest))
    except Errno:
        if prot & PROT_WRITE:
            raise Errno(EFAULT) from None


def _protection(segment: Segment) -> int:
    return ((PROT_READ if segment.flags & PF_R else 0) | (PROT_WRITE if segment.flags & PF_W else 0)
            | (PROT_EXEC if segment.flags & PF_X else 0))
