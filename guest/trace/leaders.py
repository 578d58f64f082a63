"""What stands at the beginning of a line: pid, command, time, number of the call, as far as asked for."""

from __future__ import annotations

import time
from collections.abc import Callable

from guest.trace.options import TraceOptions


class Leaders:
    """Makes the beginnings of lines; ``realtime_ns`` is the clock of timestamps."""

    def __init__(self, options: TraceOptions, realtime_ns: Callable[[], int]) -> None:
        self.options = options
        self._realtime_ns = realtime_ns
        self.plain = not (options.timestamps or options.relative or options.syscall_numbers or options.show_comm)
        """There is nothing but the pid."""
        self.comms: dict[int, str] = {}
        """Command names by task id, for -Y."""
        self._last_ns = 0

    def text(self, tid: int, number: int, several: bool) -> str:
        """The beginning of a line of task ``tid``, ``several`` of which are traced; ``number`` -1 for no call."""
        o = self.options
        if o.to_file:
            head = f"{self._pid(tid):<5} " if o.follow_forks and not o.separate_outputs else ""
        else:
            head = f"[pid {self._pid(tid):>5}] " if several else ""
        if self.plain:
            return head
        if o.relative:
            head += self._since_last()
        if o.timestamps:
            head += self._now()
        if o.syscall_numbers:
            # strace shows the number of the last call before an exit or signal
            head += f"[{number if number >= 0 else 231:4d}] "
        return head

    def _pid(self, tid: int) -> str:
        return f"{tid}<{self.comms.get(tid, '')}>" if self.options.show_comm else str(tid)

    def _since_last(self) -> str:
        now_ns = self._realtime_ns()
        delta_ns = now_ns - self._last_ns if self._last_ns else 0
        self._last_ns = now_ns
        return f"{delta_ns // 1000000000:6d}.{delta_ns // 1000 % 1000000:06d} "

    def _now(self) -> str:
        seconds, micro = divmod(self._realtime_ns() // 1000, 1000000)
        if self.options.timestamps == 3:
            return f"{seconds}.{micro:06d} "
        clock = time.strftime("%H:%M:%S", time.localtime(seconds))
        return f"{clock}.{micro:06d} " if self.options.timestamps == 2 else f"{clock} "
