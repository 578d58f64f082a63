"""Which crashes are one bug: those whose stacks are alike.

The key is the signal, the place in the innermost function that is not the C library's, by its source line or else its
offset in the file, and the names of the functions below. Functions that call themselves count once, and of a stack
overflow only the functions that repeat, so that depth makes no difference. Addresses never count: they move.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter

from guest.fuzz.backtrace import Frame, module_name
from guest.fuzz.crash import Crash

_DEPTH = 5
#: Libraries whose functions say where a bug is noticed, not where it is.
_SYSTEM_MODULE = re.compile(r"^(lib(c|m|pthread|rt|dl|stdc\+\+|gcc_s|[a-z]+san)|ld-linux.*|ld-musl.*|ld)[-.\d]*\.so")
#: The same functions in a static program.
_SYSTEM_FUNCTION = re.compile(
    r"^_*(GI_)?_*(abort|raise|gsignal|t?kill|pthread_kill(_implementation|_internal)?|libc_message|malloc_printerr|"
    r"assert(_fail(_base)?|_perror_fail)?|fortify_fail.*|chk_fail|stack_chk_fail(_local)?|\w+_chk|"
    r"(int_|libc_)?(malloc|free|realloc|calloc|memalign)(_check|_consolidate)?|unlink_chunk|sysmalloc|"
    r"mem(cpy|move|set|chr|cmp|pcpy|rchr)\w*|w?mem(cpy|move|set)\w*|str\w*(_sse|_avx|_evex|_generic)\w*|"
    r"str(len|cpy|cat|cmp|chr|ncpy|ncat|ncmp|dup|nlen|stri?|casecmp)|restore_(rt|sigs)|block_(all|app)_sigs|terminate|rethrow|cxa_throw|"
    r"start(_c|_thread)?|libc_start_\w+|clone3?)$")


#: The libraries of C++ and Rust, of which much is in the program itself.
_LIBRARY_NAME = re.compile(r"^<?(std|core|alloc|__gnu_cxx)::|^_RI?N.*\d_?(std|core|alloc|rustc)\d")
_LIBRARY_SOURCE = re.compile(r"^(/rustc/\w+/)?library/")


def is_system(frame: Frame) -> bool:
    """Does the frame belong to the C library, or to what else is in every program?"""
    if frame.function == "<signal handler called>":
        return True
    if _LIBRARY_NAME.match(frame.function or "") or _LIBRARY_SOURCE.match(frame.file or ""):
        return True
    if frame.module is None:
        return False
    if not frame.is_program:
        return bool(_SYSTEM_MODULE.match(module_name(frame.module)))
    return frame.function is not None and bool(_SYSTEM_FUNCTION.match(frame.function))


def culprit(crash: Crash) -> Frame | None:
    """The innermost frame that is not the C library's, else the innermost one; None where the stack says nothing."""
    chosen = _telling(crash)
    return chosen[0] if chosen else None


def _telling(crash: Crash) -> list[Frame]:
    """The frames that tell where the bug is. Guesses count where there is nothing better."""
    frames = [frame for frame in crash.frames if frame.module is not None]
    known = [frame for frame in frames if frame.found_by != "scan"]
    came_from = [frame for frame in crash.origin if frame.module is not None]
    for some in (known, came_from, frames):
        if own := [frame for frame in some if not is_system(frame)]:
            return own
    return known or came_from


def stack_key(crash: Crash) -> list[str]:
    """What two crashes have in common when they are the same."""
    chosen = _telling(crash)
    names = [_name(frame) for frame in chosen]
    cause = crash.signal or crash.what
    if crash.what == "stack overflow":
        counts = Counter(names)
        repeated = sorted(name for name, count in counts.items() if count > 1)
        return [cause, "stack overflow", *(repeated or names)[:_DEPTH]]
    if not chosen:
        # No stack at all: what was wanted of which kind of address is all there is.
        return [cause, crash.what]
    return [cause, _place(chosen[0]), *list(dict.fromkeys(names))[:_DEPTH]]


def stack_hash(crash: Crash) -> str:
    """A short name for stack_key()."""
    return hashlib.sha256(json.dumps(stack_key(crash)).encode()).hexdigest()[:12]


def _name(frame: Frame) -> str:
    """The function: by name, else by where it begins in its file."""
    if frame.function is not None:
        return frame.function
    start = frame.function_start if frame.function_start is not None else frame.module_offset
    return f"{module_name(frame.module)}+{start or 0:#x}"


def _place(frame: Frame) -> str:
    if frame.line is not None:
        return f"{frame.file}:{frame.line}"
    return f"{module_name(frame.module)}+{frame.module_offset or 0:#x}"
