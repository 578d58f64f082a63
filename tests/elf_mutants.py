"""Executables gone wrong, by generation: truncated, mutated field by field, hostile by design, random bytes changed.

The base programs are safe to run natively in every mutation: their code leaves with status 42 and all else is int3, so
a wrong entry point or segment ends in a signal, never in somebody's system call.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
PHDR = struct.Struct("<IIQQQQQQ")
EHDR_FIELDS = [
    "e_ident",
    "e_type",
    "e_machine",
    "e_version",
    "e_entry",
    "e_phoff",
    "e_shoff",
    "e_flags",
    "e_ehsize",
    "e_phentsize",
    "e_phnum",
    "e_shentsize",
    "e_shnum",
    "e_shstrndx",
]
PHDR_FIELDS = ["p_type", "p_flags", "p_offset", "p_vaddr", "p_paddr", "p_filesz", "p_memsz", "p_align"]
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE, PT_PHDR, PT_GNU_STACK = 1, 2, 3, 4, 6, 0x6474E551
ET_EXEC, ET_DYN = 2, 3
R, W, X = 4, 2, 1
PAGE = 4096
#: mov edi, [data]; add edi, [bss]; mov eax, 60 (exit); syscall : data holds 42, so segments must be where they belong
_CODE = "8b3c25{data}033c25{bss}b83c0000000f05"
_CODE_PIC = "8b3d{data}033d{bss}b83c0000000f05"

Segment = list[int]


def header(kind: int, entry: int, count: int, **fields: int) -> list:
    """The values of an ELF header; ``fields`` replaces some by name."""
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    values: list = [ident, kind, 62, 1, entry, 64, 0, 0, 64, 56, count, 64, 0, 0]
    for name, value in fields.items():
        values[EHDR_FIELDS.index(name)] = value
    return values


def build(kind: int = ET_EXEC, interpreter: bytes | None = None) -> tuple[list, list[Segment], bytearray]:
    """(header values, segments, image) of a program of three pages: code, data, and half a page of zeros after it."""
    base = 0x400000 if kind == ET_EXEC else 0
    entry, data, bss = base + 0x200, base + 0x2000, base + 0x2800
    image = bytearray(b"\xcc" * (3 * PAGE))
    if kind == ET_EXEC:
        code = bytes.fromhex(_CODE.format(data=struct.pack("<I", data).hex(), bss=struct.pack("<I", bss).hex()))
    else:
        code = bytes.fromhex(
            _CODE_PIC.format(
                data=struct.pack("<i", data - entry - 6).hex(), bss=struct.pack("<i", bss - entry - 12).hex()
            )
        )
    image[0x200 : 0x200 + len(code)] = code
    image[0x2000:0x2004] = struct.pack("<I", 42)
    segments: list[Segment] = [
        [PT_LOAD, R | X, 0, base, base, PAGE, PAGE, PAGE],
        [PT_LOAD, R | W, 0x2000, base + 0x2000, base + 0x2000, 0x100, 0x1800, PAGE],
        [PT_GNU_STACK, R | W, 0, 0, 0, 0, 0, 16],
    ]
    if interpreter is not None:
        image[0x300 : 0x300 + len(interpreter)] = interpreter
        segments.insert(0, [PT_INTERP, R, 0x300, base + 0x300, base + 0x300, len(interpreter), len(interpreter), 1])
    return header(kind, entry, len(segments)), segments, image


def pack(values: list, segments: list[Segment], image: bytes) -> bytes:
    """The file. Fields are cut to their widths."""
    sizes = [16, 2, 2, 4, 8, 8, 8, 4, 2, 2, 2, 2, 2, 2]
    cut = [v if isinstance(v, bytes) else v & (1 << 8 * size) - 1 for v, size in zip(values, sizes, strict=True)]
    out = bytearray(image)
    out[:64] = EHDR.pack(*cut)
    for i, segment in enumerate(segments):
        widths = [4, 4, 8, 8, 8, 8, 8, 8]
        out[64 + 56 * i : 120 + 56 * i] = PHDR.pack(
            *(v & (1 << 8 * w) - 1 for v, w in zip(segment, widths, strict=True))
        )
    return bytes(out)


def plain(kind: int = ET_EXEC, interpreter: bytes | None = None) -> bytes:
    """A program that leaves with 42 (when its interpreter, if any, leaves it alone: ours leaves with 42 itself)."""
    return pack(*build(kind, interpreter))


_VALUES = [
    0,
    1,
    2,
    3,
    4,
    7,
    0x3E,
    55,
    57,
    63,
    64,
    0x7F,
    0xFF,
    0xFFF,
    0x1000,
    0x1001,
    0x2000,
    0x7FFF,
    0xFFFF,
    0x400000,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    0x7FFFFFFFE000,
    0x7FFFFFFFF000,
    0x800000000000,
    0x7FFFFFFFFFFFFFFF,
    0x8000000000000000,
    0xFFFFFFFFFFFFF000,
    0xFFFFFFFFFFFFFFFF,
]


def truncated() -> Iterator[tuple[str, bytes]]:
    """Cut off at every byte of the headers in steps, and at odd places after them."""
    whole = plain()
    for length in [
        *range(0, 240, 7),
        63,
        64,
        65,
        119,
        120,
        231,
        232,
        0x1FF,
        0x200,
        0x20A,
        0xFFF,
        0x1000,
        0x1FFF,
        0x2000,
        0x2002,
        0x2004,
        0x20FF,
    ]:
        yield f"truncated-{length}", whole[:length]


def fields() -> Iterator[tuple[str, bytes]]:
    """Every field of the headers with every odd value."""
    for kind in (ET_EXEC, ET_DYN):
        for field in EHDR_FIELDS[1:]:
            for value in _VALUES:
                values, segments, image = build(kind)
                values[EHDR_FIELDS.index(field)] = value
                yield f"{kind}-{field}-{value:x}", pack(values, segments, image)
        for index in range(3):
            for field, name in enumerate(PHDR_FIELDS):
                for value in _VALUES:
                    # Sizes of gigabytes depend on how much memory there is.
                    if name in ("p_memsz", "p_filesz") and 1 << 28 <= value < 1 << 40:
                        continue
                    # A processor with protection keys makes what may only be executed unreadable.
                    if name == "p_flags" and value & (R | W | X) == X:
                        continue
                    values, segments, image = build(kind)
                    segments[index][field] = value
                    yield f"{kind}-segment{index}-{name}-{value:x}", pack(values, segments, image)


def ident() -> Iterator[tuple[str, bytes]]:
    """The magic bytes, class, byte order."""
    for at in range(16):
        for value in (0, 1, 2, 0x7F, 0xFF):
            whole = bytearray(plain())
            whole[at] = value
            yield f"ident-{at}-{value:x}", bytes(whole)


def hostile() -> Iterator[tuple[str, bytes]]:
    """What an attacker would write."""

    def made(
        name: str, kind: int = ET_EXEC, interpreter: bytes | None = None, change: object = None
    ) -> tuple[str, bytes]:
        values, segments, image = build(kind, interpreter)
        if change is not None:
            change(values, segments, image)  # type: ignore[operator]
        values[EHDR_FIELDS.index("e_phnum")] = values[10] if values[10] != 3 else len(segments)
        return name, pack(values, segments, image)

    load = [PT_LOAD, R | W, 0, 0x400000, 0, PAGE, PAGE, PAGE]
    yield made("overlap-same", change=lambda v, s, i: s.append(list(load)))
    yield made("overlap-half", change=lambda v, s, i: s.append([PT_LOAD, R, 0, 0x401800, 0, 0x800, 0x1800, PAGE]))
    yield made("descending", change=lambda v, s, i: s.reverse())
    yield made("no-load", change=lambda v, s, i: s.__delitem__(slice(0, 2)))
    yield made("no-segments", change=lambda v, s, i: s.clear())
    yield made("only-bss", change=lambda v, s, i: s.append([PT_LOAD, R | W, 0, 0x500000, 0, 0, PAGE, PAGE]))
    yield made(
        "hole-of-terabytes", change=lambda v, s, i: s.append([PT_LOAD, R, 0, 0x600000000000, 0, PAGE, PAGE, PAGE])
    )
    yield made("bss-of-terabytes", change=lambda v, s, i: s[1].__setitem__(6, 1 << 46))
    yield made(
        "dyn-of-terabytes", ET_DYN, change=lambda v, s, i: s.append([PT_LOAD, R, 0, 1 << 46, 0, PAGE, PAGE, PAGE])
    )
    yield made("at-zero", change=lambda v, s, i: s[0].__setitem__(3, 0))
    yield made("in-the-kernel", change=lambda v, s, i: s[0].__setitem__(3, 0xFFFFFFFF80000000))
    yield made("wraps", change=lambda v, s, i: s[0].__setitem__(6, 0xFFFFFFFFFFFFF000))
    yield made("misaligned", change=lambda v, s, i: s[0].__setitem__(3, 0x400123))
    yield made("filesz-over-memsz", change=lambda v, s, i: s[1].__setitem__(6, 0x10))
    yield made("beyond-the-file", change=lambda v, s, i: s[1].__setitem__(2, 0x200000))
    yield made("writable-code", change=lambda v, s, i: s[0].__setitem__(1, R | W | X))
    yield made("code-not-executable", change=lambda v, s, i: s[0].__setitem__(1, R))
    yield made("data-not-readable", change=lambda v, s, i: s[1].__setitem__(1, 0))
    yield made("executable-stack", change=lambda v, s, i: s[2].__setitem__(1, R | W | X))
    for name, interpreter in {
        "none": b"./nothere\0",
        "directory": b"/\0",
        "empty": b"\0",
        "no-nul": b"./nothere",
        "text": b"/etc/passwd\0",
        "device": b"/dev/null\0",
        "long": b"/" * 4000 + b"\0",
        "nul-inside": b"./int\0rp\0",
        "one-byte": b"x",
        "good": b"./interp\0",
        "good-dyn": b"./interp.dyn\0",
        "truncated": b"./interp.cut\0",
        "not-elf": b"./interp.txt\0",
    }.items():
        for kind in (ET_EXEC, ET_DYN):
            if len(interpreter) < 3000:
                yield made(f"interpreter-{name}-{kind}", kind, interpreter)
    yield made("interpreter-size-zero", interpreter=b"./interp\0", change=lambda v, s, i: s[0].__setitem__(5, 0))
    yield made("interpreter-size-huge", interpreter=b"./interp\0", change=lambda v, s, i: s[0].__setitem__(5, 1 << 40))
    yield made("interpreter-beyond", interpreter=b"./interp\0", change=lambda v, s, i: s[0].__setitem__(2, 1 << 40))
    yield made("interpreter-twice", interpreter=b"./interp\0", change=lambda v, s, i: s.insert(0, list(s[0])))
    for machine, name in {3: "i386", 40: "arm", 183: "aarch64", 243: "riscv", 8: "mips", 0: "none"}.items():
        yield made(f"machine-{name}", change=lambda v, s, i, m=machine: v.__setitem__(2, m))
    for text, name in {
        b"": "empty",
        b"\n": "newline",
        b"#!": "bang",
        b"#!\n": "bang-newline",
        b"#! \n": "bang-blank",
        b"#!/nothere\n": "bang-missing",
        b"#!/etc\n": "bang-directory",
        b"#!./x\0y\n": "bang-nul",
        b"#!" + b"/" * 300 + b"\n": "bang-long",
        b"\x7fELF": "magic",
        b"\0" * 5000: "zeros",
        b"#!./interp.txt\n": "bang-bang",
    }.items():
        yield f"text-{name}", text


#: Not the upper half of a size: how much memory there is decides what happens then.
_SEGMENT_BYTES = [at for at in range(52) if at not in (35, 36, 37, 38, 39, 43, 44, 45, 46, 47)]


def random_bytes(count: int, seed: int = 1) -> Iterator[tuple[str, bytes]]:
    """Up to eight bytes of the headers changed at random; sometimes the code too (it is int3 all around)."""
    source = random.Random(seed)
    for number in range(count):
        kind = source.choice([ET_EXEC, ET_DYN])
        whole = bytearray(plain(kind, b"./interp\0" if source.random() < 0.3 else None))
        for _ in range(source.randint(1, 8)):
            at = source.choice([source.randrange(4, 64), 64 + 56 * source.randrange(4) + source.choice(_SEGMENT_BYTES)])
            whole[at] = source.choice([0, 1, 0x7F, 0x80, 0xFF, source.randrange(256)])
        if source.random() < 0.1:
            whole = whole[: source.randrange(len(whole))]
        yield f"random-{seed}-{number}", bytes(whole)


#: Files that the mutants name.
COMPANIONS = {
    "interp": (plain(ET_EXEC), 0o755),
    "interp.dyn": (plain(ET_DYN), 0o755),
    "interp.cut": (plain()[:100], 0o755),
    "interp.txt": (b"#!/bin/true\n", 0o755),
}
