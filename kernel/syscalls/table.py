"""The table of system calls, and the decorator that fills it.

A declaration names the arguments once; dispatch, the tracer and the coverage table of the README read it::

    @syscall(0, "read", fd=Fd, buf=BufOut("count"), count=Size)
    async def read(task, fd, buf, count): ...

A plain function never blocks. A coroutine may await ``kernel.task.wait`` functions and nothing else. A plain function
declared ``blocking`` does its work at once where it can and else returns a coroutine: that keeps read and write fast.
Handlers return an int (or None for 0) or raise ``Errno``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kernel.syscalls.types import CONVERSIONS, Arg, Long


@dataclass(frozen=True)
class Syscall:
    """One row: what the entry code calls and what the tracer shows."""

    number: int
    name: str
    args: dict[str, Arg]
    handler: Callable[..., Any]
    returns: Arg
    blocking: bool
    """The handler is a coroutine function, or a function that may return a coroutine."""
    call: Callable[..., Any] = field(repr=False)
    """``call(task, regs)``: convert the six raw argument registers and run the handler."""


TABLE: dict[int, Syscall] = {}


def syscall(
    number: int, name: str, /, *, returns: Arg = Long, blocking: bool = False, **args: Arg
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter the decorated handler as system call ``number`` of x86-64 (arch/x86/entry/syscalls/syscall_64.tbl)."""

    def enter(handler: Callable[..., Any]) -> Callable[..., Any]:
        if number in TABLE:
            raise AssertionError(f"system call {number} is declared twice: {TABLE[number].name} and {name}")
        blocks = blocking or inspect.iscoroutinefunction(handler)
        row = Syscall(number, name, args, handler, returns, blocks, _converter(handler, name, args))
        TABLE[number] = row
        return handler

    return enter


def _converter(handler: Callable[..., Any], name: str, args: dict[str, Arg]) -> Callable[..., Any]:
    """``lambda task, r: handler(task, <r[0] converted>, …)``, written out once because it runs on every entry."""
    values = [
        "(" + CONVERSIONS[arg.convert].replace("a &", f"r[{i}] &") + ")" if arg.convert != "i64" else f"r[{i}]"
        for i, arg in enumerate(args.values())
    ]
    source = f"lambda task, r: handler(task{''.join(', ' + v for v in values)})"
    return eval(compile(source, f"<syscall {name}>", "eval"), {"handler": handler})
