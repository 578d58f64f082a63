"""``python -m emu.bare ELF FUNCTION ROUNDS COUNT``: one function of a static program in an otherwise empty engine.

The baseline of the compute bench: no hooks, no page tables, Unicorn's flat memory. Prints nanoseconds per count, a line
a round, as the programs in guest/programs do.
"""

from __future__ import annotations

import sys
import time

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from unicorn import UC_ARCH_X86, UC_MODE_64, Uc
from unicorn.x86_const import UC_X86_REG_RDI, UC_X86_REG_RSP

_PAGE = 4096
_STACK, _STACK_BYTES = 0x7000_0000_0000, 1 << 20
_RETURN = 0x6000_0000_0000
"""Where the function returns to: the run ends there."""


def load(path: str, function: str) -> tuple[Uc, int]:
    """An engine that holds the program's segments, and the address of ``function``.

    Raises:
        ValueError: the program has no such symbol.
    """
    engine = Uc(UC_ARCH_X86, UC_MODE_64)
    with open(path, "rb") as file:
        elf = ELFFile(file)
        mapped: set[int] = set()
        for segment in elf.iter_segments("PT_LOAD"):
            start = segment["p_vaddr"]
            pages = set(range(start & -_PAGE, start + segment["p_memsz"], _PAGE)) - mapped
            for page in sorted(pages):
                engine.mem_map(page, _PAGE)
            mapped |= pages
            engine.mem_write(start, segment.data())
        for section in elf.iter_sections():
            if isinstance(section, SymbolTableSection) and (found := section.get_symbol_by_name(function)):
                address = int(found[0]["st_value"])
                break
        else:
            raise ValueError(f"{path} has no symbol {function}")
    engine.mem_map(_STACK, _STACK_BYTES)
    engine.mem_map(_RETURN, _PAGE)
    return engine, address


def call(engine: Uc, address: int, argument: int) -> float:
    """Call a function of one argument; returns the seconds it took."""
    rsp = _STACK + _STACK_BYTES - 4096 - 8
    engine.mem_write(rsp, _RETURN.to_bytes(8, "little"))
    engine.reg_write(UC_X86_REG_RSP, rsp)
    engine.reg_write(UC_X86_REG_RDI, argument)
    start = time.perf_counter()
    engine.emu_start(address, _RETURN)
    return time.perf_counter() - start


def main(path: str, function: str, rounds: int, count: int) -> None:
    """Print the time of each round."""
    engine, address = load(path, function)
    for _ in range(rounds):
        print(f"{call(engine, address, count) / count * 1e9:.2f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
