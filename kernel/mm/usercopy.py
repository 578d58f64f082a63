"""The kernel's access to user memory: walks and faults as the CPU does. Linux: copy_to_user and its kin.

Compiled loops copy page by page between guest memory and a host buffer; where a page needs Python (a file page that is
not cached) or is not accessible they stop and say why in K_COPY_CODE.
"""

from __future__ import annotations

from emu.hooks import mark_stale
from emu.layout import ACCESS_READ, ACCESS_WRITE, M_FLUSH, M_RAM
from emu.native import copy_bytes, export, hot, load8, load64, store8, store64
from emu.paging import PAGE_SHIFT, PAGE_SIZE, PTE_A, PTE_D, PTE_U, frame_behind, walk_from
from kernel.mm.entries import set_shared_entry
from kernel.mm.fault import handle_fault
from kernel.mm.layout import FAULT_DONE, FAULT_MAPERR, FAULT_RESTART, K_COPY_CODE, K_COPY_VA, MM_ROOT, PTE_GUARD


@hot
def _translate(m: int, mm: int, va: int, access: int) -> int:
    """Guest-physical address for an access that the tables allow as they stand, or -1."""
    slot, writable = walk_from(m, load64(mm + MM_ROOT), va)
    if slot == 0:
        return -1
    pte = load64(slot)
    if pte & PTE_U == 0:
        return -1
    bits = pte | PTE_A
    if access == ACCESS_WRITE:
        if writable == 0:
            return -1
        bits |= PTE_D
    if bits != pte:
        set_shared_entry(m, slot, bits)
    return (frame_behind(pte, va) << PAGE_SHIFT) | (va & (PAGE_SIZE - 1))


@hot
def user_page(m: int, mm: int, va: int, access: int) -> int:
    """As _translate, faulting the page in; -1 with K_COPY_CODE and K_COPY_VA set when that is not possible here."""
    if va < 0 or va >= (1 << 47) - PAGE_SIZE:
        store64(m + K_COPY_CODE, FAULT_MAPERR)
        store64(m + K_COPY_VA, va)
        return -1
    physical = _translate(m, mm, va, access)
    while physical == -1:
        code = handle_fault(m, mm, va, access)
        if code > FAULT_RESTART:
            store64(m + K_COPY_CODE, code)
            store64(m + K_COPY_VA, va)
            return -1
        store64(m + M_FLUSH, 1)
        physical = _translate(m, mm, va, access)
    return physical


@export("i64(i64,i64,i64,i64,i64)")
def copy_from_user(m: int, mm: int, target: int, va: int, count: int) -> int:
    """Copy ``count`` bytes at guest ``va`` to the host address ``target``; returns how many were copied."""
    done = 0
    store64(m + K_COPY_CODE, FAULT_DONE)
    while done < count:
        physical = user_page(m, mm, va + done, ACCESS_READ)
        if physical == -1:
            return done
        size = min(count - done, PAGE_SIZE - (physical & (PAGE_SIZE - 1)))
        copy_bytes(target + done, load64(m + M_RAM) + physical, size)
        done += size
    return done


@export("i64(i64,i64,i64,i64,i64)")
def copy_to_user(m: int, mm: int, va: int, source: int, count: int) -> int:
    """Copy ``count`` bytes at the host address ``source`` to guest ``va``; returns how many were copied."""
    done = 0
    store64(m + K_COPY_CODE, FAULT_DONE)
    while done < count:
        physical = user_page(m, mm, va + done, ACCESS_WRITE)
        if physical == -1:
            return done
        size = min(count - done, PAGE_SIZE - (physical & (PAGE_SIZE - 1)))
        copy_bytes(load64(m + M_RAM) + physical, source + done, size)
        mark_stale(m, physical >> PAGE_SHIFT)
        done += size
    return done


@export("i64(i64,i64,i64,i64,i64)")
def string_from_user(m: int, mm: int, target: int, va: int, limit: int) -> int:
    """Copy a C string of at most ``limit`` bytes to ``target``: its length, ``limit`` when no NUL was found,
    or -1 - n when only n bytes were accessible."""
    done = 0
    store64(m + K_COPY_CODE, FAULT_DONE)
    while done < limit:
        physical = user_page(m, mm, va + done, ACCESS_READ)
        if physical == -1:
            return -1 - done
        source = load64(m + M_RAM) + physical
        size = min(limit - done, PAGE_SIZE - (physical & (PAGE_SIZE - 1)))
        for i in range(size):
            byte = load8(source + i)
            store8(target + done + i, byte)
            if byte == 0:
                return done + i
        done += size
    return limit


@export("i64(i64,i64,i64,i64)")
def populate_range(m: int, mm: int, start: int, end: int) -> int:
    """Fault in every page of [start, end) for reading, or for writing where ``start`` is odd (its low bit is dropped).

    Returns the first address that could not be faulted in (K_COPY_CODE says why), or ``end``.
    """
    access = ACCESS_WRITE if start & 1 else ACCESS_READ
    va = start & -PAGE_SIZE
    store64(m + K_COPY_CODE, FAULT_DONE)
    while va < end:
        if _translate(m, mm, va, access) == -1:
            code = handle_fault(m, mm, va, access)
            if code > FAULT_RESTART:
                store64(m + K_COPY_CODE, code)
                return va
        va += PAGE_SIZE
    store64(m + M_FLUSH, 1)
    return end


@export("i64(i64,i64,i64)")
def physical_address(m: int, mm: int, va: int) -> int:
    """Guest-physical address behind ``va`` without faulting, whatever the page allows; -1 when no page is there."""
    slot, _ = walk_from(m, load64(mm + MM_ROOT), va)
    if slot == 0 or load64(slot) & PTE_GUARD:
        return -1
    return (frame_behind(load64(slot), va) << PAGE_SHIFT) | (va & (PAGE_SIZE - 1))
