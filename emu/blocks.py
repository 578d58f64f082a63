"""The block hook: counts translated blocks, stops the guest when a number of them has run, fills a coverage map.

Unicorn calls :data:`block_hook` where a translated block begins. Such a block is not always a block of the program:

* after a fault in its middle the instruction is begun again, and a block is translated that begins there;
* a block that grows too long for the translator is cut, and the rest becomes a block of its own.

Both are *continuations*. They are neither counted nor covered, so that counts and maps depend on the program and its
input alone: not on page faults, preemption, or on what happened to be translated before. What a fault or a stop leaves
open is noted in ``B_RESUME``; whether a long block was cut is asked of the decoder, once for each (``B_DECODE``).
Everything uncommon is announced by a ``B_LIMIT`` of 0, so that the common path makes one comparison.

Without a budget the blocks that are not covered do not count, so that the hook need not see them: it costs 8 ns a
block, and most blocks of most programs are a library's.
"""

from __future__ import annotations

from emu.layout import M_BLOCKS, M_EMU_STOP
from emu.native import call1, call2, export, hot, load8, load64, store8, store64

#: Blocks begun since the machine was made: those that are covered, and all while there is a budget.
B_COUNT = 0 * 8
#: The hook looks closer when B_COUNT reaches this: B_BUDGET, or 0 to look at the next block.
B_LIMIT = 1 * 8
#: Stop the guest before the block that would make B_COUNT greater than this; UNLIMITED for no budget.
B_BUDGET = 2 * 8
#: Another thread wants the guest to stop.
B_KICK = 3 * 8
#: The block that begins here comes first and is a continuation (0: none).
B_RESUME = 4 * 8
#: Where the last block began and ended if it was long; the end is 0 if not.
B_TAIL_START, B_TAIL = 5 * 8, 6 * 8
#: Set while one instruction is stepped: no block counts.
B_STEPPING = 7 * 8
#: The segment of addresses looked at last: its first address, its bytes, and its key (0: not covered).
B_LOW, B_LENGTH, B_KEY = 8 * 8, 9 * 8, 10 * 8
#: The edge map, its size - 1, and the position of the last block >> 1.
B_MAP, B_MASK, B_PREVIOUS = 11 * 8, 12 * 8, 13 * 8
#: Rows of (first address, key) that divide the whole address space, in order; their number.
B_SEGMENTS, B_SEGMENT_COUNT = 14 * 8, 15 * 8
#: Function (start, end) -> 1 when the code there ends with an instruction that ends a block, 0 when it was cut.
B_DECODE = 16 * 8
#: The machine block.
B_MACHINE = 17 * 8
#: The block before which the hook has stopped the guest (0: it has not).
B_STOPPED = 18 * 8
#: A number << 47 that tells address spaces apart.
B_SPACE = 19 * 8
#: The last block that the hook saw begin, and its bytes: a jump into nowhere came from its end.
B_LAST, B_LAST_SIZE = 20 * 8, 21 * 8
#: What the decoder has said: rows of (B_SPACE and start, end, answer).
B_DECODED = 32 * 8
DECODED_ROWS = 1024
B_BYTES = B_DECODED + DECODED_ROWS * 24

#: Bytes that a block needs to be long: a shorter one is never cut (512 instructions, 4000 operations, 4064 bytes).
LONG = 128
#: A limit that is never reached.
UNLIMITED = 1 << 62
#: 2^64 divided by the golden ratio (Knuth, volume 3, 6.4), as a signed number.
_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_HIGHEST = (1 << 63) - 1


@hot
def _was_cut(b: int, start: int, end: int) -> int:
    """The long block [start, end) ended because of its length and not with an instruction that ends blocks."""
    row = b + B_DECODED + ((start ^ end >> 3) & (DECODED_ROWS - 1)) * 24
    space = load64(b + B_SPACE) | start
    if load64(row) != space or load64(row + 8) != end:
        store64(row + 16, call2(load64(b + B_DECODE), start, end))
        store64(row, space)
        store64(row + 8, end)
    return 1 if load64(row + 16) == 0 else 0


@hot
def _attend(uc: int, address: int, size: int, b: int) -> int:
    """Something is not as usual with the block that begins at ``address``; returns 1 when it is not to be covered."""
    count = load64(b + B_COUNT)
    if load64(b + B_STEPPING) != 0:
        store64(b + B_COUNT, count - 1)
        return 1
    continues = 0
    resume, tail = load64(b + B_RESUME), load64(b + B_TAIL)
    if resume != 0:
        continues = 1 if resume == address else 0
    elif tail == address:
        continues = _was_cut(b, load64(b + B_TAIL_START), tail)
    if continues != 0:
        count -= 1
        store64(b + B_COUNT, count)
    elif load64(b + B_KICK) != 0 or count > load64(b + B_BUDGET):
        # The engine looks for a stop between this hook and the block: the hook will be called again.
        store64(b + B_COUNT, count - 1)
        store64(b + B_STOPPED, address)
        store64(b + B_LIMIT, 0)
        call1(load64(load64(b + B_MACHINE) + M_EMU_STOP), uc)
        return 1
    store64(b + B_RESUME, 0)
    store64(b + B_TAIL, 0)
    store64(b + B_LIMIT, load64(b + B_BUDGET) + 1)
    if load64(b + B_KICK) != 0:
        store64(b + B_LIMIT, 0)
    if continues != 0 and size >= LONG:
        _note_tail(b, address, size)
    return continues


@hot
def _note_tail(b: int, address: int, size: int) -> None:
    store64(b + B_TAIL_START, address)
    store64(b + B_TAIL, address + size)
    store64(b + B_LIMIT, 0)


@hot
def _find_segment(b: int, address: int) -> None:
    """Make the segment that holds ``address`` the one looked at: binary search."""
    rows = load64(b + B_SEGMENTS)
    low, high = 0, load64(b + B_SEGMENT_COUNT)
    while high - low > 1:
        middle = (low + high) >> 1
        if load64(rows + middle * 16) <= address:
            low = middle
        else:
            high = middle
    start = load64(rows + low * 16)
    end = load64(rows + (low + 1) * 16) if low + 1 < load64(b + B_SEGMENT_COUNT) else _HIGHEST
    store64(b + B_LOW, start)
    store64(b + B_LENGTH, end - start)
    store64(b + B_KEY, load64(rows + low * 16 + 8))


@export("void(i64,i64,u32,i64)")
def block_hook(uc: int, address: int, size: int, b: int) -> None:
    """UC_HOOK_BLOCK: the guest is about to run the translated block of ``size`` bytes at ``address``."""
    store64(b + B_LAST, address)
    store64(b + B_LAST_SIZE, size)
    offset = address - load64(b + B_LOW)
    if offset < 0 or offset >= load64(b + B_LENGTH):
        if address < 0:
            return
        _find_segment(b, address)
    key = load64(b + B_KEY)
    if key == 0 and load64(b + B_BUDGET) == UNLIMITED:
        return
    count = load64(b + B_COUNT) + 1
    store64(b + B_COUNT, count)
    if count >= load64(b + B_LIMIT) and _attend(uc, address, size, b) != 0:
        return
    if key != 0:
        position = ((address + key) * _GOLDEN >> 32) & load64(b + B_MASK)
        counter = load64(b + B_MAP) + (position ^ load64(b + B_PREVIOUS))
        value = load8(counter) + 1
        # A counter that wraps skips 0: an edge that was taken always shows.
        store8(counter, value + (value >> 8))
        store64(b + B_PREVIOUS, position >> 1)
    if size >= LONG:
        _note_tail(b, address, size)


@hot
def forget_resume(m: int, rip: int) -> None:
    """The guest goes on at ``rip``: a continuation that was expected elsewhere will not come."""
    b = load64(m + M_BLOCKS)
    if b != 0 and load64(b + B_RESUME) != rip:
        store64(b + B_RESUME, 0)


@hot
def resume_inside(m: int, rip: int) -> None:
    """The guest goes on at ``rip`` in the middle of a block that was begun before."""
    b = load64(m + M_BLOCKS)
    if b != 0:
        store64(b + B_RESUME, rip)
        store64(b + B_LIMIT, 0)


@hot
def set_stepping(m: int, stepping: int) -> None:
    """While an instruction is stepped, no block counts."""
    b = load64(m + M_BLOCKS)
    if b != 0:
        store64(b + B_STEPPING, stepping)
        store64(b + B_LIMIT, 0)


@hot
def stopped_before(m: int, rip: int) -> tuple[int, int]:
    """(where the guest goes on, 1) after a stop that the block hook asked for; (rip, 0) after another's.

    The engine does not bring RIP up to date for a stop from this hook.
    """
    b = load64(m + M_BLOCKS)
    if b == 0:
        return rip, 0
    store64(b + B_KICK, 0)
    address = load64(b + B_STOPPED)
    store64(b + B_STOPPED, 0)
    return (rip, 0) if address == 0 else (address, 1)
