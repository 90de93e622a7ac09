"""Pieces pushed without waiting: the same frames on the wire as sent ones, whatever the client reads, and never out of order."""

import re
import socket
from typing import Any

import pytest
import trio
from http1_engine import GET, PATIENCE_S, QUICK, get, post, serving

from appliance.http1.server_limits import ServerLimits
from appliance.http1.turn import ClientGone

START = {"type": "http.response.start", "status": 200, "headers": []}


def piece(data: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def test_pushed_pieces_arrive_framed_and_in_order_at_a_reader_slower_than_they_come():
    pieces = [b"%06d" % number * 2_000 for number in range(400)]
    outcomes: list[bool | None] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        turn = scope["extensions"]["http1"]
        await send(START)
        await send(piece(b"first"))
        for data in pieces:
            outcome = turn.push(data)
            outcomes.append(outcome)
            if outcome is None:
                await send(piece(data))
            elif not outcome:
                assert turn.push(b"overtaking") is None
                await send(piece(b""))
        await send(piece(b"", more=False))

    async with serving(app, QUICK) as served:
        client = await served.connect(receive_buffer_bytes=65536)
        await client.send(GET)
        await trio.sleep(0.05)
        answer = await client.answer()
        assert answer.body == b"first" + b"".join(pieces)
        assert False in outcomes, "the client was never slower than the pieces"
        assert True in outcomes
        assert (await client.ask(GET)).status == 200


async def test_the_last_piece_follows_what_a_push_left():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        turn = scope["extensions"]["http1"]
        await send(START)
        await send(piece(b"first"))
        while turn.push(b"x" * 50_000):
            pass
        await send(piece(b"last", more=False))

    async with serving(app, QUICK) as served:
        client = await served.connect(receive_buffer_bytes=65536)
        await client.send(GET)
        body = (await client.answer()).body
        assert body.startswith(b"firstx")
        assert body.endswith(b"xlast")
        assert (len(body) - 9) % 50_000 == 0


async def test_what_is_no_steady_chunked_answer_is_not_pushed():
    outcomes: dict[str, bool | None] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        turn = scope["extensions"]["http1"]
        length = scope["method"] == "POST"
        outcomes["before the start"] = turn.push(b"x")
        await send({**START, "headers": [(b"content-length", b"2")]} if length else START)
        outcomes["before the head left"] = turn.push(b"x")
        await send(piece(b"a"))
        if length:
            outcomes["with a length"] = turn.push(b"x")
        outcomes["nothing"] = turn.push(b"")
        await send(piece(b"b", more=False))
        outcomes["after the end"] = turn.push(b"x")

    async with serving(app, QUICK) as served:
        client = await served.connect()
        assert (await client.ask(post(b""), "POST")).body == b"ab"
        assert (await client.ask(GET)).body == b"ab"
    assert outcomes.keys() == {"before the start", "before the head left", "with a length", "nothing", "after the end"}
    assert set(outcomes.values()) == {None}


def told(turn: Any) -> bool:
    """Whether a push says that nobody is left, in either of its ways: the reset may be heard of before it is met."""
    try:
        return turn.push(b"x") is None
    except ClientGone:
        return True


async def test_a_push_to_a_client_that_reset_tells_so():
    raised = trio.Event()
    reset = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        turn = scope["extensions"]["http1"]
        await send(START)
        await send(piece(b"first"))
        with trio.CancelScope(shield=True):
            await reset.wait()
            for _ in range(1000):
                if told(turn):
                    raised.set()
                    break
                await trio.sleep(0.001)
        assert turn.end_reason == "client_gone"

    async with serving(app, QUICK) as served:
        client = await served.connect()
        await client.send(GET)
        await client.some(b"first")
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.sock.close()
        reset.set()
        with trio.fail_after(PATIENCE_S):
            await raised.wait()


async def whole_app(scope: Any, receive: Any, send: Any) -> None:
    """Pushes a whole answer of as many bytes as the path says; sends what could not be pushed, as the method's rules may want."""
    turn = scope["extensions"]["http1"]
    body = b"x" * int(scope["path"][1:])
    headers = [(b"content-length", b"%d" % len(body))]
    scope["state"]["outcomes"].append(outcome := turn.push_whole(200, headers, body))
    if outcome is None:
        await send({**START, "headers": headers})
        await send(piece(body, more=False))
    elif not outcome:
        assert turn.push_whole(200, headers, body) is None
        await send(piece(b"", more=False))


@pytest.mark.parametrize("size", [0, 1, 70_000, 8_000_000])
async def test_a_whole_answer_pushed_is_the_one_that_would_have_been_sent(size: int):
    outcomes: list[bool | None] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await whole_app({**scope, "state": {"outcomes": outcomes}}, receive, send)

    async with serving(app, QUICK) as served:
        client = await served.connect(receive_buffer_bytes=65536)
        for _ in range(2):
            answer = await client.ask(get(f"/{size}"))
            assert answer.body == b"x" * size
            assert answer.headers[b"content-length"] == b"%d" % size
        assert set(outcomes) == {size < 1_000_000}
        assert (await client.ask(get("/5").replace(b"GET", b"HEAD"), "HEAD")).body == b""
        assert outcomes[-1] is None


async def test_a_whole_answer_shorter_than_its_length_is_not_pushed():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["extensions"]["http1"].push_whole(200, [(b"content-length", b"3")], b"ab") is None
        await send(START)
        await send(piece(b"ok", more=False))

    async with serving(app, QUICK) as served:
        client = await served.connect()
        assert (await client.ask(GET)).body == b"ok"


@pytest.mark.parametrize("drains", [False, True])
@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize(
    "request_bytes",
    [
        post(b"abc"),
        post(b"abc", "Connection: close"),
        post(b"abc").replace(b"HTTP/1.1", b"HTTP/1.0"),
        post(b"abc", "Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"),
        post(b"abc").replace(b"POST", b"HEAD"),
        post(b"y" * 100_000),
        post(b"abc", "Expect: 100-continue"),
    ],
    ids=["plain", "close", "http10", "http10-kept", "head", "long", "expecting"],
)
async def test_a_pushed_answer_is_byte_for_byte_the_sent_one(request_bytes: bytes, reads: bool, drains: bool):
    """Whatever is to be said of the connection, and whether or not the request's body was taken before."""
    limits = ServerLimits(sweep_s=0.02, discard_max_bytes=10_000)
    headers = [(b"content-length", b"5")]

    async def answered(pushes: bool) -> bytes:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            turn = scope["extensions"]["http1"]
            while reads and (await receive())["more_body"]:
                pass
            if drains:
                served.server.drain()
            if not pushes or turn.push_whole(200, headers, b"hello") is None:
                await send({**START, "headers": headers})
                await send(piece(b"hello", more=False))

        async with serving(app, limits) as served:
            client = await served.connect()
            await client.send(request_bytes)
            data = await client.some(b"\r\n\r\n" if request_bytes.startswith(b"HEAD") else b"hello")
            return re.sub(rb"date: [^\r]*", b"date: now", data)

    assert await answered(pushes=True) == await answered(pushes=False)
