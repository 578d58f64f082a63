"""``forkyard bench`` and its experiments: the options; the work is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from guest.options import Size
from guest.runner import leave


class Sizes(click.ParamType):
    """Sizes with commas between them, as MiB."""

    name = "sizes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        return tuple(Mib().convert(part, param, ctx) for part in str(value).split(","))


class Mib(click.ParamType):
    """A size in whole MiB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        mib, rest = divmod(Size().convert(value, param, ctx), 1 << 20)
        if rest:
            self.fail(f"{value} is not a whole number of MiB", param, ctx)
        if mib > 1 << 20:
            self.fail(f"{value} is too much: at most 1T", param, ctx)
        return mib


class Counts(click.ParamType):
    """Whole numbers with commas between them."""

    name = "counts"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            counts = tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers, such as 0,1,16", param, ctx)
        if min(counts) < 0:
            self.fail(f"{value}: a number is negative", param, ctx)
        return counts


_FORMS = (
    click.option("--json", "as_json", is_flag=True, help="Print every number as JSON instead of a table."),
    click.option("--markdown", is_flag=True, help="Print the table as Markdown."),
    click.option("--best", is_flag=True, help="Show the best value, not the median: for a busy machine."),
    click.option("--write", metavar="FILE", help="Put the table into FILE (README.md), too."),
)
_EXPERIMENT = (
    click.option("--rounds", type=click.IntRange(1, 99), default=3, show_default=True,
                 help="Start each program that often, contestants in turn."),
    click.option("--plot", metavar="FILE", help="Draw a picture: FILE ends in .png or .svg. Needs matplotlib."),
    click.option("--no-host", is_flag=True, help="Leave out the host's own fork."),
)


def _with(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _form(as_json: bool, markdown: bool) -> str:
    return "json" if as_json else "markdown" if markdown else "table"


@click.group(invoke_without_command=True)
@_with(*_FORMS)
@click.option("--row", "rows", multiple=True, metavar="NAME", help="Only rows whose name contains NAME (repeatable).")
@click.option("--rounds", type=click.IntRange(1, 99), default=5, show_default=True,
              help="Measure each thing that often, in turn, and take the median.")
@click.option("--no-cold", is_flag=True, help="Leave out the first run ever, which compiles for half a minute.")
@click.pass_context
def bench(context: click.Context, as_json: bool, markdown: bool, rows: tuple[str, ...], rounds: int, no_cold: bool,
          best: bool, write: str | None) -> None:
    """Measure speed and memory, side by side with the host.

    Each row is one C program run natively, under Forkyard and, where they are installed, under qemu-x86_64 and
    strace, in turn on this machine; what counts is the ratios. Takes up to two minutes. Needs a C compiler.

    The commands are experiments on fork, each with classic fork, fork on demand at both levels and the host's own
    fork side by side. Their options stand behind their names: forkyard bench fork --plot fork.svg
    """
    if context.invoked_subcommand is not None:
        given = [parameter.opts[0] for parameter in bench.params
                 if context.get_parameter_source(parameter.name or "") is click.core.ParameterSource.COMMANDLINE]
        if given:
            raise click.UsageError(f"{given[0]} belongs behind {context.invoked_subcommand}, or to no experiment")
        return
    from guest.bench.command import bench as measure

    leave(measure(_form(as_json, markdown), rows, rounds, cold=not no_cold, best=best, write=write))


def _run(experiment: Any, as_json: bool, markdown: bool, rounds: int, plot: str | None, no_host: bool,
         write: str | None) -> None:
    from guest.bench.experiment_command import Show, run_experiment

    leave(run_experiment(experiment, rounds, Show(_form(as_json, markdown), plot, write), host=not no_host))


@bench.command()
@click.option("--sizes", type=Sizes(), default="64M,256M,1G,4G,16G,50G", show_default=True, metavar="SIZE,…",
              help="How much memory the process has.")
@_with(*_EXPERIMENT, *_FORMS)
def fork(sizes: tuple[int, ...], best: bool, **how: Any) -> None:
    """The fork call by the size of the process.

    The program of figure 1 of the paper: memory with MAP_POPULATE, then fork; the child ends at once. Besides the
    time, the page-table entries that a fork visits. The guest's RAM is chosen to fit; the emulator touches little of
    it. The host's own fork needs the memory itself and is left out where that is more than half of what is free.
    """
    from guest.bench.fork import ForkExperiment

    _run(ForkExperiment(best, sizes), **how)


@bench.command()
@click.option("--size", type=Mib(), default="1G", show_default=True, metavar="SIZE", help="Memory of the process.")
@_with(*_EXPERIMENT, *_FORMS)
def fault(size: int, best: bool, **how: Any) -> None:
    """One access after a fork.

    The first read and the first writes under each page table (2 MiB), with the child alive; and the first writes
    after a child that wrote nothing has gone.
    """
    from guest.bench.fault import FaultExperiment

    _run(FaultExperiment(best, size), **how)


@bench.command()
@click.option("--size", type=Mib(), default="256M", show_default=True, metavar="SIZE", help="Memory of the process.")
@_with(*_EXPERIMENT, *_FORMS)
def access(size: int, best: bool, **how: Any) -> None:
    """Fork, and a child that touches 0 to 100 % of the memory.

    From before the fork until the child has touched one word in each page of the part, reading and writing in
    different mixes; figure 8 of the paper.
    """
    from guest.bench.access import AccessExperiment

    _run(AccessExperiment(best, size), **how)


@bench.command()
@click.option("--size", type=Mib(), default="1078M", show_default=True, metavar="SIZE",
              help="Memory of the server.")
@click.option("--tables", type=Counts(), default="0,1,4,16,64,256,539", show_default=True, metavar="N,…",
              help="Under how many page tables (2 MiB) a child writes.")
@_with(*_EXPERIMENT, *_FORMS)
def server(size: int, tables: tuple[int, ...], best: bool, **how: Any) -> None:
    """Runs per second of a fork server.

    The parent holds the memory; a run is a fork, a child that writes one word under each of some page tables and
    exits, and the wait for it. A process of 7 MB is the control: nothing to gain there, and nothing to lose.
    """
    from guest.bench.server import ServerExperiment

    _run(ServerExperiment(best, size, tables), **how)


@bench.command()
@_with(*_EXPERIMENT, *_FORMS)
def fuzz(best: bool, **how: Any) -> None:
    """Runs per second of fuzzed programs.

    A tiny static program, readelf, and one that fills 1 GiB before its fork point, with on-demand and with classic
    fork: by the CPU time of the launcher under a driver that does nothing else, and under afl-fuzz; natively with
    afl-fuzz -n beside it. Then where the time of one run goes. A round takes about two minutes.
    """
    from guest.bench.fuzz import FuzzExperiment

    _run(FuzzExperiment(best), **how)
