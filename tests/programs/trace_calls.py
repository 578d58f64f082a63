"""Calls of every family with real effects, for comparing traces: sockets, polling, files, timers, signals, processes.

Works in the current directory. With the argument ``inet`` it uses network sockets too.
"""

import array
import ctypes
import fcntl
import mmap
import os
import resource
import select
import signal
import socket
import struct
import sys
import termios
from contextlib import suppress

libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(256)


class Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class Itimerspec(ctypes.Structure):
    _fields_ = (("interval", Timespec), ("value", Timespec))


def inet() -> None:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind(("127.0.0.1", 0))
    address = one.getsockname()
    one.sendto(b"q", address)
    one.recvfrom(10)
    one.sendmsg([b"r"], [], 0, address)
    one.recvmsg(10, 10)
    six = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    with suppress(OSError):
        six.bind(("::1", 0, 0, 0))
        six.listen()
        six.setblocking(False)
        six.accept()
    for level, name, value in ((1, 2, 1), (1, 13, struct.pack("ii", 1, 5)), (6, 1, 1), (1, 20, struct.pack("qq", 1, 5)),
                               (1, 25, b"lo\0"), (0, 1, 16)):
        with suppress(OSError):
            one.setsockopt(level, name, value)


def sockets() -> tuple[socket.socket, socket.socket]:
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    a.send(b"hello")
    b.recvfrom(100)
    a.sendmsg([b"x", b"yy"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1]).tobytes())])
    b.recvmsg(2, 200)
    a.sendmsg([b"zz"])
    b.recvmsg_into([bytearray(1), bytearray(5)], 100)
    a.setblocking(False)
    with suppress(OSError):
        a.recv(5)
    with suppress(OSError):
        a.recvmsg(5)
    for option in (3, 4, 7, 8, 9, 13, 16, 17, 30, 38, 39):
        with suppress(OSError):
            a.getsockopt(socket.SOL_SOCKET, option, 16)
    server = socket.socket(socket.AF_UNIX)
    server.bind("socket")
    server.listen(1)
    client = socket.socket(socket.AF_UNIX)
    client.connect("socket")
    accepted, _ = server.accept()
    client.shutdown(socket.SHUT_WR)
    accepted.recv(10)
    with suppress(OSError):
        client.send(b"after the end")
    with suppress(OSError):
        client.connect("nowhere")
    return a, b


def polling(a: socket.socket, b: socket.socket) -> None:
    epoll = select.epoll()
    epoll.register(a.fileno(), select.EPOLLIN | select.EPOLLET)
    epoll.poll(0)
    epoll.modify(a.fileno(), select.EPOLLOUT)
    epoll.poll(0, 5)
    epoll.unregister(a.fileno())
    poll = select.poll()
    poll.register(a.fileno(), select.POLLIN | select.POLLOUT)
    poll.register(b.fileno(), select.POLLIN)
    poll.poll(0)
    read_end, write_end = os.pipe()
    select.select([read_end], [write_end], [read_end], 0)
    select.select([read_end], [], [], 0)
    select.select([], [], [], 0.001)
    os.write(write_end, b"hello")
    os.close(write_end)
    libc.ppoll(None, 0, ctypes.byref(Timespec(0, 150000)), None)
    other_read, other_write = os.pipe()
    libc.tee(read_end, other_write, 5, 2)
    libc.splice(read_end, None, other_write, None, 3, 2)
    os.read(other_read, 100)
    fcntl.fcntl(read_end, 1032)
    fcntl.fcntl(read_end, 1031, 8192)
    fcntl.ioctl(read_end, termios.FIONREAD, b"\0" * 4)


def files() -> None:
    passwd = os.open("/etc/passwd", os.O_RDONLY)
    new = os.open("new", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o640)
    offset = ctypes.c_long(3)
    libc.sendfile(new, passwd, ctypes.byref(offset), 10)
    os.sendfile(new, passwd, None, 5)
    os.pread(passwd, 5, 2)
    os.pwrite(new, b"abc", 1)
    os.preadv(passwd, [bytearray(3), bytearray(40)], 0)
    os.writev(new, [b"ab", b"c" * 50])
    os.readv(passwd, [bytearray(3)] * 2)
    fcntl.lockf(new, fcntl.LOCK_EX, 10, 5)
    fcntl.lockf(new, fcntl.LOCK_UN)
    fcntl.flock(new, fcntl.LOCK_SH | fcntl.LOCK_NB)
    fcntl.fcntl(new, fcntl.F_SETFL, os.O_APPEND | os.O_NONBLOCK)
    fcntl.fcntl(new, fcntl.F_DUPFD_CLOEXEC, 20)
    for request in (termios.TIOCGWINSZ, termios.TCGETS):
        with suppress(OSError):
            fcntl.ioctl(new, request, b"\0" * 60)
    os.ftruncate(new, 3)
    os.fsync(new)
    os.posix_fallocate(new, 0, 10)
    os.utime("new", ns=(5, 7000000001))
    os.utime(new)
    os.chmod("new", 0o4600)
    os.fchown(new, -1, os.getgid())
    with suppress(OSError):
        os.setxattr("new", "user.a", b"val\0")
        os.getxattr("new", "user.a")
        os.listxattr("new")
        os.removexattr("new", "user.a")
    os.rename("new", "renamed")
    os.link("renamed", "linked")
    os.symlink("renamed", "symbolic")
    os.readlink("symbolic")
    os.mkfifo("fifo", 0o600)
    os.mkdir("directory")
    os.listdir("directory")
    for name in ("renamed", "linked", "symbolic", "fifo"):
        os.unlink(name)
    for failing in (lambda: os.open("none/x", 0), lambda: os.rmdir("/etc"), lambda: os.mkdir("directory"),
                    lambda: os.unlink("directory"), lambda: os.chdir("fifo"), lambda: os.statvfs("none")):
        with suppress(OSError):
            failing()
    os.rmdir("directory")
    memory = os.memfd_create("memory", 2)
    os.ftruncate(memory, 8192)
    fcntl.fcntl(memory, 1033, 2)
    fcntl.fcntl(memory, 1034)
    mapping = mmap.mmap(memory, 8192)
    mapping[0] = 1
    mapping.flush()
    mapping.close()
    libc.syscall(332, -100, b"/etc/hostname", 0x100, 0x7FF, buffer)
    libc.syscall(437, -100, b"/etc/hostname", ctypes.byref(Itimerspec()), 24)
    libc.syscall(439, -100, b"/x", 4, 0x200)


def timers() -> None:
    timer = libc.timerfd_create(1, 0o2000000)
    libc.timerfd_settime(timer, 0, ctypes.byref(Itimerspec(Timespec(0, 0), Timespec(5, 6))), ctypes.byref(Itimerspec()))
    event = libc.eventfd(5, 0o4000)
    os.read(event, 8)
    os.write(event, struct.pack("Q", 3))
    identifier = ctypes.c_void_p()
    libc.syscall(222, 1, None, ctypes.byref(identifier))
    libc.syscall(223, 0, 0, ctypes.byref(Itimerspec(Timespec(0, 0), Timespec(50, 6))), None)
    libc.syscall(225, 0)
    libc.syscall(226, 0)
    libc.alarm(0)


def signals() -> None:
    libc.syscall(128, buffer, None, ctypes.byref(Timespec(0, 0)), 8)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGINT])
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.sigpending()
    signal.sigtimedwait([signal.SIGUSR1], 0)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    libc.signalfd(-1, buffer, 0)


def settings() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.prlimit(0, resource.RLIMIT_STACK)
    os.getgroups()
    os.getresuid()
    os.getpriority(0, 0)
    os.sched_getscheduler(0)
    os.sched_getparam(0)
    page = ctypes.c_void_p(ctypes.addressof(buffer) & ~4095)
    libc.mincore(page, 4096, ctypes.create_string_buffer(10))
    libc.prctl(1, 0)
    libc.madvise(None, 0, 4)
    libc.syscall(125, ctypes.byref(ctypes.c_ulong(0x20080522)), buffer)
    libc.umask(0o22)


def processes() -> None:
    child = os.fork()
    if child == 0:
        os._exit(7)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    os.wait4(child, 0)
    os.waitpid(os.spawnv(os.P_NOWAIT, "/bin/true", ["true"]), 0)
    with suppress(OSError):
        os.waitpid(-1, os.WNOHANG)
    os.execv("/bin/echo", ["echo", "x" * 50] + ["y"] * 40)


if "inet" in sys.argv:
    inet()
polling(*sockets())
files()
timers()
signals()
settings()
processes()
