"""Certificates for the tests, and TLS for scripted servers."""

import socket
import ssl
import threading
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import trustme


class Files(NamedTuple):
    """The files of a certificate chain and its key, for Weir's configuration."""

    cert: str
    key: str


class Authority:
    """A certificate authority made for the test run."""

    def __init__(self) -> None:
        self._ca = trustme.CA()

    def file(self, folder: Path) -> str:
        """Writes the authority's own certificate, and returns its path."""
        path = folder / f"ca-{id(self)}.pem"
        self._ca.cert_pem.write_to_path(path)
        return str(path)

    def issue(self, folder: Path, *names: str, until: datetime | None = None) -> Files:
        """Issues a certificate for `names`, or for localhost. Replaces earlier files in the same folder."""
        leaf = self._ca.issue_cert(*(names or ("localhost", "127.0.0.1")), not_after=until)
        files = Files(str(folder / "cert.pem"), str(folder / "key.pem"))
        for path, blobs in ((files.cert, leaf.cert_chain_pems), (files.key, [leaf.private_key_pem])):
            fresh = Path(f"{path}.new")
            fresh.write_bytes(b"".join(blob.bytes() for blob in blobs))
            fresh.rename(path)
        return files

    def client(self, *protocols: str, own: Files | None = None) -> ssl.SSLContext:
        """Returns a client context that trusts this authority, offers `protocols` and presents `own`."""
        context = ssl.create_default_context()
        self._ca.configure_trust(context)
        if protocols:
            context.set_alpn_protocols(protocols)
        if own:
            context.load_cert_chain(own.cert, own.key)
        return context

    def server(self, files: Files, ask: bool = False) -> ssl.SSLContext:
        """Returns a server context with that certificate. With `ask`, clients must present one of this authority."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(files.cert, files.key)
        if ask:
            context.verify_mode = ssl.CERT_REQUIRED
            self._ca.configure_trust(context)
        return context


class TlsSocket:
    """The server's end of a TLS connection that one thread reads and another writes.

    `ssl.SSLSocket` must not be used by two threads at once. Here a lock protects the TLS state.
    """

    def __init__(self, accepted: socket.socket, context: ssl.SSLContext):
        self._socket = accepted
        self._lock = threading.Lock()
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_side=True)

    def _flush(self) -> None:
        if waiting := self._out.read():
            self._socket.sendall(waiting)

    def recv(self, size: int) -> bytes:
        while True:
            with self._lock:
                try:
                    return self.tls.read(size)
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLZeroReturnError:
                    return b""
                finally:
                    self._flush()
            got = self._socket.recv(size)
            if not got:
                return b""
            with self._lock:
                self._in.write(got)

    def sendall(self, data: bytes) -> None:
        with self._lock:
            self.tls.write(data)
            self._flush()

    def shutdown(self, how: int) -> None:
        self._socket.shutdown(how)

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        self._socket.setsockopt(level, option, value)

    def close(self) -> None:
        self._socket.close()
