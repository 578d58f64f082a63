"""Call frame information: how to find the caller of a frame, from .eh_frame or .debug_frame.

DWARF 5 §6.4, and the chapter on .eh_frame of the Linux Standard Base. One function's entry is read when it is asked
for, through the sorted table of .eh_frame_hdr; pyelftools would read the whole section, a third of a second for the C
library, or nothing when any entry is broken.
"""

from __future__ import annotations

import contextlib
import functools

import numpy as np

from guest.fuzz.symbols_elf import PT_GNU_EH_FRAME, Elf
from guest.fuzz.unwind_rules import CfiError, Cie, Cursor, Fde, Rules, run

_MAX_ENTRIES = 500_000
_OMIT = 0xFF


class _Table:
    """The entries of one section."""

    def __init__(self, data: bytes, address: int, is_eh: bool) -> None:
        self.data, self.address, self.is_eh = data, address, is_eh
        self._cies: dict[int, Cie] = {}

    def fde(self, at: int) -> tuple[Fde | None, int]:
        """The entry at offset ``at`` (None for a CIE), and the offset of the next; 0 at the end."""
        cursor = Cursor(self.data, at, self.address)
        length = cursor.number(4)
        size = 4
        if length == 0xFFFFFFFF:
            length, size = cursor.number(8), 8
        if not length:
            return None, 0
        body = cursor.at
        end = body + length
        if end > len(self.data):
            raise CfiError("ends too early")
        pointer = cursor.number(4 if self.is_eh else size)
        if pointer == (0 if self.is_eh else (1 << 8 * size) - 1):
            return None, end
        cie = self._cie(body - pointer if self.is_eh else pointer)
        start = cursor.encoded(cie.encoding)
        span = cursor.encoded(cie.encoding & 0x0F)
        if cie.has_augmentation_data:
            cursor.take(cursor.uleb())
        return Fde(start, start + span, cie, (cursor.at, end)), end

    def _cie(self, at: int) -> Cie:
        if at not in self._cies:
            self._cies[at] = self._read_cie(at)
        return self._cies[at]

    def _read_cie(self, at: int) -> Cie:
        cursor = Cursor(self.data, at, self.address)
        length = cursor.number(4)
        wide = length == 0xFFFFFFFF
        if wide:
            length = cursor.number(8)
        end = cursor.at + length
        cursor.take(8 if wide and not self.is_eh else 4)
        version = cursor.number(1)
        augmentation = cursor.string()
        if version not in (1, 3, 4):
            raise CfiError("an unknown version")
        if version == 4:
            cursor.take(2)
        code_align, data_align = cursor.uleb(), cursor.sleb()
        return_register = cursor.number(1) if version == 1 else cursor.uleb()
        encoding = 0
        if augmentation.startswith(b"z"):
            after = cursor.uleb() + cursor.at
            for letter in augmentation[1:]:
                if letter == ord("R"):
                    encoding = cursor.number(1)
                elif letter == ord("L"):
                    cursor.take(1)
                elif letter == ord("P"):
                    kind = cursor.number(1)
                    if kind != _OMIT:
                        cursor.encoded(kind & 0x0F)
                elif letter not in b"SB":
                    break
            cursor.at = after
        elif augmentation:
            raise CfiError("an unknown augmentation")
        return Cie(code_align, data_align, return_register, encoding, augmentation.startswith(b"z"),
                    b"S" in augmentation, (cursor.at, min(end, len(self.data))))


class CallFrames:
    """The unwind information of a file; ``debug`` is its separate debug file, for .debug_frame."""

    def __init__(self, elf: Elf, debug: Elf | None) -> None:
        self._elf, self._debug_elf = elf, debug
        self._found: dict[int, tuple[_Table, Fde] | None] = {}
        self._rules: dict[int, Rules | None] = {}

    def rules(self, address: int) -> Rules | None:
        """How to leave the function at ``address``; None where nothing, or nothing sensible, is known."""
        if address not in self._rules:
            found = self._find(address)
            self._rules[address] = None
            if found is not None:
                with contextlib.suppress(CfiError, ValueError, OverflowError):
                    self._rules[address] = run(found[0].data, found[0].address, found[1], address)
        return self._rules[address]

    def function_start(self, address: int) -> int | None:
        """Where the code that one entry describes begins: a function, or a cold part of one."""
        found = self._find(address)
        return found[1].start if found is not None else None

    def _find(self, address: int) -> tuple[_Table, Fde] | None:
        if address not in self._found:
            self._found[address] = self._search(address)
        return self._found[address]

    def _search(self, address: int) -> tuple[_Table, Fde] | None:
        for lookup in (self._by_header, self._by_list):
            try:
                found = lookup(address)
            except (CfiError, ValueError, OverflowError):
                continue
            if found is not None and found[1].start <= address < found[1].end:
                return found
        return None

    # -- .eh_frame_hdr -----------------------------------------------------------------------------------------------

    @functools.cached_property
    def _header(self) -> tuple[np.ndarray, _Table] | None:
        """The table (start, entry) relative to the header's address, and the section that the entries are in."""
        segment = next((s for s in self._elf.segments if s.type == PT_GNU_EH_FRAME), None)
        if segment is None:
            return None
        data = self._elf.slice(segment.offset, segment.file_bytes)
        cursor = Cursor(data, 0, segment.address)
        version, frame_encoding, count_encoding, table_encoding = cursor.take(4)
        if version != 1 or table_encoding != 0x3B:  # data-relative, signed, 4 bytes: what all linkers write
            return None
        frame = cursor.encoded(frame_encoding, segment.address)
        count = cursor.encoded(count_encoding, segment.address)
        raw = data[cursor.at:cursor.at + 8 * min(count, len(data))]
        rows = np.frombuffer(raw[:len(raw) & -8], "<i4").reshape(-1, 2).astype(np.int64) + segment.address
        section = self._elf.section(".eh_frame")
        size = section.size if section is not None and section.address == frame else 1 << 30
        return rows, _Table(self._elf.at_address(frame, size), frame, True)

    def _by_header(self, address: int) -> tuple[_Table, Fde] | None:
        if self._header is None:
            return None
        rows, table = self._header
        index = int(np.searchsorted(rows[:, 0], address, "right")) - 1
        if index < 0:
            return None
        fde, _ = table.fde(int(rows[index, 1]) - table.address)
        return (table, fde) if fde is not None else None

    # -- from one end to the other ----------------------------------------------------------------------------------

    @functools.cached_property
    def _list(self) -> list[tuple[_Table, Fde]]:
        """Every entry, for files without a sorted table: a static program, .debug_frame."""
        found: list[tuple[_Table, Fde]] = []
        sources: list[tuple[Elf, str, bool]] = [(self._elf, ".debug_frame", False)]
        if self._header is None:
            sources.insert(0, (self._elf, ".eh_frame", True))
        if self._debug_elf is not None:
            sources.append((self._debug_elf, ".debug_frame", False))
        for elf, name, is_eh in sources:
            section = elf.section(name)
            if section is None or section.compressed:
                continue
            table = _Table(elf.section_bytes(name), section.address, is_eh)
            at = 0
            while 0 <= at < len(table.data) and len(found) < _MAX_ENTRIES:
                try:
                    fde, at = table.fde(at)
                except CfiError:
                    break
                if fde is not None:
                    found.append((table, fde))
                if not at:
                    break
        found.sort(key=lambda entry: entry[1].start)
        return found

    @functools.cached_property
    def _starts(self) -> np.ndarray:
        return np.array([entry.start for _, entry in self._list], np.uint64)

    def _by_list(self, address: int) -> tuple[_Table, Fde] | None:
        index = int(np.searchsorted(self._starts, np.uint64(address), "right")) - 1
        return self._list[index] if index >= 0 else None
