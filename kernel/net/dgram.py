"""SOCK_DGRAM and SOCK_SEQPACKET over AF_UNIX: whole messages (unix_dgram_sendmsg, __unix_dgram_recvmsg)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import ECONNREFUSED, EMSGSIZE, ENOTCONN, EOPNOTSUPP, EPIPE, Errno
from kernel.net.listen import ListeningSocket
from kernel.net.scm import Ancillary
from kernel.net.skb import MAX_FRAGS_SIZE, PAGE_SIZE, SKB_MAX_ALLOC, Message, Skb, truesize
from kernel.net.uapi import (
    AF_UNSPEC,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    RCV_SHUTDOWN,
    SEND_SHUTDOWN,
    SOCK_DGRAM,
    SOCK_SEQPACKET,
)
from kernel.net.unix import ESTABLISHED, UNCONNECTED_STATE, UnixSocket, may_send

if TYPE_CHECKING:
    from kernel.task.task import Task



class MessageSocket(UnixSocket):
    """Sends and receives messages whole."""

    @property
    def io_chunk(self) -> int:  # type: ignore[override]
        """More than any message: read(2) and write(2) hand messages over whole."""
        return self.sndbuf + 1

    def _target(self, task: Task, address: bytes | None) -> UnixSocket:
        """Who gets the message."""
        if address is not None:
            return self.find(task, address)
        if self.peer is None:
            raise Errno(ENOTCONN)
        return self.peer

    async def send(
        self, task: Task, data: bytes, flags: int = 0, address: bytes | None = None, extra: Ancillary | None = None
    ) -> int:
        extra = extra or Ancillary()
        try:
            return await self._send(task, data, flags, address, extra)
        finally:
            extra.drop()

    async def _send(self, task: Task, data: bytes, flags: int, address: bytes | None, extra: Ancillary) -> int:
        if flags & MSG_OOB:
            raise Errno(EOPNOTSUPP)
        if address is None and self.peer is None:
            raise Errno(ENOTCONN)
        if len(data) > self.sndbuf - 32:
            raise Errno(EMSGSIZE)
        deadline_ns = self.deadline(self.snd_timeout_ns, flags)
        while self.charged >= self.sndbuf:
            if self.shut & SEND_SHUTDOWN:
                raise Errno(EPIPE)
            await self.wait(self.write_queue, deadline_ns)
        while True:
            if self.shut & SEND_SHUTDOWN:
                raise Errno(EPIPE)
            other = self._target(task, address)
            if self.kind == SOCK_DGRAM:
                may_send(self, other)
            if other.dead:
                self._peer_died(address)
            if other.shut & RCV_SHUTDOWN:
                raise Errno(EPIPE)
            if other.peer is self or len(other.receive) <= other.backlog:
                break
            await self.wait(other.write_queue, deadline_ns)
        paged = min(max(0, len(data) - SKB_MAX_ALLOC) + PAGE_SIZE - 1 & -PAGE_SIZE, MAX_FRAGS_SIZE)
        mine = Ancillary(extra.files, extra.cred)
        extra.files = []
        self.attach_credentials(task, mine, other)
        size = truesize(max(0, len(data) - paged), paged)
        self.charged += size
        other.receive.append(Skb(data, size, self, mine, self.name))
        other.read_queue.wake()
        return len(data)

    def _peer_died(self, address: bytes | None) -> None:
        if self.kind == SOCK_SEQPACKET:
            raise Errno(EPIPE)
        if address is None:
            self.peer = None
            self.state = UNCONNECTED_STATE
        raise Errno(ECONNREFUSED)

    async def recv(self, task: Task, n: int, flags: int = 0) -> Message:
        if flags & MSG_OOB:
            raise Errno(EOPNOTSUPP)
        deadline_ns = self.deadline(self.rcv_timeout_ns, flags)
        while not self.receive:
            error = self.take_error()
            if error:
                raise Errno(error)
            if self.shut & RCV_SHUTDOWN and (self.kind == SOCK_SEQPACKET or deadline_ns != 0):
                return Message(b"", Ancillary())
            await self.wait(self.read_queue, deadline_ns)
        skb = self.receive[0]
        message = Message(skb.data[:n], Ancillary([], skb.extra.cred), skb.name, 0, len(skb.data))
        if len(skb.data) > n:
            message.flags |= MSG_TRUNC
        if flags & MSG_PEEK:
            message.extra.files = [file.get() for file in skb.extra.files]
        else:
            self.receive.popleft()
            message.extra.files, skb.extra.files = skb.extra.files, []
            skb.free()
            self.write_queue.wake()
        return message


class DgramSocket(MessageSocket):
    """A datagram socket; connect only fixes the address."""

    kind = SOCK_DGRAM

    async def connect(self, task: Task, raw: bytes) -> None:
        if len(raw) >= 2 and int.from_bytes(raw[:2], "little") == AF_UNSPEC:
            self.peer = None
            self.state = UNCONNECTED_STATE
            self.wake_all()
            return
        other = self.find(task, raw)
        may_send(self, other)
        self.peer = other
        self.state = ESTABLISHED
        self.wake_all()


class SeqpacketSocket(MessageSocket, ListeningSocket):
    """A connected socket of whole messages."""

    kind = SOCK_SEQPACKET

    async def _send(self, task: Task, data: bytes, flags: int, address: bytes | None, extra: Ancillary) -> int:
        if self.state != ESTABLISHED:
            raise Errno(ENOTCONN)
        if self.peer is None:
            raise Errno(EPIPE)
        return await super()._send(task, data, flags, None, extra)

    async def recv(self, task: Task, n: int, flags: int = 0) -> Message:
        if self.state != ESTABLISHED:
            raise Errno(ENOTCONN)
        return await super().recv(task, n, flags)

