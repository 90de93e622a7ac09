"""Whole answers of Gemini's: finish reasons, counts, citations, log probabilities, and what is no answer."""

import json

import pytest
from gemini_values import REPLY, chunk

from appliance.core.completion import Candidate, Completion, TokenLogprob
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Citation, Foreign, Media, Reasoning, Refusal, Text, ToolCall
from appliance.core.seal import Seal
from appliance.core.usage import Usage
from appliance.dialects.gemini import GEMINI


def read(answer) -> Completion:
    found = GEMINI.read_answer(json.dumps(answer).encode())
    assert isinstance(found, Completion), found
    return found


def write(*parts, finish="stop", **fields):
    return json.loads(GEMINI.write_answer(Completion("r", "m", (Candidate(parts, finish),), **fields), REPLY))


CALL = {"functionCall": {"name": "f", "args": {"a": 1}}}


@pytest.mark.parametrize(("reason", "finish"), [
    ("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("RECITATION", "content_filter"),
    ("PROHIBITED_CONTENT", "content_filter"), ("BLOCKLIST", "content_filter"), ("SPII", "content_filter"), ("IMAGE_SAFETY",
     "content_filter"),
    ("MALFORMED_FUNCTION_CALL", "malformed_tool_call"), ("UNEXPECTED_TOOL_CALL", "malformed_tool_call"), ("LANGUAGE", "other"),
    ("OTHER", "other"), ("SOMETHING_NEW", "other"), (7, "other"), ("FINISH_REASON_UNSPECIFIED", ""), (None, ""),
])  # fmt: skip
def test_why_an_answer_ended(reason, finish):
    assert read(chunk({"text": "x"}, finish=reason)).candidates[0].finish == finish


def test_a_call_is_always_tool_use_and_gets_an_id_of_its_own():
    found = read(chunk({"text": ""}, CALL, CALL, finish="STOP")).candidates[0]
    assert found.finish == "tool_use"
    assert [part.arguments for part in found.parts] == ['{"a":1}', '{"a":1}']
    assert len({part.id for part in found.parts}) == 2
    assert read(chunk(CALL, CALL, finish="STOP")).candidates[0].parts == found.parts
    other = {**chunk(CALL, finish="STOP"), "responseId": "r2"}
    assert read(other).candidates[0].parts[0].id not in {part.id for part in found.parts}
    assert read(chunk({"functionCall": {"id": "own", "name": "f"}})).candidates[0].parts == (ToolCall("own", "f"),)


@pytest.mark.parametrize(("metadata", "usage"), [
    ({"promptTokenCount": 9, "candidatesTokenCount": 5, "thoughtsTokenCount": 185, "totalTokenCount": 199},
     Usage(9, 190, reasoning_tokens=185)),
    ({"promptTokenCount": 100, "cachedContentTokenCount": 80, "candidatesTokenCount": 1}, Usage(100, 1, 80)),
    ({"promptTokenCount": 10, "toolUsePromptTokenCount": 30, "candidatesTokenCount": 1, "totalTokenCount": 41}, Usage(40, 1)),
    ({"promptTokenCount": 10, "totalTokenCount": 10}, Usage(10, 0)),
    ({"promptTokenCount": 10, "totalTokenCount": 14, "thoughtsTokenCount": 3}, Usage(10, 4, reasoning_tokens=3)),
    ({"promptTokenCount": 10, "candidatesTokenCount": 7, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 6},
     {"modality": "TEXT"}],
      "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}]}, Usage(10, 7, input_audio_tokens=6, output_audio_tokens=5)),
    ({"trafficType": "ON_DEMAND"}, None),
    ({"promptTokenCount": -1, "candidatesTokenCount": "x"}, Usage()),
    (None, None),
])  # fmt: skip
def test_counts_are_read_in_googles_way(metadata, usage):
    assert read(chunk({"text": "x"}, usageMetadata=metadata)).usage == usage


def test_counts_are_written_in_googles_way():
    usage = Usage(100, 50, 80, 0, 30, 7, 5)
    assert write(Text("x"), usage=usage)["usageMetadata"] == {
        "promptTokenCount": 100, "candidatesTokenCount": 20, "thoughtsTokenCount": 30, "cachedContentTokenCount": 80,
        "totalTokenCount": 150,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 7}], "candidatesTokensDetails": [{"modality": "AUDIO",
        "tokenCount": 5}],
    }  # fmt: skip


def test_a_refused_prompt_is_a_filtered_answer():
    found = read({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}, "modelVersion": "m"})
    assert found.candidates == (Candidate((), "content_filter"),)
    assert found.usage == Usage(4, 0)
    assert read({"usageMetadata": {"promptTokenCount": 4}}).candidates == (Candidate((), "other"),)


def test_candidates_come_in_their_order():
    one, two = chunk({"text": "b"}, index=1)["candidates"][0], chunk({"text": "a"}, index=0)["candidates"][0]
    assert [c.parts[0].text for c in read({"candidates": [one, two]}).candidates] == ["a", "b"]


def test_parts_of_an_answer():
    code = {"codeExecutionResult": {"outcome": "OUTCOME_OK"}}
    found = read(chunk(
        {"text": "hm", "thought": True}, {"text": "a", "thoughtSignature": "s1"}, code,
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}, "thoughtSignature": "s2"},
        finish="STOP", createTime="2026-04-02T17:03:50.399550Z",
    ))  # fmt: skip
    assert found.candidates[0].parts == (
        Reasoning("hm", summary=True), Text("a", seal=Seal("gemini", "s1")), Foreign("gemini", "codeExecutionResult", code),
        Media("image", "image/png", "aGk="), Text(seal=Seal("gemini", "s2")),
    )  # fmt: skip
    assert (found.id, found.model, found.created) == ("r1", "gemini-x", 1_775_149_430)


GROUNDED = {
    "webSearchQueries": ["q"],
    "groundingChunks": [
        {"web": {"uri": "https://a.test", "title": "A"}}, {"retrievedContext": {"uri": "gs://b", "title": "B", "text": "own words"}},
        {"web": {"uri": "https://c.test", "title": "C"}},
    ],
    "groundingSupports": [
        {"segment": {"endIndex": 4, "text": "Grü"}, "groundingChunkIndices": [0, 1]},
        {"segment": {"startIndex": 9, "endIndex": 13, "partIndex": 1, "text": "Welt"}, "groundingChunkIndices": [1]},
        {"segment": {"startIndex": 900, "endIndex": 999}, "groundingChunkIndices": [0, 77, "x"]},
        {"segment": None}, 7,
    ],
}  # fmt: skip


def test_grounding_is_citations_in_characters():
    answer = chunk({"text": "thought", "thought": True}, {"text": "Grüße, Welt"}, finish="STOP")
    answer["candidates"][0]["groundingMetadata"] = GROUNDED
    text = read(answer).candidates[0].parts[1]
    chunks = [{"groundingChunk": one} for one in GROUNDED["groundingChunks"]]
    assert [(one.title, one.url, one.cited, one.start, one.end, one.raw) for one in text.citations] == [
        ("A", "https://a.test", "", 0, 3, chunks[0]), ("B", "gs://b", "own words", 0, 3, chunks[1]),
        ("B", "gs://b", "own words", 7, 11, chunks[1]), ("A", "https://a.test", "", -1, -1, chunks[0]),
        ("C", "https://c.test", "", -1, -1, chunks[2]),
    ]  # fmt: skip


def test_recitations_are_citations():
    answer = chunk({"text": "abcdef"}, finish="STOP")
    source = {"startIndex": 1, "endIndex": 3, "uri": "https://a.test", "license": "mit"}
    answer["candidates"][0]["citationMetadata"] = {"citationSources": [source]}
    found = read(answer)
    assert found.candidates[0].parts[0].citations == (Citation("", "https://a.test", "", 1, 3, {"citationSource": source}),)
    assert json.loads(GEMINI.write_answer(found, REPLY))["candidates"][0]["citationMetadata"] == {"citationSources": [source]}


def test_citations_of_others_are_grounding_in_bytes():
    cited = (
        Citation("T", "https://a.test", "own words", 0, 3),
        Citation("T", "https://a.test", "own words", 4, 5),
        Citation("U", "https://b.test"),
    )
    found = write(Reasoning("hm"), Text("Grüße", cited))["candidates"][0]["groundingMetadata"]
    assert found == {
        "groundingChunks": [
            {"retrievedContext": {"uri": "https://a.test", "title": "T", "text": "own words"}}, {"web": {"uri": "https://b.test",
            "title": "U"}},
        ],
        "groundingSupports": [
            {"segment": {"partIndex": 1, "startIndex": 0, "endIndex": 4, "text": "Grü"}, "groundingChunkIndices": [0]},
            {"segment": {"partIndex": 1, "startIndex": 6, "endIndex": 7, "text": "e"}, "groundingChunkIndices": [0]},
        ],
    }  # fmt: skip
    again = read(write(Reasoning("hm"), Text("Grüße", cited))).candidates[0].parts[1].citations
    assert [(one.url, one.cited, one.start, one.end) for one in again] == [(one.url, one.cited, one.start, one.end) for one in cited]


def test_citations_without_a_text_get_one():
    answer = chunk(CALL, finish="STOP")
    answer["candidates"][0]["groundingMetadata"] = {"groundingChunks": [{"web": {"uri": "https://a.test"}}]}
    assert read(answer).candidates[0].parts[1].citations[0].url == "https://a.test"


def test_log_probabilities():
    answer = chunk({"text": "ab"}, finish="STOP")
    answer["candidates"][0]["logprobsResult"] = {
        "chosenCandidates": [{"token": "a", "logProbability": -0.5, "tokenId": 3}, {"token": "b"}],
        "topCandidates": [{"candidates": [{"token": "a", "logProbability": -0.5}, {"token": "c", "logProbability": -2}]}],
    }
    assert read(answer).candidates[0].logprobs == (
        TokenLogprob("a", -0.5, top=(TokenLogprob("a", -0.5), TokenLogprob("c", -2.0))), TokenLogprob("b", 0.0),
    )  # fmt: skip
    infinite = b'{"candidates":[{"logprobsResult":{"chosenCandidates":[{"token":"a","logProbability":-Infinity}]}}]}'
    assert GEMINI.read_answer(infinite).candidates[0].logprobs == (TokenLogprob("a", -9999.0),)


def test_halves_of_surrogate_pairs_are_replaced():
    found = GEMINI.read_answer(b'{"candidates":[{"content":{"parts":[{"text":"x\\ud83d"}]}}]}')
    assert found.candidates[0].parts == (Text("x\ufffd"),)


@pytest.mark.parametrize(("body", "kind"), [
    (b"", FaultKind.PROTOCOL), (b"<html>", FaultKind.PROTOCOL), (b"[]", FaultKind.PROTOCOL), (b"{}", FaultKind.PROTOCOL),
    (b"[" * 100_000, FaultKind.PROTOCOL), (b'{"candidates":7}', FaultKind.PROTOCOL),
    (b'{"candidates":[{"content":{"parts":[{"text":7}]}}]}', FaultKind.PROTOCOL),
    (b'{"candidates":[{"content":{"parts":[{"functionCall":{}}]}}]}', FaultKind.PROTOCOL),
    (b'{"error":{"code":503,"message":"x","status":"UNAVAILABLE"}}', FaultKind.OVERLOADED),
    (b'{"error":{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED"}}', FaultKind.UPSTREAM_RATE_LIMITED),
])  # fmt: skip
def test_what_is_no_answer_is_a_fault(body, kind):
    found = GEMINI.read_answer(body)
    assert isinstance(found, Fault)
    assert found.kind is kind


@pytest.mark.parametrize(("finish", "reason"), [
    ("stop", "STOP"), ("stop_sequence", "STOP"), ("tool_use", "STOP"), ("length", "MAX_TOKENS"), ("context_length", "MAX_TOKENS"),
    ("content_filter", "SAFETY"), ("refusal", "SAFETY"), ("pause", "OTHER"), ("malformed_tool_call", "MALFORMED_FUNCTION_CALL"), ("",
     "OTHER"),
])  # fmt: skip
def test_finishes_are_reasons(finish, reason):
    assert write(Text("x"), finish=finish)["candidates"][0]["finishReason"] == reason


def test_an_answer_for_a_caller():
    found = write(
        Reasoning("hm", seal=Seal("anthropic", "x")), Refusal("No."), Foreign("anthropic", "web_search", {}), ToolCall("c1",
        "f", '{"n": 1.50}'),
        finish="tool_use", created=1_700_000_000,
    )  # fmt: skip
    assert found["candidates"][0]["content"] == {"role": "model", "parts": [
        {"text": "hm", "thought": True, "thoughtSignature": "Z3cxLmFudGhyb3BpYy5lQQ=="}, {"text": "No."},
        {"functionCall": {"id": "c1", "name": "f", "args": {"n": 1.5}}},
    ]}  # fmt: skip
    assert (found["modelVersion"], found["responseId"], found["createTime"]) == ("gemini-x", "r", "2023-11-14T22:13:20Z")


def test_numbers_of_arguments_keep_their_digits():
    answer = Completion("r", "m", (Candidate((ToolCall("c", "f", '{"n":12345678901234567890123,"x":1.50}'),), "tool_use"),))
    assert b'"args":{"n":12345678901234567890123,"x":1.50}' in GEMINI.write_answer(answer, REPLY)


@pytest.mark.parametrize("arguments", ['{"a":', "[1]", "words", "null"])
def test_a_call_that_no_tool_could_be_run_with_is_malformed(arguments):
    found = write(Text("x"), ToolCall("c1", "f", arguments), ToolCall("c2", "g"), finish="tool_use")["candidates"][0]
    assert found["finishReason"] == "MALFORMED_FUNCTION_CALL"
    assert arguments in found["finishMessage"]
    assert not any("functionCall" in part and part["functionCall"]["name"] == "f" for part in found["content"]["parts"])


def test_an_answer_without_parts_has_an_empty_one():
    assert write()["candidates"][0]["content"]["parts"] == [{"text": ""}]
