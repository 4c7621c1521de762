"""A network link of this machine to itself that can delay packets, lose them, or be cut.

The link is a tunnel device. This program reads each packet sent to `far` and returns it as if `far` had sent it to
`near`, late or not at all. It needs no kernel module and no namespace. The device disappears with the process.
"""

import fcntl
import os
import random
import select
import socket
import struct
import threading
import time
from collections import deque
from contextlib import suppress

# Constants of Linux, from if_tun.h and sockios.h.
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK, IFF_UP = 0x8914, 0x8916, 0x891C, 0x1


class Link:
    """Delays each packet by `delay` seconds, and loses a share of `loss` of them. Needs root."""

    def __init__(self, delay: float = 0.0, loss: float = 0.0):
        self.delay, self.loss = delay, loss
        self.passed = self.lost = 0
        self._up, self._over = True, False
        # The seed is fixed, so that each run loses the same packets.
        self._chance = random.Random(1)
        self._device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        try:
            self.near, self.far = self._configure()
        except OSError:
            os.close(self._device)
            raise
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def _configure(self) -> tuple[str, str]:
        wanted = struct.pack("16sH22x", b"weir%d", IFF_TUN | IFF_NO_PI)
        name = fcntl.ioctl(self._device, TUNSETIFF, wanted)[:16]
        # From the address block for network tests (RFC 2544). The device number is unique while the device exists.
        block = f"198.18.{int(name.strip(bytes(1)).removeprefix(b'weir'))}"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            for request, address in ((SIOCSIFADDR, f"{block}.1"), (SIOCSIFNETMASK, "255.255.255.252")):
                packed = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))
                fcntl.ioctl(control, request, struct.pack("16s16s8x", name, packed))
            fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", name, IFF_UP))
        return f"{block}.1", f"{block}.2"

    def across(self, url: str) -> str:
        """Returns `url` with `near` replaced by `far`, so that requests go through the link."""
        return url.replace(self.near, self.far)

    def cut(self) -> None:
        """Loses all packets from now on, without any error to either side."""
        self._up = False

    def mend(self) -> None:
        self._up = True

    def _carry(self) -> None:
        under_way: deque[tuple[float, bytes]] = deque()
        while not self._over:
            now = time.monotonic()
            while under_way and under_way[0][0] <= now:
                self._arrives(under_way.popleft()[1])
            wait = under_way[0][0] - now if under_way else 0.05
            if not select.select([self._device], [], [], max(0.0, min(wait, 0.05)))[0]:
                continue
            packet = os.read(self._device, 65536)
            # Ignores the kernel's IPv6 router solicitations.
            if packet[0] >> 4 == 4:
                under_way.append((time.monotonic() + self.delay, packet))

    def _arrives(self, packet: bytes) -> None:
        if not self._up or self._chance.random() < self.loss:
            self.lost += 1
            return
        self.passed += 1
        # Swaps source and destination addresses. Checksums stay valid, because they do not depend on the order.
        with suppress(OSError):
            os.write(self._device, packet[:12] + packet[16:20] + packet[12:16] + packet[20:])

    def close(self) -> None:
        self._over = True
        self._thread.join(5)
        os.close(self._device)
