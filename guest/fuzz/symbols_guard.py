"""A limit of time for parsing what may be hostile: a library that goes round in circles is interrupted."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
_raise_in.argtypes = [ctypes.c_ulong, ctypes.py_object]


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the body after ``seconds`` of real time, between two bytecodes of Python."""
    thread, lock = threading.get_ident(), threading.Lock()
    over = False

    def expire() -> None:
        with lock:
            if not over:
                _raise_in(thread, TimeoutError)

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        # Either the exception has been set by now, and comes before the lock is ours, or it never will be.
        with lock:
            over = True
        timer.cancel()
