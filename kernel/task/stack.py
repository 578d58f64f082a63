"""The stack that a new program starts with: argc, argv, envp, the auxiliary vector and the strings they point at.

::

    stack top   8 zero bytes, AT_EXECFN's string, environment strings, argument strings
                (up to 8 KiB of random offset)
                "x86_64", 16 random bytes, auxv, NULL, envp[], NULL, argv[]
    rsp →       argc                                            a multiple of 16

Linux: fs/exec.c (setup_arg_pages), fs/binfmt_elf.c (create_elf_tables), arch/x86/mm/mmap.c.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kernel.errno import EFAULT, Errno
from kernel.task.elf import PAGE_MASK, PAGE_SIZE, PHDR_SIZE, TASK_SIZE, page_align

if TYPE_CHECKING:
    from kernel.mm.address_space import AddressSpace
    from kernel.random import Random
    from kernel.task.cred import Credentials
    from kernel.task.elf_load import Image

STACK_TOP = TASK_SIZE
STACK_RND_PAGES = 1 << 22
MMAP_RND_PAGES = 1 << 28
STACK_GUARD_GAP = 256 * PAGE_SIZE
STACK_EXPAND = 128 << 10
MIN_GAP = 128 << 20
MAX_GAP = TASK_SIZE // 6 * 5

PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_GROWSDOWN, MAP_STACK = 0x02, 0x10, 0x20, 0x100, 0x20000

AT_NULL, AT_PHDR, AT_PHENT, AT_PHNUM, AT_PAGESZ, AT_BASE, AT_FLAGS, AT_ENTRY = 0, 3, 4, 5, 6, 7, 8, 9
AT_UID, AT_EUID, AT_GID, AT_EGID, AT_PLATFORM, AT_HWCAP, AT_CLKTCK = 11, 12, 13, 14, 15, 16, 17
AT_SECURE, AT_RANDOM, AT_HWCAP2, AT_EXECFN = 23, 25, 26, 31

HWCAP = 0x078BFBFD
"""CPUID leaf 1 EDX as the engine's CPU gives it (a test asks the engine)."""
HWCAP2 = 0
PLATFORM = b"x86_64\0"
CLOCK_TICKS_PER_S = 100


class CodeSlide:
    """How far programs and libraries are moved, in bytes: chosen once a run, not once an execve as on Linux.

    The engine keeps translated code by its virtual address: with the same addresses in every process a library is
    translated once, and a dynamic program starts five times faster.
    """

    def __init__(self, random: Random) -> None:
        self.mmap = random.below(MMAP_RND_PAGES) * PAGE_SIZE
        self.program = random.below(MMAP_RND_PAGES) * PAGE_SIZE


class Layout:
    """The random choices of one execve; all zero without ASLR. Offsets in bytes."""

    def __init__(self, random: Random | None, slide: CodeSlide) -> None:
        def below(limit: int) -> int:
            return random.below(limit) if random is not None else 0

        self.mmap = slide.mmap if random is not None else 0
        self.program = slide.program if random is not None else 0
        self.stack_top = page_align((STACK_TOP - below(STACK_RND_PAGES) * PAGE_SIZE - below(8192)) & ~15)
        self.stack_gap = below(8192)
        self.brk_pages = below((1 << 30) // PAGE_SIZE)
        self.stack_max_random = STACK_RND_PAGES * PAGE_SIZE if random is not None else 0

    def mmap_base(self, stack_limit: int) -> int:
        """Where mmap starts its search downwards, below the room for the stack (arch_pick_mmap_layout)."""
        gap = stack_limit + self.stack_max_random + STACK_GUARD_GAP
        gap = min(max(gap, MIN_GAP), MAX_GAP)
        return page_align(TASK_SIZE - gap - self.mmap)


def build(mm: AddressSpace, layout: Layout, stack_limit: int, argv: list[bytes], envp: list[bytes], filename: bytes,
          image: Image, phnum: int, cred: Credentials, random_bytes: bytes, executable: bool) -> int:
    """Map the stack and fill it; sets the argument fields of ``mm`` and returns the stack pointer.

    Raises:
        Errno: EFAULT when RLIMIT_STACK leaves no room; what mmap raises.
    """
    arguments = b"".join(s + b"\0" for s in argv)
    environment = b"".join(s + b"\0" for s in envp)
    top = layout.stack_top
    filename_address = top - 8 - len(filename) - 1
    env_start = filename_address - len(environment)
    arg_start = env_start - len(arguments)

    position = (arg_start - layout.stack_gap) & ~15
    position -= len(PLATFORM)
    platform_address = position
    position -= len(random_bytes)
    random_address = position
    auxv = struct.pack(
        "<38Q",
        AT_HWCAP, HWCAP, AT_PAGESZ, PAGE_SIZE, AT_CLKTCK, CLOCK_TICKS_PER_S,
        AT_PHDR, image.phdr_address, AT_PHENT, PHDR_SIZE, AT_PHNUM, phnum,
        AT_BASE, image.interpreter_base, AT_FLAGS, 0, AT_ENTRY, image.program_entry,
        AT_UID, cred.uid, AT_EUID, cred.euid, AT_GID, cred.gid, AT_EGID, cred.egid,
        AT_SECURE, int(cred.uid != cred.euid or cred.gid != cred.egid),
        AT_RANDOM, random_address, AT_HWCAP2, HWCAP2, AT_EXECFN, filename_address, AT_PLATFORM, platform_address,
        AT_NULL, 0,
    )
    words = [len(argv), *_addresses(arg_start, argv), 0, *_addresses(env_start, envp), 0]
    rsp = (position - len(auxv) - 8 * len(words)) & ~15
    low = struct.pack(f"<{len(words)}Q", *words) + auxv
    low = low.ljust(random_address - rsp, b"\0") + random_bytes + PLATFORM

    _map_stack(mm, top, arg_start, rsp, stack_limit, executable)
    mm.write(rsp, low)
    mm.write(arg_start, arguments + environment + filename + b"\0")
    mm.start_stack = rsp
    mm.arg_start, mm.arg_end = arg_start, env_start
    mm.env_start, mm.env_end = env_start, filename_address
    mm.auxv = auxv
    return rsp


def _map_stack(mm: AddressSpace, top: int, strings: int, rsp: int, stack_limit: int, executable: bool) -> None:
    """Map what the strings take and 128 KiB more, as far as RLIMIT_STACK allows (setup_arg_pages)."""
    stack_limit &= PAGE_MASK
    base = strings & PAGE_MASK
    base = top - stack_limit if top - base + STACK_EXPAND > stack_limit else base - STACK_EXPAND
    base = min(base, rsp & PAGE_MASK)
    if top - base > stack_limit:
        raise Errno(EFAULT)
    prot = PROT_READ | PROT_WRITE | (PROT_EXEC if executable else 0)
    mm.mmap(base, top - base, prot, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_STACK, None, 0)


def _addresses(start: int, strings: list[bytes]) -> list[int]:
    """Where each string begins when they lie one after the other from ``start``."""
    addresses = []
    for string in strings:
        addresses.append(start)
        start += len(string) + 1
    return addresses
