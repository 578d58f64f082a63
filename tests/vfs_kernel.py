"""A kernel reduced to what the file systems need, for unit tests without a CPU."""

from __future__ import annotations

import inspect
import time
from types import SimpleNamespace
from typing import Any

from kernel.errno import EFAULT, Errno
from kernel.fs.boot import boot_vfs
from kernel.fs.fdtable import FdTable
from kernel.fs.namei import FsContext
from kernel.mm.memory import KernelMemory
from kernel.syscalls.table import TABLE
from kernel.task.cred import Credentials


class FlatMemory:
    """User memory as one array at ``BASE``."""

    BASE = 0x10000

    def __init__(self, size: int = 1 << 22) -> None:
        self.data = bytearray(size)
        self.top = self.BASE

    def put(self, data: bytes) -> int:
        """Place ``data`` and return its address."""
        address = self.top
        self.top += len(data) + 15 & ~15
        if self.top > self.BASE + (1 << 21):
            self.top = self.BASE
        self.data[address - self.BASE : address - self.BASE + len(data)] = data
        return address

    def room(self, size: int) -> int:
        return self.put(bytes(size))

    def _offset(self, address: int, count: int) -> int:
        offset = address - self.BASE
        if offset < 0 or offset + count > len(self.data):
            raise Errno(EFAULT)
        return offset

    def read(self, address: int, count: int) -> bytes:
        offset = self._offset(address, count)
        return bytes(self.data[offset : offset + count])

    def write(self, address: int, data: bytes) -> None:
        offset = self._offset(address, len(data))
        self.data[offset : offset + len(data)] = data

    def read_some(self, address: int, count: int) -> bytes:
        offset = self._offset(address, 1)
        return bytes(self.data[offset : offset + count])

    def write_some(self, address: int, data: bytes) -> int:
        offset = self._offset(address, 1)
        part = data[: len(self.data) - offset]
        self.data[offset : offset + len(part)] = part
        return len(part)

    def cstring(self, address: int, limit: int = 4096) -> bytes:
        offset = self._offset(address, 1)
        return bytes(self.data[offset : self.data.index(0, offset)])

    def read_iovec(self, address: int, count: int) -> list[tuple[int, int]]:
        raw = self.read(address, 16 * count)
        words = [int.from_bytes(raw[i : i + 8], "little") for i in range(0, len(raw), 8)]
        return list(zip(words[::2], words[1::2], strict=True))


class MiniKernel:
    """``kernel`` and one task; ``call(name, …)`` makes a system call with Python values for pointers."""

    def __init__(self, root: str, writable: list[str] | None = None, memory_bytes: int = 256 << 20) -> None:
        self.options = SimpleNamespace(root=root, writable=writable or [], memory_bytes=memory_bytes)
        self.clock = SimpleNamespace(virtual=False, timestamp_ns=time.time_ns, monotonic_ns=time.monotonic_ns)
        self.memory = KernelMemory(self.options.memory_bytes)
        self.random = SimpleNamespace(bytes=lambda n: b"r" * n)
        self.scheduler: Any = SimpleNamespace(current=None)
        self.vfs = boot_vfs(self)
        self.task: Any = SimpleNamespace(
            kernel=self,
            mm=FlatMemory(),
            files=FdTable(self),
            fs=FsContext(self.vfs.root, self.vfs.root, 0o022),
            cred=Credentials.initial(SimpleNamespace(uid=0, gid=0)),
            group=SimpleNamespace(rlimits={}, controlling_tty=None),
        )
        self.rows = {row.name: row for row in TABLE.values()}

    def call(self, name: str, *args: Any) -> int:
        """The result as a program sees it: -errno on failure. bytes become the address of a C string."""
        values = [self.task.mm.put(a + b"\0") if isinstance(a, bytes) else a for a in args]
        values += [0] * (6 - len(values))
        try:
            result = self.rows[name].call(self.task, tuple(values))
            if inspect.iscoroutine(result):
                result = _finish(result)
        except Errno as error:
            return -error.code
        return 0 if result is None else result

    def read_all(self, path: bytes) -> bytes | int:
        """The contents of a file, or -errno."""
        fd = self.call("open", path, 0)
        if fd < 0:
            return fd
        out = b""
        buffer = self.task.mm.room(4096)
        while (n := self.call("read", fd, buffer, 4096)) > 0:
            out += self.task.mm.read(buffer, n)
        self.call("close", fd)
        return out if n == 0 else n

    def write_all(self, path: bytes, data: bytes, flags: int = 0o1101, mode: int = 0o644) -> int:
        """Create or overwrite a file."""
        fd = self.call("open", path, flags, mode)
        if fd < 0:
            return fd
        n = self.call("write", fd, self.task.mm.put(data), len(data))
        self.call("close", fd)
        return n

    def names(self, path: bytes) -> list[bytes]:
        """What readdir shows."""
        fd = self.call("open", path, 0o200000)
        names = [row[0] for row in self.task.files.get(fd).readdir(self.task)]
        self.call("close", fd)
        return names


class WouldBlockError(Exception):
    """The call would wait: there is no scheduler here."""


def _finish(coroutine: Any) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise WouldBlockError
