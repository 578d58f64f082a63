"""Which code of the guest counts as covered, in each address space: the program only, libraries too, or chosen ranges.

The choice is spelled as for AFL++'s QEMU mode (qemu_mode/README.md): AFL_INST_LIBS, AFL_QEMU_INST_RANGES (in addition
to the program), AFL_QEMU_EXCLUDE_RANGES (before all else), AFL_CODE_START and AFL_CODE_END (in place of the program).
A range is ``0x1000-0x2000``, virtual addresses, or the name of a file that is mapped, such as ``libz.so``.

The identity of a block is the base name of the file that its code is mapped from and the offset there, so that
addresses do not matter; code of no file, in a range of addresses, is known by its address.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emu.coverage import NOTHING, Segments, module_key
from emu.paging import TASK_SIZE
from kernel.mm.layout import VM_EXEC

if TYPE_CHECKING:
    from emu.coverage import Blocks
    from kernel.kernel import Kernel
    from kernel.mm.address_space import AddressSpace
    from kernel.mm.vma import Row
    from kernel.task.task import Task

Range = tuple[int, int] | bytes
"""Addresses [start, end), or what the path of a mapped file contains."""
_ADDRESSES = re.compile(r"\s*(0[xX][0-9a-fA-F]+)\s*-\s*(0[xX][0-9a-fA-F]+)\s*")


@dataclass(frozen=True)
class CoverageOptions:
    """What counts, and where it is recorded."""

    map_address: int = 0
    """Host address of the edge map; 0: nothing is recorded."""
    map_bytes: int = 0
    libraries: bool = False
    """All code that is mapped from files, and not the program's alone."""
    ranges: tuple[Range, ...] = ()
    """What counts besides."""
    excluded: tuple[Range, ...] = ()
    """What does not, whatever else is said."""
    code: tuple[int, int] | None = None
    """Addresses that count in place of the program."""
    threads: bool = True
    """Also the program's further threads."""
    children: bool = True
    """Also the processes that the first one makes."""


def from_environment(env: Mapping[str, str], map_address: int = 0, map_bytes: int = 0, *, threads: bool = True,
                     children: bool = True) -> CoverageOptions:
    """The options that AFL++'s variables ask for.

    Raises:
        ValueError: one of them cannot be read; the text names it, in one line.
    """
    code = None
    start, end = _address(env, "AFL_CODE_START"), _address(env, "AFL_CODE_END")
    if start is not None or end is not None:
        code = (start or 0, TASK_SIZE if end is None else end)
    return CoverageOptions(map_address, map_bytes, bool(env.get("AFL_INST_LIBS")),
                           _ranges(env, "AFL_QEMU_INST_RANGES"), _ranges(env, "AFL_QEMU_EXCLUDE_RANGES"), code,
                           threads, children)


def _address(env: Mapping[str, str], name: str) -> int | None:
    text = env.get(name)
    if not text:
        return None
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError(f"{name}={text} is not an address, such as 0x401000") from None


def _ranges(env: Mapping[str, str], name: str) -> tuple[Range, ...]:
    found: list[Range] = []
    for item in env.get(name, "").split(","):
        addresses = _ADDRESSES.fullmatch(item)
        if addresses is not None:
            start, end = int(addresses[1], 16), int(addresses[2], 16)
            if start >= end:
                raise ValueError(f"{name}: {item.strip()} ends before it begins")
            found.append((start, min(end, TASK_SIZE)))
        elif re.fullmatch(r"\s*0[xX][0-9a-fA-F]+.*", item):
            raise ValueError(f"{name}: {item.strip()} is not a range of addresses, such as 0x401000-0x402000")
        elif item.strip():
            found.append(item.strip().encode(errors="surrogateescape"))
    return tuple(found)


class Coverage:
    """Tells the machine what counts whenever another task, or the same one with other mappings, is about to run."""

    def __init__(self, kernel: Kernel, blocks: Blocks, options: CoverageOptions) -> None:
        self.kernel = kernel
        self.options = options
        self._blocks = blocks
        self._task: Task | None = None
        self._segments: Segments | None = None
        """What was selected last, and for whom."""
        if options.map_address:
            blocks.set_map(options.map_address, options.map_bytes)

    def select(self, task: Task) -> None:
        """``task`` is about to run."""
        if task is self._task and task.mm.code_segments is self._segments:
            return
        options = self.options
        self._task = None
        if (not options.threads and task.tid != task.group.tgid) or (
                not options.children and task.group is not self.kernel.init):
            self._blocks.set_segments(NOTHING)
            return
        mm = task.mm
        segments = mm.code_segments
        if segments is None:
            segments = mm.code_segments = Segments(self.ranges(mm))
        self._blocks.set_segments(segments)
        self._task, self._segments = task, segments

    def ranges(self, mm: AddressSpace) -> list[tuple[int, int, int]]:
        """What counts in an address space now, as ``Segments`` takes it."""
        options = self.options
        spans: list[tuple[int, int]] = [] if options.code is None else [options.code]
        keys: list[tuple[int, int, int]] = []
        excluded: list[tuple[int, int]] = []
        for row in mm.vmas:
            path = self._path(mm, row)
            if path is None:
                continue
            span = (row.start, row.end)
            keys.append((*span, module_key(path.rpartition(b"/")[2]) + row.offset - row.start))
            if (options.libraries and row.flags & VM_EXEC) or (options.code is None and self._is_program(mm, row)):
                spans.append(span)
            spans += [span for name in options.ranges if isinstance(name, bytes) and name in path]
            excluded += [span for name in options.excluded if isinstance(name, bytes) and name in path]
        spans += [item for item in options.ranges if isinstance(item, tuple)]
        excluded += [item for item in options.excluded if isinstance(item, tuple)]
        return _with_keys(_without(spans, excluded), keys)

    def _path(self, mm: AddressSpace, row: Row) -> bytes | None:
        """The path of the file behind a mapping; None for memory of no file."""
        mapping = mm.memory.mappings[row.mapping] if row.mapping else None
        return None if mapping is None or mapping.file is None else mapping.name

    def _is_program(self, mm: AddressSpace, row: Row) -> bool:
        mapping = mm.memory.mappings[row.mapping]
        return mapping is not None and mm.exe is not None and mapping.file.inode is mm.exe.inode


def _without(spans: list[tuple[int, int]], holes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The union of ``spans`` without ``holes``: sorted and disjoint."""
    edges = sorted({edge for span in (*spans, *holes) for edge in span})
    found: list[tuple[int, int]] = []
    for low, high in itertools.pairwise(edges):
        if any(start <= low and high <= end for start, end in spans) and not any(
                start <= low and high <= end for start, end in holes):
            if found and found[-1][1] == low:
                low = found.pop()[0]
            found.append((low, high))
    return found


def _with_keys(spans: list[tuple[int, int]], keys: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Divide ``spans`` at the mappings of files; what is no file's has the addresses themselves for identity."""
    nobody = module_key(b"")
    found = []
    for start, end in spans:
        position = start
        for low, high, key in keys:
            if high > position and low < end:
                if low > position:
                    found.append((position, low, nobody))
                found.append((max(position, low), min(high, end), key))
                position = min(high, end)
        if position < end:
            found.append((position, end, nobody))
    return found
