"""The types of system call arguments: how a register becomes a Python value, and what the tracer can know of it.

One declaration serves dispatch, tracer and the coverage table::

    @syscall(257, "openat", dirfd=AtFd, path=Path, flags=Flags("open"), mode=Mode)

Dispatch only looks at ``convert`` (the width and sign of the C type): a pointer arrives as an unsigned address and the
handler copies what it points at. How a value is *shown* is ``guest.trace``'s business: it finds its printer by the
class, and flag tables and structures by their names.
"""

from __future__ import annotations

from dataclasses import dataclass

#: How a raw register becomes the handler's argument, as Python source over ``a``, the register as signed 64-bit.
CONVERSIONS = {
    "i32": "((a & 0xffffffff) ^ 0x80000000) - 0x80000000",
    "u32": "a & 0xffffffff",
    "i64": "a",
    "u64": "a & 0xffffffffffffffff",
}


@dataclass(frozen=True)
class Arg:
    """Any argument; ``convert`` names its C width and sign."""

    convert: str = "u64"


@dataclass(frozen=True)
class _Int(Arg):
    convert: str = "i32"


@dataclass(frozen=True)
class _UInt(Arg):
    convert: str = "u32"


@dataclass(frozen=True)
class _Long(Arg):
    convert: str = "i64"


@dataclass(frozen=True)
class _Hex(Arg):
    """An unsigned long shown in hexadecimal."""


@dataclass(frozen=True)
class _Ptr(Arg):
    """An address whose target is not decoded; NULL when 0."""


@dataclass(frozen=True)
class _Fd(Arg):
    convert: str = "i32"


@dataclass(frozen=True)
class _AtFd(Arg):
    """A directory fd; AT_FDCWD by name."""

    convert: str = "i32"


@dataclass(frozen=True)
class _Path(Arg):
    """A C string naming a file (never shortened by the tracer)."""


@dataclass(frozen=True)
class _Str(Arg):
    """Any other C string (shortened like strace's -s)."""


@dataclass(frozen=True)
class _StrVec(Arg):
    """argv: a NULL-terminated vector of C strings."""


@dataclass(frozen=True)
class _EnvVec(Arg):
    """envp: shown as an address with the number of variables."""


@dataclass(frozen=True)
class _Mode(Arg):
    """A file mode in octal (mode_t)."""

    convert: str = "u32"


@dataclass(frozen=True)
class _Signal(Arg):
    convert: str = "i32"


@dataclass(frozen=True)
class _Pid(Arg):
    convert: str = "i32"


@dataclass(frozen=True)
class _Uid(Arg):
    """A user or group id; -1 shown as -1."""

    convert: str = "u32"


@dataclass(frozen=True)
class Flags(Arg):
    """A set of bits, shown as A|B|0x80; ``table`` names a table of guest.trace."""

    table: str = ""
    convert: str = "u32"

    def __init__(self, table: str, convert: str = "u32") -> None:
        object.__setattr__(self, "table", table)
        object.__setattr__(self, "convert", convert)


@dataclass(frozen=True)
class Enum(Arg):
    """One of several constants; ``table`` names a table of guest.trace."""

    table: str = ""
    convert: str = "u32"

    def __init__(self, table: str, convert: str = "u32") -> None:
        object.__setattr__(self, "table", table)
        object.__setattr__(self, "convert", convert)


@dataclass(frozen=True)
class BufIn(Arg):
    """Bytes that the caller passes; ``size`` names the argument with their number (or is the number)."""

    size: str | int = 0

    def __init__(self, size: str | int) -> None:
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "convert", "u64")


@dataclass(frozen=True)
class BufOut(Arg):
    """Bytes that the kernel fills: as many as the call returns, at most the argument named by ``size``."""

    size: str | int = 0

    def __init__(self, size: str | int) -> None:
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "convert", "u64")


@dataclass(frozen=True)
class IovecIn(Arg):
    """struct iovec[] to be written out; ``count`` names the argument with the number of elements."""

    count: str = ""

    def __init__(self, count: str) -> None:
        object.__setattr__(self, "count", count)
        object.__setattr__(self, "convert", "u64")


@dataclass(frozen=True, init=False)
class IovecOut(IovecIn):
    """struct iovec[] to be filled by the kernel."""


@dataclass(frozen=True)
class Struct(Arg):
    """A pointer to one structure (or, with ``count``, an array of them).

    ``name`` selects the decoder of guest.trace ("timespec", "stat", "sigaction", "pollfd", "int", "u32", …).
    ``way`` is "in" (decoded at entry), "out" (decoded at exit, the address when the call failed) or "inout".
    ``count`` names the argument, or gives the number, of array elements.
    """

    name: str = ""
    way: str = "in"
    count: str | int | None = None

    def __init__(self, name: str, way: str = "in", count: str | int | None = None) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "way", way)
        object.__setattr__(self, "count", count)
        object.__setattr__(self, "convert", "u64")


Int, UInt, Long, ULong, Size, SSize = _Int(), _UInt(), _Long(), Arg(), Arg(), _Long()
Offset, Hex, Ptr = _Long(), _Hex(), _Ptr()
Fd, AtFd, Path, Str, StrVec, EnvVec = _Fd(), _AtFd(), _Path(), _Str(), _StrVec(), _EnvVec()
Mode, Signal, Pid, Uid, Gid = _Mode(), _Signal(), _Pid(), _Uid(), _Uid()
