"""The system's names, as uname(2) and /proc/sys/kernel show them (init/version.c, kernel/sys.c)."""

from __future__ import annotations

import os
import struct
from typing import Any

from kernel.errno import EINVAL, Errno

NEW_UTS_LEN = 64
_FIELD = NEW_UTS_LEN + 1
_UTSNAME = struct.Struct(f"{_FIELD}s" * 6)

_SYSNAME = "Linux"
_MACHINE = "x86_64"
_RELEASE = "6.6.0-forkyard"
_VERSION = "#1 SMP PREEMPT_DYNAMIC"


class UtsNamespace:
    """The host's names where the host is Linux, so that programs print what they print natively; else fixed ones."""

    def __init__(self, options: Any = None) -> None:
        self.sysname, self.machine = _SYSNAME, _MACHINE
        self.nodename, self.release, self.version = "forkyard", _RELEASE, _VERSION
        host = os.uname()
        if host.sysname == _SYSNAME and not getattr(options, "deterministic", False):
            self.nodename, self.release, self.version = host.nodename, host.release, host.version
        self.domainname = "(none)"

    def pack(self) -> bytes:
        """struct new_utsname."""
        names = (self.sysname, self.nodename, self.release, self.version, self.machine, self.domainname)
        return _UTSNAME.pack(*(name.encode("utf-8", "surrogateescape")[:NEW_UTS_LEN] for name in names))

    def set_name(self, field: str, value: bytes) -> None:
        """Change ``nodename`` or ``domainname``; EINVAL above 64 bytes."""
        if len(value) > NEW_UTS_LEN:
            raise Errno(EINVAL)
        setattr(self, field, value.split(b"\0")[0].decode("utf-8", "surrogateescape"))

    def proc_version(self) -> str:
        """/proc/version; the compiler that built the host's kernel belongs to it where it can be had."""
        try:
            with open("/proc/version", encoding="utf-8") as file:
                text = file.read()
            if text.startswith(f"{self.sysname} version {self.release} "):
                return text
        except OSError:
            pass
        return f"{self.sysname} version {self.release} (forkyard) {self.version}\n"
