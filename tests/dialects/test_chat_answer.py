"""Whole chat completions: every vendor's recordings say what they hold, and what is written is what OpenAI's own SDK declares."""

import json

import attrs
import pytest
from chat_wire import ERROR as ERROR_NAME
from chat_wire import EVENT_MAX_BYTES, WIRE, events, params, read, reply, strict_completion, texts
from core.canonical_values import candidates, usages
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.assembly import fold, unfold
from appliance.core.completion import Candidate, Completion
from appliance.core.conversation import Tool
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Citation, Media, Reasoning, Refusal, Text, ToolCall
from appliance.core.seal import Seal
from appliance.core.usage import Usage
from appliance.dialects.chat import CHAT


def body(message, finish="stop", **more):
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish, **more.pop("choice", {})}
    named = {"id": "c1", "object": "chat.completion", "created": 5, "model": "m", "choices": [choice]}
    return json.dumps({**named, **more}).encode()


def only(message, finish="stop", **more):
    answer = CHAT.read_answer(body(message, finish, **more))
    assert not isinstance(answer, Fault)
    return answer.candidates[0]


@pytest.mark.parametrize("path", params(streamed=False))
def test_a_recorded_answer_says_what_it_holds(path):
    raw = json.loads(path.read_bytes())
    message, usage = raw["choices"][0]["message"], raw["usage"]
    answer = CHAT.read_answer(path.read_bytes())
    assert not isinstance(answer, Fault)
    content = message.get("content")
    if isinstance(content, str):
        assert "".join(texts(answer, Text)) == content
    thoughts = message.get("reasoning_content") or message.get("reasoning")
    if thoughts:
        assert texts(answer, Reasoning) == [thoughts]
    made = [part for part in answer.candidates[0].parts if isinstance(part, ToolCall)]
    assert [(one.id, one.name, one.arguments) for one in made] == [
        (one["id"], one["function"]["name"], one["function"]["arguments"]) for one in message.get("tool_calls") or []
    ]
    reason = raw["choices"][0]["finish_reason"]
    assert answer.candidates[0].finish == ("tool_use" if made else reason)
    assert (answer.id, answer.model, answer.created) == (raw["id"], raw["model"], raw["created"])
    assert answer.usage.input_tokens == usage["prompt_tokens"]
    assert answer.usage.total_tokens == usage["total_tokens"]


@pytest.mark.parametrize("path", params(streamed=False))
def test_a_recorded_answer_written_whole_or_as_a_stream_is_itself(path):
    answer = attrs.evolve(CHAT.read_answer(path.read_bytes()), service_tier="default")  # Groq's own tiers are no words of OpenAI's
    told = attrs.evolve(reply(wants_usage=True), model=answer.model)
    whole = CHAT.write_answer(answer, told)
    strict_completion(whole)
    assert CHAT.read_answer(whole) == answer
    writer = CHAT.stream_writer(told)
    deltas, reader = read(writer.write(unfold(answer)) + writer.end(), 11)
    assert reader.finished
    assert fold(deltas) == answer


def test_mistrals_recorded_thoughts_are_thoughts():
    path = WIRE / "mistral" / "mistral-reasoning.json"
    if not path.exists():
        pytest.skip(f"no recordings at {WIRE}")
    parts = CHAT.read_answer(path.read_bytes()).candidates[0].parts
    assert [type(part) for part in parts] == [Reasoning, Text]


def test_a_recorded_error_is_the_fault_that_it_is():
    path = WIRE / "openai" / ERROR_NAME
    if not path.exists():
        pytest.skip(f"no recordings at {WIRE}")
    fault = CHAT.classify(400, [], path.read_bytes(), backend="b1", now=0.0)
    assert (fault.kind, fault.param) == (FaultKind.INVALID_REQUEST, "max_tokens")
    answer = CHAT.read_answer(path.read_bytes())
    assert isinstance(answer, Fault)
    assert answer.kind is FaultKind.INVALID_REQUEST


@pytest.mark.parametrize("raw", [b"", b"[]", b"<html>", b"{}", b'{"choices":[]}', b'{"choices":[1]}', b"[" * 5000, b'{"a":' * 5000])
def test_what_is_no_answer_is_a_fault_of_the_upstream(raw):
    answer = CHAT.read_answer(raw)
    assert isinstance(answer, Fault)
    assert answer.kind is FaultKind.PROTOCOL


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("stop", "stop"), ("eos", "stop"), ("STOP", "stop"), ("length", "length"), ("model_length", "context_length"),
     ("content_filter", "content_filter"), ("sensitive", "content_filter"), ("insufficient_system_resource", "other"), (None, ""),
     ("tool_calls", "stop"), ("stop_sequence", "stop_sequence"), ("refusal", "refusal")],
)  # fmt: skip
def test_every_vendors_finish_reason_has_its_meaning(reason, finish):
    assert only({"content": "Hi"}, reason).finish == finish


@pytest.mark.parametrize("reason", ["stop", "tool_calls", "function_call", "length", None, "eos"])
def test_a_call_always_ends_as_tool_use(reason):
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert only({"content": None, "tool_calls": [call]}, reason).finish == "tool_use"


def test_calls_without_ids_or_types_are_calls():
    calls = [{"function": {"name": "f", "arguments": {"x": 1}}}, {"id": "", "function": {"name": "g", "arguments": None}}]
    first, second = only({"tool_calls": calls}).parts
    assert (first.name, first.arguments, second.name, second.arguments) == ("f", '{"x":1}', "g", "")
    assert first.id
    assert first.id != second.id
    assert only({"tool_calls": calls}).parts == (first, second)
    assert [part.name for part in only({"function_call": {"name": "f", "arguments": "{}"}}).parts] == ["f"]


def test_custom_calls_and_signed_calls_are_read():
    custom = {"id": "a", "type": "custom", "custom": {"name": "patch", "input": "x"}}
    signed = {"id": "b", "function": {"name": "f", "arguments": "{}"}, "extra_content": {"google": {"thought_signature": "S"}}}
    assert only({"tool_calls": [custom, signed]}).parts == (
        ToolCall("a", "patch", "x", custom=True),
        ToolCall("b", "f", "{}", seal=Seal("openai_chat", '{"google":{"thought_signature":"S"}}')),
    )


def test_details_say_thoughts_once_and_keep_what_seals_them():
    details = [
        {"type": "reasoning.summary", "summary": "Sum", "format": "openai-responses-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "BLOB", "format": "openai-responses-v1", "index": 0},
        {"type": "reasoning.text", "text": "Hm", "signature": "SIG", "format": "anthropic-claude-v1", "index": 1},
    ]
    parts = only({"content": "So", "reasoning": "SumHm", "reasoning_details": details}).parts
    assert parts[:2] == (Reasoning("Sum", summary=True), Reasoning(seal=Seal("openai", "BLOB"), hidden=True))
    assert parts[2].text == "Hm"
    assert json.loads(parts[2].seal.value) == {"type": "reasoning.text", "signature": "SIG", "format": "anthropic-claude-v1"}


def test_pictures_sound_citations_and_refusals_are_read():
    note = {"type": "url_citation", "url_citation": {"url": "https://a", "title": "A", "start_index": 0, "end_index": 2, "content": "w"}}
    message = {
        "content": "Hi",
        "refusal": "No.",
        "annotations": [note],
        "images": [{"type": "image_url", "image_url": {"url": "https://i"}}],
        "audio": {"id": "x", "data": "aGk=", "transcript": "hi", "expires_at": 1},
    }
    assert only(message).parts == (
        Text("Hi", (Citation("A", "https://a", "w", 0, 2, note),)), Media("image", url="https://i"), Text("hi"),
        Media("audio", data="aGk="), Refusal("No."),
    )  # fmt: skip
    linked = only({"content": "Hi"}, citations=["https://a", "https://b"]).parts[0]
    assert [one.url for one in linked.citations] == ["https://a", "https://b"]


def test_usage_is_read_in_every_spelling():
    for usage, expected in (
        ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 4}, Usage(10, 5, 4)),
        ({"prompt_tokens": 12, "completion_tokens": 1, "total_tokens": 303, "completion_tokens_details": {"reasoning_tokens": 290}},
         Usage(12, 291, reasoning_tokens=290)),
    ):  # fmt: skip
        assert CHAT.read_answer(body({"content": "Hi"}, usage=usage)).usage == expected
    assert CHAT.read_answer(body({"content": "Hi"}, x_groq={"usage": {"prompt_tokens": 3, "completion_tokens": 1}})).usage == Usage(3, 1)


@given(usages)
def test_usage_survives_a_whole_answer(usage):
    answer = Completion("c1", "shown-model", (Candidate((Text("Hi"),), "stop"),), usage, 5)
    assert CHAT.read_answer(CHAT.write_answer(answer, reply())) == answer


@given(st.lists(candidates, min_size=1, max_size=3), usages)
def test_every_answer_of_any_language_is_one_that_openais_sdk_declares(found, usage):
    whole = strict_completion(CHAT.write_answer(Completion("c1", "m", tuple(found), usage, 5, "fp", "default"), reply()))
    assert [choice.index for choice in whole.choices] == list(range(len(found)))
    for choice, candidate in zip(whole.choices, found, strict=True):
        calls = [part for part in candidate.parts if isinstance(part, ToolCall)]
        assert [call.id for call in choice.message.tool_calls or []] == [call.id for call in calls]
        assert all(json.loads(call.function.arguments) is not None for call in choice.message.tool_calls or [])
        assert (choice.finish_reason == "tool_calls") == (bool(calls) and candidate.finish not in ("length", "content_filter"))


def test_a_caller_of_functions_gets_one_and_a_free_text_tool_its_text():
    answer = Completion("c1", "m", (Candidate((ToolCall("a", "patch", '{"input":"x"}'), ToolCall("b", "g")), "tool_use"),))
    legacy = strict_completion(CHAT.write_answer(answer, reply(single_call=True))).choices[0]
    assert legacy.finish_reason == "function_call"
    assert legacy.message.function_call.name == "patch"
    assert legacy.message.tool_calls is None
    custom = strict_completion(CHAT.write_answer(answer, reply(tools=(Tool("patch", custom=True),)))).choices[0].message.tool_calls
    assert (custom[0].type, custom[0].custom.input) == ("custom", "x")
    assert (custom[1].type, custom[1].function.arguments) == ("function", "{}")


def test_sealed_thoughts_come_back_in_the_next_turn():
    parts = Reasoning("Hm", seal=Seal("anthropic", "SIG")), Reasoning("So", summary=True), Text("Hi", seal=Seal("gemini", "S"))
    message = json.loads(CHAT.write_answer(Completion("c1", "m", (Candidate(parts, "stop"),)), reply()))["choices"][0]["message"]
    assert message["reasoning_content"] == "Hm\n\nSo"
    assert "SIG" not in json.dumps(message)  # wrapped, so that no other vendor takes it for its own
    asked = CHAT.read_request({"model": "m", "messages": [message]})
    assert asked.messages[0].parts == parts


def test_an_error_for_the_caller_has_openais_envelope():
    said = json.loads(CHAT.error(Fault(FaultKind.BAD_REQUEST, "n must be at least 1", param="n"), "r1"))
    assert said["error"] == {"message": "n must be at least 1", "type": "invalid_request_error", "param": "n", "code": "bad_request"}


scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=4) | st.just("\ud83d")
members = st.sampled_from([
    "content", "reasoning", "reasoning_details", "tool_calls", "function_call", "index", "id", "function", "name", "arguments", "custom",
    "input", "type", "text", "thinking", "summary", "signature", "data", "annotations", "url_citation", "images", "image_url", "url",
    "audio", "transcript", "extra_content", "refusal", "logprobs", "top_logprobs", "bytes", "token", "logprob", "start_index", "end_index",
])  # fmt: skip
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(members, inner, max_size=4), max_leaves=12)


@settings(max_examples=300)
@given(st.dictionaries(members, values, max_size=6), st.dictionaries(st.sampled_from(["usage", "id", "model", "created"]), values))
def test_answers_of_any_shape_never_raise_and_can_be_written(message, more):
    answer = CHAT.read_answer(body(message, **more))
    if not isinstance(answer, Fault):
        strict_completion(CHAT.write_answer(answer, reply()))
        writer = CHAT.stream_writer(reply())
        stream = writer.write(unfold(answer)) + writer.end()
        assert CHAT.stream_reader(EVENT_MAX_BYTES, "b1").feed(stream + events()) is not None


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_faults(raw):
    assert isinstance(CHAT.read_answer(raw), Fault)
