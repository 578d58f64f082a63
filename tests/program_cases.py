"""The command lines of tests/test_programs.py: Debian's own programs, on input that gives the same output anywhere.

They stand in tests/cases/*.txt and tests/scripts/*.sh; here is what surrounds them.
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from harness import Case

HERE = Path(__file__).resolve().parent
BUSYBOX = shutil.which("busybox") or "/bin/busybox"

TEXT = b"the quick brown fox\njumps over\nthe lazy dog\n\nThe end\t of it\n"
FILES: dict = {
    "text": TEXT,
    "numbers": b"".join(b"%d %d\n" % (i * 7919 % 101, i) for i in range(60)),
    "data.csv": b"id,name,amount\n1,ann,10\n2,bob,20\n3,cid,30\n4,ann,5\n",
    "bin": bytes(range(256)) * 4,
    "d/one": b"1\n",
    "d/two": b"2\n",
    "script.sh": (b"#!/bin/sh\necho script $0 $1\n", 0o755),
}
#: What some cases of tools.txt have besides FILES.
MORE_FILES: dict[str, dict] = {
    "script-busybox": {"s": (f'#!{BUSYBOX} sh\necho "$0 $# $2"\n', 0o755)},
    "script-argument": {"s": (b'#!/usr/bin/env  -S bash -e\necho $# "$1"; false; echo no\n', 0o755)},
    "script-nested": {"outer": (b"#!./inner arg\n", 0o755), "inner": (b'#!/bin/sh\necho inner "$@"\n', 0o755)},
    "script-no-interpreter": {"s": (b"#!/nonexistent/interpreter\n", 0o755)},
    "script-crlf": {"s": (b"#!/bin/sh\r\necho hi\n", 0o755)},
    "script-no-shebang": {"s": (b"echo plain $0\n", 0o755)},
    "script-loop": {"s": (b"#!./s\n", 0o755)},
    "script-empty": {"s": (b"", 0o755)},
    "make": {"Makefile": b"all: x\n\t@echo all\nx:\n\t@echo x > $@\ny:\n\t@echo y > $@\n"},
}
#: Programs that not every machine has: their cases are left out there.
OPTIONAL = ("sqlite3", "gawk", "xz", "perl", "make", "m4", "patch", "bc")


def sections(name: str) -> Iterator[tuple[str, str]]:
    """(name, text) of each ``== name`` section of a file in tests/cases."""
    lines = (HERE / "cases" / name).read_text().splitlines()
    title, body = "", []
    for line in [*lines, "== "]:
        if line.startswith("== "):
            while body and (not body[-1] or body[-1].startswith("# ")):  # what belongs to the next section
                body.pop()
            if title:
                yield title, "\n".join(body)
            title, body = line[3:], []
        else:
            body.append(line)


def tools() -> dict[str, Case]:
    """coreutils, bash, grep, sed, gawk, find, xargs, tar, gzip, sqlite3 and others, each as a bash command line."""
    missing = [program for program in OPTIONAL if shutil.which(program) is None]
    return {
        f"tool-{name}": Case(["bash", "-c", command], TEXT, {**FILES, **MORE_FILES.get(name, {})})
        for name, command in sections("tools.txt")
        if not any(program in command for program in missing)
    }


def python() -> dict[str, Case]:
    """Debian's python3: fork, pipes, subprocess, threads, signals, files."""
    interpreter = "/usr/bin/python3"
    if not Path(interpreter).exists():
        return {}
    argv = ["env", "PYTHONDONTWRITEBYTECODE=1", "PYTHONHASHSEED=0", interpreter, "-c"]
    return {f"python-{name}": Case([*argv, source]) for name, source in sections("python.txt")}


def applets() -> dict[str, Case]:
    """One case an applet that this host's busybox has."""
    if shutil.which(BUSYBOX) is None:
        return {}
    have = set(subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True).stdout.split())
    files = dict(FILES, pairs=b"a b\nb c\n", same=b"x\nx\ny\nx\n", coded=b"begin 644 name\n#0V%T\n`\nend\n")
    files["packed.gz"] = gzip.compress(TEXT, mtime=0)
    cases = {}
    for line in (HERE / "cases" / "applets.txt").read_text().splitlines():
        name = line.split(" ")[0]
        if name in have:
            cases[f"applet-{name}"] = Case([BUSYBOX, "sh", "-c", f"exec {BUSYBOX} {line}"], TEXT, dict(files))
    return cases


def scripts() -> dict[str, Case]:
    """tests/scripts/*.sh under busybox sh, bash and dash."""
    cases = {}
    for shell, argv in {"busybox": [BUSYBOX, "sh"], "bash": ["bash"], "dash": ["dash"]}.items():
        if shutil.which(argv[0]) is None:
            continue
        for path in sorted((HERE / "scripts").glob("*.sh")):
            if (shell, path.stem) == ("dash", "arithmetic"):  # dash has no a++
                continue
            # The shells name process ids when a job dies of a signal.
            cases[f"{shell}-{path.stem}"] = Case([*argv, str(path)], stderr=path.stem not in ("jobs", "traps"))
    return cases
