"""``python -m emu.compile FOLDER MODULE…``: compile the exports of the modules into object files.

Run by :mod:`emu.native` in a child process, so that the emulator itself never imports numba.
The name of each function is printed as it is done (by emu.native.export);
``FOLDER/out`` is complete when the process ends with status 0.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from emu import native


def main(folder: Path, modules: list[str]) -> None:
    """Compile every export of ``modules`` and write the manifest last."""
    for module in modules:
        importlib.import_module(module)
    out = folder / "out"
    out.mkdir()
    symbols: dict[str, str] = {}
    for number, (name, entry) in enumerate(native.EXPORTS.items()):
        compiled: object = entry.function
        (out / f"{number}.o").write_bytes(compiled._library._get_compiled_object())  # type: ignore[attr-defined]
        symbols[name] = compiled.native_name  # type: ignore[attr-defined]
    (out / "manifest.json").write_text(json.dumps(symbols))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
