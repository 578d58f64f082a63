"""Coverage: the map that a path gives, the same whatever the host, ASLR, page faults and translations do meanwhile.

For one program the path is known: the host steps through it, and the map is computed from the addresses seen.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import capstone
import harness
import numpy as np
import pytest
from capstone import x86
from elftools.elf.elffile import ELFFile
from stepping import step

from emu.coverage import PROGRAMS_END, Segments, module_key
from guest.fuzz.forkserver import ForkServer
from guest.fuzz.input import BytesInput
from guest.session import Options, Session, run
from kernel.coverage import CoverageOptions, from_environment

MAP_BYTES = 1 << 16
_GOLDEN = 0x9E3779B97F4A7C15
_PATH_FLAGS = ("-nostdlib", "-fno-stack-protector")


def _path_program(*flags: str) -> Path:
    return harness.build("coverage_path.c", "gcc-fixed", (*_PATH_FLAGS, "-static", *flags))


class Run:
    """One run of a program with a map."""

    def __init__(self, argv: Sequence[str | Path], *, map_bytes: int = MAP_BYTES, options: dict[str, Any] | None = None,
                 **coverage: Any) -> None:
        self.map = np.zeros(map_bytes, np.uint8)
        chosen = CoverageOptions(self.map.ctypes.data, map_bytes, **coverage)
        out = os.open(os.devnull, os.O_RDWR)
        fields = {"stdin": out, "stdout": out, "stderr": out, "deterministic": True, **(options or {})}
        try:
            with Session(Options(coverage=chosen, **fields)) as session:
                session.start([str(word) for word in argv], {"PATH": "/usr/bin:/bin", "LANG": "C"})
                self.status = session.run()
                blocks = session.kernel.machine.cpu.blocks
                assert blocks is not None
                self.blocks = blocks.count
                self.time_ns = session.kernel.clock.peek_ns()
        finally:
            os.close(out)

    @property
    def edges(self) -> int:
        return int(np.count_nonzero(self.map))

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.map.tobytes()).hexdigest()[:16]


# ---------------------------------------------------------------- the map of a known path


def _ends_block(instruction: capstone.CsInsn) -> bool:
    if any(map(instruction.group, (x86.X86_GRP_JUMP, x86.X86_GRP_CALL, x86.X86_GRP_RET))):
        return True
    return instruction.mnemonic == "syscall" or instruction.mnemonic.startswith(("rep", "popf"))


def _expected(path: Path, argv: Sequence[str]) -> tuple[np.ndarray, int]:
    """(map, blocks) of a run, from the host's execution of it."""
    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    disassembler.detail = True
    with open(path, "rb") as file:
        text = next(segment for segment in ELFFile(file).iter_segments("PT_LOAD") if segment["p_flags"] & 1)
        code, base, offset = text.data(), text["p_vaddr"], text["p_offset"]
    ends: dict[int, bool] = {}
    repeats = set()
    key = module_key(path.name.encode())
    counts = [0] * MAP_BYTES
    previous = blocks = last = 0
    begins = True
    for address in step([str(path), *argv]):
        # The engine looks at a repeated instruction once more, to see that its count is 0.
        for begun in [last] * (last in repeats and address != last) + [address] * begins:
            position = ((begun - base + offset + key) * _GOLDEN >> 32) % MAP_BYTES
            counts[position ^ previous] += 1
            previous = position >> 1
            blocks += 1
        if address not in ends:
            instruction = next(disassembler.disasm(code[address - base : address - base + 16], address, 1))
            ends[address] = _ends_block(instruction)
            if instruction.mnemonic.startswith("rep"):
                repeats.add(address)
        begins = ends[last := address]
    return np.array([(n - 1) % 255 + 1 if n else 0 for n in counts], np.uint8), blocks


@pytest.mark.parametrize(("seed", "flags"), [
    ("0", ()), ("3", ()), ("3p", ()), ("5p", ()),
    ("1", ("-Wl,-N",)),  # code and data in one page: each store is stepped, and drops translations
])
def test_map_is_that_of_the_path(seed: str, flags: tuple[str, ...]) -> None:
    program = _path_program(*flags)
    expected, blocks = _expected(program, [seed])
    run = Run([program, seed])
    assert run.status == 0
    assert run.blocks == blocks
    different = np.flatnonzero(run.map != expected)
    assert different.size == 0, [(int(i), int(run.map[i]), int(expected[i])) for i in different[:10]]


def test_map_of_a_program_that_changes_its_code() -> None:
    """Not exactly its path: what is stepped is not seen to begin a block. But the same in every run."""
    program = _path_program("-Wl,-N")
    expected, blocks = _expected(program, ["1n"])
    run = Run([program, "1n"])
    assert 0 <= blocks - run.blocks <= 3
    assert np.count_nonzero(run.map.astype(bool) != expected.astype(bool)) < 10
    for fields in ({"seed": 1}, {"odf": True}, {"memory_bytes": 64 << 20}):
        assert Run([program, "1n"], options=fields).digest == run.digest


# ---------------------------------------------------------------- determinism


def _output(program: Path, *arguments: str, **fields: Any) -> bytes:
    return run([str(program), *arguments], env={"PATH": "/usr/bin:/bin"}, deterministic=True, **fields).stdout


def test_threads_run_in_the_same_order() -> None:
    program = harness.build("coverage_threads.c", "gcc")
    first = _output(program, seed=1)
    assert first.count(b"\n") == 3
    assert [_output(program, seed=1) for _ in range(3)] == [first] * 3
    others = {_output(program, seed=seed) for seed in range(2, 6)}
    assert len(others - {first}) >= 2, "the seed changes nothing"


@pytest.mark.parametrize("where", ["p", "l", "t", "s"])
def test_endless_program_is_stopped(where: str) -> None:
    done = run([str(harness.build("coverage_spin.c", "gcc")), where], env={}, deterministic=True, timeout_s=0.3)
    assert done.timed_out


# ---------------------------------------------------------------- stability


def _kinds(toolchain: str = "gcc") -> Path:
    return harness.build("coverage_kinds.c", toolchain)


@pytest.mark.parametrize("toolchain", ["gcc", "gcc-fixed", "gcc-static", "gcc-static-pie"])
@pytest.mark.parametrize("kind", ["m", "t", "f", "e"])
def test_maps_are_equal(toolchain: str, kind: str) -> None:
    """Whatever the addresses, the kind of fork, and the boot of another machine."""
    program = _kinds(toolchain)
    first = Run([program, "9", kind])
    assert first.status == 0
    assert first.edges > 15
    for fields in ({"seed": 1}, {"seed": 2, "odf": True}, {"aslr": False}, {"memory_bytes": 64 << 20}):
        again = Run([program, "9", kind], options=fields)
        assert again.digest == first.digest, fields
    assert Run([program, "10", kind]).digest != first.digest


def test_map_is_equal_in_another_process() -> None:
    program = _kinds()
    script = ("import sys; sys.path[:0] = sys.argv[1:3]\nimport test_coverage as t\n"
              "print(t.Run([sys.argv[3], '20', 'f'], options={'seed': 5}).digest)")
    here = Path(__file__).resolve().parent
    done = subprocess.run([sys.executable, "-c", script, here, here.parent, program], capture_output=True, text=True,
                          timeout=harness.TIMEOUT_S, check=False)
    assert done.stdout.strip() == Run([program, "20", "f"]).digest, done.stderr


class Server:
    """A fork server with a map; ``run()`` gives the status and the map's digest."""

    def __init__(self, argv: Sequence[str], path: str, data: bytes, *, seed: int = 0, fork: str = "odf") -> None:
        self.map = np.zeros(MAP_BYTES, np.uint8)
        self._null = os.open(os.devnull, os.O_RDWR)
        options = Options(seed=seed, stdin=self._null, stdout=self._null, stderr=self._null)
        self.input = BytesInput(data, path=path)
        self._server = ForkServer(options, argv, env={"PATH": "/usr/bin:/bin"}, fork=fork, input=self.input,
                                  coverage=CoverageOptions(self.map.ctypes.data, MAP_BYTES))

    def __enter__(self) -> Server:
        self._server.prepare()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()
        os.close(self._null)

    def run(self, stop_fd: int | None = None) -> tuple[int, str]:
        self.map[:] = 0
        return self._server.run(stop_fd), hashlib.sha256(self.map.tobytes()).hexdigest()


@pytest.mark.parametrize("fork", ["odf", "classic"])
def test_fifty_runs_of_a_fork_server(fork: str) -> None:
    harness.need("readelf")
    found = set()
    for seed in (0, 7):
        with Server(["readelf", "-a", "/in.elf"], "/in.elf", _kinds().read_bytes(), seed=seed, fork=fork) as server:
            found |= {server.run() for _ in range(50)}
            assert np.count_nonzero(server.map) > 1000
    assert len(found) == 1
    assert next(iter(found))[0] == 0


def test_threads_and_pipelines_in_a_fork_server() -> None:
    """They run side by side in the same order each time, whichever kind of fork made them."""
    harness.need("busybox")
    threads = [str(harness.build("coverage_threads.c", "gcc")), "/unused"]
    script = b"for i in 1 2 3; do echo $i | cat & done; wait; ls / | sort | head -n 3"
    for argv, path, data in ((threads, "/unused", b""), (["busybox", "sh", "/in.sh"], "/in.sh", script)):
        found = set()
        for fork in ("odf", "classic"):
            with Server(argv, path, data, seed=3, fork=fork) as server:
                found |= {server.run() for _ in range(8)}
        assert len(found) == 1, argv


def test_run_after_one_that_was_stopped() -> None:
    harness.need("busybox")
    good, endless = b"for i in 1 2 3; do [ $i = 2 ] && echo; done", b"while :; do :; done"
    with Server(["busybox", "sh", "/in.sh"], "/in.sh", good) as server:
        expected = server.run()
        for _ in range(3):
            server.input.data = endless
            read, write = os.pipe()
            timer = threading.Timer(0.05, os.write, (write, b"x"))
            timer.start()
            assert server.run(read)[0] == signal.SIGKILL
            timer.join()
            os.close(read)
            os.close(write)
            server.input.data = good
            assert server.run() == expected


def test_counters_never_wrap_to_zero() -> None:
    program = _kinds()
    counts = {calls: Run([program, str(calls), "m"]).map for calls in (200, 455, 711)}
    assert len({run.astype(bool).tobytes() for run in counts.values()}) == 1
    # even() is called once more than every 255 calls of it show, whatever the number.
    assert not any((run == 0).all() for run in counts.values())


@pytest.mark.parametrize("size", [64, 4096, 1 << 20, 100_000])
def test_map_sizes(size: int) -> None:
    run = Run([_kinds(), "9", "m"], map_bytes=size)
    assert run.edges > 5
    assert not run.map[1 << size.bit_length() - 1 :].any()


# ---------------------------------------------------------------- what counts


def test_threads_and_children_count_or_not() -> None:
    program = _kinds()
    for kind, option in (("t", "threads"), ("f", "children"), ("e", "children")):
        everything, own = Run([program, "9", kind]), Run([program, "9", kind], **{option: False})
        assert own.edges < everything.edges
        assert ((everything.map == 0) <= (own.map == 0)).all()
        assert Run([program, "99", kind], **{option: False}).digest == own.digest


def test_libraries_and_ranges() -> None:
    program = _kinds()
    argv = [program, "9", "m"]
    plain = Run(argv)
    libraries = Run(argv, libraries=True)
    assert libraries.edges > plain.edges + 500
    assert Run(argv, libraries=True, options={"odf": True}).digest == libraries.digest
    libc = Run(argv, ranges=(b"libc.so",))
    assert plain.edges < libc.edges < libraries.edges
    assert Run(argv, excluded=(program.name.encode(),)).edges == 0
    assert Run(argv, libraries=True, excluded=(b"/lib", b"ld-linux")).digest == plain.digest
    low = Run(argv, code=(0, PROGRAMS_END))
    assert low.edges == plain.edges


def test_libraries_do_not_depend_on_addresses() -> None:
    """But for the few branches that do: string functions look at how the stack happens to be aligned."""
    runs = [Run([_kinds(), "9", "t"], libraries=True, options={"seed": seed}) for seed in range(4)]
    assert all(run.edges > 2000 for run in runs)
    assert max(np.count_nonzero(other.map != runs[0].map) for other in runs) < 60


def test_addresses_of_a_fixed_program() -> None:
    program = _path_program()
    with open(program, "rb") as file:
        symbols = ELFFile(file).get_section_by_name(".symtab")
        pick = symbols.get_symbol_by_name("pick")[0]
    start = pick["st_value"]
    own = Run([program, "0"], code=(start, start + pick["st_size"]))
    rest = Run([program, "0"], excluded=((start, start + pick["st_size"]),))
    assert 5 < own.edges < rest.edges
    assert own.blocks + rest.blocks == Run([program, "0"]).blocks


def test_environment() -> None:
    assert from_environment({}) == CoverageOptions()
    options = from_environment({
        "AFL_INST_LIBS": "1", "AFL_QEMU_INST_RANGES": "0x1000-0x2000, libz.so", "AFL_QEMU_EXCLUDE_RANGES": "libc.so.6",
        "AFL_CODE_START": "0x400000"}, 4096, 64, threads=False)
    assert options.libraries
    assert options.ranges == ((0x1000, 0x2000), b"libz.so")
    assert options.excluded == (b"libc.so.6",)
    assert options.code == (0x400000, (1 << 47) - 4096)
    assert (options.map_address, options.map_bytes, options.threads, options.children) == (4096, 64, False, True)


@pytest.mark.parametrize(("name", "value"), [
    ("AFL_QEMU_INST_RANGES", "0x2000-0x1000"), ("AFL_QEMU_INST_RANGES", "0x1000"),
    ("AFL_QEMU_EXCLUDE_RANGES", "libc.so,0x10-zz"), ("AFL_CODE_END", "main"),
])
def test_environment_that_cannot_be_read(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}"):
        from_environment({name: value})


# ---------------------------------------------------------------- the machine's part


def test_segments() -> None:
    ranges = [(0x1000, 0x2000, 5), (0x2000, 0x3000, 9), (0x8000, 0x9000, 7)]
    assert Segments(reversed(ranges)).ranges() == ranges
    assert Segments(()).ranges() == []
    with pytest.raises(ValueError, match="overlap"):
        Segments([(0x1000, 0x2000, 5), (0x1800, 0x3000, 9)])


def test_breakpoints_are_exact() -> None:
    """At each instruction of a function, wherever translated blocks begin, and nothing is left behind."""
    program = _path_program()
    with open(program, "rb") as file:
        elf = ELFFile(file)
        pick = elf.get_section_by_name(".symtab").get_symbol_by_name("depth")[0]
        text = elf.get_section_by_name(".text")
        code = text.data()[pick["st_value"] - text["sh_addr"] :][: pick["st_size"]]
    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    addresses = [instruction.address for instruction in disassembler.disasm(code, pick["st_value"])]
    for address in addresses:
        with Session(Options()) as session:
            stops = []
            cpu = session.kernel.machine.cpu

            def on_stop(task: Any, cpu: Any = cpu, stops: list[int] = stops) -> bool:
                stops.append(task.registers().rip)
                cpu.break_at([])
                return False

            session.kernel.scheduler.on_stop = on_stop
            session.start([str(program), "0"], {})
            cpu.break_at([address])
            assert session.run() == 0
        assert stops == [address]
