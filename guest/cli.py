"""The command line (first cut)."""

from __future__ import annotations

import os
import signal
import sys

import click

from kernel.errno import Errno
from kernel.kernel import Kernel, Options


@click.group()
def main() -> None:
    """Run, trace and fuzz unmodified x86-64 Linux programs."""


@main.command(context_settings={"ignore_unknown_options": True})
@click.option("--odf", is_flag=True)
@click.option("--root", default="/")
@click.option("--writable", multiple=True)
@click.option("--env", multiple=True)
@click.option("--cwd", default=None)
@click.option("--memory", default=4 << 30)
@click.option("--timeout", type=float, default=None)
@click.option("--no-aslr", is_flag=True)
@click.option("--paranoid", is_flag=True)
@click.argument("argv", nargs=-1, type=click.UNPROCESSED)
def run(odf, root, writable, env, cwd, memory, timeout, no_aslr, paranoid, argv):  # type: ignore[no-untyped-def]
    """Run PROGRAM."""
    options = Options(root=root, writable=list(writable), memory_bytes=memory, aslr=not no_aslr, odf=odf,
                      paranoid=paranoid, timeout_s=timeout, cwd=cwd)
    kernel = Kernel(options)
    kernel.scheduler.unknown_syscall = lambda task, number: print(
        f"forkyard: system call {number} is not implemented", file=sys.stderr)
    environ = {**os.environ, **dict(e.split("=", 1) for e in env)}
    program = argv[0]
    if "/" not in program:
        import shutil

        program = shutil.which(program) or program
    try:
        kernel.start(os.fsencode(program), [os.fsencode(a) for a in argv],
                     [os.fsencode(f"{k}={v}") for k, v in environ.items()])
    except Errno as error:
        print(f"forkyard: {program}: {error}", file=sys.stderr)
        sys.exit(127 if error.code == 2 else 126)
    status = kernel.run()
    kernel.close()
    if status & 0x7F:
        sys.exit(128 + (status & 0x7F))
    signal.set_wakeup_fd(-1)
    sys.exit(status >> 8)


if __name__ == "__main__":
    main()
