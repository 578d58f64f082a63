"""The load averages (kernel/sched/loadavg.c): the host's, which carries the guest's load; none in virtual time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kernel.kernel import Kernel


def load_average(kernel: Kernel) -> tuple[float, float, float]:
    """Runnable tasks over 1, 5 and 15 minutes."""
    if kernel.clock.virtual:
        return (0.0, 0.0, 0.0)
    try:
        return os.getloadavg()
    except OSError:
        return (0.0, 0.0, 0.0)


def running(kernel: Kernel) -> int:
    """Tasks that run or could."""
    return sum(1 for task in kernel.tasks.values() if task.state == "R")
