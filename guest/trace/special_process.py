"""Process, signal and time calls whose arguments depend on each other or on the result."""

from __future__ import annotations

import struct
from collections.abc import Callable

from guest.trace.call import Call
from guest.trace.scalars import at_fd_text
from guest.trace.special_prctl import prctl
from guest.trace.structs import array, one
from guest.trace.structs_task import signal_name, sigset_text, wait_status_text
from guest.trace.tables import enum_table, flag_table
from guest.trace.text import buffer, plain_hex, pointer

_CLONE_PIDFD, _CLONE_SETTLS = 0x1000, 0x80000
_CLONE_PARENT_SETTID, _CLONE_CHILD_CLEARTID, _CLONE_CHILD_SETTID = 0x100000, 0x200000, 0x1000000


def _clone(c: Call) -> str:
    flags = c.arg(0)
    named, number = flags & ~0xFF, flags & 0xFF
    parts = [flag_table("clone").text(named)] if named else []
    if number or not named:
        parts.append(signal_name(number))
    head = f"child_stack={pointer(c.arg(1))}, flags={'|'.join(parts)}"

    def rest(c: Call) -> str:
        text = ""
        if flags & (_CLONE_PARENT_SETTID | _CLONE_PIDFD):
            name = "parent_tid" if flags & _CLONE_PARENT_SETTID else "pidfd"
            shown = pointer(c.arg(2)) if c.failed else one(c, "int", c.arg(2))
            text += f", {name}={shown}"
        if flags & _CLONE_SETTLS:
            text += f", tls={pointer(c.arg(4))}"
        if flags & (_CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID):
            text += f", child_tidptr={pointer(c.arg(3))}"
        return text

    if flags & (_CLONE_PARENT_SETTID | _CLONE_PIDFD | _CLONE_SETTLS | _CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID):
        c.rest = rest
    return head


def _clone3(c: Call) -> str:
    size = c.arg(1)
    data = c.read(c.arg(0), min(size, 88)) if c.arg(0) and size >= 64 else None
    if data is None:
        return f"{pointer(c.arg(0))}, {size}"
    flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup = (
        struct.unpack("<11Q", data.ljust(88, b"\0")))
    parts = [f"flags={flag_table('clone').text(flags)}"]
    if flags & _CLONE_PIDFD:
        parts.append(f"pidfd={pointer(pidfd)}")
    if flags & (_CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID):
        parts.append(f"child_tid={pointer(child_tid)}")
    if flags & _CLONE_PARENT_SETTID:
        parts.append(f"parent_tid={pointer(parent_tid)}")
    parts.append(f"exit_signal={signal_name(exit_signal)}")
    parts.append(f"stack={pointer(stack)}")
    parts.append(f"stack_size={f'{stack_size:#x}' if stack_size else '0'}")
    if flags & _CLONE_SETTLS:
        parts.append(f"tls={pointer(tls)}")
    if set_tid or set_tid_size:
        parts.append(f"set_tid={array(c, 'int', set_tid, set_tid_size)}")
        parts.append(f"set_tid_size={set_tid_size}")
    if flags & 0x200000000 and size >= 88:
        parts.append(f"cgroup={cgroup}")

    def rest(c: Call) -> str:
        written = []
        if not c.failed and flags & _CLONE_PIDFD:
            written.append(f"pidfd={one(c, 'int', pidfd)}")
        if not c.failed and flags & _CLONE_PARENT_SETTID:
            written.append(f"parent_tid={one(c, 'int', parent_tid)}")
        arrow = f" => {{{', '.join(written)}}}" if written else ""
        return f"{arrow}, {size}"

    c.rest = rest
    return "{" + ", ".join(parts) + "}"


def _wait4(c: Call) -> str:
    def rest(c: Call) -> str:
        options = flag_table("wait").text(c.uint32(2))
        if c.failed or not c.result:
            return f"{pointer(c.arg(1))}, {options}, {pointer(c.arg(3))}"
        data = c.read(c.arg(1), 4) if c.arg(1) else None
        status = pointer(c.arg(1)) if data is None else f"[{wait_status_text(struct.unpack('<i', data)[0])}]"
        return f"{status}, {options}, {one(c, 'rusage', c.arg(3))}"

    c.rest = rest
    return f"{c.int32(0)}, "


def _waitid(c: Call) -> str:
    which = c.uint32(0)

    def rest(c: Call) -> str:
        options = flag_table("wait").text(c.uint32(3))
        if c.failed:
            return f"{pointer(c.arg(2))}, {options}, {pointer(c.arg(4))}"
        return f"{_siginfo_or_empty(c, c.arg(2))}, {options}, {one(c, 'rusage', c.arg(4))}"

    c.rest = rest
    return f"{enum_table('waitid_which').text(which)}, {c.int32(1)}, "


def _siginfo_or_empty(c: Call, address: int) -> str:
    data = c.read(address, 4) if address else None
    return "{}" if data == bytes(4) else one(c, "siginfo", address)


_WAKE_OPS = ("FUTEX_OP_SET", "FUTEX_OP_ADD", "FUTEX_OP_OR", "FUTEX_OP_ANDN", "FUTEX_OP_XOR")
_WAKE_CMPS = ("FUTEX_OP_CMP_EQ", "FUTEX_OP_CMP_NE", "FUTEX_OP_CMP_LT", "FUTEX_OP_CMP_LE", "FUTEX_OP_CMP_GT",
              "FUTEX_OP_CMP_GE")


def _futex_op(op: int) -> str:
    name = enum_table("futex_op").names.get(op & ~0x180)
    if name is None or (op & 0x100 and op & 0x7F not in (0, 9, 11)):
        return f"{op:#x} /* FUTEX_??? */"
    private = op & 0x80
    text = name + ("|FUTEX_PRIVATE_FLAG" if private and name == "FUTEX_FD" else "_PRIVATE" if private else "")
    return text + ("|FUTEX_CLOCK_REALTIME" if op & 0x100 else "")


def _futex_wake_op(value: int) -> str:
    op, compare = value >> 28 & 7, value >> 24 & 15
    shift = "FUTEX_OP_OPARG_SHIFT<<28|" if value >> 31 else ""
    op_text = f"{_WAKE_OPS[op]}<<28" if op < len(_WAKE_OPS) else f"{op:#x}<<28 /* FUTEX_OP_??? */"
    compare_text = (f"{_WAKE_CMPS[compare]}<<24" if compare < len(_WAKE_CMPS)
                    else f"{compare:#x}<<24 /* FUTEX_OP_CMP_??? */")
    argument, other = value >> 12 & 0xFFF, value & 0xFFF
    return f"{shift}{op_text}|{plain_hex(argument)}<<12|{compare_text}|{plain_hex(other)}"


def _bitset(value: int) -> str:
    return "FUTEX_BITSET_MATCH_ANY" if value == 0xFFFFFFFF else f"{value:#x}" if value else "0"


def _futex(c: Call) -> str:
    op = c.uint32(1)
    command = op & 0x7F
    value, value2, value3 = c.uint32(2), c.uint32(3), c.uint32(5)
    head = f"{pointer(c.arg(0))}, {_futex_op(op)}"
    timeout = c.arg(3)
    if command == 0:
        return f"{head}, {value}, {one(c, 'timespec', timeout)}"
    if command in (1, 2):
        return f"{head}, {value}"
    if command == 3:
        return f"{head}, {value}, {value2}, {pointer(c.arg(4))}"
    if command == 4:
        return f"{head}, {value}, {value2}, {pointer(c.arg(4))}, {value3}"
    if command == 5:
        return f"{head}, {value}, {value2}, {pointer(c.arg(4))}, {_futex_wake_op(value3)}"
    if command in (6, 13):
        return f"{head}, {one(c, 'timespec', timeout)}"
    if command in (7, 8):
        return head
    if command == 9:
        return f"{head}, {value}, {one(c, 'timespec', timeout)}, {_bitset(value3)}"
    if command == 10:
        return f"{head}, {value}, {_bitset(value3)}"
    if command == 11:
        return f"{head}, {value}, {one(c, 'timespec', timeout)}, {pointer(c.arg(4))}"
    if command == 12:
        return f"{head}, {value}, {value2}, {pointer(c.arg(4))}, {value3}"
    return f"{head}, {value}, {pointer(timeout)}, {pointer(c.arg(4))}, {f'{value3:#x}' if value3 else '0'}"


def _remaining(c: Call, address: int) -> str:
    """The time left that an interrupted sleep writes; untouched unless the call is to be restarted by block."""
    return one(c, "timespec", address) if c.result in (-516, -4) else pointer(address)


def _nanosleep(c: Call) -> str:
    c.rest = lambda c: _remaining(c, c.arg(1))
    return f"{one(c, 'timespec', c.arg(0))}, "


def _clock_nanosleep(c: Call) -> str:
    absolute = c.uint32(1) & 1
    c.rest = lambda c: pointer(c.arg(3)) if absolute else _remaining(c, c.arg(3))
    return (f"{enum_table('clockid').text(c.uint32(0))}, {flag_table('timer_settime').text(c.uint32(1))}, "
            f"{one(c, 'timespec', c.arg(2))}, ")


def _rt_sigreturn(c: Call) -> str:
    """The mask that goes back into force, from the frame on the stack."""
    try:
        sp = c.task.registers().rsp
    except (AttributeError, KeyError):
        return ""
    data = c.read(sp + 0x128, 8)  # ucontext: flags, link, stack, 256 bytes of mcontext, then the mask
    return pointer(sp) if data is None else f"{{mask={sigset_text(int.from_bytes(data, 'little'))}}}"


def _sized_set(c: Call, address: int, size: int) -> str:
    """A signal set with its size as the call gives it; only 8 bytes is a set."""
    return one(c, "sigset", address) if size == 8 else pointer(address)


def _rt_sigprocmask(c: Call) -> str:
    size = c.arg(3)

    def rest(c: Call) -> str:
        old = pointer(c.arg(2)) if c.failed else _sized_set(c, c.arg(2), size)
        return f"{old}, {size}"

    c.rest = rest
    return f"{enum_table('sigprocmask_how').text(c.uint32(0))}, {_sized_set(c, c.arg(1), size)}, "


def _rt_sigtimedwait(c: Call) -> str:
    timeout = one(c, "timespec", c.arg(2))

    def rest(c: Call) -> str:
        info = pointer(c.arg(1)) if c.failed else one(c, "siginfo", c.arg(1))
        if not c.failed and c.result:
            c.aux = signal_name(c.result)
        return f"{info}, {timeout}, {c.arg(3)}"

    c.rest = rest
    return f"{_sized_set(c, c.arg(0), c.arg(3))}, "


def _cpu_set(c: Call, address: int, size: int) -> str:
    data = c.read(address, min(size, 1024)) if address and size else None
    if data is None:
        return pointer(address)
    mask = int.from_bytes(data, "little")
    return f"[{' '.join(str(i) for i in range(mask.bit_length()) if mask >> i & 1)}]"


def _sched_getaffinity(c: Call) -> str:
    c.rest = lambda c: pointer(c.arg(2)) if c.failed else _cpu_set(c, c.arg(2), c.result or 0)
    return f"{c.int32(0)}, {c.arg(1)}, "


def _arch_prctl(c: Call) -> str:
    code = c.arg(0)
    head = enum_table("arch_prctl").text(code)
    if code in (0x1003, 0x1004):
        c.rest = lambda c: pointer(c.arg(1)) if c.failed else one(c, "ptr", c.arg(1))
        return head + ", "
    if code in (0x1001, 0x1002) or code not in enum_table("arch_prctl").names:
        return f"{head}, {plain_hex(c.arg(1))}"
    if code == 0x1011:
        return head
    return f"{head}, {c.arg(1):#x}" if c.arg(1) else f"{head}, 0"


def _timer_create(c: Call) -> str:
    c.rest = lambda c: pointer(c.arg(2)) if c.failed else one(c, "int", c.arg(2))
    return f"{enum_table('clockid').text(c.uint32(0))}, {one(c, 'sigevent', c.arg(1))}, "


def _execveat(c: Call) -> str:
    from guest.trace.arguments import environment, string_vector
    from guest.trace.text import path

    return (f"{at_fd_text(c, c.regs[0])}, {path(c, c.arg(1))}, {string_vector(c, c.arg(2))}, "
            f"{environment(c, c.arg(3))}, {flag_table('at').text(c.uint32(4))}")


def _capget(c: Call) -> str:
    c.rest = lambda c: pointer(c.arg(1)) if c.failed else one(c, "cap_user_data", c.arg(1))
    return f"{one(c, 'cap_user_header', c.arg(0))}, "


def _capset(c: Call) -> str:
    return f"{one(c, 'cap_user_header', c.arg(0))}, {one(c, 'cap_user_data', c.arg(1))}"


def _getgroups(c: Call) -> str:
    size = c.int32(0)
    c.rest = lambda c: pointer(c.arg(1)) if c.failed else array(c, "gid", c.arg(1), c.result or 0 if size else 0)
    return f"{size}, "


def _getrandom(c: Call) -> str:
    def rest(c: Call) -> str:
        shown = pointer(c.arg(0)) if c.failed else buffer(c, c.arg(0), c.result or 0, force_hex=True)
        return f"{shown}, {c.arg(1)}, {flag_table('getrandom').text(c.uint32(2))}"

    c.rest = rest
    return ""


def _personality(c: Call) -> str:
    value = c.uint32(0)
    return "0xffffffff" if value == 0xFFFFFFFF else flag_table("personality").text(value)


CALLS: dict[str, Callable[[Call], str]] = {
    "clone": _clone,
    "clone3": _clone3,
    "wait4": _wait4,
    "waitid": _waitid,
    "futex": _futex,
    "nanosleep": _nanosleep,
    "clock_nanosleep": _clock_nanosleep,
    "rt_sigreturn": _rt_sigreturn,
    "rt_sigprocmask": _rt_sigprocmask,
    "rt_sigsuspend": lambda c: f"{_sized_set(c, c.arg(0), c.arg(1))}, {c.arg(1)}",
    "rt_sigtimedwait": _rt_sigtimedwait,
    "sched_getaffinity": _sched_getaffinity,
    "sched_setaffinity": lambda c: f"{c.int32(0)}, {c.arg(1)}, {_cpu_set(c, c.arg(2), c.arg(1))}",
    "prctl": prctl,
    "arch_prctl": _arch_prctl,
    "timer_create": _timer_create,
    "personality": _personality,
    "execveat": _execveat,
    "capget": _capget,
    "capset": _capset,
    "getgroups": _getgroups,
    "getrandom": _getrandom,
}
