"""Extended attributes of inodes that are kept in memory (fs/xattr.c simple_xattr, as ext4 counts their space)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import EEXIST, ENODATA, ENOSPC, ERANGE, Errno
from kernel.fs.inode import Inode
from kernel.fs.uapi import XATTR_CREATE, XATTR_REPLACE

if TYPE_CHECKING:
    from kernel.task.task import Task

PAGE = 4096
XATTR_SPACE = 3 * PAGE
"""Bytes of names and values that one file may have."""


class MemXattrs(Inode):
    """The part of an inode that has attributes in the dict that ``_xattrs`` returns."""

    __slots__ = ()

    def _xattrs(self) -> dict[bytes, bytes]:
        raise NotImplementedError

    def getxattr(self, task: Task, name: bytes) -> bytes:
        value = self._xattrs().get(name)
        if value is None:
            raise Errno(ENODATA)
        return value

    def setxattr(self, task: Task, name: bytes, value: bytes, flags: int) -> None:
        xattrs = self._xattrs()
        if flags & XATTR_CREATE and name in xattrs:
            raise Errno(EEXIST)
        if flags & XATTR_REPLACE and name not in xattrs:
            raise Errno(ENODATA)
        if len(value) > PAGE:
            raise Errno(ENOSPC if len(value) <= 65536 else ERANGE)
        if sum(map(len, xattrs)) + sum(map(len, xattrs.values())) + len(name) + len(value) > XATTR_SPACE:
            raise Errno(ENOSPC)
        self.changing()
        xattrs[name] = value
        self.ctime = self.sb.now()

    def removexattr(self, task: Task, name: bytes) -> None:
        if name not in self._xattrs():
            raise Errno(ENODATA)
        self.changing()
        del self._xattrs()[name]
        self.ctime = self.sb.now()

    def listxattr(self, task: Task) -> list[bytes]:
        return list(self._xattrs())
