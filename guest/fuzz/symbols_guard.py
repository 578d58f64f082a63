"""A limit of time for parsing what may be hostile: a library that goes round in circles is interrupted."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
_raise_in.argtypes = [ctypes.c_ulong, ctypes.py_object]
_LEAST_S = 0.01


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the body once this process has used ``seconds`` of CPU time, between two bytecodes."""
    thread, lock, over = threading.get_ident(), threading.Lock(), threading.Event()
    begin = time.process_time()

    def watch() -> None:
        left = seconds
        while not over.wait(max(left, _LEAST_S)):
            left = seconds - (time.process_time() - begin)
            if left <= 0:
                with lock:
                    if not over.is_set():
                        _raise_in(thread, TimeoutError)
                return

    threading.Thread(target=watch, name="forkyard-limit", daemon=True).start()
    try:
        yield
    finally:
        # Either the exception has been set by now, and comes before the lock is ours, or it never will be.
        with lock:
            over.set()
