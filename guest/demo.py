"""``forkyard demo``: a shell pipeline that forks, run under Forkyard, and what the machine did for it."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections import Counter
from typing import Any

from guest.progress import CompileProgress
from guest.runner import FAILED, say

_SCRIPT = """
echo "Hello from $0, process $$ (fork on demand: $(cat /proc/self/use_odf))"
words() { cat /proc/cpuinfo /proc/version /etc/os-release; }
words | tr -cs 'A-Za-z' '\\n' | sort | uniq -c | sort -rn | head -5
for i in 1 2 3; do ( echo "subshell $i: $(( i * i ))" ) & done; wait
echo this is written to memory only > /tmp/forkyard-demo && cat /tmp/forkyard-demo
"""


def demo(odf: bool) -> int:
    """Run it; returns the exit status."""
    from guest.session import CompileError, EngineError, HostInterruptError, LaunchError, Options, Session

    busybox = shutil.which("busybox")
    argv = [busybox, "sh", "-c", _SCRIPT, "busybox"] if busybox else ["bash", "-c", _SCRIPT, "bash"]
    print(f"$ forkyard run {'--odf ' if odf else ''}-- {'busybox sh' if busybox else 'bash'} -c '…'", flush=True)
    progress = CompileProgress()
    try:
        with Session(Options(odf=odf), progress=progress) as session:
            progress.close()
            counts = _count(session.events)
            started = time.monotonic()
            session.start(argv)
            status = session.run()
            seconds = time.monotonic() - started
            session.close()
            stats = session.stats()
    except HostInterruptError as error:
        return 128 + error.signo
    except (CompileError, EngineError, LaunchError, MemoryError) as error:
        say(str(error))
        return FAILED
    finally:
        progress.close()
    calls = sum(counts["calls"].values())
    often = ", ".join(f"{name} {n}" for name, n in counts["calls"].most_common(4))
    sys.stdout.write(f"""
What the machine did in {seconds:.2f} s:
  {counts["other"]["forks"]} forks ({counts["other"]["odf"]} on demand), {counts["other"]["execs"]} programs loaded, \
{counts["other"]["exits"]} tasks ended, {calls} system calls ({often}, …)
  forks looked at {stats.fork_entries} page-table entries: {stats.tables_shared} tables shared, \
{stats.tables_copied} copied when written to, {stats.tables_rearmed} taken back without a copy
  {stats.faults} page faults, {stats.pages_zeroed} pages zeroed, {stats.pages_copied} copied on write
  on the host, /tmp/forkyard-demo {"exists" if os.path.exists("/tmp/forkyard-demo") else "does not exist"}; \
exit status {status}
""")
    return status


def _count(events: Any) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = {"calls": Counter(), "other": Counter()}

    def on_fork(parent: Any, child: Any, flags: int, odf: bool) -> None:
        counts["other"].update(forks=1, odf=int(odf))

    events.subscribe("fork", on_fork)
    events.subscribe("exec", lambda task, path: counts["other"].update(execs=1))
    events.subscribe("exit", lambda task, status: counts["other"].update(exits=1))
    events.subscribe("syscall_enter", lambda task, row, number, regs: counts["calls"].update(
        [row.name if row is not None else str(number)]))
    return counts
