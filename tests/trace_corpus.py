"""Lists of system calls for trace_prober.c: every flag table bit by bit, every structure with odd contents.

All of them fail or do nothing of consequence: descriptors are -1, paths are NULL, unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

P = 0x10000000
STRING = P + 0x8000
_M64 = (1 << 64) - 1
BITS = [1 << i for i in range(32)]
X = "X"


def call(number: int, *args: int) -> str:
    return " ".join(str(value & _M64) for value in (number, *args))


def poke(offset: int, size: int, value: int) -> str:
    return f"! {P + offset} {size} {value & _M64}"


def string(offset: int, text: str) -> list[str]:
    return [poke(offset + i, 1, byte) for i, byte in enumerate(text.encode() + b"\0")]


def sweep(number: int, template: list[int | str], values: Iterable[int]) -> list[str]:
    return [call(number, *(value if arg == X else int(arg) for arg in template)) for value in values]


def flag_sweep(number: int, template: list[int | str], extra: Iterable[int] = ()) -> list[str]:
    return sweep(number, template, [0, *BITS, *extra, 5, 0x80081, 0xFFFFFFFF])


def flags() -> list[str]:
    """Sets of bits, one at a time and all together."""
    return [
        *flag_sweep(2, [0, X, 0], (3, 0x101000, 0x410002, 0x210000)),
        *flag_sweep(9, [0, 0, X, 0, -1, 0]),
        *flag_sweep(9, [0, 0, 0, X, -1, 0], (3, 0x22, 0x54040022)),
        *flag_sweep(25, [1, 0, 0, X, 0]),
        *flag_sweep(26, [1, 0, X]),
        *flag_sweep(325, [0, 0, X]),
        *flag_sweep(61, [-(2**31), 0, X, 0]),
        *flag_sweep(21, [0, X]),
        *flag_sweep(439, [-1, 0, 0, X]),
        *flag_sweep(262, [-1, 0, 0, X]),
        *flag_sweep(332, [-1, 0, X, 0, 0]),
        *flag_sweep(332, [-1, 0, 0, X, 0], (0x7FF, 0xFFF)),
        *flag_sweep(45, [-1, 0, 0, X, 0, 0]),
        *flag_sweep(283, [99, X]),
        *flag_sweep(286, [-1, X, 0, 0]),
        *flag_sweep(223, [-1, X, 0, 0]),
        *flag_sweep(230, [99, X, 0, 0]),
        *flag_sweep(289, [-1, 0, 8, X]),
        *flag_sweep(319, [0, X]),
        *flag_sweep(275, [-1, 0, -1, 0, 0, X]),
        *flag_sweep(316, [-1, 0, -1, 0, X]),
        *flag_sweep(318, [0, 0, X]),
        *flag_sweep(285, [-1, X, 0, 0]),
        *flag_sweep(73, [-1, X]),
        *flag_sweep(190, [-1, 0, 0, 0, X]),
        *flag_sweep(293, [1, X]),
        *flag_sweep(292, [-1, -1, X]),
        *flag_sweep(436, [50, 40, X]),
        *flag_sweep(237, [1, 0, 0, 0, 0, X]),
        *flag_sweep(239, [0, 0, 0, 0, X]),
    ]


def choices() -> list[str]:
    """One of many."""
    sockopts = [line for level in (0, 1, 6, 17, 41)
                for number, args in ((54, [-1, level, X, 0, 0]), (55, [-1, level, X, 0, 0]))
                for line in sweep(number, args, range(80))]
    return [
        *sweep(28, [1, 0, X], range(110)),
        *sweep(238, [X, 0, 0], [*range(8), 0x8001, 0x4000, 0x2000]),
        *sweep(247, [X, 0, 0, 0, 0], range(8)),
        *sweep(8, [-1, 0, X], range(7)),
        *sweep(97, [X, 0], range(18)),
        *sweep(228, [X, 0], [*range(14), -1, -6]),
        *sweep(157, [X, 0, 0, 0, 0], [*range(1, 5), 7, 8, 15, 16, 21, 23, 24, 25, 26, 27, 28, 30, *range(36, 43), 47]),
        *sweep(202, [1, X, 0, 0, 0, 0], [op | private | clock for op in range(14) for private in (0, 128)
                                         for clock in (0, 256)]),
        *sweep(233, [-1, X, -1, 0], range(6)),
        *sweep(72, [-1, X, 0], [*range(20), *range(36, 40), *range(1024, 1036)]),
        *sweep(41, [X, 99, 0], [1, 2, 10, 46]),
        *sweep(41, [99, X, 0], range(12)),
        *sweep(41, [2, 99, X], range(280)),
        *sockopts,
        *sweep(48, [-1, X], range(5)),
        *sweep(144, [-1, X, 0], range(12)),
        *sweep(140, [X, 0], range(5)),
        *sweep(98, [X, 0], [0, 1, -1, -2, 2]),
        *sweep(36, [X, 0], range(5)),
        *sweep(14, [X, 0, 0, 8], range(5)),
        *sweep(221, [-1, 0, 0, X], range(8)),
        *sweep(16, [-1, X, 0], [0x5400 + i for i in range(1, 0x70)]),
        *sweep(13, [X, 1, 0, 9], range(70)),
        *sweep(62, [0x7FFFFFFF, X], range(70)),
    ]


def _each(values: Iterable[int], lines: Iterator[str] | list[str], offset: int, size: int, made: str) -> list[str]:
    return [line for value in values for line in ("zero", *lines, poke(offset, size, value), made)]


def structures() -> list[str]:
    """What pointers lead to, at entry."""
    rt_sigqueueinfo = call(129, 0x7FFFFFFF, 10, P)
    return [
        *_each([*BITS, 0xFFFFFFFF], [poke(0, 8, 0x401000), poke(16, 8, 0x402000)], 8, 8, call(13, 0, P, 0, 8)),
        *_each([*BITS[:16], 0xFFFF], [poke(0, 4, 50)], 4, 2, call(7, P, 1, 0)),
        *_each(BITS, [poke(4, 8, 0x500000007)], 0, 4, call(233, -1, 1, 7, P)),
        *_each([0, 1, 2, 1 << 31], [poke(0, 8, P), poke(16, 8, 100)], 8, 4, call(131, P, 0)),
        *_each([1 << i for i in range(36)], [poke(32, 8, 0xFF00)], 0, 8, call(435, P, 64)),
        *_each([1 << i for i in range(36)], [poke(32, 8, 0xFF11)], 0, 8, call(435, P, 88)),
        *[line for word in range(4) for line in _each([*BITS, 0xFFFFFFFF], [], word * 4, 4, call(16, -1, 0x5402, P))],
        *_each(BITS, [poke(0, 4, 0x20080522), poke(4, 4, 0x7FFFFFF)], 64, 4, call(126, P, P + 64)),
        *_each(BITS, [poke(0, 4, 0x20080522), poke(4, 4, 0x7FFFFFF), poke(64, 4, 1)], 76, 4, call(126, P, P + 64)),
        *_each(BITS[:8], [poke(0, 8, 0x42), poke(8, 8, 0o644)], 16, 8, call(437, -100, P + 4096, P, 24)),
        *_each(range(5), [poke(0, 8, 0x1234567890), poke(8, 4, 10), poke(16, 4, 77)], 12, 4, call(222, 99, P, P + 256)),
        *[line for signo in (4, 5, 7, 8, 10, 11, 17, 29)
          for line in _each(
              [1, 2, 3, 4, 5, 6, 9, 0x80, 0, -1, -2, -3, -6, -60],
              [poke(0, 4, signo), poke(16, 4, 1234), poke(20, 4, 5), poke(24, 8, 9), poke(32, 8, 3), poke(40, 8, 4)],
              8, 4, rt_sigqueueinfo)],
        *_each([0, 1 << 9 | 1 | 1 << 40, _M64, _M64 & ~(1 << 32), (1 << 43) - 1], [], 0, 8, call(14, 0, P, 0, 8)),
        "zero", *string(0, "hello\tworld\\\"\n1\x01"), call(2, P, 0), call(1, -1, P, 16), call(1, -1, P, 100),
        call(1, -1, P, 40), call(1, -1, P + 0xFFF0, 17), call(1, -1, 0, 5), call(1, -1, 99, 5),
        poke(0, 8, 0x3700000038370001), call(1, -1, P, 12),
        "zero", poke(0, 8, STRING), poke(8, 8, 3), poke(16, 8, 0), poke(24, 8, 0), poke(32, 8, 5), poke(40, 8, 7),
        *string(0x8000, "abcdef"), call(20, -1, P, 3), call(20, -1, P, 0), call(20, -1, 0, 1), call(19, -1, P, 3),
        call(20, -1, P + 0xFFF8, 2), call(278, -1, P, 2, 2),
        *_address(), *_sockets(), *_times(), *_exec(),
    ]


def _address() -> list[str]:
    lines = ["zero", poke(0, 2, 1), *string(2, "/run/x"), call(42, -1, P, 110), call(49, -1, P, 2), call(49, -1, P, 1)]
    lines += [poke(2, 1, 0), call(42, -1, P, 9), call(42, -1, P, 3)]
    lines += ["zero", poke(0, 2, 2), poke(2, 2, 0x5000), poke(4, 4, 0x0100007F), call(42, -1, P, 16)]
    lines += [call(42, -1, P, 8)]
    lines += ["zero", poke(0, 2, 10), poke(2, 2, 0x5000), poke(23, 1, 1), poke(24, 4, 3), call(42, -1, P, 28)]
    lines += ["zero", poke(0, 2, 16), poke(4, 4, 77), poke(8, 4, 5), call(49, -1, P, 12)]
    return [*lines, "zero", poke(0, 2, 99), poke(2, 2, 77), call(49, -1, P, 6), call(49, -1, 0, 6)]


def _sockets() -> list[str]:
    message = ["zero", poke(16, 8, P + 64), poke(24, 8, 1), poke(64, 8, STRING), poke(72, 8, 3),
               *string(0x8000, "abcdef")]
    control = [poke(32, 8, P + 128), poke(40, 8, 24), poke(128, 8, 20), poke(136, 4, 1), poke(140, 4, 1),
               poke(144, 4, 5)]
    return [
        *message, call(46, -1, P, 0x4000), call(47, -1, P, 0), *control, call(46, -1, P, 0),
        poke(140, 4, 2), poke(128, 8, 28), poke(40, 8, 32), call(46, -1, P, 0), call(46, -1, 0, 0), call(46, -1, 99, 0),
        call(44, -1, STRING, 6, 0x4000, 0, 0), call(45, -1, P, 6, 0, 0, 0),
        "zero", call(54, -1, 1, 2, P, 4), call(54, -1, 1, 13, P, 8), call(54, -1, 1, 7, 0, 4), call(54, -1, 1, 2, P, 2),
        call(53, 1, 1, 0, P), call(53, 99, 1, 0, P), call(51, -1, P, P + 64), call(43, -1, 0, 0),
        call(288, -1, P, P + 64, 0x80800),
    ]


def _times() -> list[str]:
    return [
        "zero", poke(0, 8, 1), poke(8, 8, 5), poke(16, 8, 1600000000), poke(24, 8, 0x3FFFFFFE),
        call(280, -1, 0, P, 0x100), call(235, 0, P), call(132, 0, P), call(280, -1, 0, 0, 0), poke(8, 8, 0x3FFFFFFF),
        call(280, -1, 0, P, 0), call(38, 9, P, P), call(286, -1, 1, P, P),
        call(270, 0, 0, 0, 0, P + 0x100, 0),
        "zero", poke(0, 8, 0x15), call(23, 5, P, 0, P + 128, P + 64), call(23, -1, P, 0, 0, 0),
        call(23, 5, P, 0, 0, 99),
        poke(64, 8, 0), call(271, 0, 0, P + 64, 0, 8), call(35, P + 64, 0), call(230, 1, 0, P + 64, P),
        call(142, -1, P), call(203, -1, 8, P), call(160, 99, P), call(302, -1, 3, P, P),
    ]


def _exec() -> list[str]:
    return [
        "zero", poke(0, 8, STRING), poke(8, 8, STRING + 2), *string(0x8000, "/nonexistent/x"),
        call(59, STRING, P, P), call(59, STRING, P, 0), call(59, 0, 0, 0), call(59, STRING, 99, 99),
        call(322, -100, STRING, P, P, 0x1000), call(59, STRING, P + 0xFFF8, P + 0xFFF8),
        poke(0xFFF8, 8, STRING), call(59, STRING, P + 0xFFF8, P + 0xFFF8),
        call(133, STRING, 0o10644, 0), call(133, STRING, 0o20644, 0x103), call(133, STRING, 0o644, 0),
        call(83, STRING, 7), call(83, STRING, 0), call(90, STRING, 0o6755), call(92, STRING, -1, 5),
    ]


def results() -> list[str]:
    """What comes back: structures filled, results annotated. The file is this system's own /etc/passwd and /."""
    return [
        "zero", *string(0x8000, "/etc/passwd"), *string(0x8100, "/"), *string(0x8200, "/dev/null"),
        call(4, STRING, P), call(4, STRING + 0x200, P), call(5, 99, P), call(262, -100, STRING, P, 0x100),
        call(332, -100, STRING, 0, 0xFFF, P), call(332, -1, 0, 0, 0x1337, 0),
        call(63, P), call(97, 3, P), call(302, 0, 7, 0, P),
        call(118, P, P + 4, P + 8),
        call(115, 0, 0), call(204, 0, 128, P), call(143, 0, P), call(145, 0), call(79, P, 100), call(79, P, 1),
        call(89, STRING, P, 100), call(135, 0xFFFFFFFF), call(95, 0o22), call(95, 0o77), call(140, 0, 0),
        call(36, 0, P),
        call(37, 0), call(127, P, 8), call(257, -100, STRING + 0x100, 0x10000), call(217, 4, P + 0x1000, 4096),
        call(78, 4, P + 0x1000, 100), call(3, 4), call(293, P, 0x80000), call(16, 4, 0x541B, P), call(53, 1, 1, 0, P),
        call(32, 4), call(33, 4, 20), call(1, 5, STRING, 11), call(0, 4, P, 5), call(0, 4, P, 100),
        call(72, 4, 1), call(72, 4, 3), call(72, 4, 1032), call(257, -100, STRING, 0), call(0, 9, P, 100),
        call(17, 9, P, 10, 3), call(8, 9, -1, 2), call(19, 9, P + 0x4000, 1), call(149, 1, 1),
        call(157, 15, STRING), call(157, 16, P), call(157, 3), call(157, 39, 0, 0, 0, 0), call(158, 0x1003, P),
        call(230, 0, 0, P + 0x5000, 0), call(35, P + 0x5000, P + 16), call(14, 0, 0, P, 8), call(131, 0, P),
        call(13, 10, 0, P, 8), call(202, P, 129, 1), call(202, P, 0, 5, 0), call(9, 0, 4096, 3, 0x22, -1, 0),
        call(9, P + 0x200000, 4096, 3, 0x32, -1, 0x5000), call(11, P + 0x200000, 4096), call(12, 0),
        call(237, 1, 0, 2, P, 5, 3), call(238, 2, P, 5), call(239, P, P + 64, 64, 0, 0),
        call(27, P, 8192, P + 0x2000), call(28, P, 4096, 0), call(273, P, 24), call(24),
        call(290, 3, 0x80000), call(291, 0x80000), call(25, P, 4096, 4096, 1),
    ]
