"""Events are the same however their bytes are cut; anything at all is survived; nothing grows without bound."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.dialects.sse_reader import Said, SseReader, written

STREAM = (
    b"\xef\xbb\xbf: hello\n\nevent: a\ndata: 1\n\ndata: 2\r\n\r\nid: 7\rdata: 3\rdata: 4\r\r\n\nevent: error\ndata: {}\n\nerror: bad\n\n"
    b"data:last"
)
EVENTS = [Said(b"a", b"1"), Said(b"", b"2"), Said(b"", b"3\n4"), Said(b"error", b"{}"), Said(b"error", b"bad"), Said(b"", b"last")]


def read(pieces: list[bytes], bound: int = 1000) -> tuple[list[Said], SseReader]:
    reader = SseReader(bound)
    return [one for piece in pieces for one in reader.feed(piece)] + reader.end(), reader


def test_events_are_the_same_byte_by_byte():
    assert read([STREAM])[0] == EVENTS
    assert read([STREAM[place : place + 1] for place in range(len(STREAM))])[0] == EVENTS


@given(st.lists(st.binary(max_size=40)))
def test_any_bytes_in_any_pieces_say_the_same_and_raise_nothing(pieces: list[bytes]):
    assert read(pieces)[0] == read([b"".join(pieces)])[0]


def test_an_event_above_the_bound_is_not_held():
    said, reader = read([b"data: ok\n\n", *[b"data: " + b"x" * 90] * 50, b"\n\ndata: late\n\n"], 1000)
    assert said == [Said(b"", b"ok")]
    assert reader.overflow


def test_what_is_no_event_stream_is_noticed():
    _, reader = read([b'{"error": "no"}\n\n'])
    assert reader.alien == b'{"error": "no"}'
    assert read([written(b"x", b"1") + written(b"", b"2")])[0] == [Said(b"x", b"1"), Said(b"", b"2")]
