"""What is at an address of a program or library: function, source lines, inlined calls, PLT entries.

    ModuleSymbols ──> symbols_elf.Elf          the file, and its separate debug file by build id
        │        └──> symbols_dwarf.Dwarf      lines and inlined calls
        └──> demangle()                        C++ and Rust names, by libstdc++

A file without any of it gives no names; a broken one gives fewer.
"""

from __future__ import annotations

import bisect
import ctypes
import functools
import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from guest.fuzz.symbols_dwarf import Dwarf, Location
from guest.fuzz.symbols_elf import Elf, ElfError
from guest.fuzz.unwind_cfi import CallFrames

#: Where Debian and others keep separate debug files.
DEBUG_DIRECTORY = "/usr/lib/debug"
_PLT_ENTRY_BYTES = 16
_MAX_MANGLED = 2048
#: What the compiler appends to the names of parts and copies of a function.
_CLONE = re.compile(r"(\.(part|constprop|isra|cold|lto_priv|llvm)(\.\d+)*)+$")

ReadFile = Callable[[str], bytes | None]


@dataclass(frozen=True)
class Symbol:
    """A name for an address, and how far into it the address is, in bytes."""

    name: str
    offset: int


class ModuleSymbols:
    """The symbols of one file. Addresses are the file's own, before the loader moved it.

    ``read_file`` gives the contents of another file by its path, for separate debug files.

    Raises:
        ElfError: it is no ELF file.
    """

    def __init__(self, path: str, data: bytes, read_file: ReadFile) -> None:
        self.path = path
        self.elf = Elf(data)
        self._read_file = read_file
        self._locations: dict[int, list[Location]] = {}

    def bias(self, start: int, offset: int, executable: bool | None = None) -> int | None:
        """See Elf.bias()."""
        return self.elf.bias(start, offset, executable)

    def symbol(self, address: int) -> Symbol | None:
        """The function that ``address`` is in, by the symbol tables; ``name@plt`` for an entry of the PLT."""
        starts, rows = self._functions
        index = bisect.bisect_right(starts, address) - 1
        if index >= 0 and address < rows[index][0] + rows[index][1]:
            return Symbol(demangle(rows[index][2]), address - rows[index][0])
        found = self._plt(address)
        if found is None and index >= 0 and not rows[index][1] and self.elf.same_section(rows[index][0], address):
            found = Symbol(demangle(rows[index][2]), address - rows[index][0])  # a label: it says not how far it goes
        return found

    def locate(self, address: int) -> list[Location]:
        """The functions around ``address`` with their lines, innermost first, as far as debug information tells."""
        if address not in self._locations:
            self._locations[address] = next(filter(None, (dwarf.locate(address) for dwarf in self._dwarfs)), [])
        return self._locations[address]

    def function_start(self, address: int) -> int | None:
        """Where the function around ``address`` begins, by symbols or else by its unwind information."""
        symbol = self.symbol(address)
        if symbol is not None:
            return address - symbol.offset
        return self.call_frames.function_start(address)

    def address_of(self, name: str) -> int | None:
        """The address of a function by its name in the symbol tables."""
        starts, rows = self._functions
        return next((start for start, (_, _, found) in zip(starts, rows, strict=True) if found == name), None)

    @functools.cached_property
    def call_frames(self) -> CallFrames:
        """How to unwind this file's code."""
        return CallFrames(self.elf, self._debug)

    # -- inside ----------------------------------------------------------------------------------------------------

    @functools.cached_property
    def _debug(self) -> Elf | None:
        """The separate debug file: by build id, else by the name in .gnu_debuglink."""
        paths = []
        if self.elf.build_id:
            paths.append(_by_build_id(self.elf.build_id))
        link = self.elf.debug_link
        if link and "/" not in link:
            here = posixpath.dirname(self.path)
            paths += [f"{here}/{link}", f"{here}/.debug/{link}", f"{DEBUG_DIRECTORY}{here}/{link}"]
        for path in paths:
            found = self._open(path) if path != self.path else None
            # A file of another build would give wrong names.
            if found is not None and (found.build_id or self.elf.build_id) == self.elf.build_id:
                return found
        return None

    def _open(self, path: str) -> Elf | None:
        data = self._read_file(path)
        try:
            return Elf(data) if data else None
        except ElfError:
            return None

    @functools.cached_property
    def _dwarfs(self) -> list[Dwarf]:
        found: list[Dwarf] = []
        for elf in (self.elf, self._debug):
            info: Any = None
            if elf is not None:
                supplement = self._open(_by_build_id(elf.supplement_id)) if elf.supplement_id else None
                info = elf.dwarf(supplement)
            if info is not None:
                found.append(Dwarf(info))
        return found

    @functools.cached_property
    def _functions(self) -> tuple[list[int], list[tuple[int, int, str]]]:
        """Sorted by address: starts, and (start, size, name), one each."""
        best: dict[int, tuple[tuple[bool, int, int, str], int, str]] = {}
        for elf in (self.elf, self._debug):
            for start, size, rank, name in elf.functions() if elf is not None else ():
                # Of equals the shortest name: raise rather than __GI_raise.
                key = (size > 0, rank, -len(name), name)
                if start not in best or key > best[start][0]:
                    best[start] = key, size, name
        starts = sorted(best)
        return starts, [(start, best[start][1], best[start][2]) for start in starts]

    @functools.cached_property
    def _imports(self) -> dict[int, str]:
        return self.elf.imports()

    def _plt(self, address: int) -> Symbol | None:
        """An entry of the procedure linkage table: a jump through a slot that the loader fills."""
        if self.elf.sections and not any(
                s.name.startswith(".plt") and s.address <= address < s.address + s.size for s in self.elf.sections):
            return None
        start = address & -_PLT_ENTRY_BYTES
        for begin in (start, address & -8):  # .plt.got may have entries of 8 bytes
            code = self.elf.at_address(begin, _PLT_ENTRY_BYTES)
            at = code.find(b"\xff\x25")
            if 0 <= at <= len(code) - 6:
                slot = begin + at + 6 + int.from_bytes(code[at + 2:at + 6], "little", signed=True)
                if slot in self._imports:
                    return Symbol(f"{self._imports[slot]}@plt", address - begin)
        return None


def _by_build_id(build_id: str) -> str:
    return f"{DEBUG_DIRECTORY}/.build-id/{build_id[:2]}/{build_id[2:]}.debug"


@functools.cache
def _demangler() -> tuple[Any, Any] | None:
    try:
        library = ctypes.CDLL("libstdc++.so.6")
        libc = ctypes.CDLL(None)
        call = library.__cxa_demangle
    except (OSError, AttributeError):
        return None
    call.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)]
    call.restype = ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    return call, libc.free


@functools.lru_cache(4096)
def demangle(name: str) -> str:
    """A C++ or Rust name as its source has it, without parameters; others, and all without libstdc++, as they are."""
    suffix = _CLONE.search(name)
    plain = name[:suffix.start()] if suffix else name
    plain = plain.split("@", 1)[0] if "@" in plain and not plain.startswith("@") else plain
    if not plain.startswith("_Z") or len(plain) > _MAX_MANGLED or (tools := _demangler()) is None:
        return name
    call, free = tools
    status = ctypes.c_int()
    result = call(plain.encode(), None, None, ctypes.byref(status))
    if not result:
        return name
    text = ctypes.string_at(result).decode(errors="backslashreplace")
    free(result)
    return _without_parameters(re.sub(r"::h[0-9a-f]{16}$", "", text))


def _without_result(text: str) -> str:
    """``int ns::f<int>`` → ``ns::f<int>``: templates come with the type of their result."""
    depth = 0
    for at in range(len(text) - 1, 0, -1) if "operator" not in text else ():
        depth += (text[at] in ">)") - (text[at] in "<(")
        if text[at] == " " and not depth:
            return text[at + 1:]
    return text


def _without_parameters(text: str) -> str:
    """``ns::f(int) const`` → ``ns::f``: the last pair of parentheses and what follows, if it is a parameter list."""
    end = text.rfind(")")
    if end < 0 or text[end + 1:].strip() not in ("", "const", "&", "&&", "volatile", "const &"):
        return text
    depth = 0
    for at in range(end, -1, -1):
        depth += (text[at] == ")") - (text[at] == "(")
        if not depth:
            return _without_result(text[:at]) if at and not text[:at].endswith(("operator", "::")) else text
    return text
