"""SOCK_STREAM over AF_UNIX: bytes without boundaries, except around descriptors (unix_stream_read_generic)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import EAGAIN, EINVAL, EISCONN, ENOTCONN, EOPNOTSUPP, EPIPE, Errno
from kernel.fs.pipe import broken_pipe
from kernel.fs.uapi import O_NONBLOCK
from kernel.net.listen import ListeningSocket
from kernel.net.scm import Ancillary
from kernel.net.skb import PAGE_SIZE, SKB_MAX_HEAD, Message, Skb, truesize
from kernel.net.uapi import (
    MSG_NOSIGNAL,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    MSG_WAITALL,
    RCV_SHUTDOWN,
    SEND_SHUTDOWN,
    SOCK_STREAM,
)
from kernel.net.unix import ESTABLISHED

if TYPE_CHECKING:
    from kernel.task.task import Task

FRAGS_SIZE = 32768
"""UNIX_SKB_FRAGS_SZ: the paged part of one buffer."""


class StreamSocket(ListeningSocket):
    """A stream socket."""

    kind = SOCK_STREAM

    # -- sending

    async def send(
        self, task: Task, data: bytes, flags: int = 0, address: bytes | None = None, extra: Ancillary | None = None
    ) -> int:
        extra = extra or Ancillary()
        try:
            done = self._send_now(task, data, flags, address, extra)
            if done == len(data):
                return done
            deadline_ns = self.deadline(self.snd_timeout_ns, flags)
            while done < len(data):
                try:
                    await self.wait(self.write_queue, deadline_ns)
                    done += self._send_now(task, data[done:], flags | (MSG_NOSIGNAL if done else 0), address, extra)
                except Errno:
                    if done:
                        return done
                    raise
            return done
        finally:
            extra.drop()

    def _send_now(self, task: Task, data: bytes, flags: int, address: bytes | None, extra: Ancillary) -> int:
        """Queue as much as the buffer takes; the ancillary data goes with the first of it."""
        if flags & MSG_OOB:
            raise Errno(EOPNOTSUPP)
        if address is not None:
            raise Errno(EISCONN if self.state == ESTABLISHED else EOPNOTSUPP)
        other = self.peer
        if other is None:
            raise Errno(ENOTCONN)
        done, total = 0, len(data)
        while done < total:
            if self.shut & SEND_SHUTDOWN or other.dead or other.shut & RCV_SHUTDOWN:
                if done:
                    return done
                raise Errno(EPIPE) if flags & MSG_NOSIGNAL else broken_pipe(task)
            if self.charged >= self.sndbuf:
                return done
            size = min(total - done, (self.sndbuf >> 1) - 64, SKB_MAX_HEAD + FRAGS_SIZE)
            paged = min(size, max(0, size - SKB_MAX_HEAD) + PAGE_SIZE - 1 & -PAGE_SIZE)
            chunk = data if size == total else data[done:done + size]
            mine = extra
            if done or mine.files or mine.cred:
                mine = Ancillary(extra.files, extra.cred)
                extra.files = []
            self.attach_credentials(task, mine, other)
            skb = Skb(chunk, truesize(size - paged, paged), self, mine, self.name)
            self.charged += skb.size
            other.receive.append(skb)
            done += size
            queue = other.read_queue
            if queue.sleepers or queue.listeners:
                queue.wake()
        return done

    def try_write(self, task: Task, data: bytes, pos: int | None = None) -> int | None:
        if self.charged >= self.sndbuf or len(data) > FRAGS_SIZE:
            return None
        return self._send_now(task, data, 0, None, Ancillary())

    # -- receiving

    async def recv(self, task: Task, n: int, flags: int = 0) -> Message:
        if flags & MSG_OOB:
            raise Errno(EINVAL)
        if self.state != ESTABLISHED:
            raise Errno(EINVAL)
        deadline_ns = self.deadline(self.rcv_timeout_ns, flags)
        target = n if flags & MSG_WAITALL else min(self.rcvlowat, n) or 1
        message = Message(b"", Ancillary())
        parts: list[bytes] = []
        copied = 0
        while True:
            copied = self._take(n, copied, flags, message, parts)
            if copied >= n or message.extra.files or (flags & MSG_PEEK and copied) or message.flags & MSG_TRUNC:
                break
            if copied >= target and copied:
                break
            if self.receive and copied:
                break  # what follows comes from another sender
            if not self.receive:
                error = self.take_error() if not copied else 0
                if error:
                    raise Errno(error)
                if self.shut & RCV_SHUTDOWN:
                    break
                try:
                    await self.wait(self.read_queue, deadline_ns)
                except Errno:
                    if copied:
                        break
                    raise
        message.data = b"".join(parts) if len(parts) != 1 else parts[0]
        message.flags = 0
        message.length = len(message.data)
        return message

    def _take(self, n: int, copied: int, flags: int, message: Message, parts: list[bytes]) -> int:
        """Move queued bytes to ``parts``, up to ``n`` in all; stops behind descriptors and before other senders."""
        queue = self.receive
        index = 0
        while index < len(queue) and (copied < n or (n == 0 and not parts)):
            skb = queue[index]
            if self.pass_credentials:
                if parts and skb.extra.cred != message.extra.cred:
                    break
                message.extra.cred = skb.extra.cred
            if not parts:
                message.name = skb.name
            left = n - copied
            chunk = skb.data[skb.start:skb.start + left] if skb.start or left < len(skb.data) else skb.data
            parts.append(chunk)
            copied += len(chunk)
            files = skb.extra.files
            if flags & MSG_PEEK:
                if files:
                    message.extra.files = [file.get() for file in files]
                    break
                index += 1
                if n == 0:
                    break
                continue
            skb.start += len(chunk)
            skb.extra.files = []
            message.extra.files = files
            if skb.start == len(skb.data):
                queue.popleft()
                self._free(skb)
            elif len(chunk) == 0:
                break
            if files:
                break
        return copied

    def _free(self, skb: Skb) -> None:
        """As Skb.free(), for a buffer whose files have been taken."""
        sender = skb.sender
        sender.charged -= skb.size
        queue = sender.write_queue
        if (queue.sleepers or queue.listeners) and sender.can_send():
            queue.wake()

    def unread(self, data: bytes, done: int) -> int:
        """A buffer leaves the queue when it has been copied whole."""
        if not done and self.peer is not None:
            self.receive.appendleft(Skb(data, 0, self.peer, Ancillary(), self.peer.name))
        return super().unread(data, done)

    def try_read(self, task: Task, n: int, pos: int | None = None) -> bytes | None:
        queue = self.receive
        if queue and n:
            skb = queue[0]
            if len(queue) == 1 and not skb.extra.files and self.state == ESTABLISHED:
                start = skb.start
                if len(skb.data) - start <= n:
                    queue.popleft()
                    self._free(skb)
                    return skb.data[start:] if start else skb.data
                skb.start = start + n
                return skb.data[start:start + n]
            return None
        if not queue and n and self.flags & O_NONBLOCK and not self.shut & RCV_SHUTDOWN and not self.error:
            if self.state != ESTABLISHED:
                raise Errno(EINVAL)
            raise Errno(EAGAIN)
        return None
