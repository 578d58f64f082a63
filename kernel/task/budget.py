"""Deterministic runs: time slices and virtual time are numbers of executed blocks, and no clock of the host is asked.

The machine counts blocks (emu/blocks.py) and stops the guest exactly when a budget is used up. A budget is given only
while it matters: while another task wants to run, a timer is pending or a descriptor of the host is waited for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.blocks import B_COUNT, UNLIMITED
from emu.words import U64

if TYPE_CHECKING:
    from emu.coverage import Blocks
    from kernel.task.scheduler import Scheduler

NS_PER_BLOCK = 10
"""About what a block costs the emulator: a program that measures itself sees plausible figures."""
SLICE_BLOCKS = 100_000
"""A time slice has from half as many to half as many more: 1 ms of virtual time."""
_COUNT = B_COUNT >> 3
_STEP = 0x9E3779B97F4A7C15


class Budget:
    """What is left of the running task's slice; ``save`` and ``restore`` make a run begin as another did."""

    def __init__(self, scheduler: Scheduler, blocks: Blocks) -> None:
        kernel = scheduler.kernel
        self._scheduler = scheduler
        self._clock, self._timers = kernel.clock, kernel.timers
        self._blocks, self._slots = blocks, blocks.slots
        self._seed = _mix((kernel.options.seed or 0) & U64)
        self._slices = 0
        """Slices given so far: the place in the sequence of their lengths."""
        self._slice_end = 0
        self._seen = blocks.count
        """Blocks that virtual time knows of."""

    def begin_slice(self) -> None:
        """Another task's turn: from half SLICE_BLOCKS to one and a half, by the seed."""
        self._slices += 1
        length = SLICE_BLOCKS // 2 + _mix(self._seed + self._slices) % SLICE_BLOCKS
        self._slice_end = self._blocks.count + length

    def enter(self) -> None:
        """The guest is about to run: say where it is to stop."""
        scheduler, blocks = self._scheduler, self._blocks
        deadline = self._timers.next_deadline()
        last = self._slice_end if scheduler.queue or scheduler.host_waits else UNLIMITED
        if deadline is not None:
            left_ns = deadline - self._clock.peek_ns()
            last = min(last, blocks.count + max(-(-left_ns // NS_PER_BLOCK), 0))
        if last != blocks.budget:
            blocks.set_budget(last)

    def leave(self) -> None:
        """The guest has stopped: let time pass for what it did."""
        count = self._slots[_COUNT]
        if count != self._seen:
            self._clock.advance((count - self._seen) * NS_PER_BLOCK)
            self._seen = count

    @property
    def exhausted(self) -> bool:
        """The guest has stopped because its budget was used up, and not because the host wanted it to."""
        return self._blocks.count >= self._blocks.budget

    def save(self) -> int:
        """What restore() takes."""
        return self._slices

    def restore(self, saved: int) -> None:
        """Give slices of the same lengths as after save()."""
        self._slices = saved
        self._seen = self._blocks.count


def _mix(value: int) -> int:
    """SplitMix64 (Steele, Lea, Flood 2014): a well-mixed 64-bit number."""
    value = value * _STEP & U64
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & U64
    value = (value ^ value >> 27) * 0x94D049BB133111EB & U64
    return value ^ value >> 31
