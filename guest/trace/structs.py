"""Decoders of the structures that arguments point at, found by the name that a declaration gives.

A fixed-size structure is a function from its bytes to text, entered in :data:`FIXED` with its size. One whose extent
depends on more than that (a sockaddr, a message) is entered in :data:`SIZED` and gets its address and a size or count.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from guest.trace.call import Call
from guest.trace.tables import flag_table
from guest.trace.text import dated, pointer

#: name → (bytes, text of one)
FIXED: dict[str, tuple[int, Callable[[Call, bytes], str]]] = {}
#: name → text of what is at (call, address, size or count)
SIZED: dict[str, Callable[[Call, int, int], str]] = {}

Decoder = Callable[[Call, bytes], str]


def fixed(size: int, *names: str) -> Callable[[Decoder], Decoder]:
    """Enter the decorated function as the decoder of ``size`` bytes under ``names``."""

    def enter(function: Decoder) -> Decoder:
        for name in names:
            FIXED[name] = (size, function)
        return function

    return enter


def sized(*names: str) -> Callable[[Callable[[Call, int, int], str]], Callable[[Call, int, int], str]]:
    """Enter the decorated function as the decoder of a structure of variable extent under ``names``."""

    def enter(function: Callable[[Call, int, int], str]) -> Callable[[Call, int, int], str]:
        for name in names:
            SIZED[name] = function
        return function

    return enter


def one(c: Call, name: str, address: int) -> str:
    """The structure ``name`` at ``address``; NULL, or the address when it cannot be read."""
    if not address:
        return "NULL"
    size, text = FIXED[name]
    data = c.read(address, size)
    return text(c, data) if data is not None else pointer(address)


def array(c: Call, name: str, address: int, count: int, limit: int | None = None) -> str:
    """``count`` of them, as ``[…, …]``; at most ``limit`` (the string limit unless verbose) are shown.

    What lies beyond readable memory is shown as ``... /* address */``.
    """
    if not address:
        return "NULL"
    if count <= 0:
        return "[]"
    size, text = FIXED[name]
    if limit is None:
        limit = READ_COUNT if c.style.verbose else c.style.string_limit
    shown = min(count, limit)
    data = c.read_some(address, shown * size)
    whole = len(data) // size
    if not whole:
        return pointer(address)
    parts = [element(text(c, data[i * size : (i + 1) * size])) for i in range(whole)]
    if whole < shown:
        parts.append(f"... /* {address + whole * size:#x} */")
    elif shown < count:
        parts.append("...")
    return f"[{', '.join(parts)}]"


#: Elements shown of an array with -v.
READ_COUNT = 4096


def element(text: str) -> str:
    """One element inside an array: the number inside ``[5]`` stands bare there."""
    return text[1:-1] if text.startswith("[") else text


def _number(name: str, fmt: str, show: Callable[[int], str] = str) -> None:
    unpack = struct.Struct("<" + fmt).unpack_from

    def text(c: Call, data: bytes) -> str:
        return f"[{show(unpack(data)[0])}]"

    FIXED[name] = (struct.calcsize(fmt), text)


def uid_text(value: int) -> str:
    """A user or group id; the one that means "leave it" as -1."""
    return "-1" if value == 0xFFFFFFFF else str(value)


for _names, _fmt in (
    (("int", "i32", "s32", "int32", "pid", "pid_t", "fd", "clockid", "timer", "timer_t", "timerid"), "i"),
    (("uint", "u32", "unsigned", "uint32", "socklen", "socklen_t"), "I"),
    (("long", "i64", "int64", "off", "off_t", "loff", "loff_t", "offset", "ssize", "time64"), "q"),
    (("ulong", "u64", "uint64", "size", "size_t", "unsigned_long"), "Q"),
    (("short", "i16"), "h"), (("ushort", "u16", "gid16"), "H"),
):
    for _name in _names:
        _number(_name, _fmt)
for _name in ("uid", "gid", "uid_t", "gid_t"):
    _number(_name, "I", uid_text)
for _name in ("ptr", "address", "pointer", "void_ptr"):
    _number(_name, "Q", pointer)
_number("u8", "B")
_number("byte", "B")
_number("hex64", "Q", lambda value: f"{value:#x}")


@fixed(8, "time", "time_t")
def time_t(c: Call, data: bytes) -> str:
    """A time_t behind a pointer, with its date."""
    (seconds,) = struct.unpack("<q", data)
    return f"[{dated(str(seconds), seconds)}]"


_timespec = struct.Struct("<qQ").unpack  # strace shows the fraction unsigned


@fixed(16, "timespec", "timespec64", "__kernel_timespec")
def timespec(c: Call, data: bytes) -> str:
    """struct timespec (nanoseconds)."""
    seconds, nanoseconds = _timespec(data)
    return f"{{tv_sec={seconds}, tv_nsec={nanoseconds}}}"


@fixed(16, "timeval", "__kernel_old_timeval")
def timeval(c: Call, data: bytes) -> str:
    """struct timeval (microseconds)."""
    seconds, microseconds = _timespec(data)
    return f"{{tv_sec={seconds}, tv_usec={microseconds}}}"


@fixed(16, "utimens_timespec")
def utimens_timespec(c: Call, data: bytes) -> str:
    """One of utimensat(2)'s two times, with its date or UTIME_NOW, UTIME_OMIT."""
    seconds, nanoseconds = _timespec(data)
    special = {0x3FFFFFFF: "UTIME_NOW", 0x3FFFFFFE: "UTIME_OMIT"}.get(nanoseconds)
    return special or dated(timespec(c, data), seconds, nanoseconds)


@fixed(16, "utimes_timeval")
def utimes_timeval(c: Call, data: bytes) -> str:
    """One of utimes(2)'s two times, with its date."""
    seconds, microseconds = _timespec(data)
    return dated(timeval(c, data), seconds, microseconds, 6)


@fixed(16, "utimbuf")
def utimbuf(c: Call, data: bytes) -> str:
    """utime(2)'s struct utimbuf."""
    access, modification = struct.unpack("<qq", data)
    return f"{{actime={dated(str(access), access)}, modtime={dated(str(modification), modification)}}}"


@fixed(32, "itimerval")
def itimerval(c: Call, data: bytes) -> str:
    """struct itimerval."""
    return f"{{it_interval={timeval(c, data[:16])}, it_value={timeval(c, data[16:])}}}"


@fixed(32, "itimerspec")
def itimerspec(c: Call, data: bytes) -> str:
    """struct itimerspec."""
    return f"{{it_interval={timespec(c, data[:16])}, it_value={timespec(c, data[16:])}}}"


@fixed(8, "timezone")
def timezone(c: Call, data: bytes) -> str:
    """struct timezone."""
    west, dst = struct.unpack("<ii", data)
    return f"{{tz_minuteswest={west}, tz_dsttime={dst}}}"


@fixed(32, "tms")
def tms(c: Call, data: bytes) -> str:
    """times(2)'s struct tms, in clock ticks."""
    names = ("tms_utime", "tms_stime", "tms_cutime", "tms_cstime")
    return "{" + ", ".join(f"{n}={v}" for n, v in zip(names, struct.unpack("<4q", data), strict=True)) + "}"


@fixed(208, "timex")
def timex(c: Call, data: bytes) -> str:
    """adjtimex(2)'s struct timex."""
    modes, offset, freq, maxerror, esterror, status = struct.unpack_from("<IxxxxqqqqI", data)
    constant, precision, tolerance, seconds, microseconds, tick, ppsfreq, jitter = struct.unpack_from("<8q", data, 48)
    shift, stabil, jitcnt, calcnt, errcnt, stbcnt, tai = struct.unpack_from("<ixxxxqqqqqi", data, 112)
    modes_text, status_text = flag_table("adjtimex_modes").text(modes), flag_table("adjtimex_status").text(status)
    return (f"{{modes={modes_text}, offset={offset}, freq={freq}, maxerror={maxerror}, esterror={esterror}, "
            f"status={status_text}, constant={constant}, precision={precision}, tolerance={tolerance}, "
            f"time={{tv_sec={seconds}, tv_usec={microseconds}}}, tick={tick}, ppsfreq={ppsfreq}, jitter={jitter}, "
            f"shift={shift}, stabil={stabil}, jitcnt={jitcnt}, calcnt={calcnt}, errcnt={errcnt}, stbcnt={stbcnt}, "
            f"tai={tai}}}")
