"""Streams for callers of Anthropic's API have its events in its order, whatever order the backend's language has."""

import json
import random

import attrs
import pytest
from anthropic_values import REPLY, events_of
from core.canonical_values import parts
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.assembly import unfold
from appliance.core.completion import Candidate, Completion, TokenLogprob
from appliance.core.delta import CitationAdded, Finished, LogprobsAdded, PartEnded, PartStarted, SealAdded, Started, TextAdded, UsageKnown
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Citation, Foreign, Media, Reasoning, Refusal, Text, ToolCall
from appliance.core.seal import Seal
from appliance.core.usage import Usage
from appliance.dialects.anthropic import ANTHROPIC


def written(*deltas):
    writer = ANTHROPIC.stream_writer(REPLY)
    return events_of(writer.write(deltas) + writer.end())


def test_the_whole_order_of_events():
    events = written(
        Started("a1", "backend-model", usage=Usage(20, 1, 5), service_tier="standard"),
        PartStarted(0, Reasoning()), TextAdded(0, "h"), TextAdded(0, "m"), SealAdded(0, Seal("anthropic", "s")),
        SealAdded(0, Seal("anthropic", "ig")),
        PartEnded(0), PartStarted(1, Text()), TextAdded(1, "Grüße"), PartEnded(1),
        PartStarted(2, ToolCall("t1", "f")), TextAdded(2, '{"a"'), TextAdded(2, ":1}"), PartEnded(2),
        Finished("tool_use"), UsageKnown(Usage(20, 9, 5, 0, 4)),
    )  # fmt: skip
    assert events == [
        {"type": "message_start", "message": {
            "id": "a1", "type": "message", "role": "assistant", "model": "claude", "content": [],
            "stop_reason": None, "stop_sequence": None,
            "usage": {"input_tokens": 15, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 5, "output_tokens": 1,
                      "service_tier": "standard"}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "h"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "m"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "sig"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Grüße"}},
        {"type": "content_block_stop", "index": 1},
        {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "t1", "name": "f", "input": {}}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"a"'}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ":1}"}},
        {"type": "content_block_stop", "index": 2},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None},
         "usage": {"input_tokens": 15, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 5, "output_tokens": 9,
                   "output_tokens_details": {"thinking_tokens": 4}}},
        {"type": "message_stop"},
    ]  # fmt: skip


def test_overlapping_calls_come_one_after_the_other():
    events = written(
        Started("a"), PartStarted(0, ToolCall("t", "f")), PartStarted(1, ToolCall("u", "g")), TextAdded(1, "[2]"), TextAdded(0, "[1]"),
        PartEnded(1), PartEnded(0), Finished("stop"),
    )  # fmt: skip
    said = [
        (one["type"], one.get("index"), one.get("delta", {}).get("partial_json")) for one in events if one["type"].startswith("content")
    ]
    assert said == [
        ("content_block_start", 0, None), ("content_block_delta", 0, "[1]"), ("content_block_stop", 0, None),
        ("content_block_start", 1, None), ("content_block_delta", 1, "[2]"), ("content_block_stop", 1, None),
    ]  # fmt: skip
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


def test_the_start_has_an_estimate_where_the_backend_has_not_counted_and_the_end_the_truth():
    events = written(Started("a"), PartStarted(0, Text()), TextAdded(0, "x"), PartEnded(0), Finished("stop"), UsageKnown(Usage(5, 2)))
    assert events[0]["message"]["usage"]["input_tokens"] == ANTHROPIC.estimate(REPLY.conversation)
    assert events[-2]["usage"] == {"input_tokens": 5, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 2}


def test_a_backend_that_says_nothing_gets_a_whole_stream_all_the_same():
    assert [one["type"] for one in written()] == ["message_start", "message_delta", "message_stop"]
    assert written()[0]["message"]["id"] == "msg_made"
    events = written(PartStarted(0, Text()), TextAdded(0, "x"), Finished("length"))
    assert [one["type"] for one in events] == [
        "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop",
    ]  # fmt: skip
    assert events[-2]["usage"] == {"output_tokens": 0}


def test_no_block_is_empty():
    events = written(
        Started("a"), PartStarted(0, Text()), PartEnded(0), PartStarted(1, Reasoning()), PartEnded(1),
        PartStarted(2, Reasoning(hidden=True)), PartEnded(2),
        PartStarted(3, Foreign("openai", "x", {})), PartEnded(3), PartStarted(4, Text()), TextAdded(4, ""), PartEnded(4), Finished("stop"),
    )  # fmt: skip
    assert [one["type"] for one in events] == ["message_start", "message_delta", "message_stop"]


def blocks(*deltas):
    """(block as announced, its deltas) of each block."""
    found = []
    for one in written(*deltas):
        if one["type"] == "content_block_start":
            found.append((one["content_block"], []))
        elif one["type"] == "content_block_delta":
            found[-1][1].append(one["delta"])
    return found


def test_a_call_without_arguments_and_one_of_free_text():
    (call, none), (free, text) = blocks(
        PartStarted(0, ToolCall("t", "f")), PartEnded(0),
        PartStarted(1, ToolCall("u", "p", namespace="ns", custom=True)), TextAdded(1, 'a"'), TextAdded(1, "b"),
        PartEnded(1), Finished("stop"),
    )  # fmt: skip
    assert (call["input"], none) == ({}, [])
    assert (free["name"], free["input"]) == ("ns__p", {})
    assert json.loads(text[0]["partial_json"]) == {"input": 'a"b'}


def test_what_a_part_knows_at_its_start_is_said():
    part = Text("Hi", (Citation("t", "u", "c"),), seal=Seal("gemini", "s"))
    assert blocks(PartStarted(0, part), PartEnded(0), PartStarted(1, ToolCall("t", "f", "{}")), Finished("stop")) == [
        ({"type": "text", "text": ""}, [
            {"type": "text_delta", "text": "Hi"},
            {"type": "citations_delta", "citation": {
                "type": "web_search_result_location", "url": "u", "title": "t", "cited_text": "c", "encrypted_index": "gw1.none."}}]),
        ({"type": "tool_use", "id": "t", "name": "f", "input": {}}, [{"type": "input_json_delta", "partial_json": "{}"}]),
    ]  # fmt: skip


def test_citations_of_our_own_kind_pass_as_they_are_and_others_need_an_address():
    own = {"type": "char_location", "cited_text": "c"}
    (_, said), = blocks(
        PartStarted(0, Text()), CitationAdded(0, Citation(raw=own)), CitationAdded(0, Citation("no address")), TextAdded(0, "x"),
        PartEnded(0), Finished("stop"),
    )  # fmt: skip
    assert said == [{"type": "citations_delta", "citation": own}, {"type": "text_delta", "text": "x"}]


def test_seals_of_other_makers_and_hidden_thoughts():
    found = blocks(
        PartStarted(0, ToolCall("t", "f", seal=Seal("gemini", "s1"))), TextAdded(0, "{}"), PartEnded(0),
        PartStarted(1, Reasoning(hidden=True)), SealAdded(1, Seal("openai", "enc")), PartEnded(1),
        PartStarted(2, Reasoning("hm", seal=Seal("openai", "e"))), PartEnded(2), Finished("stop"),
    )  # fmt: skip
    assert [block["type"] for block, _ in found] == ["redacted_thinking", "tool_use", "redacted_thinking", "thinking"]
    assert found[0][0]["data"].startswith("gw1.next-gemini.")
    assert found[2][0]["data"].startswith("gw1.openai.")
    assert found[3][1][1]["signature"].startswith("gw1.openai.")


def test_whole_parts_come_as_anthropics_own_streams_have_them():
    search = Foreign("anthropic", "server_tool_use", {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}})
    summary = Foreign("anthropic", "compaction", {"type": "compaction", "content": "short"})
    found = blocks(
        PartStarted(0, search), PartEnded(0), PartStarted(1, summary), PartEnded(1), PartStarted(2, Media("image", "image/png", "aGk=")),
        PartEnded(2), Finished("pause"),
    )  # fmt: skip
    assert found[0] == (
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        [{"type": "input_json_delta", "partial_json": '{"query":"q"}'}],
    )  # fmt: skip
    assert found[1] == ({"type": "compaction", "content": None}, [{"type": "compaction_delta", "content": "short"}])
    assert found[2][0]["type"] == "image"


def test_a_refusal_is_told_at_the_end():
    events = written(Started("a"), PartStarted(0, Refusal()), TextAdded(0, "I "), TextAdded(0, "cannot."), PartEnded(0), Finished("stop"))
    assert events[-2]["delta"] == {
        "stop_reason": "refusal", "stop_sequence": None, "stop_details": {"type": "refusal", "category": None, "explanation": "I cannot."},
    }  # fmt: skip


def test_an_emoji_cut_in_two_is_whole_again_and_a_lone_half_replaced():
    found = blocks(
        PartStarted(0, Text()), TextAdded(0, "a\ud83d"), TextAdded(0, "\ude00b"), TextAdded(0, "c"), TextAdded(0, "\ud83d"), PartEnded(0),
        PartStarted(1, Text()), TextAdded(1, "\ude00"), PartEnded(1), Finished("stop"),
    )  # fmt: skip
    said = ["".join(delta["text"] for delta in deltas) for _, deltas in found]
    assert said == ["a\U0001f600bc\ufffd", "\ufffd"]


def test_other_candidates_and_logprobs_are_not_said():
    events = written(
        Started("a"), PartStarted(0, Text()), TextAdded(0, "x"), PartStarted(0, Text(), 1), TextAdded(0, "y", 1), PartEnded(0, 1),
        Finished("length", "", 1),
        LogprobsAdded((TokenLogprob("x", -0.1),)), PartEnded(0), Finished("stop_sequence", "END"),
    )  # fmt: skip
    assert [one["delta"]["text"] for one in events if one["type"] == "content_block_delta"] == ["x"]
    assert events[-2]["delta"] == {"stop_reason": "stop_sequence", "stop_sequence": "END"}


def test_an_error_and_a_keepalive_may_stand_anywhere():
    fault = Fault(FaultKind.IDLE_TIMEOUT, "the backend b went silent")
    deltas = [Started("a"), PartStarted(0, Text()), TextAdded(0, "x"), PartEnded(0), Finished("stop")]
    for count in range(len(deltas) + 1):
        writer = ANTHROPIC.stream_writer(REPLY)
        data = writer.write(deltas[:count]) + writer.keepalive() + writer.error(fault, "req_1")
        assert events_of(data)[-2:] == [
            {"type": "ping"},
            {"type": "error", "error": {"type": "timeout_error", "message": "the backend b went silent"}, "request_id": "req_1"},
        ]


def lifecycle(events):
    """Raises AssertionError unless the events are a stream as the API documents it."""
    assert events[0]["type"] == "message_start"
    assert [one["type"] for one in events[-2:]] == ["message_delta", "message_stop"]
    expected, opened = 0, False
    for one in events[1:-2]:
        assert one["index"] == expected
        if one["type"] == "content_block_start":
            assert not opened
            opened = True
        elif one["type"] == "content_block_delta":
            assert opened
        else:
            assert one["type"] == "content_block_stop"
            assert opened
            opened, expected = False, expected + 1
    assert not opened


@given(st.lists(parts, max_size=5), st.integers(), st.booleans())
def test_any_legal_stream_of_deltas_is_a_legal_stream_of_events(said, seed, thinks):
    """Parts overlap at random."""
    said = [attrs.evolve(one, raw={"type": "odd", **one.raw}) if isinstance(one, Foreign) else one for one in said]
    chance = random.Random(seed)
    queues = [unfold(Completion("i", "m", (Candidate((part,)),)))[1:-1] for part in said]
    queues = [[attrs.evolve(one, index=place) for one in queue] for place, queue in enumerate(queues)]
    deltas, started = [Started("a")], 0
    while any(queues):
        ready = [place for place, queue in enumerate(queues) if queue and place <= started]
        place = chance.choice(ready)
        deltas.append(queues[place].pop(0))
        started = max(started, place + 1) if isinstance(deltas[-1], PartStarted) else started
    events = written(*deltas, Finished("stop"), UsageKnown(Usage(1, 1)))
    lifecycle(events)
    ordered = written(Started("a"), *sorted(deltas[1:], key=lambda one: one.index), Finished("stop"), UsageKnown(Usage(1, 1)))
    assert [one for one in events if one["type"] != "ping"] == ordered


@pytest.mark.parametrize("kind", ["text", "thinking", "call"])
def test_every_character_survives(kind):
    text = "".join(chr(code) for code in range(0x20, 0x250)) + '\n\r\t"\\/\u2028\u2029\x00\x1f\U0001f600'
    part = {"text": Text(), "thinking": Reasoning(), "call": ToolCall("t", "f")}[kind]
    member = {"text": "text", "thinking": "thinking", "call": "partial_json"}[kind]
    (_, said), = blocks(PartStarted(0, part), TextAdded(0, text), TextAdded(0, text), PartEnded(0), Finished("stop"))  # fmt: skip
    assert [delta[member] for delta in said if delta["type"] != "signature_delta"] == [text, text]


def test_white_space_alone_is_no_block_but_belongs_to_words():
    call = ToolCall("c", "f")
    said = blocks(
        PartStarted(0, Text()), TextAdded(0, "\n"), TextAdded(0, "\n"), PartEnded(0), PartStarted(1, call), PartEnded(1),
        PartStarted(2, Text()), TextAdded(2, "\n"), PartEnded(2), PartStarted(3, attrs.evolve(call, id="d")), PartEnded(3),
        PartStarted(4, Text()), TextAdded(4, "\n"), TextAdded(4, " so"), TextAdded(4, "\n"), PartEnded(4),
        PartStarted(5, Text()), TextAdded(5, "\n"), PartEnded(5), Finished("stop"),
    )  # fmt: skip
    assert [block["type"] for block, _ in said] == ["tool_use", "tool_use", "text", "text"]
    assert [[delta["text"] for delta in deltas] for _, deltas in said[2:]] == [["\n so", "\n"], ["\n"]]
