"""An upstream that does what a script says, on real sockets: each connection runs the script with a `Peer`."""

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio
import trio.lowlevel

from appliance.http1.arrivals import Arrivals
from appliance.http1.client import Http1Transport
from appliance.http1.departures import Departures
from appliance.http1.origin import Origin
from appliance.http1.traffic import Traffic
from appliance.http1.transport import Exchange, Failure, TransportLimits, UpstreamRequest

HEADERS = b"host: upstream\r\nx-test: 1\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
PATIENCE_S = 120.0  # for all that a test does with one upstream; only one that hangs takes so long
PATIENT = {"connect_s": PATIENCE_S, "queue_s": PATIENCE_S, "stale_s": PATIENCE_S}  # limits that a busy machine may not meet


class Peer:
    """The server's end of one connection."""

    def __init__(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream], index: int) -> None:
        self.stream = stream
        self.index = index
        self.requests = 0
        self.ended = trio.Event()
        self._buffer = bytearray()

    async def request(self) -> bytes:
        """One whole request as it came; b"" when the client has closed."""
        head = await self.head()
        if not head:
            return b""
        length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
        size = len(head) + 4 + length
        while len(self._buffer) < size:
            if not await self._more():
                return b""
        request = bytes(self._buffer[:size])
        del self._buffer[:size]
        self.requests += 1
        return request

    async def head(self) -> bytes:
        """The head alone; the body stays unread. b"" when the client has closed."""
        while b"\r\n\r\n" not in self._buffer:
            if not await self._more():
                return b""
        return bytes(self._buffer.partition(b"\r\n\r\n")[0])

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def trickle(self, data: bytes, step: int = 1) -> None:
        """In pieces of `step` bytes, each in a packet of its own."""
        for start in range(0, len(data), step):
            await self.stream.send_all(data[start : start + step])
            await trio.lowlevel.checkpoint()

    async def eof(self) -> None:
        """Returns once the client has closed."""
        while await self._more():
            pass

    def reset(self) -> None:
        """RST."""
        sock = self.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    def socket(self) -> trio.socket.SocketType:
        stream = self.stream
        return stream.transport_stream.socket if isinstance(stream, trio.SSLStream) else stream.socket

    async def _more(self) -> bool:
        try:
            data = await self.stream.receive_some(65536)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        if not data:
            self.ended.set()
        self._buffer += data
        return bool(data)


Script = Callable[[Peer], Awaitable[None]]


class Upstream:
    """A running scripted server."""

    def __init__(self, script: Script, scheme: str, name: str, tls: ssl.SSLContext | None) -> None:
        self.peers: list[Peer] = []
        self.transports: list[Http1Transport] = []
        self.script = script
        self.scheme, self.name, self.tls = scheme, name, tls
        self.port = 0
        self.departures = Departures()

    async def handle(self, stream: trio.SocketStream) -> None:
        side: trio.SocketStream | trio.SSLStream[trio.SocketStream] = stream
        if self.tls is not None:
            side = trio.SSLStream(stream, self.tls, server_side=True)  # strict: says goodbye and misses the client's
        peer = Peer(side, len(self.peers))
        self.peers.append(peer)
        try:
            await self.script(peer)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            peer.ended.set()

    def origin(self, path: str = "") -> Origin:
        origin = Origin.parse(f"{self.scheme}://{self.name}:{self.port}{path}")
        assert isinstance(origin, Origin)
        return origin

    def transport(self, tls: ssl.SSLContext | None = None, arrivals: Arrivals | None = None, **limits: float) -> Http1Transport:
        """A transport to here, shut down at the end so that the sockets left then are leaks. Its small requests leave together."""
        traffic = Traffic(Arrivals() if arrivals is None else arrivals, self.departures)
        bounds = TransportLimits(**{**PATIENT, **limits})  # type: ignore[arg-type]
        transport = Http1Transport(self.origin(), bounds, tls, traffic)
        self.transports.append(transport)
        return transport


@asynccontextmanager
async def upstream(
    script: Script, tls: ssl.SSLContext | None = None, name: str = "127.0.0.1", patience_s: float = PATIENCE_S
) -> AsyncIterator[Upstream]:
    server = Upstream(script, "https" if tls else "http", name, tls)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(partial(trio.serve_listeners, server.handle, listeners, handler_nursery=nursery))
        nursery.start_soon(server.departures.run)
        while not server.departures.running:
            await trio.lowlevel.checkpoint()
        with trio.fail_after(patience_s):
            yield server
        for transport in server.transports:
            await transport.aclose()
        nursery.cancel_scope.cancel()


async def serve_ok(peer: Peer) -> None:
    """Answers every request with OK."""
    while await peer.request():
        await peer.send(OK)


def post(body: bytes = b"{}", target: bytes = b"/v1/chat/completions") -> UpstreamRequest:
    return UpstreamRequest(b"POST", target, HEADERS, body)


async def whole(exchange: Exchange | Failure) -> bytes | Failure:
    """The body to its end, or the failure on the way."""
    if isinstance(exchange, Failure):
        return exchange
    pieces = b""
    while True:
        data = await exchange.read()
        if isinstance(data, Failure):
            return data
        if not data:
            assert await exchange.read() == b""
            return pieces
        pieces += data
