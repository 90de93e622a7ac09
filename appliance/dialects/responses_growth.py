"""Items of a backend's Responses stream as they grow, and the deltas that come of it.

The rule: an item is known by its output_index alone (ids change within one stream at some vendors: recorded, GitHub), and whatever a vendor
leaves out (deltas, part events, the items of the last event) is made up for by the events that say a part or an item in full.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from appliance.core.delta import CitationAdded, Delta, LogprobsAdded, PartEnded, PartStarted, SealAdded, Started, TextAdded
from appliance.core.message import Part, Reasoning, Refusal, Text
from appliance.core.tool_ids import made_id
from appliance.dialects.responses_answer import CALLS, Start, call_of, part_of, parts_of, pieces_of, seal_of
from appliance.dialects.responses_content import read_citation, read_logprobs

INDEX_MAX = 1 << 32

Event = Mapping[str, Any]


@attrs.define
class Grown:
    """A part under way, or just ended. said, cited, scored: how much of its words, citations and log probabilities has been given on."""

    number: int
    part: Part
    said: int = 0
    cited: int = 0
    scored: int = 0
    open: bool = True


@attrs.define
class _Item:
    """An item under way. parts: by where the item has them (("content", 0)); last_thought: held open until the item's seal is known."""

    parts: dict[tuple[str, int], Grown] = attrs.field(factory=dict)
    last_thought: Grown | None = None


@attrs.define
class Growth:
    """Attributes:
    out: deltas that nobody has taken yet.
    count: parts so far; kinds: what they are; last: type and status of the last whole item.
    size: parts and items so far, empty ones too. scored: log probabilities so far.
    """

    out: list[Delta] = attrs.field(factory=list, repr=False)
    count: int = 0
    size: int = 0
    kinds: set[type] = attrs.field(factory=set)
    last: list[dict[str, Any]] = attrs.field(factory=list)
    scored: int = 0
    started: bool = False
    _id: str = ""
    _items: dict[int, _Item] = attrs.field(factory=dict)
    _ended: set[int] = attrs.field(factory=set)

    @property
    def empty(self) -> bool:
        return not self._items and not self._ended

    def start(self, start: Start) -> None:
        if not self.started:
            self.started, self._id = True, start.id
            tier = "" if start.tier == "auto" else start.tier  # what was asked for, and not yet what it became
            self.out.append(Started(start.id, start.model, start.created, None, "", tier))

    def words(self, event: Event) -> None:
        """A piece of text: by far the most frequent event."""
        index, place = event.get("output_index", 0), event.get("content_index", 0)
        item = self._items.get(index) if type(index) is int else None
        grown = item.parts.get(("content", place)) if item is not None and type(place) is int else None
        if grown is None or not grown.open or event.get("logprobs"):
            grown = self.grow({**event, "delta": ""}, "content", Text())
            if grown is None or not grown.open:
                return
            self._score(grown, event.get("logprobs"))
        text = event.get("delta")
        if type(text) is str and text:
            grown.said += len(text)
            self.out.append(TextAdded(grown.number, text))

    def words_done(self, event: Event) -> None:
        """All of a text, and its log probabilities where they have not come with its pieces (LM Studio)."""
        grown = self.grow({**event, "delta": ""}, "content", Text())
        if grown is not None:
            self.complete(grown, event.get("text"))
            self._score(grown, event.get("logprobs"), whole=True)

    def cite(self, event: Event) -> None:
        grown, raw = self._grown(event), event.get("annotation")
        if grown is not None and grown.open and isinstance(raw, dict):
            self._cite(grown, raw)

    def call(self, event: Event) -> None:
        """More of a call's arguments, or all of them."""
        grown = self._grown({**event, "content_index": 0}, "call")
        if grown is None or not grown.open:
            return
        if isinstance(text := event.get("delta"), str) and text:
            grown.said += len(text)
            self.out.append(TextAdded(grown.number, text))
        else:
            self.complete(grown, event.get("arguments") or event.get("input"))

    def grow(self, event: Event, field: str, part: Part) -> Grown | None:
        """The part that an event is of, opened where no event did that, with what the event adds to it."""
        index = _index(event, "output_index")
        place = _index(event, "summary_index" if field == "summary" else "content_index")
        if index is None or place is None or index in self._ended:
            return None
        item = self._items.get(index) or self._new_item(index)
        grown = item.parts.get((field, place))
        if grown is None:
            thought = isinstance(part, Reasoning)
            grown = self._think(item, (field, place)) if thought else self._open(item, (field, place), part)
        text = event.get("delta")
        if isinstance(text, str) and text and grown.open:
            grown.said += len(text)
            self.out.append(TextAdded(grown.number, text))
        return grown

    def complete(self, grown: Grown, whole: object) -> None:
        """What an event that says a part in full says beyond its pieces."""
        if isinstance(whole, str) and len(whole) > grown.said and grown.open:
            self.out.append(TextAdded(grown.number, whole[grown.said :]))
            grown.said = len(whole)

    def add_piece(self, event: Event) -> None:
        piece = event.get("part")
        kind = piece.get("type") if isinstance(piece, dict) else None
        if kind == "output_text":
            self.grow(event, "content", Text())
        elif kind == "refusal":
            self.grow(event, "content", Refusal())
        elif kind == "reasoning_text":
            self.grow(event, "content", Reasoning())

    def end_piece(self, event: Event) -> None:
        """A part of a message is whole; thoughts stay open for their item's seal."""
        grown, piece = self._grown(event), event.get("part")
        if grown is None or not isinstance(piece, dict):
            return
        self._end_piece(grown, piece)
        if not isinstance(grown.part, Reasoning):
            self._close(grown)

    def add_item(self, event: Event) -> None:
        index, raw = _index(event, "output_index"), event.get("item")
        if index is None or not isinstance(raw, dict) or index in self._items or index in self._ended:
            return
        item = self._new_item(index)
        if isinstance(raw.get("type"), str) and raw["type"] in CALLS:
            self._open(item, ("call", 0), call_of(raw, made_id(self._id, self.count)))

    def end_item(self, event: Event) -> None:
        index, raw = _index(event, "output_index"), event.get("item")
        if index is None or not isinstance(raw, dict) or index in self._ended:
            return
        item = self._items.get(index) or self._new_item(index)
        del self._items[index]
        self._ended.add(index)
        self.last = [{name: raw.get(name) for name in ("type", "status")}]
        kind = raw.get("type")
        if kind == "message":
            self._end_message(item, raw)
        elif kind == "reasoning":
            self._end_thoughts(item, raw)
        elif isinstance(kind, str) and kind in CALLS:
            grown = item.parts.get(("call", 0)) or self._open(item, ("call", 0), call_of(raw, made_id(self._id, self.count)))
            self.complete(grown, raw.get(CALLS[kind]))
        else:
            for part in parts_of(raw, ""):
                self._open(item, ("item", 0), part)
        for grown in item.parts.values():
            self._close(grown)

    def end(self) -> None:
        """The answer is over: items that no event ended are."""
        for item in self._items.values():
            for grown in item.parts.values():
                self._close(grown)
        self._items.clear()

    def _end_message(self, item: _Item, raw: Event) -> None:
        for place, piece in enumerate(pieces_of(raw, "content")):
            grown = item.parts.get(("content", place))
            if grown is None:
                part = part_of(piece)
                if part is None:
                    continue
                grown = self._open(item, ("content", place), Refusal() if isinstance(part, Refusal) else Text())
            self._end_piece(grown, piece)

    def _end_thoughts(self, item: _Item, raw: Event) -> None:
        for field in ("content", "summary"):
            for place, piece in enumerate(pieces_of(raw, field)):
                self.complete(item.parts.get((field, place)) or self._think(item, (field, place)), piece.get("text"))
        seal = seal_of(raw)
        if seal is not None:
            last = item.last_thought or self._open(item, ("seal", 0), Reasoning(hidden=True))
            self.out.append(SealAdded(last.number, seal))

    def _end_piece(self, grown: Grown, piece: Event) -> None:
        if grown.open:
            self.complete(grown, piece.get("refusal" if isinstance(grown.part, Refusal) else "text"))
            for raw in pieces_of(piece, "annotations")[grown.cited :]:
                self._cite(grown, raw)
            self._score(grown, piece.get("logprobs"), whole=True)

    def _cite(self, grown: Grown, raw: Event) -> None:
        grown.cited += 1
        self.out.append(CitationAdded(grown.number, read_citation(raw)))

    def _score(self, grown: Grown, value: object, whole: bool = False) -> None:
        logprobs = read_logprobs(value)
        if whole:
            logprobs = logprobs[grown.scored :]
        if logprobs:
            grown.scored += len(logprobs)
            self.scored += len(logprobs)
            self.out.append(LogprobsAdded(logprobs))

    def _think(self, item: _Item, place: tuple[str, int]) -> Grown:
        """The next part of a reasoning item: the one before is over."""
        if item.last_thought is not None:
            self._close(item.last_thought)
        item.last_thought = self._open(item, place, Reasoning(summary=place[0] == "summary"))
        return item.last_thought

    def _grown(self, event: Event, field: str = "content") -> Grown | None:
        index, place = _index(event, "output_index"), _index(event, "content_index")
        item = self._items.get(index) if index is not None else None
        return item.parts.get((field, place)) if item is not None and place is not None else None

    def _new_item(self, index: int) -> _Item:
        self.size += 1
        item = self._items[index] = _Item()
        return item

    def _open(self, item: _Item, place: tuple[str, int], part: Part) -> Grown:
        self.start(Start())
        grown = item.parts[place] = Grown(self.count, part)
        self.kinds.add(type(part))
        self.out.append(PartStarted(self.count, part))
        self.count += 1
        self.size += 1
        return grown

    def _close(self, grown: Grown) -> None:
        if grown.open:
            grown.open = False
            self.out.append(PartEnded(grown.number))


def _index(event: Event, name: str) -> int | None:
    """A place among items or parts; the first where a vendor leaves it out."""
    value = event.get(name, 0)
    return value if type(value) is int and 0 <= value < INDEX_MAX else None
