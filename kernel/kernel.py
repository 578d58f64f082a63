"""The kernel as one object: boot, the tables that every part refers to, and the end of it all."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emu.cpu import Cpu
from emu.layout import M_FAULT_STOPS
from kernel import syscalls  # noqa: F401 -- fills the table
from kernel.clock import Clock
from kernel.coverage import Coverage, CoverageOptions
from kernel.events import Events
from kernel.fs.boot import boot_vfs
from kernel.fs.fdtable import FdTable
from kernel.fs.namei import Vfs
from kernel.fs.proc import ProcFs
from kernel.fs.start import starting_context
from kernel.fs.stdio import adopt_terminal, open_standard_streams
from kernel.fs.sysfs import SysFs
from kernel.mm.check import Checker, make_checker
from kernel.mm.fault import fault
from kernel.mm.memory import GATE_FRAME, KernelMemory
from kernel.mm.swap import Swap
from kernel.random import Random
from kernel.sysctl import Sysctl
from kernel.task import exit as task_exit
from kernel.task import oom
from kernel.task.capability import CAP_IPC_LOCK, CAP_SYS_ADMIN
from kernel.task.exec import exec_first
from kernel.task.pid import PidTable
from kernel.task.rlimit import RLIM_INFINITY
from kernel.task.scheduler import Scheduler
from kernel.task.stack import CodeSlide
from kernel.task.timers import Timers
from kernel.task.uts import UtsNamespace

if TYPE_CHECKING:
    from kernel.fs.tty import Terminal
    from kernel.task.task import ThreadGroup

DEFAULT_MEMORY_BYTES = 4 << 30


@dataclass
class Options:
    """How a guest is run; what the command line sets."""

    root: str = "/"
    """The host directory that the guest sees as /."""
    writable: list[str] = field(default_factory=list)
    """Guest paths below which writes reach the host; everything else stays in memory."""
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    swap_bytes: int = 0
    """Size of the swap area, a host file that is gone at the end; 0: none."""
    hugepages: int = 0
    """2 MiB pages in the pool for MAP_HUGETLB (vm.nr_hugepages)."""
    aslr: bool = True
    odf: bool = False
    """The first process begins with use_odf 1."""
    odf_level: int = 1
    """The first process begins with this use_odf_level: fork on demand shares PTE tables (1), PMD tables too (2)."""
    paranoid: bool = False
    """Check the invariants of memory after every kernel entry."""
    deterministic: bool = False
    seed: int = 0
    timeout_s: float | None = None
    cwd: str | None = None
    """Guest directory to start in; the host's own when it exists there, else /."""
    stdin: int = 0
    stdout: int = 1
    stderr: int = 2
    uid: int = field(default_factory=os.getuid)
    gid: int = field(default_factory=os.getgid)
    max_tasks: int = 4096
    coverage: CoverageOptions | None = None
    """What to record of the blocks that are executed; None for nothing."""


@dataclass
class Machine:
    """The hardware: memory is in ``kernel.memory``."""

    cpu: Cpu


class Kernel:
    """Boot with ``Kernel(options)``, start a program with :meth:`start`, :meth:`run` it, then :meth:`close`."""

    def __init__(self, options: Options, progress: Callable[[int, int, str], None] | None = None) -> None:
        self.options = options
        self.events = Events()
        self.clock = Clock(options)
        self.random = Random(options)
        self.code_slide = CodeSlide(self.random)
        self.memory = KernelMemory(options.memory_bytes)
        if options.swap_bytes:
            self.memory.swap = Swap(self.memory, options.swap_bytes)
        self.memory.resize_pool(options.hugepages)
        self.memory.out_of_memory = lambda: oom.kill_something(self)
        self.machine = Machine(Cpu(self.memory.memory, GATE_FRAME, fault, progress,
                                   count_blocks=options.deterministic or options.coverage is not None))
        self.coverage: Coverage | None = None
        if self.machine.cpu.blocks is not None:
            # Without a map too: which blocks count is what virtual time is made of.
            self.coverage = Coverage(self, self.machine.cpu.blocks, options.coverage or CoverageOptions())
        self.timers = Timers()
        self.uts = UtsNamespace(options)
        self.tasks = PidTable()
        self.tasks.max_threads = options.max_tasks
        self.sysctl = Sysctl(self)
        self.scheduler = Scheduler(self)
        self.memory.overcommit.privileged = self._may_administer
        self.memory.limits.get = self._limit
        self.memory.limits.may_lock_all = self._may_lock_all
        self.init: ThreadGroup
        self.timed_out = False
        self.terminal: Terminal | None = None
        """The host terminal among the standard streams."""
        self.vfs: Vfs
        self._mount_file_systems()
        self.checker: Checker | None = None
        if options.paranoid:
            self.checker = make_checker(self)
            self.scheduler.after_entry = self.checker.check_entry
            self.scheduler.after_fault = self.checker.check_fault
            self.memory.memory.set(M_FAULT_STOPS, 1)

    @property
    def groups(self) -> dict[int, ThreadGroup]:
        """All processes by tgid."""
        return self.tasks.groups

    def _may_administer(self) -> bool:
        """The task that runs has CAP_SYS_ADMIN; so has the kernel itself."""
        task = self.scheduler.current
        return task is None or task.cred.capable(CAP_SYS_ADMIN)

    def _may_lock_all(self) -> bool:
        """The same for CAP_IPC_LOCK."""
        task = self.scheduler.current
        return task is None or task.cred.capable(CAP_IPC_LOCK)

    def _limit(self, number: int) -> tuple[int, int]:
        """A resource limit of the task that runs; the kernel itself has none."""
        task = self.scheduler.current
        limits = task.group.rlimits if task is not None else {}
        return limits.get(number, (RLIM_INFINITY, RLIM_INFINITY))

    # -- file systems ----------------------------------------------------------------------------------------------

    def _mount_file_systems(self) -> None:
        """The overlay at /, what is writable on the host, /dev, /proc and /sys.

        Raises:
            Errno: the root or a writable path cannot be opened.
        """
        self.vfs = boot_vfs(self)
        self.vfs.mount(b"/proc", ProcFs(self))
        self.vfs.mount(b"/sys", SysFs(self))

    # -- programs --------------------------------------------------------------------------------------------------

    def start(self, path: bytes, argv: Sequence[bytes], envp: Sequence[bytes]) -> None:
        """Make the first process and load ``path`` into it.

        Raises:
            Errno: as execve(2).
        """
        files = FdTable(self)
        options = self.options
        for fd, file in enumerate(open_standard_streams(self, (options.stdin, options.stdout, options.stderr))):
            if file is not None:
                files.install(file, at_least=fd)
        exec_first(self, path, argv, envp, files, starting_context(self))
        adopt_terminal(self, self.init)

    def run(self) -> int:
        """Run until the first process ends; returns its wait(2) status. Orphans are ended.

        A timeout ends everything with ``timed_out`` set and SIGKILL as the status.
        """
        if self.options.timeout_s is not None:
            timeout_ns = int(self.options.timeout_s * 1e9)
            if self.clock.virtual:
                self.scheduler.host_deadline_ns = self.clock.host_ns() + timeout_ns
            else:
                self.timers.add(self.clock.monotonic_ns() + timeout_ns, self.time_out)
        try:
            self.scheduler.run()
        finally:
            self.scheduler.ticker.end()
        status = self.init.exit_status
        task_exit.kill_all(self)
        if self.checker is not None:
            self.checker.check_end()
        return 9 if status is None else status

    def stop(self) -> None:
        """End the run as soon as possible; safe from a signal handler."""
        self.scheduler.stop()

    def time_out(self) -> None:
        """End the run because it has taken too long."""
        self.timed_out = True
        self.stop()

    def close(self) -> None:
        """Free what is the host's: the engine, the clock's thread, pipes and descriptors, the terminal's modes."""
        task_exit.kill_all(self)
        self.scheduler.ticker.end()
        self.scheduler.posted.close()
        if self.terminal is not None:
            self.terminal.restore()
        for tree in self.vfs.trees:
            tree.close()
        if self.memory.swap is not None:
            self.memory.swap.close()
        self.machine.cpu.close()
