"""Small answers that leave together: whole and in order, also where the socket takes only part of one, and whatever comes after."""

import errno
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import http1_engine
import pytest
import trio
from http1_engine import GET, QUICK, Client, Served, eventually, get, serving
from stubborn_socket import Stubborn

from appliance.http1.departures import LEAVING_MAX_BYTES, TOGETHER_MAX, Departures
from appliance.http1.server_limits import ServerLimits

SMALLEST_BUFFER = 1  # the kernel makes its minimum of it, 4,608 bytes
ANSWER = b"".join(b"%06d" % number for number in range(2_000))  # 12 kB
assert len(ANSWER) < LEAVING_MAX_BYTES - 1_000


def answering(outcomes: list[bool | None], body: bytes = ANSWER) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        turn = scope["extensions"]["http1"]
        await receive()
        outcomes.append(turn.push_whole(200, [(b"x-path", scope["raw_path"])], body))
        if not outcomes[-1]:
            await send({"type": "http.response.body"})

    return app


@asynccontextmanager
async def served_with_small_buffers(outcomes: list[bool | None], limits: ServerLimits = QUICK) -> AsyncIterator[tuple[Served, Client]]:
    """A client that has room for 2 kB, on a connection whose send buffer is the smallest."""
    async with serving(answering(outcomes), limits) as served:
        served.door.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALLEST_BUFFER)
        yield served, await served.connect(receive_buffer_bytes=2_048)


def taken_in_part(served: Served) -> bool:
    return any(connection.peer.rest is not None or connection.peer.writing.waiting for connection in served.server._connections)


async def test_an_answer_that_the_socket_takes_in_part_arrives_whole_without_another_request():
    outcomes: list[bool | None] = []
    async with served_with_small_buffers(outcomes) as (served, client):
        for _ in range(3):
            await client.send(GET)
            await eventually(lambda: taken_in_part(served))
            assert (await client.answer()).body == ANSWER
            await eventually(lambda: not taken_in_part(served))
    assert outcomes == [True] * 3


async def test_an_answer_counts_as_leaving_until_the_socket_has_taken_all_of_it():
    """Nothing else tells whoever waits for the end of it: its request is over."""
    counts: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        counts.append(served.server.answers_leaving)
        assert scope["extensions"]["http1"].push_whole(200, [], ANSWER)
        counts.append(served.server.answers_leaving)

    async with serving(app) as served:
        served.door.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALLEST_BUFFER)
        client = await served.connect(receive_buffer_bytes=2_048)
        await client.send(GET)
        await eventually(lambda: taken_in_part(served))
        assert counts == [0, 1]
        assert (served.server.answers_leaving, served.server.requests_in_flight) == (1, 0)
        served.server.drain()
        await trio.sleep(0.02)
        assert served.server.answers_leaving == 1
        assert (await client.answer()).body == ANSWER
        await eventually(lambda: served.server.answers_leaving == 0)
        with trio.fail_after(2):
            await served.server.wait_idle()


async def test_what_leaves_is_counted_once_whole_or_in_part():
    async with served_with_small_buffers([]) as (served, client):
        whole = await served.connect()
        for one in (client, whole):
            await one.send(GET)
            data = await one.some(ANSWER[-6:])
            assert {connection.peer.sent_bytes for connection in served.server._connections} - {0} == {len(data)}


async def test_pipelined_answers_come_in_order_and_whole():
    outcomes: list[bool | None] = []
    async with served_with_small_buffers(outcomes) as (_, client):
        await client.send(b"".join(GET.replace(b"GET /", b"GET /%d" % number) for number in range(6)))
        await trio.sleep(0.02)
        for number in range(6):
            answer = await client.answer()
            assert answer.body == ANSWER
            assert answer.headers[b"x-path"].startswith(b"/%d" % number)
    assert len(outcomes) == 6


@pytest.mark.parametrize("end", ["fin", "drain", "close", "garbage"])
async def test_an_answer_that_parted_is_whole_though_the_connection_ends(end: str):
    outcomes: list[bool | None] = []
    async with served_with_small_buffers(outcomes) as (served, client):
        if end == "close":
            await client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        elif end == "garbage":
            await client.send(GET + b"\0\r\n\r\n")
        else:
            await client.send(GET)
        if end == "fin":
            await client.stream.send_eof()
        await eventually(lambda: outcomes)
        if end == "drain":
            served.server.drain()
        await trio.sleep(0.02)
        assert (await client.answer()).body == ANSWER


async def test_a_client_that_does_not_read_its_answer_is_cut():
    outcomes: list[bool | None] = []
    quick = ServerLimits(sweep_s=0.02, write_stall_s=0.1)
    async with served_with_small_buffers(outcomes, quick) as (served, client):
        await client.send(GET)
        await eventually(lambda: outcomes and not served.server.connections_open)


async def test_a_client_that_resets_in_the_same_pass_ends_its_connection_quietly():
    outcomes: list[bool | None] = []
    clients: list[Client] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raw = clients[0].sock
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()
        outcomes.append(scope["extensions"]["http1"].push_whole(200, [], b"late"))

    async with serving(app) as served:
        clients.append(await served.connect())
        await clients[0].send(GET)
        await eventually(lambda: outcomes and not served.server.connections_open)
        assert served.errors == []


@pytest.mark.parametrize("how", ["idle", "drain"])
async def test_a_connection_whose_answer_left_in_part_is_idle_after_it(how: str):
    limits = ServerLimits(sweep_s=0.02, idle_s=0.1 if how == "idle" else 60)
    async with served_with_small_buffers([], limits) as (served, client):
        await client.send(GET)
        await eventually(lambda: taken_in_part(served))
        assert (await client.answer()).body == ANSWER
        await eventually(lambda: not taken_in_part(served))
        if how == "drain":
            served.server.drain()
        assert await client.rest() == (b"", False)


async def test_an_answer_of_an_application_that_begins_a_drain_behind_it_is_whole():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        assert scope["extensions"]["http1"].push_whole(200, [], ANSWER)
        served.server.drain()

    async with serving(app) as served:
        served.door.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALLEST_BUFFER)
        client = await served.connect(receive_buffer_bytes=2_048)
        await trio.sleep(0.02)  # so that the server gives up trying to read at once
        await client.send(GET)
        await trio.sleep(0.02)
        assert (await client.answer()).body == ANSWER


def talk_in_a_thread(address: Any) -> bytes:
    """A client that gives the server's event loop nothing to wake up for but its request."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        sock.settimeout(12)  # the next time limit of the loop is later
        sock.connect(address)
        time.sleep(0.05)  # the server has tried to read at once, and waits from now on
        sock.sendall(GET)
        data = b""
        while not data.endswith(ANSWER):
            data += sock.recv(65_536)
        return data


async def test_the_rest_of_an_answer_waits_for_no_other_event():
    """How long the loop waits was settled before anything left, and nothing else may be due for long."""
    outcomes: list[bool | None] = []
    async with served_with_small_buffers(outcomes, ServerLimits(sweep_s=60)) as (served, _):
        assert await trio.to_thread.run_sync(talk_in_a_thread, served.address)


async def test_the_rest_of_an_answer_leaves_while_the_next_head_is_incomplete():
    outcomes: list[bool | None] = []
    async with served_with_small_buffers(outcomes) as (_, client):
        await client.send(GET + GET[:9])
        assert (await client.answer()).body == ANSWER
        await client.send(GET[9:])
        assert (await client.answer()).body == ANSWER


async def test_the_rest_of_an_answer_that_left_before_the_end_of_the_pass_does_too():
    """Nobody waits yet who could be woken."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        for _ in range(TOGETHER_MAX - 1):
            served.departures.add(lambda: False)
        assert scope["extensions"]["http1"].push_whole(200, [], ANSWER)

    async with serving(app) as served:
        served.door.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALLEST_BUFFER)
        client = await served.connect(receive_buffer_bytes=2_048)
        for _ in range(3):
            await trio.sleep(0.01)  # so that the server gives up trying to read at once
            assert (await client.ask(GET)).body == ANSWER


async def test_the_rest_of_an_answer_leaves_before_a_body_that_was_not_read_has_come():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["extensions"]["http1"].push_whole(200, [], ANSWER)

    async with serving(app) as served:
        served.door.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALLEST_BUFFER)
        client = await served.connect(receive_buffer_bytes=2_048)
        request = http1_engine.post(b"whatever")
        for _ in range(2):
            await client.send(request[:-8])
            assert (await client.answer()).body == ANSWER
            await client.send(request[-8:])


async def test_an_answer_that_parted_is_whole_though_the_application_raises_after_it():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        assert scope["extensions"]["http1"].push_whole(200, [], ANSWER)
        raise LookupError

    async with serving(app) as served:
        served.door.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALLEST_BUFFER)
        client = await served.connect(receive_buffer_bytes=2_048)
        assert (await client.ask(GET)).body == ANSWER
        assert await client.rest() == (b"", False)
        assert [type(error) for error in served.errors] == [LookupError]


@pytest.mark.parametrize("refusal", [BlockingIOError(), OSError(errno.ENOBUFS, "as a unix socket says when the kernel is short of memory")])
async def test_an_answer_that_could_not_leave_is_not_left_out(refusal: OSError, tmp_path: Any):
    """Else the next one would be taken for it."""
    async with serving(answering([]), path=str(tmp_path / "door")) as served:
        client = await served.connect()
        await eventually(lambda: served.server.connections_open)
        (connection,) = served.server._connections
        connection.peer.sock = stubborn = Stubborn(connection.peer.sock)
        stubborn.refusal = refusal
        await client.send(get("/1") + get("/2"))
        assert [(await client.answer()).headers[b"x-path"] for _ in range(2)] == [b"/1", b"/2"]


async def test_without_the_service_an_answer_is_sent_at_once():
    outcomes: list[bool | None] = []
    async with serving(answering(outcomes), departures=Departures(), departing=False) as served:
        assert (await (await served.connect()).ask(GET)).body == ANSWER
    assert outcomes == [True]


async def test_two_servers_answer_through_one_service():
    departures = Departures()
    outcomes: list[bool | None] = []
    async with (
        serving(answering(outcomes), departures=departures) as one,
        serving(answering(outcomes), departures=departures, departing=False) as two,
    ):
        clients = [await served.connect() for served in (one, two) for _ in range(TOGETHER_MAX)]
        for _ in range(3):
            for client in clients:
                await client.send(GET)
            assert all([(await client.answer()).body == ANSWER for client in clients])
    assert outcomes == [True] * 6 * TOGETHER_MAX


async def test_an_answer_is_delivered_though_the_application_closes_the_connection_behind_it():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        turn = scope["extensions"]["http1"]
        assert turn.push_whole(200, [], ANSWER)
        turn.abort(False)

    async with serving(app) as served:
        client = await served.connect()
        assert (await client.ask(GET)).body == ANSWER
        assert await client.rest() == (b"", False)
        assert served.errors == []
