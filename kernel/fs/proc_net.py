"""/proc/<pid>/net: tables without rows, for there is no network but Unix sockets (net/*/proc.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.fs.seqfile import PseudoDir

if TYPE_CHECKING:
    from kernel.fs.inode import SuperBlock

_TCP = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt"
_TCP6 = (
    "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when"
    " retrnsmt   uid  timeout inode\n"
)
_UDP = "  " + _TCP[1:] + "   uid  timeout inode ref pointer drops "
_DEV = (
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier"
    " compressed\n"
    "    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0"
    "          0\n"
)
_TABLES = {
    "dev": _DEV,
    "if_inet6": "",
    "packet": "sk       RefCnt Type Proto  Iface R Rmem   User   Inode\n",
    "route": "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT".ljust(127) + "\n",
    "tcp": (_TCP + "   uid  timeout inode").ljust(149) + "\n",
    "tcp6": _TCP6,
    "udp": _UDP.ljust(127) + "\n",
    "udp6": _TCP6.rstrip("\n") + " ref pointer drops\n",
    "unix": "Num       RefCount Protocol Flags    Type St Inode Path\n",
}


def net_directory(sb: SuperBlock) -> PseudoDir:
    """The directory; one for all processes of a kernel."""
    found = getattr(sb, "net_directory", None)
    if found is None:
        found = PseudoDir(sb)
        for name, text in _TABLES.items():
            found.text(name, text)
        sb.net_directory = found  # type: ignore[attr-defined]
    return found
