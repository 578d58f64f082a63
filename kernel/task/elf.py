"""Reading an ELF file as execve does: which headers count, in which order they are checked, and the errors.

Pure parsing: bytes in, :class:`Program` out, or ``Errno``. Nothing in a file can make it raise anything else.
Linux: fs/binfmt_elf.c (load_elf_binary up to begin_new_exec, load_elf_phdrs); elf(5).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from emu.paging import PAGE_MASK, PAGE_SIZE
from emu.words import U64
from kernel.errno import EINVAL, EIO, ELIBBAD, ENOEXEC, Errno

ELFMAG = b"\x7fELF"
ET_EXEC, ET_DYN = 2, 3
EM_X86_64 = 62
PT_LOAD, PT_INTERP, PT_GNU_STACK = 1, 3, 0x6474E551
PF_X, PF_W, PF_R = 1, 2, 4

PATH_MAX = 4096
MAX_PHDRS_BYTES = 65536
TASK_SIZE = 0x7FFFFFFFF000

_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
EHDR_SIZE = _EHDR.size
PHDR_SIZE = _PHDR.size

Reader = Callable[[int, int], bytes]
"""``read(offset, size)``: bytes of the file, fewer at its end."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A program header (Elf64_Phdr); sizes and addresses in bytes."""

    type: int
    flags: int
    offset: int
    vaddr: int
    paddr: int
    filesz: int
    memsz: int
    align: int


@dataclass(frozen=True, slots=True)
class Header:
    """What execve looks at in an ELF header (Elf64_Ehdr)."""

    magic: bytes
    type: int
    machine: int
    entry: int
    phoff: int
    phentsize: int
    phnum: int


@dataclass(frozen=True, slots=True)
class Program:
    """An ELF file that execve accepts so far."""

    header: Header
    segments: tuple[Segment, ...]
    interpreter: bytes | None = None
    """The path in PT_INTERP."""
    executable_stack: bool = False
    """PT_GNU_STACK asks for one."""

    @property
    def loads(self) -> list[Segment]:
        """The PT_LOAD headers in file order."""
        return [segment for segment in self.segments if segment.type == PT_LOAD]


def unpack_header(data: bytes) -> Header:
    """The header in ``data``, at least EHDR_SIZE bytes."""
    ident, kind, machine, _, entry, phoff, _, _, _, phentsize, phnum, *_ = _EHDR.unpack_from(data)
    return Header(ident[:4], kind, machine, entry, phoff, phentsize, phnum)


def inspect_program(start: bytes, read: Reader) -> Program:
    """Check the file to be executed.

    Args:
        start: its first bytes, zero-padded (bprm->buf).
        read: reads the file.

    Raises:
        Errno: ENOEXEC when it is not ours or its headers are bad; EIO when PT_INTERP points outside the file.
    """
    header = unpack_header(start)
    if header.magic != ELFMAG or header.type not in (ET_EXEC, ET_DYN) or header.machine != EM_X86_64:
        raise Errno(ENOEXEC)
    segments = read_segments(header, read, ENOEXEC)
    interpreter = None
    for segment in segments:
        if segment.type == PT_INTERP:
            interpreter = _read_interpreter(segment, read)
            break
    return Program(header, segments, interpreter, _executable_stack(segments))


def inspect_interpreter(read: Reader) -> Program:
    """Check the program interpreter (ld.so) that a program names.

    Raises:
        Errno: EIO when it is shorter than a header; ELIBBAD when it is not an x86-64 ELF file with sane headers.
    """
    header = unpack_header(read_exactly(read, EHDR_SIZE, 0))
    if header.magic != ELFMAG or header.machine != EM_X86_64:
        raise Errno(ELIBBAD)
    return Program(header, read_segments(header, read, ELIBBAD))


def read_segments(header: Header, read: Reader, error: int) -> tuple[Segment, ...]:
    """The program headers (load_elf_phdrs); any trouble is ``error``."""
    size = header.phnum * PHDR_SIZE
    if header.phentsize != PHDR_SIZE or not 0 < size <= MAX_PHDRS_BYTES:
        raise Errno(error)
    try:
        data = read_exactly(read, size, header.phoff)
    except Errno:
        raise Errno(error) from None
    return tuple(Segment(*fields) for fields in _PHDR.iter_unpack(data))


def read_exactly(read: Reader, size: int, offset: int) -> bytes:
    """``size`` bytes at ``offset`` (elf_read).

    Raises:
        Errno: EIO when the file ends before; EINVAL for an offset that is negative as loff_t.
    """
    if offset >> 63:
        raise Errno(EINVAL)
    data = read(offset, size) if size else b""
    if len(data) != size:
        raise Errno(EIO)
    return data


def total_mapping_size(segments: list[Segment]) -> int:
    """From the first page of the PT_LOADs to the end of the highest, modulo 2**64; 0 when there are none."""
    if not segments:
        return 0
    low = min(segment.vaddr & PAGE_MASK for segment in segments)
    high = max((segment.vaddr + segment.memsz) & U64 for segment in segments)
    return (high - low) & U64


def maximum_alignment(segments: list[Segment]) -> int:
    """The greatest p_align that is a power of two, rounded up to a page; 0 when none is."""
    alignment = max((s.align for s in segments if s.align and not s.align & (s.align - 1)), default=0)
    return page_align(alignment)


def page_align(value: int) -> int:
    """Rounded up to a page, modulo 2**64 (ELF_PAGEALIGN)."""
    return (value + PAGE_SIZE - 1) & PAGE_MASK & U64


def bad_address(value: int) -> bool:
    """Not a user address (BAD_ADDR)."""
    return value >= TASK_SIZE


def _read_interpreter(segment: Segment, read: Reader) -> bytes:
    if not 2 <= segment.filesz <= PATH_MAX:
        raise Errno(ENOEXEC)
    data = read_exactly(read, segment.filesz, segment.offset)
    if data[-1] != 0:
        raise Errno(ENOEXEC)
    return data[: data.index(0)]


def _executable_stack(segments: tuple[Segment, ...]) -> bool:
    """The last PT_GNU_STACK decides; without one x86-64 gives a stack that is not executable (EXSTACK_DEFAULT)."""
    executable = False
    for segment in segments:
        if segment.type == PT_GNU_STACK:
            executable = bool(segment.flags & PF_X)
    return executable
