"""The event bits of poll(2) and epoll(7) (include/uapi/linux/eventpoll.h)."""

from __future__ import annotations

POLLIN = 0x001
POLLPRI = 0x002
POLLOUT = 0x004
POLLERR = 0x008
POLLHUP = 0x010
POLLNVAL = 0x020
POLLRDNORM = 0x040
POLLRDBAND = 0x080
POLLWRNORM = 0x100
POLLWRBAND = 0x200
POLLMSG = 0x400
POLLRDHUP = 0x2000

EPOLLEXCLUSIVE = 1 << 28
EPOLLWAKEUP = 1 << 29
EPOLLONESHOT = 1 << 30
EPOLLET = 1 << 31

ALWAYS = POLLERR | POLLHUP
"""Reported whether asked for or not."""
ALL = 0x27FF
"""Every bit that a file can report."""
ALWAYS_READY = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM
"""What files that never block report (DEFAULT_POLLMASK)."""
