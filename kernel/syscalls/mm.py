"""Memory calls: mmap, munmap, mprotect, mremap, brk, madvise, mincore, msync and the mlock family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.paging import PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, TASK_SIZE
from emu.words import U64
from kernel.errno import EAGAIN, EINVAL, ENOMEM, ENOSPC, EPERM, Errno
from kernel.mm import madvise as advice_of
from kernel.mm import mmap as maps
from kernel.mm import mremap as remaps
from kernel.mm.layout import FAULT_OOM, K_COPY_CODE, VM_EXEC, VM_LOCKED
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Enum, Fd, Flags, Hex, Int, Ptr, Size, Struct
from kernel.task import rlimit
from kernel.task.capability import CAP_IPC_LOCK, CAP_SYS_RAWIO
from kernel.task.rlimit import RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK

if TYPE_CHECKING:
    from kernel.task.task import Task

MS_ASYNC, MS_INVALIDATE, MS_SYNC = 1, 2, 4
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4
MLOCK_ONFAULT = 1


@syscall(9, "mmap", addr=Ptr, length=Size, prot=Flags("mmap_prot"), flags=Flags("mmap_flags"), fd=Fd, offset=Hex,
         returns=Hex)
def mmap(task: Task, addr: int, length: int, prot: int, flags: int, fd: int, offset: int) -> int:
    if offset & ~PAGE_MASK:
        raise Errno(EINVAL)
    file = None
    if not flags & maps.MAP_ANONYMOUS:
        file = task.files.get(fd)
    fixed = flags & (maps.MAP_FIXED | maps.MAP_FIXED_NOREPLACE)
    aligned = length and not addr & ~PAGE_MASK  # else it is EINVAL, whoever asks
    if fixed and aligned and addr < maps.MIN_ADDRESS and not task.cred.capable(CAP_SYS_RAWIO):
        raise Errno(EPERM)
    size = maps.page_align(length)
    if length:
        data = prot & maps.PROT_WRITE and flags & maps.MAP_TYPE == maps.MAP_PRIVATE and not flags & maps.MAP_GROWSDOWN
        gone = task.mm.vmas.overlapping(addr, addr + size) if fixed else []
        mapped = sum(min(row.end, addr + size) - max(row.start, addr) for row in gone)
        if not _may_expand(task, size - mapped, bool(data)):
            raise Errno(ENOMEM)
    if flags & maps.MAP_LOCKED or task.mm.default_flags & VM_LOCKED:
        _check_lock_limit(task, size, EAGAIN)
    if prot & maps.PROT_EXEC:
        task.mm.code_segments = None
    return task.mm.mmap(addr, length, prot, flags, file, offset)


@syscall(11, "munmap", addr=Ptr, length=Size)
def munmap(task: Task, addr: int, length: int) -> None:
    task.mm.munmap(addr, length)


@syscall(10, "mprotect", addr=Ptr, length=Size, prot=Flags("mmap_prot"))
def mprotect(task: Task, addr: int, length: int, prot: int) -> None:
    if prot & maps.PROT_EXEC:
        task.mm.code_segments = None
    task.mm.mprotect(addr, length, prot)


@syscall(329, "pkey_mprotect", addr=Ptr, length=Size, prot=Flags("mmap_prot"), pkey=Int)
def pkey_mprotect(task: Task, addr: int, length: int, prot: int, pkey: int) -> None:
    # The engine's CPU has no protection keys: only the default key -1 can be meant.
    if pkey != -1:
        raise Errno(EINVAL)
    mprotect(task, addr, length, prot)


@syscall(330, "pkey_alloc", flags=Hex, rights=Hex)
def pkey_alloc(task: Task, flags: int, rights: int) -> None:
    raise Errno(EINVAL if flags or rights & ~3 else ENOSPC)


@syscall(331, "pkey_free", pkey=Int)
def pkey_free(task: Task, pkey: int) -> None:
    raise Errno(EINVAL)


@syscall(12, "brk", addr=Ptr, returns=Hex)
def brk(task: Task, addr: int) -> int:
    mm = task.mm
    if addr > mm.brk:
        grown = maps.page_align(addr) - maps.page_align(mm.brk)
        if not _may_expand(task, grown, data=True):
            return mm.brk
    return maps.brk(mm, addr, rlimit.get(task, RLIMIT_DATA))


@syscall(25, "mremap", old=Ptr, old_size=Size, new_size=Size, flags=Flags("mremap_flags"), new=Ptr, returns=Hex)
def mremap(task: Task, old: int, old_size: int, new_size: int, flags: int, new: int) -> int:
    locked = 1 << 63 if task.cred.capable(CAP_IPC_LOCK) else rlimit.get(task, RLIMIT_MEMLOCK)
    row = task.mm.vmas.find(old) if old < TASK_SIZE else None
    if row is not None and row.flags & VM_EXEC:
        task.mm.code_segments = None
    return remaps.mremap(task.mm, old, old_size, new_size, flags, new, locked, rlimit.get(task, RLIMIT_AS))


@syscall(28, "madvise", addr=Ptr, length=Size, advice=Enum("madvise"))
def madvise(task: Task, addr: int, length: int, advice: int) -> None:
    advice_of.madvise(task.mm, addr, length, advice)


@syscall(27, "mincore", addr=Ptr, length=Size, vec=Struct("mincore_vec", "out"))
def mincore(task: Task, addr: int, length: int, vec: int) -> None:
    if addr & ~PAGE_MASK:
        raise Errno(EINVAL)
    if addr + length > TASK_SIZE:
        raise Errno(ENOMEM)
    task.mm.write(vec, advice_of.mincore(task.mm, addr, length))


@syscall(26, "msync", addr=Ptr, length=Size, flags=Flags("msync_flags"))
def msync(task: Task, addr: int, length: int, flags: int) -> None:
    if flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC) or addr & ~PAGE_MASK:
        raise Errno(EINVAL)
    if flags & MS_ASYNC and flags & MS_SYNC:
        raise Errno(EINVAL)
    end = addr + maps.page_align(length)
    if end > U64:
        raise Errno(ENOMEM)
    if end != addr:
        if addr >= TASK_SIZE:
            raise Errno(ENOMEM)
        maps.msync(task.mm, addr, min(end, TASK_SIZE + PAGE_SIZE), bool(flags & MS_SYNC), bool(flags & MS_INVALIDATE))


def _may_expand(task: Task, size: int, data: bool) -> bool:
    """RLIMIT_AS lets ``size`` more bytes be mapped, and RLIMIT_DATA as private writable ones (may_expand_vm)."""
    mm = task.mm
    if (mm.total_vm << PAGE_SHIFT) + size > rlimit.get(task, RLIMIT_AS):
        return False
    soft, hard = task.group.rlimits[RLIMIT_DATA]
    if not data or soft == rlimit.RLIM_INFINITY:
        return True
    now = (mm.stats().data_vm << PAGE_SHIFT) + size
    return now <= soft or (soft == 0 and now <= hard)


def _check_lock_limit(task: Task, size: int, code: int) -> None:
    """can_do_mlock and the limit: ``code`` when RLIMIT_MEMLOCK would be passed, EPERM when it is 0."""
    if task.cred.capable(CAP_IPC_LOCK):
        return
    limit = rlimit.get(task, RLIMIT_MEMLOCK)
    if limit == 0:
        raise Errno(EPERM)
    if (task.mm.stats().locked_vm << PAGE_SHIFT) + size > limit:
        raise Errno(code)


def _range(addr: int, length: int) -> tuple[int, int]:
    start = addr & PAGE_MASK
    end = start + maps.page_align((length + (addr & ~PAGE_MASK)) & U64)
    if end > U64:
        raise Errno(EINVAL)
    return start, end


@syscall(149, "mlock", addr=Ptr, length=Size)
def mlock(task: Task, addr: int, length: int) -> None:
    _mlock(task, addr, length, True)


@syscall(325, "mlock2", addr=Ptr, length=Size, flags=Flags("mlock_flags"))
def mlock2(task: Task, addr: int, length: int, flags: int) -> None:
    if flags & ~MLOCK_ONFAULT:
        raise Errno(EINVAL)
    _mlock(task, addr, length, not flags & MLOCK_ONFAULT)


def _mlock(task: Task, addr: int, length: int, populate: bool) -> None:
    mm = task.mm
    start, end = _range(addr, length)
    already = sum(min(row.end, end) - max(row.start, start)
                  for row in mm.vmas.overlapping(start, min(end, TASK_SIZE)) if row.flags & VM_LOCKED)
    _check_lock_limit(task, end - start - already, ENOMEM)
    if start == end:
        return
    if start >= TASK_SIZE:
        raise Errno(ENOMEM)
    maps.set_lock(mm, start, end, True)
    if populate and maps.populate(mm, start, end) != end:
        # __mlock_posix_error_return: no memory is EAGAIN, a page that cannot be had ENOMEM.
        raise Errno(EAGAIN if mm.memory.memory.get(K_COPY_CODE) == FAULT_OOM else ENOMEM)


@syscall(150, "munlock", addr=Ptr, length=Size)
def munlock(task: Task, addr: int, length: int) -> None:
    start, end = _range(addr, length)
    if start != end:
        if start >= TASK_SIZE:
            raise Errno(ENOMEM)
        maps.set_lock(task.mm, start, end, False)


@syscall(151, "mlockall", flags=Flags("mlockall_flags"))
def mlockall(task: Task, flags: int) -> None:
    if not flags or flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) or flags == MCL_ONFAULT:
        raise Errno(EINVAL)
    mm = task.mm
    if flags & MCL_CURRENT:
        _check_lock_limit(task, (mm.total_vm - mm.stats().locked_vm) << PAGE_SHIFT, ENOMEM)
    else:
        _check_lock_limit(task, 0, ENOMEM)
    mm.default_flags = VM_LOCKED if flags & MCL_FUTURE else 0
    if flags & MCL_CURRENT:
        for row in list(mm.vmas):
            maps.set_lock(mm, row.start, row.end, True)
            if not flags & MCL_ONFAULT:
                maps.populate(mm, row.start, row.end)


@syscall(152, "munlockall")
def munlockall(task: Task) -> None:
    mm = task.mm
    mm.default_flags = 0
    for row in list(mm.vmas):
        maps.set_lock(mm, row.start, row.end, False)
