"""Numbered events of a Responses stream on their way to a caller. The rule: whatever is to be said, an event is whole and valid JSON."""

import json
from collections.abc import Mapping
from typing import Any

import attrs
import orjson


@attrs.define
class Wire:
    """Events on their way out, numbered. silent: nothing is written; only what the items become is wanted."""

    silent: bool = False
    _out: list[bytes] = attrs.field(factory=list)
    _next: int = 0

    def number(self) -> int:
        self._next += 1
        return self._next - 1

    def event(self, name: str, members: Mapping[str, Any]) -> None:
        if not self.silent:
            data = written({"type": name, "sequence_number": self.number(), **members})
            self._out.append(b"event: %b\ndata: %b\n\n" % (name.encode(), data))

    def add(self, event: bytes) -> None:
        if not self.silent:
            self._out.append(event)

    def take(self) -> bytes:
        out = b"".join(self._out)
        self._out.clear()
        return out


def written(value: Any) -> bytes:
    """As JSON; half characters that a backend cut become question marks."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, ensure_ascii=False, default=_spelled).encode("utf-8", "replace")


def _spelled(value: object) -> Any:
    return json.loads(orjson.dumps(value))
