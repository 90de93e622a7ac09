"""A stream leaves as it came, and the tap knows what it said: usage, end, first token, errors, cuts; however the bytes were cut."""

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.fault import FaultKind
from appliance.core.usage import Usage
from appliance.dialects.openai_chat import OPENAI, OpenAIStreamTap
from appliance.dialects.protocol import StreamTap

EVENT_MAX = 2_000
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
DONE = b"data: [DONE]\n\n"


def _chunk(delta: dict[str, Any] | None = None, finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "model": "m-1", "choices": [choice], **more}


def _sse(chunk: Any, compact: bool = True) -> bytes:
    text = json.dumps(chunk, separators=(",", ":")) if compact else json.dumps(chunk)
    return b"data: " + text.encode() + b"\n\n"


ROLE = _sse(_chunk({"role": "assistant", "content": ""}))
HI = _sse(_chunk({"content": "hi"}))
STOP = _sse(_chunk(finish="stop"))
USAGE_EVENT = _sse({"id": "c1", "object": "chat.completion.chunk", "model": "m-1", "choices": [], "usage": USAGE})
PLAIN = ROLE + HI + STOP + USAGE_EVENT + DONE


def _tap(hide: bool = False) -> OpenAIStreamTap:
    return OpenAIStreamTap(hide_usage=hide, event_max_bytes=EVENT_MAX, backend="east")


def _run(tap: OpenAIStreamTap, *pieces: bytes) -> bytes:
    return b"".join([tap.feed(piece) for piece in pieces]) + tap.end()


def _facts(tap: StreamTap) -> tuple[Any, ...]:
    fault = None if tap.fault is None else (tap.fault.kind, tap.fault.message, tap.fault.body)
    return tap.committed, tap.token_seen, tap.deltas, tap.finished, fault, tap.answer()


def test_a_whole_stream_passes_verbatim_and_is_understood() -> None:
    tap = _tap()
    assert _run(tap, ROLE, HI, STOP, USAGE_EVENT, DONE) == PLAIN
    assert tap.fault is None
    assert (tap.committed, tap.token_seen, tap.deltas, tap.finished) == (True, True, 1, True)
    assert tap.answer().usage == Usage(input_tokens=5, output_tokens=2)
    assert (tap.answer().model, tap.answer().finish_reason) == ("m-1", "stop")


def test_every_event_leaves_at_once_and_an_ordinary_one_as_the_same_object() -> None:
    tap = _tap()
    assert tap.feed(ROLE) == ROLE
    assert (tap.committed, tap.token_seen) == (True, False)
    assert tap.feed(HI) is HI
    assert tap.token_seen
    assert tap.feed(HI[:10]) == b""
    assert tap.feed(HI[10:] + HI[:3]) == HI
    assert tap.feed(HI[3:]) == HI
    assert tap.deltas == 3


def test_the_usage_event_that_only_the_gateway_asked_for_is_hidden() -> None:
    tap = _tap(hide=True)
    assert _run(tap, PLAIN) == ROLE + HI + STOP + DONE
    assert tap.answer().usage == Usage(input_tokens=5, output_tokens=2)


def test_usage_that_rides_on_a_finish_chunk_is_never_hidden() -> None:
    tap = _tap(hide=True)
    stream = HI + _sse(_chunk(finish="stop", usage=USAGE)) + DONE
    assert _run(tap, stream) == stream
    assert tap.answer().usage == Usage(input_tokens=5, output_tokens=2)


def test_azures_opening_event_without_choices_is_kept() -> None:
    tap = _tap(hide=True)
    opening = _sse({"choices": [], "model": "", "prompt_filter_results": [{"prompt_index": 0}], "usage": None})
    assert _run(tap, opening + PLAIN) == opening + ROLE + HI + STOP + DONE
    assert tap.answer().model == "m-1"


def test_of_cumulative_usage_the_last_counts() -> None:
    tap = _tap(hide=True)
    chunks = [_sse(_chunk({"content": "x"}, usage={"prompt_tokens": 5, "completion_tokens": n})) for n in (1, 2, 3)]
    stream = b"".join(chunks) + _sse(_chunk(finish="stop", usage={"prompt_tokens": 5, "completion_tokens": 4})) + DONE
    assert _run(tap, stream) == stream
    assert tap.answer().usage == Usage(input_tokens=5, output_tokens=4)


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "x"}, {"content": '"'}, {"reasoning_content": "x"}, {"reasoning": "x"}, {"refusal": "no"},
        {"content": [{"type": "text", "text": "x"}]}, {"content": None, "reasoning_content": "x"}, {"function_call": {"name": "f"}},
        {"tool_calls": [{"index": 0, "id": "t", "function": {"name": "f", "arguments": ""}}]}, {"audio": {"data": "AA"}},
        {"tool_calls": [{"index": 3, "function": {"arguments": "{"}}]}, {"reasoning_details": [{"type": "reasoning.encrypted"}]},
    ],
)  # fmt: skip
@pytest.mark.parametrize("compact", [True, False])
def test_whatever_the_model_generates_counts_as_a_token(delta: dict[str, Any], compact: bool) -> None:
    tap = _tap()
    tap.feed(ROLE if compact else _sse(_chunk({"role": "assistant", "content": ""}), compact=False))
    assert not tap.token_seen
    event = _sse(_chunk(delta), compact)
    assert tap.feed(event) == event
    assert (tap.token_seen, tap.deltas) == (True, 1)


@pytest.mark.parametrize(
    "delta", [{}, {"role": "assistant"}, {"content": ""}, {"content": None}, {"tool_calls": []}, {"content": []}, {"reasoning_content": ""}]
)
def test_an_empty_delta_is_no_token(delta: dict[str, Any]) -> None:
    tap = _tap()
    tap.feed(ROLE + _sse(_chunk(delta)) + _sse(_chunk(delta), compact=False))
    assert (tap.committed, tap.token_seen, tap.deltas) == (True, False, 0)


def test_completions_count_their_text() -> None:
    tap = _tap()
    tap.feed(_sse({"object": "text_completion", "choices": [{"text": "a", "index": 0, "finish_reason": None}]}))
    tap.feed(_sse({"object": "text_completion", "choices": [{"text": "", "index": 0, "finish_reason": None}]}))
    assert tap.deltas == 1


def test_without_done_a_stream_is_finished_when_every_choice_is() -> None:
    both = HI + _sse(_chunk({"content": "b"}, index=1)) + _sse(_chunk(finish="stop", index=1))
    tap = _tap()
    _run(tap, both)
    assert not tap.finished
    assert tap.fault is not None
    assert tap.fault.kind is FaultKind.STREAM_CUT
    tap = _tap()
    _run(tap, both + STOP)
    assert tap.finished
    assert tap.fault is None
    tap = _tap()
    _run(tap, HI, _sse(_chunk({"content": "b"}, index=1)), STOP)
    assert not tap.finished


def test_two_events_apart_by_carriage_returns_alone_are_two() -> None:
    tap = _tap()
    tap.feed(HI)
    both = HI[:-2] + b"\r\r" + HI
    assert tap.feed(both) == both
    assert tap.deltas == 3


@pytest.mark.parametrize(
    "stream", [b"", HI, ROLE + HI, HI + HI[:-10], HI + b"data: [DO", HI + b": note\n\n", b": only\n\n", HI + b"data: \n\n"]
)
def test_a_cut_stream_never_looks_finished(stream: bytes) -> None:
    tap = _tap()
    out = _run(tap, stream)
    assert not tap.finished
    assert tap.fault is not None
    assert tap.fault.kind is FaultKind.STREAM_CUT
    assert out.endswith(b"\n\n") or not out
    assert "east" in tap.fault.message


def test_a_last_event_without_its_blank_line_is_completed() -> None:
    for ending in (b"", b"\n", b"\r\n", b"\r"):
        tap = _tap()
        assert _run(tap, HI + STOP + b"data: [DONE]" + ending) == HI + STOP + DONE
        assert tap.finished
        tap = _tap()
        assert _run(tap, HI + STOP[:-2] + ending) == HI + STOP
        assert tap.finished


def test_what_follows_done_is_dropped() -> None:
    tap = _tap()
    assert _run(tap, PLAIN + HI, HI, b"junk") == PLAIN
    assert tap.deltas == 1


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (_sse({"error": {"message": "slow down", "type": "rate_limit_error", "code": None}}), FaultKind.UPSTREAM_RATE_LIMITED),
        (_sse({"error": {"message": "boom", "type": "server_error"}}), FaultKind.SERVER_ERROR),
        (_sse({"error": {"message": "boom"}}, compact=False), FaultKind.STREAM_ERROR),
        (_sse({"error": {"message": "it says: context length", "code": 500}}), FaultKind.SERVER_ERROR),
        (_sse({"error": "CUDA out of memory"}), FaultKind.STREAM_ERROR),
        (_sse({"error": {"message": "too long", "code": "context_length_exceeded"}}), FaultKind.CONTEXT_LENGTH),
        (_sse({"error": {"message": "x", "code": 502, "metadata": {"error_type": "provider_unavailable"}}}), FaultKind.SERVER_ERROR),
        (_sse({"error": {"message": "x", "code": 429}}), FaultKind.UPSTREAM_RATE_LIMITED),
        (_sse({"error": {"message": "no credits", "code": 402}}), FaultKind.QUOTA),
        (_sse({"error": {"message": "x", "type": "overloaded_error"}}), FaultKind.OVERLOADED),
        (_sse({"error": {"message": "x", "code": "content_filter"}}), FaultKind.CONTENT_FILTERED),
        (_sse({**_chunk({"content": ""}, finish="error"), "error": {"code": "server_error", "message": "gone"}}), FaultKind.SERVER_ERROR),
        (_sse(_chunk({"content": ""}, finish="error")), FaultKind.STREAM_ERROR),
        (_sse({"object": "error", "message": "bad", "type": "BadRequestError", "code": 400}), FaultKind.INVALID_REQUEST),
        (_sse({"type": "error", "error": {"type": "overloaded_error", "message": "x"}}), FaultKind.OVERLOADED),
        (_sse({"detail": "Internal failure"}), FaultKind.STREAM_ERROR),
        (b'event: error\ndata: {"message":"x","code":503}\n\n', FaultKind.OVERLOADED),
        (b"event: error\ndata: it broke\n\n", FaultKind.STREAM_ERROR),
        (b"event: error\n\n", FaultKind.STREAM_ERROR),
        (b'error: {"code":500,"message":"x","type":"server_error"}\n\n', FaultKind.SERVER_ERROR),
        (b'{"error":{"message":"x","type":"server_error"}}\n\n', FaultKind.SERVER_ERROR),
        (b'{\n  "error": {\n    "message": "x", "type": "server_error"\n  }\n}\n\n', FaultKind.SERVER_ERROR),
    ],
)
@pytest.mark.parametrize("before", [b"", ROLE + HI, b": wait\n\n"])
def test_an_error_hidden_in_a_200_is_recognised_and_not_forwarded(event: bytes, kind: FaultKind, before: bytes) -> None:
    for pieces in ([before + event + DONE], [bytes([byte]) for byte in before + event + DONE]):
        tap = _tap()
        assert _run(tap, *pieces) == before
        assert tap.fault is not None
        assert tap.fault.kind is kind
        assert not tap.finished
        assert tap.committed == (HI in before)


def test_an_error_without_framing_and_line_end_is_recognised_at_the_end() -> None:
    tap = _tap()
    assert _run(tap, b'{"error":{"message":"x","code":429}}') == b""
    assert tap.fault is not None
    assert tap.fault.kind is FaultKind.UPSTREAM_RATE_LIMITED


def test_a_callers_fault_inside_a_stream_keeps_the_upstreams_words() -> None:
    tap = _tap()
    tap.feed(_sse({"error": {"message": "too long", "code": "context_length_exceeded", "param": "messages", "extra": 1}}))
    fault = tap.fault
    assert fault is not None
    assert (fault.message, fault.param, fault.surface_status) == ("too long", "messages", 400)
    assert json.loads(fault.body or b"")["error"]["extra"] == 1


def test_a_text_that_speaks_of_errors_and_ends_is_only_text() -> None:
    words = '"error": {"message"} [DONE] data: {"error":1} "finish_reason":"stop" "usage":{"a":1}\n\ndata: [DONE]'
    event = _sse(_chunk({"content": words}))
    tap = _tap()
    assert tap.feed(ROLE + event) == ROLE + event
    assert (tap.fault, tap.finished, tap.answer().usage, tap.deltas) == (None, False, None, 1)


def test_an_error_member_that_is_null_is_no_error() -> None:
    tap = _tap()
    stream = _sse(_chunk({"content": "x"}, error=None)) + _sse(_chunk(finish="stop", error=None)) + DONE
    assert _run(tap, stream) == stream
    assert tap.fault is None


@pytest.mark.parametrize(
    "stream", [b"<html><body>oops</body></html>\n\n", b"data: <p>\n\n", b"data: 7\n\n", b"data: {broken\n\n", b"hello\n\n", b'{"a":1}\n\n']
)
def test_garbage_where_the_first_event_should_be_is_a_protocol_fault(stream: bytes) -> None:
    tap = _tap()
    assert tap.feed(stream) == b""
    assert tap.fault is not None
    assert (tap.fault.kind, tap.committed) == (FaultKind.PROTOCOL, False)


def test_garbage_in_the_middle_is_a_protocol_fault_too() -> None:
    for junk in (b"data: <p>\n\n", b"data: {\"choices\":[\n\n", b"data: \xff\xfe\n\n"):
        tap = _tap()
        assert tap.feed(HI + junk + HI) == HI
        assert tap.fault is not None
        assert (tap.fault.kind, tap.committed) == (FaultKind.PROTOCOL, True)


def test_comments_ids_and_unknown_fields_pass_and_do_not_commit() -> None:
    noise = b": OPENROUTER PROCESSING\n\n" + b"id: 1\nretry: 10\n\n" + b"\n" + b"event: ping\n\n"
    tap = _tap()
    assert tap.feed(noise) == noise
    assert not tap.committed
    event = b"event: message\nid: 4\n" + HI
    assert tap.feed(event) == event
    assert tap.committed
    assert tap.feed(b"x-custom: 1\n\n") == b"x-custom: 1\n\n"
    assert tap.fault is None


def test_json_over_several_data_lines_is_one_event() -> None:
    tap = _tap()
    event = b'data: {"choices":[{"index":0,\ndata: "delta":{"content":"x"},\ndata: "finish_reason":"stop"}]}\n\n'
    assert _run(tap, event) == event
    assert (tap.deltas, tap.finished) == (1, True)


def test_half_a_surrogate_pair_is_no_garbage() -> None:
    tap = _tap()
    event = b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"},"finish_reason":"stop"}]}\n\n'
    assert _run(tap, event) == event
    assert tap.fault is None


def test_a_byte_order_mark_at_the_start_is_not_in_the_way() -> None:
    tap = _tap()
    assert _run(tap, b"\xef\xbb\xbf" + PLAIN) == b"\xef\xbb\xbf" + PLAIN
    assert tap.fault is None


@pytest.mark.parametrize("whole", [True, False])
def test_an_event_above_the_bound_is_a_protocol_fault_and_memory_stays_bounded(whole: bool) -> None:
    tap = _tap()
    tap.feed(HI)
    if whole:
        assert tap.feed(_sse(_chunk({"content": "x" * EVENT_MAX}))) == b""
    else:
        for _ in range(10_000):
            assert tap.feed(b"data: x") == b""
    assert tap.fault is not None
    assert tap.fault.kind is FaultKind.PROTOCOL
    assert tap._cutter.held_bytes <= EVENT_MAX + 20
    assert tap.feed(HI) == b""


def test_a_fault_is_sticky_and_said_once() -> None:
    tap = _tap()
    tap.feed(_sse({"error": {"message": "x"}}))
    first = tap.fault
    assert _run(tap, HI, DONE) == b""
    assert tap.fault is first
    assert tap.end() == b""


def _ended(stream: bytes, ending: bytes) -> bytes:
    return stream.replace(b"\n", ending)


PIECES = st.sampled_from([
    ROLE, HI, STOP, USAGE_EVENT, DONE, _sse(_chunk({"content": "b"}, index=1)), _sse(_chunk(finish="length", index=1)),
    b": note\n\n", b"\n", _sse(_chunk({"content": "y" * 1990})),
    _sse({"error": {"message": "x", "type": "server_error"}}), b"data: junk\n\n", _sse(_chunk({"content": "x"}, usage=USAGE)),
    _sse(_chunk({"reasoning": "x"}), compact=False), b"event: x\ndata: {}\n\n", b'data: {"choices":[]\n\n',
    b"\xef\xbb\xbf", b"data: {", b"}\n\n", b"data: [DONE]", b"\r",
])  # fmt: skip
STREAMS = st.lists(st.tuples(PIECES, st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"])), max_size=9).map(
    lambda parts: [_ended(*part) for part in parts]
)


@settings(max_examples=500, deadline=None)
@given(STREAMS, st.booleans(), st.integers(0, 2**32))
def test_whole_or_byte_by_byte_or_cut_anywhere_it_is_the_same_stream(parts: list[bytes], hide: bool, seed: int) -> None:
    chance = random.Random(seed)
    stream = b"".join(parts)
    cuts = sorted(chance.sample(range(len(stream) + 1), min(len(stream), chance.randint(0, 8))))
    ways = [
        [stream],
        parts,
        [stream[i : i + 1] for i in range(len(stream))],
        [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)],
    ]
    seen = []
    for pieces in ways:
        tap = _tap(hide)
        out = _run(tap, *pieces)
        seen.append((out, _facts(tap)))
    assert seen[0] == seen[1] == seen[2] == seen[3]
    fault = seen[0][1][4]
    assert (fault is None) == seen[0][1][3], "finished, or a fault that says why not"


@settings(max_examples=500, deadline=None)
@given(st.lists(st.binary(max_size=40) | PIECES, max_size=6))
def test_arbitrary_bytes_never_raise(pieces: list[bytes]) -> None:
    tap = _tap()
    out = _run(tap, *pieces)
    assert len(out) <= sum(map(len, pieces)) + 2
    tap.answer()


def test_after_a_commit_our_own_error_event_ends_the_stream_well_formed() -> None:
    tap = _tap()
    sent = tap.feed(HI + HI[:20]) + tap.end()
    assert tap.fault is not None
    sent += OPENAI.stream_error(tap.fault, "r1")
    last = sent.split(b"\n\n")[-2]
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "stream_cut"
    assert b"[DONE]" not in sent


@pytest.mark.parametrize(
    "frame",
    [
        b'data: {"error":{"message":"bad key %s","code":400}}\n\n',
        b"event: error\ndata: bad key %s\n\n",
        b'{"error":{"message":"bad key %s","code":500}}\n\n',
    ],
)
def test_an_error_event_does_not_repeat_the_backends_credentials(frame: bytes) -> None:
    secret = b"5f2c9e0a77b14d6c8e21f0a4b3d9c6e5"
    tap = OpenAIStreamTap(hide_usage=False, event_max_bytes=EVENT_MAX, backend="east", secrets=(secret,))
    assert secret not in tap.feed(frame % secret) + tap.end()
    assert tap.fault is not None
    assert "[redacted]" in tap.fault.detail
    assert secret.decode() not in f"{tap.fault!r} {tap.fault.message} {tap.fault.detail}"
    assert secret not in (tap.fault.body or b"")


def test_a_line_end_of_what_follows_done_does_not_pass() -> None:
    """The last CR of a block that holds more than [DONE] is not [DONE]'s own: an LF that comes next is left out with the rest."""
    tap = _tap()
    assert _run(tap, b"data: [DONE]\n\n}\r\n\r", b"\n") == b"data: [DONE]\n\n"
    tap = _tap()
    assert _run(tap, b"data: [DONE]\r\n\r", b"\n") == b"data: [DONE]\r\n\r\n"
