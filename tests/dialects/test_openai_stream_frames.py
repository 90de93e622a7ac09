"""The short cut for deltas that differ only in their text takes nothing for an ordinary delta that is none."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.dialects.openai_chat import OpenAIStreamTap
from appliance.dialects.openai_size import chunk_size
from appliance.dialects.openai_stream import NO_FRAME


def event(text: str, **choice: object) -> bytes:
    one = {"index": 0, "delta": {"content": text}, "finish_reason": None, **choice}
    chunk = {"id": "c", "object": "chat.completion.chunk", "choices": [one]}
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def fed(events: list[bytes], *, learning: bool) -> OpenAIStreamTap:
    tap = OpenAIStreamTap(hide_usage=False, event_max_bytes=100_000)
    if not learning:
        tap._frames_left = 0
    assert b"".join([tap.feed(one) for one in events]) == b"".join(events)
    return tap


@given(st.lists(st.text(max_size=12), min_size=1, max_size=30))
def test_with_and_without_the_short_cut_the_same_is_seen(texts):
    events = [event(text) for text in texts]
    quick, slow = fed(events, learning=True), fed(events, learning=False)
    assert (quick.deltas, quick.token_seen, quick.fault) == (slow.deltas, slow.token_seen, slow.fault)
    assert quick.size == slow.size == sum(len(text.encode()) for text in texts)


@pytest.mark.parametrize("joints", [(",", ":"), (", ", ": ")], ids=["compact", "spaced"])
@pytest.mark.parametrize("key", ["content", "reasoning_content", "reasoning"])
def test_the_short_cut_is_learnt_and_taken(key: str, joints: tuple[str, str]):
    events = []
    for text in ("one", "two", "three"):
        chunk = {"id": "c", "choices": [{"index": 0, "delta": {key: text}, "finish_reason": None}]}
        events.append(b"data: " + json.dumps(chunk, separators=joints).encode() + b"\n\n")
    tap = fed(events, learning=True)
    assert tap._frame[:2] == (events[0].partition(b"one")[0], events[0].partition(b"one")[2])
    assert (tap.deltas, tap.size) == (3, len("onetwothree"))


CITED = [{"type": "url_citation", "url_citation": {"url": "https://example.com", "title": "a title", "content": "words of a page"}}]
BESIDE = [
    {"content": "one", "annotations": CITED},
    {"content": "", "annotations": CITED},
    {"annotations": CITED},
    {"content": "one", "tool_calls": [{"index": 0, "id": "1", "function": {"name": "weather", "arguments": "{}"}}]},
    {"content": "one", "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
    {"content": "", "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
    {"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
]  # fmt: skip


@pytest.mark.parametrize("joints", [(",", ":"), (", ", ": ")], ids=["compact", "spaced"])
@pytest.mark.parametrize("delta", BESIDE)
def test_what_comes_beside_the_text_of_an_event_counts_as_in_a_whole_answer(delta: dict[str, object], joints: tuple[str, str]):
    chunks = [{"choices": [{"index": 0, "delta": one, "finish_reason": None}]} for one in ({"content": "two"}, delta, {"content": "three"})]
    tap = fed([b"data: " + json.dumps(one, separators=joints).encode() + b"\n\n" for one in chunks], learning=True)
    assert (tap.deltas, tap.size) == (3, sum(chunk_size(one) for one in chunks))


def test_a_delta_with_two_texts_is_no_frame():
    both = {"content": "one", "reasoning": "two"}
    tap = fed([b"data: " + orjson.dumps({"choices": [{"index": 0, "delta": both, "finish_reason": None}]}) + b"\n\n"] * 3, learning=True)
    assert tap._frame == NO_FRAME
    assert tap.deltas == 3


@pytest.mark.parametrize(
    "trick",
    [
        b'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}\n\n',
        b'data: {"error":{"message":"down","code":503}}\n\n',
        b"data: [DONE]\n\n",
    ],
)
def test_what_is_no_ordinary_delta_is_still_looked_at(trick):
    plain, tap = event("one"), OpenAIStreamTap(hide_usage=False, event_max_bytes=100_000)
    for one in (plain, plain, plain, trick):
        tap.feed(one)
    said = tap.answer()
    assert said.finish_reason == "stop" or tap.fault is not None or tap.finished


def test_a_quote_inside_the_frame_ends_the_short_cut():
    """The frame around `x","finish_reason":"stop"...` fits at both ends, but what is between is not one string."""
    tap = OpenAIStreamTap(hide_usage=False, event_max_bytes=100_000)
    for _ in range(3):
        tap.feed(event("one"))
    before, after, *_ = tap._frame
    tap.feed(before + b'x"},"finish_reason":"length"},{"index":0,"delta":{"content":"y' + after)
    assert tap.answer().finish_reason == "length"
