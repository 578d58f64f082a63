"""Walking paths: from names to dentries (fs/namei.c), and the tree of mounted file systems.

``Vfs.resolve`` finds a file that must exist; ``Vfs.parent_of`` stops one component before the end, for the calls that
make or remove names (``kernel.fs.nameops``) and for open (``kernel.fs.open``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from kernel.errno import EACCES, EINVAL, ELOOP, ENOENT, ENOTDIR, EXDEV, Errno
from kernel.fs.dcache import DentryCache
from kernel.fs.dentry import Dentry
from kernel.fs.uapi import (
    AT_FDCWD,
    MAXSYMLINKS,
    MAY_EXEC,
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    S_IFDIR,
    S_IFLNK,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from kernel.fs.file import File
    from kernel.fs.inode import Inode, SuperBlock
    from kernel.task.task import Task



class FsContext:
    """Root, working directory and umask of a process (fs_struct); ``users`` counts the tasks under CLONE_FS."""

    def __init__(self, root: Dentry, cwd: Dentry, umask: int = 0o022) -> None:
        self.root = root
        self.cwd = cwd
        self.umask = umask
        self.users = 1

    def copy(self) -> FsContext:
        """An independent copy, for fork."""
        return FsContext(self.root, self.cwd, self.umask)


class Parent(NamedTuple):
    """The directory of the last component of a path; ``name`` may be ``b"."``, ``b".."`` or ``b""`` for the root."""

    dentry: Dentry
    name: bytes
    slash: bool
    """The path ends in a slash."""

    @property
    def is_normal(self) -> bool:
        """The last component is a name (LAST_NORM)."""
        return self.name not in (b"", b".", b"..")


@dataclass
class Mount:
    """A row of /proc/mounts."""

    id: int
    parent_id: int
    dentry: Dentry
    sb: SuperBlock


class Walk:
    """The state of one path walk (struct nameidata)."""

    __slots__ = ("links", "resolve", "root", "task")

    def __init__(self, task: Task, root: Dentry, resolve: int) -> None:
        self.task = task
        self.root = root
        self.resolve = resolve
        self.links = 0


class Vfs(DentryCache):
    """The tree of names. ``root`` is the top; every file system is mounted below it."""

    def __init__(self, kernel: Any, root_inode: Inode) -> None:
        self.kernel = kernel
        super().__init__(Dentry(b"", None, root_inode))
        self.root.is_mount = True
        self.mounts = [Mount(21, 1, self.root, root_inode.sb)]
        self.shm: Any = None
        """The tmpfs of files without a name (memfd_create)."""
        self.trees: list[Any] = []
        """The host directories in use."""
        self.protected_symlinks = True
        self.protected_hardlinks = True

    # -- what the other parts of the kernel call

    def resolve(
        self, task: Task, dirfd: int, path: bytes, follow: bool = True, *, empty_ok: bool = False, resolve: int = 0
    ) -> Dentry:
        """The file that ``path``, relative to ``dirfd``, names.

        Args:
            follow: follow a symbolic link in the last component (one with a slash after it is always followed).
            empty_ok: the empty path means ``dirfd`` itself, which may be any file (AT_EMPTY_PATH).
            resolve: RESOLVE_* of openat2(2).

        Raises:
            Errno: ENOENT, ENOTDIR, EACCES, ELOOP, ENAMETOOLONG, EBADF, EXDEV.
        """
        if not path:
            if not empty_ok:
                raise Errno(ENOENT)
            return task.fs.cwd if dirfd == AT_FDCWD else task.files.get_raw(dirfd).dentry
        walk, start = self.begin(task, dirfd, path, resolve)
        return self.finish(walk, start, path, follow)

    def parent_of(self, task: Task, dirfd: int, path: bytes, resolve: int = 0) -> Parent:
        """The directory that holds, or would hold, the last component of ``path``; searchable by the task."""
        if not path:
            raise Errno(ENOENT)
        walk, start = self.begin(task, dirfd, path, resolve)
        return self.walk_to_parent(walk, start, path)

    def child(self, task: Task, parent: Dentry, name: bytes) -> Dentry | None:
        """The entry ``name`` of a directory; None when there is none."""
        try:
            return parent.children[name]
        except KeyError:
            return self.lookup(task, parent, name)

    def open(self, task: Task, dirfd: int, path: bytes, flags: int, mode: int = 0) -> File | Awaitable[File]:
        """openat(2) up to the open file; awaitable when it may block (a FIFO)."""
        from kernel.fs.open import do_open

        return do_open(self, task, dirfd, path, flags, mode)

    def open_exec(self, task: Task, dirfd: int, path: bytes, flags: int = 0) -> File:
        """A program to execute: regular, executable by the task, not being written; held so until it is put."""
        from kernel.fs.open import open_exec

        return open_exec(self, task, dirfd, path, flags)

    def mknod(self, task: Task, dirfd: int, path: bytes, mode: int, rdev: int = 0) -> Dentry:
        """Make a file of the type in ``mode`` (umask applies); a socket's name for bind(2) too."""
        from kernel.fs.nameops import mknod

        return mknod(self, task, dirfd, path, mode, rdev)

    # -- mounting

    def mount(self, path: bytes, root_inode: Inode) -> Dentry:
        """Cover the directory ``path`` (absolute, without symlinks; made if missing) with a file system."""
        parent = self.root
        names = [name for name in path.split(b"/") if name]
        for index, name in enumerate(names):
            last = index == len(names) - 1
            found = parent.children.get(name)
            if found is None and (not last or not parent.inode.volatile):
                inode = parent.inode.lookup(None, name)  # type: ignore[arg-type]
                if inode is None or inode.kind != S_IFDIR:
                    inode = parent.inode.add_mount_point(name)  # type: ignore[attr-defined]
                found = Dentry(name, parent, inode)
                parent.children[name] = found
            if last:
                mount_root = Dentry(name, parent, root_inode)
                mount_root.is_mount = True
                parent.children[name] = mount_root
                above = next(m for m in reversed(self.mounts) if parent.is_below(m.dentry))
                self.mounts.append(Mount(self.mounts[-1].id + 1, above.id, mount_root, root_inode.sb))
                return mount_root
            assert found is not None
            parent = found
        raise Errno(EINVAL)

    def mount_of(self, dentry: Dentry) -> Mount:
        """The mount a file is on; files outside the tree get the root's."""
        by_dentry = {mount.dentry: mount for mount in self.mounts}
        here: Dentry | None = dentry
        while here is not None:
            if here.is_mount and here in by_dentry:
                return by_dentry[here]
            here = here.parent
        return self.mounts[0]

    def sync(self) -> None:
        """sync(2)."""
        for mount in self.mounts:
            mount.sb.sync()

    def shutdown(self) -> None:
        """Write everything back and let go of the host's files."""
        self.sync()
        for tree in self.trees:
            tree.close()

    # -- walking

    def begin(self, task: Task, dirfd: int, path: bytes, resolve: int) -> tuple[Walk, Dentry]:
        """Where the walk of ``path`` starts (path_init)."""
        context = task.fs
        absolute = path[0] == 0x2F
        if absolute and not resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT):
            return Walk(task, context.root, resolve), context.root
        if dirfd == AT_FDCWD:
            start = context.cwd
        else:
            start = task.files.get_raw(dirfd).dentry
            if start.inode is None or start.inode.kind != S_IFDIR:
                raise Errno(ENOTDIR)
        if resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT):
            if absolute and resolve & RESOLVE_BENEATH:
                raise Errno(EXDEV)
            return Walk(task, start, resolve), start
        return Walk(task, context.root, resolve), start

    def walk_to_parent(self, walk: Walk, dentry: Dentry, path: bytes) -> Parent:
        """All components but the last; checks that the directory reached may be searched."""
        if path[0] == 0x2F:
            dentry = walk.root
        parts = path.split(b"/")
        slash = not parts[-1]
        if slash or b"" in parts:
            parts = [part for part in parts if part]
            if not parts:
                return Parent(dentry, b"", True)
        last = parts.pop()
        task = walk.task
        for name in parts:
            inode = dentry.inode
            if inode.mode & 0o170111 != 0o040111:
                self._check_searchable(task, inode)
            if name == b".":
                continue
            if name == b"..":
                dentry = self._up(walk, dentry)
                continue
            try:
                child = dentry.children[name]
            except KeyError:
                child = self.lookup(task, dentry, name)
            if child is None:
                raise Errno(ENOENT)
            if child.is_mount and walk.resolve & RESOLVE_NO_XDEV:
                raise Errno(EXDEV)
            dentry = self.follow(walk, dentry, child) if child.inode.kind == S_IFLNK else child
        inode = dentry.inode
        if inode.mode & 0o170111 != 0o040111:
            self._check_searchable(task, inode)
        return Parent(dentry, last, slash)

    def finish(self, walk: Walk, start: Dentry, path: bytes, follow: bool) -> Dentry:
        """The file at the end of ``path``, which must exist."""
        parent, name, slash = self.walk_to_parent(walk, start, path)
        found = self.last_step(walk, parent, name)
        if found is None:
            raise Errno(ENOENT)
        if (follow or slash) and found.inode.kind == S_IFLNK:
            found = self.follow(walk, parent, found)
        if slash and found.inode.kind != S_IFDIR:
            raise Errno(ENOTDIR)
        return found

    def last_step(self, walk: Walk, parent: Dentry, name: bytes) -> Dentry | None:
        """One component from a directory already checked; symbolic links are not followed."""
        try:
            child = parent.children[name]
        except KeyError:
            if name == b"..":
                return self._up(walk, parent)
            if name in (b"", b"."):
                return parent
            child = self.lookup(walk.task, parent, name)
        if child is not None and child.is_mount and walk.resolve & RESOLVE_NO_XDEV:
            raise Errno(EXDEV)
        return child

    def follow(self, walk: Walk, parent: Dentry, link: Dentry) -> Dentry:
        """Where the symbolic link ``link``, found in ``parent``, leads; that file exists."""
        target = self.link_target(walk, parent, link)
        if isinstance(target, Dentry):
            return target
        return self.finish(walk, parent, target, True)

    def link_target(self, walk: Walk, parent: Dentry, link: Dentry) -> Dentry | bytes:
        """What to walk from ``parent`` on in place of ``link``: a path, or the end of a magic link (pick_link)."""
        walk.links += 1
        if walk.links > MAXSYMLINKS:
            raise Errno(ELOOP)
        if walk.resolve & RESOLVE_NO_SYMLINKS:
            raise Errno(ELOOP)
        inode, task = link.inode, walk.task
        directory = parent.inode
        if (
            self.protected_symlinks
            and directory.mode & 0o1002 == 0o1002
            and task.cred.fsuid != inode.uid != directory.uid
        ):
            raise Errno(EACCES)
        jump = inode.jump(task)
        if jump is not None:
            if walk.resolve & RESOLVE_NO_MAGICLINKS:
                raise Errno(ELOOP)
            if walk.resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT):
                raise Errno(EXDEV)
            return jump
        path = inode.readlink(task)
        if not path:
            raise Errno(ENOENT)
        if path[0] == 0x2F and walk.resolve & RESOLVE_BENEATH:
            raise Errno(EXDEV)
        return path

    def _up(self, walk: Walk, dentry: Dentry) -> Dentry:
        """``..``: never above the task's root."""
        if dentry is walk.root:
            if walk.resolve & RESOLVE_BENEATH:
                raise Errno(EXDEV)
            return dentry
        if dentry.is_mount and walk.resolve & RESOLVE_NO_XDEV:
            raise Errno(EXDEV)
        return dentry.parent or dentry

    def _check_searchable(self, task: Task, inode: Inode) -> None:
        if inode.kind != S_IFDIR:
            raise Errno(ENOTDIR)
        inode.permission(task, MAY_EXEC)
