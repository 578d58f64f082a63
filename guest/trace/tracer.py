"""The tracer: turns the kernel's events into strace's lines.

A system call's line is begun at entry and ended at exit. Only one line can be open: when another task has something
to say first, the open one is closed with ``<unfinished ...>`` and taken up again as ``<... name resumed>``. The text
of an open line stays here until it ends, except that a call that may block is shown at once on a terminal.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TextIO

from guest.trace.call import Call, Style
from guest.trace.leaders import Leaders
from guest.trace.options import TraceOptions
from guest.trace.paths import PathMatcher
from guest.trace.rows import RowPrinter
from guest.trace.structs_task import siginfo_text, signal_name
from guest.trace.summary import Summary
from guest.trace.text import ERRORS
from kernel.errno import ERESTART_RESTARTBLOCK
from kernel.syscalls.table import Syscall

_FLUSH_LINES = 256
_NEVER_RETURN = (60, 231)  # exit and exit_group


class Tracer:
    """Prints the system calls, signals and exits of one process, or of all its descendants with -f.

    ``kernel`` is the kernel or its events. Call :meth:`attach` before the first program starts, :meth:`finish` at the
    end.
    """

    def __init__(self, kernel: Any, output: TextIO, options: TraceOptions | None = None) -> None:
        self.events = getattr(kernel, "events", kernel)
        self.options = options or TraceOptions()
        self.output = output
        o = self.options
        self.style = o.style
        self.summary = Summary(o.summary_sort) if o.summary else None
        self.matcher = PathMatcher(o.filters.paths) if o.filters.paths else None
        self._rows: dict[int, RowPrinter | None] = {}
        self._calls: dict[int, Call | None] = {}
        self._traced: set[int] | None = None
        """The tasks by identity (execve in a thread changes its tid); None until the first task is seen."""
        self._open: Call | None = None
        self._buffer: list[str] = []
        # A deterministic run shows the guest's own time, and so the same each time.
        clock = getattr(kernel, "clock", None)
        guests = clock if clock is not None and clock.virtual else None
        self._leaders = Leaders(o, guests.timestamp_ns if guests else time.time_ns)
        self._now_ns: Callable[[], int] = guests.peek_ns if guests else time.perf_counter_ns
        """For -T and -c."""
        self._staged = not o.filters.status.everything or o.separate_outputs is not None
        """Lines are written whole, when their call has ended."""
        self._silent = o.summary == "only"
        self._timed = self.summary is not None or o.syscall_times
        self._quick = not (self._staged or self._silent or self._timed or o.show_comm)
        """The usual options: on_enter and on_exit do it all themselves."""
        self._bare = self._leaders.plain and o.to_file and not o.follow_forks
        """Nothing stands before a call."""
        self._width = o.column - 1
        tty = getattr(output, "isatty", lambda: False)()
        self._live = o.line_buffered if o.line_buffered is not None else (tty or not o.to_file)
        self._separate: dict[int, TextIO] = {}
        self._attached: list[str] = []
        """Messages that wait for the open line to end."""
        self._saw_exec = False
        self._interrupted: dict[int, str] = {}
        """What restart_syscall(2) resumes: task → name."""

    # -- life ----------------------------------------------------------------------------------------------------

    def attach(self) -> None:
        """Begin to listen."""
        for kind, callback in self._callbacks():
            self.events.subscribe(kind, callback)

    def restart(self) -> None:
        """The task that is seen next is the one to trace: the child of a parked process goes on in its place."""
        self._traced = None

    def finish(self) -> None:
        """End the open line, print the summary, write everything out. May be called more than once."""
        for kind, callback in self._callbacks():
            listeners = getattr(self.events, kind)
            if callback in listeners:
                listeners.remove(callback)
        if self._open is not None:
            self._suspend_open()
        if self.summary is not None:
            self._buffer.append(self.summary.text())
            self.summary = None
        self.flush()

    def _callbacks(self) -> tuple[tuple[str, Callable[..., None]], ...]:
        return (("syscall_enter", self.on_enter), ("syscall_exit", self.on_exit), ("signal", self.on_signal),
                ("stop", self.on_stop), ("fork", self.on_fork), ("exec", self.on_exec), ("exit", self.on_exit_task))

    def flush(self) -> None:
        """Write out what has been collected."""
        if self._buffer:
            text = "".join(self._buffer)
            self._buffer.clear()
            try:
                self.output.write(text)
            except ValueError:
                return  # the output was closed under us
        self.output.flush()

    # -- system calls --------------------------------------------------------------------------------------------

    def on_enter(self, task: Any, row: Syscall | None, number: int, regs: tuple[int, ...]) -> None:
        """A system call begins."""
        key = id(task)
        if self._traced is None:
            self._traced = {key}
        elif key not in self._traced:
            return
        try:
            printer = self._rows[number]
        except KeyError:
            printer = self._row(number, row)
        if printer is None or (self.matcher is not None and not self.matcher.matches(task, printer.row, regs)):
            self._calls[key] = None
            return
        self._calls[key] = call = Call(task, regs, printer.style, printer)
        if self._quick:
            if self._open is not None:
                self._suspend_open()
            text = printer.entry(call, regs)
            call.text = text if self._bare else self._leader(task.tid, number) + text
            self._open = call
            if self._live and row is not None and row.blocking:
                self._show_open(call)
            if number in _NEVER_RETURN:
                self._calls[key] = None
                self._abandon(call, task.tid)
        else:
            self._enter_otherwise(call, task, number)

    def _enter_otherwise(self, call: Call, task: Any, number: int) -> None:
        """Under options that time calls, show nothing yet or need the command's name."""
        tid = task.tid
        if self.options.show_comm:
            self._leaders.comms[tid] = bytes(getattr(task, "comm", b"")).decode(errors="backslashreplace")
        if not self._silent:
            text = call.printer.entry(call, call.regs)
            if self._staged:
                call.text = text
            else:
                if self._open is not None:
                    self._suspend_open()
                call.text = self._leader(tid, number) + text
                self._open = call
                if self._live and call.printer.row is not None and call.printer.row.blocking:
                    self._show_open(call)
            if number in _NEVER_RETURN:
                self._calls[id(task)] = None
                self._abandon(call, tid)
        call.start_ns = self._now_ns()

    def replace_entry(self, task: Any, text: str) -> None:
        """Show ``text`` as the entry of the call that ``task`` is in."""
        call = self._calls.get(id(task))
        if call is not None:
            call.text = text if self._staged else self._leader(task.tid, call.printer.number) + text

    def on_exit(self, task: Any, row: Syscall | None, number: int, regs: tuple[int, ...], result: int) -> None:
        """A system call returns ``result`` or -errno."""
        call = self._calls.pop(id(task), None)
        if call is None:
            return
        if result <= -512 and task.dying:
            self._calls[id(task)] = call  # killed inside: the call never returns
            return
        if result == -ERESTART_RESTARTBLOCK:
            self._interrupted[id(task)] = call.printer.name
        call.result = result
        if not (self._quick and self._open is call and not call.shown):
            self._exit_otherwise(call, task.tid, result)
            return
        self._open = None
        text = f"{call.text})" if call.rest is None else f"{call.text}{call.rest(call)})"
        value = ERRORS[-result] if -4096 < result < 0 else call.value or call.printer.result(call)
        if call.aux is not None:
            value = f"{value} ({call.aux})"
        buffer = self._buffer
        buffer.append(f"{text:<{self._width}} = {value}\n")
        if self._attached:
            buffer += self._attached
            self._attached.clear()
        if self._live or len(buffer) >= _FLUSH_LINES:
            self.flush()

    def _exit_otherwise(self, call: Call, tid: int, result: int) -> None:
        """The end of a call whose line was cut or whose options are unusual."""
        printer = call.printer
        elapsed_ns = self._now_ns() - call.start_ns if self._timed else 0
        failed = -4096 < result < 0
        if self.summary is not None:
            self.summary.add(printer.name, failed, elapsed_ns)
        if self._silent:
            return
        if self._staged and ("failed" if failed else "successful") not in self.options.filters.status:
            return
        rest = call.rest(call) if call.rest is not None else ""
        text, width = self._resume(call, tid)
        value = ERRORS[-result] if failed else call.value or printer.result(call)
        if call.aux is not None:
            value = f"{value} ({call.aux})"
        if self.options.syscall_times:
            value = f"{value} <{elapsed_ns // 1000000000}.{elapsed_ns // 1000 % 1000000:06d}>"
        text = f"{text}{rest})"
        self._emit(tid, f"{text:<{width}} = {value}\n")

    def _resume(self, call: Call, tid: int) -> tuple[str, int]:
        """The line of ``call`` as far as it has not been written, and the column where the equals sign goes."""
        if self._open is call:
            self._open = None
            return (call.text, self._width) if not call.shown else ("", max(self._width - call.shown, 0))
        number = call.printer.number
        if self._staged:
            return self._leader(tid, number) + call.text, self._width
        if self._open is not None:
            self._suspend_open()
        return f"{self._leader(tid, number)}<... {call.printer.name} resumed>", self._width

    def _row(self, number: int, row: Syscall | None) -> RowPrinter | None:
        filters = self.options.filters
        style = self.style
        printer = RowPrinter(number, row)
        if printer.name in filters.raw:
            printer = RowPrinter(number, row, raw=True)
        if printer.name not in filters.abbrev:
            style = Style(style.string_limit, True, style.hex_strings, style.fd_paths)
        printer.style = style
        if printer.name == "restart_syscall":
            printer.entry = lambda c, r: (
                f"restart_syscall(<... resuming interrupted {self._interrupted.get(id(c.task), 'system call')} ...>")
        self._rows[number] = printer if printer.name in filters.trace else None
        return self._rows[number]

    # -- other events --------------------------------------------------------------------------------------------

    def on_signal(self, task: Any, info: Any) -> None:
        """A signal is delivered. SIGKILL is not seen by a tracer; its effect is."""
        name = signal_name(info.signo)
        if info.signo == 9 or not self._is_traced(task) or self._silent or name not in self.options.filters.signal:
            return
        self._line(task.tid, f"--- {name} {siginfo_text(info.pack())} ---")

    def on_stop(self, task: Any, signal: int) -> None:
        """The process has stopped."""
        if self._is_traced(task) and not self._silent and signal_name(signal) in self.options.filters.signal:
            self._line(task.tid, f"--- stopped by {signal_name(signal)} ---")

    def on_fork(self, parent: Any, child: Any, flags: int, odf: bool) -> None:
        """A task is made."""
        if not self.options.follow_forks or not self._is_traced(parent):
            return
        assert self._traced is not None
        if not (self.options.to_file or self.options.quiet or "attach" in self.options.filters.quiet or self._silent):
            self._attached.append(f"strace: Process {child.tid} attached\n")
        self._traced.add(id(child))

    def on_exec(self, task: Any, path: bytes) -> None:
        """A new program is in place; the first one's execve is not a call of the guest, and is shown here."""
        if self._saw_exec or id(task) in self._calls:
            self._saw_exec = True
            return
        self._saw_exec = True
        from guest.trace.first_exec import first_exec

        first_exec(self, task, path)

    def on_exit_task(self, task: Any, status: int) -> None:
        """A task ends; ``status`` as wait(2) has it."""
        if not self._is_traced(task):
            return
        tid = task.tid
        call = self._calls.pop(id(task), None)
        if call is not None and not self._silent:
            self._abandon(call, tid)
        quiet = self.options.quiet > 1 or "exit" in self.options.filters.quiet or self._silent
        if not quiet:
            signal = status & 0x7F
            executing = None if signal else self._executing_thread(task)
            if executing is not None:
                self._line(tid, f"+++ superseded by execve in pid {executing} +++")
            elif signal:
                core = " (core dumped)" if status & 0x80 else ""
                self._line(tid, f"+++ killed by {signal_name(signal)}{core} +++")
            else:
                self._line(tid, f"+++ exited with {status >> 8 & 0xFF} +++")
        assert self._traced is not None
        self._traced.discard(id(task))
        self._interrupted.pop(id(task), None)
        self._leaders.comms.pop(tid, None)

    def _executing_thread(self, leader: Any) -> int | None:
        """The thread whose execve takes the place of ``leader``, the first of its process."""
        group = getattr(leader, "group", None)
        if group is None or leader.tid != group.tgid:
            return None
        for call in self._calls.values():
            if call is not None and call.printer.number in (59, 322) and call.task.group is group:
                return call.task.tid
        return None

    def _abandon(self, call: Call, tid: int) -> None:
        """The task ended inside a system call: ``exit_group(0) = ?``."""
        if self._staged and "unfinished" not in self.options.filters.status:
            return
        text, width = self._resume(call, tid)
        # an argument that was to be shown at exit never will be
        text += ")" if call.rest is None else " <unfinished ...>)"
        self._emit(tid, f"{text:<{width}} = ?\n")

    # -- lines ---------------------------------------------------------------------------------------------------

    def _is_traced(self, task: Any) -> bool:
        return self._traced is not None and id(task) in self._traced

    def _line(self, tid: int, text: str) -> None:
        if self._open is not None:
            self._suspend_open()
        self._emit(tid, f"{self._leader(tid, -1)}{text}\n")

    def _leader(self, tid: int, number: int) -> str:
        """What stands before the call."""
        return self._leaders.text(tid, number, len(self._traced or ()) > 1)

    def _suspend_open(self) -> None:
        call = self._open
        assert call is not None
        self._open = None
        self._emit(call.task.tid, f"{'' if call.shown else call.text} <unfinished ...>\n")

    def _show_open(self, call: Call) -> None:
        call.shown = len(call.text)
        self._buffer.append(call.text)
        self.flush()

    def _emit(self, tid: int, text: str) -> None:
        """Write the end of a line."""
        if self.options.separate_outputs is not None:
            output = self._separate.get(tid)
            if output is None:
                output = self._separate[tid] = self.options.separate_outputs(tid)
            output.write(text)
            return
        buffer = self._buffer
        buffer.append(text)
        if self._attached:
            buffer += self._attached
            self._attached.clear()
        if self._live or len(buffer) >= _FLUSH_LINES:
            self.flush()
