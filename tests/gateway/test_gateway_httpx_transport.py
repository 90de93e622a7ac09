"""The httpx adapter keeps the transport protocol's promises over HTTP/1.1, HTTP/2 and a proxy."""

import contextlib
import json
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import hypercorn.trio
import pytest
import trio
import trio.testing
import trustme
from hypercorn.config import Config
from scripted_upstream import OK, PATIENCE_S, PATIENT, Peer, Upstream, serve_ok, upstream, whole

from appliance.gateway.httpx_failure import failure_of
from appliance.gateway.httpx_transport import HttpxTransport, httpx_transport
from appliance.gateway.trust import BadTrust, upstream_tls
from appliance.http1.origin import Origin
from appliance.http1.transport import Failure, PoolStats, TransportLimits, UpstreamRequest

HEADERS = b"host: upstream.example\r\nauthorization: Bearer sk-1\r\nx-Test: a b\r\n"


def post(target: bytes = b"/echo", body: bytes = b"{}") -> UpstreamRequest:
    return UpstreamRequest(b"POST", target, HEADERS, body)


@attrs.define
class App:
    """An ASGI application that shows what arrived, streams on command, and notices who left."""

    version: str = ""
    go: trio.Semaphore = attrs.field(factory=lambda: trio.Semaphore(0))
    started: trio.Semaphore = attrs.field(factory=lambda: trio.Semaphore(0))
    left: trio.Semaphore = attrs.field(factory=lambda: trio.Semaphore(0))

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        if scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                assert (await receive())["type"] == f"lifespan.{event}"
                await send({"type": f"lifespan.{event}.complete"})
            return
        self.version = scope["http_version"]
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        self.started.release()
        path = scope["path"]
        if path == "/silent":
            assert (await receive())["type"] == "http.disconnect"
            self.left.release()
        elif path == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
            await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
            async with trio.open_nursery() as nursery:

                async def notice() -> None:
                    assert (await receive())["type"] == "http.disconnect"
                    self.left.release()
                    nursery.cancel_scope.cancel()

                nursery.start_soon(notice)
                await self.go.acquire()
                await send({"type": "http.response.body", "body": b"data: 2\n\n", "more_body": False})
                nursery.cancel_scope.cancel()
        elif path == "/gzip":
            await answer(send, 200, zlib.compress(b"x" * 1000, wbits=31), [(b"Content-Encoding", b"gzip")])
        elif path == "/long":
            await answer(send, 200, b"x" * 100_000, [])
        elif path == "/heads":
            await answer(send, 200, b"", [(b"x-%d" % n, b"v" * 100) for n in range(20)])
        elif path == "/429":
            await answer(send, 429, b"slow down", [(b"retry-after", b"7")])
        else:
            shown = {
                "method": scope["method"],
                "target": scope["raw_path"].decode() + "?" + scope["query_string"].decode(),
                "headers": [[name.decode(), value.decode()] for name, value in scope["headers"]],
                "body": body.decode("latin-1"),
            }
            await answer(send, 200, json.dumps(shown).encode(), [])


async def answer(send: Callable[[Any], Awaitable[None]], status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, str]:
    """A private authority and the file a backend's `ca` would name."""
    ca = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return ca, str(path)


def trust(path: str) -> ssl.SSLContext:
    context = upstream_tls(path)
    assert isinstance(context, ssl.SSLContext)
    return context


@attrs.define
class Served:
    app: App
    transport: HttpxTransport
    port: int


@asynccontextmanager
async def serving(
    authority: tuple[trustme.CA, str], directory: Path, *, http2: bool, name: str = "localhost", **limits: float
) -> AsyncIterator[Served]:
    """The app behind Hypercorn with TLS, and the adapter in front, its upkeep running."""
    app = App()
    leaf = authority[0].issue_cert(name)
    (directory / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    (directory / "key.pem").write_bytes(leaf.private_key_pem.bytes())
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.certfile, config.keyfile = str(directory / "cert.pem"), str(directory / "key.pem")
    config.errorlog = None
    config.graceful_timeout = 0.1
    async with trio.open_nursery() as nursery:
        binds = await nursery.start(hypercorn.trio.serve, app, config)
        port = int(binds[0].rsplit(":", 1)[1])
        origin = Origin.parse(f"https://localhost:{port}")
        assert isinstance(origin, Origin)
        bounds = TransportLimits(**{**PATIENT, **limits})  # type: ignore[arg-type]
        transport = httpx_transport(origin, bounds, trust(authority[1]), http2=http2, proxy=None)
        nursery.start_soon(transport.keep)
        with trio.fail_after(PATIENCE_S):
            yield Served(app, transport, port)
        with trio.move_on_after(0):
            await transport.aclose()
        nursery.cancel_scope.cancel()


BOTH = pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])


@BOTH
async def test_a_request_arrives_verbatim_and_its_answer_too(authority: tuple[trustme.CA, str], tmp_path: Path, http2: bool) -> None:
    async with serving(authority, tmp_path, http2=http2) as served:
        for number in range(3):
            exchange = await served.transport.send(post(b"/echo/a%2Fb;c?d={e}&f=%20", bytes(range(256)) * 500))
            assert not isinstance(exchange, Failure)
            assert exchange.status == 200
            assert exchange.reused == (number > 0)
            assert (exchange.connect_s > 0) == (number == 0)
            body = await whole(exchange)
            assert isinstance(body, bytes)
            seen = json.loads(body)
            assert (seen["method"], seen["target"]) == ("POST", "/echo/a%2Fb;c?d={e}&f=%20")
            assert seen["body"].encode("latin-1") == bytes(range(256)) * 500
            names = [name for name, _ in seen["headers"]]
            assert ["x-test", "a b"] in seen["headers"]
            assert ["authorization", "Bearer sk-1"] in seen["headers"]
            assert not {"user-agent", "accept", "accept-encoding", "cookie"} & set(names)
            assert names.count("content-length") == 1
        assert served.app.version == ("2" if http2 else "1.1")
        assert served.transport.stats() == PoolStats(0, 0, 0)


@BOTH
async def test_content_encoding_is_left_alone(authority: tuple[trustme.CA, str], tmp_path: Path, http2: bool) -> None:
    async with serving(authority, tmp_path, http2=http2) as served:
        exchange = await served.transport.send(post(b"/gzip"))
        assert not isinstance(exchange, Failure)
        assert (b"content-encoding", b"gzip") in exchange.headers
        body = await whole(exchange)
        assert isinstance(body, bytes)
        assert zlib.decompress(body, wbits=31) == b"x" * 1000


@BOTH
async def test_errors_of_the_upstream_are_answers(authority: tuple[trustme.CA, str], tmp_path: Path, http2: bool) -> None:
    async with serving(authority, tmp_path, http2=http2) as served:
        exchange = await served.transport.send(post(b"/429"))
        assert not isinstance(exchange, Failure)
        assert (exchange.status, await whole(exchange)) == (429, b"slow down")
        assert (b"retry-after", b"7") in exchange.headers


@BOTH
async def test_body_bytes_come_as_soon_as_there_are_any(authority: tuple[trustme.CA, str], tmp_path: Path, http2: bool) -> None:
    async with serving(authority, tmp_path, http2=http2) as served:
        exchange = await served.transport.send(post(b"/stream"))
        assert not isinstance(exchange, Failure)
        assert await exchange.read() == b"data: 1\n\n"
        served.app.go.release()
        assert await whole(exchange) == b"data: 2\n\n"


@BOTH
@pytest.mark.parametrize("where", ["head", "body", "close"])
async def test_an_abandoned_request_is_heard_of_by_the_server_at_once(
    authority: tuple[trustme.CA, str], tmp_path: Path, http2: bool, where: str
) -> None:
    async with serving(authority, tmp_path, http2=http2) as served:
        assert not isinstance(await whole(await served.transport.send(post())), Failure)
        await served.app.started.acquire()
        for _ in range(3):
            if where == "head":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(served.transport.send, post(b"/silent"))
                    await served.app.started.acquire()
                    nursery.cancel_scope.cancel()
            else:
                exchange = await served.transport.send(post(b"/stream"))
                await served.app.started.acquire()
                assert not isinstance(exchange, Failure)
                assert await exchange.read() == b"data: 1\n\n"
                if where == "body":
                    with trio.move_on_after(0.02):
                        await exchange.read()
                else:
                    exchange.close()
                    exchange.close()
                failure = await exchange.read()
                assert isinstance(failure, Failure)
                assert failure.kind == "closed"
            left_time = trio.current_time()
            await served.app.left.acquire()
            assert trio.current_time() - left_time < 1.0
            assert served.transport.stats() == PoolStats(0, 0, 0)
        assert not isinstance(await whole(await served.transport.send(post())), Failure)


async def test_abandoned_h2_streams_do_not_use_up_the_connection(authority: tuple[trustme.CA, str], tmp_path: Path) -> None:
    """Without resets the hundred-and-first open stream fails in the library, or waits for ever."""
    async with serving(authority, tmp_path, http2=True) as served:
        for number in range(220):
            exchange = await served.transport.send(post(b"/long" if number % 2 else b"/stream"))
            assert not isinstance(exchange, Failure)
            exchange.close()
        exchange = await served.transport.send(post(b"/long"))
        assert not isinstance(exchange, Failure)
        assert exchange.reused
        assert await whole(exchange) == b"x" * 100_000


async def test_many_requests_share_one_h2_connection_and_the_rest_queue(authority: tuple[trustme.CA, str], tmp_path: Path) -> None:
    async with serving(authority, tmp_path, http2=True) as served:
        bodies: list[object] = []

        async def ask() -> None:
            bodies.append(await whole(await served.transport.send(post(b"/stream"))))

        async with trio.open_nursery() as nursery:
            for _ in range(130):
                nursery.start_soon(ask)
            for _ in range(100):
                await served.app.started.acquire()
            assert served.transport.stats() == PoolStats(100, 0, 30)
            for _ in range(130):
                served.app.go.release()
        assert bodies == [b"data: 1\n\ndata: 2\n\n"] * 130


@BOTH
async def test_bounds_hold(authority: tuple[trustme.CA, str], tmp_path: Path, http2: bool) -> None:
    async with serving(authority, tmp_path, http2=http2, connections_max=1, queue_max=1, queue_s=0.05) as served:
        first = await served.transport.send(post(b"/stream"))
        assert not isinstance(first, Failure)
        kinds: list[object] = []

        async def ask() -> None:
            failure = await served.transport.send(post())
            kinds.append(failure.kind if isinstance(failure, Failure) else failure)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(ask)
        assert kinds == ["queue_full", "queue_timeout"]
        first.close()
        assert not isinstance(await whole(await served.transport.send(post())), Failure)


@BOTH
async def test_head_and_body_limits_hold(authority: tuple[trustme.CA, str], tmp_path: Path, http2: bool) -> None:
    for limit, target in (
        ("response_headers_max", b"/heads"),
        ("response_head_max_bytes", b"/heads"),
        ("response_body_max_bytes", b"/long"),
    ):
        async with serving(authority, tmp_path, http2=http2, **{limit: 15}) as served:
            failure = await whole(await served.transport.send(post(target)))
            assert isinstance(failure, Failure)
            assert (failure.kind, failure.received) == ("too_large", True)
            assert limit in failure.detail
            assert served.transport.stats() == PoolStats(0, 0, 0)


@BOTH
@pytest.mark.parametrize("wrong", ["name", "authority"])
async def test_certificates_are_verified(authority: tuple[trustme.CA, str], tmp_path: Path, http2: bool, wrong: str) -> None:
    served_by = authority if wrong == "name" else (trustme.CA(), authority[1])
    async with serving(served_by, tmp_path, http2=http2, name="elsewhere.example" if wrong == "name" else "localhost") as served:
        failure = await served.transport.send(post())
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.sent, failure.received) == ("tls", False, False)
        assert "certificate" in failure.detail


def adapter(server: Upstream) -> HttpxTransport:
    return httpx_transport(server.origin(), TransportLimits(), trust("certifi"), http2=False, proxy=None)


@pytest.mark.parametrize(
    ("wire", "kind", "received"),
    [
        (b"", "closed", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel", "closed", True),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n", "closed", True),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "protocol", True),
        (b"HTTP/1.1 200 OK\r\nx: hunter2\x00\r\n\r\n", "protocol", True),
        (b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "protocol", True),
    ],
)
@pytest.mark.parametrize("reset", [False, True])
async def test_what_goes_wrong_is_a_failure_of_the_same_kinds(wire: bytes, kind: str, received: bool, reset: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if wire:
            await peer.send(wire)
            await trio.sleep(0.02)
        if reset:
            peer.reset()

    async with upstream(script) as server:
        transport = adapter(server)
        failure = await whole(await transport.send(post()))
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.received, failure.sent) == (kind, received, True)
        assert "hunter2" not in failure.detail
        assert transport.stats() == PoolStats(0, 0, 0)


async def test_a_stale_connection_is_retried_once() -> None:
    async def script(peer: Peer) -> None:
        while await peer.request() and (peer.index, peer.requests) != (0, 2):
            await peer.send(OK)

    async with upstream(script) as server:
        transport = adapter(server)
        assert await whole(await transport.send(post())) == b"ok"
        exchange = await transport.send(post())
        assert not isinstance(exchange, Failure)
        assert not exchange.reused
        assert await whole(exchange) == b"ok"
        assert [peer.requests for peer in server.peers] == [2, 1]


async def test_a_refused_connection_is_a_connect_failure() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        origin = Origin.parse(f"http://127.0.0.1:{unused.getsockname()[1]}")
        assert isinstance(origin, Origin)
        failure = await httpx_transport(origin, TransportLimits(), trust("certifi"), http2=True, proxy=None).send(post())
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.sent) == ("connect", False)


async def test_requests_go_through_a_proxy() -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        while data := await peer.request():
            seen.append(data)
            await peer.send(OK)

    async with upstream(script) as server:
        origin = Origin.parse("http://behind.example/v1")
        assert isinstance(origin, Origin)
        via = f"http://user:hunter2@127.0.0.1:{server.port}"
        through = httpx_transport(origin, TransportLimits(), trust("certifi"), http2=False, proxy=via)
        assert "hunter2" not in repr(through)
        assert await whole(await through.send(post(b"/v1/x"))) == b"ok"
        assert b"".join(seen).startswith(b"POST http://behind.example/v1/x HTTP/1.1\r\n")
        assert b"proxy-authorization: Basic" in b"".join(seen).replace(b"Proxy-Authorization", b"proxy-authorization")


@BOTH
async def test_https_upstreams_are_reached_through_a_tunnel(authority: tuple[trustme.CA, str], tmp_path: Path, http2: bool) -> None:
    connects: list[bytes] = []

    async def proxy(client: trio.SocketStream) -> None:
        connects.append(await client.receive_some(65536))
        async with await trio.open_tcp_stream("127.0.0.1", served.port) as server, trio.open_nursery() as nursery:
            await client.send_all(b"HTTP/1.1 200 Connected\r\n\r\n")
            nursery.start_soon(pipe, server, client)
            await pipe(client, server)
            nursery.cancel_scope.cancel()

    async def pipe(source: trio.SocketStream, sink: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            async for data in source:
                await sink.send_all(data)

    async with serving(authority, tmp_path, http2=http2) as served, trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, proxy, 0)
        origin = Origin.parse(f"https://localhost:{served.port}")
        assert isinstance(origin, Origin)
        via = f"http://user:hunter2@127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        transport = httpx_transport(origin, TransportLimits(), trust(authority[1]), http2=http2, proxy=via)
        for reused in (False, True):
            exchange = await transport.send(post(b"/echo?a=b"))
            assert not isinstance(exchange, Failure)
            assert exchange.reused is reused
            body = await whole(exchange)
            assert isinstance(body, bytes)
            assert json.loads(body)["target"] == "/echo?a=b"
            await served.app.started.acquire()
        assert served.app.version == ("2" if http2 else "1.1")
        async with trio.open_nursery() as leaving:
            leaving.start_soon(transport.send, post(b"/silent"))
            await served.app.started.acquire()
            leaving.cancel_scope.cancel()
        await served.app.left.acquire()
        assert [line.split(b"\r\n")[0] for line in connects[:1]] == [b"CONNECT localhost:%d HTTP/1.1" % served.port]
        assert b"sk-1" not in b"".join(connects)
        await transport.aclose()
        nursery.cancel_scope.cancel()


async def test_a_proxy_that_refuses_is_a_connect_failure() -> None:
    async def handle(stream: trio.SocketStream) -> None:
        await stream.receive_some(65536)
        await stream.send_all(b"HTTP/1.1 407 hunter2\r\ncontent-length: 0\r\n\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, handle, 0)
        origin = Origin.parse("https://behind.example")
        assert isinstance(origin, Origin)
        via = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        failure = await httpx_transport(origin, TransportLimits(), trust("certifi"), http2=False, proxy=via).send(post())
        assert failure == Failure("connect", "the proxy refused to connect", received=False, sent=False)
        nursery.cancel_scope.cancel()


async def test_after_shutdown_nothing_is_sent() -> None:
    async with upstream(serve_ok) as server:
        transport = adapter(server)
        assert await whole(await transport.send(post())) == b"ok"
        await transport.aclose()
        failure = await transport.send(post())
        assert isinstance(failure, Failure)
        assert failure.kind == "closed"


@BOTH
@pytest.mark.parametrize("patient", [True, False])
async def test_shutdown_lets_running_answers_finish_unless_cancelled(
    authority: tuple[trustme.CA, str], tmp_path: Path, http2: bool, patient: bool
) -> None:
    async with serving(authority, tmp_path, http2=http2) as served:
        exchange = await served.transport.send(post(b"/stream"))
        assert not isinstance(exchange, Failure)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.transport.aclose)
            await trio.testing.wait_all_tasks_blocked()
            if patient:
                served.app.go.release()
                assert await whole(exchange) == b"data: 1\n\ndata: 2\n\n"
            else:
                nursery.cancel_scope.cancel()
        if not patient:
            failure = await whole(exchange)
            assert isinstance(failure, Failure)
            await served.app.left.acquire()
        assert served.transport.stats() == PoolStats(0, 0, 0)


async def test_closing_shuts_the_socket_at_once_even_without_upkeep() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")
        await peer.eof()

    async with upstream(script) as server:
        transport = adapter(server)
        exchange = await transport.send(post())
        assert not isinstance(exchange, Failure)
        exchange.close()
        await server.peers[0].ended.wait()
        assert transport.stats() == PoolStats(0, 0, 0)


async def test_any_httpx_transport_will_do() -> None:
    async def app(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer sk-1"
        return httpx.Response(201, headers=[("X-A", "b")], content=await request.aread())

    origin = Origin.parse("http://anything")
    assert isinstance(origin, Origin)
    transport = HttpxTransport(httpx.MockTransport(app), origin, TransportLimits())
    exchange = await transport.send(post(body=b"hello"))
    assert not isinstance(exchange, Failure)
    assert (exchange.status, exchange.headers[0], exchange.reused) == (201, (b"x-a", b"b"), False)
    assert await whole(exchange) == b"hello"


def test_no_exception_text_reaches_a_failure() -> None:
    request = httpx.Request("GET", "http://x/")
    kinds = [httpx.LocalProtocolError, httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError, httpx.ConnectError, httpx.ProxyError]
    for kind in kinds:
        failure = failure_of(kind("Illegal header value b'Bearer hunter2'", request=request), sent=True, received=False)
        assert "hunter2" not in failure.detail
    assert failure_of(RuntimeError("hunter2"), sent=True, received=False).kind == "protocol"


def test_authorities_come_from_certifi_the_system_or_a_file(tmp_path: Path) -> None:
    for choice in ("certifi", "system"):
        context = trust(choice)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
    (tmp_path / "bad.pem").write_text("nothing")
    for bad in (tmp_path / "bad.pem", tmp_path / "missing.pem"):
        assert isinstance(upstream_tls(str(bad)), BadTrust)


@attrs.define
class Pieces:
    """A body in pieces; `broken`: it cannot be completed."""

    pieces: list[bytes]
    length: int | None = None
    broken: bool = False
    given: int = 0

    async def piece(self) -> bytes | None:
        await trio.lowlevel.checkpoint()
        if self.given == len(self.pieces):
            return None if self.broken else b""
        self.given += 1
        return self.pieces[self.given - 1]


@BOTH
@pytest.mark.parametrize("sized", [False, True])
async def test_a_body_is_sent_while_it_arrives(authority: tuple[trustme.CA, str], tmp_path: Path, http2: bool, sized: bool) -> None:
    pieces = [bytes([65 + number]) * 40_000 for number in range(10)]
    async with serving(authority, tmp_path, http2=http2) as served:
        for _ in range(2):
            request = post(body=b"")
            request.source = Pieces(pieces, 400_000 if sized else None)
            shown = json.loads(str((await whole(await served.transport.send(request))).decode()))  # type: ignore[union-attr]
            assert shown["body"].encode() == b"".join(pieces)
            headers = dict(shown["headers"])
            assert headers.get("content-length") == ("400000" if sized else None)
        assert served.transport.stats() == PoolStats(0, 0, 0)


@BOTH
@pytest.mark.parametrize(
    "source", [Pieces([b"x" * 40_000], None, True), Pieces([b"x" * 40_000], 50_000), Pieces([b"x" * 40_000], 50_000, True)],
    ids=["unsized, broken", "too short", "sized, broken"],
)  # fmt: skip
async def test_a_body_that_cannot_be_completed_is_given_up(
    authority: tuple[trustme.CA, str], tmp_path: Path, http2: bool, source: Pieces
) -> None:
    async with serving(authority, tmp_path, http2=http2) as served:
        request = post(body=b"")
        request.source = attrs.evolve(source, given=0)
        failure = await served.transport.send(request)
        assert isinstance(failure, Failure)
        assert failure.kind == "closed"
        assert served.transport.stats() == PoolStats(0, 0, 0)
        assert not isinstance(await whole(await served.transport.send(post())), Failure)


async def test_an_upload_is_not_repeated_on_a_stale_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.index == 0:
            await peer.send(OK)
            await peer.head()
            peer.reset()
        else:
            await peer.send(OK)

    async with upstream(script) as server:
        transport = adapter(server)
        assert await whole(await transport.send(post())) == b"ok"
        request = post(body=b"")
        request.source = Pieces([b"x" * 1000], 1000)
        await transport.send(request)
        assert len(server.peers) == 1
        await transport.aclose()


def over_tls(authority: tuple[trustme.CA, str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority[0].issue_cert("localhost").configure_cert(context)
    return context


@pytest.mark.parametrize("tls", [False, True], ids=["cleartext", "tls"])
@pytest.mark.parametrize("stalls", [False, True], ids=["source goes on", "source stalls"])
async def test_a_refusal_is_heard_while_nobody_reads_the_upload(authority: tuple[trustme.CA, str], tls: bool, stalls: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        for piece in (b"HTTP/1.1 413 Lar", b"ge\r\ncontent-length: 3\r\n\r\nb", b"ig"):
            await peer.send(piece)
            await trio.sleep(0.01)
        await peer.eof()

    class Stalling(Pieces):
        async def piece(self) -> bytes | None:
            return await Pieces.piece(self) or await trio.sleep_forever()

    async with upstream(script, over_tls(authority) if tls else None, "localhost" if tls else "127.0.0.1") as server:
        transport = httpx_transport(server.origin(), TransportLimits(), trust(authority[1]), http2=False, proxy=None)
        for _ in range(2):
            request = post(body=b"")
            request.source = Stalling([b"x"]) if stalls else Pieces([b"x" * 65_536] * 400, 400 * 65_536)
            answer = await transport.send(request)
            assert not isinstance(answer, Failure), answer
            assert (answer.status, await whole(answer)) == (413, b"big")
        assert len(server.peers) == 2, "nothing can follow half a request"
        assert transport.stats() == PoolStats(0, 0, 0)
        await transport.aclose()


async def test_an_answer_that_begins_early_gets_the_rest_of_the_upload() -> None:
    seen: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nyes\r\n")
        await trio.sleep(0.05)
        seen.append(len(await peer.request()))
        await peer.send(b"0\r\n\r\n")
        await peer.eof()

    async with upstream(script) as server:
        transport = adapter(server)
        request = post(body=b"")
        request.source = Pieces([b"x" * 65_536] * 100, 100 * 65_536)
        assert await whole(await transport.send(request)) == b"yes"
        assert seen[0] > 100 * 65_536
        await transport.aclose()


async def test_a_refusal_behind_which_the_connection_is_closed_is_read() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 413 Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig")

    async with upstream(script) as server:
        transport = adapter(server)
        request = post(body=b"")
        request.source = Pieces([b"x" * 65_536] * 400, None)
        answer = await transport.send(request)
        if not isinstance(answer, Failure):  # the reset that follows unread bytes may overtake it
            assert (answer.status, await whole(answer)) == (413, b"big")
        await transport.aclose()
