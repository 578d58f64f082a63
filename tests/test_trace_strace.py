"""``forkyard trace -f`` against host ``strace -f``, line by line, over real programs of one process.

Names, arguments, results and order must be the same; what may differ is listed, with its reason, in trace_normal.py.
"""

from __future__ import annotations

import difflib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from harness import ENVIRONMENT, ROOT, build
from test_trace_printers import pytestmark  # noqa: F401 -- needs strace 6.1 here too
from trace_normal import normal, processes

#: Python's dictionaries, and so when its heap grows, would depend on a random seed.
ENV = {**ENVIRONMENT, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}

PROGRAMS = [
    ["true"],
    ["cat", "/etc/passwd"],
    ["ls", "-l", "/usr/share/doc/bash"],
    ["grep", "-c", "root", "/etc/passwd"],
    ["sed", "-n", "s/root/ROOT/p", "/etc/passwd"],
    ["sort", "-t:", "-k3", "-n", "/etc/passwd"],
    ["head", "-n", "3", "/etc/passwd"],
    ["tail", "-n", "3", "/etc/passwd"],
    ["wc", "/etc/passwd"],
    ["date", "-u", "-d", "@0"],
    ["uname", "-s"],
    ["id"],
    ["find", "/etc/default"],
    ["cksum", "/etc/passwd"],
    ["tar", "-cf", "/dev/null", "/etc/default"],
    ["gzip", "-c", "/etc/passwd"],
    ["sqlite3", ":memory:", "create table t(a); insert into t values (1),(2); select sum(a) from t"],
    ["gawk", "-F:", "{ n++ } END { print n }", "/etc/passwd"],
    ["/usr/bin/python3", "-c", "pass"],
    ["bash", "-c", "echo $((6 * 7)); cd /; pwd; exit 3"],
    ["busybox", "ls", "-l", "/etc/default"],
    ["busybox", "sha256sum", "/etc/passwd"],
    ["busybox", "cp", "/etc/passwd", "copy"],
    ["busybox", "mkdir", "-p", "a/b/c"],
    ["busybox", "sh", "-c", "echo hello > f; read word < f; test -s f && echo $word"],
    ["mv", "nosuch", "other"],
    ["touch", "new"],
    ["cat", "/nonexistent", "/etc/hostname"],
]


def _lines(path: Path) -> list[str]:
    return [re.sub(r"^\d+ +", "", line) for line in path.read_text(errors="replace").splitlines()]


def _both(argv: list[str], tmp_path: Path) -> tuple[list[str], list[str]]:
    program = shutil.which(argv[0], path=ENVIRONMENT["PATH"])
    if program is None:
        pytest.skip(f"no {argv[0]} on this host")
    traces = []
    for name, command in (
        ("strace", ["strace", "-f", "-s", "64", "-o"]),
        ("ours", [sys.executable, "-m", "guest.cli", "trace", "-f", "-s", "64", "-o"]),
    ):
        work = tmp_path / "work"
        work.mkdir()
        log = tmp_path / f"{name}.log"
        tail = ["--", *argv] if name == "ours" else argv
        done = subprocess.run([*command, str(log), *tail], cwd=work, env=ENV, stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=120)
        assert log.exists(), done.stderr.decode(errors="replace")
        status = done.returncode if done.returncode >= 0 else 128 - done.returncode  # a signal, as a shell says it
        traces.append((status, normal(_lines(log))))
        shutil.rmtree(work)
    assert traces[0][0] == traces[1][0], "exit status"
    return traces[0][1], traces[1][1]


def _check(argv: list[str], tmp_path: Path) -> None:
    expected, actual = _both(argv, tmp_path)
    _same(expected, actual)
    assert len(actual) > 3


def _same(expected: list[str], actual: list[str]) -> None:
    if actual != expected:
        diff = list(difflib.unified_diff(expected, actual, "strace", "forkyard trace", lineterm="", n=1))
        pytest.fail("\n".join(line[:300] for line in diff[:60]) + f"\n({len(diff)} lines)", pytrace=False)


@pytest.mark.parametrize("argv", PROGRAMS, ids=lambda argv: " ".join(argv)[:40])
def test_single_process_traces_are_equal(argv: list[str], tmp_path: Path) -> None:
    _check(argv, tmp_path)


def test_a_static_program_of_ours(tmp_path: Path) -> None:
    _check([str(build("trace_signals.c"))], tmp_path)


def test_calls_of_every_kind(tmp_path: Path) -> None:
    """trace_prober.c's harmless lists: here the kernel's errors are compared as well as the tracer's words."""
    import trace_corpus

    prober = build("trace_prober.c")
    calls = tmp_path / "calls"
    calls.write_text("\n".join(trace_corpus.results()) + "\n")
    _check([str(prober), str(calls)], tmp_path)


SCRIPTS = {
    "pipeline": "echo a | cat | wc -c; for i in 1 2; do /bin/true; done; x=$(ls /etc/default | sort -r); exit 5",
    "gcc": "gcc -pipe -c hello.c && gcc hello.c -o hello && ./hello",
    "calls": f"exec /usr/bin/python3 -SP {ROOT}/tests/programs/trace_calls.py",
    "busybox": "busybox sh -c 'busybox echo a | busybox cat; (exit 4); exit $?'",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_process_of_many(script: str, tmp_path: Path) -> None:
    """Only the order between processes depends on scheduling: each process's own lines agree."""
    traces = []
    for name, command in (("strace", ["strace", "-f", "-o"]),
                          ("ours", [sys.executable, "-m", "guest.cli", "trace", "-f", "-o"])):
        work = tmp_path / "work"
        work.mkdir()
        (work / "hello.c").write_text('#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n')
        log = tmp_path / name
        tail = ["--"] if name == "ours" else []
        done = subprocess.run([*command, str(log), *tail, "bash", "-c", SCRIPTS[script]], env=ENV, cwd=work,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=200)
        assert log.exists(), done.stderr.decode(errors="replace")
        traces.append(processes(log.read_text(errors="replace")))
        shutil.rmtree(work)
    assert len(traces[0]) == len(traces[1]) > 2
    for expected, actual in zip(*traces, strict=True):
        _same(expected, actual)
