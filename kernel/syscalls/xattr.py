"""The extended attribute calls (fs/xattr.c, xattr(7))."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import E2BIG, EFAULT, EINVAL, ENAMETOOLONG, ERANGE, Errno
from kernel.fs import xattr
from kernel.fs.uapi import AT_FDCWD, XATTR_CREATE, XATTR_NAME_MAX, XATTR_REPLACE, XATTR_SIZE_MAX
from kernel.syscalls.table import syscall
from kernel.syscalls.types import BufIn, BufOut, Fd, Flags, Path, Size, Str

if TYPE_CHECKING:
    from kernel.fs.inode import Inode
    from kernel.task.task import Task


def _name(task: Task, addr: int) -> bytes:
    try:
        name = task.mm.cstring(addr, XATTR_NAME_MAX + 1)
    except Errno as error:
        raise Errno(ERANGE if error.code == ENAMETOOLONG else EFAULT) from None
    if not name:
        raise Errno(ERANGE)
    return name


def _at(task: Task, path: int, follow: bool) -> Inode:
    return task.kernel.vfs.resolve(task, AT_FDCWD, task.mm.cstring(path), follow).inode


def _set_arguments(task: Task, name: int, value: int, size: int, flags: int) -> tuple[bytes, bytes, int]:
    if flags & ~(XATTR_CREATE | XATTR_REPLACE):
        raise Errno(EINVAL)
    text = _name(task, name)
    if size > XATTR_SIZE_MAX:
        raise Errno(E2BIG)
    return text, task.mm.read(value, size) if size else b"", flags


def _give(task: Task, data: bytes, buf: int, size: int) -> int:
    if size:
        if len(data) > size:
            raise Errno(ERANGE)
        task.mm.write(buf, data)
    return len(data)


def _list(task: Task, inode: Inode, buf: int, size: int) -> int:
    return _give(task, b"".join(name + b"\0" for name in xattr.names(task, inode)), buf, size)


@syscall(188, "setxattr", path=Path, name=Str, value=BufIn("size"), size=Size, flags=Flags("xattr"))
def setxattr(task: Task, path: int, name: int, value: int, size: int, flags: int) -> None:
    arguments = _set_arguments(task, name, value, size, flags)
    xattr.set_(task, _at(task, path, True), *arguments)


@syscall(189, "lsetxattr", path=Path, name=Str, value=BufIn("size"), size=Size, flags=Flags("xattr"))
def lsetxattr(task: Task, path: int, name: int, value: int, size: int, flags: int) -> None:
    arguments = _set_arguments(task, name, value, size, flags)
    xattr.set_(task, _at(task, path, False), *arguments)


@syscall(190, "fsetxattr", fd=Fd, name=Str, value=BufIn("size"), size=Size, flags=Flags("xattr"))
def fsetxattr(task: Task, fd: int, name: int, value: int, size: int, flags: int) -> None:
    inode = task.files.get(fd).inode
    xattr.set_(task, inode, *_set_arguments(task, name, value, size, flags))


@syscall(191, "getxattr", path=Path, name=Str, value=BufOut("size"), size=Size)
def getxattr(task: Task, path: int, name: int, value: int, size: int) -> int:
    text = _name(task, name)
    return _give(task, xattr.get(task, _at(task, path, True), text), value, size)


@syscall(192, "lgetxattr", path=Path, name=Str, value=BufOut("size"), size=Size)
def lgetxattr(task: Task, path: int, name: int, value: int, size: int) -> int:
    text = _name(task, name)
    return _give(task, xattr.get(task, _at(task, path, False), text), value, size)


@syscall(193, "fgetxattr", fd=Fd, name=Str, value=BufOut("size"), size=Size)
def fgetxattr(task: Task, fd: int, name: int, value: int, size: int) -> int:
    inode = task.files.get(fd).inode
    return _give(task, xattr.get(task, inode, _name(task, name)), value, size)


@syscall(194, "listxattr", path=Path, list=BufOut("size"), size=Size)
def listxattr(task: Task, path: int, buf: int, size: int) -> int:
    return _list(task, _at(task, path, True), buf, size)


@syscall(195, "llistxattr", path=Path, list=BufOut("size"), size=Size)
def llistxattr(task: Task, path: int, buf: int, size: int) -> int:
    return _list(task, _at(task, path, False), buf, size)


@syscall(196, "flistxattr", fd=Fd, list=BufOut("size"), size=Size)
def flistxattr(task: Task, fd: int, buf: int, size: int) -> int:
    return _list(task, task.files.get(fd).inode, buf, size)


@syscall(197, "removexattr", path=Path, name=Str)
def removexattr(task: Task, path: int, name: int) -> None:
    text = _name(task, name)
    xattr.remove(task, _at(task, path, True), text)


@syscall(198, "lremovexattr", path=Path, name=Str)
def lremovexattr(task: Task, path: int, name: int) -> None:
    text = _name(task, name)
    xattr.remove(task, _at(task, path, False), text)


@syscall(199, "fremovexattr", fd=Fd, name=Str)
def fremovexattr(task: Task, fd: int, name: int) -> None:
    inode = task.files.get(fd).inode
    xattr.remove(task, inode, _name(task, name))
