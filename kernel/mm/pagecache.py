"""The page cache: file data in frames, shared by read, write and every mapping. Linux: mm/filemap.c, mm/shmem.c.

A cache belongs to one inode. A page is either here, and then it is the truth, or it is what the backing says (the
host's file), or zeros. Compiled code finds pages through the same int32 array of frame numbers that this class keeps.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from emu.paging import PAGE_SHIFT, PAGE_SIZE
from kernel.errno import EFBIG, ENOMEM, ENOSPC, Errno
from kernel.mm.layout import FRAME_DIRTY, FRAME_FILE, FRAME_SHMEM, MP_ZERO_FILL

if TYPE_CHECKING:
    from kernel.mm.memory import KernelMemory

#: Pages read ahead of a fault in a file, as Linux's fault-around (64 KiB, aligned).
FAULT_AROUND = 16
#: The longest file the cache can index (bytes): the array has one int32 a page.
MAX_SIZE = 1 << 42


class Backing(Protocol):
    """Where pages come from that the cache lacks, and where they go when it is ``writable``."""

    writable: bool

    def read_into(self, offset: int, view: memoryview) -> int:
        """Fill ``view`` from the file at ``offset``; returns the bytes read, fewer at its end."""

    def read_pages(self, offset: int, views: list[memoryview]) -> int:
        """The same into buffers that follow one another in the file."""

    def write(self, offset: int, data: Any) -> int:
        """Write through to the file; returns the bytes written."""


class PageCache:
    """The cached pages of one file of ``size`` bytes; ``backing`` None means shared memory: absent pages are zeros."""

    def __init__(self, memory: KernelMemory, size: int, backing: Backing | None = None) -> None:
        self.memory = memory
        self.backing = backing
        self.size = size
        self.valid_size = size if backing is not None else 0
        """Bytes from here on are not the backing's, whatever it holds there."""
        self.frames = np.zeros(0, np.int32)
        self.mappings: list[Mapping] = []
        self.users = 0
        """VMA rows that map this cache."""
        self.released = False
        self.promised_pages = 0
        """What overcommit counts; 0: the pages that are there."""
        self.on_store: Any = None
        """Called when a shared mapping may have stored (mtime of the inode)."""
        self._kind = FRAME_FILE if backing is not None else FRAME_SHMEM
        memory.caches.add(self)

    # -- pages -----------------------------------------------------------------------------------------------------

    @property
    def cached_pages(self) -> int:
        """Pages that hold a frame."""
        return int(np.count_nonzero(self.frames))

    def _reserve(self, pages: int) -> None:
        """Make the frame array at least ``pages`` long; rows of the mapping table follow it."""
        if pages > self.frames.size:
            frames = np.zeros(max(pages, self.frames.size * 2, 16), np.int32)
            frames[: self.frames.size] = self.frames
            self.frames = frames
            self.memory.caches_changed += 1
        self._publish()

    def _publish(self) -> None:
        if self.mappings:
            address = self.frames.__array_interface__["data"][0]
            flags = MP_ZERO_FILL if self.backing is None else 0
            for mapping in self.mappings:
                self.memory.mapping_rows[mapping.number] = (address, self.frames.size, self.size, flags)

    def page(self, index: int, *, fill: bool = True) -> int:
        """The frame of page ``index``, read in or made if absent (``fill`` False: its bytes will be overwritten).

        Raises:
            Errno: ENOMEM without a frame; EIO and the like from the host.
        """
        if index >= self.frames.size:
            self._reserve(index + 1)
        frame = int(self.frames[index])
        if frame:
            return frame
        frame = self.memory.alloc(self._kind, zeroed=True)
        offset = index << PAGE_SHIFT
        if fill and self.backing is not None and offset < self.valid_size:
            try:
                view = self.memory.page(frame)
                self.backing.read_into(offset, view[: min(PAGE_SIZE, self.valid_size - offset)])
            except BaseException:
                self.memory.put(frame)
                raise
        self.frames[index] = frame
        return frame

    def fill(self, index: int) -> None:
        """A fault found page ``index`` missing: read it and the pages around it in one go."""
        last = (self.size + PAGE_SIZE - 1) >> PAGE_SHIFT
        start = index & -FAULT_AROUND
        self._reserve(last)
        if self.memory.free_frames <= FAULT_AROUND:
            self.page(index)
            return
        stop = min(start + FAULT_AROUND, last)
        here = self.frames[start:stop].tolist()
        if self.backing is None:
            for i, frame in enumerate(here, start):
                if not frame:
                    self.page(i)
            return
        i = start
        while i < stop:
            first = i
            while i < stop and not here[i - start]:
                i += 1
            if i > first:
                self._read_run(first, i)
            i += 1

    def _read_run(self, first: int, stop: int) -> None:
        """Read the absent pages [first, stop) from the backing at once. Raises Errno: the host's."""
        memory, backing = self.memory, self.backing
        assert backing is not None
        got: list[int] = []
        try:
            while len(got) < stop - first:
                got.append(memory.alloc(self._kind, zeroed=True))
            size = min(stop << PAGE_SHIFT, self.valid_size) - (first << PAGE_SHIFT)
            views = [memory.page(frame) for frame in got[: max(0, size + PAGE_SIZE - 1 >> PAGE_SHIFT)]]
            if views:
                views[-1] = views[-1][: size - (len(views) - 1) * PAGE_SIZE]
                backing.read_pages(first << PAGE_SHIFT, views)
        except BaseException:
            for frame in got:
                memory.put(frame)
            raise
        self.frames[first:stop] = got

    # -- read and write --------------------------------------------------------------------------------------------

    def read(self, offset: int, count: int) -> bytes:
        """Up to ``count`` bytes at ``offset``; fewer at the end of the file."""
        count = min(count, self.size - offset)
        if count <= 0:
            return b""
        first, inside = offset >> PAGE_SHIFT, offset & (PAGE_SIZE - 1)
        frames = self.frames
        if inside + count <= PAGE_SIZE:
            frame = frames.item(first) if first < frames.size else 0
            if not frame:
                return self._read_backing(offset, count)
            start = (frame << PAGE_SHIFT) + inside
            return self.memory.ram[start : start + count].tobytes()
        return self._read_pages(offset, count)

    def _read_pages(self, offset: int, count: int) -> bytes:
        """``read`` over more than one page: runs of neighbouring frames, or of absent pages, are copied in one go."""
        first, end = offset >> PAGE_SHIFT, offset + count
        row = self.frames[first : ((end - 1) >> PAGE_SHIFT) + 1].tolist()
        row += [0] * (((end - 1) >> PAGE_SHIFT) + 1 - first - len(row))
        if not any(row):
            return self._read_backing(offset, count)
        ram, parts, i = self.memory.ram, [], 0
        while i < len(row):
            frame, stop = row[i], i + 1
            if frame:
                while stop < len(row) and row[stop] == frame + stop - i:
                    stop += 1
            else:
                while stop < len(row) and not row[stop]:
                    stop += 1
            size = min(end, (first + stop) << PAGE_SHIFT) - offset
            if frame:
                start = (frame << PAGE_SHIFT) + (offset & (PAGE_SIZE - 1))
                parts.append(ram[start : start + size])
            else:
                parts.append(memoryview(self._read_backing(offset, size)))
            offset += size
            i = stop
        return parts[0].tobytes() if len(parts) == 1 else b"".join(parts)

    def _read_backing(self, offset: int, count: int) -> bytes:
        data = bytearray(count)
        if self.backing is not None and offset < self.valid_size:
            self.backing.read_into(offset, memoryview(data)[: min(count, self.valid_size - offset)])
        return bytes(data)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> int:
        """Store ``data`` at ``offset``, growing the file; returns its length, or less when memory ran out halfway.

        Raises:
            Errno: EFBIG past MAX_SIZE; ENOSPC when not a byte could be stored; the host's error on a write-through.
        """
        view = memoryview(data).cast("B")
        total = len(view)
        if offset + total > MAX_SIZE:
            raise Errno(EFBIG)
        if self.backing is not None and self.backing.writable:
            total = self.backing.write(offset, view)
            self.valid_size = max(self.valid_size, offset + total)
        elif self.memory.free_frames - (total >> PAGE_SHIFT) <= self.memory.file_reserve:
            total = self._what_fits(offset, total)
        done = 0
        while done < total:
            position = offset + done
            index, inside = position >> PAGE_SHIFT, position & (PAGE_SIZE - 1)
            size = min(total - done, PAGE_SIZE - inside)
            through = self.backing is not None and self.backing.writable
            if not (through and (index >= self.frames.size or not self.frames[index])):
                try:
                    frame = self.page(index, fill=size < PAGE_SIZE)
                except Errno as error:
                    if error.code != ENOMEM:
                        raise
                    if done == 0:
                        raise Errno(ENOSPC) from None
                    break
                self.memory.page(frame)[inside : inside + size] = view[done : done + size]
                self.memory.kind[frame] |= FRAME_DIRTY
                self.memory.frame_changed(frame)
            done += size
        if offset + done > self.size:
            self.size = offset + done
            self._publish()
        return done

    def _what_fits(self, offset: int, count: int) -> int:
        """How much of a write there is memory for, when programs keep the last of it. Raises Errno: ENOSPC for none."""
        memory = self.memory
        room = memory.free_frames - memory.file_reserve
        first, last = offset >> PAGE_SHIFT, (offset + count - 1) >> PAGE_SHIFT
        if room <= last - first and memory.reclaim():
            room = memory.free_frames - memory.file_reserve
        index = first
        while index <= last:
            if index >= self.frames.size or not self.frames[index]:
                if room <= 0:
                    break
                room -= 1
            index += 1
        count = min(count, (index << PAGE_SHIFT) - offset)
        if count <= 0:
            raise Errno(ENOSPC)
        return count

    def truncate(self, size: int) -> None:
        """Set the file's length: pages behind it go, also from every mapping; the rest of the last page is zeros.

        Raises:
            Errno: EFBIG past MAX_SIZE.
        """
        if size > MAX_SIZE:
            raise Errno(EFBIG)
        if size < self.size:
            keep = (size + PAGE_SIZE - 1) >> PAGE_SHIFT
            self._drop_pages(keep, self.frames.size, copies=True)
            inside = size & (PAGE_SIZE - 1)
            if inside and keep <= self.frames.size and self.frames[keep - 1]:
                frame = int(self.frames[keep - 1])
                self.memory.page(frame)[inside:] = bytes(PAGE_SIZE - inside)
                self.memory.frame_changed(frame)
        self.valid_size = min(self.valid_size, size)
        if self.backing is not None and self.backing.writable:
            self.valid_size = size
        self.size = size
        self._publish()

    def punch(self, offset: int, count: int) -> None:
        """Make a range read as zeros and free its whole pages (FALLOC_FL_PUNCH_HOLE)."""
        end = min(offset + count, self.size)
        first, last = (offset + PAGE_SIZE - 1) >> PAGE_SHIFT, end >> PAGE_SHIFT
        if self.backing is None and first < last:
            self._drop_pages(first, min(last, self.frames.size), copies=False)
            zero_ranges = [(offset, min(first << PAGE_SHIFT, end)), (max(last << PAGE_SHIFT, offset), end)]
        else:
            zero_ranges = [(offset, end)]
        for start, stop in zero_ranges:
            while start < stop:
                size = min(stop - start, 1 << 20)
                self.write(start, bytes(size))
                start += size

    def _drop_pages(self, first: int, last: int, *, copies: bool) -> None:
        """Free the pages first…last-1, unmapped first; ``copies``: private copies of them go too."""
        if self.mappings:
            end = MAX_SIZE if copies else last << PAGE_SHIFT
            for space in list(self.memory.spaces.values()):
                space.unmap_file_range(self, first << PAGE_SHIFT, end, copies)
        for index in (np.flatnonzero(self.frames[first:last]) + first).tolist():
            frame = int(self.frames[index])
            self.frames[index] = 0
            self.memory.put(frame)

    # -- write-back ------------------------------------------------------------------------------------------------

    def sync(self) -> None:
        """Write pages that mappings have stored to back to a writable backing.

        Raises:
            Errno: what the host says (ENOSPC, EIO).
        """
        if self.backing is None or not self.backing.writable:
            return
        present = np.flatnonzero(self.frames)
        dirty = present[(self.memory.kind[self.frames[present]] & FRAME_DIRTY) != 0]
        for index in dirty.tolist():
            frame = int(self.frames[index])
            offset = index << PAGE_SHIFT
            if offset < self.size:
                self.backing.write(offset, self.memory.page(frame)[: min(PAGE_SIZE, self.size - offset)])
            self.memory.kind[frame] &= ~np.uint8(FRAME_DIRTY)

    def release(self) -> None:
        """The inode is gone; the pages follow once nobody maps them."""
        self.released = True
        if self.users == 0:
            self._free()

    def drop_clean(self) -> int:
        """Free pages that the backing can give again and nobody maps; returns how many (reclaim)."""
        if self.backing is None:
            return 0
        present = np.flatnonzero(self.frames)
        held = self.frames[present]
        idle = present[(self.memory.refs[held] == 1) & ((self.memory.kind[held] & FRAME_DIRTY) == 0)
                       & ((present << PAGE_SHIFT) < self.valid_size)]
        for index in idle.tolist():
            self.memory.put(int(self.frames[index]))
            self.frames[index] = 0
        return idle.size

    def _free(self) -> None:
        try:
            self.sync()
        finally:
            for frame in self.frames[self.frames != 0].tolist():
                self.memory.put(frame)
            self.frames = np.zeros(0, np.int32)
            self.memory.caches_changed += 1

    def __del__(self) -> None:
        if self.frames.size and self.users == 0:
            self._free()


class Mapping:
    """One row of the mapping table: a cache as seen through the file that was mapped (whose path /proc shows).

    Invariant: ``users`` is the number of VMA rows, in all address spaces, that name this row.
    """

    def __init__(self, memory: KernelMemory, cache: PageCache, file: Any, name: bytes) -> None:
        self.memory = memory
        self.cache = cache
        self.file = file
        self.name = name
        self.users = 0
        self.number = memory.add_mapping(self)
        if file is not None:
            file.get()
        cache.mappings.append(self)
        cache._reserve((cache.size + PAGE_SIZE - 1) >> PAGE_SHIFT)

    def use(self, change: int) -> None:
        """VMA rows came (+n) or went (-n); the last one lets the file go."""
        self.users += change
        self.cache.users += change
        if self.users == 0:
            self.cache.mappings.remove(self)
            self.memory.drop_mapping(self.number)
            cache, file = self.cache, self.file
            self.file = None
            if cache.users == 0:
                if cache.released:
                    cache._free()
                else:
                    cache.sync()
            if file is not None:
                file.put()


def host_address(buffer: Any) -> int:
    """Where a writable buffer's bytes are, for compiled code."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
