"""forkyard bench: what is reported is complete and says what was done. Never how long anything took."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import harness
import pytest

EXPERIMENTS = {
    "fork": ("--sizes", "8M,16M"),
    "fault": ("--size", "8M"),
    "access": ("--size", "4M"),
    "server": ("--size", "8M", "--tables", "0,2"),
}
CONTESTANTS = ["classic", "odf 1", "odf 2", "host"]


def bench(*words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", "guest.cli", "bench", *words], cwd=harness.ROOT, text=True,
                          capture_output=True, timeout=200)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def experiment(name: str, *words: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(bench(name, *EXPERIMENTS[name], "--rounds", "1", "--json", *words).stdout)
    assert report["experiment"] == name
    assert report["complete"]
    assert report["notes"] == []
    return report


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_row_has_every_contestant(name: str) -> None:
    report = experiment(name)
    for row, values in report["rows"].items():
        assert list(values) == CONTESTANTS, row
        for contestant, times in values.items():
            assert times["count"] > 0
            assert 0 < times["best"] <= times["median"], (row, contestant)
    for table in report["tables"]:
        assert table["rows"]
        assert all(len(row) == len(table["headings"]) for row in table["rows"])


def test_fork_counts_the_entries_that_each_kind_visits() -> None:
    report = experiment("fork", "--no-host")
    visited = {row[0]: [int(cell) for cell in row[1:4]] for row in report["tables"][1]["rows"]}
    bare, small, large = visited["nothing more"], visited["8 MiB"], visited["16 MiB"]
    # 8 MiB are 2048 pages in four tables, five where they are not aligned; one table above them.
    assert small[0] - bare[0] == large[0] - small[0] == 2048
    assert 4 <= small[1] - bare[1] <= 5
    assert large[1] - small[1] == 4
    assert bare[2] == small[2] == large[2]
    assert list(report["rows"]["8 MiB"]) == CONTESTANTS[:3]


def test_access_and_server_have_all_points() -> None:
    rows = experiment("access")["rows"]
    assert set(rows) == {f"{reads}/{step}" for reads in (0, 50, 100) for step in range(11)}
    assert set(experiment("server")["rows"]) == {"7/0", "7/1", "7/3", "8/0", "8/2"}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_tables_pictures_and_markers(name: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n<!-- bench {name}: begin -->\nold\n<!-- bench {name}: end -->\nafter\n")
    picture = tmp_path / f"{name}.svg"
    done = bench(name, *EXPERIMENTS[name], "--rounds", "1", "--write", str(page), "--plot", str(picture))
    assert "on demand, level 1" in done.stdout
    assert "Medians; " in done.stdout
    text = page.read_text()
    assert text.startswith(f"before\n<!-- bench {name}: begin -->\n")
    assert text.endswith(f"<!-- bench {name}: end -->\nafter\n")
    assert "old" not in text
    for table in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1
    words = "".join(ElementTree.parse(picture).getroot().itertext())
    for label in ("classic fork", "on demand, level 1", "on demand, level 2", "host's own fork"):
        assert label in words
    # A line for each process that was run.
    lines = [line for line in done.stderr.splitlines() if re.match(r"\d+/\d+ ", line)]
    assert lines[-1].startswith(f"{len(lines)}/{len(lines)} ")


def test_png(tmp_path: Path) -> None:
    picture = tmp_path / "fork.PNG"
    bench("fork", "--sizes", "8M", "--rounds", "1", "--no-host", "--plot", str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("words", "message"), [
    (("fork", "--sizes", "64M,many"), "'many' is not a size"),
    (("fork", "--sizes", "2T"), "2T is too much"),
    (("fork", "--sizes", ""), "is not a size"),
    (("fault", "--size", "4.5M"), "4.5M is not a whole number of MiB"),
    (("server", "--tables", "1,-2"), "a number is negative"),
    (("server", "--tables", "x"), "is not a list of numbers"),
    (("access", "--rounds", "0"), "0 is not in the range"),
    (("--best", "fork"), "--best belongs behind fork"),
    (("fork", "--plot", "fork.pdf"), "fork.pdf: a picture is .png or .svg"),
    (("fork", "--plot", "/no/such/folder/fork.png"), "/no/such/folder/fork.png: cannot be written"),
    (("fork", "--write", "/no/such/file"), "/no/such/file: No such file or directory"),
    (("fork", "--write", "pyproject.toml"), "pyproject.toml: there are no markers for bench fork"),
    (("--row", "no such row"), "no row is called no such row"),
])
def test_wrong_usage_is_told_before_anything_is_measured(words: tuple[str, ...], message: str) -> None:
    done = bench(*words, status=2)
    assert message in done.stderr
    assert done.stdout == ""
    assert not re.search(r"^\d+/\d+ ", done.stderr, re.MULTILINE)


def test_ctrl_c_shows_what_was_measured() -> None:
    process = subprocess.Popen([sys.executable, "-m", "guest.cli", "bench", "fork", "--sizes", "8M", "--rounds", "90"],
                               cwd=harness.ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None
    while not (line := process.stderr.readline()).startswith("2/"):
        assert line, "it has ended"
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "forkyard: interrupted; this is what was measured so far" in errors
    assert "nothing more" in output
    assert "on demand, level 1" in output


def test_ctrl_c_ends_the_plain_bench() -> None:
    process = subprocess.Popen([sys.executable, "-m", "guest.cli", "bench", "--row", "getp", "--no-cold", "--json"],
                               cwd=harness.ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("1/3 system call in Python (getpgid): ")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in errors
    assert json.loads(output)["rows"][0]["name"] == "system call in Python (getpgid)"


def test_plain_bench() -> None:
    report = json.loads(bench("--row", "system call", "--rounds", "1", "--json").stdout)
    assert [row["name"] for row in report["rows"]] == ["system call in Python (getpgid)",
                                                       "system call in the hook (getppid)"]
    assert all({"native", "forkyard"} <= row["values"].keys() for row in report["rows"])


def test_readme_has_each_experiment_and_the_picture() -> None:
    text = (harness.ROOT / "README.md").read_text()
    for name in EXPERIMENTS:
        part = re.search(rf"^<!-- bench {name}: begin.*?-->\n(.*?)^<!-- bench {name}: end -->$", text,
                         re.MULTILINE | re.DOTALL)
        assert part is not None, name
        assert "| figure | measured | to reach |" in part[1]
        assert f"forkyard bench {name}" in text
    picture = re.search(r"!\[.*?\]\((examples/\S+\.svg)\)", text)
    assert picture is not None
    words = "".join(ElementTree.parse(harness.ROOT / picture[1]).getroot().itertext())
    assert "50 GiB" in words
    assert "paper: on demand" in words
