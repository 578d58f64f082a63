"""The classes of system calls that ``-e trace=%class`` names (strace(1), "Filtering")."""

from __future__ import annotations

from guest.trace.numbers import NAMES

_PATH_AND_DESCRIPTOR = """
open creat openat mkdirat mknodat fchownat futimesat newfstatat unlinkat renameat linkat symlinkat readlinkat fchmodat
faccessat utimensat inotify_add_watch fanotify_mark name_to_handle_at renameat2 execveat statx open_tree move_mount
fsconfig fspick openat2 faccessat2 mount_setattr fchmodat2
"""
_FILE = _PATH_AND_DESCRIPTOR + """
stat lstat access execve truncate getcwd chdir rename mkdir rmdir link unlink symlink readlink chmod chown lchown utime
mknod uselib statfs pivot_root chroot acct mount umount2 swapon swapoff quotactl setxattr lsetxattr getxattr lgetxattr
listxattr llistxattr removexattr lremovexattr utimes
"""
_DESC = _PATH_AND_DESCRIPTOR + """
read write close fstat poll lseek mmap ioctl pread64 pwrite64 readv writev pipe select dup dup2 sendfile fcntl flock
fsync fdatasync ftruncate getdents fchdir fchmod fchown fstatfs readahead fsetxattr fgetxattr flistxattr fremovexattr
epoll_create getdents64 fadvise64 epoll_wait epoll_ctl mq_open mq_timedsend mq_timedreceive mq_notify mq_getsetattr
inotify_init inotify_rm_watch pselect6 ppoll splice tee sync_file_range vmsplice epoll_pwait signalfd timerfd_create
eventfd fallocate timerfd_settime timerfd_gettime signalfd4 eventfd2 epoll_create1 dup3 pipe2 inotify_init1 preadv
pwritev perf_event_open fanotify_init open_by_handle_at syncfs setns finit_module memfd_create kexec_file_load bpf
userfaultfd copy_file_range preadv2 pwritev2 pidfd_send_signal io_uring_setup io_uring_enter io_uring_register fsopen
fsmount pidfd_open pidfd_getfd process_madvise epoll_pwait2 quotactl_fd landlock_create_ruleset landlock_add_rule
landlock_restrict_self memfd_secret process_mrelease io_pgetevents
"""
_CLASSES = {
    "file": _FILE,
    "desc": _DESC,
    "process": """clone fork vfork execve exit wait4 kill rt_sigqueueinfo tkill exit_group tgkill waitid
        rt_tgsigqueueinfo execveat pidfd_send_signal clone3 odfork""",
    "signal": """rt_sigaction rt_sigprocmask rt_sigreturn pause kill rt_sigpending rt_sigtimedwait rt_sigqueueinfo
        rt_sigsuspend sigaltstack tkill tgkill signalfd signalfd4 rt_tgsigqueueinfo pidfd_send_signal io_uring_enter
        io_pgetevents""",
    "ipc": "shmget shmat shmctl semget semop semctl shmdt msgget msgsnd msgrcv msgctl semtimedop",
    "network": """sendfile socket connect accept sendto recvfrom sendmsg recvmsg shutdown bind listen getsockname
        getpeername socketpair setsockopt getsockopt getpmsg putpmsg accept4 recvmmsg sendmmsg""",
    "memory": """mmap mprotect munmap brk mremap msync mincore madvise shmat shmdt mlock munlock mlockall munlockall
        io_setup io_destroy remap_file_pages mbind set_mempolicy get_mempolicy migrate_pages move_pages pkey_mprotect
        mlock2 io_uring_register set_mempolicy_home_node""",
    "creds": """getuid getgid setuid setgid geteuid getegid setreuid setregid getgroups setgroups setresuid getresuid
        setresgid getresgid setfsuid setfsgid capget capset prctl""",
    "clock": """gettimeofday adjtimex settimeofday time clock_settime clock_gettime clock_getres clock_adjtime""",
    "pure": "getpid getuid getgid geteuid getegid getppid getpgrp gettid",
    "stat": "stat", "lstat": "lstat", "fstat": "fstat newfstatat",
    "%stat": "stat lstat fstat newfstatat statx",
    "statfs": "statfs", "fstatfs": "fstatfs", "%statfs": "statfs fstatfs ustat",
    "%%stat": "stat lstat fstat newfstatat statx", "%%statfs": "statfs fstatfs ustat",
}

#: class → names of its system calls
CLASSES: dict[str, frozenset[str]] = {name: frozenset(text.split()) for name, text in _CLASSES.items()}
CLASSES["net"] = CLASSES["network"]
CLASSES["all"] = frozenset(name for name, _ in NAMES.values())
