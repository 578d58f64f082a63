"""Data of host files that the guest may write: what a write-through page cache reads from and writes to."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from kernel.errno import from_host
from kernel.fs.hosttree import read_pages
from kernel.fs.uapi import O_ACCMODE


@contextlib.contextmanager
def host_errors() -> Iterator[None]:
    """What the host refuses, the guest is refused."""
    try:
        yield
    except OSError as error:
        raise from_host(error) from None


class WritableBacking:
    """The contents of a host file for a page cache that writes through. Its descriptor stays open."""

    def __init__(self, fd: int, writable: bool, readable: bool = True) -> None:
        self.fd = fd
        self.writable = writable
        self.readable = readable

    def allows(self, flags: int) -> bool:
        """Will the descriptor do for a file opened with ``flags``?"""
        mode = flags & O_ACCMODE
        return (self.writable or mode == os.O_RDONLY) and (self.readable or mode == os.O_WRONLY)

    def read_into(self, offset: int, view: memoryview) -> int:
        """As HostBacking.read_into."""
        done = 0
        with host_errors():
            while done < len(view):
                n = os.preadv(self.fd, [view[done:]], offset + done)
                if n == 0:
                    break
                done += n
        return done

    def read_pages(self, offset: int, views: list[memoryview]) -> int:
        """As HostBacking.read_pages."""
        with host_errors():
            return read_pages(self.fd, offset, views)

    def write(self, offset: int, data: Any) -> int:
        """Write through; returns the bytes written, which may be fewer when the host's disk is full."""
        view = memoryview(data)
        done = 0
        while done < len(view):
            try:
                done += os.pwrite(self.fd, view[done:], offset + done)
            except OSError as error:
                if done:
                    break
                raise from_host(error) from None
        return done

    def truncate(self, size: int) -> None:
        """Set the host file's size."""
        with host_errors():
            os.ftruncate(self.fd, size)

    def close(self) -> None:
        """Let go of the host's file."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
