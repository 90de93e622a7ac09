"""The beginning of a JSON text that broke off, made whole again: what was open is closed, so that a reader of whole answers can tell what
had come.

The rule: nothing is made up but nulls. A string that stands for a value ends where the text did; a name without its value and half a number
or word have null. What is no JSON so far stays none.
"""

import re

_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:\\\Z)?("?)|[\[\]{},:]|[^\s"\[\]{},:]++', re.DOTALL)
_HALF_ESCAPE = re.compile(rb"(?<!\\)((?:\\\\)*+)\\(?:u[0-9a-fA-F]{0,3})?\Z")
_CLOSERS = {b"{": b"}", b"[": b"]"}

LEVELS_MAX = 1_024
"""Deeper texts are no JSON to its readers (orjson), whatever end they are given."""


def completed(beginning: bytes) -> bytes:
    """The same with an end. Each token is looked at once."""
    closers: list[bytes] = []
    before = last = b""
    token: re.Match[bytes] | None = None
    for token in _TOKEN.finditer(beginning):
        before, last = last, token[0]
        if last in _CLOSERS:
            closers.append(_CLOSERS[last])
            if len(closers) > LEVELS_MAX:
                return beginning
        elif closers and last == closers[-1]:
            closers.pop()
    if token is None or not closers:
        return beginning
    named = closers[-1] == b"}" and before in (b"{", b",")
    return beginning[: token.start()] + _ended(token, named, whole=token.end() < len(beginning)) + b"".join(reversed(closers))


def _ended(token: re.Match[bytes], named: bool, *, whole: bool) -> bytes:
    """The last token, with what has to follow it. named: it is a member's name, or stands where one should. whole: more came after it."""
    text, quote = token[0], token[1]
    if quote is not None:
        if not quote:
            text = _HALF_ESCAPE.sub(rb"\1", text).decode("utf-8", "ignore").encode() + b'"'
        return text + b":null" if named else text
    if text == b":":
        return b":null"
    if text == b",":
        return b""
    return text if whole or text in b"{[]}" else b"null"
