"""The report of ``forkyard crash --json``. Addresses and registers are strings, ``0x…``: JSON has no 64-bit numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from guest.fuzz.backtrace import Frame
from guest.fuzz.crash import Crash
from guest.fuzz.crash_groups import stack_key
from guest.fuzz.crash_inputs import Job
from guest.fuzz.crash_run import Outcome
from guest.fuzz.report import headline


def as_json(job: Job, outcomes: Sequence[Outcome]) -> str:
    """The whole report as one JSON object."""
    groups: dict[str, dict[str, Any]] = {}
    for outcome in outcomes:
        if outcome.group is not None:
            crash = outcome.crash
            group = groups.setdefault(outcome.group, {
                "id": outcome.group, "title": headline(crash) if crash is not None else outcome.text,
                "stack": stack_key(crash) if crash is not None else [], "inputs": []})
            group["inputs"].append(outcome.path)
    found = {
        "command": job.argv,
        "input": "stdin" if job.placeholder is None else "file",
        "inputs": len(outcomes),
        "reproduced": sum(outcome.reproduced for outcome in outcomes),
        "distinct": len(groups),
        "groups": list(groups.values()),
        "results": [_outcome(outcome) for outcome in outcomes],
    }
    return json.dumps(found, indent=2)


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "input": outcome.path, "bytes": outcome.size, "result": outcome.kind, "text": outcome.text,
        "wait_status": outcome.status, "seconds": round(outcome.seconds, 3), "group": outcome.group,
        "crash": _crash(outcome.crash) if outcome.crash is not None else None,
        "others": [_crash(crash) for crash in outcome.others], "stderr": outcome.output,
    }


def _crash(crash: Crash) -> dict[str, Any]:
    access, instruction = crash.access, crash.instruction
    return {
        "signal": crash.signal, "code": crash.code, "what": crash.what, "title": headline(crash),
        "access": None if access is None else {
            "kind": access.kind, "address": hex(access.address), "bytes": access.size, "operand": access.operand},
        "pid": crash.pid, "tid": crash.tid, "command": crash.command,
        "instruction": None if instruction is None else instruction.text,
        "code_around": [{"address": hex(i.address), "bytes": i.code.hex(), "text": i.text}
                        for i in crash.instructions],
        "registers": {name: hex(value) for name, value in crash.registers.items()},
        "frames": [_frame(frame) for frame in crash.frames], "origin": [_frame(frame) for frame in crash.origin],
        "maps": [m.text for m in crash.maps],
    }


def _frame(frame: Frame) -> dict[str, Any]:
    return {
        "pc": hex(frame.pc), "function": frame.function, "offset": frame.function_offset, "file": frame.file,
        "directory": frame.directory, "line": frame.line, "module": frame.module,
        "module_offset": None if frame.module_offset is None else hex(frame.module_offset), "found_by": frame.found_by,
    }
