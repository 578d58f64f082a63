"""Clocks, random bytes, credentials, limits, settings and number parsing, without running a guest."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.clock import Clock
from kernel.errno import EINVAL, EPERM, ERANGE, Errno
from kernel.fs.proc_knobs import kstrtoint, kstrtoull
from kernel.fs.proc_mounts import escape, split_options
from kernel.random import Random
from kernel.sysctl import Setting
from kernel.task import capability as caps
from kernel.task import rlimit
from kernel.task.cred import Credentials
from kernel.task.rusage import Usage
from kernel.task.uts import UtsNamespace

FIXED = SimpleNamespace(deterministic=True, seed=7)
UINT = 2**32 - 1


# ---------------------------------------------------------------- numbers


@given(st.integers(0, UINT), st.sampled_from(["", "+"]), st.sampled_from(["", "\n"]))
def test_numbers_in_every_base(value: int, sign: str, end: str) -> None:
    for text in (f"{value}", f"0x{value:x}", f"0X{value:X}", f"0{value:o}"):
        assert kstrtoull(f"{sign}{text}{end}".encode(), UINT) == value


@given(st.integers(2**32, 2**80))
def test_too_large(value: int) -> None:
    for text in (f"{value}", f"0x{value:x}", f"0{value:o}"):
        with pytest.raises(Errno) as caught:
            kstrtoull(text.encode(), UINT)
        assert caught.value.code == ERANGE


@given(st.binary(max_size=12))
def test_any_text_is_a_number_or_einval_or_erange(text: bytes) -> None:
    try:
        assert 0 <= kstrtoull(text, UINT) <= UINT
        assert text.strip(b"+\n").split(b"\0")[0].strip(b"+\n")
    except Errno as error:
        assert error.code in (EINVAL, ERANGE)


@pytest.mark.parametrize("text", [b"", b"\n", b" 1", b"1 ", b"1\n\n", b"-1", b"0x", b"08", b"++1", b"1_0", b"\xb2"])
def test_not_a_number(text: bytes) -> None:
    with pytest.raises(Errno) as caught:
        kstrtoull(text, UINT)
    assert caught.value.code == EINVAL


def test_signed_numbers() -> None:
    assert [kstrtoint(text) for text in (b"-5", b"5\n", b"-0x10", b"+7")] == [-5, 5, -16, 7]
    for text, code in ((b"--5", EINVAL), (b"-+5", EINVAL), (b"2147483648", ERANGE), (b"-2147483649", ERANGE)):
        with pytest.raises(Errno) as caught:
            kstrtoint(text)
        assert caught.value.code == code


# ---------------------------------------------------------------- time and chance


def test_real_clock_is_the_hosts() -> None:
    clock = Clock()
    for ours, hosts in ((clock.monotonic_ns, time.monotonic_ns), (clock.realtime_ns, time.time_ns)):
        before, now, after = hosts(), ours(), hosts()
        assert before - 10**9 < now < after + 10**9
    before, now, after = time.time(), clock.boot_realtime_s() + clock.boottime_ns() // 10**9, time.time()
    assert before - 3 < now < after + 3


def test_virtual_clock_moves_only_when_told() -> None:
    clock, twin = Clock(FIXED), Clock(FIXED)
    first = clock.monotonic_ns()
    assert clock.monotonic_ns() == first + 1000
    assert clock.peek_ns() == first + 1000
    clock.advance(5)
    clock.advance_to(first)
    assert clock.peek_ns() == first + 1005
    clock.advance_to(first + 10**9)
    assert clock.peek_ns() == first + 10**9
    assert twin.monotonic_ns() == first
    assert Clock(SimpleNamespace(deterministic=True, seed=8)).realtime_ns() != Clock(FIXED).realtime_ns()


def test_random_bytes() -> None:
    assert Random(FIXED).bytes(5000) == Random(FIXED).bytes(5000)
    assert Random(FIXED).bytes(50) != Random(SimpleNamespace(deterministic=True, seed=8)).bytes(50)
    both = Random(FIXED)
    whole = Random(FIXED).bytes(300)
    assert both.bytes(100) + both.bytes(200) == whole
    assert Random().bytes(16) != Random().bytes(16)
    assert all(0 <= both.below(7) < 7 for _ in range(50))
    assert len(both.uuid()) == 36 and both.uuid()[14] == "4"


# ---------------------------------------------------------------- credentials and limits


def test_execve_gives_and_takes_capabilities() -> None:
    root = Credentials(cap_permitted=0, cap_effective=0)
    assert root.for_exec().cap_effective == caps.CONTAINED
    user = Credentials(*[1000] * 8, cap_permitted=caps.CONTAINED, cap_effective=1)
    assert user.for_exec().cap_permitted == user.for_exec().cap_effective == 0
    raised = user.for_exec(set_uid=0)
    assert (raised.uid, raised.euid, raised.suid, raised.fsuid) == (1000, 0, 0, 0)
    assert raised.cap_effective == caps.CONTAINED


def test_the_first_process_is_the_host_user() -> None:
    cred = Credentials.initial()
    assert (cred.uid, cred.gid) == (os.getuid(), os.getgid())
    assert not cred.capable(caps.CAP_SYS_ADMIN) and not cred.capable(caps.CAP_SYS_MODULE)
    assert bool(cred.cap_effective) == (cred.uid == 0)


def test_limits() -> None:
    group = SimpleNamespace(rlimits=rlimit.initial_rlimits(FIXED))
    user = SimpleNamespace(cred=Credentials(*[1000] * 8), group=group)
    root = SimpleNamespace(cred=Credentials(cap_effective=caps.CONTAINED), group=group)
    assert rlimit.get(user, rlimit.RLIMIT_NOFILE) == 1024
    assert rlimit.exchange(user, group, rlimit.RLIMIT_NOFILE, (10, 20)) == (1024, 4096)
    for limit, code in (((30, 20), EINVAL), ((10, 21), EPERM)):
        with pytest.raises(Errno) as caught:
            rlimit.exchange(user, group, rlimit.RLIMIT_NOFILE, limit)
        assert caught.value.code == code
    rlimit.exchange(root, group, rlimit.RLIMIT_NOFILE, (10, 21))
    assert group.rlimits[rlimit.RLIMIT_NOFILE] == (10, 21)


# ---------------------------------------------------------------- structures and text


def test_structures_have_the_kernels_sizes() -> None:
    assert len(UtsNamespace(FIXED).pack()) == 390
    assert len(Usage(utime_ns=1_500_000_000).pack()) == 144
    assert Usage(utime_ns=1_500_000_000).pack()[:16] == (1).to_bytes(8, "little") + (500_000).to_bytes(8, "little")


def test_settings() -> None:
    several = Setting((4, 4, 1, 7), low=0)
    several.store(b"1 2")
    assert several.text() == "1\t2\t1\t7\n"
    word = Setting("core")
    word.store(b"|/bin/true %p\nmore")
    assert word.text() == "|/bin/true %p\n"
    for bad in (b"", b"x", b"-1 0", b"1x", b"\xff"):
        with pytest.raises(Errno):
            several.store(bad)
    octal = Setting(0)
    octal.store(b"010")
    assert octal.value == 8


def test_mount_text() -> None:
    assert escape(b"a b\tc\\d") == b"a\\040b\\011c\\134d"
    assert split_options(b"rw,relatime,size=4k") == (b"rw,relatime", b"rw,size=4k")
