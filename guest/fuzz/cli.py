"""``forkyard afl`` and ``forkyard fuzz``: the options; the work is imported when it is asked for."""

from __future__ import annotations

import os
import shlex
from typing import Any

import click

from guest.environment import as_given
from guest.fuzz.options import coverage_options, fuzz_options
from guest.options import PROGRAM, Seconds, program
from guest.runner import leave

_MIN_MAP_BYTES, _MAX_MAP_BYTES = 1 << 12, 1 << 23
_MAX_JOBS = 256
_MIN_TIMEOUT_MS = 5


class MapSize(click.ParamType):
    """The size of a coverage map in bytes: a power of two."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value)
        if not text.isdecimal() or not _MIN_MAP_BYTES <= int(text) <= _MAX_MAP_BYTES or int(text) & (int(text) - 1):
            self.fail(f"{value!r} is not a power of two from {_MIN_MAP_BYTES} to {_MAX_MAP_BYTES}", param, ctx)
        return int(text)


class Words(click.ParamType):
    """Several words in one, quoted as a shell has them."""

    name = "options"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(shlex.split(str(value)))
        except ValueError as error:
            self.fail(f"{value!r}: {str(error).lower()}", param, ctx)


class Milliseconds(click.ParamType):
    """What afl-fuzz takes for -t: at least 5, a + behind it makes it an upper limit."""

    name = "msec"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if not text.removesuffix("+").isdecimal() or int(text.removesuffix("+")) < _MIN_TIMEOUT_MS:
            self.fail(f"{value!r} is not a time of at least {_MIN_TIMEOUT_MS} ms, such as 200 or 1000+", param, ctx)
        return text


@click.command(context_settings=PROGRAM)
@fuzz_options
@coverage_options
@click.option("--input", "input_file", metavar="FILE",
              help="The file that holds the input, where it cannot be told from @@: for afl-fuzz -f, give --input @@.")
@program
def afl(argv: tuple[str, ...], **how: Any) -> None:
    """Be the launcher of PROGRAM for afl-fuzz, afl-showmap, afl-cmin and afl-tmin.

    The fuzzer starts it in the place of PROGRAM; @@ among ARGS is the input file, without it the input is PROGRAM's
    stdin. PROGRAM runs up to --fork-at once; each input is a fork from there. Without a fuzzer PROGRAM is run once.

    \b
    afl-fuzz -U -i in -o out -- forkyard afl -- readelf -a @@
    afl-showmap -U -o edges -- forkyard afl -- xmllint input.xml
    AFL_SKIP_BIN_CHECK=1 AFL_MAP_SIZE=262144 afl-fuzz -i in -o out -- forkyard afl -- ./target

    afl-fuzz sends our messages to /dev/null: AFL_DEBUG_CHILD=1 shows them. AFL_FORKSRV_INIT_TMOUT=60000 gives a
    program that works long before its fork point the time for it; the default is ten times -t.
    """
    from guest.fuzz.afl_command import launch

    leave(launch(argv, as_given(os.environ), how))


@click.command(context_settings=PROGRAM)
@click.option("-i", "seeds", required=True, metavar="DIR",
              help="The seeds: small valid inputs. - goes on with the directory of -o.")
@click.option("-o", "out", required=True, metavar="DIR", help="Where afl-fuzz keeps what it finds.")
@click.option("-j", "--jobs", type=click.IntRange(1, _MAX_JOBS), default=1, show_default=True,
              help="How many afl-fuzz, one main and the others secondary.")
@click.option("--join", metavar="NAME", help="Only secondaries, called NAME-1 …: the main runs on another machine.")
@click.option("-x", "dictionaries", multiple=True, metavar="FILE",
              help="A dictionary (repeatable), in the place of one made of the program's strings.")
@click.option("--no-dictionary", is_flag=True, help="None of the program's strings either.")
@click.option("-t", "timeout_ms", type=Milliseconds(), metavar="MSEC",
              help="The time limit of one run, as afl-fuzz takes it.")
@click.option("-V", "--time", "seconds", type=Seconds(), metavar="SEC", help="End after that time.")
@click.option("--map-size", type=MapSize(), default=1 << 16, show_default=True,
              help="Bytes of the coverage map: more for programs with very many edges.")
@click.option("--afl", "more", type=Words(), multiple=True, metavar="OPTIONS",
              help="More options for afl-fuzz, such as '-p explore -F DIR' (repeatable).")
@fuzz_options
@coverage_options
@program
def fuzz(argv: tuple[str, ...], **given: Any) -> None:
    """Fuzz PROGRAM with AFL++: check the set-up, start afl-fuzz --jobs times, and show how it goes.

    @@ among ARGS is the input file; without it the input is PROGRAM's stdin. Ctrl-C ends it; the same command goes on
    where it ended. Variables of AFL++ in the environment are passed on.

    \b
    forkyard fuzz -i seeds -o out --jobs 2 -- readelf -a @@
    """
    from guest.fuzz.fuzz_command import Wishes, fuzz

    words = tuple(word for one in given.pop("more") for word in one)
    seconds = given.pop("seconds")
    wishes = Wishes(more=words, own_dictionary=not given.pop("no_dictionary"),
                    seconds=None if seconds is None else max(1, round(seconds)),
                    **{name: given.pop(name) for name in ("seeds", "out", "jobs", "join", "map_size", "timeout_ms",
                                                          "dictionaries")})
    leave(fuzz(argv, wishes, given))
