"""Machine words in Python, whose numbers have no width."""

from __future__ import annotations

U64 = (1 << 64) - 1
"""All bits of a register."""


def c_int(value: int) -> int:
    """The lower half of a register as C's int."""
    return ((value & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000
