"""``forkyard fuzz``: check, say what will happen, run the campaign with one live summary, and say what to do next."""

from __future__ import annotations

import os
import shlex
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from guest.fuzz import dictionary, setup
from guest.fuzz import options as fuzz_options
from guest.fuzz.campaign import MAIN, Campaign, CampaignError, Plan, crash_folders
from guest.fuzz.setup import SetupProblem, Trial
from guest.fuzz.stats import Figures, ago, since, together
from guest.runner import FAILED, WRONG_USAGE, guarded, say

#: Between two looks at the figures; the lines of a summary that is not on a terminal are rarer.
REFRESH_S, LINE_S = 1.0, 10.0
#: Seeds up to here are worth afl-fuzz -D in one of several instances: it takes some 500 runs for each byte of an input.
_DETERMINISTIC_BYTES = 256
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for, besides the options of the launcher."""

    seeds: str
    out: str
    jobs: int
    join: str | None
    map_size: int
    timeout_ms: str | None
    seconds: int | None
    dictionaries: tuple[str, ...]
    own_dictionary: bool
    """Where none is given: the program's strings."""
    more: tuple[str, ...]
    """Further words for every afl-fuzz."""


def fuzz(argv: Sequence[str], wishes: Wishes, how: Mapping[str, Any]) -> int:
    """Run a campaign; returns the exit status: 0 when it ended as it was told to.

    Args:
        how: the values of fuzz_options() and coverage_options().
    """
    def work() -> int:
        # Not sooner: guarded() takes what it raises from here on.
        _handle(_interrupt)
        try:
            return _fuzz(argv, wishes, how)
        finally:
            _handle(signal.SIG_IGN)  # it ends now, and with the status that it has

    return guarded(work)


def _handle(handler: Any) -> None:
    """Install it for the signals that end us, but for those that whoever started us wants ignored (nohup)."""
    for signo in _ENDING:
        if signal.getsignal(signo) != signal.SIG_IGN:
            signal.signal(signo, handler)


def _interrupt(signo: int, frame: FrameType | None) -> None:
    """Before the campaign every such signal is a Ctrl-C: what was begun is cleaned up, unless a second one comes."""
    _handle(signal.SIG_DFL)
    raise KeyboardInterrupt


def _fuzz(argv: Sequence[str], wishes: Wishes, how: Mapping[str, Any]) -> int:
    console = Console(highlight=False)
    try:
        plan = make_plan(argv, wishes, how)
        trial = _try(plan, wishes)
    except SetupProblem as problem:
        say(str(problem))
        return WRONG_USAGE
    if trial is not None:
        _show_trial(console, trial)
    _show_plan(console, plan)
    try:
        return _run(console, plan, argv, how)
    except CampaignError as error:
        # afl-fuzz says what is wrong with its options or the seeds.
        say(str(error))
        return WRONG_USAGE
    except OSError as error:
        say(f"{plan.afl}: {error.strerror}")
        return FAILED


def make_plan(argv: Sequence[str], wishes: Wishes, how: Mapping[str, Any]) -> Plan:
    """Check what can be checked without running anything.

    Raises:
        SetupProblem: something must be put right first.
    """
    afl = setup.find_afl()
    program = setup.check_target(argv[0], how["root"])
    seeds = setup.check_seeds(wishes.seeds)
    setup.check_output(wishes.out, wishes.seeds)
    for given in wishes.dictionaries:
        if not os.path.exists(given):
            raise SetupProblem(f"-x {given}: No such file or directory")
    own = dictionary.tokens(program) if wishes.own_dictionary and not wishes.dictionaries else []
    more = [*(word for one in wishes.dictionaries for word in ("-x", one)), *wishes.more]
    if wishes.timeout_ms is not None:
        more += ["-t", wishes.timeout_ms]
    if wishes.seconds is not None:
        more += ["-V", str(wishes.seconds)]
    words = fuzz_options.words(how, fuzz_options.fuzz_options, fuzz_options.coverage_options)
    target = [*setup.launcher(), "afl", *words, "--", *argv]
    return Plan(afl, wishes.seeds, wishes.out, target, wishes.jobs, wishes.join, wishes.map_size, more,
                wishes.jobs > 1 and _are_small(seeds or list(Path(wishes.out, MAIN, "queue").glob("id:*,orig:*"))), own)


def _are_small(seeds: Sequence[Path]) -> bool:
    return bool(seeds) and all(seed.stat().st_size <= _DETERMINISTIC_BYTES for seed in seeds)


def _try(plan: Plan, wishes: Wishes) -> Trial | None:
    setup.compile_machine()
    seeds = setup.check_seeds(wishes.seeds)
    # With -C afl-fuzz wants crashes; one that goes on where it ended does not look at the seeds.
    may_crash = "-C" in plan.afl_options or Path(plan.out, plan.names()[0], "fuzzer_stats").exists()
    return setup.try_seeds(plan.target, seeds, plan.map_size, may_crash=may_crash) if seeds else None


def _show_trial(console: Console, trial: Trial) -> None:
    console.print(f"Ready after {trial.ready_s:.2f} s; parked: {trial.parked}.", style="green", markup=False)
    console.print(f"{trial.runs} runs of seeds: {trial.edges} edges, {trial.run_s * 1e3:.2g} ms the fastest.")
    for warning in trial.warnings:
        console.print(f"Note: {warning}", style="yellow", markup=False)


def _show_plan(console: Console, plan: Plan) -> None:
    """How other machines can take part."""
    host = f"{plan.join or 'HOST'}-{plan.jobs + 1}" if plan.join else "HOST-1"
    console.print("\nOn further machines with the same program and seeds, with a name for each afl-fuzz:", style="bold")
    console.print(f"  {plan.shown(host)}", markup=False, soft_wrap=True)
    console.print("or `forkyard fuzz --join HOST --jobs N` and the other options as here. All that connects them is "
                  f"{plan.out}: share\nit (NFS), or copy what each has found to the others every few minutes:")
    console.print(f"  rsync -rlt --exclude=.synced {plan.out}/ OTHER:{os.path.abspath(plan.out)}/", markup=False,
                  soft_wrap=True)
    console.print("The main reads the queue of any other fuzzer with --afl '-F DIRECTORY'.\n")


def _run(console: Console, plan: Plan, argv: Sequence[str], how: Mapping[str, Any]) -> int:
    told: list[int] = []

    def note(signo: int, frame: FrameType | None) -> None:
        told.append(signo)

    _handle(note)
    started = time.monotonic()
    with Campaign(plan, os.environ) as campaign:
        try:
            _watch(console, campaign, started, lambda: bool(told))
        finally:
            campaign.stop()
            console.print(summary(campaign, time.monotonic() - started))
    _show_next(console, plan, argv, how)
    return 0


def _watch(console: Console, campaign: Campaign, started: float, told: Callable[[], bool]) -> None:
    """Show how it goes until it ends, or we are told to end it."""
    if console.is_terminal:
        # No thread of rich's: the display is drawn by us.
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while campaign.running() and not told():
                live.update(summary(campaign, time.monotonic() - started), refresh=True)
                time.sleep(REFRESH_S)
        return
    shown = started
    while campaign.running() and not told():
        if time.monotonic() - shown >= LINE_S:
            shown = time.monotonic()
            console.print(line(together(one.figures() for one in campaign.instances), shown - started))
        time.sleep(REFRESH_S)


def line(all_of_it: Figures, seconds: float) -> str:
    """The state of a campaign in one line."""
    return (f"{ago(seconds)}: {all_of_it.executions:,} runs, {all_of_it.per_second:,.0f} a second, "
            f"{all_of_it.corpus:,} inputs in the queue, {all_of_it.edges:,} edges, {all_of_it.crashes} crashes, "
            f"{all_of_it.hangs} hangs")


def summary(campaign: Campaign, seconds: float) -> Group:
    """A table of the instances and what they have found together."""
    parts = {instance.name: instance.figures() for instance in campaign.instances}
    total = together(parts.values())
    table = Table(title=f"{campaign.plan.out}, {ago(seconds)}", title_justify="left", title_style="bold",
                  box=box.SIMPLE_HEAD, padding=(0, 0, 0, 2), pad_edge=False)
    table.add_column("")
    headings = ("runs", "runs/s", "queue", "edges", "stability", "crashes", "hangs")
    for heading in headings:
        table.add_column(heading, justify="right")
    rows = [*parts.items(), ("together", total)] if len(parts) > 1 else list(parts.items())
    for name, one in rows:
        stability = "" if one.stability is None else f"{one.stability:g} %"
        cells = (f"{one.executions:,}", f"{one.per_second:,.0f}", f"{one.corpus:,}", f"{one.edges:,}", stability,
                 str(one.crashes), str(one.hangs))
        table.add_row(name, *cells, style="bold" if name == "together" else "")
    news = Text(f"Last new path: {since(total.last_find)}." if total.last_find else "")
    return Group(table, *([news] if news.plain else []))


def _show_next(console: Console, plan: Plan, argv: Sequence[str], how: Mapping[str, Any]) -> None:
    folders = crash_folders(plan.out, plan.names())
    if not folders:
        console.print("No crashes so far. The same command again goes on from here.")
        return
    console.print("\nCrashes: look at them with", style="bold")
    inputs = [word for folder in folders for word in ("-i", str(folder))]
    command = shlex.join(["forkyard", "crash", *inputs, *fuzz_options.words(how), "--", *argv])
    console.print(f"  {command}", markup=False, soft_wrap=True)
