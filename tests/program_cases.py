"""The command lines of tests/test_programs.py: Debian's own programs, on input that makes their output the same anywhere.

Each value is an argv, or (argv, what else a Case takes). "sh -c" strings are run by the shell under test.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from harness import Case

SCRIPTS = Path(__file__).resolve().parent / "scripts"
BUSYBOX = shutil.which("busybox") or "/bin/busybox"

TEXT = b"the quick brown fox\njumps over\nthe lazy dog\n\nThe end\t of it\n"
NUMBERS = b"".join(b"%d %d\n" % (i * 7919 % 101, i) for i in range(60))
CSV = b"id,name,amount\n1,ann,10\n2,bob,20\n3,cid,30\n4,ann,5\n"
BINARY = bytes(range(256)) * 4
FILES = {"text": TEXT, "numbers": NUMBERS, "data.csv": CSV, "bin": BINARY, "d/one": b"1\n", "d/two": b"2\n",
         "script.sh": (b"#!/bin/sh\necho script $0 $1\n", 0o755)}

#: busybox applet → its arguments; stdin is TEXT and FILES are there.
APPLETS: dict[str, str] = {
    "arch": "", "ash": "-c 'echo ash $((1+1))'", "awk": "'{print NF, $1; n += NF} END {print n}' text",
    "basename": "/a/b/c.txt .txt", "cal": "2 2024", "cat": "-n text -", "chmod": "700 text", "cksum": "text bin",
    "clear": "", "cmp": "text numbers", "comm": "text text", "cp": "-r d e", "cpio": "-t", "cut": "-d, -f2 data.csv",
    "date": "-u -d @1700000000 +%F_%T", "dc": "-e '2 3 * p'", "dd": "if=bin of=out bs=100 count=3 status=none",
    "diff": "text numbers", "dirname": "/a/b/c", "dos2unix": "text", "du": "-a d -k --help", "echo": "-e 'a\\tb'",
    "egrep": "'fox|dog' text", "env": "-i A=1 env", "expand": "text", "expr": "3 '*' 4", "factor": "1234567 97",
    "false": "", "fgrep": "-c the text", "find": "d -type f -name 'o*'", "fold": "-w 10 text", "grep": "-in the text",
    "gunzip": "-c packed.gz", "gzip": "-c text", "head": "-n 2 text", "hexdump": "-C bin", "hostid": "--help", "id": "-u",
    "install": "-m 600 text new", "ln": "-s text link", "ls": "-1 d", "md5sum": "text bin", "mkdir": "-p x/y/z",
    "mkfifo": "fifo", "mktemp": "--help", "mv": "text moved", "nl": "text", "nproc": "--help", "od": "-c text",
    "paste": "text numbers", "printenv": "TZ", "printf": "'%05d %s\\n' 42 x", "pwd": "", "readlink": "-f d/../text",
    "realpath": "d/one", "rev": "text", "rm": "-r d", "rmdir": "nothere", "run-parts": "--test d", "sed": "'s/the/THE/g;2d' text",
    "seq": "-w 8 11", "sha1sum": "text", "sha256sum": "bin", "sha512sum": "text", "sleep": "0.01",
    "sort": "-n -k1 numbers", "split": "-l 20 numbers part.", "stat": "-c '%s %A' text", "strings": "bin",
    "sum": "text", "tac": "text", "tail": "-n 2 text", "tar": "cf - d --help", "tee": "copy1 copy2", "test": "-f text",
    "timeout": "5 echo in time", "touch": "fresh", "tr": "a-y b-z", "true": "", "truncate": "-s 10 text", "tsort": "pairs",
    "uname": "-s", "uniq": "-c same", "unexpand": "text", "unlink": "text", "usleep": "100", "uudecode": "coded -o -",
    "uuencode": "text name", "wc": "text numbers", "which": "sh", "whoami": "", "xargs": "-n 2 echo", "xxd": "-l 64 bin",
    "yes": "--help", "zcat": "packed.gz", "[": "3 -gt 2 ]", "nice": "echo nice", "nohup": "--help", "setsid": "echo setsid",
    "base64": "bin", "base32": "text", "bc": "--help", "crc32": "text", "getopt": "ab: -a -b x y", "logname": "--help",
    "shuf": "-e only", "sync": "", "tty": "", "ts": "--help", "ipcalc": "-n 192.168.1.7/24", "link": "text hard",
    "fsync": "text", "bunzip2": "--help", "ed": "-s text", "start-stop-daemon": "--help", "pidof": "nosuchprogram",
}


def applets() -> dict[str, Case]:
    """One case an applet that this host's busybox has."""
    import gzip
    import subprocess

    have = set(subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True).stdout.split())
    files = dict(FILES, pairs=b"a b\nb c\n", same=b"x\nx\ny\nx\n")
    files["packed.gz"] = gzip.compress(TEXT, mtime=0)
    files["coded"] = b"begin 644 name\n#0V%T\n`\nend\n"
    return {f"applet-{name}": Case([BUSYBOX, "sh", "-c", f"exec {BUSYBOX} {name} {arguments}"], TEXT, dict(files))
            for name, arguments in APPLETS.items() if name in have}


def scripts() -> dict[str, Case]:
    """tests/scripts/*.sh under busybox sh, bash and dash."""
    cases = {}
    for shell, argv in {"busybox": [BUSYBOX, "sh"], "bash": ["bash"], "dash": ["dash"]}.items():
        if shutil.which(argv[0]) is None:
            continue
        for path in sorted(SCRIPTS.glob("*.sh")):
            if (shell, path.stem) == ("dash", "arithmetic"):  # dash has no a++
                continue
            # The shells name process ids when a job dies of a signal.
            cases[f"{shell}-{path.stem}"] = Case([*argv, str(path)], stderr=path.stem not in ("jobs", "traps"))
    return cases


_TOOLS: dict[str, str | tuple[str, dict]] = {
    # coreutils
    "ls": "ls -l --time-style=+ d | sed 's/^[^ ]* *//' | awk '{print $NF}'",
    "ls-colour": "ls --color=always -1", "sort": "sort -n -k1,1 numbers | uniq -c | head -5",
    "sort-big": "seq 1 3000 | sort -R --random-source=bin | sort -n | md5sum",
    "join": "join <(sort numbers) <(sort numbers) 2>/dev/null || sort numbers > a; join a a | head -3",
    "comm": "sort text > a; comm -12 a a", "cut": "cut -c2-5 text", "paste": "paste -sd, text", "tr": "tr -d aeiou < text",
    "wc": "wc -lwc text bin", "od": "od -A x -t x1z bin | head -5", "fmt": "fmt -w 20 text", "pr": "pr -t -2 numbers | head -5",
    "expand": "expand text | cat -A", "nl": "nl -ba text", "tac": "tac text", "split": "split -n 3 bin part; ls part*; cat parta* | cmp - bin",
    "csplit": "csplit -s text 3; ls xx*", "shuf": "shuf -i 1-5 --random-source=bin", "factor": "factor 600851475143",
    "numfmt": "numfmt --to=iec 123456789", "sha": "sha1sum text; sha224sum text; sha256sum text; b2sum text; cksum text",
    "base64": "base64 bin | base64 -d | cmp - bin && echo same", "seq": "seq -s, 1 0.5 4", "printf": "printf '%q %5.2f\\n' 'a b' 3.14159",
    "date": "date -u -d '2024-02-29 12:00 +1 day' +%c", "stat": "stat -c '%n %s %f %F' text d", "du": "du -b text",
    "install": "install -D -m 640 text x/y/z; stat -c %a x/y/z", "cp": "cp -a d copy; ls -R copy; cp --sparse=always bin s; cmp bin s",
    "mv": "mv -v text t2", "ln": "ln -sr d/one l; readlink l; ln -f text hard; stat -c %h text", "rm": "rm -rfv d | sort",
    "truncate": "truncate -s 1M big; wc -c big", "dd": "dd if=bin bs=16 count=2 skip=3 2>&1 | head -c 70 | od -c",
    "tee": "echo x | tee a b c; cat a b c", "env": "env -i X=1 printenv", "timeout": "timeout 0.1 sleep 5; echo $?",
    "nohup": "nohup echo hi 2>/dev/null", "stdbuf": "stdbuf -oL echo unbuffered", "id": "id -u; id -g", "uname": "uname -sm",
    "touch": "touch -d 2001-01-01T00:00:00Z a; stat -c %Y a", "test": "[ text -ef ./text ] && [ d -nt nothere ] && echo ok",
    "pwd": "pwd; cd d; pwd", "basename": "basename -a /x/y /z", "tsort": "printf 'a b\\nb c\\n' | tsort", "mktemp": "t=$(mktemp -p .); test -f $t && echo made; rm $t",
    "chmod": "chmod -v u=rw,go= text", "mkfifo": "mkfifo f; cat f & echo via > f; wait", "cat": "cat -A text", "head": "head -c 5 bin | od -c; tail -c 5 bin | od -c",
    "sleep": "sleep 0.01 && echo", "realpath": "realpath --relative-to=d text", "dircolors": "dircolors -b | md5sum", "nice": "nice -n 3 nice",
    "sync": "sync text && echo synced", "df": "df . > /dev/null && echo df", "readlink": "readlink -e nothere; echo $?", "who": "who < /dev/null | wc -l",
    # bash
    "bash-arrays": "a=(x 'y z' w); a[5]=v; echo ${#a[@]} ${!a[@]}; for i in \"${a[@]}\"; do echo \"<$i>\"; done; declare -A m=([k]=1 [l]=2); echo ${m[k]}",
    "bash-process-substitution": "diff <(seq 1 3) <(seq 1 4); cat <(echo a) <(echo b); tee >(tr a-z A-Z > up) <<< word; sleep 0.1; cat up",
    "bash-here-string": "read -r a b <<< 'one two'; echo $b $a; tr a b <<< aaa", "bash-brace": "echo {1..5} {a,b}{c,d} x{01..03}",
    "bash-regex": "[[ abc123 =~ ([a-z]+)([0-9]+) ]] && echo ${BASH_REMATCH[1]} ${BASH_REMATCH[2]}", "bash-pipestatus": "true | false | exit 3; echo ${PIPESTATUS[@]}",
    "bash-coproc": "coproc cat; echo hi >&${COPROC[1]}; read x <&${COPROC[0]}; echo $x; kill $COPROC_PID",
    "bash-mapfile": "mapfile -t l < text; echo ${#l[@]} ${l[1]}", "bash-string": "s=hello; echo ${s^^} ${s:1:3} ${s/l/L} ${#s} ${s//l/_}",
    "bash-wait-n": "(exit 3) & wait -n; echo $?; set -o pipefail; false | true; echo $?", "bash-select": "printf '%s\\n' {1..200} | while read -r l; do ((t+=l)); echo $t; done | tail -1",
    "bash-trap-err": "trap 'echo err' ERR; false; trap 'echo debug' DEBUG; :; trap - DEBUG", "bash-subshell-vars": "x=1; ( x=2; echo $x $BASH_SUBSHELL ); echo $x",
    "bash-printf": "printf -v v '%03d' 7; echo $v; printf '%(%Y)T\\n' 0; echo $'a\\tb'", "bash-function-export": "f() { echo exported; }; export -f f; bash -c f",
    "bash-exec": "exec 3>&1; echo three >&3; exec {fd}<text; read -u $fd l; echo $l; (exec echo replaced); echo back",
    # grep, sed, awk
    "grep": "grep -n fox text; grep -c the text; grep -v the text; grep -o 'o[a-z]' text; grep -E '^(the|jumps)' text; grep -P '\\bdog\\b' text",
    "grep-r": "grep -r . d | sort; grep -l 1 d/*; grep -q zebra text; echo $?; grep x nothere; echo $?", "grep-binary": "grep -c a bin; grep -a -o 'abc' bin | head -2; grep -z x text | od -c | head -2",
    "sed": "sed -n '2p;$p' text; sed 's/\\(quick\\) \\(brown\\)/\\2 \\1/' text; sed -E 's/[aeiou]+/<&>/g' text", "sed-i": "sed -i.bak 's/fox/cat/' text; cat text text.bak",
    "sed-program": "sed -e ':a;N;$!ba;s/\\n/,/g' text; sed -n '/the/{=;p}' text; sed '1!G;h;$!d' text; sed 'y/abc/xyz/' text; sed '2,3c\\changed' text",
    "gawk": "gawk -F, 'NR>1 {s[$2]+=$3} END {n=asorti(s,k); for (i=1;i<=n;i++) print k[i], s[k[i]]}' data.csv", "gawk-functions": "gawk 'function f(n) {return n<2?n:f(n-1)+f(n-2)} BEGIN {print f(15); printf \"%.3f %s\\n\", atan2(0,-1), toupper(\"x\"); print substr(\"hello\",2,3), index(\"abc\",\"c\"), length(\"four\")}'",
    "gawk-pipe": "gawk 'BEGIN {\"echo from shell\" | getline x; print x; print \"b\\na\" | \"sort\"; close(\"sort\"); system(\"echo system\")}'", "gawk-regex": "gawk '{gsub(/o/,\"0\")} /fox/ {print NR\": \"$0} match($0,/l[a-z]+/) {print RSTART, RLENGTH}' text",
    # find, xargs
    "find": "find . -type f | sort; find . -name 't*' -o -size +1k | sort; find d -type f -exec cat {} +; find d -maxdepth 0 -printf '%f %y\\n'", "find-delete": "find d -name one -delete; ls d; find . -empty | sort; find . -newer text -name x; find . -perm 755 -type f",
    "xargs": "seq 10 | xargs -n 3 echo; printf 'a b\\0c\\0' | xargs -0 -I{} echo '<{}>'; seq 4 | xargs -P 2 -n 1 sh -c 'exit 0'; echo $?; echo 1 | xargs false; echo $?",
    # tar, gzip, bzip2, xz
    "tar": "tar cf t.tar --sort=name d text; tar tf t.tar; mkdir x; tar xf t.tar -C x; diff -r d x/d && echo same; rm t.tar", "tar-z": "tar czf t.tgz d; tar tzf t.tgz | sort; tar xzOf t.tgz d/one; rm t.tgz",
    "gzip": "gzip -nk9 text; gzip -l text.gz | tail -1 | awk '{print $2}'; gzip -dc text.gz | cmp - text && echo same; zcat text.gz | head -1; md5sum text.gz", "gzip-bad": "echo junk > x.gz; gzip -t x.gz; echo $?",
    "bzip2": "bzip2 -k bin; bzip2 -dc bin.bz2 | cmp - bin && echo same", "xz": "xz -k -T1 bin; xz -dc bin.xz | cmp - bin && echo same",
    # sqlite3
    "sqlite3": "sqlite3 db 'create table t(a integer primary key, b text); insert into t(b) values (\"x\"),(\"y\"); select * from t; select count(*), sum(a) from t;'; sqlite3 db 'update t set b=upper(b); select group_concat(b) from t; pragma integrity_check;'; rm db",
    "sqlite3-memory": "sqlite3 :memory: 'with recursive c(x) as (select 1 union all select x+1 from c where x<500) select sum(x), avg(x) from c; select hex(zeroblob(3)), round(3.14159, 2), json_extract(\"[1,2]\", \"$[1]\")'",
    "sqlite3-transaction": "sqlite3 db 'create table t(a); begin; insert into t values(1); rollback; begin; insert into t values(2); commit; select * from t; create index i on t(a); explain query plan select * from t where a=2; pragma journal_mode=wal; insert into t values(3); select count(*) from t'; sqlite3 -csv -header db 'select * from t'; rm -f db*",
    "sqlite3-import": "sqlite3 db '.mode csv' '.import data.csv s' 'select name, sum(amount) from s group by name' '.schema'; sqlite3 db 'select no from where'; echo $?; rm db",
    # #! scripts and how programs are found
    "script": "./script.sh arg", "script-path": "PATH=.:$PATH; script.sh x", "script-busybox": ("./s a 'b c'", {"s": (f"#!{BUSYBOX} sh\necho \"$0 $# $2\"\n", 0o755)}),
    "script-argument": ("./s 'x y'; echo $?", {"s": (b"#!/usr/bin/env  -S bash -e\necho $# \"$1\"; false; echo no\n", 0o755)}), "script-nested": ("./outer 1", {"outer": (b"#!./inner arg\n", 0o755), "inner": (b"#!/bin/sh\necho inner \"$@\"\n", 0o755)}),
    "script-no-interpreter": ("./s; echo $?", {"s": (b"#!/nonexistent/interpreter\n", 0o755)}), "script-crlf": ("./s 2>/dev/null; echo $?", {"s": (b"#!/bin/sh\r\necho hi\n", 0o755)}), "script-no-shebang": ("./s", {"s": (b"echo plain $0\n", 0o755)}),
    "script-loop": ("./s; echo $?", {"s": (b"#!./s\n", 0o755)}), "script-empty": ("./s; echo $?", {"s": (b"", 0o755)}),
    # odds and ends of the system
    "exit-status": "sh -c 'exit 256'; echo $?; sh -c 'exit -1' 2>/dev/null; echo $?; { sh -c 'kill -SEGV $$'; } 2>/dev/null; echo $?", "argv0": "exec -a other sh -c 'echo $0'",
    "large-environment": "X=$(head -c 100000 /dev/zero | tr '\\0' x) env | wc -c", "many-arguments": "echo $(seq 1 5000) | wc -w", "deep-directories": "p=.; for i in $(seq 1 40); do p=$p/dir$i; done; mkdir -p $p; echo deep > $p/f; find . -name f -exec cat {} +",
    "proc-self": "cat /proc/self/comm; tr '\\0' ' ' < /proc/self/cmdline; echo; readlink /proc/self/cwd; ls /proc/self/fd | head -3; grep -c . /proc/self/limits; wc -c < /proc/self/environ", "proc-misc": "head -1 /proc/self/status; cut -d' ' -f2 /proc/self/stat; cat /proc/sys/kernel/ostype; grep -c MemTotal /proc/meminfo; grep -q . /proc/cpuinfo && grep -q . /proc/uptime && echo there",
    "dev": "echo x > /dev/null; head -c 4 /dev/zero | od -c; echo x > /dev/full; echo $?; head -c 16 /dev/urandom | wc -c; cat < /dev/stdin; echo to stderr > /dev/stderr; echo out > /dev/stdout; test -c /dev/null && ls /dev/fd | head -1",
    "file-lock": "flock lock sh -c 'echo locked; flock -n lock true; echo $?'; exec 9> l2; flock 9; (flock -n 9 && echo shared by inheritance)", "setsid": "setsid sh -c 'echo new session'; setsid -w false; echo $?",
    "kill": "sleep 100 & kill -STOP $!; kill -CONT $!; kill $!; wait $!; echo $?; kill -l 9; kill -l TERM", "ulimit": "ulimit -f 1; { head -c 5000 /dev/zero > big; } 2>/dev/null; echo $?; ulimit -v 100000; ulimit -v", "umask": "umask 027; touch a; mkdir b; stat -c %a a b",
    "long-pipeline": "cat bin | cat | cat | cat | cat | cat | cat | cat | cat | cat | cat | cat | md5sum", "dd-pipe": "dd if=/dev/zero bs=64k count=20 2>/dev/null | dd bs=1k 2>/dev/null | wc -c", "perl": "perl -e 'print join(\",\", map { $_ ** 2 } 1..5), \"\\n\"; my $p = fork; if (!$p) { exit 3 } waitpid $p, 0; print $? >> 8, \"\\n\"'",
    "bc": "command -v bc >/dev/null && echo '2^100; scale=5; 1/3' | bc || echo none", "diff": "printf 'a\\nb\\n' > x; printf 'a\\nc\\n' > y; diff -u --label x --label y x y; diff -y x y; cmp x y; echo $?", "patch": "command -v patch > /dev/null || exit 0; printf 'a\\nb\\n' > x; printf '1,1c1\\n< a\\n---\\n> z\\n' | patch -s x; cat x",
    "make": ("command -v make > /dev/null || exit 0; make -s; make -s -j2 x y", {"Makefile": b"all: x\n\t@echo all\nx:\n\t@echo x > $@\ny:\n\t@echo y > $@\n"}), "m4": "command -v m4 > /dev/null || exit 0; echo 'define(a,b$1)a(7)' | m4", "strings": "strings -n 8 bin | head -2", "file-descriptors": "for i in 3 4 5 6 7 8 9; do eval \"exec $i>f$i\"; done; for i in 3 4 5 6 7 8 9; do echo $i >&$i; done; cat f?",
}


def tools() -> dict[str, Case]:
    """coreutils, bash, grep, sed, gawk, find, xargs, tar, gzip, sqlite3 and others, each as a bash command line."""
    cases = {}
    for name, what in _TOOLS.items():
        command, files = what if isinstance(what, tuple) else (what, {})
        if any(shutil.which(word) is None for word in (command.split()[0],) if word in ("sqlite3", "gawk", "xz", "perl")):
            continue
        cases[f"tool-{name}"] = Case(["bash", "-c", command], TEXT, {**FILES, **files})
    return cases


_PYTHON = {
    "fork": "import os\nr, w = os.pipe()\npid = os.fork()\nif pid == 0:\n    os.write(w, b'from the child'); os._exit(7)\nprint(os.read(r, 100), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))",
    "subprocess": "import subprocess\nr = subprocess.run(['sh', '-c', 'cat; echo err >&2; exit 3'], input=b'hello', capture_output=True)\nprint(r.returncode, r.stdout, r.stderr)\nprint(subprocess.run(['kill -9 $$'], shell=True).returncode)\ntry:\n    subprocess.run(['sleep', '10'], timeout=0.05)\nexcept subprocess.TimeoutExpired: print('timeout')\ntry:\n    subprocess.run(['/nonexistent'])\nexcept FileNotFoundError as e: print(e)",
    "threads": "import threading, queue\nq = queue.Queue()\nts = [threading.Thread(target=lambda i=i: q.put(i * i)) for i in range(8)]\n[t.start() for t in ts]; [t.join() for t in ts]\nprint(sorted(q.get() for _ in ts))\nl = threading.Lock(); n = 0\ndef add():\n    global n\n    for _ in range(300):\n        with l: n += 1\nts = [threading.Thread(target=add) for _ in range(3)]\n[t.start() for t in ts]; [t.join() for t in ts]; print(n)",
    "files": "import os, json, tempfile, shutil, hashlib, mmap\nos.makedirs('a/b'); open('a/b/f', 'w').write(json.dumps({'k': [1, 2.5, None]}))\nprint(json.load(open('a/b/f')), sorted(os.listdir('a')), [(d, sorted(s), f) for d, s, f in os.walk('a')])\nshutil.copytree('a', 'c'); shutil.rmtree('a')\nwith open('m', 'w+b') as f:\n    f.write(b'0' * 5000); f.flush(); m = mmap.mmap(f.fileno(), 0); m[100:105] = b'mmap!'; m.flush(); m.close(); f.seek(98); print(f.read(9))\nprint(hashlib.sha256(open('m', 'rb').read()).hexdigest())",
    "signals": "import signal, os, time\ngot = []\nsignal.signal(signal.SIGUSR1, lambda s, f: got.append(s))\nos.kill(os.getpid(), signal.SIGUSR1); print(got == [signal.SIGUSR1])\nsignal.signal(signal.SIGALRM, lambda s, f: got.append('alarm')); signal.setitimer(signal.ITIMER_REAL, 0.02); time.sleep(0.1); print(got[-1])\ntry:\n    os.kill(os.getpid(), signal.SIGINT); time.sleep(1)\nexcept KeyboardInterrupt: print('interrupted')",
    "select": "import os, select, socket\na, b = socket.socketpair(); a.send(b'x')\nprint(select.select([b], [a], [], 1) == ([b], [a], []))\np = select.poll(); p.register(b, select.POLLIN); print(len(p.poll(1000)))\ne = select.epoll(); e.register(b.fileno(), select.EPOLLIN); print(len(e.poll(1)))\nb.recv(1); print(p.poll(10), a.close(), b.recv(1))",
    "multiprocessing": "import multiprocessing as mp\ndef f(x): return x * x\nif __name__ == '__main__':\n    with mp.get_context('fork').Pool(2) as p: print(p.map(f, range(10)))",
    "error": "raise SystemExit(open('nothere'))", "exit": "import sys; print('out'); sys.stdout.flush(); sys.exit(5)",
    "numbers": "import math, random, decimal, fractions\nrandom.seed(1); print(random.random(), math.pi ** 20, 2 ** 200, decimal.Decimal(1) / 7, fractions.Fraction(3, 9), sum(i * 0.1 for i in range(1000)), math.sin(1e22), f'{1e300 * 1e10} {-0.0} {float(\"nan\")}')",
    "time": "import time, datetime\na = time.monotonic(); time.sleep(0.01); print(time.monotonic() > a, datetime.datetime.fromtimestamp(0, datetime.timezone.utc), time.time() > 1.6e9)",
    "asyncio": "import asyncio\nasync def f(n): await asyncio.sleep(0.01 * n); return n\nasync def main():\n    print(await asyncio.gather(*[f(i) for i in range(5)]))\n    p = await asyncio.create_subprocess_exec('echo', 'async', stdout=asyncio.subprocess.PIPE); print(await p.communicate())\nasyncio.run(main())",
    "memory": "b = bytearray(20_000_000); b[::4096] = b'x' * len(b[::4096]); l = [str(i) for i in range(50000)]; d = {i: i for i in l}; print(len(b), len(d), sum(map(int, l)))",
}


def python() -> dict[str, Case]:
    """Debian's python3: fork, pipes, subprocess, threads, signals, files."""
    interpreter = "/usr/bin/python3"
    if not Path(interpreter).exists():
        return {}
    environment = ["env", "PYTHONDONTWRITEBYTECODE=1", "PYTHONHASHSEED=0"]
    return {f"python-{name}": Case([*environment, interpreter, "-c", source]) for name, source in _PYTHON.items()}
