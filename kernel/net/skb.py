"""Buffers of data between sockets, and what the kernel charges for them. Linux: include/linux/skbuff.h."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from emu.paging import PAGE_SIZE
from kernel.net.scm import Ancillary

if TYPE_CHECKING:
    from kernel.net.unix import UnixSocket

_SKB_OVERHEAD = 256
"""sizeof(struct sk_buff), rounded as its slab is."""
_SHARED_INFO = 320
SKB_MAX_HEAD = PAGE_SIZE - _SHARED_INFO
SKB_MAX_ALLOC = 4 * PAGE_SIZE - _SHARED_INFO
MAX_FRAGS_SIZE = 17 * PAGE_SIZE


def truesize(linear: int, paged: int) -> int:
    """Bytes charged for a buffer with ``linear`` bytes in its head and ``paged`` in page fragments."""
    head = 1 << max(linear + _SHARED_INFO - 1, 511).bit_length()
    return _SKB_OVERHEAD + head + (paged + PAGE_SIZE - 1 & -PAGE_SIZE)


@dataclass(eq=False, slots=True)
class Skb:
    """One buffer in a receive queue; ``start`` bytes of it have been read."""

    data: bytes
    size: int
    """What it is charged (truesize)."""
    sender: UnixSocket
    extra: Ancillary
    name: bytes | None
    start: int = 0

    def free(self) -> None:
        """It has been read, or thrown away."""
        self.extra.drop()
        self.sender.uncharge(self.size)


@dataclass(slots=True)
class Message:
    """What one recvmsg brought."""

    data: bytes
    extra: Ancillary
    name: bytes | None = None
    """The sender's name, for datagrams and the first data of a stream."""
    flags: int = 0
    """MSG_TRUNC, MSG_EOR …"""
    length: int = 0
    """The full length of a datagram, what MSG_TRUNC returns."""
