"""What is written about Forkyard agrees with what it is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import harness
import pytest

import guest
from guest import coverage, markers
from guest.cli import main

ROOT = harness.ROOT
README = (ROOT / "README.md").read_text()


def test_table_of_system_calls_is_current() -> None:
    current = markers.replace(README, "system calls", coverage.readme_table())
    assert current == README, "run: forkyard syscalls --write README.md"


def test_no_call_is_counted_twice() -> None:
    names = [name for names in coverage.families().values() for name in names]
    assert len(names) == len(set(names))
    assert not set(names) & set(coverage.missing().values())


def test_every_command_and_option_has_help() -> None:
    for name, command in main.commands.items():
        assert command.help, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} {parameter.name}"


def test_readme_names_every_command_and_option_of_run() -> None:
    for name in main.commands:
        assert f"`forkyard {name}" in README, name
    for parameter in main.commands["run"].params:
        if isinstance(parameter, click.Option):
            long = next(text for text in parameter.opts if text.startswith("--"))
            assert f"`{long}" in README, long


def test_readme_commands_are_those_of_ci() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    for name in ("install", "test"):
        assert f"<!-- {name}: begin" in README
        assert f"<!-- {name}: end -->" in README
        assert f"readme {name} | sh" in script


@pytest.mark.parametrize("package", ["emu", "kernel", "guest", "tests"])
def test_package_pages_name_files_that_exist(package: str) -> None:
    folder = ROOT / package
    text = (folder / "README.md").read_text()
    for name in re.findall(r"`([\w/]+(?:\.py|\.h|/))`", text):
        assert (ROOT / name).exists() or any(folder.rglob(name.rstrip("/"))), f"{package}/README.md names {name}"


def test_version_is_in_the_changelog() -> None:
    assert f"## {guest.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_top_level_is_tidy() -> None:
    known = {"CHANGELOG.md", "LICENSE", "README.md", "emu", "examples", "guest", "kernel", "pyproject.toml", "tests"}
    ours = {path.name for path in ROOT.iterdir() if not path.name.startswith(".") and not _ignored(path)}
    assert ours <= known


def _ignored(path: Path) -> bool:
    return path.name in ("build", "dist", "__pycache__") or path.name.endswith(".egg-info")


def test_example_runs() -> None:
    example = str(ROOT / "examples" / "process_tree.py")
    command = [sys.executable, example, "/bin/busybox", "sh", "-c", "(exit 3); exit 4"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stderr) == (4, "")
    first, second = done.stdout.splitlines()
    assert first.endswith("/bin/busybox: started, exit 4")
    assert "forked on demand" in second
    assert second.endswith("exit 3")
