"""Open regular files and directories: position, page cache, limits (mm/filemap.c, fs/readdir.c, fs/open.c)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kernel.errno import EACCES, EFBIG, EINVAL, EISDIR, ENODEV, ENOENT, ENXIO, EOVERFLOW, EPERM, Errno
from kernel.fs import fsnotify
from kernel.fs.file import File, copy_out
from kernel.fs.uapi import (
    EXT4_MAX_BYTES,
    F_SEAL_FUTURE_WRITE,
    F_SEAL_GROW,
    F_SEAL_WRITE,
    FALLOC_FL_COLLAPSE_RANGE,
    FALLOC_FL_INSERT_RANGE,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_ZERO_RANGE,
    MAX_LFS_FILESIZE,
    O_APPEND,
    O_NOATIME,
    RLIMIT_FSIZE,
    S_IFDIR,
    S_ISGID,
    S_ISUID,
    S_IXGRP,
    SEEK_CUR,
    SEEK_DATA,
    SEEK_END,
    SEEK_HOLE,
    SEEK_SET,
)
from kernel.task.capability import CAP_FSETID

if TYPE_CHECKING:
    from kernel.fs.dentry import Dentry
    from kernel.fs.inode import Inode
    from kernel.mm.pagecache import PageCache
    from kernel.task.task import Task

CHUNK = 1 << 20
DAY_NS = 24 * 3600 * 10**9
PROT_WRITE, PROT_EXEC = 2, 4
MAP_SHARED, MAP_TYPE = 1, 0xF
SIGXFSZ = 25
BLOCK = 4096


def touch_atime(file: File) -> None:
    """Update the access time as a relatime mount does (relatime_need_update)."""
    inode = file.inode
    now = inode.sb.now()
    if (inode.atime <= inode.mtime or inode.atime <= inode.ctime or now - inode.atime >= DAY_NS) and (
        not file.flags & O_NOATIME
    ):
        inode.accessed(now)


def remove_privileges(inode: Inode, task: Task) -> None:
    """Writing clears set-user-id, and set-group-id where it means that (file_remove_privs)."""
    mode = inode.mode
    if mode & (S_ISUID | S_ISGID) and not task.cred.capable(CAP_FSETID):
        mode &= ~S_ISUID
        if mode & S_IXGRP:
            mode &= ~S_ISGID
        inode.setattr(task, mode=mode)


def check_size(task: Task | None, inode: Inode, size: int) -> None:
    """May a file grow to ``size``? EFBIG, with SIGXFSZ when it is RLIMIT_FSIZE that forbids (inode_newsize_ok)."""
    if task is not None:
        limit = task.group.rlimits.get(RLIMIT_FSIZE)
        if limit is not None and size > limit[0]:
            exceed_file_size(task)
    if size > EXT4_MAX_BYTES:
        raise Errno(EFBIG)


def exceed_file_size(task: Task) -> None:
    """RLIMIT_FSIZE: SIGXFSZ to the thread, as from itself (send_sig), EFBIG for the call."""
    from kernel.task.signal import SigInfo, send_signal

    send_signal(task, SigInfo.from_task(task, SIGXFSZ))
    raise Errno(EFBIG)


class RegularFile(File):
    """An open regular file whose inode has a page cache."""

    is_regular = True
    direct = True
    seekable = True

    def __init__(self, dentry: Dentry, flags: int) -> None:
        super().__init__(flags, dentry=dentry)
        inode = self.inode
        inode.opens += 1
        if self.writable:
            inode.writers += 1

    def release(self) -> None:
        inode = self.inode
        inode.opens -= 1
        if inode.watchers and not inode.opens and not inode.nlink:
            fsnotify.destroyed(inode)

    # -- reading

    def read_user(self, task: Task, addr: int, count: int, pos: int | None = None) -> int:
        """read(2) straight to user memory; the position moves by what arrived there."""
        inode = self.inode
        cache = inode.cache or inode.page_cache()
        offset = self.pos if pos is None else pos
        left = cache.size - offset
        if left <= 0:
            return 0
        if left > count:
            left = count
        done = 0
        while left > 0:
            n = left if left < CHUNK else CHUNK
            data = cache.read(offset + done, n)
            try:
                copied = copy_out(task, addr + done, data)
            except Errno:
                if not done:
                    raise
                break
            done += copied
            left -= n
            if copied < n:
                break
        if pos is None:
            self.pos = offset + done
        if fsnotify.active:
            fsnotify.file_event(self.dentry, fsnotify.IN_ACCESS)
        if inode.atime <= inode.mtime or inode.atime <= inode.ctime:
            touch_atime(self)
        return done

    def try_read(self, task: Task, n: int, pos: int | None = None) -> bytes:
        inode = self.inode
        cache = inode.cache or inode.page_cache()
        offset = self.pos if pos is None else pos
        n = min(n, cache.size - offset)
        if n <= 0:
            return b""
        data = cache.read(offset, n)
        if pos is None:
            self.pos = offset + len(data)
        touch_atime(self)
        return data

    # -- writing

    def try_write(self, task: Task, data: bytes, pos: int | None = None) -> int:
        inode = self.inode
        if not data:
            return 0
        cache = inode.cache or inode.page_cache()
        offset = cache.size if self.flags & O_APPEND else self.pos if pos is None else pos
        end = offset + len(data)
        limit = task.group.rlimits.get(RLIMIT_FSIZE)
        if limit is not None and end > limit[0]:
            if offset >= limit[0]:
                exceed_file_size(task)
            data = data[: limit[0] - offset]
        if end > EXT4_MAX_BYTES:
            if offset >= EXT4_MAX_BYTES:
                raise Errno(EFBIG)
            data = data[: EXT4_MAX_BYTES - offset]
        seals = getattr(inode, "seals", 0)
        if seals and (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE) or (seals & F_SEAL_GROW and end > cache.size)):
            raise Errno(EPERM)
        if inode.mode & (S_ISUID | S_ISGID):
            remove_privileges(inode, task)
        inode.changing(data=True)
        written = cache.write(offset, data)
        if pos is None:
            self.pos = offset + written
        inode.mtime = inode.ctime = inode.sb.now()
        if fsnotify.active:
            fsnotify.file_event(self.dentry, fsnotify.IN_MODIFY)
        return written

    # -- the rest

    def seek(self, task: Task, offset: int, whence: int) -> int:
        size = self.inode.size
        if whence == SEEK_SET:
            pos = offset
        elif whence == SEEK_CUR:
            pos = self.pos + offset
        elif whence == SEEK_END:
            pos = size + offset
        elif whence in (SEEK_DATA, SEEK_HOLE):
            if not 0 <= offset < size:
                raise Errno(ENXIO)
            pos = self.inode.seek_data_or_hole(offset, whence)
        else:
            raise Errno(EINVAL)
        if pos > MAX_LFS_FILESIZE:
            raise Errno(EOVERFLOW if whence != SEEK_SET else EINVAL)
        if not 0 <= pos <= EXT4_MAX_BYTES:
            raise Errno(EINVAL)
        self.pos = pos
        return pos

    def truncate(self, task: Task, size: int) -> None:
        if not self.writable:
            raise Errno(EINVAL)
        self.inode.truncate(task, size)
        if fsnotify.active:
            fsnotify.file_event(self.dentry, fsnotify.IN_MODIFY)

    def fallocate(self, task: Task, mode: int, offset: int, length: int) -> None:
        inode = self.inode
        cache = inode.page_cache()
        end = offset + length
        if end > EXT4_MAX_BYTES:
            raise Errno(EFBIG)
        size = cache.size
        inode.changing(data=True)
        if mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE):
            self._shift(task, mode, offset, length, cache)
        else:
            grow = end > size and not mode & FALLOC_FL_KEEP_SIZE
            if grow:
                if getattr(inode, "seals", 0) & F_SEAL_GROW:
                    raise Errno(EPERM)
                check_size(task, inode, end)
            if mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE):
                if getattr(inode, "seals", 0) & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE):
                    raise Errno(EPERM)
                cache.punch(offset, max(0, min(end, size) - offset))
            if grow:
                inode.set_size(end)
        inode.mtime = inode.ctime = inode.sb.now()

    def _shift(self, task: Task, mode: int, offset: int, length: int, cache: PageCache) -> None:
        """Cut out (COLLAPSE) or insert a range of whole blocks."""
        if offset % BLOCK or length % BLOCK:
            raise Errno(EINVAL)
        inode, size = self.inode, cache.size
        if mode & FALLOC_FL_COLLAPSE_RANGE:
            if offset + length >= size:
                raise Errno(EINVAL)
            source, target, n = offset + length, offset, size - offset - length
        else:
            if offset >= size:
                raise Errno(EINVAL)
            check_size(task, inode, size + length)
            source, target, n = offset, offset + length, size - offset
        data = cache.read(source, n)
        if mode & FALLOC_FL_INSERT_RANGE:
            inode.set_size(size + length)
            cache.punch(offset, length)
        cache.write(target, data)
        if mode & FALLOC_FL_COLLAPSE_RANGE:
            inode.set_size(size - length)

    def fsync(self, task: Task) -> None:
        self.inode.fsync()

    def mapping(self, prot: int, flags: int) -> PageCache | None:
        if not self.readable:
            raise Errno(EACCES)
        inode = self.inode
        if flags & MAP_TYPE & 3 != 2:  # MAP_SHARED or MAP_SHARED_VALIDATE
            if prot & PROT_WRITE and not self.writable:
                raise Errno(EACCES)
            if prot & PROT_WRITE and getattr(inode, "seals", 0) & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE):
                raise Errno(EPERM)
            if self.writable:
                inode.changing(data=True)
        touch_atime(self)
        return inode.page_cache()


class DirectoryFile(File):
    """An open directory. Its listing is taken when read from the start: changes meanwhile do not disturb it."""

    seekable = True

    def __init__(self, dentry: Dentry, flags: int) -> None:
        super().__init__(flags, dentry=dentry)
        self._listing: list[tuple[bytes, int, int]] | None = None

    async def read(self, task: Task, n: int, pos: int | None = None) -> bytes:
        raise Errno(EISDIR)

    def readdir(self, task: Task) -> Iterable[tuple[bytes, int, int, int]]:
        inode = self.inode
        if inode.nlink == 0:
            raise Errno(ENOENT)
        if self._listing is None or self.pos == 0:
            parent = self.dentry.parent.inode if self.dentry.parent is not None else inode
            self._listing = [(b".", inode.ino, S_IFDIR >> 12), (b"..", parent.ino, S_IFDIR >> 12)]
            self._listing += inode.readdir(task)
            if inode.volatile:
                self._add_mount_points(self._listing)
            touch_atime(self)
        listing = self._listing
        for index in range(self.pos, len(listing)):
            name, ino, kind = listing[index]
            yield name, ino, kind, index + 1

    def _add_mount_points(self, listing: list[tuple[bytes, int, int]]) -> None:
        """Directories mounted where the file system itself has no such entry."""
        names = {row[0] for row in listing}
        for name, child in self.dentry.children.items():
            if child is not None and child.is_mount and name not in names:
                listing.append((name, child.inode.ino, child.inode.kind >> 12))

    def seek(self, task: Task, offset: int, whence: int) -> int:
        if whence == SEEK_CUR:
            offset += self.pos
        elif whence == SEEK_END:
            offset += MAX_LFS_FILESIZE if self.inode.nlink else 0  # ext4: the end of the hash order, or i_size
        elif whence != SEEK_SET:
            raise Errno(EINVAL)
        if not 0 <= offset <= MAX_LFS_FILESIZE:
            raise Errno(EINVAL)
        self.pos = offset
        return offset

    def fsync(self, task: Task) -> None:
        self.inode.fsync()

    def fallocate(self, task: Task, mode: int, offset: int, length: int) -> None:
        raise Errno(EISDIR)

    def mapping(self, prot: int, flags: int) -> PageCache | None:
        if not self.readable:
            raise Errno(EACCES)
        raise Errno(ENODEV)


