"""The file system calls of real programs: natively and under Forkyard, in the overlay and in a --writable directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import harness

CALLS = ["files_open.c", "files_names.c", "files_attrs.c"]


@pytest.mark.parametrize("source", CALLS)
def test_every_call_in_the_overlay(tmp_path: Path, source: str) -> None:
    program = harness.build(source, flags=["-Wno-nonnull"])
    for name in ("native", "guest"):
        (tmp_path / name).mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    native = harness.run_native([program], cwd=tmp_path / "native")
    guest = harness.run_forkyard([program], cwd=tmp_path / "guest")
    wrong = harness.difference(native, guest)
    assert not wrong, wrong
    assert native.status == 0
    assert not list((tmp_path / "guest").iterdir()), "the overlay let a change through to the host"


@pytest.mark.parametrize("source", CALLS)
def test_every_call_in_a_writable_directory(tmp_path: Path, source: str) -> None:
    program = harness.build(source, flags=["-Wno-nonnull"])
    tmp_path.chmod(0o755)
    harness.check([program, "shared"], cwd=tmp_path / "work", files={}, odf=(0,), status=0)


def test_inotify(tmp_path: Path) -> None:
    program = harness.build("files_inotify.c")
    for name in ("native", "overlay"):
        (tmp_path / name).mkdir()
    native = harness.run_native([program], cwd=tmp_path / "native")
    wrong = harness.difference(native, harness.run_forkyard([program], cwd=tmp_path / "overlay"))
    assert not wrong, wrong
    harness.check([program], cwd=tmp_path / "work", files={}, odf=(0,), status=0)


@pytest.mark.parametrize("seed", [14, 17])
def test_random_calls(tmp_path: Path, seed: int) -> None:
    program = harness.build("files_random.c", flags=["-Wno-format-overflow", "-Wno-unused-variable"])
    for name in ("native", "overlay"):
        (tmp_path / name).mkdir()
    argv = [program, str(seed), "3000"]
    native = harness.run_native(argv, cwd=tmp_path / "native")
    wrong = harness.difference(native, harness.run_forkyard(argv, cwd=tmp_path / "overlay"))
    assert not wrong, wrong
    harness.check(argv, cwd=tmp_path / "work", files={}, odf=(0,), status=0)


def test_writing_what_runs_and_mapping_what_is_written(tmp_path: Path) -> None:
    program = harness.build("files_exec.c")
    harness.check([program], cwd=tmp_path / "work", files={}, odf=(0, 1), status=0)
