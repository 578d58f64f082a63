"""/proc/<pid>/{maps,mem,pagemap,cmdline,environ,auxv}: memory from outside (fs/proc/task_mmu.c)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from kernel.errno import EFAULT, EINVAL, EIO, Errno
from kernel.fs.proc_entry import check_access
from kernel.fs.seqfile import GeneratedFile, SeekableFile
from kernel.fs.uapi import SEEK_CUR, SEEK_SET
from kernel.mm import layout
from kernel.task.capability import CAP_SYS_ADMIN

if TYPE_CHECKING:
    from kernel.fs.dentry import Dentry
    from kernel.mm.address_space import AddressSpace, Vma
    from kernel.task.task import Task

_T = TypeVar("_T")

PAGE = 4096
PATH_COLUMN = 73
"""Where the name starts in /proc/<pid>/maps."""

# page bytes of kernel.mm.unmap.resident_pages
_PRESENT, _ANON, _SHARED, _ZERO_PAGE, _SWAPPED = 1, 8, 16, 32, 128

PM_PRESENT = 1 << 63
PM_GUARD_REGION = 1 << 58
#: Shared anonymous memory lies in a file system of the kernel's own.
_SHMEM_DEVICE = 1
PM_SWAP = 1 << 62
PM_FILE = 1 << 61
PM_MMAP_EXCLUSIVE = 1 << 56
PM_SOFT_DIRTY = 1 << 55
_PAGEMAP_CHUNK = 1 << 17
_PROT_READ, _PROT_WRITE = 1, 2
_MAX_ARGS = 1 << 22


def maps(reader: Task, task: Task) -> bytes:
    """/proc/<pid>/maps."""
    check_access(reader, task)
    if task.mm is None:
        return b""
    return b"".join(maps_line(vma) for vma in task.mm.vma_rows())


def maps_line(vma: Vma) -> bytes:
    """One line: range, permissions, offset, device, inode, name (show_map_vma)."""
    prot = vma.prot
    permissions = "".join(
        letter if prot & bit else "-" for bit, letter in ((1, "r"), (2, "w"), (4, "x"))
    ) + ("s" if vma.flags & layout.VM_MAYSHARE or vma.shared else "p")
    device = inode_number = 0
    inode = getattr(vma.file, "inode", None)
    if inode is not None:
        found = inode.getattr()
        device, inode_number = found.dev, found.ino
    elif vma.number:
        device, inode_number = _SHMEM_DEVICE, vma.number
    major, minor = device >> 8 & 0xFFF, device & 0xFF | device >> 12 & 0xFFF00
    line = (
        f"{vma.start:08x}-{vma.end:08x} {permissions} {vma.offset:08x} {major:02x}:{minor:02x} {inode_number} "
    ).encode()
    if vma.name:
        line = line.ljust(PATH_COLUMN) + vma.name.replace(b"\n", b"\\012")
    return line + b"\n"


def cmdline(reader: Task, task: Task) -> bytes:
    """/proc/<pid>/cmdline: argv as the process has it now; past a missing NUL it goes on into the environment."""
    mm = task.mm
    if mm is None or not mm.env_end or mm.arg_end <= mm.arg_start:
        return b""
    text = _peek(mm, mm.arg_start, mm.arg_end)
    if text and text[-1]:
        text += _peek(mm, mm.arg_end, mm.env_end)
        return text.split(b"\0", 1)[0]
    return text


def environ(reader: Task, task: Task) -> bytes:
    """/proc/<pid>/environ: the environment that execve gave."""
    check_access(reader, task)
    mm = task.mm
    return _peek(mm, mm.env_start, mm.env_end) if mm is not None else b""


def auxv(reader: Task, task: Task) -> bytes:
    """/proc/<pid>/auxv: the auxiliary vector, AT_NULL included."""
    check_access(reader, task)
    return task.mm.auxv if task.mm is not None else b""


def _peek(mm: AddressSpace, start: int, end: int) -> bytes:
    """What can be read of a range; nothing where it has gone."""
    try:
        return mm.read_some(start, min(end - start, _MAX_ARGS))
    except Errno:
        return b""


class BoundFile(GeneratedFile):
    """environ and the maps: about the address space that was there at open, empty once it has gone."""

    def __init__(self, dentry: Dentry, flags: int, target: Task) -> None:
        super().__init__(dentry, flags)
        self._target, self._mm = target, target.mm

    def try_read(self, task: Task, n: int, pos: int | None = None) -> bytes:
        if self._mm is None or self._target.mm is not self._mm:
            return b""
        return super().try_read(task, n, pos)


class MemFile(SeekableFile):
    """/proc/<pid>/mem: the position is the address. Protection does not matter, as for a debugger."""

    def __init__(self, dentry: Dentry, flags: int, target: Task) -> None:
        super().__init__(dentry, flags)
        self._mm: AddressSpace | None = target.mm

    def _space(self) -> AddressSpace | None:
        mm = self._mm
        return mm if mm is not None and mm.number in mm.memory.spaces else None

    def try_read(self, task: Task, n: int, pos: int | None = None) -> bytes:
        address = self.pos if pos is None else pos
        mm = self._space()
        if mm is None or not n:
            return b""
        data = read_forced(mm, address, min(n, self.io_chunk))
        if not data:
            raise Errno(EIO)
        if pos is None:
            self.pos = address + len(data)
        return data

    def try_write(self, task: Task, data: bytes, pos: int | None = None) -> int:
        address = self.pos if pos is None else pos
        mm = self._space()
        if mm is None or not data:
            return 0
        done = write_forced(mm, address, data)
        if not done:
            raise Errno(EIO)
        if pos is None:
            self.pos = address + done
        return done

    def seek(self, task: Task, offset: int, whence: int) -> int:
        if whence == SEEK_CUR:
            offset += self.pos
        elif whence != SEEK_SET:
            raise Errno(EINVAL)
        self.pos = offset & 2**64 - 1
        return self.pos


def read_forced(mm: AddressSpace, address: int, count: int) -> bytes:
    """Bytes of another process whatever the protection (FOLL_FORCE); fewer at the end of what is mapped."""
    out = b""
    while len(out) < count:
        here = address + len(out)
        step = min(count - len(out), PAGE - here % PAGE)
        try:
            out += mm.read_some(here, count - len(out))
            continue
        except Errno as error:
            if error.code != EFAULT:
                raise
        piece = _with_protection(mm, here, _PROT_READ, partial(mm.read_some, here, step))
        if piece is None:
            break
        out += piece
    return out


def write_forced(mm: AddressSpace, address: int, data: bytes) -> int:
    """Write likewise: read-only private pages are copied first; read-only shared ones are refused."""
    done = 0
    while done < len(data):
        wrote = mm.write_some(address + done, data[done:])
        if not wrote:
            here = address + done
            piece = data[done : done + PAGE - here % PAGE]
            row = mm.vmas.find(here)
            if row is None or row.flags & layout.VM_SHARED:
                break
            result = _with_protection(mm, here, _PROT_READ | _PROT_WRITE, partial(mm.write_some, here, piece))
            if not result:
                break
            wrote = result
        done += wrote
    return done


def _with_protection(mm: AddressSpace, address: int, extra: int, action: Callable[[], _T]) -> _T | None:
    """Run ``action`` with the page at ``address`` accessible for ``extra`` (PROT_*); None when that cannot be."""
    row = mm.vmas.find(address)
    if row is None:
        return None
    prot = row.flags & (layout.VM_READ | layout.VM_WRITE | layout.VM_EXEC)
    if prot & extra == extra:
        return None  # the protection is not what hindered
    page = address & -PAGE
    try:
        mm.mprotect(page, PAGE, prot | extra)
        try:
            return action()
        finally:
            mm.mprotect(page, PAGE, prot)
    except Errno:
        return None


class PagemapFile(SeekableFile):
    """/proc/<pid>/pagemap: one 64-bit word a page (Documentation/admin-guide/mm/pagemap.rst).

    Frame numbers are shown to CAP_SYS_ADMIN only, so the guest sees 0 there.
    """

    def __init__(self, dentry: Dentry, flags: int, target: Task) -> None:
        super().__init__(dentry, flags)
        self._mm: AddressSpace | None = target.mm

    def try_read(self, task: Task, n: int, pos: int | None = None) -> bytes:
        offset = self.pos if pos is None else pos
        mm = self._mm
        if mm is None or mm.number not in mm.memory.spaces:
            return b""
        if offset % 8 or n % 8:
            raise Errno(EINVAL)
        first = offset // 8
        last = min(first + min(n // 8, _PAGEMAP_CHUNK), 1 << 35)
        if last <= first:
            return b""
        data = pagemap_words(mm, first, last, frames=task.cred.capable(CAP_SYS_ADMIN)).tobytes()
        if pos is None:
            self.pos = offset + len(data)
        return data

    seek = MemFile.seek


def pagemap_words(mm: AddressSpace, first: int, last: int, frames: bool = False) -> np.ndarray:
    """The words for pages ``first`` to ``last`` (exclusive) as uint64."""
    states = mm.page_bytes(first * PAGE, last * PAGE)
    words = np.zeros(last - first, np.uint64)
    present = states & _PRESENT != 0
    words[present] |= np.uint64(PM_PRESENT)
    words[states & _SWAPPED != 0] |= np.uint64(PM_SWAP)
    words[states == _ZERO_PAGE] |= np.uint64(PM_SWAP | PM_GUARD_REGION)
    words[present & (states & (_ANON | _ZERO_PAGE) == 0)] |= np.uint64(PM_FILE)
    words[present & (states & (_SHARED | _ZERO_PAGE) == 0)] |= np.uint64(PM_MMAP_EXCLUSIVE)
    if frames:
        for index in np.flatnonzero(present).tolist():
            words[index] |= np.uint64(mm.physical((first + index) * PAGE) >> 12)
    for vma in mm.vma_rows():
        low, high = max(vma.start // PAGE, first), min(vma.end // PAGE, last)
        if low < high:
            words[low - first : high - first] |= np.uint64(PM_SOFT_DIRTY)
    return words

