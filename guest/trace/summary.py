"""``-c``: calls, errors and time of each system call, in strace's table."""

from __future__ import annotations

from guest.trace.filters import ExpressionError

_SORT = {
    "time": "time", "time_total": "time", "total_time": "time", "calls": "calls", "count": "calls",
    "errors": "errors", "error": "errors", "name": "name", "syscall": "name", "syscall_name": "name",
    "avg-time": "average", "time-avg": "average", "avg_time": "average", "time_avg": "average",
    "none": "none", "nothing": "none",
}
_RULE = "------ ----------- ----------- --------- --------- ----------------\n"


class Summary:
    """Counts by system call name; times in nanoseconds."""

    def __init__(self, sort: str = "time") -> None:
        if sort not in _SORT:
            raise ExpressionError(f"invalid sortby: '{sort}'")
        self.sort = _SORT[sort]
        self.rows: dict[str, list[int]] = {}

    def add(self, name: str, failed: bool, elapsed_ns: int) -> None:
        """Count one call."""
        row = self.rows.get(name)
        if row is None:
            row = self.rows[name] = [0, 0, 0]
        row[0] += 1
        row[1] += failed
        row[2] += elapsed_ns

    def text(self) -> str:
        """The table, ending in a newline."""
        total_calls = sum(row[0] for row in self.rows.values())
        total_errors = sum(row[1] for row in self.rows.values())
        total_ns = sum(row[2] for row in self.rows.values())
        lines = ["% time     seconds  usecs/call     calls    errors syscall\n", _RULE]
        lines += [_line(total_ns, row[2], row[0], row[1], name) for name, row in self._sorted()]
        lines += [_RULE, _line(total_ns, total_ns, total_calls, total_errors, "total", whole=True)]
        return "".join(lines)

    def _sorted(self) -> list[tuple[str, list[int]]]:
        items = list(self.rows.items())
        keys = {
            "time": lambda item: -item[1][2], "calls": lambda item: -item[1][0], "errors": lambda item: -item[1][1],
            "name": lambda item: item[0], "average": lambda item: -(item[1][2] / item[1][0]), "none": lambda item: 0,
        }
        return sorted(items, key=keys[self.sort])


def _line(total_ns: int, ns: int, calls: int, errors: int, name: str, whole: bool = False) -> str:
    percent = 100.0 if whole else 100.0 * ns / total_ns if total_ns else 0.0
    average = ns // 1000 // calls if calls else 0
    return f"{percent:6.2f} {ns / 1e9:11.6f} {average:11d} {calls:9d} {errors or '':>9} {name}\n"
