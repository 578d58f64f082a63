"""The shape of the source: imports go down only, one package knows unicorn, files stay short."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ["emu", "kernel", "guest"]
"""From the ground up: a package may import itself and what stands before it."""
FILES = [path for floor in FLOORS for path in sorted((ROOT / floor).rglob("*.py"))]
MAX_LINES = 450
TOP_LEVEL = {"pyproject.toml", "README.md", "emu", "kernel", "guest", "tests", "examples"}
#: Names besides these and dotfiles that a repository has.
USUAL = {"LICENSE", "CHANGELOG.md"}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, absolute name of the module) of every import, those inside functions and TYPE_CHECKING included."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            yield node.lineno, ".".join(filter(None, [above, node.module]))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    floor = FLOORS.index(path.relative_to(ROOT).parts[0])
    for line, name in imports(path):
        top = name.partition(".")[0]
        assert top not in FLOORS[floor + 1 :], f"{path}:{line} imports {name}, which is above it"
        assert top not in ("tests", "examples"), f"{path}:{line} imports {name}"
        assert top != "unicorn" or floor == 0, f"{path}:{line}: only emu/ imports unicorn"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MAX_LINES, f"{path} has {lines} lines: split it by subject"


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.relative_to(ROOT).parts[0] != "guest"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_machine_and_kernel_print_nothing(path: Path) -> None:
    """They tell observers; only guest/ talks to people.

    A module that is a program of its own talks to whoever runs it; while compiling, emu.native is part of one.
    """
    if path.name == "native.py" or 'if __name__ == "__main__":' in path.read_text():
        return
    calls = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not calls, f"{path} prints at line {calls}"


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name == "mm"], ids=lambda path: path.name)
def test_entries_are_stored_in_one_place(path: Path) -> None:
    """kernel/mm/entries.py asserts the rule of fork on demand; what goes past it is not asserted."""
    stores = re.findall(r"store64\((?:slot|source|target|entry|entries|pte_slot|pmd_slot|pud_slot|entry_slot)\b.*",
                        path.read_text())
    assert path.name == "entries.py" or not stores, f"{path} stores to entries itself: {stores}"


def tracked() -> set[str]:
    """The names at the top of the repository that git knows."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    return {name.split("/")[0] for name in done.stdout.splitlines()}


def test_top_level_holds_what_it_should() -> None:
    names = {name for name in tracked() if not name.startswith(".")}
    if not names:
        pytest.skip("not a git work tree")
    assert names <= TOP_LEVEL | USUAL, f"not expected at the top: {sorted(names - TOP_LEVEL - USUAL)}"
    assert names >= {"pyproject.toml", "emu", "kernel", "guest", "tests"}


@pytest.mark.parametrize("package", FLOORS)
def test_packages_have_a_page_for_newcomers(package: str) -> None:
    readme = ROOT / package / "README.md"
    assert readme.exists(), f"{package}/README.md is missing"
    assert 10 <= len(readme.read_text().splitlines()) <= 120


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_say_what_they_are(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree) or not tree.body, f"{path} has no docstring"
