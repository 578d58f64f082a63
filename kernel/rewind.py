"""The kernel's own state, put back so that every run of a parked process begins in the same one.

Taken back: virtual time and time slices, the random stream, the process and inode numbers given out, what was changed
in file systems in memory, and position and flags of the files that the parked process has open. Not taken back, as
nothing of it is a process's own: settings below /proc/sys, the host name, data in pipes and in shared memory that the
parked process holds, and what reached the host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.fs import anon
from kernel.fs.undo import Undo

if TYPE_CHECKING:
    from kernel.fs.fdtable import FdTable
    from kernel.kernel import Kernel


class Rewind:
    """The state as of now; :meth:`restore` goes back to it as often as wanted, until :meth:`end`."""

    def __init__(self, kernel: Kernel, files: FdTable) -> None:
        self.kernel = kernel
        self._clock = kernel.clock.save()
        self._random = kernel.random.save()
        budget = kernel.scheduler.budget
        self._slices = 0 if budget is None else budget.save()
        self._last_pid = kernel.tasks.last
        supers = [*(mount.sb for mount in kernel.vfs.mounts), kernel.vfs.shm, *anon.super_blocks(kernel)]
        self._inode_numbers = [(sb, sb.next_ino) for sb in supers]
        self._files = [(file, file.pos, file.flags) for _, file in files.items()]
        self._undo = Undo(kernel.vfs)
        self._undo.begin()

    def restore(self) -> None:
        """Go back. No process may be alive but the parked one."""
        kernel = self.kernel
        kernel.clock.restore(self._clock)
        kernel.random.restore(self._random)
        if kernel.scheduler.budget is not None:
            kernel.scheduler.budget.restore(self._slices)
        kernel.tasks.last = self._last_pid
        for sb, number in self._inode_numbers:
            sb.next_ino = number
        for file, position, flags in self._files:
            file.pos, file.flags = position, flags
        self._undo.restore()

    def end(self) -> None:
        """What has happened since stays."""
        self._undo.end()
