"""A return, call or jump to where there is no code, and a stack that is nowhere: what handlers and reports see."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from harness import Unavailable, build, run_forkyard, run_native

WAYS = "ricjCJhkun"
TOOLCHAINS = ["gcc", "gcc-static", "gcc-static-pie", "musl-static"]


def program(toolchain: str, optimize: str) -> Path:
    try:
        return build("crash_branch.c", toolchain, ["-fno-stack-protector", "-w"], optimize)
    except Unavailable as error:
        pytest.skip(str(error))


def report(words: Sequence[str | Path]) -> dict[str, Any]:
    result = run_forkyard(words, command="crash", options=["--json"], paranoid=False)
    assert result.status == 0, result
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def write(folder: Path, ways: str) -> list[Path]:
    files = [folder / f"in-{number}" for number in range(len(ways))]
    for file, way in zip(files, ways, strict=True):
        file.write_text(way)
    return files


@pytest.mark.parametrize("way", WAYS)
def test_handler_sees_what_hardware_shows(way: str) -> None:
    path = program("gcc", "-O1")
    native = run_native([path, way])
    assert native.stdout.startswith(b"signal 11")
    guest = run_forkyard([path, way], options=["--deterministic"], paranoid=False)
    assert (guest.stdout, guest.status) == (native.stdout, native.status)


@pytest.mark.parametrize("optimize", ["-O1", "-O2"])
@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_two_smashed_stacks_are_two_bugs(tmp_path: Path, toolchain: str, optimize: str) -> None:
    """The report stands at the return itself, as gdb does."""
    found = report([program(toolchain, optimize), *write(tmp_path, "1212")])
    assert found["distinct"] == 2
    for one, function in zip(found["results"], ["smash_one", "smash_two"] * 2, strict=True):
        crash = one["crash"]
        assert crash["instruction"].startswith("ret")
        assert crash["access"] == {"kind": "execute", "address": "0x4141414141414141", "bytes": None, "operand": None}
        assert (crash["frames"][0]["function"], crash["frames"][1]["pc"]) == (function, "0x4141414141414141")
        assert function in crash["title"]


@pytest.mark.parametrize("way", "ricjCJh")
def test_report_stands_at_the_branch(tmp_path: Path, way: str) -> None:
    crash = report([program("gcc", "-O1"), *write(tmp_path, way)])["results"][0]["crash"]
    assert crash["instruction"].split()[0] == {"r": "ret", "i": "ret", "c": "call", "C": "call"}.get(way, "jmp")
    assert crash["registers"]["rsp"] == crash["registers"]["rbx"], "as it was in front of the branch"


@pytest.mark.parametrize("way", "kun")
def test_branch_to_an_unmapped_address_is_the_origin(tmp_path: Path, way: str) -> None:
    """Hardware takes it: only the last block tells where it was."""
    crash = report([program("gcc", "-O1"), *write(tmp_path, way)])["results"][0]["crash"]
    assert crash["registers"]["rip"] == crash["access"]["address"]
    assert crash["origin"][0]["function"] == f"way_{way}"


@pytest.mark.parametrize(("way", "instruction", "kind", "operand"), [
    ("x", "ret", "read", None), ("y", "push rax", "write", None), ("z", "mov rax, qword ptr [rbp + 8]", "read",
                                                                   "[rbp + 8]")])
def test_wild_stack_is_a_bus_error(tmp_path: Path, way: str, instruction: str, kind: str, operand: str | None) -> None:
    """The stack segment's fault is not that of the others."""
    crash = report([program("gcc", "-O1"), *write(tmp_path, way)])["results"][0]["crash"]
    verb = "write to" if kind == "write" else "read from"
    assert (crash["signal"], crash["code"], crash["what"]) == ("SIGBUS", "SI_KERNEL", f"{verb} a non-canonical address")
    assert crash["instruction"] == instruction
    address = {"x": 0x4141414141414141, "y": 0x4141414141414139, "z": 0x4141414141414149}[way]
    assert crash["access"] == {"kind": kind, "address": hex(address), "bytes": 8, "operand": operand}
    assert crash["frames"][0]["function"] == f"way_{way}"
