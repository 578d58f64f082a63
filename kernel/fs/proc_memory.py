"""/proc/<pid>/{maps,smaps,smaps_rollup,mem,pagemap,cmdline,environ,auxv}: memory from outside (fs/proc/task_mmu.c)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from emu.paging import PTE_PS
from kernel.errno import EFAULT, EINVAL, EIO, ESRCH, Errno
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
PAGE_KB = 4
HUGE = 1 << 21
_PATH_COLUMN = 73
"""Where the name starts in /proc/<pid>/maps."""

# page bytes of kernel.mm.unmap.resident_pages
_PRESENT, _DIRTY, _ACCESSED, _ANON, _SHARED, _ZERO_PAGE, _LEAF, _SWAPPED = 1, 2, 4, 8, 16, 32, 64, 128

PM_PRESENT = 1 << 63
PM_GUARD_REGION = 1 << 58
#: Shared anonymous memory lies in a file system of the kernel's own.
_SHMEM_DEVICE = 1
PM_SWAP = 1 << 62
PM_FILE = 1 << 61
PM_MMAP_EXCLUSIVE = 1 << 56
PM_SOFT_DIRTY = 1 << 55
_EMPTY = np.zeros(0, np.uint8)
_SMALL_RANGE = 64 << 20
_PAGEMAP_CHUNK = 1 << 17
_PROT_READ, _PROT_WRITE = 1, 2
_MAX_ARGS = 1 << 22

#: VM_* bit → the two letters of the ``VmFlags`` line, in the kernel's order (show_smap_vma_flags).
_VM_FLAG_NAMES = (
    (layout.VM_READ, "rd"), (layout.VM_WRITE, "wr"), (layout.VM_EXEC, "ex"), (layout.VM_SHARED, "sh"),
    (layout.VM_MAYREAD, "mr"), (layout.VM_MAYWRITE, "mw"), (layout.VM_MAYEXEC, "me"), (layout.VM_MAYSHARE, "ms"),
    (layout.VM_GROWSDOWN, "gd"), (layout.VM_GUARDED, "gu"), (layout.VM_LOCKED, "lo"), (layout.VM_DONTCOPY, "dc"),
    (layout.VM_DONTEXPAND, "de"), (layout.VM_LOCKONFAULT, "lf"),
    (layout.VM_ACCOUNT, "ac"), (layout.VM_NORESERVE, "nr"), (layout.VM_HUGETLB, "ht"),
    (layout.VM_WIPEONFORK, "wf"), (layout.VM_DONTDUMP, "dd"),
    (layout.VM_HUGEPAGE, "hg"), (layout.VM_NOHUGEPAGE, "nh"), (layout.VM_MERGEABLE, "mg"),
    (layout.VM_DROPPABLE, "dp"),
)  # fmt: skip

_COUNTS = (
    "Rss", "Pss", "Pss_Dirty", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty", "Referenced",
    "Anonymous", "KSM", "LazyFree", "AnonHugePages", "ShmemPmdMapped", "FilePmdMapped", "Shared_Hugetlb",
    "Private_Hugetlb", "Swap", "SwapPss", "Locked",
)  # fmt: skip
_ROLLUP_COUNTS = (*_COUNTS[:3], "Pss_Anon", "Pss_File", "Pss_Shmem", *_COUNTS[3:])


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
        line = line.ljust(_PATH_COLUMN) + vma.name.replace(b"\n", b"\\012")
    return line + b"\n"


def smaps(reader: Task, task: Task) -> bytes:
    """/proc/<pid>/smaps: each mapping with its figures."""
    check_access(reader, task)
    if task.mm is None:
        return b""
    out = []
    for vma in task.mm.vma_rows():
        out.append(maps_line(vma))
        size_kb = (vma.end - vma.start) // 1024
        page_kb = 2048 if vma.flags & layout.VM_HUGETLB else PAGE_KB
        lines = [_kb("Size", size_kb), _kb("KernelPageSize", page_kb), _kb("MMUPageSize", page_kb)]
        counts = count_pages(task.mm, vma)
        lines += [_kb(name, counts.get(name, 0)) for name in _COUNTS]
        lines.append(f"THPeligible:    {_thp_eligible(task.mm, vma):8}")
        flags = "".join(f"{name} " for bit, name in _VM_FLAG_NAMES if vma.flags & bit)
        lines.append(f"VmFlags: {flags}")
        out.append(("\n".join(lines) + "\n").encode())
    return b"".join(out)


def _thp_eligible(mm: AddressSpace, vma: Vma) -> int:
    """1 where a first write gets a 2 MiB page (kernel.mm.huge_fault)."""
    mode = mm.memory.memory.get(layout.K_THP)
    wanted = vma.flags & layout.VM_HUGEPAGE if mode == layout.THP_MADVISE else mode == layout.THP_ALWAYS
    first = -(-vma.start // HUGE) * HUGE
    fits = first + HUGE <= vma.end and vma.file is None and not vma.shared and not vma.flags & layout.VM_HUGETLB
    return int(bool(wanted) and fits and not mm.thp_disabled and not vma.flags & layout.VM_NOHUGEPAGE)


def smaps_rollup(reader: Task, task: Task) -> bytes:
    """/proc/<pid>/smaps_rollup: the figures of all mappings added up."""
    check_access(reader, task)
    if task.mm is None:
        raise Errno(ESRCH)
    total: dict[str, float] = dict.fromkeys(_ROLLUP_COUNTS, 0)
    rows = task.mm.vma_rows()
    for vma in rows:
        for name, value in count_pages(task.mm, vma).items():
            total[name] = total.get(name, 0) + value
    start, end = (rows[0].start, rows[-1].end) if rows else (0, 0)
    head = f"{start:08x}-{end:08x} ---p 00000000 00:00 0 ".encode().ljust(_PATH_COLUMN) + b"[rollup]\n"
    return head + ("\n".join(_kb(name, total[name]) for name in _ROLLUP_COUNTS) + "\n").encode()


def count_pages(mm: AddressSpace, vma: Vma) -> dict[str, float]:
    """The figures of one mapping in kB; Pss counts a page that others map too as half, for want of the number."""
    pages = np.concatenate([_EMPTY, *(mm.page_bytes(start, end) for start, end in populated(mm, vma.start, vma.end))])
    swapped = int(np.count_nonzero(pages & _SWAPPED)) * PAGE_KB
    pages = pages[(pages & _PRESENT != 0) & (pages & _ZERO_PAGE == 0)]
    if vma.flags & layout.VM_HUGETLB:
        shared_kb = int(np.count_nonzero(pages & _SHARED)) * PAGE_KB
        return {"Shared_Hugetlb": shared_kb, "Private_Hugetlb": len(pages) * PAGE_KB - shared_kb}
    shared = pages & _SHARED != 0
    dirty = (pages & _DIRTY != 0) | (pages & _ANON != 0)
    anon = pages & _ANON != 0

    def kb(chosen: np.ndarray) -> int:
        return int(np.count_nonzero(chosen)) * PAGE_KB

    pss_of = {name: kb(which & ~shared) + kb(which & shared) / 2 for name, which in (("all", shared | ~shared),
              ("dirty", dirty), ("anon", anon))}  # fmt: skip
    file_kind = "Pss_Shmem" if vma.name.startswith((b"/dev/shm/", b"/memfd:", b"/dev/zero", b"/SYSV")) else "Pss_File"
    rss = len(pages) * PAGE_KB
    return {
        "Rss": rss,
        "Pss": pss_of["all"],
        "Pss_Dirty": pss_of["dirty"],
        "Pss_Anon": pss_of["anon"],
        file_kind: pss_of["all"] - pss_of["anon"],
        "Shared_Clean": kb(shared & ~dirty),
        "Shared_Dirty": kb(shared & dirty),
        "Private_Clean": kb(~shared & ~dirty),
        "Private_Dirty": kb(~shared & dirty),
        "Referenced": rss,
        "Anonymous": kb(anon),
        "AnonHugePages": kb(pages & _LEAF != 0),
        "Swap": swapped,
        "SwapPss": swapped,
        "Locked": pss_of["all"] if vma.flags & layout.VM_LOCKED else 0,
    }


def populated(mm: AddressSpace, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of a range below which page tables exist: what a terabyte that nobody touched does not have."""
    if end - start <= _SMALL_RANGE:
        yield start, end
        return
    yield from _populated(mm, mm.root >> 12, 39, 0, start, end)


def _populated(
    mm: AddressSpace, frame: int, shift: int, base: int, start: int, end: int
) -> Iterator[tuple[int, int]]:
    """The same for one table, whose entries map ``1 << shift`` bytes each from ``base`` on."""
    entries = np.frombuffer(mm.memory.page(frame), np.uint64)
    first, last = max(start - base, 0) >> shift, min(end - base - 1 >> shift, 511)
    for index in (np.flatnonzero(entries[first : last + 1] & np.uint64(1)) + first).tolist():
        here = base + (index << shift)
        if shift == 21 or int(entries[index]) & PTE_PS:
            yield max(here, start), min(here + (1 << 21), end)
        else:
            below = int(entries[index]) >> 12 & (1 << 40) - 1
            yield from _populated(mm, below, shift - 9, here, start, end)


def _kb(name: str, value: float) -> str:
    return f"{name + ':':<16}{int(value):8} kB"


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

