"""The signal frame of x86-64 on the user stack, and the way back from it (arch/x86/kernel/signal_64.c, signal.c).

From high to low addresses::

    interrupted RSP
    128 bytes that the function may use below its RSP (red zone); or the top of the alternate stack
    fpstate         512 bytes, FXSAVE64, at a multiple of 64
    struct rt_sigframe, 440 bytes, at a multiple of 16 minus 8, as if the handler had been called:
      0x000 pretcode            the restorer, where the handler returns to
      0x008 uc_flags, uc_link, uc_stack {ss_sp, ss_flags, ss_size}
      0x030 sigcontext          registers, 256 bytes
      0x130 uc_sigmask
      0x138 siginfo             written with SA_SIGINFO only

The engine has no XSAVE: UC_FP_XSTATE is clear and the FXSAVE image carries no magic numbers.
"""

from __future__ import annotations

from contextlib import suppress
from struct import Struct
from typing import TYPE_CHECKING

from emu.words import U64
from kernel.errno import EFAULT, EINVAL, ENOMEM, EPERM, Errno
from kernel.task.signals import (
    MINSIGSTKSZ,
    SA_ONSTACK,
    SA_RESTORER,
    SA_SIGINFO,
    SS_AUTODISARM,
    SS_DISABLE,
    SS_ONSTACK,
)

if TYPE_CHECKING:
    from emu.registers import Registers
    from kernel.task.siginfo import SigInfo
    from kernel.task.sigqueue import Action
    from kernel.task.task import Task

RED_ZONE = 128
FXSAVE_SIZE = 512
_FXSAVE_ALIGN = 64
_FRAME_ALIGN = 16

UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS = 1, 2, 4
USER_CS, USER_DS = 0x33, 0x2B

#: pretcode; uc_flags, uc_link; ss_sp, ss_flags, ss_size; r8–r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
#: cs, gs, fs, ss; err, trapno, oldmask, cr2, fpstate; 8 reserved words; uc_sigmask.
_FRAME = Struct("<Q QQ Qi4xQ 18Q 4H 5Q 64x Q")
_FRAME_SIZE = _FRAME.size + 128
_UCONTEXT_OFFSET = 8
_SIGINFO_OFFSET = _FRAME.size
assert _FRAME.size == 0x138, hex(_FRAME.size)

_CF, _PF, _AF, _ZF, _SF, _TF, _DF, _OF = 1, 1 << 2, 1 << 4, 1 << 6, 1 << 7, 1 << 8, 1 << 10, 1 << 11
_RF, _AC = 1 << 16, 1 << 18
FIX_EFLAGS = _AC | _OF | _DF | _TF | _SF | _ZF | _AF | _PF | _CF | _RF
"""The bits of RFLAGS that a frame may change."""

_MXCSR_OFFSET = 24
_MXCSR_MASK = 0xFFFF
_USER_END = (1 << 47) - 4096

#: FCW 0x37f, all registers empty, MXCSR 0x1f80 with its mask: what a handler starts with.
FXSAVE_INIT = (
    b"\x7f\x03".ljust(_MXCSR_OFFSET, b"\0") + (0x1F80).to_bytes(4, "little") + _MXCSR_MASK.to_bytes(4, "little")
).ljust(FXSAVE_SIZE, b"\0")


# -- alternate stack -------------------------------------------------------------------------------------------------


def within_sigaltstack(task: Task, sp: int) -> bool:
    """Is ``sp`` in the alternate stack, whatever SS_AUTODISARM says? (__on_sig_stack)"""
    base, size, _flags = task.sigaltstack
    return sp > base and sp - base <= size


def on_sigaltstack(task: Task, sp: int) -> bool:
    """Does the task run on its alternate stack, so that it may not be changed? (on_sig_stack)"""
    return not task.sigaltstack[2] & SS_AUTODISARM and within_sigaltstack(task, sp)


def sas_ss_flags(task: Task, sp: int) -> int:
    """SS_DISABLE, SS_ONSTACK or 0."""
    if not task.sigaltstack[1]:
        return SS_DISABLE
    return SS_ONSTACK if on_sigaltstack(task, sp) else 0


def set_sigaltstack(task: Task, sp: int, base: int, flags: int, size: int) -> None:
    """sigaltstack(2) for a task whose stack pointer is ``sp``.

    Raises:
        Errno: EPERM on the stack itself, EINVAL for bad flags, ENOMEM below MINSIGSTKSZ bytes.
    """
    if on_sigaltstack(task, sp):
        raise Errno(EPERM)
    mode = flags & ~SS_AUTODISARM & 0xFFFFFFFF
    if mode not in (0, SS_ONSTACK, SS_DISABLE):
        raise Errno(EINVAL)
    if mode == SS_DISABLE:
        base = size = 0
    elif size < MINSIGSTKSZ:
        raise Errno(ENOMEM)
    task.sigaltstack = (base, size, flags & 0xFFFFFFFF)


# -- building --------------------------------------------------------------------------------------------------------


def setup_rt_frame(task: Task, registers: Registers, info: SigInfo, action: Action) -> None:
    """Write the frame for ``info`` and change ``registers`` so that the handler starts.

    Raises:
        Errno: EFAULT when it cannot be written, the alternate stack is too small or there is no restorer; the
            registers are then unchanged.
    """
    if not action.flags & SA_RESTORER:
        raise Errno(EFAULT)
    fpstate, frame = _place_frame(task, registers.rsp, action)
    if frame < 0 or frame + _FRAME_SIZE > _USER_END:
        raise Errno(EFAULT)
    mask = task.blocked if task.saved_mask is None else task.saved_mask
    base, size, flags = task.sigaltstack
    error_code, trapno, cr2 = task.trap
    r = registers
    task.mm.write(fpstate, r.fxsave)
    task.mm.write(frame, _FRAME.pack(
        action.restorer,
        UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS, 0,
        base, (flags ^ 1 << 31) - (1 << 31), size,
        r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rdi, r.rsi, r.rbp, r.rbx, r.rdx, r.rax, r.rcx, r.rsp,
        r.rip, r.rflags,
        USER_CS, 0, 0, USER_DS,
        error_code, trapno, mask, cr2, fpstate,
        mask,
    ))  # fmt: skip
    if action.flags & SA_SIGINFO:
        task.mm.write(frame + _SIGINFO_OFFSET, info.pack())
    r.rdi = info.signo
    r.rax = 0
    r.rsi = frame + _SIGINFO_OFFSET
    r.rdx = frame + _UCONTEXT_OFFSET
    r.rip = action.handler
    r.rsp = frame
    r.rflags &= ~(_DF | _RF | _TF)
    r.fxsave = FXSAVE_INIT


def _place_frame(task: Task, rsp: int, action: Action) -> tuple[int, int]:
    """Addresses of (fpstate, rt_sigframe); EFAULT when they would leave the alternate stack (get_sigframe)."""
    nested = on_sigaltstack(task, rsp)
    entering = False
    sp = (rsp - RED_ZONE) & U64
    if action.flags & SA_ONSTACK and sas_ss_flags(task, sp) == 0:
        sp = (task.sigaltstack[0] + task.sigaltstack[1]) & U64
        entering = True
    fpstate = (sp - FXSAVE_SIZE) // _FXSAVE_ALIGN * _FXSAVE_ALIGN
    frame = (fpstate - _FRAME_SIZE) // _FRAME_ALIGN * _FRAME_ALIGN - 8
    if (nested or entering) and not within_sigaltstack(task, frame):
        raise Errno(EFAULT)
    return fpstate, frame


# -- coming back -----------------------------------------------------------------------------------------------------


def restore_rt_frame(task: Task, registers: Registers) -> int:
    """rt_sigreturn(2): fill ``registers`` from the frame above RSP; returns the signal mask to set.

    Nothing of the task changes but its alternate stack. CS, SS and the privileged bits of RFLAGS are not the frame's
    to choose; the caller looks at RIP.

    Raises:
        Errno: EFAULT for a frame that cannot be read or has an impossible FPU state.
    """
    r = registers
    frame = (r.rsp - 8) & U64
    if frame + _FRAME_SIZE > _USER_END:
        raise Errno(EFAULT)
    fields = _FRAME.unpack(task.mm.read(frame, _FRAME.size))
    base, flags, size = fields[3:6]
    with suppress(Errno):  # as Linux: only a frame that cannot be read is an error
        set_sigaltstack(task, r.rsp, base, flags & 0xFFFFFFFF, size)
    (r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rdi, r.rsi, r.rbp, r.rbx, r.rdx, r.rax, r.rcx, r.rsp,
     r.rip) = fields[6:23]  # fmt: skip
    r.rflags = r.rflags & ~FIX_EFLAGS | fields[23] & FIX_EFLAGS
    fpstate = fields[32]
    if fpstate:
        image = task.mm.read(fpstate, FXSAVE_SIZE)
        if int.from_bytes(image[_MXCSR_OFFSET : _MXCSR_OFFSET + 4], "little") & ~_MXCSR_MASK:
            raise Errno(EFAULT)
        r.fxsave = image
    else:
        r.fxsave = FXSAVE_INIT
    return fields[33]
