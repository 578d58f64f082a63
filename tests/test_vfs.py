"""The file systems without a CPU: paths, overlay, containment, open flags, errors."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.vfs_kernel import MiniKernel

O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC = 1, 2, 0o100, 0o200, 0o1000
O_APPEND, O_DIRECTORY, O_NOFOLLOW, O_PATH = 0o2000, 0o200000, 0o400000, 0o10000000
AT_FDCWD = -100


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "dir" / "sub").mkdir(parents=True)
    (root / "dir" / "file").write_bytes(b"lower contents\n")
    (root / "dir" / "sub" / "deep").write_bytes(b"deep")
    os.link(root / "dir" / "file", root / "hard")
    (root / "abs").symlink_to("/dir/file")
    (root / "up").symlink_to("../../../../../../etc/passwd")
    (root / "outside").symlink_to("/etc/passwd")
    (root / "loop").symlink_to("loop")
    (root / "dangling").symlink_to("made-by-open")
    (tmp_path / "secret").write_bytes(b"secret")
    return root


@pytest.fixture
def k(tree: Path) -> MiniKernel:
    return MiniKernel(str(tree))


def snapshot(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """All a guest could have changed on the host."""
    result = {}
    for directory, names, files in os.walk(root):
        for name in names + files:
            path = os.path.join(directory, name)
            info = os.lstat(path)
            data = Path(path).read_bytes() if os.path.isfile(path) and not os.path.islink(path) else b""
            result[path] = (info.st_mode, info.st_nlink, data)
    return result


def test_reads_the_host(k: MiniKernel) -> None:
    assert k.read_all(b"/dir/file") == b"lower contents\n"
    assert k.read_all(b"/abs") == b"lower contents\n"
    assert k.read_all(b"/dir/../dir/./sub//deep") == b"deep"
    assert k.read_all(b"/nothing") == -errno.ENOENT
    assert k.read_all(b"/dir/file/x") == -errno.ENOTDIR
    assert k.read_all(b"/loop") == -errno.ELOOP
    assert k.read_all(b"/dir") == -errno.EISDIR
    assert k.read_all(b"/" + b"n" * 256) == -errno.ENAMETOOLONG
    assert k.read_all(b"") == -errno.ENOENT


def test_nothing_leads_out_of_the_root(k: MiniKernel, tree: Path) -> None:
    assert k.read_all(b"/up") == -errno.ENOENT  # /etc of the guest, which it has not
    assert k.read_all(b"/outside") == -errno.ENOENT
    assert k.read_all(b"/../secret") == -errno.ENOENT
    assert k.read_all(b"/dir/../../secret") == -errno.ENOENT
    # a directory that becomes a symlink on the host after the guest has seen it
    assert k.read_all(b"/dir/sub/deep") == b"deep"
    os.rename(tree / "dir" / "sub", tree / "dir" / "was")
    (tree / "dir" / "sub").symlink_to("../..")
    assert k.read_all(b"/dir/sub/secret") == -errno.ENOENT


def test_changes_stay_in_memory(k: MiniKernel, tree: Path) -> None:
    before = snapshot(tree)
    assert k.write_all(b"/dir/file", b"new") == 3
    assert k.read_all(b"/dir/file") == b"new"
    assert k.read_all(b"/hard") == b"new"  # the other name of the same lower file
    assert k.write_all(b"/dir/fresh", b"fresh") == 5
    assert k.call("mkdir", b"/dir/new", 0o755) == 0
    assert k.call("symlink", b"target", b"/dir/link") == 0
    assert k.call("rename", b"/dir/sub", b"/moved") == 0
    assert k.read_all(b"/moved/deep") == b"deep"
    assert k.call("unlink", b"/hard") == 0
    assert k.call("chmod", b"/dir/file", 0o600) == 0
    assert k.read_all(b"/hard") == -errno.ENOENT
    assert sorted(k.names(b"/dir")) == [b".", b"..", b"file", b"fresh", b"link", b"new"]
    assert snapshot(tree) == before


def test_append_copies_up(k: MiniKernel) -> None:
    fd = k.call("open", b"/dir/file", O_WRONLY | O_APPEND)
    assert k.call("write", fd, k.task.mm.put(b"more"), 4) == 4
    assert k.read_all(b"/dir/file") == b"lower contents\nmore"


def test_whiteouts_and_opaque_directories(k: MiniKernel) -> None:
    assert k.call("rmdir", b"/dir/sub") == -errno.ENOTEMPTY
    assert k.call("unlink", b"/dir/sub/deep") == 0
    assert k.call("rmdir", b"/dir/sub") == 0
    assert k.read_all(b"/dir/sub/deep") == -errno.ENOENT
    assert k.call("mkdir", b"/dir/sub", 0o755) == 0
    assert k.names(b"/dir/sub") == [b".", b".."]  # what the host has there stays hidden
    assert k.read_all(b"/dir/sub/deep") == -errno.ENOENT


def test_open_flags(k: MiniKernel) -> None:
    assert k.call("open", b"/dir/file", O_CREAT | O_EXCL, 0o644) == -errno.EEXIST
    assert k.call("open", b"/abs", O_NOFOLLOW) == -errno.ELOOP
    assert k.call("open", b"/dir", O_WRONLY) == -errno.EISDIR
    assert k.call("open", b"/dir", O_CREAT) == -errno.EISDIR
    assert k.call("open", b"/dir/file", O_DIRECTORY) == -errno.ENOTDIR
    assert k.call("open", b"/dir/x/", O_CREAT | O_WRONLY, 0o644) == -errno.EISDIR
    assert k.call("open", b"/dir/x", O_CREAT | O_DIRECTORY, 0o644) == -errno.EINVAL
    fd = k.call("open", b"/abs", O_PATH | O_NOFOLLOW)
    assert fd >= 0
    buffer = k.task.mm.room(64)
    assert k.call("read", fd, buffer, 10) == -errno.EBADF
    assert k.call("readlinkat", fd, b"", buffer, 64) == len("/dir/file")
    assert k.call("close", fd) == 0
    assert k.write_all(b"/dangling", b"x") == 1
    assert k.read_all(b"/made-by-open") == b"x"


def test_rename_errors(k: MiniKernel) -> None:
    k.call("mkdir", b"/a", 0o755)
    k.call("mkdir", b"/a/b", 0o755)
    k.write_all(b"/f", b"f")
    assert k.call("rename", b"/a", b"/a/b/c") == -errno.EINVAL
    assert k.call("rename", b"/a/b", b"/a") == -errno.ENOTEMPTY
    assert k.call("rename", b"/f", b"/a") == -errno.EISDIR
    assert k.call("rename", b"/a", b"/f") == -errno.ENOTDIR
    assert k.call("rename", b"/a/.", b"/q") == -errno.EBUSY
    assert k.call("rename", b"/dev", b"/q") == -errno.EBUSY
    assert k.call("rename", b"/f", b"/dev/shm/f") == -errno.EXDEV
    assert k.call("renameat2", AT_FDCWD, b"/f", AT_FDCWD, b"/dir/file", 1) == -errno.EEXIST
    assert k.call("renameat2", AT_FDCWD, b"/f", AT_FDCWD, b"/dir/file", 2) == 0
    assert k.read_all(b"/dir/file") == b"f"
    assert k.read_all(b"/f") == b"lower contents\n"
    assert k.call("rename", b"/hard", b"/f") == 0  # two names of one file: nothing happens
    assert k.read_all(b"/hard") == b"lower contents\n"


def test_unlinked_file_lives_while_open(k: MiniKernel) -> None:
    fd = k.call("open", b"/dir/file", O_RDWR)
    k.call("unlink", b"/dir/file")
    k.call("unlink", b"/hard")
    assert k.task.files.get(fd).path == b"/dir/file (deleted)"
    buffer = k.task.mm.room(64)
    assert k.call("pread64", fd, buffer, 5, 6) == 5
    assert k.task.mm.read(buffer, 5) == b"conte"
    inode = k.task.files.get(fd).inode
    assert inode.nlink == 0
    assert k.call("close", fd) == 0


def test_permissions(k: MiniKernel) -> None:
    k.write_all(b"/private", b"x", mode=0o600)
    k.call("mkdir", b"/locked", 0o700)
    k.call("mkdir", b"/sticky", 0o777)
    k.call("chmod", b"/sticky", 0o1777)
    k.write_all(b"/sticky/mine", b"x")
    cred = k.task.cred
    k.task.cred = cred.copy()
    for name in ("uid", "euid", "suid", "fsuid", "gid", "egid", "sgid", "fsgid"):
        setattr(k.task.cred, name, 1000)
    k.task.cred.cap_effective = k.task.cred.cap_permitted = 0
    assert k.read_all(b"/private") == -errno.EACCES
    assert k.read_all(b"/locked/x") == -errno.EACCES
    assert k.call("unlink", b"/sticky/mine") == -errno.EPERM
    assert k.write_all(b"/sticky/his", b"y") == 1
    assert k.call("unlink", b"/sticky/his") == 0
    assert k.call("chmod", b"/private", 0o777) == -errno.EPERM
    assert k.call("chown", b"/private", 1000, 1000) == -errno.EPERM
    assert k.call("access", b"/private", 4) == -errno.EACCES
    assert k.call("mkdir", b"/no", 0o755) == -errno.EACCES


def test_devices(k: MiniKernel) -> None:
    mm = k.task.mm
    buffer = mm.put(b"xxxxxxxx")
    fd = k.call("open", b"/dev/zero", O_RDWR)
    assert k.call("read", fd, buffer, 8) == 8
    assert mm.read(buffer, 8) == bytes(8)
    fd = k.call("open", b"/dev/full", O_RDWR)
    assert k.call("write", fd, buffer, 8) == -errno.ENOSPC
    fd = k.call("open", b"/dev/null", O_RDWR)
    assert k.call("write", fd, buffer, 8) == 8
    assert k.call("read", fd, buffer, 8) == 0
    assert k.call("lseek", fd, 100, 0) == 0
    assert k.call("open", b"/dev/tty", O_RDWR) == -errno.ENXIO


def test_writable_path(tree: Path) -> None:
    k = MiniKernel(str(tree), [str(tree / "dir")])
    assert k.write_all(b"/dir/file", b"changed") == 7
    assert (tree / "dir" / "file").read_bytes() == b"changed"
    assert k.call("mkdir", b"/dir/d", 0o755) == 0
    assert k.write_all(b"/dir/d/f", b"data") == 4
    assert k.call("rename", b"/dir/d", b"/dir/e") == 0
    assert k.call("symlink", b"../secret", b"/dir/s") == 0
    assert (tree / "dir" / "e" / "f").read_bytes() == b"data"
    assert k.read_all(b"/dir/e/f") == b"data"
    assert k.call("unlink", b"/dir/e/f") == 0
    assert k.call("rmdir", b"/dir/e") == 0
    assert sorted(os.listdir(tree / "dir")) == ["file", "s", "sub"]
    assert k.write_all(b"/elsewhere", b"x") == 1
    assert not (tree / "elsewhere").exists()
    (tree / "dir" / "file").write_bytes(b"by the host")
    assert k.read_all(b"/dir/file") == b"by the host"
    assert k.call("truncate", b"/dir/file", 2) == 0
    assert (tree / "dir" / "file").read_bytes() == b"by"


def test_sparse_and_fallocate(k: MiniKernel) -> None:
    fd = k.call("open", b"/sparse", O_RDWR | O_CREAT, 0o644)
    assert k.call("ftruncate", fd, 1 << 30) == 0
    assert k.call("lseek", fd, 0, 3) == -errno.ENXIO
    assert k.call("pwrite64", fd, k.task.mm.put(b"x" * 100), 100, 1 << 20) == 100
    assert k.call("lseek", fd, 0, 3) == 1 << 20
    assert k.call("lseek", fd, 1 << 20, 4) == (1 << 20) + 4096
    assert k.call("fallocate", fd, 3, 1 << 20, 4096) == 0
    assert k.call("lseek", fd, 0, 3) == -errno.ENXIO
    assert k.task.files.get(fd).inode.blocks == 0


def test_descriptors(k: MiniKernel) -> None:
    k.task.group.rlimits[7] = (3, 3)
    k.scheduler.current = k.task
    assert [k.call("open", b"/dir/file", 0) for _ in range(4)] == [0, 1, 2, -errno.EMFILE]
    assert k.call("close", 1) == 0
    assert k.call("close", 1) == -errno.EBADF
    assert k.call("open", b"/dir/file", 0) == 1
    assert k.call("close_range", 0, 1, 0) == 0
    assert list(k.task.files) == [2]


def test_listing_survives_removal(k: MiniKernel) -> None:
    k.call("mkdir", b"/many", 0o755)
    for i in range(50):
        k.write_all(b"/many/%d" % i, b"")
    fd = k.call("open", b"/many", O_DIRECTORY)
    seen = []
    buffer = k.task.mm.room(256)
    while (n := k.call("getdents64", fd, buffer, 256)) > 0:
        raw = k.task.mm.read(buffer, n)
        while raw:
            size = int.from_bytes(raw[16:18], "little")
            name = raw[19:size].split(b"\0")[0]
            seen.append(name)
            if name not in (b".", b".."):
                assert k.call("unlink", b"/many/" + name) == 0
            raw = raw[size:]
    assert sorted(seen) == sorted([b".", b".."] + [b"%d" % i for i in range(50)])
    assert k.call("getdents64", fd, buffer, 10) == 0
    assert k.call("rmdir", b"/many") == 0


def test_very_deep_directories(k: MiniKernel) -> None:
    depth = 5000
    for _ in range(depth):
        assert k.call("mkdir", b"d", 0o755) == 0
        assert k.call("chdir", b"d") == 0
    assert k.call("getcwd", k.task.mm.room(8192), 8192) == -errno.ENAMETOOLONG
    k.vfs._prune(k.vfs.root)
    assert k.call("open", b".", O_DIRECTORY) >= 0
    k.task.fs.cwd = k.vfs.root
    k.task.files.close_all()
    k.vfs._prune(k.vfs.root)
    assert k.call("open", b"d/d/d/d", O_DIRECTORY) >= 0
    assert k.call("mkdir", b"d", 0o755) == -errno.EEXIST


def test_files_in_memory_are_limited(k: MiniKernel) -> None:
    sb = k.vfs.root.inode.sb
    sb.max_inodes = sb.own_inodes + 3
    assert [k.write_all(b"/f%d" % i, b"") for i in range(4)] == [0, 0, 0, -errno.ENOSPC]
    assert k.call("unlink", b"/f1") == 0
    assert k.call("mkdir", b"/f1", 0o755) == 0
    assert k.call("symlink", b"x", b"/x") == -errno.ENOSPC
    assert k.call("rmdir", b"/f1") == 0
    assert k.call("unlink", b"/dir/file") == 0  # a host file gives no room back
    assert k.write_all(b"/f1", b"") == 0
    assert k.write_all(b"/f9", b"") == -errno.ENOSPC


def test_memory_full(tree: Path) -> None:
    k = MiniKernel(str(tree), memory_bytes=4 << 20)
    fd = k.call("open", b"/big", O_RDWR | O_CREAT, 0o644)
    data = k.task.mm.put(bytes(1 << 20))
    results = [k.call("write", fd, data, 1 << 20) for _ in range(6)]
    assert results[-1] == -errno.ENOSPC
    assert results[0] == 1 << 20
    assert k.memory.free_frames >= k.memory.file_reserve
    assert k.call("ftruncate", fd, 0) == 0
    assert k.call("write", fd, data, 1 << 20) == 1 << 20


@pytest.mark.parametrize("as_guest", [False, True])
def test_the_whole_root_writable(tree: Path, as_guest: bool) -> None:
    """--root DIR --writable DIR, and --writable /, which is what the guest calls it."""
    k = MiniKernel(str(tree), ["/" if as_guest else str(tree)])
    assert k.write_all(b"/dir/file", b"changed") == 7
    assert (tree / "dir" / "file").read_bytes() == b"changed"
    assert k.write_all(b"/dev/shm/x", b"x") == 1
    assert sorted(k.names(b"/dev/shm")) == [b".", b"..", b"x"]
    assert b"dev" in k.names(b"/")
    assert sorted(os.listdir(tree)) == ["abs", "dangling", "dir", "hard", "loop", "outside", "up"]
    assert k.read_all(b"/outside") == -errno.ENOENT
    assert k.read_all(b"/../secret") == -errno.ENOENT


def test_pages_are_read_in_runs(tree: Path) -> None:
    data = bytes(i * 7 + i // 4096 & 0xFF for i in range(100_001))
    (tree / "pages").write_bytes(data)
    k = MiniKernel(str(tree))
    cache = k.vfs.resolve(k.task, AT_FDCWD, b"/pages").inode.page_cache()
    cache.write(5 * 4096 + 10, b"here already")
    for index in (3, 24, 17):
        cache.fill(index)
    expected = bytearray(data)
    expected[5 * 4096 + 10 : 5 * 4096 + 22] = b"here already"
    assert cache.cached_pages == 25
    assert cache.read(0, 1 << 20) == bytes(expected)
    last = cache.page(24)
    assert bytes(k.memory.page(last))[100_001 - 24 * 4096 :] == bytes(25 * 4096 - 100_001)
    (tree / "pages").unlink()
    (tree / "pages").write_bytes(b"another file")
    assert cache.read(0, 1 << 20) == bytes(expected)
