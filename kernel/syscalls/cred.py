"""User and group ids, supplementary groups, capabilities: credentials(7), kernel/sys.c, kernel/capability.c."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kernel.errno import EINVAL, EPERM, ESRCH, Errno
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Gid, Int, Struct, Uid
from kernel.task.capability import CAP_FULL_SET, CAP_SETGID, CAP_SETPCAP, CAP_SETUID
from kernel.task.cred import NGROUPS_MAX, Credentials, commit

if TYPE_CHECKING:
    from kernel.task.task import Task

NO_CHANGE = 0xFFFFFFFF
"""(uid_t)-1: leave this id alone."""

_LINUX_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITY_WORDS = {0x19980330: 1, 0x20071026: 2, _LINUX_CAPABILITY_VERSION_3: 2}
"""Version of the header → number of 32-bit words in each set."""
_CAP_DATA = struct.Struct("<III")
"""effective, permitted, inheritable: one word of each."""


@syscall(102, "getuid", returns=Uid)
def getuid(task: Task) -> int:
    return task.cred.uid


@syscall(104, "getgid", returns=Gid)
def getgid(task: Task) -> int:
    return task.cred.gid


@syscall(107, "geteuid", returns=Uid)
def geteuid(task: Task) -> int:
    return task.cred.euid


@syscall(108, "getegid", returns=Gid)
def getegid(task: Task) -> int:
    return task.cred.egid


@syscall(105, "setuid", uid=Uid)
def setuid(task: Task, uid: int) -> None:
    _valid(uid)
    old, new = task.cred, task.cred.copy()
    if old.capable(CAP_SETUID):
        new.uid = new.suid = uid
    elif uid not in (old.uid, old.suid):
        raise Errno(EPERM)
    new.euid = new.fsuid = uid
    _commit_uids(task, new)


@syscall(106, "setgid", gid=Gid)
def setgid(task: Task, gid: int) -> None:
    _valid(gid)
    old, new = task.cred, task.cred.copy()
    if old.capable(CAP_SETGID):
        new.gid = new.egid = new.sgid = new.fsgid = gid
    elif gid in (old.gid, old.sgid):
        new.egid = new.fsgid = gid
    else:
        raise Errno(EPERM)
    commit(task, new)


@syscall(113, "setreuid", ruid=Uid, euid=Uid)
def setreuid(task: Task, ruid: int, euid: int) -> None:
    old, new = task.cred, task.cred.copy()
    privileged = old.capable(CAP_SETUID)
    if ruid != NO_CHANGE:
        if not privileged and ruid not in (old.uid, old.euid):
            raise Errno(EPERM)
        new.uid = ruid
    if euid != NO_CHANGE:
        if not privileged and euid not in (old.uid, old.euid, old.suid):
            raise Errno(EPERM)
        new.euid = euid
    if ruid != NO_CHANGE or (euid != NO_CHANGE and euid != old.uid):
        new.suid = new.euid
    new.fsuid = new.euid
    _commit_uids(task, new)


@syscall(114, "setregid", rgid=Gid, egid=Gid)
def setregid(task: Task, rgid: int, egid: int) -> None:
    old, new = task.cred, task.cred.copy()
    privileged = old.capable(CAP_SETGID)
    if rgid != NO_CHANGE:
        if not privileged and rgid not in (old.gid, old.egid):
            raise Errno(EPERM)
        new.gid = rgid
    if egid != NO_CHANGE:
        if not privileged and egid not in (old.gid, old.egid, old.sgid):
            raise Errno(EPERM)
        new.egid = egid
    if rgid != NO_CHANGE or (egid != NO_CHANGE and egid != old.gid):
        new.sgid = new.egid
    new.fsgid = new.egid
    commit(task, new)


@syscall(117, "setresuid", ruid=Uid, euid=Uid, suid=Uid)
def setresuid(task: Task, ruid: int, euid: int, suid: int) -> None:
    old, new = task.cred, task.cred.copy()
    if not old.capable(CAP_SETUID):
        _only_known((ruid, euid, suid), (old.uid, old.euid, old.suid))
    new.uid, new.euid, new.suid = (
        before if wanted == NO_CHANGE else wanted
        for wanted, before in zip((ruid, euid, suid), (old.uid, old.euid, old.suid), strict=True)
    )
    new.fsuid = new.euid
    _commit_uids(task, new)


@syscall(119, "setresgid", rgid=Gid, egid=Gid, sgid=Gid)
def setresgid(task: Task, rgid: int, egid: int, sgid: int) -> None:
    old, new = task.cred, task.cred.copy()
    if not old.capable(CAP_SETGID):
        _only_known((rgid, egid, sgid), (old.gid, old.egid, old.sgid))
    new.gid, new.egid, new.sgid = (
        before if wanted == NO_CHANGE else wanted
        for wanted, before in zip((rgid, egid, sgid), (old.gid, old.egid, old.sgid), strict=True)
    )
    new.fsgid = new.egid
    commit(task, new)


@syscall(118, "getresuid", ruid=Struct("uid_t", "out"), euid=Struct("uid_t", "out"), suid=Struct("uid_t", "out"))
def getresuid(task: Task, ruid: int, euid: int, suid: int) -> None:
    cred = task.cred
    for address, value in ((ruid, cred.uid), (euid, cred.euid), (suid, cred.suid)):
        task.mm.write_u32(address, value)


@syscall(120, "getresgid", rgid=Struct("gid_t", "out"), egid=Struct("gid_t", "out"), sgid=Struct("gid_t", "out"))
def getresgid(task: Task, rgid: int, egid: int, sgid: int) -> None:
    cred = task.cred
    for address, value in ((rgid, cred.gid), (egid, cred.egid), (sgid, cred.sgid)):
        task.mm.write_u32(address, value)


@syscall(122, "setfsuid", uid=Uid, returns=Uid)
def setfsuid(task: Task, uid: int) -> int:
    """Returns the previous fsuid, whether or not the change was allowed (setfsuid(2))."""
    old = task.cred
    allowed = uid in (old.uid, old.euid, old.suid, old.fsuid) or old.capable(CAP_SETUID)
    if uid != NO_CHANGE and uid != old.fsuid and allowed:
        new = old.copy()
        new.fsuid = uid
        new.fix_after_setfsuid(old)
        commit(task, new)
    return old.fsuid


@syscall(123, "setfsgid", gid=Gid, returns=Gid)
def setfsgid(task: Task, gid: int) -> int:
    old = task.cred
    allowed = gid in (old.gid, old.egid, old.sgid, old.fsgid) or old.capable(CAP_SETGID)
    if gid != NO_CHANGE and gid != old.fsgid and allowed:
        new = old.copy()
        new.fsgid = gid
        commit(task, new)
    return old.fsgid


@syscall(115, "getgroups", size=Int, list=Struct("gid_t", "out", "size"))
def getgroups(task: Task, size: int, address: int) -> int:
    groups = task.cred.groups
    if size < 0:
        raise Errno(EINVAL)
    if size:
        if len(groups) > size:
            raise Errno(EINVAL)
        task.mm.write(address, struct.pack(f"<{len(groups)}I", *groups))
    return len(groups)


@syscall(116, "setgroups", size=Int, list=Struct("gid_t", "in", "size"))
def setgroups(task: Task, size: int, address: int) -> None:
    if not task.cred.capable(CAP_SETGID):
        raise Errno(EPERM)
    if not 0 <= size <= NGROUPS_MAX:
        raise Errno(EINVAL)
    groups = struct.unpack(f"<{size}I", task.mm.read(address, 4 * size)) if size else ()
    if NO_CHANGE in groups:
        raise Errno(EINVAL)
    new = task.cred.copy()
    new.groups = tuple(sorted(groups))
    commit(task, new)


@syscall(125, "capget", hdrp=Struct("cap_user_header", "inout"), datap=Struct("cap_user_data", "out"))
def capget(task: Task, header: int, data: int) -> None:
    words, pid = _cap_header(task, header, probe=data == 0)
    if not words or not data:
        return
    if pid < 0:
        raise Errno(EINVAL)
    target = task.kernel.tasks.get(pid) if pid and pid != task.tid else task
    if target is None:
        raise Errno(ESRCH)
    cred = target.cred
    out = b"".join(
        _CAP_DATA.pack(*(s >> 32 * word & 0xFFFFFFFF for s in (cred.cap_effective, cred.cap_permitted,
                                                               cred.cap_inheritable)))
        for word in range(words)
    )  # fmt: skip
    task.mm.write(data, out)


@syscall(126, "capset", hdrp=Struct("cap_user_header", "inout"), datap=Struct("cap_user_data", "in"))
def capset(task: Task, header: int, data: int) -> None:
    words, pid = _cap_header(task, header)
    if pid not in (0, task.tid):
        raise Errno(EPERM)
    raw = task.mm.read(data, _CAP_DATA.size * words)
    effective = permitted = inheritable = 0
    for word in range(words):
        e, p, i = _CAP_DATA.unpack_from(raw, _CAP_DATA.size * word)
        effective |= e << 32 * word
        permitted |= p << 32 * word
        inheritable |= i << 32 * word
    effective, permitted, inheritable = (s & CAP_FULL_SET for s in (effective, permitted, inheritable))
    old, new = task.cred, task.cred.copy()
    if not old.capable(CAP_SETPCAP) and inheritable & ~(old.cap_inheritable | old.cap_permitted):
        raise Errno(EPERM)
    if inheritable & ~(old.cap_inheritable | old.cap_bounding) or permitted & ~old.cap_permitted:
        raise Errno(EPERM)
    if effective & ~permitted:
        raise Errno(EPERM)
    new.cap_effective, new.cap_permitted, new.cap_inheritable = effective, permitted, inheritable
    new.cap_ambient &= permitted & inheritable
    commit(task, new)


def _cap_header(task: Task, address: int, probe: bool = False) -> tuple[int, int]:
    """(words per set, pid) of a cap_user_header; an unknown version is answered with the one we prefer.

    Returns (0, 0) for a ``probe`` with an unknown version: capget with no data asks just that.
    """
    version, pid = struct.unpack("<Ii", task.mm.read(address, 8))
    words = _CAPABILITY_WORDS.get(version, 0)
    if not words:
        task.mm.write_u32(address, _LINUX_CAPABILITY_VERSION_3)
        if not probe:
            raise Errno(EINVAL)
    return words, pid


def _valid(uid: int) -> None:
    if uid == NO_CHANGE:
        raise Errno(EINVAL)


def _only_known(wanted: tuple[int, ...], known: tuple[int, ...]) -> None:
    """An unprivileged task may only shuffle the ids it has."""
    if any(uid != NO_CHANGE and uid not in known for uid in wanted):
        raise Errno(EPERM)


def _commit_uids(task: Task, new: Credentials) -> None:
    new.fix_after_setuid(task.cred)
    commit(task, new)

