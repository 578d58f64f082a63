"""Descriptor tables: small integers to open file descriptions (fs/file.c, files_struct)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kernel.errno import EBADF, EINVAL, EMFILE, Errno
from kernel.fs.uapi import RLIMIT_NOFILE

if TYPE_CHECKING:
    from kernel.fs.file import File

DEFAULT_NOFILE = 1024
NR_OPEN = 1 << 20
"""The most descriptors any process may have (fs.nr_open)."""


class FdTable:
    """The descriptors of one process, or of several under CLONE_FILES (``users`` counts the tasks).

    Invariant: ``_next`` is at most the lowest free descriptor.
    """

    def __init__(self, kernel: Any = None) -> None:
        self.kernel = kernel
        self.users = 1
        self._files: dict[int, File] = {}
        self._cloexec: set[int] = set()
        self._next = 0

    def get(self, fd: int) -> File:
        """The open file; EBADF for a closed descriptor and for an O_PATH one (fdget)."""
        file = self._files.get(fd)
        if file is None or file.is_path:
            raise Errno(EBADF)
        return file

    def get_raw(self, fd: int) -> File:
        """The open file, O_PATH ones too: for close, dup, fcntl, fstat, fchdir and the *at calls (fdget_raw)."""
        file = self._files.get(fd)
        if file is None:
            raise Errno(EBADF)
        return file

    def limit(self) -> int:
        """RLIMIT_NOFILE of the running task."""
        scheduler = getattr(self.kernel, "scheduler", None)
        task = scheduler.current if scheduler is not None else None
        if task is None:
            return DEFAULT_NOFILE
        limits = task.group.rlimits.get(RLIMIT_NOFILE)
        return min(limits[0], NR_OPEN) if limits is not None else DEFAULT_NOFILE

    def install(self, file: File, cloexec: bool = False, at_least: int = 0) -> int:
        """Give ``file`` (whose reference passes to the table) the lowest free descriptor from ``at_least`` on.

        Raises:
            Errno: EMFILE when that is not below RLIMIT_NOFILE; the reference stays the caller's.
        """
        files = self._files
        fd = max(self._next, at_least)
        while fd in files:
            fd += 1
        if fd >= self.limit():
            raise Errno(EMFILE)
        if at_least <= self._next:
            self._next = fd + 1
        files[fd] = file
        if cloexec:
            self._cloexec.add(fd)
        return fd

    def check_room(self) -> None:
        """EMFILE when not one descriptor is free."""
        fd = self._next
        while fd in self._files:
            fd += 1
        if fd >= self.limit():
            raise Errno(EMFILE)

    def replace(self, fd: int, file: File, cloexec: bool = False) -> int:
        """Make ``fd`` refer to ``file`` (whose reference passes to the table), closing what it was (dup2).

        Raises:
            Errno: EBADF when ``fd`` is negative or not below RLIMIT_NOFILE.
        """
        if not 0 <= fd < self.limit():
            raise Errno(EBADF)
        old = self._files.get(fd)
        self._files[fd] = file
        self.set_cloexec(fd, cloexec)
        if old is not None:
            self._drop(old)
        return fd

    def close(self, fd: int) -> None:
        """close(2); EBADF when it is not open."""
        file = self._files.pop(fd, None)
        if file is None:
            raise Errno(EBADF)
        self._cloexec.discard(fd)
        if fd < self._next:
            self._next = fd
        self._drop(file)

    def close_range(self, first: int, last: int, cloexec: bool = False) -> None:
        """Close, or with ``cloexec`` mark, all from ``first`` to ``last``, both included."""
        if first > last:
            raise Errno(EINVAL)
        for fd in sorted(self._files):
            if first <= fd <= last:
                if cloexec:
                    self._cloexec.add(fd)
                else:
                    self.close(fd)

    def cloexec(self, fd: int) -> bool:
        """Is FD_CLOEXEC set?"""
        return fd in self._cloexec

    def set_cloexec(self, fd: int, on: bool) -> None:
        if on:
            self._cloexec.add(fd)
        else:
            self._cloexec.discard(fd)

    def items(self) -> list[tuple[int, File]]:
        """(descriptor, file) in order."""
        return sorted(self._files.items())

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._files))

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, fd: int) -> bool:
        return fd in self._files

    def copy(self) -> FdTable:
        """The table of a forked child: the same open files, one more reference each."""
        new = FdTable(self.kernel)
        new._files = self._files.copy()
        for file in new._files.values():
            file.count += 1
        new._cloexec = self._cloexec.copy()
        new._next = self._next
        return new

    def close_on_exec(self) -> None:
        """Close what is marked FD_CLOEXEC."""
        for fd in sorted(self._cloexec):
            self.close(fd)

    def close_all(self) -> None:
        """Close everything: the last user has exited."""
        for fd in sorted(self._files):
            self.close(fd)

    def _drop(self, file: File) -> None:
        """A descriptor of ``file`` is gone: the process loses its record locks on it (filp_close)."""
        inode = file.inode
        if inode is not None and inode.locks is not None:
            inode.locks.release_owner(self)
        file.put()
