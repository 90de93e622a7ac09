"""Which requests may be answered again, as a table by language."""

from typing import Any

import pytest

from appliance.dialects.repeatable import repeatable

CHAT, RESPONSES, MESSAGES, GEMINI = "openai_chat", "openai_responses", "anthropic_messages", "gemini"
FUNCTION = {"type": "function", "function": {"name": "f"}}

REQUESTS: list[tuple[str, str, dict[str, Any], bool, bool]] = [
    # language, operation, fields, repeatable without chance, and always
    (CHAT, "chat", {"temperature": 0}, True, True),
    (CHAT, "chat", {"temperature": 0.0}, True, True),
    (CHAT, "chat", {"temperature": 1, "seed": 5}, True, True),
    (CHAT, "chat", {"temperature": 0.1}, False, True),
    (CHAT, "chat", {}, False, True),
    (CHAT, "chat", {"temperature": False}, False, True),
    (CHAT, "chat", {"temperature": "0"}, False, True),
    (CHAT, "chat", {"temperature": None, "seed": True}, False, True),
    (CHAT, "chat", {"temperature": 0, "tools": [FUNCTION]}, True, True),
    (CHAT, "chat", {"temperature": 0, "tools": [FUNCTION, {"type": "web_search"}]}, False, True),
    (CHAT, "chat", {"temperature": 0, "tools": "odd"}, False, True),
    (CHAT, "chat", {"temperature": 0, "web_search_options": {"a": 1}}, False, True),
    (CHAT, "chat", {"temperature": 0, "store": True}, False, False),
    (CHAT, "chat", {"temperature": 0, "store": False}, True, True),
    (CHAT, "text_completion", {"seed": 1}, True, True),
    (CHAT, "embeddings", {}, True, True),
    (CHAT, "rerank", {}, True, True),
    (CHAT, "moderations", {}, True, True),
    (CHAT, "speech", {}, False, True),
    (CHAT, "image_generation", {}, False, True),
    (CHAT, "image_edit", {"seed": 1}, False, False),
    (CHAT, "transcription", {"temperature": 0}, False, False),
    (RESPONSES, "chat", {"temperature": 0}, False, False),
    (RESPONSES, "chat", {"temperature": 0, "store": None}, False, False),
    (RESPONSES, "chat", {"temperature": 0, "store": False}, True, True),
    (RESPONSES, "chat", {"temperature": 0, "store": False, "previous_response_id": "r"}, False, False),
    (RESPONSES, "chat", {"temperature": 0, "store": False, "conversation": {"id": "c"}}, False, False),
    (RESPONSES, "chat", {"temperature": 0, "store": False, "tools": [{"type": "file_search"}]}, False, True),
    (RESPONSES, "count_tokens", {}, True, True),
    (RESPONSES, "count_tokens", {"previous_response_id": "r"}, False, False),
    (MESSAGES, "chat", {"temperature": 0, "tools": [{"name": "f", "input_schema": {}}]}, True, True),
    (MESSAGES, "chat", {"temperature": 0, "tools": [{"type": "web_search_20250305", "name": "w"}]}, False, True),
    (MESSAGES, "chat", {"temperature": 1, "seed": 5}, False, True),
    (RESPONSES, "chat", {"temperature": 1, "seed": 5, "store": False}, False, True),
    (MESSAGES, "chat", {"temperature": 0, "container": "c"}, False, False),
    (MESSAGES, "chat", {"temperature": 0, "mcp_servers": [{"url": "u"}]}, False, False),
    (MESSAGES, "count_tokens", {}, True, True),
    (GEMINI, "chat", {"generationConfig": {"temperature": 0}}, True, True),
    (GEMINI, "chat", {"generation_config": {"seed": 3}}, True, True),
    (GEMINI, "chat", {"temperature": 0, "generationConfig": {"temperature": 1}}, False, True),
    (GEMINI, "chat", {"temperature": 0}, False, True),
    (GEMINI, "chat", {"generationConfig": {"temperature": 1}, "generation_config": {"temperature": 0}}, False, True),
    (GEMINI, "chat", {"generationConfig": "odd"}, False, True),
    (GEMINI, "chat", {"generationConfig": {"seed": 3}, "tools": [{"functionDeclarations": []}]}, True, True),
    (GEMINI, "chat", {"generationConfig": {"seed": 3}, "tools": [{"googleSearch": {}}]}, False, True),
    (GEMINI, "chat", {"generationConfig": {"seed": 3}, "cachedContent": "cachedContents/1"}, False, False),
]


@pytest.mark.parametrize(("language", "operation", "fields", "sure", "always"), REQUESTS)
def test_only_what_has_neither_chance_nor_state_is_repeatable(
    language: str, operation: str, fields: dict[str, Any], sure: bool, always: bool
) -> None:
    assert repeatable(language, operation, fields, always=False) is sure
    assert repeatable(language, operation, fields, always=True) is always


def test_what_the_operator_overrides_is_not_for_the_caller_to_say() -> None:
    assert not repeatable(CHAT, "chat", {"temperature": 0}, always=False, chancy=True)
    assert repeatable(CHAT, "chat", {"temperature": 0}, always=True, chancy=True)
    assert repeatable(CHAT, "embeddings", {}, always=False, chancy=True)
