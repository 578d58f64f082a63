"""Find the program that a command line names, inside the guest's tree, and say what a shell says when it cannot run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from kernel.errno import EACCES, ENOENT, ENOTDIR, EPERM, Errno
from kernel.fs.start import starting_context
from kernel.fs.uapi import AT_FDCWD, S_IFDIR, S_IFREG
from kernel.task.cred import Credentials

if TYPE_CHECKING:
    from kernel.kernel import Kernel

#: Exit statuses of a shell (POSIX XCU 2.8.2) for a program that was not found, and for one that cannot be executed.
NOT_FOUND, NOT_EXECUTABLE = 127, 126
#: As env(1) when it cannot do its own part.
CANNOT_START = 125
#: What execvp(3) searches without a PATH.
DEFAULT_PATH = "/bin:/usr/bin"
_MAY_EXECUTE = 1


class LaunchError(Exception):
    """The program cannot be started; ``status`` is the exit status of a shell that tried, the text its message."""

    def __init__(self, program: str, code: int, reason: str = "") -> None:
        super().__init__(f"{program}: {reason or os.strerror(code)}")
        self.code = code
        self.status = NOT_FOUND if code == ENOENT else NOT_EXECUTABLE


def start_program(kernel: Kernel, argv: Sequence[str], env: Mapping[str, str]) -> None:
    """Load ``argv[0]``, looked up along the PATH of ``env`` in the guest's tree, as the first process of ``kernel``.

    Raises:
        LaunchError: it is not there, or cannot be executed.
    """
    program = argv[0] if argv else ""
    path = b""
    try:
        walker = _walker(kernel)
        path = os.fsencode(program)
        if b"/" not in path:
            path = _search(walker, path, os.fsencode(env.get("PATH", DEFAULT_PATH)))
        words = [os.fsencode(word) for word in argv]
        kernel.start(path, words, [os.fsencode(f"{name}={value}") for name, value in env.items()])
    except Errno as error:
        reason = "Is a directory" if error.code == EACCES and path and _kind(walker, path) == S_IFDIR else ""
        raise LaunchError(program, error.code, reason) from None


def _walker(kernel: Kernel) -> Any:
    """What path walking wants to know of a task, before there is one.

    Raises:
        LaunchError: there is no such directory as --cwd.
    """
    try:
        fs = starting_context(kernel)
    except Errno as error:
        failure = LaunchError(f"--cwd {kernel.options.cwd}", error.code)
        failure.status = CANNOT_START
        raise failure from None
    return SimpleNamespace(fs=fs, files=None, cred=Credentials.initial(kernel.options), kernel=kernel)


def _search(walker: Any, name: bytes, path: bytes) -> bytes:
    """execvp(3)'s search: the first executable file; EACCES when there are only others, ENOENT when there is none."""
    if not name:
        raise Errno(ENOENT)
    code = ENOENT
    for directory in path.split(b":"):
        candidate = directory + b"/" + name if directory else name
        try:
            inode = walker.kernel.vfs.resolve(walker, AT_FDCWD, candidate).inode
            if inode.kind != S_IFREG:
                code = EACCES if inode.kind != S_IFDIR else code
                continue
            inode.permission(walker, _MAY_EXECUTE)
        except Errno as error:
            if error.code in (EACCES, EPERM):
                code = EACCES
            elif error.code not in (ENOENT, ENOTDIR):
                raise
            continue
        return candidate
    raise Errno(code)


def _kind(walker: Any, path: bytes) -> int:
    try:
        return int(walker.kernel.vfs.resolve(walker, AT_FDCWD, path).inode.kind)
    except Errno:
        return 0
