"""NUMA policies on a machine with one node: kept to be read back, without effect (mm/mempolicy.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.paging import PAGE_SIZE
from kernel.errno import E2BIG, EFAULT, EINVAL, ENODEV, ENOENT, EPERM, ESRCH, Errno
from kernel.syscalls.table import syscall
from kernel.syscalls.types import Enum, Flags, Int, Pid, Ptr, ULong
from kernel.task.cred import may_access

if TYPE_CHECKING:
    from kernel.task.task import Task

MPOL_DEFAULT, MPOL_PREFERRED, MPOL_BIND, MPOL_INTERLEAVE, MPOL_LOCAL, MPOL_PREFERRED_MANY = range(6)
_MPOL_MAX = 7
_MODE_FLAGS = 0xE000
_NEEDS_NODES = (MPOL_BIND, MPOL_INTERLEAVE, MPOL_PREFERRED_MANY)
MPOL_F_NODE, MPOL_F_ADDR, MPOL_F_MEMS_ALLOWED = 1, 2, 4
_MBIND_FLAGS = 1 | 2 | 4
_MAX_NODES = 1024
_MAX_PAGES = 1 << 16
"""More in one call would keep the kernel busy for too long."""
_ONLINE = 1
"""Node 0."""


@syscall(238, "set_mempolicy", mode=Enum("mempolicy_modes"), nodemask=Ptr, maxnode=ULong)
def set_mempolicy(task: Task, mode: int, nodemask: int, maxnode: int) -> None:
    _check_policy(mode, _nodes(task, nodemask, maxnode))


@syscall(
    239, "get_mempolicy", mode=Ptr, nodemask=Ptr, maxnode=ULong, addr=Ptr, flags=Flags("mempolicy_flags", "u64"),
)  # fmt: skip
def get_mempolicy(task: Task, mode: int, nodemask: int, maxnode: int, addr: int, flags: int) -> None:
    """Always the default policy; with MPOL_F_MEMS_ALLOWED the nodes there are."""
    if nodemask and maxnode < 1:
        raise Errno(EINVAL)
    if flags & ~(MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED):
        raise Errno(EINVAL)
    nodes = 0
    if flags & MPOL_F_MEMS_ALLOWED:
        if flags & (MPOL_F_NODE | MPOL_F_ADDR):
            raise Errno(EINVAL)
        nodes = _ONLINE
    elif flags & MPOL_F_ADDR:
        if task.mm.vmas.find(addr) is None:
            raise Errno(EFAULT)
    elif addr or flags & MPOL_F_NODE:
        raise Errno(EINVAL)
    if mode:
        task.mm.write_u32(mode, 0)
    if nodemask:
        size = (min(maxnode - 1, _MAX_NODES) + 63) // 64 * 8
        task.mm.write(nodemask, nodes.to_bytes(max(size, 8), "little"))


@syscall(
    237, "mbind", addr=Ptr, len=ULong, mode=Enum("mempolicy_modes"), nodemask=Ptr, maxnode=ULong,
    flags=Flags("mbind_flags"),
)  # fmt: skip
def mbind(task: Task, addr: int, length: int, mode: int, nodemask: int, maxnode: int, flags: int) -> None:
    nodes = _nodes(task, nodemask, maxnode)
    if flags & ~_MBIND_FLAGS or addr % PAGE_SIZE:
        raise Errno(EINVAL)
    if flags & 4:
        raise Errno(EPERM)  # MPOL_MF_MOVE_ALL
    _check_policy(mode, nodes)


@syscall(256, "migrate_pages", pid=Pid, maxnode=ULong, old_nodes=Ptr, new_nodes=Ptr)
def migrate_pages(task: Task, pid: int, maxnode: int, old_nodes: int, new_nodes: int) -> int:
    _nodes(task, old_nodes, maxnode)
    new = _nodes(task, new_nodes, maxnode)
    target = task.kernel.tasks.get(pid) if pid else task
    if target is None:
        raise Errno(ESRCH)
    if not may_access(task, target, real=True):
        raise Errno(EPERM)
    if not new & _ONLINE:
        raise Errno(EINVAL)
    return 0


@syscall(279, "move_pages", pid=Pid, count=ULong, pages=Ptr, nodes=Ptr, status=Ptr, flags=Int)
def move_pages(task: Task, pid: int, count: int, pages: int, nodes: int, status: int, flags: int) -> int:
    """Every page that is present is on node 0, wherever it should go."""
    if flags & ~6:
        raise Errno(EINVAL)
    if flags & 4:
        raise Errno(EPERM)
    target = task.kernel.tasks.get(pid) if pid else task
    if target is None or target.mm is None:
        raise Errno(ESRCH)
    if not may_access(task, target, real=True):
        raise Errno(EPERM)
    if count > _MAX_PAGES:
        raise Errno(E2BIG)
    for index in range(count):
        address = task.mm.read_u64(pages + 8 * index)
        if nodes and task.mm.read_i32(nodes + 4 * index) != 0:
            raise Errno(ENODEV)
        if status:
            if target.mm.vmas.find(address) is None:
                found = -EFAULT
            else:
                found = 0 if target.mm.physical(address) >= 0 else -ENOENT
            task.mm.write_i32(status + 4 * index, found)
    return 0


def _nodes(task: Task, address: int, maxnode: int) -> int:
    """A node mask from user memory; EINVAL when it names a node that cannot exist (get_nodes)."""
    maxnode -= 1
    if maxnode <= 0 or not address:
        return 0
    if maxnode > PAGE_SIZE * 8:
        raise Errno(EINVAL)
    mask = int.from_bytes(task.mm.read(address, (maxnode + 63) // 64 * 8), "little") & ((1 << maxnode) - 1)
    if mask >> _MAX_NODES:
        raise Errno(EINVAL)
    return mask


def _check_policy(mode: int, nodes: int) -> None:
    """EINVAL for a policy that cannot be (mpol_new)."""
    mode &= ~_MODE_FLAGS
    if mode >= _MPOL_MAX:
        raise Errno(EINVAL)
    if mode in (MPOL_DEFAULT, MPOL_LOCAL):
        if nodes:
            raise Errno(EINVAL)
    elif (nodes and not nodes & _ONLINE) or (mode in _NEEDS_NODES and not nodes):
        raise Errno(EINVAL)
