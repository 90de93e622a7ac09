"""How answers begin and end: framing, refusals and limits of the client side."""

import pytest
import trio
from scripted_upstream import HEADERS, OK, Peer, post, serve_ok, upstream, whole

from appliance.http1.transport import Failure, UpstreamRequest

H = b"HTTP/1.1 200 OK\r\n"

COMPLETE = {
    "content-length": (H + b"content-length: 5\r\n\r\nhello", b"hello", True),
    "chunked": (H + b"transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;ext=1\r\nllo\r\n0\r\n\r\n", b"hello", True),
    "chunked with trailers": (H + b"Transfer-Encoding: Chunked \r\n\r\n5\r\nhello\r\n0\r\nx-a: b\r\n\r\n", b"hello", True),
    "until close": (H + b"\r\nhello", b"hello", False),
    "HTTP/1.0 until close": (b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello", False),
    "HTTP/1.0 with length": (b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", b"hello", False),
    "connection close": (H + b"connection: close\r\ncontent-length: 5\r\n\r\nhello", b"hello", False),
    "after 100": (b"HTTP/1.1 100 Continue\r\n\r\n" + H + b"content-length: 2\r\n\r\nhi", b"hi", True),
    "after 103": (b"HTTP/1.1 103 Early\r\nlink: a\r\n\r\n" + H + b"content-length: 2\r\n\r\nhi", b"hi", True),
    "empty": (H + b"content-length: 0\r\n\r\n", b"", True),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", b"", True),
    "no reason phrase": (b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nhi", b"hi", True),
    "bytes of every value": (H + b"content-length: 256\r\n\r\n" + bytes(range(256)), bytes(range(256)), True),
    "upgrade offered": (H + b"upgrade: h2c\r\nconnection: upgrade\r\ncontent-length: 2\r\n\r\nhi", b"hi", True),
}


@pytest.mark.parametrize("step", [1, 7, 65536])
@pytest.mark.parametrize("name", COMPLETE)
async def test_an_answer_is_read_whole_however_it_is_cut_into_packets(name: str, step: int) -> None:
    answer, body, kept = COMPLETE[name]

    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.trickle(answer, step)
            if not kept:
                await peer.stream.aclose()
                return

    async with upstream(script) as server:
        transport = server.transport()
        for _ in range(2):
            assert await whole(await transport.send(post())) == body
        assert len(server.peers) == (1 if kept else 2)
        assert transport.stats().open == transport.stats().idle == (1 if kept else 0)


async def test_request_bytes_go_out_verbatim() -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        while request := await peer.request():
            seen.append(request)
            await peer.send(OK)

    async with upstream(script) as server:
        transport = server.transport()
        body = bytes(range(256)) * 1000
        await whole(await transport.send(post(body, b"/v1/a%20b?c=d&e")))
        await whole(await transport.send(UpstreamRequest(b"GET", b"/v1/models", HEADERS)))
        await whole(await transport.send(post(b"")))
    assert seen == [
        b"POST /v1/a%20b?c=d&e HTTP/1.1\r\n" + HEADERS + b"content-length: 256000\r\n\r\n" + body,
        b"GET /v1/models HTTP/1.1\r\n" + HEADERS + b"\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\n" + HEADERS + b"content-length: 0\r\n\r\n",
    ]


@pytest.mark.parametrize("target", [b"", b"v1", b"/a b", b"/a\r\nx: y", b"/\x00", b"/\xff", b"http://elsewhere/"])
async def test_a_target_that_would_break_the_request_line_is_refused_before_anything_is_sent(target: bytes) -> None:
    async with upstream(serve_ok) as server:
        transport = server.transport()
        with pytest.raises(ValueError, match="target"):
            await transport.send(post(target=target))
        assert transport.stats().open == 0


async def test_headers_come_lowercased_in_order_and_stripped_and_trailers_are_dropped() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(H + b"X-B: \t 2 \t\r\nx-a: 1\r\nX-B: 3\r\ne:\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-b: 4\r\n\r\n")

    async with upstream(script) as server:
        exchange = await server.transport().send(post())
        assert not isinstance(exchange, Failure)
        assert await exchange.read() == b""
        assert exchange.status == 200
        assert exchange.headers == [(b"x-b", b"2"), (b"x-a", b"1"), (b"x-b", b"3"), (b"e", b""), (b"transfer-encoding", b"chunked")]


async def test_trailers_of_one_answer_are_none_of_the_next_ones_headers() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(H + b"transfer-encoding: chunked\r\n\r\n0\r\nx-trailer: 1\r\n\r\n")
        await peer.request()
        await peer.send(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + H + b"content-length: 2\r\n\r\nok")

    async with upstream(script) as server:
        transport = server.transport()
        assert await whole(await transport.send(post())) == b""
        second = await transport.send(post())
        assert not isinstance(second, Failure)
        assert second.reused
        assert second.headers == [(b"content-length", b"2")]
        assert await whole(second) == b"ok"


async def test_body_bytes_come_as_soon_as_there_are_any() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(H + b"transfer-encoding: chunked\r\n\r\n")
        for piece in (b"one", b"two"):
            await go.receive()
            await peer.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await go.receive()
        await peer.send(b"0\r\n\r\n")

    ready, go = trio.open_memory_channel[None](0)
    async with upstream(script) as server:
        exchange = await server.transport().send(post())
        assert not isinstance(exchange, Failure)
        for piece in (b"one", b"two", b""):
            await ready.send(None)
            assert await exchange.read() == piece


async def test_head_answers_have_no_body_whatever_their_length_says() -> None:
    async def script(peer: Peer) -> None:
        assert (await peer.request()).startswith(b"HEAD ")
        await peer.send(H + b"content-length: 500\r\n\r\n")
        await peer.eof()

    async with upstream(script) as server:
        transport = server.transport()
        for _ in range(2):
            exchange = await transport.send(UpstreamRequest(b"HEAD", b"/", HEADERS))
            assert await whole(exchange) == b""
            assert transport.stats().open == 0


CUT = {
    "length not reached": H + b"content-length: 5\r\n\r\nhel",
    "no last chunk": H + b"transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n",
    "in a chunk": H + b"transfer-encoding: chunked\r\n\r\n5\r\nhel",
    "after the last chunk's size": H + b"transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n0\r\n",
}


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("name", CUT)
async def test_a_body_cut_short_is_a_failure_and_never_an_end(name: str, how: str) -> None:
    taken = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CUT[name])
        await taken.wait()
        if how == "reset":
            peer.reset()
        else:
            await peer.stream.aclose()

    async with upstream(script) as server:
        transport = server.transport()
        exchange = await transport.send(post())
        assert not isinstance(exchange, Failure)
        assert await exchange.read() == b"hel"
        taken.set()
        failure = await exchange.read()
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.received, failure.sent) == ("closed", True, True)
        assert await exchange.read() == failure
        exchange.close()
        assert await exchange.read() == failure
        assert transport.stats().open == 0


async def test_a_reset_does_not_end_a_body_that_is_read_until_close() -> None:
    taken = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(H + b"\r\nhel")
        await taken.wait()
        peer.reset()

    async with upstream(script) as server:
        exchange = await server.transport().send(post())
        assert not isinstance(exchange, Failure)
        assert await exchange.read() == b"hel"
        taken.set()
        failure = await exchange.read()
        assert isinstance(failure, Failure)
        assert failure.kind == "closed"


REFUSED = {
    "two lengths": H + b"content-length: 2\r\ncontent-length: 2\r\n\r\nok",
    "two different lengths": H + b"content-length: 2\r\ncontent-length: 3\r\n\r\nok",
    "a list of lengths": H + b"content-length: 2, 2\r\n\r\nok",
    "a signed length": H + b"content-length: +2\r\n\r\nok",
    "a length beyond 64 bits": H + b"content-length: 99999999999999999999999\r\n\r\nok",
    "length and chunked": H + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": H + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n",
    "gzip transfer encoding": H + b"transfer-encoding: gzip\r\n\r\nok",
    "gzip, chunked": H + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked, gzip": H + b"transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": H + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "101": b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nwhatever",
    "101 without upgrade": b"HTTP/1.1 101 Switching\r\n\r\n",
    "status 99": b"HTTP/1.1 099 Odd\r\ncontent-length: 0\r\n\r\n",
    "status 600": b"HTTP/1.1 600 Odd\r\ncontent-length: 0\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 Odd\r\ncontent-length: 0\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\ncontent-length: 0\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "an h2 frame": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "bare LF": b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
    "folded header": H + b"a: b\r\n c\r\ncontent-length: 2\r\n\r\nok",
    "space before colon": H + b"a : b\r\ncontent-length: 2\r\n\r\nok",
    "NUL in value": H + b"a: b\0c\r\ncontent-length: 2\r\n\r\nok",
    "CR in value": H + b"a: b\rc\r\ncontent-length: 2\r\n\r\nok",
}


@pytest.mark.parametrize("step", [1, 65536])
@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_no_acceptable_response_is_a_protocol_failure(name: str, step: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.trickle(REFUSED[name], step)
        await peer.eof()

    async with upstream(script) as server:
        transport = server.transport()
        failure = await transport.send(post())
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.received, failure.sent) == ("protocol", True, True)
        await server.peers[0].ended.wait()
        assert transport.stats().open == 0
        assert len(server.peers) == 1


@pytest.mark.parametrize("chunk", [b"-1\r\n", b"0x1\r\n", b"fffffffffffffffff\r\n", b"g\r\n", b"1\na\n", b"1\r\nab\r\n"])
async def test_a_bad_chunk_is_a_protocol_failure_in_the_body(chunk: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(H + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n")
        await peer.send(chunk)
        await peer.eof()

    async with upstream(script) as server:
        failure = await whole(await server.transport().send(post()))
        assert isinstance(failure, Failure)
        assert failure.kind == "protocol"


@pytest.mark.parametrize("junk", [OK, b"junk", b"HTTP/1.1 500 No\r\n\r\n"])
async def test_bytes_behind_the_message_spoil_the_connection_but_not_the_answer(junk: bytes) -> None:
    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.send(OK + junk)

    async with upstream(script) as server:
        transport = server.transport()
        for number in range(2):
            assert await whole(await transport.send(post())) == b"ok"
            assert transport.stats().open == 0
            assert len(server.peers) == number + 1


async def test_an_endless_head_stops_at_its_limit() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(H)
        while True:
            await peer.send(b"x-pad: " + b"p" * 1000 + b"\r\n")

    async with upstream(script) as server:
        failure = await server.transport(response_head_max_bytes=8192, recv_bytes=1024).send(post())
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.received) == ("too_large", True)


async def test_a_head_within_its_limit_passes_even_when_the_body_came_with_it() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(H + b"x: " + b"p" * 900 + b"\r\ncontent-length: 5000\r\n\r\n" + b"b" * 5000)
        await peer.eof()

    async with upstream(script) as server:
        assert await whole(await server.transport(response_head_max_bytes=1024).send(post())) == b"b" * 5000
        failure = await server.transport(response_head_max_bytes=900).send(post())
        assert isinstance(failure, Failure)
        assert failure.kind == "too_large"


async def test_header_lines_and_informational_responses_are_counted() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.request()
        lines = b"a: b\r\n" * 10 if b"/lines" in request else b""
        interim = b"HTTP/1.1 102 Processing\r\n\r\n" * 3 if b"/interim" in request else b""
        await peer.send(interim + H + lines + b"content-length: 0\r\n\r\n")
        await peer.eof()

    async with upstream(script) as server:
        failure = await server.transport(response_headers_max=10).send(post(target=b"/lines"))
        assert isinstance(failure, Failure)
        assert failure.kind == "too_large"
        failure = await server.transport(informational_max=2).send(post(target=b"/interim"))
        assert isinstance(failure, Failure)
        assert failure.kind == "protocol"
        assert await whole(await server.transport(response_headers_max=11).send(post(target=b"/lines"))) == b""
        assert await whole(await server.transport(informational_max=3).send(post(target=b"/interim"))) == b""


@pytest.mark.parametrize("size", [4999, 5000])
async def test_a_body_stops_at_its_cap_when_there_is_one(size: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(H + b"transfer-encoding: chunked\r\n\r\n" + b"5\r\nhello\r\n" * 1000 + b"0\r\n\r\n")
        await peer.eof()

    async with upstream(script) as server:
        transport = server.transport(response_body_max_bytes=size, recv_bytes=512)
        body = await whole(await transport.send(post()))
        if size == 5000:
            assert body == b"hello" * 1000
        else:
            assert isinstance(body, Failure)
            assert body.kind == "too_large"
            await server.peers[0].ended.wait()


@pytest.mark.parametrize("filler", [b"x-pad: ppppppppppppppp\r\n", b"p"])
async def test_trailers_and_chunk_extensions_without_end_are_cut(filler: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(H + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n" + (b"0\r\n" if filler != b"p" else b"1;"))
        while True:
            await peer.send(filler * 500)

    async with upstream(script) as server:
        failure = await whole(await server.transport(response_head_max_bytes=8192).send(post()))
        assert isinstance(failure, Failure)
        assert failure.kind == "too_large"
