"""Whole answers of Cohere and rankings say in plain values what they said."""

import orjson
import pytest
from cohere_wire import WHY_NOT, recording, recordings
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.completion import Candidate, Completion, TokenLogprob
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Citation, Foreign, Reasoning, Text, ToolCall, text_of
from appliance.core.usage import Usage
from appliance.dialects.cohere import (
    COHERE,
    Billed,
    Ranked,
    Ranking,
    RerankWish,
    read_billed,
    read_rerank,
    write_rerank,
)
from appliance.dialects.cohere_answer import read_usage
from appliance.dialects.cohere_embed import read_embed

FINISHES = {"COMPLETE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_use"}


def read(message: dict, reason: str = "COMPLETE", **more: object) -> Completion:
    found = COHERE.read_answer(orjson.dumps({"id": "i", "message": {"role": "assistant", **message}, "finish_reason": reason, **more}))
    assert isinstance(found, Completion), found
    return found


@pytest.mark.skipif(not recordings(".json"), reason=WHY_NOT)
@pytest.mark.parametrize(
    "path", [one for one in recordings(".json") if "reranking" not in one.name and "embedding" not in one.name], ids=lambda one: one.stem
)
def test_every_recorded_answer_is_read_as_it_says(path):
    raw = orjson.loads(path.read_bytes())
    message = raw["message"]
    content = message.get("content") or []
    found = COHERE.read_answer(path.read_bytes())
    assert isinstance(found, Completion)
    (candidate,) = found.candidates
    assert found.id == raw["id"]
    assert text_of(candidate.parts) == "".join(one.get("text", "") for one in content) + (message.get("tool_plan") or "")
    assert "".join(one.text for one in candidate.parts if isinstance(one, Reasoning)) == "".join(one.get("thinking", "") for one in content)
    calls = [part for part in candidate.parts if isinstance(part, ToolCall)]
    assert [(one.id, one.name, orjson.loads(one.arguments or "{}")) for one in calls] == [
        (one["id"], one["function"]["name"], orjson.loads(one["function"]["arguments"]) or {}) for one in message.get("tool_calls") or []
    ]
    assert candidate.finish == FINISHES[raw["finish_reason"]]
    tokens = raw["usage"]["tokens"]
    assert found.usage == Usage(tokens["input_tokens"], tokens["output_tokens"], raw["usage"]["cached_tokens"])
    cited = [citation for part in candidate.parts if isinstance(part, Text) for citation in part.citations]
    assert [one.raw for one in cited] == (message.get("citations") or [])


@pytest.mark.skipif(not recordings(".json"), reason=WHY_NOT)
def test_a_citation_tells_its_source():
    found = COHERE.read_answer(recording("cohere-citations.json"))
    assert isinstance(found, Completion)
    (part,) = found.candidates[0].parts
    assert isinstance(part, Text)
    first = part.citations[0]
    assert (first.title, first.start, first.end) == ("benefits.txt", 52, 71)
    assert first.cited.startswith("AI provides")


def test_parts_come_in_the_order_they_were_made():
    call = {"id": "f_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1.0}'}}
    found = read({
        "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "A"}, {"type": "odd", "x": 1}],
        "tool_plan": "I call f.", "tool_calls": [call], "citations": [{"start": 0, "end": 1, "content_index": 1, "type": "TEXT_CONTENT"},
                                                                      {"start": 0, "end": 1, "type": "PLAN"}],
    }, "TOOL_CALL", logprobs=[{"text": "A", "token_ids": [1, 2], "logprobs": [-0.5, -0.25]}])  # fmt: skip
    cited = Citation(start=0, end=1, raw={"start": 0, "end": 1, "content_index": 1, "type": "TEXT_CONTENT"})
    assert found.candidates == (Candidate((
        Reasoning("Hm."), Text("A", (cited,)), Foreign("cohere", "odd", {"type": "odd", "x": 1}), Text("I call f."),
        ToolCall("f_1", "f", '{"a": 1.0}'),
    ), "tool_use", "", (TokenLogprob("A", -0.75),)),)  # fmt: skip


@pytest.mark.parametrize(("reason", "has_call", "finish"), [
    ("COMPLETE", False, "stop"), ("COMPLETE", True, "tool_use"), ("TOOL_CALL", True, "tool_use"), ("TOOL_CALL", False, "stop"),
    ("STOP_SEQUENCE", False, "stop_sequence"), ("MAX_TOKENS", False, "length"), ("MAX_TOKENS", True, "length"),
    ("ERROR_TOXIC", False, "content_filter"), ("ERROR_LIMIT", False, "context_length"), ("USER_CANCEL", False, "other"), (None,
    False, "stop"),
])  # fmt: skip
def test_reasons_to_finish(reason, has_call, finish):
    message = {"tool_calls": [{"id": "a", "function": {"name": "f"}}]} if has_call else {"content": [{"type": "text", "text": "x"}]}
    assert read(message, reason).candidates[0].finish == finish


@pytest.mark.parametrize(("body", "kind"), [
    (b"", FaultKind.PROTOCOL), (b"[]", FaultKind.PROTOCOL), (b"{}", FaultKind.PROTOCOL), (b"<html>", FaultKind.PROTOCOL),
    (b'{"message":"broken","id":"1"}', FaultKind.STREAM_ERROR), (b'{"message":{},"finish_reason":"ERROR"}', FaultKind.STREAM_ERROR),
    (b'{"message":{},"finish_reason":"TIMEOUT"}', FaultKind.STREAM_ERROR),
])  # fmt: skip
def test_what_is_no_answer_is_a_fault(body, kind):
    found = COHERE.read_answer(body)
    assert isinstance(found, Fault)
    assert found.kind is kind


@pytest.mark.parametrize(("usage", "expected", "billed"), [
    ({"billed_units": {"input_tokens": 12.0, "output_tokens": 7}, "tokens": {"input_tokens": 507.0, "output_tokens": 10},
    "cached_tokens": 448},
     Usage(507, 10, 448), Billed(12, 7)),
    ({"billed_units": {"input_tokens": 12, "output_tokens": 7}}, Usage(12, 7), Billed(12, 7)),
    ({"tokens": {"input_tokens": 5, "output_tokens": -1}, "cached_tokens": 9}, Usage(5, 0, 5), None),
    ({"billed_units": {"search_units": 2}}, None, Billed(0, 0, 2)), ({}, None, None), (None, None, None), ("x", None, None),
])  # fmt: skip
def test_true_tokens_and_billed_ones_are_told_apart(usage, expected, billed):
    assert read_usage(usage) == expected
    assert read_billed(usage) == billed


@pytest.mark.skipif(not recordings(".json"), reason=WHY_NOT)
def test_recorded_rankings_are_read():
    ranking = read_rerank(recording("reranking-cohere-reranking.1.json"))
    assert ranking == Ranking("b44fe75b-e3d3-489a-b61e-1a1aede3ef72", (Ranked(1, 0.10183054), Ranked(0, 0.03762639)), 1)


def test_rankings_are_asked_for():
    body = write_rerank(RerankWish("rerank-v3.5", "q", ("a", "b"), 1, 99))
    assert isinstance(body, bytes)
    assert orjson.loads(body) == {"model": "rerank-v3.5", "query": "q", "documents": ["a", "b"], "top_n": 1, "max_tokens_per_doc": 99}
    assert isinstance(write_rerank(RerankWish("m", "q", ())), Fault)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([
        "type", "text", "thinking", "content", "tool_plan", "tool_calls", "function", "name", "arguments", "citations",
        "sources", "document",
        "content_index", "tokens", "billed_units", "input_tokens", "logprobs", "embeddings", "results", "index", "relevance_score", "meta",
    ]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None)
@given(json_values, json_values)
def test_no_json_makes_the_readers_raise(message, more):
    body = orjson.dumps({"message": message, "finish_reason": more, "usage": more, "logprobs": more, "embeddings": more, "results": more,
        "meta": more})
    for reader in (COHERE.read_answer, read_embed, read_rerank):
        reader(body)
        reader(orjson.dumps(message))


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_make_the_readers_raise(body):
    for reader in (COHERE.read_answer, read_embed, read_rerank):
        reader(body)
