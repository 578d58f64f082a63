"""Who may do what with a file: mode bits against the task's file credentials (fs/namei.c, fs/attr.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import EACCES, EPERM, Errno
from kernel.fs.uapi import MAY_EXEC, MAY_READ, MAY_WRITE, S_IFDIR, S_ISVTX
from kernel.task.capability import CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER

if TYPE_CHECKING:
    from kernel.fs.inode import Inode
    from kernel.task.cred import Credentials

_EVERYBODY = {mask: mask | mask << 3 | mask << 6 for mask in range(8)}


def generic_permission(inode: Inode, cred: Credentials, mask: int) -> None:
    """Raise EACCES unless ``cred`` may use ``inode`` for ``mask``, an OR of MAY_*."""
    mode = inode.mode
    wanted = _EVERYBODY[mask]
    if mode & wanted == wanted:
        return  # nobody is refused, whoever it is
    if cred.fsuid == inode.uid:
        bits = mode >> 6
    elif cred.in_group(inode.gid):
        bits = mode >> 3
    else:
        bits = mode
    if bits & mask == mask:
        return
    if inode.kind == S_IFDIR:
        if not mask & MAY_WRITE and cred.capable(CAP_DAC_READ_SEARCH):
            return
        if cred.capable(CAP_DAC_OVERRIDE):
            return
        raise Errno(EACCES)
    if mask == MAY_READ and cred.capable(CAP_DAC_READ_SEARCH):
        return
    if (not mask & MAY_EXEC or mode & 0o111) and cred.capable(CAP_DAC_OVERRIDE):
        return
    raise Errno(EACCES)


def owner_or_capable(inode: Inode, cred: Credentials) -> bool:
    """May ``cred`` change the attributes of ``inode`` (inode_owner_or_capable)?"""
    return cred.fsuid == inode.uid or cred.capable(CAP_FOWNER)


def check_sticky(directory: Inode, inode: Inode, cred: Credentials) -> None:
    """Raise EPERM when the sticky bit of ``directory`` keeps ``cred`` from removing ``inode``."""
    if directory.mode & S_ISVTX and cred.fsuid not in (inode.uid, directory.uid) and not cred.capable(CAP_FOWNER):
        raise Errno(EPERM)
