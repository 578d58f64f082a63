"""Names for files: open and lookup flags, poll masks, file types, file systems (strace 6.1)."""

from __future__ import annotations

from guest.trace.tables import EnumTable, FlagTable

_ACCESS_MODE = EnumTable(None, {0: "O_RDONLY", 1: "O_WRONLY", 2: "O_RDWR", 3: "O_ACCMODE"})

_STATX_SYNC = EnumTable(
    None,
    {
        0: "AT_STATX_SYNC_AS_STAT", 0x2000: "AT_STATX_FORCE_SYNC", 0x4000: "AT_STATX_DONT_SYNC",
        0x6000: "AT_STATX_FORCE_SYNC|AT_STATX_DONT_SYNC",
    },
)

_OPEN_BITS = [
    (0x40, "O_CREAT"), (0x80, "O_EXCL"), (0x100, "O_NOCTTY"), (0x200, "O_TRUNC"), (0x400, "O_APPEND"),
    (0x800, "O_NONBLOCK"), (0x101000, "O_SYNC"), (0x1000, "O_DSYNC"), (0x100000, "__O_SYNC"),
    (0x4000, "O_DIRECT"), (0x8000, "O_LARGEFILE"), (0x20000, "O_NOFOLLOW"), (0x40000, "O_NOATIME"),
    (0x80000, "O_CLOEXEC"), (0x200000, "O_PATH"), (0x410000, "O_TMPFILE"), (0x400000, "__O_TMPFILE"),
    (0x10000, "O_DIRECTORY"), (0x2000, "FASYNC"),
]

FLAGS: dict[str, FlagTable] = {
    "open": FlagTable(None, _OPEN_BITS, choice_mask=3, choice=_ACCESS_MODE),
    "open_bits": FlagTable("O_???", _OPEN_BITS),
    "access": FlagTable(
        "?_OK",
        [
            (4, "R_OK"), (2, "W_OK"), (1, "X_OK"),
        ],
        zero="F_OK",
    ),
    "faccessat": FlagTable(
        "AT_???",
        [
            (0x100, "AT_SYMLINK_NOFOLLOW"), (0x200, "AT_EACCESS"), (0x1000, "AT_EMPTY_PATH"),
        ],
    ),
    "at": FlagTable(
        "AT_???",
        [
            (0x100, "AT_SYMLINK_NOFOLLOW"), (0x200, "AT_REMOVEDIR"), (0x400, "AT_SYMLINK_FOLLOW"),
            (0x800, "AT_NO_AUTOMOUNT"), (0x1000, "AT_EMPTY_PATH"), (0x8000, "AT_RECURSIVE"),
        ],
    ),
    "statx_flags": FlagTable(
        "AT_???",
        [
            (0x100, "AT_SYMLINK_NOFOLLOW"), (0x200, "AT_REMOVEDIR"), (0x400, "AT_SYMLINK_FOLLOW"),
            (0x800, "AT_NO_AUTOMOUNT"), (0x1000, "AT_EMPTY_PATH"), (0x8000, "AT_RECURSIVE"),
        ],
        choice_mask=0x6000,
        choice=_STATX_SYNC,
    ),
    "statx_mask": FlagTable(
        "STATX_???",
        [
            (0xfff, "STATX_ALL"), (0x7ff, "STATX_BASIC_STATS"), (1, "STATX_TYPE"), (2, "STATX_MODE"),
            (4, "STATX_NLINK"), (8, "STATX_UID"), (0x10, "STATX_GID"), (0x20, "STATX_ATIME"), (0x40, "STATX_MTIME"),
            (0x80, "STATX_CTIME"), (0x100, "STATX_INO"), (0x200, "STATX_SIZE"), (0x400, "STATX_BLOCKS"),
            (0x800, "STATX_BTIME"), (0x1000, "STATX_MNT_ID"), (0x2000, "STATX_DIOALIGN"),
        ],
    ),
    "rename": FlagTable(
        "RENAME_??",
        [
            (1, "RENAME_NOREPLACE"), (2, "RENAME_EXCHANGE"), (4, "RENAME_WHITEOUT"),
        ],
    ),
    "fallocate": FlagTable(
        "FALLOC_FL_???",
        [
            (1, "FALLOC_FL_KEEP_SIZE"), (2, "FALLOC_FL_PUNCH_HOLE"), (4, "FALLOC_FL_NO_HIDE_STALE"),
            (8, "FALLOC_FL_COLLAPSE_RANGE"), (0x10, "FALLOC_FL_ZERO_RANGE"), (0x20, "FALLOC_FL_INSERT_RANGE"),
            (0x40, "FALLOC_FL_UNSHARE_RANGE"),
        ],
    ),
    "flock": FlagTable(
        "LOCK_???",
        [
            (1, "LOCK_SH"), (2, "LOCK_EX"), (4, "LOCK_NB"), (8, "LOCK_UN"), (0x20, "LOCK_MAND"), (0xc0, "LOCK_RW"),
            (0x40, "LOCK_READ"), (0x80, "LOCK_WRITE"),
        ],
    ),
    "mount": FlagTable(
        "MS_???",
        [
            (1, "MS_RDONLY"), (2, "MS_NOSUID"), (4, "MS_NODEV"), (8, "MS_NOEXEC"), (0x10, "MS_SYNCHRONOUS"),
            (0x20, "MS_REMOUNT"), (0x40, "MS_MANDLOCK"), (0x80, "MS_DIRSYNC"), (0x100, "MS_NOSYMFOLLOW"),
            (0x400, "MS_NOATIME"), (0x800, "MS_NODIRATIME"), (0x1000, "MS_BIND"), (0x2000, "MS_MOVE"),
            (0x4000, "MS_REC"), (0x8000, "MS_SILENT"), (0x10000, "MS_POSIXACL"), (0x20000, "MS_UNBINDABLE"),
            (0x40000, "MS_PRIVATE"), (0x80000, "MS_SLAVE"), (0x100000, "MS_SHARED"), (0x200000, "MS_RELATIME"),
            (0x400000, "MS_KERNMOUNT"), (0x800000, "MS_I_VERSION"), (0x1000000, "MS_STRICTATIME"),
            (0x2000000, "MS_LAZYTIME"), (0x4000000, "MS_SUBMOUNT"), (0x8000000, "MS_NOREMOTELOCK"),
            (0x10000000, "MS_NOSEC"), (0x20000000, "MS_BORN"), (0x40000000, "MS_ACTIVE"), (0x80000000, "MS_NOUSER"),
        ],
    ),
    "umount": FlagTable(
        "MNT_???",
        [
            (1, "MNT_FORCE"), (2, "MNT_DETACH"), (4, "MNT_EXPIRE"), (8, "UMOUNT_NOFOLLOW"),
        ],
    ),
    "inotify_init": FlagTable(
        "IN_???",
        [
            (0x800, "IN_NONBLOCK"), (0x80000, "IN_CLOEXEC"),
        ],
    ),
    "inotify_mask": FlagTable(
        "IN_???",
        [
            (1, "IN_ACCESS"), (2, "IN_MODIFY"), (4, "IN_ATTRIB"), (8, "IN_CLOSE_WRITE"), (0x10, "IN_CLOSE_NOWRITE"),
            (0x20, "IN_OPEN"), (0x40, "IN_MOVED_FROM"), (0x80, "IN_MOVED_TO"), (0x100, "IN_CREATE"),
            (0x200, "IN_DELETE"), (0x400, "IN_DELETE_SELF"), (0x800, "IN_MOVE_SELF"), (0x2000, "IN_UNMOUNT"),
            (0x4000, "IN_Q_OVERFLOW"), (0x8000, "IN_IGNORED"), (0x1000000, "IN_ONLYDIR"),
            (0x2000000, "IN_DONT_FOLLOW"), (0x4000000, "IN_EXCL_UNLINK"), (0x10000000, "IN_MASK_CREATE"),
            (0x20000000, "IN_MASK_ADD"), (0x40000000, "IN_ISDIR"), (0x80000000, "IN_ONESHOT"),
        ],
    ),
    "close_range": FlagTable(
        "CLOSE_RANGE_???",
        [
            (2, "CLOSE_RANGE_UNSHARE"), (4, "CLOSE_RANGE_CLOEXEC"),
        ],
    ),
    "sync_file_range": FlagTable(
        "SYNC_FILE_RANGE_???",
        [
            (1, "SYNC_FILE_RANGE_WAIT_BEFORE"), (2, "SYNC_FILE_RANGE_WRITE"), (4, "SYNC_FILE_RANGE_WAIT_AFTER"),
        ],
    ),
    "setxattr": FlagTable(
        "XATTR_???",
        [
            (1, "XATTR_CREATE"), (2, "XATTR_REPLACE"),
        ],
    ),
    "splice": FlagTable(
        "SPLICE_F_???",
        [
            (1, "SPLICE_F_MOVE"), (2, "SPLICE_F_NONBLOCK"), (4, "SPLICE_F_MORE"), (8, "SPLICE_F_GIFT"),
        ],
    ),
    "memfd": FlagTable(
        "MFD_???",
        [
            (1, "MFD_CLOEXEC"), (2, "MFD_ALLOW_SEALING"), (4, "MFD_HUGETLB"),
        ],
        shift_field=(26, "MFD_HUGE_SHIFT"),
    ),
    "name_to_handle": FlagTable(
        "AT_???",
        [
            (0x400, "AT_SYMLINK_FOLLOW"), (0x1000, "AT_EMPTY_PATH"),
        ],
    ),
    "epoll_create": FlagTable(
        "EPOLL_???",
        [
            (0x80000, "EPOLL_CLOEXEC"),
        ],
    ),
    "eventfd": FlagTable(
        "EFD_???",
        [
            (1, "EFD_SEMAPHORE"), (0x80000, "EFD_CLOEXEC"), (0x800, "EFD_NONBLOCK"),
        ],
    ),
    "signalfd": FlagTable(
        "SFD_???",
        [
            (0x80000, "SFD_CLOEXEC"), (0x800, "SFD_NONBLOCK"),
        ],
    ),
    "timerfd": FlagTable(
        "TFD_???",
        [
            (1, "TFD_TIMER_ABSTIME"), (2, "TFD_TIMER_CANCEL_ON_SET"), (0x80000, "TFD_CLOEXEC"),
            (0x800, "TFD_NONBLOCK"),
        ],
    ),
    "epoll_events": FlagTable(
        "EPOLL???",
        [
            (1, "EPOLLIN"), (2, "EPOLLPRI"), (4, "EPOLLOUT"), (8, "EPOLLERR"), (0x10, "EPOLLHUP"),
            (0x20, "EPOLLNVAL"), (0x40, "EPOLLRDNORM"), (0x80, "EPOLLRDBAND"), (0x100, "EPOLLWRNORM"),
            (0x200, "EPOLLWRBAND"), (0x400, "EPOLLMSG"), (0x2000, "EPOLLRDHUP"), (0x10000000, "EPOLLEXCLUSIVE"),
            (0x20000000, "EPOLLWAKEUP"), (0x40000000, "EPOLLONESHOT"), (0x80000000, "EPOLLET"),
        ],
    ),
    "poll_events": FlagTable(
        "POLL???",
        [
            (1, "POLLIN"), (2, "POLLPRI"), (4, "POLLOUT"), (8, "POLLERR"), (0x10, "POLLHUP"), (0x20, "POLLNVAL"),
            (0x40, "POLLRDNORM"), (0x80, "POLLRDBAND"), (0x100, "POLLWRNORM"), (0x200, "POLLWRBAND"),
            (0x400, "POLLMSG"), (0x1000, "POLLREMOVE"), (0x2000, "POLLRDHUP"), (0x8000, "POLL_BUSY_LOOP"),
        ],
    ),
    "openat2_resolve": FlagTable(
        "RESOLVE_???",
        [
            (1, "RESOLVE_NO_XDEV"), (2, "RESOLVE_NO_MAGICLINKS"), (4, "RESOLVE_NO_SYMLINKS"), (8, "RESOLVE_BENEATH"),
            (0x10, "RESOLVE_IN_ROOT"), (0x20, "RESOLVE_CACHED"),
        ],
    ),
    "fd_flags": FlagTable(
        None,
        [
            (1, "FD_CLOEXEC"),
        ],
    ),
    "seals": FlagTable(
        "F_SEAL_???",
        [
            (1, "F_SEAL_SEAL"), (2, "F_SEAL_SHRINK"), (4, "F_SEAL_GROW"), (8, "F_SEAL_WRITE"),
            (0x10, "F_SEAL_FUTURE_WRITE"),
        ],
    ),
    "dnotify": FlagTable(
        "DN_???",
        [
            (1, "DN_ACCESS"), (2, "DN_MODIFY"), (4, "DN_CREATE"), (8, "DN_DELETE"), (0x10, "DN_RENAME"),
            (0x20, "DN_ATTRIB"), (0x80000000, "DN_MULTISHOT"),
        ],
    ),
    "rwf": FlagTable(
        "RWF_???",
        [
            (1, "RWF_HIPRI"), (2, "RWF_DSYNC"), (4, "RWF_SYNC"), (8, "RWF_NOWAIT"), (0x10, "RWF_APPEND"),
        ],
    ),
    "statx_attributes": FlagTable(
        "STATX_ATTR_???",
        [
            (4, "STATX_ATTR_COMPRESSED"), (0x10, "STATX_ATTR_IMMUTABLE"), (0x20, "STATX_ATTR_APPEND"),
            (0x40, "STATX_ATTR_NODUMP"), (0x800, "STATX_ATTR_ENCRYPTED"), (0x1000, "STATX_ATTR_AUTOMOUNT"),
            (0x2000, "STATX_ATTR_MOUNT_ROOT"), (0x100000, "STATX_ATTR_VERITY"), (0x200000, "STATX_ATTR_DAX"),
        ],
    ),
    "statfs_flags": FlagTable(
        "ST_???",
        [
            (0x20, "ST_VALID"), (0x40, "ST_MANDLOCK"), (1, "ST_RDONLY"), (2, "ST_NOSUID"), (4, "ST_NODEV"),
            (8, "ST_NOEXEC"), (0x10, "ST_SYNCHRONOUS"), (0x400, "ST_NOATIME"), (0x800, "ST_NODIRATIME"),
            (0x1000, "ST_RELATIME"), (0x2000, "ST_NOSYMFOLLOW"),
        ],
    ),
}

ENUMS: dict[str, EnumTable] = {
    "seek_whence": EnumTable(
        "SEEK_???",
        {
            0: "SEEK_SET", 1: "SEEK_CUR", 2: "SEEK_END", 3: "SEEK_DATA", 4: "SEEK_HOLE",
        },
    ),
    "fadvise": EnumTable(
        "POSIX_FADV_???",
        {
            0: "POSIX_FADV_NORMAL", 1: "POSIX_FADV_RANDOM", 2: "POSIX_FADV_SEQUENTIAL", 3: "POSIX_FADV_WILLNEED",
            4: "POSIX_FADV_DONTNEED", 5: "POSIX_FADV_NOREUSE",
        },
    ),
    "epoll_ctl": EnumTable(
        "EPOLL_CTL_???",
        {
            1: "EPOLL_CTL_ADD", 2: "EPOLL_CTL_DEL", 3: "EPOLL_CTL_MOD",
        },
    ),
    "fcntl_cmd": EnumTable(
        "F_???",
        {
            0: "F_DUPFD", 1: "F_GETFD", 2: "F_SETFD", 3: "F_GETFL", 4: "F_SETFL", 5: "F_GETLK", 6: "F_SETLK",
            7: "F_SETLKW", 8: "F_SETOWN", 9: "F_GETOWN", 10: "F_SETSIG", 11: "F_GETSIG", 12: "F_GETLK64",
            13: "F_SETLK64", 14: "F_SETLKW64", 15: "F_SETOWN_EX", 16: "F_GETOWN_EX", 17: "F_GETOWNER_UIDS",
            36: "F_OFD_GETLK", 37: "F_OFD_SETLK", 38: "F_OFD_SETLKW", 1024: "F_SETLEASE", 1025: "F_GETLEASE",
            1026: "F_NOTIFY", 1029: "F_CANCELLK", 1030: "F_DUPFD_CLOEXEC", 1031: "F_SETPIPE_SZ", 1032: "F_GETPIPE_SZ",
            1033: "F_ADD_SEALS", 1034: "F_GET_SEALS",
        },
    ),
    "lock_type": EnumTable(
        "F_???",
        {
            0: "F_RDLCK", 1: "F_WRLCK", 2: "F_UNLCK", 4: "F_EXLCK", 8: "F_SHLCK",
        },
    ),
    "owner_type": EnumTable(
        "F_OWNER_???",
        {
            0: "F_OWNER_TID", 1: "F_OWNER_PID", 2: "F_OWNER_PGRP",
        },
    ),
    "file_type": EnumTable(
        None,
        {
            0x1000: "S_IFIFO", 0x2000: "S_IFCHR", 0x4000: "S_IFDIR", 0x6000: "S_IFBLK", 0x8000: "S_IFREG",
            0xa000: "S_IFLNK", 0xc000: "S_IFSOCK",
        },
    ),
    "dirent_type": EnumTable(
        "DT_???",
        {
            0: "DT_UNKNOWN", 1: "DT_FIFO", 2: "DT_CHR", 4: "DT_DIR", 6: "DT_BLK", 8: "DT_REG", 10: "DT_LNK",
            12: "DT_SOCK", 14: "DT_WHT",
        },
    ),
    "fsmagic": EnumTable(
        None,
        {
            0x187: "AUTOFS_SUPER_MAGIC", 0x137f: "MINIX_SUPER_MAGIC", 0x138f: "MINIX_SUPER_MAGIC2",
            0x1cd1: "DEVPTS_SUPER_MAGIC", 0x2468: "MINIX2_SUPER_MAGIC", 0x2478: "MINIX2_SUPER_MAGIC2",
            0x3434: "NILFS_SUPER_MAGIC", 0x4d44: "MSDOS_SUPER_MAGIC", 0x4d5a: "MINIX3_SUPER_MAGIC",
            0x517b: "SMB_SUPER_MAGIC", 0x564c: "NCP_SUPER_MAGIC", 0x6969: "NFS_SUPER_MAGIC",
            0x72b6: "JFFS2_SUPER_MAGIC", 0x9660: "ISOFS_SUPER_MAGIC", 0x9fa0: "PROC_SUPER_MAGIC",
            0x9fa1: "OPENPROM_SUPER_MAGIC", 0x9fa2: "USBDEVICE_SUPER_MAGIC", 0xadf5: "ADFS_SUPER_MAGIC",
            0xadff: "AFFS_SUPER_MAGIC", 0xef53: "EXT2_SUPER_MAGIC", 0xf15f: "ECRYPTFS_SUPER_MAGIC",
            0x27e0eb: "CGROUP_SUPER_MAGIC", 0x414a53: "EFS_SUPER_MAGIC", 0xc0ffee: "HOSTFS_SUPER_MAGIC",
            0xc36400: "CEPH_SUPER_MAGIC", 0x1021994: "TMPFS_MAGIC", 0x1021997: "V9FS_MAGIC",
            0x7655821: "RDTGROUP_SUPER_MAGIC", 0x9041934: "ANON_INODE_FS_MAGIC", 0xbad1dea: "FUTEXFS_SUPER_MAGIC",
            0x11307854: "MTD_INODE_FS_MAGIC", 0x15013346: "UDF_SUPER_MAGIC", 0x2011bab0: "EXFAT_SUPER_MAGIC",
            0x28cd3d45: "CRAMFS_MAGIC", 0x42494e4d: "BINFMTFS_MAGIC", 0x43415d53: "SMACK_MAGIC",
            0x444d4142: "DMA_BUF_MAGIC", 0x453dcd28: "CRAMFS_MAGIC_WEND", 0x454d444d: "DEVMEM_MAGIC",
            0x50495045: "PIPEFS_MAGIC", 0x52654973: "REISERFS_SUPER_MAGIC", 0x5345434d: "SECRETMEM_MAGIC",
            0x5346414f: "AFS_SUPER_MAGIC", 0x534f434b: "SOCKFS_MAGIC", 0x57ac6e9d: "STACK_END_MAGIC",
            0x58465342: "XFS_SUPER_MAGIC", 0x5a3c69f0: "AAFS_MAGIC", 0x5a4f4653: "ZONEFS_MAGIC",
            0x6165676c: "PSTOREFS_MAGIC", 0x62646576: "BDEVFS_MAGIC", 0x62656572: "SYSFS_MAGIC",
            0x63677270: "CGROUP2_SUPER_MAGIC", 0x64626720: "DEBUGFS_MAGIC", 0x64646178: "DAXFS_MAGIC",
            0x65735546: "FUSE_SUPER_MAGIC", 0x68191122: "QNX6_SUPER_MAGIC", 0x6b414653: "AFS_FS_MAGIC",
            0x6c6f6f70: "BINDERFS_SUPER_MAGIC", 0x6e736673: "NSFS_MAGIC", 0x73636673: "SECURITYFS_MAGIC",
            0x73717368: "SQUASHFS_MAGIC", 0x73727279: "BTRFS_TEST_MAGIC", 0x73757245: "CODA_SUPER_MAGIC",
            0x7461636f: "OCFS2_SUPER_MAGIC", 0x74726163: "TRACEFS_MAGIC", 0x794c7630: "OVERLAYFS_SUPER_MAGIC",
            0x858458f6: "RAMFS_MAGIC", 0x9123683e: "BTRFS_SUPER_MAGIC", 0x958458f6: "HUGETLBFS_MAGIC",
            0xabba1974: "XENFS_SUPER_MAGIC", 0xcafe4a11: "BPF_FS_MAGIC", 0xde5e81e4: "EFIVARFS_MAGIC",
            0xe0f5e1e2: "EROFS_SUPER_MAGIC_V1", 0xf2f52010: "F2FS_SUPER_MAGIC", 0xf97cff8c: "SELINUX_MAGIC",
            0xf995e849: "HPFS_SUPER_MAGIC", 0xfe534d42: "SMB2_SUPER_MAGIC", 0xff534d42: "CIFS_SUPER_MAGIC",
        },
    ),
}
