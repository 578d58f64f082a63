"""Which file is the input: `@@` among other text in a word, with the bare driver and under afl-fuzz."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import harness
import pytest

from guest.fuzz.driver import Driver
from guest.fuzz.target import find_input, guest_words

LAUNCHER = [sys.executable, "-m", "guest.cli", "afl"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(harness.ROOT)}
#: Words with @@, and a directory for the input that makes it hard to tell where it begins.
WORDS = ["@@", "conf=/etc/passwd,in=@@", "@@,@@", "test -r /etc/passwd || exit 77; exit $(wc -c < @@)", "-I/etc:@@",
         "/usr/lib/@@", "see @@.", "@@ @@.out", "a=/tmp/,b=@@;c=@@/x"]
FOLDERS = ["out", "a b", "a=b, c/d.e", "x/.y/z", "-"]
ENDINGS = [".cur_input", ".cur_input.png", ".cur_input.tar.gz", ".afl-showmap-temp-1234", ".afl-tmin-temp-7"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("word", WORDS)
def test_input_is_found_in_a_word_with_other_paths(tmp_path: Path, word: str, folder: str, ending: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    path = f"{tmp_path}/{folder}/{ending}"
    argv = ["prog", "/etc/hosts", word.replace("@@", path)]
    assert find_input(argv) == path
    words, name = guest_words(argv, path)
    assert words == ["prog", "/etc/hosts", word.replace("@@", name)]


@pytest.mark.parametrize("variable", ["AFL_TMPDIR", "__AFL_OUT_DIR"])
def test_directory_that_afl_names_is_where_the_path_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                           variable: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x", str(tmp_path).lstrip("/"), "out").mkdir(parents=True)
    path = f"{tmp_path}/out/.cur_input"
    word = f"{tmp_path}/x{path}"
    assert find_input(["prog", word], {variable: "out"}) == find_input(["prog", word], {variable: f"{tmp_path}/out"})
    assert find_input(["prog", word], {variable: "out"}) == path
    assert find_input(["prog", word]) == word, "nothing tells that the whole word is not the path"


@pytest.mark.parametrize("folder", ["in", "a b, c=d/e.f"])
@pytest.mark.parametrize("word", ["test -r /etc/passwd || exit 77; exit $(wc -c < '@@')",
                                  "test -r /etc/passwd || exit 77; cat -- '@@' '@@' | (n=$(wc -c); exit $((n / 2)))"])
def test_program_gets_the_words_as_written(tmp_path: Path, folder: str, word: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    with Driver([*LAUNCHER, "--", "sh", "-c", word], str(tmp_path / folder), env=ENVIRONMENT, coverage=False) as driver:
        driver.wait_ready()
        assert [driver.run(b"x" * n).status >> 8 for n in (3, 0, 9)] == [3, 0, 9]


def test_afl_fuzz_puts_another_path_into_the_word(tmp_path: Path) -> None:
    """The seed crashes if the word arrives as it was written."""
    harness.need("afl-fuzz")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "seed").write_bytes(b"12345")
    script = "test -r /etc/passwd && test $(wc -c < @@) = 5 && kill -SEGV $$"
    done = subprocess.run(["afl-fuzz", "-U", "-i", "in", "-o", "out", "-V", "1", "--", *LAUNCHER, "--inst-libs", "--",
                           "sh", "-c", script], cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, timeout=90,
                          env={**ENVIRONMENT, "AFL_NO_AFFINITY": "1", "AFL_NO_UI": "1", "AFL_SKIP_CPUFREQ": "1",
                               "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES": "1", "AFL_FORKSRV_INIT_TMOUT": "60000"})
    text = done.stdout.decode(errors="replace")
    assert "results in a crash" in text, text
