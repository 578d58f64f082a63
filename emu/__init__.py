"""The machine: physical memory, paging, TLB, CPU. See README.md."""

import os as _os


def _import_numpy() -> None:
    """Import NumPy without the threads that its linear algebra would start: 25 ms of CPU for nothing that we use."""
    before = _os.environ.get("OPENBLAS_NUM_THREADS")
    _os.environ["OPENBLAS_NUM_THREADS"] = "1"
    try:
        import numpy  # noqa: F401
    finally:
        if before is None:
            del _os.environ["OPENBLAS_NUM_THREADS"]
        else:
            _os.environ["OPENBLAS_NUM_THREADS"] = before


_import_numpy()
