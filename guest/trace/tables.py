"""How numbers become names: sets of bits and one-of-many constants, spelled as strace 6.1 spells them.

The names themselves are in ``tables_fs``, ``tables_mm``, ``tables_task``, ``tables_net`` and ``tables_tty``; a
declaration in ``kernel.syscalls`` asks for a table by name (``Flags("open")``, ``Enum("seek_whence")``) and gets it
from :func:`flag_table` or :func:`enum_table`. What strace does with bits it does not know was read off strace itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_CACHE_LIMIT = 4096  # a fuzzing guest must not grow the caches for ever


class EnumTable:
    """One of several constants. ``unknown`` is the comment for values without a name."""

    def __init__(self, unknown: str | None, names: Mapping[int, str], signed: bool = False) -> None:
        self.unknown = unknown
        self.names = dict(names)
        self.signed = signed
        """Look values up as signed 32-bit (RUSAGE_CHILDREN is -1)."""

    def text(self, value: int) -> str:
        """``value`` (unsigned, or signed where the table is) by name, else in hexadecimal with a comment."""
        name = self.names.get(value)
        if name is not None:
            return name
        value &= 0xFFFFFFFFFFFFFFFF if value >> 32 not in (0, -1) else 0xFFFFFFFF
        number = f"{value:#x}" if value else "0"
        return f"{number} /* {self.unknown} */" if self.unknown else number

    def text_unsigned(self, value: int) -> str:
        """As :meth:`text` for a register already cut to 32 bits."""
        if self.signed and value & 0x80000000:
            value -= 1 << 32
        return self.text(value)


class FlagTable:
    """A set of bits, shown as ``A|B|0x80`` in the order of ``entries``.

    ``zero`` is shown for no bits at all. ``choice`` with ``choice_mask`` is a field of the value that is one of many
    and always shown first (O_RDONLY). ``shift_field`` is (shift, name) of a number held in the bits from ``shift`` up,
    shown last as ``21<<NAME``. With ``comment_rest`` the bits beside the choice are a set of their own: if none of them
    has a name, the ``unknown`` comment says so.
    """

    def __init__(
        self,
        unknown: str | None,
        entries: Iterable[tuple[int, str]],
        zero: str = "0",
        choice_mask: int = 0,
        choice: EnumTable | None = None,
        shift_field: tuple[int, str] | None = None,
        comment_rest: bool = False,
    ) -> None:
        self.unknown = unknown
        self.entries = tuple(entries)
        self.zero = zero
        self.choice_mask = choice_mask
        self.choice = choice
        self.shift_field = shift_field
        self.comment_rest = comment_rest
        self._cache: dict[int, str] = {}

    def text(self, value: int) -> str:
        """The bits of ``value`` (unsigned) by name."""
        text = self._cache.get(value)
        if text is None:
            if len(self._cache) >= _CACHE_LIMIT:
                self._cache.clear()
            text = self._cache[value] = self._format(value)
        return text

    def _format(self, value: int) -> str:
        parts = []
        if self.choice is not None:
            chosen = value & self.choice_mask
            if chosen in self.choice.names or self.choice.unknown:
                parts.append(self.choice.text(chosen))
                value &= ~self.choice_mask
        if value == 0 and not parts:
            return self.zero
        known = len(parts)
        tail = None
        if self.shift_field is not None and value >> self.shift_field[0]:
            shift, name = self.shift_field
            tail = f"{value >> shift}<<{name}"
            value &= (1 << shift) - 1
        for mask, name in self.entries:
            if value & mask == mask:
                parts.append(name)
                value &= ~mask
        if value:
            if self.comment_rest and len(parts) == 1 and known == 1:
                return f"{parts[0]}|{value:#x} /* {self.unknown} */"
            if not parts and not tail and self.unknown:
                return f"{value:#x} /* {self.unknown} */"
            parts.append(f"{value:#x}")
        if tail:
            parts.append(tail)
        return "|".join(parts)


def flag_table(name: str) -> FlagTable:
    """The table that a declaration calls ``name``; KeyError when there is none."""
    return _flag_tables()[name]


def enum_table(name: str) -> EnumTable:
    """The table that a declaration calls ``name``; KeyError when there is none."""
    return _enum_tables()[name]


_flags: dict[str, FlagTable] = {}
_enums: dict[str, EnumTable] = {}


def _load() -> None:
    from guest.trace import tables_fs, tables_mm, tables_net, tables_task, tables_tty
    from guest.trace.table_names import ALIASES

    for module in (tables_fs, tables_mm, tables_net, tables_task, tables_tty):
        _flags.update(module.FLAGS)
        _enums.update(module.ENUMS)
    for alias, name in ALIASES.items():
        if name in _flags:
            _flags[alias] = _flags[name]
        if name in _enums:
            _enums[alias] = _enums[name]


def _flag_tables() -> dict[str, FlagTable]:
    if not _flags:
        _load()
    return _flags


def _enum_tables() -> dict[str, EnumTable]:
    if not _enums:
        _load()
    return _enums
