"""/proc, /sys and the calls about identity, limits, time and the system.

Programs tests/programs/proc_*.c judge themselves natively and under Forkyard; here the formats of the generated files
are compared with the host's own: same names in the same order, same columns.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from stat import filemode

import pytest
from harness import WAYS, Batch, Case, check_test_program, need, run_forkyard

SUITES = [
    "proc_pid", "proc_mem", "proc_cred", "proc_time", "proc_limits", "proc_prctl", "proc_rseq", "proc_system",
    "proc_odf",
]  # fmt: skip


@pytest.mark.parametrize("suite", SUITES)
def test_programs(suite: str, odf: int, scratch: Path) -> None:
    check_test_program(f"{suite}.c", "gcc-static", odf, cwd=scratch, files={})


@pytest.mark.parametrize("suite", ["proc_mem", "proc_pid", "proc_odf"])
def test_programs_one_level_up(suite: str, scratch: Path) -> None:
    """Hazards 39 and 45 with PMD tables shared, too."""
    check_test_program(f"{suite}.c", "gcc-static", 1, options=WAYS["level2"], cwd=scratch, files={})


@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("toolchain", ["gcc", "musl-static"])
def test_programs_of_other_toolchains(suite: str, toolchain: str, scratch: Path) -> None:
    check_test_program(f"{suite}.c", toolchain, 1, cwd=scratch, files={})


# ---------------------------------------------------------------- formats against the host's

#: "name: value" files. Lines that only some kernels have may be missing on either side.
KEYED = {
    "/proc/self/status": {
        "Kthread", "x86_Thread_features", "x86_Thread_features_locked", "untag_mask", "Seccomp_filters", "THP_enabled",
        "SpeculationIndirectBranch", "CoreDumping", "NSsid", "NSpgid", "NSpid", "NStgid",
    },
    "/proc/self/smaps_rollup": {"KSM", "Pss_Dirty"},
    "/proc/self/io": set(),
    "/proc/meminfo": {"Zswap", "Zswapped", "SecPageTables", "Balloon", "Unaccepted", "CmaTotal", "CmaFree", "Percpu",
                      "HardwareCorrupted", "FileHugePages", "FilePmdMapped", "GPUActive", "GPUReclaim", "Quicklists",
                      "AnonHugePages", "ShmemHugePages", "ShmemPmdMapped", "DirectMap1G"},
    "/proc/cpuinfo": {"vmx flags", "cpu MHz", "TLB size", "microcode", "cache size"},
    "/proc/self/fdinfo/0": {"ino"},
}  # fmt: skip


@pytest.fixture(scope="module")
def guest_files() -> dict[str, str]:
    """The guest's own view of many files, read in one run."""
    paths = [*KEYED, *TABLES, *SINGLE]
    script = "; ".join(f"echo '=== {path}'; cat {path}" for path in paths)
    result = run_forkyard(["/bin/sh", "-c", script])
    assert result.status == 0, result
    parts = re.split(r"^=== (.*)\n", result.text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


#: Files of lines: how a line looks.
HEX = "[0-9a-f]+"
TABLES = {
    "/proc/self/maps": rf"{HEX}-{HEX} [r-][w-][x-][ps] [0-9a-f]{{8,}} {HEX}:{HEX} \d+( {{2,}}\S.*| ?)",
    "/proc/self/mounts": r"\S+ /\S* \S+ (rw|ro)\S* 0 0",
    "/proc/self/mountinfo": r"\d+ \d+ \d+:\d+ /\S* /\S* (rw|ro)\S*( \S+:\d+)* - \S+ \S+ (rw|ro)\S*",
    "/proc/self/limits": r"Max [a-z ]{22}(\S+ +){2}[a-z]* *|Limit +Soft Limit +Hard Limit +Units {5}",
    "/proc/filesystems": r"(nodev)?\t\w+",
    "/proc/vmstat": r"\w+ \d+",
}
#: Files of one shape.
SINGLE = {
    "/proc/self/stat": r"\d+ \(\w+\) [RS]( -?\d+){49}\n",
    "/proc/self/statm": r"\d+ \d+ \d+ \d+ 0 \d+ 0\n",
    "/proc/self/oom_score": r"\d+\n",
    "/proc/self/schedstat": r"\d+ \d+ \d+\n",
    "/proc/self/cgroup": r"(\d+:[^:\n]*:/[^\n]*\n)+",
    "/proc/self/syscall": r"0 (0x[0-9a-f]+ ){7}0x[0-9a-f]+\n",
    "/proc/self/uid_map": r" {9}0 {10}0 4294967295\n",
    "/proc/uptime": r"\d+\.\d\d \d+\.\d\d\n",
    "/proc/loadavg": r"(\d+\.\d\d ){3}\d+/\d+ \d+\n",
    "/proc/version": r"Linux version \S+ .*\n",
    "/proc/stat": r"cpu  \d+( \d+){9}\n(cpu\d+( \d+){10}\n)+intr \d+( \d+)*\nctxt \d+\nbtime \d+\nprocesses \d+\n"
                  r"procs_running \d+\nprocs_blocked \d+\nsoftirq( \d+){11}\n",
    "/proc/swaps": r"Filename\t{4}Type\t\tSize\t\tUsed\t\tPriority\n(.*\n)*",
}  # fmt: skip


def keys(text: str) -> list[str]:
    """The names before the colons, of the first block of lines."""
    lines = text.split("\n\n")[0].splitlines()
    return [line.split(":")[0].strip() for line in lines if re.match(r"[\w() ]+\t*:", line)]


@pytest.mark.parametrize("path", KEYED)
def test_names_and_order(path: str, guest_files: dict[str, str]) -> None:
    native, guest = keys(Path(path).read_text()), keys(guest_files[path])
    optional = KEYED[path]
    both = set(native) & set(guest)
    assert [k for k in native if k in both] == [k for k in guest if k in both]
    assert set(native) - both <= optional, "missing"
    assert set(guest) - both <= optional, "not on the host"


@pytest.mark.parametrize("path", ["/proc/self/status", "/proc/meminfo", "/proc/self/smaps_rollup", "/proc/cpuinfo"])
def test_columns(path: str, guest_files: dict[str, str]) -> None:
    """Names, separators and units stand where they do on the host; the numbers are as wide."""

    def heads(text: str) -> dict[str, str]:
        """Name → the line up to its value, for all lines whose value stands at a fixed place."""
        lines = re.findall(r"^([\w() ]+\t*:[\t ]?)", text.split("\n\n")[0], re.MULTILINE)
        return {line.split(":")[0].strip(): line for line in lines}

    native, guest = Path(path).read_text(), guest_files[path]
    ours, theirs = heads(guest), heads(native)
    for name in (ours.keys() & theirs.keys()) - {"bugs"}:
        assert ours[name] == theirs[name]
    for text in (native, guest):
        for line in re.findall(r"^\w+:.* kB$", text, re.MULTILINE):
            assert re.fullmatch(r"\w+:\s+\d+ kB", line)
    if "kB" in native:
        widths, own = (
            {len(line.expandtabs()) for line in text.splitlines() if line.endswith(" kB") and len(line) < 32}
            for text in (native, guest)
        )
        assert own <= widths


@pytest.mark.parametrize("path", TABLES)
def test_lines(path: str, guest_files: dict[str, str]) -> None:
    for where, text in (("host", Path(path).read_text()), ("guest", guest_files[path])):
        assert text
        for line in text.splitlines():
            assert re.fullmatch(TABLES[path], line), f"{where}: {line!r}"


@pytest.mark.parametrize("path", SINGLE)
def test_shapes(path: str, guest_files: dict[str, str]) -> None:
    for where, text in (("host", Path(path).read_text()), ("guest", guest_files[path])):
        assert re.fullmatch(SINGLE[path], text), f"{where}: {text!r}"


def test_smaps_lines(scratch: Path) -> None:
    """Every mapping has the lines that the host prints, in that order."""
    guest = run_forkyard(["cat", "/proc/self/smaps"]).text

    def blocks(text: str) -> list[list[str]]:
        found: list[list[str]] = []
        for line in text.splitlines():
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                found.append([])
            else:
                assert re.fullmatch(r"\w+: +\d+( kB)?|VmFlags:( [a-z0-9?]{2})* ?|ProtectionKey: +\d+", line), line
                found[-1].append(line.split(":")[0])
        return found

    native = blocks(Path("/proc/self/smaps").read_text())[0]
    optional = {"ProtectionKey", "KSM", "Pss_Dirty"}
    for block in blocks(guest):
        assert [k for k in block if k not in optional] == [k for k in native if k not in optional]


def test_entries_exist_on_the_host() -> None:
    """Nothing in /proc/self that Linux does not have, but use_odf; and what programs use is there."""
    names = set(run_forkyard(["ls", "/proc/self"]).text.split())
    native = {entry.name for entry in Path("/proc/self").iterdir()}
    assert {name for name in names if not name.startswith("use_odf")} <= native
    assert names >= {
        "maps", "status", "stat", "statm", "cmdline", "comm", "environ", "auxv", "exe", "cwd", "root", "fd", "fdinfo",
        "limits", "use_odf", "task", "mounts", "mountinfo", "smaps", "mem", "pagemap", "oom_score_adj", "io",
    }  # fmt: skip


def test_modes_are_the_hosts() -> None:
    result = run_forkyard(["sh", "-c", "cd /proc/self && stat -c '%n %A' *"])
    for line in result.text.splitlines():
        name, mode = line.split()
        if not name.startswith("use_odf"):
            host = (Path("/proc/self") / name).lstat()
            assert mode == filemode(host.st_mode), name


# ---------------------------------------------------------------- programs that read it all


SAME = {
    "names": "uname -a; hostname; arch; cat /proc/version /proc/sys/kernel/ostype /proc/sys/kernel/osrelease",
    "ids": "id; id -u; whoami; groups; umask",
    "date": "date +%Y-%m-%d; date -d @0",
    "nice": "nice; nice -n 5 nice; cat /proc/self/personality",
    "limits": "ulimit -a; cat /proc/self/limits; ulimit -n 77; grep open /proc/self/limits",
    "self": "cat /proc/self/comm; ls /proc/self/fd | wc -l; ls /proc/self/task | wc -l; cat /proc/self/oom_score_adj",
    "cmdline": "head -c 5 /proc/self/cmdline | od -c; tr '\\0' ' ' < /proc/self/cmdline; readlink /proc/self/exe",
    "links": "readlink /proc/mounts /proc/net; test /proc/self -ef /proc/$$ && echo same; cd /proc/self/cwd && pwd -P",
    "getconf": "for n in PAGESIZE CLK_TCK NGROUPS_MAX OPEN_MAX ARG_MAX CHILD_MAX IOV_MAX; do getconf $n; done",
    "stat": "stat -c '%n %F %a' /proc/meminfo /proc/self/maps /proc/self/fd/0 /proc/self/task /proc/sys/kernel/pid_max",
    "sysfs": "stat -c '%n %F %a %s' /sys/devices/system/cpu/online /sys/kernel/mm/transparent_hugepage/enabled",
    "missing": "cat /proc/nothing; cat /proc/self/nothing; ls /proc/self/fd/77; cat /proc/0/status",
    "create": "touch /proc/x; mkdir /proc/x; ln -s a /proc/x; mkfifo /proc/self/x; mkdir /proc/sys/x",
    "write": "echo x > /proc/self/status; echo 5 > /proc/self/oom_score_adj; cat /proc/self/oom_score_adj",
    "bad numbers": "echo x > /proc/self/oom_score_adj; echo 1001 > /proc/self/oom_score_adj",
    "remove": "rm -f /proc/self/status 2>/dev/null; echo $?; rmdir /proc/self 2>/dev/null; echo $?",
    "mount": "mount -t tmpfs none /nonexistent",
    "copy": "cp /proc/self/limits . && wc -l limits; tar cf - /proc/sys/kernel/ostype 2>/dev/null | wc -c",
    "find": "find /proc/self/fd -maxdepth 0 -type d; find /proc/sys/kernel/random -type f | sort | head -3",
    "environ": "env -i A=1 B=2 cat /proc/self/environ | tr '\\0' '\\n'",
    "deleted": "echo x > f; exec 9< f; rm f; readlink /proc/self/fd/9 | sed 's/.* //'; cat /proc/self/fd/9",
    "reopen": "echo hello | cat /proc/self/fd/0; echo x > /dev/stdout; echo in | wc -c /dev/stdin",
    "comm": "printf new > /proc/$$/comm; cat /proc/$$/comm; grep Name /proc/$$/status",
}


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    cases = {name.replace(" ", "-"): Case(["/bin/sh", "-c", script]) for name, script in SAME.items()}
    return Batch(tmp_path_factory.mktemp("proc"), cases)


@pytest.mark.parametrize("name", SAME)
def test_same_output(name: str, batch: Batch) -> None:
    batch.compare(name.replace(" ", "-"), 0)


@pytest.mark.parametrize("commands", [
    ["busybox ps", "busybox free", "busybox uptime", "busybox top -b -n1", "busybox nproc", "busybox pidof busybox",
     "busybox df", "busybox mount"],
    ["ps aux", "ps -ef --forest", "ps -L", "free", "uptime", "top -b -n1", "pgrep -l ps", "w", "vmstat", "pmap $$"],
    ["lscpu", "nproc", "prlimit", "mount", "findmnt", "chrt -p $$", "ionice -p $$", "taskset -p $$"],
], ids=["busybox", "procps", "util-linux"])  # fmt: skip
def test_tools_work(commands: list[str]) -> None:
    """They end well and print something; what they print differs from the host as the machines do."""
    present = [command for command in commands if shutil.which(command.split()[0])]
    need(*(command.split()[0] for command in present[:1] or commands))
    script = "; ".join(f"echo '=== {command}'; {command}; echo \"status $?\"" for command in present)
    result = run_forkyard(["sh", "-c", script])
    for part in re.split(r"^=== ", result.text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        if "pgrep" not in lines[0]:
            assert lines[-1] == "status 0", result
        assert len(lines) > 2 or "pgrep" in lines[0], result
    assert "rror" not in result.stderr.decode(), result


def test_one_cpu_everywhere() -> None:
    need("python3", "nproc")
    script = (
        "import os\n"
        "print(os.cpu_count(), len(os.sched_getaffinity(0)), os.sysconf('SC_NPROCESSORS_ONLN'),"
        " os.sysconf('SC_NPROCESSORS_CONF'), open('/proc/cpuinfo').read().count('processor\\t'),"
        " open('/sys/devices/system/cpu/online').read().strip(),"
        " sum(l.startswith('cpu') for l in open('/proc/stat')) - 1)"
    )
    result = run_forkyard(["python3", "-c", script])
    assert result.text == "1 1 1 1 1 0 1\n", result


def test_cpu_flags_are_those_of_the_engine() -> None:
    result = run_forkyard(["grep", "-m1", "^flags", "/proc/cpuinfo"])
    flags = set(result.text.split(":")[1].split())
    assert flags >= {"sse2", "sse4_2", "aes", "pclmulqdq", "popcnt", "lm", "nx", "syscall"}
    assert not [flag for flag in flags if flag.startswith("avx")]
