"""``-P path``: only the calls that name a path, or a descriptor opened on it."""

from __future__ import annotations

import os
from typing import Any

from emu.words import c_int
from kernel.errno import Errno
from kernel.syscalls import types as t
from kernel.syscalls.table import Syscall


class PathMatcher:
    """Matches a call if one of its path arguments is, or one of its descriptors refers to, a chosen path."""

    def __init__(self, paths: list[bytes]) -> None:
        self.paths = {path for given in paths for path in (given, os.path.normpath(given))}

    def matches(self, task: Any, row: Syscall | None, regs: tuple[int, ...]) -> bool:
        """Does the call concern one of the paths?"""
        if row is None:
            return False
        for index, arg in enumerate(row.args.values()):
            try:
                if isinstance(arg, t._Path):
                    address = regs[index] & 0xFFFFFFFFFFFFFFFF
                    if address and bytes(task.mm.cstring(address)) in self.paths:
                        return True
                elif isinstance(arg, (t._Fd, t._AtFd)):
                    fd = c_int(regs[index])
                    if fd >= 0 and task.files.get(fd).path in self.paths:
                        return True
            except (Errno, AttributeError):
                continue
        return False
