"""Reads what the kernel knows about the TCP connections of this machine."""

import socket
import struct
from pathlib import Path
from typing import NamedTuple

ESTABLISHED = "01"


class Held(NamedTuple):
    # Bytes that the owner of the port wrote and its peer has not read, in the buffers of both ends.
    written: int
    # The part of `written` that is in the peer's receive buffer.
    unread: int


def held(port: int) -> Held:
    """Returns the payload bytes in the kernel, for all connections of `port` together."""
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
    """Returns how many TCP segments the peer sent: data, and acknowledgements without data."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
    # The field tcpi_segs_in of Linux's struct tcp_info.
    return struct.unpack_from("I", info, 140)[0]
