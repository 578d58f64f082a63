"""File calls whose arguments depend on each other or on the result."""

from __future__ import annotations

from collections.abc import Callable

from guest.trace.call import Call
from guest.trace.results import hex_result
from guest.trace.scalars import at_fd_text, fd_text
from guest.trace.structs import one
from guest.trace.structs_fs import dirents, iovec_array
from guest.trace.structs_task import signal_name
from guest.trace.structs_tty import ioctl
from guest.trace.tables import enum_table, flag_table
from guest.trace.text import buffer, device, file_mode, octal_mode, path, pointer

_O_CREAT, _O_TMPFILE = 0o100, 0o20000000


def open_flags(c: Call, flags_index: int) -> str:
    """The flags, and the mode if they make a file."""
    flags = c.uint32(flags_index)
    text = flag_table("open").text(flags)
    if flags & (_O_CREAT | _O_TMPFILE):
        text += f", {octal_mode(c.uint32(flags_index + 1))}"
    return text


def _open(c: Call) -> str:
    return f"{path(c, c.arg(0))}, {open_flags(c, 1)}"


def _openat(c: Call) -> str:
    return f"{at_fd_text(c, c.regs[0])}, {path(c, c.arg(1))}, {open_flags(c, 2)}"


def _openat2(c: Call) -> str:
    how = one(c, "open_how", c.arg(2)) if c.arg(3) >= 24 else pointer(c.arg(2))
    return f"{at_fd_text(c, c.regs[0])}, {path(c, c.arg(1))}, {how}, {c.arg(3)}"


def _node(c: Call, mode_index: int) -> str:
    mode = c.uint32(mode_index)
    text = file_mode(mode)
    if mode & 0o170000 in (0o020000, 0o060000):
        text += f", {device(c.uint32(mode_index + 1))}"
    return text


def _getdents(is64: bool) -> Callable[[Call], str]:
    def show(c: Call) -> str:
        def rest(c: Call) -> str:
            shown = pointer(c.arg(1)) if c.failed else dirents(c, c.arg(1), c.result or 0, is64)
            return f"{shown}, {c.uint32(2)}"

        c.rest = rest
        return f"{fd_text(c, c.regs[0])}, "

    return show


def _getcwd(c: Call) -> str:
    def rest(c: Call) -> str:
        shown = pointer(c.arg(0)) if c.failed else path(c, c.arg(0))
        return f"{shown}, {c.arg(1)}"

    c.rest = rest
    return ""


def _times(c: Call, index: int, kind: str) -> str:
    address = c.arg(index)
    if not address:
        return "NULL"
    if c.read(address, 32) is None:
        return pointer(address)
    return f"[{one(c, kind, address)}, {one(c, kind, address + 16)}]"


def _utimensat(c: Call) -> str:
    return (f"{at_fd_text(c, c.regs[0])}, {path(c, c.arg(1))}, {_times(c, 2, 'utimens_timespec')}, "
            f"{flag_table('at').text(c.uint32(3))}")


def _utimes(c: Call) -> str:
    return f"{path(c, c.arg(0))}, {_times(c, 1, 'utimes_timeval')}"


def _futimesat(c: Call) -> str:
    return f"{at_fd_text(c, c.regs[0])}, {path(c, c.arg(1))}, {_times(c, 2, 'utimes_timeval')}"


def _sendfile(c: Call) -> str:
    head = f"{fd_text(c, c.regs[0])}, {fd_text(c, c.regs[1])}, "
    offset, count = c.arg(2), c.arg(3)
    before = one(c, "u64", offset)
    if not offset or not before.startswith("["):
        return f"{head}{before}, {count}"

    def rest(c: Call) -> str:
        changed = f" => {one(c, 'u64', offset)}" if c.result and not c.failed else ""
        return f"{changed}, {count}"

    c.rest = rest
    return head + before


def _two_offsets(c: Call) -> str:
    return (f"{fd_text(c, c.regs[0])}, {one(c, 'loff_t', c.arg(1))}, {fd_text(c, c.regs[2])}, "
            f"{one(c, 'loff_t', c.arg(3))}, {c.arg(4)}")


def _vector(out: bool, flags: bool) -> Callable[[Call], str]:
    """preadv, pwritev and their flagged forms: the offset is one argument on this machine, its upper half unused."""

    def show(c: Call) -> str:
        count = c.arg(2)
        tail = f", {count}, {c.regs[3]}" + (f", {flag_table('rwf').text(c.uint32(5))}" if flags else "")
        head = f"{fd_text(c, c.regs[0])}, "
        if not out:
            return f"{head}{iovec_array(c, c.arg(1), count)}{tail}"
        c.rest = lambda c: iovec_array(c, c.arg(1), count, max(c.result or 0, 0), c.failed) + tail
        return head

    return show


def _fcntl(c: Call) -> str:
    command, argument = c.uint32(1), c.arg(2)
    head = f"{fd_text(c, c.regs[0])}, {enum_table('fcntl_cmd').text(command)}"
    number = c.int32(2)
    if command in (1, 3, 9, 11, 1025, 1032, 1034):  # GETFD GETFL GETOWN GETSIG GETLEASE GETPIPE_SZ GET_SEALS
        if command != 1032:
            c.rest = lambda c: _fcntl_result(c, command)
        return head
    if command in (0, 1030):
        c.rest = _duplicate
    if command in (0, 1030, 1031):
        return f"{head}, {argument}"
    if command == 8:
        return f"{head}, {number}"
    if command == 10:
        return f"{head}, {signal_name(number)}"
    if command in (2, 4, 1026, 1033):
        table = {2: "fd_flags", 4: "open", 1026: "dnotify", 1033: "seals"}[command]
        return f"{head}, {flag_table(table).text(argument & 0xFFFFFFFF)}"
    if command == 1024:
        return f"{head}, {enum_table('lock_type').text(argument)}"
    if command in (6, 7, 37, 38):
        return f"{head}, {one(c, 'flock', argument)}"
    if command in (5, 36, 16):
        kind = "f_owner_ex" if command == 16 else "flock_out"
        c.rest = lambda c: pointer(argument) if c.failed else one(c, kind, argument)
        return head + ", "
    if command == 15:
        return f"{head}, {one(c, 'f_owner_ex', argument)}"
    return f"{head}, {f'{argument:#x}' if argument else '0'}"


def _duplicate(c: Call) -> str:
    if not c.failed:
        c.value = fd_text(c, c.result or 0)
    return ""


def _fcntl_result(c: Call, command: int) -> str:
    """Says in the auxiliary text what the returned bits are; there is nothing left to show of the arguments."""
    result = c.result or 0
    if not c.failed:
        if command in (1, 3, 1025, 1034):
            c.value = hex_result(c)
        if command == 1:
            c.aux = f"flags {flag_table('fd_flags').text(result)}" if result else None
        elif command == 3:
            c.aux = f"flags {flag_table('open').text(result)}"
        elif command == 1034:
            c.aux = f"seals {flag_table('seals').text(result)}" if result else None
        elif command == 1025:
            c.aux = enum_table("lock_type").text(result)
        elif command == 11 and result:
            c.aux = signal_name(result)
    return ""


def _attribute(c: Call, address: int, size: int) -> str:
    """The value of an extended attribute, without the NUL that ends most."""
    last = c.read(address + size - 1, 1) if address and size else None
    return buffer(c, address, size - 1 if last == bytes(1) else size)


def _xattr_value(get_fd: bool) -> Callable[[Call], str]:
    def show(c: Call) -> str:
        first = fd_text(c, c.regs[0]) if get_fd else path(c, c.arg(0))
        head = f"{first}, {path(c, c.arg(1))}, "

        def rest(c: Call) -> str:
            size = c.arg(3)
            if c.failed or not size:
                return f"{pointer(c.arg(2))}, {size}"
            return f"{_attribute(c, c.arg(2), c.result or 0)}, {size}"

        c.rest = rest
        return head

    return show


def _list_xattr(get_fd: bool) -> Callable[[Call], str]:
    def show(c: Call) -> str:
        def rest(c: Call) -> str:
            size = c.arg(2)
            if c.failed or not size:
                return f"{pointer(c.arg(1))}, {size}"
            return f"{buffer(c, c.arg(1), c.result or 0)}, {size}"

        c.rest = rest
        return (fd_text(c, c.regs[0]) if get_fd else path(c, c.arg(0))) + ", "

    return show


def _mount(c: Call) -> str:
    flags = c.arg(3)
    magic = ""
    if flags & 0xFFFF0000 == 0xC0ED0000:
        magic, flags = "MS_MGC_VAL|", flags & 0xFFFF
    data = path(c, c.arg(4))
    return (f"{path(c, c.arg(0))}, {path(c, c.arg(1))}, {path(c, c.arg(2))}, "
            f"{magic}{flag_table('mount').text(flags)}, {data}")


def _vmsplice(c: Call) -> str:
    return (f"{fd_text(c, c.regs[0])}, {iovec_array(c, c.arg(1), c.arg(2))}, {c.arg(2)}, "
            f"{flag_table('splice').text(c.uint32(3))}")


def _setxattr(c: Call, on_fd: bool = False) -> str:
    first = fd_text(c, c.regs[0]) if on_fd else path(c, c.arg(0))
    return (f"{first}, {path(c, c.arg(1))}, {_attribute(c, c.arg(2), c.arg(3))}, {c.arg(3)}, "
            f"{flag_table('setxattr').text(c.uint32(4))}")


CALLS: dict[str, Callable[[Call], str]] = {
    "open": _open,
    "openat": _openat,
    "openat2": _openat2,
    "mknod": lambda c: f"{path(c, c.arg(0))}, {_node(c, 1)}",
    "mknodat": lambda c: f"{at_fd_text(c, c.regs[0])}, {path(c, c.arg(1))}, {_node(c, 2)}",
    "getdents64": _getdents(True),
    "getdents": _getdents(False),
    "getcwd": _getcwd,
    "truncate": lambda c: f"{path(c, c.arg(0))}, {c.arg(1)}",
    "ftruncate": lambda c: f"{fd_text(c, c.regs[0])}, {c.arg(1)}",
    "utimensat": _utimensat,
    "utimes": _utimes,
    "futimesat": _futimesat,
    "sendfile": _sendfile,
    "splice": lambda c: f"{_two_offsets(c)}, {flag_table('splice').text(c.uint32(5))}",
    "copy_file_range": lambda c: f"{_two_offsets(c)}, {c.uint32(5)}",
    "preadv": _vector(True, False),
    "pwritev": _vector(False, False),
    "preadv2": _vector(True, True),
    "pwritev2": _vector(False, True),
    "vmsplice": _vmsplice,
    "fcntl": _fcntl,
    "ioctl": ioctl,
    "getxattr": _xattr_value(False),
    "lgetxattr": _xattr_value(False),
    "fgetxattr": _xattr_value(True),
    "listxattr": _list_xattr(False),
    "llistxattr": _list_xattr(False),
    "flistxattr": _list_xattr(True),
    "setxattr": _setxattr,
    "lsetxattr": _setxattr,
    "fsetxattr": lambda c: _setxattr(c, True),
    "mount": _mount,
}
