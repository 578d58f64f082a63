"""The options that ``afl``, ``fuzz``, ``crash`` and ``replay`` share: what a run of the program depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from guest.options import Size, default_memory, some_guest_options

#: Of the options of ``forkyard run``, those that make sense for a program that is run again and again.
GUEST_FIELDS = ("root", "cwd", "env", "odf_level", "no_aslr", "paranoid")
#: Half of what a program may have under ``forkyard run``: several fuzzers share a machine.
DEFAULT_MEMORY_BYTES = default_memory() // 2

_OPTIONS = (
    click.option("--fork-at", default="first-read", show_default=True, metavar="PLACE",
                 help="Where the program is parked and forked for each input: entry, main, an address, a symbol, or "
                      "first-read, the last safe point before it opens or reads the input."),
    click.option("--fork", type=click.Choice(("odf", "classic")), default="odf", show_default=True,
                 help="Fork on demand (page tables are shared until written), or the classic way."),
    click.option("--seed", type=click.IntRange(0), default=0, show_default=True,
                 help="Time, process numbers, random bytes, addresses and scheduling come from it."),
    click.option("--memory", type=Size(), default=DEFAULT_MEMORY_BYTES, metavar="SIZE",
                 help="The program's RAM: a number with K, M or G. The host pays only for what is touched.  "
                      "[default: 2G, or 3/8 of the host's if that is less]"),
)
_COVERAGE_OPTIONS = (
    click.option("--inst-libs", is_flag=True,
                 help="Code of shared libraries counts as covered, too (AFL_INST_LIBS=1)."),
    click.option("--inst-ranges", metavar="RANGES",
                 help="Code that counts besides the program's: 0x1000-0x2000 or names of files, with commas "
                      "(AFL_QEMU_INST_RANGES)."),
    click.option("--exclude-ranges", metavar="RANGES", help="Code that does not count (AFL_QEMU_EXCLUDE_RANGES)."),
    click.option("--no-threads", is_flag=True, help="What further threads of the program do does not count."),
    click.option("--no-children", is_flag=True, help="What processes that the program makes do does not count."),
)


def fuzz_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how the program is run for each input."""
    for option in (some_guest_options(*GUEST_FIELDS), *reversed(_OPTIONS)):
        command = option(command)
    return command


def coverage_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what counts as covered."""
    for option in reversed(_COVERAGE_OPTIONS):
        command = option(command)
    return command


def coverage_variables(how: Mapping[str, Any]) -> dict[str, str]:
    """AFL++'s variables for the values of coverage_options(); what is left at its default is left out."""
    asked = {"AFL_INST_LIBS": "1" if how.get("inst_libs") else None, "AFL_QEMU_INST_RANGES": how.get("inst_ranges"),
             "AFL_QEMU_EXCLUDE_RANGES": how.get("exclude_ranges")}
    return {name: value for name, value in asked.items() if value}


def session_fields(how: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of ``guest.session.Options`` for the values of fuzz_options()."""
    return {"root": how["root"], "cwd": how["cwd"], "odf_level": how["odf_level"], "aslr": not how["no_aslr"],
            "paranoid": how["paranoid"], "memory_bytes": how["memory"], "seed": how["seed"], "deterministic": True}


def words(how: Mapping[str, Any], *groups: Callable[[Callable[..., Any]], Any]) -> list[str]:
    """Options on a command line again, by default those of fuzz_options(); without those left at their defaults."""
    given: list[str] = []

    def holder() -> None:
        """Carries the options."""

    for add in groups or (fuzz_options,):
        add(holder)
    context = click.Context(click.Command("none"))
    for parameter in holder.__click_params__:  # type: ignore[attr-defined]
        value = how[parameter.name]
        if not isinstance(parameter, click.Option) or value in (parameter.get_default(context), None, False, ()):
            continue
        name = parameter.opts[-1]
        for one in value if parameter.multiple else (value,):
            given += [name] if parameter.is_flag else [name, "=".join(one) if isinstance(one, tuple) else str(one)]
    return given
