"""The end of a server, and its being full: drain, cut, connections_max, and what the gauges say."""

import contextlib
import errno
import resource
import socket
from typing import Any

import pytest
import trio
from http1_engine import GET, PATIENCE_S, QUICK, attrs, echo, eventually, get, reply, serving

from appliance.http1.server import ACCEPT_BATCH_MAX


class Gate:
    """An application whose answers wait for the test."""

    def __init__(self) -> None:
        self.open = trio.Event()
        self.running = 0
        self.end_reasons: list[str] = []

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.running += 1
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            if scope["path"] == "/stream":
                await send({"type": "http.response.body", "body": b"begun ", "more_body": True})
            await self.open.wait()
            await send({"type": "http.response.body", "body": b"done"})
        except trio.Cancelled:
            self.end_reasons.append(scope["extensions"]["http1"].end_reason)
            raise


async def test_drain_finishes_what_runs_and_closes_what_is_idle():
    gate = Gate()
    async with serving(gate.app, attrs.evolve(QUICK, linger_s=0.2)) as served:
        idle, running, streaming = [await served.connect() for _ in range(3)]
        gate.open.set()
        await idle.ask(GET)
        gate.open = trio.Event()
        await running.send(GET + get("/next"))
        await streaming.send(get("/stream"))
        await eventually(lambda: served.server.requests_in_flight == 2)
        assert served.server.connections_open == 3

        served.server.drain()
        assert served.server.draining
        assert await idle.rest() == (b"", False)
        await eventually(lambda: served.server.connections_open == 2)
        await eventually(lambda: served.door.fileno() < 0)
        with pytest.raises(OSError) as refused:  # noqa: PT011
            await served.connect()
        assert refused.value.errno == errno.ECONNREFUSED

        gate.open.set()
        data, reset = await running.rest()
        assert b"connection: close" in data
        assert data.count(b"HTTP/1.1 200") == 1
        assert data.endswith(b"done")
        assert not reset
        data, reset = await streaming.rest()
        assert data.endswith(b"4\r\ndone\r\n0\r\n\r\n")  # its head was out already; the body still ends as it should
        assert not reset
        with trio.fail_after(PATIENCE_S):
            await served.server.wait_idle()
        assert served.server.connections_open == 0


async def test_drain_serves_a_request_that_is_on_its_way():
    async with serving(echo) as served:
        fresh = await served.connect()
        used = await served.connect()
        await used.ask(GET)
        await eventually(lambda: served.server.connections_open == 2)
        used.sock._sock.send(get("/used"))  # in the receive queue, not yet read, when the drain begins
        served.server.drain()
        await trio.sleep(0.05)
        await fresh.send(get("/fresh"))
        for client, body in ((used, b"GET /used "), (fresh, b"GET /fresh ")):
            answer = await client.answer()
            assert (answer.body, answer.headers[b"connection"]) == (body, b"close")


async def test_drain_does_not_wait_for_connections_that_never_ask():
    async with serving(echo, attrs.evolve(QUICK, drain_fresh_s=0.1)) as served:
        client = await served.connect()
        await eventually(lambda: served.server.connections_open == 1)
        served.server.drain()
        with trio.fail_after(PATIENCE_S):
            await served.server.wait_idle()
        assert await client.rest() == (b"", False)


async def test_connections_in_the_backlog_are_served_before_the_door_closes():
    """However many they are: more than are accepted in one go."""
    async with serving(echo) as served:
        with contextlib.ExitStack() as stack:
            waiting = [stack.enter_context(socket.socket()) for _ in range(5 * ACCEPT_BATCH_MAX)]
            for raw in waiting:
                raw.setblocking(False)
                raw.connect_ex(served.address)  # completed by the kernel; the server's task has not run since
                raw.send(GET)
            served.server.drain()
            for raw in waiting:
                await trio.lowlevel.wait_readable(raw)
                assert raw.recv(1000).startswith(b"HTTP/1.1 200")


async def test_cut_cancels_what_is_left_and_says_why():
    gate = Gate()
    async with serving(gate.app) as served:
        client = await served.connect()
        await client.send(get("/stream"))
        await client.some(b"begun ")
        served.server.drain()
        await trio.sleep(0.05)
        assert served.server.connections_open == 1
        served.server.cut()
        with trio.fail_after(PATIENCE_S):
            await served.server.wait_idle()
        data, _ = await client.rest()
        assert b"0\r\n\r\n" not in data, "a cut stream must not look finished"
        assert gate.end_reasons == ["shutdown"]
        assert served.errors == []


async def test_connection_above_the_maximum_is_told_so_and_the_others_are_served():
    async with serving(echo, attrs.evolve(QUICK, connections_max=2, refusing_max=2, linger_s=0.2)) as served:
        first, second = await served.connect(), await served.connect()
        await first.ask(GET)
        await second.ask(GET)
        third = await served.connect()
        data, _ = await third.rest()
        assert data.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: " in data
        assert served.refusals == [(503, "too many connections")]
        assert (await first.ask(GET)).status == 200
        first.sock.close()
        third.sock.close()
        await eventually(lambda: served.server.connections_open == 1)
        assert (await (await served.connect()).ask(GET)).status == 200


async def test_flood_above_the_maximum_is_closed_unanswered():
    async with serving(echo, attrs.evolve(QUICK, connections_max=1, refusing_max=2, linger_s=0.3)) as served:
        first = await served.connect()
        await first.ask(GET)
        crowd = [await served.connect() for _ in range(10)]
        await trio.sleep(0.05)
        assert served.server.connections_open <= 3
        answers = [(await client.rest())[0] for client in crowd]
        assert sum(answer.startswith(b"HTTP/1.1 503 ") for answer in answers) == 2
        assert sum(answer == b"" for answer in answers) == 8
        assert (await first.ask(GET)).status == 200


async def test_connection_ends_after_its_share_of_requests():
    async with serving(echo, attrs.evolve(QUICK, requests_per_connection_max=3)) as served:
        client = await served.connect()
        headers = [(await client.ask(GET)).headers.get(b"connection") for _ in range(3)]
        assert headers == [None, None, b"close"]
        assert await client.rest() == (b"", False)


async def test_running_out_of_descriptors_is_survived():
    async with serving(echo) as served:
        waiting = [await served.connect()]
        await waiting[0].ask(GET)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        clients = [socket.socket() for _ in range(3)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(s.fileno() for s in clients) + 1, hard))
        try:
            for sock in clients:
                sock.setblocking(False)
                sock.connect_ex(served.address)
            await trio.sleep(0.25)
            assert served.server.connections_open == 1
            assert (await waiting[0].ask(GET)).status == 200
            assert [error.errno for error in served.errors] == [errno.EMFILE]  # told once, though tried many times
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await eventually(lambda: served.server.connections_open == 4)
        for sock in clients:
            sock.close()


async def test_many_connections_are_accepted_at_once():
    async with serving(echo) as served:
        clients = [await served.connect() for _ in range(200)]
        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(client.ask, GET)
        assert served.server.connections_open == 200


async def test_accepted_sockets_send_without_delay():
    seen: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        sock = scope["extensions"]["http1"]._peer.sock
        seen.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        await reply(send, b"")

    async with serving(app) as served:
        await (await served.connect()).ask(GET)
    assert seen == [1]
