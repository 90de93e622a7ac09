"""A call's arguments that come path by path (`partialArgs`), as growing JSON text.

The rule: text that went out cannot be changed, so values have to come in the order of the document, which is how a model writes them. What
goes back to a place that is closed already is out of order, and the answer cannot be told. Sources: google-genai's types.PartialArg
(`jsonPath` is RFC 9535's); recordings of Vertex's streams, where a string comes as pieces that `willContinue` and often ends with "".
"""

import re
from collections.abc import Mapping
from typing import Any

import attrs
import orjson

from appliance.dialects.gemini_json import dump

DEPTH_MAX = 100
GAP_MAX = 1_000
"""Elements of an array that nothing was said of: they are null."""

_STEP = re.compile(r"""\.([^.\[\]'"]+)|\[(\d{1,9})\]|\['((?:[^'\\]|\\.)*)'\]|\["((?:[^"\\]|\\.)*)"\]""", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_SHORT = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}

Step = str | int


class OutOfOrder(Exception):
    """A value for a place that cannot be written any more, or a path that is none. Never leaves the reader of streams."""


@attrs.define
class _Container:
    """One that is open: an array when its steps are numbers. count: of members so far; names: of an object."""

    is_array: bool
    count: int = 0
    names: set[str] = attrs.field(factory=set)


@attrs.define
class Arguments:
    """Of one call. One without any is "", not {}: that is how a whole answer is read, too."""

    _open: list[_Container] = attrs.field(factory=list)
    _path: list[Step] = attrs.field(factory=list)
    _string: tuple[Step, ...] | None = None
    _last: tuple[str, tuple[Step, ...]] = ("", ())
    _is_whole: bool = False

    def add(self, piece: Mapping[str, Any]) -> str:
        """More of the text; raises OutOfOrder."""
        if self._is_whole:
            raise OutOfOrder
        path = self._steps(piece.get("jsonPath"))
        text = piece.get("stringValue")
        if isinstance(text, str):
            return self._add_string(path, text, piece.get("willContinue") is True)
        return self._begin(path) + _scalar(piece)

    def whole(self, args: Mapping[str, Any]) -> str:
        """The text of arguments that came as one object, which is all there can be."""
        if self._open or self._is_whole:
            raise OutOfOrder
        self._is_whole = True
        return dump(args).decode()

    def end(self) -> str:
        """What closes all that is open."""
        out = self._end_string()
        while self._open:
            out += "]" if self._open.pop().is_array else "}"
        return out

    def _add_string(self, path: tuple[Step, ...], text: str, goes_on: bool) -> str:
        out = ""
        if self._string != path:
            out = self._begin(path) + '"'
            self._string = path
        out += orjson.dumps(text).decode()[1:-1]
        return out if goes_on else out + self._end_string()

    def _end_string(self) -> str:
        if self._string is None:
            return ""
        self._string = None
        return '"'

    def _begin(self, path: tuple[Step, ...]) -> str:
        """All that stands before the value at this path: closed strings and containers, opened ones, commas and names."""
        out = self._end_string()
        if not self._open:
            self._open.append(_Container(False))
            out += "{"
        shared = 0
        while shared < len(self._path) and shared < len(path) - 1 and self._path[shared] == path[shared]:
            shared += 1
        while len(self._path) > shared:
            out += "]" if self._open.pop().is_array else "}"
            self._path.pop()
        for place in range(shared, len(path)):
            out += self._member(path[place])
            if place < len(path) - 1:
                is_array = isinstance(path[place + 1], int)
                self._open.append(_Container(is_array))
                self._path.append(path[place])
                out += "[" if is_array else "{"
        return out

    def _member(self, step: Step) -> str:
        """The comma and the name before the next member of the innermost container."""
        container = self._open[-1]
        comma = "," if container.count else ""
        if isinstance(step, int):
            gap = step - container.count
            if not container.is_array or not 0 <= gap <= GAP_MAX:
                raise OutOfOrder
            container.count = step + 1
            return comma + "null," * gap
        if container.is_array or step in container.names:
            raise OutOfOrder
        container.names.add(step)
        container.count += 1
        return f"{comma}{orjson.dumps(step).decode()}:"

    def _steps(self, path: object) -> tuple[Step, ...]:
        """The path's steps below the root; the same path comes many times in a row."""
        if not isinstance(path, str):
            raise OutOfOrder
        if path == self._last[0]:
            return self._last[1]
        steps: list[Step] = []
        place = 1
        while place < len(path):
            found = _STEP.match(path, place)
            if found is None or len(steps) >= DEPTH_MAX:
                raise OutOfOrder
            name, index, single, double = found.groups()
            if index is not None:
                steps.append(int(index))
            else:
                steps.append(name if name is not None else _unescaped(single if single is not None else double))
            place = found.end()
        if path[:1] != "$" or not steps:
            raise OutOfOrder
        self._last = (path, tuple(steps))
        return self._last[1]


def _scalar(piece: Mapping[str, Any]) -> str:
    number, flag = piece.get("numberValue"), piece.get("boolValue")
    if isinstance(flag, bool):
        return "true" if flag else "false"
    if isinstance(number, int | float) and not isinstance(number, bool):
        return orjson.dumps(number).decode()
    return "null"


def _unescaped(name: str) -> str:
    if "\\" not in name:
        return name
    plain = _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else _SHORT.get(found[2], found[2]), name)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
