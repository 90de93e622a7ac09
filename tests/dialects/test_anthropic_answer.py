"""Whole answers of Anthropic's API: what a backend said is understood, and what a caller gets is what the API's own types have."""

import json

import attrs
import pytest
from anthropic_values import PLAIN, REPLY, events_of

from appliance.core.assembly import unfold
from appliance.core.completion import Candidate, Completion
from appliance.core.conversation import Sampling
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Citation, Foreign, Media, Reasoning, Refusal, Text, ToolCall
from appliance.core.seal import Seal
from appliance.core.usage import Usage
from appliance.dialects.anthropic import ANTHROPIC
from appliance.dialects.anthropic_usage import read_usage, write_usage


def read(**fields) -> Completion:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [], "stop_reason": "end_turn", **fields}
    found = ANTHROPIC.read_answer(json.dumps(message).encode())
    assert isinstance(found, Completion), found
    return found


def written(*parts, finish="stop", usage=None, **fields):
    answer = Completion("a1", "m", (Candidate(parts, finish),), usage, **fields)
    return json.loads(ANTHROPIC.write_answer(answer, REPLY))


def test_an_answer_with_everything_in_it():
    cited = {"type": "web_search_result_location", "url": "u", "title": "t", "cited_text": "c", "encrypted_index": "e"}
    search = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}
    found = read(
        content=[
            {"type": "thinking", "thinking": "hm", "signature": "sig"},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": "Hi", "citations": [cited]},
            search,
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
        ],
        stop_reason="tool_use",
        usage={"input_tokens": 5, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 2, "output_tokens": 9,
               "output_tokens_details": {"thinking_tokens": 4}, "service_tier": "priority"},
    )  # fmt: skip
    assert found == Completion("msg_1", "claude", (Candidate((
        Reasoning("hm", seal=Seal("anthropic", "sig")), Reasoning(seal=Seal("anthropic", "x"), hidden=True),
        Text("Hi", (Citation("t", "u", "c", raw=cited),)), Foreign("anthropic", "web_search_tool_result", search),
        ToolCall("t1", "f", '{"a":1}'),
    ), "tool_use"),), Usage(10, 9, 3, 2, 4), service_tier="priority")  # fmt: skip


REASONS = [
    ("end_turn", "stop", "end_turn"),
    ("max_tokens", "length", "max_tokens"),
    ("stop_sequence", "stop_sequence", "stop_sequence"),
    ("pause_turn", "pause", "pause_turn"),
    ("refusal", "refusal", "refusal"),
    ("model_context_window_exceeded", "context_length", "model_context_window_exceeded"),
    ("compaction", "pause", "pause_turn"),
    ("a_new_one", "other", "end_turn"),
    (None, "", "end_turn"),
]


@pytest.mark.parametrize(("said", "meant", "said_again"), REASONS)
def test_why_it_ended(said, meant, said_again):
    found = read(stop_reason=said, stop_sequence="END" if said == "stop_sequence" else None, content=[{"type": "text", "text": "x"}])
    assert found.candidates[0].finish == meant
    again = json.loads(ANTHROPIC.write_answer(found, REPLY))
    assert again["stop_reason"] == said_again
    assert again["stop_sequence"] == ("END" if said == "stop_sequence" else None)


@pytest.mark.parametrize(
    ("said", "meant"), [("end_turn", "tool_use"), ("tool_use", "tool_use"), (None, "tool_use"), ("max_tokens", "length")]
)
def test_an_answer_with_a_call_ends_as_tool_use_unless_it_was_cut(said, meant):
    found = read(stop_reason=said, content=[{"type": "tool_use", "id": "t", "name": "f", "input": {}}])
    assert found.candidates[0].finish == meant
    assert written(ToolCall("t", "f"), finish="stop")["stop_reason"] == "tool_use"
    assert written(ToolCall("t", "f"), finish="length")["stop_reason"] == "max_tokens"


def test_every_canonical_end_has_its_reason():
    said = {finish: written(finish=finish)["stop_reason"] for finish in ("content_filter", "malformed_tool_call", "other", "")}
    assert said == {"content_filter": "refusal", "malformed_tool_call": "end_turn", "other": "end_turn", "": "end_turn"}


def test_a_refusal_stands_beside_the_content():
    details = {"type": "refusal", "category": "cyber", "explanation": "Blocked."}
    found = read(stop_reason="refusal", stop_details=details)
    assert found.candidates == (Candidate((Refusal("Blocked."),), "refusal"),)
    again = written(Text("I "), Refusal("cannot."), finish="stop")
    assert (again["stop_reason"], again["content"]) == ("refusal", [{"type": "text", "text": "I "}])
    assert again["stop_details"] == {"type": "refusal", "category": None, "explanation": "cannot."}
    assert "stop_details" not in written(Text("x"))


def test_a_written_answer_has_the_members_of_a_message():
    usage = Usage(input_tokens=100, output_tokens=20, cached_input_tokens=60, cache_write_tokens=10, reasoning_tokens=5)
    assert written(Text("Hi"), usage=usage, service_tier="standard") == {
        "id": "a1", "type": "message", "role": "assistant", "model": "claude", "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": 30, "cache_creation_input_tokens": 10, "cache_read_input_tokens": 60, "output_tokens": 20,
                  "output_tokens_details": {"thinking_tokens": 5}, "service_tier": "standard"},
    }  # fmt: skip
    nothing = written(Text(""), Reasoning(), Foreign("openai", "x", {}), service_tier="flex")
    assert (nothing["content"], nothing["usage"]) == ([], {"input_tokens": 0, "output_tokens": 0})


def test_parts_that_the_api_has_no_block_for():
    content = written(
        Media("image", "image/png", "aGk="), ToolCall("", "f", "not json"), ToolCall("c", "p", "free", "ns", custom=True),
        Text("x", (Citation("t", "u", "c"), Citation("no address"))), Reasoning(seal=Seal("openai", "z"), hidden=True), Reasoning("hm"),
    )["content"]  # fmt: skip
    assert content[0] == {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    assert content[1]["id"]
    assert content[1]["input"] == {"INVALID_JSON": "not json"}
    assert content[2] == {"type": "tool_use", "id": "c", "name": "ns__p", "input": {"input": "free"}}
    assert [one["url"] for one in content[3]["citations"]] == ["u"]
    assert content[4]["data"].startswith("gw1.openai.")
    assert content[5] == {"type": "thinking", "thinking": "hm", "signature": "gw1.none."}


def test_half_a_surrogate_pair_and_deep_values_are_written():
    raw = {"type": "odd"}
    for _ in range(400):
        raw = {"type": "odd", "inner": raw}
    again = written(
        Text("\ud83d"), Text("\ud83d\ude00"), Foreign("anthropic", "odd", raw), Foreign("anthropic", "odd", {"type": "odd", "n": 2**70})
    )
    assert [one.get("text") for one in again["content"][:2]] == ["\ufffd", "\U0001f600"]
    assert again["content"][3]["n"] == float(2**70)


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b"{}", b'{"content": "x"}', b"\xff", b"[" * 100_000])
def test_what_is_no_answer_is_a_protocol_fault(body):
    fault = ANTHROPIC.read_answer(body)
    assert isinstance(fault, Fault)
    assert fault.kind is FaultKind.PROTOCOL


ERRORS = [
    ("overloaded_error", "Overloaded", FaultKind.OVERLOADED),
    ("rate_limit_error", "slow", FaultKind.UPSTREAM_RATE_LIMITED),
    ("authentication_error", "invalid x-api-key", FaultKind.AUTHENTICATION),
    ("billing_error", "pay", FaultKind.QUOTA),
    ("api_error", "Internal server error", FaultKind.SERVER_ERROR),
    ("not_found_error", "model: x", FaultKind.UPSTREAM_NOT_FOUND),
    ("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum", FaultKind.CONTEXT_LENGTH),
    ("invalid_request_error", "input length and `max_tokens` exceed context limit: 1 + 2 > 2", FaultKind.CONTEXT_LENGTH),
    ("invalid_request_error", "messages: nope", FaultKind.INVALID_REQUEST),
]


@pytest.mark.parametrize(("kind", "message", "fault"), ERRORS)
def test_an_error_in_place_of_an_answer_is_the_fault_that_it_names(kind, message, fault):
    error = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
    found = ANTHROPIC.read_answer(json.dumps(error).encode())
    assert isinstance(found, Fault)
    assert found.kind is fault


def test_odd_blocks_are_left_out_or_kept_whole():
    found = read(content=[1, {}, {"type": 5}, {"type": "text"}, {"type": "tool_use", "id": 5, "input": "text"},
                          {"type": "redacted_thinking"},
                          {"type": "image", "source": {}}], stop_sequence=7, usage=[1])  # fmt: skip
    assert found.candidates[0].parts == (Text(), ToolCall("", "", "text"), Foreign("anthropic", "image", {"type": "image", "source": {}}))
    assert found.usage is None


def test_tokens_of_a_compaction_are_counted():
    usage = {"input_tokens": 612, "output_tokens": 2819, "iterations": [
        {"type": "compaction", "input_tokens": 60385, "output_tokens": 522, "cache_read_input_tokens": 7},
        {"type": "message", "input_tokens": 612, "output_tokens": 2819}]}  # fmt: skip
    assert read_usage(usage) == Usage(612 + 60385 + 7, 2819 + 522, 7)


@pytest.mark.parametrize("usage", [None, [], {}, {"input_tokens": None}, {"input_tokens": "5"}])
def test_no_figures_are_no_usage(usage):
    assert read_usage(usage) is None


def test_odd_figures_are_none():
    assert read_usage({"input_tokens": 5, "output_tokens": -1, "cache_read_input_tokens": 10**15, "iterations": [1, {}]}) == Usage(5)


def test_usage_there_and_back():
    for usage in (Usage(), Usage(10, 5), Usage(10, 5, 3, 2, 4), Usage(10, 5, 10), attrs.evolve(Usage(10, 5), cache_write_tokens=10)):
        assert read_usage(write_usage(usage)) == usage
    assert write_usage(Usage(10, 5, 20, 20, 9)) == {
        "input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 10, "output_tokens": 5,
        "output_tokens_details": {"thinking_tokens": 5},
    }  # fmt: skip


@pytest.mark.parametrize(("stops", "shown"), [(("END",), "END"), (("END", "STOP"), None), ((), None)])
@pytest.mark.parametrize("streamed", [False, True])
def test_the_only_stop_text_is_what_stopped_an_answer_whose_backend_tells_no_more(stops, shown, streamed):
    asked = attrs.evolve(PLAIN, sampling=Sampling(stop=stops))
    answer = Completion("i", "m", (Candidate((Text("x"),), "stop_sequence"),))
    if streamed:
        writer = ANTHROPIC.stream_writer(attrs.evolve(REPLY, conversation=asked))
        told = events_of(writer.write(unfold(answer)) + writer.end())[-2]["delta"]
    else:
        told = json.loads(ANTHROPIC.write_answer(answer, attrs.evolve(REPLY, conversation=asked)))
    assert (told["stop_reason"], told["stop_sequence"]) == ("stop_sequence", shown)
