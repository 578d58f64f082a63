"""AF_UNIX sockets: names, connections and what stream, datagram and seqpacket sockets share.

Data moves as :class:`Skb` from the sender into the receiver's queue and is charged to the sender until it is read, with
the sizes that Linux's allocator would charge, so that buffers fill up where Linux's do. Linux: net/unix/af_unix.c,
unix(7). The two ways to send and receive are in ``kernel.net.stream`` and ``kernel.net.dgram``.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from kernel.errno import (
    EADDRINUSE,
    EAGAIN,
    ECONNREFUSED,
    ECONNRESET,
    EEXIST,
    EINTR,
    EINVAL,
    ENOTTY,
    EOPNOTSUPP,
    EPERM,
    EPROTOTYPE,
    ERESTARTSYS,
    Errno,
)
from kernel.fs.anon import socket_inode
from kernel.fs.file import File
from kernel.fs.pollmask import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, POLLRDNORM, POLLWRBAND, POLLWRNORM
from kernel.fs.uapi import AT_FDCWD, MAY_WRITE, O_NONBLOCK, O_RDWR, S_IFSOCK
from kernel.net.address import parse_address
from kernel.net.scm import UNCONNECTED, Ancillary, Ucred, ucred_of
from kernel.net.skb import Message, Skb
from kernel.net.uapi import (
    MSG_DONTWAIT,
    RCV_SHUTDOWN,
    SEND_SHUTDOWN,
    SHUTDOWN_MASK,
    SIOCINQ,
    SIOCOUTQ,
    SOCK_DGRAM,
    SOCK_SEQPACKET,
    SOCK_STREAM,
)
from kernel.task.wait import WaitQueue, sleep

if TYPE_CHECKING:
    from kernel.fs.inode import Inode
    from kernel.task.task import Task

UNCONNECTED_STATE, LISTEN, ESTABLISHED = "unconnected", "listening", "established"

WMEM_DEFAULT = 212992
MAX_DGRAM_QLEN = 10
"""net.unix.max_dgram_qlen: what an unconnected receiver queues before senders wait."""
class _Names:
    """The abstract socket names of one kernel."""

    def __init__(self) -> None:
        self.abstract: WeakValueDictionary[bytes, UnixSocket] = WeakValueDictionary()
        self.next_auto = 1


_OF_KERNEL: WeakKeyDictionary[Any, _Names] = WeakKeyDictionary()


def _names(kernel: Any) -> _Names:
    names = _OF_KERNEL.get(kernel)
    if names is None:
        names = _OF_KERNEL[kernel] = _Names()
    return names


class UnixSocket(File):
    """What all kinds share (struct unix_sock). ``receive`` and ``accepting`` are in order of arrival.

    Invariant: ``charged`` is the sum of the sizes of all Skbs that this socket sent and nobody has read.
    """

    kind = 0
    pollable = True

    def __init__(self, task: Task, flags: int) -> None:
        inode = socket_inode(task)
        super().__init__(O_RDWR | flags & O_NONBLOCK, inode, b"socket:[%d]" % inode.ino)
        self.kernel = task.kernel
        self.state = UNCONNECTED_STATE
        self.name: bytes | None = None
        self.bound: Inode | None = None
        self.peer: UnixSocket | None = None
        self.receive: deque[Skb] = deque()
        self.accepting: deque[UnixSocket] = deque()
        self.backlog = MAX_DGRAM_QLEN
        self.charged = 0
        self.sndbuf = WMEM_DEFAULT
        self.rcvbuf = WMEM_DEFAULT
        self.shut = 0
        self.error = 0
        self.dead = False
        self.accepted = True
        """False for the server's end of a connection that waits in a listener's queue."""
        self.peer_cred: Ucred = UNCONNECTED
        self.peer_groups: tuple[int, ...] = ()
        self.pass_credentials = False
        self.rcv_timeout_ns: int | None = None
        self.snd_timeout_ns: int | None = None
        self.rcvlowat = 1
        self.options: dict[int, int] = {}
        """Socket options that are kept and have no effect on AF_UNIX."""
        self.read_queue = WaitQueue()
        self.write_queue = WaitQueue()

    # -- buffers

    def charge(self, size: int) -> None:
        self.charged += size

    def uncharge(self, size: int) -> None:
        """sock_wfree: senders that wait are woken when a quarter of the buffer is in use at most."""
        self.charged -= size
        if self.can_send():
            self.write_queue.wake()

    def can_send(self) -> bool:
        """unix_writable."""
        return self.state != LISTEN and self.charged << 2 <= self.sndbuf

    def take_error(self) -> int:
        """sock_error: reported once."""
        error, self.error = self.error, 0
        return error

    def attach_credentials(self, task: Task, extra: Ancillary, other: UnixSocket) -> None:
        """Senders are identified when one of the ends asked for it (maybe_add_creds)."""
        if extra.cred is None and (self.pass_credentials or other.pass_credentials or not other.accepted):
            extra.cred = ucred_of(task)

    def deadline(self, timeout_ns: int | None, flags: int) -> int | None:
        """When a call that waits gives up; 0 (at once) for non-blocking ones."""
        if flags & MSG_DONTWAIT or self.flags & O_NONBLOCK:
            return 0
        return None if timeout_ns is None else self.kernel.clock.monotonic_ns() + timeout_ns

    async def wait(self, queue: WaitQueue, deadline_ns: int | None) -> None:
        """Sleep until ``queue`` is woken. Raises Errno: EAGAIN at the deadline; ERESTARTSYS, or EINTR with one."""
        if deadline_ns == 0:
            raise Errno(EAGAIN)
        code = ERESTARTSYS if deadline_ns is None else EINTR
        if not await sleep(queue, deadline_ns=deadline_ns, interrupt_code=code):
            raise Errno(EAGAIN)

    # -- names

    def bind(self, task: Task, raw: bytes) -> None:
        """bind(2)."""
        name = parse_address(raw)
        if not name:
            self.autobind()
            return
        if self.name is not None:
            raise Errno(EINVAL)
        if name[:1] == b"\0":
            abstract = _names(self.kernel).abstract
            if name in abstract:
                raise Errno(EADDRINUSE)
            abstract[name] = self
        else:
            mode = S_IFSOCK | self.inode.mode & 0o777 & ~task.fs.umask
            try:
                dentry = self.kernel.vfs.mknod(task, AT_FDCWD, name, mode)
            except Errno as error:
                raise Errno(EADDRINUSE if error.code == EEXIST else error.code) from None
            self.bound = dentry.inode
            self.bound.socket = self
        self.name = name

    def autobind(self) -> None:
        """An abstract name of five hexadecimal digits; nothing when the socket has a name."""
        if self.name is not None:
            return
        names = _names(self.kernel)
        while (name := b"\0%05x" % (names.next_auto & 0xFFFFF)) in names.abstract:
            names.next_auto += 1
        names.next_auto += 1
        names.abstract[name] = self
        self.name = name

    def find(self, task: Task, raw: bytes) -> UnixSocket:
        """The socket of this kind bound to an address (unix_find_other).

        Raises:
            Errno: ECONNREFUSED when nobody has it, EPROTOTYPE for another kind of socket, those of path lookup.
        """
        name = parse_address(raw)
        if not name:
            raise Errno(ECONNREFUSED if len(raw) > 2 else EINVAL)
        if name[:1] == b"\0":
            other = _names(self.kernel).abstract.get(name)
        else:
            inode = self.kernel.vfs.resolve(task, AT_FDCWD, name).inode
            inode.permission(task, MAY_WRITE)
            other = inode.socket if inode.kind == S_IFSOCK else None
        if other is None or other.dead:
            raise Errno(ECONNREFUSED)
        if other.kind != self.kind:
            raise Errno(EPROTOTYPE)
        return other

    # -- connections

    def listen(self, task: Task, backlog: int) -> None:
        raise Errno(EOPNOTSUPP)

    async def accept(self, task: Task, flags: int) -> UnixSocket:
        raise Errno(EOPNOTSUPP)

    async def connect(self, task: Task, raw: bytes) -> None:
        raise NotImplementedError

    def pair_with(self, task: Task, other: UnixSocket) -> None:
        """socketpair(2)."""
        self.peer, other.peer = other, self
        for end in (self, other):
            end.peer_cred, end.peer_groups = ucred_of(task), task.cred.groups
            end.state = ESTABLISHED

    def shutdown(self, how: int) -> None:
        """shutdown(2): ``how`` as RCV_SHUTDOWN | SEND_SHUTDOWN; a connected peer loses the other direction."""
        self.shut |= how
        peer = self.peer
        if peer is not None and self.kind != SOCK_DGRAM:
            peer.shut |= (how & SEND_SHUTDOWN and RCV_SHUTDOWN) | (how & RCV_SHUTDOWN and SEND_SHUTDOWN)
            peer.wake_all()
        self.wake_all()

    def wake_all(self) -> None:
        """The state changed: everybody looks again."""
        self.read_queue.wake()
        self.write_queue.wake()

    # -- data; recvmsg is in the subclasses

    async def send(
        self, task: Task, data: bytes, flags: int = 0, address: bytes | None = None, extra: Ancillary | None = None
    ) -> int:
        """sendmsg(2); references in ``extra`` pass to the message, or are dropped on failure."""
        raise NotImplementedError

    async def recv(self, task: Task, n: int, flags: int = 0) -> Message:
        """recvmsg(2)."""
        raise NotImplementedError

    async def read(self, task: Task, n: int, pos: int | None = None) -> bytes:
        message = await self.recv(task, n)
        message.extra.drop()
        return message.data

    async def write(self, task: Task, data: bytes, pos: int | None = None) -> int:
        return await self.send(task, data)

    # -- readiness and control

    def poll(self) -> int:
        mask = 0
        if self.error:
            mask |= POLLERR
        if self.shut == SHUTDOWN_MASK:
            mask |= POLLHUP
        if self.shut & RCV_SHUTDOWN:
            mask |= POLLRDHUP | POLLIN | POLLRDNORM
        if self.receive or self.accepting:
            mask |= POLLIN | POLLRDNORM
        if self.kind != SOCK_DGRAM and self.state == UNCONNECTED_STATE:
            mask |= POLLHUP
        if self.can_send() and not self._peer_is_full():
            mask |= POLLOUT | POLLWRNORM | POLLWRBAND
        return mask

    def _peer_is_full(self) -> bool:
        """A datagram receiver that is not connected back queues only so many messages."""
        peer = self.peer
        return (
            self.kind == SOCK_DGRAM and peer is not None and peer.peer is not self and len(peer.receive) > peer.backlog
        )

    def wait_queues(self, events: int) -> tuple[WaitQueue, ...]:
        queues = (self.read_queue, self.write_queue)
        if self.kind == SOCK_DGRAM and self.peer is not None and self.peer.peer is not self and events & POLLOUT:
            return (*queues, self.peer.write_queue)
        return queues

    async def ioctl(self, task: Task, cmd: int, arg: int) -> int:
        if cmd == SIOCOUTQ:
            value = self.charged
        elif cmd == SIOCINQ:
            if self.state == LISTEN:
                raise Errno(EINVAL)
            value = self.queued_bytes()
        else:
            raise Errno(ENOTTY)
        task.mm.write(arg, value.to_bytes(4, "little"))
        return 0

    def queued_bytes(self) -> int:
        """FIONREAD: all bytes of a stream, the first message otherwise."""
        waiting = list(self.receive) if self.kind != SOCK_DGRAM else list(self.receive)[:1]
        return sum(len(skb.data) - skb.start for skb in waiting)

    def release(self) -> None:
        """unix_release_sock: the peer finds the end of data, or a reset when something was left unread."""
        self.dead = True
        if self.bound is not None:
            if self.bound.socket is self:
                self.bound.socket = None
            self.bound = None
        elif self.name is not None:
            abstract = _names(self.kernel).abstract
            if abstract.get(self.name) is self:  # an accepted socket shows its listener's name but does not own it
                del abstract[self.name]
        peer, self.peer = self.peer, None
        if peer is not None and self.kind != SOCK_DGRAM:
            peer.shut = SHUTDOWN_MASK
            if self.receive or not self.accepted:
                peer.error = ECONNRESET
            peer.wake_all()
        self.shut = SHUTDOWN_MASK
        for embryo in self.accepting:
            embryo.put()
        self.accepting.clear()
        while self.receive:
            self.receive.popleft().free()
        self.state = UNCONNECTED_STATE
        self.wake_all()


def new_socket(task: Task, kind: int, flags: int) -> UnixSocket:
    """A socket of ``kind`` (SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET); ``flags`` may hold O_NONBLOCK."""
    from kernel.net.dgram import DgramSocket, SeqpacketSocket
    from kernel.net.stream import StreamSocket

    return {SOCK_STREAM: StreamSocket, SOCK_DGRAM: DgramSocket, SOCK_SEQPACKET: SeqpacketSocket}[kind](task, flags)


def may_send(sender: UnixSocket, other: UnixSocket) -> None:
    """A connected datagram socket takes messages from its peer only. Raises Errno(EPERM)."""
    if other.peer is not None and other.peer is not sender:
        raise Errno(EPERM)
