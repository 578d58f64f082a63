"""What triage reads out of ELF files, compared with pyelftools and nm; broken files give less, never an error."""

from __future__ import annotations

import random
import re
import shutil
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from elftools.dwarf.callframe import FDE
from elftools.elf.elffile import ELFFile
from harness import Unavailable, build, run_forkyard

from guest.fuzz.symbols import ModuleSymbols, demangle
from guest.fuzz.symbols_elf import Elf, ElfError
from guest.fuzz.symbols_guard import time_limit
from guest.fuzz.unwind_code import stack_use
from guest.fuzz.unwind_rules import RA, RBP, RSP, CfiError, evaluate

LIBC = Path("/lib/x86_64-linux-gnu/libc.so.6")


def sample(flags: tuple[str, ...] = (), toolchain: str = "gcc") -> Path:
    try:
        return build("crash_ways.c", toolchain, ["-w", *flags], "-O2")
    except Unavailable as error:
        pytest.skip(str(error))


def symbols(path: Path, data: bytes | None = None) -> ModuleSymbols:
    def read(name: str) -> bytes | None:
        return Path(name).read_bytes() if Path(name).exists() else None

    return ModuleSymbols(str(path), path.read_bytes() if data is None else data, read)


# -- unwind information ----------------------------------------------------------------------------------------------


def rows(path: Path) -> list[tuple[int, dict[Any, Any]]]:
    """(address, row) of the tables that pyelftools decodes; those of a function but for a few that it cannot."""
    found, failures = [], 0
    with path.open("rb") as stream:
        entries = ELFFile(stream).get_dwarf_info(follow_links=False).EH_CFI_entries()
        for entry in entries:
            if isinstance(entry, FDE) and entry["address_range"]:
                try:
                    found += [(line["pc"], line) for line in entry.get_decoded().table]
                except ValueError:  # its own message fails for an operation of signed offsets
                    failures += 1
    assert failures < 20
    return found


@pytest.mark.parametrize("toolchain", ["gcc", "gcc-static", "libc"])
def test_rules_are_those_of_pyelftools(toolchain: str) -> None:
    path = LIBC if toolchain == "libc" else sample(toolchain=toolchain)
    if not path.exists():
        pytest.skip("no such C library here")
    frames = symbols(path).call_frames
    every = rows(path)
    assert len(every) > 20
    for pc, row in every[::max(1, len(every) // 3000)]:
        ours = frames.rules(pc)
        if ours is None:  # a row of no length at the end of its function
            start = frames.function_start(pc)
            assert start is None, hex(pc)
            continue
        cfa = row["cfa"]
        if cfa.expr is None:
            assert (ours.cfa.kind, ours.cfa.value, ours.cfa.offset) == ("register", cfa.reg, cfa.offset), hex(pc)
        else:
            assert (ours.cfa.kind, list(ours.cfa.code)) == ("expression", list(cfa.expr)), hex(pc)
        theirs = {number: rule for number, rule in row.items() if isinstance(number, int)}
        assert ours.registers.keys() == theirs.keys(), hex(pc)
        for number, rule in theirs.items():
            mine = ours.registers[number]
            assert mine.kind == {"SAME_VALUE": "same"}.get(rule.type, rule.type.lower()), hex(pc)
            if rule.type == "OFFSET":
                assert mine.offset == rule.arg, hex(pc)


def test_expression_of_the_procedure_linkage_table() -> None:
    # rsp + 8 + ((((rip & 15) >= 11) ? 1 : 0) << 3)
    code = bytes.fromhex("7708 8000 3f 1a 3b 2a 33 24 22")
    assert evaluate(code, {7: 0x1000, 16: 0x2005}, lambda address: 0) == 0x1008
    assert evaluate(code, {7: 0x1000, 16: 0x200B}, lambda address: 0) == 0x1010
    assert evaluate(bytes.fromhex("0810 06"), {}, lambda address: address * 2) == 32
    for broken in ("22", "7f", "06", "08", "ff", ""):
        with pytest.raises(CfiError):
            evaluate(bytes.fromhex(broken), {}, lambda address: 0)


@pytest.mark.parametrize(("code", "expected"), [
    ("", (RSP, 8)),
    ("55", (RSP, 16)),  # push rbp
    ("55 4889e5", (RBP, 16)),  # push rbp; mov rbp, rsp
    ("55 4889e5 4883ec20 5d", (RSP, 40)),  # ...; sub rsp, 32; pop rbp
    ("53 4883ec10", (RSP, 32)),  # push rbx; sub rsp, 16
    ("53 4883ec10 4883c410 5b", (RSP, 8)),  # ... and back
    ("53 7402 5b c3", (RSP, 16)),  # push rbx; je +2; pop rbx; ret; here
    ("4883e4f0", None),  # and rsp, -16
])
def test_stack_use_by_code(code: str, expected: tuple[int, int] | None) -> None:
    raw = bytes.fromhex(code)
    found = stack_use(raw + b"\x90" * 16, 0x1000, 0x1000 + len(raw))
    assert (None if found is None else (found.register, found.offset)) == expected
    assert RA == 16


# -- names -----------------------------------------------------------------------------------------------------------


def test_names_are_those_of_nm() -> None:
    if shutil.which("nm") is None:
        pytest.skip("no nm on this host")
    path = sample()
    found = symbols(path)
    listed = subprocess.run(["nm", "-S", path], capture_output=True, text=True, check=True).stdout.splitlines()
    functions = [line.split() for line in listed if len(line.split()) == 4 and line.split()[2] in "tT"]
    assert len(functions) > 8
    for address, size, _, name in functions:
        for inside in (0, int(size, 16) - 1):
            symbol = found.symbol(int(address, 16) + inside)
            assert symbol is not None and (symbol.name, symbol.offset) == (name, inside)
        assert found.address_of(name) == int(address, 16)


@pytest.mark.parametrize("flags", [(), ("-fcf-protection=none",), ("-fno-plt",)], ids=str)
def test_linkage_table_has_names(flags: tuple[str, ...]) -> None:
    if shutil.which("objdump") is None:
        pytest.skip("no objdump on this host")
    path = sample(flags)
    listed = subprocess.run(["objdump", "-d", "--no-show-raw-insn", path], capture_output=True, text=True,
                            check=True).stdout
    entries = [line.split() for line in listed.splitlines() if line.endswith("@plt>:")]
    assert flags == ("-fno-plt",) or len(entries) > 5
    found = symbols(path)
    for address, name in entries:
        symbol = found.symbol(int(address, 16))
        assert symbol is not None and f"<{symbol.name}>:" == name


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("version", ["-gdwarf-4", "-gdwarf-5"])
def test_lines_and_inlined_calls(tmp_path: Path, compiler: str, version: str) -> None:
    """Lines as gdb has them, functions as addr2line -i does."""
    if not all(map(shutil.which, (compiler, "addr2line", "gdb"))):
        pytest.skip(f"no {compiler}, addr2line or gdb on this host")
    source, path = Path(__file__).parent / "programs" / "crash_ways.c", tmp_path / "ways"
    subprocess.run([compiler, "-O2", version, "-w", "-pthread", source, "-o", path], check=True)
    found = symbols(path)
    listed = subprocess.run(["nm", "-S", path], capture_output=True, text=True, check=True).stdout.splitlines()
    sizes = {line.split()[3]: int(line.split()[1], 16) for line in listed if len(line.split()) == 4}
    addresses = []
    for name in ("main", "outer", "deep", "even", "handler", "thread"):
        start = found.address_of(name)
        assert start is not None
        addresses += range(start, start + sizes[name], 7)
    words = ["gdb", "-nx", "-batch", *(w for a in addresses for w in ("-ex", f"info line *{a}")), str(path)]
    told = subprocess.run(words, capture_output=True, text=True, timeout=60).stdout.splitlines()
    gdb_lines = [re.match(r"Line (\d+) of ", line) for line in told if " address 0x" in line]
    functions = subprocess.run(["addr2line", "-afi", "-e", path, *map(hex, addresses)], capture_output=True, text=True,
                               check=True).stdout.splitlines()
    chains: list[list[str]] = []
    for line, after in zip(functions, ["", *functions], strict=False):
        if line.startswith("0x"):
            chains.append([])
        elif "/" not in line and "?" not in line and (after.startswith("0x") or "/" in after or "?" in after):
            chains[-1].append(line)
    assert len(addresses) == len(gdb_lines) == len(chains) > 40
    for address, line, chain in zip(addresses, gdb_lines, chains, strict=True):
        ours = found.locate(address)
        assert [location.function for location in ours] == chain, hex(address)
        if line is not None:
            assert ours[0].line == int(line[1]), hex(address)


@pytest.mark.parametrize(("mangled", "plain"), [
    ("main", "main"), ("_ZN2ns5Class6methodEiPKc", "ns::Class::method"), ("_ZNK3Foo3barEv", "Foo::bar"),
    ("_ZN3FoocvbEv", "Foo::operator bool"), ("_ZN3FooclEi", "Foo::operator()"),
    ("_ZN2ns6Parser3genIiEEiT_", "ns::Parser::gen<int>"), ("_ZN3FooltERKS_", "Foo::operator<"),
    ("_Z1fIPFivEEvT_", "f<int (*)()>"), ("_ZN3FoocvPFivEEv", "Foo::operator int (*)()"),
    ("_ZN12_GLOBAL__N_15innerEv", "(anonymous namespace)::inner"),
    ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"), ("_Zbroken", "_Zbroken"),
    ("_Z" + "N1a" * 5000 + "E", "_Z" + "N1a" * 5000 + "E"),
])
def test_demangling(mangled: str, plain: str) -> None:
    assert demangle(mangled) in (plain, mangled)
    if shutil.which("g++") is not None:  # libstdc++ is here
        assert demangle(mangled) == plain


# -- broken files ----------------------------------------------------------------------------------------------------


def ask(module: ModuleSymbols, addresses: list[int]) -> None:
    """Everything that triage asks of a file."""
    module.bias(0x1000, 0)
    module.address_of("main")
    for address in addresses:
        module.symbol(address)
        module.locate(address)
        module.function_start(address)
        module.call_frames.rules(address)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """A copy with a few bytes, words or ranges changed; headers and tables more often than code."""
    out = bytearray(data)
    section_table = struct.unpack_from("<Q", data, 40)[0]
    for _ in range(chance.choice((1, 3, 20, 200))):
        kind = chance.randrange(5)
        at = chance.randrange(len(out) - 64)
        if kind == 0:
            at = chance.randrange(0, 64 + 56 * 13)
        elif kind == 1 and section_table < len(out) - 64:
            at = chance.randrange(section_table, len(out) - 8)
        out[at:at + 8] = chance.choice((b"\xff" * 8, bytes(8), chance.randbytes(8), b"\x80" * 8,
                                        struct.pack("<Q", chance.randrange(len(out)))))[:chance.choice((1, 2, 4, 8))]
        del out[len(data):]
    if chance.random() < 0.1:
        del out[chance.randrange(len(out)):]
    return bytes(out)


@pytest.mark.parametrize("seed", range(12))
def test_damaged_files_never_fail(seed: int) -> None:
    chance = random.Random(seed)
    path = sample(("-g",), chance.choice(("gcc", "gcc-static")) if seed % 4 == 0 else "gcc")
    data = path.read_bytes()
    whole = symbols(path)
    start = whole.address_of("main") or 0
    addresses = [start + 40, whole.address_of("outer") or 0, 0, 1 << 63, start - 5, 0x1020, (1 << 64) - 1]
    for _ in range(12 if len(data) < 200_000 else 2):
        try:
            module = symbols(path, damaged(data, chance))
        except ElfError:
            continue
        ask(module, addresses)


def test_sections_that_would_unpack_to_more_than_there_is_memory() -> None:
    data = bytearray(sample(("-g", "-gz=zlib")).read_bytes())
    elf = Elf(bytes(data))
    info = elf.section(".debug_info")
    assert info is not None and info.compressed
    struct.pack_into("<Q", data, info.offset + 8, 1 << 60)
    assert symbols(sample(), bytes(data)).locate(0x1300) == []


def test_header_that_claims_endless_tables() -> None:
    data = bytearray(sample().read_bytes())
    for offset, value in ((58, 0), (54, 0), (60, 0xFFFF), (56, 0xFFFF)):  # entry sizes 0, counts 65535
        copy = bytearray(data)
        struct.pack_into("<H", copy, offset, value)
        ask(symbols(sample(), bytes(copy)), [0x1300])


def test_time_limit() -> None:
    with pytest.raises(TimeoutError), time_limit(0.05):
        while True:
            pass
    with time_limit(0.05):
        time.sleep(0.1)  # takes no CPU time
    for _ in range(100):  # an end at the very moment
        try:
            with time_limit(0.02):
                until = time.process_time() + 0.02
                while time.process_time() < until:
                    pass
        except TimeoutError:
            continue


def test_damaged_program_is_still_triaged(tmp_path: Path) -> None:
    """Broken debug and section information of a program that runs all the same."""
    data = bytearray(sample(("-g",)).read_bytes())
    for section in Elf(bytes(data)).sections:
        if section.name.startswith((".debug", ".symtab", ".strtab")):
            data[section.offset:section.offset + section.file_bytes] = b"\xa5" * section.file_bytes
    (tmp_path / "broken").write_bytes(data)
    (tmp_path / "broken").chmod(0o755)
    (tmp_path / "input").write_text("p")
    result = run_forkyard([tmp_path / "broken", tmp_path / "input"], command="crash", paranoid=False)
    assert result.status == 0 and "SIGSEGV" in result.text and "broken+0x" in result.text, result
