"""The ways to carry out a list of steps: the model, the address spaces, the host, and Forkyard's kinds of fork."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterable
from functools import cache

from harness import CACHE, ROOT, build
from model import Model
from model_space import READONLY_BYTES, Spaces
from model_steps import Step, agrees, to_text

from guest.session import run

TIMEOUT_S = 60
Results = list[str]


def certain(steps: Iterable[Step]) -> tuple[list[Step], Results]:
    """The steps whose results the model knows, and these."""
    model, kept, results = Model(), [], []
    for step in steps:
        result = model.step(step)
        if result is not None:
            kept.append(step)
            results.append(result)
    return kept, results


def on_spaces(steps: Iterable[Step]) -> Results:
    """The kernel's address spaces; the invariants are checked after every step."""
    spaces, results = Spaces(), []
    try:
        for step in steps:
            results.append(spaces.step(step))
            spaces.checker.check()
        spaces.close()
    except Exception as problem:  # an answer to be compared, as any other
        results.append(f"{type(problem).__name__}: {problem}")
    return results


@cache
def _command() -> list[str]:
    """The program and the read-only file."""
    program = build("model.c")
    name = hashlib.sha256(READONLY_BYTES).hexdigest()[:12]
    path = CACHE / f"model-{name}"
    if not path.exists():
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(READONLY_BYTES)
        partial.rename(path)
    return [str(program), str(path)]


def natively(steps: Iterable[Step]) -> Results:
    """The host."""
    done = subprocess.run(_command(), input=to_text(steps).encode(), capture_output=True, timeout=TIMEOUT_S)
    return _lines(done.stdout, done.stderr, done.returncode)


def _lines(stdout: bytes, stderr: bytes, status: int) -> Results:
    lines = stdout.decode().splitlines()
    if status or stderr:
        lines.append(f"exit status {status} {stderr.decode(errors='replace')}".strip())
    return lines


def _guest(odf: bool, level: int, paranoid: bool = False) -> Callable[[Iterable[Step]], Results]:
    def carry_out(steps: Iterable[Step]) -> Results:
        done = run(_command(), stdin=to_text(steps).encode(), odf=odf, odf_level=level, paranoid=paranoid,
                   memory_bytes=256 << 20, timeout_s=TIMEOUT_S, env={}, cwd="/")
        return _lines(done.stdout, done.stderr, done.returncode)

    return carry_out


WAYS: dict[str, Callable[[Iterable[Step]], Results]] = {
    "spaces": on_spaces,
    "native": natively,
    "classic": _guest(False, 1),
    "odf": _guest(True, 1),
    "odf level 2": _guest(True, 2),
}
#: With all invariants checked after every kernel entry.
CHECKED = {"odf, checked": _guest(True, 1, True), "odf level 2, checked": _guest(True, 2, True)}


def first_difference(expected: Results, found: Results) -> int | None:
    """The number of the first step whose result is not what the model says."""
    for i, result in enumerate(expected):
        if i >= len(found) or not agrees(result, found[i]):
            return i
    return len(expected) if len(found) > len(expected) else None


def repeat_command(steps: Iterable[Step]) -> str:
    """The command line that runs these steps in every way and shows them side by side."""
    words = "; ".join(" ".join(map(str, step)) for step in steps)
    return f"cd {ROOT} && python tests/model_replay.py '{words}'"


def compare(steps: list[Step], expected: Results, way: str, settled: int | None = None) -> None:
    """Carry out ``steps`` in one way; those from number ``settled`` on only look, and the text leaves out what it can.

    Raises:
        AssertionError: a result is not the model's; the text has the steps up to there and the command to repeat it.
    """
    found = (WAYS.get(way) or CHECKED[way])(steps)
    at = first_difference(expected, found)
    if at is None:
        return
    steps, expected, found = steps[: at + 1], expected[: at + 1], found[: at + 1]
    if settled is not None and settled < at:
        fewer = steps[:settled] + steps[at:]
        shown = (WAYS.get(way) or CHECKED[way])(fewer)
        if first_difference(expected[:settled] + expected[at:], shown) == settled:
            steps, expected, found = fewer, expected[:settled] + expected[at:], shown
    raise AssertionError(explain(steps, expected, found, way))


def explain(steps: list[Step], expected: Results, found: Results, way: str) -> str:
    """The text of a failure whose last result is wrong."""
    wanted = expected[-1] if len(expected) >= len(found) else "nothing"
    lines = [f"{way}: {found[-1] if len(found) >= len(expected) else 'nothing'!r}, but the model says {wanted!r}:"]
    lines += [f"  {i:3} {' '.join(map(str, step)):40} {result}"
              for i, (step, result) in enumerate(zip(steps, expected, strict=False))]
    return "\n".join([*lines, "repeat with:", f"  {repeat_command(steps)}"])
