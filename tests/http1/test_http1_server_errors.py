"""Applications that go wrong: the client gets a status while that is possible, and afterwards sees that the answer was cut."""

from typing import Any

import h11
import pytest
import trio
from http1_engine import GET, QUICK, attrs, body_of, eventually, get, post, reply, serving

from appliance.http1.request_body import BodyBroken, BodyTooLarge
from appliance.http1.turn import ClientGone

BEGIN = {"type": "http.response.start", "status": 200, "headers": []}


def piece(body: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


class Oops(Exception):
    pass


async def raises(scope: Any, receive: Any, send: Any) -> None:
    raise Oops


async def raises_in_a_nursery(scope: Any, receive: Any, send: Any) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raises, scope, receive, send)
        await trio.sleep_forever()


async def raises_after_the_head_was_named(scope: Any, receive: Any, send: Any) -> None:
    await send(BEGIN)
    raise Oops


async def says_nothing(scope: Any, receive: Any, send: Any) -> None:
    await body_of(receive)


async def begins_and_returns(scope: Any, receive: Any, send: Any) -> None:
    await send(BEGIN)


async def forges_a_header(scope: Any, receive: Any, send: Any) -> None:
    await reply(send, b"", headers=[(b"x", b"a\r\nset-cookie: b")])


async def answers_with_too_much(scope: Any, receive: Any, send: Any) -> None:
    await reply(send, b"abc", headers=[(b"content-length", b"2")])


async def answers_with_too_little(scope: Any, receive: Any, send: Any) -> None:
    await reply(send, b"abc", headers=[(b"content-length", b"4")])


async def answers_twice(scope: Any, receive: Any, send: Any) -> None:
    await send(BEGIN)
    await send(BEGIN)


async def answers_out_of_order(scope: Any, receive: Any, send: Any) -> None:
    await send(piece(b"x", False))


async def answers_informally(scope: Any, receive: Any, send: Any) -> None:
    await reply(send, b"", 103)


async def pushes(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.push", "path": "/", "headers": []})


@pytest.mark.parametrize(
    "app",
    [
        raises,
        raises_in_a_nursery,
        raises_after_the_head_was_named,
        says_nothing,
        begins_and_returns,
        forges_a_header,
        answers_with_too_much,
        answers_with_too_little,
        answers_twice,
        answers_out_of_order,
        answers_informally,
        pushes,
    ],
)
async def test_fault_before_anything_is_sent_is_500_and_reported_once(app: Any):
    async with serving(app) as served:
        client = await served.connect()
        await client.send(post(b"hi") + GET)
        data, reset = await client.rest()
        assert data.startswith(b"HTTP/1.1 500 ")
        assert b"connection: close" in data
        assert b"Oops" not in data
        assert data.count(b"HTTP/1.1 ") == 1
        assert not reset
        assert len(served.errors) == 1
        assert served.refusals == []


@pytest.mark.parametrize("ending", ["raises", "returns", "forgets"])
@pytest.mark.parametrize("length", [None, b"10"])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_body_that_was_cut_looks_cut(ending: str, length: bytes | None, version: bytes):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({**BEGIN, "headers": [(b"content-length", length)] if length else []})
        await send(piece(b"part"))
        await trio.sleep(0.02)  # the client has read it: a reset would take unread bytes with it
        if ending == "raises":
            raise Oops
        if ending == "forgets" and length is not None:
            await send(piece(b"", False))  # less than was announced

    async with serving(app) as served:
        client = await served.connect()
        await client.send(b"GET / HTTP/%b\r\nHost: x\r\n\r\n" % version)
        seen = await client.some(b"part")
        data, reset = await client.rest()
        assert b"0\r\n\r\n" not in data
        if not reset:
            parser = h11.Connection(h11.CLIENT)
            parser.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
            parser.send(h11.EndOfMessage())
            parser.receive_data(seen + data)
            parser.receive_data(b"")
            with pytest.raises(h11.RemoteProtocolError):  # noqa: PT012
                while not isinstance(parser.next_event(), h11.EndOfMessage):
                    pass
        assert reset == (version == b"1.0" and length is None)
        assert len(served.errors) == 1


async def test_too_much_is_never_sent():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({**BEGIN, "headers": [(b"content-length", b"3")]})
        await send(piece(b"ab"))
        await send(piece(b"cd", False))

    async with serving(app) as served:
        client = await served.connect()
        await client.send(GET)
        data, _ = await client.rest()
        assert data.endswith(b"\r\n\r\nab")
        assert len(served.errors) == 1


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"a\r\nb", b"caf\xc3\xa9", b"a\0"])
async def test_malformed_header_names_are_not_sent(name: bytes):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"", headers=[(name, b"v")])

    async with serving(app) as served:
        client = await served.connect()
        await client.send(GET)
        assert (await client.rest())[0].startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize("value", [b"a\rb", b"a\nb", b"a\0b", b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", b"a\r\nb: c"])
async def test_header_values_with_line_breaks_are_not_sent(value: bytes):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"", headers=[(b"x", value)])

    async with serving(app) as served:
        client = await served.connect()
        await client.send(GET)
        assert (await client.rest())[0].startswith(b"HTTP/1.1 500 ")


async def test_framing_headers_of_the_application_do_not_reach_the_wire():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({**BEGIN, "headers": [(b"Transfer-Encoding", b"gzip"), (b"Connection", b"x"), (b"Keep-Alive", b"1"), (b"Date", b"now")]})
        await send(piece(b"a"))
        await send(piece(b"b", False))

    async with serving(app) as served:
        answer = await (await served.connect()).ask(GET)
        assert (answer.body, answer.headers) == (b"ab", {b"date": b"now", b"transfer-encoding": b"chunked"})


async def test_application_may_end_the_connection():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"bye", headers=[(b"connection", b"close")])

    async with serving(app) as served:
        client = await served.connect()
        assert (await client.ask(GET)).headers[b"connection"] == b"close"
        assert await client.rest() == (b"", False)


@pytest.mark.parametrize("wrapped", [False, True])
async def test_body_faults_left_alone_become_their_status(wrapped: bool):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if wrapped:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(body_of, receive)
        else:
            await body_of(receive)

    async with serving(app, attrs.evolve(QUICK, body_max_bytes=3)) as served:
        for request, status in ((post(b"1234"), 413), (post(b"x\r\n").replace(b"Content-Length: 3", b"Transfer-Encoding: chunked"), 400)):
            client = await served.connect()
            await client.send(request)
            assert (await client.rest())[0].startswith(b"HTTP/1.1 %d " % status)
        assert [status for status, _ in served.refusals] == [413, 400]
        assert served.errors == []


async def test_body_faults_are_raised_again_and_may_be_answered():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(2):
            with pytest.raises(BodyTooLarge if scope["path"] == "/large" else BodyBroken):
                await receive()
        await reply(send, b"mine", 418)

    async with serving(app, attrs.evolve(QUICK, body_max_bytes=3)) as served:
        for start in (
            b"POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx",
        ):
            client = await served.connect()
            await client.send(start)
            data, _ = await client.rest()
            assert data.startswith(b"HTTP/1.1 418 ")
            assert b"connection: close" in data
        assert served.errors == []


async def test_error_beside_a_cancellation_is_reported_and_the_server_lives():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/well":
            await reply(send, b"well")
            return

        async def clumsy() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise Oops

        async with trio.open_nursery() as nursery:
            nursery.start_soon(clumsy)
            nursery.start_soon(trio.sleep_forever)
            running.set()

    running = trio.Event()
    async with serving(app) as served:
        client = await served.connect()
        await client.send(GET)
        await running.wait()
        await trio.sleep(0.01)
        client.reset()
        await eventually(lambda: served.errors)
        assert isinstance(served.errors[0], ExceptionGroup)
        assert (await (await served.connect()).ask(get("/well"))).body == b"well"
        await eventually(lambda: served.server.connections_open == 1)


async def test_departure_that_an_application_lets_pass_is_no_error():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with trio.CancelScope(shield=True):
            await receive()
            running.set()
            await receive()
            async with trio.open_nursery() as nursery:
                await send(BEGIN)
                nursery.start_soon(send, piece(b"x"))

    running = trio.Event()
    async with serving(app) as served:
        client = await served.connect()
        await client.send(GET)
        await running.wait()
        client.reset()
        await eventually(lambda: served.server.connections_open == 0)
        assert served.errors == []
        assert issubclass(ClientGone, OSError)


async def test_send_that_the_application_gave_up_half_way_is_not_continued():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(BEGIN)
        with trio.move_on_after(0.05) as gave_up:
            while True:
                await send(piece(b"x" * 1_000_000))
        assert gave_up.cancelled_caught
        with pytest.raises(RuntimeError):
            await send(piece(b"", False))

    async with serving(app) as served:
        client = await served.connect(receive_buffer_bytes=4096)
        await client.send(GET)
        await eventually(lambda: served.errors)  # the answer is not whole
        data, _ = await client.rest()
        assert not data.endswith(b"0\r\n\r\n")


async def test_hook_that_raises_costs_one_connection():
    def render(status: int, reason: str, target: bytes) -> tuple[bytes, bytes]:
        raise Oops

    async with serving(raises) as served:
        served.server._state.render_refusal = render
        client = await served.connect()
        await client.send(b"\0")
        assert (await client.rest())[0] == b""
        await eventually(lambda: served.server.connections_open == 0)
        assert [type(error) for error in served.errors] == [Oops]
