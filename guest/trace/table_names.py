"""The names that declarations use for a table, where they differ from the table's own."""

from __future__ import annotations

#: name in a declaration → name in a tables_* module
ALIASES: dict[str, str] = {
    "address_family": "socket_family",
    "archvals": "arch_prctl",
    "at_statx": "statx_flags",
    "clock_nanosleep": "timer_settime",
    "clocknames": "clockid",
    "clone_flags": "clone",
    "execveat": "at",
    "fcntl": "fcntl_cmd",
    "getrandom_flags": "getrandom",
    "kcmp_types": "kcmp",
    "membarrier_cmds": "membarrier",
    "mlock_flags": "mlock2",
    "mlockall_flags": "mlockall",
    "mmap_flags": "mmap",
    "mremap_flags": "mremap",
    "msync_flags": "msync",
    "mount_flags": "mount",
    "prctl_options": "prctl",
    "priorities": "priority_which",
    "rlimit_resource": "rlimit",
    "schedulers": "sched_policy",
    "seccomp_ops": "seccomp_op",
    "socket_flags": "accept4",
    "sockopt": "sockopt_socket",
    "statx": "statx_mask",
    "syslog_action_type": "syslog",
    "timerfd_settime": "timerfd",
    "umount_flags": "umount",
    "unlinkat": "at",
    "usagewho": "rusage_who",
    "waitid": "waitid_which",
    "xattr": "setxattr",
}
