"""Where the program is parked: its entry, main, an address, a symbol, or just before it first looks at its input.

The program is let run up to its entry (after the dynamic loader) and from there to the place. A breakpoint is an exit
of the engine at one address, and the stop before a system call is the kernel's: neither changes a byte that the
program can see, and nothing of them is left behind the fork point.

``first-read`` takes two or three steps::

    entry ─ parked ──fork──> scout ──> first call that opens or reads the input
                │                        ├─ runs from here would be alike (park.entanglement): parked here
                │                        └─ else the last call at which they would have been is known now:
                └──fork──> a second one ────> parked there, in front of the call that made the thread, say
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emu.layout import M_RIP
from guest.fuzz.backtrace import SymbolCache, TaskSpace, backtrace
from guest.fuzz.input_touch import sees, touches
from guest.fuzz.start_code import PROT_EXEC, find_main, is_code
from kernel.rewind import Rewind
from kernel.syscalls.table import TABLE
from kernel.task import exit as task_exit
from kernel.task.park import Parked, entanglement
from kernel.task.stack import AT_ENTRY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kernel.kernel import Kernel
    from kernel.syscalls.table import Syscall
    from kernel.task.task import Task

_ADDRESS = re.compile(r"(?:(?P<module>[^+]+)\+)?(?P<number>0[xX][0-9a-fA-F]+|\d+)")
_MMAP = 9


class ForkPointError(Exception):
    """The program cannot be parked there; the text says why, in one line."""


@dataclass(frozen=True)
class ForkPoint:
    """Where the parked process stands: nothing at and behind ``address`` has been executed by it."""

    kind: str
    """``entry``, ``main``, ``address`` or ``first-read``."""
    address: int
    """Of the next instruction (virtual)."""
    where: str
    """For people: ``main (readelf+0x4010)``, ``before openat (libc.so.6+0xf8e10)``."""
    notice: str | None = None
    """What the user should know, such as that the program never looked at its input."""


class Finder:
    """Brings the first process of ``kernel``, just started, to a fork point.

    Args:
        run: lets the scheduler run until something parks or the process has ended; False when the time was up.
        input_inode: the file that the input is in.
    """

    def __init__(self, kernel: Kernel, run: Callable[[], bool], input_inode: Any) -> None:
        self.kernel = kernel
        self._run = run
        self._input = input_inode
        self._symbols = SymbolCache()
        self._size_seen: str | None = None
        """The call by which the program has asked for the input's size on the way to a place that the user named."""

    # -- the places ------------------------------------------------------------------------------------------------

    def find(self, place: str) -> tuple[Task, ForkPoint]:
        """The task that stands still at ``place``, and the place.

        Raises:
            ForkPointError: the program ends before it, or there is no such place.
        """
        task = self.kernel.init.threads[0]
        entry = _auxiliary(task, AT_ENTRY)
        self._go_to(task, entry, "its entry point")
        if place == "entry":
            return task, self._point(task, "entry", "entry")
        if place == "first-read":
            return self._first_read(task)
        if place == "main":
            address = self._main(task, entry)
            self._go_to(task, address, "main")
            return task, self._checked(task, "main", "main")
        found = _ADDRESS.fullmatch(place)
        if found is not None and found["module"]:
            self._go_to_module(task, found["module"], int(found["number"], 0), place)
        elif found is not None:
            self._go_to(task, self._program_address(task, int(found["number"], 0)), place)
        else:
            self._go_to(task, self._symbol(task, place), place)
        return task, self._checked(task, "address", place)

    def _main(self, task: Task, entry: int) -> int:
        address = self._symbol_in(task, _program(task), "main") or find_main(task, entry)
        if address is None:
            raise ForkPointError("main was not found: the program has no symbols, and its start-up code is not one "
                                 "that is known; use --fork-at ADDRESS")
        return address

    def _symbol(self, task: Task, name: str) -> int:
        for file in [_program(task), *_libraries(task)]:
            address = self._symbol_in(task, file, name)
            if address is not None:
                return address
        raise ForkPointError(f"there is no function {name} in the program or its libraries")

    def _symbol_in(self, task: Task, file: Any, name: str) -> int | None:
        with self._unseen(file):
            module = self._symbols.get(task, file)
            address = module.address_of(name) if module is not None else None
        bias = self._bias(task, file)
        return None if address is None or bias is None else address + bias

    @contextlib.contextmanager
    def _unseen(self, file: Any) -> Iterator[None]:
        """Reading a file inside takes no time and leaves no trace in the guest."""
        now, atime = self.kernel.clock.save(), file.inode.atime
        yield
        self.kernel.clock.restore(now)
        file.inode.atime = atime

    def _bias(self, task: Task, file: Any) -> int | None:
        """What was added to the addresses in ``file``; None when it is no ELF file or not mapped."""
        with self._unseen(file):
            module = self._symbols.get(task, file)
        for vma in task.mm.vma_rows():
            if module is not None and vma.file is not None and vma.file.inode is file.inode:
                return module.bias(vma.start, vma.offset)
        return None

    def _program_address(self, task: Task, number: int) -> int:
        """An address as the user says it: virtual, or one of the file's own when the program can be anywhere."""
        if is_code(task, number):
            return number
        moved = number + (self._bias(task, _program(task)) or 0)
        if not is_code(task, moved):
            raise ForkPointError(f"{number:#x} is not in the program's code")
        return moved

    def _go_to_module(self, task: Task, name: str, offset: int, place: str) -> None:
        """Go to an address of a library, which may still have to be loaded."""

        def address() -> int | None:
            for file in [_program(task), *_libraries(task)]:
                if file.path.rpartition(b"/")[2] == name.encode():
                    return (self._bias(task, file) or 0) + offset
            return None

        def mapped(caller: Task, row: Syscall | None, args: list[int]) -> bool:
            watch(caller, row, args)
            return caller is task and row is not None and row.number != _MMAP and address() is not None

        watch = self._watch_input(place)

        if address() is None:
            self._resume(task)
            self._until(task, mapped, None, place)
        found = address()
        if found is None or not is_code(task, found):
            raise ForkPointError(f"{place} is not in the code of {name}")
        self._go_to(task, found, place)

    # -- the first look at the input -------------------------------------------------------------------------------

    def _first_read(self, task: Task) -> tuple[Task, ForkPoint]:
        kernel = self.kernel
        parked = Parked(task)
        rewind = Rewind(kernel, task.files)
        scout = parked.fork(odf=True)
        calls = 0
        touched = False
        found: str | None = None

        def look(caller: Task, row: Syscall | None, args: list[int]) -> bool:
            nonlocal calls, touched, found
            found = entanglement(scout) if scout.mm is not None else "ended"
            calls += found is None
            touched = touches(caller, row, args, self._input)
            return touched

        in_time = self._until(scout, look, None, None)
        if touched and found is None:
            rewind.end()
            parked.release()
            return scout, self._point(scout, "first-read", self._before_call(scout))
        task_exit.kill_all(kernel)
        rewind.restore()
        rewind.end()
        if not touched:
            how = "ended" if in_time else "ran for too long"
            return self._back_to_entry(parked, f"the program {how} without looking at its input: forked at its entry")
        again = parked.fork(odf=True)
        left = calls

        def count(caller: Task, row: Syscall | None, args: list[int]) -> bool:
            nonlocal left
            left -= entanglement(again) is None
            return left == 0

        self._until(again, count, None, None)
        if left != 0:
            task_exit.kill_all(kernel)
            return self._back_to_entry(parked, "the program did not run twice alike: forked at its entry")
        parked.release()
        return again, self._point(again, "first-read", self._before_call(again),
                                  f"the program has {found} when it first looks at its input: forked before that")

    def _back_to_entry(self, parked: Parked, notice: str) -> tuple[Task, ForkPoint]:
        task = parked.fork(odf=False)
        self.kernel.scheduler.park(task)
        parked.release()
        return task, self._point(task, "entry", "entry", notice)

    def _checked(self, task: Task, kind: str, place: str) -> ForkPoint:
        """A place that the user has named."""
        if len(self.kernel.groups) > 1:
            raise ForkPointError(f"the program has child processes at {place}, which cannot be forked along: "
                                 "use an earlier place")
        found = entanglement(task)
        notices = [] if found is None else [f"the program has {found} at {place}: the runs may not be alike"]
        if self._size_seen is not None:
            notices.append(f"the program may know the size of the first input at {place}, by {self._size_seen}: "
                           "if runs go wrong, use an earlier place")
        return self._point(task, kind, place, "; ".join(notices) or None)

    def _watch_input(self, place: str) -> Callable[[Task, Syscall | None, list[int]], bool]:
        """For a place that the user named: what was read before it would be the same in every run.

        The function raises ForkPointError in front of the call that reads.
        """

        def look(caller: Task, row: Syscall | None, args: list[int]) -> bool:
            if row is None or not touches(caller, row, args, self._input):
                return False
            seen = sees(row)
            if seen == "size":
                self._size_seen = self._size_seen or row.name
            if seen == "bytes":
                raise ForkPointError(f"the program has looked at its input before {place}, by {row.name}"
                                     f"{self._in_function(caller)}: every run would see the first input; use "
                                     "--fork-at first-read, or a place before that")
            return False

        return look

    def _in_function(self, task: Task) -> str:
        """The innermost function of the program itself that ``task`` is in."""
        from guest.fuzz.report import place as shown  # the report of crashes, whose half knows the fork server

        path = _program(task).path.decode(errors="surrogateescape")
        frames = backtrace(TaskSpace(task, self._symbols), task.registers().general(), path)
        own = [frame for frame in frames if frame.is_program and frame.found_by != "scan"]
        # The C library of a static program has no lines as a rule.
        found = next((frame for frame in own if frame.line is not None), own[0] if own else None)
        return f" in {shown(found)}" if found is not None else ""

    # -- running up to a place -------------------------------------------------------------------------------------

    def _resume(self, task: Task) -> None:
        if task.state == "P":
            task.state = "R"
            self.kernel.scheduler.add(task)

    def _go_to(self, task: Task, address: int, name: str) -> None:
        if task.registers().rip == address:
            self.kernel.scheduler.park(task)
            return
        self._resume(task)
        self._until(task, self._watch_input(name), address, name)

    def _until(self, task: Task, before_syscall: Callable[[Task, Syscall | None, list[int]], bool] | None,
               address: int | None, name: str | None) -> bool:
        """Run until ``before_syscall`` says so, or the process of ``task`` is at ``address``; False when it takes too
        long. Without a ``name`` the end of the program is no error."""
        kernel = self.kernel
        scheduler, cpu = kernel.scheduler, kernel.machine.cpu
        reached = False
        breaks: tuple[int, ...] = ()

        def stop_at(*addresses: int) -> None:
            nonlocal breaks
            if addresses != breaks:
                breaks = addresses
                cpu.break_at(addresses)

        def park(task: Task) -> None:
            nonlocal reached
            reached = scheduler.ended = True
            scheduler.park(task)

        def look(caller: Task, row: Syscall | None, args: list[int]) -> bool:
            if address is not None:
                stop_at(address)
            if before_syscall is None or not before_syscall(caller, row, args):
                return False
            park(caller)
            return True

        def on_stop(caller: Task) -> bool:
            assert address is not None
            if cpu.slots[M_RIP >> 3] != address:
                stop_at(address)
                return False
            if caller is task:
                park(caller)
                return True
            # A thread or child of it may pass: until the end of its slice, or its next call, nobody is stopped.
            stop_at()
            return False

        scheduler.before_syscall = look
        if address is not None:
            scheduler.on_stop = on_stop
            stop_at(address)
        try:
            in_time = self._run()
        finally:
            scheduler.before_syscall = scheduler.on_stop = None
            stop_at()
        if reached or name is None:
            return in_time
        if not in_time:
            raise ForkPointError(f"the program runs too long without reaching {name}")
        raise ForkPointError(f"the program ended before it reached {name}: {_ending(kernel.init.exit_status or 0)}")

    # -- telling ---------------------------------------------------------------------------------------------------

    def _before_call(self, task: Task) -> str:
        row = TABLE.get(task.registers().rax)
        return f"before {row.name if row is not None else 'a system call'}"

    def _point(self, task: Task, kind: str, what: str, notice: str | None = None) -> ForkPoint:
        address = task.registers().rip
        for vma in task.mm.vma_rows():
            if vma.start <= address < vma.end and vma.file is not None:
                module = vma.file.path.rpartition(b"/")[2].decode("utf-8", "replace")
                offset = address - (self._bias(task, vma.file) or 0)
                return ForkPoint(kind, address, f"{what} ({module}+{offset:#x})", notice)
        return ForkPoint(kind, address, f"{what} ({address:#x})", notice)


def _program(task: Task) -> Any:
    return task.exe


def _libraries(task: Task) -> Iterable[Any]:
    """The other files that are mapped for execution."""
    seen = {task.exe.inode}
    for vma in task.mm.vma_rows():
        if vma.file is not None and vma.prot & PROT_EXEC and vma.file.inode not in seen:
            seen.add(vma.file.inode)
            yield vma.file


def _auxiliary(task: Task, key: int) -> int:
    words = memoryview(task.mm.auxv).cast("Q").tolist()
    return dict(zip(words[::2], words[1::2], strict=True))[key]


def _ending(status: int) -> str:
    return f"signal {status & 0x7F}" if status & 0x7F else f"exit status {status >> 8 & 0xFF}"
