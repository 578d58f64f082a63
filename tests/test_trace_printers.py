"""The printers against strace: the same calls of the same host process, shown by both, must read the same.

No emulator takes part: ``ptrace_host`` feeds the tracer from a real process (see there).
"""

from __future__ import annotations

import contextlib
import difflib
import io
import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import trace_corpus
from harness import build
from ptrace_host import trace_host
from trace_normal import RACING, named, normal

import kernel.syscalls  # noqa: F401 -- fills the table
from guest.trace import TraceOptions, Tracer
from guest.trace.call import Style

PROGRAMS = Path(__file__).parent / "programs"
#: pids differ between the two runs; random bytes are random; the entry vector's address depends on the environment
SKIPPED = ("getuid(", "set_tid_address(", "getrandom(", "execve(", "getpid(", "gettid(", "getppid(")


def _strace_61() -> bool:
    try:
        version = subprocess.run(["strace", "-V"], capture_output=True, text=True, check=True).stdout
        probe = subprocess.run(["setarch", "-R", "strace", "-o", "/dev/null", "true"], capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return " 6.1\n" in version and probe.returncode == 0


pytestmark = pytest.mark.skipif(not _strace_61(), reason="needs strace 6.1 and permission to trace")


@pytest.fixture(scope="session")
def prober(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trace") / "prober"
    subprocess.run(["gcc", "-O1", "-static", "-o", path, PROGRAMS / "trace_prober.c"], check=True)
    return path


def _compare(argv: list[str], style: Style, *strace_options: str, directories: tuple[Path, Path] | None = None) -> None:
    env = {"PATH": os.environ["PATH"], "LANG": "C", "TZ": "UTC", "PYTHONHASHSEED": "0"}
    output = io.StringIO()
    null = os.open("/dev/null", os.O_RDWR)
    ours, theirs = directories or (None, None)
    with tempfile.NamedTemporaryFile(suffix=".strace") as log:
        subprocess.run(["setarch", "-R", "strace", "-o", log.name, *strace_options, *argv], env=env, cwd=theirs,
                       stdin=null, stdout=null, stderr=null)
        expected = _lines(Path(log.name).read_text(errors="replace"), theirs)
    with contextlib.chdir(ours) if ours else contextlib.nullcontext():
        trace_host(argv, lambda events: Tracer(events, output, TraceOptions(to_file=True, style=style)), env=env,
                   stdio=(null, null, null))
    os.close(null)
    actual = _lines(output.getvalue(), ours)
    if actual != expected:
        diff = list(difflib.unified_diff(expected, actual, "strace", "ours", lineterm="", n=0))
        pytest.fail("\n".join(line[:400] for line in diff[:60]) + f"\n({len(diff)} lines of difference)", pytrace=False)


def _lines(text: str, directory: Path | None) -> list[str]:
    lines = [line for line in text.splitlines() if not line.startswith(SKIPPED)]
    if directory is None:
        return lines
    made = re.findall(r"^(?:set_tid_address|clone)\(.* = (\d+)$", text, re.M)
    names = {pid: f"P{index}" for index, pid in reversed(list(enumerate(made)))}
    lines = [line.replace(str(directory), "HERE") for line in normal([named(line, names) for line in lines])]
    # where between the others these come is a race; that they come, and how they read, is not
    return [line for line in lines if not RACING.match(line)] + sorted(line for line in lines if RACING.match(line))


CORPORA = (trace_corpus.flags, trace_corpus.choices, trace_corpus.structures, trace_corpus.results)


@pytest.mark.parametrize("corpus", CORPORA, ids=lambda corpus: corpus.__name__)
def test_each_call_is_shown_as_strace_shows_it(prober: Path, tmp_path: Path, corpus: Callable[[], list[str]]) -> None:
    calls = tmp_path / "calls"
    calls.write_text("\n".join(corpus()) + "\n")
    _compare([str(prober), str(calls)], Style())


REAL = [["/bin/ls", "-l", "/etc"], ["/bin/cat", "/etc/passwd"], ["/bin/date", "-u", "-d", "@0"]]


@pytest.mark.parametrize("program", REAL, ids=lambda program: program[0])
def test_real_programs_in_full(program: list[str], tmp_path: Path) -> None:
    copy = tmp_path / Path(program[0]).name
    copy.write_bytes(Path(program[0]).read_bytes())
    copy.chmod(0o755)
    _compare([str(copy), *program[1:]], Style(verbose=True), "-v")


def test_calls_with_real_effects(tmp_path: Path) -> None:
    python = Path("/usr/bin/python3")
    if not python.exists():
        pytest.skip("no /usr/bin/python3")
    for name in ("strace", "ours"):
        (tmp_path / name).mkdir()
    program = [str(python), "-SP", str(PROGRAMS / "trace_calls.py"), "inet"]
    _compare(program, Style(), directories=(tmp_path / "ours", tmp_path / "strace"))


@pytest.mark.parametrize("program", ["mem_badptr", "mem_remap", "ipc_epoll", "ipc_splice", "signals_frame"])
def test_the_programs_of_other_tests(program: str, tmp_path: Path) -> None:
    """What other tests do to the kernel is what a tracer has to show: bad pointers in every call, odd frames."""
    for name in ("strace", "ours"):
        (tmp_path / name).mkdir()
    _compare([str(build(f"{program}.c"))], Style(), directories=(tmp_path / "ours", tmp_path / "strace"))


def test_longer_strings_and_hexadecimal(tmp_path: Path) -> None:
    copy = tmp_path / "cat"
    copy.write_bytes(Path("/bin/cat").read_bytes())
    copy.chmod(0o755)
    _compare([str(copy), "/etc/passwd"], Style(string_limit=100, hex_strings=1), "-s100", "-x")
    _compare([str(copy), "/etc/passwd"], Style(string_limit=5, hex_strings=2), "-s5", "-xx")
