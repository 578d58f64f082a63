"""Run a command under Forkyard and draw the tree of its processes: what each ran, how it ended, what its fork cost.

    python examples/process_tree.py [--classic] COMMAND ARGS…
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

from guest.session import LaunchError, Options, Session


@dataclass
class Node:
    """One process."""

    programs: list[str] = field(default_factory=list)
    how: str = "started"
    end: str = "killed with the emulator"
    children: list[int] = field(default_factory=list)


def main(argv: list[str], odf: bool) -> int:
    """Run and draw; returns the command's exit status."""
    nodes: dict[int, Node] = {}
    last_entries = 0

    def on_fork(parent: Any, child: Any, flags: int, on_demand: bool) -> None:
        nonlocal last_entries
        entries = session.stats().fork_entries
        kind = "on demand" if on_demand else "classic"
        nodes[child.tid] = Node([child.comm.decode()], f"forked {kind}, {entries - last_entries} entries")
        nodes[parent.group.tgid].children.append(child.tid)
        last_entries = entries

    def on_exec(task: Any, path: bytes) -> None:
        nodes.setdefault(task.tid, Node()).programs.append(path.decode(errors="replace"))

    def on_exit(task: Any, status: int) -> None:
        nodes[task.tid].end = f"signal {status & 0x7F}" if status & 0x7F else f"exit {status >> 8}"

    with Session(Options(odf=odf)) as session:
        session.events.subscribe("fork", on_fork)
        session.events.subscribe("exec", on_exec)
        session.events.subscribe("exit", on_exit)
        try:
            session.start(argv)
        except LaunchError as error:
            print(error, file=sys.stderr)
            return error.status
        first = session.kernel.init.tgid
        status = session.run()
    draw(nodes, first, 0)
    return status


def draw(nodes: dict[int, Node], tid: int, depth: int) -> None:
    """Print a process and, further in, its children."""
    node = nodes[tid]
    print(f"{'  ' * depth}{tid} {' -> '.join(node.programs)}: {node.how}, {node.end}")
    for child in node.children:
        draw(nodes, child, depth + 1)


if __name__ == "__main__":
    classic = sys.argv[1:2] == ["--classic"]
    words = sys.argv[2:] if classic else sys.argv[1:]
    sys.exit(main(words or ["/bin/sh", "-c", "(ls | wc -l); true & wait"], not classic))
