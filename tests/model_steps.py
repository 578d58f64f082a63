"""Steps of the model test: one plain form that the model, the address spaces, the guest and the host all carry out.

A step is a tuple ``(operation, slot, *numbers)``; its text is the same words, ``store 1 515 0 7``. ``slot`` (0…4) is
the process that does it. Pages are numbers: below HEAP in an arena whose address is fixed (two pages before a GiB
begins, two whole tables of 2 MiB, and a few pages of a third), from HEAP on in the heap.
"""

from __future__ import annotations

from collections.abc import Iterable

Step = tuple[str | int, ...]

PAGE = 4096
SLOTS = 5
#: Bytes from the start of a page to its two words: whatever spans pages meets one of them.
WORDS = (0, PAGE - 8)
#: What a region holds at most, in pages; the heap's pages are numbered from HEAP on.
ARENA_PAGES = HEAP_PAGES = 1040
HEAP = 2048
FILE_PAGES = 6

#: What follows the slot in each step.
OPERATIONS: dict[str, tuple[str, ...]] = {
    "mmap": ("page", "count", "prot", "kind", "offset", "extra"),
    "munmap": ("page", "count"),
    "mprotect": ("page", "count", "prot"),
    "mremap": ("page", "old", "new", "flags", "place"),
    "madvise": ("page", "count", "advice"),
    "msync": ("page", "count"),
    "brk": ("pages",),
    "store": ("page", "word", "value"),
    "load": ("page",),
    "fill": ("page", "count", "value"),
    "digest": ("page", "count"),
    "cross": ("page", "value"),
    "put": ("page", "word", "value"),
    "get": ("page",),
    "peek": ("other", "page"),
    "poke": ("other", "page", "word", "value"),
    "fwrite": ("index", "word", "value"),
    "fread": ("index",),
    "truncate": ("pages",),
    "fork": ("to", "explicit"),
    "exit": ("killed",),
    "exec": (),
    "odf": ("on", "level"),
}

#: ``kind`` of mmap: bit 0 is MAP_SHARED.
(PRIVATE, SHARED, PRIVATE_FILE, SHARED_FILE, PRIVATE_READONLY, SHARED_READONLY, HUGE) = range(7)
#: Flags of mremap.
MAYMOVE, FIXED, DONTUNMAP = 1, 2, 4
#: Advice of madvise.
(DONTNEED, FREE, REMOVE, DONTFORK, DOFORK, HUGEPAGE, NOHUGEPAGE, WIPEONFORK, KEEPONFORK, POPULATE_READ, POPULATE_WRITE,
 DONTNEED_LOCKED) = 4, 8, 9, 10, 11, 14, 15, 18, 19, 22, 23, 24
#: What it says depends on how memory lies; it must change nothing.
COLLAPSE = 25
#: Advice that nobody can see the effect of: NORMAL, RANDOM, SEQUENTIAL, WILLNEED, DONTDUMP, DODUMP, COLD, PAGEOUT.
UNSEEN = (0, 1, 2, 3, 16, 17, 20, 21)
ADVICE = (DONTNEED, FREE, REMOVE, DONTFORK, DOFORK, HUGEPAGE, NOHUGEPAGE, WIPEONFORK, KEEPONFORK, POPULATE_READ,
          POPULATE_WRITE, DONTNEED_LOCKED, COLLAPSE, *UNSEEN)
#: ``extra`` of mmap.
NOREPLACE, POPULATE, NORESERVE = 1, 2, 4


def region_end(page: int) -> int:
    """The number behind the last page of the region that ``page`` is in."""
    return ARENA_PAGES if page < HEAP else HEAP + HEAP_PAGES


def to_text(steps: Iterable[Step]) -> str:
    """A step a line."""
    return "".join(" ".join(map(str, step)) + "\n" for step in steps)


def from_text(text: str) -> list[Step]:
    """Steps, separated by line ends or semicolons; ``#`` begins a comment.

    Raises:
        ValueError: something in it is not a step.
    """
    steps: list[Step] = []
    for line in text.replace(";", "\n").splitlines():
        words = line.partition("#")[0].split()
        if not words:
            continue
        fields = OPERATIONS.get(words[0])
        if fields is None:
            raise ValueError(f"no such operation: {words[0]}")
        if len(words) != len(fields) + 2:
            raise ValueError(f"{words[0]} takes: slot {' '.join(fields)}; not: {line.strip()}")
        steps.append((words[0], *(int(word, 0) for word in words[1:])))
    return steps


def agrees(expected: str, found: str) -> bool:
    """Is ``found`` what the model allows? A word that ends in ``?`` may be 0 instead (MADV_FREE), ``any`` an errno."""
    if expected == found or (expected == "any" and (found == "ok" or found[1:].isdigit())):
        return True
    wanted, got = expected.split(","), found.split(",")
    return "?" in expected and len(wanted) == len(got) and all(
        word == value or (word[-1] == "?" and value in (word[:-1], "0"))
        for word, value in zip(wanted, got, strict=True))
