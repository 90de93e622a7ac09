"""What is known of requests and answers that pass as they are: images, audio, rankings, moderations."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.fault import Fault, FaultKind
from appliance.dialects.language import TapWish
from appliance.dialects.openai_media import OPENAI_MEDIA, RERANK_V2, read_media_request
from appliance.dialects.protocol import FORWARDED, ParsedRequest, Rewrite, StreamTap

VERBATIM = OPENAI_MEDIA.verbatim
assert VERBATIM is not None


def parsed(operation: str, **fields: Any) -> ParsedRequest:
    found = read_media_request(json.dumps(fields).encode(), operation)
    assert isinstance(found, ParsedRequest), found
    return found


def tap(event_max_bytes: int = 10_000_000) -> StreamTap:
    assert VERBATIM is not None
    return VERBATIM.tap(TapWish(False, event_max_bytes, "b", (b"secret-of-ours",)))


def event(**fields: Any) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def run(stream: bytes, sizes: int = 1_000_000) -> tuple[bytes, StreamTap]:
    one = tap()
    out = b"".join(one.feed(stream[place : place + sizes]) for place in range(0, len(stream), sizes))
    return out + one.end(), one


@pytest.mark.parametrize("operation", sorted(FORWARDED))
def test_every_operation_has_a_reader_and_an_estimate(operation: str) -> None:
    found = parsed(operation, model="m", input="eight by", prompt="eight by", documents=["eight", "by"], max_tokens=7)
    assert (found.operation, found.model, found.stream, found.max_tokens, found.wants_usage) == (operation, "m", False, None, True)
    assert found.prompt_tokens_estimate == (0 if operation in ("image_variation", "transcription", "translation") else 7 // 4 + (
        operation != "rerank"))  # fmt: skip


@pytest.mark.parametrize(
    ("operation", "fields", "stream"),
    [
        ("speech", {"stream_format": "sse"}, True),
        ("speech", {"stream_format": "audio"}, False),
        ("speech", {"stream": True}, True),
        ("image_generation", {"stream": True}, True),
        ("image_generation", {"stream": None}, False),
    ],
)
def test_streams_are_asked_for_in_two_ways(operation: str, fields: dict[str, Any], stream: bool) -> None:
    assert parsed(operation, model="m", **fields).stream is stream


def test_only_moderations_have_a_model_of_their_own() -> None:
    assert parsed("moderations", input="x").model == "omni-moderation-latest"
    for operation in FORWARDED - {"moderations"}:
        fault = read_media_request(b'{"input": "x"}', operation)
        assert isinstance(fault, Fault)
        assert fault.param == "model"


@pytest.mark.parametrize("body", [b'{"model":"a","model":"b"}', b"[]", b"{", b'{"model":"m","stream":"yes"}', b'{"model":"a\\u0000"}'])
def test_what_others_refuse_is_refused_here(body: bytes) -> None:
    assert isinstance(read_media_request(body, "image_generation"), Fault)


@pytest.mark.parametrize(
    ("body", "wanted", "expected"),
    [
        (b'{"input": 1}', Rewrite(), b'{"input": 1}'),
        (b'{"input": 1}', Rewrite(model="m2"), b'{"input": 1,"model":"m2"}'),
        (b'{"model": null, "input": 1}', Rewrite(model="m2"), b'{"model": "m2", "input": 1}'),
        (b'{"model": "m", "input": 1}', Rewrite(model="m2"), b'{"model": "m2", "input": 1}'),
        (b'{"input": 1}', Rewrite(model="m2", overrides={"model": "m3"}), b'{"input": 1,"model":"m3"}'),
    ],
)
def test_a_model_is_added_only_where_the_operator_names_one(body: bytes, wanted: Rewrite, expected: bytes) -> None:
    assert VERBATIM is not None
    found = read_media_request(body, "moderations")
    assert isinstance(found, ParsedRequest)
    assert VERBATIM.rewrite(body, found, wanted) == expected


@pytest.mark.parametrize(
    ("operation", "body", "expected"),
    [
        ("transcription", {"text": "a", "usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 4}}, (14, 4, 0)),
        ("transcription", {"text": "a", "usage": {"type": "duration", "seconds": 3}}, None),
        ("rerank", {"results": [], "usage": {"total_tokens": 5}}, (5, 0, 0)),
        ("rerank", {"results": [], "meta": {"billed_units": {"search_units": 1}}}, (0, 0, 1)),
        ("rerank", {"results": [], "meta": {"billed_units": {"search_units": 1.0}, "tokens": {"input_tokens": 9}}}, (9, 0, 1)),
        ("rerank", {"results": [], "meta": {"billed_units": {"total_tokens": 4}}}, (4, 0, 0)),
        ("rerank", {"results": [], "meta": {"billed_units": {"search_units": -1}}}, (0, 0, 0)),
        ("rerank", {"results": [], "meta": []}, None),
        ("image_generation", {"data": [], "usage": {"input_tokens": 1, "output_tokens": 2}}, (1, 2, 0)),
        ("moderations", {"results": []}, None),
    ],
)
def test_usage_is_read_where_the_wire_has_it(operation: str, body: dict[str, Any], expected: Any) -> None:
    assert VERBATIM is not None
    said = VERBATIM.answer(json.dumps(body).encode(), operation)
    assert not isinstance(said, Fault)
    usage = said.usage
    assert (usage and (usage.input_tokens, usage.output_tokens, usage.search_units)) == expected


@given(st.binary(max_size=300))
def test_an_answer_that_is_no_json_says_nothing_and_is_no_fault(body: bytes) -> None:
    assert VERBATIM is not None
    assert not isinstance(VERBATIM.answer(body, "rerank"), Fault)


def test_audio_tokens_are_counted_apart() -> None:
    assert VERBATIM is not None
    usage = {"input_tokens": 14, "input_token_details": {"text_tokens": 0, "audio_tokens": 14}, "output_tokens": 5, "total_tokens": 19}
    said = VERBATIM.answer(json.dumps({"text": "x", "usage": usage}).encode(), "transcription")
    assert not isinstance(said, Fault)
    assert said.usage is not None
    assert said.usage.input_audio_tokens == 14


def test_cohere_has_an_endpoint_of_its_own() -> None:
    assert RERANK_V2.verbatim is not None
    assert (RERANK_V2.verbatim.endpoint, VERBATIM and VERBATIM.endpoint) == ("rerank_v2", "")


TRANSCRIBED = (
    event(type="transcript.text.delta", delta="Hel") + event(type="transcript.text.delta", delta="lo")
    + event(type="transcript.text.done", text="Hello", usage={"input_tokens": 3, "output_tokens": 2, "total_tokens": 5})
)  # fmt: skip
DRAWN = b"event: image_edit.partial_image\n" + event(type="image_edit.partial_image", b64_json="x" * 600_000) + (
    event(b64_json="y" * 600_000, usage={"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}, type="image_edit.completed")
)  # fmt: skip
VLLM = event(object="transcription.chunk", choices=[{"delta": {"content": "a"}, "finish_reason": None}]) + event(
    object="transcription.chunk", choices=[{"delta": {"content": ""}, "finish_reason": "stop"}])  # fmt: skip
GOOD = {
    "transcription": TRANSCRIBED,
    "with [DONE]": TRANSCRIBED + b"data: [DONE]\n\n",
    "images": DRAWN,
    "two images": DRAWN + DRAWN,
    "vllm": VLLM,
    "unknown events": event(type="vendor.thing") + event(anything=1),
    "comments first": b": hello\n\n" + TRANSCRIBED,
    "CR LF": TRANSCRIBED.replace(b"\n", b"\r\n"),
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("size", [1_000_000, 97, 1])
def test_a_good_stream_passes_byte_for_byte_however_it_is_cut(name: str, size: int) -> None:
    stream = GOOD[name]
    if size == 1 and len(stream) > 10_000:
        return
    out, one = run(stream, size)
    assert out == stream
    assert (one.fault, one.finished, one.committed) == (None, True, True)


@pytest.mark.parametrize("name", ["transcription", "images", "with [DONE]"])
def test_a_streams_usage_and_its_pieces_are_counted(name: str) -> None:
    _, one = run(GOOD[name])
    usage = one.answer().usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (3, 2)
    assert one.deltas == (1 if name == "images" else 2)
    assert one.token_seen


@pytest.mark.parametrize(
    ("stream", "kind"),
    [
        (event(type="transcript.text.delta", delta="Hel"), FaultKind.STREAM_CUT),
        (VLLM[:-100], FaultKind.STREAM_CUT),
        (b"", FaultKind.STREAM_CUT),
        (b": only\n\n", FaultKind.STREAM_CUT),
        (event(error={"message": "busy", "type": "overloaded_error"}), FaultKind.OVERLOADED),
        (b"event: error\n" + event(message="busy"), FaultKind.STREAM_ERROR),
        (b"data: <html>\n\n", FaultKind.PROTOCOL),
        (b"<html>no</html>\n\n", FaultKind.PROTOCOL),
    ],
)
def test_what_is_wrong_with_a_stream_is_found_however_it_is_cut(stream: bytes, kind: FaultKind) -> None:
    for size in (1_000_000, 1):
        _, one = run(stream, size)
        assert one.fault is not None
        assert one.fault.kind is kind
        assert not one.finished


def test_an_event_above_the_bound_is_a_fault() -> None:
    one = tap(1000)
    for _ in range(100):
        one.feed(b"data: " + b"x" * 50)
    assert one.fault is not None
    assert one.fault.kind is FaultKind.PROTOCOL


@given(st.lists(st.binary(max_size=60), max_size=20), st.randoms(use_true_random=False))
def test_arbitrary_bytes_never_raise_and_are_judged_the_same(parts: list[bytes], chance: random.Random) -> None:
    stream = b"\n\ndata: ".join(parts)
    whole, one = run(stream)
    pieces, other = run(stream, chance.randint(1, 9))
    assert (whole, one.fault, one.finished) == (pieces, other.fault, other.finished)
