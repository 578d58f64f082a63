"""Signals that the host sends to the emulator, passed on to the guest.

===================  ===================================================================================================
SIGINT SIGQUIT       Ctrl-C and Ctrl-\\: to the guest's foreground process group, as a terminal does
SIGTSTP              Ctrl-Z: the same where the guest cares for it, else the emulator itself stops
SIGWINCH             a new window size: the same
SIGTERM SIGHUP       to the guest's first process; a second one ends the emulator
SIGUSR1 SIGUSR2      to the guest's first process; SIGALRM too
===================  ===================================================================================================

A signal that was ignored when the emulator started (nohup) is left alone, and ignored by the guest's first program too.
Whoever sends three of a kind that have not been taken by the guest yet ends the emulator: it does not respond.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

from kernel.fs.tty import deliver_tty_signal
from kernel.task.siginfo import SigInfo
from kernel.task.signal import send_signal
from kernel.task.signals import SI_KERNEL, SI_USER, SIG_DFL, SIG_IGN
from kernel.task.sigqueue import Action

if TYPE_CHECKING:
    from types import FrameType

    from kernel.kernel import Kernel

_TERMINAL = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGWINCH)
_ENDING = (signal.SIGTERM, signal.SIGHUP)
_OTHER = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)
_MAX_UNANSWERED = 3
#: Python itself ignores these in every process.
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


class HostInterruptError(Exception):
    """The emulator was told to end by ``signo`` while it could not pass it on (during the start, or hanging)."""

    def __init__(self, signo: int) -> None:
        super().__init__(f"ended by signal {signo}")
        self.signo = signo


class HostSignals:
    """Context manager: handlers are in place inside. Outside the main thread it does nothing, as Python demands.

    Before :meth:`attach` an ending signal raises HostInterruptError.
    """

    def __init__(self) -> None:
        self.kernel: Kernel | None = None
        self.ended_by = 0
        """The signal that made us end the guest, not the guest itself."""
        self._old: dict[int, Any] = {}
        self._old_wakeup = -1
        self._unanswered: dict[int, int] = {}
        self._endings = 0

    def __enter__(self) -> HostSignals:
        if threading.current_thread() is threading.main_thread():
            for signo in (*_TERMINAL, *_ENDING, *_OTHER):
                if signal.getsignal(signo) != signal.SIG_IGN:
                    self._old[signo] = signal.signal(signo, self._received)
        return self

    def attach(self, kernel: Kernel) -> None:
        """From now on signals go to this kernel's first process, which has been started."""
        self.kernel = kernel
        if self._old:
            self._old_wakeup = signal.set_wakeup_fd(kernel.scheduler.ticker.wake_write, warn_on_full_buffer=False)
        leader = kernel.init.leader
        if leader is not None:
            for signo in _ignored_here():
                leader.actions[signo] = Action(SIG_IGN)
            for signo in signal.pthread_sigmask(signal.SIG_BLOCK, ()):
                leader.blocked |= 1 << (signo - 1)

    def detach(self) -> None:
        """The guest has ended; signals are only remembered."""
        if self._old and self.kernel is not None:
            signal.set_wakeup_fd(self._old_wakeup)

    def __exit__(self, *_: object) -> None:
        for signo, handler in self._old.items():
            signal.signal(signo, handler)
        self._old.clear()

    # -- the handler, anywhere between two bytecodes ---------------------------------------------------------------

    def _received(self, signo: int, frame: FrameType | None) -> None:
        if self.kernel is None:
            if signo in (*_ENDING, *_OTHER, signal.SIGINT, signal.SIGQUIT):
                raise HostInterruptError(signo)
            return
        waiting = self._unanswered[signo] = self._unanswered.get(signo, 0) + 1
        if waiting > _MAX_UNANSWERED and signo in (*_ENDING, signal.SIGINT, signal.SIGQUIT):
            raise HostInterruptError(signo)
        self.kernel.scheduler.posted.put(lambda: self._deliver(signo))

    # -- between kernel entries ------------------------------------------------------------------------------------

    def _deliver(self, signo: int) -> None:
        kernel = self.kernel
        assert kernel is not None
        self._unanswered[signo] = 0
        if signo in _ENDING:
            self._endings += 1
            if self._endings > 1:
                self.ended_by = signo
                kernel.stop()
                return
        if signo == signal.SIGTSTP and self._stops_everything():
            self._stop_self()
        elif signo in _TERMINAL:
            deliver_tty_signal(kernel, signo)
        else:
            send_signal(kernel.init, SigInfo(signo, SI_USER))

    def _stops_everything(self) -> bool:
        """Is the first process in the foreground, with nothing of its own to do at Ctrl-Z?"""
        kernel = self.kernel
        assert kernel is not None
        leader = kernel.init.leader
        if leader is None or leader.actions[signal.SIGTSTP].handler != SIG_DFL:
            return False
        return kernel.terminal is None or kernel.terminal.foreground in (0, kernel.init.pgid)

    def _stop_self(self) -> None:
        """Stop as any program stops at Ctrl-Z, with the terminal as it was; go on as we were."""
        kernel = self.kernel
        assert kernel is not None
        if kernel.terminal is None:
            os.kill(os.getpid(), signal.SIGSTOP)
        else:
            modes = kernel.terminal.suspend()
            os.kill(os.getpid(), signal.SIGSTOP)
            kernel.terminal.resume(modes)
        for group in kernel.tasks.pgroup(kernel.init.pgid):
            send_signal(group, SigInfo(signal.SIGCONT, SI_KERNEL))


def _ignored_here() -> list[int]:
    """Signals that whoever started us wants ignored."""
    return [signo for signo in signal.valid_signals()
            if signal.getsignal(signo) == signal.SIG_IGN and signo not in _IGNORED_BY_PYTHON]
