"""What is written for callers passes the models of Anthropic's own SDK, and adds up in it to the same message."""

import json

import pytest
from anthropic_values import PLAIN, REPLY, SONNET, WIRE, conversations, event, events_of
from hypothesis import given
from test_anthropic_recordings import SPLICED, events_in

from appliance.core.assembly import fold, unfold
from appliance.core.completion import Candidate, Completion
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Citation, Reasoning, Refusal, Text, ToolCall
from appliance.core.seal import Seal
from appliance.core.usage import Usage
from appliance.dialects.anthropic import ANTHROPIC

types = pytest.importorskip("anthropic.types", reason="the anthropic SDK is not installed")
pydantic = pytest.importorskip("pydantic", reason="pydantic is not installed")
shared = pytest.importorskip("anthropic.types.shared", reason="the anthropic SDK is not installed")

EVENTS = pydantic.TypeAdapter(types.RawMessageStreamEvent)
REQUEST = pydantic.TypeAdapter(types.message_create_params.MessageCreateParams)

CITED = {"type": "char_location", "cited_text": "c", "document_index": 0, "document_title": "D", "start_char_index": 0, "end_char_index": 1}
ANSWER = Completion("msg_1", "m", (Candidate((
    Reasoning("hm", seal=Seal("anthropic", "sig")), Reasoning(seal=Seal("openai", "enc"), hidden=True),
    Text("Hi", (Citation("t", "https://u", "c"), Citation(raw=CITED))),
    ToolCall("t1", "f", '{"a":1}'), ToolCall("t2", "g", "", seal=Seal("gemini", "s")),
    Refusal("No."),
), "tool_use"),), Usage(10, 5, 3, 2, 1), service_tier="standard")  # fmt: skip


def accumulated(data):
    """The message that the SDK builds from a stream."""
    messages = pytest.importorskip("anthropic.lib.streaming._messages", reason="another anthropic SDK")
    snapshot, buffers = None, {}
    for one in events_of(data):
        if one["type"] != "ping":
            snapshot = messages.accumulate_event(event=EVENTS.validate_python(one), current_snapshot=snapshot, json_bufs=buffers)
    return snapshot


def streamed(answer):
    writer = ANTHROPIC.stream_writer(REPLY)
    return writer.write(unfold(answer)) + writer.end()


def test_a_whole_answer_is_a_message_of_the_sdk():
    message = types.Message.model_validate_json(ANTHROPIC.write_answer(ANSWER, REPLY), strict=True)
    assert [block.type for block in message.content] == [
        "thinking",
        "redacted_thinking",
        "text",
        "tool_use",
        "redacted_thinking",
        "tool_use",
    ]
    assert (message.stop_reason, message.stop_details.explanation) == ("tool_use", "No.")


def test_a_stream_adds_up_to_the_whole_answer():
    whole = json.loads(ANTHROPIC.write_answer(ANSWER, REPLY))
    found = json.loads(accumulated(streamed(ANSWER)).model_dump_json(exclude_unset=True))
    assert found["content"] == whole["content"]
    assert found["stop_reason"] == whole["stop_reason"]
    assert {name: found["usage"][name] for name in whole["usage"]} == whole["usage"]


@pytest.mark.skipif(not (WIRE / "anthropic").is_dir(), reason=f"no recordings of Anthropic in {WIRE}")
@pytest.mark.parametrize("name", ["anthropic-text", "anthropic-tool-no-args", "anthropic-json-tool.2", "anthropic-clear-thinking.1",
                                  "anthropic-web-search-tool.1", "anthropic-refusal", "duplicate-message-start"])  # fmt: skip
def test_a_recorded_stream_written_again_passes_the_sdk(name):
    events = events_in(WIRE / "anthropic" / f"{name}.chunks.txt")
    assert name not in SPLICED
    reader = ANTHROPIC.stream_reader(10_000_000, "b")
    deltas = reader.feed(b"".join(event(**one) for one in events)) + reader.end()
    writer = ANTHROPIC.stream_writer(REPLY)
    message = accumulated(writer.write(deltas) + writer.end())
    again = ANTHROPIC.read_answer(message.model_dump_json(exclude_unset=True).encode())
    answer = fold(deltas)
    assert again.candidates[0].finish == answer.candidates[0].finish
    assert [type(part) for part in again.candidates[0].parts] == [type(part) for part in answer.candidates[0].parts]
    assert again.usage == answer.usage


@given(conversations())
def test_a_request_is_one_of_the_sdk(conversation):
    body = json.loads(ANTHROPIC.write_request(conversation, SONNET).body)
    for name in ("extra", "context_management"):
        body.pop(name, None)
    for turn in body["messages"]:  # the generator's server tools are nobody's
        if isinstance(turn["content"], list):
            turn["content"] = [block for block in turn["content"] if block["type"] != "server_tool_use"] or "x"
    REQUEST.validate_python(body)


def test_errors_counts_and_models_are_those_of_the_sdk():
    for kind in FaultKind:
        body = json.loads(ANTHROPIC.error(Fault(kind, "x"), "req_1"))
        if body["error"]["type"] != "request_too_large":  # of which the API's documentation tells, not the SDK
            shared.ErrorResponse.model_validate(body)
    types.MessageTokensCount.model_validate_json(ANTHROPIC.write_count_answer(ANTHROPIC.estimate(PLAIN)))
    page = json.loads(ANTHROPIC.models_list(["a"], 0))
    types.ModelInfo.model_validate({"lifecycle": "active", **page["data"][0]})
