"""The launcher's side of the AFL++ fork-server protocol (the one from before 4.20c, which later versions still accept).

    afl-fuzz ── 198: was_killed ──────────────> serve()
             <─ 199: pid of the sentinel ──────   │
             <─ 199: wait(2) status ───────────   └─> server.run(stop_fd): one child inside the emulator

All words are four bytes in host order. Between two runs the fuzzer empties the coverage map and stores the next input.
The names of the bits are those of AFL++'s ``include/types.h``.
"""

from __future__ import annotations

import os
import select
import stat
from typing import Protocol

from guest.fuzz.sentinel import Sentinel

CONTROL_FD, STATUS_FD = 198, 199
_WORD_BYTES = 4

FS_OPT_ENABLED = 0x80000001
FS_OPT_ERROR = 0xF800008F
FS_OPT_MAPSIZE = 0x40000000
FS_OPT_SHDMEM_FUZZ = 0x01000000
FS_OPT_MAX_MAPSIZE = 1 << 23
#: What the fuzzer answers when it has taken the offer to keep test cases in shared memory.
SHDMEM_ANSWER = FS_OPT_ENABLED | FS_OPT_SHDMEM_FUZZ
FS_ERROR_MAP_SIZE, FS_ERROR_SHM_OPEN, FS_ERROR_SHMAT = 1, 4, 8
#: How the launcher's line on stderr begins that says where the program stands.
PARKED = "parked: "
#: Written to the start of the map, it says that the program cannot be executed.
EXEC_FAIL_SIG = 0xFEE1DEAD


class Server(Protocol):
    """What serve() needs of a fork server (``guest.fuzz.forkserver.ForkServer``)."""

    def run(self, stop_fd: int | None = None) -> int:
        """Run one child; returns its wait status, 9 when ``stop_fd`` became readable."""
        ...


class ProtocolError(Exception):
    """The fuzzer says what it should not."""


def hello_word(map_size: int | None, shared_test_case: bool) -> int:
    """The first word to the fuzzer; 0, the oldest form, when there is nothing to say.

    Args:
        map_size: bytes of the coverage map that we use; None without a map.
        shared_test_case: test cases shall come in shared memory.
    """
    word = 0
    if map_size is not None and 2 <= map_size <= FS_OPT_MAX_MAPSIZE:
        word |= FS_OPT_MAPSIZE | (map_size - 1) << 1
    if shared_test_case:
        word |= FS_OPT_SHDMEM_FUZZ
    return word | FS_OPT_ENABLED if word else 0


def error_word(code: int) -> int:
    """A hello that makes the fuzzer end with the message for one of the FS_ERROR codes."""
    return FS_OPT_ERROR | (code & 0xFFFF) << 8


def find_fuzzer() -> bool:
    """Were we started with the fuzzer's two pipes? To be asked first, before the numbers are given to other files."""
    try:
        if not all(stat.S_ISFIFO(os.fstat(fd).st_mode) for fd in (CONTROL_FD, STATUS_FD)):
            return False
    except OSError:
        return False
    # Nothing that we start may keep them open.
    for fd in (CONTROL_FD, STATUS_FD):
        os.set_inheritable(fd, False)
    return True


def say_hello(word: int) -> bool:
    """Greet the fuzzer; False when nobody listens any more.

    Raises:
        ProtocolError: it does not take the shared test case that it offered.
    """
    if not _write(word):
        return False
    if word & FS_OPT_ENABLED == FS_OPT_ENABLED and word & FS_OPT_SHDMEM_FUZZ:
        answer = _read()
        if answer is not None and answer != SHDMEM_ANSWER:
            raise ProtocolError(f"the fuzzer answers {answer:#x} to shared-memory test cases, not {SHDMEM_ANSWER:#x}")
    return True


def say_error(code: int) -> None:
    """Tell the fuzzer why there will be no fork server."""
    _write(error_word(code))


def serve(server: Server) -> None:
    """Run one child for each word of the fuzzer; returns when the fuzzer is gone, also in the middle of a run.

    A sentinel that was killed, by the fuzzer at a timeout or by anybody else, ends the run; the next one gets another.

    Raises:
        What ``server.run`` raises; OSError: no process can be started for the sentinel.
    """
    with select.epoll() as stop:
        # HUP is reported always: the run ends as well when nobody is left to ask for the next one.
        stop.register(CONTROL_FD, 0)
        sentinel = _post(stop)
        try:
            while (was_killed := _read()) is not None:
                if was_killed or sentinel.is_dead():
                    sentinel = _replace(stop, sentinel)
                if not _write(sentinel.pid):
                    return
                status = server.run(stop.fileno())
                if sentinel.is_dead():
                    killed = sentinel
                    sentinel = _replace(stop, killed)
                if not _write(status):
                    return
        finally:
            sentinel.bury()


def _post(stop: select.epoll) -> Sentinel:
    sentinel = Sentinel()
    stop.register(sentinel.pidfd, select.EPOLLIN)
    return sentinel


def _replace(stop: select.epoll, old: Sentinel) -> Sentinel:
    stop.unregister(old.pidfd)
    old.bury()
    return _post(stop)


def _read() -> int | None:
    """The fuzzer's next word; None when it is gone."""
    word = b""
    try:
        while len(word) < _WORD_BYTES:
            part = os.read(CONTROL_FD, _WORD_BYTES - len(word))
            if not part:
                return None
            word += part
    except OSError:
        return None
    return int.from_bytes(word, "little")


def _write(word: int) -> bool:
    """Say a word; False when nobody listens."""
    try:
        return os.write(STATUS_FD, (word & 0xFFFFFFFF).to_bytes(_WORD_BYTES, "little")) == _WORD_BYTES
    except OSError:
        return False
