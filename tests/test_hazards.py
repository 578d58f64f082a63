"""The table of hazards in tests/README.md: every number is there, and every test that it names exists and is run."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
#: The numbers of the hazard list; the gaps are hazards that were merged with others.
NUMBERS = [*range(1, 11), *range(12, 21), *range(22, 26), *range(27, 40), *range(41, 50), 51, 53, 54, *range(56, 63),
           64]


def rows() -> dict[int, list[tuple[str, str]]]:
    """Hazard → (file, test) as the README has them."""
    found: dict[int, list[tuple[str, str]]] = {}
    for number, cells in re.findall(r"^\| (\d+) \| (.*) \|$", (HERE / "README.md").read_text(), re.MULTILINE):
        tests = []
        for part in cells.split("; "):
            file, names = re.fullmatch(r"`([\w.]+)`: (.*)", part).groups()  # type: ignore[union-attr]
            tests += [(file, name) for name in names.split(", ")]
        assert int(number) not in found, f"hazard {number} is there twice"
        found[int(number)] = tests
    return found


def test_every_hazard_has_a_test() -> None:
    assert list(rows()) == NUMBERS


def test_every_named_test_exists() -> None:
    python = "".join(path.read_text() for path in HERE.glob("test_*.py"))
    for number, tests in rows().items():
        for file, name in tests:
            if file.endswith(".c"):
                text = (HERE / "programs" / file).read_text()
                assert re.search(rf"^(FN_TEST|INJECT_FORKS)\({name}\b", text, re.MULTILINE), (number, file, name)
                stem = file.removesuffix(".c")
                assert f'"{stem}"' in python or f'"{file}"' in python, f"no test runs {file} (hazard {number})"
            else:
                assert f"def {name}(" in (HERE / file).read_text(), (number, file, name)


def test_hazard_programs_are_in_the_table() -> None:
    """A test that is named after a hazard is listed under it or under one that names the same file."""
    listed = {(file, number) for number, tests in rows().items() for file, _ in tests}
    for path in (HERE / "programs").glob("odf_*.c"):
        for digits in re.findall(r"FN_TEST\(h(\d\d)_", path.read_text()):
            assert (path.name, int(digits)) in listed, (path.name, digits)
