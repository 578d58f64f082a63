"""The report of ``forkyard crash`` as text: one block a crash, and at the end the groups.

Names, paths and output come from the program under test: nothing in them reaches the terminal but as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from emu.decode import Access, is_canonical
from guest.fuzz.backtrace import MAX_FRAMES, Frame, module_name
from guest.fuzz.crash import Crash
from guest.fuzz.crash_groups import culprit
from guest.fuzz.crash_run import Outcome
from guest.trace.structs_task import signal_name

_REGISTER_ROWS = (("rax", "rbx", "rcx", "rdx"), ("rsi", "rdi", "rbp", "rsp"), ("r8", "r9", "r10", "r11"),
                  ("r12", "r13", "r14", "r15"))
_FLAGS = ((0x1, "CF"), (0x4, "PF"), (0x10, "AF"), (0x40, "ZF"), (0x80, "SF"), (0x100, "TF"), (0x400, "DF"),
          (0x800, "OF"))
_MAX_FRAMES, _LAST_FRAMES = 48, 4
_MAX_PERIOD = 8
_OUTPUT_LINES = 8
_MAX_NAME = 240
_NEAR_NULL = 1 << 16


def printable(text: str) -> str:
    """``text`` in one line, with everything escaped that a terminal would act on."""
    out = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" if ord(c) < 256 else f"\\u{ord(c):04x}" for c in text)
    return out if len(out) <= _MAX_NAME else out[:_MAX_NAME] + "…"


def headline(crash: Crash) -> str:
    """Signal, cause and place in one line."""
    frame = culprit(crash)
    where = f" in {place(frame)}" if frame is not None else ""
    return f"{crash.signal + ': ' if crash.signal else ''}{crash.what}{where}"


def lost(outcome: Outcome) -> str:
    """What an input did that was kept for a crash."""
    wanted = re.search(r"\bsig:(\d+)", outcome.path)
    seen = f"; afl-fuzz saw {signal_name(int(wanted[1]))}" if wanted is not None and int(wanted[1]) < 65 else ""
    children = "".join(f"; process {other.pid}: {headline(other)}" for other in outcome.others)
    return printable(f"{outcome.path}: {outcome.text}{seen}{children}")


def place(frame: Frame) -> str:
    """A frame in a few words: ``parse (target.c:12)``."""
    name = frame.function
    if name is None:
        offset = frame.module_offset
        return printable(f"{module_name(frame.module)}+{offset:#x}" if offset is not None else f"{frame.pc:#x}")
    if frame.line is not None:
        return printable(f"{name} ({module_name(frame.file)}:{frame.line})")
    return printable(f"{name} ({module_name(frame.module)}+{frame.module_offset or 0:#x})")


def access_text(access: Access) -> str:
    """``write of 4 bytes at 0x0, [rax]``."""
    size = f" of {access.size} byte{'s' if access.size != 1 else ''}" if access.size else ""
    operand = f"  {access.operand}" if access.operand else ""
    return f"{access.kind}{size} at {access.address:#x}{operand}"


def full(outcome: Outcome) -> Iterator[str]:
    """Everything about one crash or hang, line by line."""
    crash = outcome.crash
    if crash is None:
        return
    if crash.signal is not None:
        yield f"  signal       {crash.signal}, {crash.code}"
    if crash.access is not None:
        yield f"  access       {access_text(crash.access)}"
        if crash.access.address >= _NEAR_NULL and is_canonical(crash.access.address):
            yield f"               {_where(crash, crash.access.address)}"
    yield from _instructions(crash)
    if crash.origin:
        yield f"  came from    {place(crash.origin[0])} at {crash.origin[0].pc:#x}, whose stack frame is gone"
    yield from _registers(crash)
    yield "  backtrace"
    yield from (f"    {line}" for line in backtrace_lines(crash.frames))
    yield "  maps around"
    yield from (f"    {line}" for line in maps_around(crash))
    if outcome.output.strip():
        yield "  the end of stderr"
        yield from (f"    {printable(line)}" for line in outcome.output.rstrip("\n").split("\n")[-_OUTPUT_LINES:])
    for other in outcome.others:
        yield f"  process {other.pid} ({printable(other.command)}) too: {headline(other)}"


def _instructions(crash: Crash) -> Iterator[str]:
    if not crash.instructions:
        yield f"  instruction  {crash.pc:#x}: no code can be read there"
        return
    for number, instruction in enumerate(crash.instructions):
        arrow = "=>" if instruction.address == crash.pc else "  "
        title = "instruction" if not number else ""
        yield f"  {title:<11} {arrow}{instruction.address:#x}: {instruction.text}"


def _registers(crash: Crash) -> Iterator[str]:
    values = crash.registers
    for number, row in enumerate(_REGISTER_ROWS):
        title = "registers" if not number else ""
        yield f"  {title:<12} " + "  ".join(f"{name:<3} {values[name]:016x}" for name in row)
    flags = " ".join(name for bit, name in _FLAGS if values["rflags"] & bit)
    yield (f"  {'':<12} rip {values['rip']:016x}  flags {values['rflags']:x} [{flags}]  "
           f"fs {values['fs_base']:x}  gs {values['gs_base']:x}")


# -- backtrace -------------------------------------------------------------------------------------------------------


def backtrace_lines(frames: Sequence[Frame]) -> Iterator[str]:
    """``#0  0x… in f (file.c:3)  module+0x…``; what repeats is left out."""
    shown = list(range(len(frames)))
    skipped: dict[int, str] = {}
    start, period, times = _recursion(frames)
    if times > 3:
        end = start + period * times
        shown = [i for i in shown if i < start + period or i >= end]
        many = f"{times - 1} more times the " + ("same frame" if period == 1 else f"same {period} frames")
        skipped[start + period - 1] = f"     … {many}"
    if len(shown) > _MAX_FRAMES:
        cut = shown[_MAX_FRAMES - _LAST_FRAMES:-_LAST_FRAMES]
        skipped[shown[_MAX_FRAMES - _LAST_FRAMES - 1]] = f"     … {len(cut)} frames"
        shown = shown[:_MAX_FRAMES - _LAST_FRAMES] + shown[-_LAST_FRAMES:]
    for number in shown:
        yield frame_line(number, frames[number])
        if number in skipped:
            yield skipped[number]
    if len(frames) >= MAX_FRAMES:
        yield "     … and so on"


def frame_line(number: int, frame: Frame) -> str:
    """One line of a backtrace."""
    name = frame.function or "??"
    if frame.line is not None:
        where = f" at {frame.file}:{frame.line}"
    elif frame.function is not None and frame.function_offset:
        name, where = f"{name}+{frame.function_offset}", ""
    else:
        where = ""
    module = f"  {module_name(frame.module)}+{frame.module_offset:#x}" if frame.module_offset is not None else ""
    how = {"inline": "  (inlined)", "scan": "  (found on the stack: a guess)"}.get(frame.found_by, "")
    return f"#{number:<3} {frame.pc:#014x} in " + printable(f"{name}{where}{module}") + how


def _recursion(frames: Sequence[Frame]) -> tuple[int, int, int]:
    """(first frame, length, times) of the longest run of frames that repeat."""
    keys = [(frame.pc, frame.function) for frame in frames]
    best = (0, 1, 1)
    for period in range(1, _MAX_PERIOD + 1):
        run = 0
        for i in range(period, len(keys) + 1):
            if i < len(keys) and keys[i] == keys[i - period]:
                run += 1
                continue
            times = run // period + 1
            if run and (times - 1) * period > (best[2] - 1) * best[1]:
                best = (i - run - period, period, times)
            run = 0
    return best


# -- maps ------------------------------------------------------------------------------------------------------------


def _where(crash: Crash, address: int) -> str:
    """What lies at an address, or next to it."""
    below = above = None
    for m in crash.maps:
        if m.start <= address < m.end:
            return f"in {_map_name(m.text)}, {address - m.start:#x} bytes from its start"
        if m.end <= address:
            below = m
        elif above is None:
            above = m
    if above is not None and (below is None or above.start - address < address - below.end):
        return f"not mapped; {above.start - address:#x} bytes before {_map_name(above.text)}"
    if below is not None:
        return f"not mapped; {address - below.end:#x} bytes behind {_map_name(below.text)}"
    return "not mapped"


def _map_name(text: str) -> str:
    words = text.split(None, 5)
    return printable(f"{words[1]} {words[5] if len(words) > 5 else 'anonymous memory'}")


def maps_around(crash: Crash) -> list[str]:
    """The mappings that the program counter, the stack pointer and the access are in or next to."""
    wanted = {crash.pc, crash.registers["rsp"]}
    if crash.access is not None:
        wanted.add(crash.access.address)
    chosen: set[int] = set()
    for address in wanted:
        at = next((i for i, m in enumerate(crash.maps) if m.end > address), len(crash.maps))
        inside = at < len(crash.maps) and crash.maps[at].start <= address
        chosen |= {at - 1, at, at + 1} if inside else {at - 1, at}
    lines, last = [], None
    for i in sorted(chosen):
        if 0 <= i < len(crash.maps):
            if last is not None and i > last + 1:
                lines.append("…")
            lines.append(printable(crash.maps[i].text))
            last = i
    return lines


# -- groups ----------------------------------------------------------------------------------------------------------


def summary(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """How many there were, what they were, and which did nothing."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.group is not None:
            groups.setdefault(outcome.group, []).append(outcome)
    harmless = [outcome for outcome in outcomes if not outcome.reproduced]
    yield (f"{_count(len(outcomes), 'input')}, {len(outcomes) - len(harmless)} reproduced, "
           f"{len(groups)} distinct")
    for name, members in sorted(groups.items(), key=lambda item: -len(item[1])):
        first = members[0]
        text = headline(first.crash) if first.crash is not None else first.text
        yield f"  {name}  {len(members):>4} ×  {text}"
        smallest = min(members, key=lambda member: member.size)
        yield f"  {'':<12}  smallest: {printable(smallest.path)} ({_count(smallest.size, 'byte')})"
    if harmless:
        yield "not reproduced:"
        yield from (f"  {lost(outcome)}" for outcome in harmless)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
