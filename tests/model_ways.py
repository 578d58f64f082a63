"""The ways to carry out a list of steps: address spaces, the host, Forkyard with each kind of fork and of memory."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from harness import CACHE, ROOT, build
from model import Model
from model_space import READONLY_BYTES, Spaces
from model_steps import Step, agrees, to_text

from guest.session import run
from kernel.mm.layout import K_THP, THP_ALWAYS
from kernel.mm.memory import KernelMemory
from kernel.mm.swap import Swap

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


def _plain() -> Spaces:
    return Spaces()


def _with_swap() -> Spaces:
    memory = KernelMemory(4 << 20)
    memory.swap = Swap(memory, 64 << 20)
    return Spaces(memory)


def _with_huge_pages() -> Spaces:
    """All of anonymous memory in 2 MiB pages where that can be, and a pool for MAP_HUGETLB."""
    memory = KernelMemory(256 << 20)
    memory.memory.set(K_THP, THP_ALWAYS)
    memory.resize_pool(40)
    return Spaces(memory)


#: Kinds of memory below the kernel's address spaces.
SPACES = {"spaces": _plain, "spaces, swap": _with_swap, "spaces, huge": _with_huge_pages}


def _on_spaces(make: Callable[[], Spaces]) -> Callable[[Iterable[Step]], Results]:
    """The kernel's address spaces; the invariants are checked after every step."""

    def carry_out(steps: Iterable[Step]) -> Results:
        spaces, results = make(), []
        try:
            for step in steps:
                results.append(spaces.step(step))
                spaces.checker.check()
            spaces.close()
        except Exception as problem:  # an answer to be compared, as any other
            results.append(f"{type(problem).__name__}: {problem}")
            spaces.abandon()
        return results

    return carry_out


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


def _guest(**options: Any) -> Callable[[Iterable[Step]], Results]:
    def carry_out(steps: Iterable[Step]) -> Results:
        fields = {"memory_bytes": 256 << 20, "timeout_s": TIMEOUT_S, "cwd": "/", **options}
        done = run(_command(), stdin=to_text(steps).encode(), env={}, **fields)
        return _lines(done.stdout, done.stderr, done.returncode)

    return carry_out


Way = Callable[[Iterable[Step]], Results]
#: What a replay compares.
WAYS: dict[str, Way] = {
    "spaces": _on_spaces(_plain),
    "native": natively,
    "classic": _guest(),
    "odf": _guest(odf=True),
    "odf level 2": _guest(odf=True, odf_level=2),
}
_SWAP = {"memory_bytes": 16 << 20, "swap_bytes": 96 << 20}
#: And the same with less memory, more kinds of it, and all invariants checked after every kernel entry.
MORE_WAYS: dict[str, Way] = {
    **{way: _on_spaces(make) for way, make in SPACES.items()},
    "odf, checked": _guest(odf=True, paranoid=True),
    "odf level 2, checked": _guest(odf=True, odf_level=2, paranoid=True),
    "classic, swap": _guest(**_SWAP),
    "odf, swap": _guest(odf=True, **_SWAP),
    "odf level 2, swap": _guest(odf=True, odf_level=2, **_SWAP),
    "odf, swap, checked": _guest(odf=True, paranoid=True, **_SWAP),
    "classic, huge": _guest(hugepages=40),
    "odf, huge": _guest(odf=True, hugepages=40),
    "odf level 2, huge": _guest(odf=True, odf_level=2, hugepages=40),
}
ALL_WAYS = WAYS | MORE_WAYS


def first_difference(expected: Results, found: Results) -> int | None:
    """The number of the first step whose result is not what the model says."""
    for i, result in enumerate(expected):
        if i >= len(found) or not agrees(result, found[i]):
            return i
    return len(expected) if len(found) > len(expected) else None


def repeat_command(steps: Iterable[Step], way: str) -> str:
    """The command line that runs these steps, in every way or the one named, and shows them side by side."""
    words = "; ".join(" ".join(map(str, step)) for step in steps)
    return f"cd {ROOT} && python tests/model_replay.py '{words}'" + (f" '{way}'" if way not in WAYS else "")


def compare(steps: list[Step], expected: Results, way: str, settled: int | None = None) -> None:
    """Carry out ``steps`` in one way; those from number ``settled`` on only look, and the text leaves out what it can.

    Raises:
        AssertionError: a result is not the model's; the text has the steps up to there and the command to repeat it.
    """
    found = ALL_WAYS[way](steps)
    at = first_difference(expected, found)
    if at is None:
        return
    steps, expected, found = steps[: at + 1], expected[: at + 1], found[: at + 1]
    if settled is not None and settled < at:
        fewer = steps[:settled] + steps[at:]
        shown = ALL_WAYS[way](fewer)
        if first_difference(expected[:settled] + expected[at:], shown) == settled:
            steps, expected, found = fewer, expected[:settled] + expected[at:], shown
    raise AssertionError(explain(steps, expected, found, way))


def explain(steps: list[Step], expected: Results, found: Results, way: str) -> str:
    """The text of a failure whose last result is wrong."""
    wanted = expected[-1] if len(expected) >= len(found) else "nothing"
    lines = [f"{way}: {found[-1] if len(found) >= len(expected) else 'nothing'!r}, but the model says {wanted!r}:"]
    lines += [f"  {i:3} {' '.join(map(str, step)):40} {result}"
              for i, (step, result) in enumerate(zip(steps, expected, strict=False))]
    return "\n".join([*lines, "repeat with:", f"  {repeat_command(steps, way)}"])
