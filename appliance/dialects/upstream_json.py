"""JSON of backends, read laxly and written safely. The rule: nothing but ValueError is raised for what a peer wrote, and what has been read
here can be written again.

orjson reads what RFC 8259 allows; a few servers write NaN, or cut a surrogate pair where they cut a text.
"""

import json
from collections.abc import Mapping
from typing import Any

import orjson

LEVELS_MAX = 200
"""Deeper values are not written: orjson stops at 254 levels, some of which a codec needs around them."""


def parse(text: bytes) -> Any:
    """Parse a peer's JSON; raises ValueError. Halves of surrogate pairs become question marks."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            return json.loads(json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8", "replace"))
        except RecursionError:
            raise ValueError("nested too deeply") from None


def arguments_fragment(arguments: str) -> orjson.Fragment | None:
    """A tool call's arguments, to be written as they stand: numbers keep their digits. None when they are no JSON object; "" is {}."""
    if not arguments.strip():
        return orjson.Fragment(b"{}")
    try:
        parsed = orjson.loads(arguments)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return None
    return orjson.Fragment(arguments) if isinstance(parsed, dict) and _fits(parsed) else None


def written(value: object) -> bytes | None:
    """The value as JSON; None when it cannot be written."""
    try:
        return orjson.dumps(value)
    except (orjson.JSONEncodeError, RecursionError):
        return None


def _fits(value: object) -> bool:
    """Whether a value is shallow enough, looked at level by level: no recursion on a peer's nesting."""
    level: list[object] = [value]
    for _ in range(LEVELS_MAX):
        below: list[object] = []
        for one in level:
            if isinstance(one, Mapping):
                below += one.values()
            elif isinstance(one, list):
                below += one
        if not below:
            return True
        level = below
    return False
