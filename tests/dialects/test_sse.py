"""Events are cut where the format says, with every line ending, wherever the bytes were cut on their way."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.dialects.sse import EventCutter, read_event

LINES = st.sampled_from([b"data: x", b"data:", b": c", b"event: e", b"data: {\"a\":1}", b"id: 7", b"junk", b"data:  two"])
ENDINGS = st.sampled_from([b"\n", b"\r\n", b"\r"])
STREAMS = st.lists(st.tuples(LINES | st.just(b""), ENDINGS), max_size=12).map(lambda parts: b"".join(a + b for a, b in parts))


def _events(pieces: list[bytes]) -> tuple[list[bytes], bytes]:
    """Lines of every event, and all bytes in order as the cutter gave them out."""
    cutter = EventCutter()
    events: list[bytes] = []
    out = b""
    for piece in pieces:
        if cutter.trailing_lf and piece:
            cutter.trailing_lf = False
            if piece[:1] == b"\n":
                out, piece = out + b"\n", piece[1:]
        block = cutter.take(piece) if piece else b""
        if block:
            for start, content_end, end in cutter.cut(block):
                events.append(block[start:content_end])
                out += block[start:end]
    return events, out + cutter.rest()


def _by_the_book(stream: bytes) -> list[list[bytes]]:
    """The lines of each event, read line by line as WHATWG describes it; empty events and an unfinished last one left out."""
    events: list[list[bytes]] = []
    current: list[bytes] = []
    text = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    *whole, _ = text.split(b"\n")
    for line in whole:
        if line:
            current.append(line)
        elif current:
            events.append(current)
            current = []
    return events


@settings(max_examples=600, deadline=None)
@given(STREAMS, st.integers(0, 2**32))
def test_events_are_those_of_the_standard_however_the_bytes_arrive(stream: bytes, seed: int) -> None:
    chance = random.Random(seed)
    cuts = sorted(chance.sample(range(len(stream) + 1), min(len(stream), chance.randint(0, 6))))
    at_random = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    expected = _by_the_book(stream)
    for pieces in ([stream], [stream[i : i + 1] for i in range(len(stream))], at_random):
        events, out = _events(pieces)
        assert out == stream
        assert [lines for lines in (one.splitlines() for one in (e.strip(b"\r\n") for e in events)) if lines] == expected


def test_an_event_leaves_as_soon_as_its_blank_line_is_there() -> None:
    for ending in (b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n", b"\r\n\n"):
        cutter = EventCutter()
        whole = b"data: x" + ending.removesuffix(b"\n") if ending.endswith(b"\r\n") else b"data: x" + ending  # its CR ends the line already
        for i in range(len(whole)):
            block = cutter.take(whole[i : i + 1])
            cut = cutter.cut(block) if block else []
            assert bool(cut) == (i == len(whole) - 1)


def test_a_megabyte_in_small_pieces_costs_linear_time() -> None:
    import time

    def cost(pieces: int) -> float:
        cutter = EventCutter()
        started = time.thread_time()
        for _ in range(pieces):
            block = cutter.take(b"data: " + b"x" * 90 + b"\n")
            assert not block or not cutter.cut(block)
        return time.thread_time() - started

    small, large = min(cost(1_000) for _ in range(3)), min(cost(10_000) for _ in range(3))
    assert large < 50 * small + 0.01  # linear would be 10, quadratic 100


def test_fields_are_read_as_the_standard_says() -> None:
    event = read_event(b": note\nevent: error\r\ndata:one\rdata:  two\nid: 1\nretry: 5")
    assert (event.name, event.data, event.error, event.alien) == (b"error", b"one\n two", None, False)
    assert read_event(b": only a comment").data is None
    assert read_event(b"data").data == b""
    assert read_event(b"<html>").alien
    assert read_event(b'error: {"a":1}').error == b'{"a":1}'
