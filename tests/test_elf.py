"""The ELF parser and loader, and ``#!`` lines, against hostile input: nothing but Errno may come out."""

from __future__ import annotations

import contextlib
import os
import random
import struct
from pathlib import Path

import pytest

from kernel.errno import (
    EFAULT,
    EINVAL,
    EIO,
    ELIBBAD,
    ENOEXEC,
    ENOMEM,
    Errno,
)
from kernel.random import Random
from kernel.task import elf, elf_load, script, stack
from kernel.task.cred import Credentials

EDGES = (0, 1, 2, 3, 0xFFF, 0x1000, 0x1001, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFFE000, 0x7FFFFFFFF000,
         0x800000000000, (1 << 63) - 1, 1 << 63, (1 << 64) - 4096, (1 << 64) - 1)  # fmt: skip
HOST_PROGRAMS = [p for p in ("/bin/true", "/bin/busybox", "/usr/bin/busybox", "/bin/sh", "/lib64/ld-linux-x86-64.so.2")
                 if os.path.exists(p)]  # fmt: skip


class FakeSpace:
    """An address space that keeps nothing but page numbers, with the refusals of mmap(2)."""

    def __init__(self) -> None:
        self.pages: dict[int, int] = {}
        self.written: dict[int, bytes] = {}
        self.top = 0x7FFFF7FFF000

    def mmap(self, address: int, length: int, prot: int, flags: int, file: object = None, offset: int = 0) -> int:
        assert 0 < length <= elf.TASK_SIZE
        assert 0 <= offset < 1 << 63
        assert offset % 4096 == 0
        fixed = flags & (elf_load.MAP_FIXED | elf_load.MAP_FIXED_NOREPLACE)
        if length > 1 << 32:
            raise Errno(ENOMEM)
        if not fixed:
            self.top -= length + 4095 & ~4095
            address = self.top
        if address % 4096 or address + length > elf.TASK_SIZE:
            raise Errno(EINVAL)
        for page in range(address >> 12, min((address + length + 4095) >> 12, (address >> 12) + 4096)):
            self.pages[page] = prot
        return address

    def munmap(self, address: int, length: int) -> None:
        assert length > 0
        assert address + length <= elf.TASK_SIZE

    def write(self, address: int, data: bytes) -> None:
        if address < 0 or address + len(data) > elf.TASK_SIZE:
            raise Errno(EFAULT)
        if any(not self.pages.get(page, 0) & 2 for page in range(address >> 12, (address + len(data) + 4095) >> 12)):
            raise Errno(EFAULT)
        self.written[address] = bytes(data)


def reader(data: bytes) -> elf.Reader:
    return lambda offset, size: data[offset : offset + size]


def inspect(data: bytes) -> elf.Program:
    return elf.inspect_program(data[:256].ljust(256, b"\0"), reader(data))


def load(data: bytes) -> elf_load.Image:
    """What execve would do with this file, its interpreter being the file itself."""
    program = inspect(data)
    interpreter = None
    if program.interpreter is not None:
        interpreter = (None, elf.inspect_interpreter(reader(data)))
    return elf_load.load_program(FakeSpace(), None, program, 0, interpreter)  # type: ignore[arg-type]


def make_elf(*, kind: int = 2, machine: int = 62, segments: list[tuple[int, ...]] | None = None, entry: int = 0x401000,
             phentsize: int = 56, phnum: int | None = None, phoff: int = 64, tail: bytes = b"\0" * 8192) -> bytes:
    """An ELF file; a segment is (type, flags, offset, vaddr, filesz, memsz, align)."""
    if segments is None:
        segments = [(1, 5, 0, 0x400000, 0x2000, 0x2000, 4096)]
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", kind, machine, 1, entry, phoff, 0, 0, 64, phentsize,
                       len(segments) if phnum is None else phnum, 64, 0, 0)
    rows = b"".join(struct.pack("<IIQQQQQQ", t, f, off, va, va, fs, ms, al) for t, f, off, va, fs, ms, al in segments)
    return head + rows + tail


def errno_of(data: bytes) -> int:
    with pytest.raises(Errno) as caught:
        load(data)
    return caught.value.code


LOAD = (1, 5, 0, 0x400000, 0x2000, 0x2000, 4096)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", ENOEXEC),
        (b"\x7fELF", ENOEXEC),
        (make_elf(machine=3), ENOEXEC),
        (make_elf(machine=40), ENOEXEC),
        (make_elf(kind=1), ENOEXEC),
        (make_elf(kind=4), ENOEXEC),
        (make_elf(phentsize=32), ENOEXEC),
        (make_elf(phnum=0), ENOEXEC),
        (make_elf(phnum=65535), ENOEXEC),
        (make_elf(phnum=1171, tail=bytes(1 << 17)), ENOEXEC),
        (make_elf(phoff=1 << 40), ENOEXEC),
        (make_elf(phoff=(1 << 64) - 1), ENOEXEC),
        (make_elf(segments=[(3, 4, 0, 0, 1, 1, 1), LOAD]), ENOEXEC),
        (make_elf(segments=[(3, 4, 0, 0, 4097, 1, 1), LOAD]), ENOEXEC),
        (make_elf(segments=[(3, 4, 1 << 40, 0, 12, 1, 1), LOAD]), EIO),
        (make_elf(segments=[(3, 4, 1 << 63, 0, 12, 1, 1), LOAD]), EINVAL),
        (make_elf(segments=[(3, 4, 0, 0, 2, 2, 1), LOAD]), ENOEXEC),
        (make_elf(segments=[(1, 5, 0, 0x400000, 0x2000, 0x1000, 4096)]), EINVAL),
        (make_elf(segments=[(1, 5, 1, 0x400000, 0x2000, 0x2000, 4096)]), EINVAL),
        (make_elf(segments=[(1, 5, 0, 0x800000000000, 0x2000, 0x2000, 4096)]), ENOMEM),
        (make_elf(segments=[(1, 6, 0, 0x400000, 0x1000, 1 << 60, 4096)]), ENOMEM),
        (make_elf(kind=3, segments=[(6, 4, 0, 0, 8, 8, 8)]), None),
    ],
)
def test_errors(data: bytes, code: int | None) -> None:
    if code is None:
        load(data)
    else:
        assert errno_of(data) == code


def test_interpreter_errors() -> None:
    for data, code in ((b"\x7fELF", EIO), (b"x" * 64, ELIBBAD), (make_elf(machine=3), ELIBBAD),
                       (make_elf(phnum=0), ELIBBAD), (make_elf(phoff=1 << 63), ELIBBAD)):
        with pytest.raises(Errno) as caught:
            elf.inspect_interpreter(reader(data))
        assert caught.value.code == code


@pytest.mark.parametrize("path", HOST_PROGRAMS)
def test_truncated(path: str) -> None:
    data = Path(path).read_bytes()[:65536]
    for size in (*range(1500), *range(1500, len(data), 997)):
        with contextlib.suppress(Errno):
            load(data[:size])


@pytest.mark.parametrize("path", HOST_PROGRAMS)
@pytest.mark.parametrize("seed", range(4))
def test_mutated(path: str, seed: int) -> None:
    """Random bytes, and edge values in random fields, of the header and the program headers."""
    original = Path(path).read_bytes()[:65536]
    rng = random.Random(f"{path} {seed}")
    headers = 64 + 56 * struct.unpack_from("<H", original, 56)[0]
    for _ in range(1500):
        data = bytearray(original)
        for _ in range(rng.randrange(1, 5)):
            if rng.random() < 0.5:
                data[rng.randrange(headers)] = rng.randrange(256)
            else:
                at = rng.randrange(16, headers - 8) & ~7
                struct.pack_into("<Q", data, at, rng.choice(EDGES) + rng.choice((0, 0, 1, -1)) & elf.U64)
        with contextlib.suppress(Errno):
            load(bytes(data))


@pytest.mark.parametrize("seed", range(4))
def test_generated(seed: int) -> None:
    """Overlapping, huge, wrapping, unaligned segments."""
    rng = random.Random(seed)
    for _ in range(2000):
        segments = [
            (rng.choice((1, 1, 1, 3, 6, 0x6474E551)), rng.randrange(8),
             *(rng.choice((*EDGES, rng.randrange(1 << 16), rng.randrange(1 << 48))) for _ in range(5)))
            for _ in range(rng.randrange(0, 6))
        ]  # fmt: skip
        data = make_elf(kind=rng.choice((2, 3)), segments=segments, entry=rng.choice(EDGES), tail=b"\0" * 4096)
        with contextlib.suppress(Errno):
            load(data)


def test_addresses() -> None:
    """Where a program, its heap and its entry lie without ASLR."""
    data = make_elf(kind=3, entry=0x10, segments=[
        (6, 4, 64, 64, 168, 168, 8), (3, 4, 4096, 4096, 16, 16, 1),
        (1, 5, 0, 0, 0x2000, 0x2000, 4096), (1, 6, 0x2000, 0x3010, 0, 0x100, 4096)])  # fmt: skip
    data = data[:4096] + b"/lib/ld.so".ljust(16, b"\0") + data[4112:]
    program = inspect(data)
    assert program.interpreter == b"/lib/ld.so"
    loader = make_elf(kind=3, entry=0x123, segments=[(1, 5, 0, 0, 0x2000, 0x2000, 4096)])
    image = elf_load.load_program(FakeSpace(), None, program, 0, (None, elf.inspect_interpreter(reader(loader))))  # type: ignore[arg-type]
    assert image.load_bias == 0x555555554000
    assert image.phdr_address == 0x555555554040
    assert image.program_entry == 0x555555554010
    assert image.interpreter_base == 0x7FFFF7FFF000 - 0x2000
    assert image.entry == image.interpreter_base + 0x123
    assert image.brk == 0x555555558000


def test_stack_layout() -> None:
    """argc, argv, envp, auxv and strings are where a program looks for them; %rsp is a multiple of 16."""
    for count in range(8):
        space = FakeSpace()
        argv = [b"arg%d" % i for i in range(count)]
        layout = stack.Layout(None, stack.CodeSlide(Random()))
        rsp = stack.build(space, layout, 8 << 20, argv, [b"A=1", b"B=2"], b"/bin/x", elf_load.Image(),  # type: ignore[arg-type]
                          3, Credentials(), b"R" * 16, False)
        assert rsp % 16 == 0
        (low_address, low), (strings_address, strings) = sorted(space.written.items())
        assert low_address == rsp

        def string(address: int, at: int = strings_address, data: bytes = strings) -> bytes:
            return data[address - at :].split(b"\0")[0]

        words = struct.unpack_from(f"<{len(low) // 8}Q", low)
        assert words[0] == count
        assert [string(a) for a in words[1 : count + 1]] == argv
        assert words[count + 1] == 0
        assert [string(a) for a in words[count + 2 : count + 4]] == [b"A=1", b"B=2"]
        auxv = dict(zip(words[count + 5 : count + 43 : 2], words[count + 6 : count + 44 : 2], strict=True))
        assert string(auxv[stack.AT_EXECFN]) == b"/bin/x"
        assert auxv[stack.AT_EXECFN] + 7 + 8 == 0x7FFFFFFFF000
        assert low[auxv[stack.AT_RANDOM] - rsp :][:16] == b"R" * 16
        assert low[auxv[stack.AT_PLATFORM] - rsp :] == b"x86_64\0"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"#!/bin/sh\n", (b"/bin/sh", None)),
        (b"#! /bin/sh -e  -x \t\n", (b"/bin/sh", b"-e  -x")),
        (b"#!\t/bin/sh\t-e\nrest", (b"/bin/sh", b"-e")),
        (b"#!/bin/sh", (b"/bin/sh", None)),
        (b"#!/bin/sh\0-x\n", (b"/bin/sh", None)),
        (b"#! \0x\n", (b"", None)),
        (b"#!/i " + b"a" * 300, (b"/i", b"a" * 250)),
        (b"#!" + b"/" * 253 + b"\n", (b"/" * 253, None)),
        (b"#!\n", None),
        (b"#!   \n", None),
        (b"#!" + b" " * 300, None),
        (b"#!" + b"/" * 300, None),
        (b"#!" + b"/" * 254, None),
    ],
)
def test_script_line(line: bytes, expected: tuple[bytes, bytes | None] | None) -> None:
    start = line[:256].ljust(256, b"\0")
    if expected is None:
        with pytest.raises(Errno):
            script.parse(start)
    else:
        found = script.parse(start)
        assert (found.interpreter, found.argument) == expected


def test_script_lines_random() -> None:
    rng = random.Random(1)
    for _ in range(5000):
        line = bytes(rng.choice(b" \t\n\0/ab") for _ in range(rng.choice((4, 20, 253, 254))))
        try:
            found = script.parse((b"#!" + line).ljust(256, b"\0"))
        except Errno:
            continue
        assert b"\0" not in found.interpreter + (found.argument or b"")
