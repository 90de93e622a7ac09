"""The response reader against arbitrary bytes: it never raises, and how the bytes are cut changes nothing."""

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from appliance.http1.response import ResponseReader, keep_alive_timeout
from appliance.http1.transport import TransportLimits

LIMITS = TransportLimits(response_head_max_bytes=2000, response_headers_max=20, informational_max=3)

LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 204 No Content\r\n",
        b"HTTP/1.1 100 Continue\r\n",
        b"HTTP/1.1 101 Switching\r\n",
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/1.1 503 x\r\n",
        b"content-length: 5\r\n",
        b"content-length: 0\r\n",
        b"Content-Length:3\r\n",
        b"transfer-encoding: chunked\r\n",
        b"transfer-encoding: gzip\r\n",
        b"connection: close\r\n",
        b"connection: upgrade\r\nupgrade: h2c\r\n",
        b"keep-alive: timeout=5\r\n",
        b" folded\r\n",
        b"\r\n",
        b"\n",
        b"hello",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"0\r\nx: y\r\n\r\n",
        b"a;ext\r\n",
        b"\x00\xff",
    ]
)
WIRE = st.one_of(st.binary(max_size=300), st.lists(st.one_of(LINES, st.binary(max_size=5)), max_size=14).map(b"".join))


def outcome(chunks: list[bytes], *, eof: bool, head_only: bool = False) -> tuple[object, ...]:
    """What a response comes to when these chunks are received."""
    reader = ResponseReader(LIMITS)
    reader.start(head_only=head_only)
    body = b""
    for chunk in chunks:
        if reader.fault is not None or reader.complete:
            break
        reader.feed(chunk)
        body += b"".join(reader.pieces)
        reader.pieces.clear()
    else:
        if eof:
            reader.end()
    if reader.fault is not None:
        return ("fault", reader.fault[0])
    if not reader.head_done:
        return ("no head",)
    assert 200 <= reader.status <= 599
    return (reader.status, tuple(reader.headers), body, reader.complete)


@settings(max_examples=600, deadline=None)
@given(WIRE, st.booleans(), st.booleans())
@example(b"HTTP/1.1 200 OK\r\n\r\n", True, False)
@example(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1", False, False)
def test_arbitrary_bytes_come_to_the_same_end_whole_and_byte_by_byte(wire: bytes, eof: bool, head_only: bool) -> None:
    whole = outcome([wire] if wire else [], eof=eof, head_only=head_only)
    single = outcome([wire[i : i + 1] for i in range(len(wire))], eof=eof, head_only=head_only)
    if whole != single:
        # The one allowed difference: a fault behind body bytes that byte by byte had already been handed on.
        assert whole[0] == single[0] == "fault"


@settings(max_examples=600, deadline=None)
@given(WIRE)
def test_what_we_take_for_a_complete_answer_h11_does_too(wire: bytes) -> None:
    ours = outcome([wire] if wire else [], eof=True)
    if ours[0] in ("fault", "no head") or not ours[3]:
        return
    oracle = h11.Connection(h11.CLIENT)
    oracle.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    oracle.send(h11.EndOfMessage())
    oracle.receive_data(wire.lstrip(b"\r\n"))  # llhttp skips empty lines before a status line, as RFC 9112 §2.2 lets servers do
    theirs = drain(oracle)
    assert theirs[:2] == (ours[0], ours[2])
    assert theirs[2]


def drain(oracle: h11.Connection) -> tuple[int, bytes, bool]:
    status, body, fed_eof = 0, b"", False
    while True:
        event = oracle.next_event()
        if event is h11.NEED_DATA:
            if fed_eof:
                return status, body, False
            oracle.receive_data(b"")
            fed_eof = True
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed) or event is h11.PAUSED:
            return status, body, isinstance(event, h11.EndOfMessage)


def test_a_reader_serves_one_response_after_the_other() -> None:
    reader = ResponseReader(LIMITS)
    for number in range(200):
        reader.start(head_only=False)
        reader.feed(b"HTTP/1.1 200 x\r\nx-n: %d\r\ncontent-length: 1\r\n\r\n" % number)
        assert not reader.complete
        reader.feed(b"%d" % (number % 10))
        assert (reader.complete, reader.keep_alive, reader.fault) == (True, True, None)
        assert reader.headers[0] == (b"x-n", b"%d" % number)
        assert reader.pieces == [b"%d" % (number % 10)]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"timeout=5", 5.0),
        (b"max=100, Timeout = 30", 30.0),
        (b"timeout=", None),
        (b"timeout=-1", None),
        (b"timeout=99999999999", None),
        (b"", None),
    ],
)
def test_keep_alive_is_read(value: bytes, seconds: float | None) -> None:
    assert keep_alive_timeout(value) == seconds
