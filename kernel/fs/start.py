"""Where the first process starts: its root, working directory and umask."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from kernel.errno import ENOTDIR, Errno
from kernel.fs.namei import FsContext
from kernel.fs.uapi import AT_FDCWD, S_IFDIR
from kernel.task.cred import Credentials

if TYPE_CHECKING:
    from kernel.fs.dentry import Dentry
    from kernel.kernel import Kernel


def starting_context(kernel: Kernel) -> FsContext:
    """Root, umask and working directory: ``options.cwd``, or the host's where the guest has that directory too.

    Raises:
        Errno: ``options.cwd`` was given and is not a directory of the guest.
    """
    umask = os.umask(0o22)
    os.umask(umask)
    vfs = kernel.vfs
    context = FsContext(vfs.root, vfs.root, umask)
    wanted = kernel.options.cwd or _host_directory(os.path.realpath(kernel.options.root))
    walker: Any = SimpleNamespace(fs=context, files=None, cred=Credentials.initial(kernel.options), kernel=kernel)
    try:
        found: Dentry = vfs.resolve(walker, AT_FDCWD, os.fsencode(wanted))
        if found.inode.kind != S_IFDIR:
            raise Errno(ENOTDIR)
    except Errno:
        if kernel.options.cwd is not None:
            raise
        return context
    context.cwd = found
    return context


def _host_directory(root: str) -> str:
    """The host's working directory as the guest would name it; / when it lies outside the guest's root."""
    try:
        here = os.getcwd()
    except OSError:
        return "/"
    if root == "/":
        return here
    return "/" + os.path.relpath(here, root) if os.path.commonpath([root, here]) == root else "/"
