"""Recorded streams as their vendors framed them, and every codec by the name that tests/recorded has for its language."""

import json
from typing import Any

from recorded.files import ENDS, FAULTS, READERS, WIRE, Recording, recordings

from appliance.core.completion import Completion
from appliance.core.conversation import Conversation, ReasoningWish
from appliance.core.message import Message, Text
from appliance.dialects.anthropic import ANTHROPIC
from appliance.dialects.aws_eventstream import write_event
from appliance.dialects.bedrock import BEDROCK
from appliance.dialects.chat import CHAT
from appliance.dialects.codec import Reply
from appliance.dialects.cohere import COHERE
from appliance.dialects.gemini import GEMINI, GEMINI_ARRAY
from appliance.dialects.responses import RESPONSES

SPOKEN: dict[str, Any] = {
    "chat": CHAT, "responses": RESPONSES, "anthropic": ANTHROPIC, "gemini": GEMINI, "bedrock": BEDROCK, "cohere": COHERE,
}  # fmt: skip
DOORS: dict[str, Any] = {"chat": CHAT, "responses": RESPONSES, "messages": ANTHROPIC, "gemini": GEMINI, "array": GEMINI_ARRAY}
EVENT_MAX_BYTES = 10_000_000

ANSWERS = [one for one in recordings() if one.family in READERS and one.label not in FAULTS] if WIRE.is_dir() else []


def reply_to(door: str, answer: Completion) -> Reply:
    """To a caller who wants everything shown."""
    wish = ReasoningWish(enabled=True, effort="high", summary="auto", sealed=True)
    asked = Conversation("m", (Message("user", (Text("Hi"),)),), family=DOORS[door].name, reasoning=wish)
    return Reply(asked, answer.model or "m", "gw0123", 1_700_000_000)


def as_stream(recording: Recording) -> bytes:
    """The first answer in the file, framed as its vendor does."""
    return framed(recording.family, recording.events())


def framed(family: str, events: list[Any]) -> bytes:
    """family: of recordings; or "array", the other form that Gemini's streams have."""
    if family == "array":
        return b"[" + b",\r\n".join(json.dumps(event).encode() for event in events) + b"]"
    if family == "bedrock":
        named = [next(iter(event.items())) for event in events]
        return b"".join(write_event(name, json.dumps(event).encode()) for name, event in named)
    names = [f"event: {event.get('type')}\n" if family in ENDS else "" for event in events]
    data = "".join(f"{name}data: {json.dumps(event)}\n\n" for name, event in zip(names, events, strict=True))
    return (data + "data: [DONE]\n\n" if family == "chat" else data).encode(errors="replace")
