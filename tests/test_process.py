"""Processes: tests/programs/process_*.c natively and under Forkyard, and hostile programs through execve."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from harness import build, check, check_test_program, run_forkyard

SUITES = ["process_fork", "process_wait", "process_exec", "process_group", "process_preempt"]


@pytest.mark.parametrize("suite", SUITES)
def test_static_glibc(suite: str, odf: int, scratch: Path) -> None:
    check_test_program(f"{suite}.c", "gcc-static", odf, cwd=scratch, files={})


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("toolchain", ["gcc", "musl-static"])
def test_other_libc(suite: str, toolchain: str, scratch: Path) -> None:
    check_test_program(f"{suite}.c", toolchain, 1, cwd=scratch, files={})


@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("toolchain", ["musl", "gcc-fixed", "gcc-static-pie"])
def test_other_toolchains(suite: str, toolchain: str, odf: int, scratch: Path) -> None:
    check_test_program(f"{suite}.c", toolchain, odf, cwd=scratch, files={})


@pytest.mark.parametrize("options", [[], ["--no-aslr"]])
def test_elf_fields(options: list[str], scratch: Path) -> None:
    """1600 programs, one header field changed in each: the same errno, exit status or signal as the host's."""
    check([build("process_elf.c")], cwd=scratch, files={}, odf=[1], options=options, paranoid=False)


EDGES = (0, 1, 0xFFF, 0x1000, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFE000, 0x7FFFFFFFF000, 1 << 47, 1 << 63, (1 << 64) - 1)


@pytest.mark.parametrize("toolchain", ["gcc-static", "gcc", "gcc-static-pie", "musl"])
def test_mutated_programs_run(toolchain: str, scratch: Path) -> None:
    """Programs with damaged headers, or cut short, come to some end; the emulator says nothing and goes on."""
    original = build("process_execall.c", toolchain).read_bytes()
    headers = 64 + 56 * struct.unpack_from("<H", original, 56)[0]
    rng = random.Random(toolchain)
    count = 150
    for i in range(count):
        data = bytearray(original)
        if i < 20:
            del data[rng.randrange(len(data)) :]
        else:
            for _ in range(rng.randrange(1, 4)):
                if rng.random() < 0.5:
                    data[rng.randrange(headers)] = rng.randrange(256)
                else:
                    value = rng.choice(EDGES) + rng.choice((0, 0, 1, -1)) & (1 << 64) - 1
                    struct.pack_into("<Q", data, rng.randrange(16, headers - 8) & ~7, value)
        (scratch / str(i)).write_bytes(data)
        (scratch / str(i)).chmod(0o755)
    guest = run_forkyard([build("process_execall.c"), scratch, str(count)])
    assert (guest.stdout, guest.stderr, guest.status) == (b"done\n", b"", 0)
