"""The -e expressions."""

from __future__ import annotations

import pytest

import kernel.syscalls  # noqa: F401 -- fills the table
from guest.trace import ExpressionError, Filters


def chosen(*expressions: str) -> Filters:
    filters = Filters()
    for expression in expressions:
        filters.add(expression)
    return filters


def test_everything_by_default() -> None:
    filters = Filters()
    assert "read" in filters.trace and "SIGINT" in filters.signal and "failed" in filters.status
    assert filters.trace.everything and "read" not in filters.raw


@pytest.mark.parametrize("expression", ["trace=open,close", "open,close", "t=open,close"])
def test_names(expression: str) -> None:
    trace = chosen(expression).trace
    assert "open" in trace and "close" in trace and "read" not in trace


def test_negation_and_repetition() -> None:
    assert "open" not in chosen("trace=!open").trace
    assert "read" in chosen("!open").trace
    last = chosen("trace=open", "trace=read").trace
    assert "read" in last and "open" not in last


def test_all_and_none() -> None:
    assert "read" in chosen("trace=all").trace and "read" not in chosen("trace=none").trace
    assert "SIGINT" not in chosen("signal=none").signal and "SIGINT" in chosen("signal=!none").signal


@pytest.mark.parametrize(("name", "member", "other"), [
    ("%file", "openat", "read"), ("file", "stat", "write"), ("%process", "clone3", "open"), ("%desc", "read", "stat"),
    ("%network", "socketpair", "read"), ("%signal", "kill", "read"), ("%memory", "mmap", "read"),
    ("%ipc", "shmget", "pipe"), ("%creds", "setuid", "kill"), ("%clock", "time", "alarm"), ("%pure", "getpid", "kill"),
    ("%stat", "stat", "fstat"), ("%%stat", "statx", "read"),
])
def test_classes(name: str, member: str, other: str) -> None:
    trace = chosen(f"trace={name}").trace
    assert member in trace and other not in trace


def test_regular_expressions_numbers_and_optional_names() -> None:
    trace = chosen("trace=/^get.id$,?nosuch,39").trace
    assert "getuid" in trace and "getpid" in trace and "getppid" not in trace
    assert "syscall_0x257" in chosen("trace=599").trace
    assert "odfork" in chosen("trace=600").trace and "odfork" in chosen("odfork").trace
    assert "openat" in chosen("trace=openat@64").trace


def test_signals_and_statuses() -> None:
    filters = chosen("signal=INT,sigterm,33", "status=failed,unfinished", "q=exits,attach")
    assert "SIGINT" in filters.signal and "SIGTERM" in filters.signal and "SIGRT_1" in filters.signal
    assert "SIGHUP" not in filters.signal
    assert "failed" in filters.status and "successful" not in filters.status
    assert "exit" in filters.quiet and "attach" in filters.quiet


@pytest.mark.parametrize("expression", [
    "trace=nosuch", "foo=bar", "trace=%nosuch", "trace=/(", "signal=FOO", "signal=99", "status=x", "trace=", "quiet=x",
    "inject=read:error=EIO", "fault=read", "read=3", "write=all", "trace=99999999999999999999x",
])
def test_nonsense_is_said_to_be_so(expression: str) -> None:
    with pytest.raises(ExpressionError) as error:
        chosen(expression)
    assert str(error.value)
