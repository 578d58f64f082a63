"""The harness and test.h themselves, natively (no emulator needed)."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import TOOLCHAINS, Batch, Case, Result, build, difference, run_native

SELFTEST = """\
ok passes
FAIL succ_fails selftest.c:13 close(-1): EBADF
FAIL errno_fails selftest.c:15 close(-1): EBADF, not ENOENT
FAIL child_fails selftest.c:17 "a" is "a", not "b"
FAIL child_dies selftest.c:22 the child ended with wait status 0x300
ok faults
"""


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_header_reports_failures(toolchain: str) -> None:
    result = run_native([build("selftest.c", toolchain)])
    assert (result.text, result.status) == (SELFTEST, 1)


def test_header_chooses_tests() -> None:
    result = run_native([build("selftest.c"), "classic", "faults"])
    assert (result.text, result.status) == ("ok faults\n", 0)
    assert run_native([build("selftest.c"), "-l"]).text.split()[:2] == ["passes", "succ_fails"]


def test_signals_are_128_plus_n() -> None:
    assert run_native(["sh", "-c", "kill -TERM $$"]).status == 143


def test_files_are_collected_and_compared(scratch: Path) -> None:
    def run(script: str) -> Result:
        return run_native(["sh", "-c", script], cwd=scratch, files={"a": "1", "d/b": (b"2", 0o755)})

    first = run("echo 3 > c; ln -s a l")
    assert first.files["d/b"] == ("file", 0o755, b"2")
    assert first.files["l"] == ("link", 0, b"a")
    assert difference(first, run("echo 3 > c; ln -s a l")) == ""
    assert "file c" in difference(first, run("echo 4 > c; ln -s a l"))
    assert "exit status" in difference(first, run("echo 3 > c; ln -s a l; exit 2"))


def test_batch_runs_each_case_in_its_own_directory(scratch: Path) -> None:
    batch = Batch(scratch, {
        "pwd": Case(["sh", "-c", "pwd; cat; echo e >&2; echo x > f"], stdin=b"in"),
        "dies": Case(["sh", "-c", "kill -9 $$"]),
        "missing": Case(["/nonexistent"]),
        "slow": Case(["sleep", "100"]),
    }, seconds=5)
    _, results = batch.run("native")
    assert results["pwd"].text == f"{scratch}/pwd/work\nin"
    assert results["pwd"].stderr == b"e\n"
    assert results["pwd"].files["f"] == ("file", 0o644, b"x\n")
    assert [results[name].status for name in ("dies", "missing", "slow")] == [137, 127, 137]
