"""/proc/<pid> and /proc/<pid>/task/<tid>: the tables of entries, and their directories (fs/proc/base.c)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from kernel.errno import EINVAL, ENOENT, Errno
from kernel.fs import proc_fd, proc_knobs, proc_memory, proc_mounts, proc_net, proc_smaps, proc_status
from kernel.fs.dentry import Dentry
from kernel.fs.inode import Inode, SuperBlock
from kernel.fs.proc_entry import TaskFile, check_access, check_alive, entry_ino, is_alive, set_owner
from kernel.fs.proc_fd import FdDir, MagicLink, parse_fd
from kernel.fs.seqfile import GeneratedInode, PseudoDirectoryFile, PseudoInode
from kernel.fs.uapi import S_IFDIR, S_IFLNK, S_IFREG

if TYPE_CHECKING:
    from kernel.fs.file import File
    from kernel.task.task import Task

_Make = Callable[[SuperBlock, "Task", str], Inode]
Entry = tuple[int, int, _Make]
"""(S_IF* type, permissions, constructor)."""


def _file(permissions: int, make: Any, take: Any = None, private: bool = False) -> Entry:
    return S_IFREG, permissions, lambda sb, task, name: TaskFile(sb, task, name, permissions, make, take, private)


def _link(find: Callable[[Task], Any]) -> Entry:
    return S_IFLNK, 0o777, lambda sb, task, name: MagicLink(sb, task, name, find)


class _MemoryInode(TaskFile):
    """A file that reads the address space it was opened with (mem, pagemap)."""

    __slots__ = ("_open",)

    def __init__(self, sb: SuperBlock, task: Task, name: str, permissions: int, open_: Callable[..., File]) -> None:
        super().__init__(sb, task, name, permissions, None)
        self._open = open_

    def open(self, task: Task, dentry: Dentry, flags: int) -> File:
        check_access(task, check_alive(self.target))
        return self._open(dentry, flags, self.target)


class _SpaceInode(TaskFile):
    """A generated file about the address space that was there at open (proc_mem_open)."""

    __slots__ = ()

    def open(self, task: Task, dentry: Dentry, flags: int) -> File:
        check_access(task, check_alive(self.target))
        return proc_memory.BoundFile(dentry, flags, self.target)


def _space(permissions: int, make: Any) -> Entry:
    return S_IFREG, permissions, lambda sb, task, name: _SpaceInode(sb, task, name, permissions, make)


def _memory(permissions: int, open_: Callable[..., File]) -> Entry:
    return S_IFREG, permissions, lambda sb, task, name: _MemoryInode(sb, task, name, permissions, open_)


_COMMON: dict[str, Entry] = {
    "fd": (S_IFDIR, 0o500, lambda sb, task, name: FdDir(sb, task, info=False)),
    "fdinfo": (S_IFDIR, 0o555, lambda sb, task, name: FdDir(sb, task, info=True)),
    "ns": (S_IFDIR, 0o511, lambda sb, task, name: NamespaceDir(sb, task)),
    "net": (S_IFDIR, 0o555, lambda sb, task, name: proc_net.net_directory(sb)),
    "environ": _space(0o400, proc_memory.environ),
    "auxv": _file(0o400, proc_memory.auxv, private=True),
    "status": _file(0o444, proc_status.status),
    "personality": _file(0o400, proc_knobs.personality, private=True),
    "limits": _file(0o444, proc_status.limits),
    "sched": _file(0o644, proc_knobs.sched),
    "comm": _file(0o644, proc_knobs.comm, proc_knobs.set_comm),
    "syscall": _file(0o400, proc_status.syscall, private=True),
    "cmdline": _file(0o444, proc_memory.cmdline),
    "stat": _file(0o444, proc_status.stat_of_process),
    "statm": _file(0o444, proc_status.statm),
    "maps": _space(0o444, proc_memory.maps),
    "mem": _memory(0o600, proc_memory.MemFile),
    "cwd": _link(proc_fd.cwd_dentry),
    "root": _link(proc_fd.root_dentry),
    "exe": _link(proc_fd.exe_dentry),
    "mounts": _file(0o444, proc_mounts.mounts),
    "mountinfo": _file(0o444, proc_mounts.mountinfo),
    "smaps": _space(0o444, proc_smaps.smaps),
    "smaps_rollup": _space(0o444, proc_smaps.smaps_rollup),
    "pagemap": _memory(0o400, proc_memory.PagemapFile),
    "wchan": _file(0o444, proc_status.wchan),
    "stack": _file(0o400, proc_knobs.stack),
    "schedstat": _file(0o444, proc_knobs.schedstat),
    "cpuset": _file(0o444, lambda reader, task: "/\n"),
    "cgroup": _file(0o444, lambda reader, task: "0::/\n"),
    "oom_score": _file(0o444, proc_knobs.oom_score),
    "oom_adj": _file(0o644, proc_knobs.oom_adj, proc_knobs.set_oom_adj),
    "oom_score_adj": _file(0o644, proc_knobs.oom_score_adj, proc_knobs.set_oom_score_adj),
    "loginuid": _file(0o644, lambda reader, task: "4294967295", proc_knobs.set_loginuid),
    "sessionid": _file(0o444, lambda reader, task: "4294967295"),
    "io": _file(0o400, proc_knobs.io, private=True),
    "uid_map": _file(0o644, proc_knobs.id_map, proc_knobs.refuse),
    "gid_map": _file(0o644, proc_knobs.id_map, proc_knobs.refuse),
    "projid_map": _file(0o644, proc_knobs.id_map, proc_knobs.refuse),
    "setgroups": _file(0o644, lambda reader, task: "allow\n", proc_knobs.refuse),
}

#: Entries of the process alone, and of a thread alone; both come on top of the common ones.
_OF_PROCESS: dict[str, Entry] = {
    "task": (S_IFDIR, 0o555, lambda sb, task, name: TaskDir(sb, task)),
    "use_odf": _file(0o644, proc_knobs.use_odf, proc_knobs.set_use_odf),
    "use_odf_level": _file(0o644, proc_knobs.use_odf_level, proc_knobs.set_use_odf_level),
    "mountstats": _file(0o400, proc_mounts.mountstats),
    "coredump_filter": _file(0o644, lambda reader, task: "00000033\n", proc_knobs.refuse),
    "autogroup": _file(0o644, lambda reader, task: f"/autogroup-{task.group.sid} nice 0\n", proc_knobs.refuse),
    "timerslack_ns": _file(0o666, proc_knobs.timerslack, proc_knobs.set_timerslack),
}
_OF_THREAD: dict[str, Entry] = {
    "stat": _file(0o444, proc_status.stat_of_thread),
    "children": _file(0o444, proc_knobs.children),
}
PROCESS_ENTRIES = {name.encode(): entry for name, entry in {**_OF_PROCESS, **_COMMON}.items()}
THREAD_ENTRIES = {name.encode(): entry for name, entry in {**_COMMON, **_OF_THREAD}.items()}


class PidDir(PseudoInode):
    """The directory of one process, or of one thread."""

    __slots__ = ("_entries", "_prefix", "target")
    volatile = True

    def __init__(self, sb: SuperBlock, target: Task, entries: dict[bytes, Entry]) -> None:
        self._prefix = "" if entries is PROCESS_ENTRIES else "task/"
        super().__init__(sb, S_IFDIR | 0o555, ino=entry_ino(target, self._prefix + "."))
        self.target = target
        self._entries = entries
        self.nlink = 2 + sum(1 for kind, _, _ in entries.values() if kind == S_IFDIR)
        set_owner(self, target)

    def lookup(self, task: Task, name: bytes) -> Inode | None:
        """The entry; ESRCH when the process has gone (proc_pid_permission)."""
        check_alive(self.target)
        entry = self._entries.get(name)
        if entry is None:
            return self.missing()
        return entry[2](self.sb, self.target, self._prefix + name.decode())

    def readdir(self, task: Task) -> Iterable[tuple[bytes, int, int]]:
        if not is_alive(self.target):
            raise Errno(ENOENT)
        return [
            (name, entry_ino(self.target, self._prefix + name.decode()), entry[0] >> 12)
            for name, entry in self._entries.items()
        ]

    def open(self, task: Task, dentry: Dentry, flags: int) -> File:
        return PseudoDirectoryFile(dentry, flags)


class TaskDir(PseudoInode):
    """/proc/<pid>/task: the threads of the process."""

    __slots__ = ("target",)
    volatile = True

    def __init__(self, sb: SuperBlock, target: Task) -> None:
        super().__init__(sb, S_IFDIR | 0o555, ino=entry_ino(target, "task"))
        self.target = target
        self.nlink = 2 + max(len(target.group.threads), 1)
        set_owner(self, target)

    def lookup(self, task: Task, name: bytes) -> Inode | None:
        thread = self.sb.kernel.tasks.get(parse_fd(name))
        if thread is None or thread.group is not self.target.group:
            return self.missing()
        return PidDir(self.sb, thread, THREAD_ENTRIES)

    def readdir(self, task: Task) -> Iterable[tuple[bytes, int, int]]:
        if not is_alive(self.target):
            raise Errno(ENOENT)
        threads = sorted({self.target.tid, *(thread.tid for thread in self.target.group.threads)})
        tasks = self.sb.kernel.tasks
        return [(b"%d" % tid, entry_ino(tasks[tid], "task/."), S_IFDIR >> 12) for tid in threads if tid in tasks]

    def open(self, task: Task, dentry: Dentry, flags: int) -> File:
        return PseudoDirectoryFile(dentry, flags)


_NSFS_MAGIC, _NSFS_DEV = 0x6E736673, 4
#: Name in /proc/<pid>/ns → inode number of the initial namespace (include/linux/proc_ns.h).
_NAMESPACES = {
    "cgroup": 4026531835, "ipc": 4026531839, "mnt": 4026531841, "net": 4026531840, "pid": 4026531836,
    "pid_for_children": 4026531836, "time": 4026531834, "time_for_children": 4026531834, "user": 4026531837,
    "uts": 4026531838,
}  # fmt: skip


class NamespaceDir(PseudoInode):
    """/proc/<pid>/ns: everybody is in the initial namespaces. The links can be read, not followed."""

    __slots__ = ("target",)

    def __init__(self, sb: SuperBlock, target: Task) -> None:
        super().__init__(sb, S_IFDIR | 0o511, ino=entry_ino(target, "ns"))
        self.target = target
        self.nlink = 2
        set_owner(self, target)

    volatile = True

    def lookup(self, task: Task, name: bytes) -> Inode | None:
        number = _NAMESPACES.get(name.decode("latin1"))
        if number is None or not is_alive(self.target):
            return self.missing()
        return _NamespaceLink(self.sb, self.target, name.decode(), number)

    def readdir(self, task: Task) -> Iterable[tuple[bytes, int, int]]:
        return [(name.encode(), entry_ino(self.target, "ns/" + name), S_IFLNK >> 12) for name in _NAMESPACES]

    def open(self, task: Task, dentry: Dentry, flags: int) -> File:
        return PseudoDirectoryFile(dentry, flags)


class _NamespaceLink(PseudoInode):
    """Leads to a nameless file whose inode number is the namespace's; it can be opened and compared, not entered."""

    __slots__ = ("_number", "_text", "target")

    def __init__(self, sb: SuperBlock, target: Task, name: str, number: int) -> None:
        super().__init__(sb, S_IFLNK | 0o777, ino=entry_ino(target, "ns/" + name))
        self.target = target
        kind = name.removesuffix("_for_children")
        self._number = number
        self._text = f"{kind}:[{number}]".encode()
        set_owner(self, target)

    def readlink(self, task: Task) -> bytes:
        check_access(task, self.target)
        return self._text

    def jump(self, task: Task) -> Dentry | None:
        inode = GeneratedInode(_nsfs(self.sb), 0o444, ino=self._number, write_error=EINVAL)
        return Dentry(b"", None, inode, label=self.readlink(task))


def _nsfs(sb: SuperBlock) -> SuperBlock:
    """The file system of the namespaces' inodes; one for all."""
    found: SuperBlock | None = getattr(sb, "nsfs", None)
    if found is None:
        found = SuperBlock(sb.kernel, b"nsfs", _NSFS_MAGIC, _NSFS_DEV)
        sb.nsfs = found  # type: ignore[attr-defined]
    return found


