"""The fork server: fork points, verdicts, inputs, and that every run begins in the same state."""

from __future__ import annotations

import itertools
import os
import resource
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import build

from guest.fuzz.forkpoint import ForkPointError
from guest.fuzz.forkserver import ForkServer, Options
from guest.fuzz.input import BytesInput, DescriptorInput, FileInput, SharedInput
from kernel.task.task import Task

INPUT = "/tmp/forkserver-input"
TOOLCHAINS = ["gcc", "gcc-static", "gcc-fixed", "musl-static"]
#: First bytes of inputs on which forkserver_ways ends by itself, and natively in the same way.
ENDINGS = ["00", "09", *"aswdikgrbhClLtTSxAzmupVe?"]
HANGS = ["H", "P", "Y", "F", "B"]
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C"}
SIGKILL = 9


@pytest.fixture
def serve() -> Iterator[Callable[..., ForkServer]]:
    """Makes prepared fork servers; stdout and stderr go nowhere unless the options say otherwise."""
    servers = []
    null = os.open(os.devnull, os.O_RDWR)

    def make(program: Path, *args: str, path: str | None = None, **how: object) -> ForkServer:
        options = Options(paranoid=True, **{"memory_bytes": 256 << 20, "stdin": null, "stdout": null, "stderr": null,
                                            **how.pop("options", {})})
        source = how.pop("input", None) or BytesInput(b"0", path)
        server = ForkServer(options, [str(program), *args], env=ENVIRONMENT, input=source, **how)
        servers.append(server)
        server.prepare()
        return server

    yield make
    for server in servers:
        server.close()
    os.close(null)


def status_of(server: ForkServer, data: bytes) -> int:
    """Of one run on ``data``."""
    server.input.data = data
    return server.run()


def native_status(program: Path, *args: str, data: bytes, tmp_path: Path, path: bool) -> int:
    """The wait(2) status of the program on the host, without a core dump."""
    file = tmp_path / "input"
    file.write_bytes(data)
    with (Path(os.devnull) if path else file).open("rb") as stdin:
        child = subprocess.Popen([program, *args, *([str(file)] if path else [])], stdin=stdin,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT, cwd=tmp_path,
                                 start_new_session=True,
                                 preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
        status = os.waitpid(child.pid, 0)[1]
        child.returncode = 0
    subprocess.run(["pkill", "-KILL", "-s", str(child.pid)], check=False)
    return status


def state(server: ForkServer) -> dict[str, object]:
    """All that a run could leave behind."""
    kernel = server.kernel
    return {
        "frames": kernel.memory.used_frames, "tasks": sorted(kernel.tasks), "groups": sorted(kernel.groups),
        "pgroups": len(kernel.tasks.pgroups), "last pid": kernel.tasks.last, "queue": len(kernel.scheduler.queue),
        "deadline": kernel.timers.next_deadline(), "spaces": len(kernel.memory.spaces),
        "mappings": sum(m is not None for m in kernel.memory.mappings), "time": kernel.clock.save(),
        "random": kernel.random.save(), "host fds": sorted(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "positions": [(fd, file.pos, file.flags, file.count) for fd, file in server._task.files.items()],
        "pinned": len(kernel.vfs.root.inode.sb.pinned),
    }


# ---------------------------------------------------------------- verdicts


@pytest.mark.parametrize("fork", ["odf", "classic"])
@pytest.mark.parametrize("way", ["file", "stdin"])
@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_verdicts_are_the_hosts(serve, tmp_path: Path, toolchain: str, way: str, fork: str) -> None:
    program = build("forkserver_ways.c", toolchain)
    path = INPUT if way == "file" else None
    server = serve(program, *([INPUT] if path else []), path=path, fork=fork)
    wrong = []
    for how in ENDINGS:
        data = how.encode() + b"5"
        native = native_status(program, data=data, tmp_path=tmp_path, path=way == "file")
        found = [status_of(server, data) for _ in range(2)]
        if found != [native, native]:
            wrong.append(f"{how}: {found} and natively {native}")
    assert not wrong, f"{program} ({way}): " + "; ".join(wrong)


def test_out_of_memory_is_sigkill(serve) -> None:
    program = build("forkserver_memory.c")
    server = serve(program, options={"memory_bytes": 48 << 20})
    assert [status_of(server, b"o"), status_of(server, b"0"), status_of(server, b"o")] == [SIGKILL, 0, SIGKILL]


@pytest.mark.parametrize("how", HANGS)
def test_a_stop_ends_every_hang(serve, how: str) -> None:
    server = serve(build("forkserver_ways.c"), INPUT, path=INPUT)
    assert status_of(server, b"07") == 7 << 8
    before = state(server)
    timers: list[threading.Timer] = []

    def has_read(task: object, row: object, number: int, *_: object) -> None:
        """It goes on to hang; only then is it to be stopped."""
        if number == 0 and not timers:
            timers.append(threading.Timer(0.2, os.write, (write, b"x")))
            timers[0].start()

    for _ in range(2):
        read, write = os.pipe()
        server.events.subscribe("syscall_exit", has_read)
        server.input.data = how.encode()
        assert server.run(read) == SIGKILL
        timers.pop().join()
        server.events.syscall_exit.remove(has_read)
        assert server.run(read) == SIGKILL, "it is still readable: nothing may run"
        os.close(read)
        os.close(write)
        assert status_of(server, b"07") == 7 << 8
    after = state(server)
    for field in ("host fds", "threads"):
        after[field] = before[field]  # the watch, which stays
    assert after == before


# ---------------------------------------------------------------- inputs


def test_shared_memory_inputs(serve) -> None:
    view = bytearray(1 << 16)
    program = build("forkserver_ways.c")
    for path in (INPUT, None):
        server = serve(program, *([path] if path else []), input=SharedInput(memoryview(view), path))
        for data in (b"07", b"a", b"03 and more", b"04"):
            view[: 4 + len(data)] = len(data).to_bytes(4, "little") + data
            assert server.run() == (6 if data == b"a" else (data[1] - 48) << 8)
        server.close()


def test_host_files_are_never_stale(serve, tmp_path: Path) -> None:
    program = build("forkserver_length.c")
    file = tmp_path / "cur_input"
    server = serve(program, INPUT, input=FileInput(INPUT, str(file)))
    assert server.run() == 0, "a file that is not there yet is empty"
    for size in (1, 3, 70_000, 2, 4096, 4097, 0, 1 << 20, 5):
        for way in ("rewrite", "replace"):
            data = bytes((size + i) % 251 for i in range(size))
            if way == "replace":
                file.unlink()
            file.write_bytes(data)
            expected = (size + sum(data)) % 199
            assert server.run() == expected << 8, f"{size} bytes, {way}"


def test_an_inherited_descriptor_is_read_from_its_start(serve, tmp_path: Path) -> None:
    file = tmp_path / "stdin"
    file.write_bytes(b"06")
    fd = os.open(file, os.O_RDWR)
    server = serve(build("forkserver_ways.c"), input=DescriptorInput(fd))
    assert server.run() == server.run() == 6 << 8
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"08xxxx", 0)
    assert server.run() == 8 << 8
    os.close(fd)


def test_directories_of_the_input_are_made(serve) -> None:
    path = "/tmp/forkserver-none/of/these/exists"
    server = serve(build("forkserver_ways.c"), path, path=path)
    assert status_of(server, b"03") == 3 << 8


# ---------------------------------------------------------------- the same state


def test_nothing_is_left_after_many_runs(serve) -> None:
    server = serve(build("forkserver_ways.c", "gcc"), INPUT, path=INPUT)
    inputs = [how.encode() + b"5" for how in ENDINGS]
    first = [status_of(server, data) for data in inputs]
    status_of(server, b"05")
    before = state(server)
    for _ in range(300 // len(inputs) + 1):
        assert [status_of(server, data) for data in inputs] == first
    status_of(server, b"05")
    assert state(server) == before


_MUTATE = """
read word
cd {scratch} || exit 9
stat -c '%n %i %h %s %b %a %u %X %Y %Z' . * */* 2>&1; cat file other dir/inner; readlink link; ls -A . dir made /dev/shm
echo new > created; echo more >> file; : > other; truncate -s 5000 dir/inner; ln file hard; ln -sf elsewhere link
mv dir moved; mkdir dir made/below; touch dir/fresh; mv other made/; chmod 600 file; rm -r made/old; mv created file
mkfifo fifo; echo x > /dev/shm/left; cp file moved/copy; rm moved/inner; rmdir dir 2>&1; touch -d 2001-01-01 moved
stat -c '%n %i %h %s %b %a %u %Y' . * */*; cat file made/other
"""


def test_file_systems_are_put_back(serve, tmp_path: Path, scratch: Path) -> None:
    """Each run looks at everything, and then changes it."""
    for name, text in (("file", "one\n"), ("other", "two\n"), ("dir/inner", "three\n"), ("made/old/deep", "four\n")):
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        (scratch / name).write_text(text)
    (scratch / "link").symlink_to("file")
    out = tmp_path / "out"
    fd = os.open(out, os.O_RDWR | os.O_CREAT)
    server = serve(Path("/bin/sh"), "-c", _MUTATE.format(scratch=scratch), options={"stdout": fd})
    seen = []
    for _ in range(4):
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, 0)
        assert status_of(server, b"go\n") == 0
        seen.append(out.read_text())
    os.close(fd)
    assert "moved/copy" in seen[0]
    assert "cannot" not in seen[0].replace("cannot remove 'dir'", "")
    for text in seen[1:]:
        assert text.splitlines() == seen[0].splitlines()
    assert (scratch / "file").read_text() == "one\n"


def test_the_profile_adds_up(serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on by one whenever it is read: from the first look in a run to the last all is accounted."""
    server = serve(build("forkserver_ways.c"), INPUT, path=INPUT)
    status_of(server, b"05")
    assert server.profile().runs == 0
    server.measure()
    clock, taken = itertools.count(), 0
    monkeypatch.setattr(time, "thread_time_ns", lambda: next(clock))
    for _ in range(20):
        begun = next(clock) + 1
        status_of(server, b"05")
        taken += next(clock) - 1 - begun
    profile = vars(server.profile())
    assert profile.pop("runs") == 20
    assert all(value > 0 for value in profile.values()), profile
    assert sum(profile.values()) == taken
    server.measure(False)
    status_of(server, b"05")
    assert server.profile().runs == 0


@pytest.mark.parametrize("toolchain", ["gcc", "musl-static"])
@pytest.mark.parametrize("fork_at", ["entry", "main", "first-read"])
def test_runs_are_alike_to_the_last_call(serve, tmp_path: Path, toolchain: str, fork_at: str) -> None:
    out = tmp_path / "out"
    fd = os.open(out, os.O_RDWR | os.O_CREAT)
    server = serve(build("forkserver_same.c", toolchain), path=None, fork_at=fork_at, options={"stdout": fd})
    calls: list[tuple[object, ...]] = []
    server.events.subscribe("syscall_exit", lambda task, row, number, args, result: calls.append(
        (task.tid, number, args, result, task.kernel.clock.peek_ns())))
    seen = []
    for _ in range(3):
        calls.clear()
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, 0)
        assert status_of(server, b"x") == 0
        seen.append((out.read_bytes(), list(calls)))
    os.close(fd)
    assert seen[0][0].count(b"\n") == 6
    assert seen[0][0] == seen[1][0] == seen[2][0]
    assert seen[0][1] == seen[1][1] == seen[2][1]


def test_the_seed_chooses(serve, tmp_path: Path) -> None:
    texts = []
    for seed in (1, 1, 2):
        out = tmp_path / "out"
        fd = os.open(out, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        server = serve(build("forkserver_same.c", "gcc"), options={"stdout": fd, "seed": seed})
        status_of(server, b"x")
        texts.append(out.read_text())
        server.close()
        os.close(fd)
    assert texts[0] == texts[1]
    assert all(a != b for a, b in zip(texts[0].splitlines()[:2], texts[2].splitlines()[:2], strict=True))


@pytest.mark.parametrize("fork_at", ["entry", "main", "first-read"])
def test_a_run_is_what_the_program_would_have_done(serve, tmp_path: Path, fork_at: str) -> None:
    """Forked or not: the same output, numbers, times and turns included; but the parked process has tables, too."""
    texts = []
    for way in ("run", "run_whole"):
        out = tmp_path / "out"
        fd = os.open(out, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        server = serve(build("forkserver_same.c", "gcc"), fork_at=fork_at, options={"stdout": fd})
        server.input.data = b"x"
        assert getattr(server, way)() == 0
        texts.append([line for line in out.read_text().splitlines() if not line.startswith("memory")])
        server.close()
        os.close(fd)
    assert texts[0] == texts[1]


# ---------------------------------------------------------------- fork points


@pytest.mark.parametrize("toolchain", [*TOOLCHAINS, "gcc-static-pie", "musl"])
def test_main_is_found_with_and_without_symbols(serve, toolchain: str) -> None:
    program = build("forkserver_early.c", toolchain)
    stripped = build("forkserver_early.c", toolchain, ["-s"])
    points = []
    for binary in (program, stripped):
        server = serve(binary, fork_at="main")
        points.append(server.fork_point)
        assert [status_of(server, b"A"), status_of(server, b"B")] == [65 << 8, 66 << 8]
        server.close()
    offsets = [point.where.rpartition("+")[2] for point in points]
    assert offsets[0] == offsets[1]
    assert {point.kind for point in points} == {"main"}


def test_places_by_symbol_and_address(serve) -> None:
    program = build("forkserver_early.c", "gcc")
    symbols = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout.split("\n")
    offset = next(line.split()[0] for line in symbols if line.endswith(" checksum")).lstrip("0")
    expected = native_status(program, "sum", data=b"x", tmp_path=program.parent, path=False)
    shown = ""
    for place in ("checksum", f"0x{offset}", f"{program.name}+0x{offset}", "read", "what was shown of it"):
        place = shown if place.startswith("what") else place
        server = serve(program, "sum", fork_at=place)
        assert server.fork_point.kind == "address"
        shown = server.fork_point.where.split("(")[1].rstrip(")")
        assert [status_of(server, b"x") for _ in range(3)] == [expected] * 3, place
        server.close()


@pytest.mark.parametrize(("what", "status", "word"), [
    ("", 65, "before read"), ("thread", 65, "pipe"), ("pipe", 97, "before pipe"), ("shared", 1, "before mmap"),
    ("timer", 1, "before setitimer"), ("lock", 7, "before fcntl"), ("child", 65, "before"), ("gone", 65, "before read"),
    ("stat", 1, "stat"), ("map", 65, "before mmap"), ("name", 65, "before open"), ("poll", 65, "before read"),
    ("never", 5, "entry"),
])  # fmt: skip
@pytest.mark.parametrize("toolchain", ["gcc", "musl-static"])
def test_first_read_is_where_runs_are_alike(serve, toolchain: str, what: str, status: int, word: str) -> None:
    notices: list[str] = []
    server = serve(build("forkserver_early.c", toolchain), what, on_notice=notices.append)
    assert word in server.fork_point.where
    assert [status_of(server, b"A") for _ in range(3)] == [status << 8] * 3
    assert bool(notices) == (what in ("thread", "pipe", "shared", "timer", "lock", "child", "never"))


@pytest.mark.parametrize(("place", "text"), [
    ("nonsense", "no function nonsense"), ("0x10", "not in the program's code"), ("checksum", "ended before"),
    ("libnone.so+0x10", "ended before"), ("libc.so.6+0x1", "not in the code"),
])  # fmt: skip
def test_places_that_are_not_there(serve, place: str, text: str) -> None:
    with pytest.raises(ForkPointError, match=text):
        serve(build("forkserver_early.c", "gcc"), "never", fork_at=place)


def test_a_program_with_children_cannot_be_parked(serve) -> None:
    with pytest.raises(ForkPointError, match="child processes"):
        serve(build("forkserver_early.c", "gcc"), "child", fork_at="read")


def test_only_the_thread_at_the_place_goes_on(serve) -> None:
    """The other thread passes the place too, before or after, and is not stopped there."""
    notices: list[str] = []
    server = serve(build("forkserver_early.c", "gcc"), "thread", fork_at="read", on_notice=notices.append)
    assert notices == ["the program has 2 threads at read: the runs may not be alike"]
    read, write = os.pipe()
    seen: list[tuple[int, int]] = []

    def look(task: Task, row: object, number: int, *_: object) -> None:
        seen.append((number, len(task.group.threads)))
        if number == 1:
            os.write(write, b"x")

    server.events.subscribe("syscall_exit", look)
    server.input.data = b"A"
    assert server.run(read) == SIGKILL, "nobody echoes"
    assert seen == [(0, 1), (1, 1)]
    os.close(read)
    os.close(write)


def test_run_whole(serve) -> None:
    for what, status in (("thread", 65 << 8), ("child", 65 << 8), ("", 65 << 8)):
        server = serve(build("forkserver_early.c", "gcc"), what)
        server.input.data = b"A"
        assert server.run_whole() == status
        server.close()
