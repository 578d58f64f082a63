"""Frame allocation fails at the n-th call, for every n: no partial effect, nothing leaks, a retry works."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from harness import build, run_native

from kernel.kernel import Kernel, Options
from kernel.mm.check import make_checker
from kernel.mm.layout import K_FAIL_AT

ARM = 1000  # the system call by which tests/programs/inject.h asks for a failure
PROGRAMS = ["inject", "inject_leaves", "inject_faults"]


def run_with_failures(program: Path, level: int, output: Path) -> int:
    """Run one of the programs; returns its wait status."""
    with open(output, "wb") as out:
        options = Options(odf=level > 0, odf_level=max(level, 1), deterministic=True, paranoid=True,
                          memory_bytes=512 << 20, swap_bytes=64 << 20, hugepages=4,
                          stdout=out.fileno(), stderr=out.fileno())
        kernel = Kernel(options)
        memory = kernel.memory
        # Neither reclaim nor the OOM killer gets in the way: whoever cannot have a frame fails.
        memory.reclaim = lambda: False  # type: ignore[method-assign]
        memory.out_of_memory = None
        armed, left = False, 0

        def arm(task: Any, row: object, number: int, regs: tuple[int, ...]) -> None:
            nonlocal armed, left
            if number != ARM:
                return
            if armed:  # after a fork both sides disarm: the first sees what was left
                left = memory.memory.get(K_FAIL_AT)
            memory.memory.set(K_FAIL_AT, 0)
            if regs[1]:
                task.mm.write_u64(regs[1], left)
            # Files are read anew in every round.
            memory.drop_caches()
            armed = regs[0] > 0
            memory.memory.set(K_FAIL_AT, regs[0])

        kernel.events.subscribe("syscall_enter", arm)
        kernel.start(os.fsencode(program), [os.fsencode(program)], [b"PATH=/usr/bin:/bin"])
        status = kernel.run()
        make_checker(kernel).check_end()
        kernel.close()
    return status


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_allocation_can_fail(name: str, level: int, tmp_path: Path) -> None:
    program = build(f"{name}.c")
    native = run_native([program])
    assert native.status == 0, native.text
    status = run_with_failures(program, level, tmp_path / "out")
    assert (status, (tmp_path / "out").read_text()) == (0, native.text)
