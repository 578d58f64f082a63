"""The tree of file systems that a guest starts with."""

from __future__ import annotations

import os
from typing import Any

from kernel.errno import from_host
from kernel.fs.devices import make_devtmpfs
from kernel.fs.hostfs import HostFs
from kernel.fs.hosttree import HostTree
from kernel.fs.namei import Vfs
from kernel.fs.overlay import OverlayFs
from kernel.fs.tmpfs import TmpFs

SHM_MOUNT_DEV = 1
"""``st_dev`` of memfd_create's files and shared anonymous memory: the kernel's own tmpfs."""


def boot_vfs(kernel: Any) -> Vfs:
    """Mount the overlay of ``kernel.options.root``, /dev, /dev/shm and the writable paths.

    Needs ``kernel.options``, ``kernel.clock`` and ``kernel.memory``. /proc and /sys are mounted by their owner.

    Raises:
        Errno: the root or a writable path cannot be opened.
    """
    options = kernel.options
    root = os.fspath(options.root or "/")
    try:
        tree = HostTree(root)
    except OSError as error:
        raise from_host(error) from None
    writable = [_host_path(root, os.fspath(path)) for path in options.writable]
    whole = os.path.realpath(root) in writable
    vfs = Vfs(kernel, HostFs(kernel, tree).root if whole else OverlayFs(kernel, tree).root)
    dev, shm = make_devtmpfs(kernel)
    vfs.mount(b"/dev", dev.root)
    vfs.mount(b"/dev/shm", shm.root)
    vfs.shm = TmpFs(kernel, SHM_MOUNT_DEV)
    vfs.protected_symlinks = _sysctl("protected_symlinks")
    vfs.protected_hardlinks = _sysctl("protected_hardlinks")
    vfs.trees.append(tree)
    for real in writable:
        _mount_writable(kernel, vfs, root, real)
    return vfs


def _host_path(root: str, path: str) -> str:
    """The host's name of a writable path, which is one of the host's inside --root or, failing that, the guest's."""
    real_root, real = os.path.realpath(root), os.path.realpath(path)
    inside = real_root.rstrip("/") + "/"
    if real == "/":
        return real_root
    if real != real_root and not real.startswith(inside):
        as_guest = os.path.realpath(inside + path.lstrip("/"))
        if as_guest.startswith(inside) and os.path.exists(as_guest):
            return as_guest
    return real


def _mount_writable(kernel: Any, vfs: Vfs, root: str, real: str) -> None:
    """Mount a host path for writing, at the guest's name for it; one outside --root keeps its name."""
    real_root = os.path.realpath(root)
    inside = real_root.rstrip("/") + "/"
    if real == real_root:
        return  # the root file system is the host's own already
    try:
        if os.path.isdir(real):
            tree, name = HostTree(real), b""
        elif os.path.exists(real):
            tree, name = HostTree(os.path.dirname(real)), os.fsencode(os.path.basename(real))
        else:
            raise FileNotFoundError(2, "No such file or directory", real)
    except OSError as error:
        raise from_host(error) from None
    where = real[len(inside) - 1 :] if real.startswith(inside) else real
    vfs.trees.append(tree)
    vfs.mount(os.fsencode(where), HostFs(kernel, tree, name).root)


def _sysctl(name: str) -> bool:
    """A switch of /proc/sys/fs: the guest's is what the host's is."""
    try:
        with open(f"/proc/sys/fs/{name}", encoding="ascii") as file:
            return file.read().strip() != "0"
    except OSError:
        return True
