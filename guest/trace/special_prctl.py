"""prctl(2): every option has arguments of its own."""

from __future__ import annotations

from collections.abc import Callable

from guest.trace.call import Call
from guest.trace.structs import one
from guest.trace.structs_task import signal_name
from guest.trace.tables import enum_table, flag_table
from guest.trace.text import buffer, c_string, pointer


def _plain(c: Call, first: int, last: int = 5) -> str:
    return "".join(f", {c.arg(i)}" for i in range(first, last))


def _hex(c: Call, first: int, last: int = 5) -> str:
    return "".join(f", {c.arg(i):#x}" if c.arg(i) else ", 0" for i in range(first, last))


def _dumpable_result(c: Call) -> str:
    if not c.failed:
        c.aux = enum_table("suid_dump").text(c.result or 0)
    return ""


def _securebits_result(c: Call) -> str:
    if not c.failed and c.result:
        c.aux = flag_table("securebits").text(c.result)
    return ""


def _capability(value: int) -> str:
    return enum_table("capability").text(value)


_SECCOMP = {0: "SECCOMP_MODE_DISABLED", 1: "SECCOMP_MODE_STRICT", 2: "SECCOMP_MODE_FILTER"}
_MM = ("PR_SET_MM_START_CODE", "PR_SET_MM_END_CODE", "PR_SET_MM_START_DATA", "PR_SET_MM_END_DATA",
       "PR_SET_MM_START_STACK", "PR_SET_MM_START_BRK", "PR_SET_MM_BRK", "PR_SET_MM_ARG_START", "PR_SET_MM_ARG_END",
       "PR_SET_MM_ENV_START", "PR_SET_MM_ENV_END", "PR_SET_MM_AUXV", "PR_SET_MM_EXE_FILE", "PR_SET_MM_MAP",
       "PR_SET_MM_MAP_SIZE")
_TSC = {1: "PR_TSC_ENABLE", 2: "PR_TSC_SIGSEGV"}


_MCE_POLICIES = ("PR_MCE_KILL_LATE", "PR_MCE_KILL_EARLY", "PR_MCE_KILL_DEFAULT")


def _mce_policy(value: int) -> str:
    return _MCE_POLICIES[value] if value < 3 else f"{value:#x} /* PR_MCE_KILL_??? */"


def _mce(c: Call) -> str:
    kind = c.arg(1)
    if kind == 1:
        return f", PR_MCE_KILL_SET, {_mce_policy(c.arg(2))}{_hex(c, 3)}"
    return (", PR_MCE_KILL_CLEAR" if not kind else f", {kind:#x} /* PR_MCE_KILL_??? */") + _hex(c, 2)


def _mce_result(c: Call) -> str:
    if not c.failed:
        c.aux = _mce_policy(c.result or 0)
    return ""


def _mm(c: Call) -> str:
    option = c.arg(1)
    name = _MM[option - 1] if 1 <= option <= len(_MM) else f"{f'{option:#x}' if option else 0} /* PR_SET_MM_??? */"
    return f", {name}{_hex(c, 2)}"


def _ambient(c: Call) -> str:
    kind = c.arg(1)
    name = enum_table("pr_cap_ambient").text(kind)
    return f", {name}, {_capability(c.arg(2))}{_plain(c, 3)}" if kind in (1, 2, 3) else f", {name}{_hex(c, 2)}"


def _vma(c: Call) -> str:
    if c.arg(1):
        return f", {c.arg(1):#x} /* PR_SET_VMA_??? */{_hex(c, 2)}"
    return f", PR_SET_VMA_ANON_NAME, {pointer(c.arg(2))}, {c.arg(3)}, {c_string(c, c.arg(4), 80)}"


def _seccomp(c: Call) -> str:
    mode = c.arg(1)
    text = _SECCOMP.get(mode, f"{mode:#x} /* SECCOMP_MODE_??? */")
    return f", {text}, {pointer(c.arg(2))}" if mode == 2 else f", {text}{_hex(c, 2)}"


def _ptracer(c: Call) -> str:
    return ", PR_SET_PTRACER_ANY" if c.arg(1) == 0xFFFFFFFFFFFFFFFF else f", {c.arg(1)}"


#: Shown at entry.
_EARLY: dict[int, Callable[[Call], str]] = {
    1: lambda c: f", {signal_name(c.arg(1))}",
    4: lambda c: f", {enum_table('suid_dump').text(c.arg(1))}",
    **dict.fromkeys((6, 8, 10, 12, 14, 20, 45, 50, 63), lambda c: f", {c.arg(1)}"),
    **dict.fromkeys((5, 9, 11, 19), lambda c: f", {pointer(c.arg(1))}"),
    33: _mce,
    15: lambda c: ", " + c_string(c, c.arg(1), 15),
    22: _seccomp,
    23: lambda c: f", {_capability(c.arg(1))}",
    24: lambda c: f", {_capability(c.arg(1))}",
    26: lambda c: f", {_tsc(c.arg(1))}",
    28: lambda c: f", {flag_table('securebits').text(c.arg(1))}",
    29: lambda c: f", {c.arg(1)}",
    35: _mm,
    36: lambda c: f", {c.arg(1)}",
    38: lambda c: _plain(c, 1),
    39: lambda c: _plain(c, 1),
    41: lambda c: _plain(c, 1),
    42: lambda c: _plain(c, 1),
    47: _ambient,
    0x53564D41: _vma,
    0x59616D61: _ptracer,
}
#: Shown at exit, when the call has succeeded.
_LATE: dict[int, Callable[[Call], str]] = {
    2: lambda c: _late_signal(c),
    16: lambda c: fixed_name(c),
    25: lambda c: _late_tsc(c),
    37: lambda c: one(c, "int", c.arg(1)),
    40: lambda c: one(c, "ptr", c.arg(1)),
}
#: No arguments at all.
_BARE = {3, 7, 13, 21, 27, 30, 31, 32, 46, 51, 64}


def _tsc(value: int) -> str:
    return _TSC.get(value) or f"{f'{value:#x}' if value else 0} /* PR_TSC_??? */"


def _late_signal(c: Call) -> str:
    data = c.read(c.arg(1), 4)
    return pointer(c.arg(1)) if data is None else f"[{signal_name(int.from_bytes(data, 'little'))}]"


def _late_tsc(c: Call) -> str:
    data = c.read(c.arg(1), 4)
    return pointer(c.arg(1)) if data is None else f"[{_TSC.get(int.from_bytes(data, 'little'), '0')}]"


def fixed_name(c: Call) -> str:
    """PR_GET_NAME's 16 bytes up to the NUL."""
    data = c.read(c.arg(1), 16)
    if data is None:
        return pointer(c.arg(1))
    return buffer(c, c.arg(1), len(data.split(b"\0", 1)[0]))


def prctl(c: Call) -> str:
    """prctl(option, …)."""
    option = c.uint32(0)
    head = enum_table("prctl").text(option)
    if option in _BARE:
        if option == 3:
            c.rest = _dumpable_result
        elif option == 27:
            c.rest = _securebits_result
        return head
    if option == 34:
        c.rest = _mce_result
    early = _EARLY.get(option)
    if early is not None:
        return head + early(c)
    late = _LATE.get(option)
    if late is not None:
        c.rest = lambda c: pointer(c.arg(1)) if c.failed else late(c)
        return head + ", "
    return head + _hex(c, 1)
