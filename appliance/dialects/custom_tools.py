"""Free-text tools, groups of tools and the client's own search for tools, for a backend whose language knows none of these: a conversation
with plain functions only, and the way back for the answer.

The rule: what a tool is called there depends on the request's own tools and calls and nothing else, so every turn of a conversation calls
it the same; no two tools get one name, and what comes back is what the caller declared. Names that need no care are those of
`core.tool_forms`, so that a codec which flattens by itself agrees.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence

import attrs

from appliance.core import tool_forms
from appliance.core.completion import Completion
from appliance.core.conversation import Conversation, Tool, ToolChoice
from appliance.core.delta import Delta, Finished, PartEnded, PartStarted, TextAdded
from appliance.core.message import Foreign, Message, Part, ToolCall, ToolResult
from appliance.dialects import tool_search
from appliance.dialects.custom_input import InputReader, read_input

NAME_MAX_CHARS = 64
"""Of a function's name at OpenAI and Gemini; Anthropic and Bedrock take no less."""

_DIGEST_CHARS = 10
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")

Key = tuple[str, str]
"""Namespace and name: what the caller calls a tool."""


def needs_plain(conversation: Conversation) -> bool:
    """Whether there is anything that a language of plain functions could not say."""
    return any(tool.custom or tool.namespace or tool_search.is_search(tool) for tool in conversation.tools) or any(
        (isinstance(part, ToolCall) and (part.custom or part.namespace))
        or (isinstance(part, ToolResult) and part.custom)
        or (isinstance(part, Foreign) and part.kind in (tool_search.CALL, tool_search.OUTPUT))
        for message in conversation.messages
        for part in message.parts
    )


def plain(conversation: Conversation) -> Conversation:
    """The request with functions only."""
    names = _names(conversation)
    return attrs.evolve(
        conversation,
        tools=tuple(_plain_tool(tool, names, searches=_searches(conversation.tools)) for tool in conversation.tools),
        tool_choice=_plain_choice(conversation.tool_choice, conversation.tools, names),
        messages=_plain_messages(conversation.messages, names),
    )


@attrs.frozen
class Restoration:
    """The way back, for answers to `plain(conversation)`. What has been turned back already stays as it is."""

    _tools: Mapping[str, Tool] = attrs.field(repr=False)
    searches: bool = False

    @classmethod
    def of(cls, conversation: Conversation) -> "Restoration":
        return cls(_restoring(conversation.tools, _names(conversation)), _searches(conversation.tools))

    def is_search(self, call: ToolCall) -> bool:
        """Whether the caller's search for tools is meant."""
        return self.searches and call.name == tool_search.NAME and not (call.custom or call.namespace)

    def tool_of(self, call: ToolCall) -> Tool | None:
        """The caller's tool that is meant; None for a call that needs no change."""
        return None if call.custom or call.namespace else self._tools.get(call.name)

    def part(self, part: Part) -> Part:
        """A part of the answer as the caller knows its tools."""
        if isinstance(part, ToolCall) and self.is_search(part):
            return tool_search.restored(part)
        tool = self.tool_of(part) if isinstance(part, ToolCall) else None
        if tool is None or not isinstance(part, ToolCall):
            return part
        arguments = read_input(part.arguments) if tool.custom else part.arguments
        return attrs.evolve(part, name=tool.name, namespace=tool.namespace, custom=tool.custom, arguments=arguments)

    def answer(self, answer: Completion) -> Completion:
        """A whole answer."""
        candidates = tuple(attrs.evolve(one, parts=tuple(self.part(part) for part in one.parts)) for one in answer.candidates)
        return attrs.evolve(answer, candidates=candidates)

    def stream(self) -> "Restorer":
        """For the deltas of one answer."""
        return Restorer(self)


@attrs.define
class Restorer:
    """Turns the deltas of one answer back; a free text streams on as its JSON comes."""

    _restoration: Restoration
    _inputs: dict[tuple[int, int], InputReader] = attrs.field(factory=dict)
    _searches: dict[tuple[int, int], tool_search.HeldCall] = attrs.field(factory=dict)

    def deltas(self, deltas: Iterable[Delta]) -> list[Delta]:
        out: list[Delta] = []
        for delta in deltas:
            if type(delta) is TextAdded:
                reader = self._inputs.get((delta.candidate, delta.index)) if self._inputs else None
                if self._searches and (held := self._searches.get((delta.candidate, delta.index))) is not None:
                    held.pieces.append(delta.text)
                elif reader is None:
                    out.append(delta)
                elif text := reader.feed(delta.text):
                    out.append(TextAdded(delta.index, text, delta.candidate))
            elif isinstance(delta, PartStarted) and isinstance(delta.part, ToolCall):
                out += self._start(delta, delta.part)
            else:
                if isinstance(delta, PartEnded | Finished):
                    out += self._end(delta)
                out.append(delta)
        return out

    def _start(self, delta: PartStarted, call: ToolCall) -> list[Delta]:
        if self._restoration.is_search(call):
            self._searches[delta.candidate, delta.index] = tool_search.HeldCall(call)
            return []
        tool = self._restoration.tool_of(call)
        if tool is None:
            return [delta]
        restored = attrs.evolve(call, name=tool.name, namespace=tool.namespace, custom=tool.custom)
        if not tool.custom:
            return [attrs.evolve(delta, part=restored)]
        reader = self._inputs[delta.candidate, delta.index] = InputReader()
        text = reader.feed(call.arguments)
        return [attrs.evolve(delta, part=attrs.evolve(restored, arguments=text))]

    def _end(self, delta: PartEnded | Finished) -> list[Delta]:
        """The rest of a text whose call is over, or of all texts where the answer is; a search is told as a whole now."""
        searches = _over(self._searches, delta)
        told: list[Delta] = [PartStarted(index, self._searches.pop((candidate, index)).whole(), candidate) for candidate, index in searches]
        rest = [(key, self._inputs.pop(key).end()) for key in _over(self._inputs, delta)]
        return told + [TextAdded(index, text, candidate) for (candidate, index), text in rest if text]


def _over(open_parts: Iterable[tuple[int, int]], delta: PartEnded | Finished) -> list[tuple[int, int]]:
    """Candidate and number of the parts that this ends."""
    return [key for key in open_parts if key[0] == delta.candidate and (isinstance(delta, Finished) or key[1] == delta.index)]


def _searches(tools: Sequence[Tool]) -> bool:
    """Whether the caller searches for tools itself, and has no function of that name."""
    taken = any(not tool.server and not tool.namespace and tool.name == tool_search.NAME for tool in tools)
    return not taken and any(tool_search.is_search(tool) for tool in tools)


def _names(conversation: Conversation) -> dict[Key, str]:
    """What each tool is called, those included that only the history knows. A name that others claim too, or that is no function's name,
    gets a digest of its own; a tool outside of groups keeps its name."""
    keys = {(tool.namespace, tool.name): None for tool in conversation.tools if not tool.server}
    for message in conversation.messages:
        keys.update(((part.namespace, part.name), None) for part in message.parts if isinstance(part, ToolCall))
    claimed: dict[str, int] = {tool.name: 1 for tool in conversation.tools if tool.server}
    for namespace, name in keys:
        flat = tool_forms.flat_name(name, namespace)
        claimed[flat] = claimed.get(flat, 0) + 1
    return {key: _name(key, claimed) for key in keys}


def _name(key: Key, claimed: Mapping[str, int]) -> str:
    namespace, name = key
    flat = tool_forms.flat_name(name, namespace)
    if not namespace or (claimed[flat] == 1 and len(flat) <= NAME_MAX_CHARS and _UNSAFE.search(flat) is None):
        return flat
    digest = hashlib.sha256(f"{namespace}\0{name}".encode("utf-8", "replace")).hexdigest()[:_DIGEST_CHARS]
    return f"{_UNSAFE.sub('_', flat)[: NAME_MAX_CHARS - _DIGEST_CHARS - 1]}_{digest}"


def _restoring(tools: Sequence[Tool], names: Mapping[Key, str]) -> dict[str, Tool]:
    """From names in the answer to the caller's tools. Models also write the bare name of a grouped tool: it counts if it is no other's."""
    own = [tool for tool in tools if not tool.server]
    bare: dict[str, list[Tool]] = {}
    for tool in own:
        bare.setdefault(tool.name, []).append(tool)
    found = {name: same[0] for name, same in bare.items() if len(same) == 1}
    found.update({names[tool.namespace, tool.name]: tool for tool in own})
    return {name: tool for name, tool in found.items() if tool.custom or tool.namespace}


def _plain_tool(tool: Tool, names: Mapping[Key, str], *, searches: bool) -> Tool:
    if tool.server:
        return tool_search.function_of(tool) if searches and tool_search.is_search(tool) else tool
    function = tool_forms.function_of(tool) if tool.custom else tool
    about = "\n\n".join(one for one in (tool.namespace_description, function.description) if one)
    return attrs.evolve(function, name=names[tool.namespace, tool.name], namespace="", namespace_description="", description=about)


def _plain_choice(choice: ToolChoice | None, tools: Sequence[Tool], names: Mapping[Key, str]) -> ToolChoice | None:
    """A choice names tools without their groups: all of that name are meant, of a single one the first."""
    if choice is None:
        return None
    meant = {name: [names[tool.namespace, tool.name] for tool in tools if tool.name == name and not tool.server] or [name] for name in
             (choice.name, *choice.allowed)}  # fmt: skip
    allowed = tuple(flat for name in choice.allowed for flat in meant[name])
    return attrs.evolve(choice, name=meant[choice.name][0] if choice.name else "", allowed=allowed)


def _plain_messages(messages: Sequence[Message], names: Mapping[Key, str]) -> tuple[Message, ...]:
    called: dict[str, str] = {}
    out: list[Message] = []
    for message in _with_searches(messages, names):
        parts: list[Part] = []
        for part in message.parts:
            if isinstance(part, ToolCall):
                name = called[part.id] = names.get((part.namespace, part.name), part.name)
                arguments = tool_forms.arguments_of(part.arguments) if part.custom else part.arguments
                part = attrs.evolve(part, name=name, namespace="", custom=False, arguments=arguments)
            elif isinstance(part, ToolResult):
                part = attrs.evolve(part, name=called.get(part.call_id, part.name), custom=False)
            parts.append(part)
        out.append(attrs.evolve(message, parts=tuple(parts)))
    return tuple(out)


def _with_searches(messages: Sequence[Message], names: Mapping[Key, str]) -> list[Message]:
    """The client's searches and what they found as calls and results, which are a message of their own."""
    out: list[Message] = []
    for message in messages:
        parts: list[Part] = []
        for part in message.parts:
            found = tool_search.result_of(part, names) if isinstance(part, Foreign) else None
            if found is not None:
                if parts:
                    out.append(attrs.evolve(message, parts=tuple(parts)))
                    parts = []
                if out and out[-1].role == "tool":
                    out[-1] = attrs.evolve(out[-1], parts=(*out[-1].parts, found))
                else:
                    out.append(Message("tool", (found,)))
                continue
            parts.append((tool_search.call_of(part) or part) if isinstance(part, Foreign) else part)
        if parts or not message.parts:
            out.append(attrs.evolve(message, parts=tuple(parts)))
    return out
