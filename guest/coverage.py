"""Which system calls there are: the list of ``forkyard syscalls`` and the README's table, from the declarations."""

from __future__ import annotations

import textwrap
from collections import defaultdict

from guest.trace.numbers import NAMES
from kernel import syscalls  # noqa: F401 -- fills the table
from kernel.syscalls.table import TABLE, Syscall

#: The module of calls that are declared to be refused as Linux refuses them without privileges or facilities.
_REFUSED = "privileged"
#: Forkyard's own call, which no Linux has.
_OWN = {600}
#: Numbers that Linux itself has kept without a call behind them (arch/x86/entry/syscalls/syscall_64.tbl).
_GONE = frozenset((
    "uselib", "_sysctl", "create_module", "get_kernel_syms", "query_module", "nfsservctl", "getpmsg", "putpmsg",
    "afs_syscall", "tuxcall", "security", "set_thread_area", "get_thread_area", "lookup_dcookie", "epoll_ctl_old",
    "epoll_wait_old", "vserver"))
LINUX = {number: name for number, (name, _) in NAMES.items() if name not in _GONE}


def _family(row: Syscall) -> str:
    return row.handler.__module__.rpartition(".")[2]


def families() -> dict[str, list[str]]:
    """Module of kernel.syscalls → names of its calls in the order of their numbers."""
    found = defaultdict(list)
    for _, row in sorted(TABLE.items()):
        found[_family(row)].append(row.name)
    return dict(sorted(found.items()))


def missing() -> dict[int, str]:
    """Number → name of Linux's calls that give ENOSYS here."""
    return {number: name for number, name in LINUX.items() if number not in TABLE}


def readme_table() -> str:
    """The generated part of the README, in Markdown, without its markers."""
    have = families()
    refused = have.pop(_REFUSED, [])
    there = sum(map(len, have.values()))
    total = len({*LINUX, *TABLE} - _OWN)
    lines = [
        f"{there - len(_OWN)} of {total} system calls of x86-64 Linux work, and `odfork` (600). {len(refused)} more "
        f"are refused with the error Linux gives without the privilege or the facility; {len(missing())} are not there "
        "(ENOSYS).",
        "",
        "| `kernel/syscalls/` | calls |",
        "| --- | --- |",
    ]
    lines += [f"| {family} | {', '.join(names)} |" for family, names in have.items()]
    lines += [f"| *refused* ({_REFUSED}) | {', '.join(refused)} |",
              f"| *not there* | {', '.join(missing().values())} |"]
    return "\n".join(lines) + "\n"


def plain_table() -> str:
    """One line a call: number, name, arguments, where it is."""
    lines = []
    for number in sorted({*LINUX, *TABLE}):
        row = TABLE.get(number)
        if row is None:
            lines.append(f"{number:4} {LINUX[number]:<26} -")
            continue
        what = "refused" if _family(row) == _REFUSED else f"kernel/syscalls/{_family(row)}.py"
        lines.append(f"{number:4} {row.name:<26} {what:<32} ({', '.join(row.args)})")
    return "\n".join(lines) + "\n"


def missing_text() -> str:
    """Names of the calls that are not there, filled to lines."""
    return textwrap.fill(" ".join(missing().values()), 100) + "\n"

