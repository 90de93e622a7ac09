"""Content blocks of a caller's request as parts of a conversation.

The rule: every block type that other languages have is read into its part; any other is `Foreign`, so that Anthropic gets it back whole.
Fields of blocks that are not known are left out.
"""

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from appliance.core.message import Citation, Foreign, Media, Part, Reasoning, Text, ToolCall, ToolResult
from appliance.core.seal import UNSIGNED, Seal, unwrap, wrap
from appliance.core.tool_ids import original_id
from appliance.dialects.anthropic_json import dump_text
from appliance.dialects.fields import Unfit, flag, mapping, needed, one_of, optional, sequence, text

FAMILY = "anthropic"

BEHIND, AHEAD = "last-", "next-"
"""Before the maker's name in the data of a redacted thinking block: the seal belongs to the text or tool call before it, or to the call
that comes next. Those blocks have no field for a seal in this language, and Gemini refuses a call whose seal was lost."""

PDF = "application/pdf"


def read_content(content: Any, path: str, names: dict[str, str], refused: Callable[[str], bool] | None = None) -> list[Part]:
    """A message's content.

    Args:
        names: of tools by the ids of their calls, filled and used on the way.
        refused: which block types may not stand here; blocks inside blocks are told from each other by it, so nesting ends.
    """
    if isinstance(content, str):
        return [Text(content)] if content else []
    if not isinstance(content, list):
        raise Unfit(path, "must be a string or an array of content blocks")
    parts: list[Part] = []
    ahead: Seal | None = None
    for place, block in enumerate(content):
        where = f"{path}[{place}]"
        fields = mapping(block, where)
        kind = needed(text, fields, "type", where)
        if refused is not None and refused(kind):
            raise Unfit(where, "is of a type that cannot stand here")
        if kind == "redacted_thinking":
            ahead = _add_sealed(parts, needed(text, fields, "data", where)) or ahead
        elif kind == "tool_use":
            call, ahead = attrs.evolve(_tool_use(fields, where), seal=ahead), None
            names[call.id] = call.name
            parts.append(call)
        elif kind == "tool_result":
            parts.append(_tool_result(fields, where, names))
        else:
            parts += _block(kind, fields, where)
    return parts


def read_texts(content: Any, path: str) -> tuple[Text, ...]:
    """The content of a system prompt: a string, or text blocks only."""
    parts = read_content(content, path, {}, lambda kind: kind != "text")
    return tuple(part for part in parts if isinstance(part, Text))


def cache_of(block: Mapping[str, Any], path: str) -> str:
    """The lifetime of a block's cache mark, empty for no mark; five minutes is Anthropic's own default."""
    mark = optional(mapping, block, "cache_control", path)
    return "" if mark is None else optional(text, mark, "ttl", f"{path}.cache_control") or "5m"


def carrier(seal: Seal, where: str) -> dict[str, Any]:
    """The redacted thinking block that carries a seal of a text or tool call. where: it stands BEHIND that, or AHEAD of it."""
    return {"type": "redacted_thinking", "data": wrap(attrs.evolve(seal, maker=where + seal.maker), FAMILY)}


def _add_sealed(parts: list[Part], data: str) -> Seal | None:
    """Thoughts that are a seal alone, or a seal of the last part; returned is one of the call that comes next. Where the part that it
    belonged to is gone, the seal goes with it."""
    seal = unwrap(data, FAMILY)
    if seal.maker.startswith(AHEAD):
        return Seal(seal.maker.removeprefix(AHEAD), seal.value)
    last = parts[-1] if parts else None
    if not seal.maker.startswith(BEHIND):
        parts.append(Reasoning(seal=seal, hidden=True))
    elif isinstance(last, Text | ToolCall):
        parts[-1] = attrs.evolve(last, seal=Seal(seal.maker.removeprefix(BEHIND), seal.value))
    return None


def _block(kind: str, block: Mapping[str, Any], path: str) -> list[Part]:
    """A block of a type that stands in messages and, some of them, in tool results."""
    if kind == "text":
        return [Text(needed(text, block, "text", path), _citations(block, path), cache_of(block, path))]
    if kind == "image":
        return [_image(block, path)]
    if kind == "document":
        return list(_document(block, path))
    if kind == "search_result":
        return [_search_result(block, path)]
    if kind == "thinking":
        return [Reasoning(needed(text, block, "thinking", path), seal=signature_seal(optional(text, block, "signature", path)))]
    return [Foreign(FAMILY, kind, block)]


def signature_seal(signature: str | None) -> Seal | None:
    """The seal in a thinking block's signature."""
    return unwrap(signature, FAMILY) if signature and signature != UNSIGNED else None


def _citations(block: Mapping[str, Any], path: str) -> tuple[Citation, ...]:
    found = optional(sequence, block, "citations", path) or []
    return tuple(read_citation(mapping(one, f"{path}.citations[{place}]")) for place, one in enumerate(found))


def read_citation(raw: Mapping[str, Any]) -> Citation:
    """Anthropic's citation object. Its positions are the source's, not the text's, so they stay in `raw`."""
    title, url, cited = (raw.get("title") or raw.get("document_title")), (raw.get("url") or raw.get("source")), raw.get("cited_text")
    return Citation(_text(title), _text(url), _text(cited), raw=raw)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _image(block: Mapping[str, Any], path: str) -> Media:
    source = needed(mapping, block, "source", path)
    where, cache = f"{path}.source", cache_of(block, path)
    kind = one_of(source.get("type"), ("base64", "url", "file"), f"{where}.type")
    if kind == "base64":
        data = needed(text, source, "data", where)
        return Media("image", needed(text, source, "media_type", where), data, cache=cache)
    if kind == "url":
        return Media("image", url=needed(text, source, "url", where), cache=cache)
    return Media("image", file_id=needed(text, source, "file_id", where), cache=cache)


def _document(block: Mapping[str, Any], path: str) -> tuple[Media, ...]:
    source = needed(mapping, block, "source", path)
    where = f"{path}.source"
    kind = one_of(source.get("type"), ("base64", "text", "url", "content", "file"), f"{where}.type")
    citations = optional(mapping, block, "citations", path) or {}
    bare = Media(
        "document",
        name=optional(text, block, "title", path) or "",
        context=optional(text, block, "context", path) or "",
        cites=optional(flag, citations, "enabled", f"{path}.citations") or False,
        cache=cache_of(block, path),
    )
    if kind == "base64":
        media_type = optional(text, source, "media_type", where) or PDF
        return (attrs.evolve(bare, media_type=media_type, data=needed(text, source, "data", where)),)
    if kind == "text":
        return (attrs.evolve(bare, media_type="text/plain", data=needed(text, source, "data", where), plain=True),)
    if kind == "url":
        return (attrs.evolve(bare, media_type=PDF, url=needed(text, source, "url", where)),)
    if kind == "file":
        return (attrs.evolve(bare, file_id=needed(text, source, "file_id", where)),)
    return _document_of_blocks(bare, read_content(source.get("content"), f"{where}.content", {}, _not_words_or_image))


def _document_of_blocks(bare: Media, parts: list[Part]) -> tuple[Media, ...]:
    """A document made of blocks: each run of its texts is a plain one, its images stand between them. The bounds of its chunks, which
    only citations of block positions need, are lost."""
    found: list[Media] = []
    for part in parts:
        before = found[-1] if found else None
        if isinstance(part, Media):
            found.append(part)
        elif isinstance(part, Text) and before is not None and before.plain:
            found[-1] = attrs.evolve(before, data=f"{before.data}\n\n{part.text}")
        elif isinstance(part, Text):
            found.append(attrs.evolve(bare, media_type="text/plain", data=part.text, plain=True, cache=""))
    if found and bare.cache:
        found[-1] = attrs.evolve(found[-1], cache=bare.cache)
    return tuple(found)


def _search_result(block: Mapping[str, Any], path: str) -> Media:
    """A hit of the caller's own search, as a plain document with its source told beside it."""
    words = "\n\n".join(part.text for part in read_texts(block.get("content"), f"{path}.content"))
    citations = optional(mapping, block, "citations", path) or {}
    return Media(
        "document",
        "text/plain",
        words,
        name=needed(text, block, "title", path),
        context=f"Source: {needed(text, block, 'source', path)}",
        plain=True,
        cites=optional(flag, citations, "enabled", f"{path}.citations") or False,
        cache=cache_of(block, path),
    )


def _tool_use(block: Mapping[str, Any], path: str) -> ToolCall:
    arguments = dump_text(needed(mapping, block, "input", path))
    return ToolCall(original_id(needed(text, block, "id", path)), needed(text, block, "name", path), arguments, cache=cache_of(block, path))


def _tool_result(block: Mapping[str, Any], path: str, names: Mapping[str, str]) -> ToolResult:
    call_id = original_id(needed(text, block, "tool_use_id", path))
    parts: list[Text | Media] = []
    content = block.get("content")
    for part in () if content is None else read_content(content, f"{path}.content", {}, _never_in_results):
        if isinstance(part, Text | Media):
            parts.append(part)
        elif isinstance(part, Foreign):
            parts.append(_told(part))
    is_error = optional(flag, block, "is_error", path) or False
    return ToolResult(call_id, tuple(parts), names.get(call_id, ""), is_error, cache=cache_of(block, path))


def _not_words_or_image(kind: str) -> bool:
    return kind not in ("text", "image")


def _never_in_results(kind: str) -> bool:
    return kind in ("tool_use", "tool_result", "thinking", "redacted_thinking")


def _told(block: Foreign) -> Text:
    """A block that no other language has inside a tool's result, in words: the name of a tool that was found, else its own JSON."""
    name = block.raw.get("tool_name")
    return Text(name if block.kind == "tool_reference" and isinstance(name, str) else dump_text(block.raw))
