"""Writing the request: bodies larger than any buffer, and servers that answer or leave before they have read it."""

import trio
import trio.lowlevel
import trio.testing
from scripted_upstream import OK, Peer, post, upstream, whole

from appliance.http1.transport import Failure, PoolStats

BIG = bytes(range(256)) * 80_000  # 20 MB: beyond what loopback socket buffers hold


async def test_a_large_body_arrives_whole_at_a_slow_reader() -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        await trio.sleep(0.05)
        seen.append(await peer.request())
        await peer.send(OK)
        await peer.eof()

    async with upstream(script) as server:
        transport = server.transport()
        assert await whole(await transport.send(post(BIG))) == b"ok"
        assert seen[0].endswith(b"\r\n\r\n" + BIG)
        assert transport.stats() == PoolStats(1, 1, 0)


async def test_an_early_answer_is_read_while_the_body_is_still_unsent() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
        await peer.eof()

    async with upstream(script) as server:
        transport = server.transport()
        exchange = await transport.send(post(BIG))
        assert not isinstance(exchange, Failure)
        assert (exchange.status, await whole(exchange)) == (413, b"big")
        # The request was never finished, so nothing may follow it on this connection.
        assert transport.stats() == PoolStats(0, 0, 0)
        await server.peers[0].ended.wait()


async def test_an_early_answer_followed_by_a_close_is_read() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 401 No\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno")

    async with upstream(script) as server:
        for body in (b"{}", b"x" * 100_000, BIG):
            exchange = await server.transport().send(post(body))
            assert not isinstance(exchange, Failure)
            assert (exchange.status, await whole(exchange)) == (401, b"no")


async def test_a_server_that_answers_while_it_reads_does_not_deadlock() -> None:
    """Both directions beyond their buffers: whoever only writes, or only reads, hangs here."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(BIG))
        left = len(BIG)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.eof)
            while left:
                piece = BIG[-left : len(BIG) - left + 100_000] if left > 100_000 else BIG[-left:]
                await peer.send(piece)
                left -= len(piece)

    async with upstream(script) as server:
        assert await whole(await server.transport().send(post(BIG))) == BIG


async def test_a_server_that_leaves_while_the_body_is_written_is_a_write_failure() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        peer.reset()

    async with upstream(script) as server:
        transport = server.transport()
        failure = await transport.send(post(BIG))
        assert isinstance(failure, Failure)
        assert failure.kind in ("write", "closed")
        assert (failure.received, failure.sent) == (False, True)
        assert transport.stats() == PoolStats(0, 0, 0)


async def test_a_large_request_on_a_stale_connection_is_sent_again_whole() -> None:
    seen: list[int] = []

    async def script(peer: Peer) -> None:
        if peer.index == 0:
            await peer.request()
            await peer.send(OK)
            await peer.head()
            peer.reset()
            return
        seen.append(len(await peer.request()))
        await peer.send(OK)
        await peer.eof()

    async with upstream(script) as server:
        transport = server.transport()
        await whole(await transport.send(post()))
        assert await whole(await transport.send(post(BIG))) == b"ok"
        assert len(server.peers) == 2
        assert seen[0] > len(BIG)


async def test_writing_a_large_body_does_not_keep_other_tasks_waiting() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.eof()

    async with upstream(script) as server, trio.open_nursery() as nursery:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await trio.lowlevel.checkpoint()
                ticks += 1

        nursery.start_soon(tick)
        assert await whole(await server.transport().send(post(BIG))) == b"ok"
        nursery.cancel_scope.cancel()
        assert ticks > 10
