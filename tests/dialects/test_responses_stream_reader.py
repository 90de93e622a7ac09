"""A backend's Responses stream is read for what it says whatever its vendor leaves out, and never believed where it says nothing."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from responses_values import answers
from responses_wire import as_stream, read_stream, reply_to, write_stream

from appliance.core.assembly import fold, unfold
from appliance.core.completion import Candidate, Completion, TokenLogprob
from appliance.core.delta import Delta, Finished, PartEnded, PartStarted, Started, TextAdded, UsageKnown
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Foreign, Reasoning, Refusal, Text, ToolCall
from appliance.core.seal import Seal
from appliance.core.usage import Usage
from appliance.dialects import responses_stream_reader
from appliance.dialects.responses import RESPONSES

USAGE = {"input_tokens": 5, "output_tokens": 3, "total_tokens": 8}


def created(**more: Any) -> dict[str, Any]:
    return {"type": "response.created", "response": {"id": "resp_1", "model": "m", "created_at": 7.0, "service_tier": "auto", **more}}


def added(index: int, **item: Any) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(index: int, **item: Any) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def completed(**more: Any) -> dict[str, Any]:
    return {"type": "response.completed", "response": {"id": "resp_1", "status": "completed", "usage": USAGE, **more}}


def event(name: str, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"type": f"response.{name}", "output_index": index, **more}


def answer(*events: dict[str, Any]) -> Candidate:
    deltas, reader = read_stream(as_stream(list(events)))
    assert (reader.fault, reader.finished) == (None, True)
    return fold(deltas).candidates[0]


def fault_of(data: bytes, event_max_bytes: int = 4_000_000) -> FaultKind | None:
    _, reader = read_stream(data, event_max_bytes=event_max_bytes)
    assert not reader.finished
    return reader.fault.kind if reader.fault else None


WORDS = {"type": "message", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "Hello"}]}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1}', "status": "completed"}


def test_a_plain_stream_is_read_delta_by_delta():
    stream = as_stream([
        created(), added(0, type="message", content=[]),
        event("content_part.added", content_index=0, part={"type": "output_text", "text": ""}),
        event("output_text.delta", content_index=0, delta="Hel"), event("output_text.delta", content_index=0, delta="lo"),
        event("output_text.done", content_index=0, text="Hello"), event("content_part.done", content_index=0, part=WORDS["content"][0]),
        done(0, **WORDS), completed(output=[WORDS]),
    ])  # fmt: skip
    assert read_stream(stream)[0] == [
        Started("resp_1", "m", 7), PartStarted(0, Text()), TextAdded(0, "Hel"), TextAdded(0, "lo"), PartEnded(0), Finished("stop"),
        UsageKnown(Usage(5, 3)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "events",
    [
        [created(), completed(output=[WORDS])],
        [completed(output=[WORDS], model="m")],
        [created(), done(0, **WORDS), completed(output=[])],
        [created(), event("output_text.delta", delta="Hel"), done(0, **WORDS), completed()],
        [created(), added(0, type="message"), event("output_text.done", content_index=0, text="Hello"), completed(output=[WORDS])],
        [created(), event("output_text.delta", content_index=0, delta="Hello"), completed()],
        [event("output_text.delta", content_index=0, delta="Hello"), completed()],
        [created(), event("content_part.done", content_index=0, part=WORDS["content"][0]), done(0, **WORDS), completed(output=[WORDS])],
    ],
)
def test_what_a_vendor_leaves_out_is_made_up_for(events: list[dict[str, Any]]):
    assert answer(*events) == Candidate((Text("Hello"),), "stop")


def test_calls_are_read_with_and_without_deltas_and_in_parallel():
    free = {"type": "custom_tool_call", "call_id": "c2", "name": "exec", "namespace": "functions", "input": "ls"}
    found = answer(
        created(), added(0, **CALL), added(1, **{**free, "input": ""}), event("custom_tool_call_input.delta", 1, delta="l"),
        event("function_call_arguments.done", 0, arguments='{"a":1}'), done(0, **CALL), event("custom_tool_call_input.done", 1, input="ls"),
        done(1, **free), done(2, **{**CALL, "call_id": "c3"}), completed(),
    )  # fmt: skip
    assert found == Candidate((
        ToolCall("c1", "f", '{"a":1}'), ToolCall("c2", "exec", "ls", "functions", custom=True), ToolCall("c3", "f", '{"a":1}'),
    ), "tool_use")  # fmt: skip


def test_a_call_without_an_id_gets_one():
    first = answer(created(), done(0, **{**CALL, "call_id": ""}), done(1, **{**CALL, "call_id": None}), completed()).parts
    ids = [part.id for part in first if isinstance(part, ToolCall)]
    assert len(set(ids)) == 2
    assert all(one.startswith("call_") for one in ids)


def test_thoughts_are_held_open_for_their_seal():
    found = answer(
        created(), added(0, type="reasoning", encrypted_content="early"), event("reasoning_text.delta", content_index=0, delta="raw"),
        event("reasoning_summary_part.added", summary_index=0, part={"type": "summary_text", "text": ""}),
        event("reasoning_summary_text.delta", summary_index=0, delta="in sh"),
        event("reasoning_summary_text.done", summary_index=0, text="in short"),
        done(0, type="reasoning", encrypted_content="late", summary=[{"text": "in short"}, {"text": "again"}]),
        done(1, type="reasoning", encrypted_content="alone", summary=[]), done(2, type="reasoning", summary=[]), completed(),
    )  # fmt: skip
    assert found.parts == (
        Reasoning("raw"), Reasoning("in short", True), Reasoning("again", True, Seal("openai", "late")),
        Reasoning(seal=Seal("openai", "alone"), hidden=True),
    )  # fmt: skip


def test_refusals_citations_and_log_probabilities_are_read():
    cited = {"type": "url_citation", "url": "https://x.test", "title": "X", "start_index": 0, "end_index": 1}
    score = {"token": "a", "logprob": -1, "bytes": [97], "top_logprobs": [{"token": "b", "logprob": -2.5}]}
    piece = {"type": "output_text", "text": "a", "annotations": [cited, cited], "logprobs": [score, score]}
    found = answer(
        created(), event("output_text.delta", content_index=0, delta="a", logprobs=[score]),
        event("output_text.annotation.added", content_index=0, annotation_index=0, annotation=cited),
        event("content_part.done", content_index=0, part=piece), event("refusal.delta", content_index=1, delta="no"),
        event("refusal.done", content_index=1, refusal="no!"), completed(),
    )  # fmt: skip
    assert isinstance(found.parts[0], Text)
    assert [(one.url, one.title, one.end) for one in found.parts[0].citations] == [("https://x.test", "X", 1)] * 2
    assert found.parts[1] == Refusal("no!")
    assert found.logprobs == (TokenLogprob("a", -1.0, (97,), (TokenLogprob("b", -2.5),)),) * 2
    assert found.finish == "refusal"


def test_built_in_items_come_whole_when_they_are_done():
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    found = answer(
        created(), added(0, type="web_search_call"), event("web_search_call.searching"), done(0, **search), done(0, **search), completed(),
    )  # fmt: skip
    assert found == Candidate((Foreign("openai_responses", "web_search_call", search),), "stop")


@pytest.mark.parametrize(
    ("details", "status", "finish"),
    [
        ({"reason": "max_output_tokens"}, "completed", "length"), ({"reason": "content_filter"}, "completed", "content_filter"),
        ({"reason": "steered"}, "completed", "other"), (None, "completed", "other"),
    ],
)  # fmt: skip
def test_an_incomplete_answer_says_why(details: Any, status: str, finish: str):
    end = {"type": "response.incomplete", "response": {"status": "incomplete", "incomplete_details": details}}
    assert answer(created(), done(0, **WORDS), end).finish == finish
    assert answer(created(), done(0, **CALL), end).finish == "tool_use"
    assert answer(created(), done(0, **{**CALL, "status": "incomplete"}), end).finish == finish
    whole = {"id": "r", "output": [{**CALL, "status": "incomplete"}], "status": "incomplete", "incomplete_details": details}
    read = RESPONSES.read_answer(json.dumps(whole).encode())
    assert isinstance(read, Completion)
    assert read.candidates[0].finish == finish


def test_nothing_counts_after_the_end():
    stream = as_stream([created(), done(0, **WORDS), completed()])
    deltas, reader = read_stream(stream + b"data: [DONE]\n\ndata: garbage\n\n" + as_stream([{"type": "error"}]))
    assert (reader.fault, reader.finished) == (None, True)
    assert deltas == read_stream(stream)[0]


def test_a_last_event_without_its_blank_line_counts():
    deltas, reader = read_stream(as_stream([created(), completed(output=[WORDS])])[:-2])
    assert (reader.fault, reader.finished) == (None, True)
    assert fold(deltas).candidates[0].parts == (Text("Hello"),)


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        ({"type": "error", "code": "rate_limit_exceeded", "message": "slow down", "param": None}, FaultKind.UPSTREAM_RATE_LIMITED),
        ({"type": "error", "error": {"type": "server_error", "code": None, "message": "oops"}}, FaultKind.SERVER_ERROR),
        ({"type": "response.failed", "response": {"error": {"code": "server_error", "message": "oops"}}}, FaultKind.SERVER_ERROR),
        ({"type": "response.failed", "response": {"error": {"code": "context_length_exceeded", "message": "x"}}}, FaultKind.CONTEXT_LENGTH),
        ({"type": "response.failed", "response": {"error": {"code": "bio_policy", "message": "x"}}}, FaultKind.CONTENT_FILTERED),
        ({"type": "response.failed", "response": {"error": {"code": "image_too_large", "message": "x"}}}, FaultKind.INVALID_REQUEST),
        ({"type": "response.failed", "response": {"error": None}}, FaultKind.STREAM_ERROR),
        ({"type": "response.failed"}, FaultKind.PROTOCOL),
        ({"error": {"message": "model overloaded", "code": "overloaded"}}, FaultKind.OVERLOADED),
        ({"type": "response.completed", "response": {"status": "failed", "error": {"code": "server_error"}}}, FaultKind.SERVER_ERROR),
        ({"type": "response.completed"}, FaultKind.PROTOCOL),
    ],
)
def test_errors_in_band_are_the_faults_that_they_name(last: dict[str, Any], kind: FaultKind):
    assert fault_of(as_stream([created()]) + b"data: " + json.dumps(last).encode() + b"\n\n") is kind


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", FaultKind.STREAM_CUT),
        (b": ping\n\n", FaultKind.STREAM_CUT),
        (b"data: [DONE]\n\n", FaultKind.STREAM_CUT),
        (b"data: nonsense\n\n", FaultKind.PROTOCOL),
        (b"data: [1]\n\n", FaultKind.PROTOCOL),
        (b"<html>502</html>\n\n", FaultKind.PROTOCOL),
        (b'{"error":{"message":"no such model","code":"model_not_found"}}', FaultKind.UPSTREAM_NOT_FOUND),
        (b"event: error\ndata: overloaded\n\n", FaultKind.STREAM_ERROR),
        (b"data: " + b"x" * 2000, FaultKind.PROTOCOL),
    ],
)
def test_what_is_no_stream_is_told_apart(data: bytes, kind: FaultKind):
    assert fault_of(data, 1000) is kind


def test_an_answer_of_too_many_parts_ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(responses_stream_reader, "SIZE_MAX", 100)
    many = done(0, type="message", content=[{"type": "output_text", "text": ""}] * 101)
    assert fault_of(as_stream([many])) is FaultKind.PROTOCOL
    assert fault_of(as_stream([done(index, type="reasoning") for index in range(101)])) is FaultKind.PROTOCOL


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_arbitrary_bytes_never_raise(data: bytes):
    stream = as_stream([created(), done(0, **WORDS), completed()])
    for given_bytes in (data, stream[:200] + data, b"data: " + data + b"\n\n"):
        assert read_stream(given_bytes, 7)[0] == read_stream(given_bytes)[0]
    RESPONSES.read_answer(data)


NAMES = st.sampled_from([
    "created", "output_item.added", "output_item.done", "content_part.added", "content_part.done", "output_text.delta", "output_text.done",
    "output_text.annotation.added", "refusal.delta", "reasoning_text.delta", "reasoning_summary_part.added", "reasoning_summary_text.done",
    "function_call_arguments.delta", "custom_tool_call_input.done", "completed", "incomplete",
]).map(lambda name: f"response.{name}")  # fmt: skip
KINDS = st.sampled_from(["message", "reasoning", "function_call", "output_text", "summary_text", "refusal"])
KEYS = st.sampled_from(["type", "text", "content", "summary", "logprobs", "arguments", "call_id", "output"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=3) | KINDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
MEMBERS = st.dictionaries(
    st.sampled_from(["item", "part", "delta", "text", "arguments", "annotation", "logprobs", "response"]), JSON, max_size=5,
)  # fmt: skip
PLACES = st.dictionaries(st.sampled_from(["output_index", "content_index", "summary_index"]), st.integers(0, 1) | JSON)


@given(st.lists(st.builds(lambda name, members, places: {**members, **places, "type": name}, NAMES, MEMBERS, PLACES), max_size=8))
def test_events_of_the_wrong_shape_never_raise_and_their_deltas_are_well_formed(events: list[dict[str, Any]]):
    deltas, _ = read_stream(as_stream(events))
    assert_well_formed(deltas)
    write_stream(deltas, reply_to())


@given(JSON)
def test_whole_answers_of_the_wrong_shape_never_raise(output: Any):
    found = RESPONSES.read_answer(json.dumps({"id": "r", "output": output}).encode())
    assert isinstance(found, Completion | Fault)


def assert_well_formed(deltas: list[Delta]) -> None:
    """Parts start in the order of their numbers, grow only while they are open, and all end before the answer does."""
    open_parts: set[int] = set()
    count = 0
    for place, delta in enumerate(deltas):
        if isinstance(delta, Started):
            assert place == 0
        elif isinstance(delta, PartStarted):
            assert delta.index == count
            open_parts.add(count)
            count += 1
        elif isinstance(delta, PartEnded):
            open_parts.remove(delta.index)
        elif isinstance(delta, Finished):
            assert not open_parts
        elif (index := getattr(delta, "index", None)) is not None:
            assert index in open_parts


@given(answers(), st.integers(1, 40))
def test_any_stream_gives_the_same_deltas_in_any_pieces(found: Completion, piece_bytes: int):
    stream = write_stream(unfold(found), reply_to())
    deltas = read_stream(stream)[0]
    assert_well_formed(deltas)
    assert read_stream(stream, piece_bytes)[0] == deltas


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", FaultKind.PROTOCOL),
        (b"[]", FaultKind.PROTOCOL),
        (b"{}", FaultKind.PROTOCOL),
        (b"<html>", FaultKind.PROTOCOL),
        (b'{"output":{}}', FaultKind.PROTOCOL),
        (b'{"output":[],"status":"in_progress"}', FaultKind.PROTOCOL),
        (b'{"output":[],"status":"failed","error":{"code":"rate_limit_exceeded","message":"x"}}', FaultKind.UPSTREAM_RATE_LIMITED),
        (b'{"error":{"message":"x","type":"insufficient_quota","code":"insufficient_quota"}}', FaultKind.QUOTA),
    ],
)
def test_what_is_no_answer_is_told_apart(body: bytes, kind: FaultKind):
    found = RESPONSES.read_answer(body)
    assert isinstance(found, Fault)
    assert found.kind is kind
