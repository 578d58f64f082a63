"""The kernel's settings below /proc/sys: values, who may change them and to what (kernel/sysctl.c).

Code that a setting governs is told by its ``changed``. Settings that nothing here depends on are kept so that what is
written can be read back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernel.errno import EINVAL, Errno
from kernel.mm.layout import K_STACKS_ASK
from kernel.mm.mmap import MIN_ADDRESS
from kernel.mm.overcommit import OVERCOMMIT_NEVER

if TYPE_CHECKING:
    from kernel.kernel import Kernel
    from kernel.mm.memory import KernelMemory

_INT_MAX = 2**31 - 1

@dataclass
class Setting:
    """One or more integers (``numbers``), or text; ``read`` computes the text instead."""

    value: Any = None
    permissions: int = 0o644
    low: int = -(2**31)
    high: int = 2**64 - 1
    read: Callable[[], str] | None = None
    write: Callable[[bytes], None] | None = None
    changed: Callable[[Any], None] | None = None
    """Called with the new value."""

    def text(self) -> str:
        """As read from /proc/sys."""
        if self.read is not None:
            return self.read() + "\n"
        if isinstance(self.value, tuple):
            return "\t".join(map(str, self.value)) + "\n"
        return f"{self.value}\n"

    def store(self, data: bytes) -> None:
        """Take a write: text up to the first newline, or the numbers that the setting has.

        Raises:
            Errno: EINVAL for what is no number or out of range.
        """
        if self.write is not None:
            self.write(data)
        elif isinstance(self.value, str):
            self.value = data.split(b"\0")[0].split(b"\n")[0].decode("utf-8", "surrogateescape")
        else:
            old = self.value if isinstance(self.value, tuple) else (self.value,)
            new = [self._number(word) for word in data.split(b"\0")[0].split()[: len(old)]]
            if not new:
                raise Errno(EINVAL)
            merged = (*new, *old[len(new) :])
            self.value = merged if isinstance(self.value, tuple) else merged[0]
        if self.changed is not None:
            self.changed(self.value)

    def _number(self, word: bytes) -> int:
        try:
            text = word.decode("ascii")
            digits = text.lstrip("-")
            octal = digits.isdigit() and digits[0] == "0"
            value = int(text, 8 if octal else 0)
        except (UnicodeDecodeError, ValueError):
            raise Errno(EINVAL) from None
        if not self.low <= value <= self.high:
            raise Errno(EINVAL)
        return value


class Sysctl(dict[str, Setting]):
    """Dotted name → setting."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(_settings(kernel))


def _settings(kernel: Kernel) -> dict[str, Setting]:
    uts, random = kernel.uts, kernel.random

    def fixed(value: Any) -> Setting:
        return Setting(value, 0o444)

    def shown(read: Callable[[], str], permissions: int = 0o444) -> Setting:
        return Setting(None, permissions, read=read)

    def name(field: str) -> Setting:
        return Setting(
            None, read=lambda: getattr(uts, field), write=lambda data: uts.set_name(field, data.split(b"\n")[0])
        )

    def of_vfs(attribute: str) -> Setting:
        def write(data: bytes) -> None:
            if data.strip() not in (b"0", b"1"):
                raise Errno(EINVAL)
            setattr(kernel.vfs, attribute, data.strip() == b"1")

        return Setting(read=lambda: str(int(getattr(kernel.vfs, attribute))), write=write)

    def rule(attribute: str, high: int = 2**64 - 1, clears: str = "") -> Setting:
        rules = kernel.memory.overcommit

        def changed(value: int) -> None:
            setattr(rules, attribute, value)
            if clears:
                setattr(rules, clears, 0)
            # In mode 2 the growth of a stack is a promise, too.
            kernel.memory.memory.set(K_STACKS_ASK, rules.mode == OVERCOMMIT_NEVER)

        return Setting(0, low=0, high=high, read=lambda: str(getattr(rules, attribute)), changed=changed)

    def boolean(value: int, high: int = 1) -> Setting:
        return Setting(value, low=0, high=high)

    def count(value: int) -> Setting:
        return Setting(value, low=0, high=_INT_MAX)

    return {
        "kernel.arch": fixed(uts.machine),
        "kernel.cap_last_cap": fixed(40),
        "kernel.core_pattern": Setting("core"),
        "kernel.core_pipe_limit": count(0),
        "kernel.core_uses_pid": boolean(0),
        "kernel.ctrl-alt-del": boolean(0),
        "kernel.dmesg_restrict": boolean(1),
        "kernel.domainname": name("domainname"),
        "kernel.hostname": name("nodename"),
        "kernel.io_uring_disabled": boolean(2, 2),
        "kernel.kptr_restrict": boolean(1, 2),
        "kernel.max_lock_depth": count(1024),
        "kernel.modules_disabled": boolean(1),
        "kernel.msgmax": count(8192),
        "kernel.msgmnb": count(16384),
        "kernel.msgmni": count(32000),
        "kernel.ngroups_max": fixed(65536),
        "kernel.ns_last_pid": shown(lambda: str(kernel.tasks.last), 0o644),
        "kernel.osrelease": shown(lambda: uts.release),
        "kernel.ostype": shown(lambda: uts.sysname),
        "kernel.overflowgid": Setting(65534, low=0, high=65535),
        "kernel.overflowuid": Setting(65534, low=0, high=65535),
        "kernel.panic": count(0),
        "kernel.panic_on_oops": boolean(0),
        "kernel.perf_event_paranoid": Setting(4, low=-1, high=4),
        "kernel.pid_max": Setting(
            kernel.tasks.pid_max, low=301, high=4194304, changed=lambda value: setattr(kernel.tasks, "pid_max", value)
        ),
        "kernel.print-fatal-signals": boolean(0),
        "kernel.printk": Setting((4, 4, 1, 7), low=0, high=_INT_MAX),
        "kernel.pty.max": count(4096),
        "kernel.pty.nr": fixed(0),
        "kernel.pty.reserve": count(1024),
        "kernel.random.boot_id": fixed(random.boot_id),
        "kernel.random.entropy_avail": fixed(256),
        "kernel.random.poolsize": fixed(256),
        "kernel.random.urandom_min_reseed_secs": count(60),
        "kernel.random.uuid": shown(random.uuid),
        "kernel.random.write_wakeup_threshold": count(256),
        "kernel.randomize_va_space": Setting(
            2 if kernel.options.aslr else 0, low=0, high=2,
            changed=lambda value: setattr(kernel.options, "aslr", value > 0),
        ),
        "kernel.sched_autogroup_enabled": boolean(0),
        "kernel.sched_rr_timeslice_ms": count(100),
        "kernel.sched_rt_period_us": count(1000000),
        "kernel.sched_rt_runtime_us": Setting(950000, low=-1, high=_INT_MAX),
        "kernel.sem": Setting((32000, 1024000000, 500, 32000), low=0, high=_INT_MAX),
        "kernel.shm_rmid_forced": boolean(0),
        "kernel.shmall": Setting(18446744073692774399, low=0),
        "kernel.shmmax": Setting(18446744073692774399, low=0),
        "kernel.shmmni": count(4096),
        "kernel.sysctl_writes_strict": Setting(1, low=-1, high=1),
        "kernel.tainted": count(0),
        "kernel.threads-max": Setting(
            kernel.tasks.max_threads, low=20, high=kernel.tasks.max_threads,
            changed=lambda value: setattr(kernel.tasks, "max_threads", value),
        ),
        "kernel.unprivileged_bpf_disabled": boolean(2, 2),
        "kernel.version": shown(lambda: uts.version),
        "kernel.yama.ptrace_scope": boolean(0, 3),
        "vm.admin_reserve_kbytes": rule("admin_reserve_kbytes"),
        "vm.dirty_background_bytes": Setting(0, low=0),
        "vm.dirty_background_ratio": boolean(10, 100),
        "vm.dirty_bytes": Setting(0, low=0),
        "vm.dirty_expire_centisecs": count(3000),
        "vm.dirty_ratio": boolean(20, 100),
        "vm.dirty_writeback_centisecs": count(500),
        "vm.drop_caches": Setting(0, 0o200, low=1, high=4, write=_drop_caches(kernel)),
        "vm.hugetlb_shm_group": count(0),
        "vm.legacy_va_layout": boolean(0),
        "vm.max_map_count": count(65530),
        "vm.memfd_noexec": boolean(0, 2),
        "vm.min_free_kbytes": count(8192),
        "vm.mmap_min_addr": Setting(MIN_ADDRESS, low=0),
        "vm.mmap_rnd_bits": Setting(28, 0o600, low=28, high=32),
        "vm.mmap_rnd_compat_bits": Setting(8, 0o600, low=8, high=16),
        "vm.nr_hugepages": Setting(
            low=0, read=lambda: str(kernel.memory.pool_pages), write=_resize_pool(kernel.memory)),
        "vm.nr_overcommit_hugepages": Setting(0, low=0),
        "vm.oom_dump_tasks": boolean(1),
        "vm.oom_kill_allocating_task": boolean(0),
        "vm.overcommit_kbytes": rule("kbytes", clears="ratio"),
        "vm.overcommit_memory": rule("mode", high=2),
        "vm.overcommit_ratio": rule("ratio", high=_INT_MAX, clears="kbytes"),
        "vm.page-cluster": boolean(3, 31),
        "vm.panic_on_oom": boolean(0, 2),
        "vm.stat_interval": count(1),
        "vm.swappiness": boolean(60, 200),
        "vm.unprivileged_userfaultfd": boolean(0),
        "vm.user_reserve_kbytes": rule("user_reserve_kbytes"),
        "vm.vfs_cache_pressure": count(100),
        "vm.zone_reclaim_mode": count(0),
        "fs.aio-max-nr": Setting(65536, low=0),
        "fs.aio-nr": fixed(0),
        "fs.dentry-state": fixed((0, 0, 45, 0, 0, 0)),
        "fs.dir-notify-enable": boolean(1),
        "fs.epoll.max_user_watches": Setting(1048576, low=0),
        "fs.file-max": Setting(9223372036854775807, low=0),
        "fs.file-nr": shown(lambda: _file_nr(kernel)),
        "fs.inode-nr": fixed((0, 0)),
        "fs.inotify.max_queued_events": count(16384),
        "fs.inotify.max_user_instances": count(128),
        "fs.inotify.max_user_watches": count(65536),
        "fs.lease-break-time": count(45),
        "fs.leases-enable": boolean(1),
        "fs.mount-max": Setting(100000, low=1),
        "fs.nr_open": Setting(1048576, low=64, high=2147483584),
        "fs.overflowgid": Setting(65534, low=0, high=65535),
        "fs.overflowuid": Setting(65534, low=0, high=65535),
        "fs.pipe-max-size": Setting(1048576, low=4096, high=2**31),
        "fs.pipe-user-pages-hard": Setting(0, low=0),
        "fs.pipe-user-pages-soft": Setting(16384, low=0),
        "fs.protected_fifos": boolean(0, 2),
        "fs.protected_hardlinks": of_vfs("protected_hardlinks"),
        "fs.protected_regular": boolean(0, 2),
        "fs.protected_symlinks": of_vfs("protected_symlinks"),
        "fs.suid_dumpable": boolean(0, 2),
        "net.core.somaxconn": count(4096),
        "net.unix.max_dgram_qlen": count(512),
    }


def _file_nr(kernel: Kernel) -> str:
    """Open files of all processes, none unused, and the limit."""
    tables = {id(task.files): task.files for task in kernel.tasks.values() if task.files is not None}
    return f"{sum(len(table) for table in tables.values())}\t0\t9223372036854775807"


def _resize_pool(memory: KernelMemory) -> Callable[[bytes], None]:
    def resize(data: bytes) -> None:
        try:
            pages = int(data.split(b"\0")[0].split()[0], 0)
        except (ValueError, IndexError):
            raise Errno(EINVAL) from None
        if pages < 0:
            raise Errno(EINVAL)
        memory.resize_pool(pages)

    return resize


def _drop_caches(kernel: Kernel) -> Callable[[bytes], None]:
    def drop(data: bytes) -> None:
        try:
            value = int(data.split(b"\0")[0].split()[0])
        except (ValueError, IndexError):
            raise Errno(EINVAL) from None
        if not 1 <= value <= 4:
            raise Errno(EINVAL)
        if value & 1:
            kernel.memory.drop_caches()

    return drop
