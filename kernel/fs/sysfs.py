"""A small /sys: the CPU, huge pages and the empty directories that programs look into (sysfs(5))."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kernel.errno import EINVAL, Errno
from kernel.fs.seqfile import PseudoDir, PseudoSuperBlock
from kernel.mm.layout import K_THP, THP_ALWAYS, THP_MADVISE, THP_NEVER

if TYPE_CHECKING:
    from kernel.fs.inode import StatFs
    from kernel.task.task import Task

SYSFS_MAGIC = 0x62656572
SYSFS_DEV = 22
SYSFS_ROOT_INO = 1

_CPU = "devices/system/cpu"
_NODE = "devices/system/node"
_THP = "kernel/mm/transparent_hugepage"
_THP_MODES = {"always": THP_ALWAYS, "madvise": THP_MADVISE, "never": THP_NEVER}
_TEXTS = {
    f"{_CPU}/kernel_max": "0\n",
    f"{_CPU}/offline": "\n",
    f"{_CPU}/online": "0\n",
    f"{_CPU}/possible": "0\n",
    f"{_CPU}/present": "0\n",
    f"{_CPU}/isolated": "\n",
    f"{_CPU}/smt/active": "0\n",
    f"{_CPU}/smt/control": "notsupported\n",
    f"{_CPU}/cpu0/topology/core_cpus": "1\n",
    f"{_CPU}/cpu0/topology/core_cpus_list": "0\n",
    f"{_CPU}/cpu0/topology/core_id": "0\n",
    f"{_CPU}/cpu0/topology/core_siblings": "1\n",
    f"{_CPU}/cpu0/topology/core_siblings_list": "0\n",
    f"{_CPU}/cpu0/topology/package_cpus": "1\n",
    f"{_CPU}/cpu0/topology/package_cpus_list": "0\n",
    f"{_CPU}/cpu0/topology/physical_package_id": "0\n",
    f"{_CPU}/cpu0/topology/thread_siblings": "1\n",
    f"{_CPU}/cpu0/topology/thread_siblings_list": "0\n",
    f"{_NODE}/online": "0\n",
    f"{_NODE}/possible": "0\n",
    f"{_NODE}/has_cpu": "0\n",
    f"{_NODE}/has_memory": "0\n",
    f"{_NODE}/node0/cpulist": "0\n",
    f"{_NODE}/node0/cpumap": "1\n",
    f"{_NODE}/node0/distance": "10\n",
    f"{_THP}/hpage_pmd_size": "2097152\n",
    f"{_THP}/use_zero_page": "0\n",
}
#: Files that offer words and show the chosen one in brackets, without effect.
_CHOICES = {
    f"{_THP}/defrag": "always defer defer+madvise madvise never",
    f"{_THP}/shmem_enabled": "always within_size advise never deny force",
}
_DIRECTORIES = (
    "block", "bus", "class/net", "class/tty", "dev/block", "dev/char", "firmware", "fs/cgroup", "fs/ext4", "kernel",
    "kernel/mm/hugepages", "module", "power",
)  # fmt: skip


class SysSuperBlock(PseudoSuperBlock):
    """The file system; files show the size of a page."""

    blksize = 4096
    file_size = 4096

    def statfs(self) -> StatFs:
        return super().statfs()._replace(type=SYSFS_MAGIC, fsid=0)


class SysFs(PseudoDir):
    """The directory to mount on /sys."""

    __slots__ = ()

    def __init__(self, kernel: Any) -> None:
        sb = SysSuperBlock(kernel, b"sysfs", SYSFS_MAGIC, SYSFS_DEV, first_ino=SYSFS_ROOT_INO + 1)
        super().__init__(sb, ino=SYSFS_ROOT_INO)
        for name in _DIRECTORIES:
            self.directory(name)
        for path, text in _TEXTS.items():
            self.text(path, text)
        for path, words in _CHOICES.items():
            choice = _Choice(words.split())
            self.file(path, choice.show, choice.store, 0o644)
        thp = _Choice(["always", "madvise", "never"], "madvise", lambda word: memory.set(K_THP, _THP_MODES[word]))
        memory = kernel.memory.memory
        self.file(f"{_THP}/enabled", thp.show, thp.store, 0o644)


class _Choice:
    """One of several words; ``changed`` is called with what is written."""

    def __init__(self, words: list[str], chosen: str = "never", changed: Callable[[str], None] | None = None) -> None:
        self.words = words
        self.chosen = chosen
        self.changed = changed

    def show(self, task: Task) -> str:
        return " ".join(f"[{word}]" if word == self.chosen else word for word in self.words) + "\n"

    def store(self, task: Task, data: bytes) -> None:
        word = data.split(b"\0")[0].strip().decode("latin1")
        if word not in self.words:
            raise Errno(EINVAL)
        self.chosen = word
        if self.changed is not None:
            self.changed(word)
