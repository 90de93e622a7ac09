"""Whole answers of Bedrock say in canonical values what they said."""

import base64

import orjson
import pytest
from bedrock_wire import WHY_NOT, recordings
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.completion import Completion
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Citation, Foreign, Media, Reasoning, Text, ToolCall, text_of
from appliance.core.seal import Seal
from appliance.core.usage import Usage
from appliance.dialects.bedrock import BEDROCK
from appliance.dialects.bedrock_answer import JSON_TOOL, read_usage

FINISHES = {"end_turn": "stop", "tool_use": "tool_use", "max_tokens": "length"}


def answer(content: list[object], reason: str = "end_turn", **more: object) -> bytes:
    return orjson.dumps({"output": {"message": {"role": "assistant", "content": content}}, "stopReason": reason, **more})


def read(body: bytes) -> Completion:
    found = BEDROCK.read_answer(body)
    assert isinstance(found, Completion), found
    return found


@pytest.mark.skipif(not recordings(".json"), reason=WHY_NOT)
@pytest.mark.parametrize("path", [one for one in recordings(".json") if "reranking" not in one.name], ids=lambda one: one.stem)
def test_every_recorded_answer_is_read_as_it_says(path):
    raw = orjson.loads(path.read_bytes())
    content = raw["output"]["message"]["content"]
    found = read(path.read_bytes())
    (candidate,) = found.candidates
    assert text_of(candidate.parts) == "".join(block.get("text", "") for block in content)
    calls = [part for part in candidate.parts if isinstance(part, ToolCall)]
    assert [(one.id, one.name, orjson.loads(one.arguments)) for one in calls] == [
        (block["toolUse"]["toolUseId"], block["toolUse"]["name"], block["toolUse"]["input"]) for block in content if "toolUse" in block
    ]
    thoughts = [part for part in candidate.parts if isinstance(part, Reasoning)]
    assert [(one.text, one.seal) for one in thoughts] == [
        (block["reasoningContent"]["reasoningText"]["text"], Seal("bedrock", block["reasoningContent"]["reasoningText"]["signature"]))
        for block in content if "reasoningContent" in block
    ]  # fmt: skip
    assert len(candidate.parts) == len(content)
    assert candidate.finish == FINISHES[raw["stopReason"]]
    assert found.usage == Usage(raw["usage"]["inputTokens"], raw["usage"]["outputTokens"])


def test_every_kind_of_block_has_its_part():
    citation = {
        "title": "Report", "source": "https://a.example/r", "sourceContent": [{"text": "Rain "}, {"text": "fell."}],
        "location": {"documentChar": {"documentIndex": 0, "start": 1, "end": 9}},
    }  # fmt: skip
    server = {"toolUse": {"toolUseId": "s1", "name": "nova_grounding", "input": {"q": 1}, "type": "server_tool_use"}}
    result = {"toolResult": {"toolUseId": "s1", "content": [{"json": {}}], "type": "nova_grounding_result"}}
    found = read(answer([
        {"reasoningContent": {"redactedContent": "c2VjcmV0"}},
        {"citationsContent": {"content": [{"text": "It "}, {"text": "rained."}], "citations": [citation]}},
        {"image": {"format": "webp", "source": {"bytes": "aGk="}}},
        server, result,
        {"toolUse": {"toolUseId": "t", "name": "f", "input": "half {"}},
        {"guardContent": {"text": {"text": "x"}}},
    ], "tool_use"))  # fmt: skip
    assert found.candidates[0].parts == (
        Reasoning(seal=Seal("bedrock", "c2VjcmV0"), hidden=True),
        Text("It rained.", (Citation("Report", "https://a.example/r", "Rain fell.", raw=citation),)),
        Media("image", "image/webp", "aGk="),
        Foreign("bedrock", "server_tool_use", server),
        Foreign("bedrock", "toolResult", result),
        ToolCall("t", "f", "half {"),
        Foreign("bedrock", "guardContent", {"guardContent": {"text": {"text": "x"}}}),
    )


@pytest.mark.parametrize(("reason", "has_call", "finish"), [
    ("end_turn", False, "stop"), ("end_turn", True, "tool_use"), ("stop_sequence", False, "stop_sequence"), ("tool_use", False, "stop"),
    ("max_tokens", False, "length"), ("max_tokens", True, "length"), ("guardrail_intervened", False, "content_filter"),
    ("content_filtered", False, "content_filter"), ("malformed_tool_use", True, "malformed_tool_call"),
    ("malformed_model_output", False, "other"), ("model_context_window_exceeded", False, "context_length"), ("of tomorrow", False, "other"),
    ("of tomorrow", True, "tool_use"),
])  # fmt: skip
def test_reasons_to_stop(reason, has_call, finish):
    call = {"toolUse": {"toolUseId": "t", "name": "f", "input": {}}}
    assert read(answer([call] if has_call else [{"text": "x"}], reason)).candidates[0].finish == finish


@pytest.mark.parametrize("fields", [{"stop_sequence": "END"}, {"delta": {"stop_sequence": "END"}}])
def test_the_stop_sequence_is_told_where_it_was_asked_for(fields):
    found = read(answer([{"text": "x"}], "stop_sequence", additionalModelResponseFields=fields))
    assert found.candidates[0].stop_sequence == "END"


@pytest.mark.parametrize(("usage", "expected"), [
    ({"inputTokens": 8, "outputTokens": 5, "totalTokens": 1305, "cacheReadInputTokens": 1000, "cacheWriteInputTokens": 292},
     Usage(1300, 5, 1000, 292)),
    ({"inputTokens": 8, "outputTokens": 5}, Usage(8, 5)),
    ({"inputTokens": 1300, "outputTokens": 5, "totalTokens": 1305, "cacheReadInputTokens": 1000}, Usage(1300, 5, 1000)),
    ({"inputTokens": -1, "outputTokens": 5}, Usage(0, 5)),
    ({"inputTokens": "8", "outputTokens": True}, None), ({}, None), (None, None), ([], None),
])  # fmt: skip
def test_usage_holds_the_cache_within_the_input(usage, expected):
    assert read_usage(usage) == expected


def test_an_answer_through_the_json_tool_is_text():
    found = read(answer([{"toolUse": {"toolUseId": "t", "name": JSON_TOOL, "input": {"city": "Köln"}}}], "tool_use"))
    assert found.candidates[0].parts == (Text('{"city":"Köln"}'),)
    assert found.candidates[0].finish == "stop"


def test_a_router_names_its_model_and_a_tier_its_name():
    found = read(answer([], trace={"promptRouter": {"invokedModelId": "anthropic.claude"}}, serviceTier={"type": "flex"}))
    assert (found.model, found.service_tier) == ("anthropic.claude", "flex")


@pytest.mark.parametrize(("body", "kind"), [
    (b"", FaultKind.PROTOCOL), (b"<html>", FaultKind.PROTOCOL), (b"[]", FaultKind.PROTOCOL), (b"{}", FaultKind.PROTOCOL),
    (b'{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},"Version":"1.0"}', FaultKind.PROTOCOL),
    (b'{"__type":"ThrottlingException","message":"slow"}', FaultKind.UPSTREAM_RATE_LIMITED),
])  # fmt: skip
def test_what_is_no_answer_is_a_fault(body, kind):
    found = BEDROCK.read_answer(body)
    assert isinstance(found, Fault)
    assert found.kind is kind


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5) | st.just(base64.b64encode(b"x").decode()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["text", "toolUse", "input", "name", "reasoningContent", "reasoningText", "redactedContent",
        "citationsContent", "content",
                         "citations", "image", "source", "bytes", "type", "toolUseId", "location", "web", "url"]), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(json_values, max_size=4), json_values, json_values)
def test_no_json_makes_the_reader_raise(content, usage, fields):
    BEDROCK.read_answer(answer(content, usage=usage, additionalModelResponseFields=fields, trace=fields, serviceTier=fields))
    BEDROCK.read_answer(orjson.dumps(usage))


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_make_the_reader_raise(body):
    BEDROCK.read_answer(body)
