"""The first line of a trace: the execve that started the program, which no guest made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guest.trace.call import Call
from guest.trace.text import bytes_text, escape
from kernel.errno import Errno

if TYPE_CHECKING:
    from guest.trace.tracer import Tracer


def _strings(call: Call, start: int, end: int) -> list[bytes]:
    data = call.read(start, end - start) if end > start else b""
    return data.split(b"\0")[:-1] if data else []


def first_exec_text(call: Call, path: bytes) -> str:
    """``execve("/bin/ls", ["ls"], 0x7ffd… /* 23 vars */`` from what exec left on the new stack."""
    mm = call.mm
    style = call.style
    argv = _strings(call, mm.arg_start, mm.arg_end)
    shown = [bytes_text(item, style) for item in argv[: style.string_limit]]
    if len(argv) > style.string_limit:
        shown.append("...")
    environment = _strings(call, mm.env_start, mm.env_end)
    if style.verbose:
        env_text = "[" + ", ".join(bytes_text(item, style) for item in environment) + "]"
    else:
        # envp[] stands above argc, argv[] and argv's NULL
        address = mm.start_stack + 8 * (len(argv) + 2)
        count = len(environment)
        env_text = f"{address:#x} /* {count} var{'' if count == 1 else 's'} */"
    return f'execve("{escape(path)}", [{", ".join(shown)}], {env_text}'


def first_exec(tracer: Tracer, task: Any, path: bytes) -> None:
    """Run the line through the tracer as a call that has just succeeded."""
    from kernel.syscalls.table import TABLE

    row = TABLE.get(59)
    text = ""
    try:
        text = first_exec_text(Call(task, (0,) * 6, tracer.style), path)
    except (Errno, AttributeError):
        return  # nothing to read it from
    tracer.on_enter(task, row, 59, (0, 0, 0, 0, 0, 0))
    tracer.replace_entry(task, text)
    tracer.on_exit(task, row, 59, (0, 0, 0, 0, 0, 0), 0)
