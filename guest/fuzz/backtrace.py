"""The backtrace of a stopped thread: frames with functions, lines and modules, as gdb's ``bt`` shows them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guest.fuzz.symbols import ModuleSymbols, demangle
from guest.fuzz.symbols_elf import ElfError
from guest.fuzz.unwind import RawFrame, by_number, unwind
from guest.fuzz.unwind_cfi import CallFrames
from kernel.errno import Errno
from kernel.fs.uapi import AT_FDCWD, S_IFREG

if TYPE_CHECKING:
    from kernel.mm.inspection import Vma
    from kernel.task.task import Task

PAGE = 4096
_PROT_EXEC = 4
_MAX_FILE_BYTES = 512 << 20
MAX_FRAMES = 256


@dataclass(frozen=True)
class Frame:
    """One line of a backtrace; several stand for one place in the code where calls were inlined."""

    pc: int
    function: str | None
    """Demangled; None where no name is known."""
    file: str | None
    directory: str | None
    line: int | None
    module: str | None
    """The path of the mapped file."""
    module_offset: int | None
    """``pc`` in the file's own addresses: what addr2line and objdump take."""
    function_offset: int | None
    """``pc`` relative to the function's beginning."""
    found_by: str
    """As RawFrame.found_by; ``inline`` for a call that was inlined into the next frame."""
    is_program: bool
    """The code is the program's own, not a library's."""
    function_start: int | None = None
    """In the file's own addresses, also where the function has no name."""


class SymbolCache:
    """The symbols of modules, kept from one crash to the next; keyed by what identifies a file's contents."""

    def __init__(self) -> None:
        self._modules: dict[tuple[Any, ...], ModuleSymbols | None] = {}

    def get(self, task: Task, file: Any) -> ModuleSymbols | None:
        """The symbols of an open file; None when it is no ELF file."""
        inode = file.inode
        stat = inode.getattr()
        key = (stat.dev, stat.ino, stat.size, stat.mtime)
        if key not in self._modules:
            self._modules[key] = self._load(task, file)
        return self._modules[key]

    def _load(self, task: Task, file: Any) -> ModuleSymbols | None:
        data = file_bytes(file.inode)
        if data is None:
            return None
        path = file.path.decode(errors="surrogateescape").removesuffix(" (deleted)")
        try:
            return ModuleSymbols(path, data, lambda name: path_bytes(task, name))
        except ElfError:
            return None


def file_bytes(inode: Any) -> bytes | None:
    """The contents of a regular file as the guest sees them, without a trace in its page cache; None when it has none
    or is too long."""
    if inode.kind != S_IFREG:
        return None
    try:
        cache = inode.cache or inode.page_cache()
    except (Errno, AttributeError):
        return None
    if not 0 < cache.size <= _MAX_FILE_BYTES:
        return None
    data = bytearray(cache.size)
    view = memoryview(data)
    try:
        if cache.backing is not None:
            end = min(cache.size, cache.valid_size)
            done = 0
            while done < end and (got := cache.backing.read_into(done, view[done:end])):
                done += got
    except Errno:
        return None
    for index in cache.frames.nonzero()[0].tolist():
        here = view[index * PAGE:(index + 1) * PAGE]
        here[:] = cache.memory.page(int(cache.frames[index]))[:len(here)]
    return bytes(data)


def path_bytes(task: Task, path: str) -> bytes | None:
    """The contents of a file by its path in the guest's tree."""
    try:
        inode = task.kernel.vfs.resolve(task, AT_FDCWD, path.encode(errors="surrogateescape")).inode
    except (Errno, ValueError):
        return None
    return file_bytes(inode)


class TaskSpace:
    """The memory of a task that stands still, with its modules. Reads never fault anything in that is not mapped."""

    def __init__(self, task: Task, cache: SymbolCache) -> None:
        self._task, self._cache = task, cache
        self._mm = task.mm
        self.maps: list[Vma] = task.mm.vma_rows()
        self._pages: dict[int, bytes] = {}
        self._modules: dict[int, tuple[ModuleSymbols, int] | None] = {}

    def vma(self, address: int) -> Vma | None:
        """The mapping that ``address`` is in."""
        return next((vma for vma in self.maps if vma.start <= address < vma.end), None)

    def read(self, address: int, count: int) -> bytes:
        """Bytes of memory; fewer at the end of what can be read."""
        out = b""
        while len(out) < count:
            here = address + len(out)
            page = self._page(here & -PAGE)
            piece = page[here % PAGE:here % PAGE + count - len(out)]
            if not piece:
                break
            out += piece
        return out

    def _page(self, start: int) -> bytes:
        if start not in self._pages:
            data = b""
            if self.vma(start) is not None:  # else a read below the stack would make it grow
                try:
                    data = self._mm.read_some(start, PAGE)
                except Errno:
                    data = b""
            self._pages[start] = data
        return self._pages[start]

    def is_code(self, address: int) -> bool:
        """Is the address in an executable mapping?"""
        vma = self.vma(address)
        return vma is not None and bool(vma.prot & _PROT_EXEC)

    def module(self, address: int) -> tuple[ModuleSymbols, int] | None:
        """The file mapped at ``address``, and how far it was moved; None where there is none."""
        vma = self.vma(address)
        if vma is None or getattr(vma.file, "inode", None) is None:
            return None
        if vma.start not in self._modules:
            symbols = self._cache.get(self._task, vma.file)
            bias = symbols.bias(vma.start, vma.offset, bool(vma.prot & _PROT_EXEC)) if symbols is not None else None
            self._modules[vma.start] = (symbols, bias) if symbols is not None and bias is not None else None
        return self._modules[vma.start]

    def call_frames(self, address: int) -> tuple[CallFrames, int] | None:
        """The unwind information for ``address``, and how far its module was moved."""
        found = self.module(address)
        return (found[0].call_frames, found[1]) if found is not None else None

    def function_start(self, address: int) -> int | None:
        """Where the function around ``address`` begins, if that is known."""
        found = self.module(address)
        start = found[0].function_start(address - found[1]) if found is not None else None
        return start + found[1] if start is not None and found is not None else None


def backtrace(space: TaskSpace, registers: dict[str, int], program: str, limit: int = MAX_FRAMES) -> list[Frame]:
    """The frames of a thread with these ``registers``, innermost first, down to ``main`` of ``program`` (a path)."""
    found: list[Frame] = []
    for raw in unwind(space, by_number(registers), limit):
        found += describe(space, raw, program)
        if found[-1].function == "main" and found[-1].is_program and raw.found_by != "scan":
            break
    return found


def describe(space: TaskSpace, raw: RawFrame, program: str) -> Iterator[Frame]:
    """A raw frame as one Frame, after one for each call that was inlined there."""
    module = space.module(raw.lookup)
    if module is None:
        vma = space.vma(raw.lookup)
        name = vma.name.decode(errors="backslashreplace") if vma is not None and vma.name else None
        offset = raw.pc - vma.start if vma is not None and name else None
        yield Frame(raw.pc, None, None, None, None, name, offset, None, raw.found_by, False)
        return
    symbols, bias = module
    address = raw.lookup - bias
    symbol = symbols.symbol(address)
    is_program = symbols.path == program
    start = symbols.function_start(address)
    if raw.is_signal_handler_return:
        yield Frame(raw.pc, "<signal handler called>", None, None, None, symbols.path, raw.pc - bias, None,
                    raw.found_by, is_program, start)
        return
    locations = symbols.locate(address)
    function = symbol.name if symbol is not None else None
    inside = raw.pc - bias - start if start is not None else None
    for location in locations[:-1]:
        yield Frame(raw.pc, _demangled(location.function), location.file, location.directory, location.line,
                    symbols.path, raw.pc - bias, None, "inline", is_program, start)
    if locations:
        last = locations[-1]
        yield Frame(raw.pc, _demangled(last.function) or function, last.file, last.directory, last.line, symbols.path,
                    raw.pc - bias, inside, raw.found_by, is_program, start)
    else:
        yield Frame(raw.pc, function, None, None, None, symbols.path, raw.pc - bias, inside, raw.found_by, is_program,
                    start)


def _demangled(name: str | None) -> str | None:
    return demangle(name) if name is not None else None


def module_name(path: str | None) -> str:
    """The last part of a module's path, for people."""
    return posixpath.basename(path) if path else "??"
