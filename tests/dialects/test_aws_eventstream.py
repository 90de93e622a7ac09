"""The binary event stream is read as it was written, in any pieces, and nothing that comes makes it raise."""

import random
import struct
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.dialects.aws_eventstream import EventStreamReader, Message, read_headers, write_event, write_exception, write_message

MAX = 1_000_000
values = st.one_of(st.text(max_size=30), st.binary(max_size=30), st.integers(-(2**63), 2**63 - 1), st.booleans())
messages = st.builds(
    lambda headers, payload: (headers, payload), st.dictionaries(st.text(min_size=1, max_size=12), values, max_size=5),
        st.binary(max_size=80)
)


def read(data: bytes, cuts: list[int]) -> list[Message]:
    reader = EventStreamReader(MAX)
    out: list[Message] = []
    start = 0
    for cut in [*sorted(cuts), len(data)]:
        out += reader.feed(data[start:cut])
        start = max(start, cut)
    assert not reader.broken
    assert reader.held_bytes == 0
    return out


@settings(deadline=None)
@given(st.lists(messages, max_size=4), st.lists(st.integers(0, 400), max_size=6))
def test_what_was_written_is_read_in_any_pieces(sent, cuts):
    data = b"".join(write_message(headers, payload) for headers, payload in sent)
    got = read(data, [min(cut, len(data)) for cut in cuts])
    assert [(dict(one.headers), one.payload) for one in got] == sent
    assert read(data, list(range(len(data)))) == got


# github.com/awslabs/aws-c-event-stream and the SDKs keep these as their reference messages.
@pytest.mark.parametrize(("raw", "headers", "payload"), [
    ("000000100000000005c248eb7d98c8ff", {}, b""),
    ("0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936", {}, b"{'foo':'bar'}"),
    ("0000003d0000002007fd8396" "0c636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e"
     "7b27666f6f273a27626172277d8d9c08b1", {"content-type": "application/json"}, b"{'foo':'bar'}"),
])  # fmt: skip
def test_the_published_messages_are_read_and_written(raw, headers, payload):
    data = bytes.fromhex(raw)
    (message,) = read(data, [])
    assert (dict(message.headers), message.payload) == (headers, payload)
    assert write_message(headers, payload) == data


def test_every_type_of_header_is_read():
    block = (
        b"\x01a\x00" b"\x01b\x01" b"\x01c\x02\xff" b"\x01d\x03\x00\x02" b"\x01e\x04\xff\xff\xff\xfe" b"\x01f\x05" + struct.pack(">q", 9)
        + b"\x01g\x06\x00\x02hi" b"\x01h\x07\x00\x02ho" b"\x01i\x08" + struct.pack(">q",
            1_700_000_000_000) + b"\x01j\x09" + bytes(range(16))
    )  # fmt: skip
    assert read_headers(block) == {
        "a": True, "b": False, "c": -1, "d": 2, "e": -2, "f": 9, "g": b"hi", "h": "ho", "i": 1_700_000_000_000, "j": bytes(range(16)),
    }  # fmt: skip


@pytest.mark.parametrize("block", [b"\x05a", b"\x01a", b"\x01a\x07", b"\x01a\x07\x00\x09hi", b"\x01a\x0b", b"\x01\xff\x00",
    b"\x01a\x09abc"])
def test_headers_that_are_none_are_none(block):
    assert read_headers(block) is None
    reader = EventStreamReader(MAX)
    lengths = struct.pack(">II", len(block) + 16, len(block))
    message = lengths + struct.pack(">I", crc32(lengths)) + block
    assert reader.feed(message + struct.pack(">I", crc32(message))) == []
    assert reader.broken == "headers that cannot be read"


def test_one_wrong_bit_breaks_the_stream_for_good():
    good, chance = write_event("messageStart", b'{"role":"assistant"}'), random.Random(1)
    for place in range(len(good)):
        reader = EventStreamReader(MAX)
        bad = bytearray(good)
        bad[place] ^= 1 << chance.randrange(8)
        assert [one.payload for one in reader.feed(good + bytes(bad))] == [b'{"role":"assistant"}']
        assert reader.broken
        assert reader.feed(good) == []
        assert reader.held_bytes == 0


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=8))
def test_arbitrary_bytes_never_raise_and_never_pile_up(pieces):
    reader = EventStreamReader(64)
    for piece in pieces:
        reader.feed(piece)
        assert reader.held_bytes <= 64


def test_a_message_above_the_bound_is_refused_by_its_length_alone():
    reader = EventStreamReader(1_000)
    assert reader.feed(write_event("contentBlockDelta", b"x" * 1_000)[:12]) == []
    assert "limit of 1000 bytes" in reader.broken


def test_an_exception_is_a_message_of_its_own_type():
    (message,) = read(write_exception("throttlingException", b'{"message":"slow"}'), [])
    assert message.headers[":message-type"] == "exception"
    assert message.headers[":exception-type"] == "throttlingException"


def test_amazons_own_library_reads_what_is_written_and_the_other_way_round():
    theirs = pytest.importorskip("botocore.eventstream", reason="botocore is not installed: the published messages alone have to do")
    sent = [({":event-type": f"e{number}", "n": number, "t": True, "b": b"x"}, b"{}" * number) for number in range(5)]
    buffer = theirs.EventStreamBuffer()
    buffer.add_data(b"".join(write_message(headers, payload) for headers, payload in sent))
    assert [(one.headers, one.payload) for one in buffer] == sent
