"""What stands right of the equals sign when a call succeeds, where it is not just a number."""

from __future__ import annotations

from collections.abc import Callable

from guest.trace.call import Call
from guest.trace.tables import enum_table, flag_table
from guest.trace.text import date, octal_mode


def result_text(c: Call) -> str:
    """The plain number, unsigned."""
    result = c.result or 0
    return str(result if result >= 0 else result & 0xFFFFFFFFFFFFFFFF)


def hex_result(c: Call) -> str:
    """An address or a set of bits; 0 plain."""
    return f"{c.result & 0xFFFFFFFFFFFFFFFF:#x}" if c.result else "0"


def _unsigned(c: Call) -> str:
    return str((c.result or 0) & 0xFFFFFFFF)


def _umask(c: Call) -> str:
    return octal_mode((c.result or 0) & 0xFFFFFFFF)


def _time(c: Call) -> str:
    seconds = c.result or 0
    comment = date(seconds)
    return f"{seconds} ({comment})" if comment else str(seconds)


def _clock_state(c: Call) -> str:
    return f"{c.result} ({enum_table('adjtimex_state').text(c.result or 0)})"


def _scheduler(c: Call) -> str:
    return f"{c.result} ({enum_table('sched_policy').text(c.result or 0)})"


def _personality(c: Call) -> str:
    value = (c.result or 0) & 0xFFFFFFFF
    return f"{value:#x} ({flag_table('personality').text(value)})" if value else "0 (PER_LINUX)"


RESULTS: dict[str, Callable[[Call], str]] = {
    **dict.fromkeys(("mmap", "brk", "mremap", "shmat", "arch_prctl_address"), hex_result),
    **dict.fromkeys(("getuid", "geteuid", "getgid", "getegid", "alarm"), _unsigned),
    "prctl": result_text,
    "umask": _umask,
    "time": _time,
    "adjtimex": _clock_state,
    "clock_adjtime": _clock_state,
    "sched_getscheduler": _scheduler,
    "personality": _personality,
}
