"""execve: from a path to a running program (fs/exec.c).

Everything that can be refused is refused before the old program is touched: the file, its format, its interpreter, the
size of arguments and environment. Behind that point an error kills the process with SIGSEGV, as on Linux.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernel.errno import E2BIG, EACCES, EINVAL, ELOOP, ENAMETOOLONG, ENOENT, Errno
from kernel.mm.address_space import AddressSpace
from kernel.task import elf, elf_load, itimer, rlimit, script, stack
from kernel.task import exit as task_exit
from kernel.task import pid as pids
from kernel.task.cred import Credentials
from kernel.task.rlimit import RLIMIT_AS, RLIMIT_STACK
from kernel.task.signals import SIGCHLD, SIGSEGV, SS_DISABLE
from kernel.task.sigqueue import SignalActions, SignalQueue
from kernel.task.task import Task, ThreadGroup

if TYPE_CHECKING:
    from kernel.fs.fdtable import FdTable
    from kernel.fs.namei import FsContext
    from kernel.kernel import Kernel

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, AT_EXECVE_CHECK = 0x100, 0x1000, 0x10000
ADDR_NO_RANDOMIZE = 0x0040000

ARG_MAX = 131072
STK_LIM = 8 << 20
MAX_ARG_STRLEN = 32 * 4096
"""One argument or variable, its NUL included, in bytes."""
MAX_SCRIPT_DEPTH = 5
TASK_COMM_LEN = 16

Vectors = Callable[["Arguments"], None]
"""Fills the argument and environment strings of an :class:`Arguments`."""


class Arguments:
    """argv and envp on their way to the new program, counted against the limit: a quarter of RLIMIT_STACK, at least
    128 KiB, at most 6 MiB; every string and every pointer to one counts (bprm_stack_limits, copy_strings)."""

    def __init__(self, filename: bytes, stack_limit: int) -> None:
        self.filename = filename
        self.argv: list[bytes] = []
        self.envp: list[bytes] = []
        self.room = max(min(STK_LIM // 4 * 3, stack_limit // 4), ARG_MAX)

    def reserve(self, argc: int, envc: int) -> None:
        """Count the pointers and the file name.

        Raises:
            Errno: E2BIG.
        """
        pointers = (max(argc, 1) + envc) * 8
        if self.room <= pointers:
            raise Errno(E2BIG)
        self.room -= pointers
        self.count(self.filename)

    def count(self, string: bytes) -> bytes:
        """Count one string; E2BIG when it does not fit."""
        self.room -= len(string) + 1
        if self.room < 0 or len(string) >= MAX_ARG_STRLEN:
            raise Errno(E2BIG)
        return string

    def replace_first(self, strings: Sequence[bytes]) -> None:
        """Put ``strings`` in the place of argv[0] (the interpreter's line of a script)."""
        self.room += len(self.argv[0]) + 1
        for string in strings:
            self.count(string)
        self.argv[:1] = strings


def from_lists(argv: Sequence[bytes], envp: Sequence[bytes]) -> Vectors:
    """Vectors that the kernel itself has."""

    def fill(arguments: Arguments) -> None:
        arguments.reserve(len(argv), len(envp))
        arguments.envp = [arguments.count(string) for string in envp]
        arguments.argv = [arguments.count(string) for string in argv]

    return fill


def from_user(mm: AddressSpace, argv: int, envp: int) -> Vectors:
    """Vectors in the memory of the calling program; NULL is an empty one."""

    def strings(arguments: Arguments, pointers: list[int]) -> list[bytes]:
        found = []
        for pointer in reversed(pointers):
            found.append(arguments.count(_string(mm, pointer)))
        return found[::-1]

    def fill(arguments: Arguments) -> None:
        limit = arguments.room // 8
        argument_pointers = _pointers(mm, argv, limit)
        environment_pointers = _pointers(mm, envp, limit)
        arguments.reserve(len(argument_pointers), len(environment_pointers))
        arguments.envp = strings(arguments, environment_pointers)
        arguments.argv = strings(arguments, argument_pointers)

    return fill


def _string(mm: AddressSpace, address: int) -> bytes:
    """The string at ``address``, read in the pieces that cstring() allows; E2BIG when it is too long."""
    piece = MAX_ARG_STRLEN // 4
    read = b""
    while len(read) < MAX_ARG_STRLEN:
        try:
            return read + mm.cstring(address + len(read), piece)
        except Errno as error:
            if error.code != ENAMETOOLONG:
                raise
            read += mm.read(address + len(read), piece)
    raise Errno(E2BIG)


def _pointers(mm: AddressSpace, address: int, limit: int) -> list[int]:
    """The pointers of a NULL-terminated vector, up to one more than ``limit``."""
    pointers: list[int] = []
    while address and len(pointers) <= limit:
        # Up to the end of the page: what lies behind the vector need not be accessible.
        size = max(8, (4096 - address % 4096) & ~7)
        try:
            data = memoryview(mm.read(address, size)).cast("Q")
        except Errno:
            data = memoryview(mm.read(address, 8)).cast("Q")
        row = data.tolist()
        if 0 in row:
            return pointers + row[: row.index(0)]
        pointers += row
        address += len(row) * 8
    return pointers


def exec_first(kernel: Kernel, path: bytes, argv: Sequence[bytes], envp: Sequence[bytes], files: FdTable,
               fs: FsContext) -> Task:
    """Make the first process and let it run ``path`` with the given descriptors, directory and root.

    Raises:
        Errno: as execve(2); nothing is left behind then.
    """
    table = kernel.tasks
    tgid = table.allocate()
    group = ThreadGroup(tgid, None, tgid, pids.INIT_PID, pending=SignalQueue(),
                        rlimits=rlimit.initial_rlimits(kernel.options))
    task = Task(kernel, tgid, group, None, files, fs, Credentials.initial(kernel.options), SignalActions(),  # type: ignore[arg-type]
                SignalQueue(), start_time_ns=kernel.clock.boottime_ns(), nice=os.getpriority(os.PRIO_PROCESS, 0))
    group.start_time_ns = task.start_time_ns
    group.threads.append(task)
    table[tgid] = task
    table.add_group(group)
    kernel.init = group
    try:
        do_execve(task, AT_FDCWD, path, 0, from_lists(argv, envp))
    except Errno:
        del table[tgid]
        table.remove_group(group)
        raise
    if task.state == "R":
        kernel.scheduler.add(task)
    return task


@dataclass
class _Binary:
    """What was found to load: a program, perhaps with the interpreter it names."""

    file: Any
    program: elf.Program
    interpreter: tuple[Any, elf.Program] | None


def do_execve(task: Task, dirfd: int, path: bytes, flags: int, vectors: Vectors) -> None:
    """Replace the program of ``task``; its registers are those of a new program afterwards.

    The task may be dead on return: a program whose segments cannot be mapped dies of SIGSEGV.

    Raises:
        Errno: as execve(2) and execveat(2); the old program goes on.
    """
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_EXECVE_CHECK):
        raise Errno(EINVAL)
    opened = [task.kernel.vfs.open_exec(task, dirfd, path, flags)]
    try:
        arguments = Arguments(_file_name(dirfd, path), rlimit.get(task, RLIMIT_STACK))
        vectors(arguments)
        if not arguments.argv:
            arguments.argv = [arguments.count(b"")]
        if flags & AT_EXECVE_CHECK:
            return
        inaccessible = arguments.filename != path and task.files.cloexec(dirfd)
        found = _find_binary(task, opened, arguments, inaccessible)
        comm = path if path else opened[0].dentry.name
        _replace_image(task, AddressSpace.new(task.kernel), found, arguments, comm.rpartition(b"/")[2])
    finally:
        for file in opened:
            if file is not task.exe:
                _allow_writing(file)
            file.put()


def _file_name(dirfd: int, path: bytes) -> bytes:
    """What the new program is told of its path (AT_EXECFN): relative to a descriptor it goes by /dev/fd."""
    if dirfd == AT_FDCWD or path.startswith(b"/"):
        return path
    return b"/dev/fd/%d" % dirfd + (b"/" + path if path else b"")


def _find_binary(task: Task, opened: list[Any], arguments: Arguments, inaccessible: bool) -> _Binary:
    """Follow ``#!`` lines to an ELF program and open its interpreter; every file opened joins ``opened``."""
    current = arguments.filename
    for _ in range(MAX_SCRIPT_DEPTH + 1):
        file = opened[-1]
        read = _reader(task, file)
        start = read(0, script.BINPRM_BUF_SIZE).ljust(script.BINPRM_BUF_SIZE, b"\0")
        if not script.is_script(start):
            break
        line = script.parse(start)
        if inaccessible:
            raise Errno(ENOENT)
        optional = () if line.argument is None else (line.argument,)
        arguments.replace_first((line.interpreter, *optional, current))
        current = line.interpreter
        opened.append(_open_interpreter(task, current))
    else:
        raise Errno(ELOOP)
    program = elf.inspect_program(start, read)
    if program.interpreter is None:
        return _Binary(file, program, None)
    loader = _open_interpreter(task, program.interpreter)
    opened.append(loader)
    return _Binary(file, program, (loader, elf.inspect_interpreter(_reader(task, loader))))


def _open_interpreter(task: Task, path: bytes) -> Any:
    """open_exec(): for the kernel itself the empty name is the working directory, which cannot be executed."""
    if not path:
        raise Errno(EACCES)
    return task.kernel.vfs.open_exec(task, AT_FDCWD, path, 0)


def _allow_writing(file: Any) -> None:
    """Only the program itself stays protected while it runs, not the interpreter that is mapped beside it."""
    if file.deny_write:
        file.deny_write = False
        file.inode.deny_write -= 1


def _reader(task: Task, file: Any) -> elf.Reader:
    """Read the file as the kernel does for itself: what open_exec lets through is a regular file and never blocks."""

    def read(offset: int, size: int) -> bytes:
        data = file.try_read(task, size, offset)
        if data is None:
            raise Errno(EACCES)
        return bytes(data)

    return read


def _replace_image(task: Task, mm: AddressSpace, found: _Binary, arguments: Arguments, comm: bytes) -> None:
    """The old program goes, the new one comes (begin_new_exec, load_elf_binary)."""
    kernel = task.kernel
    task_exit.kill_other_threads(task, 0)  # do_group_exit: threads that an execve ends have status 0
    _become_leader(task)
    mm.use_odf = task.mm.use_odf if task.mm is not None else kernel.options.odf
    mm.thp_disabled = task.mm is not None and task.mm.thp_disabled
    mm.odf_level = task.mm.odf_level if task.mm is not None else kernel.options.odf_level
    task_exit.release_memory(task)
    task.mm = mm
    _reset_task(task, found.file, comm)
    try:
        entry, rsp = _load(task, found, arguments)
    except Errno:
        task_exit.do_group_exit(task, SIGSEGV)
        return
    kernel.machine.cpu.reset(task, entry, rsp)
    for listener in kernel.events.exec:
        listener(task, arguments.filename)


def _become_leader(task: Task) -> None:
    """A thread that calls execve takes the process's number; the other threads have ended (de_thread)."""
    group, tasks = task.group, task.kernel.tasks
    if task.tid != group.tgid:
        del tasks[task.tid]
        task.tid = group.tgid
        tasks[task.tid] = task
        task.start_time_ns = group.start_time_ns
    if group.dead_leader is not None:
        group.dead_leader.state = "X"
        group.dead_leader = None
    for child in group.children:
        child.parent_thread = task
    group.exit_signal = SIGCHLD


def _reset_task(task: Task, file: Any, comm: bytes) -> None:
    """What execve resets of files, signals, timers and credentials; execve(2) lists what stays."""
    group = task.group
    if task.files.users > 1:
        task.files.users -= 1
        task.files = task.files.copy()
    task.files.close_on_exec()
    if task.exe is not None:
        task.exe.put()
    task.exe = task.mm.exe = file.get()
    itimer.delete_posix_timers(group)
    task.actions = task.actions.copy()
    task.actions.reset_for_exec()
    task.sigaltstack = (0, 0, SS_DISABLE)
    task.restart = None
    task.rseq = None
    task.cred = task.cred.for_exec()
    cred = task.cred
    group.membarrier = 0
    group.dumpable = int(cred.euid == cred.uid and cred.egid == cred.gid)
    group.did_exec = True
    task.comm = comm[: TASK_COMM_LEN - 1]


def _load(task: Task, found: _Binary, arguments: Arguments) -> tuple[int, int]:
    """Map the program and its stack; returns the entry point and the stack pointer."""
    kernel, mm, program = task.kernel, task.mm, found.program
    randomize = kernel.options.aslr and not task.personality & ADDR_NO_RANDOMIZE
    layout = stack.Layout(kernel.random if randomize else None, kernel.code_slide)
    stack_limit = rlimit.get(task, RLIMIT_STACK)
    mm.set_stack_limits(stack_limit, rlimit.get(task, RLIMIT_AS))
    mm.mmap_base = layout.mmap_base(stack_limit)
    image = elf_load.load_program(mm, found.file, program, layout.program, found.interpreter)
    rsp = stack.build(mm, layout, stack_limit, arguments.argv, arguments.envp, arguments.filename, image,
                      program.header.phnum, task.cred, kernel.random.bytes(16), program.executable_stack)
    mm.start_code, mm.end_code = image.start_code, image.end_code
    mm.start_data, mm.end_data = image.start_data, image.end_data
    brk = image.brk
    if program.header.type == elf.ET_DYN and found.interpreter is None:
        # A static PIE, or ld.so itself, lies among the mappings: its heap gets room where programs usually lie.
        brk = elf_load.ELF_ET_DYN_BASE
    brk = elf.page_align(brk) + layout.brk_pages * elf.PAGE_SIZE
    mm.start_brk = mm.brk = brk
    return image.entry, rsp
