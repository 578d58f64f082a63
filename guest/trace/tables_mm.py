"""Names for memory: protections, mapping flags, advice (strace 6.1)."""

from __future__ import annotations

from guest.trace.tables import EnumTable, FlagTable

_MAP_TYPE = EnumTable(
    "MAP_???", {0: "MAP_FILE", 1: "MAP_SHARED", 2: "MAP_PRIVATE", 3: "MAP_SHARED_VALIDATE"}
)

_MEMPOLICY = EnumTable(
    None,
    {
        0: "MPOL_DEFAULT", 1: "MPOL_PREFERRED", 2: "MPOL_BIND", 3: "MPOL_INTERLEAVE", 4: "MPOL_LOCAL",
        5: "MPOL_PREFERRED_MANY",
    },
)

FLAGS: dict[str, FlagTable] = {
    "mempolicy_modes": FlagTable(
        "MPOL_???",
        [
            (0x8000, "MPOL_F_STATIC_NODES"), (0x4000, "MPOL_F_RELATIVE_NODES"), (0x2000, "MPOL_F_NUMA_BALANCING"),
        ],
        choice_mask=0x1fff,
        choice=_MEMPOLICY,
    ),
    "mempolicy_flags": FlagTable(
        "MPOL_???",
        [
            (1, "MPOL_F_NODE"), (2, "MPOL_F_ADDR"), (4, "MPOL_F_MEMS_ALLOWED"),
        ],
    ),
    "mbind_flags": FlagTable(
        "MPOL_???",
        [
            (1, "MPOL_MF_STRICT"), (2, "MPOL_MF_MOVE"), (4, "MPOL_MF_MOVE_ALL"),
        ],
    ),
    "mmap_prot": FlagTable(
        "PROT_???",
        [
            (1, "PROT_READ"), (2, "PROT_WRITE"), (4, "PROT_EXEC"), (8, "PROT_SEM"), (0x1000000, "PROT_GROWSDOWN"),
            (0x2000000, "PROT_GROWSUP"),
        ],
        zero="PROT_NONE",
    ),
    "mmap": FlagTable(
        "MAP_???",
        [
            (0x10, "MAP_FIXED"), (0x20, "MAP_ANONYMOUS"), (0x40, "MAP_32BIT"), (0x4000, "MAP_NORESERVE"),
            (0x8000, "MAP_POPULATE"), (0x10000, "MAP_NONBLOCK"), (0x100, "MAP_GROWSDOWN"), (0x800, "MAP_DENYWRITE"),
            (0x1000, "MAP_EXECUTABLE"), (0x2000, "MAP_LOCKED"), (0x20000, "MAP_STACK"), (0x40000, "MAP_HUGETLB"),
            (0x80000, "MAP_SYNC"), (0x100000, "MAP_FIXED_NOREPLACE"),
        ],
        choice_mask=0xf,
        choice=_MAP_TYPE,
        shift_field=(26, "MAP_HUGE_SHIFT"),
    ),
    "mremap": FlagTable(
        "MREMAP_???",
        [
            (1, "MREMAP_MAYMOVE"), (2, "MREMAP_FIXED"), (4, "MREMAP_DONTUNMAP"),
        ],
    ),
    "msync": FlagTable(
        "MS_???",
        [
            (4, "MS_SYNC"), (1, "MS_ASYNC"), (2, "MS_INVALIDATE"),
        ],
    ),
    "mlock2": FlagTable(
        "MLOCK_???",
        [
            (1, "MLOCK_ONFAULT"),
        ],
    ),
    "mlockall": FlagTable(
        "MCL_???",
        [
            (1, "MCL_CURRENT"), (2, "MCL_FUTURE"), (4, "MCL_ONFAULT"),
        ],
    ),
}

ENUMS: dict[str, EnumTable] = {
    "madvise": EnumTable(
        "MADV_???",
        {
            0: "MADV_NORMAL", 1: "MADV_RANDOM", 2: "MADV_SEQUENTIAL", 3: "MADV_WILLNEED", 4: "MADV_DONTNEED",
            8: "MADV_FREE", 9: "MADV_REMOVE", 10: "MADV_DONTFORK", 11: "MADV_DOFORK", 12: "MADV_MERGEABLE",
            13: "MADV_UNMERGEABLE", 14: "MADV_HUGEPAGE", 15: "MADV_NOHUGEPAGE", 16: "MADV_DONTDUMP",
            17: "MADV_DODUMP", 18: "MADV_WIPEONFORK", 19: "MADV_KEEPONFORK", 20: "MADV_COLD", 21: "MADV_PAGEOUT",
            22: "MADV_POPULATE_READ", 23: "MADV_POPULATE_WRITE", 24: "MADV_DONTNEED_LOCKED", 25: "MADV_COLLAPSE",
            100: "MADV_HWPOISON", 101: "MADV_SOFT_OFFLINE",
        },
    ),
    "membarrier": EnumTable(
        "MEMBARRIER_CMD_???",
        {
            0: "MEMBARRIER_CMD_QUERY", 1: "MEMBARRIER_CMD_GLOBAL", 2: "MEMBARRIER_CMD_GLOBAL_EXPEDITED",
            4: "MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED", 8: "MEMBARRIER_CMD_PRIVATE_EXPEDITED",
            16: "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED", 32: "MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE",
            64: "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE", 128: "MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ",
            256: "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ",
        },
    ),
}
