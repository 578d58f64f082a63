"""The launcher's side of the fork-server protocol, with the bare driver in place of afl-fuzz.

The program is that of afl_fake.py, so that a failure here is one of the protocol, the sentinel or the shared memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import harness
import pytest

from guest.fuzz import protocol, shm
from guest.fuzz.driver import Driver, DriverError
from guest.fuzz.target import find_input, guest_environment, guest_words

FAKE = [sys.executable, str(Path(__file__).parent / "afl_fake.py")]
SECONDS = harness.TIMEOUT_S
NEXT_SHM_ID = Path("/proc/sys/kernel/shm_next_id")


def eventually(what: Callable[[], bool], seconds: float = SECONDS) -> bool:
    """Does it become true in time?"""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def segments() -> set[str]:
    """The ids of the System V segments that this process made, or one that has ended: another's are in use."""
    rows = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
    return {row[1] for row in rows if int(row[4]) == os.getpid() or not alive(int(row[4]))}


@pytest.fixture(params=["file", "stdin", "shared-file", "shared-stdin"])
def way(request: pytest.FixtureRequest) -> str:
    """How the input gets to the launcher."""
    return str(request.param)


def start(folder: Path, way: str = "shared-stdin", argv: list[str] | None = None, **how: object) -> Driver:
    words = [*(argv or FAKE), *(["@@"] if way.endswith("file") else [])]
    return Driver(words, str(folder), shared=way.startswith("shared"), **how)  # type: ignore[arg-type]


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with start(tmp_path) as driver:
        driver.wait_ready()
        yield driver


# ---------------------------------------------------------------- words


def test_hello_words() -> None:
    """The examples are what AFL++'s own macros give (include/types.h)."""
    assert protocol.hello_word(None, False) == 0
    assert protocol.hello_word(65536, False) == 0xC001FFFF
    assert protocol.hello_word(65536, True) == 0xC101FFFF
    assert protocol.hello_word(1 << 23, False) == 0xC0FFFFFF
    assert protocol.hello_word(1 << 24, False) == 0, "a size that does not fit is not said"
    assert protocol.hello_word(None, True) == protocol.SHDMEM_ANSWER
    assert protocol.error_word(protocol.FS_ERROR_SHMAT) == 0xF800088F


def test_program_sees_none_of_the_fuzzers_variables() -> None:
    ours = {"HOME": "/root", "LD_BIND_NOW": "1", "ASAN_OPTIONS": "x", "AFL_MAP_SIZE": "65536", "__AFL_SHM_ID": "0",
            "QASAN_LOG": "1", "AFLOAT": "kept", "__AFL_OUT_DIR": "/out"}
    assert guest_environment(ours) == {"HOME": "/root", "AFLOAT": "kept"}
    assert guest_environment({"LD_BIND_NOW": "1", "LD_BIND_LAZY": "1"}) == {"LD_BIND_NOW": "1", "LD_BIND_LAZY": "1"}


@pytest.mark.parametrize(("word", "path", "seen"), [
    ("/o/default/.cur_input", "/o/default/.cur_input", "/tmp/forkyard-input"),
    ("--in=/o/main/.cur_input.png", "/o/main/.cur_input.png", "--in=/tmp/forkyard-input.png"),
    ("-I/a=b/.cur_input:x", "/a=b/.cur_input", "-I/tmp/forkyard-input:x"),
    ("/cwd/.afl-showmap-temp-17", "/cwd/.afl-showmap-temp-17", "/tmp/forkyard-input"),
])
def test_input_is_found_among_the_words(word: str, path: str, seen: str) -> None:
    assert find_input(["prog", "-a", word]) == path
    assert guest_words(["prog", "-a", word], path)[0] == ["prog", "-a", seen]


def test_ordinary_words_are_no_input() -> None:
    assert find_input(["/x/.cur_input", "-a", "file", ".cur_inputs", "/x/cur_input"]) is None


# ---------------------------------------------------------------- the loop


def test_inputs_statuses_and_coverage(tmp_path: Path, way: str) -> None:
    with start(tmp_path, way) as driver:
        driver.wait_ready()
        maps = []
        for data, status in ((b"exit 3", 3 << 8), (b"signal 11", 11), (b"", 0), (b"other" * 5000, 0), (b"exit 3", 768)):
            outcome = driver.run(data)
            assert (outcome.status, outcome.timed_out) == (status, False), data[:10]
            maps.append(driver.coverage())
        assert maps[0] == maps[4]
        assert [any(one) for one in maps] == [True, True, False, True, True]
        assert driver.messages() == ["parked: at its first line"]


def test_timeout_ends_the_run_and_the_next_one_works(driver: Driver) -> None:
    pids = set()
    for _ in range(5):
        assert driver.run(b"sleep", 0.05).timed_out
        pids.add(driver.sentinel)
        assert driver.run(b"exit 1").status == 256
    assert len(pids) == 5, "each killed sentinel is replaced"
    assert not any(map(alive, pids))


def test_kill_that_comes_too_late_for_the_run(driver: Driver) -> None:
    """The run ended by itself, its sentinel was killed all the same: neither this nor the next run is a crash."""
    outcome = driver.run(b"late", 0.05)
    assert outcome.timed_out
    assert outcome.status == 0
    assert driver.run(b"exit 2").status == 512


def test_sentinel_killed_between_runs(driver: Driver) -> None:
    driver.run(b"x")
    killed = driver.sentinel
    os.kill(killed, signal.SIGKILL)
    assert eventually(lambda: not alive(killed))
    assert driver.run(b"exit 4").status == 4 << 8
    assert driver.sentinel != killed


def test_thousand_runs_leave_one_sentinel(driver: Driver) -> None:
    for _ in range(1000):
        driver.run(b"x")
    tasks = Path(f"/proc/{driver.pid}/task")
    children = [pid for task in tasks.iterdir() for pid in (task / "children").read_text().split()]
    assert children == [str(driver.sentinel)]


def test_sentinel_holds_nothing_of_the_fuzzers(driver: Driver) -> None:
    """An end of the fuzzer's pipes in the sentinel would hide the death of either side from the other."""
    driver.run(b"x")

    def held(pid: int) -> dict[int, str]:
        links = {}
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # a program that just starts opens and closes libraries
                links[int(entry.name)] = os.readlink(entry)
        return links

    ours, theirs = held(driver.pid), held(driver.sentinel)
    assert {ours[0], ours[protocol.CONTROL_FD], ours[protocol.STATUS_FD]}.isdisjoint(theirs.values())


# ---------------------------------------------------------------- shared memory


def test_map_of_another_size(tmp_path: Path) -> None:
    with start(tmp_path, map_bytes=1 << 18, env={**os.environ, "AFL_MAP_SIZE": str(1 << 18)}) as driver:
        driver.wait_ready()
        assert driver.hello == protocol.hello_word(1 << 18, True)
    with start(tmp_path, map_bytes=8 << 20) as driver:
        driver.wait_ready()
        assert driver.hello == protocol.hello_word(65536, True), "afl-showmap offers 8 MiB; we use what is usual"


def test_without_a_map(tmp_path: Path) -> None:
    with start(tmp_path, coverage=False) as driver:
        driver.wait_ready()
        assert driver.run(b"exit 1").status == 256


def test_segment_number_zero(tmp_path: Path) -> None:
    try:
        NEXT_SHM_ID.write_text("0")
    except OSError:
        raise harness.Unavailable("the next segment's number cannot be chosen here") from None
    shm_id, segment = shm.create(4096)
    if shm_id != 0:
        segment.detach()
        raise harness.Unavailable("another segment has the number 0")
    environment = {**os.environ, "__AFL_SHM_ID": "0"}
    done = subprocess.run(FAKE, env=environment, input=b"ab", timeout=SECONDS, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert sum(segment.view) == 2
    segment.detach()


@pytest.mark.parametrize(("name", "value", "code"), [
    ("__AFL_SHM_ID", "2000000000", protocol.FS_ERROR_SHMAT), ("__AFL_SHM_ID", "what", protocol.FS_ERROR_SHMAT),
    ("__AFL_SHM_FUZZ_ID", "2000000000", protocol.FS_ERROR_SHM_OPEN), ("AFL_MAP_SIZE", "0", protocol.FS_ERROR_MAP_SIZE),
])
def test_bad_set_up_is_told_the_fuzzer(tmp_path: Path, name: str, value: str, code: int) -> None:
    with start(tmp_path, "file", coverage=False, env={**os.environ, name: value}) as driver:
        with pytest.raises(DriverError, match=f"reports error {code}: {name}") as caught:
            driver.wait_ready()
        assert "\n" not in str(caught.value)


def test_limit_of_address_space_is_explained(tmp_path: Path) -> None:
    limited = ["prlimit", f"--as={16 << 30}", *FAKE]
    with start(tmp_path, argv=limited) as driver, pytest.raises(DriverError, match="leave out -m of afl-fuzz"):
        driver.wait_ready()


def test_file_mode_without_a_file(tmp_path: Path) -> None:
    with start(tmp_path, "file", argv=[*FAKE[:2], "--no-at-sign"]) as driver:
        driver.wait_ready()
    os.makedirs(tmp_path / "x")
    # afl-fuzz -f FILE without @@: stdin is /dev/null, and no word names the input.
    with Driver(["sh", "-c", 'exec "$@" </dev/null', "sh", *FAKE], str(tmp_path / "x")) as driver, \
            pytest.raises(DriverError, match="which file holds the input"):
        driver.wait_ready()


# ---------------------------------------------------------------- without a fuzzer


def once(*argv: str, **how: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*FAKE, *argv], timeout=SECONDS, capture_output=True, **how)  # type: ignore[call-overload,no-any-return]


def test_without_a_fuzzer_the_program_runs_once() -> None:
    assert once(input=b"exit 7").returncode == 7
    assert once(input=b"signal 11").returncode == -11
    assert once(input=b"signal 9").returncode == -9
    shm_id, segment = shm.create(65536)
    assert once(input=b"abc", env={**os.environ, "__AFL_SHM_ID": str(shm_id)}).returncode == 0
    assert sum(segment.view) == 3, "the map is filled"
    segment.detach()


def test_other_files_on_the_fuzzers_numbers_are_left_alone(tmp_path: Path) -> None:
    """Only two pipes are a fuzzer."""
    log = tmp_path / "log"
    script = f"exec {protocol.CONTROL_FD}>{log} {protocol.STATUS_FD}>{log}; exec \"$@\""
    done = subprocess.run(["bash", "-c", script, "bash", *FAKE], input=b"exit 5", timeout=SECONDS, capture_output=True)
    assert (done.returncode, log.read_bytes()) == (5, b""), done.stderr


# ---------------------------------------------------------------- nothing is left behind


@pytest.mark.parametrize("moment", ["idle", "running"])
@pytest.mark.parametrize("signo", [signal.SIGKILL, signal.SIGTERM])
def test_launcher_is_killed(tmp_path: Path, moment: str, signo: int) -> None:
    before = segments()
    with start(tmp_path) as driver:
        driver.wait_ready()
        driver.run(b"x")
        if moment == "running":
            driver.begin(b"sleep")
        os.kill(driver.pid, signo)
        assert driver.wait() == signo
        assert eventually(lambda: not alive(driver.sentinel)), "the sentinel is left behind"
    assert eventually(lambda: segments() <= before), "shared memory is left behind"


@pytest.mark.parametrize("moment", ["starting", "idle", "running"])
def test_fuzzer_is_gone(tmp_path: Path, moment: str) -> None:
    before = segments()
    with start(tmp_path) as driver:
        if moment != "starting":
            driver.wait_ready()
            driver.run(b"x")
        if moment == "running":
            driver.begin(b"sleep")
        driver.hang_up()
        driver.wait(SECONDS)
        assert not driver.sentinel or eventually(lambda: not alive(driver.sentinel))
    assert eventually(lambda: segments() <= before), "shared memory is left behind"


def test_server_that_breaks_says_so(driver: Driver) -> None:
    with pytest.raises(DriverError, match=r"ended instead of going on to answer: internal error: .*breaks"):
        driver.run(b"break")
    assert eventually(lambda: not alive(driver.sentinel))


def test_segment_goes_with_its_last_user() -> None:
    """What the fuzzer does not live to remove is removed by the host."""
    libc = ctypes.CDLL(None, use_errno=True)
    shm_id = libc.shmget(0, 4096, 0o1600)
    assert str(shm_id) in segments()
    shm.Segment(shm_id).detach()
    assert str(shm_id) not in segments()
