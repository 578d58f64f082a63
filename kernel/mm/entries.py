"""Storing to entries of page tables: the one place, of whatever level, where the rule of fork on demand is asserted.

An entry changes only while its table has one sharer (I3). What all sharers may see at once goes through
:func:`set_shared_entry`: W taken away by a fork or a copy, Accessed bits, and a page on its way to the swap area.
A store that breaks the rule is done all the same, for nothing can be raised here, and noted: the checker reports it
after the same kernel entry, and at the end of every run.
"""

from __future__ import annotations

from emu.layout import M_RAM
from emu.native import hot, load64, store64
from kernel.mm.frames import frame_refs
from kernel.mm.layout import DIGEST_BYTES, K_DIGESTS, K_WRONG_STORE


@hot
def table_of(m: int, slot: int) -> int:
    """The frame of the table that the entry at host address ``slot`` lies in."""
    return (slot - load64(m + M_RAM)) >> 12


@hot
def set_entry(m: int, slot: int, entry: int) -> None:
    """Store ``entry`` at ``slot``, in a table that belongs to one address space alone."""
    if frame_refs(m, table_of(m, slot)) != 1:
        store64(m + K_WRONG_STORE, slot)
    store64(slot, entry)


@hot
def set_new_entry(m: int, slot: int, entry: int) -> None:
    """Store at ``slot``, in a table that no CPU can see yet."""
    store64(slot, entry)


@hot
def set_shared_entry(m: int, slot: int, entry: int) -> None:
    """Store at ``slot`` what every sharer of its table is to see."""
    store64(slot, entry)


@hot
def forget_digest(m: int, table: int) -> None:
    """The table was private for a while, or changed for all its sharers: the checker is to look at it anew."""
    digests = load64(m + K_DIGESTS)
    if digests:
        store64(digests + table * DIGEST_BYTES, 0)
