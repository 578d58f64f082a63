"""/proc/<pid>/{smaps,smaps_rollup}: each mapping with its figures (fs/proc/task_mmu.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emu.paging import PAGE_SHIFT, PMD_SIZE
from kernel.errno import ESRCH, Errno
from kernel.fs.proc_entry import check_access
from kernel.fs.proc_memory import PATH_COLUMN, maps_line
from kernel.mm import layout
from kernel.mm.mapcount import MapCounts

if TYPE_CHECKING:
    from kernel.mm.address_space import AddressSpace, Vma
    from kernel.task.task import Task

PAGE_KB = 4
#: Linux rounds each page's part to so many bits behind the point of a kB (PSS_SHIFT, in bytes: 12).
_PSS_SHIFT = 22
_NO_PAGES = np.zeros(0, np.uint8), np.zeros(0, np.int32)
# page bytes of kernel.mm.unmap.resident_pages
_PRESENT, _DIRTY, _ANON, _ZERO_PAGE, _LEAF, _SWAPPED = 1, 2, 8, 32, 64, 128

_COUNTS = (
    "Rss", "Pss", "Pss_Dirty", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty", "Referenced",
    "Anonymous", "KSM", "LazyFree", "AnonHugePages", "ShmemPmdMapped", "FilePmdMapped", "Shared_Hugetlb",
    "Private_Hugetlb", "Swap", "SwapPss", "Locked",
)  # fmt: skip
_ROLLUP_COUNTS = (*_COUNTS[:3], "Pss_Anon", "Pss_File", "Pss_Shmem", *_COUNTS[3:])

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


def smaps(reader: Task, task: Task) -> bytes:
    """/proc/<pid>/smaps: each mapping with its figures."""
    check_access(reader, task)
    if task.mm is None:
        return b""
    out = []
    mappers = MapCounts(task.mm.memory)
    for vma in task.mm.vma_rows():
        out.append(maps_line(vma))
        size_kb = (vma.end - vma.start) // 1024
        page_kb = 2048 if vma.flags & layout.VM_HUGETLB else PAGE_KB
        lines = [_kb("Size", size_kb), _kb("KernelPageSize", page_kb), _kb("MMUPageSize", page_kb)]
        counts = count_pages(task.mm, vma, mappers)
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
    first = -(-vma.start // PMD_SIZE) * PMD_SIZE
    fits = first + PMD_SIZE <= vma.end and vma.file is None and not vma.shared and not vma.flags & layout.VM_HUGETLB
    return int(bool(wanted) and fits and not mm.thp_disabled and not vma.flags & layout.VM_NOHUGEPAGE)


def smaps_rollup(reader: Task, task: Task) -> bytes:
    """/proc/<pid>/smaps_rollup: the figures of all mappings added up."""
    check_access(reader, task)
    if task.mm is None:
        raise Errno(ESRCH)
    total: dict[str, float] = dict.fromkeys(_ROLLUP_COUNTS, 0)
    rows, mappers = task.mm.vma_rows(), MapCounts(task.mm.memory)
    for vma in rows:
        for name, value in count_pages(task.mm, vma, mappers).items():
            total[name] = total.get(name, 0) + value
    start, end = (rows[0].start, rows[-1].end) if rows else (0, 0)
    head = f"{start:08x}-{end:08x} ---p 00000000 00:00 0 ".encode().ljust(PATH_COLUMN) + b"[rollup]\n"
    return head + ("\n".join(_kb(name, total[name]) for name in _ROLLUP_COUNTS) + "\n").encode()


def count_pages(mm: AddressSpace, vma: Vma, counts: MapCounts) -> dict[str, float]:
    """The figures of one mapping in kB; of a page that n address spaces map, Pss counts one n-th."""
    parts = [_pages(mm, vma, counts, base, entry) for base, entry in counts.tables(mm, vma.start, vma.end)]
    pages, mappers = (np.concatenate(column) for column in zip(_NO_PAGES, *parts, strict=True))
    swapped = pages & _SWAPPED != 0
    present = (pages & _PRESENT != 0) & (pages & _ZERO_PAGE == 0)
    shared = mappers > 1

    def kb(chosen: np.ndarray) -> int:
        return int(np.count_nonzero(chosen)) * PAGE_KB

    def part_kb(chosen: np.ndarray) -> float:
        return int(((PAGE_KB << _PSS_SHIFT) // mappers[chosen].astype(np.int64)).sum()) / (1 << _PSS_SHIFT)

    if vma.flags & layout.VM_HUGETLB:
        return {"Shared_Hugetlb": kb(present & shared), "Private_Hugetlb": kb(present & ~shared)}
    anon = present & (pages & _ANON != 0)
    dirty = anon | present & (pages & _DIRTY != 0)
    file_kind = "Pss_Shmem" if vma.name.startswith((b"/dev/shm/", b"/memfd:", b"/dev/zero", b"/SYSV")) else "Pss_File"
    return {
        "Rss": kb(present),
        "Pss": part_kb(present),
        "Pss_Dirty": part_kb(dirty),
        "Pss_Anon": part_kb(anon),
        file_kind: part_kb(present & ~anon),
        "Shared_Clean": kb(present & shared & ~dirty),
        "Shared_Dirty": kb(shared & dirty),
        "Private_Clean": kb(present & ~shared & ~dirty),
        "Private_Dirty": kb(~shared & dirty),
        "Referenced": kb(present),
        "Anonymous": kb(anon),
        "AnonHugePages": kb(present & (pages & _LEAF != 0)),
        "Swap": kb(swapped),
        "SwapPss": part_kb(swapped),
        "Locked": part_kb(present) if vma.flags & layout.VM_LOCKED else 0,
    }


def _pages(mm: AddressSpace, vma: Vma, counts: MapCounts, base: int, entry: int) -> tuple[np.ndarray, np.ndarray]:
    """The bytes (resident_pages) and the mappers of the pages of a mapping behind one PMD entry."""
    start, end = max(base, vma.start), min(base + PMD_SIZE, vma.end)
    return (mm.page_bytes(start, end),
            counts.mappers(entry, start - base >> PAGE_SHIFT, end - base >> PAGE_SHIFT))


def _kb(name: str, value: float) -> str:
    return f"{name + ':':<16}{int(value):8} kB"
