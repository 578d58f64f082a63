"""Signal numbers, codes and flags by their kernel names (include/uapi/asm-generic/signal.h, siginfo.h; x86-64).

Constants only; the machinery is in ``kernel.task.signal``, which exports all of these too.
"""

from __future__ import annotations

SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGUSR1 = range(1, 11)
SIGSEGV, SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGSTKFLT, SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP = range(11, 21)
SIGTTIN, SIGTTOU, SIGURG, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGWINCH, SIGIO, SIGPWR, SIGSYS = range(21, 32)
SIGPOLL = SIGIO
SIGRTMIN, SIGRTMAX = 32, 64
"""The kernel's SIGRTMIN; libc keeps the first two or three for itself."""
NSIG = 64

SIG_DFL, SIG_IGN = 0, 1

SA_NOCLDSTOP = 0x1
SA_NOCLDWAIT = 0x2
SA_SIGINFO = 0x4
SA_UNSUPPORTED = 0x400
SA_EXPOSE_TAGBITS = 0x800
SA_RESTORER = 0x04000000
SA_ONSTACK = 0x08000000
SA_RESTART = 0x10000000
SA_NODEFER = 0x40000000
SA_RESETHAND = 0x80000000
UAPI_SA_FLAGS = (
    SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_NODEFER | SA_RESETHAND
    | SA_EXPOSE_TAGBITS | SA_RESTORER
)
"""Bits that sigaction keeps; the others read back as 0."""

SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK = 0, 1, 2

SS_ONSTACK, SS_DISABLE = 1, 2
SS_AUTODISARM = 1 << 31
MINSIGSTKSZ = 2048

SI_USER, SI_KERNEL = 0, 0x80
SI_QUEUE, SI_TIMER, SI_MESGQ, SI_ASYNCIO, SI_SIGIO, SI_TKILL, SI_DETHREAD = -1, -2, -3, -4, -5, -6, -7
SI_ASYNCNL = -60
ILL_ILLOPC, ILL_ILLOPN, ILL_ILLADR, ILL_ILLTRP, ILL_PRVOPC, ILL_PRVREG, ILL_COPROC, ILL_BADSTK = range(1, 9)
FPE_INTDIV, FPE_INTOVF, FPE_FLTDIV, FPE_FLTOVF, FPE_FLTUND, FPE_FLTRES, FPE_FLTINV, FPE_FLTSUB = range(1, 9)
SEGV_MAPERR, SEGV_ACCERR, SEGV_BNDERR, SEGV_PKUERR = range(1, 5)
BUS_ADRALN, BUS_ADRERR, BUS_OBJERR = range(1, 4)
TRAP_BRKPT, TRAP_TRACE = 1, 2
CLD_EXITED, CLD_KILLED, CLD_DUMPED, CLD_TRAPPED, CLD_STOPPED, CLD_CONTINUED = range(1, 7)
POLL_IN, POLL_OUT, POLL_MSG, POLL_ERR, POLL_PRI, POLL_HUP = range(1, 7)

SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD, SIGEV_THREAD_ID = 0, 1, 2, 4


def sigmask(*signals: int) -> int:
    """The signal set with these members: bit N-1 is signal N."""
    mask = 0
    for signo in signals:
        mask |= 1 << (signo - 1)
    return mask


SIG_KERNEL_ONLY_MASK = sigmask(SIGKILL, SIGSTOP)
SIG_KERNEL_STOP_MASK = sigmask(SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU)
SIG_KERNEL_COREDUMP_MASK = sigmask(
    SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGFPE, SIGSEGV, SIGBUS, SIGSYS, SIGXCPU, SIGXFSZ
)
SIG_KERNEL_IGNORE_MASK = sigmask(SIGCONT, SIGCHLD, SIGWINCH, SIGURG)
SYNCHRONOUS_MASK = sigmask(SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGSYS)
"""Signals that the CPU raises: they are taken off a queue before all others (kernel/signal.c)."""

_NAMES = {
    value: key
    for key, value in list(globals().items())
    if key.startswith("SIG") and "_" not in key and isinstance(value, int) and key not in
    {"SIGPOLL", "SIGRTMIN", "SIGRTMAX"} and not key.startswith("SIGEV")
}


def signal_name(signo: int) -> str:
    """``signal_name(11) == "SIGSEGV"``; real-time signals as strace writes them, SIGRTMIN and SIGRT_1 …."""
    if signo == SIGRTMIN:
        return "SIGRTMIN"
    if SIGRTMIN < signo <= SIGRTMAX:
        return f"SIGRT_{signo - SIGRTMIN}"
    return _NAMES.get(signo, str(signo))
