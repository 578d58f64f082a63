"""Small valid files of the kinds that the fuzzed programs of test_afl.py read."""

from __future__ import annotations

import struct
import subprocess

SQL = b"create table t(a, b);\ninsert into t values(1, 'x');\nselect a+1, upper(b) from t where b like 'x%';\n"
XML = b'<?xml version="1.0"?>\n<a b="c"><!-- d --><e>f &amp; g</e></a>\n'
JSON = b'{"a": [1, 2.5, "x\\u00e9"], "b": {"c": null, "d": true}}\n'
LINES = b"12\nx\n-3.5\n"
BRACKETS = b"((a)(b))()(((c)))"
WORDS = b"a few words\n"
GZIP_SCRIPT = b"#!/bin/sh\necho hello\n"


def elf() -> bytes:
    """An x86-64 object file: header, one section of code, one of names, the null section."""
    names = b"\0.text\0.shstrtab\0"
    code = b"\xc3" * 4
    header = struct.pack("<4s5B7x HHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 0, 0, 1, 62, 1, 0, 0, 64 + 24, 0, 64, 0, 0, 64,
                         3, 2)

    def section(name: int, kind: int, flags: int, offset: int, size: int) -> bytes:
        return struct.pack("<IIQQQQIIQQ", name, kind, flags, 0, offset, size, 0, 0, 1, 0)

    sections = bytes(64) + section(1, 1, 6, 64, len(code)) + section(7, 3, 0, 68, len(names))
    return header + (code + names).ljust(24, b"\0") + sections


def tiff() -> bytes:
    """2 x 2 grey pixels."""
    tags = [(256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 122),
            (277, 3, 1, 1), (278, 3, 1, 2), (279, 4, 1, 4)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(tags)) + entries + bytes(4) + b"\x00\x40\x80\xff"


def jpeg() -> bytes:
    """8 x 8 pixels, by cjpeg(1)."""
    return subprocess.run(["cjpeg", "-quality", "10"], input=b"P5 8 8 255\n" + bytes(range(0, 256, 4)), check=True,
                          capture_output=True).stdout
