"""Responses that OpenAI's Responses API keeps (`store` is true unless told otherwise), so that later requests can build on them.

The rule: bounded in number and in bytes, the oldest goes first; this is the one place where an answer depends on what was asked before.
"""

from collections.abc import Mapping
from typing import Any

import attrs
import orjson

from appliance.simulator.settings import Settings

Item = Mapping[str, Any]


@attrs.frozen
class Stored:
    """One response. `items` is the whole conversation up to its end, `output` its own part of that."""

    items: tuple[Item, ...] = attrs.field(repr=False)
    output: tuple[Item, ...] = attrs.field(repr=False)
    size_bytes: int


@attrs.define
class ResponseStore:
    settings: Settings
    _kept: dict[str, Stored] = attrs.field(factory=dict)
    _items: dict[str, Item] = attrs.field(factory=dict)
    _reasoning: dict[str, str] = attrs.field(factory=dict)
    _bytes: int = 0

    def find(self, response_id: str) -> Stored | None:
        return self._kept.get(response_id)

    def item(self, item_id: str) -> Item | None:
        """An output item of a kept response."""
        return self._items.get(item_id)

    def reasoning_before(self, item_id: str) -> str | None:
        """The id of the reasoning item right before a kept output item, without which that is refused."""
        return self._reasoning.get(item_id)

    def keep(self, response_id: str, before: tuple[Item, ...], asked: tuple[Item, ...], output: tuple[Item, ...]) -> None:
        """`before` is the conversation that `asked` continues."""
        self._forget(response_id)
        size = len(orjson.dumps((asked, output)))
        self._kept[response_id] = Stored((*before, *asked, *output), output, size)
        self._bytes += size
        for i, item in enumerate(output):
            self._items[item["id"]] = item
            if i and output[i - 1]["type"] == "reasoning":
                self._reasoning[item["id"]] = output[i - 1]["id"]
        while len(self._kept) > self.settings.responses_max or self._bytes > self.settings.responses_max_bytes:
            self._forget(next(iter(self._kept)))

    def _forget(self, response_id: str) -> None:
        gone = self._kept.pop(response_id, None)
        if gone is None:
            return
        self._bytes -= gone.size_bytes
        for item in gone.output:
            self._items.pop(item["id"], None)
            self._reasoning.pop(item["id"], None)

    def reset(self) -> None:
        self._kept.clear()
        self._items.clear()
        self._reasoning.clear()
        self._bytes = 0
