"""An OpenAI chat request, checked, as the request in no language's words and the wishes that only this wire has. Pure."""

from collections.abc import Mapping
from typing import Any

import attrs

from appliance.simulator.api_error import ApiError
from appliance.simulator.chat_request import (
    DOCUMENT_TOKENS,
    EFFORT_TOKENS,
    PICTURE_TOKENS,
    PICTURE_TOKENS_LOW,
    Called,
    ChatRequest,
    Media,
    Message,
    Mode,
    Role,
    Tool,
    canonical_json,
    media_source,
    message_tokens,
    prompt_tokens,
)
from appliance.simulator.languages.openai_chat_check import check_fields, chosen_tool

ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
# What the service caches: prompts from 1024 tokens on, in steps of 128.
CACHE_FROM_TOKENS = 1024
CACHE_STEP_TOKENS = 128


@attrs.frozen
class OpenAIChat:
    """`logprobs` is how many alternatives each token is shown with; None for no log probabilities at all."""

    asked: ChatRequest
    stream: bool
    include_usage: bool
    include_obfuscation: bool
    logprobs: int | None
    service_tier: Any
    cached_tokens: int


def parse_chat(fields: Mapping[str, Any]) -> OpenAIChat | ApiError:
    error = check_fields(fields)
    if error is not None:
        return error
    options = fields.get("stream_options") or {}
    asked = asked_of(fields)
    return OpenAIChat(
        asked=asked,
        stream=fields.get("stream") is True,
        include_usage=options.get("include_usage") is True,
        include_obfuscation=options.get("include_obfuscation") is not False,
        logprobs=(fields.get("top_logprobs") or 0) if fields.get("logprobs") is True else None,
        service_tier=fields.get("service_tier"),
        cached_tokens=cached_tokens(asked) if fields.get("prompt_cache_key") else 0,
    )


def asked_of(fields: Mapping[str, Any]) -> ChatRequest:
    stop = fields.get("stop") or ()
    limit = fields.get("max_completion_tokens")
    effort = fields.get("reasoning_effort")
    mode, allowed = tool_choice(fields.get("tool_choice"))
    return ChatRequest(
        model=fields["model"],
        messages=tuple(message_of(m) for m in fields["messages"]),
        tools=tuple(tool_of(t) for t in fields.get("tools") or ()),
        mode=mode,
        allowed=allowed,
        parallel=fields.get("parallel_tool_calls") is not False,
        schema=answer_schema(fields.get("response_format")),
        stops=(stop,) if isinstance(stop, str) else tuple(stop),
        limit=fields.get("max_tokens") if limit is None else limit,
        reasoning=EFFORT_TOKENS[effort] if effort else None,
        seed=fields.get("seed"),
        n=fields.get("n") or 1,
    )


def message_of(message: Mapping[str, Any]) -> Message:
    content = message.get("content")
    return Message(
        role=ROLES[message["role"]],
        text=content_text(content),
        name=str(message.get("name") or ""),
        calls=tuple(called(c) for c in message.get("tool_calls") or ()),
        media=tuple(m for part in (content if isinstance(content, list) else ()) for m in media_of(part)),
    )


def called(call: Mapping[str, Any]) -> Called:
    if call.get("type") == "custom":
        custom = call.get("custom") or {}
        return Called(str(custom.get("name", "")), str(custom.get("input", "")))
    function = call.get("function") or {}
    return Called(str(function.get("name", "")), canonical_json(str(function.get("arguments", ""))))


def media_of(part: Mapping[str, Any]) -> tuple[Media, ...]:
    match part["type"]:
        case "image_url":
            low = part["image_url"].get("detail") == "low"
            return (Media(media_source(part["image_url"]["url"]), PICTURE_TOKENS_LOW if low else PICTURE_TOKENS),)
        case "file":
            file = part.get("file") or {}
            return (Media(media_source(str(file.get("file_data") or file.get("file_id") or "")), DOCUMENT_TOKENS),)
    return ()


def content_text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))
    return content if isinstance(content, str) else ""


def tool_of(tool: Mapping[str, Any]) -> Tool:
    known = tool[tool["type"]]
    custom = tool["type"] == "custom"
    schema = {} if custom else known.get("parameters") or {"type": "object"}
    return Tool(known["name"], schema, str(known.get("description") or ""), custom)


def tool_choice(choice: Any) -> tuple[Mode, tuple[str, ...] | None]:
    """`"auto"`, `"none"`, `"required"`, a named tool, or `{"type": "allowed_tools", "allowed_tools": {"mode", "tools"}}`."""
    name = chosen_tool(choice)
    if name is not None:
        return "named", (name,)
    if isinstance(choice, dict):
        allowed = choice.get("allowed_tools") or {}
        names = [chosen_tool(tool) for tool in allowed.get("tools") or ()]
        return ("auto" if allowed.get("mode") == "auto" else "required"), tuple(n for n in names if n is not None) or None
    return ("none" if choice == "none" else "required" if choice == "required" else "auto"), None


def answer_schema(response_format: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    kind = (response_format or {}).get("type")
    if kind == "json_object":
        return {}
    if kind == "json_schema" and response_format is not None:
        schema = (response_format.get("json_schema") or {}).get("schema")
        return schema if isinstance(schema, dict) else {}
    return None


def cached_tokens(asked: ChatRequest) -> int:
    """With `prompt_cache_key`, everything before the last message counts as cached, in the service's steps; without it nothing does, so
    that an answer never depends on what came before it."""
    before = prompt_tokens(asked) - message_tokens(asked.messages[-1])
    return before // CACHE_STEP_TOKENS * CACHE_STEP_TOKENS if before >= CACHE_FROM_TOKENS else 0
