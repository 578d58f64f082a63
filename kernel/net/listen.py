"""Sockets that listen, accept and connect: what streams and seqpackets share (unix_listen, unix_stream_connect)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errno import ECONNREFUSED, EINVAL, EISCONN, Errno
from kernel.fs.uapi import O_NONBLOCK, O_RDWR
from kernel.net.scm import ucred_of
from kernel.net.uapi import RCV_SHUTDOWN, SOMAXCONN
from kernel.net.unix import ESTABLISHED, LISTEN, UNCONNECTED_STATE, UnixSocket

if TYPE_CHECKING:
    from kernel.task.task import Task


class ListeningSocket(UnixSocket):
    """Kinds that have connections: stream and seqpacket."""

    def listen(self, task: Task, backlog: int) -> None:
        if self.name is None or self.state == ESTABLISHED:
            raise Errno(EINVAL)
        grown = backlog > self.backlog
        self.backlog = min(backlog & 0xFFFFFFFF, SOMAXCONN)
        self.state = LISTEN
        self.peer_cred, self.peer_groups = ucred_of(task), task.cred.groups
        if grown:
            self.write_queue.wake()

    async def accept(self, task: Task, flags: int) -> UnixSocket:
        if self.state != LISTEN:
            raise Errno(EINVAL)
        deadline_ns = self.deadline(self.rcv_timeout_ns, 0)
        while not self.accepting:
            if self.shut & RCV_SHUTDOWN:
                raise Errno(EINVAL)
            await self.wait(self.read_queue, deadline_ns)
        embryo = self.accepting.popleft()
        embryo.accepted = True
        embryo.flags = O_RDWR | flags & O_NONBLOCK
        self.write_queue.wake()
        return embryo

    async def connect(self, task: Task, raw: bytes) -> None:
        """unix_stream_connect."""
        deadline_ns = self.deadline(self.snd_timeout_ns, 0)
        while True:
            other = self.find(task, raw)
            if other.state != LISTEN or other.shut & RCV_SHUTDOWN:
                raise Errno(ECONNREFUSED)
            if self.state != UNCONNECTED_STATE:
                raise Errno(EISCONN if self.state == ESTABLISHED else EINVAL)
            if len(other.accepting) <= other.backlog:
                break
            await self.wait(other.write_queue, deadline_ns)
        embryo = type(self)(task, 0)
        embryo.accepted = False
        embryo.name = other.name
        embryo.bound = None
        embryo.pass_credentials = other.pass_credentials
        embryo.peer, self.peer = self, embryo
        embryo.state = self.state = ESTABLISHED
        embryo.peer_cred, embryo.peer_groups = ucred_of(task), task.cred.groups
        self.peer_cred, self.peer_groups = other.peer_cred, other.peer_groups
        other.accepting.append(embryo)
        other.read_queue.wake()
        self.wake_all()
