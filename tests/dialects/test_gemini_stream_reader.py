"""Gemini's streams as deltas: both forms, parts over chunks, calls by paths, errors in the middle, and any bytes at all."""

import json
from itertools import pairwise

import pytest
from gemini_values import array, chunk, read_whole, sse
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.assembly import fold
from appliance.core.completion import Candidate, TokenLogprob
from appliance.core.delta import Delta, Finished, PartEnded, PartStarted, SealAdded, Started, TextAdded, UsageKnown
from appliance.core.fault import FaultKind
from appliance.core.message import Citation, Foreign, Media, Reasoning, Text, ToolCall
from appliance.core.seal import Seal
from appliance.core.usage import Usage
from appliance.dialects.gemini import GEMINI

FORMS = pytest.mark.parametrize("form", [sse, array])


def read(data: bytes, bound: int = 100_000):
    reader = GEMINI.stream_reader(bound, "b")
    return read_whole(reader, data), reader


def parts_of(*chunks, form=sse) -> Candidate:
    deltas, reader = read(form(*chunks))
    assert reader.fault is None, reader.fault
    assert reader.finished
    return fold(deltas).candidates[0]


def called(name=None, paths=(), more=False, **members):
    pieces = [{"jsonPath": path, **value} for path, value in paths]
    call = {**({"name": name} if name else {}), **({"partialArgs": pieces} if pieces else {}), **({"willContinue": True} if more else {})}
    return {"functionCall": {**call, **members}}


@FORMS
def test_a_text_in_pieces_with_its_signature_last(form):
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 2, "thoughtsTokenCount": 5}
    data = form(
        chunk({"text": "There "}, usageMetadata={"promptTokenCount": 9}), chunk({"text": "are"}), chunk({"text": " 3"}),
        chunk({"text": "", "thoughtSignature": "abcd"}, finish="STOP", usageMetadata=usage),
    )  # fmt: skip
    deltas, reader = read(data)
    assert deltas == [
        Started("r1", "gemini-x"), PartStarted(0, Text()), TextAdded(0, "There "), TextAdded(0, "are"), TextAdded(0, " 3"),
        SealAdded(0, Seal("gemini", "abcd")), PartEnded(0), Finished("stop"), UsageKnown(Usage(9, 7, reasoning_tokens=5)),
    ]  # fmt: skip
    assert reader.finished
    assert reader.fault is None


def test_thoughts_texts_and_calls_are_parts_of_their_own():
    found = parts_of(
        chunk({"text": "h", "thought": True}), chunk({"text": "m", "thought": True}, {"text": "a"}), chunk({"text": "b"}),
        chunk({"functionCall": {"name": "f", "args": {"x": [1]}}, "thoughtSignature": "s"}, {"functionCall": {"name": "g", "id": "own"}}),
        chunk({"text": ""}, finish="STOP"),
    )  # fmt: skip
    thought, text, first, second = found.parts
    assert (thought, text) == (Reasoning("hm", summary=True), Text("ab"))
    assert (first.name, first.arguments, first.seal) == ("f", '{"x":[1]}', Seal("gemini", "s"))
    assert second == ToolCall("own", "g")
    assert found.finish == "tool_use"


def test_a_stream_and_a_whole_answer_give_a_call_the_same_id():
    data = chunk({"functionCall": {"name": "f"}}, {"functionCall": {"name": "f"}}, finish="STOP")
    whole = GEMINI.read_answer(json.dumps(data).encode())
    assert parts_of(data).parts == whole.candidates[0].parts


def test_a_call_by_paths_comes_in_fragments():
    deltas, _ = read(sse(
        chunk(called("f", more=True)), chunk(called(paths=[("$.a", {"stringValue": "x", "willContinue": True})], more=True)),
        chunk(called(more=True)), chunk(called(paths=[("$.a", {"stringValue": ""}), ("$.b", {"numberValue": 1})], more=True)),
        chunk(called(), finish="STOP"),
    ))  # fmt: skip
    assert [one.text for one in deltas if isinstance(one, TextAdded)] == ['{"a":"x', '","b":1', "}"]
    assert Finished("tool_use") in deltas


@pytest.mark.parametrize("ending", [
    [chunk(called("g"), finish="STOP")], [chunk({"text": "done"}, finish="STOP")], [chunk(finish="STOP")],
    [chunk({"text": "hm", "thought": True}), chunk(finish="STOP")],
])  # fmt: skip
def test_a_call_that_nobody_ended_ends_with_what_comes_next(ending):
    found = parts_of(chunk(called("f", paths=[("$.a", {"boolValue": True})], more=True)), *ending)
    assert found.parts[0].arguments == '{"a":true}'
    assert found.finish == "tool_use"


def test_a_call_that_was_cut_is_not_made_whole():
    found = parts_of(chunk(called("f", paths=[("$.a", {"stringValue": "x", "willContinue": True})], more=True)), chunk(finish="MAX_TOKENS"))
    assert found.parts[0].arguments == '{"a":"x'
    assert found.finish == "length"


def test_arguments_out_of_order_end_the_stream():
    _, reader = read(sse(chunk(called("f", paths=[("$.a[1]", {"boolValue": True}), ("$.a[0]", {"boolValue": True})]))))
    assert reader.fault.kind is FaultKind.PROTOCOL


def test_signatures_keep_parts_apart():
    found = parts_of(
        chunk({"text": "a", "thoughtSignature": "1"}), chunk({"text": "b"}), chunk({"text": "c", "thoughtSignature": "2"}),
        chunk({"text": "", "thoughtSignature": "3"}), chunk({"text": "", "thought": True, "thoughtSignature": "4"}, finish="STOP"),
    )  # fmt: skip
    assert found.parts == (
        Text("a", seal=Seal("gemini", "1")), Text("b"), Text("c", seal=Seal("gemini", "2")), Text("", seal=Seal("gemini", "3")),
        Reasoning("", False, Seal("gemini", "4"), hidden=True),
    )  # fmt: skip


def test_pictures_and_other_parts_come_whole():
    code = {"executableCode": {"code": "1"}}
    picture = {"inlineData": {"mimeType": "image/png", "data": "aGk="}, "thoughtSignature": "s"}
    found = parts_of(chunk({"text": "a"}), chunk(code, picture), chunk({"text": "b"}, finish="STOP"))
    assert found.parts == (
        Text("a"), Foreign("gemini", "executableCode", code), Media("image", "image/png", "aGk="), Text(seal=Seal("gemini", "s")),
        Text("b"),
    )  # fmt: skip


def test_candidates_run_beside_each_other():
    both = [chunk({"text": "a"}), chunk({"text": "x"}, index=1), chunk({"text": "b"}, finish="STOP"), chunk(finish="MAX_TOKENS", index=1)]
    deltas, reader = read(sse(*both))
    assert reader.finished
    assert [(c.parts[0].text, c.finish) for c in fold(deltas).candidates] == [("ab", "stop"), ("x", "length")]
    assert not read(sse(*both[:3]))[1].finished


def test_citations_and_log_probabilities_reach_their_text():
    last = chunk({"text": "ße"}, finish="STOP")
    last["candidates"][0] |= {
        "groundingMetadata": {"groundingChunks": [{"web": {"uri": "https://a.test"}}],
                              "groundingSupports": [{"segment": {"endIndex": 6}, "groundingChunkIndices": [0]}]},
        "logprobsResult": {"chosenCandidates": [{"token": "ße", "logProbability": -1}]},
    }  # fmt: skip
    found = parts_of(chunk({"text": "hm", "thought": True}), chunk({"text": "Grü"}), last)
    assert found.parts[1].citations == (Citation("", "https://a.test", "", 0, 4, {"groundingChunk": {"web": {"uri": "https://a.test"}}}),)
    assert found.logprobs == (TokenLogprob("ße", -1.0),)


def test_usage_after_the_end_counts():
    deltas, _ = read(sse(chunk({"text": "a"}, finish="STOP", usageMetadata={"promptTokenCount": 1}),
                         {"usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2}}))  # fmt: skip
    assert deltas[-1] == UsageKnown(Usage(1, 2))


def test_a_refused_prompt_is_a_finished_stream():
    deltas, reader = read(sse({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 3}}))
    assert (reader.fault, reader.finished) == (None, True)
    assert deltas[1:] == [Finished("content_filter"), UsageKnown(Usage(3, 0))]


@FORMS
def test_a_stream_that_ends_early_was_cut_and_what_it_cost_so_far_is_known(form):
    data = form(chunk({"text": "a"}, usageMetadata={"promptTokenCount": 1, "candidatesTokenCount": 2}))
    deltas, reader = read(data)
    assert reader.fault.kind is FaultKind.STREAM_CUT
    assert deltas[-1] == UsageKnown(Usage(1, 2))
    assert read(b"")[1].fault.kind is FaultKind.STREAM_CUT
    assert read(data[: len(data) // 2])[1].fault is not None


ERROR = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}


@pytest.mark.parametrize("data", [
    sse(chunk({"text": "a"}), ERROR),
    array(chunk({"text": "a"}), ERROR),
    sse(chunk({"text": "a"})) + json.dumps(ERROR, indent=2).encode(),
    sse(chunk({"text": "a"})) + json.dumps([ERROR], indent=2).encode() + b"\n\n",
    json.dumps(ERROR, indent=2).encode(),
    json.dumps([ERROR]).encode(),
])  # fmt: skip
@pytest.mark.parametrize("step", [1, 100_000])
def test_an_error_in_the_middle_is_its_fault(data: bytes, step: int):
    reader = GEMINI.stream_reader(100_000, "b")
    for place in range(0, len(data), step):
        reader.feed(data[place : place + step])
    reader.end()
    assert reader.fault.kind is FaultKind.OVERLOADED
    assert not reader.finished
    assert reader.feed(sse(chunk({"text": "late"}))) == []


def test_an_error_says_how_long_to_wait():
    error = {
        "code": 429,
        "message": "quota",
        "status": "RESOURCE_EXHAUSTED",
        "details": [{"@type": "x/google.rpc.RetryInfo", "retryDelay": "12s"}],
    }
    fault = read(sse({"error": error}))[1].fault
    assert (fault.kind, fault.retry_after_s) == (FaultKind.UPSTREAM_RATE_LIMITED, 12.0)


@pytest.mark.parametrize("data", [
    b"<html>gone</html>\n\n", b"data: {broken\n\n", b"data: 7\n\n", b"[7, 8]", b"[{}, x]", b"[{broken}]", b"just words\n\n",
    sse({"candidates": 7}), sse({"candidates": [7]}), sse({"candidates": [{"content": {"parts": [{"text": []}]}}]}),
    sse(*[chunk({"text": "a"}, index=place) for place in range(100)]),
])  # fmt: skip
def test_garbage_is_a_fault_of_protocol(data):
    assert read(data)[1].fault.kind is FaultKind.PROTOCOL


@FORMS
def test_an_event_above_the_bound_is_refused(form):
    _, reader = read(form(chunk({"text": "a" * 5_000})), bound=1_000)
    assert reader.fault.kind is FaultKind.PROTOCOL
    assert "1000 bytes" in reader.fault.message


def test_a_word_of_openais_at_the_end_is_passed_over():
    assert read(sse(chunk({"text": "a"}, finish="STOP")) + b"data: [DONE]\n\n")[1].fault is None


def test_blank_lines_and_comments_mean_nothing():
    deltas, reader = read(b"\n\n: hi\n\n" + sse(chunk({"text": "a"})) + b"\n\n" + sse(chunk({"text": "b"}, finish="STOP")))
    assert reader.fault is None
    assert fold(deltas).candidates[0].parts == (Text("ab"),)


@FORMS
@given(cuts=st.lists(st.integers(0, 2_000), max_size=8))
def test_any_cut_of_the_bytes_gives_the_same_deltas(form, cuts):
    data = form(
        chunk({"text": "Grüße 😀", "thought": True}), chunk(called("f", paths=[("$.a", {"stringValue": "é",
        "willContinue": True})], more=True)),
        chunk(called(), {"text": "x\r\ny"}), chunk({"text": "z", "thoughtSignature": "s"},
        finish="STOP", usageMetadata={"promptTokenCount": 3}),
    )  # fmt: skip
    whole, _ = read(data)
    places = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    reader = GEMINI.stream_reader(100_000, "b")
    pieces: list[Delta] = [one for start, end in pairwise(places) for one in reader.feed(data[start:end])]
    assert [*pieces, *reader.end()] == whole


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=3) | st.sampled_from(["$.a", "STOP", "AAAA"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([
        "candidates", "content", "parts", "text", "thought", "thoughtSignature", "functionCall", "name", "args", "partialArgs", "jsonPath",
        "stringValue", "willContinue", "finishReason", "index", "groundingMetadata", "groundingChunks", "groundingSupports", "segment",
        "usageMetadata", "promptTokenCount", "inlineData", "error", "code", "promptFeedback", "blockReason", "logprobsResult", "responseId",
    ]), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


@given(st.lists(st.builds(lambda part, more: chunk(part, **more), JSON, st.dictionaries(st.sampled_from(["usageMetadata", "responseId"]),
JSON)) | JSON,
                max_size=5), st.sampled_from([sse, array]))  # fmt: skip
def test_no_json_raises(chunks, form):
    deltas, reader = read(form(*chunks))
    assert reader.finished or reader.fault is not None
    fold(deltas)


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"data: ", b"\n\n", b'{"candidates":[', b"]}", b"[", b'{"error":{', b'"'])))
def test_no_bytes_raise(pieces):
    reader = GEMINI.stream_reader(60, "b")
    for piece in pieces:
        reader.feed(piece)
    reader.end()
    assert reader.finished or reader.fault is not None


@FORMS
@pytest.mark.parametrize(
    "chunks",
    [
        [chunk({"text": "Hel"}, finish="STOP"), chunk({"text": "lo"}, finish="STOP"), chunk({"text": ""}, finish="STOP")],
        [chunk(finish="STOP"), chunk(finish="STOP"), chunk({"text": "Hel"}), chunk({"text": "lo"}), chunk(finish="STOP")],
        [chunk({"text": "Hel"}, finish="STOP"), chunk({"text": "lo"})],
    ],
)
def test_a_stream_that_says_stop_too_early_is_read_to_its_end(form, chunks):
    """Older models and relays say it in every chunk, or in empty ones before the first word."""
    assert parts_of(*chunks, form=form) == Candidate((Text("Hello"),), "stop")


def test_the_last_word_on_why_an_answer_ended_counts():
    assert parts_of(chunk({"text": "a"}, finish="STOP"), chunk({"text": "b"}, finish="MAX_TOKENS")).finish == "length"


def test_candidates_that_come_one_after_the_other_are_all_read():
    deltas, reader = read(sse(
        chunk({"text": "one"}, finish="STOP"), chunk({"text": "two"}, index=1), chunk({"text": "!"}, finish="MAX_TOKENS", index=1),
    ))  # fmt: skip
    assert reader.finished
    first, second = fold(deltas).candidates
    assert (first.parts, first.finish, second.parts, second.finish) == ((Text("one"),), "stop", (Text("two!"),), "length")


def test_only_the_bodys_end_ends_a_stream_that_may_be_complete():
    reader = GEMINI.stream_reader(1000, "b")
    reader.feed(sse(chunk({"text": "a"})))
    assert not reader.complete
    reader.feed(sse(chunk({"text": "b"}, finish="STOP")))
    assert (reader.complete, reader.finished) == (True, False)
    reader.end()
    assert (reader.finished, reader.fault) == (True, None)


def test_an_array_that_is_cut_within_an_object_after_a_finish_is_cut():
    data = array(chunk({"text": "a"}, finish="STOP"), chunk({"text": "b"}))
    deltas, reader = read(data[:-10])
    assert reader.fault is not None
    assert reader.fault.kind is FaultKind.STREAM_CUT
    assert not any(isinstance(one, Finished) for one in deltas)
