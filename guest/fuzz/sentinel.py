"""The process whose pid the fuzzer gets in place of a guest's: it sleeps, and dies when the fuzzer wants the run ended.

All guests run inside the launcher, so there is no host process that the fuzzer could kill at a timeout. The sentinel
stands in: its death is what ends a run.
"""

from __future__ import annotations

import os
import select
import shutil
import signal

_NAME = "forkyard-sentinel"


class Sentinel:
    """One sleeping child with its ``pid``, and a ``pidfd`` that is readable once it is dead.

    It is cat(1) reading a pipe whose other end only we hold: when we die, however that happens, it reads the end of
    file and exits. There is no moment at which it could be left behind, as there is before a prctl(PR_SET_PDEATHSIG).
    posix_spawn keeps it from taking a copy of our memory.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self) -> None:
        reader, self._lifeline = os.pipe2(os.O_CLOEXEC)
        try:
            self.pid = os.posix_spawn(
                shutil.which("cat", path=os.defpath) or "/bin/cat", [_NAME], {},
                file_actions=[(os.POSIX_SPAWN_DUP2, reader, 0), (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                              (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)],
                setsigmask=[], setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
            self.pidfd = os.pidfd_open(self.pid)
        except OSError:
            os.close(self._lifeline)
            raise
        finally:
            os.close(reader)

    def is_dead(self) -> bool:
        """Has somebody killed it?"""
        return bool(select.select([self.pidfd], [], [], 0)[0])

    def bury(self) -> int:
        """Make sure that it is dead and reap it; returns its wait(2) status. The object is of no use afterwards."""
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        os.close(self.pidfd)
        os.close(self._lifeline)
        return status
