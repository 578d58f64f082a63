"""Every declaration in kernel/syscalls has a printer, and every table is well formed."""

from __future__ import annotations

import pytest

import kernel.syscalls  # noqa: F401 -- fills the table
from guest.trace import arguments, rows
from guest.trace.numbers import NAMES, NUMBERS
from guest.trace.structs import FIXED, SIZED
from guest.trace.table_names import ALIASES
from guest.trace.tables import enum_table, flag_table
from kernel.syscalls import types as t
from kernel.syscalls.table import TABLE

ROWS = sorted(TABLE.values(), key=lambda row: row.number)


def test_each_declared_argument_has_a_printer() -> None:
    missing = []
    for row in ROWS:
        for name, arg in row.args.items():
            if row.name in rows.SPECIAL:
                continue  # shown by hand
            try:
                printer = arguments.printer(row, arg)
            except KeyError as error:
                missing.append(f"{row.name}({name}): no table, structure or argument called {error}")
            else:
                assert printer.show is not None or printer.inline
    assert not missing


def test_each_row_compiles() -> None:
    for row in ROWS:
        assert rows.RowPrinter(row.number, row).entry is not None


def test_declared_names_are_linux_names() -> None:
    assert [row for row in ROWS if row.number in NAMES and NAMES[row.number][0] != row.name] == []


def test_the_shown_by_hand_exist() -> None:
    assert set(rows.SPECIAL) <= set(NUMBERS)


def test_aliases_lead_somewhere() -> None:
    for alias, name in ALIASES.items():
        for lookup in (flag_table, enum_table):
            try:
                lookup(name)
            except KeyError:
                continue
            assert lookup(alias) is lookup(name)
            break
        else:
            pytest.fail(f"{alias} → {name}: no such table")


def test_structures_decode_nothing_but_zeros() -> None:
    """No decoder may fail on any content; zeros are the commonest."""
    from types import SimpleNamespace

    from guest.trace.call import Call, Style

    for style in (Style(), Style(verbose=True)):
        for content in (0, 0xFF, 0x80, 0x41):
            call = Call(SimpleNamespace(tid=1, mm=None, files=None), (0,) * 6, style)
            for name, (size, show) in FIXED.items():
                assert isinstance(show(call, bytes([content]) * size), str), name
    assert SIZED


def test_flags_spell_every_bit() -> None:
    assert flag_table("open").text(0o2000101) == "O_WRONLY|O_CREAT|O_CLOEXEC"
    assert flag_table("mmap").text(0x54040022) == "MAP_PRIVATE|MAP_ANONYMOUS|MAP_HUGETLB|21<<MAP_HUGE_SHIFT"
    assert flag_table("mmap_prot").text(0x80) == "0x80 /* PROT_??? */"
    assert flag_table("socket_type").text(0x80801) == "SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK"
    assert enum_table("seek_whence").text(9) == "0x9 /* SEEK_??? */"
    assert enum_table("rusage_who").text_unsigned(0xFFFFFFFF) == "RUSAGE_CHILDREN"


def test_every_kind_of_argument_is_known() -> None:
    kinds = {type(arg) for row in ROWS for arg in row.args.values()}
    known = {*arguments._INLINE, *arguments._SIMPLE, t.Arg, t.Flags, t.Enum, t.Struct, t.BufIn, t.BufOut, t.IovecIn,
             t.IovecOut}
    assert kinds <= known
