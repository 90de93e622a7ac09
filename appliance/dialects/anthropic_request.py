"""Reads what a caller asks in Anthropic's Messages API (platform.claude.com/docs/en/api/messages), for an answer or for a count of tokens.

The rule: known fields are what the API says they are, or the request is refused with the path of what is not. Fields that are not known
are kept aside for a backend of the same family.
"""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from appliance.core.conversation import Conversation, Effort, OutputFormat, ReasoningWish, Sampling, Tool, ToolChoice
from appliance.core.fault import Fault
from appliance.core.message import Foreign, Message, Part, Text, ToolResult
from appliance.dialects.anthropic_blocks import FAMILY, cache_of, read_content, read_texts
from appliance.dialects.anthropic_client_tools import form_of
from appliance.dialects.fields import Unfit, flag, integer, mapping, needed, number, one_of, optional, sequence, text, texts

_KNOWN = frozenset({
    "model", "messages", "max_tokens", "system", "tools", "tool_choice", "thinking", "output_config", "output_format", "stop_sequences",
    "stream", "temperature", "top_p", "top_k", "metadata", "service_tier",
})  # fmt: skip

_KNOWN_OF_TOOLS = frozenset({"type", "name", "description", "input_schema", "strict", "cache_control"})

BILLING = "x-anthropic-billing-header:"

_EFFORTS: dict[str, Effort] = {"low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
_TIERS = {"auto": "auto", "standard_only": "default"}
_CHOICES = {"auto": "auto", "any": "required", "tool": "named", "none": "none"}


def read_request(fields: Mapping[str, Any]) -> Conversation | Fault:
    """The body of POST /v1/messages. `max_tokens` is required, as it is upstream."""
    return _read(fields, counted=False)


def read_count(fields: Mapping[str, Any]) -> Conversation | Fault:
    """The body of POST /v1/messages/count_tokens: the same without a bound on the answer."""
    return _read(fields, counted=True)


def _read(fields: Mapping[str, Any], counted: bool) -> Conversation | Fault:
    try:
        return _conversation(fields, counted)
    except Unfit as unfit:
        return unfit.fault()


def _conversation(fields: Mapping[str, Any], counted: bool) -> Conversation:
    model = needed(text, fields, "model")
    max_tokens = (optional if counted else needed)(integer, fields, "max_tokens")
    if max_tokens is not None and max_tokens < 0:
        raise Unfit("max_tokens", "must not be negative")
    output_config = optional(mapping, fields, "output_config") or {}
    metadata = optional(mapping, fields, "metadata") or {}
    choice, parallel = _tool_choice(fields)
    extra = {name: value for name, value in fields.items() if name not in _KNOWN and value is not None}
    extra |= _of_messages(fields.get("messages"))
    if rest := {name: value for name, value in output_config.items() if name not in ("effort", "format") and value is not None}:
        extra["output_config"] = rest
    thinking = optional(mapping, fields, "thinking")
    if thinking is not None and thinking.get("type") not in ("enabled", "adaptive", "disabled"):
        extra["thinking"] = thinking
        thinking = None
    return Conversation(
        model=model,
        messages=tuple(_messages(fields)),
        stream=optional(flag, fields, "stream") or False,
        max_tokens=max_tokens,
        tools=_tools(fields),
        tool_choice=choice,
        parallel_tools=parallel,
        output=_output(fields, output_config),
        reasoning=_reasoning(thinking, output_config),
        sampling=_sampling(fields),
        user=optional(text, metadata, "user_id", "metadata") or "",
        metadata={name: value for name, value in metadata.items() if name != "user_id" and isinstance(value, str)},
        service_tier=_tier(optional(text, fields, "service_tier") or ""),
        family=FAMILY,
        extra=extra,
    )


def _of_messages(messages: Any) -> dict[str, Any]:
    """What is said of single messages beside their words, by its path (betas: `clear_at`, `output_config`)."""
    found: dict[str, Any] = {}
    for place, message in enumerate(messages if isinstance(messages, list) else ()):
        if isinstance(message, dict) and len(message) > len(("role", "content")):
            found |= {f"messages[{place}].{name}": value for name, value in message.items() if name not in ("role", "content")}
    return found


def _messages(fields: Mapping[str, Any]) -> list[Message]:
    messages: list[Message] = []
    if fields.get("system"):
        messages.append(Message("system", _system(fields["system"], "system")))
    turns = needed(sequence, fields, "messages")
    if not turns:
        raise Unfit("messages", "must hold at least one message")
    names: dict[str, str] = {}
    for place, turn in enumerate(turns):
        where = f"messages[{place}]"
        message = mapping(turn, where)
        role = one_of(message.get("role"), ("user", "assistant", "system"), f"{where}.role")
        if message.get("content") is None:
            raise Unfit(f"{where}.content", "is missing")
        if role == "system":
            messages.append(Message("system", _system(message["content"], f"{where}.content")))
            continue
        parts = read_content(message["content"], f"{where}.content", names)
        if role == "assistant":
            messages.append(Message("assistant", tuple(parts)))
        else:
            messages += _user_turn(parts)
    return messages


def _system(content: Any, path: str) -> tuple[Part, ...]:
    """A system prompt. Claude Code's begins with a block for Anthropic's accounts, which is another in every request: said to a vendor of
    another family, it would end the use of every cache of prompts."""
    parts: list[Part] = list(read_texts(content, path))
    for place, part in enumerate(parts):
        if isinstance(part, Text) and part.text.startswith(BILLING) and "\n" not in part.text.strip():
            raw = content[place] if isinstance(content, list) else {"type": "text", "text": part.text}
            parts[place] = Foreign(FAMILY, "billing header", raw)
    return tuple(parts)


def _user_turn(parts: list[Part]) -> list[Message]:
    """Each run of tool results is a message of the tool's, what stands between them the user's."""
    if not parts:
        return [Message("user")]
    runs = groupby(parts, key=lambda part: isinstance(part, ToolResult))
    return [Message("tool" if results else "user", tuple(run)) for results, run in runs]


def _tools(fields: Mapping[str, Any]) -> tuple[Tool, ...]:
    tools = optional(sequence, fields, "tools") or []
    return tuple(_tool(mapping(tool, f"tools[{place}]"), f"tools[{place}]") for place, tool in enumerate(tools))


def _tool(tool: Mapping[str, Any], path: str) -> Tool:
    kind = optional(text, tool, "type", path) or "custom"
    form = form_of(kind)
    if form is not None:
        own = {name: value for name, value in tool.items() if name not in ("name", "cache_control") and value is not None}
        return Tool(needed(text, tool, "name", path), form[0], form[1], family=FAMILY, raw=own, cache=cache_of(tool, path))
    if kind != "custom":
        return Tool(kind, server=True, family=FAMILY, raw=tool)
    rest = {name: value for name, value in tool.items() if name not in _KNOWN_OF_TOOLS and value is not None}
    return Tool(
        needed(text, tool, "name", path),
        optional(text, tool, "description", path) or "",
        needed(mapping, tool, "input_schema", path),
        optional(flag, tool, "strict", path),
        family=FAMILY if rest else "",
        raw=rest,
        cache=cache_of(tool, path),
    )


def _tool_choice(fields: Mapping[str, Any]) -> tuple[ToolChoice | None, bool | None]:
    """The choice, and whether several calls at once are welcome, which this language says in the same object."""
    choice = optional(mapping, fields, "tool_choice")
    if choice is None:
        return None, None
    mode = _CHOICES[one_of(choice.get("type"), tuple(_CHOICES), "tool_choice.type")]
    alone = optional(flag, choice, "disable_parallel_tool_use", "tool_choice")
    parallel = None if alone is None else not alone
    if mode == "named":
        return ToolChoice("named", needed(text, choice, "name", "tool_choice")), parallel
    return ToolChoice("none" if mode == "none" else "required" if mode == "required" else "auto"), parallel


def _output(fields: Mapping[str, Any], output_config: Mapping[str, Any]) -> OutputFormat | None:
    """`output_config.format`, or `output_format` as the beta had it."""
    path = "output_config.format"
    wanted = optional(mapping, output_config, "format", "output_config")
    if wanted is None:
        path, wanted = "output_format", optional(mapping, fields, "output_format")
    if wanted is None:
        return None
    one_of(wanted.get("type"), ("json_schema",), f"{path}.type")
    return OutputFormat("json_schema", needed(mapping, wanted, "schema", path))


def _reasoning(thinking: Mapping[str, Any] | None, output_config: Mapping[str, Any]) -> ReasoningWish | None:
    effort = optional(text, output_config, "effort", "output_config")
    if effort is not None:
        one_of(effort, tuple(_EFFORTS), "output_config.effort")
    word = _EFFORTS[effort] if effort else None
    if thinking is None:
        return ReasoningWish(effort=word) if word else None
    if thinking["type"] == "disabled":
        return ReasoningWish(enabled=False, effort=word)
    budget = needed(integer, thinking, "budget_tokens", "thinking") if thinking["type"] == "enabled" else None
    display = optional(text, thinking, "display", "thinking")
    shown = None if display is None else display != "omitted"
    return ReasoningWish(enabled=True, effort=word, budget_tokens=budget, shown=shown)


def _sampling(fields: Mapping[str, Any]) -> Sampling:
    return Sampling(
        temperature=optional(number, fields, "temperature"),
        top_p=optional(number, fields, "top_p"),
        top_k=optional(integer, fields, "top_k"),
        stop=optional(texts, fields, "stop_sequences") or (),
    )


def _tier(tier: str) -> str:
    return _TIERS.get(tier, tier)
