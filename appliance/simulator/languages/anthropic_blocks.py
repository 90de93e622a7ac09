"""Content blocks of a Messages request: which fields each kind may have, in which role it may stand, what it says. Pure.

Kinds that the service's own tools make are let through as they are.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from appliance.simulator.api_error import ApiError
from appliance.simulator.chat_request import DOCUMENT_TOKENS, PICTURE_TOKENS, Media, decodes
from appliance.simulator.languages.anthropic_errors import invalid

CACHED = frozenset(("cache_control",))
# kind → fields it must have, fields it may have.
BLOCKS: Mapping[str, tuple[tuple[str, ...], frozenset[str]]] = {
    "text": (("text",), CACHED | {"citations"}),
    "image": (("source",), CACHED),
    "document": (("source",), CACHED | {"citations", "context", "title"}),
    "search_result": (("content", "source", "title"), CACHED | {"citations"}),
    "thinking": (("thinking", "signature"), frozenset()),
    "redacted_thinking": (("data",), frozenset()),
    "tool_use": (("id", "input", "name"), CACHED | {"caller", "toolset_name"}),
    "tool_result": (("tool_use_id",), CACHED | {"content", "is_error", "toolset_name"}),
}
OF_ASSISTANT = frozenset(("thinking", "redacted_thinking", "tool_use"))
OF_USER = frozenset(("tool_result", "image", "document", "search_result"))
OF_SERVICE = re.compile(r"server_tool_use|mcp_tool_use|\w+_tool_result|container_upload|compaction|fallback|tool_reference|browser_\w+")
TOOL_ID = re.compile(r"[a-zA-Z0-9_-]+")
SOURCES: Mapping[str, tuple[str, ...]] = {
    "base64": ("data", "media_type"),
    "url": ("url",),
    "file": ("file_id",),
    "text": ("data", "media_type"),
    "content": ("content",),
}
PICTURES = ("image/jpeg", "image/png", "image/gif", "image/webp")

Block = Mapping[str, Any]


def check_blocks(fields: Mapping[str, Any]) -> ApiError | None:
    """Of `system` and of every message."""
    error = check_content(fields.get("system") or "", "system", frozenset(("text",)), None)
    for i, message in enumerate(fields["messages"]):
        error = error or check_message(message, i)
    return error


def check_message(message: Any, i: int) -> ApiError | None:
    if not isinstance(message, dict):
        return invalid(f"messages.{i}: Input should be a valid dictionary")
    role = message.get("role")
    if role not in ("user", "assistant", "system"):
        return invalid(f"messages.{i}.role: Input should be 'user', 'assistant' or 'system'")
    unknown = next((name for name in message if name not in ("role", "content")), None)
    if unknown is not None:
        return invalid(f"messages.{i}.{unknown}: Extra inputs are not permitted")
    if message.get("content") is None:
        return invalid(f"messages.{i}.content: Field required")
    return check_content(message["content"], f"messages.{i}.content", frozenset(("text",)) if role == "system" else None, role)


def check_content(content: Any, path: str, only: frozenset[str] | None, role: str | None) -> ApiError | None:
    if isinstance(content, str):
        return None
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        return invalid(f"{path}: Input should be a valid list")
    for j, block in enumerate(content):
        error = check_block(block, f"{path}.{j}", only, role)
        if error is not None:
            return error
    return None


def check_block(block: Block, path: str, only: frozenset[str] | None, role: str | None) -> ApiError | None:
    kind = str(block.get("type"))
    if only is not None and kind not in only:
        return invalid(f"{path}: Input tag '{kind}' found using 'type' does not match any of the expected tags: {', '.join(sorted(only))}")
    if kind not in BLOCKS:
        if OF_SERVICE.fullmatch(kind):
            return None
        tags = ", ".join(map(repr, BLOCKS))
        return invalid(f"{path}: Input tag '{kind}' found using 'type' does not match any of the expected tags: {tags}")
    needed, more = BLOCKS[kind]
    absent = next((name for name in needed if block.get(name) is None), None)
    if absent is not None:
        return invalid(f"{path}.{kind}.{absent}: Field required")
    unknown = next((name for name in block if name not in more and name not in needed and name != "type"), None)
    if unknown is not None:
        return invalid(f"{path}.{kind}.{unknown}: Extra inputs are not permitted")
    if (role == "user" and kind in OF_ASSISTANT) or (role == "assistant" and kind in OF_USER):
        return invalid(f"{path}: `{kind}` blocks can only be in `{'assistant' if role == 'user' else 'user'}` messages")
    return check_inside(block, kind, path)


def check_inside(block: Block, kind: str, path: str) -> ApiError | None:
    for name in ("text", "thinking", "signature", "data", "id", "name", "tool_use_id"):
        if name in block and not isinstance(block[name], str):
            return invalid(f"{path}.{kind}.{name}: Input should be a valid string")
    if kind == "text" and not block["text"]:
        return invalid(f"{path}.text: text content blocks must be non-empty" if not block.get("cache_control") else
                       f"{path}.text: cache_control cannot be set for empty text blocks")  # fmt: skip
    for name in ("id", "tool_use_id"):
        if name in block and not TOOL_ID.fullmatch(block[name]):
            return invalid(f"{path}.{kind}.{name}: String should match pattern '^[a-zA-Z0-9_-]+$'")
    if kind == "tool_use" and not isinstance(block["input"], dict):
        return invalid(f"{path}.tool_use.input: Input should be a valid dictionary")
    if kind == "tool_result":
        inside = frozenset(("text", "image", "document", "search_result", "tool_reference", "browser_state"))
        return check_content(block.get("content") or "", f"{path}.tool_result.content", inside, None)
    if kind in ("image", "document"):
        return check_source(block["source"], kind, f"{path}.{kind}.source")
    return None


def check_source(source: Any, kind: str, path: str) -> ApiError | None:
    if not isinstance(source, dict):
        return invalid(f"{path}: Input should be a valid dictionary")
    form, needed = str(source.get("type")), SOURCES
    if form not in needed or (kind == "image" and form in ("text", "content")):
        return invalid(f"{path}: Input tag '{form}' found using 'type' does not match any of the expected tags")
    for name in needed[form]:
        if source.get(name) is None:
            return invalid(f"{path}.{form}.{name}: Field required")
    unknown = next((name for name in source if name not in needed[form] and name != "type"), None)
    if unknown is not None:
        return invalid(f"{path}.{form}.{unknown}: Extra inputs are not permitted")
    if form == "base64":
        types = PICTURES if kind == "image" else ("application/pdf",)
        if source["media_type"] not in types:
            return invalid(f"{path}.base64.media_type: Input should be {', '.join(map(repr, types))}")
        if not decodes(str(source["data"])):
            return invalid(f"{path}.base64.data: invalid base64 data")
    if form == "text" and source["media_type"] != "text/plain":
        return invalid(f"{path}.text.media_type: Input should be 'text/plain'")
    return check_content(source["content"], f"{path}.content", None, None) if form == "content" else None


def blocks_of(content: Any) -> list[Block]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def said(block: Block) -> str:
    """The text in a block, documents that are text and results of tools included."""
    match block["type"]:
        case "text":
            return str(block["text"])
        case "tool_result" | "search_result":
            return text_of(block.get("content") or "")
        case "document":
            source = block["source"]
            return str(source["data"]) if source["type"] == "text" else text_of(source.get("content") or "")
    return ""


def text_of(content: Any) -> str:
    return "\n".join(text for block in blocks_of(content) if (text := said(block)))


def media_of(content: Any) -> tuple[Media, ...]:
    found: list[Media] = []
    for block in blocks_of(content):
        source = block.get("source")
        if block["type"] == "tool_result":
            found += media_of(block.get("content") or "")
        elif block["type"] in ("image", "document") and isinstance(source, dict):
            where = source.get("data") if source["type"] == "base64" else source.get("url") or source.get("file_id")
            if where:
                found.append(Media(str(where), PICTURE_TOKENS if block["type"] == "image" else DOCUMENT_TOKENS))
    return tuple(found)


def breakpoints(fields: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Each `cache_control`, after how many parts of the prompt: 0 the tools, 1 the system prompt, 2 + i message i."""
    for tool in fields.get("tools") or ():
        if isinstance(tool.get("cache_control"), dict):
            yield 0, tool["cache_control"]
    contents = [(1, fields.get("system") or ""), *((2 + i, m["content"]) for i, m in enumerate(fields["messages"]))]
    for part, content in contents:
        for block in blocks_of(content):
            if isinstance(block.get("cache_control"), dict):
                yield part, block["cache_control"]
    if isinstance(fields.get("cache_control"), dict):
        yield contents[-1][0], fields["cache_control"]


def count_breakpoints(fields: Mapping[str, Any]) -> int:
    return sum(1 for _ in breakpoints(fields))
