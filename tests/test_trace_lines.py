"""The tracer's lines from events made by hand: what interleaves, what is counted, what is left out."""

from __future__ import annotations

import io
import random
import re
import struct
from types import SimpleNamespace
from typing import Any

import pytest

import kernel.syscalls  # noqa: F401 -- fills the table
from guest.trace import TraceOptions, Tracer
from guest.trace.call import Style
from kernel.errno import EFAULT, Errno
from kernel.events import Events
from kernel.syscalls.table import TABLE

READ, WRITE, GETPPID, EXIT_GROUP, WAIT4, CLONE, PAUSE = 0, 1, 110, 231, 61, 56, 34


class Memory:
    """One string of bytes at 0x1000."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read_some(self, address: int, size: int) -> bytes:
        part = self.data[address - 0x1000 :][:size] if address >= 0x1000 else b""
        if not part and size:
            raise Errno(EFAULT)
        return part

    def read(self, address: int, size: int) -> bytes:
        part = self.read_some(address, size)
        if len(part) < size:
            raise Errno(EFAULT)
        return part


class Machine:
    """Emits events as the kernel would."""

    def __init__(self, options: TraceOptions | None = None) -> None:
        self.output = io.StringIO()
        self.events = Events()
        self.tracer = Tracer(self.events, self.output, options or TraceOptions(to_file=True))
        self.tracer.attach()
        self.tasks: dict[int, Any] = {}
        self.entered: dict[int, tuple[int, tuple[int, ...]]] = {}

    def task(self, tid: int, data: bytes = b"") -> Any:
        task = self.tasks.setdefault(tid, SimpleNamespace(tid=tid, files=None, dying=False))
        task.mm = Memory(data)
        return task

    def enter(self, task: Any, number: int, *args: int) -> None:
        regs = (*args, *(0,) * (6 - len(args)))
        self.entered[task.tid] = (number, regs)
        for callback in self.events.syscall_enter:
            callback(task, TABLE.get(number), number, regs)

    def leave(self, task: Any, result: int) -> None:
        number, regs = self.entered.pop(task.tid)
        for callback in self.events.syscall_exit:
            callback(task, TABLE.get(number), number, regs, result)

    def call(self, task: Any, number: int, *args: int, result: int = 0) -> None:
        self.enter(task, number, *args)
        self.leave(task, result)

    def fork(self, parent: Any, child: Any) -> None:
        for callback in self.events.fork:
            callback(parent, child, 17, False)

    def exit(self, task: Any, status: int) -> None:
        for callback in list(self.events.exit):
            callback(task, status)

    def lines(self) -> list[str]:
        self.tracer.finish()
        return self.output.getvalue().splitlines()


def test_a_line() -> None:
    m = Machine()
    m.call(m.task(1000), GETPPID, result=999)
    assert m.lines() == ["getppid()                               = 999"]


def test_errors_have_name_and_text() -> None:
    m = Machine()
    m.call(m.task(1000), READ, 7, 0x1000, 3, result=-9)
    m.call(m.task(1000), READ, 7, 0x1000, 3, result=-512)
    m.call(m.task(1000), PAUSE, result=-514)
    assert m.lines() == [
        "read(7, 0x1000, 3)                      = -1 EBADF (Bad file descriptor)",
        "read(7, 0x1000, 3)                      = ? ERESTARTSYS (To be restarted if SA_RESTART is set)",
        "pause()                                 = ? ERESTARTNOHAND (To be restarted if no handler)",
    ]


def test_strings_are_escaped_and_shortened() -> None:
    m = Machine()
    task = m.task(1000, b'a"b\\\n\0001\x7f\xff' + b"z" * 60)
    m.call(task, WRITE, 1, 0x1000, 9, result=9)
    m.call(task, WRITE, 1, 0x1000, 40, result=40)
    m.call(task, WRITE, 1, 0x1000, 4000, result=-14)
    m.call(task, WRITE, 1, 5, 4, result=-14)
    m.call(task, WRITE, 1, 0, 4, result=-14)
    lines = m.lines()
    assert lines[0].startswith('write(1, "a\\"b\\\\\\n\\0001\\177\\377", 9)')
    assert '"..., 40)' in lines[1]
    assert [line.split(" = ")[0].rstrip() for line in lines[3:]] == ["write(1, 0x5, 4)", "write(1, NULL, 4)"]


def test_unknown_calls() -> None:
    m = Machine()
    m.call(m.task(1000), 999, 1, 2, 3, 4, 5, 6, result=-38)
    assert m.lines() == ["syscall_0x3e7(0x1, 0x2, 0x3, 0x4, 0x5, 0x6) = -1 ENOSYS (Function not implemented)"]


def test_only_the_first_process_without_f() -> None:
    m = Machine()
    first, second = m.task(1000), m.task(1001)
    m.call(first, GETPPID, result=1)
    m.fork(first, second)
    m.call(second, GETPPID, result=2)
    m.exit(second, 0)
    assert m.lines() == ["getppid()                               = 1"]


def test_unfinished_and_resumed() -> None:
    m = Machine(TraceOptions(follow_forks=True))
    parent, child = m.task(1000), m.task(1001, (3 << 8).to_bytes(4, "little"))
    child.mm, parent.mm = parent.mm, child.mm
    m.enter(parent, CLONE, 0x11)
    m.fork(parent, child)
    m.leave(parent, 1001)
    m.enter(parent, WAIT4, -1, 0x1000, 0, 0)
    m.call(child, GETPPID, result=1000)
    m.enter(child, EXIT_GROUP, 3)
    m.exit(child, 3 << 8)
    m.leave(parent, 1001)
    m.call(parent, GETPPID, result=1)
    assert m.lines() == [
        "clone(child_stack=NULL, flags=SIGCHLD)  = 1001",
        "strace: Process 1001 attached",
        "[pid  1000] wait4(-1,  <unfinished ...>",
        "[pid  1001] getppid()                   = 1000",
        "[pid  1001] exit_group(3)               = ?",
        "[pid  1001] +++ exited with 3 +++",
        "<... wait4 resumed>[{WIFEXITED(s) && WEXITSTATUS(s) == 3}], 0, NULL) = 1001",
        "getppid()                               = 1",
    ]


def test_pids_in_a_file() -> None:
    m = Machine(TraceOptions(follow_forks=True, to_file=True))
    m.call(m.task(1000), GETPPID, result=1)
    assert m.lines() == ["1000  getppid()                         = 1"]


def test_killed_in_a_call() -> None:
    m = Machine()
    task = m.task(1000)
    m.enter(task, READ, 0, 0x1000, 5)
    task.dying = True
    m.leave(task, -512)
    m.exit(task, 9)
    assert m.lines() == ["read(0,  <unfinished ...>)              = ?", "+++ killed by SIGKILL +++"]


def test_signals() -> None:
    m = Machine()
    task = m.task(1000)
    m.call(task, GETPPID, result=1)
    info = SimpleNamespace(signo=10, pack=lambda: struct.pack("<iiixxxxiI104x", 10, 0, 0, 5, 1))
    for callback in m.events.signal:
        callback(task, info)
    for callback in m.events.stop:
        callback(task, 19)
    m.exit(task, 15)
    assert m.lines()[1:] == ["--- SIGUSR1 {si_signo=SIGUSR1, si_code=SI_USER, si_pid=5, si_uid=1} ---",
                             "--- stopped by SIGSTOP ---", "+++ killed by SIGTERM +++"]


def options(**changes: Any) -> TraceOptions:
    made = TraceOptions(to_file=True)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_filters() -> None:
    made = options()
    made.filters.add("trace=read")
    m = Machine(made)
    m.call(m.task(1000), GETPPID)
    m.call(m.task(1000), READ, 0, 0x1000, 0)
    assert [line.split("(")[0] for line in m.lines()] == ["read"]


def test_status_filter_shows_whole_lines_only() -> None:
    made = options()
    made.filters.add("status=failed")
    m = Machine(made)
    m.call(m.task(1000), READ, 3, 0x1000, 5, result=-9)
    m.call(m.task(1000), GETPPID, result=4)
    m.enter(m.task(1000), EXIT_GROUP, 0)
    m.exit(m.task(1000), 0)
    assert [line.split("(")[0] for line in m.lines()] == ["read", "+++ exited with 0 +++"]


def test_summary() -> None:
    m = Machine(options(summary="only", summary_sort="calls"))
    for _ in range(3):
        m.call(m.task(1000), GETPPID, result=1)
    m.call(m.task(1000), READ, 3, 0x1000, 5, result=-9)
    m.exit(m.task(1000), 0)
    lines = m.lines()
    assert lines[0] == "% time     seconds  usecs/call     calls    errors syscall"
    assert [line.split()[3:] for line in lines[2:4]] == [["3", "getppid"], ["1", "1", "read"]]
    assert lines[-1].startswith("100.00") and lines[-1].split()[3:] == ["4", "1", "total"]


@pytest.mark.parametrize(("changes", "pattern"), [
    ({"timestamps": 1}, r"\d\d:\d\d:\d\d getppid\(\) +="),
    ({"timestamps": 2}, r"\d\d:\d\d:\d\d\.\d{6} getppid\(\) +="),
    ({"timestamps": 3}, r"\d{10}\.\d{6} getppid\(\) +="),
    ({"relative": True}, r" {5}0\.000000 getppid\(\) +="),
    ({"syscall_times": True}, r"getppid\(\) += 1 <0\.\d{6}>"),
    ({"syscall_numbers": True}, r"\[ 110\] getppid\(\) +="),
    ({"column": 20}, r"getppid\(\)           = 1"),
])
def test_what_else_a_line_may_have(changes: dict[str, Any], pattern: str) -> None:
    m = Machine(options(**changes))
    m.call(m.task(1000), GETPPID, result=1)
    assert re.match(pattern, m.lines()[0])


def test_quiet() -> None:
    m = Machine(options(quiet=2))
    m.call(m.task(1000), GETPPID, result=1)
    m.exit(m.task(1000), 0)
    assert len(m.lines()) == 1


def test_a_file_for_each_task() -> None:
    files: dict[int, io.StringIO] = {}

    def output(tid: int) -> io.StringIO:
        return files.setdefault(tid, io.StringIO())

    m = Machine(options(follow_forks=True, separate_outputs=output))
    parent, child = m.task(1000), m.task(1001)
    m.enter(parent, WAIT4, -1, 0, 0, 0)
    m.fork(parent, child)
    m.call(child, GETPPID, result=1000)
    m.leave(parent, -10)
    m.lines()
    assert files[1001].getvalue() == "getppid()                               = 1000\n"
    assert files[1000].getvalue() == "wait4(-1, NULL, 0, NULL)                = -1 ECHILD (No child processes)\n"


def test_no_event_breaks_it() -> None:
    """Any number, any registers, no memory at all."""
    m = Machine(TraceOptions(follow_forks=True))
    task = m.task(1000)
    for number in [*TABLE, 1000, -1]:
        for fill in (0, -1, 1 << 62, 0x1000, -(1 << 63)):
            if number in (60, 231):
                continue
            m.enter(task, number, *(fill,) * 6)
            m.leave(task, -14)
            m.enter(task, number, *(fill,) * 6)
            m.leave(task, 5)
    assert len(m.lines()) > 1000


def test_no_memory_content_breaks_it() -> None:
    """Pointers to noise, in every call: what a fuzzed program would pass."""
    noise = random.Random(1)
    for style in (Style(), Style(string_limit=3, verbose=True, hex_strings=1)):
        m = Machine(TraceOptions(follow_forks=True, style=style))
        for number in TABLE:
            if number in (60, 231):
                continue
            for _ in range(12):
                task = m.task(1000, noise.randbytes(noise.choice((0, 7, 100, 5000))))
                args = [noise.choice((0x1000, 0x1040, noise.randrange(64), noise.randrange(-(1 << 63), 1 << 63)))
                        for _ in range(6)]
                m.enter(task, number, *args)
                m.leave(task, noise.choice((-14, 0, 1, 3, 5000, -512, -516, 1 << 40)))
        assert len(m.lines()) > 1000
