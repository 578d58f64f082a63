"""AFL++ itself drives `forkyard afl`: programs of the host, forking ones, threaded ones, ones with much memory.

Each test runs afl-fuzz for a few seconds and looks at its figures. The host must have afl++ and the program.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import afl_seeds
import harness
import pytest
from test_afl_protocol import alive, eventually, segments

from guest.build import build as build_bundled
from guest.fuzz.stats import count_inputs, read_stats

LAUNCHER = [sys.executable, "-m", "guest.cli", "afl"]
#: Without a screen, a terminal, or rules about the host's processor and core files.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(harness.ROOT), "AFL_NO_UI": "1", "AFL_SKIP_CPUFREQ": "1",
               "AFL_NO_AFFINITY": "1", "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES": "1", "AFL_ALLOW_TMP": "1",
               "AFL_FORKSRV_INIT_TMOUT": "60000"}
#: Of a short campaign: that many in any case, however long they take.
EXECUTIONS = 300
#: Nothing takes that long, on the busiest machine.
LIMIT_S = 300
#: The whole way from the seeds to the planted bug.
HUNT_S = 300


@pytest.fixture(autouse=True)
def _afl() -> None:
    harness.need("afl-fuzz")


def launcher(argv: Sequence[object], *options: str) -> list[str]:
    return [*LAUNCHER, *options, "--", *map(str, argv)]


def write(folder: Path, seeds: Sequence[bytes]) -> Path:
    """A directory with these files."""
    folder.mkdir()
    for number, seed in enumerate(seeds):
        (folder / f"seed{number}").write_bytes(seed)
    return folder


def tool(words: Sequence[object], limit_s: float = LIMIT_S, **env: str) -> str:
    """Run one of AFL++'s programs, which must succeed; returns all that it says."""
    done = subprocess.run([*map(str, words)], env={**ENVIRONMENT, **env}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit_s)
    text = done.stdout.decode(errors="replace")
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{text}"
    return text


def campaign(folder: Path, seeds: Sequence[bytes], target: Sequence[str], *, mode: Sequence[str] = ("-U",),
             executions: int = EXECUTIONS, limit_s: float = LIMIT_S, **env: str) -> dict[str, str]:
    """Run afl-fuzz; returns its figures."""
    tool(["afl-fuzz", *mode, "-i", write(folder / "in", seeds), "-o", folder / "out", "-E", executions, "--", *target],
         limit_s, **env)
    return read_stats(folder / "out" / "default")


def hunt(folder: Path, seeds: Sequence[bytes], target: Sequence[str], found: Callable[[], bool], *options: str,
         **env: str) -> None:
    """Run afl-fuzz until something is found."""
    words = ["afl-fuzz", "-U", *options, "-i", write(folder / "in", seeds), "-o", folder / "out", "--", *target]
    fuzzer = subprocess.Popen(words, env={**ENVIRONMENT, **env}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
    assert fuzzer.stdout is not None
    reader = threading.Thread(target=fuzzer.stdout.read)  # it may say more than a pipe holds
    reader.start()
    try:
        assert eventually(lambda: found() or fuzzer.poll() is not None, LIMIT_S)
        assert fuzzer.poll() is None, "it has ended"
    finally:
        fuzzer.send_signal(signal.SIGINT)
        fuzzer.wait(LIMIT_S)
        reader.join()


def figures_are_good(stats: dict[str, str], edges: int) -> None:
    assert int(stats["execs_done"]) >= EXECUTIONS, stats
    assert int(stats["edges_found"]) >= edges, stats
    assert stats["stability"] == "100.00%", stats


# ---------------------------------------------------------------- programs of the host


@dataclass(frozen=True)
class Target:
    """A program as it is installed, and the least number of edges that its seed must touch."""

    argv: tuple[str, ...]
    seed: Callable[[], bytes] | bytes
    edges: int
    needs: tuple[str, ...] = field(default=())
    options: tuple[str, ...] = ()

    def seed_bytes(self) -> bytes:
        harness.need(self.argv[0], *self.needs)
        return self.seed() if callable(self.seed) else self.seed


TARGETS = {
    "readelf": Target(("readelf", "-a", "@@"), afl_seeds.elf, 100),
    "sqlite3": Target(("sqlite3",), afl_seeds.SQL, 100, options=("--inst-ranges", "libsqlite3.so")),
    "xmllint": Target(("xmllint", "@@"), afl_seeds.XML, 100, options=("--inst-libs",)),
    "djpeg": Target(("djpeg", "@@"), afl_seeds.jpeg, 50, needs=("cjpeg",)),
    "jq": Target(("jq", ".", "@@"), afl_seeds.JSON, 50, options=("--inst-ranges", "libjq.so")),
    "file": Target(("file", "@@"), afl_seeds.GZIP_SCRIPT, 30, options=("--inst-ranges", "libmagic.so")),
    "tiffinfo": Target(("tiffinfo", "@@"), afl_seeds.tiff, 20),
}


@pytest.mark.parametrize("name", TARGETS)
def test_program_of_the_host(tmp_path: Path, name: str) -> None:
    target = TARGETS[name]
    stats = campaign(tmp_path, [target.seed_bytes()], launcher(target.argv, *target.options))
    figures_are_good(stats, target.edges)
    assert stats["target_mode"].startswith("unicorn")


def test_program_that_forks(tmp_path: Path) -> None:
    target = launcher([harness.build("afl_fork.c", "gcc"), "@@"])
    figures_are_good(campaign(tmp_path, [afl_seeds.LINES], target), 15)


def test_program_with_threads(tmp_path: Path) -> None:
    target = launcher([harness.build("afl_thread.c", "gcc"), "@@"])
    stats = campaign(tmp_path, [afl_seeds.BRACKETS], target)
    figures_are_good(stats, 10)


@pytest.mark.parametrize("mib", [64, pytest.param(1024, marks=pytest.mark.slow)])
def test_program_with_much_memory(tmp_path: Path, mib: int) -> None:
    target = launcher([build_bundled("fuzz_big"), mib, "@@"], "--memory", f"{mib + 512}M")
    figures_are_good(campaign(tmp_path, [afl_seeds.WORDS], target, limit_s=LIMIT_S + mib // 8), 3)


# ---------------------------------------------------------------- ways to drive it


@pytest.mark.parametrize("way", ["@@", "stdin"])
@pytest.mark.parametrize("size", [65536, 262144])
def test_plain_mode_and_larger_maps(tmp_path: Path, way: str, size: int) -> None:
    """Without -U, AFL_MAP_SIZE counts."""
    target = launcher([build_bundled("fuzz_tiny"), *(["@@"] if way == "@@" else [])])
    stats = campaign(tmp_path, [afl_seeds.WORDS], target, mode=(), AFL_SKIP_BIN_CHECK="1",
                     AFL_MAP_SIZE=str(size))
    figures_are_good(stats, 5)
    assert stats["total_edges"] == str(size)
    assert "shmem_testcase" in stats["target_mode"]


def test_coverage_grows(tmp_path: Path) -> None:
    """The same program gets further with time: its queue holds ways that the seed did not take."""
    queue = tmp_path / "out" / "default" / "queue"
    hunt(tmp_path, [b"x"], launcher([harness.build("afl_fork.c", "gcc-static"), "@@"]), lambda: count_inputs(queue) > 1)


def test_crashes_and_hangs_are_kept(tmp_path: Path) -> None:
    """Crashes bear their signal; a run that takes too long is ended by the death of the sentinel."""
    target = launcher([harness.build("afl_verdicts.c", "gcc-static"), "@@"], "--memory", "64M")
    kept = tmp_path / "out" / "default"
    hunt(tmp_path, [b"0", b"K", b"O"], target, lambda: count_inputs(kept / "crashes") and count_inputs(kept / "hangs"),
         "-t", "1000", AFL_HANG_TMOUT="1000")
    saved = [path.name for path in (kept / "crashes").glob("id:*")]
    assert all("sig:11" in name or "sig:06" in name or "sig:09" in name for name in saved), saved


def test_showmap_says_the_same_in_both_ways(tmp_path: Path) -> None:
    """Without -i the launcher runs the program once, from its entry; with -i it is a fork server."""
    target = launcher([harness.build("afl_fork.c", "gcc-static"), "@@"], "--fork-at", "entry")
    seeds = write(tmp_path / "in", [afl_seeds.LINES, b"7\n"])
    tool(["afl-showmap", "-U", "-i", seeds, "-o", tmp_path / "maps", "--", *target])
    for seed in seeds.iterdir():
        # Known as the input, it has the same name in the guest as under the fork server.
        once = launcher([target[-2], seed], "--input", str(seed))
        # Its limit of one second is for the launcher's start, too.
        tool(["afl-showmap", "-U", "-t", 60000, "-q", "-o", tmp_path / "map", "--", *once])
        assert (tmp_path / "map").read_text() == (tmp_path / "maps" / seed.name).read_text()
    assert (tmp_path / "maps" / "seed0").read_text() != (tmp_path / "maps" / "seed1").read_text()


def test_cmin_drops_what_adds_nothing(tmp_path: Path) -> None:
    seeds = write(tmp_path / "in", [b"1\n", b"2\n", b"3\n", b"x\n"])
    target = launcher([harness.build("afl_fork.c", "gcc-static"), "@@"])
    tool(["afl-cmin", "-U", "-t", 60000, "-i", seeds, "-o", tmp_path / "out", "--", *target])
    assert len(list((tmp_path / "out").glob("seed*"))) == 2


def test_tmin_makes_a_crash_small(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"Nothing but the first letter counts")
    target = launcher([harness.build("afl_verdicts.c", "gcc-static"), "@@"])
    tool(["afl-tmin", "-U", "-i", tmp_path / "big", "-o", tmp_path / "small", "--", *target])
    assert (tmp_path / "small").read_bytes() == b"N"


# ---------------------------------------------------------------- nothing is left behind


def processes(text: str) -> set[int]:
    """Those whose command line holds ``text``."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if text.encode() in words:
                found.add(int(entry.name))
    return found


def children(pid: int) -> set[int]:
    try:
        return {int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    except OSError:
        return set()


@pytest.mark.parametrize(("moment", "victim"), [
    ("starting", "fuzzer"), ("starting", "launcher"), ("fuzzing", "fuzzer"), ("fuzzing", "launcher"),
    ("fuzzing", "sentinel")])
def test_killed_at_any_moment(tmp_path: Path, victim: str, moment: str) -> None:
    """No process and no shared memory stays when one of the three gets SIGKILL."""
    before, seeds = segments(), write(tmp_path / "in", [b"1\n"])
    target, temporary = launcher([harness.build("afl_fork.c", "gcc-static"), "@@"]), tmp_path / "tmp"
    temporary.mkdir()
    fuzzer = subprocess.Popen(["afl-fuzz", "-U", "-i", seeds, "-o", tmp_path / "out", "--", *target],
                              env={**ENVIRONMENT, "TMPDIR": str(temporary)}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        # It has taken over the shared memory by then: before, only afl-fuzz itself could remove it.
        assert eventually(lambda: any(len(attached(pid)) >= 2 for pid in children(fuzzer.pid) if _is_python(pid)),
                          LIMIT_S)
        (launcher_pid,) = filter(_is_python, children(fuzzer.pid))
        if moment == "fuzzing":
            assert eventually(lambda: (tmp_path / "out" / "default" / "fuzzer_stats").exists(), LIMIT_S)
            assert eventually(lambda: len(children(launcher_pid)) == 1, LIMIT_S)  # no other is just made or reaped
        sentinel = max(children(launcher_pid), default=0)
        os.kill({"fuzzer": fuzzer.pid, "launcher": launcher_pid, "sentinel": sentinel}[victim], signal.SIGKILL)
        if victim == "sentinel":
            assert eventually(lambda: children(launcher_pid) not in ({sentinel}, set()), LIMIT_S), "it is replaced"
            time.sleep(0.2)
            assert fuzzer.poll() is None, "the fuzzer goes on"
            fuzzer.send_signal(signal.SIGINT)
        fuzzer.wait(LIMIT_S)
        assert eventually(lambda: not processes(str(tmp_path)), LIMIT_S), "a process is left behind"
        assert not sentinel or eventually(lambda: not alive(sentinel))
        assert eventually(lambda: segments() <= before), "shared memory is left behind"
        assert list(temporary.iterdir()) == []
    finally:
        fuzzer.kill()
        fuzzer.wait()


def _is_python(pid: int) -> bool:
    """Before its exec it is still a copy of afl-fuzz."""
    try:
        return "python" in os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return False


def attached(pid: int) -> list[str]:
    """The System V segments that a process has mapped."""
    try:
        return [line for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if "/SYSV" in line]
    except OSError:
        return []


# ---------------------------------------------------------------- examples/


@pytest.mark.slow
@pytest.mark.timeout(HUNT_S + 60)
def test_planted_bug_is_found_by_the_command_of_the_readme(tmp_path: Path) -> None:
    program = tmp_path / "planted"
    subprocess.run(["gcc", "-g", "-O1", "-o", program, harness.ROOT / "examples" / "planted.c"], check=True)
    command = [sys.executable, "-m", "guest.cli", "fuzz", "-i", harness.ROOT / "examples" / "planted-seeds", "-o",
               tmp_path / "out", "--jobs", "2", "-V", HUNT_S, "--", program, "@@"]
    hunt = subprocess.Popen([*map(str, command)], env={**ENVIRONMENT, "AFL_BENCH_UNTIL_CRASH": "1"},
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    found = eventually(lambda: any(count_inputs(folder) for folder in tmp_path.glob("out/*/crashes")) or
                       hunt.poll() is not None, HUNT_S)
    hunt.send_signal(signal.SIGINT)
    said = hunt.communicate(timeout=LIMIT_S)[0].decode()
    assert found, said
    (crash, *_) = tmp_path.glob("out/*/crashes/id:*")
    assert subprocess.run([program, crash], capture_output=True).returncode == -signal.SIGSEGV
    assert "forkyard crash -i" in said
