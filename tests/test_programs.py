"""Debian's real programs, byte for byte as natively, with use_odf 0 and 1 (the command lines: program_cases.py)."""

from __future__ import annotations

from pathlib import Path

import program_cases
import pytest
from harness import Batch, build, check, need, run_forkyard, run_native

GROUPS = {
    "scripts": program_cases.scripts(),
    "applets": program_cases.applets(),
    "tools": program_cases.tools(),
    "python": program_cases.python(),
}


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Batch]:
    """One emulator process for each group and kind of fork."""
    return {name: Batch(tmp_path_factory.mktemp(name), cases) for name, cases in GROUPS.items()}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("group", "name"), [(group, name) for group, cases in GROUPS.items() for name in cases], ids=lambda value: value
)
def test_command_line(batches: dict[str, Batch], group: str, name: str, odf: int) -> None:
    batches[group].compare(name, odf)


def test_at_least_sixty_applets() -> None:
    assert len(GROUPS["applets"]) >= 60


HELLO = '#include <stdio.h>\nint main(int c, char **v) { printf("hello %d %s\\n", c, v[c - 1]); return 3; }\n'


@pytest.mark.timeout(900)
def test_gcc_builds_a_program_that_runs(odf: int, scratch: Path) -> None:
    """The guest's compiler driver, compiler, assembler and linker; then what they made."""
    need("gcc")
    check(
        ["sh", "-c", "gcc -O1 hello.c -o hello && ./hello world; echo $?; rm -f hello; gcc -c bad.c; echo $?"],
        odf=[odf],
        cwd=scratch,
        files={"hello.c": HELLO, "bad.c": "int x = ;\n"},
        status=0,
        timeout=600,
        paranoid=False,
    )


@pytest.mark.parametrize("toolchain", ["gcc", "gcc-static", "gcc-fixed", "gcc-static-pie", "musl", "musl-static"])
def test_every_kind_of_executable(toolchain: str, tmp_path: Path) -> None:
    source = tmp_path / "hello.c"
    source.write_text(HELLO)
    check([build(source, toolchain), "a b"], status=3)


def test_stdin_is_passed_through(odf: int) -> None:
    data = bytes(range(256)) * 1000
    check(["cat"], odf=[odf], stdin=data)
    need("busybox")
    check([program_cases.BUSYBOX, "md5sum"], odf=[odf], stdin=data)


def test_exit_status_of_signals() -> None:
    need("busybox")
    for number, odf in ((1, 0), (9, 1), (11, 0), (15, 1)):
        check([program_cases.BUSYBOX, "sh", "-c", f"kill -{number} $$"], odf=[odf], status=128 + number)


def test_use_odf_switch(scratch: Path) -> None:
    """/proc/<pid>/use_odf; the host has no such file, so the program knows what to expect."""
    result = run_forkyard([build("odf_switch.c")], cwd=scratch)
    assert "FAIL" not in result.text and result.status == 0, str(result)
    assert run_native([build("odf_switch.c"), "-l"]).text == "".join(
        line.removeprefix("ok ") for line in result.text.splitlines(keepends=True)
    )
