"""``python -m guest.bench.probe OPTIONS PROGRAM ARGS…``: one program in a session of its own process; prints JSON.

OPTIONS are fields of Options as JSON. What comes out: the exit status, stdout, stderr, the session's figures, and the
most memory that this process has taken from the host.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from guest.session import run


def probe(options: dict[str, Any], argv: Sequence[str]) -> dict[str, Any]:
    """Run ``argv`` and tell what came of it.

    Raises:
        What guest.session.run raises.
    """
    done = run(argv, stdin=b"", **options)
    return {"status": done.returncode, "stdout": done.stdout.decode(), "stderr": done.stderr.decode(),
            "stats": asdict(done.stats),
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


if __name__ == "__main__":
    try:
        print(json.dumps(probe(json.loads(sys.argv[1]), sys.argv[2:])))
    except Exception as error:  # whoever started us shows this line
        sys.exit(f"{type(error).__name__}: {error}")
