"""Calls that need privileges nobody has in here, and facilities this kernel is built without.

Each fails as it does on Linux for an unprivileged process, or with the option compiled out, after the checks that come
first there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import EACCES, EBADF, EINVAL, ENOSYS, EOPNOTSUPP, EPERM, Errno
from kernel.fs.uapi import AT_FDCWD
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Enum, Fd, Flags, Int, Path, Ptr, Size, Str, UInt, ULong

if TYPE_CHECKING:
    from kernel.task.task import Task

PATH_MAX = 4096
UMOUNT_NOFOLLOW = 8
_UMOUNT_FLAGS = 1 | 2 | 4 | UMOUNT_NOFOLLOW
"""MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW."""


@syscall(
    165, "mount", source=Path, target=Path, filesystemtype=Str, mountflags=Flags("mount_flags", "u64"), data=Ptr,
)  # fmt: skip
def mount(task: Task, source: int, target: int, kind: int, flags: int, data: int) -> None:
    for address in (kind, source):
        if address:
            task.mm.cstring(address, PATH_MAX)
    if data:
        task.mm.read_some(data, 1)
    task.kernel.vfs.resolve(task, AT_FDCWD, task.mm.cstring(target, PATH_MAX))
    raise Errno(EPERM)


@syscall(166, "umount2", target=Path, flags=Flags("umount_flags"))
def umount2(task: Task, target: int, flags: int) -> None:
    if flags & ~_UMOUNT_FLAGS:
        raise Errno(EINVAL)
    task.kernel.vfs.resolve(task, AT_FDCWD, task.mm.cstring(target, PATH_MAX), not flags & UMOUNT_NOFOLLOW)
    raise Errno(EPERM)


@syscall(155, "pivot_root", new_root=Path, put_old=Path)
def pivot_root(task: Task, new_root: int, put_old: int) -> None:
    raise Errno(EPERM)


@syscall(153, "vhangup")
def vhangup(task: Task) -> None:
    raise Errno(EPERM)


@syscall(163, "acct", filename=Path)
def acct(task: Task, filename: int) -> None:
    raise Errno(EPERM)


@syscall(167, "swapon", path=Path, swapflags=Flags("swap_flags"))
def swapon(task: Task, path: int, swapflags: int) -> None:
    raise Errno(EPERM)


@syscall(168, "swapoff", path=Path)
def swapoff(task: Task, path: int) -> None:
    raise Errno(EPERM)


@syscall(169, "reboot", magic1=UInt, magic2=UInt, cmd=UInt, arg=Ptr)
def reboot(task: Task, magic1: int, magic2: int, cmd: int, arg: int) -> None:
    raise Errno(EPERM)


@syscall(172, "iopl", level=UInt)
def iopl(task: Task, level: int) -> None:
    if level > 3:
        raise Errno(EINVAL)
    if level:
        raise Errno(EPERM)


@syscall(173, "ioperm", base=ULong, num=ULong, turn_on=Int)
def ioperm(task: Task, base: int, num: int, turn_on: int) -> None:
    if base + num > 65536 or base + num <= base:
        raise Errno(EINVAL)
    if turn_on:
        raise Errno(EPERM)


@syscall(175, "init_module", module_image=Ptr, len=Size, param_values=Str)
def init_module(task: Task, module_image: int, length: int, param_values: int) -> None:
    raise Errno(EPERM)


@syscall(313, "finit_module", fd=Fd, param_values=Str, flags=Int)
def finit_module(task: Task, fd: int, param_values: int, flags: int) -> None:
    raise Errno(EPERM)


@syscall(176, "delete_module", name=Str, flags=UInt)
def delete_module(task: Task, name: int, flags: int) -> None:
    raise Errno(EPERM)


@syscall(246, "kexec_load", entry=ULong, nr_segments=ULong, segments=Ptr, flags=ULong)
def kexec_load(task: Task, entry: int, nr_segments: int, segments: int, flags: int) -> None:
    raise Errno(EPERM)


@syscall(320, "kexec_file_load", kernel_fd=Fd, initrd_fd=Fd, cmdline_len=ULong, cmdline=Str, flags=ULong)
def kexec_file_load(task: Task, kernel_fd: int, initrd_fd: int, cmdline_len: int, cmdline: int, flags: int) -> None:
    raise Errno(EPERM)


@syscall(179, "quotactl", cmd=UInt, special=Path, id=Int, addr=Ptr)
def quotactl(task: Task, cmd: int, special: int, ident: int, addr: int) -> None:
    raise Errno(ENOSYS)


@syscall(308, "setns", fd=Fd, nstype=Flags("clone_flags"))
def setns(task: Task, fd: int, nstype: int) -> None:
    task.files.get(fd)
    raise Errno(EINVAL)


@syscall(298, "perf_event_open", attr=Ptr, pid=Int, cpu=Int, group_fd=Fd, flags=ULong)
def perf_event_open(task: Task, attr: int, pid: int, cpu: int, group_fd: int, flags: int) -> None:
    task.mm.read(attr, 8)
    raise Errno(EACCES)


@syscall(321, "bpf", cmd=Enum("bpf_commands", "i32"), attr=Ptr, size=UInt)
def bpf(task: Task, cmd: int, attr: int, size: int) -> None:
    raise Errno(EPERM)


@syscall(300, "fanotify_init", flags=UInt, event_f_flags=UInt)
def fanotify_init(task: Task, flags: int, event_f_flags: int) -> None:
    raise Errno(EPERM)


@syscall(323, "userfaultfd", flags=Int)
def userfaultfd(task: Task, flags: int) -> None:
    raise Errno(EPERM)


@syscall(425, "io_uring_setup", entries=UInt, params=Ptr)
def io_uring_setup(task: Task, entries: int, params: int) -> None:
    raise Errno(EPERM)  # kernel.io_uring_disabled is 2


@syscall(426, "io_uring_enter", fd=Fd, to_submit=UInt, min_complete=UInt, flags=UInt, argp=Ptr, argsz=Size)
def io_uring_enter(
    task: Task, fd: int, to_submit: int, min_complete: int, flags: int, argp: int, argsz: int
) -> None:
    task.files.get(fd)
    raise Errno(EOPNOTSUPP)


@syscall(427, "io_uring_register", fd=Fd, opcode=UInt, arg=Ptr, nr_args=UInt)
def io_uring_register(task: Task, fd: int, opcode: int, arg: int, nr_args: int) -> None:
    if fd < 0:
        raise Errno(EBADF)
    task.files.get(fd)
    raise Errno(EOPNOTSUPP)


@syscall(428, "open_tree", dirfd=Int, pathname=Path, flags=UInt)
def open_tree(task: Task, dirfd: int, pathname: int, flags: int) -> None:
    raise Errno(EPERM)


@syscall(429, "move_mount", from_dirfd=Int, from_path=Path, to_dirfd=Int, to_path=Path, flags=UInt)
def move_mount(task: Task, from_dirfd: int, from_path: int, to_dirfd: int, to_path: int, flags: int) -> None:
    raise Errno(EPERM)


@syscall(430, "fsopen", fsname=Str, flags=UInt)
def fsopen(task: Task, fsname: int, flags: int) -> None:
    raise Errno(EPERM)


@syscall(442, "mount_setattr", dirfd=Int, path=Path, flags=UInt, attr=Ptr, size=Size)
def mount_setattr(task: Task, dirfd: int, path: int, flags: int, attr: int, size: int) -> None:
    raise Errno(EPERM)


@syscall(444, "landlock_create_ruleset", attr=Ptr, size=Size, flags=UInt)
def landlock_create_ruleset(task: Task, attr: int, size: int, flags: int) -> None:
    raise Errno(EOPNOTSUPP)  # built in, not enabled at boot: what sandboxing programs expect and cope with


@syscall(317, "seccomp", operation=Enum("seccomp_ops"), flags=UInt, args=Ptr)
def seccomp(task: Task, operation: int, flags: int, args: int) -> None:
    raise Errno(EINVAL)  # no CONFIG_SECCOMP_FILTER


@syscall(154, "modify_ldt", func=Int, ptr=Ptr, bytecount=ULong, returns=Int)
def modify_ldt(task: Task, func: int, ptr: int, bytecount: int) -> int:
    if func == 0:
        return 0  # reading an LDT that was never set
    raise Errno(ENOSYS)  # no CONFIG_MODIFY_LDT_SYSCALL


@syscall(431, "fsconfig", fd=Fd, cmd=UInt, key=Str, value=Ptr, aux=Int)
def fsconfig(task: Task, fd: int, cmd: int, key: int, value: int, aux: int) -> None:
    if fd < 0:
        raise Errno(EINVAL)
    task.files.get(fd)
    raise Errno(EINVAL)  # no descriptor comes from fsopen


@syscall(432, "fsmount", fs_fd=Fd, flags=UInt, attr_flags=UInt)
def fsmount(task: Task, fs_fd: int, flags: int, attr_flags: int) -> None:
    raise Errno(EPERM)


@syscall(433, "fspick", dirfd=Int, path=Path, flags=UInt)
def fspick(task: Task, dirfd: int, path: int, flags: int) -> None:
    raise Errno(EPERM)


@syscall(445, "landlock_add_rule", ruleset_fd=Fd, rule_type=UInt, rule_attr=Ptr, flags=UInt)
def landlock_add_rule(task: Task, ruleset_fd: int, rule_type: int, rule_attr: int, flags: int) -> None:
    raise Errno(EOPNOTSUPP)


@syscall(446, "landlock_restrict_self", ruleset_fd=Fd, flags=UInt)
def landlock_restrict_self(task: Task, ruleset_fd: int, flags: int) -> None:
    raise Errno(EOPNOTSUPP)
