"""memfd_create(2): a file in memory without a name (mm/memfd.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.fs.dentry import Dentry
from kernel.fs.memfile import MemFile
from kernel.fs.regular import RegularFile
from kernel.fs.uapi import (
    F_SEAL_EXEC,
    F_SEAL_SEAL,
    MFD_ALLOW_SEALING,
    MFD_NOEXEC_SEAL,
    O_LARGEFILE,
    O_RDWR,
    S_IFREG,
)

if TYPE_CHECKING:
    from kernel.task.task import Task


def open_memfd(task: Task, name: bytes, flags: int) -> RegularFile:
    """The open file; ``flags`` are MFD_*, checked."""
    sb = task.kernel.vfs.shm
    cred = task.cred
    mode = 0o666 if flags & MFD_NOEXEC_SEAL else 0o777
    inode = MemFile(sb, S_IFREG | mode, cred.fsuid, cred.fsgid)
    inode.nlink = 0
    if flags & MFD_NOEXEC_SEAL:
        inode.seals = F_SEAL_EXEC
    elif not flags & MFD_ALLOW_SEALING:
        inode.seals = F_SEAL_SEAL
    inode.page_cache()
    # The description that memfd_create makes is no writer to execve: such a file can be run while it is open.
    inode.writers = -1
    dentry = Dentry(b"memfd:" + name, None, inode, b"/memfd:" + name + b" (deleted)")
    return RegularFile(dentry, O_RDWR | O_LARGEFILE)
