"""Files whose contents are made when they are read, and the directories that hold them (fs/seq_file.c, kernfs).

The text of a read is generated when it starts at offset 0 and kept with the open file, so that a reader in small
pieces sees one consistent text; reading from the start again makes it anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from kernel.errno import EINVAL, EIO, EISDIR, ENOENT, EPERM, Errno
from kernel.fs.file import File
from kernel.fs.inode import Inode, Stat, SuperBlock
from kernel.fs.regular import DirectoryFile
from kernel.fs.uapi import S_IFDIR, S_IFLNK, S_IFREG, SEEK_CUR, SEEK_END, SEEK_SET

if TYPE_CHECKING:
    from kernel.fs.dentry import Dentry
    from kernel.task.task import Task

Generate = Callable[["Task"], bytes | str]
"""The contents, as the reading task may see them."""
Store = Callable[["Task", bytes], None]
"""Take what was written in one write(2), or raise."""

_MAX_OFFSET = 2**63 - 1


class PseudoSuperBlock(SuperBlock):
    """A file system of generated files; ``blksize`` is what stat shows, ``file_size`` the ``st_size`` of files."""

    blksize = 1024
    file_size = 0
    lookup_fails = False
    """Looking up what is not there is an error in itself, so that nothing can be created (procfs)."""


class PseudoInode(Inode):
    """Attributes cannot be changed; sizes are those of the file system's kind. Empty slots: subclasses add theirs."""

    __slots__ = ()

    def getattr(self, task: Task | None = None) -> Stat:
        plain = super().getattr(task)
        return plain._replace(blksize=getattr(self.sb, "blksize", 4096), btime=None)

    def setattr(self, task: Task | None, **changes: int) -> None:
        if "mode" in changes or "uid" in changes or "gid" in changes:
            raise Errno(EPERM)

    def missing(self) -> Inode | None:
        """What lookup says of a name that is not there."""
        if getattr(self.sb, "lookup_fails", False):
            raise Errno(ENOENT)
        return None

    def truncate(self, task: Task | None, size: int) -> None:
        """O_TRUNC, as in ``echo 1 > file``, changes nothing."""


class GeneratedInode(PseudoInode):
    """A regular file; without ``generate`` it cannot be read, without ``store`` not be written."""

    __slots__ = ("_generate", "_store", "write_error")

    def __init__(
        self,
        sb: SuperBlock,
        permissions: int,
        generate: Generate | None = None,
        store: Store | None = None,
        uid: int = 0,
        gid: int = 0,
        ino: int = 0,
        write_error: int = EIO,
    ) -> None:
        super().__init__(sb, S_IFREG | permissions, uid, gid, ino=ino)
        self._generate = generate
        self._store = store
        self.write_error = write_error

    @property
    def size(self) -> int:
        return getattr(self.sb, "file_size", 0)

    def generate(self, task: Task) -> bytes:
        """The contents now."""
        if self._generate is None:
            raise Errno(EIO)
        text = self._generate(task)
        return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text

    def store(self, task: Task, data: bytes) -> None:
        """Take a write."""
        if self._store is None:
            raise Errno(self.write_error)
        self._store(task, data)

    def open(self, task: Task, dentry: Dentry, flags: int) -> File:
        return GeneratedFile(dentry, flags)


class SeekableFile(File):
    """lseek(2) over an unlimited range, as seq_lseek and mem_lseek."""

    seekable = True

    def __init__(self, dentry: Dentry, flags: int) -> None:
        super().__init__(flags, dentry=dentry)
        if self.writable:
            self.inode.writers += 1

    def seek(self, task: Task, offset: int, whence: int) -> int:
        if whence == SEEK_CUR:
            offset += self.pos
        elif whence != SEEK_SET:
            raise Errno(EINVAL)
        if not 0 <= offset <= _MAX_OFFSET:
            raise Errno(EINVAL)
        self.pos = offset
        return offset


class GeneratedFile(SeekableFile):
    """An open generated file: the text is made by the first read and by every one from offset 0."""

    def __init__(self, dentry: Dentry, flags: int) -> None:
        super().__init__(dentry, flags)
        self._text: bytes | None = None

    def try_read(self, task: Task, n: int, pos: int | None = None) -> bytes:
        offset = self.pos if pos is None else pos
        text = self._text
        if offset == 0 or text is None:
            text = self._text = self.inode.generate(task)
        data = text[offset : offset + n]
        if pos is None:
            self.pos = offset + len(data)
        return data

    def try_write(self, task: Task, data: bytes, pos: int | None = None) -> int:
        self.inode.store(task, bytes(data))
        self._text = None
        if pos is None:
            self.pos += len(data)
        return len(data)


class PseudoDir(PseudoInode):
    """A directory with a fixed set of entries, added by :meth:`add`."""

    __slots__ = ("entries",)

    def __init__(self, sb: SuperBlock, permissions: int = 0o555, ino: int = 0) -> None:
        super().__init__(sb, S_IFDIR | permissions, ino=ino)
        self.entries: dict[bytes, Inode] = {}
        self.nlink = 2

    def add(self, name: str, inode: Any) -> Any:
        """Enter ``inode`` and return it."""
        self.entries[name.encode()] = inode
        if inode.kind == S_IFDIR:
            self.nlink += 1
        return inode

    def directory(self, path: str) -> PseudoDir:
        """The directory at ``path`` below this one, made where missing."""
        here = self
        for name in path.split("/"):
            found = here.entries.get(name.encode())
            here = found if isinstance(found, PseudoDir) else here.add(name, PseudoDir(self.sb))
        return here

    def file(self, path: str, generate: Generate, store: Store | None = None, permissions: int = 0o444) -> None:
        """Enter a generated file at ``path``."""
        where, _, name = path.rpartition("/")
        parent = self.directory(where) if where else self
        parent.add(name, GeneratedInode(self.sb, permissions, generate, store))

    def text(self, path: str, text: str) -> None:
        """Enter a file that never changes."""
        self.file(path, lambda task: text)

    def symlink_to(self, name: str, target: str) -> None:
        """Enter a symbolic link."""
        self.add(name, PseudoLink(self.sb, lambda task: target.encode()))

    def lookup(self, task: Task, name: bytes) -> Inode | None:
        found = self.entries.get(name)
        return found if found is not None else self.missing()

    def readdir(self, task: Task) -> Iterable[tuple[bytes, int, int]]:
        return [(name, inode.ino, inode.kind >> 12) for name, inode in self.entries.items()]

    def open(self, task: Task, dentry: Dentry, flags: int) -> File:
        return PseudoDirectoryFile(dentry, flags)


class PseudoDirectoryFile(DirectoryFile):
    """An open directory of generated entries; never written."""

    async def write(self, task: Task, data: bytes, pos: int | None = None) -> int:
        raise Errno(EISDIR)

    def seek(self, task: Task, offset: int, whence: int) -> int:
        if whence == SEEK_END:
            raise Errno(EINVAL)
        return super().seek(task, offset, whence)


class PseudoLink(PseudoInode):
    """A symbolic link whose target depends on who asks."""

    __slots__ = ("_target",)

    def __init__(
        self, sb: SuperBlock, target: Callable[[Task], bytes], permissions: int = 0o777, ino: int = 0, uid: int = 0,
        gid: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(sb, S_IFLNK | permissions, uid, gid, ino=ino)
        self._target = target

    def readlink(self, task: Task) -> bytes:
        return self._target(task)
