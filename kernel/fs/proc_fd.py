"""/proc/<pid>/{fd,fdinfo,exe,cwd,root}: links that lead to files wherever they are (fs/proc/fd.c, base.c)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from kernel.errno import EBADF, EINVAL, ENOENT, EPERM, Errno
from kernel.fs.inode import Inode, SuperBlock
from kernel.fs.proc_entry import check_access, entry_ino, is_alive, set_owner
from kernel.fs.seqfile import GeneratedInode, PseudoDirectoryFile, PseudoInode
from kernel.fs.uapi import O_CLOEXEC, S_IFDIR, S_IFLNK, S_IFREG
from kernel.task.cred import may_access

if TYPE_CHECKING:
    from kernel.fs.dentry import Dentry
    from kernel.fs.file import File
    from kernel.task.task import Task


class MagicLink(PseudoInode):
    """A symbolic link that leads to a dentry, not to a path: it works for deleted and nameless files too."""

    __slots__ = ("_find", "target")

    def __init__(
        self, sb: SuperBlock, target: Task, name: str, find: Callable[[Task], Dentry | None], permissions: int = 0o777
    ) -> None:
        super().__init__(sb, S_IFLNK | permissions, ino=entry_ino(target, name))
        self.target = target
        self._find = find
        set_owner(self, target)

    def _dentry(self, task: Task) -> Dentry:
        check_access(task, self.target)
        dentry = self._find(self.target) if is_alive(self.target) else None
        if dentry is None:
            raise Errno(ENOENT)
        return dentry

    def readlink(self, task: Task) -> bytes:
        return self._dentry(task).path(task.fs.root)

    def jump(self, task: Task) -> Dentry | None:
        return self._dentry(task)


def exe_dentry(task: Task) -> Dentry | None:
    """The program that the task runs."""
    file = task.exe
    return file.dentry if file is not None else None


def cwd_dentry(task: Task) -> Dentry | None:
    return task.fs.cwd if task.fs is not None else None


def root_dentry(task: Task) -> Dentry | None:
    return task.fs.root if task.fs is not None else None


class FdLink(MagicLink):
    """/proc/<pid>/fd/N; its mode says how the file is open, its size is 64 as on Linux."""

    __slots__ = ("fd",)

    def __init__(self, sb: SuperBlock, target: Task, fd: int, file: File) -> None:
        permissions = (0o500 if file.readable else 0) | (0o300 if file.writable else 0)
        super().__init__(sb, target, "fd/", self._file_dentry, permissions)
        self.ino = entry_ino(target, "fd/", fd + 1)
        self.fd = fd

    @property
    def size(self) -> int:
        return 64

    def _file_dentry(self, target: Task) -> Dentry | None:
        file = open_file(target, self.fd)
        return None if file is None else file.dentry

    def readlink(self, task: Task) -> bytes:
        check_access(task, self.target)
        file = open_file(self.target, self.fd)
        if file is None:
            raise Errno(ENOENT)
        path = file.path
        if path.startswith(b"/") and task.fs.root is not task.kernel.vfs.root:
            return file.dentry.path(task.fs.root)
        return path


def open_file(task: Task, fd: int) -> File | None:
    """The open file behind a descriptor of ``task``, O_PATH ones too; None when it is closed."""
    if task.files is None or not is_alive(task):
        return None
    try:
        return task.files.get_raw(fd)
    except Errno as error:
        if error.code != EBADF:
            raise
        return None


def parse_fd(name: bytes) -> int:
    """The number that ``name`` spells without leading zeros, or -1 (name_to_int)."""
    if not name.isdigit() or (len(name) > 1 and name[:1] == b"0") or len(name) > 10:
        return -1
    return int(name)


class FdDir(PseudoInode):
    """/proc/<pid>/fd and, with ``info``, /proc/<pid>/fdinfo."""

    __slots__ = ("_info", "target")
    volatile = True

    def __init__(self, sb: SuperBlock, target: Task, info: bool) -> None:
        name = "fdinfo" if info else "fd"
        super().__init__(sb, S_IFDIR | (0o555 if info else 0o500), ino=entry_ino(target, name))
        self.target = target
        self._info = info
        self.nlink = 2
        set_owner(self, target)

    @property
    def size(self) -> int:
        """The number of open descriptors, as Linux shows it for fd (not for fdinfo)."""
        files = self.target.files
        return sum(1 for _ in files.items()) if files is not None and not self._info else 0

    def permission(self, task: Task, mask: int) -> None:
        """The mode bits, or being in the same process (proc_fd_permission)."""
        try:
            super().permission(task, mask)
        except Errno:
            if task.group is not self.target.group:
                raise
        if self._info:
            check_access(task, self.target)

    def lookup(self, task: Task, name: bytes) -> Inode | None:
        fd = parse_fd(name)
        file = open_file(self.target, fd) if fd >= 0 else None
        if file is None:
            return self.missing()
        return FdInfo(self.sb, self.target, fd) if self._info else FdLink(self.sb, self.target, fd, file)

    def readdir(self, task: Task) -> Iterable[tuple[bytes, int, int]]:
        target = self.target
        if not is_alive(target):
            raise Errno(ENOENT)
        if not may_access(task, target) or target.files is None:
            return []
        name, kind = ("fdinfo/", S_IFREG) if self._info else ("fd/", S_IFLNK)
        numbers = sorted(fd for fd, _ in target.files.items())
        return [(b"%d" % fd, entry_ino(target, name, fd + 1), kind >> 12) for fd in numbers]

    def open(self, task: Task, dentry: Dentry, flags: int) -> File:
        return PseudoDirectoryFile(dentry, flags)


class FdInfo(GeneratedInode):
    """/proc/<pid>/fdinfo/N: position, flags, mount and inode, and what the kind of file adds."""

    __slots__ = ("fd", "target")

    def __init__(self, sb: SuperBlock, target: Task, fd: int) -> None:
        super().__init__(sb, 0o444, ino=entry_ino(target, "fdinfo/", fd + 1), write_error=EINVAL)
        self.target, self.fd = target, fd
        set_owner(self, target)

    def generate(self, task: Task) -> bytes:
        check_access(task, self.target, EPERM)
        file = open_file(self.target, self.fd)
        if file is None:
            raise Errno(ENOENT)
        flags = file.flags | (O_CLOEXEC if self.target.files.cloexec(self.fd) else 0)
        mount = self.sb.kernel.vfs.mount_of(file.dentry)
        ino = file.inode.ino if file.inode is not None else 0
        head = f"pos:\t{file.pos}\nflags:\t0{flags:o}\nmnt_id:\t{mount.id}\nino:\t{ino}\n"
        return head.encode() + file.fdinfo(task)

