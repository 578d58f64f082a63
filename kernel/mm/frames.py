"""Frames: who uses each 4 KiB of guest memory, and how often. Linux: struct page and mm/page_alloc.c.

``refs`` of a page frame is the number of distinct PTE tables that map it, plus one for the page cache. ``refs`` of a
PTE table is its *sharers*: the number of PMD entries, in all live address spaces, that point at it (``ODF`` rules).
The swap cache counts as a page cache. A 2 MiB leaf counts in its own place (``hugepages.py``), for all 512 frames.
"""

from __future__ import annotations

from emu.hooks import mark_stale
from emu.layout import M_RAM
from emu.native import export, fill_bytes, hot, load8, load32, load64, store8, store32, store64
from kernel.mm.layout import (
    FRAME_DIRTY,
    FRAME_FILE,
    FRAME_FREE,
    FRAME_HUGE,
    FRAME_KIND,
    FRAME_PTE_TABLE,
    FRAME_SHMEM,
    FRAME_ZEROED,
    K_FAIL_AT,
    K_FREE,
    K_FREE_COUNT,
    K_FRESH,
    K_HUGE_FREE,
    K_HUGE_FREE_COUNT,
    K_KIND,
    K_LIMIT,
    K_PAGES_ZEROED,
    K_REFS,
    K_TABLE_END,
    K_TABLE_NEXT,
    K_USED,
)

#: Fresh frames that are set aside for tables at once.
TABLE_RUN = 64


@hot
def frame_refs(m: int, frame: int) -> int:
    return load32(load64(m + K_REFS) + frame * 4)


@hot
def add_refs(m: int, frame: int, change: int) -> int:
    """Change a frame's count and return the new one."""
    slot = load64(m + K_REFS) + frame * 4
    refs = load32(slot) + change
    store32(slot, refs)
    return refs


@hot
def frame_kind(m: int, frame: int) -> int:
    return load8(load64(m + K_KIND) + frame) & FRAME_KIND


@hot
def mark_dirty(m: int, frame: int) -> None:
    """Remember that a cache frame has bytes which its file may lack."""
    slot = load64(m + K_KIND) + frame
    store8(slot, load8(slot) | FRAME_DIRTY)


@hot
def is_cache_frame(m: int, frame: int) -> bool:
    """The frame belongs to the page cache."""
    kind = frame_kind(m, frame)
    return kind in (FRAME_FILE, FRAME_SHMEM)


@hot
def frame_address(m: int, frame: int) -> int:
    """Host address of the frame's first byte."""
    return load64(m + M_RAM) + (frame << 12)


@hot
def push_free(m: int, frame: int, kind: int) -> None:
    """Put a frame that nobody uses on the stack; ``kind`` is FRAME_FREE, with FRAME_ZEROED if the host zeroed it."""
    store8(load64(m + K_KIND) + frame, kind)
    free = load64(m + K_FREE_COUNT)
    store32(load64(m + K_FREE) + free * 4, frame)
    store64(m + K_FREE_COUNT, free + 1)


@hot
def injected_failure(m: int) -> int:
    """Count an allocation: 1 when it is the one that a test wants to fail."""
    countdown = load64(m + K_FAIL_AT)
    if countdown > 0:
        store64(m + K_FAIL_AT, countdown - 1)
        if countdown == 1:
            return 1
    return 0


@hot
def pop_huge(m: int) -> int:
    """The first of 512 free frames that were freed together, or 0."""
    count = load64(m + K_HUGE_FREE_COUNT)
    if count == 0:
        return 0
    store64(m + K_HUGE_FREE_COUNT, count - 1)
    return load32(load64(m + K_HUGE_FREE) + (count - 1) * 4)


@hot
def _fresh_frame(m: int, kind: int) -> int:
    """A frame that was never used, or 0. Tables come from runs of their own: fork counts one after the other."""
    fresh, limit = load64(m + K_FRESH), load64(m + K_LIMIT)
    kept = load64(m + K_TABLE_NEXT)
    if kind == FRAME_PTE_TABLE and kept == load64(m + K_TABLE_END) and fresh + 16 * TABLE_RUN <= limit:
        kept = fresh
        fresh += TABLE_RUN
        store64(m + K_FRESH, fresh)
        store64(m + K_TABLE_END, fresh)
        store64(m + K_TABLE_NEXT, kept)
    if kept < load64(m + K_TABLE_END) and (kind == FRAME_PTE_TABLE or fresh >= limit):
        store64(m + K_TABLE_NEXT, kept + 1)
        return kept
    if fresh >= limit:
        return 0
    store64(m + K_FRESH, fresh + 1)
    return fresh


@hot
def alloc_frame(m: int, kind: int, zeroed: int) -> int:
    """A frame with one reference, or 0 when there is none. Freed frames come first: the host has them already.

    With ``zeroed`` its bytes are 0; else they are anything.
    """
    if injected_failure(m):
        return 0
    if load64(m + K_FREE_COUNT) == 0 and load64(m + K_FRESH) >= load64(m + K_LIMIT):
        head = pop_huge(m)
        if head:
            for frame in range(head + 511, head - 1, -1):
                push_free(m, frame, load8(load64(m + K_KIND) + frame))
    free = load64(m + K_FREE_COUNT)
    clean = 1
    if free > 0:
        frame = load32(load64(m + K_FREE) + (free - 1) * 4)
        store64(m + K_FREE_COUNT, free - 1)
        clean = load8(load64(m + K_KIND) + frame) & FRAME_ZEROED
    else:
        frame = _fresh_frame(m, kind)
        if frame == 0:
            return 0
    if zeroed and clean == 0:
        fill_bytes(frame_address(m, frame), 0, 4096)
        store64(m + K_PAGES_ZEROED, load64(m + K_PAGES_ZEROED) + 1)
    store8(load64(m + K_KIND) + frame, kind)
    store32(load64(m + K_REFS) + frame * 4, 1)
    store64(m + K_USED, load64(m + K_USED) + 1)
    return frame


@hot
def free_frame(m: int, frame: int) -> None:
    """Put a frame whose last reference is gone on the free stack; translations of its code go first."""
    mark_stale(m, frame)
    store32(load64(m + K_REFS) + frame * 4, 0)
    push_free(m, frame, FRAME_FREE)
    store64(m + K_USED, load64(m + K_USED) - 1)


@hot
def put_frame(m: int, frame: int) -> None:
    """Drop one reference. A part of a 2 MiB page stays as long as some leaf maps the whole."""
    if add_refs(m, frame, -1) == 0 and load8(load64(m + K_KIND) + frame) & FRAME_HUGE == 0:
        free_frame(m, frame)


@export("i64(i64,i64,i64)")
def new_frame(m: int, kind: int, zeroed: int) -> int:
    """alloc_frame for Python."""
    return alloc_frame(m, kind, zeroed)


@export("i64(i64,i64)")
def release_frame(m: int, frame: int) -> int:
    """put_frame for Python; returns 0."""
    put_frame(m, frame)
    return 0


@export("i64(i64,i64)")
def frame_changed(m: int, frame: int) -> int:
    """The kernel has written into the frame: drop the translations of code in it before the guest runs on."""
    mark_stale(m, frame)
    return 0
