"""Cohere's event stream becomes the same deltas in any pieces, and what goes wrong in it becomes a fault."""

import random

import orjson
import pytest
from cohere_wire import WHY_NOT, call_delta, call_end, call_start, content, events, message_end, recordings, stream_of
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.assembly import fold
from appliance.core.completion import TokenLogprob
from appliance.core.delta import CitationAdded, Delta, Finished, LogprobsAdded, PartEnded, PartStarted, Started, TextAdded, UsageKnown
from appliance.core.fault import FaultKind
from appliance.core.message import Citation, Reasoning, Text, ToolCall, text_of
from appliance.core.usage import Usage
from appliance.dialects.cohere import COHERE, Billed
from appliance.dialects.cohere_stream_reader import CohereStreamReader

MAX = 1_000_000


def feed(pieces: list[bytes], limit: int = MAX) -> tuple[list[Delta], CohereStreamReader]:
    reader = COHERE.stream_reader(limit, "cohere")
    deltas = [one for piece in pieces for one in reader.feed(piece)]
    return [*deltas, *reader.end()], reader


@pytest.mark.skipif(not recordings(".chunks.txt"), reason=WHY_NOT)
@pytest.mark.parametrize("path", recordings(".chunks.txt"), ids=lambda one: one.name.removesuffix(".chunks.txt"))
def test_every_recorded_stream_says_what_it_said_in_any_pieces(path):
    data = stream_of(path)
    raw = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    messages = [one["delta"]["message"] for one in raw if "message" in one.get("delta", {})]
    contents = [one["content"] for one in messages if isinstance(one.get("content"), dict)]
    calls = [one["tool_calls"] for one in messages if isinstance(one.get("tool_calls"), dict)]
    whole, reader = feed([data])
    assert (reader.fault, reader.finished) == (None, True)
    found = fold(whole)
    (candidate,) = found.candidates
    said = "".join(one.get("text", "") for one in contents) + "".join(one.get("tool_plan") or "" for one in messages)
    assert text_of(candidate.parts) == said
    assert "".join(one.text for one in candidate.parts if isinstance(one, Reasoning)) == "".join(one.get("thinking",
        "") for one in contents)
    made = [one for one in candidate.parts if isinstance(one, ToolCall)]
    assert [(one.id, one.name) for one in made] == [(one["id"], one["function"]["name"]) for one in calls if "id" in one]
    assert "".join(one.arguments for one in made) == "".join(one["function"]["arguments"] for one in calls)
    assert candidate.finish == ("tool_use" if made else "stop")
    usage = raw[-1]["delta"]["usage"]
    assert found.usage == Usage(usage["tokens"]["input_tokens"], usage["tokens"]["output_tokens"], usage["cached_tokens"])
    assert reader.billed == Billed(usage["billed_units"]["input_tokens"], usage["billed_units"]["output_tokens"])
    assert found.id == raw[0]["id"]
    assert feed([data[place : place + 1] for place in range(len(data))])[0] == whole
    cuts = sorted(random.Random(7).sample(range(len(data)), 12))
    assert feed([data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)])[0] == whole


def test_a_thinking_answer_with_a_plan_and_calls_event_by_event():
    deltas, reader = feed([events(
        {"type": "message-start", "id": "m1", "delta": {"message": {"role": "assistant"}}},
        content("start", type="thinking", thinking=""), content("delta", thinking="Hm"), content("end"),
        {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "I call."}}},
        call_start(0, "f"), call_delta(0, '{"a"'), call_delta(0, ":1}"), call_end(0),
        call_start(1, "g"), call_delta(1, "nu"), call_delta(1, "ll"), call_end(1),
        call_start(2, "h"), call_delta(2, "no JSON"), call_end(2),
        message_end("TOOL_CALL", usage={"tokens": {"input_tokens": 3, "output_tokens": 4}}),
    ), b"data: [DONE]\n\n"])  # fmt: skip
    assert reader.fault is None
    assert deltas == [
        Started("m1"),
        PartStarted(0, Reasoning()), TextAdded(0, "Hm"), PartEnded(0),
        PartStarted(1, Text()), TextAdded(1, "I call."), PartEnded(1),
        PartStarted(2, ToolCall("f_0", "f")), TextAdded(2, '{"a"'), TextAdded(2, ":1}"), PartEnded(2),
        PartStarted(3, ToolCall("g_1", "g")), PartEnded(3),
        PartStarted(4, ToolCall("h_2", "h")), TextAdded(4, "no JSON"), PartEnded(4),
        Finished("tool_use"), UsageKnown(Usage(3, 4)),
    ]  # fmt: skip


def test_citations_reach_their_block_before_it_ends():
    raw = {"start": 0, "end": 2, "text": "It", "sources": [{"type": "document", "id": "doc:0", "document": {"text": "rain", "title": "T"}}]}
    deltas, reader = feed([events(
        content("start", type="text", text=""), content("delta", text="It rained."), content("end"),
        {"type": "citation-start", "index": 0, "delta": {"message": {"citations": raw}}}, {"type": "citation-end", "index": 0},
        {"type": "citation-start", "index": 1, "delta": {"message": {"citations": {**raw, "type": "PLAN"}}}},
        message_end(),
    )])  # fmt: skip
    assert reader.fault is None
    assert deltas[1:] == [
        PartStarted(0, Text()), TextAdded(0, "It rained."), CitationAdded(0, Citation("T", "", "rain", 0, 2, raw)), PartEnded(0),
        Finished("stop"),
    ]  # fmt: skip


def test_logprobs_come_with_their_text():
    deltas, _ = feed([events({**content("delta", text="A"), "logprobs": {"text": "A", "token_ids": [1], "logprobs": [-0.5]}},
        message_end())])
    assert LogprobsAdded((TokenLogprob("A", -0.5),)) in deltas


@pytest.mark.parametrize(("sent", "kind"), [
    ([message_end("ERROR")], FaultKind.STREAM_ERROR), ([message_end("TIMEOUT")], FaultKind.STREAM_ERROR),
    ([message_end("COMPLETE", error="boom")], FaultKind.STREAM_ERROR), ([{"message": "server overload", "id": "x"}],
    FaultKind.STREAM_ERROR),
    ([{"message": "too many tokens: size limit exceeded by 11326 tokens"}], FaultKind.CONTEXT_LENGTH),
    ([content("delta", text="a")], FaultKind.STREAM_CUT), ([], FaultKind.STREAM_CUT),
    ([call_start(number, "f") for number in range(300)], FaultKind.PROTOCOL),
])  # fmt: skip
def test_errors_and_cuts_are_faults(sent, kind):
    _, reader = feed([events(*sent)])
    assert reader.fault is not None
    assert reader.fault.kind is kind
    assert reader.fault.upstream_status is None
    assert not reader.finished


@pytest.mark.parametrize(("data", "kind"), [
    (b"data: [1]\n\n", FaultKind.PROTOCOL), (b"data: {\n\n", FaultKind.PROTOCOL), (b"<html>502</html>", FaultKind.PROTOCOL),
    (b"data: " + b"x" * 3_000, FaultKind.PROTOCOL), (b": comment\n\n", FaultKind.STREAM_CUT),
])  # fmt: skip
def test_garbage_is_a_fault(data, kind):
    _, reader = feed([data], 2_000)
    assert reader.fault is not None
    assert reader.fault.kind is kind


kinds = st.sampled_from([
    "message-start", "content-start", "content-delta", "content-end", "tool-plan-delta", "tool-call-start", "tool-call-delta",
    "tool-call-end",
    "citation-start", "citation-end", "message-end", "debug", "other",
])  # fmt: skip
keys = st.sampled_from([
    "message", "content", "text", "thinking", "type", "tool_plan", "tool_calls", "function", "name", "arguments", "id",
    "citations", "sources",
    "content_index", "finish_reason", "usage", "tokens", "input_tokens", "error", "logprobs",
])  # fmt: skip
inner = st.recursive(
    st.none() | st.integers(-1, 2) | st.sampled_from(["", "a", "null", "ERROR", "COMPLETE"]),
    lambda more: st.lists(more, max_size=2) | st.dictionaries(keys, more, max_size=4),
    max_leaves=10,
)
sent_events = st.lists(st.builds(lambda kind, index, delta: {"type": kind, "index": index, "delta": delta}, kinds, st.integers(0, 2),
    inner), max_size=12)


@settings(deadline=None)
@given(sent_events)
def test_no_events_make_the_reader_raise_and_parts_are_numbered_as_they_start(sent):
    deltas, reader = feed([events(*sent)])
    assert reader.finished or reader.fault is not None
    started = [one.index for one in deltas if isinstance(one, PartStarted)]
    assert started == list(range(len(started)))
    ended = [one.index for one in deltas if isinstance(one, PartEnded)]
    assert len(set(ended)) == len(ended)
    if reader.finished:
        assert sorted(ended) == started
    fold(deltas)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=8))
def test_no_bytes_make_the_reader_raise(pieces):
    _, reader = feed(pieces, 500)
    assert reader.fault is not None
