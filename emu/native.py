"""Hot code: Python functions over raw memory and plain integers, compiled once and loaded from disk ever after.

A function marked :func:`hot` may call other hot functions and the memory primitives below; one marked :func:`export`
can also be called from C (as a Unicorn hook) and from Python (through ctypes). The rules of such code:

* every value is a signed 64-bit integer, addresses included; a PTE with its NX bit set is simply negative;
* results are codes, nothing is raised; state is reached through a pointer, because globals are frozen as constants;
* it lives in ``emu/`` and ``kernel/mm/`` only: the cache is keyed by the text of every file there.

The same source runs three ways:

=========== ============================================== ========================================================
compiling   in a child process, numba imported             ``python -m emu.compile``: object files into the cache
loading     the ordinary case, numba never imported        llvmlite links the object files: 0.1 s
plain       ``NUMBA_DISABLE_JIT=1``                        ordinary Python under a debugger or a coverage tool, slow
=========== ============================================== ========================================================
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

COMPILING = os.environ.get("FORKYARD_COMPILING") == "1"
PLAIN = not COMPILING and os.environ.get("NUMBA_DISABLE_JIT") == "1"

#: The signature of an export that says nothing else: up to eight 64-bit integers and a 64-bit result.
_CTYPES: dict[str, Any] = {"i64": ctypes.c_int64, "i32": ctypes.c_int32, "u32": ctypes.c_uint32, "void": None}


#: Hexadecimal digits of a cache folder's name, and how many old ones are kept.
_KEY_LENGTH, _KEEP_OLD = 24, 15
_SCRATCH = "forkyard-compile-"


class CompileError(Exception):
    """The compiler child failed; the text is its standard error."""


if COMPILING and not TYPE_CHECKING:
    from emu.intrinsics import *  # noqa: F403
    from emu.intrinsics import compile_cfunc, compile_hot
else:
    compile_hot: Any = None
    compile_cfunc: Any = None

    def _accessors(kind: Any) -> tuple[Callable[[int], int], Callable[[int, int], None]]:
        def load(address: int) -> int:
            return kind.from_address(address).value

        def store(address: int, value: int) -> None:
            kind.from_address(address).value = value

        return load, store

    load64, store64 = _accessors(ctypes.c_int64)
    load32, store32 = _accessors(ctypes.c_int32)
    load16, store16 = _accessors(ctypes.c_int16)
    load8, store8 = _accessors(ctypes.c_uint8)

    def copy_bytes(target: int, source: int, count: int) -> None:
        """memmove(3)."""
        ctypes.memmove(target, source, count)

    def fill_bytes(target: int, value: int, count: int) -> None:
        """memset(3)."""
        ctypes.memset(target, value, count)

    def _caller(count: int) -> Callable[..., int]:
        prototype = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * count)

        def call(function: int, *args: int) -> int:
            return prototype(function)(*args)

        return call

    call1, call2, call3, call4, call5 = (_caller(n) for n in range(1, 6))


class Export:
    """One compiled function: ``address`` for C, ``call`` for Python, both set by :func:`load`."""

    def __init__(self, function: Callable[..., Any], signature: str) -> None:
        self.function = function
        self.name = f"{function.__module__}.{function.__name__}"
        result, _, args = signature.partition("(")
        self.result = result
        self.args = [a for a in args.rstrip(")").split(",") if a]
        self.address = 0
        self.call: Callable[..., int] = function
        self.__doc__ = function.__doc__
        self._keep: Any = None

    @property
    def prototype(self) -> Any:
        return ctypes.CFUNCTYPE(_CTYPES[self.result], *[_CTYPES[a] for a in self.args])

    def bind(self, address: int) -> None:
        """Take the machine code at ``address`` as this function's body."""
        self.address = address
        self.call = self.prototype(address)

    def bind_plain(self) -> None:
        """Serve C callers by calling back into the uncompiled Python function."""
        self._keep = self.prototype(self.function)
        self.address = ctypes.cast(self._keep, ctypes.c_void_p).value or 0


EXPORTS: dict[str, Export] = {}
_loaded = False
_keep_alive: list[Any] = []


def hot(function: Callable[..., Any]) -> Any:
    """Mark a function that only compiled code calls."""
    return compile_hot(function) if COMPILING else function


def export(signature: str) -> Callable[[Callable[..., int | None]], Export]:
    """Mark a function that C or Python calls; ``signature`` is like ``"i64(i64,i64,i32)"``."""

    def register(function: Callable[..., int | None]) -> Export:
        entry = Export(function, signature)
        if COMPILING:
            entry.function = compile_cfunc(entry.result, entry.args, function)
            print(entry.name, flush=True)
        EXPORTS[entry.name] = entry
        return entry

    return register


def load(progress: Callable[[int, int, str], None] | None = None) -> None:
    """Give every registered export its machine code, compiling first if the cache has none for this source.

    ``progress(done, total, name)`` is called as functions are compiled (the first run ever, up to a minute), first
    with 0 done.

    Raises:
        CompileError: numba could not compile the hot code, or the cache folder cannot be written.
    """
    global _loaded
    if _loaded:
        return
    if PLAIN:
        for entry in EXPORTS.values():
            entry.bind_plain()
        _loaded = True
        return
    folder = cache_folder()
    _check_unchanged()
    manifest = folder / "manifest.json"
    try:
        if not manifest.exists():
            _compile(folder, progress)
        symbols: dict[str, str] = json.loads(manifest.read_text())
    except OSError as error:
        raise CompileError(f"the compile cache {folder.parent} cannot be used: {error.strerror} "
                           "(FORKYARD_CACHE names another)") from error
    _link(folder, symbols)
    _loaded = True


def cache_folder() -> Path:
    """The folder of object files for exactly this source and these package versions."""
    from importlib.metadata import version

    digest = hashlib.sha256()
    for package in ("llvmlite", "numba"):
        digest.update(f"{package} {version(package)}\n".encode())
    digest.update(f"{sys.version} {sorted(EXPORTS)}\n{_cpu_identity()}{_IMPORTED}".encode())
    return cache_base() / digest.hexdigest()[:_KEY_LENGTH]


def _source_digest() -> str:
    """Of the text of every file that hot code or its constants may come from, as it is now."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for path in sorted([*here.glob("*.py"), *(here.parent / "kernel" / "mm").glob("*.py")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


_IMPORTED = _source_digest()
"""Of what is being imported: this module is the first of them."""


def _check_unchanged() -> None:
    """Machine code of other source than the Python that is running would store anywhere.

    Raises:
        CompileError: a file was edited after it was imported, or while it was compiled.
    """
    if _source_digest() != _IMPORTED:
        raise CompileError("the source of emu/ or kernel/mm/ has changed since it was imported: start again")


def cache_base() -> Path:
    """$FORKYARD_CACHE, or forkyard/ in the user's cache folder."""
    return Path(os.environ.get("FORKYARD_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "forkyard"))


def _cpu_identity() -> str:
    """Object code is tuned to the host's processor: a home folder may be shared by different machines."""
    try:
        with open("/proc/cpuinfo") as lines:
            return "".join(line for line in lines if line.startswith(("model name", "flags")))[:4000]
    except OSError:
        return ""


def _compile(folder: Path, progress: Callable[[int, int, str], None] | None) -> None:
    if progress is not None:
        progress(0, len(EXPORTS), "")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / "lock", "w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        if (folder / "manifest.json").exists():
            return
        _prune(folder.parent)
        with (tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=folder.parent) as scratch,
              tempfile.TemporaryFile("w+") as messages):
            modules = sorted({name.rpartition(".")[0] for name in EXPORTS})
            child = subprocess.Popen(
                [sys.executable, "-m", "emu.compile", scratch, *modules],
                env={**os.environ, "FORKYARD_COMPILING": "1", "NUMBA_DISABLE_JIT": "0",
                     "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent.parent), *filter(None, sys.path)])},
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=messages, text=True,
            )
            assert child.stdout is not None
            try:
                for done, line in enumerate(child.stdout, 1):
                    if progress is not None:
                        progress(done, len(EXPORTS), line.strip())
                if child.wait() != 0:
                    messages.seek(0)
                    reason = messages.read().strip() or f"the compiler ended with {child.returncode}"
                    raise CompileError(f"{reason} (compiling into {folder.parent}; FORKYARD_CACHE names another)")
            finally:
                child.kill()
                child.wait()
            _check_unchanged()
            os.rename(Path(scratch) / "out", folder)


def _prune(base: Path) -> None:
    """Remove what compilers that were killed left behind, and the object code of old sources.

    The folder may be one that others use too: only what bears our names, and holds what ours hold, is touched.
    """
    built = [path.parent for path in base.glob("[0-9a-f]" * _KEY_LENGTH + "/manifest.json")]
    built.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in (*base.glob(_SCRATCH + "*"), *built[_KEEP_OLD:]):
        shutil.rmtree(path, ignore_errors=True)


def _link(folder: Path, symbols: dict[str, str]) -> None:
    """Load the object files with llvmlite alone and bind every export."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    # The two names a numba cfunc refers to outside itself: it takes the GIL only to report an exception.
    for name, target in (("numba_gil_ensure", "PyGILState_Ensure"), ("numba_gil_release", "PyGILState_Release")):
        llvm.add_symbol(name, ctypes.cast(getattr(ctypes.pythonapi, target), ctypes.c_void_p).value)
    # One name that stays unresolved leaves all others at 0: what only a raised exception would call is abort().
    libc = ctypes.CDLL(None)
    for name in ("NRT_Free", "numba_do_raise", "numba_runtime_build_excinfo_struct", "numba_unpickle"):
        llvm.add_symbol(name, ctypes.cast(libc.abort, ctypes.c_void_p).value)
    machine = llvm.Target.from_default_triple().create_target_machine(codemodel="jitdefault", jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    for number in range(len(symbols)):
        engine.add_object_file(llvm.object_file.ObjectFileRef.from_path(str(folder / f"{number}.o")))
    engine.finalize_object()
    for name, symbol in symbols.items():
        address = engine.get_function_address(symbol)
        if address == 0:
            raise CompileError(f"{name} is not in the compiled machine")
        if name in EXPORTS:
            EXPORTS[name].bind(address)
    _keep_alive.append(engine)
