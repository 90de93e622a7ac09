"""Every recorded Responses answer is read for what it says, whole and as a stream, and written again as one that OpenAI's SDK takes."""

import json
from typing import Any

import pytest
from responses_wire import (
    WIRE,
    as_stream,
    read_stream,
    recorded_streams,
    reply_to,
    sdk_response,
    validated,
    validated_answer,
    whole_recordings,
    write_stream,
)

from appliance.core.assembly import fold, unfold
from appliance.core.completion import Completion
from appliance.core.fault import FaultKind
from appliance.core.message import Foreign, Reasoning, Text, ToolCall, text_of
from appliance.core.usage import Usage
from appliance.dialects.responses import RESPONSES

pytestmark = pytest.mark.skipif(not WIRE.is_dir(), reason=f"the recordings are not at {WIRE}")

STREAMS = recorded_streams() if WIRE.is_dir() else []
WHOLE = whole_recordings() if WIRE.is_dir() else []
FAULTY = ("responses-openai-error",)
OWN_SHAPES = ("responses-xai-",)  # xAI's tool items have members of their own, which pass as they are

good_streams = pytest.mark.parametrize(
    "events", [pytest.param(events, id=name) for name, events in STREAMS if not any(one in name for one in FAULTY)]
)


def said(response: dict[str, Any]) -> tuple[str, list[tuple[str, str]], str]:
    """Words, calls and thoughts of a recorded response object, read without the codec."""
    items = response["output"]
    words = "".join(piece["text"] for item in items if item["type"] == "message" for piece in item["content"])
    called = [item for item in items if item["type"] in ("function_call", "custom_tool_call")]
    calls = [(item["name"], item.get("arguments", item.get("input"))) for item in called]
    thoughts = [piece["text"] for item in items if item["type"] == "reasoning" for piece in [*item.get("content", []), *item["summary"]]]
    return words, calls, "".join(thoughts)


def read(answer: Completion) -> tuple[str, list[tuple[str, str]], str]:
    parts = answer.candidates[0].parts
    calls = [(part.name, part.arguments) for part in parts if isinstance(part, ToolCall)]
    return text_of(parts), calls, "".join(part.text for part in parts if isinstance(part, Reasoning))


def billed(response: dict[str, Any]) -> Usage:
    usage = response["usage"]
    given, made = usage["input_tokens_details"], usage["output_tokens_details"]
    return Usage(usage["input_tokens"], usage["output_tokens"], given["cached_tokens"], 0, made["reasoning_tokens"])


def test_there_are_recordings_of_each_vendor():
    vendors = {name.split("/")[0] for name, _ in STREAMS}
    assert {"openai", "azure", "xai", "open-responses"} <= vendors
    assert len(STREAMS) > 25
    assert len(WHOLE) > 25


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_whole_answer_is_read_for_what_it_says(path):
    body = path.read_bytes()
    recorded = json.loads(body)
    answer = RESPONSES.read_answer(body)
    assert isinstance(answer, Completion)
    assert (answer.id, answer.model, answer.created) == (recorded["id"], recorded["model"], recorded["created_at"])
    assert read(answer) == said(recorded)
    assert answer.usage == billed(recorded)
    assert answer.candidates[0].finish == ("tool_use" if said(recorded)[1] else "stop")


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_whole_answer_written_again_is_itself_and_valid(path):
    answer = RESPONSES.read_answer(path.read_bytes())
    assert isinstance(answer, Completion)
    body = RESPONSES.write_answer(answer, reply_to())
    if not path.name.startswith(OWN_SHAPES):
        validated_answer(body)
    again = RESPONSES.read_answer(body)
    assert isinstance(again, Completion)
    assert read(again) == read(answer)
    assert [type(part) for part in again.candidates[0].parts] == [type(part) for part in answer.candidates[0].parts]
    assert (again.usage, again.created, again.candidates[0].finish) == (answer.usage, answer.created, answer.candidates[0].finish)


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_whole_answer_said_as_a_stream_is_the_same_response(path):
    answer = RESPONSES.read_answer(path.read_bytes())
    assert isinstance(answer, Completion)
    stream = write_stream(unfold(answer), reply_to())
    events = [one for one in stream.split(b"\n\n") if b'"type":"response.completed"' in one]
    last = json.loads(events[0].partition(b"data: ")[2])["response"]
    assert last == json.loads(RESPONSES.write_answer(answer, reply_to()))
    back = fold(read_stream(stream)[0])
    assert (read(back), back.usage) == (read(answer), answer.usage)


@good_streams
def test_a_stream_is_read_for_what_its_last_event_says(events):
    deltas, reader = read_stream(as_stream(events))
    assert (reader.fault, reader.finished) == (None, True)
    answer, last = fold(deltas), events[-1]["response"]
    said_in_items = {"output": [one["item"] for one in events if one["type"] == "response.output_item.done"]}
    assert read(answer) == said(said_in_items)
    assert answer.usage == billed(last)
    assert answer.candidates[0].finish == ("tool_use" if read(answer)[1] else "stop")
    assert answer.id == events[0]["response"]["id"]


@good_streams
def test_a_stream_gives_the_same_deltas_byte_by_byte(events):
    data = as_stream(events)
    if len(data) > 60_000:
        data = as_stream([one for one in events if not str(one["type"]).endswith(".delta")] or events)
    assert read_stream(data, 1)[0] == read_stream(data)[0]
    assert read_stream(data, 97)[0] == read_stream(data)[0]


@good_streams
def test_a_stream_written_again_is_valid_and_itself(events, request):
    deltas, _ = read_stream(as_stream(events))
    stream = write_stream(deltas, reply_to())
    assert stream == write_stream(deltas, reply_to(), at_once=True)
    if not any(one in request.node.name for one in OWN_SHAPES):
        validated(stream)
    answer, again = fold(deltas), fold(read_stream(stream)[0])
    assert (read(again), again.usage) == (read(answer), answer.usage)
    seals = [part.seal for part in answer.candidates[0].parts if isinstance(part, Reasoning)]
    assert [part.seal for part in again.candidates[0].parts if isinstance(part, Reasoning)] == seals
    final = sdk_response(stream)
    assert final.output_text == text_of(answer.candidates[0].parts)
    assert final.usage is not None
    assert final.usage.total_tokens == (answer.usage.total_tokens if answer.usage else 0)


@good_streams
def test_a_stream_cut_anywhere_says_so(events):
    data = as_stream(events)
    cut = data.rindex(b"event: response.completed")
    for place in (cut, cut // 2, cut // 7, 1):
        deltas, reader = read_stream(data[:place])
        assert reader.fault is not None
        assert reader.fault.kind in (FaultKind.STREAM_CUT, FaultKind.PROTOCOL)
        assert not reader.finished
        RESPONSES.stream_writer(reply_to()).write(deltas)


def test_a_failed_stream_is_the_fault_that_it_names():
    events = next(events for name, events in STREAMS if FAULTY[0] in name)
    _, reader = read_stream(as_stream(events))
    assert reader.fault is not None
    assert reader.fault.kind is FaultKind.QUOTA
    only_failed = [one for one in events if one["type"] != "error"]
    _, reader = read_stream(as_stream(only_failed))
    assert reader.fault is not None
    assert reader.fault.kind is FaultKind.QUOTA


def test_built_in_tools_travel_as_they_are():
    path = WIRE / "openai" / "responses-openai-web-search-tool.1.json"
    answer = RESPONSES.read_answer(path.read_bytes())
    assert isinstance(answer, Completion)
    foreign = [part for part in answer.candidates[0].parts if isinstance(part, Foreign)]
    assert {part.kind for part in foreign} == {"web_search_call"}
    body = validated_answer(RESPONSES.write_answer(answer, reply_to()))
    assert [item for item in body["output"] if item["type"] == "web_search_call"] == [dict(part.raw) for part in foreign]
    words = next(part for part in answer.candidates[0].parts if isinstance(part, Text))
    assert all(citation.url.startswith("https://") and citation.end > citation.start >= 0 for citation in words.citations)
