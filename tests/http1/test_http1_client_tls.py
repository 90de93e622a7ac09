"""TLS towards upstreams: verified always, and the same promises as in cleartext."""

import socket
import ssl
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme
from scripted_upstream import OK, Peer, post, serve_ok, upstream, whole
from stubborn_socket import Telling

from appliance.http1.client import Http1Transport
from appliance.http1.departures import LEAVING_MAX_BYTES
from appliance.http1.dial import dial
from appliance.http1.link import Link
from appliance.http1.origin import Origin
from appliance.http1.tls import TlsLink, tls_context
from appliance.http1.transport import Failure, PoolStats, TransportLimits

# A socket left to the garbage collector is closed too, only not in time; it must not pass for one that was closed.
pytestmark = [
    pytest.mark.filterwarnings("error::ResourceWarning"),
    pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning"),
]

BIG = bytes(range(256)) * 40_000


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trust(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """The client's context, from a file as a backend's `ca` gives it."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return tls_context(str(path))


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture(scope="module")
def identity(authority: trustme.CA) -> ssl.SSLContext:
    return server_context(authority, "localhost", "127.0.0.1")


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("step", [1, 65536])
async def test_requests_are_answered_and_connections_reused(name: str, step: int, identity: ssl.SSLContext, trust: ssl.SSLContext) -> None:
    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.trickle(OK, step)

    async with upstream(script, identity, name) as server:
        transport = server.transport(trust)
        for number in range(3):
            exchange = await transport.send(post())
            assert not isinstance(exchange, Failure)
            assert exchange.reused == (number > 0)
            assert await whole(exchange) == b"ok"
        assert transport.stats() == PoolStats(1, 1, 0)
        assert len(server.peers) == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_large_bodies_pass_both_ways_at_once(version: ssl.TLSVersion, authority: trustme.CA, trust: ssl.SSLContext) -> None:
    async def script(peer: Peer) -> None:
        request = await peer.request()
        assert request.endswith(b"\r\n\r\n" + BIG)
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(BIG) + BIG)
        await peer.eof()

    context = server_context(authority, "localhost")
    context.minimum_version = context.maximum_version = version
    async with upstream(script, context, "localhost") as server:
        transport = server.transport(trust)
        assert await whole(await transport.send(post(BIG))) == BIG
        assert transport.stats() == PoolStats(1, 1, 0)


async def test_http_1_1_is_what_alpn_offers(identity: ssl.SSLContext, trust: ssl.SSLContext, authority: trustme.CA) -> None:
    chosen: list[str | None] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        assert isinstance(peer.stream, trio.SSLStream)
        chosen.append(peer.stream.selected_alpn_protocol())
        await peer.send(OK)

    context = server_context(authority, "localhost")
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with upstream(script, context, "localhost") as server:
        assert await whole(await server.transport(trust).send(post())) == b"ok"
    assert chosen == ["http/1.1"]


async def refused(server_identity: ssl.SSLContext, context: ssl.SSLContext) -> Failure:
    async with upstream(serve_ok, server_identity, "localhost") as server:
        transport = server.transport(context)
        failure = await transport.send(post())
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.received, failure.sent) == ("tls", False, False)
        assert transport.stats() == PoolStats(0, 0, 0)
        assert server.peers[0].requests == 0
    return failure


async def test_a_certificate_for_another_name_is_refused(authority: trustme.CA, trust: ssl.SSLContext) -> None:
    assert "ostname mismatch" in (await refused(server_context(authority, "elsewhere.example"), trust)).detail


async def test_an_unknown_authority_is_refused(trust: ssl.SSLContext) -> None:
    assert "certificate" in (await refused(server_context(trustme.CA(), "localhost"), trust)).detail


async def test_the_systems_store_does_not_know_a_private_authority(identity: ssl.SSLContext) -> None:
    assert "certificate" in (await refused(identity, tls_context(None))).detail


async def test_a_server_that_speaks_no_tls_is_a_tls_failure(trust: ssl.SSLContext) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.eof()

    async with upstream(script, None, "localhost") as server:
        origin = Origin("https", "localhost", server.port, b"localhost")
        failure = await Http1Transport(origin, TransportLimits(), trust).send(post())
        assert isinstance(failure, Failure)
        assert failure.kind == "tls"


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_server_that_leaves_during_the_handshake_is_a_tls_failure(how: str, trust: ssl.SSLContext) -> None:
    async def script(peer: Peer) -> None:
        await peer.stream.receive_some(100)
        if how == "reset":
            peer.reset()

    async with upstream(script, None, "localhost") as server:
        origin = Origin("https", "localhost", server.port, b"localhost")
        failure = await Http1Transport(origin, TransportLimits(), trust).send(post())
        assert isinstance(failure, Failure)
        assert failure.kind == "tls"


async def test_the_handshake_counts_into_connect_s(trust: ssl.SSLContext) -> None:
    async def script(peer: Peer) -> None:
        await peer.eof()

    async with upstream(script, None, "localhost") as server:
        origin = Origin("https", "localhost", server.port, b"localhost")
        transport = Http1Transport(origin, TransportLimits(connect_s=0.3), trust)
        failure = await transport.send(post())
        assert isinstance(failure, Failure)
        assert failure.kind == "connect_timeout"
        assert transport.stats() == PoolStats(0, 0, 0)
        await trio.testing.wait_all_tasks_blocked(0.01)
        for peer in server.peers:  # none where a busy machine took all of the time to find the address
            await peer.ended.wait()


@pytest.mark.parametrize("alert", [True, False])
async def test_only_a_closure_alert_ends_a_body_read_until_close(alert: bool, identity: ssl.SSLContext, trust: ssl.SSLContext) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        if alert:
            await peer.stream.aclose()
        else:
            peer.socket().close()

    async with upstream(script, identity, "localhost") as server:
        body = await whole(await server.transport(trust).send(post()))
        if alert:
            assert body == b"hello"
        else:
            assert isinstance(body, Failure)
            assert body.kind == "closed"


async def test_a_stale_connection_is_noticed_or_retried(identity: ssl.SSLContext, trust: ssl.SSLContext) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        if peer.index == 1:
            await peer.request()  # closes on the request itself

    async with upstream(script, identity, "localhost") as server:
        transport = server.transport(trust)
        await whole(await transport.send(post()))
        await server.peers[0].ended.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert await whole(await transport.send(post())) == b"ok"  # the first one's closure alert was seen
        assert await whole(await transport.send(post())) == b"ok"  # the second one's came after the request
        assert [peer.requests for peer in server.peers] == [1, 2, 1]


async def test_unasked_bytes_on_an_idle_connection_discard_it(identity: ssl.SSLContext, trust: ssl.SSLContext) -> None:
    sent = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        if peer.index == 0:
            await trio.testing.wait_all_tasks_blocked()
            await peer.send(OK)
            sent.set()
        await peer.eof()

    async with upstream(script, identity, "localhost") as server:
        transport = server.transport(trust)
        assert await whole(await transport.send(post())) == b"ok"
        await sent.wait()
        assert await whole(await transport.send(post())) == b"ok"
        assert [peer.requests for peer in server.peers] == [1, 1]


async def test_session_tickets_on_an_idle_connection_do_not_discard_it(identity: ssl.SSLContext, trust: ssl.SSLContext) -> None:
    """TLS 1.3 servers may send tickets at any time: readable, yet nothing was said (RFC 8446 §4.6.1)."""

    def serve(listener: socket.socket) -> None:  # the stdlib's own server side; trio's holds tickets back until there is data to send
        listener.settimeout(60)
        plain, _ = listener.accept()
        plain.settimeout(60)
        with identity.wrap_socket(plain, server_side=True) as stream:
            stream.recv(1000)
            stream.sendall(OK)
            stream.recv(1000)

    with socket.create_server(("127.0.0.1", 0)) as listener, trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.to_thread.run_sync, serve, listener, abandon_on_cancel=True))
            origin = Origin("https", "localhost", listener.getsockname()[1], b"localhost")
            link = await dial(origin, trust, TransportLimits())
            assert isinstance(link, TlsLink)
            await trio.lowlevel.wait_readable(link._sock)
            assert not Link.quiet(link)
            assert link.quiet()
            link.begin(b"GET / HTTP/1.1\r\n\r\n", b"")
            assert await link.receive() == OK
            link.close()


@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize("together", [True, False])
async def test_small_requests_of_one_pass_leave_together_and_whole(
    secure: bool, together: bool, identity: ssl.SSLContext, trust: ssl.SSLContext
) -> None:
    """Each in one write, after the last task of the pass. What is too large for that leaves at once: the test can tell the two apart."""
    seen: list[str] = []
    body = b"{}" if together else bytes(LEAVING_MAX_BYTES)
    async with upstream(serve_ok, identity if secure else None, "localhost") as server:
        transports = [server.transport(trust if secure else None) for _ in range(3)]
        for transport in transports:
            assert await whole(await transport.send(post())) == b"ok"
            link = transport._pool._idle[0].link
            assert isinstance(link, TlsLink) == secure
            link._sock = Telling(link._sock, partial(seen.append, "leaves"))

        async def ask(transport: Http1Transport) -> None:
            seen.append("asks")
            assert await whole(await transport.send(post(body))) == b"ok"

        async with trio.open_nursery() as nursery:
            for transport in transports:
                nursery.start_soon(ask, transport)
        if together:
            assert seen == ["asks"] * 3 + ["leaves"] * 3
        else:
            assert seen[:4] == ["asks", "leaves", "asks", "leaves"]


async def test_a_record_that_was_kept_back_leaves_before_the_next_request(identity: ssl.SSLContext, trust: ssl.SSLContext) -> None:
    """The answer to a key update, say, at an upstream that reads late. Records in another order are an attack to whoever reads them."""
    async with upstream(serve_ok, tls=identity) as server:
        transport = server.transport(trust)
        assert await whole(await transport.send(post())) == b"ok"
        link = transport._pool._idle[0].link
        assert isinstance(link, TlsLink)
        link._encrypt(memoryview(b"\r\n"))
        link._unsent = memoryview(link._outgoing.read())
        assert await whole(await transport.send(post())) == b"ok"
        assert server.peers[0].requests == 2


async def test_cancelled_anywhere_the_socket_closes(identity: ssl.SSLContext, trust: ssl.SSLContext) -> None:
    async def script(peer: Peer) -> None:
        while await peer.request():
            for piece in (OK[:9], OK[9:-1], OK[-1:]):
                await trio.sleep(0.001)
                await peer.send(piece)

    async with upstream(script, identity, "localhost") as server:
        for tenth_ms in range(0, 120, 7):
            transport = server.transport(trust, connections_max=1)
            with trio.move_on_after(tenth_ms / 10_000):
                await whole(await transport.send(post()))
            stats = transport.stats()
            assert stats.open == stats.idle
            assert await whole(await transport.send(post())) == b"ok"
            await transport.aclose()
        for peer in server.peers:
            await peer.ended.wait()


async def test_closing_an_idle_connection_says_goodbye_in_tls(identity: ssl.SSLContext, trust: ssl.SSLContext) -> None:
    goodbye: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        goodbye.append(await peer.stream.receive_some(10))  # raises when TCP ends without TLS's closure alert

    async with upstream(script, identity, "localhost") as server:
        transport = server.transport(trust)
        await whole(await transport.send(post()))
        await transport.aclose()
        await server.peers[0].ended.wait()
    assert goodbye == [b""]


def test_a_ca_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):  # noqa: PT011
        tls_context(str(tmp_path / "missing.pem"))
    (tmp_path / "empty.pem").write_text("no certificate")
    with pytest.raises(OSError):  # noqa: PT011
        tls_context(str(tmp_path / "empty.pem"))


def test_verification_is_on(trust: ssl.SSLContext) -> None:
    assert trust.verify_mode is ssl.CERT_REQUIRED
    assert trust.check_hostname
    assert trust.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_https_without_a_context_is_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="TLS"):
        Http1Transport(Origin("https", "localhost", 443, b"localhost"), TransportLimits())
