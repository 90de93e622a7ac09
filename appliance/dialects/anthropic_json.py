"""JSON as Anthropic's codec reads and writes it. The rule: nothing raises but for a bug, whatever strings a peer's language let through.

Tool inputs are objects in this language and text in most others: text that is an object is spliced in as it stands, so that its numbers,
order and spacing stay the model's own.
"""

import json
from collections.abc import Mapping
from typing import Any

import orjson

DEPTH_MAX = 200
"""orjson writes 254 levels and reads 1,024; some of them are needed around a block."""

INVALID_JSON = "INVALID_JSON"
"""The member that holds tool arguments which are no JSON object: Anthropic's own advice for handing such text back to a model
(platform.claude.com/docs/en/agents-and-tools/tool-use/fine-grained-tool-streaming)."""


def parse(data: bytes) -> Any:
    """A peer's JSON; raises ValueError. Laxer than orjson where some servers are: NaN, halves of surrogate pairs."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            return json.loads(data)
        except RecursionError:
            raise ValueError("nested too deeply") from None


def parse_object(text: str) -> Mapping[str, Any] | None:
    """Tool arguments as an object, {} for empty ones; None when they are none."""
    if not text.strip():
        return {}
    try:
        parsed = orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return None
    return parsed if isinstance(parsed, dict) else None


def fragment(arguments: str) -> orjson.Fragment | None:
    """Tool arguments to be spliced in as they are; None when they are no JSON object."""
    if not arguments.strip():
        return orjson.Fragment(b"{}")
    return orjson.Fragment(arguments) if parse_object(arguments) is not None else None


def fragment_or_wrapped(arguments: str) -> Any:
    """As `fragment`, with what is no object inside one."""
    found = fragment(arguments)
    return {INVALID_JSON: arguments} if found is None else found


def dump(value: Any) -> bytes:
    """A value as JSON, whatever is in it: half surrogates are replaced, what is nested too deeply is null."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return orjson.dumps(_writable(value, DEPTH_MAX))


def dump_text(value: Any) -> str:
    return dump(value).decode()


def _writable(value: Any, levels: int) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # also joins two halves that met
    if levels == 0:
        return None
    if isinstance(value, Mapping):
        return {_writable(str(key), 1): _writable(one, levels - 1) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_writable(one, levels - 1) for one in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value) if abs(value) < 10**308 else None
    return value
