"""The options that ``run`` and ``trace`` share, and how their values are read."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import click

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
#: Less does not hold the page tables and stack of a program; more than the address space of the guest is a mistake.
MIN_MEMORY_BYTES, MAX_MEMORY_BYTES = 4 << 20, 64 << 40
#: mkswap(8) wants ten pages; numbers of slots have 32 bits.
SWAP_BYTES = 40 << 10, 8 << 40


def default_memory() -> int:
    """4 GiB, or three quarters of the host's memory if that is less: a guest that takes all it can must not harm it."""
    size = 4 << 30
    try:
        with open("/proc/meminfo") as lines:
            total_kib = next(int(line.split()[1]) for line in lines if line.startswith("MemTotal:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return size
    return max(min(size, total_kib * 1024 * 3 // 4), MIN_MEMORY_BYTES)


PROGRAM = {"allow_interspersed_args": False}
"""Options end at the program's name, so that the program's own are left alone even without ``--``."""


def program(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the program and its arguments as ``argv``."""
    return click.argument("argv", metavar="-- PROGRAM [ARGS]...", nargs=-1, required=True,
                          type=click.UNPROCESSED)(command)


class Size(click.ParamType):
    """Bytes, with a suffix K, M, G or T for powers of 1024, of the guest's memory or of something else."""

    name = "size"

    def __init__(self, least: int = MIN_MEMORY_BYTES, most: int = MAX_MEMORY_BYTES, little: str = "a guest needs",
                 much: str = "a guest can have") -> None:
        self.least, self.most, self.little, self.much = least, most, little, much

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", str(value).strip(), re.IGNORECASE)
        if match is None:
            self.fail(f"{value!r} is not a size: use a number with K, M or G, such as 512M", param, ctx)
        size = int(float(match[1]) * _UNITS[match[2].upper()])
        if size < self.least:
            self.fail(f"{value} is too little: {self.little} at least {_text(self.least)}", param, ctx)
        if size > self.most:
            self.fail(f"{value} is more than {self.much}: at most {_text(self.most)}", param, ctx)
        return size


def _text(size: int) -> str:
    unit = max((unit for unit, factor in _UNITS.items() if size % factor == 0), key=lambda unit: _UNITS[unit])
    return f"{size // _UNITS[unit]}{unit}"


class Assignment(click.ParamType):
    """NAME=VALUE."""

    name = "k=v"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not name or not equals:
            self.fail(f"{value!r} is not NAME=VALUE", param, ctx)
        return name, text


class Seconds(click.ParamType):
    """A positive number of seconds; suffixes s, m, h as timeout(1) has them."""

    name = "sec"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"(\d+\.?\d*|\.\d+)([smh]?)", str(value))
        if match is None or float(match[1]) == 0:
            self.fail(f"{value!r} is not a time in seconds, such as 10, 0.5 or 2m", param, ctx)
        return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


class Directory(click.ParamType):
    """A host directory."""

    name = "dir"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            os.close(os.open(value, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        except (OSError, ValueError) as error:
            self.fail(f"{value}: {getattr(error, 'strerror', None) or error}", param, ctx)
        return str(value)


_OPTIONS = (
    click.option("--odf", is_flag=True, help="Begin with use_odf 1: the program's forks share page tables on demand."),
    click.option("--odf-level", type=click.IntRange(1, 2), default=1, show_default=True,
                 help="Begin with this use_odf_level: share page tables of 2 MiB (1), or those of 1 GiB too (2)."),
    click.option("--root", type=Directory(), default="/", show_default=True, metavar="DIR",
                 help="The host directory that the guest sees as /."),
    click.option("--writable", multiple=True, metavar="PATH",
                 help="Let writes at and below PATH reach the host. May be given several times."),
    click.option("-E", "--env", type=Assignment(), multiple=True, metavar="K=V",
                 help="Set a variable in the program's environment, which is otherwise yours. May be repeated."),
    click.option("--cwd", metavar="DIR",
                 help="The guest directory to start in.  [default: the current one if the guest has it, else /]"),
    click.option("--memory", type=Size(), default=default_memory, metavar="SIZE",
                 help="The guest's RAM: a number with K, M or G. The host pays only for what is touched.  "
                      "[default: 4G, or 3/4 of the host's if that is less]"),
    click.option("--swap", type=Size(*SWAP_BYTES, "a swap area needs", "a swap area can hold"), metavar="SIZE",
                 help="Let pages go to a swap file of SIZE, in the temporary directory, when the RAM is full."),
    click.option("--hugepages", type=click.IntRange(0, 1 << 20), default=0, metavar="N",
                 help="Put N pages of 2 MiB into the pool for MAP_HUGETLB (vm.nr_hugepages)."),
    click.option("--timeout", type=Seconds(), metavar="SEC",
                 help="End everything after SEC seconds, with exit status 124."),
    click.option("--no-aslr", is_flag=True, help="Load programs, stacks and mappings at fixed addresses."),
    click.option("--deterministic", is_flag=True,
                 help="Time, random bytes, addresses and scheduling come from a seed and not from the host: the same "
                      "run again, bit for bit. Time is virtual; who sleeps goes on at once."),
    click.option("--seed", type=click.IntRange(0), metavar="N",
                 help="The seed of a deterministic run; implies --deterministic.  [default: 0]"),
    click.option("--paranoid", is_flag=True,
                 help="Check all invariants of memory after every kernel entry. Slow; for tests."),
)
#: The names under which make_options() of guest.runner takes them; --env is apart.
GUEST_FIELDS = ("odf", "odf_level", "root", "writable", "cwd", "memory", "swap", "hugepages", "timeout",
                "no_aslr", "deterministic", "seed", "paranoid")


def guest_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how a guest is run."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def some_guest_options(*fields: str) -> Callable[..., Any]:
    """A decorator that adds only the options of these fields."""
    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        def holder() -> None:
            """Carries all of them."""

        parameters = guest_options(holder).__click_params__  # type: ignore[attr-defined]
        kept = [parameter for parameter in parameters if parameter.name in fields]
        command.__click_params__ = [*getattr(command, "__click_params__", []), *kept]  # type: ignore[attr-defined]
        return command

    return add
