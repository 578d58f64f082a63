"""Extended attributes: name spaces and who may use them, access control lists that are just modes (fs/xattr.c)."""

from __future__ import annotations

from struct import Struct as Layout
from typing import TYPE_CHECKING

from kernel.errno import EINVAL, ENODATA, EOPNOTSUPP, EPERM, Errno
from kernel.fs.permission import owner_or_capable
from kernel.fs.uapi import MAY_READ, MAY_WRITE, S_IFDIR, S_IFREG, S_ISVTX
from kernel.task.capability import CAP_SETFCAP, CAP_SYS_ADMIN

if TYPE_CHECKING:
    from kernel.fs.inode import Inode
    from kernel.task.task import Task

ACL_ACCESS, ACL_DEFAULT = b"system.posix_acl_access", b"system.posix_acl_default"
_ACL_ENTRY = Layout("<HHI")
_ACL_VERSION = 2
_USER_OBJ, _GROUP_OBJ, _MASK, _OTHER = 1, 4, 0x10, 0x20


def check_name(name: bytes) -> None:
    """EOPNOTSUPP unless the file system has a handler for the name space; EINVAL for a prefix alone."""
    for prefix in (b"user.", b"trusted.", b"security."):
        if name.startswith(prefix):
            if name == prefix:
                raise Errno(EINVAL)
            return
    if name not in (ACL_ACCESS, ACL_DEFAULT):
        raise Errno(EOPNOTSUPP)


def check_permission(task: Task, inode: Inode, name: bytes, mask: int) -> None:
    """May the task read or write (``mask`` MAY_*) the attribute ``name`` (xattr_permission)?"""
    if name.startswith((b"security.", b"system.")):
        return
    if name.startswith(b"trusted."):
        if not task.cred.capable(CAP_SYS_ADMIN):
            raise Errno(EPERM if mask & MAY_WRITE else ENODATA)
        return
    if name.startswith(b"user."):
        if inode.kind not in (S_IFREG, S_IFDIR):
            raise Errno(EPERM if mask & MAY_WRITE else ENODATA)
        if (
            inode.kind == S_IFDIR
            and inode.mode & S_ISVTX
            and mask & MAY_WRITE
            and not owner_or_capable(inode, task.cred)
        ):
            raise Errno(EPERM)
    inode.permission(task, mask)


def get(task: Task, inode: Inode, name: bytes) -> bytes:
    """The value of an attribute; ENODATA when it is not set."""
    check_permission(task, inode, name, MAY_READ)
    check_name(name)
    return inode.getxattr(task, name)


def set_(task: Task, inode: Inode, name: bytes, value: bytes, flags: int) -> None:
    """Set an attribute; ``flags`` are XATTR_CREATE or XATTR_REPLACE."""
    check_permission(task, inode, name, MAY_WRITE)
    check_name(name)
    if name.startswith(b"security."):
        needed = CAP_SETFCAP if name == b"security.capability" else CAP_SYS_ADMIN
        if not task.cred.capable(needed):
            raise Errno(EPERM)
    if name in (ACL_ACCESS, ACL_DEFAULT):
        _set_acl(task, inode, name, value, flags)
        return
    inode.setxattr(task, name, value, flags)


def remove(task: Task, inode: Inode, name: bytes) -> None:
    """Remove an attribute; ENODATA when it is not set."""
    check_permission(task, inode, name, MAY_WRITE)
    check_name(name)
    if name in (ACL_ACCESS, ACL_DEFAULT):
        if not owner_or_capable(inode, task.cred):
            raise Errno(EPERM)
        if name not in inode.listxattr(task):
            return
    inode.removexattr(task, name)


def names(task: Task, inode: Inode) -> list[bytes]:
    """What listxattr(2) shows to this task."""
    found = inode.listxattr(task)
    if task.cred.capable(CAP_SYS_ADMIN):
        return found
    return [name for name in found if not name.startswith(b"trusted.")]


def _set_acl(task: Task, inode: Inode, name: bytes, value: bytes, flags: int) -> None:
    """An ACL with nothing but owner, group and others is the mode (posix_acl_update_mode); others are kept as data."""
    if not owner_or_capable(inode, task.cred):
        raise Errno(EPERM)
    if len(value) < 4 or (len(value) - 4) % _ACL_ENTRY.size:
        raise Errno(EINVAL)
    if int.from_bytes(value[:4], "little") != _ACL_VERSION:
        raise Errno(EOPNOTSUPP)
    entries = {tag: permissions for tag, permissions, _ in _ACL_ENTRY.iter_unpack(value[4:])}
    if name == ACL_DEFAULT:
        if inode.kind != S_IFDIR:
            raise Errno(EPERM)
        inode.setxattr(task, name, value, flags)
        return
    if not {_USER_OBJ, _GROUP_OBJ, _OTHER} <= entries.keys():
        raise Errno(EINVAL)
    group = entries.get(_MASK, entries[_GROUP_OBJ])
    mode = entries[_USER_OBJ] << 6 | group << 3 | entries[_OTHER]
    inode.setattr(task, mode=inode.mode & 0o7000 | mode)
    if entries.keys() == {_USER_OBJ, _GROUP_OBJ, _OTHER}:
        if name in inode.listxattr(task):
            inode.removexattr(task, name)
    else:
        inode.setxattr(task, name, value, 0)
