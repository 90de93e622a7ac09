"""What is taken out of a request to be compared, and that all else stays."""

import copy
from typing import Any

import pytest

from appliance.dialects.last_question import TEXT_MAX_CHARS, last_question

CHAT, RESPONSES, MESSAGES, GEMINI = "openai_chat", "openai_responses", "anthropic_messages", "gemini"
PICTURE = {"type": "image_url", "image_url": {"url": "u"}}


def user(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


FOUND = [
    (CHAT, {"messages": [user("a"), user("b", name="n")], "n": 1}, "b", {"messages": [user("a"), user("", name="n")], "n": 1}),
    (CHAT, {"messages": [user([{"type": "text", "text": "b"}, PICTURE])]}, "b",
     {"messages": [user([{"type": "text", "text": ""}, PICTURE])]}),
    (MESSAGES, {"messages": [user([{"type": "text", "text": t} for t in "ab"])]}, "a\nb",
     {"messages": [user([{"type": "text", "text": ""}] * 2)]}),
    (RESPONSES, {"input": "b"}, "b", {"input": ""}),
    (RESPONSES, {"input": [user([{"type": "input_text", "text": "b"}])]}, "b", {"input": [user([{"type": "input_text", "text": ""}])]}),
    (GEMINI, {"contents": [{"parts": [{"text": "b"}]}]}, "b", {"contents": [{"parts": [{"text": ""}]}]}),
]  # fmt: skip


@pytest.mark.parametrize(("language", "fields", "words", "frame"), FOUND)
def test_the_words_of_the_last_message_are_taken_and_nothing_else(language, fields, words, frame) -> None:
    before = copy.deepcopy(fields)
    assert last_question(language, fields) == (words, frame)
    assert fields == before


NONE = [
    (CHAT, {"messages": []}),
    (CHAT, {"messages": "odd"}),
    (CHAT, {"messages": [user("a"), {"role": "assistant", "content": "b"}]}),
    (CHAT, {"messages": [user("a"), {"role": "tool", "content": "b"}]}),
    (CHAT, {"messages": [user([PICTURE])]}),
    (CHAT, {"messages": [user(["odd"])]}),
    (CHAT, {"messages": [user(" ")]}),
    (CHAT, {"messages": [user("x" * (TEXT_MAX_CHARS + 1))]}),
    (CHAT, {"input": "b"}),
    (RESPONSES, {"input": [{"type": "function_call_output", "output": "b"}]}),
    (GEMINI, {"contents": [{"role": "model", "parts": [{"text": "b"}]}]}),
    ("other", {"messages": [user("a")]}),
]


@pytest.mark.parametrize(("language", "fields"), NONE)
def test_where_there_are_no_words_of_a_user_at_the_end_nothing_is_compared(language: str, fields: dict[str, Any]) -> None:
    assert last_question(language, fields) is None


def test_a_tools_result_in_a_users_message_stays_in_the_frame() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": "42"}
    found = last_question(MESSAGES, {"messages": [user([result, {"type": "text", "text": "b"}])]})
    assert found == ("b", {"messages": [user([result, {"type": "text", "text": ""}])]})
