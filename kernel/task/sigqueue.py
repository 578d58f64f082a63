"""Pending signals of a thread or process, and the table of what to do with each (sigpending, sighand_struct)."""

from __future__ import annotations

from typing import NamedTuple

from kernel.task.siginfo import SigInfo
from kernel.task.signals import (
    NSIG,
    SI_USER,
    SIG_DFL,
    SIG_IGN,
    SIG_KERNEL_IGNORE_MASK,
    SYNCHRONOUS_MASK,
)
from kernel.task.wait import WaitQueue


class SignalQueue:
    """Signals that were sent and not yet delivered, in order of arrival.

    Invariant: bit N-1 of ``mask`` is set if an entry of ``entries`` is signal N. It may be set with no entry: the
    signal's siginfo was lost to RLIMIT_SIGPENDING.
    """

    __slots__ = ("entries", "mask")

    def __init__(self) -> None:
        self.mask = 0
        self.entries: list[SigInfo] = []

    def __len__(self) -> int:
        return len(self.entries)

    def add(self, info: SigInfo) -> None:
        """Queue one more signal."""
        self.mask |= 1 << (info.signo - 1)
        self.entries.append(info)

    def mark(self, signo: int) -> None:
        """Make ``signo`` pending without siginfo."""
        self.mask |= 1 << (signo - 1)

    def next(self, blocked: int) -> int:
        """The signal to deliver next, 0 for none: those of the CPU first, then the lowest number (next_signal)."""
        ready = self.mask & ~blocked
        if not ready:
            return 0
        ready = ready & SYNCHRONOUS_MASK or ready
        return (ready & -ready).bit_length()

    def take(self, signo: int) -> SigInfo:
        """Remove the oldest ``signo``; it stays pending while more of it are queued (collect_signal)."""
        found: SigInfo | None = None
        first = -1
        for index, info in enumerate(self.entries):
            if info.signo != signo:
                continue
            if found is not None:
                del self.entries[first]
                return found
            found, first = info, index
        self.mask &= ~(1 << (signo - 1))
        if found is None:
            return SigInfo(signo, SI_USER)
        del self.entries[first]
        return found

    def take_synchronous(self, blocked: int) -> SigInfo | None:
        """Remove the oldest signal that the CPU raised, by its positive code (dequeue_synchronous_signal)."""
        ready = self.mask & ~blocked & SYNCHRONOUS_MASK
        if not ready:
            return None
        for index, info in enumerate(self.entries):
            if info.code > SI_USER and ready >> (info.signo - 1) & 1:
                del self.entries[index]
                if all(other.signo != info.signo for other in self.entries):
                    self.mask &= ~(1 << (info.signo - 1))
                return info
        return None

    def discard(self, mask: int) -> bool:
        """Forget all pending signals of ``mask``; returns whether there were any (flush_sigqueue_mask)."""
        if not self.mask & mask:
            return False
        self.mask &= ~mask
        self.entries = [info for info in self.entries if not mask >> (info.signo - 1) & 1]
        return True

    def clear(self) -> None:
        """Forget all."""
        self.mask = 0
        self.entries.clear()


class Action(NamedTuple):
    """One struct sigaction; ``handler`` is an address, SIG_DFL or SIG_IGN."""

    handler: int = SIG_DFL
    flags: int = 0
    restorer: int = 0
    mask: int = 0


DEFAULT_ACTION = Action()


class SignalActions:
    """What a process does with each signal; shared by its threads (CLONE_SIGHAND).

    ``signalfd_wait`` is woken whenever a signal is queued for any of the threads.
    """

    __slots__ = ("signalfd_wait", "table")

    def __init__(self) -> None:
        self.table: list[Action] = [DEFAULT_ACTION] * (NSIG + 1)
        self.signalfd_wait = WaitQueue()

    def __getitem__(self, signo: int) -> Action:
        return self.table[signo]

    def __setitem__(self, signo: int, action: Action) -> None:
        self.table[signo] = action

    def copy(self) -> SignalActions:
        """For fork: the same handlers, from now on separate."""
        new = SignalActions()
        new.table = list(self.table)
        return new

    def reset_for_exec(self, force_default: bool = False) -> None:
        """Handlers become the default, ignored signals stay ignored; masks and flags go (flush_signal_handlers).

        ``force_default`` resets the ignored ones too.
        """
        self.table = [
            Action(SIG_IGN) if action.handler == SIG_IGN and not force_default else DEFAULT_ACTION
            for action in self.table
        ]

    def ignores(self, signo: int) -> bool:
        """Would ``signo`` do nothing: SIG_IGN, or SIG_DFL where that means to ignore? (sig_handler_ignored)"""
        handler = self.table[signo].handler
        return handler == SIG_IGN or (handler == SIG_DFL and bool(SIG_KERNEL_IGNORE_MASK >> (signo - 1) & 1))

    @property
    def ignored_mask(self) -> int:
        """Signals set to SIG_IGN (SigIgn of /proc/<pid>/status)."""
        return sum(1 << (n - 1) for n in range(1, NSIG + 1) if self.table[n].handler == SIG_IGN)

    @property
    def caught_mask(self) -> int:
        """Signals with a handler (SigCgt of /proc/<pid>/status)."""
        return sum(1 << (n - 1) for n in range(1, NSIG + 1) if self.table[n].handler not in (SIG_DFL, SIG_IGN))
