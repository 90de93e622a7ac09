"""A steady stream is read by the task of all streams: the same bytes, ends, failures and wake-ups as when each is read by its own."""

import contextlib
import random
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme
from scripted_upstream import Peer, Upstream, post, upstream

from appliance.http1.arrivals import EVENTS_MAX, Arrivals
from appliance.http1.client import Http1Transport
from appliance.http1.origin import Origin
from appliance.http1.tls import tls_context
from appliance.http1.traffic import Traffic
from appliance.http1.transport import Exchange, Failure, Hold, PoolStats, TransportLimits

pytestmark = [
    pytest.mark.filterwarnings("error::ResourceWarning"),
    pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning"),
]

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"
PIECES = [b"%d-" % number * (1 + number % 7) for number in range(40)]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def stream(peer: Peer) -> None:
    """PIECES, each chunk a write of its own."""
    while await peer.request():
        await peer.send(HEAD)
        for piece in PIECES:
            await peer.send(chunk(piece))
            await trio.sleep(0.001)
        await peer.send(LAST)


Contexts = tuple[ssl.SSLContext, ssl.SSLContext] | None


@pytest.fixture(scope="module", params=["cleartext", "tls"])
def contexts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Contexts:
    """Of the server and of the client."""
    if request.param == "cleartext":
        return None
    authority = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    return server, tls_context(str(Path(path)))


@asynccontextmanager
async def listening() -> AsyncIterator[Arrivals]:
    arrivals = Arrivals()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(arrivals.run)
        await trio.testing.wait_all_tasks_blocked()
        yield arrivals
        assert len(arrivals) == 0
        nursery.cancel_scope.cancel()
    arrivals.close()


@asynccontextmanager
async def answered(
    script: Callable[[Peer], object], contexts: Contexts, hold: Hold | None = None
) -> AsyncIterator[tuple[Exchange, Arrivals, Upstream]]:
    async with listening() as arrivals, upstream(script, contexts and contexts[0]) as server:  # type: ignore[arg-type]
        exchange = await server.transport(contexts and contexts[1], arrivals).send(post(), hold)
        assert not isinstance(exchange, Failure)
        yield exchange, arrivals, server


async def drain(exchange: Exchange, take: Callable[[bytes], bool], kept: list[bytes], seen: list[bytes]) -> bytes | Failure:
    """Everything up to the end: what `take` saw is in `seen` by itself; the rest goes to `kept`."""
    while True:
        before = len(seen)
        data = await exchange.pass_on(take)
        if isinstance(data, Failure) or not data:
            return data
        if not (len(seen) > before and seen[-1] is data):
            seen.append(data)
            kept.append(data)


async def test_a_steady_stream_passes_without_its_task(contexts: Contexts):
    seen: list[bytes] = []
    kept: list[bytes] = []

    def take(data: bytes) -> bool:
        seen.append(data)
        return True

    async with answered(stream, contexts) as (exchange, _, server):
        assert await drain(exchange, take, kept, seen) == b""
        assert b"".join(seen) == b"".join(PIECES)
        assert len(kept) < len(PIECES) // 2
        assert server.transports[0].stats() == PoolStats(1, 1, 0)
        again = await server.transports[0].send(post())
        assert not isinstance(again, Failure)
        assert again.reused
        again.close()


@pytest.mark.parametrize("seed", range(4))
async def test_refused_pieces_come_to_the_task_once_and_in_order(contexts: Contexts, seed: int):
    chance = random.Random(seed)
    seen: list[bytes] = []
    kept: list[bytes] = []

    def take(data: bytes) -> bool:
        seen.append(data)
        return chance.random() < 0.6

    async with answered(stream, contexts) as (exchange, _, _):
        assert await drain(exchange, take, kept, seen) == b""
    assert b"".join(seen) == b"".join(PIECES)


@pytest.mark.parametrize(
    ("rest", "kind"),
    [(b"", "closed"), (b"5\r\nabc", "closed"), (b"zz\r\n", "protocol"), (b"1\r\na\r\n1\r\nbX", "protocol")],
    ids=["cut", "cut in a chunk", "bad size", "bad end of a chunk"],
)
async def test_a_broken_stream_ends_in_its_failure(contexts: Contexts, rest: bytes, kind: str):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"one"))
        await trio.sleep(0.01)
        await peer.send(chunk(b"two"))
        await trio.sleep(0.01)
        await peer.send(rest or b"5")
        await peer.stream.aclose()

    seen: list[bytes] = []

    def take(data: bytes) -> bool:
        seen.append(data)
        return True

    async with answered(script, contexts) as (exchange, _, server):
        end = await drain(exchange, take, [], seen)
        assert isinstance(end, Failure)
        assert end.kind == kind
        assert b"".join(seen).startswith(b"onetwo")
        assert await exchange.pass_on(take) == end
        assert server.transports[0].stats() == PoolStats(0, 0, 0)


async def silent(peer: Peer) -> None:
    await peer.request()
    await peer.send(HEAD + chunk(b"one"))
    await peer.eof()


async def asleep(exchange: Exchange) -> None:
    """Past the first piece, and nothing more comes."""
    assert await exchange.read() == b"one"


async def test_cancelled_while_it_sleeps_the_socket_is_closed(contexts: Contexts):
    async with answered(silent, contexts) as (exchange, arrivals, server):
        await asleep(exchange)
        with trio.move_on_after(0.02) as scope:
            await exchange.pass_on(lambda _: True)
        assert scope.cancelled_caught
        assert len(arrivals) == 0
        assert server.transports[0].stats() == PoolStats(0, 0, 0)
        await server.peers[0].ended.wait()


@pytest.mark.parametrize("how", ["close", "hold"])
async def test_ended_by_another_task_it_wakes(contexts: Contexts, how: str):
    hold = Hold()
    async with answered(silent, contexts, hold) as (exchange, arrivals, server):
        await asleep(exchange)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end_soon, exchange.close if how == "close" else hold.end, arrivals)
            end = await exchange.pass_on(lambda _: True)
        assert isinstance(end, Failure)
        assert end.kind == "closed"
        assert server.transports[0].stats() == PoolStats(0, 0, 0)
        await server.peers[0].ended.wait()


async def end_soon(end: Callable[[], None], arrivals: Arrivals) -> None:
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert len(arrivals) == 1
    end()


async def test_what_taking_raises_reaches_its_own_task_alone(contexts: Contexts):
    def faulty(_: bytes) -> bool:
        raise LookupError("a bug")

    async with answered(stream, contexts) as (exchange, arrivals, server):
        with pytest.raises(LookupError):
            await drain(exchange, faulty, [], [])
        assert server.transports[0].stats() == PoolStats(0, 0, 0)
        assert arrivals.running
        other = await server.transports[0].send(post())
        assert not isinstance(other, Failure)
        seen: list[bytes] = []
        assert await drain(other, lambda data: seen.append(data) is None, [], seen) == b""
        assert b"".join(seen) == b"".join(PIECES)


async def test_where_nobody_listens_to_arrivals_the_task_reads_by_itself(contexts: Contexts):
    arrivals = Arrivals()
    async with upstream(stream, contexts and contexts[0]) as server:
        exchange = await server.transport(contexts and contexts[1], arrivals).send(post())
        assert not isinstance(exchange, Failure)
        seen: list[bytes] = []
        kept: list[bytes] = []
        assert await drain(exchange, lambda data: seen.append(data) is None, kept, seen) == b""
        assert b"".join(kept) == b"".join(PIECES)
    arrivals.close()


async def test_more_streams_than_one_look_takes_are_all_carried_whole(contexts: Contexts):
    count = EVENTS_MAX + 20 if contexts is None else 12
    whole = 0

    async with listening() as arrivals, upstream(stream, contexts and contexts[0]) as server:
        transport = server.transport(contexts and contexts[1], arrivals)

        async def follow() -> None:
            nonlocal whole
            exchange = await transport.send(post())
            assert not isinstance(exchange, Failure)
            seen: list[bytes] = []
            assert await drain(exchange, lambda data: seen.append(data) is None, [], seen) == b""
            assert b"".join(seen) == b"".join(PIECES)
            whole += 1

        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(follow)
    assert whole == count


@pytest.mark.parametrize("framing", [b"transfer-encoding: chunked\r\n", b""], ids=["chunked", "until close"])
async def test_the_end_of_tls_that_comes_with_the_last_bytes_is_heard_at_once(contexts: Contexts, framing: bytes):
    """Nothing arrives on the socket after that: a peer may wait for our goodbye before it closes."""
    if contexts is None:
        pytest.skip("cleartext has no goodbye")
    last = chunk(b"last") if framing else b"last"

    async def serve(stream: trio.SocketStream) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = contexts[0].wrap_bio(incoming, outgoing, server_side=True)  # type: ignore[index]

        async def until_done(step: Callable[[], object]) -> None:
            while True:
                try:
                    step()
                    break
                except ssl.SSLWantReadError:
                    await stream.send_all(outgoing.read())
                    incoming.write(await stream.receive_some(65536))
            await stream.send_all(outgoing.read())

        await until_done(tls.do_handshake)
        await until_done(lambda: tls.read(65536))
        await until_done(lambda: tls.write(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n" + (chunk(b"one") if framing else b"one")))
        await trio.sleep(0.05)
        tls.write(last)
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.unwrap()
        await stream.send_all(outgoing.read())  # both in one segment, and no FIN behind them
        await trio.sleep_forever()

    async with listening() as arrivals, trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        origin = Origin.parse(f"https://127.0.0.1:{listeners[0].socket.getsockname()[1]}")
        assert isinstance(origin, Origin)
        transport = Http1Transport(origin, TransportLimits(), contexts[1], Traffic(arrivals))
        exchange = await transport.send(post())
        assert not isinstance(exchange, Failure)
        seen: list[bytes] = []
        with trio.fail_after(5):
            end = await drain(exchange, lambda data: seen.append(data) is None, [], seen)
        assert b"".join(seen) == b"onelast"
        assert end == b"" if not framing else isinstance(end, Failure)
        await transport.aclose()
        nursery.cancel_scope.cancel()
