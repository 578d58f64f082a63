"""Random system calls with random arguments: whatever a program asks, the answer is a number."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.test_vfs import snapshot
from tests.vfs_kernel import MiniKernel, WouldBlockError

NAMES = [b"a", b"b", b"dir", b"link", b"loop", b"fifo", b"dev", b"..", b".", b"", b"x" * 255, b"y" * 256, b"\xff\n"]
PLACES = [b"/dev/null", b"/dev/full", b"/dev/zero", b"/dev/shm/s", b"/dev", b"/", b"/host", b"/dev/fd/0"]
NUMBERS = [0, 1, 2, 3, 7, 8, 100, 4095, 4096, 4097, 1 << 31, (1 << 32) - 1, 1 << 40, (1 << 63) - 1, -1, -2, -100, -4096]
MODULES = {"attr", "dir", "filesize", "links", "open", "rw", "stat", "xattr", "inotify"}


def random_path(rng: random.Random) -> bytes:
    path = b"/".join(rng.choice(NAMES) for _ in range(rng.randint(1, 4)))
    roll = rng.random()
    if roll < 0.2:
        return b"/" + path
    if roll < 0.3:
        return b"/host/" + path
    if roll < 0.35:
        return rng.choice(PLACES)
    return path


def random_argument(rng: random.Random, k: MiniKernel, kind: str) -> int:
    if kind in ("_Path", "_Str"):
        if rng.random() < 0.03:
            return rng.choice([0, 8, (1 << 64) - 1])
        name = random_path(rng) if kind == "_Path" else rng.choice([b"user.a", b"user.", b"trusted.b", b"x", b""])
        return k.task.mm.put(name + b"\0")
    if kind in ("_Fd", "_AtFd"):
        return rng.choice([-100, -100, *range(12), 3, -1, 999])
    if kind in ("BufIn", "BufOut", "Struct", "IovecIn", "IovecOut", "Arg", "_Ptr"):
        roll = rng.random()
        if roll < 0.1:
            return rng.choice(NUMBERS) & (1 << 64) - 1
        words = [rng.choice([*NUMBERS, k.task.mm.BASE, 64]) & (1 << 64) - 1 for _ in range(16)]
        block = b"".join(w.to_bytes(8, "little") for w in words) + bytes(512)
        return k.task.mm.put(block) if roll < 0.8 else rng.randint(0, 64)
    if rng.random() < 0.5:
        return 1 << rng.randint(0, 24) | (1 << rng.randint(0, 12) if rng.random() < 0.5 else 0)
    return rng.choice(NUMBERS)


@pytest.mark.parametrize("seed", range(4))
def test_no_call_raises(tmp_path: Path, seed: int) -> None:
    root, host = tmp_path / "root", tmp_path / "host"
    for place in (root, host):
        (place / "dir").mkdir(parents=True)
        (place / "a").write_bytes(b"contents" * 1000)
        (place / "link").symlink_to("dir/../a")
        (place / "loop").symlink_to("loop")
    outside = snapshot(root)
    rng = random.Random(seed)
    k = MiniKernel(str(root), [str(host)], memory_bytes=64 << 20)
    k.vfs.mount(b"/host", k.vfs.mounts[-1].dentry.inode)
    rows = [row for row in k.rows.values() if row.handler.__module__.rpartition(".")[2] in MODULES]
    rows = [row for row in rows if row.name not in ("chroot", "ustat")]
    for step in range(6000):
        row = rng.choice(rows)
        args = [random_argument(rng, k, type(arg).__name__) for arg in row.args.values()]
        if row.name in ("truncate", "ftruncate", "fallocate"):
            args = [min(a, 1 << 33) if i else a for i, a in enumerate(args)]  # a huge sparse file costs an index
        try:
            result = k.call(row.name, *args)
        except WouldBlockError:
            continue
        assert isinstance(result, int), (step, row.name, args)
        assert -4096 < result < 1 << 63, (step, row.name, args, result)
        if len(k.task.files) > 10:
            k.task.files.close(rng.choice(list(k.task.files)))
    assert snapshot(root) == outside, "the overlay let a change through"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["host", "root"]
