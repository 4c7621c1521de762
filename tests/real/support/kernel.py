"""What does the kernel do about this machine's TCP connections?"""

import socket
import struct
from pathlib import Path
from typing import NamedTuple

ESTABLISHED = "01"


class Held(NamedTuple):
    # Written by the side that owns the port, and not read by the other: on both ends.
    written: int
    # Of this, what has arrived at the other end.
    unread: int


def held(port: int) -> Held:
    """Bytes of payload, of all connections of `port` together."""
    written = unread = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, queues = line.split()[:5]
        if state != ESTABLISHED:
            continue
        sent, received = (int(part, 16) for part in queues.split(":"))
        if int(local.rpartition(":")[2], 16) == port:
            written += sent
        elif int(remote.rpartition(":")[2], 16) == port:
            written += received
            unread += received
    return Held(written, unread)


def segments_received(connection: socket.socket) -> int:
    """TCP segments that the other end sent: data, and acknowledgements on their own."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
    # tcpi_segs_in of Linux's struct tcp_info.
    return struct.unpack_from("I", info, 140)[0]
