"""Streams of Anthropic's API are read alike in any pieces, odd ones sensibly, broken ones as faults, and never without a bound."""

import json
import random

import pytest
from anthropic_values import event, stream
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.assembly import fold
from appliance.core.completion import Candidate
from appliance.core.delta import Finished, PartEnded, PartStarted, SealAdded, Started, TextAdded, UsageKnown
from appliance.core.fault import FaultKind
from appliance.core.message import Citation, Foreign, Reasoning, Refusal, Text, ToolCall
from appliance.core.seal import Seal
from appliance.core.usage import Usage
from appliance.dialects.anthropic import ANTHROPIC

START = {
    "type": "message_start",
    "message": {"id": "msg_1", "model": "claude", "content": [], "usage": {"input_tokens": 7, "output_tokens": 1}},
}
STOP = {"type": "message_stop"}


def begun(index, **block):
    return {"type": "content_block_start", "index": index, "content_block": block}


def added(index, **delta):
    return {"type": "content_block_delta", "index": index, "delta": delta}


def ended(index):
    return {"type": "content_block_stop", "index": index}


def over(reason="end_turn", **usage):
    return {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage or {"output_tokens": 3}}


def read(data, event_max_bytes=1_000_000, cuts=None):
    reader = ANTHROPIC.stream_reader(event_max_bytes, "b")
    deltas = []
    pieces = [data] if cuts is None else [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    for piece in pieces:
        deltas += reader.feed(piece)
    deltas += reader.end()
    return deltas, reader


def parts_of(*events):
    deltas, reader = read(stream(START, *events, over(), STOP))
    assert (reader.fault, reader.finished) == (None, True)
    return fold(deltas).candidates[0].parts


FULL = stream(
    START, begun(0, type="thinking", thinking="", signature=""), {"type": "ping"}, added(0, type="thinking_delta", thinking="hm"),
    added(0, type="signature_delta", signature="old"), added(0, type="signature_delta", signature="sig"), ended(0),
    begun(1, type="text", text=""), added(1, type="text_delta", text="Grüße \U0001f600"), added(1, type="text_delta", text="!"), ended(1),
    begun(2, type="tool_use", id="t1", name="f", input={}), added(2, type="input_json_delta", partial_json=""),
    added(2, type="input_json_delta", partial_json='{"a"'), added(2, type="input_json_delta", partial_json=": 1}"), ended(2),
    {"type": "a_new_event"}, over("tool_use", input_tokens=9, output_tokens=30, cache_read_input_tokens=2), STOP,
)  # fmt: skip


def test_a_stream_as_deltas():
    deltas, reader = read(FULL)
    assert deltas == [
        Started("msg_1", "claude", usage=Usage(7, 1)),
        PartStarted(0, Reasoning()), TextAdded(0, "hm"), SealAdded(0, Seal("anthropic", "sig")), PartEnded(0),
        PartStarted(1, Text()), TextAdded(1, "Grüße \U0001f600"), TextAdded(1, "!"), PartEnded(1),
        PartStarted(2, ToolCall("t1", "f")), TextAdded(2, '{"a"'), TextAdded(2, ": 1}"), PartEnded(2),
        Finished("tool_use"), UsageKnown(Usage(11, 30, 2)),
    ]  # fmt: skip
    assert (reader.finished, reader.fault) == (True, None)


def test_byte_by_byte_and_at_any_cuts_the_deltas_are_the_same():
    whole, _ = read(FULL)
    assert read(FULL, cuts=list(range(1, len(FULL))))[0] == whole
    assert read(FULL.replace(b"\n", b"\r\n"), cuts=list(range(1, len(FULL) + FULL.count(b"\n"))))[0] == whole
    ends = [place + 2 for place in range(len(FULL)) if FULL.startswith(b"\n\n", place)]
    assert read(FULL, cuts=ends[:-1])[0] == whole
    assert read(b": keep\n\n\n" + FULL, cuts=[9, *(place + 9 for place in ends[:-1])])[0] == whole
    chance = random.Random(7)
    for _ in range(50):
        assert read(FULL, cuts=sorted(chance.sample(range(1, len(FULL)), 5)))[0] == whole


def test_arguments_of_the_announcement_count_where_none_come_in_pieces():
    calls = (
        begun(0, type="tool_use", id="t", name="f", input={"a": 1}),
        ended(0),
        begun(1, type="tool_use", id="u", name="g", input={}),
        ended(1),
    )
    assert parts_of(*calls) == (ToolCall("t", "f", '{"a":1}'), ToolCall("u", "g", "{}"))
    again = (
        begun(0, type="tool_use", id="t", name="f", input={"a": 1}),
        added(0, type="input_json_delta", partial_json='{"a":2}'),
        ended(0),
    )
    assert parts_of(*again) == (ToolCall("t", "f", '{"a":2}'),)


def test_blocks_that_no_other_language_has_come_whole():
    parts = parts_of(
        begun(0, type="server_tool_use", id="s", name="web_search", input={}), added(0, type="input_json_delta", partial_json='{"query":'),
        added(0, type="input_json_delta", partial_json='"q"}'), ended(0),
        begun(1, type="web_search_tool_result", tool_use_id="s", content=[{"url": "u"}]), ended(1),
        begun(2, type="compaction", content=None), added(2, type="compaction_delta", content="short", encrypted_content="e"), ended(2),
        begun(3, type="server_tool_use", id="s2", name="x", input={}), added(3, type="input_json_delta", partial_json='{"cut'), ended(3),
        begun(4, type="redacted_thinking", data="xyz"), ended(4), begun(5, type="redacted_thinking"), ended(5),
    )  # fmt: skip
    assert parts == (
        Foreign("anthropic", "server_tool_use", {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}}),
        Foreign("anthropic", "web_search_tool_result", {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"url": "u"}]}),
        Foreign("anthropic", "compaction", {"type": "compaction", "content": "short", "encrypted_content": "e"}),
        Foreign("anthropic", "server_tool_use", {"type": "server_tool_use", "id": "s2", "name": "x", "input": {"INVALID_JSON": '{"cut'}}),
        Reasoning(seal=Seal("anthropic", "xyz"), hidden=True),
    )


def test_citations_and_a_refusal():
    cited = {"type": "char_location", "cited_text": "c", "document_title": "D"}
    pieces = (added(0, type="citations_delta", citation=cited), added(0, type="text_delta", text="b"))
    assert parts_of(begun(0, type="text", text="A"), *pieces, ended(0)) == (Text("Ab", (Citation("D", "", "c", raw=cited),)),)
    ending = {"type": "message_delta", "usage": {"output_tokens": 5},
              "delta": {"stop_reason": "refusal", "stop_details": {"type": "refusal", "explanation": "No."}}}  # fmt: skip
    deltas, reader = read(stream(START, ending, STOP))
    assert fold(deltas).candidates == (Candidate((Refusal("No."),), "refusal"),)
    assert reader.finished


def test_a_message_start_said_twice_is_one():
    deltas, reader = read(
        stream(START, START, begun(0, type="text", text=""), added(0, type="text_delta", text="x"), ended(0), START, over(), STOP)
    )
    assert [type(one) for one in deltas].count(Started) == 1
    assert fold(deltas).candidates == (Candidate((Text("x"),), "stop"),)
    assert reader.fault is None


OTHER = {"type": "message_start", "message": {"id": "msg_2", "model": "claude", "usage": {"input_tokens": 8, "output_tokens": 1}}}


def test_a_second_message_replaces_one_without_content():
    deltas, reader = read(stream(START, OTHER, begun(0, type="text", text="x"), ended(0), over(), STOP))
    assert (reader.fault, reader.finished) == (None, True)
    assert fold(deltas).candidates == (Candidate((Text("x"),), "stop"),)
    assert fold(deltas).usage == Usage(8, 3)


def test_a_second_message_after_content_is_a_fault():
    deltas, reader = read(stream(START, begun(0, type="text", text="x"), OTHER, begun(0, type="text", text="y"), ended(0), over(), STOP))
    assert reader.fault.kind is FaultKind.STREAM_CUT
    assert not reader.finished
    assert not any(isinstance(one, Finished) for one in deltas)


def test_content_told_at_the_start_counts():
    content = [{"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}, {"type": "text", "text": "x"}]
    message = {"id": "m", "model": "c", "content": content,
               "stop_reason": "tool_use", "usage": {"input_tokens": 1, "output_tokens": 2}}  # fmt: skip
    deltas, reader = read(stream({"type": "message_start", "message": message}, STOP))
    assert fold(deltas).candidates == (Candidate((ToolCall("t", "f", '{"a":1}'), Text("x")), "tool_use"),)
    assert fold(deltas).usage == Usage(1, 2)
    assert reader.finished


def test_pieces_of_blocks_that_were_never_announced_or_are_of_another_kind():
    parts = parts_of(
        added(0, type="thinking_delta", thinking="hm"), added(0, type="text_delta", text="x"), begun(0, type="text", text=""),
        added(0, type="text_delta", text="y"), added(5, type="input_json_delta", partial_json="{}"),
        added(7, type="signature_delta", signature="s"),
    )  # fmt: skip
    assert parts == (Reasoning("hm"), Text("x"), Text("y"))


def test_overlapping_blocks_keep_their_own():
    parts = parts_of(
        begun(0, type="tool_use", id="t", name="f", input={}), begun(1, type="tool_use", id="u", name="g", input={}),
        added(1, type="input_json_delta", partial_json='{"b":2}'), added(0, type="input_json_delta", partial_json='{"a":1}'),
        ended(1), ended(0),
    )  # fmt: skip
    assert parts == (ToolCall("t", "f", '{"a":1}'), ToolCall("u", "g", '{"b":2}'))


def test_nothing_comes_after_the_end():
    reader = ANTHROPIC.stream_reader(10_000, "b")
    reader.feed(stream(START, over(), STOP))
    assert reader.finished
    assert reader.feed(stream(OTHER, begun(0, type="text", text="x"))) == reader.end() == []


def test_a_stream_is_whole_with_its_stop_reason_and_cut_without():
    assert read(stream(START, begun(0, type="text", text="x"), over()))[1].finished
    for events in ((), (START,), (START, begun(0, type="text", text="x")), (START, begun(0, type="text", text="x"), ended(0))):
        deltas, reader = read(stream(*events))
        assert (reader.fault.kind, reader.finished) == (FaultKind.STREAM_CUT, False)
        assert "backend b" in reader.fault.message
        assert not any(isinstance(one, Finished) for one in deltas)


def test_the_last_event_needs_no_blank_line():
    assert read(FULL.rstrip(b"\n"))[1].finished


ERRORS = [
    ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, FaultKind.OVERLOADED),
    ({"type": "error", "error": {"type": "api_error", "message": "Internal server error"}}, FaultKind.SERVER_ERROR),
    ({"type": "error", "error": {"type": "billing_error", "message": "pay"}}, FaultKind.QUOTA),
    ({"type": "error"}, FaultKind.STREAM_ERROR),
]


@pytest.mark.parametrize(("error", "kind"), ERRORS)
def test_an_error_inside_a_stream_is_its_fault_and_the_end(error, kind):
    deltas, reader = read(stream(START, begun(0, type="text", text="x"), error, over(), STOP))
    assert (reader.fault.kind, reader.finished) == (kind, False)
    assert not any(isinstance(one, Finished) for one in deltas)


def test_errors_in_other_dress():
    assert read(b'event: error\ndata: {"message": "bad"}\n\n')[1].fault.kind is FaultKind.STREAM_ERROR
    assert read(b'data: {"error": {"type": "overloaded_error", "message": "x"}}\n\n')[1].fault.kind is FaultKind.OVERLOADED
    assert read(b'{"type":"error","error":{"type":"overloaded_error","message":"x"}}')[1].fault.kind is FaultKind.OVERLOADED


@pytest.mark.parametrize("data", [b"<html>\n\n", b"data: nonsense\n\n", b"data: {\n\n", b"just words"])
def test_garbage_is_a_protocol_fault(data):
    assert read(data)[1].fault.kind is FaultKind.PROTOCOL


def test_the_last_word_of_other_vendors_is_no_garbage():
    assert read(stream(START, over(), STOP) + b"data: [DONE]\n\n")[1].fault is None
    assert read(stream(START, over()) + b"data: [DONE]\n\n")[1].finished


def test_an_event_above_the_bound_is_a_fault():
    assert read(event(type="ping", x="y" * 5000), event_max_bytes=1000)[1].fault.kind is FaultKind.PROTOCOL
    reader = ANTHROPIC.stream_reader(1000, "b")
    for _ in range(100):
        reader.feed(b"data: " + b"x" * 100)
    assert reader.fault.kind is FaultKind.PROTOCOL


def test_what_waits_for_its_end_is_bounded():
    piece = event(**added(0, type="input_json_delta", partial_json="x" * 50))
    reader = ANTHROPIC.stream_reader(2000, "b")
    reader.feed(stream(START, begun(0, type="server_tool_use", id="s", name="n", input={})))
    for _ in range(1000):
        reader.feed(piece)
    assert reader.fault.kind is FaultKind.PROTOCOL
    reader = ANTHROPIC.stream_reader(10_000, "b")
    for number in range(10_000):
        reader.feed(event(**begun(number, type="text", text="")))
    assert reader.fault.kind is FaultKind.PROTOCOL
    reader = ANTHROPIC.stream_reader(2000, "b")
    reader.feed(stream(START))
    for number in range(100):  # one after the other is no reason
        reader.feed(
            stream(
                begun(number, type="server_tool_use", id="s", name="n", input={}),
                added(number, type="input_json_delta", partial_json="{}"),
                ended(number),
            )
        )
    assert reader.fault is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6,
)  # fmt: skip
events = st.fixed_dictionaries({"type": st.sampled_from([
    "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop", "ping", "error",
])}, optional={
    "index": st.integers(0, 3) | json_values, "message": json_values | st.fixed_dictionaries({"id": st.sampled_from(["a", "b"])}, optional={
        "content": json_values, "usage": json_values}),
    "content_block": json_values | st.fixed_dictionaries({"type": st.sampled_from([
        "text", "thinking", "tool_use", "redacted_thinking", "odd", "image"])}, optional={
        "text": json_values, "thinking": json_values, "input": json_values, "id": json_values, "data": json_values, "source": json_values}),
    "delta": json_values | st.fixed_dictionaries({"type": st.sampled_from([
        "text_delta", "thinking_delta", "input_json_delta", "signature_delta", "citations_delta", "odd_delta"])}, optional={
        "text": json_values, "thinking": json_values, "partial_json": json_values, "signature": json_values, "citation": json_values,
        "stop_reason": json_values, "stop_details": json_values, "content": json_values}),
    "usage": json_values, "error": json_values,
})  # fmt: skip


@given(st.lists(events, max_size=8), st.data())
def test_any_events_are_read_without_raising_and_alike_in_any_pieces(said, data):
    raw = b"".join(b"event: %b\ndata: %b\n\n" % (one["type"].encode(), json.dumps(one).encode()) for one in said)
    deltas, reader = read(raw)
    ends = [place + 2 for place in range(len(raw)) if raw.startswith(b"\n\n", place)]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6) | st.just(ends)))
    again, other = read(raw, cuts=cuts)
    assert repr(again) == repr(deltas)
    assert (other.finished, repr(other.fault)) == (reader.finished, repr(reader.fault))
    started = {one.index for one in deltas if isinstance(one, PartStarted)}
    assert started == set(range(len(started)))
    if reader.finished:
        assert started == {one.index for one in deltas if isinstance(one, PartEnded)}
        fold(deltas)


@given(
    st.lists(st.binary(max_size=40) | st.sampled_from([b"data: ", b"\n\n", b"event: error\n", b"{", b"}", FULL[:300], b"\r"]), max_size=20)
)
def test_any_bytes_are_read_without_raising(pieces):
    reader = ANTHROPIC.stream_reader(500, "b")
    for piece in pieces:
        reader.feed(piece)
    reader.end()
    assert reader.finished or reader.fault is not None
