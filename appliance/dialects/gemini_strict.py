"""Google Cloud takes the same requests as the Gemini API and is stricter: no ids on function calls, and every content names its role.

The rule: a request that is fine already is the very same bytes; any other is written anew, since what changes lies deep inside it.
"""

from collections.abc import Mapping
from typing import Any

import orjson

CALL_ID = "functionCall.id"
"""What a row puts into the fields to drop whose API has no ids of calls (`Unknown name "id" at 'contents[1].parts[0].function_call'`)."""

_CALLS = ("functionCall", "function_call", "functionResponse", "function_response")
"""proto3 takes a field's name in both spellings."""


_COUNTED = ("contents", "systemInstruction", "tools", "generationConfig")
"""What a count is asked with there, beside the model in the path (cloud.google.com/vertex-ai/docs/reference/rest, countTokens)."""


def strict(body: bytes, fields: Mapping[str, Any]) -> bytes:
    """The request as Google Cloud takes it. fields: `body`, parsed. A content without a role is the user's (ai.google.dev/api/caching)."""
    whole = fields.get("generateContentRequest") or fields.get("generate_content_request")
    if isinstance(whole, dict):  # of a count: the whole request in place of the contents
        return _written({name: value for name, value in whole.items() if name in _COUNTED})
    if "model" in fields:
        return _written({name: value for name, value in fields.items() if name != "model"})
    contents = fields.get("contents")
    mended = _contents(contents)
    return body if mended is contents else orjson.dumps({**fields, "contents": mended})


def _written(fields: Mapping[str, Any]) -> bytes:
    return orjson.dumps({**fields, "contents": _contents(fields["contents"])} if "contents" in fields else fields)


def _contents(contents: Any) -> Any:
    """The very same object where nothing has to change."""
    if not isinstance(contents, list):
        return contents
    mended = [_content(content) for content in contents]
    return contents if all(new is old for new, old in zip(mended, contents, strict=True)) else mended


def _content(content: Any) -> Any:
    if not isinstance(content, dict):
        return content
    if not content.get("role"):
        content = {**content, "role": "user"}
    parts = content.get("parts")
    if not isinstance(parts, list):
        return content
    mended = [_part(part) for part in parts]
    same = all(new is old for new, old in zip(mended, parts, strict=True))
    return content if same else {**content, "parts": mended}


def _part(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    for name in _CALLS:
        call = part.get(name)
        if isinstance(call, dict) and "id" in call:
            return {**part, name: {key: value for key, value in call.items() if key != "id"}}
    return part
