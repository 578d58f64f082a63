"""The options of ``forkyard trace``: strace's, turned into TraceOptions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import IO, TYPE_CHECKING, Any

import click

from guest.options import GUEST_FIELDS
from guest.runner import OutputError

if TYPE_CHECKING:
    from guest.session import Session
    from guest.trace import Tracer

_SORTS = ("time", "avg-time", "calls", "count", "errors", "name", "syscall", "nothing", "none")

_OPTIONS = (
    click.option("-f", "--follow-forks", count=True, help="Trace child processes too; -ff writes FILE.PID for each."),
    click.option("-o", "--output", metavar="FILE", help="Write the trace to FILE instead of stderr."),
    click.option("-A", "--output-append-mode", "append", is_flag=True, help="Append to FILE."),
    click.option("-e", "--expression", "expressions", multiple=True, metavar="EXPR",
                 help="What to show: trace=SET, signal=SET, status=SET, abbrev=, verbose=, raw=, quiet=. SET is names, "
                      "%class, /regex or numbers, with commas; a leading ! inverts it."),
    click.option("-P", "--trace-path", "paths", multiple=True, metavar="PATH", help="Only calls that access PATH."),
    click.option("-c", "--summary-only", is_flag=True, help="Only count calls, errors and time."),
    click.option("-C", "--summary", is_flag=True, help="As -c, and show the calls too."),
    click.option("-S", "--summary-sort-by", "sort_by", type=click.Choice(_SORTS), default="time", show_default=True,
                 metavar="KEY", help="Sort the counts by time, calls, errors, name or nothing."),
    click.option("-s", "--string-limit", type=click.IntRange(0), default=32, show_default=True, metavar="SIZE",
                 help="Show at most SIZE bytes of a string."),
    click.option("-t", "--absolute-timestamps", "timestamps", count=True,
                 help="Time of day; -tt with microseconds, -ttt as seconds since the epoch."),
    click.option("-r", "--relative-timestamps", "relative", is_flag=True, help="Time since the call before."),
    click.option("-T", "--syscall-times", is_flag=True, help="Time spent in each call."),
    click.option("-n", "--syscall-number", "syscall_numbers", is_flag=True, help="Number of each call."),
    click.option("-Y", "--decode-pids-comm", "show_comm", is_flag=True, help="Command name with each pid."),
    click.option("-y", "--decode-fds", "fd_paths", count=True, help="Path of each descriptor; -yy says more."),
    click.option("-v", "--no-abbrev", "verbose", is_flag=True, help="Show structures in full."),
    click.option("-x", "--strings-in-hex", "hex_strings", count=True,
                 help="Show strings that are not ASCII in hexadecimal; -xx: all strings."),
    click.option("-a", "--columns", type=click.IntRange(0), default=40, show_default=True, metavar="COLUMN",
                 help="Align results in this column."),
    click.option("-z", "--successful-only", is_flag=True, help="Only calls that succeed."),
    click.option("-Z", "--failed-only", is_flag=True, help="Only calls that fail."),
    click.option("-q", "--quiet", count=True, help="No messages about attaching; -qq: nor about exits."),
)


def trace_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of strace."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class _Output:
    """A text file whose errors say which file it was."""

    def __init__(self, name: str, stream: IO[str]) -> None:
        self.name = name
        self.stream = stream

    def isatty(self) -> bool:
        return self.stream.isatty()

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except OSError as error:
            raise OutputError(self.name, error) from error

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError as error:
            raise OutputError(self.name, error) from error


class _Outputs:
    """The files that a trace is written to."""

    def __init__(self, append: bool) -> None:
        self.mode = "a" if append else "w"
        self.opened: list[_Output] = []

    def open(self, name: str) -> Any:
        """A file of the host.

        Raises:
            OutputError: it cannot be opened.
        """
        try:
            # Closed by close(), after the last line.
            stream = open(name, self.mode, 1 << 16, errors="backslashreplace")  # noqa: SIM115
        except OSError as error:
            raise OutputError(name, error) from error
        self.opened.append(_Output(name, stream))
        return self.opened[-1]

    def stderr(self) -> Any:
        if sys.stderr is None:
            return self.open("/dev/null")
        return _Output("standard error", open(2, "w", errors="backslashreplace", closefd=False))

    def close(self) -> None:
        """Write the rest.

        Raises:
            OutputError: it does not fit.
        """
        for output in self.opened:
            output.flush()
            output.stream.close()


class Tracing:
    """A trace that goes on; call it at the end."""

    def __init__(self, tracer: Tracer, outputs: _Outputs) -> None:
        self.tracer = tracer
        self._outputs = outputs

    def __call__(self) -> None:
        self.tracer.finish()
        self._outputs.close()


def tracing(options: Mapping[str, Any]) -> tuple[Callable[[Session], Tracing], dict[str, Any]]:
    """What prepares a session for tracing, and the options that are left for the guest.

    Raises:
        click.UsageError: options that contradict each other, or an expression that cannot be understood.
    """
    from guest.trace import ExpressionError, Filters, TraceOptions, Tracer
    from guest.trace.call import Style

    o = options
    how = {name: options[name] for name in GUEST_FIELDS if name in options}
    filters = Filters()
    try:
        for expression in o["expressions"]:
            filters.add(expression)
        for chosen, status in ((o["successful_only"], "successful"), (o["failed_only"], "failed")):
            if chosen:
                filters.add(f"status={status}")
    except ExpressionError as error:
        raise click.BadParameter(str(error), param_hint="-e") from None
    if o["successful_only"] and o["failed_only"]:
        raise click.UsageError("-z and -Z exclude each other")
    if o["summary_only"] and o["summary"]:
        raise click.UsageError("-c and -C exclude each other")
    if o["append"] and o["output"] is None:
        raise click.UsageError("-A needs -o FILE")
    filters.paths = [path.encode(errors="surrogateescape") for path in o["paths"]]
    separate = o["follow_forks"] > 1 and o["output"] is not None
    outputs = _Outputs(o["append"])

    def prepare(session: Session) -> Tracing:
        target = outputs.stderr() if o["output"] is None else None if separate else outputs.open(o["output"])
        trace = TraceOptions(
            follow_forks=o["follow_forks"] > 0, to_file=o["output"] is not None,
            separate_outputs=(lambda tid: outputs.open(f"{o['output']}.{tid}")) if separate else None,
            filters=filters, style=Style(o["string_limit"], o["verbose"], o["hex_strings"], o["fd_paths"]),
            timestamps=min(o["timestamps"], 3), relative=o["relative"], syscall_times=o["syscall_times"],
            syscall_numbers=o["syscall_numbers"], show_comm=o["show_comm"], column=o["columns"],
            summary="only" if o["summary_only"] else "too" if o["summary"] else "", summary_sort=o["sort_by"],
            quiet=o["quiet"])
        tracer = Tracer(session.kernel, target if target is not None else outputs.stderr(), trace)
        tracer.attach()
        return Tracing(tracer, outputs)

    return prepare, how

