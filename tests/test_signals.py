"""Signals and futexes without a CPU: a fake task with plain registers and a dictionary for memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kernel.errno import (
    EAGAIN,
    EFAULT,
    EINTR,
    ERESTART_RESTARTBLOCK,
    ERESTARTNOHAND,
    ERESTARTNOINTR,
    ERESTARTSYS,
    Errno,
)
from kernel.events import Events
from kernel.task import futex
from kernel.task import signals as s
from kernel.task.cred import Credentials
from kernel.task.delivery import exit_to_user
from kernel.task.restart import SYS_RESTART_SYSCALL
from kernel.task.sigframe import FXSAVE_INIT, restore_rt_frame, set_sigaltstack
from kernel.task.siginfo import SigInfo, siginfo_layout
from kernel.task.signal import (
    Action,
    SignalActions,
    SignalQueue,
    dequeue_signal,
    force_signal,
    send_signal,
    set_blocked,
)
from kernel.task.task import Task, ThreadGroup

STACK = 0x7000_0000
HANDLER, RESTORER = 0x40_1000, 0x40_2000
NAMES = (
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
    "rip", "rflags", "fs_base", "gs_base",
)  # fmt: skip


class Memory:
    """One accessible range, and every futex private."""

    def __init__(self, start: int, size: int) -> None:
        self.start, self.data = start, bytearray(size)

    def _at(self, address: int, size: int) -> int:
        offset = address - self.start
        if offset < 0 or offset + size > len(self.data):
            raise Errno(EFAULT)
        return offset

    def read(self, address: int, size: int) -> bytes:
        at = self._at(address, size)
        return bytes(self.data[at : at + size])

    def write(self, address: int, data: bytes) -> None:
        at = self._at(address, len(data))
        self.data[at : at + len(data)] = data

    def read_u32(self, address: int) -> int:
        return int.from_bytes(self.read(address, 4), "little")

    def read_u64(self, address: int) -> int:
        return int.from_bytes(self.read(address, 8), "little")

    def write_u32(self, address: int, value: int) -> None:
        self.write(address, value.to_bytes(4, "little"))

    def write_u64(self, address: int, value: int) -> None:
        self.write(address, value.to_bytes(8, "little"))

    def futex_key(self, address: int, shared: bool) -> Any:
        return id(self), address


class FakeTask(Task):
    """A task whose registers are a namespace."""

    regs: Any

    def registers(self) -> Any:
        return SimpleNamespace(**vars(self.regs))

    def set_registers(self, registers: Any) -> None:
        self.regs = registers


def make_task(tid: int = 100, group: ThreadGroup | None = None) -> FakeTask:
    if group is None:
        scheduler = SimpleNamespace(current=None, wake=lambda task: None)
        kernel: Any = SimpleNamespace(events=Events(), tasks={}, scheduler=scheduler)
        group = ThreadGroup(tid, None, tid, tid, pending=SignalQueue())
        actions = SignalActions()
    else:
        kernel, actions = group.threads[0].kernel, group.threads[0].actions
    task = FakeTask(kernel, tid, group, Memory(STACK, 0x10000), None, None, Credentials(), actions, SignalQueue())  # type: ignore[arg-type]
    task.regs = SimpleNamespace(**{name: 0x1111 * (i + 1) for i, name in enumerate(NAMES)})
    task.regs.fxsave = FXSAVE_INIT[:32] + bytes(range(240)) + bytes(240)
    task.regs.rsp, task.regs.rip, task.regs.rflags = STACK + 0x8000, 0x40_0000, 0x246
    group.threads.append(task)
    kernel.tasks[tid] = task
    return task


def handle(task: Task, signo: int, flags: int = 0, mask: int = 0) -> None:
    task.actions[signo] = Action(HANDLER, flags | s.SA_RESTORER, RESTORER, mask)


def test_frame_and_back() -> None:
    task = make_task()
    handle(task, s.SIGUSR1, s.SA_SIGINFO, s.sigmask(s.SIGUSR2))
    before = task.registers()
    send_signal(task.group, SigInfo(s.SIGUSR1, s.SI_USER, pid=7, uid=8))
    assert task.signal_wakeup
    exit_to_user(task, None)
    r = task.regs
    assert (r.rip, r.rdi, r.rax) == (HANDLER, s.SIGUSR1, 0)
    assert r.rsp % 16 == 8 and r.rsp < before.rsp - 128 - 512 - 440
    assert task.mm.read_u64(r.rsp) == RESTORER
    assert (r.rsi, r.rdx) == (r.rsp + 0x138, r.rsp + 8)
    assert SigInfo.unpack(task.mm.read(r.rsi, 128)).pid == 7
    assert task.mm.read_u64(r.rsp + 8) == 6  # UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS
    gregs = r.rsp + 8 + 40
    assert task.mm.read_u64(gregs + 16 * 8) == before.rip and task.mm.read_u64(gregs + 15 * 8) == before.rsp
    fpstate = task.mm.read_u64(gregs + 23 * 8)
    assert fpstate % 64 == 0 and task.mm.read(fpstate, 512) == before.fxsave
    assert task.blocked == s.sigmask(s.SIGUSR1, s.SIGUSR2) and r.fxsave == FXSAVE_INIT
    r.rsp += 8  # the handler's RET
    task.mm.write_u64(gregs + 17 * 8, 0xFFFFFFFF)
    assert restore_rt_frame(task, r) == 0
    assert r.rflags == 0x246 | 0x50DD5
    r.rflags = before.rflags
    assert vars(r) == vars(before)


def test_signals_are_nested_and_ordered() -> None:
    task = make_task()
    for signo in (s.SIGHUP, s.SIGSEGV, s.SIGTERM, 40):
        handle(task, signo)
    set_blocked(task, (1 << 64) - 1)
    for value in range(3):
        send_signal(task.group, SigInfo(40, s.SI_QUEUE, value=value))
    for signo in (s.SIGTERM, s.SIGHUP, s.SIGHUP, s.SIGSEGV):
        send_signal(task.group, SigInfo(signo, s.SI_USER))
    taken = [dequeue_signal(task, 0) for _ in range(7)]
    assert [(i.signo, i.value) if i else None for i in taken] == [
        (s.SIGSEGV, 0), (s.SIGHUP, 0), (s.SIGTERM, 0), (40, 0), (40, 1), (40, 2), None]


def test_queue_limit() -> None:
    task = make_task()
    task.group.rlimits[11] = (2, 2)
    handle(task, 40)
    handle(task, s.SIGUSR1)
    set_blocked(task, (1 << 64) - 1)
    for _ in range(2):
        send_signal(task.group, SigInfo(40, s.SI_QUEUE))
    with pytest.raises(Errno) as caught:
        send_signal(task.group, SigInfo(40, s.SI_QUEUE))
    assert caught.value.code == EAGAIN
    send_signal(task.group, SigInfo(s.SIGUSR1, s.SI_QUEUE, value=5))  # sent, but its siginfo is lost
    assert task.group.pending.take(s.SIGUSR1).value == 0


@pytest.mark.parametrize(("code", "flags", "rax"), [
    (ERESTARTSYS, 0, EINTR), (ERESTARTSYS, s.SA_RESTART, None), (ERESTARTNOINTR, 0, None),
    (ERESTARTNOHAND, s.SA_RESTART, EINTR), (ERESTART_RESTARTBLOCK, s.SA_RESTART, EINTR),
])  # fmt: skip
def test_restart_with_handler(code: int, flags: int, rax: int | None) -> None:
    task = make_task()
    task.syscall_number, rip = 61, task.regs.rip
    task.regs.rax = -code & (1 << 64) - 1
    handle(task, s.SIGUSR1, flags)
    send_signal(task, SigInfo(s.SIGUSR1))
    exit_to_user(task, -code)
    saved = task.regs.rsp + 8 + 40
    assert task.mm.read_u64(saved + 13 * 8) == (61 if rax is None else -rax & (1 << 64) - 1)
    assert task.mm.read_u64(saved + 16 * 8) == (rip - 2 if rax is None else rip)


@pytest.mark.parametrize(("code", "number"), [
    (ERESTARTSYS, 61), (ERESTARTNOHAND, 61), (ERESTART_RESTARTBLOCK, SYS_RESTART_SYSCALL)])
def test_restart_without_handler(code: int, number: int) -> None:
    task = make_task()
    task.syscall_number, rip = 61, task.regs.rip
    task.saved_mask = 8
    exit_to_user(task, -code)
    assert (task.regs.rax, task.regs.rip, task.blocked) == (number, rip - 2, 8)


def test_forced_signals_cannot_be_ignored() -> None:
    task = make_task()
    task.actions[s.SIGSEGV] = Action(s.SIG_IGN)
    force_signal(task, SigInfo.fault(s.SIGSEGV, s.SEGV_MAPERR, 0x1234))
    assert task.actions[s.SIGSEGV].handler == s.SIG_DFL and task.signal_wakeup


def test_alternate_stack() -> None:
    task = make_task()
    set_sigaltstack(task, task.regs.rsp, STACK + 0x1000, 0, 0x1000)
    handle(task, s.SIGUSR1, s.SA_ONSTACK)
    send_signal(task, SigInfo(s.SIGUSR1))
    exit_to_user(task, None)
    assert STACK + 0x1000 < task.regs.rsp < STACK + 0x2000
    with pytest.raises(Errno):
        set_sigaltstack(task, task.regs.rsp, 0, s.SS_DISABLE, 0)
    task.regs.rsp = STACK + 0x1100  # nearly full: the next frame does not fit
    handle(task, s.SIGUSR2, s.SA_ONSTACK)
    send_signal(task, SigInfo(s.SIGUSR2))
    task.actions[s.SIGSEGV] = Action(HANDLER, s.SA_RESTORER, RESTORER)
    task.blocked = 0
    task.actions[s.SIGSEGV] = Action()
    with pytest.MonkeyPatch.context() as patch:
        ended: list[int] = []

        def end(who: Task, status: int) -> None:
            ended.append(status)
            who.state = "Z"

        patch.setattr("kernel.task.exit.do_group_exit", end)
        exit_to_user(task, None)
    assert ended == [s.SIGSEGV]


def test_threads_share_process_signals() -> None:
    first = make_task()
    second = make_task(101, first.group)
    handle(first, s.SIGUSR1)
    set_blocked(first, s.sigmask(s.SIGUSR1))
    send_signal(first.group, SigInfo(s.SIGUSR1))
    assert second.signal_wakeup and not first.signal_wakeup
    set_blocked(second, s.sigmask(s.SIGUSR1))
    assert not second.signal_wakeup
    set_blocked(first, 0)
    assert first.signal_wakeup


def test_a_fatal_signal_condemns_every_thread() -> None:
    first = make_task()
    second = make_task(101, first.group)
    send_signal(second, SigInfo(s.SIGTERM, s.SI_USER))
    assert first.dying and second.dying and first.group.group_exit_status == s.SIGTERM


@pytest.mark.parametrize(("signo", "code", "layout"), [
    (s.SIGSEGV, s.SEGV_MAPERR, "fault"), (s.SIGCHLD, s.CLD_EXITED, "chld"), (s.SIGUSR1, s.SI_QUEUE, "rt"),
    (s.SIGUSR1, s.SI_USER, "kill"), (s.SIGALRM, s.SI_KERNEL, "kill"), (s.SIGALRM, s.SI_TIMER, "timer"),
    (s.SIGUSR1, s.SI_TKILL, "rt"), (s.SIGIO, s.POLL_IN, "poll"), (s.SIGSYS, 1, "sys"), (s.SIGSEGV, s.SI_KERNEL, "kill"),
])  # fmt: skip
def test_siginfo_round_trip(signo: int, code: int, layout: str) -> None:
    assert siginfo_layout(signo, code) == layout
    info = SigInfo(signo, code, pid=1, uid=2, addr=3, status=4, value=5, utime=6, stime=7, band=8, fd=9, timer_id=10,
                   overrun=11, call_addr=12, syscall=13, arch=14)
    data = info.pack()
    assert len(data) == 128
    again = SigInfo.unpack(data)
    assert again.pack() == data
    again.raw = None
    assert again.pack() == data


def drive(coroutine: Any) -> Any:
    """Run until it sleeps (returns the Sleep) or ends (returns its value)."""
    try:
        return coroutine.send(None)
    except StopIteration as stop:
        return stop.value


def test_futex_wait_wake_requeue() -> None:
    task = make_task()
    word, other = STACK + 0x100, STACK + 0x200
    task.mm.write_u32(word, 5)
    with pytest.raises(Errno) as caught:
        drive(futex.futex_wait(task, word, False, 4, None, 1))
    assert caught.value.code == EAGAIN
    waits = [futex.futex_wait(task, word, False, 5, None, bit) for bit in (1, 2, 4)]
    sleeps = [drive(wait) for wait in waits]
    assert futex.futex_wake(task, word, False, 9, 2) == 1
    assert [sleep.done for sleep in sleeps] == [False, True, False]
    assert drive(waits[1]) == 0
    assert futex.futex_requeue(task, word, False, other, 0, 9, 5) == 2
    assert futex.futex_wake(task, word, False, 9) == 0
    assert futex.futex_wake(task, other, False, 1) == 1
    sleeps[2].finish(error=Errno(ERESTARTSYS))
    with pytest.raises(Errno):
        drive(waits[2])
    assert not futex.table(task.kernel).waiters


@pytest.mark.parametrize(("op", "arg", "cmp", "against", "before", "after", "woken"), [
    (0, 7, 0, 3, 3, 7, 1), (1, 0xFFF, 2, 0, 0, 0xFFFFFFFF, 0), (2, 8, 5, 1, 2, 10, 1), (3, 1, 1, 3, 3, 2, 0),
    (4, 3, 4, 0xFFF, 0x80000000, 0x80000003, 1), (9, 4, 3, 0, 1, 17, 1),
])  # fmt: skip
def test_futex_wake_op(op: int, arg: int, cmp: int, against: int, before: int, after: int, woken: int) -> None:
    task = make_task()
    task.mm.write_u32(STACK + 8, before)
    wait = futex.futex_wait(task, STACK + 8, False, before, None, 1)
    drive(wait)
    encoded = op << 28 | cmp << 24 | arg << 12 | against
    assert futex.futex_wake_op(task, STACK, False, STACK + 8, 1, 1, encoded) == woken
    assert task.mm.read_u32(STACK + 8) == after
    wait.close()


def test_robust_list_survives_nonsense() -> None:
    task = make_task()
    head = STACK + 0x400
    task.robust_list = (head, 24)
    a, b = STACK + 0x500, STACK + 0x600
    task.mm.write_u64(head, a)
    task.mm.write_u64(head + 8, 16)
    task.mm.write_u64(a, b)
    task.mm.write_u64(b, b)  # a loop that never comes back to the head
    task.mm.write_u32(a + 16, task.tid | futex.FUTEX_WAITERS)
    task.mm.write_u32(b + 16, 12345)
    futex.exit_robust_list(task)
    assert task.mm.read_u32(a + 16) == futex.FUTEX_OWNER_DIED | futex.FUTEX_WAITERS
    assert task.mm.read_u32(b + 16) == 12345
    task.mm.write_u64(head, 1 << 60)
    futex.exit_robust_list(task)
