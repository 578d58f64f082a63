"""A campaign on this machine: one main afl-fuzz and its secondaries, each with a launcher of its own.

AFL++'s shared output directory is what connects them: every instance reads the queues of the others beside its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from guest.fuzz import dictionary
from guest.fuzz.stats import Figures, Receiver, figures
from guest.trace.structs_task import signal_name

MAIN = "main"
#: How long afl-fuzz may take to end after Ctrl-C; it writes its last figures then.
STOP_LIMIT_S = 10.0
#: AFL++'s usual map, which -U is bound to.
USUAL_MAP_BYTES = 65536
#: The start of a launcher with a gigabyte to fill before its fork point, on a busy machine.
INIT_TIMEOUT_MS = 60_000
#: How often an instance reads the others' queues: afl-fuzz's 20 minutes are longer than many a campaign.
SYNC_MINUTES = "1"
_PR_SET_PDEATHSIG = 1
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x0f|\x0e")
#: What afl-fuzz ends itself with; other lines that begin with [-] are advice.
_LAST_WORDS = re.compile(r"\[-\]\s+(PROGRAM ABORT : .*?|SYSTEM ERROR : .*?)\s*(?:Stop l|L)ocation : .*?$", re.M | re.S)
_OS_MESSAGE = re.compile(r"^\s*OS message : (.*)", re.M)
#: What getopt(3) and ld.so say.
_OWN_NAME = re.compile(r"^\S*afl-fuzz: (.*)", re.M)

_libc = ctypes.CDLL(None, use_errno=True)


class CampaignError(Exception):
    """afl-fuzz ended although it was not told to; the text is what it said."""


@dataclass(frozen=True)
class Plan:
    """What is to be run."""

    afl: str
    seeds: str
    out: str
    target: list[str]
    """The launcher with its options, ``--``, the program and its arguments."""
    jobs: int = 1
    join: str | None = None
    """The name for our secondaries when the main runs on another machine."""
    map_size: int = USUAL_MAP_BYTES
    afl_options: list[str] = field(default_factory=list)
    deterministic: bool = False
    """The main one tries every small change of each input, in order, while the others guess."""
    words: list[bytes] = field(default_factory=list)
    """A dictionary of our own: a file is made of it when the campaign begins."""

    @property
    def dictionary(self) -> str:
        """That file, hidden: afl-fuzz takes the names in its output directory for those of other fuzzers."""
        return os.path.join(self.out, ".forkyard.dict")

    def names(self) -> list[str]:
        """The instances: the first is the main, unless that is elsewhere."""
        if self.join is not None:
            return [f"{self.join}-{number}" for number in range(1, self.jobs + 1)]
        return [MAIN, *(f"second-{number}" for number in range(1, self.jobs))]

    def command(self, name: str, elsewhere: bool = False) -> list[str]:
        """The command line of one instance. -U lets any launcher pass; a map of another size needs the plain mode.

        ``elsewhere``: on a machine that may not have our files.
        """
        mode = ["-U"] if self.map_size == USUAL_MAP_BYTES else []
        role = ["-M" if name == MAIN else "-S", name]
        if name == MAIN and self.deterministic:
            role.append("-D")
        own = ["-x", self.dictionary] if self.words and not elsewhere else []
        return [self.afl, *mode, *role, "-i", self.seeds, "-o", self.out, *own, *self.afl_options, "--", *self.target]

    def settings(self) -> dict[str, str]:
        """What the environment of every instance must hold, wherever it runs."""
        settings = {"AFL_SKIP_CPUFREQ": "1", "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES": "1",
                    "AFL_FORKSRV_INIT_TMOUT": str(INIT_TIMEOUT_MS)}
        if self.map_size != USUAL_MAP_BYTES:
            settings |= {"AFL_SKIP_BIN_CHECK": "1", "AFL_MAP_SIZE": str(self.map_size)}
        return settings

    def environment(self, name: str, given: Mapping[str, str]) -> dict[str, str]:
        """Of an instance here: ``given`` wins."""
        ours = {**self.settings(), "AFL_NO_UI": "1", "AFL_AUTORESUME": "1", "AFL_SYNC_TIME": SYNC_MINUTES}
        # Two that sleep in turn, afl-fuzz and its launcher, belong on one processor, if there is one for each pair.
        ours["AFL_TRY_AFFINITY" if self.jobs <= len(os.sched_getaffinity(0)) else "AFL_NO_AFFINITY"] = "1"
        if name != MAIN and self.names().index(name) % 2:
            ours["AFL_DISABLE_TRIM"] = "1"  # long inputs stay long: what runs over a buffer is not cut off
        return {**ours, **given}

    def shown(self, name: str) -> str:
        """The instance's command as a shell takes it, with the settings that it needs."""
        return " ".join([*(f"{key}={value}" for key, value in self.settings().items()),
                         shlex.join(["afl-fuzz", *self.command(name, elsewhere=True)[1:]])])


class Instance:
    """One afl-fuzz process, started at once."""

    def __init__(self, plan: Plan, name: str, given: Mapping[str, str]) -> None:
        self.name = name
        self.folder = Path(plan.out, name)
        self.started = time.time()
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 -- closed by close()
        self._receiver = None if "AFL_STATSD" in given else Receiver()
        environment = plan.environment(name, given)
        if self._receiver is not None:
            environment |= {"AFL_STATSD": "1", "AFL_STATSD_HOST": "127.0.0.1",
                            "AFL_STATSD_PORT": str(self._receiver.port)}
        parent = os.getpid()

        def end_with_us() -> None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)

        self.process = subprocess.Popen(plan.command(name), stdin=subprocess.DEVNULL, stdout=self._log,
                                        stderr=subprocess.STDOUT, env=environment, start_new_session=True,
                                        preexec_fn=end_with_us)

    def figures(self) -> Figures:
        """As of now."""
        if self._receiver is not None:
            self._receiver.poll()
        live = self._receiver.figures if self._receiver is not None and self.process.poll() is None else {}
        # What a campaign before this one left there is not ours.
        if not live and not self._has_written():
            return Figures()
        return figures(self.folder, live)

    def _has_written(self) -> bool:
        try:
            return (self.folder / "fuzzer_stats").stat().st_mtime >= self.started
        except OSError:
            return False

    def complaint(self) -> str:
        """Why it ended: what afl-fuzz said of its end, else the signal or the status."""
        self._log.seek(0)
        said = _last_words(self._log.read().decode(errors="replace"))
        status = self.process.returncode
        if status is not None and status < 0:
            return said or f"killed by signal {-status} ({signal_name(-status)})"
        return said or f"afl-fuzz ended with status {status}"

    def stop(self) -> None:
        """Ask it to end, as Ctrl-C does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def wait(self, limit_s: float) -> None:
        """Until it has ended; it is killed after the limit."""
        try:
            self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """Give up the log and the port."""
        self._log.close()
        if self._receiver is not None:
            self._receiver.close()


def _last_words(text: str) -> str:
    """The error that afl-fuzz ended itself with, in one line; empty when there is none in its output."""
    text = _COLOURS.sub("", text)
    found = _LAST_WORDS.search(text)
    if found is not None:
        os_message = _OS_MESSAGE.search(text, found.end())
        return " ".join(found[1].split()) + (f": {os_message[1].strip()}" if os_message is not None else "")
    named = _OWN_NAME.search(text)
    return named[1].strip() if named is not None else ""


class Campaign:
    """All instances of a plan. A context manager: leaving it ends them.

    Raises:
        OSError: afl-fuzz cannot be started.
    """

    def __init__(self, plan: Plan, given: Mapping[str, str]) -> None:
        self.plan = plan
        self.instances: list[Instance] = []
        if plan.words:
            dictionary.write(plan.dictionary, plan.words)
        try:
            for name in plan.names():
                self.instances.append(Instance(plan, name, given))
        except BaseException:
            self.stop()
            raise

    def running(self) -> bool:
        """Is there one at work?

        Raises:
            CampaignError: one has failed.
        """
        for instance in self.instances:
            if instance.process.poll():
                raise CampaignError(f"{instance.name}: {instance.complaint()}")
        return any(instance.process.poll() is None for instance in self.instances)

    def stop(self) -> None:
        """End all, and wait until they have ended; may be called again."""
        for instance in self.instances:
            instance.stop()
        end = time.monotonic() + STOP_LIMIT_S
        for instance in self.instances:
            instance.wait(max(end - time.monotonic(), 0.1))

    def __enter__(self) -> Campaign:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for instance in self.instances:
            instance.close()


def crash_folders(out: str, names: Sequence[str]) -> list[Path]:
    """The directories of these instances that hold crashing inputs."""
    folders = []
    for name in names:
        folder = Path(out, name, "crashes")
        with contextlib.suppress(OSError):
            if any(entry.name.startswith("id:") for entry in folder.iterdir()):
                folders.append(folder)
    return folders
