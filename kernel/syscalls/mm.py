"""Memory calls: mmap, munmap, mprotect, mremap, brk, madvise, mincore, msync and the mlock family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.paging import PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, TASK_SIZE
from emu.words import U64
from kernel.errno import EAGAIN, EINVAL, ENOMEM, ENOSPC, EPERM, Errno
from kernel.mm import limits
from kernel.mm import madvise as advice_of
from kernel.mm import mmap as maps
from kernel.mm import mremap as remaps
from kernel.mm.layout import FAULT_OOM, K_COPY_CODE, VM_EXEC, VM_GROWSDOWN, VM_LOCKED, VM_LOCKED_MASK, VM_SHARED
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Enum, Fd, Flags, Hex, Int, Ptr, Size, Struct
from kernel.task import rlimit
from kernel.task.capability import CAP_IPC_LOCK, CAP_SYS_RAWIO
from kernel.task.rlimit import RLIMIT_MEMLOCK

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
        kind = VM_SHARED if flags & maps.MAP_TYPE in (maps.MAP_SHARED, maps.MAP_SHARED_VALIDATE) else 0
        kind |= (prot & maps.PROT_WRITE) | (VM_GROWSDOWN if flags & maps.MAP_GROWSDOWN else 0)
        gone = task.mm.vmas.overlapping(addr, addr + size) if fixed else []
        mapped = sum(min(row.end, addr + size) - max(row.start, addr) for row in gone)
        if not limits.may_expand(task.mm, kind, size - mapped):
            raise Errno(ENOMEM)
    if flags & maps.MAP_LOCKED:
        _check_lock_limit(task, size, EAGAIN)
    elif not limits.may_lock(task.mm, task.mm.default_flags, size):
        raise Errno(EAGAIN)
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
    return maps.brk(task.mm, addr)


@syscall(25, "mremap", old=Ptr, old_size=Size, new_size=Size, flags=Flags("mremap_flags"), new=Ptr, returns=Hex)
def mremap(task: Task, old: int, old_size: int, new_size: int, flags: int, new: int) -> int:
    row = task.mm.vmas.find(old) if old < TASK_SIZE else None
    if row is not None and row.flags & VM_EXEC:
        task.mm.code_segments = None
    return remaps.mremap(task.mm, old, old_size, new_size, flags, new)


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
    _mlock(task, addr, length, VM_LOCKED)


@syscall(325, "mlock2", addr=Ptr, length=Size, flags=Flags("mlock_flags"))
def mlock2(task: Task, addr: int, length: int, flags: int) -> None:
    if flags & ~MLOCK_ONFAULT:
        raise Errno(EINVAL)
    _mlock(task, addr, length, VM_LOCKED_MASK if flags & MLOCK_ONFAULT else VM_LOCKED)


def _mlock(task: Task, addr: int, length: int, locked: int) -> None:
    mm = task.mm
    start, end = _range(addr, length)
    already = sum(min(row.end, end) - max(row.start, start)
                  for row in mm.vmas.overlapping(start, min(end, TASK_SIZE)) if row.flags & VM_LOCKED)
    _check_lock_limit(task, end - start - already, ENOMEM)
    if start == end:
        return
    if start >= TASK_SIZE:
        raise Errno(ENOMEM)
    maps.set_lock(mm, start, end, locked)
    if maps.populate(mm, start, end) != end:
        # __mlock_posix_error_return: no memory is EAGAIN, a page that cannot be had ENOMEM.
        raise Errno(EAGAIN if mm.memory.memory.get(K_COPY_CODE) == FAULT_OOM else ENOMEM)


@syscall(150, "munlock", addr=Ptr, length=Size)
def munlock(task: Task, addr: int, length: int) -> None:
    start, end = _range(addr, length)
    if start != end:
        if start >= TASK_SIZE:
            raise Errno(ENOMEM)
        maps.set_lock(task.mm, start, end, 0)


@syscall(151, "mlockall", flags=Flags("mlockall_flags"))
def mlockall(task: Task, flags: int) -> None:
    if not flags or flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) or flags == MCL_ONFAULT:
        raise Errno(EINVAL)
    mm = task.mm
    if flags & MCL_CURRENT:
        _check_lock_limit(task, (mm.total_vm - mm.stats().locked_vm) << PAGE_SHIFT, ENOMEM)
    else:
        _check_lock_limit(task, 0, ENOMEM)
    locked = VM_LOCKED_MASK if flags & MCL_ONFAULT else VM_LOCKED
    mm.default_flags = locked if flags & MCL_FUTURE else 0
    if flags & MCL_CURRENT:
        for row in list(mm.vmas):
            maps.set_lock(mm, row.start, row.end, locked)
            maps.populate(mm, row.start, row.end)


@syscall(152, "munlockall")
def munlockall(task: Task) -> None:
    mm = task.mm
    mm.default_flags = 0
    for row in list(mm.vmas):
        maps.set_lock(mm, row.start, row.end, 0)
