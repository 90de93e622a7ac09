"""Bedrock's event stream becomes the same deltas in any pieces, and what goes wrong in it becomes a fault."""

import random

import orjson
import pytest
from bedrock_wire import WHY_NOT, delta, events, message_stop, recordings, start, stop, stream_of
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.assembly import fold
from appliance.core.completion import Completion
from appliance.core.delta import Delta, Finished, PartEnded, PartStarted, SealAdded, Started, TextAdded, UsageKnown
from appliance.core.fault import FaultKind
from appliance.core.message import Citation, Foreign, Media, Reasoning, Text, ToolCall, text_of
from appliance.core.seal import Seal
from appliance.core.usage import Usage
from appliance.dialects.aws_eventstream import write_event, write_exception, write_message
from appliance.dialects.bedrock import BEDROCK
from appliance.dialects.bedrock_answer import JSON_TOOL
from appliance.dialects.bedrock_stream_reader import BedrockStreamReader

MAX = 1_000_000


def feed(pieces: list[bytes], limit: int = MAX) -> tuple[list[Delta], BedrockStreamReader]:
    reader = BEDROCK.stream_reader(limit, "aws")
    deltas = [one for piece in pieces for one in reader.feed(piece)]
    return [*deltas, *reader.end()], reader


def folded(data: bytes) -> Completion:
    deltas, reader = feed([data])
    assert reader.fault is None
    assert reader.finished
    return fold(deltas)


@pytest.mark.skipif(not recordings(".chunks.txt"), reason=WHY_NOT)
@pytest.mark.parametrize("path", recordings(".chunks.txt"), ids=lambda one: one.name.removesuffix(".chunks.txt"))
def test_every_recorded_stream_says_what_it_said_in_any_pieces(path):
    data = stream_of(path)
    raw = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    pieces = [one["contentBlockDelta"]["delta"] for one in raw if "contentBlockDelta" in one]
    whole, reader = feed([data])
    assert (reader.fault, reader.finished) == (None, True)
    found = fold(whole)
    (candidate,) = found.candidates
    assert text_of(candidate.parts) == "".join(one.get("text", "") for one in pieces)
    starts = [one["contentBlockStart"]["start"]["toolUse"] for one in raw if "toolUse" in one.get("contentBlockStart", {}).get("start", {})]
    calls = [part for part in candidate.parts if isinstance(part, ToolCall)]
    assert [(one.id, one.name) for one in calls] == [(one["toolUseId"], one["name"]) for one in starts]
    assert "".join(one.arguments for one in calls) == "".join(one.get("toolUse", {}).get("input", "") for one in pieces)
    thoughts = [part for part in candidate.parts if isinstance(part, Reasoning)]
    assert "".join(one.text for one in thoughts) == "".join(one.get("reasoningContent", {}).get("text", "") for one in pieces)
    assert [one.seal.value for one in thoughts if one.seal] == [
        one["reasoningContent"]["signature"] for one in pieces if "signature" in one.get("reasoningContent", {})
    ]
    assert candidate.finish == ("tool_use" if calls else "stop")
    counted = [one["metadata"]["usage"] for one in raw if "metadata" in one]
    assert found.usage == (Usage(counted[0]["inputTokens"], counted[0]["outputTokens"]) if counted else None)
    assert feed([data[place : place + 1] for place in range(len(data))])[0] == whole
    cuts = sorted(random.Random(7).sample(range(len(data)), 12))
    assert feed([data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)])[0] == whole


def test_usage_that_comes_after_the_end_of_the_answer_is_waited_for():
    reader = BEDROCK.stream_reader(MAX, "aws")
    assert Finished("stop") in reader.feed(events(delta(0, {"text": "Hi"}), stop(0), message_stop()))
    assert not reader.finished
    last = events(("metadata", {"usage": {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}, "metrics": {"latencyMs": 1}}))
    assert reader.feed(last) == [UsageKnown(Usage(3, 4))]
    assert reader.finished


def test_an_answer_without_usage_is_finished_with_its_body():
    deltas, reader = feed([events(delta(0, {"text": "Hi"}), stop(0), message_stop())])
    assert (deltas[-1], reader.finished, reader.fault) == (Finished("stop"), True, None)


def test_a_thinking_answer_with_a_call_event_by_event():
    deltas, reader = feed([events(
        ("messageStart", {"role": "assistant"}),
        delta(0, {"reasoningContent": {"text": "Hm"}}), delta(0, {"reasoningContent": {"text": "m."}}),
        delta(0, {"reasoningContent": {"signature": "c2ln"}}), stop(0),
        delta(1, {"text": "I look."}), stop(1),
        start(2, {"toolUse": {"toolUseId": "t1", "name": "f"}}), delta(2, {"toolUse": {"input": '{"a"'}}), delta(2,
        {"toolUse": {"input": ":1}"}}),
        stop(2),
        start(3, {"toolUse": {"toolUseId": "t2", "name": "g"}}), delta(3, {"toolUse": {"input": ""}}), stop(3),
        message_stop("tool_use"),
        ("metadata", {"usage": {"inputTokens": 3, "outputTokens": 4, "totalTokens": 9, "cacheReadInputTokens": 2},
        "metrics": {"latencyMs": 1}}),
    )])  # fmt: skip
    assert reader.fault is None
    assert deltas == [
        Started(),
        PartStarted(0, Reasoning()), TextAdded(0, "Hm"), TextAdded(0, "m."), SealAdded(0, Seal("bedrock", "c2ln")), PartEnded(0),
        PartStarted(1, Text()), TextAdded(1, "I look."), PartEnded(1),
        PartStarted(2, ToolCall("t1", "f")), TextAdded(2, '{"a"'), TextAdded(2, ":1}"), PartEnded(2),
        PartStarted(3, ToolCall("t2", "g")), PartEnded(3),
        Finished("tool_use"), UsageKnown(Usage(5, 4, 2)),
    ]  # fmt: skip


def test_hidden_thoughts_citations_and_the_json_tool():
    cited = {"title": "T", "sourceContent": [{"text": "s"}], "location": {"web": {"url": "https://u.example", "domain": "u.example"}}}
    found = folded(events(
        delta(0, {"reasoningContent": {"redactedContent": "eHg="}}), stop(0),
        delta(1, {"text": "A"}), delta(1, {"citation": cited}), stop(1),
        start(2, {"toolUse": {"toolUseId": "j", "name": JSON_TOOL}}), delta(2, {"toolUse": {"input": '{"k"'}}), delta(2,
        {"toolUse": {"input": ":2}"}}),
        stop(2), message_stop("tool_use"),
    ))  # fmt: skip
    assert found.candidates[0].parts == (
        Reasoning(seal=Seal("bedrock", "eHg="), hidden=True), Text("A", (Citation("T", "https://u.example", "s", raw=cited),)),
        Text('{"k":2}'),
    )  # fmt: skip
    assert found.candidates[0].finish == "stop"


def test_blocks_of_the_providers_own_tools_and_images_come_whole():
    found = folded(events(
        start(0, {"toolUse": {"toolUseId": "s", "name": "search", "type": "server_tool_use"}}), delta(0, {"toolUse": {"input": '{"q":'}}),
        delta(0, {"toolUse": {"input": '"x"}'}}), stop(0),
        start(1, {"toolResult": {"toolUseId": "s", "type": "search_result"}}), delta(1, {"toolResult": [{"text": "hit"}]}), stop(1),
        start(2, {"image": {"format": "png"}}), delta(2, {"image": {"source": {"bytes": "aGk="}}}), delta(2,
        {"image": {"source": {"bytes": "aG8="}}}),
        stop(2), delta(3, {"text": "done"}), stop(3), message_stop(),
    ))  # fmt: skip
    assert found.candidates[0].parts == (
        Foreign("bedrock", "server_tool_use", {"toolUse": {"toolUseId": "s", "name": "search", "type": "server_tool_use",
        "input": {"q": "x"}}}),
        Foreign("bedrock", "search_result", {"toolResult": {"toolUseId": "s", "type": "search_result", "content": [{"text": "hit"}]}}),
        Media("image", "image/png", "aGlobw=="), Text("done"),
    )  # fmt: skip
    assert found.candidates[0].finish == "stop"


@pytest.mark.parametrize(("name", "message", "kind"), [
    ("throttlingException", "slow down", FaultKind.UPSTREAM_RATE_LIMITED),
    ("validationException", "bad", FaultKind.INVALID_REQUEST),
    ("validationException", "Input is too long for requested model.", FaultKind.CONTEXT_LENGTH),
    ("internalServerException", "x", FaultKind.STREAM_ERROR),
    ("modelStreamErrorException", "x", FaultKind.STREAM_ERROR),
    ("serviceUnavailableException", "x", FaultKind.OVERLOADED),
    ("modelTimeoutException", "x", FaultKind.STREAM_ERROR),
    ("of tomorrow", "x", FaultKind.STREAM_ERROR),
])  # fmt: skip
def test_an_exception_in_the_stream_is_its_fault(name, message, kind):
    data = events(delta(0, {"text": "a"})) + write_exception(name, orjson.dumps({"message": message}))
    deltas, reader = feed([data, events(message_stop())])
    assert reader.fault is not None
    assert reader.fault.kind is kind
    assert reader.fault.upstream_status is None
    assert not reader.finished
    assert deltas[-1] == TextAdded(0, "a")


def test_an_error_of_the_transport_has_its_words_in_headers():
    data = write_message({":message-type": "error", ":error-code": "InternalFailure", ":error-message": "boom"}, b"")
    _, reader = feed([data])
    assert reader.fault is not None
    assert reader.fault.kind is FaultKind.STREAM_ERROR


@pytest.mark.parametrize(("data", "kind"), [
    (b"", FaultKind.STREAM_CUT), (events(delta(0, {"text": "a"})), FaultKind.STREAM_CUT), (events(delta(0, {"text": "a"}))[:-1],
    FaultKind.STREAM_CUT),
    (b'{"message":"not a stream at all"}', FaultKind.PROTOCOL), (write_event("contentBlockDelta", b"[]"), FaultKind.PROTOCOL),
    (write_event("contentBlockDelta", b"{"), FaultKind.PROTOCOL),
])  # fmt: skip
def test_cut_and_garbled_streams_are_faults(data, kind):
    _, reader = feed([data])
    assert reader.fault is not None
    assert reader.fault.kind is kind
    assert not reader.finished


def test_what_trails_a_finished_answer_spoils_nothing():
    _, reader = feed([events(delta(0, {"text": "a"}), message_stop()), b"garbage behind the end"])
    assert (reader.fault, reader.finished) == (None, True)


def test_what_is_held_is_bounded():
    big = events(start(0, {"image": {"format": "png"}}), *[delta(0, {"image": {"source": {"bytes": "aGk=" * 100}}}) for _ in range(9)])
    _, reader = feed([big], 2_000)
    assert reader.fault is not None
    assert reader.fault.kind is FaultKind.PROTOCOL
    _, reader = feed([events(*[start(number, {"toolUse": {"toolUseId": "t", "name": "f"}}) for number in range(300)])])
    assert reader.fault is not None
    assert reader.fault.kind is FaultKind.PROTOCOL


names = st.sampled_from(["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata", "other"])
keys = st.sampled_from([
    "contentBlockIndex", "start", "delta", "text", "toolUse", "input", "name", "toolUseId", "type", "reasoningContent", "signature",
    "redactedContent", "citation", "image", "source", "bytes", "toolResult", "content", "usage", "inputTokens", "stopReason",
])  # fmt: skip
payloads = st.recursive(
    st.none() | st.integers(-2, 2) | st.sampled_from(["", "a", "aGk=", "tool_use"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.lists(st.tuples(names, payloads), max_size=12))
def test_no_events_make_the_reader_raise_and_parts_are_numbered_as_they_start(sent):
    deltas, reader = feed([b"".join(write_event(name, orjson.dumps(payload)) for name, payload in sent)])
    assert reader.finished or reader.fault is not None
    started = [one.index for one in deltas if isinstance(one, PartStarted)]
    assert started == list(range(len(started)))
    fold(deltas)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=8))
def test_no_bytes_make_the_reader_raise(pieces):
    _, reader = feed(pieces, 500)
    assert reader.fault is not None
