"""Source lines and inlined calls of a code address, from DWARF: what addr2line -i prints.

pyelftools parses; this module looks up. Debug information may be anything, from a hostile file too: all work is
bounded, and :meth:`Dwarf.locate` answers with nothing rather than fail.
"""

from __future__ import annotations

import bisect
import contextlib
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError

from guest.fuzz.symbols_guard import time_limit

#: Limits of what is parsed for one address lookup: entries of one compilation unit, and bytes of one line program.
_MAX_DIES, _MAX_LINE_BYTES, _MAX_UNITS, _MAX_DEPTH = 400_000, 8 << 20, 20_000, 64
_MAX_SECONDS = 5.0
#: Mangled in Rust's own way, which libstdc++ does not know: the plain name says more.
_RUST = b"_R"
_NESTING = {"DW_TAG_namespace", "DW_TAG_module", "DW_TAG_structure_type", "DW_TAG_class_type"}
_BLOCKS = {"DW_TAG_lexical_block", "DW_TAG_inlined_subroutine", "DW_TAG_try_block", "DW_TAG_catch_block"}


@dataclass(frozen=True)
class Location:
    """One level of the source at an address: a function, inlined or not, and the line that it is at."""

    function: str | None
    """As the linker knows it, mangled."""
    file: str | None
    """As the compiler was given it; see ``directory``."""
    directory: str | None
    line: int | None
    inlined: bool = False
    """This function's code was put into the function of the next location."""


@dataclass
class _Lines:
    """The line table of one compilation unit, by address; ``rows`` are (file, line), (0, 0) behind a sequence."""

    addresses: list[int] = field(default_factory=list)
    rows: list[tuple[int, int]] = field(default_factory=list)
    files: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Number → (name, directory)."""


class _Row:
    """A row of a line program."""

    __slots__ = ("address", "discriminator", "ends", "file", "is_stmt", "line")

    def __init__(self, state: Any) -> None:
        self.address, self.file, self.line = state.address, state.file, state.line
        self.is_stmt, self.ends, self.discriminator = state.is_stmt, state.end_sequence, state.discriminator


def _add_rows(found: _Lines, rows: list[_Row]) -> None:
    """One sequence, as gdb reads it (lnp_state_machine::record_line, find_pc_sect_line).

    Rows without a line belong to the line before. Of several at one address the last counts, but for a recommended
    breakpoint before it; rows that repeat a line only to tell blocks of it apart do not count.
    """
    file = line = address = 0
    has_blocks = stmt_here = False
    for row in rows:
        if row.ends:
            _put(found, row.address, 0, 0)
            return
        if row.address != address:
            address, stmt_here = row.address, False
        has_blocks = row.discriminator != 0 or (has_blocks and row.line == line)
        changed = row.file != file
        if row.line == 0 or (changed and stmt_here and not row.is_stmt):
            continue
        if changed or row.line != line or not has_blocks:
            if row.is_stmt or not stmt_here:
                _put(found, address, row.file, row.line)
            stmt_here = stmt_here or row.is_stmt
        file, line = row.file, row.line


def _put(found: _Lines, address: int, file: int, line: int) -> None:
    if found.addresses and found.addresses[-1] == address:
        found.rows[-1] = file, line
    else:
        found.addresses.append(address)
        found.rows.append((file, line))


@dataclass
class _Unit:
    """A compilation unit with what was found out about it so far."""

    cu: Any
    lines: _Lines | None = None
    functions: list[tuple[int, int, Any]] | None = None
    """(start, end, entry) of the functions with code."""
    is_too_much: bool = False
    """Its functions could not be read in time."""


class Dwarf:
    """The debug information of one file; ``info`` is pyelftools' DWARFInfo. Addresses are the file's own."""

    def __init__(self, info: Any) -> None:
        self._info = info
        self._units: dict[int, _Unit] = {}
        self._ranges: list[tuple[int, int, int]] | None = None
        self._aranges: Any = None
        self._aranges_read = False

    def locate(self, address: int) -> list[Location]:
        """The functions that ``address`` is in, innermost first; empty when there is no information."""
        try:
            with time_limit(_MAX_SECONDS):
                unit = self._unit_of(address)
            return self._locate(unit, address) if unit is not None else []
        except Exception:  # whatever a broken file makes pyelftools raise
            return []

    # -- units ---------------------------------------------------------------------------------------------------

    def _unit_of(self, address: int) -> _Unit | None:
        """.debug_aranges knows best; a compiler that writes none (clang) leaves the ranges of each unit."""
        offset = self._by_aranges(address)
        if offset is None:
            offset = self._by_unit_ranges(address)
        if offset is None:
            return None
        if offset not in self._units:
            self._units[offset] = _Unit(self._info.get_CU_at(offset))
        return self._units[offset]

    def _by_aranges(self, address: int) -> int | None:
        if not self._aranges_read:
            self._aranges_read = True
            with contextlib.suppress(ELFError, ConstructError, ValueError):
                self._aranges = self._info.get_aranges()
        if self._aranges is None:
            return None
        found = self._aranges.cu_offset_at_addr(address)
        return found if isinstance(found, int) else None

    def _by_unit_ranges(self, address: int) -> int | None:
        if self._ranges is None:
            self._ranges = []
            for number, cu in enumerate(self._info.iter_CUs()):
                if number >= _MAX_UNITS:
                    break
                try:
                    for low, high in self._ranges_of(cu, cu.get_top_DIE()):
                        self._ranges.append((low, high, cu.cu_offset))
                except TimeoutError:
                    raise
                except Exception:  # one broken unit does not hide the others
                    continue
        return next((offset for low, high, offset in self._ranges if low <= address < high), None)

    def _ranges_of(self, cu: Any, die: Any) -> Iterator[tuple[int, int]]:
        """The address ranges of an entry: low_pc and high_pc, or a range list."""
        attributes = die.attributes
        low = attributes.get("DW_AT_low_pc")
        high = attributes.get("DW_AT_high_pc")
        if low is not None and high is not None:
            end = high.value if high.form == "DW_FORM_addr" else low.value + high.value
            yield low.value, end
            return
        ranges = attributes.get("DW_AT_ranges")
        if ranges is None:
            return
        lists = self._info.range_lists()
        if lists is None:
            return
        top = cu.get_top_DIE().attributes.get("DW_AT_low_pc")
        base = top.value if top is not None else 0
        for entry in lists.get_range_list_at_offset(ranges.value, cu):
            if hasattr(entry, "base_address"):
                base = entry.base_address
            else:
                start = 0 if getattr(entry, "is_absolute", False) else base
                yield start + entry.begin_offset, start + entry.end_offset

    # -- one address ---------------------------------------------------------------------------------------------

    def _locate(self, unit: _Unit, address: int) -> list[Location]:
        name, directory, line = self._line(unit, address)
        chain = []
        if not unit.is_too_much:
            try:
                with time_limit(_MAX_SECONDS):
                    chain = self._chain(unit, address)
            except TimeoutError:  # entries that go round in circles, or just very many
                unit.is_too_much = True
            except Exception:  # the line table may be good where the entries are not
                chain = []
        if not chain:
            return [Location(None, name, directory, line)] if line is not None else []
        found = []
        for die in chain:
            inlined = die.tag == "DW_TAG_inlined_subroutine"
            found.append(Location(_name(die), name, directory, line, inlined))
            if inlined:
                call_file, call_line = die.attributes.get("DW_AT_call_file"), die.attributes.get("DW_AT_call_line")
                files = self._lines(unit).files
                name, directory = files.get(call_file.value, (None, None)) if call_file is not None else (None, None)
                line = call_line.value if call_line is not None else None
        return found

    def _line(self, unit: _Unit, address: int) -> tuple[str | None, str | None, int | None]:
        lines = self._lines(unit)
        index = bisect.bisect_right(lines.addresses, address) - 1
        if index < 0:
            return None, None, None
        number, line = lines.rows[index]
        if not line:
            return None, None, None
        name, directory = lines.files.get(number, (None, None))
        return name, directory, line

    def _lines(self, unit: _Unit) -> _Lines:
        if unit.lines is None:
            unit.lines = _Lines()
            with contextlib.suppress(TimeoutError), time_limit(_MAX_SECONDS):
                unit.lines = self._read_lines(unit.cu)
        return unit.lines

    def _read_lines(self, cu: Any) -> _Lines:
        found = _Lines()
        program = self._info.line_program_for_CU(cu)
        if program is None or program.program_end_offset - program.program_start_offset > _MAX_LINE_BYTES:
            return found
        found.files = _files(cu, program)
        # Sequences may come in any order; within one, addresses grow.
        sequences: list[list[_Row]] = [[]]
        for entry in program.get_entries():
            if entry.state is not None:
                sequences[-1].append(_Row(entry.state))
                if entry.state.end_sequence:
                    sequences.append([])
        end = 0
        for sequence in sorted((s for s in sequences if s and s[0].address), key=lambda s: s[0].address):
            if sequence[0].address >= end:  # overlapping code does not exist
                _add_rows(found, sequence)
                end = sequence[-1].address
        return found

    # -- functions -----------------------------------------------------------------------------------------------

    def _chain(self, unit: _Unit, address: int) -> list[Any]:
        """The function entry around ``address`` and the inlined calls in it, innermost first."""
        if unit.functions is None:
            found: list[tuple[int, int, Any]] = []
            for die in self._walk(unit.cu, unit.cu.get_top_DIE(), _NESTING, [0]):
                if die.tag == "DW_TAG_subprogram":
                    found += [(low, high, die) for low, high in self._ranges_of(unit.cu, die) if low]
            unit.functions = found
        function = next((die for low, high, die in unit.functions if low <= address < high), None)
        if function is None:
            return []
        chain, here = [function], function
        for _ in range(_MAX_DEPTH):
            inner = next((die for die in here.iter_children() if die.tag in _BLOCKS and any(
                low <= address < high for low, high in self._ranges_of(unit.cu, die))), None)
            if inner is None:
                break
            if inner.tag == "DW_TAG_inlined_subroutine":
                chain.insert(0, inner)
            here = inner
        return chain

    def _walk(self, cu: Any, parent: Any, into: set[str], seen: list[int], depth: int = 0) -> Iterator[Any]:
        """The children of ``parent``, and those of what is ``into``."""
        for die in parent.iter_children():
            seen[0] += 1
            if seen[0] > _MAX_DIES:
                return
            yield die
            if die.tag in into and depth < _MAX_DEPTH:
                yield from self._walk(cu, die, into, seen, depth + 1)


def _files(cu: Any, program: Any) -> dict[int, tuple[str, str]]:
    """File number → (name, directory) of a line program; DWARF 5 counts from 0, and its directories are whole."""
    header = program.header
    base = cu.get_top_DIE().attributes.get("DW_AT_comp_dir")
    compiled_in = _text(base.value) if base is not None else ""
    directories = [_text(d) for d in header.include_directory]
    found = {}
    for number, entry in enumerate(header.file_entry):
        index = entry.dir_index
        if header.version >= 5:
            directory = directories[index] if index < len(directories) else ""
            found[number] = _text(entry.name), posixpath.join(compiled_in, directory)
        else:
            directory = directories[index - 1] if 0 < index <= len(directories) else ""
            found[number + 1] = posixpath.join(directory, _text(entry.name)), compiled_in
    if header.version >= 5:
        # Names without the directory that the compiler was started in, as gdb shows them.
        found = {number: (_relative(name, directory, compiled_in), compiled_in)
                 for number, (name, directory) in found.items()}
    return found


def _relative(name: str, directory: str, base: str) -> str:
    if name.startswith("/") or directory == base:
        return name
    path = posixpath.join(directory, name)
    return path[len(base) + 1:] if base and path.startswith(base + "/") else path


def _name(die: Any) -> str | None:
    """The name of a function, through the entries that it is an instance of."""
    for _ in range(8):
        for attribute in ("DW_AT_linkage_name", "DW_AT_MIPS_linkage_name", "DW_AT_name"):
            if attribute in die.attributes:
                value = die.attributes[attribute].value
                if isinstance(value, bytes) and value.startswith(_RUST) and "DW_AT_name" in die.attributes:
                    continue
                return _text(value) if isinstance(value, bytes) else None
        link = next((a for a in ("DW_AT_abstract_origin", "DW_AT_specification") if a in die.attributes), None)
        if link is None:
            return None
        die = die.get_DIE_from_attribute(link)
    return None


def _text(value: Any) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
