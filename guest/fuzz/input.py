"""Where the bytes of an input come from, and as what the program sees them.

Whatever the source, the program finds an ordinary file in memory: at ``path``, or open as its stdin. Its attributes
(inode number, times, owner) are the same in every run; its contents are fetched anew for each one.
"""

from __future__ import annotations

import os

LENGTH_BYTES = 4
"""AFL++'s shared test case begins with its length, a host-order u32."""


class InputError(Exception):
    """The input of this run cannot be read; the text says why, in one line."""


class InputSource:
    """One place that inputs come from. ``path`` is the guest's name of the file, None when the program reads stdin."""

    def __init__(self, path: str | None = None) -> None:
        self.path = path

    def fetch(self) -> bytes:
        """The bytes of the next run's input.

        Raises:
            InputError: they cannot be read.
        """
        raise NotImplementedError


class BytesInput(InputSource):
    """Bytes that the caller has: assign ``data`` before each run."""

    def __init__(self, data: bytes = b"", path: str | None = None) -> None:
        super().__init__(path)
        self.data = data

    def fetch(self) -> bytes:
        return self.data


class DescriptorInput(InputSource):
    """A regular file that the launcher inherited as ``fd`` and that afl-fuzz rewrites; read from its start."""

    def __init__(self, fd: int = 0, path: str | None = None) -> None:
        super().__init__(path)
        self.fd = fd

    def fetch(self) -> bytes:
        parts, offset = [], 0
        try:
            while part := os.pread(self.fd, 1 << 20, offset):
                parts.append(part)
                offset += len(part)
        except OSError as error:
            raise InputError(f"the input on descriptor {self.fd}: {error.strerror}") from None
        return b"".join(parts)


class FileInput(InputSource):
    """The host file that ``@@`` stands for. It is opened by name each time: afl-fuzz may replace it, or not have made
    it yet (an input that is not there is empty)."""

    def __init__(self, path: str, host_path: str | None = None) -> None:
        super().__init__(path)
        self.host_path = host_path or path

    def fetch(self) -> bytes:
        try:
            with open(self.host_path, "rb", buffering=0) as file:
                return file.read()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise InputError(f"{self.host_path}: {error.strerror}") from None


class SharedInput(InputSource):
    """AFL++'s shared-memory test case: a u32 length and the bytes."""

    def __init__(self, view: memoryview, path: str | None = None) -> None:
        super().__init__(path)
        self._view = view.cast("B")

    def fetch(self) -> bytes:
        size = int.from_bytes(self._view[:LENGTH_BYTES], "little")
        return bytes(self._view[LENGTH_BYTES : LENGTH_BYTES + size])
