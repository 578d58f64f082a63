"""What the kernel tells observers: typed events. With no subscriber an event costs one attribute test.

Emit with ``if events.fork: events.fork(...)``-style guards: each attribute is a list of callables, empty when nobody
listens. Subscribers run in the emulator's thread and must not block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Events:
    """One list of subscribers per kind of event; the arguments of each are in the comments."""

    exec: list[Callable[..., Any]]
    exit: list[Callable[..., Any]]
    fatal: list[Callable[..., Any]]
    fault: list[Callable[..., Any]]
    fork: list[Callable[..., Any]]
    log: list[Callable[..., Any]]
    signal: list[Callable[..., Any]]
    stop: list[Callable[..., Any]]
    syscall_enter: list[Callable[..., Any]]
    syscall_exit: list[Callable[..., Any]]

    __slots__ = (
        "exec",  # (task, path: bytes)                         after the new image is in place
        "exit",  # (task, status: int)                         thread exit; status in wait(2) form
        "fatal",  # (task, info: SigInfo)                      a signal is about to end the process; all is as it was
        "fault",  # (task, address: int, access: int)          a fault that compiled code could not finish
        "fork",  # (parent, child, flags: int, odf: bool)      fork, vfork and clone
        "log",  # (line: str)                          what Linux writes to the kernel log
        "signal",  # (task, info: SigInfo)                     a signal is taken off the queue for delivery
        "stop",  # (task, signal: int)                         the group has stopped
        "syscall_enter",  # (task, row: Syscall | None, number: int, regs: tuple[int, ...])
        "syscall_exit",  # (task, row, number, regs, result: int)  result is -errno; may be -ERESTART*
    )

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, [])

    def subscribe(self, kind: str, callback: Callable[..., Any]) -> None:
        """Call ``callback`` at every event of ``kind`` (one of the attribute names)."""
        getattr(self, kind).append(callback)
