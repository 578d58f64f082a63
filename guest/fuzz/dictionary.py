"""A dictionary for afl-fuzz out of the program's file: its short strings, and the numbers that it compares with.

What AFL++'s compilers note of a program while they instrument it (AUTODICT), for one that is there already. Magic
values and keywords are among them; without, they have to be guessed byte by byte.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

#: Of these tokens afl-fuzz's deterministic stage, where it is on, tries all (config.h, MAX_DET_EXTRAS: 256).
MAX_STRINGS, MAX_NUMBERS = 160, 64
_MAX_DATA_BYTES, _MAX_CODE_BYTES = 4 << 20, 256 << 10
#: Words and magic values: no messages, which have blanks, and no formats.
_STRING = re.compile(rb"(?<=\0)[!-$&-~]{3,16}(?=\0)")
_SHT_NOBITS = "SHT_NOBITS"
#: Numbers below are found by afl-fuzz's own interesting values and arithmetic.
_SMALLEST = 1 << 16


def tokens(path: Path) -> list[bytes]:
    """The tokens of the ELF file ``path``; none where it cannot be read."""
    try:
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            data, code = [], []
            for section in elf.iter_sections():
                flags = section["sh_flags"]
                if section["sh_type"] == _SHT_NOBITS or not flags & SH_FLAGS.SHF_ALLOC:
                    continue
                if section.name.startswith((".rodata", ".data")):
                    data.append(section.data()[:_MAX_DATA_BYTES])
                elif section.name == ".text":
                    code.append(section.data()[:_MAX_CODE_BYTES])
    except (OSError, ELFError, ValueError, OverflowError):
        return []
    strings = {found for one in data for found in _STRING.findall(b"\0" + one)}
    numbers = {found for one in code for found in _compared(one)}
    # Short ones are the likelier keywords.
    return [*sorted(strings, key=lambda s: (len(s), s))[:MAX_STRINGS],
            *(number for number in sorted(numbers)[:MAX_NUMBERS] if number not in strings)]


def _compared(code: bytes) -> list[bytes]:
    """The 32-bit numbers that instructions compare with, as they lie in memory."""
    import capstone

    engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    engine.skipdata = True
    found = []
    for _, _, mnemonic, operands in engine.disasm_lite(code, 0):
        if mnemonic == "cmp":
            text = operands.rpartition(", ")[2]
            number = int(text, 16) if text.startswith("0x") else 0
            if _SMALLEST <= number < 1 << 32:
                found.append(number.to_bytes(4, "little"))
    return found


def write(path: str, words: list[bytes]) -> None:
    """A dictionary as ``afl-fuzz -x`` takes it; at once, as another campaign may be reading it."""
    lines = ("".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\x{b:02x}" for b in word) for word in words)
    beside = f"{path}.{os.getpid()}"
    Path(beside).write_text("".join(f'"{line}"\n' for line in lines))
    os.replace(beside, path)
