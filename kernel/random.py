"""Random bytes for the guest: the host's generator, or a stream from the seed in deterministic runs.

Linux: drivers/char/random.c. Everything random the guest can see comes from here: getrandom(2), /dev/urandom,
AT_RANDOM, address space layout, boot ids.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

State = tuple[int, bytes]
"""A place in the seed's stream."""


class Random:
    """``bytes(n)``: n unpredictable bytes, or the next n of the seed's stream (SHAKE-256, counter mode)."""

    def __init__(self, options: Any = None) -> None:
        self.deterministic = bool(getattr(options, "deterministic", False))
        self._seed = repr(getattr(options, "seed", None) or 0).encode()
        self._counter = 0
        self._pool = b""
        self.boot_id = self.uuid()

    def bytes(self, size: int) -> bytes:
        """``size`` random bytes."""
        if not self.deterministic:
            return os.urandom(size)
        while len(self._pool) < size:
            block = hashlib.shake_256(b"forkyard %d " % self._counter + self._seed).digest(max(4096, size))
            self._counter += 1
            self._pool += block
        out, self._pool = self._pool[:size], self._pool[size:]
        return out

    def save(self) -> State:
        """What restore() takes for the seed's stream to begin again here."""
        return self._counter, self._pool

    def restore(self, saved: State) -> None:
        """Go back in the seed's stream."""
        self._counter, self._pool = saved

    def below(self, limit: int) -> int:
        """A number in ``range(limit)``; the bias is below 2**-64 for limits under 2**64."""
        return int.from_bytes(self.bytes(16), "little") % limit

    def uuid(self) -> str:
        """A random (version 4) UUID, as /proc/sys/kernel/random/uuid prints it."""
        raw = bytearray(self.bytes(16))
        raw[6] = raw[6] & 0x0F | 0x40
        raw[8] = raw[8] & 0x3F | 0x80
        text = raw.hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
