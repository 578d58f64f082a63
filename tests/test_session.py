"""The Python API: run() and Session, and that nothing is left behind."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from guest.session import LaunchError, Options, Session, run

BUSYBOX = "/bin/busybox"


def test_run_collects_what_is_printed() -> None:
    done = run([BUSYBOX, "sh", "-c", "cat; echo wrong >&2; exit 3"], stdin=b"hello\n" * 30000)
    assert (done.returncode, done.wait_status) == (3, 0x300)
    assert done.stdout == b"hello\n" * 30000
    assert done.stderr == b"wrong\n"
    assert not done.timed_out


def test_stdin_that_is_not_read() -> None:
    assert run([BUSYBOX, "true"], stdin=b"x" * 1000000).returncode == 0


def test_environment() -> None:
    done = run(["env"], env={"PATH": "/usr/bin:/bin", "A": "ä"})
    assert done.stdout == "PATH=/usr/bin:/bin\nA=ä\n".encode()


def test_signal_and_time_limit() -> None:
    assert run([BUSYBOX, "sh", "-c", "kill -9 $$"]).returncode == 137
    done = run([BUSYBOX, "sleep", "100"], timeout_s=0.3)
    assert (done.returncode, done.timed_out) == (124, True)


def test_programs_that_cannot_be_started() -> None:
    with pytest.raises(LaunchError, match=r"^nope: No such file") as failure:
        run(["nope"])
    assert failure.value.status == 127
    with pytest.raises(LaunchError, match=r"^/etc: Is a directory$") as failure:
        run(["/etc"])
    assert failure.value.status == 126


def test_events_and_figures() -> None:
    forks: list[bool] = []
    with Session(Options(odf=True, stdout=os.open(os.devnull, os.O_WRONLY))) as session:
        session.events.subscribe("fork", lambda parent, child, flags, odf: forks.append(odf))
        session.start([BUSYBOX, "sh", "-c", "true | true; exit 4"])
        assert session.run() == 4
        os.close(session.options.stdout)
    assert forks
    assert all(forks)
    stats = session.stats()
    assert stats.tables_shared > 0
    assert stats.used_bytes > 0
    assert stats.faults > 0


def test_forks_count_tables_once() -> None:
    script = "for i in 1 2 3 4; do (:); done"
    classic, on_demand = (run([BUSYBOX, "sh", "-c", script], odf=odf).stats for odf in (False, True))
    assert classic.tables_shared == 0
    assert on_demand.tables_shared > 0
    assert on_demand.fork_entries * 20 < classic.fork_entries


def test_nothing_is_left(tmp_path: Path) -> None:
    def state() -> tuple[list[str], int, list[str]]:
        return sorted(os.listdir("/proc/self/fd")), threading.active_count(), os.listdir(tmp_path)

    before = None
    for script in ("true", "sleep 100 & exec sleep 100", "cat /etc/passwd | wc -l; echo x > /tmp/forkyard-left"):
        run([BUSYBOX, "sh", "-c", script], timeout_s=0.5, writable=[str(tmp_path)])
        with pytest.raises(LaunchError):
            run(["/no/such/program"])
        now = state()
        assert before in (None, now)
        before = now
    assert not Path("/tmp/forkyard-left").exists()
