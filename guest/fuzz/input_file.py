"""The file that a program under test finds its input in: in guest memory, with the same attributes in every run."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from kernel.errno import ENOENT, ENOSPC, ENOTDIR, Errno
from kernel.fs.dentry import Dentry
from kernel.fs.fdtable import FdTable
from kernel.fs.memfile import MemFile
from kernel.fs.regular import RegularFile
from kernel.fs.start import starting_context
from kernel.fs.tmpfs import MemDir, TmpFs
from kernel.fs.uapi import AT_FDCWD, S_IFREG
from kernel.task.cred import Credentials

if TYPE_CHECKING:
    from kernel.kernel import Kernel

_STDIN_LABEL = b"/dev/shm/forkyard-stdin"
_FILE_DEV = 0x46


class InputFile:
    """Made before the program starts, at ``path`` (directories that are missing are made), or nameless for stdin."""

    def __init__(self, kernel: Kernel, path: str | None) -> None:
        self.kernel = kernel
        if path is None:
            self.dentry = Dentry(b"", None, self._make(kernel.vfs.shm), _STDIN_LABEL)
        else:
            self.dentry = self._enter(os.fsencode(path))
        self.inode = self.dentry.inode

    def store(self, data: bytes) -> None:
        """Make ``data`` the file's contents.

        Raises:
            Errno: ENOSPC when it is more than the guest's memory.
        """
        cache = self.inode.page_cache()
        if cache.size != len(data):
            cache.truncate(len(data))
        if data:
            done = cache.write(0, data)
            if done < len(data):
                raise Errno(ENOSPC)

    def use_as_stdin(self, files: FdTable) -> None:
        """Open the file as descriptor 0."""
        file = RegularFile(self.dentry, os.O_RDONLY)
        if 0 in files:
            files.replace(0, file)
        else:
            files.install(file)

    def _make(self, sb: Any) -> MemFile:
        options = self.kernel.options
        inode = MemFile(sb, S_IFREG | 0o600, options.uid, options.gid)
        sb.own_inodes += 1
        return inode

    def _enter(self, path: bytes) -> Dentry:
        """Put the file where ``path`` leads; over what is there by now."""
        vfs, options = self.kernel.vfs, self.kernel.options
        walker: Any = SimpleNamespace(fs=starting_context(self.kernel), files=None, cred=Credentials.initial(options),
                                      kernel=self.kernel)
        try:
            there = vfs.resolve(walker, AT_FDCWD, path)
            parent, name = there.parent, there.name
            if there.inode.kind != S_IFREG or parent is None:
                raise Errno(ENOTDIR)
        except Errno as error:
            if error.code != ENOENT:
                raise
            self._make_directories(walker, path)
            place = vfs.parent_of(walker, AT_FDCWD, path)
            parent, name = place.dentry, place.name
        directory = parent.inode
        if not isinstance(directory, MemDir):
            # Below --writable: the host's own file is covered, and left alone.
            inode = self._make(TmpFs(self.kernel, _FILE_DEV))
            return vfs.mount(parent.path().rstrip(b"/") + b"/" + name, inode)
        inode = self._make(directory.sb)
        directory.place(name, inode)
        return vfs.instantiate(parent, name, inode)

    def _make_directories(self, walker: Any, path: bytes) -> None:
        """Those on the way to ``path`` that the guest's tree lacks."""
        vfs = self.kernel.vfs
        done = b"/" if path.startswith(b"/") else b""
        for name in [part for part in path.split(b"/")[:-1] if part]:
            done += name
            try:
                vfs.resolve(walker, AT_FDCWD, done)
            except Errno as error:
                if error.code != ENOENT:
                    raise
                above = vfs.parent_of(walker, AT_FDCWD, done)
                directory: Any = above.dentry.inode
                if not isinstance(directory, MemDir):
                    raise
                vfs.instantiate(above.dentry, above.name, directory.add_mount_point(above.name))
            done += b"/"
