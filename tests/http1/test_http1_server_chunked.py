"""The chunked decoder by itself: whole, byte by byte, split anywhere, and with the next message behind."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.http1.chunked import LINE_MAX_BYTES, BadChunk, ChunkedDecoder


def encode(pieces: list[bytes], extension: bytes = b"", trailers: bytes = b"") -> bytes:
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    return chunks + b"0%b\r\n%b\r\n" % (extension, trailers)


def decode(parts: list[bytes]) -> tuple[bytes, bool, bytes]:
    decoder = ChunkedDecoder()
    body, rest = b"", b""
    for part in parts:
        if decoder.done:
            rest += part
        else:
            body += decoder.feed(part)
            rest = decoder.rest
    return body, decoder.done, rest


@given(
    st.lists(st.binary(min_size=1, max_size=50), max_size=5),
    st.sampled_from([b"", b";a", b';a="b c"', b";" + b"x" * 100]),
    st.sampled_from([b"", b"X: y\r\n", b"A:\r\nB: \xe9 \r\n"]),
    st.sampled_from([b"", b"GET / HTTP/1.1\r\n", b"\r\n", b"0\r\n\r\n"]),
    st.lists(st.integers(0, 400), max_size=6),
)
def test_split_anywhere_it_decodes_the_same(pieces: list[bytes], extension: bytes, trailers: bytes, behind: bytes, cuts: list[int]):
    wire = encode(pieces, extension, trailers) + behind
    expected = (b"".join(pieces), True, behind)
    assert decode([wire]) == expected
    assert decode([wire[i : i + 1] for i in range(len(wire))]) == expected
    edges = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    assert decode([wire[a:b] for a, b in pairwise(edges)]) == expected


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=3), st.data())
def test_body_that_ends_early_is_not_done(pieces: list[bytes], data: st.DataObject):
    wire = encode(pieces)
    assert not decode([wire[: data.draw(st.integers(0, len(wire) - 1))]])[1]


@pytest.mark.parametrize(
    "wire",
    [
        b"1;" + b"a" * LINE_MAX_BYTES + b"\r\na\r\n",
        b"1;" + b"a" * LINE_MAX_BYTES,
        b"0\r\n" + b"X: " + b"a" * 20_000,
        b"0\r\n" + b"X: y\r\n" * 5_000,
        b"1;" + b"a\r\nb\r\n" * 5_000,
    ],
    ids=["long line", "line without end", "long trailer", "many trailers", "no size"],
)
@pytest.mark.parametrize("step", [1, 100_000])
def test_lines_are_bounded(wire: bytes, step: int):
    decoder = ChunkedDecoder()
    with pytest.raises(BadChunk):  # noqa: PT012
        for start in range(0, len(wire), step):
            decoder.feed(wire[start : start + step])


def test_extensions_are_bounded_together():
    decoder = ChunkedDecoder()
    with pytest.raises(BadChunk):  # noqa: PT012
        for _ in range(100):
            decoder.feed(b"1;" + b"a" * 500 + b"\r\nb\r\n")
