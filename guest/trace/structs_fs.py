"""Decoders for files: stat and its kin, directory entries, poll sets, locks, vectors."""

from __future__ import annotations

import struct

from guest.trace.call import Call
from guest.trace.scalars import fd_text
from guest.trace.structs import fixed, sized
from guest.trace.tables import enum_table, flag_table
from guest.trace.text import bytes_text, dated, device, escape, file_mode, octal_mode, plain_hex, pointer

_stat = struct.Struct("<QQQIIIxxxxQqqqqQqQqQ24x").unpack


@fixed(144, "stat", "stat64", "newstat")
def stat(c: Call, data: bytes) -> str:
    """struct stat: mode and size (or device number) unless verbose."""
    (dev, ino, nlink, mode, uid, gid, rdev, size, blksize, blocks, atime, atime_nsec, mtime, mtime_nsec, ctime,
     ctime_nsec) = _stat(data)
    kind = file_mode(mode)
    special = mode & 0o170000 in (0o020000, 0o060000)
    extent = f"st_rdev={device(rdev)}" if special else f"st_size={size}"
    if not c.style.verbose:
        return f"{{st_mode={kind}, {extent}, ...}}"
    times = "".join(
        f", st_{name}={dated(str(seconds), seconds, nsec)}, st_{name}_nsec={nsec}"
        for name, seconds, nsec in (("atime", atime, atime_nsec), ("mtime", mtime, mtime_nsec),
                                    ("ctime", ctime, ctime_nsec))
    )
    return (f"{{st_dev={device(dev)}, st_ino={ino}, st_mode={kind}, st_nlink={nlink}, st_uid={uid}, st_gid={gid}, "
            f"st_blksize={blksize}, st_blocks={blocks}, {extent}{times}}}")


_statx = struct.Struct("<IIQIIIHxxQQQQ").unpack_from


@fixed(256, "statx")
def statx(c: Call, data: bytes) -> str:
    """struct statx: mask, attributes, mode and size unless verbose."""
    mask, blksize, attributes, nlink, uid, gid, mode, ino, size, blocks, attributes_mask = _statx(data)
    head = f"stx_mask={flag_table('statx_mask').text(mask)}"
    attributes_text = flag_table("statx_attributes").text(attributes)
    if not c.style.verbose:
        return f"{{{head}, stx_attributes={attributes_text}, stx_mode={file_mode(mode)}, stx_size={size}, ...}}"
    times = ""
    for name, offset in (("atime", 64), ("btime", 80), ("ctime", 96), ("mtime", 112)):
        if name == "btime" and not mask & 0x800:
            continue
        seconds, nsec = struct.unpack_from("<qI", data, offset)
        times += f", stx_{name}=" + dated(f"{{tv_sec={seconds}, tv_nsec={nsec}}}", seconds, nsec)
    rdev_major, rdev_minor, dev_major, dev_minor, mount = struct.unpack_from("<IIIIQ", data, 128)
    return (f"{{{head}, stx_blksize={blksize}, stx_attributes={attributes_text}, stx_nlink={nlink}, stx_uid={uid}, "
            f"stx_gid={gid}, stx_mode={file_mode(mode)}, stx_ino={ino}, stx_size={size}, stx_blocks={blocks}, "
            f"stx_attributes_mask={flag_table('statx_attributes').text(attributes_mask)}{times}, "
            f"stx_rdev_major={rdev_major}, stx_rdev_minor={rdev_minor}, stx_dev_major={dev_major}, "
            f"stx_dev_minor={dev_minor}, stx_mnt_id={mount:#x}}}")


@fixed(120, "statfs", "statfs64")
def statfs(c: Call, data: bytes) -> str:
    """struct statfs."""
    kind, bsize, blocks, bfree, bavail, files, ffree, id0, id1, namelen, frsize, flags = struct.unpack_from(
        "<qqQQQQQIIqqq", data)
    return (f"{{f_type={enum_table('fsmagic').text(kind)}, f_bsize={bsize}, f_blocks={blocks}, f_bfree={bfree}, "
            f"f_bavail={bavail}, f_files={files}, f_ffree={ffree}, "
            f"f_fsid={{val=[{plain_hex(id0)}, {plain_hex(id1)}]}}, f_namelen={namelen}, f_frsize={frsize}, "
            f"f_flags={flag_table('statfs_flags').text(flags)}}}")


def dirents(c: Call, address: int, size: int, is64: bool) -> str:
    """A buffer of getdents or getdents64, ``size`` bytes filled: the number of entries, or all of them with -v."""
    data = c.read(address, size) if size else b""
    if data is None:
        return pointer(address)
    entries = []
    offset = 0
    head = 19 if is64 else 18
    while offset + head <= len(data):
        ino, off, length = struct.unpack_from("<QqH", data, offset)
        if length < head or offset + length > len(data):
            break
        name = data[offset + head : offset + length].split(b"\0", 1)[0]
        kind = data[offset + 18] if is64 else data[offset + length - 1]
        kind_text = enum_table("dirent_type").text(kind)
        name_text = f'd_name="{escape(name, c.style)}"'
        if is64:
            entries.append(f"{{d_ino={ino}, d_off={off}, d_reclen={length}, d_type={kind_text}, {name_text}}}")
        else:
            entries.append(f"{{d_ino={ino}, d_off={off}, d_reclen={length}, {name_text}, d_type={kind_text}}}")
        offset += length
    if c.style.verbose:
        return f"[{', '.join(entries)}]"
    return f"{pointer(address)} /* {len(entries)} {'entry' if len(entries) == 1 else 'entries'} */"


@sized("dirent64", "linux_dirent64", "dirents64")
def dirent64(c: Call, address: int, size: int) -> str:
    """What getdents64 returned: ``size`` is the result."""
    return dirents(c, address, size, True)


@sized("dirent", "linux_dirent", "dirents")
def dirent(c: Call, address: int, size: int) -> str:
    """What getdents returned."""
    return dirents(c, address, size, False)


@fixed(32, "flock", "flock64")
def flock(c: Call, data: bytes) -> str:
    """struct flock as F_GETLK and F_SETLK share it, without the pid."""
    kind, whence, start, length = struct.unpack_from("<hhxxxxqq", data)
    return (f"{{l_type={enum_table('lock_type').text(kind & 0xFFFF)}, "
            f"l_whence={enum_table('seek_whence').text(whence & 0xFFFF)}, l_start={start}, l_len={length}}}")


@fixed(32, "flock_out")
def flock_out(c: Call, data: bytes) -> str:
    """struct flock as F_GETLK returns it."""
    return f"{flock(c, data)[:-1]}, l_pid={struct.unpack_from('<i', data, 24)[0]}}}"


@fixed(8, "f_owner_ex")
def f_owner_ex(c: Call, data: bytes) -> str:
    """F_SETOWN_EX's struct f_owner_ex."""
    kind, pid = struct.unpack("<ii", data)
    return f"{{type={enum_table('owner_type').text(kind)}, pid={pid}}}"


@fixed(24, "open_how")
def open_how(c: Call, data: bytes) -> str:
    """openat2(2)'s struct open_how; the mode only where the flags create a file."""
    flags, mode, resolve = struct.unpack("<QQQ", data)
    mode_text = f", mode={octal_mode(mode)}" if mode or flags & 0o20000100 else ""
    resolve_text = flag_table("openat2_resolve").text(resolve)
    return f"{{flags={flag_table('open').text(flags)}{mode_text}, resolve={resolve_text}}}"


@fixed(12, "epoll_event")
def epoll_event(c: Call, data: bytes) -> str:
    """struct epoll_event, packed on x86-64."""
    events, value = struct.unpack("<IQ", data)
    return f"{{events={flag_table('epoll_events').text(events)}, data={{u32={value & 0xFFFFFFFF}, u64={value}}}}}"


@fixed(8, "pollfd")
def pollfd(c: Call, data: bytes) -> str:
    """struct pollfd as passed in: no events for an ignored descriptor."""
    fd, events, _ = struct.unpack("<ihh", data)
    if fd < 0:
        return f"{{fd={fd}}}"
    return f"{{fd={fd}, events={flag_table('poll_events').text(events & 0xFFFF)}}}"


def iovec_array(c: Call, address: int, count: int, data_size: int | None = None, addresses: bool = False) -> str:
    """struct iovec[] with the bytes behind each; ``data_size`` bounds how much of them is data.

    ``addresses`` shows where the bytes are instead (a read that failed).
    """
    if not address:
        return "NULL"
    if count <= 0:
        return "[]"
    limit = count if c.style.verbose else min(count, c.style.string_limit)
    raw = c.read_some(address, min(limit, 1024) * 16)
    if len(raw) < 16:
        return pointer(address)
    parts = []
    for i in range(len(raw) // 16):
        base, length = struct.unpack_from("<QQ", raw, i * 16)
        parts.append(f"{{iov_base={_iov_data(c, base, length, data_size, addresses)}, iov_len={length}}}")
        if data_size is not None:
            data_size = max(data_size - length, 0)
    if len(raw) // 16 < min(limit, 1024):
        parts.append(f"... /* {address + len(raw) // 16 * 16:#x} */")
    elif limit < count:
        parts.append("...")
    return f"[{', '.join(parts)}]"


def _iov_data(c: Call, base: int, length: int, data_size: int | None, addresses: bool) -> str:
    if addresses or not base:
        return pointer(base)
    size = length if data_size is None else min(length, data_size)
    data = c.read(base, min(size, c.style.string_limit)) if size else b""
    if data is None:
        return pointer(base)
    return bytes_text(data, c.style) + ("..." if size > c.style.string_limit else "")


@sized("pipefd")
def pipefd(c: Call, address: int, _size: int) -> str:
    """The two descriptors that pipe(2) stores."""
    data = c.read(address, 8) if address else None
    if data is None:
        return pointer(address)
    return "[" + ", ".join(fd_text(c, fd) for fd in struct.unpack("<ii", data)) + "]"
