"""What must be in order before a fuzzing campaign begins, and one trial of the launcher on the seeds.

afl-fuzz itself says little when its target does not come up (its launcher's messages go to /dev/null), so whatever can
be found out before is found out here, with a message for each.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from guest.fuzz.driver import START_LIMIT_S, Driver, DriverError, DriverTimeoutError
from guest.fuzz.protocol import PARKED

AFL = "afl-fuzz"
#: What afl-fuzz takes of a seed (config.h, MAX_FILE): the rest of a longer one is left out.
MAX_SEED_BYTES = 1 << 20
#: Seeds that are tried before, and how long one run may take there.
_TRIED_SEEDS, _TRIAL_LIMIT_S = 8, 5.0
#: How many ms afl-fuzz waits for a launcher's hello.
_INIT_LIMIT = "AFL_FORKSRV_INIT_TMOUT"


class SetupProblem(Exception):  # noqa: N818 -- not a failure of ours: something for the user to put right
    """Why there cannot be a campaign, in one line."""


@dataclass(frozen=True)
class Trial:
    """What one launcher did with some of the seeds."""

    ready_s: float
    """From its start to its hello."""
    parked: str
    """Where it parked the program, in its own words."""
    runs: int
    run_s: float
    """The fastest run."""
    edges: int
    """Different bytes of the map that the seeds touched together."""
    warnings: list[str]


def find_afl() -> str:
    """The path of afl-fuzz.

    Raises:
        SetupProblem: it is not installed.
    """
    path = shutil.which(AFL)
    if path is None:
        raise SetupProblem(f"{AFL} is not installed: apt-get install afl++")
    return path


def check_seeds(folder: str) -> list[Path]:
    """The seeds of a directory, the smallest first; none for ``-``, which resumes.

    Raises:
        SetupProblem: there is nothing that afl-fuzz could begin with.
    """
    if folder == "-":
        return []
    try:
        # afl-fuzz looks into directories of the directory, too.
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        sizes = {path: path.stat().st_size for path in files}
        os.listdir(folder)
    except OSError as error:
        raise SetupProblem(f"-i {folder}: {error.strerror}") from None
    seeds = sorted((path for path in files if sizes[path]), key=lambda path: sizes[path])
    if not seeds:
        hint = "only empty files" if files else "no files: put one small, valid input there"
        raise SetupProblem(f"-i {folder}: {hint}")
    return seeds


def check_output(folder: str, seeds: str) -> None:
    """Make the output directory; to be resumed it must be there.

    Raises:
        SetupProblem: it cannot be made or written, or there is nothing to go on with.
    """
    if seeds == "-" and not any(Path(folder).glob("*/queue")):
        raise SetupProblem(f"-i - goes on with a campaign, and there is none in -o {folder}")
    if seeds != "-" and os.path.realpath(folder) == os.path.realpath(seeds):
        raise SetupProblem(f"-o {folder}: that is the directory of the seeds")
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise SetupProblem(f"-o {folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SetupProblem(f"-o {folder}: Permission denied")


def check_target(program: str, root: str = "/") -> Path:
    """The host's file of the program.

    Raises:
        SetupProblem: it is not there, or not a program for x86-64.
    """
    if "/" in program:
        path = Path(program) if root == "/" else Path(root, program.lstrip("/"))
    else:
        where = os.pathsep.join(os.path.join(root, part.lstrip("/")) for part in os.get_exec_path())
        found = shutil.which(program, path=where)
        if found is None:
            raise SetupProblem(f"{program}: not found in PATH")
        path = Path(found)
    try:
        with open(path, "rb") as file:
            if file.read(2) == b"#!":
                raise SetupProblem(f"{program} is a script: fuzz its interpreter, with the script as an argument")
            elf = ELFFile(file)
            if elf.elfclass != 64 or elf["e_machine"] != "EM_X86_64":
                raise SetupProblem(f"{program} is a program for {elf.get_machine_arch()}, {elf.elfclass} bits: "
                                   "only x86-64 can be run")
            if elf["e_type"] not in ("ET_EXEC", "ET_DYN"):
                raise SetupProblem(f"{program} is an object file or core, not a program")
    except OSError as error:
        raise SetupProblem(f"{program}: {error.strerror}") from None
    except ELFError:
        raise SetupProblem(f"{program} is not an ELF program") from None
    if not os.access(path, os.X_OK):
        raise SetupProblem(f"{program}: Permission denied")
    return path


def launcher() -> list[str]:
    """The command that is this Forkyard, as we were started ourselves."""
    name = sys.argv[0]
    if os.path.basename(name) == "forkyard" and (found := shutil.which(name)):
        return [os.path.abspath(found)]
    return [sys.executable, "-m", "guest.cli"]


def compile_machine() -> None:
    """Have the hot code compiled, which takes longer than afl-fuzz waits for a launcher; quick when it is there.

    Raises:
        SetupProblem: Forkyard does not work on this host; why is on stderr.
    """
    done = subprocess.run([*launcher(), "run", "--memory", "64M", "--", "true"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL)
    if done.returncode:
        raise SetupProblem("Forkyard cannot run a program on this host")


def _wait_ready(driver: Driver, limit_s: float) -> float:
    """Until the program is at its fork point; returns the seconds.

    Raises:
        DriverError: the launcher ends.
        SetupProblem: it takes longer than AFL_FORKSRV_INIT_TMOUT, or ``limit_s``.
    """
    given = os.environ.get(_INIT_LIMIT, "")
    limit_s = int(given) / 1000 if given.isdecimal() and int(given) else limit_s
    try:
        return driver.wait_ready(limit_s)
    except DriverTimeoutError:
        raise SetupProblem(
            f"the program did not reach its fork point within {limit_s:g} s: fork it earlier, with --fork-at entry, or "
            f"give it more time, with {_INIT_LIMIT} (in ms)") from None


def try_seeds(command: Sequence[str], seeds: Sequence[Path], map_size: int, limit_s: float = START_LIMIT_S, *,
              may_crash: bool = False) -> Trial:
    """Start the launcher with a map of this size and run some seeds twice; more of them while all crash.

    Args:
        may_crash: that is no reason not to begin.

    Raises:
        SetupProblem: the launcher does not work, all seeds crash, or the program touches nothing.
    """
    all_crash = True
    warnings: list[str] = []
    touched: set[int] = set()
    seconds: list[float] = []
    try:
        with Driver(command, None, env={**os.environ, "AFL_MAP_SIZE": str(map_size)}, map_bytes=map_size) as driver:
            ready_s = _wait_ready(driver, limit_s)
            for number, seed in enumerate(seeds):
                if number >= _TRIED_SEEDS and (may_crash or not all_crash):
                    break
                with seed.open("rb") as file:
                    data = file.read(MAX_SEED_BYTES)
                if seed.stat().st_size > MAX_SEED_BYTES:
                    warnings.append(f"{seed.name}: afl-fuzz takes the first MiB of it")
                outcomes = [driver.run(data, _TRIAL_LIMIT_S)]
                first = driver.coverage()
                if not outcomes[0].timed_out:
                    outcomes.append(driver.run(data, _TRIAL_LIMIT_S))
                    if driver.coverage() != first:
                        warnings.append(f"{seed.name}: two runs take different ways")
                touched.update(i for i, count in enumerate(first) if count)
                seconds += [outcome.seconds for outcome in outcomes]
                all_crash &= not outcomes[0].timed_out and bool(outcomes[0].status & 0x7F)
                if outcomes[0].timed_out:
                    warnings.append(f"{seed.name}: takes more than {_TRIAL_LIMIT_S:g} s; give -t, or leave it out")
                elif outcomes[0].status & 0x7F and not may_crash:
                    warnings.append(f"{seed.name}: crashes the program (signal {outcomes[0].status & 0x7F}); "
                                    "afl-fuzz leaves it out")
            said = driver.messages()
    except (DriverError, OSError) as error:
        raise SetupProblem(str(error)) from None
    if all_crash and not may_crash:
        raise SetupProblem("every seed crashes the program: afl-fuzz needs at least one that does not")
    if not touched:
        raise SetupProblem("the program touches no edge that counts after its fork point: with its code in a library, "
                           "try --inst-libs; else --fork-at main")
    parked = next((line.removeprefix(PARKED) for line in said if line.startswith(PARKED)), "")
    notices = [line for line in said if not line.startswith(PARKED)]
    return Trial(ready_s, parked, len(seconds), min(seconds), len(touched), [*notices, *warnings])
