"""Which tool call a fragment of a stream belongs to, and what is known of each.

The rule: a call is told by what its fragments have. OpenAI gives each an index, and id and name once; other vendors leave out the index,
repeat id and name, send them late or never, or number all calls 0.
"""

from collections.abc import Mapping
from typing import Any

import attrs
import orjson

from appliance.core.message import ToolCall
from appliance.dialects.chat_answer_parts import arguments_text, mended_text
from appliance.dialects.openai_usage import text_of

CALLS_MAX = 1_024
"""Calls in one answer: more than any model makes."""

LEGACY = -1
"""The index of `function_call`, which has none."""


@attrs.define
class Call:
    """One tool call under way.

    Attributes:
        part: its number once it has started, -1 before: a part starts with its id and its name.
        pieces: of its arguments, kept to the end: what a cut at the token limit left is told from whole arguments.
        lost: there were too many of them to keep. ended: its part is over; what still comes of it is nothing or a mistake.
        sealed: its seal came with its first piece, and has been told.
    """

    id: str = ""
    name: str = ""
    custom: bool = False
    part: int = -1
    pieces: list[str] = attrs.field(factory=list, repr=False)
    lost: bool = False
    ended: bool = False
    sealed: bool = False
    extra: dict[str, Any] = attrs.field(factory=dict, repr=False)

    def take(self, entry: Mapping[str, Any]) -> str:
        """What a fragment adds: id, name and seal to the call, and the arguments that are returned."""
        custom = entry.get("custom")
        named = custom if isinstance(custom, dict) else entry.get("function")
        named = named if isinstance(named, dict) else {}
        self.id = self.id or text_of(entry.get("id"))
        self.name = self.name or text_of(named.get("name"))
        self.custom = self.custom or isinstance(custom, dict)
        extra = entry.get("extra_content")
        if isinstance(extra, dict):
            self.extra |= extra
        text = text_of(named.get("input")) if self.custom else arguments_text(named.get("arguments"))
        return text if text.isascii() else mended_text(text)

    def is_full(self) -> bool:
        """Whether its arguments are an object with something in it, so that they are whole. An empty one may be a vendor's way to begin."""
        text = "".join(self.pieces).strip()
        if self.custom or len(text) <= len("{}") or text[0] != "{" or text[-1] != "}":
            return False
        try:
            return isinstance(orjson.loads(text), dict)
        except orjson.JSONDecodeError:
            return False

    def so_far(self) -> ToolCall:
        return ToolCall(self.id, self.name, "{}" if self.lost else "".join(self.pieces), custom=self.custom)


@attrs.define
class CallBook:
    """The calls of one candidate, in the order in which they came."""

    calls: list[Call] = attrs.field(factory=list)
    _by_index: dict[int, Call] = attrs.field(factory=dict)

    def find(self, entry: Mapping[str, Any]) -> Call | None:
        """The call that a fragment belongs to, a new one where it is none's; None when there are too many."""
        index, call_id = entry.get("index"), text_of(entry.get("id"))
        named = entry.get("function")
        name = text_of(named.get("name")) if isinstance(named, dict) else ""
        if isinstance(index, int):
            call = self._by_index.get(index)
            if call is not None and _is_another(call, call_id, name):
                call = None
        else:
            call = self._without_index(call_id, name)
        if call is None:
            if len(self.calls) >= CALLS_MAX:
                return None
            call = Call()
            self.calls.append(call)
        if isinstance(index, int):
            self._by_index[index] = call
        return call

    def _without_index(self, call_id: str, name: str) -> Call | None:
        """Gemini's and Mistral's endpoints: by id; without one the last call goes on until a name comes again."""
        if call_id:
            return next((one for one in self.calls if one.id == call_id), None)
        last = self.calls[-1] if self.calls else None
        return None if last is not None and name and last.name and last.pieces else last


def _is_another(call: Call, call_id: str, name: str) -> bool:
    """A fragment under an index that is taken names another call than the one that has it."""
    if not name or not call.name:
        return False
    return call.id != call_id if call.id and call_id else not call_id and call.name != name
