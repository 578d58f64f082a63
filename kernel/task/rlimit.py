"""Resource limits: the numbers, the limits of the first process, and the rules of prlimit64(2) (kernel/sys.c)."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Any

from kernel.errno import EINVAL, EPERM, Errno
from kernel.task.capability import CAP_SYS_RESOURCE

if TYPE_CHECKING:
    from kernel.task.task import Task, ThreadGroup

RLIMIT_CPU = 0
RLIMIT_FSIZE = 1
RLIMIT_DATA = 2
RLIMIT_STACK = 3
RLIMIT_CORE = 4
RLIMIT_RSS = 5
RLIMIT_NPROC = 6
RLIMIT_NOFILE = 7
RLIMIT_MEMLOCK = 8
RLIMIT_AS = 9
RLIMIT_LOCKS = 10
RLIMIT_SIGPENDING = 11
RLIMIT_MSGQUEUE = 12
RLIMIT_NICE = 13
RLIMIT_RTPRIO = 14
RLIMIT_RTTIME = 15
RLIM_NLIMITS = 16

RLIM_INFINITY = 2**64 - 1
NR_OPEN = 1048576
"""sysctl fs.nr_open: the ceiling of RLIMIT_NOFILE."""

_DEFAULTS: dict[int, tuple[int, int]] = {
    **dict.fromkeys(range(RLIM_NLIMITS), (RLIM_INFINITY, RLIM_INFINITY)),
    RLIMIT_STACK: (8 << 20, RLIM_INFINITY),
    RLIMIT_CORE: (0, RLIM_INFINITY),
    RLIMIT_NPROC: (4096, 4096),
    RLIMIT_NOFILE: (1024, 4096),
    RLIMIT_MEMLOCK: (8 << 20, 8 << 20),
    RLIMIT_SIGPENDING: (4096, 4096),
    RLIMIT_MSGQUEUE: (819200, 819200),
    RLIMIT_NICE: (0, 0),
    RLIMIT_RTPRIO: (0, 0),
}


def initial_rlimits(options: Any = None) -> dict[int, tuple[int, int]]:
    """The limits of the first process: the host user's, or fixed ones in a deterministic run."""
    limits = dict(_DEFAULTS)
    if not getattr(options, "deterministic", False):
        for number in range(RLIM_NLIMITS):
            try:
                soft, hard = resource.getrlimit(number)
            except (OSError, ValueError):
                continue
            limits[number] = (soft & RLIM_INFINITY, hard & RLIM_INFINITY)
    return limits


def get(task: Task, number: int) -> int:
    """The soft limit in force for ``task``."""
    limit = task.group.rlimits.get(number)
    return limit[0] if limit is not None else _DEFAULTS[number][0]


def exchange(
    task: Task, group: ThreadGroup, number: int, new: tuple[int, int] | None
) -> tuple[int, int]:
    """Set limit ``number`` of ``group`` to ``new`` (soft, hard), if given, on behalf of ``task``; returns the old one.

    Raises:
        Errno: EINVAL for an unknown limit or soft > hard; EPERM for raising a hard limit without privilege, or
            RLIMIT_NOFILE above fs.nr_open.
    """
    if not 0 <= number < RLIM_NLIMITS:
        raise Errno(EINVAL)
    if new is not None:
        if new[0] > new[1]:
            raise Errno(EINVAL)
        if number == RLIMIT_NOFILE and new[1] > NR_OPEN:
            raise Errno(EPERM)
    old = group.rlimits.get(number, _DEFAULTS[number])
    if new is not None:
        if new[1] > old[1] and not task.cred.capable(CAP_SYS_RESOURCE):
            raise Errno(EPERM)
        group.rlimits[number] = new
        if number in (RLIMIT_STACK, RLIMIT_AS):
            for thread in group.threads:
                if thread.mm is not None:
                    thread.mm.set_stack_limits(get(thread, RLIMIT_STACK), get(thread, RLIMIT_AS))
        elif number == RLIMIT_CPU:
            from kernel.task.itimer import limit_cpu_time

            limit_cpu_time(task.kernel, group)
    return old
