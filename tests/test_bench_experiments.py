"""The experiments of forkyard bench with values made up: marks, ratios, what is left out, and the bench programs."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from guest.bench import experiment_command, experiment_report, fuzz_runs, plot
from guest.bench.access import AccessExperiment
from guest.bench.contestants import ALL, CLASSIC, FORKYARD, HOST, ODF1, ODF2, OURS, SESSIONS
from guest.bench.experiment import Run
from guest.bench.experiment_command import Show, run_experiment
from guest.bench.fault import FaultExperiment
from guest.bench.figures import digits, duration, size_text
from guest.bench.fork import BARE, ForkExperiment
from guest.bench.fuzz import ACCOUNT, TINY, FuzzExperiment, FuzzRun
from guest.bench.measure import MeasureError, Outcome, observe
from guest.bench.server import ServerExperiment
from guest.build import build


def marks(experiment: object) -> dict[str, tuple[str, bool]]:
    return {mark.figure: (mark.measured, mark.reached) for mark in experiment.marks()}  # type: ignore[attr-defined]


def filled_fork() -> ForkExperiment:
    fork = ForkExperiment()
    for row, classic, odf1, odf2, host in ((BARE, 0.1, 0.1, 0.1, 0.02), ("1 GiB", 1.6, 0.15, 0.12, 7.0),
                                           ("50 GiB", 100.1, 1.1, 0.2, None)):
        for contestant, ms in zip(ALL, (classic, odf1, odf2, host), strict=True):
            if ms is not None:
                fork.add(row, contestant, [ms * 1e6, ms * 1e6, ms * 3e6])
    return fork


def test_numbers_as_people_write_them() -> None:
    assert [digits(value) for value in (0.012345, 1.2345, 12.345, 123.45, 12345)] == [
        "0.0123", "1.23", "12.3", "123", "12345"]
    assert [duration(ns) for ns in (12, 999.9, 1234, 1.5e6, 253.9e6, 2e9)] == [
        "12 ns", "1 µs", "1.23 µs", "1.5 ms", "254 ms", "2 s"]
    assert [size_text(mib) for mib in (7, 64, 1024, 1078, 1536, 51200)] == [
        "7 MiB", "64 MiB", "1 GiB", "1078 MiB", "1.5 GiB", "50 GiB"]


def test_marks_of_fork() -> None:
    fork = filled_fork()
    assert marks(fork) == {
        "fork call at 1 GiB, odf 1": ("150 µs", True),
        "… against the host's own fork, odf 1": ("46.7 × faster", False),
        "fork call at 1 GiB, odf 2": ("120 µs", True),
        "… against the host's own fork, odf 2": ("58.3 × faster", True),
        "fork call at 50 GiB, odf 1": ("1.1 ms", False),
        "page-table work at 50 GiB, odf 1 against classic": ("100 × less time", False),
        "fork call at 50 GiB, odf 2": ("200 µs", True),
        "page-table work at 50 GiB, odf 2 against classic": ("1000 × less time", True),
    }
    fork.peaks["50 GiB", CLASSIC] = 1 << 30
    assert marks(fork)["host memory for the 50 GiB guest"] == ("1024 MiB", False)
    assert marks(ForkExperiment()) == {}


def test_worst_table_is_not_the_host_interrupting() -> None:
    fault = FaultExperiment(size_mib=4)
    # Two tables, five rounds: a disturbance of each once, and a table that is always slow.
    rounds = [[1.0, 9.0], [50.0, 9.0], [1.0, 9.0], [1.0, 70.0], [1.0, 9.0]]
    values = [value * 1e3 for pair in rounds for value in pair]
    outcome = Outcome(dict.fromkeys(("read", "write", "next", "again", "after"), values))
    for contestant in ALL:
        run = Run("4 MiB", contestant, "", (), 0, 0)
        fault.take(run, outcome)
    assert fault.worst("write", ODF1) == 9e3
    assert marks(fault) == {"worst write fault after fork, odf 1": ("9 µs", True),
                            "worst write fault after fork, odf 2": ("9 µs", True)}
    grid = fault.grids()[0]
    assert [row for row in grid.rows if row[0] == "… worst table"] == [
        ["… worst table", *["9 µs"] * 4, "2.3 µs", "12.2 µs"]]


def test_access_compares_turn_by_turn() -> None:
    access = AccessExperiment(size_mib=4)
    # The host was slow in the second turn, for all.
    for contestant, factor in ((CLASSIC, 1.0), (ODF1, 1.04), (ODF2, 1.07)):
        access.add("0/10", contestant, [1e6 * factor, 9e6 * factor, 1.1e6 * factor])
    assert marks(access) == {
        "slower than classic anywhere, odf 1": ("+4.0% at 100 % touched, only written", True),
        "slower than classic anywhere, odf 2": ("+7.0% at 100 % touched, only written", False)}


def test_marks_of_server() -> None:
    server = ServerExperiment()
    for row, classic, odf in (("1078/16", 2.0, 0.5), ("1078/539", 2.0, 1.9), ("7/0", 0.2, 0.21), ("7/1", 0.2, 0.25)):
        server.add(row, CLASSIC, [classic * 1e6] * 3)
        server.add(row, ODF1, [odf * 1e6] * 3)
    assert marks(server) == {
        "runs at 1078 MiB, 16 tables written, odf 1 against classic": ("4 × more", True),
        "runs at 7 MiB, odf 1 against classic": ("-20.0%", False)}
    rates = {tuple(row[:2]): row[2] for row in server.grids()[0].rows}
    assert rates["1078 MiB", "16"] == "500"


def test_page_table_work_is_beyond_the_best_bare_call() -> None:
    fork = ForkExperiment()
    fork.add(BARE, ODF1, [400e3, 90e3, 500e3])
    fork.add("50 GiB", ODF1, [190e3])
    assert fork.work("50 GiB", ODF1) == 100e3
    assert "less the best one" in experiment_report.markdown(fork)


def test_the_stages_of_a_fuzzed_run_add_up() -> None:
    fuzz = FuzzExperiment()
    run = FuzzRun(TINY, ODF1, "", (), 0, 0, ACCOUNT)
    stages = ("input_ns", "fork_ns", "guest_ns", "kernel_ns", "exit_ns", "protocol_ns")
    # The medians of the stages come from different rounds.
    for round_ns in ((1e3, 2e3, 30e3, 4e3, 5e3, 6e3), (9e3, 9e3, 10e3, 1e3, 1e3, 1e3), (5e3, 5e3, 5e3, 5e3, 5e3, 5e3)):
        counts = dict.fromkeys(("faults", "pages", "tables", "first"), 1.0)
        values = {**dict(zip(stages, round_ns, strict=True)), **counts}
        fuzz.take(run, Outcome({name: [value] for name, value in values.items()}))
    row = next(row for row in fuzz.grids()[1].rows if row[0] == TINY)
    assert row[2:9] == ["9", "9", "10", "1", "1", "1", "31"]


def test_the_account_is_of_one_launcher() -> None:
    program = str(build("fuzz_tiny"))
    account = fuzz_runs.account(fuzz_runs.Target((program, "@@"), b"a few words\n", 256 << 20), "odf")
    assert all(values[0] > 0 for values in account.values()), account
    assert account["pages"][0] <= account["faults"][0]
    with pytest.raises(MeasureError, match="not a program"):
        fuzz_runs.account(fuzz_runs.Target(("/dev/null/not a program",), b"", 256 << 20), "odf")


def test_json_and_markdown_say_the_same() -> None:
    fork = filled_fork()
    report = json.loads(experiment_report.as_json(fork, False))
    assert not report["complete"]
    assert report["rows"]["1 GiB"][ODF1]["median"] == 150e3
    text = experiment_report.markdown(fork)
    for mark in report["marks"]:
        assert f"| {mark['figure']} | {mark['measured']} | {mark['target']} {'✓' if mark['reached'] else '✗'} |" in text
    assert "| 50 GiB | 100 ms | 1.1 ms | 200 µs |  | 254 ms | 940 µs |" in text
    # Sizes that were not measured have no line, counts that were not made no table.
    assert "64 MiB" not in text
    assert "entries" not in text


def test_best_values() -> None:
    fork = ForkExperiment(best=True)
    fork.add("1 GiB", ODF1, [3e5, 1e5, 3e5])
    assert marks(fork)["fork call at 1 GiB, odf 1"] == ("100 µs", True)
    assert experiment_report.footer(fork).startswith("Best values; ")


def test_the_same_values_draw_the_same_picture(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        plot.draw(filled_fork(), str(tmp_path / name))
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_no_picture_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                       capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    status = run_experiment(ForkExperiment(), 1, Show(picture=str(tmp_path / "fork.svg")))
    assert status == 2
    assert capfd.readouterr().err == "forkyard: --plot needs matplotlib: pip install matplotlib, or -e '.[plot]'\n"
    with pytest.raises(plot.PlotError, match="nothing was measured"):
        monkeypatch.undo()
        plot.draw(ForkExperiment(), str(tmp_path / "fork.svg"))


def test_host_is_left_out_where_it_has_no_room(monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(experiment_command, "free_bytes", lambda: 12 << 20)
    fork = ForkExperiment(sizes_mib=(4, 8))
    assert run_experiment(fork, 1, Show("json")) == 0
    report = json.loads(capsys.readouterr().out)
    assert HOST in report["rows"]["4 MiB"]
    assert HOST not in report["rows"]["8 MiB"]
    assert report["notes"] == ["8 MiB, host: not measured, it would take more than half of the host's free memory "
                               "(12 MiB)"]


class _TooSmall(ForkExperiment):
    """Its on-demand guests have no room for what they ask for."""

    def runs(self) -> list[Run]:
        return [Run(run.row, run.contestant, run.program, run.args,
                    48 << 20 if run.contestant == ODF1 and run.row != BARE else run.memory_bytes, run.touched_bytes)
                for run in super().runs() if run.contestant in (CLASSIC, ODF1)]


def test_a_run_that_fails_is_told_and_the_rest_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    fork = _TooSmall(sizes_mib=(64,))
    assert run_experiment(fork, 2, Show("json")) == 125
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert list(report["rows"]["64 MiB"]) == [CLASSIC]
    assert not report["complete"]
    assert len(report["notes"]) == 1
    assert report["notes"][0].startswith("64 MiB, odf 1: bench_forksize ended with status ")
    assert "64 MiB, odf 1: left out" in captured.err


def test_kinds_of_fork_are_what_they_are_called() -> None:
    """The programs that switch do so: what the session counts is the same as when the session was begun that way."""
    shared = {}
    options = {"memory_bytes": 256 << 20, "aslr": False}
    for kind in OURS:
        outcome = observe(options, "bench_forkserver", ("8", "1", "1", "0", kind), 60)
        assert list(outcome.values) == [f"{kind}:0"]
        shared[kind] = outcome.stats["tables_shared"], outcome.stats["fork_entries"]
        started = observe({**options, **(SESSIONS[kind] or {})}, "bench_forkserver",
                          ("8", "1", "1", "0", "host"), 60)
        assert started.stats["tables_shared"] == shared[kind][0]
    assert shared[CLASSIC][0] == 0
    assert shared[ODF1][0] > shared[ODF2][0] > 0
    assert shared[CLASSIC][1] > 100 * shared[ODF1][1]
    assert SESSIONS[FORKYARD] == SESSIONS[CLASSIC] == {"aslr": False}


def test_programs_refuse_what_they_do_not_understand() -> None:
    for options in (None, {"memory_bytes": 256 << 20}):
        with pytest.raises(MeasureError, match="bench_forkaccess ended with status 2: bench_forkaccess MIB ROUNDS"):
            observe(options, "bench_forkaccess", ("8",), 60)
    with pytest.raises(MeasureError, match="took longer than"):
        observe(None, "bench_forksize", ("64", "100000000"), 0.2)
