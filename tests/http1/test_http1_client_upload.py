"""Request bodies that are sent as they arrive: in step with their reader, given up with their source, never cut so that they look whole."""

import ssl
from collections.abc import Callable, Iterator
from functools import partial

import attrs
import pytest
import trio
import trio.lowlevel
import trio.testing
import trustme
from scripted_upstream import HEADERS, OK, Peer, Script, Upstream, upstream, whole

from appliance.http1.client import Http1Transport
from appliance.http1.tls import tls_context
from appliance.http1.transport import Failure, Hold, PoolStats, TransportLimits, UpstreamRequest

pytestmark = [
    pytest.mark.filterwarnings("error::ResourceWarning"),
    pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning"),
]

PIECE = bytes(range(256)) * 256  # 64 KiB
TLS = {"plain": False, "tls": True}


@attrs.define(eq=False)
class Source:
    """A body of so many pieces, each after a turn of the others."""

    pieces: list[bytes]
    length: int | None = None
    broken: bool = False
    given: int = 0
    waits: Callable[[], object] | None = None

    async def piece(self) -> bytes | None:
        await trio.lowlevel.checkpoint()
        if self.given == len(self.pieces):
            if self.waits is not None:
                await trio.sleep_forever()
            return None if self.broken else b""
        self.given += 1
        return self.pieces[self.given - 1]


def post(source: Source) -> UpstreamRequest:
    return UpstreamRequest(b"POST", b"/v1/audio/transcriptions", HEADERS, source=source)


def sized(*pieces: bytes, **more: bool) -> Source:
    return Source(list(pieces), sum(map(len, pieces)), **more)


@attrs.frozen
class Wire:
    """Cleartext, or TLS: the same promises."""

    server_tls: ssl.SSLContext | None
    trust: ssl.SSLContext | None

    def serve(self, script: Script) -> "partial[object]":
        return partial(upstream, script, self.server_tls, "localhost" if self.server_tls else "127.0.0.1")

    def transport(self, server: Upstream, **limits: float) -> Http1Transport:
        return server.transport(self.trust, **limits)


@pytest.fixture(scope="module", params=["plain", "tls"])
def wire(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    if request.param == "plain":
        yield Wire(None, None)
        return
    authority = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    yield Wire(context, tls_context(str(path)))


def unchunked(data: bytes) -> bytes:
    body = b""
    while True:
        size, _, rest = data.partition(b"\r\n")
        if size == b"0":
            assert rest == b"\r\n"
            return body
        body += rest[: int(size, 16)]
        data = rest[int(size, 16) + 2 :]


async def chunked_request(peer: Peer) -> tuple[bytes, bytes]:
    head = await peer.head()
    while not peer._buffer.endswith(b"\r\n0\r\n\r\n"):
        if not await peer._more():
            raise trio.BrokenResourceError
    body = bytes(peer._buffer[len(head) + 4 :])
    peer._buffer.clear()
    return head, unchunked(body)


async def test_a_body_of_known_length_arrives_whole(wire: Wire) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        while request := await peer.request():
            seen.append(request)
            await peer.send(OK)

    pieces = [PIECE] * 40 + [b"x"]
    async with wire.serve(script)() as server:
        transport = wire.transport(server)
        for _ in range(2):
            assert await whole(await transport.send(post(sized(*pieces)))) == b"ok"
        head, _, body = seen[0].partition(b"\r\n\r\n")
        assert body == b"".join(pieces)
        assert b"\r\ncontent-length: %d" % len(body) in head
        assert b"transfer-encoding" not in head
        assert seen[1] == seen[0]
        assert transport.stats() == PoolStats(1, 1, 0), "the connection may be used by others"


async def test_a_body_of_unknown_length_is_chunked(wire: Wire) -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def script(peer: Peer) -> None:
        seen.append(await chunked_request(peer))
        await peer.send(OK)
        await peer.eof()

    async with wire.serve(script)() as server:
        transport = wire.transport(server)
        assert await whole(await transport.send(post(Source([b"a", PIECE, b"bc"])))) == b"ok"
        head, body = seen[0]
        assert body == b"a" + PIECE + b"bc"
        assert b"\r\ntransfer-encoding: chunked" in head
        assert b"content-length" not in head
        assert transport.stats() == PoolStats(1, 1, 0)


async def test_an_empty_body_is_one_too(wire: Wire) -> None:
    async def script(peer: Peer) -> None:
        if peer.index == 0:
            assert b"content-length: 0" in await peer.request()
        else:
            assert (await chunked_request(peer))[1] == b""
        await peer.send(OK)
        await peer.eof()

    async with wire.serve(script)() as server:
        transport = wire.transport(server)
        assert await whole(await transport.send(post(sized()))) == b"ok"
        assert await whole(await transport.send(post(Source([])))) == b"ok"


async def test_a_reader_that_stops_stops_the_source(wire: Wire) -> None:
    go_on = trio.Event()
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.head()
        await go_on.wait()
        seen.append(await peer.request())
        await peer.send(OK)

    source = sized(*[PIECE] * 400)  # 26 MB, beyond what loopback buffers hold
    answers: list[object] = []
    async with wire.serve(script)() as server:
        transport = wire.transport(server)

        async def ask() -> None:
            answers.append(await whole(await transport.send(post(source))))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            before = -1
            while source.given != before or before < 1:
                before = source.given
                await trio.sleep(0.1)
            assert before < 300
            go_on.set()
        assert answers == [b"ok"]
        assert len(seen[0]) > 400 * len(PIECE)


@pytest.mark.parametrize("status", [b"401 No", b"413 Large", b"503 Busy", b"307 Elsewhere"])
@pytest.mark.parametrize("stalls", [False, True], ids=["source goes on", "source stalls"])
async def test_an_early_error_is_read_and_nothing_more_is_sent(wire: Wire, status: bytes, stalls: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 %b\r\ncontent-length: 3\r\n\r\nwhy" % status)
        await peer.eof()

    source = sized(PIECE, waits=print) if stalls else sized(*[PIECE] * 400)
    if stalls:
        source.length = 400 * len(PIECE)
    async with wire.serve(script)() as server:
        transport = wire.transport(server)
        exchange = await transport.send(post(source))
        assert not isinstance(exchange, Failure)
        given = source.given
        assert (exchange.status, await whole(exchange)) == (int(status[:3]), b"why")
        assert source.given == given, "a byte that is not sent must not be taken"
        assert transport.stats() == PoolStats(0, 0, 0), "nothing can follow half a request"
        await server.peers[0].ended.wait()


async def test_an_early_error_followed_by_a_close_is_read(wire: Wire) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 413 Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig")
        if wire.server_tls is not None:
            await peer.eof()  # a TLS server that closes with unread bytes resets, and its answer is lost with them

    async with wire.serve(script)() as server:
        for size in (1, 50):
            exchange = await wire.transport(server).send(post(sized(*[PIECE] * size)))
            assert not isinstance(exchange, Failure)
            assert (exchange.status, await whole(exchange)) == (413, b"big")


async def test_an_answer_that_streams_while_the_body_is_sent_gets_the_rest_of_it(wire: Wire) -> None:
    """As a transcriber does that speaks while it listens."""
    seen: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nyes\r\n")
        seen.append(len(await peer.request()))
        await peer.send(b"2\r\n, \r\n3\r\nall\r\n0\r\n\r\n")
        await peer.eof()

    async with wire.serve(script)() as server:
        transport = wire.transport(server)
        assert await whole(await transport.send(post(sized(*[PIECE] * 400)))) == b"yes, all"
        assert seen[0] > 400 * len(PIECE)
        assert transport.stats() == PoolStats(1, 1, 0)


async def test_a_whole_answer_before_the_end_of_the_body_ends_the_connection(wire: Wire) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK)
        await peer.eof()

    async with wire.serve(script)() as server:
        transport = wire.transport(server)
        source = sized(PIECE, waits=print)
        source.length = 10 * len(PIECE)
        assert await whole(await transport.send(post(source))) == b"ok"
        assert transport.stats() == PoolStats(0, 0, 0)


@pytest.mark.parametrize(
    "source",
    [
        Source([PIECE], None, broken=True),
        Source([PIECE], 10 * len(PIECE), broken=True),
        Source([PIECE], 10 * len(PIECE)),
        Source([PIECE], 10),
    ],
    ids=["chunked, broken", "sized, broken", "shorter than told", "longer than told"],
)
async def test_a_body_that_cannot_be_completed_never_looks_whole(wire: Wire, source: Source) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.eof()
        seen.append(bytes(peer._buffer))

    async with wire.serve(script)() as server:
        transport = wire.transport(server)
        source.given = 0
        failure = await transport.send(post(source))
        assert isinstance(failure, Failure)
        assert failure.kind == "closed"
        assert transport.stats() == PoolStats(0, 0, 0)
        await server.peers[0].ended.wait()
        await trio.testing.wait_all_tasks_blocked()
        body = seen[0].partition(b"\r\n\r\n")[2]
        assert not body.endswith(b"0\r\n\r\n")
        assert source.length is None or len(body) < source.length


async def test_nothing_is_sent_beyond_the_length_told() -> None:
    """The server would take it for the next request."""
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        while request := await peer.request():
            seen.append(request.partition(b"\r\n\r\n")[2])
            await peer.send(OK)

    async with upstream(script) as server:
        transport = server.transport()
        for body in (Source([b"abc", b"GET / HTTP/1.1\r\n\r\n"], 3), Source([b"de"], 2)):
            assert await whole(await transport.send(post(body))) == b"ok"
        assert seen == [b"abc", b"de"]


async def test_an_upload_never_goes_over_a_connection_that_may_be_stale(wire: Wire) -> None:
    """What has been sent of it could not be sent again."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.head()
        peer.reset()

    async with wire.serve(script)() as server:
        transport = wire.transport(server, connections_max=1)
        for number in range(1, 4):
            assert await whole(await transport.send(post(sized(*[PIECE] * 30)))) == b"ok"
            assert len(server.peers) == number
            assert transport.stats() == PoolStats(1, 1, 0)


async def test_a_server_that_leaves_in_the_middle_is_a_failure(wire: Wire) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        peer.reset()

    async with wire.serve(script)() as server:
        transport = wire.transport(server)
        failure = await transport.send(post(sized(*[PIECE] * 400)))
        assert isinstance(failure, Failure)
        assert failure.kind in ("write", "closed")
        assert transport.stats() == PoolStats(0, 0, 0)


async def test_a_hold_ends_an_upload_whose_source_waits(wire: Wire) -> None:
    async def script(peer: Peer) -> None:
        await peer.eof()

    hold = Hold()
    async with wire.serve(script)() as server, trio.open_nursery() as nursery:
        transport = wire.transport(server)
        source = sized(PIECE, waits=print)
        source.length = 10 * len(PIECE)

        async def later() -> None:
            while source.given < 1:
                await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked()
            hold.end()

        nursery.start_soon(later)
        failure = await transport.send(post(source), hold)
        assert isinstance(failure, Failure)
        assert failure.kind == "closed"
        assert transport.stats() == PoolStats(0, 0, 0)
        await server.peers[0].ended.wait()


async def test_what_a_source_raises_is_raised_and_the_socket_closed(wire: Wire) -> None:
    class Broken(Source):
        async def piece(self) -> bytes | None:
            raise KeyError("a bug")

    async def script(peer: Peer) -> None:
        await peer.eof()

    async with wire.serve(script)() as server:
        transport = wire.transport(server)
        with pytest.raises(ExceptionGroup) as caught:
            await transport.send(post(Broken([])))
        assert caught.group_contains(KeyError)
        assert transport.stats() == PoolStats(0, 0, 0)
        await server.peers[0].ended.wait()


class CancelAtAnyStep(trio.abc.Instrument):
    """Cancels a scope at the n-th step of any task, since one task waits for the answer while another writes."""

    def __init__(self, step: int, scope: trio.CancelScope) -> None:
        self.left, self.scope = step, scope

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.left -= 1
        if self.left == 0:
            self.scope.cancel()


async def cancelled_anywhere(step: int, transport: Http1Transport, request: UpstreamRequest) -> bool:
    with trio.CancelScope() as scope:
        instrument = CancelAtAnyStep(step, scope)
        trio.lowlevel.add_instrument(instrument)
        try:
            assert not isinstance(await whole(await transport.send(request)), Failure)
        finally:
            trio.lowlevel.remove_instrument(instrument)
            stats = transport.stats()
            assert stats.open == stats.idle
    return scope.cancelled_caught


@pytest.mark.parametrize("chunked", [True, False])
async def test_cancelled_at_every_await_the_socket_closes_and_the_slot_returns(wire: Wire, chunked: bool) -> None:
    async def script(peer: Peer) -> None:
        if chunked:
            await chunked_request(peer)
        else:
            await peer.request()
        await peer.send(OK)
        await peer.eof()

    def fresh() -> UpstreamRequest:
        source = sized(PIECE, b"middle", PIECE * 40, b"end")
        return post(attrs.evolve(source, length=None) if chunked else source)

    async with wire.serve(script)() as server:
        step = 1
        while await cancelled_anywhere(step, wire.transport(server), fresh()):
            step += 1 if wire.trust is None else 5  # a TLS connection takes ten times as long to make
        assert step > 20
        for peer in server.peers[:-1]:
            await peer.ended.wait()


async def test_an_upload_interrupted_by_arriving_bytes_loses_none_of_its_own(wire: Wire) -> None:
    """Each byte of an early answer interrupts the writing; what is written stays one unbroken body."""
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        async with trio.open_nursery() as nursery:

            async def talk() -> None:
                while True:
                    await peer.send(b"1\r\n.\r\n")
                    await trio.sleep(0.001)

            nursery.start_soon(talk)
            seen.append(await peer.request())
            nursery.cancel_scope.cancel()
        await peer.send(b"0\r\n\r\n")
        await peer.eof()

    pieces = [bytes([number]) * 50_000 for number in range(200)]
    async with wire.serve(script)() as server:
        assert not isinstance(await whole(await wire.transport(server).send(post(sized(*pieces)))), Failure)
        assert seen[0].endswith(b"\r\n\r\n" + b"".join(pieces))


def test_the_limits_know_nothing_of_uploads() -> None:
    """A body's bound is the caller's affair: the transport holds one piece at a time."""
    assert not [name for name in attrs.fields_dict(TransportLimits) if "request" in name]
