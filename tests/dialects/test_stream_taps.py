"""Streams of any language on their way: whole events verbatim or translated, however they are cut; errors and cuts never look finished."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.conversation import Conversation
from appliance.core.fault import FaultKind
from appliance.dialects.anthropic import ANTHROPIC, Anthropic
from appliance.dialects.chat import CHAT
from appliance.dialects.codec import Reply
from appliance.dialects.gemini import GEMINI, Gemini
from appliance.dialects.protocol import StreamTap
from appliance.dialects.stream_taps import HELD_MAX_BYTES, ReadingTap, TranslatingTap

BOUND = 100_000


def event(name: str, **fields: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n".encode()


def text(words: str) -> bytes:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": words})


START = event("message_start", message={"id": "msg_1", "model": "m", "role": "assistant", "content": [], "usage": {"input_tokens": 7}})
OPEN = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
CLOSE = event("content_block_stop", index=0)
END = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 3}) + event("message_stop")
STREAM = b": hi\n\n" + START + OPEN + event("ping") + text("Good ") + text("morning") + CLOSE + END
ERROR = event("error", error={"type": "overloaded_error", "message": "busy"})


def reading() -> ReadingTap:
    return ReadingTap(ANTHROPIC.stream_reader(BOUND, "b"), BOUND)


def translating() -> TranslatingTap:
    reply = Reply(Conversation("m", (), stream=True), "m", "id1", 1)
    return TranslatingTap(ANTHROPIC.stream_reader(BOUND, "b"), CHAT.stream_writer(reply))


def fed(tap: StreamTap, pieces: list[bytes]) -> bytes:
    return b"".join([tap.feed(piece) for piece in pieces]) + tap.end()


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    marks = [0, *sorted(place % len(stream) for place in places), len(stream)]
    return [stream[one:other] for one, other in pairwise(marks)]


@given(st.lists(st.integers(0, 10_000), max_size=30))
def test_a_stream_passes_to_the_byte_however_it_is_cut(places: list[int]):
    tap = reading()
    assert fed(tap, cut(STREAM, places)) == STREAM
    assert (tap.finished, tap.fault, tap.committed, tap.token_seen, tap.deltas) == (True, None, True, True, 2)
    assert tap.size == len("Good morning")
    said = tap.answer()
    assert said.usage is not None
    assert (said.usage.input_tokens, said.usage.output_tokens, said.model, said.finish_reason) == (7, 3, "m", "stop")


@given(st.lists(st.integers(0, 10_000), max_size=30))
def test_a_stream_is_translated_the_same_however_it_is_cut(places: list[int]):
    whole = translating()
    expected = fed(whole, [STREAM])
    tap = translating()
    got = fed(tap, cut(STREAM, places))
    lines = [json.loads(line[6:]) for line in got.decode().split("\n\n") if line and line != "data: [DONE]"]
    assert "".join(choice["delta"].get("content") or "" for one in lines for choice in one["choices"]) == "Good morning"
    assert got.endswith(b"data: [DONE]\n\n")
    assert expected.endswith(b"data: [DONE]\n\n")
    assert (tap.answer(), tap.finished) == (whole.answer(), True)


@pytest.mark.parametrize("make", [reading, translating])
def test_an_error_in_the_stream_is_a_fault_and_does_not_pass(make):
    tap = make()
    out = tap.feed(START + OPEN + text("Good ") + ERROR + text("morning"))
    assert tap.fault is not None
    assert tap.fault.kind is FaultKind.OVERLOADED
    assert b"Good " in out
    assert b"busy" not in out
    assert b"morning" not in out
    assert tap.feed(text("more")) == tap.end() == b""
    assert not tap.finished


@pytest.mark.parametrize("make", [reading, translating])
def test_a_cut_stream_does_not_look_finished(make):
    tap = make()
    out = fed(tap, [START + OPEN + text("Good ")])
    assert tap.fault is not None
    assert tap.fault.kind is FaultKind.STREAM_CUT
    assert not tap.finished
    assert b"message_stop" not in out
    assert b"[DONE]" not in out


@pytest.mark.parametrize("make", [reading, translating])
@pytest.mark.parametrize("pieces", [[START + ERROR], [START, ERROR], [START, event("ping"), ERROR]])
def test_what_began_only_to_fail_commits_to_nothing(make, pieces: list[bytes]):
    tap = make()
    assert b"".join([tap.feed(piece) for piece in pieces]) == b""
    assert tap.fault is not None
    assert not tap.committed


def test_announcements_without_end_are_passed_on():
    tap = reading()
    passed = b""
    for _ in range(HELD_MAX_BYTES // len(START) + 2):
        passed += tap.feed(START)
    assert tap.committed
    assert len(passed) > HELD_MAX_BYTES


@pytest.mark.parametrize("make", [reading, translating])
def test_comments_and_pings_commit_to_nothing(make):
    tap = make()
    tap.feed(b": hi\n\n" + event("ping"))
    assert not tap.committed
    tap.feed(START)
    assert not tap.committed
    tap.feed(OPEN)
    assert tap.committed
    assert not tap.token_seen


@pytest.mark.parametrize("make", [reading, translating])
def test_an_event_above_the_bound_is_a_fault(make):
    tap = make()
    for _ in range(30):
        tap.feed(b"data: " + b"x" * 5_000)
    tap.end()
    assert tap.fault is not None
    assert tap.fault.kind is FaultKind.PROTOCOL


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_arbitrary_bytes_raise_nothing(pieces: list[bytes]):
    for tap in (reading(), translating()):
        fed(tap, [START, *pieces])
        assert tap.fault is not None or tap.finished


@pytest.mark.parametrize("door", [ANTHROPIC, GEMINI])
def test_more_at_once_than_can_be_put_in_order_is_a_fault_and_nothing_looks_finished(door: Anthropic | Gemini) -> None:
    def piece(index: int, arguments: str) -> bytes:
        call = {"index": index, "id": f"c{index}", "function": {"name": "f", "arguments": arguments}}
        return b"data: " + json.dumps({"id": "x", "choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}).encode() + b"\n\n"

    tap = TranslatingTap(CHAT.stream_reader(1 << 26, "b"), door.stream_writer(Reply(Conversation("m", ()), "m", "i", 0)))
    tap.feed(piece(0, '{"a":'))
    for _ in range(9):
        tap.feed(piece(1, "x" * 1_000_000))
    assert tap.fault is not None
    assert (tap.fault.kind, tap.finished) == (FaultKind.PROTOCOL, False)
    assert tap.end() == b""
