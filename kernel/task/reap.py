"""Waiting for children: which count, what is reported of them, and the end of zombies (kernel/exit.c do_wait)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kernel.errno import ECHILD, Errno
from kernel.task import rusage
from kernel.task.exit import exit_cause, group_leader, release_group
from kernel.task.pid import is_dead
from kernel.task.rusage import Usage
from kernel.task.signals import CLD_CONTINUED, CLD_STOPPED, SIGCHLD, SIGCONT
from kernel.task.wait import sleep

if TYPE_CHECKING:
    from kernel.task.task import Task, ThreadGroup

WNOHANG, WUNTRACED, WEXITED, WCONTINUED, WNOWAIT = 1, 2, 4, 8, 0x01000000
WSTOPPED = WUNTRACED
WNOTHREAD, WALL, WCLONE = 0x20000000, 0x40000000, 0x80000000
"""__WNOTHREAD, __WALL, __WCLONE."""
CONTINUED_STATUS = 0xFFFF


@dataclass
class Report:
    """What a wait call has found; ``pid`` 0 when nothing has happened yet (WNOHANG)."""

    pid: int = 0
    uid: int = 0
    code: int = 0
    """CLD_*."""
    status: int = 0
    """The exit code or signal, as in si_status."""
    word: int = 0
    """The status word of wait4."""
    usage: Usage = field(default_factory=Usage)


async def wait_for_child(task: Task, selects: Callable[[ThreadGroup], bool], options: int) -> Report:
    """Wait until a child that ``selects`` accepts has changed state in one of the ways of ``options``.

    Raises:
        Errno: ECHILD when no child could ever do so; ERESTARTSYS when a signal comes first.
    """
    while True:
        report, hope = _look(task, selects, options)
        if report is not None:
            return report
        if not hope:
            raise Errno(ECHILD)
        if options & WNOHANG:
            return Report()
        try:
            await sleep(task.group.child_wait)
        except Errno:
            # do_wait looks once more before it gives way to the signal, which is SIGCHLD more often than not
            report, _ = _look(task, selects, options)
            if report is not None:
                return report
            raise


def _look(task: Task, selects: Callable[[ThreadGroup], bool], options: int) -> tuple[Report | None, bool]:
    """(the first report, may there be one later)."""
    hope = False
    for child in task.group.children:
        if not selects(child) or not _eligible(task, child, options):
            continue
        if is_dead(child):
            # A zombie can only be reaped: without WEXITED it is nothing to wait for.
            if options & WEXITED:
                return _report_zombie(task, child, options), True
            continue
        hope = True
        report = _report_stop(child, options) or _report_continue(child, options)
        if report is not None:
            return report, True
    return None, hope


def _eligible(task: Task, child: ThreadGroup, options: int) -> bool:
    """Children that send another signal than SIGCHLD are waited for with __WCLONE or __WALL only (eligible_child)."""
    if options & WNOTHREAD and child.parent_thread is not task:
        return False
    return bool(options & WALL) or (child.exit_signal != SIGCHLD) == bool(options & WCLONE)


def _report_zombie(task: Task, child: ThreadGroup, options: int) -> Report:
    word = child.exit_status or 0
    code, status = exit_cause(word)
    report = Report(child.tgid, _uid(child), code, status, word, _usage(child))
    if not options & WNOWAIT:
        parent = task.group
        parent.children_utime_ns += child.utime_ns + child.children_utime_ns
        parent.children_stime_ns += child.stime_ns + child.children_stime_ns
        parent.children_maxrss_pages = max(parent.children_maxrss_pages, child.maxrss_pages,
                                           child.children_maxrss_pages)
        release_group(task.kernel, child)
    return report


def _report_stop(child: ThreadGroup, options: int) -> Report | None:
    if not options & WUNTRACED or child.stop_status is None or child.stop_reported:
        return None
    signo = child.stop_status & 0x7F
    if not options & WNOWAIT:
        child.stop_reported = True
    return Report(child.tgid, _uid(child), CLD_STOPPED, signo, signo << 8 | 0x7F, _usage(child))


def _report_continue(child: ThreadGroup, options: int) -> Report | None:
    if not options & WCONTINUED or not child.continued_unreported:
        return None
    if not options & WNOWAIT:
        child.continued_unreported = False
    return Report(child.tgid, _uid(child), CLD_CONTINUED, SIGCONT, CONTINUED_STATUS, _usage(child))


def _uid(child: ThreadGroup) -> int:
    leader = group_leader(child)
    return leader.cred.uid if leader is not None else 0


def _usage(child: ThreadGroup) -> Usage:
    """Of the child and of the children that it has waited for (RUSAGE_BOTH)."""
    usage = rusage.of_process(child)
    usage.utime_ns += child.children_utime_ns
    usage.stime_ns += child.children_stime_ns
    usage.maxrss_pages = max(usage.maxrss_pages, child.children_maxrss_pages)
    return usage
