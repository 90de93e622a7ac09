"""A caller's `contents` as canonical messages.

The rule: a call without an id gets one made from its place in the conversation, which stays the same when the history comes back longer;
a result belongs to the call whose id it names, else to the first open call of its name, else to the first open call.
"""

from collections import defaultdict, deque
from collections.abc import Mapping
from typing import Any

import attrs

from appliance.core.message import Media, Message, Part, Reasoning, Role, Text, ToolCall, ToolResult
from appliance.core.seal import Seal
from appliance.core.tool_ids import made_id
from appliance.dialects.fields import Unfit, mapping, needed, one_of, optional, text
from appliance.dialects.gemini_json import dump, message, messages
from appliance.dialects.gemini_parts import (
    LOST_NOTES,
    continues,
    joined,
    kind_of,
    read_foreign,
    read_media,
    read_sealed,
    read_text,
    settled,
)
from appliance.dialects.gemini_seal import read_seal

ROLES: dict[str, Role] = {"user": "user", "model": "assistant", "function": "user"}
"""`function` is the role of results in Google's first version."""

SAID_IN = (("error", True), ("output", False), ("result", False))
"""Members of a function response that hold all it says: Google's own words, and what google-genai wraps a bare value in."""

_SEED = "gemini"


@attrs.define
class _OpenCalls:
    """Calls without a result, to be found by id, by name and by order. A long history is no reason to search it for every result."""

    _queues: dict[tuple[str, str], deque[tuple[int, ToolCall]]] = attrs.field(factory=lambda: defaultdict(deque))
    _closed: set[int] = attrs.field(factory=set)
    _count: int = 0

    def add(self, call: ToolCall) -> None:
        for key in (("id", call.id), ("name", call.name), ("", "")):
            self._queues[key].append((self._count, call))
        self._count += 1

    def close(self, given: str, name: str) -> str:
        """The id of the call that a result is for; the id it names itself (perhaps "") where no call fits."""
        for key in (("id", given), ("name", name), ("", "")) if not given else (("id", given), ("name", name)):
            queue = self._queues.get(key, deque())
            while queue and queue[0][0] in self._closed:
                queue.popleft()
            if queue:
                number, call = queue.popleft()
                self._closed.add(number)
                return call.id
        return given


@attrs.define
class _Reader:
    """lost: what parts say and no message can hold, by path."""

    lost: dict[str, Any] = attrs.field(factory=dict)
    _messages: list[tuple[Role, list[Part]]] = attrs.field(factory=list)
    _more: list[str] = attrs.field(factory=list)
    _open: _OpenCalls = attrs.field(factory=_OpenCalls)
    _calls: int = 0
    _results: int = 0

    def content(self, content: Mapping[str, Any], path: str) -> None:
        """Runs of parts with one canonical role are one message. The model's own contents in a row are one, too: a client that keeps a
        stream's chunks sends them back so."""
        role = ROLES[one_of(content.get("role") or "user", tuple(ROLES), f"{path}.role")]
        fresh = role != "assistant"
        for place, fields in enumerate(messages(content.get("parts") or [], f"{path}.parts")):
            part = self.part(fields, f"{path}.parts[{place}]")
            if part is None:
                continue
            run_role: Role = "tool" if isinstance(part, ToolResult) else role
            if fresh or not self._messages or self._messages[-1][0] != run_role:
                self._join(None)
                self._messages.append((run_role, []))
                fresh = False
            self._add(self._messages[-1][1], part, first=place == 0)

    def _add(self, parts: list[Part], part: Part, *, first: bool) -> None:
        """Two texts of one content stay two; one that was cut between two contents is one again."""
        if parts and isinstance(part, Text | Reasoning) and (first or not part.text) and continues(parts[-1], part):
            self._more.append(part.text)  # joined at the end of all: a stream's history has thousands of pieces
            if part.seal is not None:
                self._join(part.seal)
        else:
            self._join(None)
            parts.append(part)

    def _join(self, seal: Seal | None) -> None:
        if self._more:
            parts = self._messages[-1][1]
            parts[-1] = joined(parts[-1], "".join(self._more), seal)
            self._more.clear()

    def finished(self) -> list[Message]:
        self._join(None)
        return [Message(role, tuple(settled(part) for part in parts)) for role, parts in self._messages]

    def part(self, part: Mapping[str, Any], path: str) -> Part | None:
        for name in LOST_NOTES:
            if part.get(name) is not None:
                self.lost[f"{path}.{name}"] = part[name]
        kind = kind_of(part)
        if kind == "text":
            words = read_text(part, path, read_seal)
            return words if words.text or words.seal is not None else None
        if kind in ("inlineData", "fileData"):
            return read_media(part, path)
        if kind == "functionCall":
            return self._call(part, path)
        if kind == "functionResponse":
            return self._result(message(part[kind], f"{path}.{kind}"), f"{path}.{kind}")
        return read_foreign(part, kind)

    def _call(self, part: Mapping[str, Any], path: str) -> ToolCall:
        where = f"{path}.functionCall"
        fields = message(part["functionCall"], where)
        args = optional(mapping, fields, "args", where)
        made = made_id(_SEED, self._calls)
        self._calls += 1
        call = ToolCall(
            optional(text, fields, "id", where) or made,
            needed(text, fields, "name", where),
            dump(args).decode() if args else "",
            seal=read_sealed(part, path, read_seal)[0],
        )
        self._open.add(call)
        return call

    def _result(self, fields: Mapping[str, Any], path: str) -> ToolResult:
        name, given = optional(text, fields, "name", path) or "", optional(text, fields, "id", path) or ""
        response = optional(mapping, fields, "response", path) or {}
        words, is_error = response_text(response)
        parts: list[Text | Media] = [Text(words)] if words else []
        for place, one in enumerate(messages(fields.get("parts") or [], f"{path}.parts")):
            where = f"{path}.parts[{place}]"
            if kind_of(one) not in ("inlineData", "fileData"):
                raise Unfit(where, "must have inlineData or fileData")
            parts.append(read_media(one, where))
        self._results += 1
        return ToolResult(self._open.close(given, name) or made_id(f"{_SEED} result", self._results), tuple(parts), name, is_error)


def response_text(response: Mapping[str, Any]) -> tuple[str, bool]:
    """A function response in words, and whether it tells of an error."""
    for member, is_error in SAID_IN:
        if response.keys() == {member}:
            value = response[member]
            if value is None:
                return "", is_error
            return (value if isinstance(value, str) else dump(value).decode()), is_error
    return (dump(response).decode() if response else ""), False


def read_contents(value: Any, path: str) -> tuple[list[Message], dict[str, Any]]:
    """The messages, and by path what parts said that no message can hold; raises Unfit."""
    contents = messages(value, path)
    if not contents:
        raise Unfit(path, "must not be empty")
    reader = _Reader()
    for place, content in enumerate(contents):
        reader.content(content, f"{path}[{place}]")
    return reader.finished(), reader.lost


def read_system(value: Any, path: str) -> tuple[list[Message], dict[str, Any]]:
    """`systemInstruction` as no message or one."""
    content = message(value, path)
    reader = _Reader()
    reader.content({"role": "user", "parts": content.get("parts") or []}, path)
    parts = tuple(part for one in reader.finished() for part in one.parts)
    return ([Message("system", parts)] if parts else []), reader.lost
