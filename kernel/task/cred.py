"""Credentials of a task: ids, groups, capabilities; how they change, and what execve makes of them.

Linux: include/linux/cred.h, kernel/cred.c, security/commoncap.c; credentials(7), capabilities(7). A change builds a
copy and puts it in ``task.cred`` whole, so a reader never sees half of one.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernel.task import capability as caps

if TYPE_CHECKING:
    from kernel.task.task import Task

SECBIT_NOROOT = 1 << 0
SECBIT_NO_SETUID_FIXUP = 1 << 2
SECBIT_KEEP_CAPS = 1 << 4
SECBIT_KEEP_CAPS_LOCKED = 1 << 5
SECBIT_NO_CAP_AMBIENT_RAISE = 1 << 6

NGROUPS_MAX = 65536
OVERFLOW_ID = 65534

SYS_GETUID, SYS_GETGID, SYS_GETEUID, SYS_GETEGID = 102, 104, 107, 108


@dataclass
class Credentials:
    """The ids and capability sets of one task; capability sets are bit masks."""

    uid: int = 0
    euid: int = 0
    suid: int = 0
    fsuid: int = 0
    gid: int = 0
    egid: int = 0
    sgid: int = 0
    fsgid: int = 0
    groups: tuple[int, ...] = ()
    """Supplementary groups, sorted."""
    cap_inheritable: int = 0
    cap_permitted: int = 0
    cap_effective: int = 0
    cap_bounding: int = caps.CONTAINED
    cap_ambient: int = 0
    securebits: int = 0

    @classmethod
    def initial(cls, options: Any = None) -> Credentials:
        """Those of the first process: the host user's ids, and of the host's capabilities those that stay inside."""
        uid = getattr(options, "uid", None)
        gid = getattr(options, "gid", None)
        uid = os.getuid() if uid is None else uid
        gid = os.getgid() if gid is None else gid
        deterministic = bool(getattr(options, "deterministic", False))
        as_host = uid == os.getuid() and gid == os.getgid() and not deterministic
        groups = tuple(sorted(os.getgroups())) if as_host else ((gid,) if uid == 0 else ())
        host = _host_capabilities() if not deterministic else {}
        bounding = host.get("CapBnd", caps.CAP_FULL_SET) & caps.CONTAINED
        cred = cls(uid, uid, uid, uid, gid, gid, gid, gid, groups, cap_bounding=bounding)
        if uid == 0:
            cred.cap_permitted = cred.cap_effective = bounding
        return cred

    def copy(self) -> Credentials:
        """An independent copy (prepare_creds)."""
        return dataclasses.replace(self)

    def capable(self, capability: int) -> bool:
        """Is ``CAP_*`` in the effective set?"""
        return bool(self.cap_effective >> capability & 1)

    def in_group(self, gid: int) -> bool:
        """Does file access count the task as a member of ``gid``? (in_group_p: fsgid and supplementary groups)"""
        return gid == self.fsgid or gid in self.groups

    def fix_after_setuid(self, old: Credentials) -> None:
        """Adjust the capability sets after a change of user ids from ``old`` (cap_emulate_setxuid)."""
        if self.securebits & SECBIT_NO_SETUID_FIXUP:
            return
        if 0 in (old.uid, old.euid, old.suid) and 0 not in (self.uid, self.euid, self.suid):
            if not self.securebits & SECBIT_KEEP_CAPS:
                self.cap_permitted = self.cap_effective = 0
            self.cap_ambient = 0
        if old.euid == 0 and self.euid != 0:
            self.cap_effective = 0
        if old.euid != 0 and self.euid == 0:
            self.cap_effective = self.cap_permitted

    def fix_after_setfsuid(self, old: Credentials) -> None:
        """The same for a change of fsuid: only the file capabilities come and go."""
        if self.securebits & SECBIT_NO_SETUID_FIXUP:
            return
        if old.fsuid == 0 and self.fsuid != 0:
            self.cap_effective &= ~caps.FS_SET
        if old.fsuid != 0 and self.fsuid == 0:
            self.cap_effective |= self.cap_permitted & caps.FS_SET

    def for_exec(self, set_uid: int | None = None, set_gid: int | None = None) -> Credentials:
        """The credentials after execve.

        Args:
            set_uid: the owner of a set-user-id program that takes effect, else None.
            set_gid: likewise for set-group-id.
        """
        new = self.copy()
        if set_uid is not None:
            new.euid = set_uid
        if set_gid is not None:
            new.egid = set_gid
        new.suid = new.fsuid = new.euid
        new.sgid = new.fsgid = new.egid
        if set_uid is not None or set_gid is not None:
            new.cap_ambient = 0
        new.cap_permitted = new.cap_ambient
        new.cap_effective = new.cap_ambient
        if not self.securebits & SECBIT_NOROOT:
            if 0 in (new.euid, new.uid):
                new.cap_permitted = new.cap_bounding | new.cap_inheritable
            if new.euid == 0:
                new.cap_effective = new.cap_permitted
        new.securebits &= ~SECBIT_KEEP_CAPS
        return new


def commit(task: Task, new: Credentials) -> None:
    """Put ``new`` in force; a change of identity ends dumpability and the parent-death signal (commit_creds)."""
    old = task.cred
    changed = (old.euid, old.egid, old.fsuid, old.fsgid) != (new.euid, new.egid, new.fsuid, new.fsgid)
    if changed or new.cap_permitted & ~old.cap_permitted:
        task.group.dumpable = 0
        task.pdeath_signal = 0
    task.cred = new


def may_access(task: Task, target: Task, real: bool = False) -> bool:
    """May ``task`` inspect ``target`` (ptrace_may_access)? ``real`` compares by real ids, as ptrace calls do."""
    if task.group is target.group:
        return True
    cred, other = task.cred, target.cred
    uid, gid = (cred.uid, cred.gid) if real else (cred.fsuid, cred.fsgid)
    same = uid == other.euid == other.suid == other.uid and gid == other.egid == other.sgid == other.gid
    if not same and not cred.capable(caps.CAP_SYS_PTRACE):
        return False
    if target.group.dumpable != 1 and not cred.capable(caps.CAP_SYS_PTRACE):
        return False
    return not other.cap_permitted & ~cred.cap_permitted or cred.capable(caps.CAP_SYS_PTRACE)


def constant_answers(task: Task) -> dict[int, int]:
    """System call number → result, of the calls whose answer changes only when the credentials do."""
    cred = task.cred
    return {SYS_GETUID: cred.uid, SYS_GETGID: cred.gid, SYS_GETEUID: cred.euid, SYS_GETEGID: cred.egid}


def _host_capabilities() -> dict[str, int]:
    """The ``Cap*`` lines of the host's /proc/self/status; empty where there is none."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            rows = (line.split() for line in status if line.startswith("Cap"))
            return {row[0].rstrip(":"): int(row[1], 16) for row in rows}
    except (OSError, ValueError, IndexError):
        return {}
