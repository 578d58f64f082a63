"""What becomes of a system call that a signal interrupted (arch_do_signal_or_restart, handle_signal).

========================  =============================  ===============================
result                    a handler runs                 none does
========================  =============================  ===============================
ERESTARTSYS               again if SA_RESTART, or EINTR  again
ERESTARTNOINTR            again                          again
ERESTARTNOHAND            EINTR                          again
ERESTART_RESTARTBLOCK     EINTR                          restart_syscall(2) continues it
========================  =============================  ===============================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.words import U64
from kernel.errno import EINTR, ERESTART_RESTARTBLOCK, ERESTARTNOHAND, ERESTARTNOINTR, ERESTARTSYS
from kernel.task.signals import SA_RESTART

if TYPE_CHECKING:
    from emu.registers import Registers

SYS_RESTART_SYSCALL = 219
SYSCALL_INSN_BYTES = 2
RESTART_CODES = frozenset((-ERESTARTSYS, -ERESTARTNOINTR, -ERESTARTNOHAND, -ERESTART_RESTARTBLOCK))


def _again(registers: Registers, number: int) -> None:
    registers.rax = number & U64
    registers.rip = (registers.rip - SYSCALL_INSN_BYTES) & U64


def restart_for_handler(registers: Registers, number: int, result: int, flags: int) -> None:
    """Settle call ``number`` that gave ``result``, when a handler with ``flags`` is about to run."""
    if result == -ERESTARTNOINTR or (result == -ERESTARTSYS and flags & SA_RESTART):
        _again(registers, number)
    else:
        registers.rax = -EINTR & U64


def restart_without_handler(registers: Registers, number: int, result: int) -> None:
    """The same when no handler runs: the program notices nothing."""
    _again(registers, SYS_RESTART_SYSCALL if result == -ERESTART_RESTARTBLOCK else number)
