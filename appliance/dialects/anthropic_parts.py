"""Parts of a conversation as content blocks of a request to Anthropic.

The rule: what a block cannot say is noted in `dropped`; what would change the meaning raises `Unfit`, which the request's writer turns into
a fault. Paths are those of core.conversation.
"""

import base64
from collections.abc import Mapping
from typing import Any

import attrs

from appliance.core.message import Citation, Foreign, Media, Part, Reasoning, Refusal, Text, ToolCall, ToolResult
from appliance.core.seal import UNSIGNED
from appliance.core.tool_forms import arguments_of, flat_name
from appliance.core.tool_ids import made_id, safe_id
from appliance.dialects.anthropic_blocks import FAMILY, PDF
from appliance.dialects.anthropic_json import INVALID_JSON, fragment
from appliance.dialects.fields import Unfit

Block = dict[str, Any]

CITED = frozenset({
    "char_location", "page_location", "content_block_location", "web_search_result_location", "search_result_location",
})  # fmt: skip

_IMAGE_STARTS = (("/9j/", "image/jpeg"), ("iVBOR", "image/png"), ("R0lGOD", "image/gif"), ("UklGR", "image/webp"))
"""How the formats that Anthropic takes begin in base64: it refuses an image that is not of the type that it is said to be."""

_IMAGE_TYPES = {"image/jpg": "image/jpeg"}


def cache_mark(cache: str) -> Block:
    """`cache_control`, if any, to be merged into a block. Five minutes go unsaid: older copies of the API know no other."""
    if not cache:
        return {}
    return {"cache_control": {"type": "ephemeral"} if cache == "5m" else {"type": "ephemeral", "ttl": cache}}


@attrs.frozen
class PartWriter:
    """Of one request.

    Attributes:
        dropped: paths of what was left out, added to on the way.
        _used: ids of calls so far. _asked: by a call's own id what its calls are called here, for the results that are still to come;
            _answered: the last one whose result has come.
    """

    dropped: list[str]
    _used: set[str] = attrs.field(factory=set, init=False)
    _asked: dict[str, list[str]] = attrs.field(factory=dict, init=False)
    _answered: dict[str, str] = attrs.field(factory=dict, init=False)

    def blocks(self, part: Part, path: str, role: str) -> list[Block]:
        """No block for what is left out. role: "user" or "assistant"."""
        if isinstance(part, Text):
            return self._text(part, path)
        if isinstance(part, ToolCall):
            return [self._call(part, path)]
        if isinstance(part, ToolResult):
            return [self._result(part, path)]
        if isinstance(part, Media):
            return self._media_in(role, part, path)
        if isinstance(part, Reasoning):
            return self._reasoning(part, path)
        if isinstance(part, Refusal):
            return self._text(Text(part.text), path)
        return self._foreign(part, path)

    def _text(self, part: Text, path: str) -> list[Block]:
        self._note_seal(part, path)
        if not part.text.strip():  # "text content blocks must contain non-whitespace text"
            return []
        block: Block = {"type": "text", "text": part.text}
        citations = [raw for place, one in enumerate(part.citations) if (raw := self._citation(one, f"{path}.citations[{place}]"))]
        if citations:
            block["citations"] = citations
        return [block | cache_mark(part.cache)]

    def _citation(self, citation: Citation, path: str) -> Any:
        """Anthropic's own only: another vendor's source is no document of this request, and a web citation needs its encrypted index."""
        raw = citation.raw
        if str(raw.get("type")) not in CITED or found_elsewhere(raw):
            self.dropped.append(path)
            return None
        return raw

    def _call(self, call: ToolCall, path: str) -> Block:
        self._note_seal(call, path)
        arguments = arguments_of(call.arguments) if call.custom else call.arguments
        spliced: Any = fragment(arguments)
        if spliced is None:  # what a model broke off or misspelt stays in the history, and must not end the conversation
            self.dropped.append(f"{path}.arguments: no JSON object, wrapped in one")
            spliced = {INVALID_JSON: arguments}
        name = flat_name(call.name, call.namespace)
        return {"type": "tool_use", "id": self._call_id(call.id), "name": name, "input": spliced} | cache_mark(call.cache)

    def _call_id(self, given: str) -> str:
        """"`tool_use` ids must be unique": some vendors begin to count anew in each answer, or give none."""
        found, again = safe_id(given), 0
        while found in self._used:
            again += 1
            found = made_id(given, len(self._used) + again)
        self._used.add(found)
        self._asked.setdefault(given, []).append(found)
        return found

    def _result_id(self, given: str) -> str:
        """Results of calls with one id are told apart by their order; one result more belongs to the last that was answered."""
        waiting = self._asked.get(given)
        if waiting:
            self._answered[given] = waiting.pop(0)
        return self._answered.get(given) or safe_id(given)

    def _result(self, result: ToolResult, path: str) -> Block:
        block: Block = {"type": "tool_result", "tool_use_id": self._result_id(result.call_id)}
        content: list[Block] = []
        for place, part in enumerate(result.parts):
            where = f"{path}.parts[{place}]"
            content += self._text(part, where) if isinstance(part, Text) else [self._media(part, where)]
        if content:
            block["content"] = plain_or_blocks(content)
        if result.is_error:
            block["is_error"] = True
        return block | cache_mark(result.cache)

    def _reasoning(self, part: Reasoning, path: str) -> list[Block]:
        seal = part.seal
        if seal is None:
            self.dropped.append(f"{path}: unsigned reasoning")
            return []
        if seal.maker != FAMILY:
            self.dropped.append(f"{path}: sealed reasoning of {seal.maker}")
            return []
        if part.hidden:
            return [{"type": "redacted_thinking", "data": seal.value}]
        return [{"type": "thinking", "thinking": part.text, "signature": seal.value}]

    def _foreign(self, part: Foreign, path: str) -> list[Block]:
        if part.family == FAMILY:
            return [dict(part.raw)]
        self.dropped.append(f"{path}: {part.kind}")
        return []

    def _note_seal(self, part: Text | ToolCall, path: str) -> None:
        if part.seal is not None:
            self.dropped.append(f"{path}: sealed reasoning of {part.seal.maker}")

    def _media_in(self, role: str, part: Media, path: str) -> list[Block]:
        if role == "assistant":  # what a model of another vendor drew: only users may show something here
            self.dropped.append(f"{path}: {part.kind}")
            return []
        return [self._media(part, path)]

    def _media(self, part: Media, path: str) -> Block:
        if part.detail and part.detail != "auto":
            self.dropped.append(f"{path}.detail")
        if part.kind == "image":
            return {"type": "image", "source": _image_source(part)} | cache_mark(part.cache)
        if part.kind != "document":
            raise Unfit(path, f"holds {part.kind}, which Anthropic's models do not take")
        block: Block = {"type": "document", "source": _document_source(part, path)}
        block |= {name: value for name, value in (("title", part.name), ("context", part.context)) if value}
        if part.cites:
            block["citations"] = {"enabled": True}
        return block | cache_mark(part.cache)


def found_elsewhere(citation: Mapping[str, Any]) -> bool:
    """Whether the source was found in a search that Anthropic knows nothing of."""
    return citation.get("type") == "web_search_result_location" and citation.get("encrypted_index") in (None, "", UNSIGNED)


def plain_or_blocks(blocks: list[Block]) -> Any:
    """One plain text as a string, which every copy of the API takes everywhere; else the blocks."""
    return blocks[0]["text"] if len(blocks) == 1 and blocks[0].keys() == {"type", "text"} else blocks


def _image_source(part: Media) -> Block:
    if part.url:
        return {"type": "url", "url": part.url}
    if part.file_id:
        return {"type": "file", "file_id": part.file_id}
    seen = next((kind for start, kind in _IMAGE_STARTS if part.data.startswith(start)), "")
    told = part.media_type.partition(";")[0].strip().lower()
    return {"type": "base64", "media_type": seen or _IMAGE_TYPES.get(told, told) or "image/png", "data": part.data}


def _document_source(part: Media, path: str) -> Block:
    if part.url:
        return {"type": "url", "url": part.url}
    if part.file_id:
        return {"type": "file", "file_id": part.file_id}
    if part.plain:
        return {"type": "text", "media_type": "text/plain", "data": part.data}
    kind = part.media_type.partition(";")[0].strip().lower()
    if kind in ("", PDF):
        return {"type": "base64", "media_type": PDF, "data": part.data}
    if kind.startswith("text/") or kind in ("application/json", "application/xml"):
        return {"type": "text", "media_type": "text/plain", "data": _decoded(part.data, path)}
    raise Unfit(path, "is a document that is neither PDF nor text, which is all that Anthropic's models take")


def _decoded(data: str, path: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except ValueError:
        raise Unfit(path, "is a document of text that is not base64 of UTF-8") from None
