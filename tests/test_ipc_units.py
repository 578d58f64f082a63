"""The parts of ipc without a CPU: rings and lock lists against the host and against plain models."""

from __future__ import annotations

import errno
import itertools
import os
import select
import socket
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.clock import Clock
from kernel.errno import Errno
from kernel.fs import locks
from kernel.fs.epoll import EpollFile
from kernel.fs.eventfd import EventFile
from kernel.fs.pipe import Pipe, new_pipe
from kernel.fs.pollmask import EPOLLET, POLLIN
from kernel.fs.uapi import O_DIRECT, O_NONBLOCK
from kernel.net.address import pack_address, parse_address
from kernel.net.uapi import SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM
from kernel.net.unix import new_socket
from kernel.task.cred import Credentials


class Kernel:
    """Just enough of one."""

    def __init__(self) -> None:
        self.clock = Clock()


def make_task() -> Any:
    return SimpleNamespace(kernel=Kernel(), cred=Credentials(), pid=1, group=SimpleNamespace(pgid=1))


def finish(coroutine: Any) -> Any:
    """Run a coroutine that must not sleep."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it went to sleep")


def drop_events(mask: int) -> int:
    return mask & ~(select.POLLRDNORM | select.POLLWRNORM)


SIZES = st.one_of(st.integers(1, 12), st.integers(1, 9000), st.integers(1, 70000))
OPERATIONS = st.lists(st.tuples(st.sampled_from("rw"), SIZES), max_size=60)


@settings(max_examples=150, deadline=None)
@given(OPERATIONS, st.booleans())
def test_a_pipe_does_what_the_host_does(operations: list[tuple[str, int]], packets: bool) -> None:
    task = make_task()
    reader, writer = new_pipe(task, O_NONBLOCK | (O_DIRECT if packets else 0))
    host_reader, host_writer = os.pipe2(os.O_NONBLOCK | (os.O_DIRECT if packets else 0))
    try:
        for index, (kind, n) in enumerate(operations):
            mine: Any
            try:
                if kind == "r":
                    theirs: Any = os.read(host_reader, n)
                else:
                    theirs = os.write(host_writer, bytes([index]) * n)
            except BlockingIOError:
                theirs = errno.EAGAIN, kind
            try:
                mine = reader.try_read(task, n) if kind == "r" else writer.try_write(task, bytes([index]) * n)
            except Errno as error:
                mine = error.code, kind
            assert mine == theirs
            for file, fd in ((reader, host_reader), (writer, host_writer)):
                poll = select.poll()
                poll.register(fd, select.POLLIN | select.POLLOUT)
                assert drop_events(file.poll()) == dict(poll.poll(0)).get(fd, 0)
    finally:
        os.close(host_reader)
        os.close(host_writer)


@pytest.mark.parametrize("size", [1, 4096, 4097, 8191, 65537, 1 << 20])
def test_pipe_sizes_are_rounded_as_on_the_host(size: int) -> None:
    import fcntl

    ends = os.pipe()
    try:
        host = fcntl.fcntl(ends[0], 1031, size)
    finally:
        for end in ends:
            os.close(end)
    assert Pipe().resize(make_task(), size) == host


@pytest.mark.parametrize("kind", [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET])
@pytest.mark.parametrize("size", [1, 193, 1000, 3777, 16065, 70000])
def test_socket_buffers_fill_where_the_hosts_do(kind: int, size: int) -> None:
    ours, theirs = make_pair(kind), socket.socketpair(socket.AF_UNIX, kind)
    theirs[0].setblocking(False)
    task = make_task()
    with theirs[0], theirs[1]:
        while True:
            try:
                host: int | None = theirs[0].send(bytes(size))
            except BlockingIOError:
                host = None
            try:
                mine: int | None = finish(ours[0].send(task, bytes(size)))
            except Errno as error:
                assert error.code == errno.EAGAIN
                mine = None
            assert mine == host
            if host is None:
                break


def make_pair(kind: int) -> tuple[Any, Any]:
    task = make_task()
    first, second = new_socket(task, kind, O_NONBLOCK), new_socket(task, kind, O_NONBLOCK)
    first.pair_with(task, second)
    return first, second


def test_a_stream_joins_and_splits() -> None:
    task = make_task()
    a, b = make_pair(SOCK_STREAM)
    for part in (b"one", b"two", b"three"):
        finish(a.send(task, part))
    assert finish(b.recv(task, 4)).data == b"onet"
    assert finish(b.recv(task, 100)).data == b"wothree"
    assert a.charged == 0
    a.put()
    assert finish(b.recv(task, 100)).data == b""


def test_addresses() -> None:
    assert parse_address(b"\1\0/tmp/s\0junk") == b"/tmp/s"
    assert parse_address(b"\1\0\0abc") == b"\0abc"
    assert parse_address(b"\1\0") == b""
    assert pack_address(b"/tmp/s") == b"\1\0/tmp/s\0"
    for bad in (b"\1", b"\2\0/tmp/s", b"\1\0" + b"x" * 109):
        with pytest.raises(Errno):
            parse_address(bad)


class Byte:
    """One byte of the model of record locks."""

    def __init__(self) -> None:
        self.readers: set[int] = set()
        self.writer: int | None = None


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([locks.F_RDLCK, locks.F_WRLCK, locks.F_UNLCK]),
                          st.integers(0, 15), st.integers(0, 15)), max_size=40))
def test_record_locks_are_sets_of_bytes(steps: list[tuple[int, int, int, int]]) -> None:
    held = locks.LockList()
    owners = [object(), object(), object()]
    model: list[dict[int, int]] = [{}, {}, {}]
    for who, kind, a, b in steps:
        start, end = min(a, b), max(a, b)
        span = range(start, end + 1)
        others = [m for i, m in enumerate(model) if i != who]
        free = kind == locks.F_UNLCK or not any(
            byte in m and (kind == locks.F_WRLCK or m[byte] == locks.F_WRLCK) for m in others for byte in span
        )
        if kind != locks.F_UNLCK:
            assert (held.conflict(owners[who], kind == locks.F_WRLCK, start, end) is None) == free
        if not free:
            continue
        held.set(owners[who], kind, start, end, who)
        for byte in span:
            if kind == locks.F_UNLCK:
                model[who].pop(byte, None)
            else:
                model[who][byte] = kind
    for who, owner in enumerate(owners):
        ranges = [lock for lock in held.records if lock.owner is owner]
        flat = {byte: locks.F_WRLCK if lock.write else locks.F_RDLCK for lock in ranges
                for byte in range(lock.start, lock.end + 1)}
        assert flat == model[who]
        assert sum(lock.end - lock.start + 1 for lock in ranges) == len(flat)
        for one, two in itertools.pairwise(ranges):
            assert one.end < two.start and not (one.end + 1 == two.start and one.write == two.write)


def test_epoll_forgets_a_file_that_is_gone() -> None:
    task = make_task()
    epoll, event = EpollFile(task), EventFile(task, 1, O_NONBLOCK, False)
    epoll.add(3, event, POLLIN | EPOLLET, 7)
    assert epoll.collect(8) == [(POLLIN, 7)]
    assert epoll.collect(8) == []
    event.try_write(task, (1).to_bytes(8, "little"))
    assert epoll.collect(8) == [(POLLIN, 7)]
    event.put()
    assert not epoll.items and not event.queue.listeners
