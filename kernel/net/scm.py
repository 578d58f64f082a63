"""Control messages: file descriptors and credentials that travel with data (net/core/scm.c, unix(7))."""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from kernel.errno import EBADF, EFAULT, EINVAL, EPERM, ESRCH, Errno
from kernel.net.uapi import MSG_CMSG_CLOEXEC, MSG_CTRUNC, SCM_CREDENTIALS, SCM_MAX_FD, SCM_RIGHTS, SOL_SOCKET
from kernel.task.capability import CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN

if TYPE_CHECKING:
    from kernel.fs.file import File
    from kernel.task.task import Task

_CMSGHDR = Struct("<Qii")  # cmsg_len, cmsg_level, cmsg_type
_UCRED = Struct("<iII")
OVERFLOW_ID = 65534


class Ucred(NamedTuple):
    """struct ucred."""

    pid: int
    uid: int
    gid: int

    def pack(self) -> bytes:
        return _UCRED.pack(self.pid, self.uid, self.gid)


NOBODY = Ucred(0, OVERFLOW_ID, OVERFLOW_ID)
"""What a receiver sees when the sender's credentials were not attached."""
UNCONNECTED = Ucred(0, 0xFFFFFFFF, 0xFFFFFFFF)
"""SO_PEERCRED without a peer."""


def ucred_of(task: Task) -> Ucred:
    """The credentials that SCM_CREDENTIALS and SO_PEERCRED report of a task."""
    return Ucred(task.pid, task.cred.euid, task.cred.egid)


@dataclass(slots=True)
class Ancillary:
    """What goes along with one message; ``files`` holds a reference to each."""

    files: list[File] = field(default_factory=list)
    cred: Ucred | None = None

    def drop(self) -> None:
        """Nobody took the files."""
        for file in self.files:
            file.put()
        self.files = []


def parse(task: Task, control: bytes) -> Ancillary:
    """The control messages of sendmsg (__scm_send).

    Raises:
        Errno: EINVAL for malformed or unknown messages, EBADF, EPERM and ESRCH for false credentials.
    """
    found = Ancillary()
    try:
        offset = 0
        while offset + _CMSGHDR.size <= len(control):
            length, level, kind = _CMSGHDR.unpack_from(control, offset)
            if length < _CMSGHDR.size or length > len(control) - offset:
                raise Errno(EINVAL)
            body = control[offset + _CMSGHDR.size:offset + length]
            if level == SOL_SOCKET:
                _parse_one(task, kind, body, found)
            offset += length + 7 & ~7
    except Errno:
        found.drop()
        raise
    return found


def _parse_one(task: Task, kind: int, body: bytes, found: Ancillary) -> None:
    if kind == SCM_RIGHTS:
        if len(body) // 4 > SCM_MAX_FD - len(found.files):
            raise Errno(EINVAL)
        for start in range(0, len(body) & ~3, 4):
            fd = int.from_bytes(body[start:start + 4], "little", signed=True)
            if fd < 0:
                raise Errno(EBADF)
            found.files.append(task.files.get_raw(fd).get())
    elif kind == SCM_CREDENTIALS:
        if len(body) != _UCRED.size:
            raise Errno(EINVAL)
        found.cred = Ucred(*_UCRED.unpack(body))
        _check_credentials(task, found.cred)
    else:
        raise Errno(EINVAL)


def _check_credentials(task: Task, claim: Ucred) -> None:
    """A task may name itself and its own ids; more needs capabilities (scm_check_creds)."""
    cred = task.cred
    if not (
        (claim.pid == task.pid or cred.capable(CAP_SYS_ADMIN))
        and (claim.uid in (cred.uid, cred.euid, cred.suid) or cred.capable(CAP_SETUID))
        and (claim.gid in (cred.gid, cred.egid, cred.sgid) or cred.capable(CAP_SETGID))
    ):
        raise Errno(EPERM)
    if claim.pid != task.pid and claim.pid not in task.kernel.tasks.groups:
        raise Errno(ESRCH)


class ControlWriter:
    """Fills a receiver's msg_control (put_cmsg, scm_detach_fds)."""

    def __init__(self, task: Task, addr: int, room: int) -> None:
        self.task = task
        self.addr = addr
        self.room = room if addr else 0
        self.used = 0
        self.flags = 0

    def put(self, kind: int, body: bytes) -> None:
        """One message, cut to the room there is."""
        left = self.room - self.used
        if left < _CMSGHDR.size:
            self.flags |= MSG_CTRUNC
            return
        length = _CMSGHDR.size + len(body)
        if length > left:
            self.flags |= MSG_CTRUNC
            length = left
        raw = _CMSGHDR.pack(length, SOL_SOCKET, kind) + body
        self.task.mm.write(self.addr + self.used, raw[:length])
        self.used = min(self.room, self.used + (length + 7 & ~7))

    def put_files(self, files: list[File], flags: int) -> None:
        """Give the receiver descriptors for ``files``; those that find no room are closed."""
        left = self.room - self.used
        fits = (left - _CMSGHDR.size) // 4 if left > _CMSGHDR.size else 0
        cloexec = bool(flags & MSG_CMSG_CLOEXEC)
        fds: list[int] = []
        at = self.addr + self.used
        for file in files:
            if len(fds) >= fits or not self._give(file, cloexec, at + _CMSGHDR.size + 4 * len(fds), fds):
                break
        for file in files[len(fds):]:
            file.put()
        if len(fds) < len(files):
            self.flags |= MSG_CTRUNC
        if fds:
            length = _CMSGHDR.size + 4 * len(fds)
            self.task.mm.write(at, _CMSGHDR.pack(length, SOL_SOCKET, SCM_RIGHTS))
            self.used = min(self.room, self.used + (length + 7 & ~7))

    def _give(self, file: File, cloexec: bool, addr: int, fds: list[int]) -> bool:
        files = self.task.files
        try:
            fd = files.install(file, cloexec)
        except Errno:
            return False
        try:
            self.task.mm.write(addr, fd.to_bytes(4, "little"))
        except Errno as error:
            if error.code != EFAULT:
                raise
            file.get()
            files.close(fd)
            return False
        fds.append(fd)
        return True


def deliver(task: Task, got: Ancillary, pass_credentials: bool, writer: ControlWriter, flags: int) -> None:
    """Hand ``got`` to the receiver of a message (scm_recv)."""
    if pass_credentials:
        writer.put(SCM_CREDENTIALS, (got.cred or NOBODY).pack())
    if got.files:
        files, got.files = got.files, []
        writer.put_files(files, flags)
