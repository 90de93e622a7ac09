"""Streams for Gemini's callers: text as it comes, calls whole, the end and its cost last; both forms, errors and keep-alives anywhere."""

import json

import attrs
import pytest
from gemini_values import REPLY, chunks_of, read_whole

from appliance.core.assembly import fold
from appliance.core.completion import TokenLogprob
from appliance.core.delta import (
    CitationAdded,
    Delta,
    Finished,
    LogprobsAdded,
    PartEnded,
    PartStarted,
    SealAdded,
    Started,
    TextAdded,
    UsageKnown,
)
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Citation, Foreign, Media, Reasoning, Refusal, Text, ToolCall
from appliance.core.seal import Seal
from appliance.core.usage import Usage
from appliance.dialects.gemini import GEMINI, GEMINI_ARRAY

FAULT = Fault(FaultKind.OVERLOADED, "the backend is overloaded", retry_after_s=2.5)
REST = {"modelVersion": "gemini-x", "responseId": "r"}
EMPTY = {"parts": [{"text": ""}], "role": "model"}


def written(*deltas: Delta, door=GEMINI) -> bytes:
    writer = door.stream_writer(REPLY)
    return b"".join(writer.write([delta]) for delta in deltas) + writer.end()


def said(*parts, **members):
    return {"candidates": [{"content": {"parts": list(parts), "role": "model"}, "index": 0, **members}], **REST}


START, TEXT, END = Started("r", "m"), PartStarted(0, Text()), PartEnded(0)


def test_a_text_goes_out_as_it_comes_and_its_cost_with_the_end():
    writer = GEMINI.stream_writer(REPLY)
    assert writer.write([Started("r", "m", usage=Usage(3, 0)), TEXT]) == b""
    assert chunks_of(writer.write([TextAdded(0, 'Gr"üße\n'), TextAdded(0, "!")])) == [said({"text": 'Gr"üße\n'}), said({"text": "!"})]
    assert writer.write([END, Finished("stop"), UsageKnown(Usage(3, 2))]) == b""
    usage = {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}
    assert chunks_of(writer.end()) == [
        {"candidates": [{"content": EMPTY, "finishReason": "STOP", "index": 0}], "usageMetadata": usage, **REST},
    ]  # fmt: skip


def test_a_call_goes_out_whole_with_its_signature():
    deltas = (
        START, PartStarted(0, ToolCall("c1", "f")), SealAdded(0, Seal("gemini", "ab")), SealAdded(0, Seal("gemini", "cd")),
        TextAdded(0, '{"a":'), TextAdded(0, "1.50}"), PartEnded(0), PartStarted(1, ToolCall("c2", "g")), PartEnded(1), Finished("tool_use"),
    )  # fmt: skip
    first, second, end = chunks_of(written(*deltas))
    assert first == said({"functionCall": {"id": "c1", "name": "f", "args": {"a": 1.5}}, "thoughtSignature": "abcd"})
    assert second == said({"functionCall": {"id": "c2", "name": "g", "args": {}}})
    assert end["candidates"][0]["finishReason"] == "STOP"


def test_calls_that_overlap_come_one_after_the_other():
    deltas = (
        START, PartStarted(0, ToolCall("c1", "f")), PartStarted(1, ToolCall("c2", "g")), TextAdded(1, "{}"), TextAdded(0, "{}"),
        PartEnded(1),
        PartEnded(0), Finished("tool_use"),
    )  # fmt: skip
    names = [one["candidates"][0]["content"]["parts"][0].get("functionCall", {}).get("name") for one in chunks_of(written(*deltas))]
    assert names == ["f", "g", None]


def test_a_call_with_broken_arguments_is_malformed():
    (end,) = chunks_of(written(START, PartStarted(0, ToolCall("c1", "f")), TextAdded(0, '{"a":'), PartEnded(0), Finished("tool_use")))
    assert end["candidates"][0]["finishReason"] == "MALFORMED_FUNCTION_CALL"
    assert end["candidates"][0]["finishMessage"] == 'Malformed function call: f {"a":'


def test_thoughts_and_their_seals():
    deltas = (
        START, PartStarted(0, Reasoning()), TextAdded(0, "hm"), SealAdded(0, Seal("anthropic", "x")), PartEnded(0),
        PartStarted(1, Reasoning(hidden=True)), SealAdded(1, Seal("anthropic", "y")), PartEnded(1), Finished("stop"),
    )  # fmt: skip
    words, signature, hidden, _ = (one["candidates"][0]["content"]["parts"][0] for one in chunks_of(written(*deltas)))
    assert words == {"text": "hm", "thought": True}
    assert signature["text"] == hidden["text"] == ""
    assert signature["thought"] is hidden["thought"] is True
    assert signature["thoughtSignature"] != hidden["thoughtSignature"]


def test_other_parts_are_said_where_they_can_be():
    code = Foreign("gemini", "executableCode", {"executableCode": {"code": "1"}})
    deltas = [START]
    for place, part in enumerate([Media("image", "image/png", "aGk="), code, Foreign("anthropic", "web_search", {}), Refusal()]):
        deltas += [PartStarted(place, part), *([TextAdded(place, "No.")] if isinstance(part, Refusal) else []), PartEnded(place)]
    parts = [one["candidates"][0]["content"]["parts"][0] for one in chunks_of(written(*deltas, Finished("refusal")))]
    assert parts == [
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}}, {"executableCode": {"code": "1"}}, {"text": "No."}, {"text": ""},
    ]  # fmt: skip


def test_citations_stand_at_the_latest_with_the_end_of_their_text():
    cited = CitationAdded(0, Citation("T", "https://a.test", "", 0, 3))
    deltas = (START, TEXT, TextAdded(0, "Grü"), TextAdded(0, "ße"), cited, END)
    metadata = {
        "groundingChunks": [{"web": {"uri": "https://a.test", "title": "T"}}],
        "groundingSupports": [{"segment": {"startIndex": 0, "endIndex": 4, "text": "Grü"}, "groundingChunkIndices": [0]}],
    }
    *_, end = chunks_of(written(*deltas, Finished("stop")))
    assert end["candidates"][0]["groundingMetadata"] == metadata
    *_, before, _call, end = chunks_of(written(*deltas, PartStarted(1, ToolCall("c", "f")), PartEnded(1), Finished("tool_use")))
    assert before == said({"text": ""}, groundingMetadata=metadata)
    assert "groundingMetadata" not in end["candidates"][0]


def test_log_probabilities_go_out_as_they_come():
    first, _ = chunks_of(written(START, LogprobsAdded((TokenLogprob("a", -0.5),)), Finished("stop")))
    assert first == said({"text": ""}, logprobsResult={"chosenCandidates": [{"token": "a", "logProbability": -0.5}]})


def test_candidates_end_together():
    deltas = (
        START,
        TEXT,
        PartStarted(0, Text(), 1),
        TextAdded(0, "x", 1),
        TextAdded(0, "a"),
        Finished("stop"),
        Finished("length", candidate=1),
    )
    *_, end = chunks_of(written(*deltas))
    assert [(one["index"], one["finishReason"]) for one in end["candidates"]] == [(0, "STOP"), (1, "MAX_TOKENS")]


def test_the_array_form_is_one_json_array():
    deltas = (START, TEXT, TextAdded(0, "a"), TextAdded(0, "b"), END, Finished("stop"))
    assert json.loads(written(*deltas, door=GEMINI_ARRAY)) == chunks_of(written(*deltas))
    assert json.loads(written(door=GEMINI_ARRAY)) == []
    assert (GEMINI.stream_type, GEMINI_ARRAY.stream_type) == (b"text/event-stream", b"application/json")


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("door", [GEMINI, GEMINI_ARRAY])
def test_an_error_may_come_at_any_point(door, place: int):
    deltas = (START, TEXT, TextAdded(0, "a"), PartEnded(0), PartStarted(1, ToolCall("c", "f")), Finished("tool_use"))
    writer = door.stream_writer(REPLY)
    data = (
        writer.keepalive() + b"".join(writer.write([delta]) + writer.keepalive() for delta in deltas[:place]) + writer.error(FAULT, "req_1")
    )
    reader = GEMINI.stream_reader(100_000, "b")
    read_whole(reader, data)
    assert reader.fault is not None
    assert not reader.finished
    events = [json.loads(line.removeprefix(b"data: ")) for line in data.splitlines() if line] if door is GEMINI else json.loads(data)
    assert events[-1]["error"] == {
        "code": 502, "message": "the backend is overloaded", "status": "UNAVAILABLE", "details": [
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "OVERLOADED", "domain": "gateway"},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2.5s"},
            {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "req_1"},
        ],
    }  # fmt: skip


def test_a_backends_missing_id_is_made_up_by_the_reply():
    (end,) = chunks_of(written(TEXT, Finished("stop")))
    assert (end["responseId"], end["modelVersion"]) == ("resp_made", "gemini-x")


def test_halves_of_surrogate_pairs_do_not_break_a_stream():
    assert chunks_of(written(START, TEXT, TextAdded(0, "x\ud83d"), Finished("stop")))[0] == said({"text": "x\ufffd"})


def test_what_was_written_is_read_back_with_its_times():
    deltas = [attrs.evolve(START, created=1_700_000_000), TEXT, TextAdded(0, "a"), END, Finished("stop"), UsageKnown(Usage(1, 2))]
    found = fold(read_whole(GEMINI.stream_reader(10_000, "b"), written(*deltas)))
    assert (found.created, found.id, found.usage) == (1_700_000_000, "r", Usage(1, 2))
