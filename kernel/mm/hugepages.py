"""2 MiB pages: 512 frames in a row that a leaf in a PMD table maps whole. Linux: mm/huge_memory.c, mm/hugetlb.c.

::

    PMD entry, PS set ──── leaf_refs(first frame): the distinct PMD tables that map all 512
    PTE ────────────────── refs(frame): the distinct PTE tables that map this one, as for any page

A leaf can be split into a table by one address space while others still map the whole, so both counts can be above 0.
FRAME_HUGE is set in the kinds of all 512 frames while ``leaf_refs`` is; then the frames become ordinary ones.
"""

from __future__ import annotations

from emu.hooks import mark_stale
from emu.native import export, fill_bytes, hot, load8, load32, load64, store8, store32, store64
from emu.paging import ENTRIES, PAGE_SHIFT, PMD_SHIFT, PMD_SIZE, PTE_FRAME, PTE_P, PTE_PS
from kernel.mm.frames import (
    frame_address,
    frame_refs,
    free_frame,
    injected_failure,
    pop_huge,
    push_free,
)
from kernel.mm.layout import (
    FRAME_FREE,
    FRAME_HUGE,
    FRAME_HUGETLB,
    FRAME_KIND,
    FRAME_ZEROED,
    K_COUNTS,
    K_FRESH,
    K_HUGE_FREE,
    K_HUGE_FREE_COUNT,
    K_KIND,
    K_LIMIT,
    K_PAGES_ZEROED,
    K_POOL,
    K_POOL_FREE,
    K_POOL_RESERVED,
    K_REFS,
    K_USED,
    LEAF_REFS,
    TC_BYTES,
)


@hot
def is_leaf(pmd: int) -> bool:
    """The PMD entry maps 2 MiB itself."""
    return pmd & (PTE_P | PTE_PS) == PTE_P | PTE_PS


@hot
def leaf_head(pmd: int) -> int:
    """The first of the 512 frames that a leaf maps."""
    return (pmd & PTE_FRAME) >> PAGE_SHIFT


@hot
def _leaf_count(m: int, head: int) -> int:
    """Host address of the count of leaves that map the 2 MiB page."""
    return load64(m + K_COUNTS) + head * TC_BYTES + LEAF_REFS


@hot
def leaf_refs(m: int, head: int) -> int:
    return load32(_leaf_count(m, head))


@hot
def add_leaf(m: int, head: int) -> None:
    """One more PMD table maps the 2 MiB page."""
    store32(_leaf_count(m, head), leaf_refs(m, head) + 1)


@hot
def page_users(m: int, frame: int) -> int:
    """How many tables, caches and leaves use a page: 1 means that its one mapper may store to it in place."""
    users = frame_refs(m, frame)
    if load8(load64(m + K_KIND) + frame) & FRAME_HUGE:
        users += leaf_refs(m, frame & -ENTRIES)
    return users


@hot
def leaf_is_sole(m: int, head: int) -> bool:
    """One leaf maps the 2 MiB page, and no table maps a part of it."""
    parts = 0
    for frame in range(head, head + ENTRIES):
        parts += frame_refs(m, frame)
    return leaf_refs(m, head) == 1 and parts == 0


@hot
def _fresh_head(m: int) -> int:
    """The first of 512 frames in a row that were never used, or 0; frames before the 2 MiB boundary become free."""
    fresh = load64(m + K_FRESH)
    head = (fresh + ENTRIES - 1) & -ENTRIES
    if head + ENTRIES > load64(m + K_LIMIT):
        return 0
    for frame in range(fresh, head):
        push_free(m, frame, FRAME_FREE | FRAME_ZEROED)
    store64(m + K_FRESH, head + ENTRIES)
    for frame in range(head, head + ENTRIES):
        store8(load64(m + K_KIND) + frame, FRAME_FREE | FRAME_ZEROED)
    return head


@hot
def _use(m: int, head: int, kind: int, zeroed: int) -> None:
    """Give 512 free frames one leaf, and zeros if asked."""
    kinds = load64(m + K_KIND) + head
    if zeroed and load8(kinds) & FRAME_ZEROED == 0:
        fill_bytes(frame_address(m, head), 0, PMD_SIZE)
        store64(m + K_PAGES_ZEROED, load64(m + K_PAGES_ZEROED) + ENTRIES)
    fill_bytes(kinds, kind | FRAME_HUGE, ENTRIES)
    fill_bytes(load64(m + K_REFS) + head * 4, 0, ENTRIES * 4)
    store32(_leaf_count(m, head), 1)


@hot
def alloc_huge(m: int, kind: int, zeroed: int) -> int:
    """The first frame of a 2 MiB page with one leaf, or 0 when no 512 free frames lie in a row."""
    if injected_failure(m):
        return 0
    head = pop_huge(m)
    if head == 0:
        head = _fresh_head(m)
    if head:
        _use(m, head, kind, zeroed)
        store64(m + K_USED, load64(m + K_USED) + ENTRIES)
    return head


@hot
def alloc_hugetlb(m: int, reserved: int, zeroed: int) -> int:
    """As alloc_huge, from the pool; ``reserved``: this page was promised at mmap (alloc_huge_page)."""
    free, promised = load64(m + K_POOL_FREE), load64(m + K_POOL_RESERVED)
    if free == 0 or (reserved == 0 and free <= promised) or injected_failure(m):
        return 0
    if reserved:
        store64(m + K_POOL_RESERVED, promised - 1)
    store64(m + K_POOL_FREE, free - 1)
    head = load32(load64(m + K_POOL) + (free - 1) * 4)
    _use(m, head, FRAME_HUGETLB, zeroed)
    return head


@hot
def _push_huge(m: int, head: int) -> None:
    """All 512 frames are free."""
    fill_bytes(load64(m + K_KIND) + head, FRAME_FREE, ENTRIES)
    count = load64(m + K_HUGE_FREE_COUNT)
    store32(load64(m + K_HUGE_FREE) + count * 4, head)
    store64(m + K_HUGE_FREE_COUNT, count + 1)


@hot
def put_leaf(m: int, head: int) -> None:
    """A leaf is gone. After the last one, the frames that no table maps are free."""
    refs = leaf_refs(m, head) - 1
    store32(_leaf_count(m, head), refs)
    if refs > 0:
        return
    kinds = load64(m + K_KIND) + head
    kind = load8(kinds) & FRAME_KIND
    idle = 0
    for i in range(ENTRIES):
        if frame_refs(m, head + i) == 0:
            idle += 1
            mark_stale(m, head + i)
        store8(kinds + i, kind)
    if kind == FRAME_HUGETLB:
        free = load64(m + K_POOL_FREE)
        store32(load64(m + K_POOL) + free * 4, head)
        store64(m + K_POOL_FREE, free + 1)
    elif idle == ENTRIES:
        _push_huge(m, head)
        store64(m + K_USED, load64(m + K_USED) - ENTRIES)
    else:
        for i in range(ENTRIES):
            if frame_refs(m, head + i) == 0:
                free_frame(m, head + i)


@export("i64(i64)")
def pool_grow(m: int) -> int:
    """Move 512 frames in a row to the pool of MAP_HUGETLB pages: 1, or 0 when there are none."""
    head = pop_huge(m)
    if head == 0:
        head = _fresh_head(m)
    if head == 0:
        return 0
    kinds = load64(m + K_KIND) + head
    fill_bytes(kinds, FRAME_HUGETLB | (load8(kinds) & FRAME_ZEROED), ENTRIES)
    free = load64(m + K_POOL_FREE)
    store32(load64(m + K_POOL) + free * 4, head)
    store64(m + K_POOL_FREE, free + 1)
    store64(m + K_USED, load64(m + K_USED) + ENTRIES)
    return 1


@export("i64(i64)")
def pool_shrink(m: int) -> int:
    """Give one free page of the pool back: 1, or 0 when all are in use or promised."""
    free = load64(m + K_POOL_FREE)
    if free <= load64(m + K_POOL_RESERVED):
        return 0
    store64(m + K_POOL_FREE, free - 1)
    _push_huge(m, load32(load64(m + K_POOL) + (free - 1) * 4))
    store64(m + K_USED, load64(m + K_USED) - ENTRIES)
    return 1


@hot
def inside_vma(start: int, end: int, va: int) -> bool:
    """The 2 MiB around ``va`` lie within [start, end)."""
    base = (va >> PMD_SHIFT) << PMD_SHIFT
    return start <= base and base + PMD_SIZE <= end
