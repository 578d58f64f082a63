"""The terminal that the guest shares with the host, and job control over it in the guest's own terms.

Line discipline, echo and window size are the host's: termios calls pass through. Sessions and the foreground process
group are kept here, because the host knows nothing of the guest's processes. Linux: drivers/tty/tty_jobctrl.c.
"""

from __future__ import annotations

import fcntl
import os
import termios
from typing import TYPE_CHECKING, Any

from kernel.errno import EINVAL, EIO, ENOTTY, EPERM, ERESTARTSYS, ESRCH, Errno, from_host
from kernel.task.signals import SIGCONT, SIGHUP, SIGTTIN, SIGTTOU

if TYPE_CHECKING:
    from kernel.fs.dentry import Dentry
    from kernel.fs.file import File
    from kernel.task.task import Task, ThreadGroup

TCGETS, TCSETS, TCSETSW, TCSETSF = 0x5401, 0x5402, 0x5403, 0x5404
TCGETA, TCSETA, TCSETAW, TCSETAF = 0x5405, 0x5406, 0x5407, 0x5408
TCSBRK, TCXONC, TCFLSH = 0x5409, 0x540A, 0x540B
TIOCSCTTY, TIOCGPGRP, TIOCSPGRP, TIOCOUTQ, TIOCSTI = 0x540E, 0x540F, 0x5410, 0x5411, 0x5412
TIOCGWINSZ, TIOCSWINSZ = 0x5413, 0x5414
FIONREAD, TIOCNOTTY, TIOCGETD, TCSBRKP, TIOCGSID = 0x541B, 0x5422, 0x5424, 0x5425, 0x5429
TCGETS2, TCSETS2, TCSETSW2, TCSETSF2 = 0x802C542A, 0x402C542B, 0x402C542C, 0x402C542D
TIOCGDEV, TIOCGEXCL = 0x80045432, 0x80045440

TERMIOS_SIZE, TERMIOS2_SIZE, TERMIO_SIZE = 36, 44, 18
_READS = {
    TCGETS: TERMIOS_SIZE, TCGETS2: TERMIOS2_SIZE, TCGETA: TERMIO_SIZE, TIOCGWINSZ: 8, FIONREAD: 4, TIOCOUTQ: 4,
    TIOCGETD: 4, TIOCGDEV: 4, TIOCGEXCL: 4,
}
"""Commands that only ask the host: command → bytes of the answer."""
_CHANGES = {
    TCSETS: TERMIOS_SIZE, TCSETSW: TERMIOS_SIZE, TCSETSF: TERMIOS_SIZE, TCSETS2: TERMIOS2_SIZE,
    TCSETSW2: TERMIOS2_SIZE, TCSETSF2: TERMIOS2_SIZE, TCSETA: TERMIO_SIZE, TCSETAW: TERMIO_SIZE, TCSETAF: TERMIO_SIZE,
}
"""Commands that set the host terminal's modes: command → bytes of the argument."""
_PLAIN = frozenset((TCSBRK, TCXONC, TCFLSH, TCSBRKP))
"""Commands with a number as argument that pass through."""
TOSTOP = 0o400
CAP_SYS_ADMIN = 21


class Terminal:
    """The host terminal as the guest's controlling one.

    ``session`` is the guest session that it controls (0: none); ``foreground`` the process group that gets its
    signals. ``fd`` is the host's descriptor.
    """

    def __init__(self, kernel: Any, fd: int) -> None:
        self.kernel = kernel
        self.fd = fd
        self.session = 0
        self.foreground = 0
        self.rdev = os.fstat(fd).st_rdev
        self.name = os.fsencode(os.ttyname(fd)) if _has_name(fd) else b""
        self.tostop = bool(termios.tcgetattr(fd)[3] & TOSTOP)
        self._modes_at_start: list[Any] | None = None

    def claim(self, group: ThreadGroup) -> None:
        """Give the terminal to the session of ``group``, if it controls this program on the host, too."""
        try:
            os.tcgetpgrp(self.fd)
        except OSError:
            return
        self.session, self.foreground = group.sid, group.pgid
        group.controlling_tty = self

    def suspend(self) -> list[Any]:
        """The emulator is about to be stopped: put back the host's modes; returns those of the guest."""
        modes = termios.tcgetattr(self.fd)
        self.restore()
        return modes

    def resume(self, modes: list[Any]) -> None:
        """Go on with the guest's modes after suspend()."""
        if self._modes_at_start is not None:
            try:
                termios.tcsetattr(self.fd, termios.TCSANOW, modes)
            except termios.error:
                return

    def controls(self, task: Task) -> bool:
        """Is this the controlling terminal of the task's session?"""
        return bool(self.session) and task.group.sid == self.session and task.group.controlling_tty is self

    def open(self, dentry: Dentry, flags: int) -> File:
        """/dev/tty of a process that this terminal controls."""
        from kernel.fs.stdio import TerminalFile

        return TerminalFile(self, dentry, flags)

    def restore(self) -> None:
        """At the end: put back the modes that the guest changed and did not set back itself."""
        if self._modes_at_start is not None:
            try:
                termios.tcsetattr(self.fd, termios.TCSANOW, self._modes_at_start)
            except termios.error:
                return

    # -- job control

    def check_read(self, task: Task) -> None:
        """A background process that reads is stopped by SIGTTIN, or gets EIO (job_control in n_tty.c)."""
        if self._in_background(task):
            self._stop(task, SIGTTIN, may_refuse=True)

    def check_write(self, task: Task) -> None:
        """With TOSTOP set, a background process that writes gets SIGTTOU."""
        if self.tostop:
            self.check_change(task)

    def check_change(self, task: Task) -> None:
        """Changing the terminal from the background: SIGTTOU unless it is blocked or ignored (tty_check_change)."""
        if self._in_background(task):
            self._stop(task, SIGTTOU, may_refuse=False)

    def _in_background(self, task: Task) -> bool:
        return self.foreground != task.group.pgid and bool(self.foreground) and self.controls(task)

    def _stop(self, task: Task, signo: int, *, may_refuse: bool) -> None:
        from kernel.task.jobctl import is_orphaned
        from kernel.task.signal import SI_KERNEL, SIG_IGN, SigInfo, send_signal

        if task.blocked >> (signo - 1) & 1 or task.actions[signo].handler == SIG_IGN:
            if may_refuse:
                raise Errno(EIO)
            return
        if is_orphaned(task):
            raise Errno(EIO)
        for group in self.kernel.tasks.pgroup(task.group.pgid):
            send_signal(group, SigInfo(signo, SI_KERNEL))
        task.signal_wakeup = True
        raise Errno(ERESTARTSYS)

    # -- ioctl

    async def ioctl(self, task: Task, file: File, cmd: int, arg: int) -> int:
        """tty_ioctl(2). Commands that could type into the host's terminal or seize it are refused."""
        if cmd in _READS:
            task.mm.write(arg, self._host_ioctl(cmd, bytes(_READS[cmd])))
            return 0
        if cmd in _CHANGES:
            return self._set_modes(task, cmd, task.mm.read(arg, _CHANGES[cmd]))
        if cmd == TIOCSWINSZ:
            self._host_ioctl(cmd, task.mm.read(arg, 8))
            return 0
        if cmd in _PLAIN:
            self.check_change(task)
            self._host_ioctl(cmd, arg & 0x7FFFFFFF)
            return 0
        if cmd == TIOCSTI:
            raise Errno(EIO)
        return self._job_control(task, cmd, arg)

    def _host_ioctl(self, cmd: int, arg: Any) -> Any:
        try:
            return fcntl.ioctl(self.fd, cmd, arg)
        except OSError as error:
            raise from_host(error) from None

    def _set_modes(self, task: Task, cmd: int, modes: bytes) -> int:
        self.check_change(task)
        if self._modes_at_start is None:
            self._modes_at_start = termios.tcgetattr(self.fd)
        self._host_ioctl(cmd, modes)
        self.tostop = bool(termios.tcgetattr(self.fd)[3] & TOSTOP)
        return 0

    def _job_control(self, task: Task, cmd: int, arg: int) -> int:
        group = task.group
        if cmd == TIOCGPGRP:
            if not self.controls(task):
                raise Errno(ENOTTY)
            task.mm.write(arg, self.foreground.to_bytes(4, "little"))
        elif cmd == TIOCGSID:
            if not self.controls(task):
                raise Errno(ENOTTY)
            task.mm.write(arg, self.session.to_bytes(4, "little"))
        elif cmd == TIOCSPGRP:
            self._set_foreground(task, int.from_bytes(task.mm.read(arg, 4), "little", signed=True))
        elif cmd == TIOCSCTTY:
            self._set_controlling(task, arg)
        elif cmd == TIOCNOTTY:
            if not self.controls(task):
                raise Errno(ENOTTY)
            group.controlling_tty = None
            self.session_leader_exited(group)
        else:
            raise Errno(ENOTTY)
        return 0

    def _set_foreground(self, task: Task, pgid: int) -> None:
        """TIOCSPGRP (tiocspgrp)."""
        if self.controls(task):
            self.check_change(task)
        if not self.controls(task):
            raise Errno(ENOTTY)
        if pgid < 0:
            raise Errno(EINVAL)
        members = self.kernel.tasks.pgroup(pgid)
        if not members:
            raise Errno(ESRCH)
        if members[0].sid != self.session:
            raise Errno(EPERM)
        self.foreground = pgid

    def _set_controlling(self, task: Task, steal: int) -> None:
        """TIOCSCTTY (tiocsctty)."""
        group = task.group
        if self.controls(task) and group.sid == group.tgid:
            return
        if group.sid != group.tgid or group.controlling_tty is not None:
            raise Errno(EPERM)
        if self.session:
            if steal != 1 or not task.cred.capable(CAP_SYS_ADMIN):
                raise Errno(EPERM)
            for member in self.kernel.tasks.session(self.session):
                member.controlling_tty = None
        self.session, self.foreground = group.sid, group.pgid
        group.controlling_tty = self

    def session_leader_exited(self, group: ThreadGroup) -> None:
        """The session leader is gone or gave the terminal up (disassociate_ctty)."""
        from kernel.task.signal import SI_KERNEL, SigInfo, send_signal

        if group.sid != group.tgid or group.sid != self.session:
            return
        for member in self.kernel.tasks.pgroup(self.foreground):
            send_signal(member, SigInfo(SIGHUP, SI_KERNEL))
            send_signal(member, SigInfo(SIGCONT, SI_KERNEL))
        for member in self.kernel.tasks.session(self.session):
            member.controlling_tty = None
        self.session = self.foreground = 0


def _has_name(fd: int) -> bool:
    try:
        os.ttyname(fd)
    except OSError:
        return False
    return True


def deliver_tty_signal(kernel: Any, signo: int) -> None:
    """Ctrl-C, Ctrl-Z, Ctrl-\\ or a new window size on the host: ``signo`` goes to the foreground process group.

    Without a terminal it goes to the first process's group. Call it between kernel entries.
    """
    from kernel.task.signal import SI_KERNEL, SigInfo, send_signal

    terminal = getattr(kernel, "terminal", None)
    groups = kernel.tasks.pgroup(terminal.foreground) if terminal is not None and terminal.foreground else []
    if not groups and kernel.init is not None:
        groups = kernel.tasks.pgroup(kernel.init.pgid) or [kernel.init]
    for group in groups:
        send_signal(group, SigInfo(signo, SI_KERNEL))
