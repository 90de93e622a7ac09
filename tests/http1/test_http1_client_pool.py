"""Which connection a request gets: reuse, stale connections, bounds, the queue."""

import pytest
import trio
import trio.testing
from scripted_upstream import OK, Peer, post, serve_ok, upstream, whole

from appliance.http1.client import Http1Transport
from appliance.http1.origin import Origin
from appliance.http1.transport import Exchange, Failure, PoolStats, TransportLimits


async def opened(transport: Http1Transport) -> Exchange:
    """An exchange whose body is still to come."""
    exchange = await transport.send(post())
    assert not isinstance(exchange, Failure)
    return exchange


class Held:
    """Answers with a head at once and with the body when `release` is called."""

    def __init__(self) -> None:
        self.send_release, self.receive_release = trio.open_memory_channel[None](1000)

    async def script(self, peer: Peer) -> None:
        while await peer.request():
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")
            await self.receive_release.receive()
            await peer.send(b"ok")

    def release(self, count: int = 1) -> None:
        for _ in range(count):
            self.send_release.send_nowait(None)


async def test_a_complete_answer_gives_its_connection_back_before_close_is_called() -> None:
    async with upstream(serve_ok) as server:
        transport = server.transport()
        first = await opened(transport)
        assert (first.reused, transport.stats()) == (False, PoolStats(1, 1, 0))
        assert first.connect_s > 0
        second = await opened(transport)
        assert (second.reused, second.connect_s) == (True, 0.0)
        assert await whole(first) == await whole(second) == b"ok"
        first.close()
        second.close()
        assert transport.stats() == PoolStats(1, 1, 0)
        assert len(server.peers) == 1


async def test_closing_before_the_end_closes_the_socket_at_once() -> None:
    held = Held()
    async with upstream(held.script) as server:
        transport = server.transport()
        exchange = await opened(transport)
        exchange.close()
        exchange.close()
        assert transport.stats() == PoolStats(0, 0, 0)
        failure = await exchange.read()
        assert isinstance(failure, Failure)
        assert failure.kind == "closed"
        held.release()
        await server.peers[0].ended.wait()


async def test_the_connection_used_last_is_reused_first() -> None:
    held = Held()
    async with upstream(held.script) as server:
        transport = server.transport()
        exchanges = [await opened(transport) for _ in range(3)]
        held.release(3)
        for exchange in exchanges:
            assert await whole(exchange) == b"ok"
        for _ in range(3):
            held.release()
            assert await whole(await transport.send(post())) == b"ok"
        assert [peer.requests for peer in server.peers] == [1, 1, 4]


@pytest.mark.parametrize("how", ["close", "reset", "junk"])
async def test_an_idle_connection_with_something_to_say_is_not_used(how: str) -> None:
    spoil, spoiled = trio.Event(), trio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        if peer.index == 0:
            await spoil.wait()
            if how == "close":
                await peer.stream.aclose()
            elif how == "reset":
                peer.reset()
            else:
                await peer.send(OK)  # a second answer nobody asked for must not become the next request's
            spoiled.set()
        await peer.eof()

    async with upstream(script) as server:
        transport = server.transport()
        await whole(await transport.send(post()))
        spoil.set()
        await spoiled.wait()
        exchange = await opened(transport)
        assert not exchange.reused
        assert await whole(exchange) == b"ok"
        assert [peer.requests for peer in server.peers] == [1, 1]


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_reused_connection_that_ends_without_a_byte_is_retried_once_on_a_new_one(how: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.index == 0:
            await peer.send(OK)
            await peer.request()  # the client could not know: the close comes after its request
            if how == "reset":
                peer.reset()
            return
        await peer.send(OK)
        await peer.eof()

    async with upstream(script) as server:
        transport = server.transport()
        await whole(await transport.send(post()))
        exchange = await opened(transport)
        assert (await whole(exchange), exchange.reused) == (b"ok", False)
        assert [peer.requests for peer in server.peers] == [2, 1]
        assert transport.stats() == PoolStats(1, 1, 0)


async def test_the_retry_itself_is_not_retried() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.index == 0:
            await peer.send(OK)
            await peer.request()

    async with upstream(script) as server:
        transport = server.transport()
        await whole(await transport.send(post()))
        failure = await transport.send(post())
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.received, failure.sent) == ("closed", False, True)
        assert [peer.requests for peer in server.peers] == [2, 1]
        assert transport.stats() == PoolStats(0, 0, 0)


async def test_a_retry_that_cannot_connect_tells_that_the_first_attempt_was_sent() -> None:
    door = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    origin = Origin.parse(f"http://127.0.0.1:{door.socket.getsockname()[1]}")
    assert isinstance(origin, Origin)

    async def serve_twice_and_leave() -> None:
        async with await door.accept() as stream:
            await stream.receive_some()
            await stream.send_all(OK)
            await stream.receive_some()
            await door.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_twice_and_leave)
        transport = Http1Transport(origin, TransportLimits())
        assert await whole(await transport.send(post())) == b"ok"
        failure = await transport.send(post())
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.received, failure.sent) == ("connect", False, True)
    assert transport.stats() == PoolStats(0, 0, 0)


async def test_after_one_byte_of_answer_nothing_is_retried() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await peer.send(b"H")

    async with upstream(script) as server:
        transport = server.transport()
        await whole(await transport.send(post()))
        failure = await transport.send(post())
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.received) == ("closed", True)
        assert len(server.peers) == 1


async def test_a_server_that_dies_on_a_request_after_a_while_is_not_retried() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await trio.sleep(0.3)

    async with upstream(script) as server:
        transport = server.transport(stale_s=0.03)
        await whole(await transport.send(post()))
        failure = await transport.send(post())
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.received) == ("closed", False)
        assert len(server.peers) == 1


async def test_a_new_connection_that_ends_without_a_byte_is_not_retried() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()

    async with upstream(script) as server:
        failure = await server.transport().send(post())
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.received, failure.sent) == ("closed", False, True)
        assert len(server.peers) == 1


async def test_idle_connections_age_out(mock_clock: trio.testing.MockClock) -> None:
    async with upstream(serve_ok, patience_s=1000) as server:
        transport = server.transport(idle_s=60)
        for wait_s, connections in ((0, 1), (59, 1), (59, 1), (61, 2)):
            mock_clock.jump(wait_s)
            assert await whole(await transport.send(post())) == b"ok"
            assert len(server.peers) == connections
            assert transport.stats() == PoolStats(1, 1, 0)


@pytest.mark.parametrize(
    ("announced", "wait_s", "connections"),
    [
        (b"timeout=5, max=100", 3.5, 1),
        (b"timeout=5, max=100", 4.5, 2),
        (b"timeout=1", 0, 2),
        (b"timeout=100", 59, 1),
        (b"timeout=100", 61, 2),
        (b"max=100", 59, 1),
        (b"timeout=x", 59, 1),
    ],
)
async def test_a_peer_that_announces_a_shorter_keep_alive_is_believed(
    announced: bytes, wait_s: float, connections: int, mock_clock: trio.testing.MockClock
) -> None:
    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.send(b"HTTP/1.1 200 OK\r\nkeep-alive: %b\r\ncontent-length: 0\r\n\r\n" % announced)

    async with upstream(script, patience_s=1000) as server:
        transport = server.transport(idle_s=60)
        for _ in range(2):
            assert await whole(await transport.send(post())) == b""
            mock_clock.jump(wait_s)
        assert len(server.peers) == connections


async def test_where_none_may_idle_none_is_kept() -> None:
    async with upstream(serve_ok) as server:
        transport = server.transport(idle_max=0)
        for _ in range(2):
            assert await whole(await transport.send(post())) == b"ok"
            assert transport.stats() == PoolStats(0, 0, 0)


async def test_no_more_than_idle_max_connections_are_kept() -> None:
    held = Held()
    async with upstream(held.script) as server:
        transport = server.transport(idle_max=2)
        exchanges = [await opened(transport) for _ in range(5)]
        held.release(5)
        for exchange in exchanges:
            await whole(exchange)
        assert transport.stats() == PoolStats(2, 2, 0)
        for peer in server.peers[:3]:
            await peer.ended.wait()


async def test_waiters_get_connections_in_the_order_they_came() -> None:
    held = Held()
    order: list[int] = []

    async def ask(number: int) -> None:
        exchange = await opened(transport)
        order.append(number)
        held.release()
        assert await whole(exchange) == b"ok"

    async with upstream(held.script) as server:
        transport = server.transport(connections_max=1)
        first = await opened(transport)
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(ask, number)
                await trio.testing.wait_all_tasks_blocked()
            assert transport.stats() == PoolStats(1, 0, 20)
            held.release()
            await whole(first)
        assert order == list(range(20))
        assert len(server.peers) == 1


async def test_a_waiter_is_not_given_a_connection_with_unasked_bytes_in_it() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.index == 0:
            await trio.testing.wait_all_tasks_blocked()
            await peer.send(OK + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
            await peer.eof()
        await peer.send(OK)

    bodies: list[object] = []

    async def ask() -> None:
        bodies.append(await whole(await transport.send(post())))

    async with upstream(script) as server:
        transport = server.transport(connections_max=1, recv_bytes=len(OK))  # reads the first answer and not a byte more
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(ask)
        assert bodies == [b"ok", b"ok"]
        assert [peer.requests for peer in server.peers] == [1, 1]


async def test_a_waiter_also_takes_over_the_slot_of_a_connection_that_failed() -> None:
    held = Held()
    async with upstream(held.script) as server:
        transport = server.transport(connections_max=1)
        first = await opened(transport)
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                exchange = await opened(transport)
                assert not exchange.reused
                exchange.close()

            nursery.start_soon(ask)
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            first.close()
        assert transport.stats() == PoolStats(0, 0, 0)
        assert len(server.peers) == 3


async def test_a_full_queue_refuses_at_once() -> None:
    held = Held()
    async with upstream(held.script) as server:
        transport = server.transport(connections_max=1, queue_max=2)
        first = await opened(transport)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.send, post())
            nursery.start_soon(transport.send, post())
            await trio.testing.wait_all_tasks_blocked()
            failure = await transport.send(post())
            assert isinstance(failure, Failure)
            assert (failure.kind, failure.received, failure.sent) == ("queue_full", False, False)
            nursery.cancel_scope.cancel()
        assert transport.stats() == PoolStats(1, 0, 0)
        first.close()


async def test_a_waiter_gives_up_after_queue_s_and_leaves_no_hole() -> None:
    held = Held()
    async with upstream(held.script) as server:
        transport = server.transport(connections_max=1, queue_s=0.05)
        first = await opened(transport)
        failure = await transport.send(post())
        assert isinstance(failure, Failure)
        assert failure.kind == "queue_timeout"
        assert transport.stats() == PoolStats(1, 0, 0)
        held.release(2)
        assert await whole(first) == b"ok"
        assert await whole(await transport.send(post())) == b"ok"


async def test_cancelled_waiters_leave_no_hole() -> None:
    held = Held()
    served: list[int] = []

    async def ask(number: int, scope: trio.CancelScope) -> None:
        with scope:
            exchange = await opened(transport)
            served.append(number)
            held.release()
            await whole(exchange)

    async with upstream(held.script) as server:
        transport = server.transport(connections_max=1)
        first = await opened(transport)
        async with trio.open_nursery() as nursery:
            scopes = [trio.CancelScope() for _ in range(6)]
            for number, scope in enumerate(scopes):
                nursery.start_soon(ask, number, scope)
                await trio.testing.wait_all_tasks_blocked()
            for number in (0, 2, 5):
                scopes[number].cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert transport.stats() == PoolStats(1, 0, 3)
            held.release()
            await whole(first)
        assert served == [1, 3, 4]
        assert transport.stats() == PoolStats(1, 1, 0)


async def test_a_waiter_cancelled_in_the_tick_it_is_served_passes_the_connection_on() -> None:
    held = Held()
    async with upstream(held.script) as server:
        transport = server.transport(connections_max=1)
        first = await opened(transport)
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()
            answered = trio.Event()

            async def cancelled() -> None:
                with scope:
                    await transport.send(post())

            async def behind() -> None:
                assert await whole(await transport.send(post())) == b"ok"
                answered.set()

            nursery.start_soon(cancelled)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(behind)
            await trio.testing.wait_all_tasks_blocked()
            first.close()  # grants the slot to the first waiter, which has not run yet
            scope.cancel()
            held.release(2)
            await answered.wait()
        assert transport.stats() == PoolStats(1, 1, 0)


async def test_shutdown_closes_idle_sends_waiters_away_and_lets_running_answers_finish() -> None:
    held = Held()
    failures: list[object] = []

    async def ask() -> None:
        failures.append(await transport.send(post()))

    async with upstream(held.script) as server:
        transport = server.transport(connections_max=2)
        running, done = await opened(transport), await opened(transport)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            await transport.aclose()
        held.release(2)
        assert await whole(running) == await whole(done) == b"ok"
        assert transport.stats() == PoolStats(0, 0, 0)
        failures.append(await transport.send(post()))
        assert [isinstance(f, Failure) and f.kind for f in failures] == ["closed", "closed"]
        await transport.aclose()
        for peer in server.peers:
            await peer.ended.wait()


async def test_the_upkeep_service_closes_old_idle_connections() -> None:
    async with upstream(serve_ok) as server:
        transport = server.transport(idle_s=0.1)
        await whole(await transport.send(post()))
        assert transport.stats().idle == 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.keep)
            await server.peers[0].ended.wait()
            nursery.cancel_scope.cancel()
        assert transport.stats() == PoolStats(0, 0, 0)


async def test_the_upkeep_service_notices_connections_the_peer_closed() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        if peer.index == 1:
            await peer.eof()

    async with upstream(script) as server:
        transport = server.transport()
        first = await transport.send(post())
        await server.peers[0].ended.wait()
        await trio.testing.wait_all_tasks_blocked()
        transport._pool.prune(trio.current_time())
        assert (await whole(first), transport.stats()) == (b"ok", PoolStats(0, 0, 0))
        await whole(await transport.send(post()))
        transport._pool.prune(trio.current_time())
        assert transport.stats() == PoolStats(1, 1, 0)


async def test_no_more_than_connections_max_sockets_exist_under_load() -> None:
    most = 0

    async def script(peer: Peer) -> None:
        nonlocal most
        while await peer.request():
            most = max(most, transport.stats().open)
            await trio.sleep(0.001)
            await peer.send(OK)

    async def ask() -> None:
        for _ in range(10):
            assert await whole(await transport.send(post())) == b"ok"

    async with upstream(script) as server:
        transport = server.transport(connections_max=4)
        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(ask)
        assert most == len(server.peers) == 4
        assert transport.stats() == PoolStats(4, 4, 0)
