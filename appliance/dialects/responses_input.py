"""Reads the `input` of a Responses request: a text, or items, into messages.

The rule: items that one speaker's turn is spread over (thoughts, words, calls) become one message again, and a run of tool results one
message of role `tool`. What only the backend that stored it could read is refused; a built-in tool's items travel as they are.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from appliance.core.message import Foreign, Media, Message, Part, Reasoning, Role, Text, ToolCall, ToolResult
from appliance.core.seal import Seal, unwrap
from appliance.dialects import fields as f
from appliance.dialects.fields import Unfit
from appliance.dialects.responses_content import FAMILY, read_content
from appliance.dialects.responses_tools import Toolbox

OWN = "openai"
"""The maker of the seals that this language carries as they are."""

CARRIED, COMING = "prev.", "next."
"""Starts the encrypted content of a reasoning item that holds the seal of the part before it, or of the call behind it (Gemini signs its
calls): calls have no field for one here. A seal of OpenAI's never has a full stop."""

_ROLES = ("user", "assistant", "system", "developer")
_STORED = {
    "item_reference": "refers to an item that is stored at a provider: send the item itself",
    "compaction": "is encrypted and can only be read by the provider that made it: send the conversation itself",
    "compaction_summary": "is encrypted and can only be read by the provider that made it: send the conversation itself",
}
_NOTED = ("phase", "caller", "async")
"""Members of items that no other language has: what the words are for, and that a program of the model's made the call."""


@attrs.define
class InputReader:
    """Attributes:
    lost: members of items that could not be carried, to be reported.
    """

    toolbox: Toolbox
    lost: set[str] = attrs.field(factory=set)
    _messages: list[Message] = attrs.field(factory=list)
    _role: Role | None = None
    _parts: list[Part] = attrs.field(factory=list)
    _names: dict[str, str] = attrs.field(factory=dict)
    _coming: Seal | None = None  # of the call that is the next item

    def read(self, value: Any, path: str) -> tuple[Message, ...]:
        if isinstance(value, str):
            return (Message("user", (Text(value),)),)
        if not isinstance(value, list):
            raise Unfit(path, f"must be a string or an array, not {f.kind_of(value)}")
        for place, one in enumerate(value):
            self._read_item(f.mapping(one, f"{path}[{place}]"), f"{path}[{place}]")
        self._close()
        return tuple(_in_order(self._messages))

    def _read_item(self, item: Mapping[str, Any], path: str) -> None:
        kind = f.optional(f.text, item, "type", path)
        coming, self._coming = self._coming, None
        self.lost |= {name for name in _NOTED if item.get(name) not in (None, False, {"type": "direct"})}
        match kind:
            case "message":
                self._read_message(item, path)
            case None if "role" in item:  # the easy form leaves the type out
                self._read_message(item, path)
            case "function_call":
                self._read_call(item, path, "arguments", coming)
            case "custom_tool_call":
                self._read_call(item, path, "input", coming)
            case "function_call_output" | "custom_tool_call_output":
                self._read_result(item, path)
            case "reasoning":
                self._read_reasoning(item, path)
            case "additional_tools":
                self.toolbox.add(item.get("tools") or [], f"{path}.tools")
            case "agent_message":
                self._alone("user", read_content(item.get("content") or [], f"{path}.content"))
            case None if "id" in item:
                raise Unfit(path, _STORED["item_reference"])
            case None:
                raise Unfit(f"{path}.type", "is missing")
            case _:
                self._read_built_in(item, kind, path)

    def _read_message(self, item: Mapping[str, Any], path: str) -> None:
        role = f.one_of(item.get("role"), _ROLES, f"{path}.role")
        content = read_content(item.get("content"), f"{path}.content")
        if role == "assistant":
            self._add("assistant", *content)
        else:
            self._alone("user" if role == "user" else "system" if role == "system" else "developer", content)

    def _read_call(self, item: Mapping[str, Any], path: str, field: str, seal: Seal | None) -> None:
        name = f.needed(f.text, item, "name", path)
        call_id = f.needed(f.text, item, "call_id", path)
        self._names[call_id] = name
        namespace = f.optional(f.text, item, "namespace", path) or ""
        arguments = f.optional(f.text, item, field, path) or ""
        self._add("assistant", ToolCall(call_id, name, arguments, namespace, custom=field == "input", seal=seal))

    def _read_result(self, item: Mapping[str, Any], path: str) -> None:
        call_id = f.optional(f.text, item, "call_id", path) or ""
        if not call_id:
            self._read_told(item, path)
            return
        parts: list[Text | Media] = []
        for part in read_content(item.get("output"), f"{path}.output"):
            if not isinstance(part, Text | Media):
                raise Unfit(f"{path}.output", "must hold input_text, input_image and input_file only")
            parts.append(part)
        name = f.optional(f.text, item, "name", path) or self._names.get(call_id, "")
        self._add("tool", ToolResult(call_id, tuple(parts), name, custom=item["type"] == "custom_tool_call_output"))

    def _read_told(self, item: Mapping[str, Any], path: str) -> None:
        """What a tool said that nobody called: agents tell of their own doings so (openai/codex#42088). No other language has such a
        result, so its words are the user's."""
        name = f.needed(f.text, item, "name", path)  # an output with neither is one whose call got lost
        self.lost.add("call_id")
        self._alone("user", (Text(f"Output of the tool {name}:"), *read_content(item.get("output"), f"{path}.output")))

    def _read_reasoning(self, item: Mapping[str, Any], path: str) -> None:
        sealed = f.optional(f.text, item, "encrypted_content", path) or ""
        words = [Reasoning(text) for text in _texts(item, "content", path)]
        words += [Reasoning(text, summary=True) for text in _texts(item, "summary", path)]
        if sealed.startswith(CARRIED):
            self._seal_last(unwrap(sealed.removeprefix(CARRIED), OWN))
        elif sealed.startswith(COMING):
            self._coming = unwrap(sealed.removeprefix(COMING), OWN)
        elif sealed:
            seal = unwrap(sealed, OWN)
            last = attrs.evolve(words.pop(), seal=seal) if words else Reasoning(seal=seal, hidden=True)
            self._add("assistant", *words, last)
        elif words:
            self._add("assistant", *words)
        else:
            self._add("assistant", Foreign(FAMILY, "reasoning", dict(item)))  # nothing but the id of stored thoughts

    def _seal_last(self, seal: Seal) -> None:
        """To the call or words that it was made for; thoughts of their own where those are gone."""
        last = self._parts[-1] if self._parts and self._role == "assistant" else None
        if isinstance(last, ToolCall | Text) and last.seal is None:
            self._parts[-1] = attrs.evolve(last, seal=seal)
        else:
            self._add("assistant", Reasoning(seal=seal, hidden=True))

    def _read_built_in(self, item: Mapping[str, Any], kind: str, path: str) -> None:
        if kind in _STORED:
            raise Unfit(path, _STORED[kind])
        if kind == "tool_search_output":  # what the search loaded can be called from here on
            self.toolbox.add(item.get("tools") or [], f"{path}.tools")
        self._add("assistant", Foreign(FAMILY, kind, dict(item)))

    def _add(self, role: Role, *parts: Part) -> None:
        if role != self._role:
            self._close()
            self._role = role
        self._parts += parts

    def _alone(self, role: Role, parts: tuple[Part, ...]) -> None:
        """A message of its own, whoever spoke before."""
        self._close()
        if parts:
            self._messages.append(Message(role, parts))

    def _close(self) -> None:
        if self._role is not None and self._parts:
            self._messages.append(Message(self._role, tuple(self._parts)))
        self._role, self._parts = None, []


def _in_order(messages: list[Message]) -> list[Message]:
    """Each result behind the turn that made its call, where other languages want it: here anything may stand between the two."""
    makers: dict[str, int] = {}
    for number, message in enumerate(messages):
        for part in message.parts:
            if isinstance(part, ToolCall):
                makers.setdefault(part.id, number)
    late: dict[int, list[Part]] = {}
    kept: list[tuple[int, Message]] = []
    turn = -1
    for number, message in enumerate(messages):
        if message.role != "tool":
            turn = number
            kept.append((number, message))
            continue
        there: list[Part] = []
        for part in message.parts:
            maker = makers.get(part.call_id, turn) if isinstance(part, ToolResult) else turn
            (there if maker == turn or maker > number else late.setdefault(maker, [])).append(part)
        if there:
            kept.append((turn, Message("tool", tuple(there))))
    return _with_late(kept, late) if late else messages


def _with_late(kept: list[tuple[int, Message]], late: Mapping[int, list[Part]]) -> list[Message]:
    """Messages, each with the number of its turn, and behind each turn the results that came too late."""
    out: list[Message] = []
    for place, (turn, message) in enumerate(kept):
        last_of_turn = place + 1 == len(kept) or kept[place + 1][0] != turn
        more = tuple(late.get(turn, ())) if last_of_turn else ()
        if more and message.role == "tool":
            out.append(attrs.evolve(message, parts=(*message.parts, *more)))
        else:
            out += [message, Message("tool", more)] if more else [message]
    return out


def _texts(item: Mapping[str, Any], name: str, path: str) -> list[str]:
    where = f"{path}.{name}"
    found = f.optional(f.sequence, item, name, path) or []
    return [f.needed(f.text, f.mapping(one, f"{where}[{place}]"), "text", f"{where}[{place}]") for place, one in enumerate(found)]
