"""Arguments that are shown from the register alone, descriptors with -y excepted."""

from __future__ import annotations

from typing import Any

from emu.words import c_int
from guest.trace.call import Call
from guest.trace.text import escape
from kernel.errno import Errno

AT_FDCWD = -100


def fd_path(c: Call, fd: int) -> str:
    """``<path>`` behind an open descriptor when -y asks for it, else nothing."""
    files = getattr(c.task, "files", None)
    if files is None or fd < 0:
        return ""
    try:
        file = files.get(fd)
        path = file.path
    except (Errno, AttributeError):
        return ""
    if not isinstance(path, bytes):
        return ""
    return f"<{escape(path)}{_device(file) if c.style.fd_paths > 1 else ''}>"


def _device(file: Any) -> str:
    """What -yy adds for a device: ``<char 1:3>``."""
    mode, number = getattr(file.inode, "mode", 0), getattr(file.inode, "rdev", 0)
    kind = {0o020000: "char", 0o060000: "block"}.get(mode & 0o170000)
    if kind is None:
        return ""
    return f"<{kind} {number >> 8 & 0xFFF}:{number & 0xFF | number >> 12 & 0xFFF00}>"


def fd_text(c: Call, value: int) -> str:
    """A file descriptor."""
    fd = c_int(value)
    return f"{fd}{fd_path(c, fd)}" if c.style.fd_paths else str(fd)


def at_fd_text(c: Call, value: int) -> str:
    """A directory descriptor, AT_FDCWD by name."""
    fd = c_int(value)
    if fd != AT_FDCWD:
        return fd_text(c, value)
    if not c.style.fd_paths:
        return "AT_FDCWD"
    return f"AT_FDCWD{_cwd(c)}"


def _cwd(c: Call) -> str:
    try:
        fs = c.task.fs
        path = fs.cwd.path(fs.root)
    except AttributeError:
        return ""
    return f"<{escape(path)}>"
