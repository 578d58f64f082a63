"""The command line: options, exit statuses, messages, streams, signals, and what happens when the host refuses."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import harness
import pytest

from emu.native import cache_base

BUSYBOX = "/bin/busybox"


def forkyard(*words: str, **how: Any) -> harness.Result:
    """``forkyard run OPTIONS -- WORDS``; see harness.run_forkyard."""
    return harness.run_forkyard(words, paranoid=False, **how)


def cli(*words: str, **how: Any) -> subprocess.CompletedProcess[str]:
    """The bare command, for errors of usage."""
    return subprocess.run([sys.executable, "-m", "guest.cli", *words], cwd=harness.ROOT, text=True,
                          capture_output=True, timeout=harness.TIMEOUT_S, **how)


# ---------------------------------------------------------------- exit statuses and messages


@pytest.mark.parametrize(("script", "status"), [
    ("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137), ("kill -TERM $$", 143),
    ("kill -SEGV $$", 139),
    ("kill -ABRT $$", 134),
])
def test_exit_status_is_the_programs(script: str, status: int) -> None:
    assert forkyard(BUSYBOX, "sh", "-c", script).status == status


def test_programs_that_cannot_be_started(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\x7fELF" + bytes(100))
    garbage.chmod(0o755)
    plain = tmp_path / "plain"
    plain.write_text("not executable")
    orphan = tmp_path / "orphan"
    orphan.write_text("#!/no/such/interpreter\n")
    orphan.chmod(0o755)
    for program, status, reason in (
        ("no-such-program", 127, "No such file or directory"), ("/no/such/file", 127, "No such file or directory"),
        (str(orphan), 127, "No such file or directory"), ("/etc", 126, "Is a directory"),
        (str(plain), 126, "Permission denied"), (str(garbage), 126, "Exec format error"),
        (str(plain) + "/x", 126, "Not a directory"), ("", 127, "No such file or directory"),
    ):
        result = forkyard(program)
        assert (result.status, result.stdout) == (status, b""), program
        assert result.stderr.decode() == f"forkyard: {program}: {reason}\n"


@pytest.mark.parametrize(("words", "message"), [
    (("run",), "Missing argument"),
    (("run", "--memory", "lots", "true"), "is not a size"),
    (("run", "--memory", "1K", "true"), "too little"),
    (("run", "--memory", "99999T", "true"), "more than a guest can have"),
    (("run", "--timeout", "-1", "true"), "is not a time"),
    (("run", "--timeout", "0", "true"), "is not a time"),
    (("run", "--env", "NAME", "true"), "is not NAME=VALUE"),
    (("run", "--root", "/no/such/dir", "true"), "/no/such/dir: No such file or directory"),
    (("run", "--root", "/etc/passwd", "true"), "/etc/passwd: Not a directory"),
    (("run", "--bogus", "true"), "No such option"),
    (("trace", "-e", "trace=bogus", "true"), "invalid system call 'bogus'"),
    (("trace", "-z", "-Z", "true"), "exclude each other"),
    (("trace", "-A", "true"), "needs -o"),
    (("bogus",), "No such command"),
])
def test_wrong_usage(words: tuple[str, ...], message: str) -> None:
    done = cli(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(("options", "message"), [
    (("--writable", "/no/such/path"), "forkyard: --writable /no/such/path: No such file or directory\n"),
    (("--cwd", "/no/such/dir"), "forkyard: --cwd /no/such/dir: No such file or directory\n"),
    (("--cwd", "/etc/passwd"), "forkyard: --cwd /etc/passwd: Not a directory\n"),
])
def test_options_that_cannot_be_met(options: tuple[str, ...], message: str) -> None:
    done = cli("run", *options, "--", BUSYBOX, "true")
    assert (done.returncode, done.stdout, done.stderr) == (125, "", message)


def test_unknown_system_call_is_reported_once() -> None:
    script = "import ctypes\nc=ctypes.CDLL(None,use_errno=True)\n[c.syscall(999) for _ in range(3)]\n" \
             "print(ctypes.get_errno())"
    result = forkyard("/usr/bin/python3", "-c", script)
    assert result.stdout == b"38\n"
    assert result.stderr.count(b"system call 999 is not implemented") == 1


# ---------------------------------------------------------------- options


@pytest.mark.parametrize("locale", [{}, {"LANG": "C"}, {"LC_CTYPE": "C"}, {"LC_ALL": "C", "LANG": "C.UTF-8"}])
def test_environment_is_the_callers(locale: dict[str, str]) -> None:
    """Python sets LC_CTYPE for itself where there is no locale; programs sort and print otherwise with it."""
    own = {**locale, "FORKYARD_CACHE": str(cache_base()), "ODD": "=\udcff\n"}
    words = [sys.executable, "-m", "guest.cli", "run", "-E", "MORE=1", "--", BUSYBOX, "env", "-0"]
    done = subprocess.run(words, env=own, cwd=harness.ROOT, capture_output=True, timeout=harness.TIMEOUT_S)
    expected = {os.fsencode(f"{key}={value}") for key, value in {**own, "MORE": "1"}.items()}
    assert set(done.stdout.split(b"\0")) - {b""} == expected


def test_root_is_all_that_the_guest_sees(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "busybox").write_bytes(Path(BUSYBOX).read_bytes())
    (root / "bin" / "busybox").chmod(0o755)
    (root / "escape").symlink_to("../../../../etc/passwd")
    (root / "absolute").symlink_to("/etc/passwd")
    # The program is found by the guest's PATH, in the guest's tree.
    result = forkyard("busybox", "sh", "-c", "/bin/busybox ls /; cat /escape /absolute; cat ../../../etc/passwd",
                      options=("--root", str(root), "--env", "PATH=/nowhere:/bin"))
    assert result.text.split() == ["absolute", "bin", "dev", "escape", "proc", "sys"]
    assert result.stderr.count(b"No such file or directory") == 3
    assert sorted(entry.name for entry in root.iterdir()) == ["absolute", "bin", "escape"]


def test_only_writable_paths_reach_the_host(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "other").write_text("old")
    script = f"cd {tmp_path}; echo new > other; echo new > real/file; rm -f real/none; echo x > added; cat other added"
    result = forkyard(BUSYBOX, "sh", "-c", script, options=("--writable", str(tmp_path / "real")))
    assert result.text == "new\nx\n"
    assert (tmp_path / "other").read_text() == "old"
    assert (tmp_path / "real" / "file").read_text() == "new\n"
    assert not (tmp_path / "added").exists()


def test_environment_and_directory(tmp_path: Path) -> None:
    result = forkyard(BUSYBOX, "sh", "-c", 'echo "$A|$B|$(pwd)"',
                      options=("--env", "A=1=2", "-E", "B=", "--cwd", "/usr/bin"), env={"A": "other"})
    # The last --cwd wins: the harness adds its own.
    assert result.text == "1=2||/\n"
    done = cli("run", "--cwd", "/usr/bin", "--", BUSYBOX, "pwd")
    assert done.stdout == "/usr/bin\n"


def test_odf_is_the_first_programs_flag() -> None:
    for options, flag in (((), "0\n"), (("--odf",), "1\n")):
        assert forkyard(BUSYBOX, "cat", "/proc/self/use_odf", options=options).text == flag


def test_addresses() -> None:
    maps = (BUSYBOX, "grep", "-e", "stack", "/proc/self/maps")
    fixed = {forkyard(*maps, options=("--no-aslr",)).text.split()[0] for _ in range(2)}
    moving = {forkyard(*maps).text.split()[0] for _ in range(3)}
    assert len(fixed) == 1
    assert len(moving) > 1


def test_options_end_at_the_program() -> None:
    assert cli("run", BUSYBOX, "echo", "--odf", "--help", "-x").stdout == "--odf --help -x\n"


def test_timeout_ends_everything() -> None:
    for script in ("sleep 100 & sleep 100", "while :; do :; done", "trap '' TERM INT; while :; do :; done"):
        result = forkyard(BUSYBOX, "sh", "-c", script, options=("--timeout", "0.5"))
        assert result.status == 124
        assert result.stderr == b"forkyard: ended after 0.5 s\n"


def test_memory_is_limited() -> None:
    hog = "s=x; while :; do s=$s$s; done"
    result = forkyard(BUSYBOX, "sh", "-c", hog, options=("--memory", "64M", "--timeout", "60"))
    assert result.status in (137, 1, 2), result  # killed, or its malloc failed


# ---------------------------------------------------------------- streams


def test_bytes_pass_unchanged() -> None:
    data = bytes(range(256)) * 4000
    result = forkyard(BUSYBOX, "cat", stdin=data)
    assert result.stdout == data


@pytest.mark.parametrize("fd", [0, 1, 2])
def test_started_with_a_closed_stream(fd: int) -> None:
    script = "for n in 0 1 2; do [ -e /proc/self/fd/$n ] && echo open $n >> /tmp/o; done; cat /tmp/o; cat /tmp/o >&2"
    words = [sys.executable, "-m", "guest.cli", "run", "--", BUSYBOX, "sh", "-c", script]
    done = subprocess.run(["sh", "-c", f'exec "$@" {fd}>&-', "sh", *words], cwd=harness.ROOT, capture_output=True,
                          text=True, stdin=subprocess.DEVNULL)
    assert "Traceback" not in done.stderr
    shown = done.stderr if fd == 1 else done.stdout
    # busybox's [ runs in the shell itself, whose open files are ours.
    assert [line for line in shown.splitlines() if line.startswith("open")] == [
        f"open {n}" for n in range(3) if n != fd]


def test_reader_goes_away() -> None:
    words = " ".join([sys.executable, "-m", "guest.cli", "run", "--", BUSYBOX, "yes"])
    done = subprocess.run(["bash", "-c", f"{words} | head -n 2; echo ${{PIPESTATUS[0]}}"], cwd=harness.ROOT,
                          capture_output=True, text=True, timeout=harness.TIMEOUT_S)
    assert done.stdout == "y\ny\n141\n"
    assert done.stderr == ""


def test_trace_whose_reader_goes_away() -> None:
    words = " ".join([sys.executable, "-m", "guest.cli", "trace", "--", BUSYBOX, "ls", "-R", "/etc"])
    done = subprocess.run(["bash", "-c", f"{words} 2>&1 >/dev/null | head -n 1; echo ${{PIPESTATUS[0]}}"],
                          cwd=harness.ROOT, capture_output=True, text=True, timeout=harness.TIMEOUT_S)
    first, status = done.stdout.splitlines()
    assert first.startswith("execve(")
    assert status in ("141", "0")
    assert done.stderr == ""


def test_full_disk() -> None:
    done = cli("trace", "-o", "/dev/full", "--", BUSYBOX, "true")
    assert (done.returncode, done.stderr) == (125, "forkyard: /dev/full: No space left on device\n")
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "guest.cli", "syscalls"], stdout=full, stderr=subprocess.PIPE,
                              text=True, cwd=harness.ROOT)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------- trace


def test_trace_files(tmp_path: Path) -> None:
    log = tmp_path / "log"
    result = forkyard(BUSYBOX, "sh", "-c", "/bin/busybox true; exit 3", command="trace",
                      options=("-f", "-o", str(log), "-e", "trace=execve,exit_group"))
    assert result.status == 3
    assert result.stderr == b""
    lines = log.read_text().splitlines()
    assert sum("execve(" in line for line in lines) == 2
    assert lines[-1].endswith("+++ exited with 3 +++")
    forkyard(BUSYBOX, "sh", "-c", "/bin/busybox true; exit 3", command="trace", options=("-ff", "-o", f"{log}.s"))
    assert len(list(tmp_path.glob("log.s.*"))) == 2


def test_trace_counts() -> None:
    result = forkyard(BUSYBOX, "true", command="trace", options=("-c",))
    assert b"% time     seconds  usecs/call     calls    errors syscall" in result.stderr


def test_deterministic_runs_are_equal(tmp_path: Path) -> None:
    """Time, random bytes, addresses, scheduling and so the whole trace are the seed's."""
    script = ("date +%s.%N; od -An -tx8 -N8 /dev/urandom; (for i in 1 2 3; do echo a$i; sleep 0.01; done) & "
              "for i in 1 2 3; do echo b$i; sleep 0.01; done; wait; grep stack /proc/self/maps; sleep 3600")

    def played(log: str, *options: str) -> tuple[bytes, str]:
        result = forkyard(BUSYBOX, "sh", "-c", script, command="trace",
                          options=(*options, "-f", "-ttt", "-T", "-o", str(tmp_path / log)))
        assert (result.status, result.stderr) == (0, b"")
        return result.stdout, (tmp_path / log).read_text()

    first = played("1", "--deterministic")
    assert played("2", "--deterministic") == first
    assert played("3", "--seed", "0", "--odf")[0] == first[0]
    other = played("4", "--seed", "7")
    for line in (0, 1, -1):  # time, random bytes, addresses
        assert other[0].splitlines()[line] != first[0].splitlines()[line]
    assert "<3600.0" in first[1]


# ---------------------------------------------------------------- signals


def start(*words: str, **how: Any) -> subprocess.Popen[bytes]:
    """A guest that says "ready" once it runs; waits for that. Its stdin ends at end()."""
    process = subprocess.Popen([sys.executable, "-m", "guest.cli", "run", "--", *words], cwd=harness.ROOT,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def end(process: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    """Exit status and what was printed; nothing may be said on stderr."""
    try:
        stdout, stderr = process.communicate(timeout=harness.TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert stderr == b""
    return process.returncode, stdout


@pytest.mark.parametrize("work", ["sleep 100", "while :; do :; done"])
@pytest.mark.parametrize("signo", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGUSR1])
def test_signals_reach_the_guest(work: str, signo: int) -> None:
    process = start(BUSYBOX, "sh", "-c", f"echo ready; {work}")
    process.send_signal(signo)
    assert end(process) == (128 + signo, b"")


def test_ctrl_backslash() -> None:
    process = start("/bin/sh", "-c", "echo ready; exec sleep 100")  # bash would ignore it until the exec
    process.send_signal(signal.SIGQUIT)
    assert end(process) == (131, b"")


def test_the_guest_may_handle_them() -> None:
    process = start(BUSYBOX, "sh", "-c", "trap 'echo caught; exit 9' TERM; echo ready; while :; do :; done")
    process.send_signal(signal.SIGTERM)
    assert end(process) == (9, b"caught\n")


def test_a_second_sigterm_ends_a_guest_that_ignores_it() -> None:
    process = start(BUSYBOX, "sh", "-c", "trap '' TERM; trap 'echo caught' USR1; echo ready; while :; do :; done")
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGUSR1)
    assert process.stdout is not None
    assert process.stdout.readline() == b"caught\n", "the first SIGTERM has come, too"
    process.send_signal(signal.SIGTERM)
    assert end(process) == (143, b"")


def test_signals_that_were_ignored_stay_ignored() -> None:
    process = start(BUSYBOX, "sh", "-c", "echo ready; read x; kill -INT $$; echo alive",
                    preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    process.send_signal(signal.SIGINT)
    assert end(process) == (0, b"alive\n")


def test_stop_and_continue() -> None:
    process = start(BUSYBOX, "sh", "-c", "echo ready; cat; echo done")
    process.send_signal(signal.SIGTSTP)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    process.send_signal(signal.SIGCONT)
    assert end(process) == (0, b"done\n")


# ---------------------------------------------------------------- the host refuses


def test_no_address_space() -> None:
    done = cli("run", "--memory", "8G", "--", BUSYBOX, "true",
               preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30)))
    assert done.returncode == 125
    assert done.stderr.startswith("forkyard: out of memory: the host does not give 8192 MiB of address space for ")
    assert done.stderr.count("\n") == 1


def test_cache_that_cannot_be_written() -> None:
    done = cli("run", "--", BUSYBOX, "true", env={**os.environ, "FORKYARD_CACHE": "/proc/nowhere"})
    assert done.returncode == 125
    assert "the compile cache /proc/nowhere cannot be used: No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_machine_that_cannot_be_compiled_is_refused_again() -> None:
    """A second session does not run on what the first could not load."""
    script = """
from guest.session import CompileError, Options, Session
for _ in range(2):
    try:
        Session(Options())
    except CompileError:
        print("refused")
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=harness.ROOT, capture_output=True, text=True,
                          env={**os.environ, "FORKYARD_CACHE": "/proc/nowhere"})
    assert (done.returncode, done.stdout) == (0, "refused\n" * 2)


def test_interrupted_while_compiling(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-m", "guest.cli", "run", "--", BUSYBOX, "true"], cwd=harness.ROOT,
                               env={**os.environ, "FORKYARD_CACHE": str(tmp_path)}, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "compiling" in process.stderr.readline()
    time.sleep(0.5)
    process.terminate()
    assert process.wait(harness.TIMEOUT_S) == 143
    assert process.stderr.read() == ""
    assert [entry.name for entry in tmp_path.iterdir()] == ["lock"]


@pytest.mark.slow
def test_first_run(tmp_path: Path) -> None:
    """A cache of its own, from a directory outside the source: one line on stderr, then never again."""
    env = {**os.environ, "FORKYARD_CACHE": str(tmp_path), "PYTHONPATH": str(harness.ROOT)}
    words = [sys.executable, "-m", "guest.cli", "run", "--", BUSYBOX, "echo", "hello"]
    first = subprocess.run(words, env=env, cwd="/", capture_output=True, text=True)
    assert (first.returncode, first.stdout, first.stderr.count("\n")) == (0, "hello\n", 1)
    second = subprocess.run(words, env=env, cwd="/", capture_output=True, text=True)
    assert (second.returncode, second.stdout, second.stderr) == (0, "hello\n", "")
