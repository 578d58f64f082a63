"""The command line: what ``forkyard`` takes. The work of each command is imported when it is asked for."""

from __future__ import annotations

import os
from typing import Any

import click

from guest import __version__
from guest.bench.cli import bench
from guest.environment import as_given
from guest.fuzz.cli import afl, fuzz
from guest.fuzz.crash_command import crash
from guest.fuzz.replay_command import replay
from guest.options import PROGRAM, guest_options, program
from guest.runner import FAILED, leave, run_guest, say
from guest.trace_command import trace_options, tracing

_EPILOG = """\b
Exit status: the program's own; 128+N if signal N ended it; 127 if it was not found, 126 if it cannot be
executed; 124 after --timeout; 125 if Forkyard itself failed; 2 for wrong usage."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EPILOG)
@click.version_option(__version__, prog_name="forkyard", message="%(prog)s %(version)s")
def main() -> None:
    """Run unmodified x86-64 Linux programs on an emulated CPU, under a kernel written in Python.

    The host's files are visible read-only; what a program writes stays in memory unless --writable says otherwise.
    fork comes in two kinds: classic, and on demand (--odf, or 1 written to /proc/PID/use_odf).

    \b
    forkyard run -- busybox sh -c 'ls | wc -l'
    forkyard run --odf --writable . -- gcc -o hello hello.c
    forkyard trace -f -e trace=file -- ls /
    """


def _environment(extra: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return {**as_given(os.environ), **dict(extra)}


@main.command(context_settings=PROGRAM, epilog=_EPILOG)
@guest_options
@program
def run(argv: tuple[str, ...], env: tuple[tuple[str, str], ...], **how: Any) -> None:
    """Run PROGRAM with ARGS.

    PROGRAM is looked up along PATH in the guest's tree. stdin, stdout and stderr are passed through byte for byte, and
    so are signals: Ctrl-C goes to the guest's foreground processes, SIGTERM and SIGHUP to PROGRAM (a second one ends
    everything).
    """
    leave(run_guest(argv, _environment(env), None, how))


@main.command(context_settings=PROGRAM, epilog=_EPILOG)
@trace_options
@guest_options
@program
def trace(argv: tuple[str, ...], env: tuple[tuple[str, str], ...], **options: Any) -> None:
    """Run PROGRAM with ARGS and show its system calls and signals as strace(1) does.

    The options are strace's, with its meaning. What is shown goes to stderr, or to the FILE of -o.

    \b
    forkyard trace -f -o log -- make
    forkyard trace -e trace=%file,pipe2 -e signal=none -- ls
    forkyard trace -c -- find /usr/share/doc -name copyright
    """
    prepare, how = tracing(options)
    leave(run_guest(argv, _environment(env), prepare, how))


main.add_command(bench)
main.add_command(afl)
main.add_command(fuzz)
main.add_command(crash)
main.add_command(replay)


@main.command()
@click.option("--markdown", is_flag=True, help="Print the table of the README.")
@click.option("--missing", is_flag=True, help="Only the system calls of Linux that are not there.")
@click.option("--write", metavar="FILE", help="Bring the table in FILE (README.md) up to date.")
def syscalls(markdown: bool, missing: bool, write: str | None) -> None:
    """List the system calls of x86-64 Linux and which of them Forkyard has."""
    from guest.coverage import missing_text, plain_table, readme_table
    from guest.markers import update

    if write is not None:
        try:
            update(write, "system calls", readme_table())
        except (OSError, ValueError) as error:
            raise click.ClickException(f"{write}: {getattr(error, 'strerror', None) or error}") from None
        return
    click.echo(missing_text() if missing else readme_table() if markdown else plain_table(), nl=False)


@main.command()
@click.option("--odf/--classic", default=True, help="Fork on demand, or the classic way.  [default: --odf]")
def demo(odf: bool) -> None:
    """Run a shell pipeline that forks, and say what the machine did for it."""
    from guest.demo import demo as show

    leave(show(odf))


def command_line() -> None:
    """Do what the words of the command line say, and end."""
    try:
        main(prog_name="forkyard")
    except SystemExit as end:
        leave(end.code if isinstance(end.code, int) else 0 if end.code is None else 1)
    except OSError as error:
        say(f"standard output: {error.strerror}")
        os._exit(FAILED)
