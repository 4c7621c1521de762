"""Tests that an upload which the agent does not take is bounded, and ends with its client."""

import threading
import time

import pytest

from support.raw import Raw
from support.wait import until


def body_stuck(upstream):
    """Starts an upstream that reads only the head, so that the upload stops when the buffers are full."""

    class Stuck:
        pass

    import socket

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck = Stuck()
    stuck.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    stuck.accepted = []

    def accept():
        while True:
            try:
                stuck.accepted.append(listener.accept()[0])
            except OSError:
                return

    threading.Thread(target=accept, daemon=True).start()
    stuck.close = listener.close
    return stuck


def unread(client):
    """Returns the client's bytes that wait in the kernel for Weir."""
    (own, port), (other, at) = client.socket.getsockname(), client.socket.getpeername()
    with open("/proc/net/tcp") as table:
        for line in table:
            fields = line.split()
            if fields[1].endswith(f":{at:04X}") and fields[2].endswith(f":{port:04X}"):
                return int(fields[4].split(":")[1], 16)
    return 0


@pytest.mark.parametrize("leaves", ["fin", "rst", "rst behind a full window"])
def test_a_client_that_leaves_while_its_upload_is_stuck(weir, leaves):
    """Client gone -> upstream connection closed within 1 s in every phase. A FIN follows all bytes that were sent, so
    it arrives only once the window has room for them."""
    stuck = body_stuck(None)
    proxy = weir(stuck.url)
    size = 50 * 1024 * 1024
    client = Raw(proxy.url)
    client.socket.sendall(
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {size}\r\n\r\n".encode()
    )
    client.socket.settimeout(1.0)
    waiting = 0
    try:
        while waiting < 20 or "full" in leaves:
            if not waiting or "full" in leaves:
                client.socket.send(b"x" * 16384)
            # If Weir still reads, it does so at once.
            time.sleep(0.01 if waiting else 0)
            waiting = waiting + 1 if unread(client) else 0
    except TimeoutError:
        pass
    until("accepted", lambda: stuck.accepted)
    left = time.monotonic()
    if leaves == "fin":
        client.close()
    else:
        client.reset()
    load = lambda: proxy.metrics().value("weir_connections_active")
    # The upstream cannot see the end, because its buffer is full. So Weir's own connections are counted.
    until("the connection of the client is gone", lambda: load() == 0, within=4)
    assert time.monotonic() - left < 1.1
    stuck.close()


def test_an_upload_that_the_upstream_does_not_take_is_bounded(weir):
    """Everything is bounded in time. `request_body` bounds the time without progress of the body."""
    stuck = body_stuck(None)
    proxy = weir(
        stuck.url,
        limits={"request_body": "500ms"},
        defaults={"deadlines": {"head": "500ms", "first_event": "500ms"}},
    )
    client = Raw(proxy.url)
    client.socket.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 50000000\r\n\r\n"
    )
    client.socket.settimeout(1.0)
    try:
        while True:
            client.socket.send(b"x" * 65536)
    except OSError:
        # The response came and the connection was closed during the upload.
        pass
    client.socket.settimeout(5)
    client.read_head()
    assert client.status == 504
    assert b"head_timeout" in client.read_body()
    client.close()
    stuck.close()
