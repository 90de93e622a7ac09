"""Small answers that leave together: whole and in order, also where the socket takes only part of one, and whatever comes after."""

import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from http1_engine import GET, QUICK, Client, Served, eventually, serving

from appliance.http1.departures import LEAVING_MAX_BYTES
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


def talk_in_a_thread(address: Any) -> bytes:
    """A client that gives the server's event loop nothing to wake up for but its request."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        sock.settimeout(2)
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
