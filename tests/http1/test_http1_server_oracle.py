"""h11 as an oracle: what h11 refuses, the engine refuses, and what both accept they read alike.

The exceptions, each a choice of ours:
- h11 limits an incomplete event to 16 KiB; ours are ServerLimits. The generated requests stay below both.
- h11 leaves it open whether an `Upgrade` is honoured until the answer; a 200 tells it that it was not, and both read on.
"""

import socket
from typing import Any

import h11
import trio
from http1_engine import QUICK, body_of, reply
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from appliance.http1.connection import Connection
from appliance.http1.peer_socket import PeerSocket
from appliance.http1.refusal import plain_text_refusal
from appliance.http1.server_state import ServerState

Request = tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]


def by_engine(raw: bytes) -> tuple[list[Request], bytes]:
    """The requests which the engine hands to an application, and all that it answered."""
    requests: list[Request] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = await body_of(receive)
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        requests.append((scope["method"].encode(), target, scope["headers"], body))
        await reply(send, b"")

    async def main() -> bytes:
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.sendall(raw)
            theirs.shutdown(socket.SHUT_WR)
            ours.setblocking(False)
            state = ServerState(app, QUICK, plain_text_refusal, lambda error, _: errors.append(error), None)
            connection = Connection(PeerSocket(ours, 65536, lambda _: None), state, None, None)
            connection.peer.half_closed = False
            with trio.fail_after(5):
                await connection.run(lambda _: None)
            return theirs.recv(1_000_000)

    errors: list[Exception] = []
    answered = trio.run(main)
    assert errors == []
    return requests, answered


def by_h11(raw: bytes) -> tuple[list[Request], bool]:
    """The requests h11 reads to their end, and whether it met something that it refuses."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(raw)
    connection.receive_data(b"")
    requests: list[Request] = []
    head: h11.Request | None = None
    body = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                head, body = event, b""
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                requests.append((head.method, head.target, list(head.headers), body))
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is h11.MUST_CLOSE:
                    return requests, False
            elif event is h11.PAUSED:
                connection.start_next_cycle()
            else:
                return requests, False
    except h11.RemoteProtocolError:
        return requests, True


def alike(raw: bytes) -> None:
    ours, answered = by_engine(raw)
    theirs, refused = by_h11(raw)
    assert ours == theirs[: len(ours)], "read differently, or accepted what h11 refuses"
    if refused:
        last = answered.rfind(b"HTTP/1.1 ")
        assert last >= 0
        assert answered[last + 9 : last + 10] in (b"4", b"5"), "h11 refuses the last request, the engine did not"


METHODS = [b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT"]
TARGETS = [b"/", b"/v1/chat?x=1", b"/a%20b", b"/" + b"p" * 50]
HEADERS = [
    b"Content-Length: 3",
    b"Content-Length: 5",
    b"Content-Length: 0",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding:chunked",
    b"Transfer-Encoding: gzip",
    b"Connection: close",
    b"Connection: keep-alive",
    b"Host: y",
    b"X-Empty:",
    b"X-Space: \t a b \t",
    b"X-High: \xe9\xff",
    b"Expect: 100-continue",
    b"Upgrade: h2c",
    b"Accept: */*",
]
BODIES = [b"", b"abc", b"abcde", b"3\r\nabc\r\n0\r\n\r\n", b"1;x=y\r\na\r\n2\r\nbc\r\n0\r\nT: v\r\n\r\n", b"A\r\n0123456789\r\n0\r\n\r\n"]
NASTY = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"\x0b",
    b"\x7f",
    b"\xa0",
    b"0",
    b"+",
    b"-",
    b"x",
    b"chunked",
    b"HTTP/1.1",
]


@st.composite
def request(draw: st.DrawFn) -> bytes:
    version = draw(st.sampled_from([b"HTTP/1.1"] * 5 + [b"HTTP/1.0"]))
    lines = [b"%b %b %b" % (draw(st.sampled_from(METHODS)), draw(st.sampled_from(TARGETS)), version)]
    lines += draw(st.sampled_from([[b"Host: x"]] * 6 + [[]]))
    lines += draw(st.lists(st.sampled_from(HEADERS), max_size=4))
    return b"\r\n".join(lines) + b"\r\n\r\n" + draw(st.sampled_from(BODIES))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    raw = b"".join(draw(st.lists(request(), min_size=1, max_size=3)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(raw)))
        cut = draw(st.integers(0, 3))
        raw = raw[:at] + draw(st.sampled_from([*NASTY, b""])) + raw[at + cut :]
    return raw


LONG = settings(max_examples=600, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@LONG
@given(mutated())
@example(b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n")
def test_what_h11_refuses_is_refused_and_the_rest_read_alike(raw: bytes):
    alike(raw)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.binary(max_size=200))
def test_noise_is_refused_like_h11_does(raw: bytes):
    alike(raw)
    alike(b"GET / HTTP/1.1\r\nHost: x\r\n" + raw)
    alike(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + raw)
