"""forkyard crash and replay: what they say of a crash is what gdb says of the same program on the host."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from harness import CACHE, ROOT, TIMEOUT_S, Result, Unavailable, build, run_forkyard

WAYS, HANG = "aAbcCdDefhHilmnNopqrRstTwxy", "l"
#: gdb sees these run: they crash in the process that it watches, and not in a way that it cannot unwind.
COMPARED = "aAbcCdDhHimnNopqrRtTwxy"
BUILDS = [("gcc", "-O0"), ("gcc", "-O2"), ("gcc-fixed", "-O1"), ("gcc-static", "-O2"), ("gcc-static-pie", "-O1")]
FRAME = re.compile(r"#(\d+) +(?:(0x[0-9a-f]+) in )?(.+?) \(.*\)(?: at (.+):(\d+)| from .*)?$")
SOURCE = "crash_ways.c"
#: Where gdb, which switches randomisation off, finds a program that can be anywhere.
PIE_BASE = 0x555555554000


def program(toolchain: str, optimize: str, flags: Sequence[str] = ()) -> Path:
    """crash_ways.c."""
    try:
        return build(SOURCE, toolchain, ["-fno-omit-frame-pointer", "-w", *flags], optimize)
    except Unavailable as error:
        pytest.skip(str(error))


@cache
def inputs() -> dict[str, Path]:
    """A file for each way."""
    directory = CACHE / "crash-inputs"
    directory.mkdir(parents=True, exist_ok=True)
    for way in WAYS:
        partial = directory / f".{os.getpid()}"  # others may be reading
        partial.write_text(way)
        partial.rename(directory / f"way-{ord(way):02x}-{way}")
    return {way: directory / f"way-{ord(way):02x}-{way}" for way in WAYS}


def crash(argv: Sequence[str | Path], *options: str, env: Mapping[str, str] | None = None,
          cwd: Path | None = None) -> Result:
    """forkyard crash."""
    return run_forkyard(argv, command="crash", options=options, env=env, cwd=cwd, paranoid=False)


@cache
def reports(path: Path, ways: str = WAYS.replace(HANG, ""), limit_s: float = TIMEOUT_S) -> dict[str, Any]:
    """The results of one run over all ways that end, by way; under "" the whole report."""
    result = crash([path, *(inputs()[way] for way in ways)], "--json", "-t", str(limit_s))
    assert result.status in (0, 1), result
    report = json.loads(result.stdout)
    found = {Path(one["input"]).name[-1]: one for one in report["results"]}
    found[""] = report
    return found


# -- as gdb says -----------------------------------------------------------------------------------------------------


@cache
def gdb(path: Path) -> dict[str, str]:
    """What gdb prints about each way."""
    if shutil.which("gdb") is None:
        pytest.skip("no gdb on this host")
    commands = ["set confirm off", "set width 0", "set print frame-arguments none", "set print entry-values no",
                "set disassembly-flavor intel", "handle SIGUSR1 nostop noprint pass", "set debuginfod enabled off"]
    for way in COMPARED:
        commands += [f"echo \\n@@@{way}\\n", f"run < {inputs()[way]} > /dev/null 2>&1", "bt 30", "x/i $pc",
                     "p $_siginfo.si_code", "p $_siginfo._sifields._sigfault.si_addr", "info registers"]
    words = ["gdb", "-nx", "-batch", *(word for command in commands for word in ("-ex", command)), str(path)]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S)
    if "ptrace: Operation not permitted" in done.stderr:
        pytest.skip("gdb may not trace here")
    return {part[0]: part[1:] for part in done.stdout.split("@@@")[1:]}


def gdb_frames(text: str) -> list[tuple[str, str, int]]:
    """(function, file, line) of the frames in our source."""
    found = []
    for line in text.splitlines():
        match = FRAME.match(line)
        if match and match[4] and match[4].endswith(SOURCE):
            found.append((match[3], SOURCE, int(match[5])))
    return found


def our_frames(crash: dict[str, Any]) -> list[tuple[str, str, int]]:
    return [(f["function"], SOURCE, f["line"]) for f in crash["frames"][:30] if (f["file"] or "").endswith(SOURCE)]


def normal(instruction: str) -> str:
    """An instruction without what Capstone and gdb write differently."""
    text = instruction.split("#")[0].split("<")[0].lower()
    text = re.sub(r"0x[0-9a-f]+|\b\d+\b", lambda number: str(int(number[0], 0)), text)
    text = re.sub(r"ds:(\d+)", r"[\1]", text)
    text = re.sub(r"(movabs .*?)\w+ ptr ", r"\1", text)
    return re.sub(r"\s+", "", text).replace("*1", "")


@pytest.mark.parametrize(("toolchain", "optimize"), BUILDS, ids=lambda value: value)
@pytest.mark.parametrize("way", COMPARED)
def test_as_gdb_says(toolchain: str, optimize: str, way: str) -> None:
    path = program(toolchain, optimize)
    native, one = gdb(path)[way], reports(path)[way]
    ours = one["crash"]
    assert ours is not None, one
    signal = re.search(r"received signal (SIG\w+)", native)
    assert signal is not None, native
    assert ours["signal"] == signal[1]
    if way == "o":  # in which of the two functions the stack ends depends on where it begins
        assert set(our_frames(ours)[1:]) == set(gdb_frames(native)[1:])
        return
    assert our_frames(ours) == gdb_frames(native), f"{native}\n{ours['frames']}"
    code, address = (int(value, 0) for value in re.findall(r"\$\d+ = (?:\(void \*\) )?(-?\w+)", native)[:2])
    names = {1: {"SIGSEGV": "SEGV_MAPERR", "SIGILL": "ILL_ILLOPC", "SIGFPE": "FPE_INTDIV"},
             2: {"SIGSEGV": "SEGV_ACCERR", "SIGILL": "ILL_ILLOPN", "SIGBUS": "BUS_ADRERR"},
             128: {ours["signal"]: "SI_KERNEL"}, -6: {ours["signal"]: "SI_TKILL"}}
    if way != "T":  # a signal that simply ends a process is not queued, and loses its cause
        assert ours["code"] == names[code][ours["signal"]]
    if way in "cChnpqtw":
        assert int(ours["access"]["address"], 16) == address
    where = re.search(r"=> (0x[0-9a-f]+)(?: <.*?>)?:\t(.*)", native)
    assert where is not None
    frame = ours["frames"][0]
    if (frame["file"] or "").endswith(SOURCE):
        base = 0 if toolchain in ("gcc-fixed", "gcc-static") else PIE_BASE
        if toolchain != "gcc-static-pie":  # gdb leaves the kernel to choose for it
            assert int(frame["module_offset"], 16) == int(where[1], 16) - base
        assert normal(ours["instruction"]) == normal(where[2])
        for name, value in re.findall(r"^(r\w+)\s+(0x[0-9a-f]+)", native, re.MULTILINE):
            if re.search(rf"\b{name}\b", ours["instruction"]) and int(value, 16) < 1 << 20:
                assert int(ours["registers"][name], 16) == int(value, 16), name
    elif frame["module"] is None:
        assert frame["pc"] == where[1] or way in "xy"  # those are relative to where the program is


@pytest.mark.parametrize(("way", "words"), [
    ("a", "abort"), ("b", "write to a mapping beyond the end of its file"), ("c", "jump to an unmapped address"),
    ("C", "jump to a null pointer"), ("d", "division by zero"), ("H", "general protection fault"),
    ("i", "trap instruction (ud2)"), ("m", "write to a null pointer"), ("n", "read from a null pointer"),
    ("N", "read from a non-canonical address"), ("o", "stack overflow"), ("r", "write to read-only memory"),
    ("R", "sent by a process"), ("w", "write to an unmapped address"),
    ("x", "jump to memory that is not executable"),
])
def test_says_what_went_wrong(way: str, words: str) -> None:
    assert reports(program("gcc", "-O0"))[way]["crash"]["what"] == words


def test_access_is_exact() -> None:
    found = reports(program("gcc", "-O0"))
    wild = found["w"]["crash"]["access"]
    assert (wild["kind"], wild["address"], wild["bytes"]) == ("write", "0xdeadbeef000", 8)
    null = found["n"]["crash"]["access"]
    assert (null["kind"], null["address"], null["bytes"]) == ("read", "0x0", 4)
    assert found["N"]["crash"]["access"]["address"] == "0x4141414141414140"
    assert found["c"]["crash"]["access"] == {"kind": "execute", "address": "0x123456789000", "bytes": None,
                                             "operand": None}


def test_messages_of_the_c_library_are_kept() -> None:
    found = reports(program("gcc", "-O0"))
    assert "Assertion" in found["A"]["stderr"] and "a message" in found["A"]["stderr"]
    assert "free(): invalid" in found["D"]["stderr"]


def test_smashed_stack_gives_guesses_only() -> None:
    found = reports(program("gcc", "-O0"))["s"]["crash"]
    assert found["frames"][0]["pc"] == "0x414141414141" and found["frames"][0]["module"] is None
    assert {frame["found_by"] for frame in found["frames"][1:]} <= {"scan"}


def test_hang_is_shown_where_it_is() -> None:
    found = reports(program("gcc", "-O0"), HANG, 2)[HANG]
    assert found["result"] == "timeout" and found["wait_status"] == 9
    assert [frame["function"] for frame in found["crash"]["frames"]] == ["main"]


def test_child_process_that_crashes() -> None:
    found = reports(program("gcc", "-O0"))["f"]
    assert found["result"] == "exit" and found["wait_status"] == 0 and found["crash"] is None
    assert [other["signal"] for other in found["others"]] == ["SIGSEGV"]


def test_summary_counts() -> None:
    report = reports(program("gcc", "-O0"))[""]
    assert report["inputs"] == len(WAYS) - 1 and report["reproduced"] == report["inputs"] - 2
    # call() crashes at one place in four ways.
    assert report["distinct"] == report["reproduced"] - 3
    assert sorted(len(group["inputs"]) for group in report["groups"])[-2:] == [1, 4]


# -- groups ----------------------------------------------------------------------------------------------------------


def test_depth_of_recursion_does_not_matter(tmp_path: Path) -> None:
    source = tmp_path / "deep.c"
    source.write_text("""
#include <stdlib.h>
#include <unistd.h>
__attribute__((noinline)) static int walk(int n, volatile int *p) { return n ? walk(n - 1, p) + 1 : *p; }
static char room[100];
int main(void) { char text[9] = {0}; read(0, text, 8); room[1] = 1; return walk(atoi(text), 0); }
""")
    path = build(source, "gcc", optimize="-O0")
    for depth in (1, 3, 40):
        (tmp_path / f"{depth}").write_text(str(depth))
    report = json.loads(crash([path, *(tmp_path / name for name in ("1", "3", "40"))], "--json").stdout)
    assert report["distinct"] == 1
    signal, place, *names = report["groups"][0]["stack"]
    assert signal == "SIGSEGV" and place.endswith("/deep.c:4") and names == ["walk", "main"]


def test_text_report_groups_and_lists(tmp_path: Path) -> None:
    path = program("gcc", "-O0")
    for name in ("n1", "n2", "e1", "a1"):
        (tmp_path / name).write_text(name[0])
    (tmp_path / "README.txt").write_text("afl-fuzz writes this")
    result = crash([path, tmp_path])
    assert result.status == 1
    text = result.text
    assert "4 inputs, 3 reproduced, 2 distinct" in text
    assert text.count("backtrace") == 2 and "stack as of n1" in text
    assert re.search(r"not reproduced:\n  \S+/e1: exit status 3\n", text)
    assert re.search(r"#0 +0x\w+ in innermost at .*crash_ways.c:\d+ ", text) and "(inlined)" in text
    assert crash([path, tmp_path / "n1", tmp_path / "a1"]).status == 0
    assert crash([path, tmp_path], "--all").text.count("backtrace") == 3


def test_terminal_is_safe(tmp_path: Path) -> None:
    source = tmp_path / "colours.c"
    source.write_text("""
#include <stdlib.h>
#include <unistd.h>
int main(void) { write(2, "\\033[31mred\\007\\n", 10); abort(); }
""")
    (tmp_path / "in\033[2J").write_text("")
    result = crash([build(source, "gcc"), tmp_path / "in\033[2J"])
    assert result.status == 0
    assert b"\033" not in result.stdout and b"\007" not in result.stdout and b"\\x1b[31mred" in result.stdout


# -- programs without symbols ----------------------------------------------------------------------------------------


def strip(path: Path, to: Path, *options: str) -> Path:
    if shutil.which("objcopy") is None:
        pytest.skip("no objcopy on this host")
    subprocess.run(["objcopy", *options, path, to], check=True)
    return to


@pytest.mark.parametrize("toolchain", ["gcc", "gcc-fixed", "gcc-static"])
def test_stripped_program_has_the_same_stack(tmp_path: Path, toolchain: str) -> None:
    path = program(toolchain, "-O2")
    bare = strip(path, tmp_path / "bare", "--strip-all")
    found = {Path(one["input"]).name[-1]: one for one in json.loads(
        crash([bare, *(inputs()[way] for way in "npq")], "--json").stdout)["results"]}
    for way in "npq":
        whole = [f["module_offset"] for f in reports(path)[way]["crash"]["frames"] if f["found_by"] != "inline"]
        ours = [f for f in found[way]["crash"]["frames"] if f["found_by"] != "inline"]
        assert [f["module_offset"] for f in ours][:len(whole)] == whole
        assert all(f["line"] is None for f in ours if f["module"] == str(bare))


def test_debug_file_beside_the_program(tmp_path: Path) -> None:
    path = program("gcc", "-O2")
    strip(path, tmp_path / "bare.debug", "--only-keep-debug")
    bare = strip(path, tmp_path / "bare", "--strip-all", f"--add-gnu-debuglink={tmp_path / 'bare.debug'}")
    found = json.loads(crash([bare, inputs()["n"]], "--json").stdout)["results"][0]
    assert our_frames(found["crash"]) == our_frames(reports(path)["n"]["crash"])
    # A debug file of another build is not believed.
    other = program("gcc", "-O0")
    strip(other, tmp_path / "bare.debug", "--only-keep-debug")
    found = json.loads(crash([bare, inputs()["n"]], "--json").stdout)["results"][0]
    assert our_frames(found["crash"]) == []


@pytest.mark.parametrize("toolchain", ["musl", "musl-static"])
def test_c_library_without_unwind_information(toolchain: str) -> None:
    path = program(toolchain, "-O2")
    found = reports(path, "anpqh")
    assert [f["function"] for f in found["n"]["crash"]["frames"]][:4] == ["innermost", "middle", "outer", "main"]
    assert found["q"]["crash"]["frames"][0]["function"] == "compare"
    assert "<signal handler called>" in [f["function"] for f in found["h"]["crash"]["frames"]]
    assert found["a"]["crash"]["title"].startswith("SIGABRT: abort in main")


# -- exit statuses, and what is wrong with a command line -------------------------------------------------------------


def test_exit_code_that_counts_as_a_crash() -> None:
    path = program("gcc", "-O0")
    result = crash([path, inputs()["e"]], "--json", env={"AFL_CRASH_EXITCODE": "3"})
    one = json.loads(result.stdout)["results"][0]
    assert result.status == 0 and one["result"] == "crash" and one["crash"]["what"] == "exit status 3"
    assert crash([path, inputs()["e"]]).status == 1
    assert crash([path, inputs()["e"]], env={"AFL_CRASH_EXITCODE": "many"}).status == 2


@pytest.mark.parametrize(("words", "status", "message"), [
    (["/no/such/program", "{input}"], 127, "No such file or directory"),
    (["{program}"], 2, "no inputs"),
    (["{program}", ":::", "/no/such/input"], 2, "/no/such/input: No such file or directory"),
    (["{program}", ":::", "{empty}"], 2, "no files in"),
    (["{input}"], 2, "no inputs"),
])
def test_one_line_says_what_is_wrong(tmp_path: Path, words: list[str], status: int, message: str) -> None:
    values = {"program": str(program("gcc", "-O0")), "input": str(inputs()["n"]), "empty": str(tmp_path)}
    result = crash([word.format(**values) for word in words])
    assert result.status == status, result
    assert message in result.stderr.decode() and result.stderr.count(b"\n") == 1


def test_output_that_nobody_reads() -> None:
    words = [sys.executable, "-m", "guest.cli", "crash", "--", program("gcc", "-O0"), inputs()["n"], inputs()["a"]]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, cwd=ROOT, timeout=TIMEOUT_S)
    finally:
        os.close(writer)
    assert done.stderr == b"" and done.returncode == 128 + 13


def test_input_as_a_file() -> None:
    path = program("gcc", "-O0")
    for argv in ([path, "@@", inputs()["n"]], [path, "@@", ":::", inputs()["n"]]):
        report = json.loads(crash(argv, "--json").stdout)
        assert report["input"] == "file" and report["reproduced"] == 1
    report = json.loads(crash([path, "@@"], "-i", str(inputs()["n"]), "--json").stdout)
    assert report["reproduced"] == 1 and report["command"][-1] == "@@"


# -- replay ----------------------------------------------------------------------------------------------------------


def replay(argv: Sequence[str | Path], *options: str) -> Result:
    return run_forkyard(argv, command="replay", options=options, paranoid=False)


def test_replay_shows_the_calls_and_the_end() -> None:
    path = program("gcc", "-O0")
    result = replay([path, inputs()["n"]])
    text = result.stderr.decode()
    assert result.status == 128 + 11 and result.stdout == b""
    assert text.startswith(f'execve("{path}"') and 'read(0, "n", 63)' in text
    assert text.endswith("+++ killed by SIGSEGV +++\n")
    assert text.count("execve(") == 1 and text.count("read(0,") == 1
    assert replay([path, inputs()["n"]]).stderr == result.stderr


def test_replay_of_a_file_and_of_an_exit() -> None:
    path = program("gcc", "-O0")
    result = replay([path, "@@", inputs()["e"]], "-e", "trace=open,openat,read")
    assert result.status == 3
    assert 'openat(AT_FDCWD, "/tmp/forkyard-input", O_RDONLY) = 3' in re.sub(" +", " ", result.stderr.decode())


def test_replay_lets_output_through_when_asked() -> None:
    path = program("gcc", "-O0")
    assert b"Assertion" in replay([path, inputs()["A"]], "--stdio", "-e", "trace=none").stderr
    assert b"Assertion" not in replay([path, inputs()["A"]], "-e", "trace=none").stderr


def test_replay_ends_in_time() -> None:
    result = replay([program("gcc", "-O0"), inputs()["l"]], "--timeout", "1")
    assert result.status == 124 and b"ended after 1 s" in result.stderr


def test_replay_takes_one_input() -> None:
    result = replay([program("gcc", "-O0"), inputs()["l"], inputs()["n"]])
    assert result.status == 2 and b"one can be replayed at a time" in result.stderr
