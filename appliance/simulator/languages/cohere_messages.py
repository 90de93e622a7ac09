"""Cohere's v2 messages as messages in no language's words, with the service's rules on turns and tool results. Pure.

Source: docs.cohere.com/reference/chat and /v2/docs/tool-use-overview; texts of the refusals from /reference/errors where it has them.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from appliance.simulator.api_error import ApiError
from appliance.simulator.chat_request import PICTURE_TOKENS, PICTURE_TOKENS_LOW, Called, Media, Message, Role, canonical_json, media_source
from appliance.simulator.languages.cohere_errors import invalid, unknown_field, wrong_type

ROLES: Mapping[Any, Role] = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
FIELDS = {
    "system": ("role", "content"),
    "user": ("role", "content"),
    "assistant": ("role", "content", "tool_calls", "tool_plan", "citations"),
    "tool": ("role", "content", "tool_call_id"),
}
PART_TYPES = {
    "system": ("text",),
    "user": ("text", "image_url", "document"),
    "assistant": ("text", "thinking"),
    "tool": ("text", "document"),
}
EMPTY_TURN = ApiError(400, "message must not be empty in a turn")


def read_messages(given: Any) -> tuple[Message, ...] | ApiError:
    if not given:
        return invalid("messages must not be empty.")
    made: list[Message] = []
    waiting: list[str] = []  # ids of calls without a result
    for i, message in enumerate(given):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str) or message["role"] not in ROLES:
            return invalid(f"messages[{i}].role must be one of {', '.join(ROLES)}.")
        error = turn_error(i, message, made, waiting)
        read = read_message(i, message) if error is None else error
        if isinstance(read, ApiError):
            return read
        if read.role == "tool":
            waiting.remove(message["tool_call_id"])
        elif read.role == "assistant":
            waiting = [call["id"] for call in message.get("tool_calls") or ()]
        made.append(read)
    if waiting:
        return invalid(f"all tool calls must have a tool result, there is none for: {', '.join(waiting)}.")
    if made[-1].role not in ("user", "tool"):
        return invalid("message must be at least 1 token long or tool results must be specified.")
    return tuple(made)


def turn_error(i: int, message: Mapping[str, Any], before: list[Message], waiting: list[str]) -> ApiError | None:
    role = message["role"]
    if role == "system" and any(m.role != "system" for m in before):
        return ApiError(400, "system turn must be the first in the list")
    unknown = [name for name in message if name not in FIELDS[role]]
    if unknown:
        return unknown_field(f"messages[{i}].{unknown[0]}", "chat")
    if role == "tool":
        if message.get("tool_call_id") not in waiting:
            return invalid(f"tool call id not found in the previous assistant message: {message.get('tool_call_id')}.")
    elif waiting:
        return invalid(f"all tool calls must have a tool result, there is none for: {', '.join(waiting)}.")
    return None


def read_message(i: int, message: Mapping[str, Any]) -> Message | ApiError:
    role = ROLES[message["role"]]
    content = message.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    if not isinstance(parts, list) or not all(isinstance(p, dict) and p.get("type") in PART_TYPES[role] for p in parts):
        return invalid(f"messages[{i}].content must be a string or an array of {', '.join(PART_TYPES[role])} parts.")
    if not all(is_whole(part) for part in parts):
        return invalid(f"messages[{i}].content has a part without content.")
    calls = read_calls(i, message.get("tool_calls") or [])
    if isinstance(calls, ApiError):
        return calls
    if not isinstance(message.get("tool_plan") or "", str):
        return wrong_type(f"messages[{i}].tool_plan", "a string")
    if message.get("tool_plan") and not calls:
        return invalid(f"messages[{i}].tool_plan can only be specified with tool_calls.")
    texts = [message.get("tool_plan") or "", *(part_text(part) for part in parts)]
    media = tuple(media_of(part["image_url"]) for part in parts if part["type"] == "image_url")
    text = "\n".join(t for t in texts if t)
    if not (text or media or calls or parts):
        return EMPTY_TURN
    if parts and not calls and not media and not text and role != "assistant":
        return EMPTY_TURN
    return Message(role, text, calls=calls, media=media)


def is_whole(part: Mapping[str, Any]) -> bool:
    match part["type"]:
        case "image_url":
            picture = part.get("image_url")
            return isinstance(picture, dict) and isinstance(picture.get("url"), str) and bool(picture["url"])
        case "document":
            document = part.get("document")
            return isinstance(document, dict) and isinstance(document.get("data"), dict | str)
        case kind:
            return isinstance(part.get(kind), str)


def part_text(part: Mapping[str, Any]) -> str:
    """Thoughts that come back do not count."""
    if part["type"] == "text":
        return str(part["text"])
    if part["type"] == "document":
        data = part["document"]["data"]
        return data if isinstance(data, str) else orjson.dumps(data).decode()
    return ""


def media_of(picture: Mapping[str, Any]) -> Media:
    return Media(media_source(picture["url"]), PICTURE_TOKENS_LOW if picture.get("detail") == "low" else PICTURE_TOKENS)


def read_calls(i: int, calls: Any) -> tuple[Called, ...] | ApiError:
    if not isinstance(calls, list):
        return invalid(f"messages[{i}].tool_calls must be an array.")
    made: list[Called] = []
    for j, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) and call.get("type") == "function" else None
        path = f"messages[{i}].tool_calls[{j}]"
        if not isinstance(function, dict) or not is_name(call.get("id")) or not is_name(function.get("name")):
            return invalid(f"{path} must have an id, type 'function' and a function with a name.")
        if not isinstance(function.get("arguments"), str) or not is_object(function["arguments"]):
            return invalid(f"{path}.function.arguments must be a JSON object.")
        made.append(Called(function["name"], canonical_json(function["arguments"])))
    return tuple(made)


def is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def is_object(text: str) -> bool:
    """A call without arguments comes as "null" from the service itself."""
    try:
        return isinstance(orjson.loads(text), dict | None)
    except orjson.JSONDecodeError:
        return False
