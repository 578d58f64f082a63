"""Which words of ``forkyard crash`` are the program's and which are inputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from guest.fuzz.crash_inputs import InputsError, Job, find_job


@pytest.fixture(autouse=True)
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory as afl-fuzz leaves it, and some other files."""
    monkeypatch.chdir(tmp_path)
    crashes = tmp_path / "out" / "default" / "crashes"
    crashes.mkdir(parents=True)
    for name in ("id:000000,sig:11", "id:000001,sig:06", "README.txt", ".hidden"):
        (crashes / name).write_text(name)
    (crashes / "directory").mkdir()
    (tmp_path / "target").write_text("a program")
    (tmp_path / "config").write_text("a file of the program's")
    (tmp_path / "empty").mkdir()
    return crashes


BOTH = ["out/default/crashes/id:000000,sig:11", "out/default/crashes/id:000001,sig:06"]


def stats(command: str) -> None:
    Path("out/default/fuzzer_stats").write_text(f"start_time        : 1\ncommand_line      : {command}\n")


def sorted_out(words: str, *named: str) -> tuple[list[str], str | None, list[str]]:
    job: Job = find_job(words.split(), named)
    return job.argv, job.placeholder, job.inputs


@pytest.mark.parametrize(("words", "named", "argv", "placeholder"), [
    # the form of the README: a shell has expanded crashes/*
    (f"./target {' '.join(BOTH)}", (), "./target", None),
    ("./target out/default/crashes", (), "./target", None),
    (f"./target -x {' '.join(BOTH)} out/default/crashes/README.txt", (), "./target -x", None),
    ("./target -x @@ out/default/crashes", (), "./target -x @@", "@@"),
    ("./target --in=@@ out/default/crashes", (), "./target --in=@@", "@@"),
    # a device is no input, and a file before @@ is the program's
    ("./target config @@ /dev/null ::: out/default/crashes", (), "./target config @@ /dev/null", "@@"),
    ("./target config @@ out/default/crashes", (), "./target config @@", "@@"),
    ("./target -c config ::: out/default/crashes", (), "./target -c config", None),
    ("./target ::: config ::: out/default/crashes", (), "./target ::: config", None),
    ("./target @@ config", ("out/default/crashes",), "./target @@ config", "@@"),
    ("./target config", tuple(BOTH), "./target config", None),
])
def test_words(words: str, named: tuple[str, ...], argv: str, placeholder: str | None) -> None:
    assert sorted_out(words, *named) == (argv.split(), placeholder, BOTH)


@pytest.mark.parametrize(("words", "message"), [
    ("./target", "no inputs"), ("./target empty", "no files in empty"), ("::: config", "which program"),
    ("./target ::: missing", "missing: No such file or directory"),
    ("./target out/default/crashes/README.txt", "no files in"),
    ("./target config @@ /dev/null", "no inputs"),
])
def test_what_is_missing_is_said(words: str, message: str) -> None:
    with pytest.raises(InputsError, match=message):
        find_job(words.split(), [])


@pytest.mark.parametrize(("command", "words", "argv"), [
    ("afl-fuzz -U -i in -o out -- forkyard afl --seed 3 -- ./target -x @@", "./target", "./target -x @@"),
    ("afl-fuzz -i in -o out -- /elsewhere/target @@ /dev/null", "./target", "./target @@ /dev/null"),
    ("afl-fuzz -i in -o out -- forkyard afl ./target -x @@", "./target -x", "./target -x @@"),
    # other arguments, another program, and a campaign on stdin: nothing can be concluded
    ("afl-fuzz -i in -o out -- ./target -x @@", "./target -y", "./target -y"),
    ("afl-fuzz -i in -o out -- ./other @@", "./target", "./target"),
    ("afl-fuzz -i in -o out -- ./target -x", "./target -x", "./target -x"),
    ("", "./target", "./target"),
])
def test_campaign_says_how_the_input_goes_in(command: str, words: str, argv: str) -> None:
    stats(command)
    job = find_job([*words.split(), "out/default/crashes"], [])
    assert job.argv == argv.split() and job.inputs == BOTH
    assert job.placeholder == ("@@" if "@@" in argv else None)
    assert (job.notice is None) == (argv == words)


def test_what_the_user_says_counts_before_the_campaign() -> None:
    stats("afl-fuzz -i in -o out -- ./target -x @@")
    assert sorted_out("./target -y @@ out/default/crashes") == (["./target", "-y", "@@"], "@@", BOTH)


def test_names_that_are_no_text() -> None:
    Path("out/default/fuzzer_stats").write_bytes(b"command_line : afl-fuzz -- ./t\xff @@\n\xff\n")
    Path("bad\udcff").write_text("")
    assert sorted_out("./target bad\udcff")[2] == ["bad\udcff"]
    assert sorted_out("./target out/default/crashes")[2] == BOTH
