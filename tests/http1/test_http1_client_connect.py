"""Origins, and what connecting to one can come to."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from scripted_upstream import HEADERS, OK, Peer, post, serve_ok, upstream, whole

from appliance.http1.client import Http1Transport
from appliance.http1.origin import BadOrigin, Origin
from appliance.http1.transport import Failure, PoolStats, TransportLimits

pytestmark = [
    pytest.mark.filterwarnings("error::ResourceWarning"),
    pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://api.openai.com/v1", Origin("https", "api.openai.com", 443, b"api.openai.com", b"/v1")),
        ("https://api.openai.com/v1/", Origin("https", "api.openai.com", 443, b"api.openai.com", b"/v1")),
        ("https://API.openai.com:443", Origin("https", "api.openai.com", 443, b"api.openai.com")),
        ("http://127.0.0.1:8000/", Origin("http", "127.0.0.1", 8000, b"127.0.0.1:8000")),
        ("http://localhost", Origin("http", "localhost", 80, b"localhost")),
        ("https://h:80/a%20b", Origin("https", "h", 80, b"h:80", b"/a%20b")),
        ("http://[::1]:9000/v1", Origin("http", "::1", 9000, b"[::1]:9000", b"/v1")),
        ("http://my_host.internal.", Origin("http", "my_host.internal.", 80, b"my_host.internal.")),
        ("http+unix://%2Frun%2Fvllm.sock/v1", Origin("http", "localhost", 80, b"localhost", b"/v1", "/run/vllm.sock")),
    ],
)
def test_a_base_url_is_read(url: str, origin: Origin) -> None:
    assert Origin.parse(url) == origin


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("", "http://"),
        ("api.openai.com/v1", "http://"),
        ("ftp://host/", "http://"),
        ("//host/", "http://"),
        ("http://", "host"),
        ("http://:80/", "host"),
        ("http:///v1", "host"),
        ("https://user:hunter2@host/v1", "secrets"),
        ("https://hunter2@host/v1", "secrets"),
        ("https://host/v1?key=hunter2", "query"),
        ("https://host/v1?", "query"),
        ("https://host/v1#a", "fragment"),
        ("https://host:99999/", "port"),
        ("https://host:x/", "port"),
        ("https://host:0/", "port"),
        ("https://ho st/", "host"),
        ("https://ho\tst\n/a b", "path"),
        ("https://münchen.de/", "host"),
        ("https://[::1/", "host"),
        ("https://[fe80::1%25eth0]/", "host"),
        ("https://[hunter2]/", "host"),
        ("https://host/ä", "path"),
        ("http+unix://run/x", "absolute"),
    ],
)
def test_a_bad_base_url_is_refused_in_words_that_do_not_repeat_it(url: str, word: str) -> None:
    bad = Origin.parse(url)
    assert isinstance(bad, BadOrigin)
    assert word in bad.reason
    assert "hunter2" not in bad.reason


def transport_to(url: str, **limits: float) -> Http1Transport:
    origin = Origin.parse(url)
    assert isinstance(origin, Origin)
    return Http1Transport(origin, TransportLimits(**limits))  # type: ignore[arg-type]


async def test_a_refused_connection_is_a_connect_failure_and_frees_its_slot() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        transport = transport_to(f"http://127.0.0.1:{unused.getsockname()[1]}", connections_max=1)
        for _ in range(2):
            failure = await transport.send(post())
            assert isinstance(failure, Failure)
            assert (failure.kind, failure.received, failure.sent) == ("connect", False, False)
            assert "refused" in failure.detail.lower()
            assert transport.stats() == PoolStats(0, 0, 0)


async def test_a_name_that_does_not_exist_is_a_connect_failure() -> None:
    failure = await transport_to("http://does-not-exist.invalid", connect_s=10).send(post())  # .invalid never resolves (RFC 6761)
    assert isinstance(failure, Failure)
    assert failure.kind in ("connect", "connect_timeout")  # the latter where a machine without a resolver waits


@pytest.fixture
def full_backlog() -> Iterator[int]:
    """The port of a listener that accepts nobody and whose queue is full, so that a new SYN stays unanswered."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = []
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        yield port
        for filler in fillers:
            filler.close()


async def test_connecting_takes_no_longer_than_connect_s(full_backlog: int) -> None:
    transport = transport_to(f"http://127.0.0.1:{full_backlog}", connect_s=0.1)
    started = trio.current_time()
    failure = await transport.send(post())
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.sent) == ("connect_timeout", False)
    assert 0.1 <= trio.current_time() - started < 1.0
    assert transport.stats() == PoolStats(0, 0, 0)


async def test_cancelled_while_connecting_the_slot_returns(full_backlog: int) -> None:
    transport = transport_to(f"http://127.0.0.1:{full_backlog}")
    with trio.move_on_after(0.05):
        await transport.send(post())
    assert transport.stats() == PoolStats(0, 0, 0)


async def test_a_waiter_gets_the_slot_of_a_connection_that_could_not_be_made() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        transport = transport_to(f"http://127.0.0.1:{unused.getsockname()[1]}", connections_max=1)
        failures: list[object] = []

        async def ask() -> None:
            failures.append(await transport.send(post()))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask)
        assert [isinstance(f, Failure) and f.kind for f in failures] == ["connect"] * 10


async def test_localhost_reaches_a_server_that_listens_on_one_family_only() -> None:
    async with upstream(serve_ok, name="localhost") as server:
        assert await whole(await server.transport().send(post())) == b"ok"


async def test_both_ends_of_the_latency_are_tuned() -> None:
    async with upstream(serve_ok) as server:
        transport = server.transport()
        await whole(await transport.send(post()))
        sock = transport._pool._idle[0].link._sock
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert not sock.getblocking()


async def test_a_unix_socket_is_an_upstream_too(tmp_path: Path) -> None:
    path = tmp_path / "up.sock"
    listener = trio.SocketListener(await bound(path))
    seen: list[bytes] = []

    async def handle(stream: trio.SocketStream) -> None:
        peer = Peer(stream, 0)
        while request := await peer.request():
            seen.append(request)
            await peer.send(OK)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        transport = transport_to(f"http+unix://{str(path).replace('/', '%2F')}/v1")
        for _ in range(2):
            assert await whole(await transport.send(post())) == b"ok"
        assert transport.stats() == PoolStats(1, 1, 0)
        nursery.cancel_scope.cancel()
    assert seen[0].startswith(b"POST /v1/chat/completions HTTP/1.1\r\n" + HEADERS)
    path.unlink()
    await transport.aclose()
    failure = await transport_to(f"http+unix://{str(path).replace('/', '%2F')}").send(post())
    assert isinstance(failure, Failure)
    assert failure.kind == "connect"


async def bound(path: Path) -> trio.socket.SocketType:
    sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    await sock.bind(str(path))
    sock.listen()
    return sock
