"""Compressed answers: undone whole, in bounded steps, and never into more than a body can reasonably hold."""

import gzip
import random
import zlib

import attrs
import pytest
import trio

from appliance.gateway.answer_head import decoded, header_text
from appliance.gateway.decoding import SLACK_BYTES, STEP_MAX_BYTES, decoder, read_decoded
from appliance.http1.transport import Failure

ZEROS = gzip.compress(b"\0" * 50_000_000)


@attrs.define
class Pieces:
    """A body that arrives in given pieces, as an exchange gives it."""

    pieces: list[bytes]
    status: int = 200
    headers: list[tuple[bytes, bytes]] = attrs.field(factory=list)
    reused: bool = False
    connect_s: float = 0.0

    async def read(self) -> bytes | Failure:
        await trio.lowlevel.checkpoint()
        return self.pieces.pop(0) if self.pieces else b""

    def close(self) -> None: ...


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 20])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_what_was_compressed_comes_back_whole_however_it_is_cut(size: int, encoding: str) -> None:
    chance = random.Random(size)
    plain = b"".join(chance.randbytes(3) * chance.randint(1, 90) for _ in range(1500 if size < 10 else 20_000))
    packed = gzip.compress(plain) if encoding == "gzip" else zlib.compress(plain)
    undo = decoder(encoding.encode())
    assert undo is not None
    answer, steps = Pieces(_cut(packed, size)), []
    while step := await read_decoded(answer, undo):
        assert isinstance(step, bytes)
        steps.append(step)
    assert b"".join(steps) == plain
    assert undo.end() == b""
    assert max(map(len, steps)) <= STEP_MAX_BYTES


async def test_one_read_of_a_bomb_never_unfolds_into_more_than_a_step() -> None:
    undo = decoder(b"gzip")
    assert undo is not None
    answer, turns, total = Pieces([ZEROS]), 0, 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        while step := await read_decoded(answer, undo):
            assert isinstance(step, bytes)
            assert len(step) <= STEP_MAX_BYTES
            total += len(step)
        nursery.cancel_scope.cancel()
    # All at once it was fed, and within 1000 times its size; others still had a turn at every step.
    assert turns >= total // STEP_MAX_BYTES > 2


async def test_a_body_that_expands_beyond_reason_is_broken() -> None:
    packed = gzip.compress(b"\0" * 30_000_000)
    undo = decoder(b"gzip")
    assert undo is not None
    answer = Pieces([packed[: len(packed) // 2]])
    undo._fed = -len(packed)  # as if next to nothing had been received for what comes out
    total = 0
    while step := await read_decoded(answer, undo):
        assert isinstance(step, bytes)
        total += len(step)
    assert undo.broken
    assert undo.end() is None
    assert total <= SLACK_BYTES


@pytest.mark.parametrize("keep", [0.3, 0.999])
async def test_a_cut_body_is_told_from_a_whole_one(keep: float) -> None:
    packed = gzip.compress(random.Random(1).randbytes(5000))
    undo = decoder(b"gzip")
    assert undo is not None
    answer = Pieces([packed[: int(len(packed) * keep)]])
    while await read_decoded(answer, undo):
        pass
    assert undo.end() is None
    assert not undo.broken


async def test_garbage_is_broken_and_stays_so() -> None:
    undo = decoder(b"gzip")
    assert undo is not None
    assert await read_decoded(Pieces([b"no gzip at all"]), undo) == b""
    assert undo.broken
    assert undo.feed(gzip.compress(b"x")) is None
    assert undo.end() is None


async def test_what_follows_the_compressed_data_is_neither_passed_nor_kept() -> None:
    undo = decoder(b"gzip")
    assert undo is not None
    answer = Pieces([gzip.compress(b"all of it") + b"x" * 100] + [b"y" * 1000] * 50)
    assert await read_decoded(answer, undo) == b"all of it"
    assert await read_decoded(answer, undo) == b""
    assert len(undo._inflate.unused_data) == 100
    assert undo.end() == b""


def test_an_error_body_is_unfolded_no_further_than_it_is_read() -> None:
    headers = [(b"content-encoding", b"gzip")]
    assert decoded(ZEROS, headers, 10_000) == b"\0" * 10_000
    assert decoded(gzip.compress(b'{"error":"x"}'), headers, 10_000) == b'{"error":"x"}'
    assert decoded(b"garbage", headers, 10_000) == b""
    assert decoded(b"{}", [(b"content-encoding", b"br")], 10_000) == b""
    assert decoded(b"{}", [(b"content-encoding", b"identity")], 10_000) == b"{}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("gpt-4o", b"gpt-4o"),
        ("my model", b"my model"),
        ("a\r\nset-cookie: x", b"a??set-cookie: x"),
        ("\ttab\x00\x7f", b"?tab??"),
        ("日本\ud800", b"???"),
        (" edge ", b"edge"),
    ],
)
def test_any_name_makes_one_safe_header_value(text: str, value: bytes) -> None:
    assert header_text(text) == value
