"""A Messages request, checked, as the request in no language's words and the wishes that only this wire has. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import orjson

from appliance.simulator.api_error import ApiError
from appliance.simulator.chat_request import (
    EFFORT_TOKENS,
    Called,
    ChatRequest,
    Message,
    Mode,
    Tool,
    budget_reasoning,
    prefix_tokens,
    sent_before,
)
from appliance.simulator.languages.anthropic_blocks import blocks_of, breakpoints, media_of, said, text_of
from appliance.simulator.languages.anthropic_check import check_fields
from appliance.simulator.languages.anthropic_turns import check_turns

CACHE_FROM_TOKENS = 1024  # shorter prefixes are not cached
MODES: Mapping[str, Mode] = {"auto": "auto", "any": "required", "tool": "named", "none": "none"}
# The service's own words for testing how a client handles these; the rest of them are in its documentation.
REDACT, REFUSE = "ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING", "ANTHROPIC_MAGIC_STRING_TRIGGER_REFUSAL"


@attrs.frozen
class Caching:
    """Prompt tokens by how they are billed; `hour` tells which of the two lives the new entry has."""

    read: int = 0
    created: int = 0
    hour: bool = False


@attrs.frozen
class Messages:
    """`omitted`: thinking is only signed, not shown. `redacted`: it is sealed instead."""

    asked: ChatRequest
    stream: bool
    caching: Caching
    omitted: bool
    redacted: bool
    refused: bool


def parse_messages(fields: Mapping[str, Any], *, beta: bool, counting: bool = False) -> Messages | ApiError:
    error = check_fields(fields, beta=beta, counting=counting) or check_turns(fields)
    if error is not None:
        return error
    asked = asked_of(fields)
    thinking = fields.get("thinking") or {}
    return Messages(
        asked=asked,
        stream=fields.get("stream") is True,
        caching=caching_of(fields, asked),
        omitted=thinking.get("display") == "omitted",
        redacted=REDACT in asked.text,
        refused=REFUSE in asked.text,
    )


def asked_of(fields: Mapping[str, Any]) -> ChatRequest:
    choice = fields.get("tool_choice") or {}
    return ChatRequest(
        model=fields["model"],
        messages=tuple(messages_of(fields)),
        tools=tuple(
            Tool(t["name"], t["input_schema"], t.get("description") or "") for t in fields.get("tools") or () if t.get("input_schema")
        ),
        mode=MODES[choice.get("type", "auto")],
        allowed=(choice["name"],) if "name" in choice else None,
        parallel=choice.get("disable_parallel_tool_use") is not True,
        schema=schema_of(fields),
        stops=tuple(fields.get("stop_sequences") or ()),
        limit=fields.get("max_tokens"),
        reasoning=reasoning_of(fields),
    )


def messages_of(fields: Mapping[str, Any]) -> Iterator[Message]:
    """The system prompt is one message, whatever its blocks; each result of a tool is one."""
    if fields.get("system"):
        yield Message("system", text_of(fields["system"]))
    for message in fields["messages"]:
        blocks = blocks_of(message["content"])
        results = [block for block in blocks if block["type"] == "tool_result"]
        for block in results:
            yield Message("tool", said(block), media=media_of([block]))
        rest = [block for block in blocks if block["type"] != "tool_result"]
        if rest or not results:
            calls = tuple(Called(b["name"], orjson.dumps(b["input"]).decode()) for b in rest if b["type"] == "tool_use")
            yield Message(message["role"], text_of(rest), calls=calls, media=media_of(rest))


def schema_of(fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
    wanted = (fields.get("output_config") or {}).get("format") or fields.get("output_format")
    schema: Mapping[str, Any] | None = wanted["schema"] if wanted else None
    return schema


def reasoning_of(fields: Mapping[str, Any]) -> int:
    """Nothing thinks unasked here, not even a model whose name says so. Adaptive thinking takes the effort, which is high unless told."""
    thinking = fields.get("thinking") or {}
    match thinking.get("type"):
        case "enabled":
            return budget_reasoning(thinking["budget_tokens"])
        case "adaptive":
            return EFFORT_TOKENS[(fields.get("output_config") or {}).get("effort") or "high"]
    return 0


def caching_of(fields: Mapping[str, Any], asked: ChatRequest) -> Caching:
    """The rule: what the conversation's previous request had counts as read, the rest up to the last breakpoint as created; nothing where
    that is less than 1024 tokens, or no breakpoint is set. So an answer never depends on what else was asked."""
    marks = list(breakpoints(fields))
    if not marks:
        return Caching()
    systems = 1 if fields.get("system") else 0
    counts = [0, systems]
    for message in fields["messages"]:
        counts.append(counts[-1] + sum(1 for _ in messages_of({"messages": [message]})))
    last, control = max(marks, key=lambda mark: mark[0])
    upto = prefix_tokens(asked, counts[last])
    if upto < CACHE_FROM_TOKENS:
        return Caching()
    read = min(sent_before(asked), upto)
    return Caching(read, upto - read, control.get("ttl") == "1h")
