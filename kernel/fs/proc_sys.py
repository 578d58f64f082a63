"""/proc/sys: the settings of kernel.sysctl as files (fs/proc/proc_sysctl.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import EACCES, Errno
from kernel.fs.seqfile import GeneratedInode, PseudoDir
from kernel.fs.uapi import MAY_READ, MAY_WRITE

if TYPE_CHECKING:
    from kernel.fs.inode import SuperBlock
    from kernel.sysctl import Setting, Sysctl
    from kernel.task.task import Task


class SettingInode(GeneratedInode):
    """One setting. Access goes by the mode bits alone: capabilities do not help root (test_perm)."""

    __slots__ = ("_setting",)

    def __init__(self, sb: SuperBlock, setting: Setting) -> None:
        super().__init__(sb, setting.permissions)
        self._setting = setting

    def permission(self, task: Task, mask: int) -> None:
        bits = self.mode
        if task.cred.euid == 0:
            bits >>= 6
        elif task.cred.egid == 0 or 0 in task.cred.groups:
            bits >>= 3
        wanted = mask & (MAY_READ | MAY_WRITE | 1)
        if bits & wanted != wanted:
            raise Errno(EACCES)

    def generate(self, task: Task) -> bytes:
        return self._setting.text().encode("utf-8", "surrogateescape")

    def store(self, task: Task, data: bytes) -> None:
        self._setting.store(data)


def sys_directory(sb: SuperBlock, settings: Sysctl) -> PseudoDir:
    """The tree of all settings."""
    root = PseudoDir(sb)
    for name, setting in settings.items():
        parent, _, leaf = name.rpartition(".")
        root.directory(parent.replace(".", "/")).add(leaf, SettingInode(sb, setting))
    return root
