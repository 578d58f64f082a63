"""The out-of-memory killer: who goes when no frame is left (mm/oom_kill.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.task import exit as task_exit
from kernel.task.siginfo import SigInfo
from kernel.task.signal import send_signal
from kernel.task.signals import SI_KERNEL, SIGKILL

if TYPE_CHECKING:
    from kernel.kernel import Kernel
    from kernel.task.task import ThreadGroup

OOM_SCORE_ADJ_MIN = -1000
PAGE_KB = 4


def badness(group: ThreadGroup, total_pages: int) -> int | None:
    """Resident pages and page tables, and oom_score_adj thousandths of all memory; None for who is never killed."""
    mm = next((thread.mm for thread in group.threads if thread.mm is not None), None)
    if mm is None or group.oom_score_adj == OOM_SCORE_ADJ_MIN:
        return None
    stats = mm.stats()
    return stats.rss + stats.vm_pte_pages + group.oom_score_adj * total_pages // 1000


def kill_something(kernel: Kernel) -> bool:
    """Free memory by ending the worst process.

    Returns whether memory may be there now: a victim that sleeps is gone on return, but the running process cannot be
    ended under its own feet: it has SIGKILL pending, and the access that needs memory must fail.
    """
    current = kernel.scheduler.current
    total_pages = kernel.memory.total_frames
    candidates = [(score, group) for group in kernel.tasks.groups.values()
                  if (score := badness(group, total_pages)) is not None]
    if not candidates:
        return False
    score, victim = max(candidates, key=lambda candidate: candidate[0])
    leader = task_exit.group_leader(victim)
    name = leader.comm.decode("utf-8", "replace") if leader is not None else "?"
    for listener in kernel.events.log:
        listener(f"Out of memory: Killed process {victim.tgid} ({name}), {score * PAGE_KB} kB, "
                 f"oom_score_adj:{victim.oom_score_adj}")
    if current is not None and current.group is victim:
        send_signal(victim, SigInfo(SIGKILL, SI_KERNEL))
        return False
    task_exit.kill_group(victim, SIGKILL)
    return True
