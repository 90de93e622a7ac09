"""Connections of the Hypercorn engine end when they must, and quietly: a malformed message behind an answer under way cuts that answer and
nothing else, and an answer that leaves its request's body unread does not keep its connection.
"""

import contextlib
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
import trio.testing

from appliance.config.doors import ServerLimits
from appliance.http1.asgi import App
from appliance.server.hypercorn_engine import HypercornServer

UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
NO_CHUNK = b"zz\r\n"
LAST_CHUNK = b"0\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
PIECE = b"x" * 20
WAIT_S = 30.0
RESET = struct.pack("ii", 1, 0)
CUTS = 60
"""One in five of these met the application just as it was about to send."""
QUEUED = 30
"""Pieces of a body that nobody reads: three times what Hypercorn queues for one application."""


@attrs.define
class Served:
    server: HypercornServer
    address: Any
    errors: list[BaseException]

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(*self.address)

    async def all_closed(self) -> None:
        with trio.fail_after(WAIT_S):
            while self.server.connections_open:  # noqa: ASYNC110 - a condition of the system under test, not of ours to signal
                await trio.sleep(0.002)


@asynccontextmanager
async def serving(app: App) -> AsyncGenerator[Served]:
    errors: list[BaseException] = []
    server = HypercornServer(app, ServerLimits(), "", "", lambda error, _: errors.append(error), lambda *_: None)
    door = socket.create_server(("127.0.0.1", 0))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, [door])
        yield Served(server, door.getsockname(), errors)
        server.cut()


async def endless(scope: Any, receive: Any, send: Any) -> None:
    """Streams until its client is gone, and is runnable at almost every turn of the event loop."""

    async def stream() -> None:
        while True:
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
            await trio.lowlevel.checkpoint()

    await send({"type": "http.response.start", "status": 200, "headers": []})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream)
        while (await receive())["type"] != "http.disconnect":
            pass
        nursery.cancel_scope.cancel()


@attrs.define
class Unread:
    """Answers as many bytes as the path says once a part of the request's body has been sent, and reads nothing of it."""

    sent: trio.Event = attrs.field(factory=trio.Event)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        await self.sent.wait()
        body = bytes(int(scope["path"][1:]))
        await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    async def upload(self, stream: trio.SocketStream, path: str) -> None:
        """The first pieces of a body that nobody reads, each in a segment of its own."""
        await stream.send_all(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n".encode())
        for _ in range(QUEUED):
            await stream.send_all(b"piece")
            await trio.sleep(0.001)
        await trio.testing.wait_all_tasks_blocked(0.01)  # the server has taken what it takes
        self.sent.set()


async def rest(stream: trio.SocketStream) -> bytes:
    """What comes until the connection ends, however it ends."""
    seen = b""
    with trio.fail_after(WAIT_S), contextlib.suppress(trio.BrokenResourceError):
        while piece := await stream.receive_some(65536):
            seen += piece
    return seen


async def test_a_malformed_rest_cuts_the_answer_under_way_visibly_and_is_nobodys_bug() -> None:
    async with serving(endless) as served, await served.connect() as bystander:
        await bystander.send_all(GET)
        assert (await bystander.receive_some(4096)).startswith(b"HTTP/1.1 200")
        for _ in range(CUTS):
            async with await served.connect() as stream:
                await stream.send_all(UPLOAD)
                await stream.receive_some(1)
                await stream.send_all(NO_CHUNK)
                assert not (await rest(stream)).endswith(LAST_CHUNK)
        with trio.fail_after(WAIT_S):
            for _ in range(1000):
                assert PIECE[:1] in await bystander.receive_some(4096)
        await bystander.aclose()
        await served.all_closed()
        assert served.errors == []


async def test_a_malformed_rest_before_the_answer_is_a_400_that_ends_the_connection() -> None:
    async def late(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": PIECE})

    async with serving(late) as served, await served.connect() as stream:
        await stream.send_all(UPLOAD + NO_CHUNK)
        answer = await rest(stream)
        assert answer.startswith(b"HTTP/1.1 400")
        assert PIECE not in answer
        await served.all_closed()
        assert served.errors == []


async def test_an_answer_that_left_the_requests_body_unread_does_not_keep_its_connection() -> None:
    unread = Unread()
    async with serving(unread.app) as served:
        async with await served.connect() as stream:
            await unread.upload(stream, "/2")
            assert await stream.receive_some(12) == b"HTTP/1.1 413"
        await served.all_closed()
        assert served.errors == []


async def test_a_client_that_leaves_during_an_answer_that_reads_nothing_does_not_keep_its_connection() -> None:
    unread = Unread()
    async with serving(unread.app) as served:
        stream = await served.connect()
        await unread.upload(stream, "/30000000")  # more than any socket buffer takes
        assert await stream.receive_some(12) == b"HTTP/1.1 413"
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        await stream.aclose()
        await served.all_closed()
        assert served.errors == []


async def test_after_its_answer_an_application_hears_that_the_request_is_over() -> None:
    heard: list[str] = []
    unread = Unread()

    async def curious(scope: Any, receive: Any, send: Any) -> None:
        await unread.app({"path": "/2"}, receive, send)
        with trio.fail_after(WAIT_S):
            while (message := await receive())["type"] != "http.disconnect":
                assert message["body"] == b"piece"
        heard.append((await receive())["type"])

    async with serving(curious) as served, await served.connect() as stream:
        await unread.upload(stream, "/")
        await rest(stream)
        await served.all_closed()
        assert (heard, served.errors) == (["http.disconnect"], [])
