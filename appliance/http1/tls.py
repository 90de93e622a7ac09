"""TLS towards upstreams: verified contexts, and a link that speaks TLS over the same socket loop.

The rule: the certificate chain and the host name are always checked; there is no switch to turn that off. The TLS engine works on memory
buffers (ssl.SSLObject), so reading, writing and cancelling are those of the cleartext link.
"""

import contextlib
import socket
import ssl
from collections.abc import Callable

from trio.lowlevel import wait_readable, wait_writable

from appliance.http1.departures import LEAVING_MAX_BYTES
from appliance.http1.link import JOIN_MAX_BYTES, NOTHING_YET, Link
from appliance.http1.traffic import Traffic

# Plain text encrypted at a time, so that no more than this lies encrypted in memory beside a body of megabytes.
_SLICE_BYTES = 65536


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """A client context; build one per backend, as loading certificates takes some 40 ms.

    Args:
        ca_file: PEM file with the authorities to trust, e.g. certifi's; None for the system's store.

    Raises OSError (ssl.SSLError among them) when the file is missing or holds no certificate.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


class TlsLink(Link):
    """A link whose bytes go through TLS. `handshake` first."""

    __slots__ = ("_incoming", "_object", "_outgoing", "_plain")

    def __init__(self, sock: socket.socket, recv_bytes: int, context: ssl.SSLContext, host: str, traffic: Traffic | None = None) -> None:
        super().__init__(sock, recv_bytes, traffic)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._plain: memoryview | None = None  # of the request, not encrypted yet

    async def handshake(self) -> str | None:
        """None when it went well, else why not."""
        while True:
            refusal: str | None = None
            done = True
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                done = False
            except ssl.SSLCertVerificationError as error:
                refusal = f"the certificate was refused: {error.verify_message}"
            except ssl.SSLError as error:
                refusal = f"the handshake failed: {error.reason or type(error).__name__}"
            try:
                await self._write_handshake(self._outgoing.read())
                if done or refusal is not None:
                    return refusal
                await wait_readable(self._sock)
                data = self._sock.recv(self._recv_bytes)
            except BlockingIOError:
                continue
            except OSError:
                return refusal or "the upstream reset the connection during the handshake"
            if not data:
                return "the upstream closed the connection during the handshake"
            self._incoming.write(data)

    def begin(self, head: bytes, body: bytes) -> None:
        self.sent = self.write_failed = False
        size = len(head) + len(body)
        small = size <= LEAVING_MAX_BYTES and self._unsent is None  # a record that was kept back, say of a key update, leaves first
        if small and self._departures is not None and self._departures.running:
            self._encrypt(memoryview(head + body))
            self._parting = self._outgoing.read()
            self._departures.add(self._leave)
            return
        joined = size <= JOIN_MAX_BYTES
        self._plain = memoryview(head + body if joined else body)
        with contextlib.suppress(BlockingIOError):
            if not joined:
                self._encrypt(memoryview(head))
            self._flush()

    async def receive(self) -> bytes:
        while not self.ended:
            if self._incoming.pending:
                data = self._decrypt()
                if data or self.ended:
                    return data
            received = await super().receive()
            if not received:
                self._cut()
                break
            self._incoming.write(received)
        return b""

    def receive_now(self) -> bytes | None:
        """As Link.receive_now; None, too, when a TLS record has come in part, or one that carries nothing for us."""
        received = super().receive_now()
        if received is None:
            return None
        if not received:
            self._cut()
            return b""
        self._incoming.write(received)
        data = self._decrypt()
        return data if data or self.ended else None

    def watch(self, act: Callable[[], None]) -> bool:
        """As Link.watch; not while something received waits to be decrypted, as the socket would not tell of that."""
        return not self._incoming.pending and self._plain is None and super().watch(act)

    def quiet(self) -> bool:
        """As Link.quiet; but session tickets and key updates may come at any time, and only say that the peer is there."""
        if super().quiet():
            return True
        try:
            data = self._sock.recv(self._recv_bytes)
        except OSError:
            return False
        if not data:
            return False
        self._incoming.write(data)
        return not self._decrypt() and not self.ended

    def close(self) -> None:
        """Says goodbye in TLS when the socket takes it at once (RFC 9112 §9.8 asks clients to), and closes."""
        if self._sock.fileno() != -1 and not self.unsent() and self.ended == "":
            with contextlib.suppress(ssl.SSLError, OSError, ValueError):
                try:
                    self._object.unwrap()
                finally:
                    self._sock.send(self._outgoing.read())
        self._plain = None
        super().close()

    def abandon_upload(self) -> None:
        """As Link.abandon_upload."""
        if self._pieces is not None:
            self._plain = None
        super().abandon_upload()

    def _give(self, piece: bytes) -> None:
        self._given += 1
        self._plain = memoryview(piece)
        with contextlib.suppress(BlockingIOError):
            self._flush()

    def _cut(self) -> None:
        """The socket ended without TLS saying so: anybody on the way can do that (RFC 9112 §9.8)."""
        if self.ended == "closed":
            self.ended = "cut"

    def _flush(self) -> None:
        self._leave()
        while True:
            if self._unsent is None:
                if self._plain is not None:
                    rest = self._plain[self._encrypt(self._plain[:_SLICE_BYTES]) :]
                    self._plain = rest if len(rest) and not self.write_failed else None
                if self._outgoing.pending:
                    self._unsent = memoryview(self._outgoing.read())
            if self._unsent is None:
                return
            super()._flush()
            if self.write_failed:
                self._plain = None
                return

    def _encrypt(self, plain: memoryview) -> int:
        try:
            return self._object.write(plain)
        except ssl.SSLError:
            self.write_failed = True
            return 0

    def _decrypt(self) -> bytes:
        """Plain bytes out of what was received, b"" when there are none; sets `ended` at TLS's own end."""
        pieces: list[bytes] = []
        try:
            while True:
                piece = self._object.read(self._recv_bytes)
                if not piece:
                    self.ended = "closed"
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = "closed"
        except ssl.SSLError:
            self.ended = "reset"
        if self._outgoing.pending:  # an answer to a key update, an alert
            with contextlib.suppress(BlockingIOError):
                self._flush()
            if self._pieces is not None and self._unsent is None:
                self._unsent = NOTHING_YET
        return b"".join(pieces)

    async def _write_handshake(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._sock.send(rest) :]
            except BlockingIOError:
                await wait_writable(self._sock)
