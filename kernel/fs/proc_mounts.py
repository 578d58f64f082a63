"""/proc/<pid>/{mounts,mountinfo,mountstats}: what is mounted where, below the reader's root (fs/proc_namespace.c)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kernel.fs.namei import Mount
    from kernel.task.task import Task


def mounts(reader: Task, task: Task) -> bytes:
    """One line a mount, as fstab(5)."""
    return b"".join(
        b"%s %s %s %s 0 0\n" % (escape(mount.sb.source), path, mount.sb.kind, mount.sb.mount_options)
        for mount, path in _visible(task)
    )


def mountinfo(reader: Task, task: Task) -> bytes:
    """proc_pid_mountinfo(5)."""
    out = []
    for mount, path in _visible(task):
        dev = mount.sb.dev
        major, minor = dev >> 8 & 0xFFF, dev & 0xFF | dev >> 12 & 0xFFF00
        of_mount, of_super = split_options(mount.sb.mount_options)
        place = b"%d %d %d:%d / %s %s" % (mount.id, mount.parent_id, major, minor, path, of_mount)
        out.append(b"%s - %s %s %s\n" % (place, mount.sb.kind, escape(mount.sb.source), of_super))
    return b"".join(out)


def mountstats(reader: Task, task: Task) -> bytes:
    return b"".join(
        b"device %s mounted on %s with fstype %s\n" % (escape(mount.sb.source), path, mount.sb.kind)
        for mount, path in _visible(task)
    )


def split_options(options: bytes) -> tuple[bytes, bytes]:
    """The options of the mount, and those of the file system behind it."""
    names = options.split(b",")
    own = [name for name in names if name in _MOUNT_OPTIONS]
    rest = [names[0], *(name for name in names[1:] if name not in _MOUNT_OPTIONS)]
    return b",".join(own), b",".join(rest)


_MOUNT_OPTIONS = frozenset(
    (b"rw", b"ro", b"nosuid", b"nodev", b"noexec", b"noatime", b"nodiratime", b"relatime", b"nosymfollow")
)


def escape(text: bytes) -> bytes:
    """Blank, tab, newline, backslash and # in octal (mangle)."""
    return b"".join(b"\\%03o" % c if c in b" \t\n\\#" else bytes([c]) for c in text)


def _visible(task: Task) -> Iterator[tuple[Mount, bytes]]:
    """The mounts at or below the task's root, with their paths from there."""
    root = task.fs.root if task.fs is not None else task.kernel.vfs.root
    for mount in task.kernel.vfs.mounts:
        if mount.dentry.path_is_reachable(root):
            yield mount, escape(mount.dentry.path(root))
