"""The host's files below one directory: the only module through which the file systems touch the host.

Nothing here follows a symbolic link or steps above the root: directories are opened from the root by openat2(2) with
RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS (component by component with O_NOFOLLOW on hosts without it), everything else by
one name in an open directory with O_NOFOLLOW. Only regular files are ever opened for their contents.
Paths are bytes relative to the root, ``b""`` the root itself. Failures are the host's, raised as ``Errno``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import stat
import struct
from collections import OrderedDict
from typing import Any

from kernel.errno import EIO, ELOOP, ENOENT, ENOSYS, EPERM, Errno, from_host

_SYS_OPENAT2 = 437
_SYS_STATX = 332
_STATX_BTIME = 0x800
_BTIME_OFFSET = 80
_AT_SYMLINK_NOFOLLOW, _AT_EMPTY_PATH = 0x100, 0x1000
_SYS_RENAMEAT2 = 316
_RENAME_EXCHANGE = 2
_RESOLVE = 0x02 | 0x04 | 0x08  # NO_MAGICLINKS, NO_SYMLINKS, BENEATH
_PATH_FLAGS = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_HOW = struct.pack("<QQQ", os.O_PATH | os.O_CLOEXEC | os.O_DIRECTORY, 0, _RESOLVE)
_STATFS = struct.Struct("<qqQQQQQiiqqq")

_libc = ctypes.CDLL(None, use_errno=True)


def join(directory: bytes, name: bytes) -> bytes:
    """The path of ``name`` in ``directory``."""
    return directory + b"/" + name if directory else name


class HostTree:
    """Everything at and below the host directory ``root``."""

    def __init__(self, root: str | bytes) -> None:
        self.root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        limit = 1024 if soft == resource.RLIM_INFINITY else max(8, min(1024, soft // 4))
        self._directories: OrderedDict[bytes, int] = OrderedDict()
        self._directory_limit = limit // 2
        self._files: OrderedDict[HostBacking, None] = OrderedDict()
        self._file_limit = limit
        self._have_openat2 = True

    # -- directories

    def directory(self, path: bytes) -> int:
        """An O_PATH descriptor of a directory, good until the next call."""
        if not path:
            return self.root_fd
        fd = self._directories.get(path)
        if fd is not None:
            self._directories.move_to_end(path)
            return fd
        fd = self._open_directory(path)
        self._directories[path] = fd
        if len(self._directories) > self._directory_limit:
            os.close(self._directories.popitem(last=False)[1])
        return fd

    def _open_directory(self, path: bytes) -> int:
        if self._have_openat2 and len(path) < 4000:
            fd = _libc.syscall(_SYS_OPENAT2, self.root_fd, path, _HOW, len(_HOW))
            if fd >= 0:
                return fd
            code = ctypes.get_errno()
            if code not in (ENOSYS, EPERM):
                raise Errno(code)
            self._have_openat2 = False
        fd = self.root_fd
        try:
            for name in path.split(b"/"):
                step = os.open(name, _PATH_FLAGS | os.O_DIRECTORY, dir_fd=fd)
                if fd != self.root_fd:
                    os.close(fd)
                fd = step
        except OSError as error:
            if fd != self.root_fd:
                os.close(fd)
            raise from_host(error) from None
        return fd

    def forget(self, path: bytes) -> None:
        """The directory ``path`` was moved or removed: drop what is open at and below it."""
        prefix = path + b"/"
        for known in [p for p in self._directories if p == path or p.startswith(prefix)]:
            os.close(self._directories.pop(known))

    def list(self, path: bytes) -> list[tuple[bytes, int, int]]:
        """(name, inode number, S_IF* >> 12) of the entries, in the host's order."""
        try:
            fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.directory(path))
            try:
                with os.scandir(fd) as entries:
                    return [(os.fsencode(entry.name), entry.inode(), _kind(entry)) for entry in entries]
            finally:
                os.close(fd)
        except OSError as error:
            raise from_host(error) from None

    # -- entries

    def lstat(self, directory: bytes, name: bytes) -> os.stat_result | None:
        """The attributes of an entry; None when there is none. The empty name is the directory itself."""
        try:
            if not name:
                return os.fstat(self.directory(directory))
            return os.stat(name, dir_fd=self.directory(directory), follow_symlinks=False)
        except OSError as error:
            if error.errno == ENOENT:
                return None
            raise from_host(error) from None
        except Errno as error:
            if error.code == ENOENT:
                return None
            raise

    def birth_time(self, directory: bytes, name: bytes) -> int | None:
        """When an entry was born, in nanoseconds; None where the host does not say."""
        buffer = ctypes.create_string_buffer(256)
        fd, flags = self.directory(directory), _AT_SYMLINK_NOFOLLOW | _AT_EMPTY_PATH
        if _libc.syscall(_SYS_STATX, fd, name, flags, _STATX_BTIME, buffer) != 0:
            return None
        if not struct.unpack_from("<I", buffer)[0] & _STATX_BTIME:
            return None
        seconds, nanoseconds = struct.unpack_from("<qI", buffer, _BTIME_OFFSET)
        return int(seconds * 10**9 + nanoseconds)

    def readlink(self, directory: bytes, name: bytes) -> bytes:
        """The target of a symbolic link."""
        try:
            return os.readlink(name, dir_fd=self.directory(directory))
        except OSError as error:
            raise from_host(error) from None

    def open_file(self, directory: bytes, name: bytes, identity: tuple[int, int] | None, flags: int) -> int:
        """A host descriptor of a regular file; EIO when it no longer is the (st_dev, st_ino) expected."""
        try:
            fd = os.open(name, flags | _OPEN_FLAGS, dir_fd=self.directory(directory))
        except OSError as error:
            raise Errno(EIO if error.errno == ELOOP else error.errno or EIO) from None
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or (identity and identity != (found.st_dev, found.st_ino)):
            os.close(fd)
            raise Errno(EIO)
        return fd

    def rename(self, directory: bytes, name: bytes, new_directory: bytes, new_name: bytes, exchange: bool) -> None:
        """Move an entry, or exchange two."""
        source = os.dup(self.directory(directory))
        try:
            target = self.directory(new_directory)
            flags = _RENAME_EXCHANGE if exchange else 0
            if _libc.syscall(_SYS_RENAMEAT2, source, name, target, new_name, flags) != 0:
                raise Errno(ctypes.get_errno())
        finally:
            os.close(source)

    def link(self, descriptor: int, directory: bytes, name: bytes) -> None:
        """Give the open file ``descriptor`` a name."""
        try:
            os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=self.directory(directory), follow_symlinks=True)
        except OSError as error:
            raise from_host(error) from None

    def tmpfile(self, directory: bytes, mode: int) -> int:
        """A descriptor of a new regular file without a name."""
        try:
            fd = os.open(b".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=self.directory(directory))
            os.fchmod(fd, mode)
        except OSError as error:
            raise from_host(error) from None
        return fd

    def xattrs(self, directory: bytes, name: bytes) -> dict[bytes, bytes]:
        """The extended attributes of an entry, as far as the host lets us see them."""
        result: dict[bytes, bytes] = {}
        try:
            fd = os.open(name or b".", _PATH_FLAGS, dir_fd=self.directory(directory))
        except OSError:
            return result
        try:
            place = f"/proc/self/fd/{fd}"
            if stat.S_ISLNK(os.fstat(fd).st_mode):
                return result
            for attribute in os.listxattr(place):
                with contextlib.suppress(OSError):
                    result[os.fsencode(attribute)] = os.getxattr(place, attribute)
        except OSError:
            pass
        finally:
            os.close(fd)
        return result

    def statfs(self, path: bytes = b"") -> tuple[int, ...]:
        """type, bsize, blocks, bfree, bavail, files, ffree, fsid (two words), namelen, frsize, flags."""
        buffer = ctypes.create_string_buffer(120)
        if _libc.fstatfs(self.directory(path), buffer) != 0:
            raise Errno(ctypes.get_errno())
        return _STATFS.unpack_from(buffer.raw)

    # -- open files

    def use(self, backing: HostBacking) -> int:
        """The host descriptor of ``backing``, opened (again) as needed; the least recently used one is closed."""
        files = self._files
        if backing.fd < 0:
            backing.fd = self.open_file(backing.directory, backing.name, backing.identity, os.O_RDONLY)
            files[backing] = None
            if len(files) > self._file_limit:
                oldest, _ = files.popitem(last=False)
                os.close(oldest.fd)
                oldest.fd = -1
        else:
            files.move_to_end(backing)
        return backing.fd

    def drop(self, backing: HostBacking) -> None:
        """Close the descriptor of ``backing``."""
        if self._files.pop(backing, 0) is None:
            os.close(backing.fd)
            backing.fd = -1

    def close(self) -> None:
        """Close every descriptor."""
        for backing in list(self._files):
            self.drop(backing)
        for fd in self._directories.values():
            os.close(fd)
        self._directories.clear()
        if self.root_fd >= 0:
            os.close(self.root_fd)
        self.root_fd = -1


class HostBacking:
    """The contents of a host file, read-only, for a page cache."""

    writable = False

    def __init__(self, tree: HostTree, directory: bytes, name: bytes, identity: tuple[int, int]) -> None:
        self.tree = tree
        self.directory = directory
        self.name = name
        self.identity = identity
        self.fd = -1
        tree.use(self)

    def read_into(self, offset: int, view: memoryview) -> int:
        """Fill ``view`` from ``offset``; returns the bytes read, fewer only at the end of the file."""
        done = 0
        try:
            fd = self.tree.use(self)
            while done < len(view):
                n = os.preadv(fd, [view[done:]], offset + done)
                if n == 0:
                    break
                done += n
        except OSError as error:
            raise from_host(error) from None
        return done

    def read_pages(self, offset: int, views: list[memoryview]) -> int:
        """The same into buffers that follow one another in the file."""
        try:
            return read_pages(self.tree.use(self), offset, views)
        except OSError as error:
            raise from_host(error) from None

    def write(self, offset: int, data: Any) -> int:
        """Never called: the overlay keeps what is written."""
        raise Errno(EIO)

    def close(self) -> None:
        """Let go of the host's file."""
        self.tree.drop(self)


def read_pages(fd: int, offset: int, views: list[memoryview]) -> int:
    """preadv(2) until all ``views`` are full or the file ends; returns the bytes read."""
    done = os.preadv(fd, views, offset)
    total = sum(map(len, views))
    while 0 < done < total:
        skip, rest = done, []
        for view in views:
            if skip < len(view):
                rest.append(view[skip:])
            skip = max(0, skip - len(view))
        n = os.preadv(fd, rest, offset + done)
        if n == 0:
            break
        done += n
    return done


def _kind(entry: os.DirEntry[str]) -> int:
    if entry.is_symlink():
        return stat.S_IFLNK >> 12
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR >> 12
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG >> 12
    try:
        return stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode) >> 12
    except OSError:
        return 0
