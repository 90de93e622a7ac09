"""Clients that leave: the application hears of it at once, nothing is left over, and nothing else is mistaken for it."""

import contextlib
import gc
import random
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from http1_engine import GET, PATIENCE_S, QUICK, Served, attrs, body_of, echo, eventually, get, open_fds, post, reply, serving

from appliance.http1.refusal import plain_text_refusal
from appliance.http1.request_body import BodyBroken
from appliance.http1.server import Server
from appliance.http1.turn import ClientGone

AT_ONCE_S = 1.0  # the promise is 0.1 s; ten times as much for a busy machine


class Waiting:
    """An application that waits for something else, and what it learns there."""

    def __init__(self, before: bytes | None = None) -> None:
        self.running = trio.Event()
        self.over = trio.Event()
        self.end_reason: str | None = None
        self.error: BaseException | None = None
        self.at = 0.0
        self._before = before

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await body_of(receive)
            if self._before is not None:
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": self._before, "more_body": True})
            self.running.set()
            await trio.sleep_forever()
        except BaseException as error:
            self.at = trio.current_time()
            self.end_reason = scope["extensions"]["http1"].end_reason
            self.error = error
            raise
        finally:
            self.over.set()

    async def check(self, served: Served, left_at: float) -> None:
        with trio.fail_after(PATIENCE_S):
            await self.over.wait()
        assert self.end_reason == "client_gone"
        assert isinstance(self.error, trio.Cancelled)
        assert self.at - left_at < AT_ONCE_S
        await eventually(lambda: served.server.connections_open == 0)
        assert served.server.requests_in_flight == 0
        assert served.errors == []


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
@pytest.mark.parametrize("pipelined", [b"", get("/next"), b"x" * 60_000], ids=["alone", "pipelined", "pipelined-much"])
@pytest.mark.parametrize("how", ["close", "reset", "half"])
@pytest.mark.parametrize("before", [None, b"data"], ids=["waiting", "streaming"])
async def test_application_is_cancelled_when_the_client_leaves(how: str, pipelined: bytes, before: bytes | None, unix: bool, tmp_path: Any):
    waiting = Waiting(before)
    async with serving(waiting.app, path=str(tmp_path / "s") if unix else None) as served:
        client = await served.connect()
        await client.send(post(b"question"))
        await waiting.running.wait()
        if before is not None:
            await client.some(before)
        assert served.server.requests_in_flight == 1
        await client.send(pipelined)
        await trio.sleep(0.01)  # the bytes are in the server's receive queue, unread, before the end comes
        left_at = trio.current_time()
        if how == "close":
            client.sock.close()
        elif how == "reset":
            client.reset()
        else:
            client.sock.shutdown(socket.SHUT_WR)
        await waiting.check(served, left_at)


async def test_typical_time_to_hear_of_it_is_far_below_a_tenth_of_a_second():
    times: list[float] = []
    for _ in range(9):
        waiting = Waiting()
        async with serving(waiting.app) as served:
            client = await served.connect()
            await client.send(GET)
            await waiting.running.wait()
            left_at = trio.current_time()
            client.sock.close()
            await waiting.check(served, left_at)
            times.append(waiting.at - left_at)
    assert sorted(times)[4] < 0.1


async def test_receive_tells_a_shielded_application_and_send_raises():
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await body_of(receive)
        with trio.CancelScope(shield=True):
            running.set()
            seen.append((await receive())["type"])
            await send({"type": "http.response.start", "status": 200, "headers": []})
            with pytest.raises(ClientGone):
                await send({"type": "http.response.body", "body": b"x"})
            seen.append(scope["extensions"]["http1"].end_reason)

    running = trio.Event()
    async with serving(app) as served:
        client = await served.connect()
        await client.send(GET)
        await running.wait()
        client.sock.close()
        await eventually(lambda: len(seen) == 2)
        assert seen == ["http.disconnect", "client_gone"]
        await eventually(lambda: served.server.connections_open == 0)
        assert served.errors == []


async def test_half_closed_client_gets_what_needs_no_waiting():
    async with serving(echo) as served:
        client = await served.connect()
        await client.send(get("/1") + post(b"two") + get("/3"))
        client.sock.shutdown(socket.SHUT_WR)
        bodies = [(await client.answer()).body for _ in range(3)]
        assert bodies == [b"GET /1 ", b"POST / two", b"GET /3 "]
        assert await client.rest() == (b"", False)


async def test_request_on_a_half_closed_connection_is_cancelled_at_its_first_wait():
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/1":
            await reply(send, b"at once")
            return
        try:
            await trio.sleep_forever()
        finally:
            seen.append(scope["extensions"]["http1"].end_reason)

    async with serving(app) as served:
        client = await served.connect()
        await client.send(get("/1") + get("/2"))
        client.sock.shutdown(socket.SHUT_WR)
        assert (await client.answer()).body == b"at once"
        assert await client.rest() == (b"", False)
        assert seen == ["client_gone"]


@pytest.mark.parametrize("head", [b"Content-Length: 10\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc"])
async def test_end_inside_the_body_is_a_broken_body(head: bytes):
    seen: list[BaseException] = []
    reading = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reading.set()
        try:
            await body_of(receive)
        except BodyBroken as error:
            seen.append(error)
            raise

    async with serving(app) as served:
        client = await served.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\n" + head)
        await reading.wait()
        await trio.testing.wait_all_tasks_blocked()  # who leaves before somebody waits for the body is heard of in another way
        client.sock.shutdown(socket.SHUT_WR)
        data, reset = await client.rest()
        assert data.startswith(b"HTTP/1.1 400 ")
        assert not reset
        assert len(seen) == 1
        assert served.refusals == [(400, "the connection ended inside the request body")]


async def test_end_right_behind_a_whole_body_is_a_client_that_left():
    waiting = Waiting()
    async with serving(waiting.app) as served:
        client = await served.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
        await trio.testing.wait_all_tasks_blocked(0.01)
        left_at = trio.current_time()
        await client.send(b"def")
        client.sock.close()
        await waiting.check(served, left_at)


async def test_client_that_leaves_after_its_answer_cuts_nothing_short():
    done = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"ok")
        await trio.sleep(0.1)  # an application's own work after the answer
        done.set()

    async with serving(app) as served:
        client = await served.connect()
        await client.ask(GET)
        client.reset()
        with trio.fail_after(PATIENCE_S):
            await done.wait()


async def test_head_cut_short_is_refused():
    async with serving(echo) as served:
        client = await served.connect()
        await client.send(GET[:-1])
        client.sock.shutdown(socket.SHUT_WR)
        data, _ = await client.rest()
        assert data.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("after_head", [False, True])
async def test_application_can_break_the_connection(reset: bool, after_head: bool):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if after_head:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"", "more_body": True})
            await body_of(receive)
            await trio.sleep(0.02)
        scope["extensions"]["http1"].abort(reset)
        with pytest.raises(ClientGone):
            await reply(send, b"x")

    async with serving(app) as served:
        client = await served.connect()
        await client.send(post(b"x"))
        if after_head:
            assert (await client.some(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
        data, was_reset = await client.rest()
        assert (data, was_reset) == (b"", reset)
        assert served.errors == []


async def test_connection_can_be_broken_while_a_send_waits():
    seen: list[BaseException] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def write() -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            with pytest.raises(ClientGone) as caught:  # noqa: PT012
                while True:
                    await send({"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True})
            seen.append(caught.value)

        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(write)
                await trio.sleep(0.1)
                scope["extensions"]["http1"].abort(True)

    async with serving(app) as served:
        client = await served.connect(receive_buffer_bytes=4096)
        await client.send(GET)
        await eventually(lambda: seen)
        await eventually(lambda: served.server.connections_open == 0)
        assert served.errors == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_receive_that_is_given_up_loses_no_byte(chunked: bool):
    total = 400_000

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, more, given_up = b"", True, 0
        while more:
            with trio.CancelScope() as scope_of_call:
                if chance.random() < 0.5:
                    scope_of_call.deadline = trio.current_time() + chance.choice([-1, 0.0005])
                message = await receive()
                body += message["body"]
                more = message["more_body"]
            given_up += scope_of_call.cancelled_caught
        await reply(send, b"%d %d" % (len(body), given_up))

    chance = random.Random(3)
    async with serving(app) as served:
        client = await served.connect()
        if chunked:
            await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        else:
            await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % total)
        for _ in range(total // 10_000):
            await client.send(b"2710\r\n" * chunked + b"x" * 10_000 + b"\r\n" * chunked)
            await trio.sleep(0.001)
        await client.send(b"0\r\n\r\n" * chunked)
        length, given_up = map(int, (await client.answer()).body.split())
        assert length == total
        assert given_up > 0


async def test_endless_answer_to_an_eager_reader_keeps_its_deadline_and_lets_others_in():
    answered = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/other":
            await reply(send, b"other")
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with trio.move_on_after(0.3) as scope_of_call:
            while True:
                await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
        assert scope_of_call.cancelled_caught
        answered.set()
        with contextlib.suppress(RuntimeError):  # where the deadline met a send that waited, the answer is cut
            await send({"type": "http.response.body", "body": b""})

    async with serving(app) as served:
        client, other = await served.connect(), await served.connect()
        await client.send(GET)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.ask, get("/other"))
            data = piece = b"-"
            while piece and not data.endswith(b"0\r\n\r\n"):
                piece = await client.stream.receive_some(1_000_000)
                data = (data + piece)[-10:]
        assert answered.is_set()


async def test_hundreds_of_random_departures_leave_nothing_behind():
    chance = random.Random(7)
    pauses = [0, 0, 0.001, 0.005]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await body_of(receive)
        await trio.sleep(chance.choice(pauses))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})
            await trio.sleep(chance.choice(pauses))
        await send({"type": "http.response.body", "body": b""})

    async def visit(served: Served) -> None:
        client = await served.connect()
        request = chance.choice([GET, post(b"x" * 1000), post(b"x" * 1000) + GET + GET, b"\0", post(b"", "Expect: 100-continue")])
        await client.send(request[: chance.randint(1, len(request))])
        await trio.sleep(chance.choice(pauses))
        if chance.random() < 0.5:
            client.reset()
        else:
            client.sock.close()
        served.clients.remove(client)

    async def crowd(served: Served, size: int) -> tuple[int, int]:
        for _ in range(size // 20):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(visit, served)
        await eventually(lambda: served.server.connections_open == 0)
        gc.collect()
        return open_fds(), len(gc.get_objects())

    async with serving(app, attrs.evolve(QUICK, linger_s=0.1)) as served:
        fds_before, objects_before = await crowd(served, 200)
        tasks_before = trio.lowlevel.current_statistics().tasks_living
        fds_after, objects_after = await crowd(served, 600)
        assert fds_after == fds_before
        assert trio.lowlevel.current_statistics().tasks_living == tasks_before
        assert objects_after - objects_before < 300, "objects of 600 visits are still alive"
        assert served.errors == []


async def test_cancellation_at_every_await_leaves_no_open_descriptor():
    """Let the server live for n scheduler rounds, then cancel it, for every n until a whole conversation fits."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await echo(scope, receive, send)

    async def talk(served_port: int, answered: list[int]) -> None:
        stream = await trio.open_tcp_stream("127.0.0.1", served_port)
        async with stream:
            await stream.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3000000\r\n\r\n")
            await stream.receive_some(1000)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.send_all, b"x" * 3_000_000 + GET + b"\0")
                got = 0
                while piece := await stream.receive_some(1_000_000):
                    got += len(piece)
            answered.append(got)

    gc.collect()
    before = open_fds()
    rounds, answered = 0, []
    while not answered:
        rounds += 1 if rounds < 60 else 7
        with trio.move_on_after(10) as outer:
            async with serving_cancellable(app) as (port, scope), trio.open_nursery() as nursery:
                nursery.start_soon(talk, port, answered)
                for _ in range(rounds):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
                nursery.cancel_scope.cancel()
        assert not outer.cancelled_caught
        assert open_fds() == before
        assert rounds < 5000
    assert answered[0] > 3_000_000


@asynccontextmanager
async def serving_cancellable(app: Any) -> AsyncGenerator[tuple[int, trio.CancelScope]]:
    """A server in a scope that the test cancels from outside, as a dying supervisor would."""
    door = socket.create_server(("127.0.0.1", 0))
    server = Server(app, QUICK, render_refusal=plain_text_refusal, on_error=lambda *_: None)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, [door])
        yield door.getsockname()[1], nursery.cancel_scope
