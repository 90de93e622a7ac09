"""A caller's chat messages, read into turns.

The rule: a run of tool messages is one turn of results, named by the calls that they answer; thoughts come before words and words before
calls, since a chat message does not say how they were interleaved.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from appliance.core.message import Foreign, Message, Part, Reasoning, Refusal, Role, Text, ToolCall, ToolResult
from appliance.core.tool_ids import made_id
from appliance.dialects.chat_content import read_content, read_text, read_texts
from appliance.dialects.chat_seal import read_details, read_extra
from appliance.dialects.fields import mapping, needed, one_of, optional, sequence, text

ROLES = ("system", "developer", "user", "assistant", "tool", "function")

NAME = "openai_chat"

REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_text")
"""Strings that say thoughts: DeepSeek, xAI, Moonshot, Alibaba and vLLM write the first; Groq, OpenRouter and newer vLLM the second;
GitHub's Copilot the third. A vendor that writes two of them writes the same in both."""


def read_messages(messages: list[Any]) -> tuple[Message, ...]:
    """All messages. Raises Unfit."""
    history = _History()
    for place, one in enumerate(messages):
        history.add(mapping(one, f"messages[{place}]"), f"messages[{place}]")
    history.end_results()
    return tuple(history.turns)


@attrs.define
class _History:
    """What later messages refer to.

    Attributes:
        results: of the tools' turn under way.
        calls: by id. unanswered: ids made for calls in the older form, by function name; their results name nothing else.
    """

    turns: list[Message] = attrs.field(factory=list)
    results: list[Part] = attrs.field(factory=list)
    calls: dict[str, ToolCall] = attrs.field(factory=dict)
    unanswered: dict[str, str] = attrs.field(factory=dict)
    legacy: int = 0

    def add(self, message: Mapping[str, Any], path: str) -> None:
        role = one_of(message.get("role"), ROLES, f"{path}.role")
        name = optional(text, message, "name", path) or ""
        content, where = message.get("content"), f"{path}.content"
        if role in ("tool", "function"):
            self._add_result(message, role, path)
            return
        self.end_results()
        if role == "assistant":
            self.turns.append(Message("assistant", tuple(self._said(message, path)), name))
        else:
            read = read_content if role == "user" else read_texts
            parts: tuple[Part, ...] = read(needed(_anything, message, "content", path) if content is None else content, where)
            said: Role = "user" if role == "user" else "developer" if role == "developer" else "system"
            self.turns.append(Message(said, parts, name))

    def end_results(self) -> None:
        if self.results:
            self.turns.append(Message("tool", tuple(self.results)))
            self.results.clear()

    def _said(self, message: Mapping[str, Any], path: str) -> list[Part]:
        parts: list[Part] = list(read_thoughts(message))
        content = message.get("content")
        if isinstance(content, str):
            parts += [Text(content)] if content else []
        elif content is not None:
            for place, one in enumerate(sequence(content, f"{path}.content")):
                parts += _read_said(mapping(one, f"{path}.content[{place}]"), f"{path}.content[{place}]")
        seal = read_extra(message.get("extra_content"), of_caller=True)
        if seal is not None:
            parts = _sealed(parts, seal)
        refusal = optional(text, message, "refusal", path)
        parts += [Refusal(refusal)] if refusal else []
        audio = optional(mapping, message, "audio", path)
        parts += [Foreign(NAME, "audio", dict(audio))] if audio else []
        for place, one in enumerate(optional(sequence, message, "tool_calls", path) or []):
            call = read_call(mapping(one, f"{path}.tool_calls[{place}]"), f"{path}.tool_calls[{place}]")
            self.calls[call.id] = call
            parts.append(call)
        legacy = optional(mapping, message, "function_call", path)
        if legacy:
            parts.append(self._legacy_call(legacy, f"{path}.function_call"))
        return parts

    def _legacy_call(self, call: Mapping[str, Any], path: str) -> ToolCall:
        name = needed(text, call, "name", path)
        found = ToolCall(made_id("function_call", self.legacy), name, optional(text, call, "arguments", path) or "")
        self.legacy += 1
        self.calls[found.id] = found
        self.unanswered[name] = found.id
        return found

    def _add_result(self, message: Mapping[str, Any], role: str, path: str) -> None:
        if role == "tool":
            call_id = needed(text, message, "tool_call_id", path)
        else:
            name = needed(text, message, "name", path)
            call_id = self.unanswered.pop(name, "") or made_id(f"function {name}", self.legacy)
        call = self.calls.get(call_id)
        content = message.get("content")
        name = call.name if call is not None else optional(text, message, "name", path) or ""
        parts = () if content is None else read_content(content, f"{path}.content")
        self.results.append(ToolResult(call_id, parts, name, custom=call is not None and call.custom))


def _anything(value: Any, _path: str) -> Any:
    return value


def _read_said(part: Mapping[str, Any], path: str) -> list[Part]:
    """One content part of an assistant's message. `thinking` is Mistral's (docs.mistral.ai/capabilities/reasoning)."""
    kind = one_of(part.get("type", "text"), ("text", "refusal", "thinking"), f"{path}.type")
    if kind == "text":
        found = read_text(part, path)
        return [found] if found.text else []
    if kind == "refusal":
        return [Refusal(needed(text, part, "refusal", path))]
    words = thinking_words(part.get("thinking"))
    return [Reasoning(words)] if words else []


def thinking_words(thinking: object) -> str:
    """The words of a Mistral thinking chunk: a string, or text chunks."""
    if isinstance(thinking, str):
        return thinking
    chunks = thinking if isinstance(thinking, list) else []
    words = [one.get("text") for one in chunks if isinstance(one, dict)]
    return "".join(word for word in words if isinstance(word, str))


def read_thoughts(message: Mapping[str, Any]) -> list[Reasoning]:
    """The reasoning of a message in whichever field it stands; the details first, since they say all that the strings say and more."""
    words = reasoning_words(message)
    details = read_details(message.get("reasoning_details"))
    if not details:
        return [Reasoning(words)] if words else []
    if words and not any(one.text for one in details):
        return [Reasoning(words), *details] if any(one.hidden for one in details) else [attrs.evolve(details[0], text=words), *details[1:]]
    return details


def reasoning_words(fields: Mapping[str, Any]) -> str:
    for name in REASONING_FIELDS:
        value = fields.get(name)
        if isinstance(value, str) and value:
            return value
    return ""


def _sealed(parts: list[Part], seal: Any) -> list[Part]:
    """The parts with a seal on the last words, or on words that are empty."""
    for place in range(len(parts) - 1, -1, -1):
        part = parts[place]
        if isinstance(part, Text):
            return [*parts[:place], attrs.evolve(part, seal=seal), *parts[place + 1 :]]
    return [*parts, Text(seal=seal)]


def read_call(call: Mapping[str, Any], path: str) -> ToolCall:
    """One entry of `tool_calls`."""
    kind = one_of(call.get("type") or "function", ("function", "custom"), f"{path}.type")
    call_id = needed(text, call, "id", path)
    inner, where = needed(mapping, call, kind, path), f"{path}.{kind}"
    name = needed(text, inner, "name", where)
    if kind == "custom":
        return ToolCall(call_id, name, optional(text, inner, "input", where) or "", custom=True)
    arguments = optional(text, inner, "arguments", where) or ""
    return ToolCall(call_id, name, arguments, seal=read_extra(call.get("extra_content"), of_caller=True))
