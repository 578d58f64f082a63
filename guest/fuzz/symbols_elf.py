"""An ELF file as bytes: headers, sections and symbol tables, by NumPy, for files that may be broken in any way.

pyelftools reads debug information (``symbols_dwarf.py``); its symbol iterators take 20 µs a symbol and believe every
header, so tables of a hundred thousand symbols and hostile headers are read here.
"""

from __future__ import annotations

import functools
import io
import lzma
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_SHDR = np.dtype([("name", "<u4"), ("type", "<u4"), ("flags", "<u8"), ("address", "<u8"), ("offset", "<u8"),
                  ("size", "<u8"), ("link", "<u4"), ("info", "<u4"), ("align", "<u8"), ("entsize", "<u8")])
_SYM = np.dtype([("name", "<u4"), ("info", "u1"), ("other", "u1"), ("shndx", "<u2"), ("value", "<u8"),
                 ("size", "<u8")])
_RELA = np.dtype([("offset", "<u8"), ("type", "<u4"), ("symbol", "<u4"), ("addend", "<i8")])
_PT_LOAD, _PT_DYNAMIC, _PT_NOTE, PT_GNU_EH_FRAME = 1, 2, 4, 0x6474E550
_PF_X = 1
_SHT_NOBITS, _SHF_COMPRESSED = 8, 0x800
_NT_GNU_BUILD_ID = 3
_EM_X86_64 = 62
_STT_NOTYPE, _STT_FUNC, _STT_IFUNC = 0, 2, 10
_SHN_UNDEF, _SHN_ABS = 0, 0xFFF1
_MAX_NAME, _MAX_SECTIONS, _MAX_SEGMENTS = 4096, 65535, 4096
_MAX_DEBUG_BYTES, _MAX_XZ_BYTES = 1 << 30, 64 << 20
_R_GLOB_DAT, _R_JUMP_SLOT = 6, 7
_DT_PLTRELSZ, _DT_STRTAB, _DT_SYMTAB, _DT_RELA, _DT_RELASZ, _DT_JMPREL = 2, 5, 6, 7, 8, 23


class ElfError(Exception):
    """Not an ELF file that can be used; the text says why."""


@dataclass(frozen=True)
class Segment:
    """A program header; sizes in bytes."""

    type: int
    executable: bool
    offset: int
    address: int
    file_bytes: int
    memory_bytes: int


@dataclass(frozen=True)
class Section:
    """A section header; a section without bytes in the file has no ``file_bytes``."""

    name: str
    type: int
    address: int
    offset: int
    size: int
    file_bytes: int
    compressed: bool
    link: int


class Elf:
    """The parts of ``data``. Nothing here raises but the constructor.

    Raises:
        ElfError: it is no ELF file for x86-64.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        if len(data) < _EHDR.size or data[:5] != b"\x7fELF\x02":
            raise ElfError("not a 64-bit ELF file")
        (_, self.type, machine, _, self.entry, phoff, shoff, _, _, phentsize, phnum, shentsize, shnum,
         shstrndx) = _EHDR.unpack_from(data)
        if machine != _EM_X86_64:
            raise ElfError("not for x86-64")
        self.segments = self._segments(phoff, phnum) if phentsize == _PHDR.size else []
        self.sections = self._sections(shoff, shnum, shstrndx) if shentsize == _SHDR.itemsize else []
        self._by_name = {section.name: section for section in reversed(self.sections)}

    # -- headers ---------------------------------------------------------------------------------------------------

    def _segments(self, offset: int, count: int) -> list[Segment]:
        found = []
        for i in range(min(count, _MAX_SEGMENTS)):
            at = offset + i * _PHDR.size
            if at + _PHDR.size > len(self.data):
                break
            kind, flags, start, address, _, file_bytes, memory_bytes, _ = _PHDR.unpack_from(self.data, at)
            file_bytes = max(min(file_bytes, len(self.data) - start), 0)
            found.append(Segment(kind, bool(flags & _PF_X), start, address, file_bytes, memory_bytes))
        return found

    def _sections(self, offset: int, count: int, names: int) -> list[Section]:
        rows = self._table(offset, min(count, _MAX_SECTIONS) * _SHDR.itemsize, _SHDR)
        if names >= len(rows):
            return []
        strings = self.slice(int(rows[names]["offset"]), int(rows[names]["size"]))
        found = []
        for row in rows.tolist():
            name, kind, flags, address, start, size, link, *_ = row
            there = 0 if kind == _SHT_NOBITS else max(min(size, len(self.data) - start), 0)
            found.append(Section(string_at(strings, name), kind, address, start, size, there,
                                 bool(flags & _SHF_COMPRESSED), link))
        return found

    def slice(self, offset: int, size: int) -> bytes:
        """Bytes of the file; fewer, or none, where there are no more."""
        return self.data[offset:offset + size] if 0 <= offset < len(self.data) else b""

    def _table(self, offset: int, size: int, kind: np.dtype[Any]) -> np.ndarray:
        raw = self.slice(offset, size)
        return np.frombuffer(raw[:len(raw) // kind.itemsize * kind.itemsize], kind)

    def section(self, name: str) -> Section | None:
        """The first section of this name."""
        return self._by_name.get(name)

    def section_bytes(self, name: str) -> bytes:
        """The contents of a section, empty when there is none."""
        section = self.section(name)
        return self.slice(section.offset, section.file_bytes) if section is not None else b""

    def at_address(self, address: int, size: int) -> bytes:
        """Bytes as loaded at a virtual address, as far as they come from the file."""
        for segment in self.segments:
            if segment.type == _PT_LOAD and segment.address <= address < segment.address + segment.file_bytes:
                inside = address - segment.address
                return self.slice(segment.offset + inside, min(size, segment.file_bytes - inside))
        return b""

    def is_code(self, address: int) -> bool:
        """Is ``address`` in an executable segment?"""
        return any(s.type == _PT_LOAD and s.executable and s.address <= address < s.address + s.memory_bytes
                   for s in self.segments)

    def same_section(self, first: int, second: int) -> bool:
        """Are two addresses in one section, as far as there are sections?"""
        holder = next((s for s in self.sections if s.address and s.address <= first < s.address + s.size), None)
        return holder is None or second < holder.address + holder.size

    def bias(self, start: int, offset: int, executable: bool | None = None) -> int | None:
        """What was added to the file's addresses when its byte ``offset`` was mapped at ``start`` (page-aligned).

        A page of the file may belong to two segments, each mapped for itself: a mapping begins where its segment does,
        and ``executable`` says which of two it is.
        """
        found: list[tuple[bool, bool, int, int]] = []
        for segment in self.segments:
            low = segment.offset & -4096
            if segment.type == _PT_LOAD and low <= offset < segment.offset + max(segment.file_bytes, 1):
                bias = start - (offset - low) - (segment.address & -4096)
                found.append((low == offset, executable in (None, segment.executable), -len(found), bias))
        return max(found)[3] if found else None

    @functools.cached_property
    def build_id(self) -> str | None:
        """The linker's build id in hexadecimal."""
        notes = [self.slice(s.offset, s.file_bytes) for s in self.segments if s.type == _PT_NOTE]
        for data in [*notes, self.section_bytes(".note.gnu.build-id")]:
            at = 0
            while at + 12 <= len(data):
                name_size, size, kind = struct.unpack_from("<III", data, at)
                start = at + 12 + (name_size + 3 & -4)
                if kind == _NT_GNU_BUILD_ID and data[at + 12:at + 16] == b"GNU\0" and 0 < size <= 64:
                    return data[start:start + size].hex()
                at = start + (size + 3 & -4)
        return None

    # -- symbols ---------------------------------------------------------------------------------------------------

    def functions(self) -> list[tuple[int, int, int, str]]:
        """(address, size, rank, name) of what may be code, from .symtab, .dynsym and .gnu_debugdata; a higher rank is
        the better name."""
        found = []
        for name in (".symtab", ".dynsym"):
            section = self.section(name)
            if section is not None and section.link < len(self.sections):
                strings = self.sections[section.link]
                found += self._functions(self._table(section.offset, section.file_bytes, _SYM),
                                         self.slice(strings.offset, strings.file_bytes))
        if not self.sections:
            found += self._functions(self._dynamic_symbols(), self._dynamic_strings)
        mini = self.section_bytes(".gnu_debugdata")
        if mini:
            found += _mini_debug_info(mini)
        return found

    def _functions(self, rows: np.ndarray, strings: bytes) -> list[tuple[int, int, int, str]]:
        kinds = rows["info"] & 15
        chosen = rows[np.isin(kinds, (_STT_NOTYPE, _STT_FUNC, _STT_IFUNC)) & (rows["shndx"] != _SHN_UNDEF)
                      & (rows["shndx"] != _SHN_ABS) & (rows["value"] != 0)]
        found = []
        for offset, info, _, _, value, size in chosen.tolist():
            name = string_at(strings, offset)
            if not name or name[0] in "$." or not self.is_code(value):
                continue
            kind, binding = info & 15, info >> 4
            # A function before a label; what others link to before what is local; a weak alias last of these.
            found.append((value, size, (kind != _STT_NOTYPE) * 4 + {1: 2, 2: 1}.get(binding, 0), name))
        return found

    # -- without sections, what the loader uses -----------------------------------------------------------------------

    @functools.cached_property
    def _dynamic(self) -> dict[int, int]:
        for segment in self.segments:
            if segment.type == _PT_DYNAMIC:
                raw = self.slice(segment.offset, segment.file_bytes)
                return dict(struct.iter_unpack("<QQ", raw[:len(raw) & -16]))
        return {}

    @functools.cached_property
    def _dynamic_strings(self) -> bytes:
        return self.at_address(self._dynamic.get(_DT_STRTAB, 0), 16 << 20)

    def _dynamic_symbols(self) -> np.ndarray:
        """.dynsym as far as it may go: the string table usually follows it."""
        start, end = self._dynamic.get(_DT_SYMTAB, 0), self._dynamic.get(_DT_STRTAB, 0)
        raw = self.at_address(start, end - start) if start < end else b""
        return np.frombuffer(raw[:len(raw) // _SYM.itemsize * _SYM.itemsize], _SYM)

    def imports(self) -> dict[int, str]:
        """Address of a GOT slot → the symbol that the loader puts there."""
        dynsym = self.section(".dynsym")
        if dynsym is not None and dynsym.link < len(self.sections):
            symbols = self._table(dynsym.offset, dynsym.file_bytes, _SYM)
            strings = self.slice(self.sections[dynsym.link].offset, self.sections[dynsym.link].file_bytes)
        else:
            symbols, strings = self._dynamic_symbols(), self._dynamic_strings
        found = {}
        dynamic = self._dynamic
        for table, size in ((_DT_RELA, _DT_RELASZ), (_DT_JMPREL, _DT_PLTRELSZ)):
            raw = self.at_address(dynamic.get(table, 0), dynamic.get(size, 0))
            rows = np.frombuffer(raw[:len(raw) // _RELA.itemsize * _RELA.itemsize], _RELA)
            rows = rows[(rows["type"] == _R_GLOB_DAT) | (rows["type"] == _R_JUMP_SLOT)]
            for slot, _, number, _ in rows.tolist():
                if number < len(symbols):
                    found[slot] = string_at(strings, int(symbols[number]["name"]))
        return found

    # -- debug information ------------------------------------------------------------------------------------------

    def dwarf(self, supplement: Elf | None) -> Any:
        """pyelftools' DWARFInfo, None when there is none or it cannot be trusted with memory.

        ``supplement`` is the file that .gnu_debugaltlink names (dwz), if there is one.
        """
        debug = [s for s in self.sections if s.name.startswith((".debug_", ".zdebug_", ".eh_frame"))]
        if not any(s.name in (".debug_info", ".zdebug_info") and s.file_bytes for s in debug):
            return None
        total = sum(self._unpacked_bytes(s) for s in debug)
        if total > _MAX_DEBUG_BYTES:
            return None
        try:
            from elftools.elf.elffile import ELFFile

            info = ELFFile(io.BytesIO(self.data)).get_dwarf_info(relocate_dwarf_sections=False, follow_links=False)
        except Exception:  # whatever a broken file makes pyelftools raise
            return None
        if supplement is not None:
            info.supplementary_dwarfinfo = supplement.dwarf(None)
        return info

    def _unpacked_bytes(self, section: Section) -> int:
        if section.name.startswith(".zdebug_"):
            return int.from_bytes(self.slice(section.offset + 4, 8), "big")
        if section.compressed:
            return int.from_bytes(self.slice(section.offset + 8, 8), "little")
        return section.size

    @functools.cached_property
    def debug_link(self) -> str | None:
        """The name in .gnu_debuglink."""
        return string_at(self.section_bytes(".gnu_debuglink"), 0) or None

    @functools.cached_property
    def supplement_id(self) -> str | None:
        """The build id in .gnu_debugaltlink."""
        data = self.section_bytes(".gnu_debugaltlink")
        end = data.find(b"\0")
        return data[end + 1:].hex() if 0 < end < len(data) - 1 and len(data) - end <= 64 else None


def _mini_debug_info(packed: bytes) -> list[tuple[int, int, int, str]]:
    """The symbols of .gnu_debugdata, a small ELF file under xz."""
    try:
        data = lzma.LZMADecompressor(memlimit=_MAX_XZ_BYTES).decompress(packed, _MAX_XZ_BYTES)
        inner = Elf(data)
    except (lzma.LZMAError, ElfError, EOFError):
        return []
    section = inner.section(".symtab")
    if section is None or section.link >= len(inner.sections):
        return []
    return inner.functions()


def string_at(strings: bytes, offset: int) -> str:
    """The C string at ``offset`` of a string table; empty when there is none."""
    if not 0 <= offset < len(strings):
        return ""
    end = strings.find(b"\0", offset, offset + _MAX_NAME)
    return strings[offset:end if end >= 0 else offset + _MAX_NAME].decode(errors="backslashreplace")
