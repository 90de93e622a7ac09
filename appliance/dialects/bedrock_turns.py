"""A conversation's messages as Converse's system blocks and turns.

Turns alternate and blank text is refused, so consecutive messages of one side become one turn and blank words are left out. The rule: what
is left out although it said something is in `dropped`; what cannot be left out is refused (fields.Unfit).
"""

import re
from typing import Any

import attrs

from appliance.core.message import Foreign, Media, Message, Part, Reasoning, Refusal, Text, ToolCall, ToolResult
from appliance.core.tool_forms import arguments_of, error_in_words, flat_name
from appliance.core.tool_ids import safe_id, short_id
from appliance.dialects.bedrock_answer import FAMILY
from appliance.dialects.bedrock_media import DocumentNames, block_of
from appliance.dialects.bedrock_model import Abilities
from appliance.dialects.fields import Unfit
from appliance.dialects.upstream_json import arguments_fragment

Block = dict[str, Any]

TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TOOL_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")

NO_OUTPUT = "(no output)"
"""For a tool's empty result: blank text is refused ("text content blocks must contain non-whitespace text")."""

OPENING = "(The conversation begins.)"
"""For one in which the assistant speaks first: "A conversation must start with a user message"."""

_INSTRUCTIONS = ("system", "developer")

_SIGNERS = ("anthropic", "amazon", "")
"""Vendors whose models may have signed a thought; others behind Bedrock would refuse it."""


@attrs.define
class Turns:
    """The messages as they are being written.

    Attributes:
        called: names of the tools that the history calls, in order.
    """

    able: Abilities
    short_ids: bool = False
    system: list[Block] = attrs.field(factory=list)
    turns: list[Block] = attrs.field(factory=list)
    dropped: list[str] = attrs.field(factory=list)
    called: dict[str, None] = attrs.field(factory=dict)
    _names: DocumentNames = attrs.field(factory=DocumentNames)

    def write(self, messages: tuple[Message, ...]) -> None:
        """Raises Unfit."""
        last_speaks = any(message.role not in _INSTRUCTIONS for message in messages)
        for place, message in enumerate(messages):
            path = f"messages[{place}]"
            if message.name:
                self.dropped.append(f"{path}.name")
            if message.role not in _INSTRUCTIONS:
                self._turn(message, path)
            elif not last_speaks and place == len(messages) - 1:
                self.dropped.append(f"{path}.role")  # instructions alone are no conversation here: the last of them is the question
                self._turn(attrs.evolve(message, role="user"), path)
            else:
                self._instruct(message, path)
        if not self.turns:
            raise Unfit("messages", "must hold something that a user or a tool says")
        self._finish()

    def _instruct(self, message: Message, path: str) -> None:
        """Instructions stand in front; those from the middle of a conversation move there."""
        if self.turns:
            self.dropped.append(f"{path}.role")
        for number, part in enumerate(message.parts):
            where = f"{path}.parts[{number}]"
            if isinstance(part, Media):
                raise Unfit(where, "is no text: instructions to this backend hold text only")
            self._part(part, where, "system", self.system)

    def _turn(self, message: Message, path: str) -> None:
        role = "assistant" if message.role == "assistant" else "user"
        content: list[Block] = []
        for number, part in enumerate(message.parts):
            self._part(part, f"{path}.parts[{number}]", role, content)
        if not content:
            return
        if self.turns and self.turns[-1]["role"] == role:
            self.turns[-1]["content"] += content
        else:
            self.turns.append({"role": role, "content": content})

    def _part(self, part: Part, path: str, role: str, content: list[Block]) -> None:
        if isinstance(part, Text):
            self._text(part, path, content)
        elif isinstance(part, Media):
            if role == "assistant":  # only users may show something (API_runtime_Message)
                self.dropped.append(f"{path}: {part.kind}")
            else:
                content.append(self._media(part, path))
                self._cache(part.cache, path, content)
        elif isinstance(part, ToolCall):
            self._call(part, path, content)
        elif isinstance(part, ToolResult):
            self._result(part, path, content)
        elif isinstance(part, Reasoning):
            self._reasoning(part, path, content)
        elif isinstance(part, Refusal):
            if part.text.strip():
                content.append({"text": part.text})
        elif isinstance(part, Foreign) and part.family == FAMILY:
            content.append(dict(part.raw))
        else:
            self.dropped.append(f"{path}: {part.kind}")

    def _media(self, part: Media, path: str) -> Block:
        if part.detail not in ("", "auto"):
            self.dropped.append(f"{path}.detail")
        return block_of(part, path, self._names)

    def _text(self, part: Text, path: str, content: list[Block]) -> None:
        if part.text.strip():
            content.append({"text": part.text})
        elif part.text:
            self.dropped.append(f"{path}: blank text")
        if part.citations:
            self.dropped.append(f"{path}.citations")
        if part.seal is not None:
            self.dropped.append(f"{path}.seal")
        self._cache(part.cache, path, content)

    def _cache(self, cache: str, path: str, content: list[Block]) -> None:
        if not cache:
            return
        if not self.able.caches or not content:
            self.dropped.append(f"{path}.cache")
        elif "cachePoint" not in content[-1]:
            content.append(cache_point(cache))

    def _call(self, call: ToolCall, path: str, content: list[Block]) -> None:
        given = arguments_fragment(arguments_of(call.arguments) if call.custom else call.arguments)
        if given is None:
            raise Unfit(f"{path}.arguments", "must be a JSON object: this backend takes no other arguments")
        name = tool_name(call.name, call.namespace, path)
        self.called[name] = None
        content.append({"toolUse": {"toolUseId": self._id(call.id), "name": name, "input": given}})
        if call.seal is not None:
            self.dropped.append(f"{path}.seal")
        self._cache(call.cache, path, content)

    def _result(self, result: ToolResult, path: str, content: list[Block]) -> None:
        inner: list[Block] = []
        result = result if self.able.tells_errors else error_in_words(result)
        for number, part in enumerate(result.parts):
            where = f"{path}.parts[{number}]"
            if isinstance(part, Media):
                inner.append(self._media(part, where))
            elif part.text.strip():
                inner.append({"text": part.text})
        written: Block = {"toolUseId": self._id(result.call_id), "content": inner or [{"text": NO_OUTPUT}]}
        if result.is_error:
            written["status"] = "error"
        content.append({"toolResult": written})
        self._cache(result.cache or next((part.cache for part in result.parts if part.cache), ""), path, content)

    def _reasoning(self, part: Reasoning, path: str, content: list[Block]) -> None:
        if part.seal is not None and (part.seal.maker != FAMILY or self.able.vendor not in _SIGNERS):
            self.dropped.append(f"{path}: sealed reasoning of {part.seal.maker}")
        elif part.seal is None:
            if part.text:  # Claude refuses thoughts without a signature, and other models thoughts in a history
                self.dropped.append(f"{path}: reasoning without a seal")
        elif part.hidden:
            content.append({"reasoningContent": {"redactedContent": part.seal.value}})
        else:
            content.append({"reasoningContent": {"reasoningText": {"text": part.text, "signature": part.seal.value}}})

    def _id(self, given: str) -> str:
        if self.short_ids or self.able.vendor == "mistral":
            return short_id(given)
        return given if _TOOL_ID.fullmatch(given) else safe_id(given)

    def _finish(self) -> None:
        """Results of tools stand first in their turn (Claude: "tool_use ids were found without tool_result blocks immediately after").
        Documents want words beside them (API_runtime_Message): where a user wrote none, the document's name. A prefill must not end
        with white space (Claude: "final assistant content cannot end with trailing whitespace")."""
        if self.turns[0]["role"] == "assistant":
            self.turns.insert(0, {"role": "user", "content": [{"text": OPENING}]})
        for turn in self.turns:
            content = turn["content"] = _results_first(turn["content"])
            first = next((number for number, block in enumerate(content) if "document" in block), None)
            if first is not None and not any("text" in block for block in content):
                content.insert(first, {"text": content[first]["document"]["name"]})
        last = self.turns[-1]
        if last["role"] == "assistant" and "text" in last["content"][-1]:
            last["content"][-1]["text"] = last["content"][-1]["text"].rstrip()


def _results_first(content: list[Block]) -> list[Block]:
    """A cache mark stays behind the result that it follows."""
    of_results = ["toolResult" in block for block in content]
    for number in range(1, len(content)):
        of_results[number] = of_results[number] or (of_results[number - 1] and "cachePoint" in content[number])
    if not any(of_results) or of_results == sorted(of_results, reverse=True):
        return content
    return [one for one, mine in zip(content, of_results, strict=True) if mine] + [
        one for one, mine in zip(content, of_results, strict=True) if not mine
    ]


def cache_point(cache: str) -> Block:
    """Five minutes are what is meant where nothing is said."""
    return {"cachePoint": {"type": "default", "ttl": cache} if cache == "1h" else {"type": "default"}}


def tool_name(name: str, namespace: str, path: str) -> str:
    """The name as one word; raises Unfit where the language has no such names."""
    flat = flat_name(name, namespace)
    if not TOOL_NAME.fullmatch(flat):
        raise Unfit(f"{path}.name", "must be at most 64 letters, digits, _ and - for this backend")
    return flat
