"""Build the bundled guest programs (``guest/programs/*.c``) with the host's C compiler, once per content.

The compiler is ``$CC``, else cc or gcc, where it makes x86-64 Linux programs; else ``ziglang`` from PyPI, if it is
installed. Programs are static, so that they run alike under every contestant; without a static libc, dynamic.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"
_FLAGS = ("-O2", "-no-pie", "-fno-pic", "-fcf-protection=none", "-fno-stack-protector", "-pthread")


class BuildError(Exception):
    """No usable compiler, or the compiler refused; the text is for the user."""


def build(name: str) -> Path:
    """The executable of ``guest/programs/NAME.c``.

    Raises:
        BuildError: see there.
    """
    source = PROGRAMS / f"{name}.c"
    compiler = find_compiler()
    digest = hashlib.sha256("\0".join([*compiler, *_FLAGS]).encode())
    for path in (source, *sorted(PROGRAMS.glob("*.h"))):
        digest.update(path.read_bytes())
    target = _folder() / f"{name}-{digest.hexdigest()[:16]}"
    if not target.exists():
        partial = target.with_suffix(f".{os.getpid()}")
        errors = ""
        for static in (["-static"], []):
            done = subprocess.run([*compiler, *_FLAGS, *static, str(source), "-o", str(partial)], text=True,
                                  capture_output=True, stdin=subprocess.DEVNULL)
            if done.returncode == 0:
                break
            errors = errors or f"{shlex.join(done.args)}\n{done.stderr.strip()}"
        else:
            raise BuildError(errors)
        partial.rename(target)
    return target


def find_compiler() -> tuple[str, ...]:
    """The command of a C compiler that makes x86-64 Linux programs.

    Raises:
        BuildError: there is none.
    """
    wanted = os.environ.get("CC")
    if wanted:
        return tuple(shlex.split(wanted))
    if platform.machine() == "x86_64" and sys.platform == "linux":
        for name in ("cc", "gcc", "clang"):
            if shutil.which(name) is not None:
                return (name,)
    if importlib.util.find_spec("ziglang") is not None:
        return (sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-musl")
    raise BuildError("no C compiler for x86-64 Linux: install gcc and libc6-dev, or `pip install ziglang`")


@functools.cache
def _folder() -> Path:
    from emu.native import cache_base

    folder = cache_base() / "programs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(f"cannot write {folder}: {error.strerror}") from error
    return folder
