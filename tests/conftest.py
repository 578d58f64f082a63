"""What all tests share: see tests/harness.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import harness


def pytest_configure() -> None:
    """What the shell made us ignore (nohup, a job in the background) would be ignored by every guest, too."""
    for signo in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(signo) == signal.SIG_IGN:
            signal.signal(signo, signal.default_int_handler if signo == signal.SIGINT else signal.SIG_DFL)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile the machine before any test counts seconds: minutes, on a busy host. Workers of xdist begin later."""
    if not hasattr(session.config, "workerinput") and not session.config.option.collectonly:
        subprocess.run([sys.executable, "-m", "guest.cli", "run", "--memory", "64M", "--", "true"], cwd=harness.ROOT,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)  # the tests say what is wrong


@pytest.fixture(params=[0, 1], ids=["classic", "odf"])
def odf(request: pytest.FixtureRequest) -> int:
    """use_odf: each test that asks for it runs under both kinds of fork."""
    return int(request.param)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A directory for the guest's files."""
    path = tmp_path / "work"
    path.mkdir()
    return path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item):
    """A program or compiler that this host does not have: skip."""
    busybox = getattr(item.module, "BUSYBOX", None)  # nearly every test of such a module runs it
    if busybox and not os.access(busybox, os.X_OK):
        pytest.skip(f"no {busybox} on this host")
    return (yield from _skip_unavailable())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    """The same, found out in the test itself."""
    return (yield from _skip_unavailable())


def _skip_unavailable():
    try:
        return (yield)
    except harness.Unavailable as why:
        pytest.skip(str(why))
