"""Reads the text out of `{"input": "..."}` while it comes, so that a free-text tool's call streams on although its arguments are JSON.

The rule: the pieces that the JSON comes in make no difference; arguments that begin otherwise wait for their end.
"""

import re

import attrs

from appliance.core.tool_forms import INPUT, text_of

START_MAX_CHARS = 64
"""Within which the object has to have begun as expected; models write 11 characters."""

_START = re.compile(r'\s*\{\s*"' + INPUT + r'"\s*:\s*"')
_SAFE = re.compile(r'[^"\\]+')
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_UNIT_CHARS = 6
"""Of an escape of one UTF-16 unit, backslash and u included."""


@attrs.define
class InputReader:
    """One call's arguments. It holds no more than an escape that is not whole, or arguments that began otherwise."""

    _tail: str = ""
    _pieces: list[str] = attrs.field(factory=list)
    _state: str = "before"  # before, inside, after, other

    def feed(self, arguments: str) -> str:
        """More of the arguments; returns what is new of the text."""
        if self._state == "other":
            self._pieces.append(arguments)
        elif self._state != "after":
            self._tail += arguments
            if self._state == "before":
                self._begin()
        return self._read() if self._state == "inside" else ""

    def end(self) -> str:
        """What is left: all of it where the arguments are no object that begins with its text, read as a whole then."""
        return text_of(self._tail + "".join(self._pieces)) if self._state in ("before", "other") and (self._tail or self._pieces) else ""

    def _begin(self) -> None:
        start = _START.match(self._tail)
        if start is not None:
            self._state, self._tail = "inside", self._tail[start.end() :]
        elif len(self._tail) > START_MAX_CHARS:
            self._state = "other"

    def _read(self) -> str:
        out: list[str] = []
        text, place = self._tail, 0
        while place < len(text):
            if (plain := _SAFE.match(text, place)) is not None:
                out.append(plain.group())
                place = plain.end()
            elif text[place] == '"':
                self._state, self._tail = "after", ""
                return "".join(out)
            else:
                said, length = _escape(text, place)
                if not length:
                    break
                out.append(said)
                place += length
        self._tail = text[place:]
        return "".join(out)


def read_input(arguments: str) -> str:
    """The text in whole arguments."""
    reader = InputReader()
    return reader.feed(arguments) + reader.end()


def _escape(text: str, place: int) -> tuple[str, int]:
    """The character that the escape at `place` stands for, and its length; 0 while it is not whole. A pair of surrogates is one."""
    kind = text[place + 1 : place + 2]
    if not kind:
        return "", 0
    if kind != "u":
        return _ESCAPES.get(kind, kind), 2
    unit = _unit(text, place)
    if unit is None:
        return "", 0
    if not 0xD800 <= unit < 0xDC00:
        return ("?" if 0xDC00 <= unit < 0xE000 else chr(unit)), _UNIT_CHARS
    after = text[place + _UNIT_CHARS : place + _UNIT_CHARS + 2]
    low = _unit(text, place + _UNIT_CHARS) if after == "\\u" else None
    if low is not None and 0xDC00 <= low < 0xE000:
        return chr(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)), 2 * _UNIT_CHARS
    waits = low is None and "\\u".startswith(after)
    return ("", 0) if waits else ("?", _UNIT_CHARS)


def _unit(text: str, place: int) -> int | None:
    """None while the escape is not whole; what is no hexadecimal number is half a character."""
    digits = text[place + 2 : place + _UNIT_CHARS]
    if len(digits) < _UNIT_CHARS - 2:
        return None
    try:
        return int(digits, 16)
    except ValueError:
        return 0xDC00
