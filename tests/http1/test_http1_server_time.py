"""Clients that take their time: every wait for a client ends, and no wait for anything else is held against it."""

import socket
from typing import Any

import pytest
import trio
from http1_engine import GET, QUICK, Client, Served, attrs, body_of, echo, eventually, get, post, reply, serving

from appliance.http1.request_body import BodyTimeout
from appliance.http1.turn import ClientGone

CHUNKED_POST = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_head_that_never_ends_is_408():
    async with serving(echo, attrs.evolve(QUICK, header_read_s=0.2)) as served:
        start = trio.current_time()
        client = await served.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost:")
        data, _ = await client.rest()
        assert data.startswith(b"HTTP/1.1 408 ")
        assert 0.1 < trio.current_time() - start < 2
        assert served.refusals == [(408, "the request head did not arrive in time")]


async def test_head_that_trickles_gets_no_more_time():
    async with serving(echo, attrs.evolve(QUICK, header_read_s=0.2, linger_s=0.1)) as served:
        client = await served.connect()
        start = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012
            for byte in get("/", "X: " + "v" * 4000):
                await client.send(bytes([byte]))
                await trio.sleep(0.01)
        assert trio.current_time() - start < 5


@pytest.mark.parametrize("used", [False, True])
async def test_silent_connection_is_closed_without_a_word(used: bool):
    limits = attrs.evolve(QUICK, idle_s=0.2, header_read_s=5) if used else attrs.evolve(QUICK, idle_s=5, header_read_s=0.2)
    async with serving(echo, limits) as served:
        client = await served.connect()
        if used:
            await client.ask(GET)
        start = trio.current_time()
        assert await client.rest() == (b"", False)
        assert trio.current_time() - start < 2
        assert served.refusals == []


async def test_kept_connection_has_idle_s_and_not_header_read_s():
    async with serving(echo, attrs.evolve(QUICK, idle_s=5, header_read_s=0.1)) as served:
        client = await served.connect()
        await client.ask(GET)
        await trio.sleep(0.4)
        assert (await client.ask(GET)).status == 200


@pytest.mark.parametrize("begin", [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab", CHUNKED_POST + b"5\r\nab"])
async def test_body_that_stops_is_408(begin: bytes):
    async with serving(echo, attrs.evolve(QUICK, body_read_s=0.2)) as served:
        client = await served.connect()
        await client.send(begin)
        data, _ = await client.rest()
        assert data.startswith(b"HTTP/1.1 408 ")
        assert served.refusals == [(408, "the request body arrives too slowly")]
        assert served.errors == []


async def test_one_byte_at_a_time_is_no_progress():
    async with serving(echo, attrs.evolve(QUICK, body_read_s=5, rate_grace_s=0.3)) as served:
        start = trio.current_time()
        client = await served.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n")
        async with trio.open_nursery() as nursery:

            async def trickle() -> None:
                while True:
                    await client.send(b"x")
                    await trio.sleep(0.02)

            nursery.start_soon(trickle)
            assert (await client.some(b"\r\n\r\n")).startswith(b"HTTP/1.1 408 ")
            nursery.cancel_scope.cancel()
        assert 0.2 < trio.current_time() - start < 3


async def test_slow_but_steady_body_is_read():
    async with serving(echo, attrs.evolve(QUICK, body_read_s=0.5, rate_grace_s=0.1, min_rate_bytes_s=512)) as served:
        client = await served.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n")
        for _ in range(20):
            await client.send(b"x" * 1000)
            await trio.sleep(0.02)
        assert len((await client.answer()).body) == 20_000 + len("POST / ")


async def test_application_may_answer_a_slow_body_itself():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await body_of(receive)
        except BodyTimeout:
            await reply(send, b"too slow for me", 400)

    async with serving(app, attrs.evolve(QUICK, body_read_s=0.1)) as served:
        client = await served.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")
        data, _ = await client.rest()
        assert data.startswith(b"HTTP/1.1 400 ")
        assert b"connection: close" in data
        assert data.endswith(b"too slow for me")
        assert served.refusals == []


async def test_no_client_timeout_runs_while_the_application_waits_for_something_else():
    limits = attrs.evolve(QUICK, header_read_s=0.1, body_read_s=0.1, idle_s=0.1, write_stall_s=0.1, rate_grace_s=0.05)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await trio.sleep(0.5)
        body = await body_of(receive)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await trio.sleep(0.5)
        await send({"type": "http.response.body", "body": b"!"})

    async with serving(app, limits) as served:
        client = await served.connect()
        assert (await client.ask(post(b"x" * 100_000))).body == b"x" * 100_000 + b"!"


async def flood(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})


async def stalled(app: Any, limits: Any, during: Any = None) -> tuple[str | None, BaseException | None, float, Served]:
    """What an application that writes to a reader which stopped learns, and after how long."""
    seen: list[Any] = []

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        turn = scope["extensions"]["http1"]
        try:
            await app(scope, receive, send)
        except BaseException as error:
            seen.extend((turn.end_reason, error))
            raise

    async with serving(watched, limits) as served:
        client = await served.connect(receive_buffer_bytes=4096)
        start = trio.current_time()
        await client.send(GET)
        async with trio.open_nursery() as nursery:
            if during is not None:
                nursery.start_soon(during, client)
            await eventually(lambda: seen)
            took_s = trio.current_time() - start
            nursery.cancel_scope.cancel()
        await eventually(lambda: served.server.connections_open == 0)
        assert served.errors == []
        with pytest.raises(OSError):  # noqa: PT011, PT012 - a reset, not an orderly end
            while await client.sock.recv(1_000_000):
                pass
        return seen[0], seen[1], took_s, served


async def test_reader_that_stopped_is_cut_and_the_application_cancelled():
    reason, error, took_s, _ = await stalled(flood, attrs.evolve(QUICK, write_stall_s=0.3))
    assert reason == "slow_reader"
    assert isinstance(error, trio.Cancelled)
    assert 0.2 < took_s < 3


async def test_shielded_send_to_a_stopped_reader_ends_too():
    async def shielded(scope: Any, receive: Any, send: Any) -> None:
        with trio.CancelScope(shield=True):
            await flood(scope, receive, send)

    reason, error, _, _ = await stalled(shielded, attrs.evolve(QUICK, write_stall_s=0.3))
    assert reason == "slow_reader"
    assert isinstance(error, ClientGone)


async def test_reader_of_a_few_bytes_now_and_then_is_cut():
    async def sip(client: Client) -> None:
        while True:
            await client.sock.recv(1)
            await trio.sleep(0.02)

    reason, _, took_s, _ = await stalled(flood, attrs.evolve(QUICK, write_stall_s=5, rate_grace_s=0.4), during=sip)
    assert reason == "slow_reader"
    assert took_s < 4


async def test_slow_but_steady_reader_gets_everything():
    total = 3_000_000

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"x" * total)

    async with serving(app, attrs.evolve(QUICK, write_stall_s=0.5, rate_grace_s=0.1)) as served:
        client = await served.connect(receive_buffer_bytes=65536)
        await client.send(get("/", "Connection: close"))
        got = 0
        with trio.fail_after(10):
            while piece := await client.sock.recv(40_000):
                got += len(piece)
                await trio.sleep(0.005)
        assert got > total


async def test_refusal_does_not_wait_forever_for_a_client_that_keeps_talking():
    async with serving(echo, attrs.evolve(QUICK, linger_s=0.2, linger_max_bytes=10_000_000)) as served:
        client = await served.connect()
        await client.send(b"\0")
        await client.some(b"\r\n\r\n")
        start = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012
            while True:
                await client.send(b"x")
                await trio.sleep(0.01)
        assert trio.current_time() - start < 3
        assert client.sock.family == socket.AF_INET


async def test_refusal_does_not_read_without_end():
    async with serving(echo, attrs.evolve(QUICK, linger_s=20, linger_max_bytes=100_000)) as served:
        client = await served.connect()
        await client.send(b"\0")
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012
            for _ in range(1000):
                await client.send(b"x" * 10_000)
