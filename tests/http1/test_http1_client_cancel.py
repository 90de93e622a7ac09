"""A cancelled request closes its socket before `Cancelled` leaves and gives its slot back, wherever it was."""

from collections.abc import Callable

import pytest
import trio
import trio.testing
from scripted_upstream import OK, Peer, post, serve_ok, upstream, whole

from appliance.http1.client import Http1Transport
from appliance.http1.transport import Failure, Hold, PoolStats, UpstreamRequest

# A socket left to the garbage collector is closed too, only not in time; it must not pass for one that was closed.
pytestmark = [
    pytest.mark.filterwarnings("error::ResourceWarning"),
    pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning"),
]


AT_ONCE_S = 1.0  # it takes a millisecond; the machine may be busy


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope when its task is about to run for the n-th time, so that each await in it is hit in turn."""

    def __init__(self, task: trio.lowlevel.Task, step: int, scope: trio.CancelScope) -> None:
        self.task, self.left, self.scope = task, step, scope

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.left -= 1
            if self.left == 0:
                self.scope.cancel()


async def cancelled_at(step: int, transport: Http1Transport, request: UpstreamRequest) -> bool:
    """Runs one request to its end, cancelled at its n-th await. False when it ended before."""
    with trio.CancelScope() as scope:
        instrument = CancelAtStep(trio.lowlevel.current_task(), step, scope)
        trio.lowlevel.add_instrument(instrument)
        try:
            assert not isinstance(await whole(await transport.send(request)), Failure)
        finally:
            trio.lowlevel.remove_instrument(instrument)
            # In the same tick: whatever was open is closed or idle again.
            stats = transport.stats()
            assert stats.open == stats.idle
            assert stats.queued == 0
    return scope.cancelled_caught


async def slow(peer: Peer) -> None:
    """Every phase in a packet of its own."""
    while await peer.request():
        pieces = (b"HTTP/1.1 200 OK\r\n", b"transfer-encoding: chunked\r\n\r\n", b"2\r\nhe\r\n", b"3\r\nllo\r\n", b"0\r\n\r\n")
        for piece in pieces:
            await trio.sleep(0.001)
            await peer.send(piece)


@pytest.mark.parametrize("pooled", [False, True])
async def test_cancelled_at_every_await_the_socket_closes_and_the_slot_returns(pooled: bool) -> None:
    async with upstream(slow) as server:
        step, hits = 1, 0
        while True:
            transport = server.transport(connections_max=1)
            if pooled:
                assert await whole(await transport.send(post())) == b"hello"
            if not await cancelled_at(step, transport, post()):
                break
            hits += 1
            assert await whole(await transport.send(post())) == b"hello"
            await transport.aclose()
            step += 1
        await transport.aclose()
        assert hits >= (5 if pooled else 6)
        for peer in server.peers:
            await peer.ended.wait()


async def test_cancelled_at_every_await_of_a_large_upload_the_socket_closes() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await trio.sleep(0.002)
        await peer.request()
        await peer.send(OK)
        await peer.eof()

    async with upstream(script) as server:
        step = 1
        while await cancelled_at(step, server.transport(), post(b"x" * 8_000_000)):
            step += 1
        assert step > 2
        for peer in server.peers[:-1]:
            await peer.ended.wait()


async def test_cancelled_while_queued_the_slot_stays_with_its_owner() -> None:
    async with upstream(slow) as server:
        transport = server.transport(connections_max=1)
        first = await transport.send(post())
        with trio.move_on_after(0.02) as scope:
            await transport.send(post())
        assert scope.cancelled_caught
        assert transport.stats() == PoolStats(1, 0, 0)
        assert await whole(first) == b"hello"
        assert transport.stats() == PoolStats(1, 1, 0)


async def test_the_server_sees_the_end_of_a_cancelled_request_at_once() -> None:
    closed_at: list[float] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        waiting.set()
        await peer.eof()
        closed_at.append(trio.current_time())

    waiting = trio.Event()
    async with upstream(script) as server:
        transport = server.transport()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.send, post())
            await waiting.wait()
            await trio.testing.wait_all_tasks_blocked()
            cancelled_time = trio.current_time()
            nursery.cancel_scope.cancel()
        await server.peers[0].ended.wait()
        assert closed_at[0] - cancelled_time < AT_ONCE_S
        assert transport.stats() == PoolStats(0, 0, 0)


@pytest.mark.parametrize("delay_s", [0.0, 0.0005, 0.001, 0.002, 0.003, 0.004, 0.006])
async def test_deadlines_in_a_crowd_leave_the_pool_consistent(delay_s: float) -> None:
    async def ask(number: int) -> None:
        with trio.move_on_after(delay_s * (1 + number % 4)):
            await whole(await transport.send(post()))

    async with upstream(slow) as server:
        transport = server.transport(connections_max=3)
        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(ask, number)
        stats = transport.stats()
        assert stats.open == stats.idle <= 3
        assert stats.queued == 0
        assert await whole(await transport.send(post())) == b"hello"
        await transport.aclose()
        for peer in server.peers:
            await peer.ended.wait()


@pytest.mark.parametrize("how", ["close", "hold"])
@pytest.mark.parametrize(
    "framing", [b"content-length: 9\r\n", b"", b"transfer-encoding: chunked\r\n"], ids=["length", "until close", "chunked"]
)
async def test_an_exchange_ended_by_somebody_else_wakes_its_reader_with_a_failure(framing: bytes, how: str) -> None:
    """Also where only the end of the connection ends the body: that it was us who ended it makes the answer no whole one."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n")
        await peer.eof()

    hold = Hold()

    async with upstream(script) as server:
        transport = server.transport()
        exchange = await transport.send(post(), hold)
        assert not isinstance(exchange, Failure)
        close: Callable[[], None] = exchange.close if how == "close" else hold.end
        async with trio.open_nursery() as nursery:

            async def later() -> None:
                await trio.testing.wait_all_tasks_blocked()
                close()

            nursery.start_soon(later)
            failure = await exchange.read()
        assert isinstance(failure, Failure)
        assert failure.kind == "closed"
        assert transport.stats() == PoolStats(0, 0, 0)


async def test_a_finished_answer_survives_cancellation_of_its_reader() -> None:
    async with upstream(serve_ok) as server:
        transport = server.transport()
        exchange = await transport.send(post())
        assert not isinstance(exchange, Failure)
        with trio.CancelScope() as scope:
            scope.cancel()
            assert await exchange.read() == b"ok"
            assert await exchange.read() == b""
        assert transport.stats() == PoolStats(1, 1, 0)
