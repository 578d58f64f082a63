"""The scheduler: which task runs, what its system call or fault needs, and what happens while all sleep.

One task runs at a time, round robin. A system call that blocks is a coroutine: it is kept in ``task.coroutine`` until
its :class:`~kernel.task.wait.Sleep` is finished, then resumed from here. Linux: kernel/sched/core.c, entry/common.c.
"""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Callable
from types import CoroutineType
from typing import TYPE_CHECKING

from emu.layout import (
    M_OBSERVED,
    M_REGS,
    M_RIP,
    STOP_BREAK,
    STOP_EXCEPTION,
    STOP_FAULT,
    STOP_FAULTED,
    STOP_INVALID,
    STOP_NONE,
    STOP_SYSCALL,
)
from kernel.errno import EINTR, ENOSYS, Errno
from kernel.mm.layout import K_MM
from kernel.syscalls.table import TABLE, Syscall
from kernel.task import rseq, trap
from kernel.task.budget import Budget
from kernel.task.cred import constant_answers as id_answers
from kernel.task.delivery import exit_to_user
from kernel.task.pid import constant_answers as pid_answers
from kernel.task.postbox import Postbox
from kernel.task.restart import RESTART_CODES
from kernel.task.ticker import Ticker

if TYPE_CHECKING:
    from kernel.kernel import Kernel
    from kernel.task.task import Task
    from kernel.task.timers import Timer
    from kernel.task.wait import Sleep

#: System calls after which the constant answers of the running task may have changed.
_ID_CALLS = frozenset({59, 322, 105, 106, 109, 112, 113, 114, 117, 119, 122, 123})
_REG0 = M_REGS >> 3
SYSCALL_BYTES = 2
"""The length of the instruction (0f 05)."""


def _nothing() -> None:
    """Put in the postbox to wake the scheduler."""


class Scheduler:
    """``current`` is the task whose kernel or user code is running, None while idle."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.current: Task | None = None
        self.queue: deque[Task] = deque()
        self._queued: set[Task] = set()
        self._waits: dict[Task, tuple[Timer | None, tuple[tuple[int, int], ...]]] = {}
        """What the sleeping tasks have registered: a deadline and host descriptors."""
        self.host_waits = 0
        """How many of them wait for a host descriptor."""
        self._slice_start_ns = 0
        self._yield = False
        self._interrupted = False
        """The running task has to make way for posted work, and then goes on with its slice."""
        self.ended = False
        """Set when the emulator shall stop whatever the guest does."""
        self.before_syscall: Callable[[Task, Syscall | None, list[int]], bool] | None = None
        """Asked before each system call; True: the task stays where it is, in front of the instruction."""
        self.on_stop: Callable[[Task], bool] | None = None
        """Asked when the engine has stopped at a breakpoint, or was stopped; True: the task stays where it is."""
        self.reported: set[int] = set()
        self.unknown_syscall: Callable[[Task, int], None] | None = None
        """Called once for each system call number that is not implemented."""
        self.after_entry: Callable[[], None] | None = None
        self.after_fault: Callable[[], None] | None = None
        """Called after every kernel entry (--paranoid)."""
        self.posted = Postbox()
        """What signal handlers and other threads want done between kernel entries."""
        self.ticker = Ticker(self._tick_due, lambda: kernel.machine.cpu.stop())
        self.budget: Budget | None = None
        """In deterministic runs: the clock, in the place of the host's."""
        if kernel.options.deterministic and kernel.machine.cpu.blocks is not None:
            self.budget = Budget(self, kernel.machine.cpu.blocks)
        self.host_deadline_ns: int | None = None
        """In deterministic runs: when the host's clock ends the run (kernel.clock.host_ns)."""

    # -- what the rest of the kernel calls -------------------------------------------------------------------------

    def add(self, task: Task) -> None:
        """Let a new task run."""
        self._enqueue(task)

    def wake(self, task: Task) -> None:
        """Let a task run again whose sleep has been finished, or that was stopped."""
        self._enqueue(task)

    def remove(self, task: Task) -> None:
        """The task has ended."""
        self._dequeue(task)
        self._unregister(task)
        self.kernel.machine.cpu.forget(task)

    def park(self, task: Task) -> None:
        """Let a task stand still as it is, in no queue; add() lets it go on."""
        task.state = "P"
        self._dequeue(task)

    def stop(self) -> None:
        """Let run() return as soon as possible; safe from another thread and from a signal handler.

        It may come too early for the guest to notice: whoever must be sure asks again until run() has returned.
        """
        self.ended = self._yield = True
        if not self.posted:
            self.posted.put(_nothing)
        self.kernel.machine.cpu.stop()

    def yield_(self) -> None:
        """Let the others run first (sched_yield)."""
        self._yield = True

    def unaccounted_ns(self, task: Task) -> int:
        """CPU time of the running slice."""
        return self.kernel.clock.peek_ns() - self._slice_start_ns if task is self.current else 0

    # -- the loop --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run tasks until the first process has ended, or ``ended`` is set; may be called again for another."""
        kernel, timers, clock = self.kernel, self.kernel.timers, self.kernel.clock
        self.ticker.start()
        try:
            while not self.ended and kernel.init.exit_status is None:
                if self.posted:
                    self.posted.run()
                deadline = timers.next_deadline()
                if deadline is not None and deadline <= clock.peek_ns():
                    timers.run_expired(clock.peek_ns())
                if self.host_waits:
                    self._poll_host(0)
                if not self.queue:
                    self._idle()
                    continue
                task = self.queue.popleft()
                self._queued.discard(task)
                if task.state in "RSD" and not (task.sleep is not None and not task.sleep.done):
                    self._run_task(task)
        finally:
            self.current = None

    def _enqueue(self, task: Task) -> None:
        if task not in self._queued and task.state not in ("X", "Z"):
            self._queued.add(task)
            self.queue.append(task)

    def _dequeue(self, task: Task) -> None:
        if task in self._queued:
            self._queued.discard(task)
            self.queue.remove(task)

    def _run_task(self, task: Task) -> None:
        """One slice: until the task blocks, ends, stops, or others have waited long enough."""
        self.current = task
        clock = self.kernel.clock
        self._slice_start_ns = clock.peek_ns()
        if self.budget is not None and not self._interrupted:
            self.budget.begin_slice()
        self._yield = self._interrupted = False
        try:
            if task.coroutine is None or self._resume(task):
                self._run_user(task)
        finally:
            task.utime_ns += clock.peek_ns() - self._slice_start_ns
            self.current = None
        if self.after_entry is not None:
            self.after_entry()
        if task.state == "R" and task.coroutine is None:
            if self._interrupted:
                self._queued.add(task)
                self.queue.appendleft(task)
                return
            task.involuntary_switches += bool(self.queue)
            self._enqueue(task)

    def _run_user(self, task: Task) -> None:
        """Alternate between user code and kernel entries."""
        kernel = self.kernel
        cpu = kernel.machine.cpu
        slots = cpu.slots
        run = cpu.run
        budget, coverage = self.budget, kernel.coverage
        if task.signal_wakeup or task.dying:
            exit_to_user(task, None)
        if task.state != "R":
            return
        cpu.switch_to(task, task.mm.root)
        slots[K_MM >> 3] = task.mm.mm
        if coverage is not None:
            coverage.select(task)
        self._set_constants(task)
        slots[M_OBSERVED >> 3] = bool(kernel.events.syscall_enter)
        while True:
            if budget is None:
                stop = run()
            else:
                budget.enter()
                stop = run()
                budget.leave()
            if stop == STOP_SYSCALL:
                number = slots[_REG0]
                args = slots[_REG0 + 1 : _REG0 + 7].tolist()
                if self.before_syscall is not None and self.before_syscall(task, TABLE.get(number), args):
                    slots[M_RIP >> 3] -= SYSCALL_BYTES
                    cpu.set_result(task, number)
                    return
                if not self._syscall(task, number, args):
                    return
                if number in _ID_CALLS:
                    self._set_constants(task)
            elif stop in (STOP_NONE, STOP_BREAK):
                if self.on_stop is not None and self.on_stop(task):
                    return
                if budget is None or budget.exhausted:
                    self._yield = True
                    if task.rseq is not None:
                        rseq.preempted(task)
                elif self.posted or self.ended:
                    self._interrupted = True
            elif stop != STOP_FAULTED:
                self._trap(task, stop)
            look = self.after_fault if stop == STOP_FAULTED else self.after_entry
            if look is not None:
                look()
            if task.signal_wakeup or task.dying:
                exit_to_user(task, None)
            if task.state != "R" or self._yield or self._interrupted:
                return
            # The call may have been execve.
            cpu.switch_to(task, task.mm.root)
            slots[K_MM >> 3] = task.mm.mm
            if coverage is not None:
                coverage.select(task)

    def _set_constants(self, task: Task) -> None:
        self.kernel.machine.cpu.set_constants({**pid_answers(task), **id_answers(task)})

    # -- system calls ----------------------------------------------------------------------------------------------

    def _syscall(self, task: Task, number: int, args: list[int]) -> bool:
        """Run one system call; False when it blocks or the task is gone."""
        number = ((number & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000
        task.syscall_number = number
        row = TABLE.get(number)
        events = self.kernel.events
        if events.syscall_enter:
            task.syscall_args = tuple(args)
            for listener in events.syscall_enter:
                listener(task, row, number, task.syscall_args)
        if row is None:
            self._report_unknown(task, number)
            return self._finish(task, None, -ENOSYS)
        try:
            result = row.call(task, args)
            if row.blocking and result.__class__ is CoroutineType:
                task.coroutine = result
                return self._resume(task)
        except Errno as error:
            result = -error.code
        except MemoryError:
            result = -12
        return self._finish(task, row, result)

    def _resume(self, task: Task) -> bool:
        """Start or continue the coroutine of a system call; False when it sleeps (again) or the task is gone."""
        coroutine = task.coroutine
        self._unregister(task)
        task.sleep = None
        if task.state in "SD":
            task.state = "R"
        row = TABLE.get(task.syscall_number)
        try:
            while True:
                sleep: Sleep = coroutine.send(None)
                if sleep.done:
                    continue
                if task.dying:
                    # It was woken for something else and would sleep again: its end comes first.
                    coroutine.close()
                    raise Errno(EINTR)
                if sleep.interruptible and task.signal_wakeup:
                    sleep.finish(error=Errno(sleep.interrupt_code))
                    continue
                break
        except StopIteration as stop:
            task.coroutine = None
            return self._finish(task, row, stop.value)
        except Errno as error:
            task.coroutine = None
            return self._finish(task, row, -error.code)
        except BaseException:
            task.coroutine = None
            raise
        self._block(task, sleep)
        return False

    def _block(self, task: Task, sleep: Sleep) -> None:
        """Leave the task asleep until ``sleep`` is finished."""
        task.voluntary_switches += 1
        sleep.task = task
        task.sleep = sleep
        task.state = "S" if sleep.interruptible else "D"
        timer = None
        if sleep.deadline_ns is not None:
            timer = self.kernel.timers.add(sleep.deadline_ns, lambda: sleep.finish(False))
        if timer is not None or sleep.host_fds:
            self._waits[task] = (timer, sleep.host_fds)
            self.host_waits += bool(sleep.host_fds)

    def _unregister(self, task: Task) -> None:
        timer, host_fds = self._waits.pop(task, (None, ()))
        if timer is not None:
            timer.cancel()
        self.host_waits -= bool(host_fds)

    def _finish(self, task: Task, row: Syscall | None, result: int | None) -> bool:
        """Put the result where the task finds it; False when the task runs no more user code now."""
        result = 0 if result is None else int(result)
        events = self.kernel.events
        if events.syscall_exit:
            for listener in events.syscall_exit:
                listener(task, row, task.syscall_number, task.syscall_args, result)
        if task.state in ("X", "Z"):
            return False
        self.kernel.machine.cpu.set_result(task, result)
        if task.signal_wakeup or result in RESTART_CODES:
            exit_to_user(task, result)
        task.syscall_number = -1
        return task.state == "R"

    def _report_unknown(self, task: Task, number: int) -> None:
        if number not in self.reported:
            self.reported.add(number)
            if self.unknown_syscall is not None:
                self.unknown_syscall(task, number)

    def _trap(self, task: Task, stop: int) -> None:
        """A fault that compiled code could not finish, or a CPU exception."""
        if stop == STOP_FAULT:
            trap.page_fault(task)
        elif stop == STOP_EXCEPTION:
            trap.exception(task)
        elif stop == STOP_INVALID:
            trap.invalid_opcode(task)
        else:
            trap.engine_error(task)

    # -- waiting ---------------------------------------------------------------------------------------------------

    def _tick_due(self) -> bool:
        """From the ticker's thread: does anything wait for the running task to stop?"""
        if self.budget is not None:
            deadline = self.host_deadline_ns
            if deadline is not None and self.kernel.clock.host_ns() >= deadline:
                self.host_deadline_ns = None
                self.posted.put(self.kernel.time_out)
            return self.ended or bool(self.posted)
        if self.queue or self.host_waits or self.ended or self.posted:
            return True
        return self.kernel.timers.is_due(self.kernel.clock.peek_ns())

    def _idle(self) -> None:
        """All tasks sleep: wait for the earliest deadline, a host descriptor or a signal of the host."""
        deadline = self.kernel.timers.next_deadline()
        wait_ms = 200.0
        if deadline is not None:
            left_ns = deadline - self.kernel.clock.peek_ns()
            if left_ns <= 0:
                return
            if self.kernel.options.deterministic and not self.host_waits:
                self.kernel.clock.advance_to(deadline)
                return
            wait_ms = min(wait_ms, left_ns / 1e6)
        self._poll_host(wait_ms)

    def _poll_host(self, wait_ms: float) -> None:
        """Finish the sleeps whose host descriptors are ready."""
        poller = select.poll()
        wanted: dict[int, int] = {}
        for _, host_fds in self._waits.values():
            for fd, events in host_fds:
                wanted[fd] = wanted.get(fd, 0) | events
        for fd, events in wanted.items():
            poller.register(fd, events)
        if wait_ms:
            poller.register(self.posted.read_fd, select.POLLIN)
        ready = dict(poller.poll(wait_ms))
        if not ready:
            return
        for task, (_, host_fds) in list(self._waits.items()):
            if any(ready.get(fd, 0) & (events | select.POLLHUP | select.POLLERR | select.POLLNVAL)
                   for fd, events in host_fds) and task.sleep is not None:
                task.sleep.finish(True)


