"""The server engine on a real socket, and clients that write raw bytes, for the tests of this folder."""

import os
import socket
import struct
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import h11
import trio

from appliance.http1.asgi import App
from appliance.http1.departures import Departures
from appliance.http1.refusal import plain_text_refusal
from appliance.http1.server import Server
from appliance.http1.server_limits import ServerLimits

QUICK = ServerLimits(sweep_s=0.02)
PATIENCE_S = 12.0  # for what must come, however busy the machine is; less than header_read_s, so that the end of a time limit is no answer
TEST_S = 300.0  # for all that a test does with one server
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def get(path: str, *headers: str) -> bytes:
    return "".join([f"GET {path} HTTP/1.1\r\nHost: x\r\n", *(h + "\r\n" for h in headers), "\r\n"]).encode()


def post(body: bytes, *headers: str) -> bytes:
    lines = [f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n", *(h + "\r\n" for h in headers), "\r\n"]
    return "".join(lines).encode() + body


@attrs.define
class Answer:
    status: int
    headers: dict[bytes, bytes]
    body: bytes


@attrs.define
class Client:
    """A client that decides about every byte. `answer` reads one response through h11, `rest` whatever comes until the end."""

    stream: trio.SocketStream
    _parser: h11.Connection = attrs.field(factory=lambda: h11.Connection(h11.CLIENT))
    _fresh: bool = True

    @property
    def sock(self) -> trio.socket.SocketType:
        return self.stream.socket

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def answer(self, method: str = "GET") -> Answer:
        with trio.fail_after(PATIENCE_S):
            if self._parser.our_state is h11.DONE:
                self._parser.start_next_cycle()
            self._parser.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
            self._parser.send(h11.EndOfMessage())
            status, headers, body = 0, {}, b""
            while True:
                event = self._parser.next_event()
                if event is h11.NEED_DATA:
                    self._parser.receive_data(await self.stream.receive_some(65536))
                elif isinstance(event, h11.InformationalResponse):
                    raise AssertionError(f"an interim answer {event.status_code}")
                elif isinstance(event, h11.Response):
                    status, headers = event.status_code, dict(event.headers)
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    return Answer(status, headers, body)
                else:
                    raise AssertionError(f"the connection ended early: {event}")

    async def ask(self, request: bytes, method: str = "GET") -> Answer:
        await self.send(request)
        return await self.answer(method)

    async def rest(self) -> tuple[bytes, bool]:
        """Everything until the end of the connection, and whether that was a reset."""
        data = b""
        with trio.fail_after(PATIENCE_S):
            try:
                while piece := await self.stream.receive_some(65536):
                    data += piece
            except trio.BrokenResourceError:
                return data, True
        return data, False

    async def some(self, until: bytes) -> bytes:
        data = b""
        with trio.fail_after(PATIENCE_S):
            while until not in data:
                piece = await self.stream.receive_some(65536)
                assert piece, f"ended after {data!r}"
                data += piece
        return data

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


@attrs.define
class Served:
    server: Server
    address: Any
    errors: list[Exception]
    refusals: list[tuple[int, str]]
    door: socket.socket
    departures: Departures
    clients: list[Client] = attrs.field(factory=list)

    async def connect(self, *, receive_buffer_bytes: int | None = None) -> Client:
        family = socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET
        sock = trio.socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        if family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await sock.connect(self.address)
        client = Client(trio.SocketStream(sock))
        self.clients.append(client)
        return client


@asynccontextmanager
async def serving(
    app: App, limits: ServerLimits = QUICK, *, path: str | None = None, lifespan_state: dict[str, Any] | None = None,
    departures: Departures | None = None, departing: bool = True,
) -> AsyncGenerator[Served]:  # fmt: skip
    """A running server; at the end it must stop by itself once it is cut, whatever the test left open. Its `departures` run while it does,
    unless they are not to be `departing` or do so elsewhere."""
    if path is None:
        door = socket.create_server(("127.0.0.1", 0), backlog=limits.backlog)
    else:
        door = socket.socket(socket.AF_UNIX)
        door.bind(path)
        door.listen()
    errors: list[Exception] = []
    refusals: list[tuple[int, str]] = []
    departures = departures or Departures(errors.append)
    server = Server(
        app,
        limits,
        render_refusal=plain_text_refusal,
        on_error=lambda error, _: errors.append(error),
        on_refusal=lambda status, reason: refusals.append((status, reason)),
        lifespan_state=lifespan_state,
        departures=departures,
    )
    served = Served(server, door.getsockname(), errors, refusals, door, departures)
    with trio.fail_after(TEST_S):
        async with trio.open_nursery() as nursery:
            if departing:
                nursery.start_soon(departures.run)
            await nursery.start(server.serve, [door])
            try:
                yield served
            finally:
                for client in served.clients:
                    client.sock.close()
                server.cut()
                await server.wait_idle()
                nursery.cancel_scope.cancel()


async def eventually(true: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    with trio.fail_after(within_s):
        while not true():  # noqa: ASYNC110 - a condition of the system under test, not of ours to signal
            await trio.sleep(0.002)


async def body_of(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        body += message["body"]
        if not message["more_body"]:
            return body


async def reply(send: Any, body: bytes, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers or []})
    await send({"type": "http.response.body", "body": body})


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with method, path and the request's body."""
    body = await body_of(receive)
    await reply(send, b"%b %b %b" % (scope["method"].encode(), scope["path"].encode(), body))


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))
