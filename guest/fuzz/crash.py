"""What is known of a process at the moment when a signal is about to end it: the evidence of one crash.

:class:`Witness` subscribes to the kernel's ``fatal`` event and takes everything down before the process is torn apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emu.decode import Access
from guest.fuzz.backtrace import Frame, SymbolCache, TaskSpace, backtrace
from guest.fuzz.crash_fault import Instruction, describe, disassemble, failed_access
from guest.trace.structs_task import si_code_name, signal_name
from kernel.errno import Errno
from kernel.fs.proc_memory import maps_line
from kernel.task.trap import branch_behind

if TYPE_CHECKING:
    from kernel.kernel import Kernel
    from kernel.mm.inspection import Vma
    from kernel.syscalls.table import Syscall
    from kernel.task.siginfo import SigInfo
    from kernel.task.task import Task

_MAX_OUTPUT_BYTES = 4096
_WRITE, _WRITEV, _EXIT_GROUP = 1, 20, 231


@dataclass(frozen=True)
class Map:
    """A line of /proc/PID/maps."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Crash:
    """One thread as it stood when its process was about to end; for a timeout, when time was up."""

    signal: str | None
    """``SIGSEGV``; None when no signal is the cause."""
    code: str | None
    """``si_code``: ``SEGV_MAPERR``."""
    what: str
    """A few words: ``write to a null pointer``."""
    access: Access | None
    pid: int
    tid: int
    command: str
    registers: dict[str, int]
    instructions: list[Instruction]
    """Around the program counter."""
    frames: list[Frame]
    maps: list[Map]
    origin: list[Frame] = field(default_factory=list)
    """After a jump to where nothing can be executed: the place of the return, call or jump; inlined calls first."""

    @property
    def pc(self) -> int:
        """The program counter."""
        return self.registers["rip"]

    @property
    def instruction(self) -> Instruction | None:
        """The one at the program counter."""
        return next((i for i in self.instructions if i.address == self.pc), None)


@dataclass
class Evidence:
    """What a Witness saw in one run."""

    crash: Crash | None = None
    """Of the process that was started."""
    others: list[Crash] = field(default_factory=list)
    """Of its children."""
    output: bytearray = field(default_factory=bytearray)
    """The end of what was written to stderr: assertions and the C library say there why they abort."""


class Witness:
    """Watches a kernel's processes; :meth:`begin` before each run, then read ``evidence``."""

    def __init__(self, kernel: Kernel, crash_exit_code: int | None = None) -> None:
        self.kernel = kernel
        self.evidence = Evidence()
        self._symbols = SymbolCache()
        self._crash_exit_code = crash_exit_code
        if kernel.machine.cpu.blocks is not None:
            kernel.machine.cpu.blocks.see_all()  # also a library's last block before a jump into nowhere
        kernel.events.subscribe("fatal", self._on_fatal)
        kernel.events.subscribe("syscall_enter", self._on_call)

    def begin(self) -> None:
        """Forget the run before."""
        self.evidence = Evidence()

    def _on_fatal(self, task: Task, info: SigInfo) -> None:
        self._add(task, self._describe(task, info))

    def _add(self, task: Task, crash: Crash) -> None:
        if task.group is self.kernel.init:
            self.evidence.crash = self.evidence.crash or crash
        elif len(self.evidence.others) < 16:
            self.evidence.others.append(crash)

    def _on_call(self, task: Task, row: Syscall | None, number: int, regs: tuple[int, ...]) -> None:
        if number in (_WRITE, _WRITEV) and regs[0] == 2:
            try:
                spans = [(regs[1], regs[2])] if number == _WRITE else task.mm.read_iovec(regs[1], regs[2])
                for address, count in spans:
                    data = task.mm.read_some(address, min(count, _MAX_OUTPUT_BYTES))
                    self.evidence.output = (self.evidence.output + data)[-_MAX_OUTPUT_BYTES:]
            except Errno:
                return
        elif number == _EXIT_GROUP and regs[0] & 0xFF == self._crash_exit_code:
            self.look_at(task, f"exit status {self._crash_exit_code}")

    def _describe(self, task: Task, info: SigInfo) -> Crash:
        space, registers = self._look(task)
        access = failed_access(task, info, registers, space)
        crash = self._crash(task, space, registers, signal_name(info.signo), si_code_name(info.signo, info.code),
                            describe(info, access, registers, space), access)
        if access is not None and access.kind == "execute" and access.address == registers["rip"]:
            before = branch_behind(task)
            if before is not None:
                crash.origin.extend(backtrace(space, before, _program_path(task), limit=1))
        return crash

    def look_at(self, task: Task, what: str) -> None:
        """Take down how ``task`` stands now, for lack of a signal."""
        if task.mm is not None:
            space, registers = self._look(task)
            self._add(task, self._crash(task, space, registers, None, None, what, None))

    def _look(self, task: Task) -> tuple[TaskSpace, dict[str, int]]:
        registers = task.registers()
        return TaskSpace(task, self._symbols), registers.general()

    def _crash(self, task: Task, space: TaskSpace, registers: dict[str, int], signal: str | None, code: str | None,
               what: str, access: Access | None) -> Crash:
        return Crash(signal, code, what, access, task.group.tgid, task.tid, task.comm.decode(errors="backslashreplace"),
                     registers, disassemble(space, registers["rip"]), backtrace(space, registers, _program_path(task)),
                     [_map(vma) for vma in space.maps])


def _program_path(task: Task) -> str:
    return task.exe.path.decode(errors="surrogateescape") if task.exe is not None else ""


def _map(vma: Vma) -> Map:
    return Map(vma.start, vma.end, maps_line(vma).decode(errors="backslashreplace").rstrip("\n"))


