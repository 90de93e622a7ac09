"""Finds the top-level members of a JSON object in its raw bytes, so that a request can be edited without being written anew.

The rule: orjson proves that the bytes are one JSON object; everything after `load_object` may rely on it. The walk is linear whatever the
bytes are (possessive patterns never step back): an invalid body costs time in proportion to its length and gives None.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from appliance.core.fault import Fault, FaultKind

ESCAPED_LETTER = re.compile(rb"\\u00[5-7]")
"""A key can be spelled with escapes (`"mod\\u0065l"`, RFC 8259 §7). The underscore and all lower-case letters are U+005F to U+007A."""

_STRING = rb'"[^"]*+"'
"""Of bytes whose escaped quotes are masked; a class of one byte is what the regular expression engine skips fastest (10 times)."""

_SPACE = rb"[ \t\n\r]*+"


def _container(levels: int) -> bytes:
    """A pattern for a bracketed value nested at most `levels` deep. In valid JSON brackets pair up: the kinds need not be told apart."""
    inner = b"" if levels == 1 else b"|" + _container(levels - 1)
    return rb'[\[{](?:[^"\[\]{}]++|' + _STRING + inner + rb")*+[\]}]"


# Six levels swallow a whole list of messages, or most tool schemas, in a single match instead of one for every bracket.
_SHALLOW = _container(6)
_SKIP = re.compile(rb'(?:[^"\[\]{}]++|' + _STRING + b"|" + _SHALLOW + rb")*+")
"""Everything up to the next bracket that cannot be swallowed whole."""

_KEY = re.compile(_SPACE + b"(" + _STRING + b")" + _SPACE + b":" + _SPACE)
_PLAIN_VALUE = re.compile(_STRING + rb"|[^ \t\n\r,\[\]{}\":]++|" + _SHALLOW)
_AFTER_VALUE = re.compile(_SPACE + rb"([,}])")
_COLON = re.compile(_SPACE + b":" + _SPACE)
_OPEN = re.compile(_SPACE + rb"\{" + _SPACE + rb"(\})?")
_LETTERS = re.compile(r"[a-z_]++")


def _masked(body: bytes) -> bytes:
    """The body with escaped backslashes and quotes overwritten, same length: every quote left in it begins or ends a string."""
    return body.replace(b"\\\\", b"__").replace(b'\\"', b"__") if b"\\" in body else body


class Member(NamedTuple):
    """One member of an object: its decoded key and where its parts stand (`key_start` is the key's opening quote)."""

    key: str
    key_start: int
    key_end: int
    value_start: int
    value_end: int


def load_object(body: bytes) -> dict[str, Any] | Fault:
    """Parse a request body, which must be one JSON object in UTF-8 (RFC 8259; no byte order mark, no NaN, at most 1024 levels)."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return Fault(FaultKind.BAD_REQUEST, _complaint(body, error), code="invalid_json")
    if type(fields) is not dict:
        return Fault(
            FaultKind.BAD_REQUEST, f"the request body must be a JSON object, not {json_type(fields)}: send {{...}}", code="invalid_json"
        )
    return fields


VALUES_PER_ITEM = 10
"""Values that a body may hold for each object or list it may hold: a message has two or three, a list of tokens thousands."""


def holds_more(body: bytes, fields: Mapping[str, Any], items_max: int) -> bool:
    """Whether a body holds more objects and lists, or more values in them, than a bound. `fields` is `body`, parsed.

    Most bodies are too short for that, and are not looked at. Of the others what is counted is bounded, too.
    """
    if len(body) <= 2 * items_max:  # two bytes for the emptiest object, or for a digit and its comma
        return False
    values = 0
    left: list[Any] = [fields]
    items = 1
    while left:
        inner = left.pop()
        values += len(inner)
        if values > VALUES_PER_ITEM * items_max:
            return True
        for one in inner.values() if type(inner) is dict else inner:
            if type(one) is dict or type(one) is list:
                left.append(one)
                items += 1
        if items > items_max:
            return True
    return False


def too_many(items_max: int) -> Fault:
    message = f"the request body holds too many objects or values; at most {items_max} objects and lists are read: send less at a time"
    return Fault(FaultKind.BODY_TOO_LARGE, message, code="too_many_items")


def _complaint(body: bytes, error: orjson.JSONDecodeError) -> str:
    if not body.strip():
        return "the request body is empty: send a JSON object"
    if body.startswith(b"\xef\xbb\xbf"):
        return "the request body starts with a byte order mark: send JSON as plain UTF-8 without one"
    return f"the request body is not valid JSON ({error.msg} at line {error.lineno} column {error.colno}): send one JSON object in UTF-8"


def json_type(value: object) -> str:
    """What a parsed value is called in an error message."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"


def members(body: bytes, start: int = 0) -> list[Member] | None:
    """The members of the object that begins at `start` (white space allowed before it), in order, repeated keys included.

    None when the bytes are not an object. Values are located, not checked.
    """
    masked = _masked(body)
    opening = _OPEN.match(masked, start)
    if opening is None:
        return None
    found: list[Member] = []
    if opening.group(1):
        return found
    position = opening.end()
    while True:
        key = _KEY.match(masked, position)
        if key is None:
            return None
        key_start, key_end = key.span(1)
        value_start = key.end()
        name = _decoded(body[key_start:key_end])
        value_end = _skip_value(masked, value_start)
        after = None if value_end is None else _AFTER_VALUE.match(masked, value_end)
        if name is None or value_end is None or after is None:
            return None
        found.append(Member(name, key_start, key_end, value_start, value_end))
        if after.group(1) == b"}":
            return found
        position = after.end()


def _decoded(key: bytes) -> str | None:
    if b"\\" not in key:
        return key[1:-1].decode("utf-8", "replace")
    try:
        text = orjson.loads(key)
    except orjson.JSONDecodeError:
        return None
    return text if isinstance(text, str) else None


def _skip_value(masked: bytes, start: int) -> int | None:
    """Where the value that begins at `start` ends; None when it does not."""
    plain = _PLAIN_VALUE.match(masked, start)
    if plain is not None:
        return plain.end()
    if masked[start : start + 1] not in (b"{", b"["):
        return None
    depth, position = 1, start + 1
    while True:
        skipped = _SKIP.match(masked, position)
        position = position if skipped is None else skipped.end()
        bracket = masked[position : position + 1]
        position += 1
        if bracket in (b"{", b"["):
            depth += 1
        elif bracket in (b"}", b"]"):
            depth -= 1
            if depth == 0:
                return position
        else:
            return None


def locate(body: bytes, name: str, fields: Mapping[str, Any]) -> list[Member]:
    """Every top-level member called `name` of a valid object whose parsed form is `fields`; empty when there is none.

    Without escapes in keys, a name that stands in the bytes once and in `fields` stands at the top level: no walk is needed.
    """
    if name not in fields:
        return []
    quoted = orjson.dumps(name)
    if body.count(quoted) == 1 and _LETTERS.fullmatch(name) and not has_escaped_letters(body):
        key_start = body.find(quoted)
        key_end = key_start + len(quoted)
        colon = _COLON.match(body, key_end)
        if colon is not None:
            value_start = colon.end()
            value_end = _skip_value(_masked(body) if body[value_start : value_start + 1] in b'"[{' else body, value_start)
            if value_end is not None:
                return [Member(name, key_start, key_end, value_start, value_end)]
    return [member for member in members(body) or () if member.key == name]


def has_escaped_letters(body: bytes) -> bool:
    """Whether a key of lower-case letters and underscores could be spelled otherwise than by those."""
    return b"\\u00" in body and ESCAPED_LETTER.search(body) is not None


def repeated(body: bytes, fields: Mapping[str, Any], names: Mapping[str, bytes]) -> str | None:
    """The first of `names` that stands more than once at the top level, however spelled; None when none does.

    Two JSON parsers may pick different ones of two equal keys (RFC 8259 §4): what the gateway judged might not be what the upstream reads.

    Args:
        names: with their quoted bytes.
    """
    for name in fields.keys() & names.keys():
        if body.count(names[name]) != 1:
            break
    else:
        if not has_escaped_letters(body):
            return None
    suspects = [name for name in names if name in fields]
    seen = [member.key for member in members(body) or ()]
    return next((name for name in suspects if seen.count(name) > 1), None)
