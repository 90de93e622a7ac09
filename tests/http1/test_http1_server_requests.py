"""What an ordinary client may rely on: order, keep-alive, framing, interim answers, and what the application sees."""

from typing import Any

import pytest
import trio
import trio.testing
from http1_engine import GET, QUICK, Client, attrs, body_of, echo, eventually, get, post, reply, serving

from appliance.http1.request_body import BodyBroken

H2C = ("Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")


async def test_connection_is_kept_and_answers_are_whole():
    async with serving(echo) as served:
        client = await served.connect()
        for number in range(3):
            answer = await client.ask(post(b"n%d" % number))
            assert (answer.status, answer.body) == (200, b"POST / n%d" % number)
            assert b"date" in answer.headers
            assert b"server" not in answer.headers
            assert answer.headers[b"content-length"] == b"%d" % len(answer.body)
        assert served.server.connections_open == 1
        assert served.errors == []


async def test_pipelined_requests_are_answered_in_order_though_the_first_is_the_slowest():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/0":
            await trio.sleep(0.05)
        await echo(scope, receive, send)

    async with serving(app) as served:
        client = await served.connect()
        await client.send(get("/0") + post(b"body") + get("/2") + b"".join(get(f"/{n}") for n in range(3, 60)))
        assert (await client.answer()).body == b"GET /0 "
        assert (await client.answer()).body == b"POST / body"
        for number in range(2, 60):
            assert (await client.answer()).body == b"GET /%d " % number


async def test_next_pipelined_request_is_not_started_before_the_answer_is_done():
    running: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        running.append(scope["path"])
        assert len(running) == 1
        await trio.sleep(0.01)
        await reply(send, b"x")
        running.clear()

    async with serving(app) as served:
        client = await served.connect()
        await client.send(get("/a") + get("/b") + get("/c"))
        for _ in range(3):
            await client.answer()
        assert served.errors == []


@pytest.mark.parametrize("chunks", [(b"5\r\nhello\r\n0\r\n\r\n",), (b"2;a=b\r\nhe\r\n3\r\n", b"llo\r\n0\r\nX-T: 1\r\n\r\n")])
async def test_chunked_body_is_decoded_and_the_next_request_read(chunks: tuple[bytes, ...]):
    async with serving(echo) as served:
        client = await served.connect()
        await client.send(b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n")
        for chunk in chunks:
            await client.send(chunk)
            await trio.sleep(0.01)
        await client.send(GET)
        assert (await client.answer()).body == b"POST /c hello"
        assert (await client.answer()).body == b"GET / "


async def test_every_request_is_understood_byte_by_byte():
    requests = [
        get("/a%20b?x=1", "X-Long: " + "v" * 40),
        post(b"hello"),
        b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nT: x\r\n\r\n",
        get("/last"),
    ]
    async with serving(echo) as served:
        client = await served.connect()
        for byte in b"".join(requests):
            await client.send(bytes([byte]))
            await trio.lowlevel.checkpoint()
        bodies = [(await client.answer()).body for _ in requests]
        assert bodies == [b"GET /a b ", b"POST / hello", b"POST /c abcde", b"GET /last "]


async def test_large_bodies_pass_both_ways():
    big = bytes(range(256)) * 12_000

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = await body_of(receive)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for start in range(0, len(body), 1_000_000):
            await send({"type": "http.response.body", "body": body[start : start + 1_000_000], "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async with serving(app) as served:
        client = await served.connect()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, post(big))
            answer = await client.answer()
        assert answer.body == big
        assert answer.headers[b"transfer-encoding"] == b"chunked"
        assert (await client.ask(post(b"again"))).body == b"again"


async def test_http10_closes_unless_it_asks_to_be_kept():
    async with serving(echo) as served:
        client = await served.connect()
        await client.send(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        answer = await client.answer()
        assert (answer.body, answer.headers[b"connection"]) == (b"GET /a ", b"keep-alive")
        await client.send(b"GET /b HTTP/1.0\r\n\r\n")
        data, reset = await client.rest()
        assert b"connection: close\r\n" in data
        assert data.endswith(b"\r\n\r\nGET /b ")
        assert not reset


async def test_stream_of_unknown_length_to_http10_ends_with_the_connection():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one ", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})

    async with serving(app) as served:
        client = await served.connect()
        await client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        data, reset = await client.rest()
        head, _, body = data.partition(b"\r\n\r\n")
        assert b"transfer-encoding" not in head
        assert b"connection: close" in head
        assert (body, reset) == (b"one two", False)


async def test_client_that_asks_for_close_gets_it():
    async with serving(echo) as served:
        client = await served.connect()
        await client.send(get("/", "Connection: foo , Close") + get("/never"))
        data, reset = await client.rest()
        assert data.count(b"HTTP/1.1 200") == 1
        assert b"connection: close\r\n" in data
        assert not reset


async def test_head_has_the_headers_of_get_and_no_body():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"0123456789", headers=[(b"content-length", b"10")])

    async with serving(app) as served:
        client = await served.connect()
        answer = await client.ask(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", "HEAD")
        assert (answer.headers[b"content-length"], answer.body) == (b"10", b"")
        assert (await client.ask(GET)).body == b"0123456789"


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_that_have_no_body_never_get_one(status: int):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"surprise" if scope["path"] == "/x" else b"ok", status if scope["path"] == "/x" else 200)

    async with serving(app) as served:
        client = await served.connect()
        answer = await client.ask(get("/x"))
        assert (answer.status, answer.body) == (status, b"")
        assert b"transfer-encoding" not in answer.headers
        if status == 204:
            assert b"content-length" not in answer.headers
        assert (await client.ask(GET)).body == b"ok"


async def test_continue_is_sent_when_the_application_asks_for_the_body():
    async with serving(echo) as served:
        client = await served.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n")
        assert await client.some(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"hi")
        assert (await client.answer()).body == b"POST / hi"
        # a body that is already here needs no invitation
        assert (await client.ask(post(b"hi", "Expect: 100-continue"))).body == b"POST / hi"


async def test_continue_is_not_sent_when_the_answer_needs_no_body():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"no", 401)

    async with serving(app) as served:
        client = await served.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        data, _ = await client.rest()
        assert data.startswith(b"HTTP/1.1 401 ")
        assert b"connection: close" in data


async def test_other_expectations_are_refused():
    async with serving(echo) as served:
        client = await served.connect()
        await client.send(get("/", "Expect: a-miracle"))
        data, _ = await client.rest()
        assert data.startswith(b"HTTP/1.1 417 ")
        assert served.refusals == [(417, "only 100-continue can be expected")]


@pytest.mark.parametrize("connection", ["Connection: Upgrade, HTTP2-Settings", "X-None: 1"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_upgrade_to_h2c_is_ignored_and_the_body_read(connection: str, chunked: bool):
    request = post(b"hello", connection, *H2C)
    if chunked:
        request = request.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked").replace(b"hello", b"5\r\nhello\r\n0\r\n\r\n")
    async with serving(echo) as served:
        client = await served.connect()
        await client.send(request + request + GET)
        assert (await client.answer()).body == b"POST / hello"
        assert (await client.answer()).body == b"POST / hello"
        answer = await client.answer()
        assert (answer.status, answer.body) == (200, b"GET / ")


async def test_scope_is_what_asgi_asks_for():
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        await reply(send, b"")

    async with serving(app) as served:
        client = await served.connect()
        await client.ask(get("/caf%C3%A9/%2F?q=%20a&b", "X-Two: 1", "x-two:\t2 ", "Empty:"))
        scope = seen[0]
        assert scope["type"] == "http"
        assert scope["asgi"]["version"] == "3.0"
        assert scope["http_version"] == "1.1"
        assert scope["method"] == "GET"
        assert scope["scheme"] == "http"
        assert scope["path"] == "/café//"
        assert scope["raw_path"] == b"/caf%C3%A9/%2F"
        assert scope["query_string"] == b"q=%20a&b"
        assert scope["root_path"] == ""
        assert scope["headers"] == [(b"host", b"x"), (b"x-two", b"1"), (b"x-two", b"2"), (b"empty", b"")]
        assert scope["server"] == served.address
        assert scope["client"] == client.sock.getsockname()
        assert scope["extensions"]["http1"].cancels is True
        assert scope["extensions"]["http1"].end_reason is None
        assert "state" not in scope


async def test_each_request_has_its_own_copy_of_the_lifespan_state():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["state"]["seen"] = scope["state"].get("seen", 0) + 1
        await reply(send, b"%d %b" % (scope["state"]["seen"], scope["state"]["pool"]))

    async with serving(app, lifespan_state={"pool": b"p"}) as served:
        client = await served.connect()
        for _ in range(2):
            assert (await client.ask(GET)).body == b"1 p"


@pytest.mark.parametrize(
    ("target", "host", "path", "query"),
    [
        (b"http://example.com/a?b", b"Example.com:80", b"/a", b"b"),
        (b"http://example.com", b"example.com", b"/", b""),
        (b"HTTP://[::1]:8080?x", b"[::1]:8080", b"/", b"x"),
        (b"*", b"x", b"*", b""),
    ],
)
async def test_absolute_form_and_asterisk_form_are_understood(target: bytes, host: bytes, path: bytes, query: bytes):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, scope["raw_path"] + b" " + scope["query_string"])

    async with serving(app) as served:
        client = await served.connect()
        answer = await client.ask(b"OPTIONS %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, host))
        assert answer.body == path + b" " + query


async def test_receive_tells_of_the_end_once_the_answer_is_out():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert await body_of(receive) == b"x"

        async def watch() -> None:
            assert (await receive())["type"] == "http.disconnect"
            seen.append("watched")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await trio.sleep(0.01)
            assert seen == []
            await reply(send, b"ok")
        assert (await receive())["type"] == "http.disconnect"
        seen.append("after")

    seen: list[str] = []
    async with serving(app) as served:
        client = await served.connect()
        assert (await client.ask(post(b"x"))).body == b"ok"
        await eventually(lambda: len(seen) == 2)
        assert seen == ["watched", "after"]


async def test_unread_body_is_dropped_within_bounds_and_the_connection_kept():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"ok")

    async with serving(app, attrs.evolve(QUICK, discard_max_bytes=1000)) as served:
        client = await served.connect()
        assert (await client.ask(post(b"x" * 1000) + GET)).body == b"ok"
        assert (await client.answer()).body == b"ok"
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + GET)
        assert (await client.answer()).body == b"ok"
        assert (await client.answer()).body == b"ok"
        await client.send(post(b"x" * 1001) + GET)
        data, reset = await client.rest()
        assert b"connection: close" in data
        assert data.count(b"HTTP/1.1 200") == 1
        assert not reset


async def test_an_answer_to_an_unread_body_over_the_limit_says_that_it_ends_the_connection():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"ok")

    async with serving(app, attrs.evolve(QUICK, discard_max_bytes=1000, body_max_bytes=500)) as served:
        client = await served.connect()
        assert b"connection" not in (await client.ask(post(b"x" * 500))).headers
        await client.send(post(b"x" * 501) + GET)
        data, reset = await client.rest()
        assert b"connection: close" in data
        assert data.count(b"HTTP/1.1 200") == 1
        assert not reset


async def test_unix_socket(tmp_path: Any):
    async with serving(echo, path=str(tmp_path / "s")) as served:
        client = await served.connect()
        assert (await client.ask(post(b"hi"))).body == b"POST / hi"


@pytest.mark.parametrize("size", [400_000, 20_000_000])
async def test_early_answer_is_readable_by_a_client_that_sends_its_whole_body_first(size: int):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"who are you?", 401)

    async with serving(app) as served:
        client = await served.connect()
        await client.send(post(b"x" * size))
        data, reset = await client.rest()
        assert data.endswith(b"who are you?")
        assert not reset


async def test_last_answer_is_readable_though_the_client_still_sends():
    async with serving(echo, attrs.evolve(QUICK, body_max_bytes=10)) as served:
        client = await served.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 400000\r\n\r\n" + b"x" * 400_000)
        data, reset = await client.rest()
        assert data.startswith(b"HTTP/1.1 413 ")
        assert not reset


async def check_refused(client: Client, request: bytes, status: int) -> None:
    await client.send(request)
    data, _ = await client.rest()
    assert data.startswith(b"HTTP/1.1 %d " % status), data
    assert data.count(b"HTTP/1.1") == 1


async def test_limits_of_a_head():
    limits = attrs.evolve(QUICK, head_max_bytes=2000, headers_max=10, target_max_bytes=200)
    async with serving(echo, limits) as served:
        long = get("/", "X: " + "v" * 1900)
        assert (await (await served.connect()).ask(long)).status == 200
        await check_refused(await served.connect(), get("/", "X: " + "v" * 2000), 431)
        await check_refused(await served.connect(), b"GET / HTTP/1.1\r\nX: " + b"v" * 3000, 431)
        await check_refused(await served.connect(), get("/", *(f"H{n}: 1" for n in range(10))), 431)
        await check_refused(await served.connect(), get("/" + "t" * 200), 414)
        await check_refused(await served.connect(), b"GET /" + b"t" * 300, 414)
        assert [status for status, _ in served.refusals] == [431, 431, 431, 414, 414]


@pytest.mark.parametrize("expect", ["Expect: 100-continue", "X: y"])
async def test_body_over_the_limit_is_413_before_it_is_sent(expect: str):
    async with serving(echo, attrs.evolve(QUICK, body_max_bytes=10)) as served:
        assert (await (await served.connect()).ask(post(b"0123456789"))).status == 200
        await check_refused(await served.connect(), f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n{expect}\r\n\r\n".encode(), 413)
        chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        await check_refused(await served.connect(), chunked + b"6\r\nabcdef\r\n6\r\nabcdef\r\n", 413)
        assert served.errors == []


def at(path: str, body: bytes) -> bytes:
    return post(body).replace(b"POST / ", b"POST %b " % path.encode(), 1)


async def test_an_application_may_take_longer_bodies_than_the_limit_says_or_shorter_ones():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"]["http1"].allow_body(int(scope["path"][1:]))
        await echo(scope, receive, send)

    async with serving(app, attrs.evolve(QUICK, body_max_bytes=10)) as served:
        client = await served.connect()
        for size in (100, 10, 100):
            answer = await client.ask(at("/100", b"x" * size))
            assert answer.status == 200
            assert answer.body.endswith(b"x" * size)
        for path, size in (("/100", 101), ("/5", 6)):
            await check_refused(await served.connect(), at(path, b"x" * size), 413)
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
            await check_refused(await served.connect(), head + b"%x\r\n%b\r\n" % (size, b"x" * size), 413)
        waiting = await served.connect()
        await waiting.send(b"POST /100 HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\nExpect: 100-continue\r\n\r\n")
        assert (await waiting.some(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        assert served.errors == []


@pytest.mark.parametrize(
    ("rest", "kind"), [(b"abc", "BodyCut"), (b"zz\r\n", "BodyBroken")], ids=["in the middle", "malformed"]
)
async def test_a_body_that_was_cut_is_told_from_one_that_is_malformed(rest: bytes, kind: str):
    seen: list[str] = []
    reading = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            reading.set()
            while (await receive())["more_body"]:
                pass
        except BodyBroken as broken:
            seen.append(type(broken).__name__)
            raise

    async with serving(app) as served:
        client = await served.connect()
        head = b"POST / HTTP/1.1\r\nHost: x\r\n"
        framing = b"Transfer-Encoding: chunked\r\n\r\n" if kind == "BodyBroken" else b"Content-Length: 9\r\n\r\n"
        await client.send(head + framing + rest)
        await reading.wait()
        await trio.testing.wait_all_tasks_blocked()  # who leaves before somebody waits for the body is heard of in another way
        await client.stream.send_eof()
        await client.rest()
        assert seen == [kind]
