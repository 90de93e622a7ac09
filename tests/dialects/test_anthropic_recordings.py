"""What Anthropic really answered, whole and streamed: understood to the last block, and itself again after it was written for a caller."""

import json

import pytest
from anthropic_values import REPLY, WIRE, event

from appliance.core.assembly import fold
from appliance.core.fault import FaultKind
from appliance.core.message import Foreign, Reasoning, Refusal, Text, ToolCall
from appliance.dialects.anthropic import ANTHROPIC

FOLDER = WIRE / "anthropic"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no recordings of Anthropic in {WIRE}")

WHOLE = sorted(FOLDER.glob("*.json"))
STREAMS = sorted(FOLDER.glob("*.chunks.txt"))
SPLICED = "spliced-message-start.chunks.txt"  # two generations in one stream: a fault, see test_anthropic_stream_reader


def events_in(path):
    """The first answer in a recording: some hold those of a whole loop of tool use, one after the other."""
    events = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return events[: next(place for place, one in enumerate(events) if one["type"] == "message_stop") + 1]


def message_of(events):
    """The Message that the stream builds up, by the book."""
    message, inputs = {}, {}
    for one in events:
        kind = one["type"]
        if kind == "message_start":
            message = json.loads(json.dumps(one["message"]))
        elif kind == "content_block_start":
            message["content"].append(dict(one["content_block"]))
        elif kind == "content_block_delta":
            block, delta = message["content"][one["index"]], one["delta"]
            if delta["type"] == "input_json_delta":
                inputs[one["index"]] = inputs.get(one["index"], "") + delta["partial_json"]
            elif delta["type"] == "citations_delta":
                block["citations"] = [*(block.get("citations") or []), delta["citation"]]
            else:
                for name, value in delta.items():
                    if name != "type":
                        block[name] = (block.get(name) or "") + value
        elif kind == "message_delta":
            message |= one["delta"]
            message["usage"] |= one["usage"]
    for place, text in inputs.items():
        message["content"][place]["input"] = json.loads(text or "{}")
    return message


def said(part):
    """A part, with arguments as values: their spacing is the model's own only in a stream."""
    if isinstance(part, ToolCall):
        return ("call", part.id, part.name, json.loads(part.arguments))
    return (part.raw,) if isinstance(part, Foreign) else part


def expected(block):
    kind = block["type"]
    if kind == "text":
        return ("text", block["text"], len(block.get("citations") or []))
    if kind == "thinking":
        return ("thinking", block["thinking"], block["signature"])
    if kind == "tool_use":
        return ("call", block["id"], block["name"], block["input"])
    return ("foreign", block)


def found(part):
    if isinstance(part, Text):
        return ("text", part.text, len(part.citations))
    if isinstance(part, Reasoning):
        return ("thinking", part.text, part.seal.value)
    return said(part) if isinstance(part, ToolCall) else ("foreign", dict(part.raw))


def check(answer, message):
    parts = [part for part in answer.candidates[0].parts if not isinstance(part, Refusal)]
    assert [found(part) for part in parts] == [expected(block) for block in message["content"]]
    refusals = [part.text for part in answer.candidates[0].parts if isinstance(part, Refusal)]
    details = message.get("stop_details") or {}
    assert refusals == ([details["explanation"]] if details.get("explanation") else [])
    usage, more = message["usage"], [one for one in message["usage"].get("iterations") or [] if one["type"] == "compaction"]
    counted = [usage, *more]
    assert answer.usage.output_tokens == sum(one["output_tokens"] for one in counted)
    assert answer.usage.input_tokens == sum(
        one.get(name) or 0 for one in counted for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    assert (answer.id, answer.model) == (message["id"], message["model"])
    again = json.loads(ANTHROPIC.write_answer(answer, REPLY))
    # One recording ends its turn with calls in it, which its own code had run; here a call always ends as tool use.
    assert again["stop_reason"] == (
        "tool_use" if any(block["type"] == "tool_use" for block in message["content"]) else message["stop_reason"]
    )
    assert again["content"] == [
        {name: value for name, value in block.items() if name not in left_out(block)} for block in message["content"]
    ]


def left_out(block):
    """Members that say nothing, or only whom the API itself was called by."""
    return {"citations"} if block["type"] == "text" and not block.get("citations") else {"caller"} if block["type"] == "tool_use" else set()


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.stem)
def test_a_whole_answer(path):
    check(ANTHROPIC.read_answer(path.read_bytes()), json.loads(path.read_bytes()))


def read_stream(data, step):
    reader = ANTHROPIC.stream_reader(10_000_000, "b")
    deltas = []
    for start in range(0, len(data), step):
        deltas += reader.feed(data[start : start + step])
    return deltas + reader.end(), reader


@pytest.mark.parametrize("path", [path for path in STREAMS if path.name != SPLICED], ids=lambda path: path.name.removesuffix(".chunks.txt"))
def test_a_streamed_answer(path):
    events = events_in(path)
    data = b"".join(event(**one) for one in events)
    deltas, reader = read_stream(data, len(data))
    assert (reader.finished, reader.fault) == (True, None)
    answer = fold(deltas)
    check(answer, message_of(events))
    assert read_stream(data, 1)[0] == deltas
    writer = ANTHROPIC.stream_writer(REPLY)
    written = writer.write(deltas) + writer.end()
    again, reader = read_stream(written, len(written))
    assert (reader.finished, reader.fault) == (True, None)
    folded = fold(again)
    assert (folded.candidates, folded.usage) == (answer.candidates, answer.usage)


@pytest.mark.skipif(not (FOLDER / SPLICED).is_file(), reason="no recording of two messages in one stream")
def test_two_generations_in_one_stream_are_a_fault():
    data = b"".join(event(**one) for one in events_in(FOLDER / SPLICED))
    deltas, reader = read_stream(data, len(data))
    assert reader.fault.kind is FaultKind.STREAM_CUT
    assert "toolu_second" not in repr(deltas)
