"""Swap entries and slots, compiled. Linux: mm/swapfile.c, mm/swap_state.c, do_swap_page.

A slot is a page of the swap file. An entry that is not present but not zero names one: ``slot << 12 | PTE_SWAP``. The
count of a slot is the number of tables that hold an entry for it.

A page that several tables map goes out one table after the other. From the first on it is in the *swap cache*: its
frame, which nobody may store to while the cache holds a reference, has the same bytes as its slot.
"""

from __future__ import annotations

from emu.native import copy_bytes, export, hot, load32, load64, store32, store64
from emu.paging import PAGE_SHIFT, PAGE_SIZE, PTE_FRAME
from kernel.mm.entries import set_shared_entry
from kernel.mm.frames import add_refs, frame_address, frame_refs, put_frame
from kernel.mm.hugepages import page_users
from kernel.mm.layout import (
    K_FRAME_SLOT,
    K_SWAP,
    K_SWAP_CACHE,
    K_SWAP_FREE,
    K_SWAP_FREE_COUNT,
    K_SWAP_FRESH,
    K_SWAP_INS,
    K_SWAP_OUTS,
    K_SWAP_REFS,
    K_SWAP_SLOTS,
    K_SWAP_USED,
    PTE_SWAP,
)


@hot
def entry_slot_number(pte: int) -> int:
    """The slot that a swap entry names."""
    return (pte & PTE_FRAME) >> PAGE_SHIFT


@hot
def swap_refs(m: int, number: int) -> int:
    """Tables that hold an entry for the slot."""
    return load32(load64(m + K_SWAP_REFS) + number * 4)


@hot
def cached_page(m: int, number: int) -> int:
    """The frame that the swap cache has for the slot, or 0."""
    return load32(load64(m + K_SWAP_CACHE) + number * 4)


@hot
def _slot_bytes(m: int, number: int) -> int:
    return load64(m + K_SWAP) + (number << PAGE_SHIFT)


@hot
def _cache(m: int, number: int, frame: int) -> None:
    """Enter the frame into the swap cache, which holds a reference to it."""
    store32(load64(m + K_SWAP_CACHE) + number * 4, frame)
    store32(load64(m + K_FRAME_SLOT) + frame * 4, number)
    add_refs(m, frame, 1)


@hot
def drop_cached(m: int, number: int) -> None:
    """Take the slot's frame out of the swap cache."""
    frame = cached_page(m, number)
    store32(load64(m + K_SWAP_CACHE) + number * 4, 0)
    store32(load64(m + K_FRAME_SLOT) + frame * 4, 0)
    put_frame(m, frame)


@hot
def swap_dup(m: int, pte: int) -> None:
    """A second table holds the entry ``pte``, which is not present (zero: nothing)."""
    if pte:
        address = load64(m + K_SWAP_REFS) + entry_slot_number(pte) * 4
        store32(address, load32(address) + 1)


@hot
def swap_put(m: int, number: int) -> None:
    """A table has lost its entry for the slot; after the last one the slot is free."""
    refs = swap_refs(m, number) - 1
    store32(load64(m + K_SWAP_REFS) + number * 4, refs)
    if refs > 0:
        return
    if cached_page(m, number):
        drop_cached(m, number)
    free = load64(m + K_SWAP_FREE_COUNT)
    store32(load64(m + K_SWAP_FREE) + free * 4, number)
    store64(m + K_SWAP_FREE_COUNT, free + 1)
    store64(m + K_SWAP_USED, load64(m + K_SWAP_USED) - 1)


@hot
def _take_slot(m: int) -> int:
    """A free slot with one user, or 0 when the swap area is full."""
    free, fresh = load64(m + K_SWAP_FREE_COUNT), load64(m + K_SWAP_FRESH)
    if free > 0:
        number = load32(load64(m + K_SWAP_FREE) + (free - 1) * 4)
        store64(m + K_SWAP_FREE_COUNT, free - 1)
    elif fresh < load64(m + K_SWAP_SLOTS):
        number = fresh
        store64(m + K_SWAP_FRESH, fresh + 1)
    else:
        return 0
    store32(load64(m + K_SWAP_REFS) + number * 4, 1)
    store64(m + K_SWAP_USED, load64(m + K_SWAP_USED) + 1)
    return number


@hot
def swap_out(m: int, slot: int, frame: int) -> int:
    """Make a swap entry of the PTE at ``slot``, which maps the anonymous ``frame``: 1, or 0 when the area is full.

    The caller counts the entry. The frame is free afterwards if this was its last user.
    """
    number = load32(load64(m + K_FRAME_SLOT) + frame * 4)
    if number:
        store32(load64(m + K_SWAP_REFS) + number * 4, swap_refs(m, number) + 1)
    else:
        number = _take_slot(m)
        if number == 0:
            return 0
        copy_bytes(_slot_bytes(m, number), frame_address(m, frame), PAGE_SIZE)
        store64(m + K_SWAP_OUTS, load64(m + K_SWAP_OUTS) + 1)
        if page_users(m, frame) > 1:
            _cache(m, number, frame)
    set_shared_entry(m, slot, (number << PAGE_SHIFT) | PTE_SWAP)
    put_frame(m, frame)
    if cached_page(m, number) and page_users(m, frame) == 1:
        drop_cached(m, number)
    return 1


@hot
def swap_in(m: int, number: int, spare: int) -> int:
    """A frame with the slot's page and one more reference, for a table that gives up its entry; the entry's count goes.

    ``spare`` is an anonymous frame with one reference for the case that the swap cache lacks the page.
    """
    frame = cached_page(m, number)
    if frame:
        add_refs(m, frame, 1)
    else:
        frame = spare
        copy_bytes(frame_address(m, frame), _slot_bytes(m, number), PAGE_SIZE)
        store64(m + K_SWAP_INS, load64(m + K_SWAP_INS) + 1)
        if swap_refs(m, number) > 1:
            _cache(m, number, frame)
    swap_put(m, number)
    return frame


@hot
def peek(m: int, target: int, number: int) -> None:
    """Copy the slot's page to the host address ``target``; nothing is counted."""
    frame = cached_page(m, number)
    copy_bytes(target, frame_address(m, frame) if frame else _slot_bytes(m, number), PAGE_SIZE)


@export("i64(i64,i64)")
def shrink_swap_cache(m: int, want: int) -> int:
    """Free up to ``want`` frames that only the swap cache holds; returns how many."""
    freed = 0
    if load64(m + K_SWAP_USED) == 0:
        return 0
    for number in range(1, load64(m + K_SWAP_FRESH)):
        frame = cached_page(m, number)
        if frame and frame_refs(m, frame) == 1 and page_users(m, frame) == 1:
            drop_cached(m, number)
            freed += 1
            if freed == want:
                break
    return freed
