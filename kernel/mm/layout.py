"""The kernel's part of the machine block, and the rows that compiled and ordinary code share.

Everything is a signed 64-bit slot unless said otherwise. ``m`` is the machine block's address, ``mm`` the address of an
address space's own block, ``vma`` the address of one row of its VMA array.
"""

from __future__ import annotations

from emu.layout import M_KERNEL

# -- the kernel's slots of the machine block -------------------------------------------------------------------------
#: Per frame: references (int32) and kind (uint8), see FRAME_*.
K_REFS, K_KIND = M_KERNEL + 0 * 8, M_KERNEL + 1 * 8
#: Per PTE table, indexed by its frame: eight int16, see TC_*. Per 2 MiB page, indexed by its first frame: LEAF_REFS.
K_COUNTS = M_KERNEL + 2 * 8
#: Stack of freed frames (int32), how many are on it; the first frame never used, and the number of frames.
K_FREE, K_FREE_COUNT, K_FRESH, K_LIMIT = (M_KERNEL + n * 8 for n in range(3, 7))
#: Fault injection: the n-th allocation from now fails (0: off); counts down.
K_FAIL_AT = M_KERNEL + 7 * 8
#: The block of the address space that the CPU uses.
K_MM = M_KERNEL + 8 * 8
#: The table of mappings (rows of MP_BYTES).
K_MAPPINGS = M_KERNEL + 9 * 8
#: The frame of zeros that every untouched private page reads from.
K_ZERO = M_KERNEL + 10 * 8
#: Why a user copy stopped early (a FAULT_* code) and at which address.
K_COPY_CODE, K_COPY_VA = M_KERNEL + 11 * 8, M_KERNEL + 12 * 8
#: Work done, for benchmarks and tests: entries visited by fork, tables shared, tables copied, tables made writable
#: again in place, pages copied, pages zeroed.
K_FORK_ENTRIES, K_TABLES_SHARED, K_TABLES_COPIED, K_TABLES_REARMED, K_PAGES_COPIED, K_PAGES_ZEROED = (
    M_KERNEL + n * 8 for n in range(13, 19))
#: Fresh frames that are kept for PTE tables, whose counts then lie side by side: the next one, and behind the last.
K_TABLE_NEXT, K_TABLE_END = M_KERNEL + 46 * 8, M_KERNEL + 47 * 8
#: Frames in use (allocated and not freed).
K_USED = M_KERNEL + 19 * 8
#: Per PMD table, indexed by its frame: eight int32, see PC_*.
K_PMD_COUNTS = M_KERNEL + 20 * 8
#: PMD tables copied because they were shared (fork at level 2).
K_PMDS_COPIED = M_KERNEL + 21 * 8
#: 2 MiB pages that are free as a whole: a stack of first frames (int32), and how many are on it.
K_HUGE_FREE, K_HUGE_FREE_COUNT = M_KERNEL + 22 * 8, M_KERNEL + 23 * 8
#: The pool of MAP_HUGETLB pages: a stack of first frames (int32), how many are on it, how many of them are promised.
K_POOL, K_POOL_FREE, K_POOL_RESERVED = (M_KERNEL + n * 8 for n in range(24, 27))
#: 2 MiB leaves split into tables; leaves filled by faults.
K_LEAVES_SPLIT, K_LEAVES_FILLED = M_KERNEL + 27 * 8, M_KERNEL + 28 * 8
#: Who gets 2 MiB pages without the pool: nobody, VM_HUGEPAGE mappings, all but VM_NOHUGEPAGE ones (THP_*).
K_THP = M_KERNEL + 45 * 8
#: The blocks of all live address spaces (int64), and how many there are.
K_SPACES, K_SPACE_COUNT = M_KERNEL + 29 * 8, M_KERNEL + 30 * 8
#: The swap area: host address of its first page, its number of slots (0: none; slot 0 is never used).
K_SWAP, K_SWAP_SLOTS = M_KERNEL + 31 * 8, M_KERNEL + 32 * 8
#: Per slot: tables that hold an entry for it, and the frame that has the same bytes (the swap cache; 0: none), int32.
K_SWAP_REFS, K_SWAP_CACHE = M_KERNEL + 33 * 8, M_KERNEL + 34 * 8
#: Per frame: its slot while it is in the swap cache (int32).
K_FRAME_SLOT = M_KERNEL + 35 * 8
#: Stack of freed slots (int32), how many are on it, the first slot never used, slots in use.
K_SWAP_FREE, K_SWAP_FREE_COUNT, K_SWAP_FRESH, K_SWAP_USED = (M_KERNEL + n * 8 for n in range(36, 40))
#: Set in an entry that is not present: bits 12… name the slot that holds its page.
PTE_SWAP = 1 << 9
#: Set in an entry that maps the frame of zeros for nobody: whoever comes there gets SIGSEGV (MADV_GUARD_INSTALL). All
#: that copies, moves and drops entries treats it as the untouched page that it replaces.
PTE_GUARD = 1 << 10
#: Pages written to and read from the swap area.
K_SWAP_OUTS, K_SWAP_INS = M_KERNEL + 40 * 8, M_KERNEL + 41 * 8
#: The scan's round, and a stamp that tells PMD tables apart that several address spaces point at.
K_SCAN_ROUND, K_STAMP = M_KERNEL + 43 * 8, M_KERNEL + 44 * 8
#: The entry whose table had sharers when it was stored to (0: none, as it must be): see entries.py.
K_WRONG_STORE = M_KERNEL + 42 * 8
#: The checker's notes on PTE tables, DIGEST_BYTES a frame (0: nobody checks).
K_DIGESTS = M_KERNEL + 48 * 8
#: Not 0: no stack grows before Python has allowed it (promises are counted).
K_STACKS_ASK = M_KERNEL + 49 * 8
DIGEST_BYTES = 16

# -- kinds of frames -------------------------------------------------------------------------------------------------
(FRAME_FREE, FRAME_ANON, FRAME_FILE, FRAME_SHMEM, SWAPPED, FRAME_PTE_TABLE, FRAME_UPPER_TABLE, FRAME_RESERVED,
 FRAME_HUGETLB) = range(9)
"""What a frame is; SWAPPED is no frame's kind but that of an entry whose page is in the swap area."""
#: Set in the kind of each of the 512 frames of a 2 MiB page that some leaf maps.
FRAME_HUGE = 0x80
#: Set in the kind of a free frame that the host has zeroed.
FRAME_ZEROED = 0x20
#: Set in the kind of a cache frame that was stored to through a mapping since the last write-back.
FRAME_DIRTY = 0x40
FRAME_KIND = 0x0F

THP_NEVER, THP_MADVISE, THP_ALWAYS = range(3)

# -- counters --------------------------------------------------------------------------------------------------------
# Byte offsets in a table's row (int16): pages by kind in columns FRAME_ANON … SWAPPED, entries that are not zero, the
# scan's last round.
TC_BYTES, TC_ENTRIES, TC_ROUND = 16, 8, 10
#: Instead, for the first frame of a 2 MiB page (int32): the PMD entries, of distinct PMD tables, that map it whole.
LEAF_REFS = 0
# Byte offsets in a PMD table's row (int32): pages by kind below it as above, PTE tables, 2 MiB leaves, and a stamp.
PC_BYTES, PC_TABLES, PC_LEAVES, PC_STAMP = 32, 16, 20, 24

# -- an address space ------------------------------------------------------------------------------------------------
#: Physical address of the PML4; address of the VMA array and the number of its rows.
MM_ROOT, MM_VMAS, MM_VMA_COUNT = 0 * 8, 1 * 8, 2 * 8
#: Resident pages by kind, as /proc shows them.
MM_ANON, MM_FILE, MM_SHMEM = 3 * 8, 4 * 8, 5 * 8
#: Pages in the swap area.
MM_SWAP = 6 * 8
#: PTE tables that this address space points at (shared ones counted in full), 2 MiB leaves, and its upper tables.
MM_PTES, MM_LEAVES, MM_UPPER = 7 * 8, 8 * 8, 9 * 8
#: RLIMIT_STACK in bytes.
MM_STACK_LIMIT = 10 * 8
#: Faults completed without and with I/O; pages by which stacks have grown since the last look.
MM_MINOR, MM_MAJOR, MM_STACK_GREW = 11 * 8, 12 * 8, 13 * 8
#: The highest value that the resident pages have had.
MM_PEAK = 14 * 8
#: Not 0: no 2 MiB pages but the pool's (PR_SET_THP_DISABLE).
MM_THP_DISABLED = 15 * 8
#: Not 0: stacks here do not grow before Python has allowed it (RLIMIT_AS); the address that it has allowed last.
MM_STACKS_ASK, MM_STACK_ALLOWED = 16 * 8, 17 * 8
MM_BYTES = 18 * 8

# -- a VMA row -------------------------------------------------------------------------------------------------------
#: First address, first address behind, VM_* flags, row of the mapping table (0: anonymous), file offset in bytes of
#: the first page, and a number that names it (0: none).
V_START, V_END, V_FLAGS, V_MAPPING, V_OFFSET, V_NAME = (n * 8 for n in range(6))
V_BYTES = 6 * 8

# include/linux/mm.h
VM_READ, VM_WRITE, VM_EXEC, VM_SHARED = 1, 2, 4, 8
VM_MAYREAD, VM_MAYWRITE, VM_MAYEXEC, VM_MAYSHARE = 0x10, 0x20, 0x40, 0x80
VM_GROWSDOWN = 0x100
VM_LOCKED = 0x2000
VM_DONTCOPY = 0x20000
VM_DONTEXPAND = 0x40000
VM_LOCKONFAULT = 0x80000
VM_LOCKED_MASK = VM_LOCKED | VM_LOCKONFAULT
VM_ACCOUNT = 0x100000
VM_NORESERVE = 0x200000
VM_HUGETLB = 0x400000
VM_WIPEONFORK = 0x2000000
VM_DONTDUMP = 0x4000000
VM_HUGEPAGE = 0x20000000
VM_NOHUGEPAGE = 0x40000000
VM_MERGEABLE = 0x80000000
#: Ours: the pages of this MAP_HUGETLB mapping are promised by the pool (a child's are not).
VM_RESERVED = 1 << 40
#: Ours: this copy of a MAP_HUGETLB mapping has lost a page to the process with the promise, and gets no other
#: (HPAGE_RESV_UNMAPPED).
VM_TAKEN = 1 << 41
#: Ours: private pages were stored to, here or where this was cut off (Linux: the VMA has an anon_vma).
VM_STORED = 1 << 42
#: Ours: some entries may be guards (MADV_GUARD_INSTALL).
VM_GUARDED = 1 << 43
#: Ours, as the number is taken: MAP_DROPPABLE.
VM_DROPPABLE = 1 << 44
#: What does not keep two mappings apart that are alike otherwise.
VM_HISTORY = VM_STORED | VM_GUARDED
#: A stack keeps this distance from the mapping below it (stack_guard_gap, 256 pages).
STACK_GUARD_GAP = 256 << 12
#: No stack grows below this address (mmap_min_addr with CONFIG_LSM_MMAP_MIN_ADDR).
STACK_LOWEST = 0x10000

# -- a mapping row ---------------------------------------------------------------------------------------------------
#: Address of the int32 array of frames by page index, its length, the file's size in bytes, and MP_ZERO_FILL.
MP_PAGES, MP_CAPACITY, MP_SIZE, MP_FLAGS = 0 * 8, 1 * 8, 2 * 8, 3 * 8
MP_BYTES = 4 * 8
#: A page that the cache lacks is a new page of zeros (shared memory): compiled code may create it.
MP_ZERO_FILL = 1

# -- answers of the fault handler; 0 and 1 are emu.hooks.FAULT_DONE and FAULT_RESTART --------------------------------
FAULT_DONE, FAULT_RESTART = 0, 1
FAULT_MAPERR = 2
"""No mapping there: SIGSEGV with SEGV_MAPERR."""
FAULT_ACCERR = 3
"""The mapping forbids the access: SIGSEGV with SEGV_ACCERR."""
FAULT_BUS = 4
"""Behind the end of the mapped file: SIGBUS with BUS_ADRERR."""
FAULT_CACHE = 5
"""The page cache lacks the page: Python reads it and tries again."""
FAULT_OOM = 6
"""No frame is left."""
FAULT_STACK = 7
"""A stack has to grow, and Python to say whether it may."""
