"""Hostile and broken input: executables, limits, --root, unknown calls, Ctrl-C.

No traceback, no hang, nothing left behind on the host.
"""

from __future__ import annotations

import itertools
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import elf_mutants
import pytest
from harness import (
    ENVIRONMENT,
    ROOT,
    TIMEOUT_S,
    Result,
    Unavailable,
    build,
    difference,
    forkyard_argv,
    run_forkyard,
    run_native,
)
from program_cases import BUSYBOX


def exec_all(directory: Path, files: Iterable[tuple[str, bytes]], timeout: float = TIMEOUT_S) -> None:
    """What exec makes of each file must be what the host makes of it: an errno, an exit status or a signal."""
    mutants = dict(files)
    tree: dict = {**elf_mutants.COMPANIONS, **{name: (data, 0o755) for name, data in mutants.items()}}
    tree["list"] = "".join(f"{name}\n" for name in mutants)
    program = build("exec_all.c")
    native = run_native([program], cwd=directory, files=tree)
    assert native.text.count("\n") == len(mutants)
    native.files.clear()
    guest = run_forkyard([program], cwd=directory, timeout=timeout, paranoid=False)
    assert not (wrong := difference(native, guest)), wrong


def test_mutated_executables(tmp_path: Path) -> None:
    some = itertools.islice(elf_mutants.fields(), 0, None, 4)
    good = [("good", elf_mutants.plain()), ("good-dyn", elf_mutants.plain(elf_mutants.ET_DYN))]
    exec_all(
        tmp_path / "x",
        [
            *good,
            *elf_mutants.truncated(),
            *elf_mutants.ident(),
            *elf_mutants.hostile(),
            *some,
            *elf_mutants.random_bytes(300),
        ],
    )


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_mutated_executables_by_the_thousand(tmp_path: Path) -> None:
    exec_all(tmp_path / "x", [*elf_mutants.fields(), *elf_mutants.random_bytes(4000, seed=2)], 2000)


def test_invariants_hold_after_each_bad_executable(tmp_path: Path) -> None:
    """The same with every invariant recounted: a failed exec must give back what it took."""
    files = dict(elf_mutants.hostile())
    tree: dict = {**elf_mutants.COMPANIONS, **{name: (data, 0o755) for name, data in files.items()}}
    tree["list"] = "".join(f"{name}\n" for name in files)
    result = run_forkyard([build("exec_all.c")], cwd=tmp_path / "x", files=tree, odf=1)
    assert result.text.count("\n") == len(files)


# ---------------------------------------------------------------- the command line's own exec: a shell's status


def test_exit_status_is_the_shells(scratch: Path) -> None:
    mutants = dict(itertools.chain(elf_mutants.hostile(), elf_mutants.truncated()))
    files = {
        "missing-interpreter": (mutants["interpreter-none-2"], 0o755),
        "wrong-architecture": (mutants["machine-aarch64"], 0o755),
        "truncated": (mutants["truncated-64"], 0o755),
        "not-executable": (elf_mutants.plain(), 0o644),
        "script-missing-interpreter": (b"#!/nothere\n", 0o755),
        "good": (elf_mutants.plain(), 0o755),
    }
    for name in [*files, "nothere", "directory", "nothere/x", "good/x"]:
        native = run_native(["bash", "-c", f"./{name}"], cwd=scratch, files=files)
        (scratch / "directory").mkdir(exist_ok=True)
        if name == "directory":
            native = run_native(["bash", "-c", "./directory"], cwd=scratch)
        guest = run_forkyard([f"./{name}"], cwd=scratch)
        assert guest.status == native.status, f"natively:\n{native}\nforkyard:\n{guest}"
        if native.stderr:
            assert len(guest.stderr.splitlines()) == 1, f"one line of error is wanted:\n{guest}"


def test_command_not_found() -> None:
    guest = run_forkyard(["no-such-command"])
    assert (guest.status, guest.stdout) == (127, b"")
    assert b"no-such-command" in guest.stderr and guest.stderr.count(b"\n") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be")
def test_unreadable_file_as_another_user(tmp_path: Path) -> None:
    """An executable that may be run but not read; and one that may be neither."""
    program = tmp_path / "program"
    for mode, expected in ((0o711, 42), (0o700, 126)):
        program.write_bytes(elf_mutants.plain())
        program.chmod(mode)
        for parent in [tmp_path, *tmp_path.parents]:
            if not parent.stat().st_mode & 0o001:
                raise Unavailable("the temporary directory is closed to others")
        script = f"import os; os.setgid(65534); os.setuid(65534); os.execv('{program}', ['p'])"
        native = run_native(["/usr/bin/python3", "-c", script])
        guest = run_forkyard(["/usr/bin/python3", "-c", script], paranoid=False)
        assert (guest.status == 42) == (native.status == 42) == (expected == 42), f"{native}\n{guest}"


# ---------------------------------------------------------------- limits


def test_fork_bomb_gets_eagain(odf: int) -> None:
    guest = run_forkyard([build("limits.c"), "forks"], odf=odf, paranoid=False)
    assert guest.text == "fork: EAGAIN after more than 10: 1\nall reaped: 1\nagain: 1\n", str(guest)


def test_thread_bomb_gets_eagain() -> None:
    guest = run_forkyard([build("limits.c"), "threads"], paranoid=False)
    assert guest.text == "pthread_create: EAGAIN after more than 10: 1\n", str(guest)


def test_exponential_fork_bomb_ends_at_the_timeout() -> None:
    guest = run_forkyard([BUSYBOX, "sh", "-c", "f() { f | f & f; }; f"], options=["--timeout", "5"], paranoid=False)
    assert guest.status != 0


def test_memory_hog_is_killed(odf: int) -> None:
    guest = run_forkyard([build("limits.c"), "memory", "400"], odf=odf, options=["--memory", "128M"], paranoid=False)
    assert guest.text == "signal 9\nalive\n", str(guest)
    alone = run_forkyard([build("limits.c"), "hog", "400"], odf=odf, options=["--memory", "128M"], paranoid=False)
    assert (alone.status, alone.text) == (137, ""), str(alone)


def test_host_memory_stays_small() -> None:
    """A guest that is allowed 64 MiB and wants 1 GiB: the emulator's own peak stays near its start-up size."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    run_forkyard([build("limits.c"), "memory", "1000"], options=["--memory", "64M"], paranoid=False)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert peak <= max(before, (64 * 1.1 + 300) * 1024), f"{peak} KiB"


def test_unknown_system_call() -> None:
    guest = run_forkyard([build("limits.c"), "unknown"])
    assert guest.text == "-1 ENOSYS\n" * 3
    assert guest.stderr.count(b"\n") == 1 and b"9999" in guest.stderr, str(guest)


# ---------------------------------------------------------------- --root

ESCAPES = """
cat /link/secret; cat /up/secret; cat /absolute; cat /relative; cat /loop; cat {outside}/secret
cat ../../../../../../../../{outside}/secret; cat /proc/self/root/{outside}/secret; cat /proc/1/root/{outside}/secret
cat /proc/self/cwd/../../../..{outside}/secret; cd /d; cd ..; cd ..; pwd; ls; cat .{outside}/secret
ln -s {outside} /d/made; cat /d/made/secret; ln -s ../../../../../..{outside}/secret /d/made2; cat /d/made2
mkdir -p {outside}; echo inside > {outside}/secret; cat /absolute; cat /link/secret; cat /up/secret
echo overwritten > /relative; cat {outside}/secret; rm -r {outside}; ls /; chroot /d /bin/sh -c 'cd ../..; ls /'
exec 3< /; cd /proc/self/fd/3/..; ls; cat /proc/self/mountinfo | grep -c {outside}; readlink -f /up; find / -name secret
"""


@pytest.fixture
def jail(tmp_path: Path) -> tuple[Path, Path]:
    """(root with busybox and treacherous links, a directory outside with a secret)."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("SECRET\n")
    for name in ("bin", "d", "tmp", "dev", "proc"):
        (root / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin" / "busybox")
    for applet in ("sh", "cat", "ls", "ln", "mkdir", "rm", "chroot", "grep", "readlink", "find", "pwd", "echo", "mv"):
        (root / "bin" / applet).symlink_to("busybox")
    (root / "link").symlink_to(outside)
    (root / "absolute").symlink_to(outside / "secret")
    (root / "up").symlink_to(os.path.relpath(outside, root))
    (root / "relative").symlink_to("../outside/secret")
    (root / "loop").symlink_to("loop")
    return root, outside


def test_root_is_never_left(jail: tuple[Path, Path]) -> None:
    root, outside = jail
    before = sorted(str(path) for path in root.rglob("*"))
    guest = run_forkyard(["/bin/sh", "-c", ESCAPES.format(outside=outside)], options=["--root", str(root)])
    assert b"SECRET" not in guest.stdout + guest.stderr, str(guest)
    assert guest.text.count("inside") >= 3, str(guest)  # the links lead to the root's own {outside}
    assert (outside / "secret").read_text() == "SECRET\n"
    assert sorted(str(path) for path in root.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot, the oracle, needs root")
def test_root_is_as_chroot(jail: tuple[Path, Path], tmp_path: Path) -> None:
    root, outside = jail
    for script in (
        "cat /absolute; cat /up/secret; cat /relative; echo $?; cat /loop; ls / | grep -v sys; "
        "cd /d/../..; pwd; ls /d/../bin",
        f"mkdir -p {outside}; echo x > {outside}/secret; cat /absolute /relative /link/secret; readlink /up; "
        "ln -s / /d/root; ls /d/root/d/root/bin/cat; mv /d /e; cd /e/..; pwd",
    ):
        copy = tmp_path / "copy"
        subprocess.run(["cp", "-a", str(root), str(copy)], check=True)
        native = run_native(["chroot", str(copy), "/bin/sh", "-c", script])
        shutil.rmtree(copy)
        guest = run_forkyard(["/bin/sh", "-c", script], options=["--root", str(root)])
        assert not (wrong := difference(native, guest)), wrong


def test_writable_path_does_not_leak(jail: tuple[Path, Path]) -> None:
    """Links inside a writable directory lead where the guest's root says, not where the host's does."""
    root, outside = jail
    shared = root / "shared"
    shared.mkdir()
    (shared / "out").symlink_to(outside)
    (shared / "up").symlink_to("../../outside/secret")
    script = f"""
    echo changed > /shared/out/secret; echo changed > /shared/up; cat /shared/out/secret /shared/up
    echo kept > /shared/new; ln -s {outside}/secret /shared/mine; echo changed > /shared/mine; cat /shared/mine
    mkdir /shared/dir; mv /shared/dir /shared/dir2; echo y > /shared/../d/overlay; rm /shared/out; ls /shared
    """
    guest = run_forkyard(["/bin/sh", "-c", script], options=["--root", str(root), "--writable", "/shared"])
    assert b"SECRET" not in guest.stdout, str(guest)
    assert (outside / "secret").read_text() == "SECRET\n"
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]
    assert (shared / "new").read_text() == "kept\n"
    assert not (root / "d" / "overlay").exists()


def test_nothing_is_written_outside_the_overlay(tmp_path: Path) -> None:
    target = tmp_path / "host"
    target.mkdir()
    (target / "f").write_text("as it was\n")
    before = (target / "f").stat()
    script = (
        "echo changed > f; cat f; chmod 600 f; touch -d @0 f; mkdir d; mv f d/g; ln d/g h; ls; rm -r d; truncate -s 0 h"
    )
    guest = run_forkyard(["sh", "-c", script], cwd=target)
    assert guest.text == "changed\nd\nh\n"
    after = (target / "f").stat()
    assert (target / "f").read_text() == "as it was\n"
    assert (before.st_mode, before.st_mtime_ns, before.st_nlink) == (after.st_mode, after.st_mtime_ns, after.st_nlink)
    assert [path.name for path in target.iterdir()] == ["f"]


# ---------------------------------------------------------------- the end


def stop(argv: list[str], number: int, tmp_path: Path, ready: bytes = b"ready\n", **how: object) -> Result:
    """Start ``argv`` under Forkyard, send the emulator a signal once it has printed ``ready``, wait for the end."""
    words = forkyard_argv(argv, paranoid=False, **how)  # type: ignore[arg-type]
    temporary = tmp_path / "tmp"
    temporary.mkdir(exist_ok=True)
    process = subprocess.Popen(
        words,
        cwd=ROOT,
        env=dict(ENVIRONMENT, TMPDIR=str(temporary)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line == ready, (line, process.stderr and process.stderr.read())
        time.sleep(0.2)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=TIMEOUT_S)
    finally:
        left = True
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            left = False
    status = process.returncode if process.returncode >= 0 else 128 - process.returncode
    result = Result(" ".join(words), status, line + stdout, stderr)
    assert b"Traceback" not in stderr, str(result)
    assert not left, f"processes are left on the host\n{result}"
    assert list(temporary.iterdir()) == [], "temporary files are left"
    return result


PROGRAMS_TO_STOP = {
    "sleeps": "echo ready; sleep 1000",
    "computes": "echo ready; while :; do :; done",
    "waits for children": "sleep 1000 & sleep 1000 & echo ready; wait",
    "pipeline": "echo ready; yes | cat > /dev/null",
}


@pytest.mark.parametrize("what", PROGRAMS_TO_STOP)
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"])
def test_ctrl_c_and_sigterm(what: str, number: int, status: int, tmp_path: Path) -> None:
    result = stop([BUSYBOX, "sh", "-c", PROGRAMS_TO_STOP[what]], number, tmp_path)
    assert result.status == status, str(result)


def test_timeout_option() -> None:
    guest = run_forkyard([BUSYBOX, "sh", "-c", "echo started; while :; do :; done"], options=["--timeout", "8"])
    assert guest.status not in (0, 1) and guest.text == "started\n", str(guest)


def test_closed_stdout_is_sigpipe_or_epipe() -> None:
    """`forkyard run -- yes | head -n 1` ends."""
    command = f"{' '.join(forkyard_argv([BUSYBOX, 'yes'], paranoid=False))} | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=ROOT, capture_output=True, timeout=TIMEOUT_S)
    assert done.stdout == b"y\n"
    assert b"Traceback" not in done.stderr and done.returncode in (1, 141), done


def test_bad_options_are_one_line(tmp_path: Path) -> None:
    for options in (
        ["--root", str(tmp_path / "nothere")],
        ["--cwd", "/nothere"],
        ["--memory", "junk"],
        ["--memory", "0"],
        ["--writable", str(tmp_path / "nothere")],
        ["--env", "novalue"],
        ["--timeout", "x"],
    ):
        done = subprocess.run(forkyard_argv(["true"], options=options), cwd=ROOT, capture_output=True,
                              timeout=TIMEOUT_S)
        assert b"Traceback" not in done.stderr, (options, done.stderr.decode())
        if done.returncode:
            assert 1 <= done.stderr.count(b"\n") <= 5 and 0 < done.returncode < 128, (options, done)


def test_stdin_that_is_closed(tmp_path: Path) -> None:
    command = f"{' '.join(forkyard_argv(['/bin/sh', '-c', 'cat; echo $?'], paranoid=False))} <&- "
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, timeout=TIMEOUT_S)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
