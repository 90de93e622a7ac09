"""What Google's API really answered is read for what it says, whole and streamed, in both forms, and is itself again when written."""

import json

import pytest
from gemini_values import REPLY, WIRE, array, read_whole, sse

from appliance.core.assembly import fold, unfold
from appliance.core.completion import Completion
from appliance.core.fault import FaultKind
from appliance.core.message import Reasoning, Text, ToolCall
from appliance.core.usage import Usage
from appliance.dialects.gemini import GEMINI, GEMINI_ARRAY

FOLDER = WIRE / "google"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no recordings: {FOLDER} is not there")

STREAMS = sorted(FOLDER.glob("*.chunks.txt"))
WHOLE = sorted(path for path in FOLDER.glob("*.json") if "429" not in path.name)

STREAMED = {  # text, names and arguments of calls, finish, usage, as the recordings' chunks say
    "google-reasoning-gemini3": ('There are **3** "r"s in strawberry.\n\nSt**r**awbe**rr**y', [], "stop", (9, 325, 302)),
    "google-reasoning": (
        'There are **3** "r"s in strawberry.\n\nHere is the breakdown: st**r**awbe**rr**y.', [], "stop", (9, 285, 256),
    ),
    "google-text": ('There are **3** "r"s in strawberry.\n\nst**r**awbe**rr**y', [], "stop", (9, 208, 185)),
    "google-tool-call": ("", [("weather", {"location": "San Francisco"})], "tool_use", (29, 60, 45)),
    "google-tool-call-gemini3": ("", [("weather", {"location": "San Francisco"})], "tool_use", (29, 819, 804)),
    "google-stream-no-args-tool-call": (
        "", [("read_theme", {}), *(("read_screen", {"id": one}) for one in "ABC")], "tool_use", (249, 241, 183),
    ),
    "google-stream-tool-call-arguments": (
        "", [("getWeather", {"location": "Boston"}), ("getWeather", {"location": "San Francisco"})], "tool_use", (26, 155, 132),
    ),
    "google-stream-tool-call-array-arguments-missing-terminal-function-call": ("", [("writeItems", {"operations": [
        {"action": "add", "description": "Fresh red apple", "itemid": "apple_001", "price": 0.5},
        {"action": "add", "description": "Ripe yellow banana", "itemid": "banana_001", "price": 0.3},
    ]})], "tool_use", (54, 195, 121)),
}  # fmt: skip


def name_of(path):
    return path.name.split(".")[0]


def chunks_of(path):
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def read_stream(data: bytes, step: int = 1_000_000) -> Completion:
    reader = GEMINI.stream_reader(1_000_000, "b")
    deltas = [one for place in range(0, len(data), step) for one in reader.feed(data[place : place + step])]
    answer = fold([*deltas, *reader.end()])
    assert reader.fault is None, reader.fault
    assert reader.finished
    return answer


def said(answer: Completion):
    (candidate,) = answer.candidates
    text = "".join(part.text for part in candidate.parts if isinstance(part, Text))
    calls = [(part.name, json.loads(part.arguments or "{}")) for part in candidate.parts if isinstance(part, ToolCall)]
    usage = answer.usage
    assert usage is not None
    return text, calls, candidate.finish, (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens)


@pytest.mark.parametrize("path", [path for path in STREAMS if name_of(path) in STREAMED], ids=name_of)
def test_a_recorded_stream_says_what_its_chunks_say(path):
    assert said(read_stream(sse(*chunks_of(path)))) == STREAMED[name_of(path)]


def test_arguments_of_many_paths_are_whole():
    """A recipe of ten ingredients and ten steps in some 60 chunks."""
    (path,) = [path for path in STREAMS if "nested" in path.name]
    _, ((name, args),), finish, usage = said(read_stream(sse(*chunks_of(path))))
    assert (name, finish, usage) == ("cookRecipe", "tool_use", (31, 1_710, 1_026))
    recipe = args["recipe"]
    assert (len(recipe["ingredients"]), len(recipe["steps"]), recipe["name"]) == (10, 10, "Lasagna")
    assert recipe["ingredients"][7] == {"amount": "2 cloves", "name": "Garlic"}
    assert recipe["steps"][9] == "Let stand for 15 minutes before serving."


def test_a_recorded_thought_is_reasoning_and_signatures_are_kept():
    (path,) = [path for path in STREAMS if "no-args" in path.name]
    parts = read_stream(sse(*chunks_of(path))).candidates[0].parts
    assert isinstance(parts[0], Reasoning)
    assert parts[0].text.startswith("**Processing User Requests**")
    assert isinstance(parts[1], ToolCall)
    assert parts[1].seal is not None
    assert parts[1].seal.value.startswith("AY89a18a8")
    assert len({part.id for part in parts[1:]}) == 4


@pytest.mark.parametrize("path", STREAMS, ids=name_of)
def test_every_form_and_every_cut_of_a_recorded_stream_gives_the_same(path):
    chunks = chunks_of(path)
    whole = read_stream(sse(*chunks))
    for step in (1, 7, 1_000):
        assert read_stream(sse(*chunks), step) == whole
        assert read_stream(array(*chunks), step) == whole


@pytest.mark.parametrize("path", WHOLE, ids=name_of)
def test_a_recorded_answer_says_what_it_says(path):
    recorded = json.loads(path.read_bytes())
    answer = GEMINI.read_answer(path.read_bytes())
    assert isinstance(answer, Completion)
    (part,) = recorded["candidates"][0]["content"]["parts"]
    (read,) = answer.candidates[0].parts
    assert read.seal.value == part["thoughtSignature"]
    if isinstance(read, ToolCall):
        assert (read.name, json.loads(read.arguments)) == (part["functionCall"]["name"], part["functionCall"]["args"])
    else:
        assert read.text == part["text"]
    counts = recorded["usageMetadata"]
    thoughts = counts["thoughtsTokenCount"]
    assert answer.usage == Usage(counts["promptTokenCount"], counts["candidatesTokenCount"] + thoughts, reasoning_tokens=thoughts)
    assert (answer.id, answer.model) == (recorded["responseId"], recorded["modelVersion"])


@pytest.mark.parametrize("path", WHOLE + STREAMS, ids=lambda path: path.name)
def test_a_recording_written_and_read_is_itself(path):
    answer = GEMINI.read_answer(path.read_bytes()) if path.suffix == ".json" else read_stream(sse(*chunks_of(path)))
    reply = type(REPLY)(REPLY.conversation, answer.model, "x", 0)
    assert GEMINI.read_answer(GEMINI.write_answer(answer, reply)) == answer
    for door in (GEMINI, GEMINI_ARRAY):
        writer = door.stream_writer(reply)
        data = writer.write(unfold(answer)) + writer.end()
        assert fold(read_whole(GEMINI.stream_reader(1_000_000, "b"), data)) == answer


def test_a_recorded_refusal_says_how_long_to_wait():
    body = (FOLDER / "google-429-retry-info.json").read_bytes()
    fault = GEMINI.classify(429, [], body, backend="g", now=0.0)
    assert (fault.kind, fault.retry_after_s, fault.upstream_status) == (FaultKind.UPSTREAM_RATE_LIMITED, 34.4, 429)
