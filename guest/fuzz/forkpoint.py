"""Where the program is parked: its entry, main, an address, a symbol, or just before it first looks at its input."""

from __future__ import annotations

from dataclasses import dataclass


class ForkPointError(Exception):
    """The program cannot be parked there; the text says why, in one line."""


@dataclass(frozen=True)
class ForkPoint:
    """Where the parked process stands: nothing at and behind ``address`` has been executed by it."""

    kind: str
    """``entry``, ``main``, ``address`` or ``first-read``."""
    address: int
    """Of the next instruction (virtual)."""
    where: str
    """For people: ``main (readelf+0x4010)``, ``before openat (libc.so.6+0xf8e10)``."""
    notice: str | None = None
    """What the user should know, such as that the program never looked at its input."""
