"""Build guest programs, run them natively and under Forkyard, compare.

The host is the oracle: :func:`check` runs one command line natively and under Forkyard with use_odf 0 and 1, each time
in the same freshly filled directory, and compares stdout, stderr, exit status and the files left there. Many small
checks go through one emulator process with :class:`Batch`. A failure prints the command that repeats it.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "tests" / "programs"
CACHE = Path(os.environ.get("FORKYARD_TEST_CACHE", Path.home() / ".cache" / "forkyard-tests"))
TIMEOUT_S = float(os.environ.get("FORKYARD_TEST_TIMEOUT", "300"))

#: The environment of every program, natively and under Forkyard: short and the same everywhere.
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    "HOME": os.environ.get("HOME", "/"),
    "LANG": "C.UTF-8",
    "TZ": "UTC",
}

#: What a toolchain is called in tests → the command and its flags.
TOOLCHAINS = {
    "gcc": ("gcc",),
    "gcc-static": ("gcc", "-static"),
    "gcc-fixed": ("gcc", "-no-pie"),
    "gcc-static-pie": ("gcc", "-static-pie"),
    "musl": ("musl-gcc",),
    "musl-static": ("musl-gcc", "-static"),
}

#: How processes fork → the command line's options for it.
WAYS = {"classic": [], "odf": ["--odf"], "level2": ["--odf", "--odf-level", "2"]}

Content = bytes | str
COMPILING = b"forkyard: compiling the machine"


class Unavailable(Exception):  # noqa: N818 -- not an error: a reason to skip
    """A compiler or program that the host does not have; tests skip."""


# ---------------------------------------------------------------- building


def build(source: str | Path, toolchain: str = "gcc-static", flags: Sequence[str] = (), optimize: str = "-O1") -> Path:
    """The executable of a C file (a name of tests/programs or a path), compiled once per content and flags.

    Raises:
        Unavailable: the toolchain is not installed.
        AssertionError: the compiler's messages.
    """
    source = PROGRAMS / source if not Path(source).is_absolute() else Path(source)
    command = [*TOOLCHAINS[toolchain], optimize, "-g", "-pthread", "-Wall", "-Wno-unused-result", *flags]
    if shutil.which(command[0]) is None:
        raise Unavailable(f"no {command[0]} on this host")
    digest = hashlib.sha256()
    headers = [header.read_bytes() for header in sorted(PROGRAMS.glob("*.h"))]
    for part in (source.read_bytes(), *headers, "\0".join(command).encode()):
        digest.update(part)
    target = CACHE / f"{source.stem}-{toolchain}-{digest.hexdigest()[:12]}"
    if target.exists():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(f".{os.getpid()}")
    done = subprocess.run([*command, "-I", str(PROGRAMS), str(source), "-o", str(partial)], capture_output=True,
                          text=True)
    assert done.returncode == 0, f"{shlex.join(done.args)}\n{done.stderr}"
    partial.rename(target)
    return target


def need(*programs: str) -> None:
    """Raise Unavailable unless the host has all of these programs, for the tests' programs and for our own."""
    for program in programs:
        if not all(shutil.which(program, path=path) for path in (ENVIRONMENT["PATH"], os.environ.get("PATH"))):
            raise Unavailable(f"no {program} on this host")


# ---------------------------------------------------------------- running


@dataclass
class Result:
    """What one run gave. ``status`` is the shell's: 128+N for death by signal N."""

    command: str
    status: int
    stdout: bytes
    stderr: bytes
    files: dict[str, tuple[str, int, bytes]] = field(default_factory=dict)
    """Relative path → (kind, permission bits, content or link target)."""

    def __str__(self) -> str:
        return f"$ {self.command}\nstatus {self.status}\n{_shown('stdout', self.stdout)}{_shown('stderr', self.stderr)}"

    @property
    def text(self) -> str:
        """stdout, decoded."""
        return self.stdout.decode(errors="replace")


def _shown(name: str, data: bytes, limit: int = 4000) -> str:
    if not data:
        return ""
    text = data[:limit].decode(errors="backslashreplace")
    more = f"… {len(data) - limit} more bytes\n" if len(data) > limit else ""
    return f"--- {name}\n{text}{'' if text.endswith(chr(10)) else chr(10)}{more}"


def fill(directory: Path, files: Mapping[str, Content | tuple[Content, int]]) -> None:
    """Make ``directory`` hold exactly ``files``: relative path → content, or (content, mode)."""
    empty(directory)
    for name, content in files.items():
        mode = 0o644
        if isinstance(content, tuple):
            content, mode = content
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)


def empty(directory: Path) -> None:
    """Remove what is in ``directory``; make it if needed."""
    directory.mkdir(parents=True, exist_ok=True)
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def collect(directory: Path) -> dict[str, tuple[str, int, bytes]]:
    """Everything below ``directory``, in the form of ``Result.files``."""
    found = {}
    for path in sorted(directory.rglob("*")):
        name, info = str(path.relative_to(directory)), path.lstat()
        if path.is_symlink():
            found[name] = ("link", 0, os.readlink(path).encode())
        elif path.is_dir():
            found[name] = ("dir", info.st_mode & 0o7777, b"")
        elif path.is_file():
            found[name] = ("file", info.st_mode & 0o7777, path.read_bytes())
        else:
            found[name] = ("special", info.st_mode & 0o7777, b"")
    return found


def forkyard_argv(argv: Sequence[str | Path], *, odf: int | None = None, paranoid: bool = True,
                  options: Sequence[str] = (), command: str = "run") -> list[str]:
    """The host command line that runs ``argv`` under Forkyard."""
    words = [sys.executable, "-m", "guest.cli", command]
    if odf:
        words.append("--odf")
    if paranoid:
        words.append("--paranoid")
    return [*words, *options, "--", *map(str, argv)]


def run_native(argv: Sequence[str | Path], *, stdin: bytes = b"", env: Mapping[str, str] | None = None,
               cwd: Path | None = None, files: Mapping[str, Content | tuple[Content, int]] | None = None,
               timeout: float = TIMEOUT_S) -> Result:
    """Run on the host. With ``files``, ``cwd`` is filled with them first and collected afterwards."""
    return _run([str(word) for word in argv], stdin, dict(ENVIRONMENT, **(env or {})), cwd or Path("/"), cwd, files,
                timeout)


def run_forkyard(argv: Sequence[str | Path], *, odf: int | None = None, paranoid: bool = True,
                 options: Sequence[str] = (), stdin: bytes = b"", env: Mapping[str, str] | None = None,
                 cwd: Path | None = None, files: Mapping[str, Content | tuple[Content, int]] | None = None,
                 timeout: float = TIMEOUT_S, command: str = "run") -> Result:
    """Run under Forkyard; with ``files``, ``cwd`` is a --writable directory, filled first and collected afterwards."""
    extra = list(options)
    if files is not None:
        extra += ["--writable", str(cwd)]
    extra += ["--cwd", str(cwd or "/")]
    words = forkyard_argv(argv, odf=odf, paranoid=paranoid, options=extra, command=command)
    result = _run(words, stdin, dict(ENVIRONMENT, **(env or {})), ROOT, cwd, files, timeout)
    if result.stderr.startswith(COMPILING):  # the first run after a change of the hot code
        result.stderr = result.stderr.partition(b"\n")[2]
    for words in (b"Traceback (most recent call last)", b"forkyard: internal error"):
        assert words not in result.stderr, f"the emulator failed\n{result}"
    return result


def _run(words: list[str], stdin: bytes, env: dict[str, str], host_cwd: Path, scratch: Path | None,
         files: Mapping[str, Content | tuple[Content, int]] | None, timeout: float) -> Result:
    if files is not None:
        assert scratch is not None, "files need a cwd to live in"
        fill(scratch, files)
    shown = f"cd {shlex.quote(str(host_cwd))} && {shlex.join(words)}"
    if stdin:
        saved = Path(tempfile.gettempdir()) / f"forkyard-stdin-{hashlib.sha256(stdin).hexdigest()[:12]}"
        saved.write_bytes(stdin)
        shown += f" < {saved}"
    changed = " ".join(f"{k}={shlex.quote(v)}" for k, v in env.items() if os.environ.get(k) != v)
    shown = shown.replace(" && ", f" && env -i HOME={shlex.quote(env['HOME'])} {changed} ", 1)
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
                               cwd=host_cwd, start_new_session=True, umask=0o022)
    try:
        stdout, stderr = process.communicate(stdin, timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = process.communicate()
        raise AssertionError(f"no end after {timeout:g} s:\n{Result(shown, -1, stdout, stderr)}") from None
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    status = process.returncode if process.returncode >= 0 else 128 - process.returncode
    left = collect(scratch) if files is not None and scratch is not None else {}
    return Result(shown, status, stdout, stderr, left)


# ---------------------------------------------------------------- comparing


def difference(native: Result, guest: Result, *, stderr: bool = True) -> str:
    """What the two runs do not agree on; empty when they agree."""
    parts = []
    if native.status != guest.status:
        parts.append(f"exit status: native {native.status}, forkyard {guest.status}")
    for name in ("stdout", "stderr") if stderr else ("stdout",):
        ours, theirs = getattr(guest, name), getattr(native, name)
        if ours != theirs:
            parts.append(f"{name} differs:\n{_diff(theirs, ours)}")
    if not stderr and (native.status != guest.status or parts):
        parts.append(_shown("forkyard's stderr", guest.stderr))
    for name in sorted(native.files.keys() | guest.files.keys()):
        theirs, ours = native.files.get(name), guest.files.get(name)
        if theirs != ours:
            what = "missing" if ours is None else "not expected" if theirs is None else ""
            if not what and theirs and ours:
                what = f"{theirs[:2]} → {ours[:2]}" if theirs[:2] != ours[:2] else _diff(theirs[2], ours[2])
            parts.append(f"file {name}: {what}")
    if not parts:
        return ""
    return "\n".join([*parts, "repeat with:", "  " + guest.command, "natively:", "  " + native.command])


def _diff(native: bytes, guest: bytes, lines: int = 60) -> str:
    before, after = (d.decode(errors="backslashreplace").splitlines() for d in (native, guest))
    shown = list(difflib.unified_diff(before, after, "native", "forkyard", lineterm="", n=1))[:lines]
    return "\n".join(shown) or f"only in line ends: native {native[-40:]!r}, forkyard {guest[-40:]!r}"


def check(argv: Sequence[str | Path], *, odf: Iterable[int] = (0, 1), stderr: bool = True, status: int | None = None,
          **how: object) -> Result:
    """Run natively and under Forkyard and assert that all agree; returns the native result.

    ``status``: also assert the native status, so that a test that fails in the same way everywhere is noticed.
    """
    options: Sequence[str] = how.pop("options", ())  # type: ignore[assignment]
    paranoid = bool(how.pop("paranoid", True))
    native = run_native(argv, **how)  # type: ignore[arg-type]
    if status is not None:
        assert native.status == status, f"natively:\n{native}"
    for value in odf:
        guest = run_forkyard(argv, odf=value, options=options, paranoid=paranoid, **how)  # type: ignore[arg-type]
        wrong = difference(native, guest, stderr=stderr)
        assert not wrong, f"with use_odf {value}: {wrong}"
    return native


def check_test_program(source: str, toolchain: str, odf: int, names: Sequence[str] = (), *,
                       options: Sequence[str] = (), **how: object) -> None:
    """Run a program written with test.h natively (it must pass) and under Forkyard; all must be equal.

    The program switches use_odf on itself; ``options`` are the command line's.
    """
    program = build(source, toolchain)
    argv = [program, "odf" if odf else "classic", *names]
    native = run_native(argv, **how)  # type: ignore[arg-type]
    assert native.status == 0, f"fails natively:\n{native}"
    guest = run_forkyard(argv, options=options, **how)  # type: ignore[arg-type]
    wrong = difference(native, guest)
    assert not wrong, wrong


# ---------------------------------------------------------------- many checks in one emulator process


@dataclass
class Case:
    """One command line of a Batch; paths in it are relative to its own directory."""

    argv: list[str]
    stdin: bytes = b""
    files: dict[str, Content | tuple[Content, int]] = field(default_factory=dict)
    stderr: bool = True


class Batch:
    """Runs many cases under one `batch` guest (tests/programs/batch.c), each in a directory and process of its own.

    ``directory`` is used for the native run and each Forkyard run in turn, so paths are the same in all.
    A case that takes longer than ``seconds`` is killed by the driver, so the others still run.
    """

    def __init__(self, directory: Path, cases: Mapping[str, Case], seconds: int = 200,
                 env: Mapping[str, str] | None = None, options: Sequence[str] = (), paranoid: bool = True) -> None:
        self.directory, self.cases, self.seconds, self.env = directory, dict(cases), seconds, env
        self.options, self.paranoid = options, paranoid
        self._results: dict[str, tuple[Result, dict[str, Result]]] = {}

    def compare(self, name: str, odf: int) -> None:
        """Assert that case ``name`` gives under Forkyard what it gives natively."""
        case = self.cases[name]
        _, native = self.run("native")
        whole, guest = self.run(f"odf {odf}")
        assert name in native, f"the native driver did not run {name}"
        repeat = f"\n(in one process with the other cases: {whole.command})"
        if name not in guest:
            raise AssertionError(f"{name} was not finished by the driver:\n{whole}{repeat}")
        wrong = difference(native[name], guest[name], stderr=case.stderr)
        assert not wrong, f"with use_odf {odf}: {wrong}{repeat}"

    def run(self, way: str) -> tuple[Result, dict[str, Result]]:
        """All results of one way ("native", "odf 0", "odf 1"), run at first use."""
        if way not in self._results:
            self._results[way] = self._run(way)
        return self._results[way]

    def _run(self, way: str) -> tuple[Result, dict[str, Result]]:
        empty(self.directory)
        for name, case in self.cases.items():
            home = self.directory / name
            fill(home / "work", case.files)
            (home / "argv").write_bytes(b"".join(word.encode() + b"\0" for word in case.argv))
            (home / "stdin").write_bytes(case.stdin)
        (self.directory / "list").write_text("".join(f"{name}\n" for name in self.cases))
        driver = build("batch.c", "musl-static" if shutil.which("musl-gcc") else "gcc-static")
        argv: list[str | Path] = [driver, str(self.seconds)]
        limit = 30 + TIMEOUT_S + 10.0 * len(self.cases)
        try:
            if way == "native":
                whole = run_native(argv, cwd=self.directory, env=self.env, timeout=limit)
            else:
                options = ["--writable", str(self.directory), *self.options]
                whole = run_forkyard(argv, odf=int(way[-1]), cwd=self.directory, env=self.env, timeout=limit,
                                     paranoid=self._paranoid(way), options=options)
        except AssertionError as failure:  # keep what the finished cases gave
            whole = Result(str(failure), -1, b"", b"")
        finished = [name for name in self.cases if (self.directory / name / "status").exists()]
        return whole, {name: self._result(name, way) for name in finished}

    def _paranoid(self, way: str) -> bool:
        """Recounting costs most of the time: it is done where tables are shared."""
        return self.paranoid and way == "odf 1"

    def _result(self, name: str, way: str) -> Result:
        case, home = self.cases[name], self.directory / name
        one = ["env", "-C", str(home / "work"), *case.argv]
        if way != "native":
            one = forkyard_argv(case.argv, odf=int(way[-1]), paranoid=self._paranoid(way), options=[
                *self.options, "--writable", str(home), "--cwd", str(home / "work")])
        command = f"cd {ROOT} && {shlex.join(one)} < {home / 'stdin'}"
        status = int((home / "status").read_text())
        return Result(command, status, (home / "stdout").read_bytes(), (home / "stderr").read_bytes(),
                      collect(home / "work"))
