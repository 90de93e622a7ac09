"""What a model wrote counts the same whole and in pieces, in every language, and nothing else counts."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.assembly import unfold
from appliance.core.completion import Candidate, Completion
from appliance.core.conversation import Conversation
from appliance.core.message import Citation, Foreign, Media, Reasoning, Refusal, Text, ToolCall
from appliance.dialects.answer_size import CALL_BYTES, MEDIA_BYTES, text_size
from appliance.dialects.codec import Reply
from appliance.dialects.completion_size import answer_size, body_size
from appliance.dialects.json_prefix import completed
from appliance.dialects.language import TapWish
from appliance.dialects.language_table import gemini_call, language
from appliance.dialects.openai_size import ENTRIES_MAX, SPOKEN, STRINGS_MAX, chunk_size, delta_size
from appliance.dialects.openai_size import body_size as openai_body_size

CALL = CALL_BYTES + len("weather") + len("{}")
NAMES = ("openai_chat", "anthropic_messages", "openai_responses", "gemini")
MESSAGES: list[tuple[dict[str, Any], int]] = [
    ({"content": "Good morning"}, 12),
    ({"content": "Grüße"}, 7),
    ({"content": "你好"}, 6),
    ({"content": 'a "b"\n'}, 6),
    ({"content": None, "refusal": "No."}, 3),
    ({"content": "", "reasoning_content": "Hm.", "reasoning": "Hm."}, 3),
    ({"content": "", "reasoning": "Hm.", "reasoning_details": [{"type": "reasoning.text", "text": "Hm."}]}, 3),
    ({"content": "", "reasoning_details": [{"type": "reasoning.summary", "summary": "Hm."}, {"type": "x", "data": "y"}]}, 3),
    ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "Yes"}]}, 6),
    ({"tool_calls": [{"index": 0, "id": "1", "function": {"name": "weather", "arguments": "{}"}}]}, CALL),
    ({"tool_calls": [{"index": 0, "id": "1", "type": "custom", "custom": {"name": "weather", "input": "{}"}}]}, CALL),
    ({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]}, 5),
    ({"function_call": {"name": "weather", "arguments": "{}"}}, CALL),
    ({"audio": {"id": "a", "transcript": "Hello", "data": "UklGRg=="}}, SPOKEN * 5),
    ({"content": "See", "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}, 3 + MEDIA_BYTES),
    ({"role": "assistant"}, 0),
    ({"content": 7, "tool_calls": "x", "audio": [], "reasoning": {"a": 1}, "function_call": "no"}, 0),
]  # fmt: skip


@pytest.mark.parametrize(("message", "size"), MESSAGES)
@pytest.mark.parametrize("of", ["message", "delta"])
def test_openais_answers_are_measured_by_what_the_model_wrote(message, size, of):
    logprobs = {"content": [{"token": "Good", "logprob": -0.1, "bytes": [71], "top_logprobs": []}]}
    answer = {"id": "chatcmpl-1", "choices": [{"index": 0, of: message, "finish_reason": None, "logprobs": logprobs}]}
    assert chunk_size(answer) == size
    assert openai_body_size(json.dumps(answer).encode()) == openai_body_size(orjson.dumps(answer)) == size


@pytest.mark.parametrize(("message", "size"), MESSAGES)
@pytest.mark.parametrize("escaped", [True, False])
def test_a_delta_counts_the_same_without_being_parsed(message, size, escaped):
    event = json.dumps({"choices": [{"index": 0, "delta": message, "finish_reason": None}]}, ensure_ascii=escaped).encode()
    assert delta_size(event) == delta_size(b"data: " + event + b"\n\n") == size


@pytest.mark.parametrize(("delta", "size"), [
    ({"content": "A", "reasoning": "Hm."}, 4),
    ({"reasoning_content": "Hm", "refusal": "no\n"}, 5),
    ({"content": "See", "audio": {"id": "a", "transcript": "you"}}, 3 + SPOKEN * 3),
    ({"reasoning_details": [{"text": "Hm."}] * STRINGS_MAX}, 3 * STRINGS_MAX),
])  # fmt: skip
def test_several_strings_of_one_event_all_count(delta, size):
    chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    assert delta_size(orjson.dumps(chunk)) == chunk_size(chunk) == size


def test_as_many_entries_count_as_any_answer_has_and_no_more():
    one = {"text": "four"}
    assert chunk_size({"choices": [one] * 2_000}) == 8_000, "legacy completions of a list of prompts"
    assert chunk_size({"choices": [one] * (ENTRIES_MAX + 9)}) == 4 * ENTRIES_MAX
    assert chunk_size({"choices": [{"message": {"content": [one] * (ENTRIES_MAX + 9)}}]}) == 4 * ENTRIES_MAX
    calls = {"message": {"tool_calls": [{"function": {"arguments": "four"}}] * ENTRIES_MAX}}
    assert chunk_size({"choices": [calls] * 8}) == 4 * ENTRIES_MAX


def test_what_cannot_be_read_is_told_apart_from_an_empty_answer():
    assert openai_body_size(b'{"choices":[]}') == openai_body_size(b'{"choices":[{"text":""}]}') == 0
    assert openai_body_size(b'{"choices":[{"text":"Hello"},{"text":"you"}]}') == 8
    assert openai_body_size(b"<html>") is openai_body_size(b"[]") is None
    assert delta_size(b'data: {"name": ') == 0
    for name in NAMES:
        assert body_size(language(name).spoken, b"<html>") is None


def test_only_the_models_own_parts_count():
    parts = (
        Text("four", (Citation("a title", "https://example.com", "cited words"),)), Reasoning("six..."), Reasoning("", hidden=True),
        Refusal("no"), ToolCall("call_1", "weather", "{}"), Media("image", "image/png", data="A" * 10_000),
        Foreign("anthropic", "server_tool_use", {"type": "server_tool_use", "id": "x" * 50, "input": {"query": "q"}}),
        Foreign("anthropic", "web_search_tool_result", {"type": "web_search_tool_result", "content": ["x" * 5_000]}),
    )  # fmt: skip
    sizes = 4 + 6 + 0 + 2 + CALL + MEDIA_BYTES + (CALL_BYTES + len('{"query":"q"}')) + CALL_BYTES
    assert answer_size(Completion("", "m", (Candidate(parts), Candidate((Text("more"),))))) == sizes + 4


def test_half_of_a_surrogate_pair_counts():
    assert text_size("a\ud83d") == 4


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
CALLS = st.builds(lambda city: ToolCall("c1", "weather", orjson.dumps({"city": city}).decode()), WORDS)
ANSWERS = st.builds(
    lambda thoughts, words, call: Completion("id1", "m", (Candidate((Reasoning(thoughts), Text(words), call), "tool_use"),)),
    WORDS, WORDS, CALLS,
)  # fmt: skip


def taken(name: str, answer: Completion) -> tuple[int, bytes]:
    """What a tap measures of an answer as a stream in a language; and the same answer whole."""
    one = language(name)
    if name == "gemini":
        called = gemini_call("/v1beta/models/m:streamGenerateContent", "alt=sse")
        assert called is not None
        one = called[1]
    accepted, verbatim = one.accepted, one.verbatim
    assert accepted is not None
    assert verbatim is not None
    writer = accepted.stream_writer(Reply(Conversation("m", (), stream=True), "m", "id1", 1))
    tap = verbatim.tap(TapWish(False, 1_000_000, "b"))
    for delta in unfold(answer):
        tap.feed(writer.write([delta]))
    tap.feed(writer.end())
    tap.end()
    assert tap.fault is None
    return tap.size, accepted.write_answer(answer, Reply(Conversation("m", ()), "m", "id1", 1))


@pytest.mark.parametrize("name", NAMES)
@given(answer=ANSWERS)
def test_a_stream_adds_up_to_what_the_same_answer_counts_whole(name, answer):
    streamed, body = taken(name, answer)
    whole = openai_body_size(body) if name == "openai_chat" else body_size(language(name).spoken, body)
    assert whole == body_size(language(name).spoken, body)
    assert whole is not None
    assert abs(streamed - whole) <= 4, "spaces in a call's arguments"
    assert abs(whole - answer_size(answer)) <= 4


@pytest.mark.parametrize("name", NAMES)
def test_of_an_answer_that_broke_off_what_had_come_counts(name):
    answer = Completion("id1", "m", (Candidate((Text("A good morning to all of you. " * 20),), "stop"),))
    _, body = taken(name, answer)
    spoken = language(name).spoken
    text, begun = answer_size(answer), body.index(b"A good")
    for end in range(1, len(body) + 1):
        size, had_come = body_size(spoken, completed(body[:end])) or 0, min(max(end - begun, 0), text)
        assert size in (had_come, had_come + CALL_BYTES), "a block whose kind had not come yet counts as one that nobody knows"
    assert size == text
