"""Answers over HTTP/2 are whole: they end during a drain as at any time, and are over when they have left."""

import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import pytest
import trio
import trio.testing
import trustme
from doors import certificate

from appliance.config.doors import ServerLimits
from appliance.server.hypercorn_engine import HypercornServer

SMALLEST_BUFFER = 1  # the kernel makes its minimum of it, 4,608 bytes
ONE_FRAME = bytes(12_000)  # more than such a buffer and a reader's of 2 kB hold
WAIT_S = 10.0


class Gate:
    """An application whose answers begin when the test says so, those to /late after a first byte end when it says so, too.

    over: of how many the end was seen, by its last `send` or by hearing of it.
    """

    def __init__(self, body: bytes, pieces: int = 1, hears: bool = True) -> None:
        self.open, self.late = trio.Event(), trio.Event()
        self.body, self.pieces, self.hears = body, pieces, hears
        self.begun = self.over = 0

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        async with trio.open_nursery() as nursery:
            if self.hears:
                nursery.start_soon(self._hear, receive, nursery.cancel_scope)
            self.begun += 1
            await self.open.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            if scope["path"] == "/late":
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
                await self.late.wait()
            else:
                size = len(self.body) // self.pieces
                for start in range(0, len(self.body), size):
                    await send({"type": "http.response.body", "body": self.body[start : start + size], "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        self.over += 1

    async def _hear(self, receive: Any, scope: trio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()


@attrs.define
class Talker:
    """A client that reads when it is told to."""

    stream: trio.SSLStream[trio.SocketStream]
    http2: h2.connection.H2Connection = attrs.field(
        factory=lambda: h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    )
    body: bytes = b""
    ended: list[int] = attrs.field(factory=list)
    resets: dict[int, int] = attrs.field(factory=dict)
    goodbye: bool = False

    async def begin(self) -> None:
        self.http2.initiate_connection()
        await self.flush()

    async def ask(self, path: str = "/", *, whole: bool = True) -> int:
        """`whole`: without a body; else `say` sends some of it."""
        number: int = self.http2.get_next_available_stream_id()
        self.http2.send_headers(number, [(":method", "GET"), (":path", path), (":scheme", "https"), (":authority", "a")], end_stream=whole)
        await self.flush()
        return number

    async def say(self, number: int, data: bytes) -> None:
        self.http2.send_data(number, data)
        await self.flush()

    async def flush(self) -> None:
        await self.stream.send_all(self.http2.data_to_send())

    async def read(self) -> bool:
        """Takes in what has come; False at the end of the connection."""
        data = await self.stream.receive_some(4096)
        if not data:
            return False
        for event in self.http2.receive_data(bytes(data)):
            match event:
                case h2.events.DataReceived():
                    self.body += event.data
                    self.http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case h2.events.StreamEnded():
                    self.ended.append(event.stream_id)
                case h2.events.StreamReset():
                    self.resets[event.stream_id] = event.error_code
                case h2.events.ConnectionTerminated():
                    self.goodbye = True
        return True

    async def read_until_ended(self, number: int) -> None:
        with trio.fail_after(WAIT_S):
            while number not in self.ended:
                assert await self.read(), "the connection ended before the answer"
                if not self.goodbye:
                    await self.flush()


@asynccontextmanager
async def serving(gate: Gate, tmp_path: Path, write_stall_s: float = 30.0) -> AsyncGenerator[tuple[HypercornServer, Talker]]:
    """A server with the smallest send buffers, and a client that has room for little."""
    authority = trustme.CA()
    cert, key = certificate(tmp_path, authority, "localhost")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    trusting.set_alpn_protocols(["h2"])
    errors: list[BaseException] = []
    limits = ServerLimits(write_stall_s=write_stall_s)
    server = HypercornServer(gate.app, limits, str(cert), str(key), lambda error, _: errors.append(error), lambda *_: None)
    door = socket.create_server(("127.0.0.1", 0))
    door.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALLEST_BUFFER)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, [door])
        sock = trio.socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        await sock.connect(door.getsockname())
        stream = trio.SSLStream(trio.SocketStream(sock), trusting, server_hostname="localhost", https_compatible=True)
        talker = Talker(stream)
        await talker.begin()
        yield server, talker
        sock.close()
        server.cut()
    assert errors == []


async def eventually(true: Any) -> None:
    with trio.fail_after(WAIT_S):
        while not true():  # noqa: ASYNC110 - a condition of the system under test, not of ours to signal
            await trio.sleep(0.002)


@pytest.mark.parametrize("pieces", [1, 4])
async def test_answers_that_end_during_a_drain_have_their_end(pieces: int, tmp_path: Path) -> None:
    gate = Gate(ONE_FRAME, pieces)
    async with serving(gate, tmp_path) as (server, talker):
        asked = [await talker.ask() for _ in range(3)]
        await eventually(lambda: gate.begun == 3)
        server.drain()
        await eventually(server._context.terminated.is_set)
        gate.open.set()
        for number in asked:
            await talker.read_until_ended(number)
        assert talker.body == ONE_FRAME * 3
        with trio.fail_after(WAIT_S):
            while await talker.read():
                pass
        assert talker.goodbye
        assert gate.over == 3
        await eventually(lambda: not server.connections_open)


async def test_an_answer_is_over_when_its_last_frame_has_left_however_slowly_it_is_read(tmp_path: Path) -> None:
    """Who drains waits for requests that are in flight, and this one has to be among them."""
    gate = Gate(ONE_FRAME)
    async with serving(gate, tmp_path) as (server, talker):
        number = await talker.ask()
        gate.open.set()
        await eventually(lambda: gate.begun)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert gate.over == 0
        server.drain()
        await eventually(server._context.terminated.is_set)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert gate.over == 0
        assert server.connections_open == 1
        await talker.read_until_ended(number)
        assert talker.body == ONE_FRAME
        await eventually(lambda: gate.over == 1)


async def test_a_stream_that_is_reset_before_its_end_has_left_does_not_hold_up_others(tmp_path: Path) -> None:
    gate = Gate(ONE_FRAME)
    async with serving(gate, tmp_path) as (_, talker):
        number = await talker.ask()
        gate.open.set()
        await eventually(lambda: gate.begun)
        await trio.testing.wait_all_tasks_blocked(0.05)
        talker.http2.reset_stream(number)
        await talker.flush()
        await talker.read_until_ended(await talker.ask())
        await eventually(lambda: gate.over == 2)


@pytest.mark.parametrize("drained_first", [True, False])
async def test_a_connection_whose_last_request_was_reset_is_idle(drained_first: bool, tmp_path: Path) -> None:
    """So that nothing waits for it during a drain."""
    gate = Gate(b"x")
    async with serving(gate, tmp_path) as (server, talker):
        number = await talker.ask()
        await eventually(lambda: gate.begun)
        if drained_first:
            server.drain()
            await eventually(server._context.terminated.is_set)
            assert server.connections_open == 1
        talker.http2.reset_stream(number)
        await talker.flush()
        if not drained_first:
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert server.connections_open == 1
            server.drain()
        await eventually(lambda: not server.connections_open)


async def test_nobody_waits_for_the_end_of_an_answer_to_leave_once_the_connection_has_ended(tmp_path: Path) -> None:
    """Of one whose frame is on its way, and of one that comes behind it."""
    gate = Gate(ONE_FRAME, hears=False)
    async with serving(gate, tmp_path) as (server, talker):
        gate.open.set()
        await talker.ask("/late")
        with trio.fail_after(WAIT_S):
            while not talker.body:
                await talker.read()
        await talker.ask()
        await eventually(lambda: gate.begun == 2)
        await trio.testing.wait_all_tasks_blocked(0.05)
        gate.late.set()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert gate.over == 0
        await trio.aclose_forcefully(talker.stream)
        await eventually(lambda: not server.connections_open)
        assert gate.over == 2


@pytest.mark.parametrize("size", [12_000, 40_000])
async def test_nobody_waits_for_the_client_to_take_more_once_the_connection_has_ended(size: int, tmp_path: Path) -> None:
    """Neither for room behind so much, nor for the end of less, of an answer for which the client has opened no window."""
    gate = Gate(bytes(size), hears=False)
    gate.open.set()
    async with serving(gate, tmp_path) as (server, talker):
        talker.http2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
        for _ in range(3):
            await talker.ask()
        await eventually(lambda: gate.begun == 3)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert gate.over == 0
        await trio.aclose_forcefully(talker.stream)
        await eventually(lambda: not server.connections_open)
        assert gate.over == 3


async def test_an_answer_that_the_client_does_not_take_waits_where_it_comes_from(tmp_path: Path) -> None:
    """Sixty pieces, of which so many are let in as the gateway holds of one answer."""
    gate = Gate(bytes(60 * 4_000), pieces=60)
    gate.open.set()
    async with serving(gate, tmp_path) as (server, talker):
        talker.http2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
        number = await talker.ask()
        await eventually(lambda: gate.begun)
        await trio.testing.wait_all_tasks_blocked(0.05)
        (connection,) = server._connections
        held: Any = connection.protocol.protocol
        assert 0 < len(held.stream_buffers[number].buffer) < 44_000
        talker.http2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 65_535})
        await talker.flush()
        await talker.read_until_ended(number)
        assert len(talker.body) == 60 * 4_000


@pytest.mark.parametrize("size", [100, 40_000])
async def test_nobody_waits_for_a_closed_window_of_a_stream_that_was_reset(size: int, tmp_path: Path) -> None:
    gate = Gate(bytes(size), hears=False)
    gate.open.set()
    async with serving(gate, tmp_path) as (server, talker):
        talker.http2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
        number = await talker.ask()
        await eventually(lambda: gate.begun)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert gate.over == 0
        talker.http2.reset_stream(number)
        await talker.flush()
        await eventually(lambda: gate.over == 1)
        (connection,) = server._connections
        held: Any = connection.protocol.protocol
        await eventually(lambda: not (held.streams or held.stream_buffers or held._ending))


@pytest.mark.parametrize("size", [100, 40_000])
async def test_an_answer_that_its_client_does_not_take_is_given_up_alone(size: int, tmp_path: Path) -> None:
    """Whether its application waits for room or for its end. The connection is idle then."""
    gate = Gate(bytes(size), hears=False)
    gate.open.set()
    async with serving(gate, tmp_path, write_stall_s=0.4) as (server, talker):
        talker.http2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
        late = await talker.ask("/late")
        talker.http2.increment_flow_control_window(10, late)
        number = await talker.ask()
        with trio.fail_after(WAIT_S):
            while number not in talker.resets:
                await talker.read()
        assert talker.resets == {number: h2.errors.ErrorCodes.CANCEL}
        await eventually(lambda: gate.over == 1)
        gate.late.set()
        await talker.read_until_ended(late)
        server.drain()
        await eventually(lambda: not server.connections_open)


async def test_an_answer_whose_client_takes_a_little_now_and_then_is_not_given_up(tmp_path: Path) -> None:
    gate = Gate(bytes(1_000), hears=False)
    gate.open.set()
    async with serving(gate, tmp_path, write_stall_s=1.0) as (_, talker):
        talker.http2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
        number = await talker.ask()
        for _ in range(20):
            await trio.sleep(0.1)
            talker.http2.increment_flow_control_window(50, number)
            await talker.flush()
        await talker.read_until_ended(number)
        assert (len(talker.body), talker.resets) == (1_000, {})


async def test_a_connection_has_no_last_request_that_is_not_answered(tmp_path: Path) -> None:
    """Hypercorn's own bound is 1,000."""
    gate = Gate(b"x")
    gate.open.set()
    async with serving(gate, tmp_path) as (_, talker):
        for _ in range(17):
            asked = [await talker.ask() for _ in range(60)]
            for number in asked:
                await talker.read_until_ended(number)
    assert not talker.goodbye
    assert gate.begun == 17 * 60


async def test_a_body_that_goes_on_behind_its_answer_is_ended_and_costs_no_other_request_anything(tmp_path: Path) -> None:
    """More of them, together, than a connection has room for."""
    gate = Gate(b"an answer", hears=False)
    gate.open.set()
    async with serving(gate, tmp_path) as (_, talker):
        for number in range(8):
            answered = await talker.ask(whole=False)
            await talker.read_until_ended(answered)
            await eventually(lambda: gate.over == 2 * number + 1)  # noqa: B023
            for _ in range(3):
                await talker.say(answered, bytes(8_000))
            await talker.read_until_ended(await talker.ask())
            await eventually(lambda: gate.over == 2 * number + 2)  # noqa: B023
            assert talker.resets[answered] == h2.errors.ErrorCodes.NO_ERROR


@pytest.mark.parametrize(
    ("method", "path"), [(b"GET", b"/\xff"), (b"G\xff", b"/"), (b"CONNECT", None)], ids=["path", "method", "no path"]
)  # fmt: skip
async def test_a_request_that_cannot_be_read_is_reset_and_costs_no_other_request_anything(
    method: bytes, path: bytes | None, tmp_path: Path
) -> None:
    gate = Gate(b"an answer", hears=False)
    async with serving(gate, tmp_path) as (server, talker):
        other = await talker.ask()
        await eventually(lambda: gate.begun)
        bad = [await ask_badly(talker, method, path)]
        gate.open.set()
        await talker.read_until_ended(other)
        assert talker.body == b"an answer"
        bad.append(await ask_badly(talker, method, path))
        while len(talker.resets) < 2:
            assert await talker.read()
        assert talker.resets == dict.fromkeys(bad, h2.errors.ErrorCodes.PROTOCOL_ERROR)
        assert gate.begun == 1
        server.drain()
        await eventually(lambda: not server.connections_open)


async def ask_badly(talker: Talker, method: bytes, path: bytes | None) -> int:
    talker.http2.config.validate_outbound_headers = False
    number: int = talker.http2.get_next_available_stream_id()
    place = [] if path is None else [(b":path", path), (b":scheme", b"https")]
    talker.http2.send_headers(number, [(b":method", method), *place, (b":authority", b"a")], end_stream=True)
    await talker.flush()
    return number


async def test_priorities_are_not_looked_at_however_many_there_are(tmp_path: Path) -> None:
    gate = Gate(b"an answer")
    gate.open.set()
    async with serving(gate, tmp_path) as (_, talker):
        for number in range(1_001, 3_501, 2):
            talker.http2.prioritize(number, depends_on=number + 10_000)
        await talker.read_until_ended(await talker.ask())
        assert talker.body == b"an answer"
