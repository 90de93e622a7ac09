"""Writes messages as the `input` items of a Responses request.

The rule: items carry no ids. An id means a stored item to the provider, which then looks for it, and encrypted thoughts are checked against
it (BerriAI/litellm#15782, NousResearch/hermes-agent#10217); without one they are taken as they are.
"""

from collections.abc import Sequence
from typing import Any

import attrs

from appliance.core.message import Foreign, Message, Part, Reasoning, Text, ToolCall, ToolResult
from appliance.core.tool_forms import error_in_words
from appliance.core.tool_ids import safe_id
from appliance.dialects.responses_content import FAMILY, write_piece
from appliance.dialects.responses_input import OWN

_ROLES = {"tool": "user"}  # a piece that is no result, in a message of results


@attrs.define
class InputWriter:
    """One request's items.

    Attributes:
        first: the number of the first message in the conversation, for paths.
        dropped: gets what could not be said.
    """

    first: int
    dropped: list[str]
    _items: list[dict[str, Any]] = attrs.field(factory=list)
    _pieces: list[dict[str, Any]] = attrs.field(factory=list)
    _thoughts: list[Reasoning] = attrs.field(factory=list)

    def write(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        """Raises Unfit for what there is no item for."""
        for number, message in enumerate(messages, self.first):
            path = f"messages[{number}]"
            if message.name:
                self.dropped.append(f"{path}.name")
            role = _ROLES.get(message.role, message.role)
            for place, part in enumerate(message.parts):
                self._write_part(part, role, f"{path}.parts[{place}]")
            self._close(role, path)
        return self._items

    def _write_part(self, part: Part, role: str, path: str) -> None:
        if isinstance(part, Reasoning):
            self._write_thought(part, role, path)
            return
        self._drop_thoughts(path)
        if isinstance(part, ToolCall):
            self._item(role, self._write_call(part, path))
        elif isinstance(part, ToolResult):
            self._item(role, self._write_result(part, path))
        elif isinstance(part, Foreign):
            if part.family == FAMILY and part.kind != "encrypted_content":
                self._item(role, dict(part.raw))
            else:
                self.dropped.append(f"{path}: {part.kind}")
        else:
            seal = getattr(part, "seal", None)
            if seal is not None:
                self.dropped.append(f"{path}: sealed reasoning of {seal.maker}")
            self._pieces.append(write_piece(part, role, path, self.dropped))

    def _write_thought(self, thought: Reasoning, role: str, path: str) -> None:
        """Thoughts are said as far as a seal of this vendor's own goes with them: words alone it refuses, or looks for what it stored."""
        if thought.seal is not None and thought.seal.maker != OWN:
            self._drop_thoughts(path)
            self.dropped.append(f"{path}: sealed reasoning of {thought.seal.maker}")
            return
        self._thoughts.append(thought)
        if thought.seal is not None:
            self._item(role, self._write_thoughts(thought.seal.value))

    def _write_thoughts(self, sealed: str) -> dict[str, Any]:
        shown = [one for one in self._thoughts if not one.hidden]
        content = [{"type": "reasoning_text", "text": one.text} for one in shown if not one.summary]
        item: dict[str, Any] = {"type": "reasoning", "summary": [], "encrypted_content": sealed}
        item["summary"] = [{"type": "summary_text", "text": one.text} for one in shown if one.summary]
        self._thoughts.clear()
        return {**item, "content": content} if content else item

    def _drop_thoughts(self, path: str) -> None:
        if self._thoughts:
            self._thoughts.clear()
            self.dropped.append(f"{path.rpartition('.')[0]}: reasoning without a seal")

    def _write_call(self, call: ToolCall, path: str) -> dict[str, Any]:
        if call.seal is not None:
            self.dropped.append(f"{path}: sealed reasoning of {call.seal.maker}")
        if call.cache:
            self.dropped.append(f"{path}.cache")
        item: dict[str, Any] = {
            "type": "custom_tool_call" if call.custom else "function_call", "call_id": safe_id(call.id), "name": call.name,
        }  # fmt: skip
        if call.namespace:
            item["namespace"] = call.namespace
        item["input" if call.custom else "arguments"] = call.arguments if call.custom else call.arguments or "{}"
        return item

    def _write_result(self, result: ToolResult, path: str) -> dict[str, Any]:
        if result.cache:
            self.dropped.append(f"{path}.cache")
        result = error_in_words(result)
        pieces = [write_piece(part, "tool", f"{path}.parts[{place}]", self.dropped) for place, part in enumerate(result.parts)]
        only_text = len(pieces) == 1 and pieces[0]["type"] == "input_text"
        output = "" if not pieces else pieces[0]["text"] if only_text else pieces
        kind = "custom_tool_call_output" if result.custom else "function_call_output"
        return {"type": kind, "call_id": safe_id(result.call_id), "output": output}

    def _item(self, role: str, item: dict[str, Any]) -> None:
        self._say(role)
        self._items.append(item)

    def _say(self, role: str) -> None:
        if self._pieces:
            self._items.append({"type": "message", "role": role, "content": list(self._pieces)})
            self._pieces.clear()

    def _close(self, role: str, path: str) -> None:
        self._drop_thoughts(f"{path}.")
        self._say(role)


def system_text(messages: Sequence[Message]) -> str:
    """The first message as `instructions`: one that is nothing but words of the system's; else empty."""
    if not messages or messages[0].role != "system" or messages[0].name or len(messages[0].parts) != 1:
        return ""
    part = messages[0].parts[0]
    return part.text if isinstance(part, Text) and not part.cache and part.seal is None else ""
