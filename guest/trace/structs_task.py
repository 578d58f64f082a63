"""Decoders for processes and signals: sigaction, siginfo, rusage, limits, capabilities, clone3's arguments."""

from __future__ import annotations

import struct

from emu.words import c_int
from guest.trace.call import Call
from guest.trace.structs import fixed, timeval
from guest.trace.tables import FlagTable, enum_table, flag_table
from guest.trace.text import fixed_string, plain_hex, pointer

_SIGNALS = enum_table("signal").names


def signal_name(number: int) -> str:
    """SIGINT, SIGRTMIN (32), SIGRT_1 (33) …; the number itself where there is no such signal."""
    if 1 <= number <= 31:
        return _SIGNALS[number]
    if number == 32:
        return "SIGRTMIN"
    return f"SIGRT_{number - 32}" if 33 <= number <= 64 else str(number)


def sigset_text(mask: int) -> str:
    """A signal mask: the names in it, or ``~[…]`` with those not in it when it is two thirds full."""
    invert = mask.bit_count() >= 42
    if invert:
        mask = ~mask & 0xFFFFFFFFFFFFFFFF
    names = " ".join(signal_name(n)[3:] for n in range(1, 65) if mask >> (n - 1) & 1)
    return f"{'~' if invert else ''}[{names}]"


_sigset_cache: dict[int, str] = {}


@fixed(8, "sigset", "sigset_t")
def sigset(c: Call, data: bytes) -> str:
    """The kernel's 64-bit sigset_t."""
    mask = int.from_bytes(data, "little")
    text = _sigset_cache.get(mask)
    if text is None:
        if len(_sigset_cache) > 4096:
            _sigset_cache.clear()
        text = _sigset_cache[mask] = sigset_text(mask)
    return text


@fixed(32, "sigaction", "kernel_sigaction")
def sigaction(c: Call, data: bytes) -> str:
    """The kernel's struct sigaction: handler, flags, restorer, mask."""
    handler, flags, restorer, _ = struct.unpack("<QQQQ", data)
    name = {0: "SIG_DFL", 1: "SIG_IGN", 0xFFFFFFFFFFFFFFFF: "SIG_ERR"}.get(handler)
    tail = f", sa_restorer={pointer(restorer)}" if flags & 0x4000000 else ""
    return (f"{{sa_handler={name or pointer(handler)}, sa_mask={sigset(c, data[24:])}, "
            f"sa_flags={flag_table('sa_flags').text(flags)}{tail}}}")


@fixed(24, "sigaltstack", "stack", "stack_t")
def sigaltstack(c: Call, data: bytes) -> str:
    """stack_t."""
    sp, flags, size = struct.unpack("<QIxxxxQ", data)
    return f"{{ss_sp={pointer(sp)}, ss_flags={flag_table('sigaltstack_flags').text(flags)}, ss_size={size}}}"


_SI_CODES = {0: "SI_USER", 0x80: "SI_KERNEL", -1: "SI_QUEUE", -2: "SI_TIMER", -3: "SI_MESGQ", -4: "SI_ASYNCIO",
             -5: "SI_SIGIO", -6: "SI_TKILL", -7: "SI_DETHREAD", -60: "SI_ASYNCNL"}
_CODES_BY_SIGNAL: dict[int, tuple[str, ...]] = {
    4: ("ILL_ILLOPC", "ILL_ILLOPN", "ILL_ILLADR", "ILL_ILLTRP", "ILL_PRVOPC", "ILL_PRVREG", "ILL_COPROC", "ILL_BADSTK",
        "ILL_BADIADDR"),
    5: ("TRAP_BRKPT", "TRAP_TRACE", "TRAP_BRANCH", "TRAP_HWBKPT", "TRAP_UNK", "TRAP_PERF"),
    7: ("BUS_ADRALN", "BUS_ADRERR", "BUS_OBJERR", "BUS_MCEERR_AR", "BUS_MCEERR_AO"),
    8: ("FPE_INTDIV", "FPE_INTOVF", "FPE_FLTDIV", "FPE_FLTOVF", "FPE_FLTUND", "FPE_FLTRES", "FPE_FLTINV", "FPE_FLTSUB"),
    11: ("SEGV_MAPERR", "SEGV_ACCERR", "SEGV_BNDERR", "SEGV_PKUERR", "SEGV_ACCADI",
         "SEGV_ADIDERR", "SEGV_ADIPERR", "SEGV_MTEAERR", "SEGV_MTESERR"),
    17: ("CLD_EXITED", "CLD_KILLED", "CLD_DUMPED", "CLD_TRAPPED", "CLD_STOPPED", "CLD_CONTINUED"),
    29: ("POLL_IN", "POLL_OUT", "POLL_MSG", "POLL_ERR", "POLL_PRI", "POLL_HUP"),
    31: ("SYS_SECCOMP", "SYS_USER_DISPATCH"),
}


def si_code_name(signo: int, code: int) -> str:
    names = _CODES_BY_SIGNAL.get(signo, ())
    if 1 <= code <= len(names):
        return names[code - 1]
    return _SI_CODES.get(code) or f"{code & 0xFFFFFFFF:#x}"


@fixed(128, "siginfo", "siginfo_t")
def siginfo(c: Call, data: bytes) -> str:
    """siginfo_t."""
    return siginfo_text(data)


def siginfo_text(data: bytes) -> str:
    """siginfo_t: the fields that its signal and code give meaning to (signal(7), rt_sigqueueinfo(2))."""
    signo, si_errno, code = struct.unpack_from("<iii", data)
    parts = [f"si_signo={signal_name(signo)}", f"si_code={si_code_name(signo, code)}"]
    if si_errno:
        from kernel.errno import name

        parts.append(f"si_errno={name(si_errno)}")
    first, second = struct.unpack_from("<iI", data, 16)
    (value,) = struct.unpack_from("<Q", data, 24)
    sender = [f"si_pid={first}", f"si_uid={second}"]
    value_text = f"si_int={c_int(value)}, si_ptr={pointer(value)}"
    if code > 0 and signo in _CODES_BY_SIGNAL:
        parts += _kernel_fields(signo, code, data)
    elif code in (0, -6):
        parts += sender
    elif code == -2:
        parts += [f"si_timerid={first & 0xFFFFFFFF:#x}", f"si_overrun={c_int(second)}", value_text]
    elif code > 0:
        if first or second:
            parts += sender
        if value:
            parts.append(value_text)
    else:
        parts += sender
        if value:
            parts.append(value_text)
    return "{" + ", ".join(parts) + "}"


def _ticks(value: int) -> str:
    """Clock ticks (USER_HZ = 100) with the seconds they make."""
    return f"{value} /* {value / 100:.2f} s */" if value else "0"


def _kernel_fields(signo: int, code: int, data: bytes) -> list[str]:
    if signo == 17:
        pid, uid, status = struct.unpack_from("<iIi", data, 16)
        utime, stime = struct.unpack_from("<qq", data, 32)
        status_text = str(status) if code == 1 else signal_name(status)
        return [f"si_pid={pid}", f"si_uid={uid}", f"si_status={status_text}", f"si_utime={_ticks(utime)}",
                f"si_stime={_ticks(stime)}"]
    if signo == 29 and code > 6:
        return []
    if signo == 29:
        band, fd = struct.unpack_from("<qi", data, 16)
        return [f"si_band={band}", f"si_fd={fd}"]
    (address,) = struct.unpack_from("<Q", data, 16)
    if signo == 31:
        number, arch = struct.unpack_from("<iI", data, 24)
        return [f"si_call_addr={pointer(address)}", f"si_syscall={number}", f"si_arch={arch:#x}"]
    parts = [f"si_addr={pointer(address)}"]
    if signo == 11 and code == 3:
        lower, upper = struct.unpack_from("<QQ", data, 32)
        parts += [f"si_lower={pointer(lower)}", f"si_upper={pointer(upper)}"]
    if signo == 11 and code == 4:
        parts.append(f"si_pkey={struct.unpack_from('<I', data, 32)[0]}")
    if signo == 7 and code in (4, 5):
        parts.append(f"si_addr_lsb={struct.unpack_from('<H', data, 24)[0]:#x}")
    return parts


@fixed(4, "wait_status", "wstatus", "status")
def wait_status(c: Call, data: bytes) -> str:
    """The status word of wait(2), taken apart by its macros."""
    (status,) = struct.unpack("<i", data)
    return f"[{wait_status_text(status)}]"


def wait_status_text(status: int) -> str:
    """``{WIFEXITED(s) && WEXITSTATUS(s) == 0}`` and its kin."""
    low = status & 0x7F
    if status == 0xFFFF:
        return "{WIFCONTINUED(s)}"
    if status & 0xFF == 0x7F and not status & ~0xFFFF:
        return f"{{WIFSTOPPED(s) && WSTOPSIG(s) == {signal_name(status >> 8 & 0xFF)}}}"
    if low == 0 and not status & ~0xFFFF:
        return f"{{WIFEXITED(s) && WEXITSTATUS(s) == {status >> 8 & 0xFF}}}"
    if not status & ~0xFF:
        core = " && WCOREDUMP(s)" if status & 0x80 else ""
        return f"{{WIFSIGNALED(s) && WTERMSIG(s) == {signal_name(low)}{core}}}"
    return f"{status:#x}"


def rlimit_value(value: int) -> str:
    """One limit: RLIM64_INFINITY, multiples of 1024 as N*1024."""
    if value == 0xFFFFFFFFFFFFFFFF:
        return "RLIM64_INFINITY"
    if value > 1024 and value % 1024 == 0:
        return f"{value // 1024}*1024"
    return str(value)


@fixed(16, "rlimit", "rlimit64")
def rlimit(c: Call, data: bytes) -> str:
    """struct rlimit64."""
    soft, hard = struct.unpack("<QQ", data)
    return f"{{rlim_cur={rlimit_value(soft)}, rlim_max={rlimit_value(hard)}}}"


@fixed(144, "rusage")
def rusage(c: Call, data: bytes) -> str:
    """struct rusage: the two times unless verbose."""
    head = f"{{ru_utime={timeval(c, data[:16])}, ru_stime={timeval(c, data[16:32])}, "
    if not c.style.verbose:
        return head + "...}"
    names = ("maxrss", "ixrss", "idrss", "isrss", "minflt", "majflt", "nswap", "inblock", "oublock", "msgsnd", "msgrcv",
             "nsignals", "nvcsw", "nivcsw")
    values = struct.unpack_from("<14q", data, 32)
    return head + ", ".join(f"ru_{name}={value}" for name, value in zip(names, values, strict=True)) + "}"


@fixed(112, "sysinfo")
def sysinfo(c: Call, data: bytes) -> str:
    """struct sysinfo."""
    v = struct.unpack_from("<qQQQQQQQQQHxxxxxxQQI", data)
    return (f"{{uptime={v[0]}, loads=[{v[1]}, {v[2]}, {v[3]}], totalram={v[4]}, freeram={v[5]}, sharedram={v[6]}, "
            f"bufferram={v[7]}, totalswap={v[8]}, freeswap={v[9]}, procs={v[10]}, totalhigh={v[11]}, "
            f"freehigh={v[12]}, mem_unit={v[13]}}}")


@fixed(390, "utsname", "new_utsname")
def utsname(c: Call, data: bytes) -> str:
    """struct new_utsname: system and node name unless verbose."""
    names = ("sysname", "nodename", "release", "version", "machine", "domainname")
    shown = names if c.style.verbose else names[:2]
    fields = ", ".join(f"{n}={fixed_string(data[i * 65:i * 65 + 65], c.style)}" for i, n in enumerate(shown))
    return "{" + fields + ("}" if c.style.verbose else ", ...}")


@fixed(4, "sched_param")
def sched_param(c: Call, data: bytes) -> str:
    """struct sched_param: one priority."""
    return f"[{struct.unpack('<i', data)[0]}]"


@fixed(8, "cap_user_header", "cap_header")
def cap_header(c: Call, data: bytes) -> str:
    """capget(2)'s header."""
    version, pid = struct.unpack("<Ii", data)
    return f"{{version={enum_table('cap_version').text(version)}, pid={pid}}}"


@fixed(24, "cap_user_data", "cap_data")
def cap_data(c: Call, data: bytes) -> str:
    """Version 3 capability sets: two words each."""
    low_high = struct.unpack("<6I", data)
    fields = ("effective", "permitted", "inheritable")
    return "{" + ", ".join(f"{n}={_caps(low_high[i], low_high[i + 3])}" for i, n in enumerate(fields)) + "}"


_CAPS = enum_table("capability").names
_CAP_WORDS = tuple(
    FlagTable("CAP_???", [(1 << (n % 32), f"1<<{name}") for n, name in _CAPS.items() if n // 32 == word])
    for word in (0, 1)
)


def _caps(low: int, high: int) -> str:
    parts = [_CAP_WORDS[0].text(low)] if low or not high else []
    return "|".join(parts + ([_CAP_WORDS[1].text(high)] if high else []))


def sigevent_text(c: Call, data: bytes) -> str:
    """timer_create(2)'s struct sigevent."""
    value, signo, notify, extra, attributes = struct.unpack_from("<QiiQQ", data)
    name = enum_table("sigev_notify").text(notify)
    signo_text = signal_name(signo) if notify in (0, 2, 4) else str(signo)
    tail = ""
    if notify == 4:
        tail = f", sigev_notify_thread_id={c_int(extra)}"
    elif notify == 2:
        tail = f", sigev_notify_function={pointer(extra)}, sigev_notify_attributes={pointer(attributes)}"
    shown = f"sigev_value={{sival_int={c_int(value)}, sival_ptr={pointer(value)}}}, " if value else ""
    return f"{{{shown}sigev_signo={signo_text}, sigev_notify={name}{tail}}}"


fixed(64, "sigevent")(sigevent_text)


@fixed(48, "sched_attr")
def sched_attr(c: Call, data: bytes) -> str:
    """struct sched_attr: its first version, or with the utilization clamps if its size says that it has them."""
    size, policy, flags, nice, priority, runtime, deadline, period = struct.unpack_from("<IIQiIQQQ", data)
    clamps = ""
    if len(data) >= 56:
        low, high = struct.unpack_from("<II", data, 48)
        clamps = f", sched_util_min={low}, sched_util_max={high}"
    return (f"{{size={size}, sched_policy={enum_table('sched_policy').text(policy)}, "
            f"sched_flags={flag_table('sched_attr_flags').text(flags)}, sched_nice={nice}, "
            f"sched_priority={priority}, sched_runtime={runtime}, sched_deadline={deadline}, sched_period={period}"
            f"{clamps}}}")


@fixed(24, "futex_waitv")
def futex_waitv(c: Call, data: bytes) -> str:
    """One waiter of futex_waitv(2)."""
    value, address, flags, reserved = struct.unpack("<QQII", data)
    tail = f", __reserved={reserved:#x}" if reserved else ""
    return f"{{val={plain_hex(value)}, uaddr={pointer(address)}, flags={flag_table('futex2').text(flags)}{tail}}}"
