"""What may differ between a trace by host strace and one by Forkyard, taken out of both: each rule says why."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: (pattern, replacement): applied in order to each line.
RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # ASLR and the layout of libraries place things differently in every run
        (r"0x[0-9a-f]{5,16}\b", "ADDR"),
        # random bytes
        (r'^getrandom\("[^"]*"(\.\.\.)?,', 'getrandom("RANDOM",'),
        # process ids: Forkyard counts its own
        (r"^(getpid|gettid|getppid|getpgrp|set_tid_address|getpgid|getsid)(\(.*\)) *= P?\d+$", r"\1\2 = PID"),
        (r"^(kill|tkill|getpgid|getsid|prlimit64)\([1-9]\d*", r"\1(PID"),
        (r"^tgkill\([1-9]\d*, [1-9]\d*", "tgkill(PID, PID"),
        (r"si_pid=\d+", "si_pid=PID"),
        # the time of day and the time used so far
        (r"tv_sec=\d+, tv_n?u?sec=\d+", "TIME"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?[+-]\d{4}", "DATE"),
        (r"^(time\(.*) = \d+", r"\1 = TIME"),
        (r"si_utime=\d+( /\* [\d.]+ s \*/)?, si_stime=\d+( /\* [\d.]+ s \*/)?", "si_utime=T, si_stime=T"),
        # the load and the memory of the machine at that moment; Forkyard reports its own memory
        (r"^sysinfo\(\{.*\}\)", "sysinfo({…})"),
        (r"^times\(\{.*\}\) *= \d+", "times({…}) = T"),
        # the number of processors: Forkyard has one
        (r"^(sched_getaffinity\(\d+, \d+,) \[[\d ]*\]\) *= \d+", r"\1 [CPUS]) = N"),
        # what /proc says of the system: Forkyard's kernel is another
        (r'^read\((\d+), "nodev\\tsysfs.*', r'read(\1, "/proc/filesystems'),
        # the processor's features and the memory there is decide how much a program takes at once
        (r"^(mmap\(NULL|munmap\(ADDR), \d{7,}", r"\1, SIZE"),
        # python leaves the upper half of epoll's data to chance
        (r"u64=\d{12,}", "u64=U64"),
        # what the host's container leaves of root's capabilities
        (r"(effective|permitted|inheritable)=(1<<CAP_\w+\|?)+", r"\1=CAPS"),
        # port numbers that the host gave
        (r"htons\(\d{5}\)", "htons(PORT)"),
        # names of temporary files
        (r"/tmp/cc\w{6}\b", "/tmp/ccXXXXXX"),
        # free space changes while others use the machine
        (r"f_bfree=\d+, f_bavail=\d+, f_files=\d+, f_ffree=\d+", "f_free"),
        # strace pads to column 40 with the text it has; the texts' lengths have just been changed
        (r" +=", " ="),
    )
)

#: Calls left out of the comparison.
LEFT_OUT = re.compile(
    # answered by the host's vDSO without a system call; without one they are calls
    r"^(clock_gettime|gettimeofday|time|getcpu)\("
    # the dynamic loader's own heap, which is larger by the vDSO's link map where there is one
    r"|^mmap\(NULL, (8192|12288), PROT_READ\|PROT_WRITE, MAP_PRIVATE\|MAP_ANONYMOUS, -1, 0\)"
)


#: Files whose content is each process's own: what is mapped where (and so how many reads it takes), and random bytes.
OWN = re.compile(r'^openat\(AT_FDCWD, "(/proc/self/maps|/dev/u?random)", .* = (\d+)$')


def normal(lines: list[str]) -> list[str]:
    """The lines that are to agree, in their common form."""
    result = []
    own = None
    for line in lines:
        if own is not None:
            if line.startswith(f"close({own})"):
                own = None
            continue
        opened = OWN.match(line)
        if opened:
            own = opened.group(2)
        elif line.startswith("munmap(") and result and OWN.match(result[-1]):
            continue  # the buffer that was filled
        if LEFT_OUT.match(line):
            continue
        for pattern, replacement in RULES:
            line = pattern.sub(replacement, line)
        result.append(line)
    return result


#: Which child is reaped first, and whether its SIGCHLD comes before or after, depends on scheduling; how often
#: mkstemp draws random bytes, on what it draws; when a heap grows, on addresses where these are hashed (python).
RACING = re.compile(r"^(wait4\(|--- SIGCHLD |rt_sigreturn\(|getrandom\(|brk\(|mmap\(NULL, SIZE|munmap\(ADDR, SIZE)")


#: Where a traced process's id stands. Only there: on a host that was just started 792 may be a process, and a size.
PROCESS = (re.compile(r"(^(?:clone3?|v?fork|wait4|set_tid_address|rt_sigreturn)\(.*\) *= )(\d+)$"),
           re.compile(r"(\bpid=|\bsi_pid=|^wait4\(|^waitid\(P_PID, )(\d+)\b"))


def named(line: str, names: Mapping[str, str]) -> str:
    """The line with other names for the processes in it."""
    for pattern in PROCESS:
        line = pattern.sub(lambda found: found[1] + names.get(found[2], found[2]), line)
    return line


def processes(log: str) -> list[list[str]]:
    """The lines of each process of a ``-f -o`` trace, in the order of their creation; halves of lines joined.

    Process ids become P0, P1, …
    """
    lines_of: dict[str, list[str]] = {}
    unfinished: dict[str, str] = {}
    for line in log.splitlines():
        pid, _, text = line.partition(" ")
        text = text.strip()
        lines = lines_of.setdefault(pid, [])
        if text.endswith(" <unfinished ...>"):
            unfinished[pid] = text.removesuffix(" <unfinished ...>")
            continue
        resumed = re.match(r"<\.\.\. \w+ resumed>(.*)", text)
        lines.append(unfinished.pop(pid) + resumed.group(1) if resumed and pid in unfinished else text)
    first = int(next(iter(lines_of), 0))
    in_order = sorted(lines_of, key=lambda pid: (int(pid) < first, int(pid)))  # the host's ids may begin again
    names = {pid: f"P{index}" for index, pid in enumerate(in_order)}
    result = []
    for pid in names:
        lines = normal([named(line, names) for line in lines_of[pid]])
        result.append([line for line in lines if not RACING.match(line)])
    return result
