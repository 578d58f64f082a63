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
from guest.commands import main

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


def options_of(words: str) -> set[str]:
    """The options of a command, ``bench fork`` say."""
    command: click.Command = main
    for word in words.split():
        assert isinstance(command, click.Group), words
        command = command.commands[word]
    return {text for parameter in command.params if isinstance(parameter, click.Option)
            for text in (*parameter.opts, *parameter.secondary_opts)}


def options_in(text: str) -> set[str]:
    """The options in backquotes, those before a `` -- `` at least; -ff is -f."""
    words = [word for quoted in re.findall(r"`([^`]+)`", text) if "pip install" not in quoted
             for word in quoted.split(" -- ")[0].split()]
    return {re.sub(r"^-(\w)\1$", r"-\1", re.split(r"[/,]", word)[0]) for word in words if re.match(r"--?\w", word)}


def commands_of(head: str, first: str) -> list[str]:
    """The commands that a row of a table is about, by the table's first heading and the row's first cell."""
    if head == "command":
        found = [" ".join(filter(None, pair)) for pair in re.findall(r"`forkyard ([a-z]+)(?: ([a-z]+))?", first)]
        return found + [f"bench {name}" for name in re.findall(r"/ `([a-z]+)`", first)]
    return re.findall(r"`([a-z]+)`", head) or ["run", "trace"]


def test_readme_tables_name_options_that_exist() -> None:
    checked = set()
    for head, body in re.findall(r"^\| (option[^|]*|command) \| .*\n\| --- .*\n((?:\|.*\n)+)", README, re.M):
        for row in body.splitlines():
            first, rest = row.removeprefix("| ").replace("\\|", "/").split(" | ", 1)
            for command in commands_of(head, first):
                claimed = options_in(first + rest if head == "command" else first)
                assert claimed <= options_of(command), f"{command}: {row}"
                checked |= {(command, option) for option in claimed}
    assert {("run", "--swap"), ("trace", "-y"), ("afl", "--fork-at"), ("fuzz", "-i"),
            ("bench server", "--plot")} <= checked


def test_readme_examples_use_options_that_exist() -> None:
    """``forkyard COMMAND OPTIONS -- …``, wherever it stands."""
    seen = set()
    for text in re.findall(r"forkyard ([a-z][^`\n]*)", README):
        words = re.split(r" -- | #", text)[0].split()
        command = " ".join(words[:2] if words[0] == "bench" and words[1:] and words[1].isalpha() else words[:1])
        if command.split()[0] in main.commands:
            seen.add(command)
            used = {found[0] for word in words if (found := re.match(r"--?[a-z][a-z-]*", word))}
            assert used <= options_of(command), text
    assert {"run", "trace", "fuzz", "crash", "bench fork"} <= seen


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
