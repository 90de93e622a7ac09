"""What a chat asks last, and the request around it, by the caller's language. Pure.

The rule: only the words of the last message may be taken out, and only where it is the user's; everything else, pictures in the same
message too, stays in the frame, which has to be the same for two questions to be compared at all.
"""

from collections.abc import Mapping
from typing import Any

TEXT_MAX_CHARS = 8_192
"""Of a question that is compared: embedding models read as much, some less; what they leave out would make unlike questions alike."""

_PLACES: Mapping[str, tuple[str, str, frozenset[str]]] = {
    "openai_chat": ("messages", "content", frozenset({"text"})),
    "anthropic_messages": ("messages", "content", frozenset({"text"})),
    "openai_responses": ("input", "content", frozenset({"input_text"})),
    "gemini": ("contents", "parts", frozenset()),
}
"""Where the messages stand, where their content, and which type its texts have (Gemini's have none)."""

Fields = dict[str, Any]


def last_question(language: str, fields: Fields) -> tuple[str, Fields] | None:
    """The words, and the request without them; None where the last message has none, or is not the user's."""
    place = _PLACES.get(language)
    if place is None:
        return None
    messages_at, content_at, types = place
    messages = fields.get(messages_at)
    if isinstance(messages, str) and language == "openai_responses":
        return _within_bounds(messages, {**fields, messages_at: ""})
    if not isinstance(messages, list) or not messages or not isinstance(messages[-1], dict):
        return None
    last = messages[-1]
    if last.get("role", "user" if language == "gemini" else "") != "user":
        return None
    taken = _taken(last.get(content_at), types)
    if taken is None:
        return None
    words, frame = taken
    return _within_bounds(words, {**fields, messages_at: [*messages[:-1], {**last, content_at: frame}]})


def _within_bounds(words: str, frame: Fields) -> tuple[str, Fields] | None:
    return (words, frame) if words.strip() and len(words) <= TEXT_MAX_CHARS else None


def _taken(content: Any, types: frozenset[str]) -> tuple[str, Any] | None:
    """The texts of a content, a line each, and what is left of it."""
    if isinstance(content, str):
        return content, ""
    if not isinstance(content, list):
        return None
    words, left = [], []
    for part in content:
        if not isinstance(part, dict):
            return None
        text = part.get("text")
        if isinstance(text, str) and (part.get("type") in types if types else "type" not in part):
            words.append(text)
            left.append({**part, "text": ""})
        else:
            left.append(part)
    return "\n".join(words), left
