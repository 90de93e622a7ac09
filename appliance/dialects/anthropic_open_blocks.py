"""The content blocks of one stream of Anthropic's API, as they come: see anthropic_stream_reader.

The rule: text, thinking and arguments pass on at once; what only this family has waits in its block until that is whole, within a bound.
"""

from collections.abc import Mapping
from typing import Any

from appliance.core.delta import CitationAdded, Delta, PartEnded, PartStarted, SealAdded, TextAdded
from appliance.core.message import Foreign, Reasoning, ToolCall
from appliance.core.seal import UNSIGNED, Seal
from appliance.dialects.anthropic_answer import input_text, read_block, text_of
from appliance.dialects.anthropic_blocks import FAMILY, read_citation
from appliance.dialects.anthropic_json import INVALID_JSON, parse_object

OPEN_MAX = 256
"""Blocks open at once. Anthropic has one; copies of its API that overlap tool calls have a few."""

_TEXT, _THINKING, _CALL, _FOREIGN, _CLOSED = range(5)
_KINDS = {"text": _TEXT, "thinking": _THINKING, "tool_use": _CALL, "redacted_thinking": _CLOSED, "image": _CLOSED, "document": _CLOSED}


class _Block:
    """One block that is open upstream.

    Attributes:
        index: of its part, -1 while that has not started. start: the block as it was announced. spoke: something was added to the part.
        pieces: arguments of a foreign block. held: bytes that are kept of it. signature: held back, since a later one replaces it.
    """

    __slots__ = ("held", "index", "kind", "pieces", "signature", "spoke", "start")

    def __init__(self, kind: int, start: dict[str, Any]) -> None:
        self.kind, self.start, self.index = kind, start, -1
        self.pieces: list[str] = []
        self.held = 0
        self.spoke = False
        self.signature = ""


class OpenBlocks:
    """Attributes:
    parts: how many have started. called: a client's tool call is among them. wrong: what the backend did that ends the stream, empty while
        it did not.
    """

    __slots__ = ("_held", "_held_max", "_open", "called", "parts", "wrong")

    def __init__(self, held_max_bytes: int) -> None:
        self.parts = 0
        self.called = False
        self.wrong = ""
        self._held = 0
        self._held_max = held_max_bytes
        self._open: dict[int, _Block] = {}

    @property
    def touched(self) -> bool:
        """Whether anything has come at all."""
        return self.parts > 0 or bool(self._open)

    def end_all(self, out: list[Delta]) -> None:
        for at in list(self._open):
            self.end(at, out)

    def add(self, at: object, delta: Mapping[str, Any], size: int, out: list[Delta]) -> None:
        """One piece of a block. What belongs to a block that was never announced, or is of another kind, starts one of its own."""
        block = self._open.get(at) if type(at) is int else None
        kind = delta.get("type")
        if kind == "text_delta":
            text = delta.get("text")
            if block is None or block.kind != _TEXT:
                block = self._instead(at, {"type": "text"}, out)
        elif kind == "input_json_delta":
            text = delta.get("partial_json")
            if block is not None and block.kind == _FOREIGN:
                self._hold_piece(block, text, size)
                return
            if block is None or block.kind != _CALL:
                return
        elif kind == "thinking_delta":
            text = delta.get("thinking")
            if block is None or block.kind != _THINKING:
                block = self._instead(at, {"type": "thinking"}, out)
        else:
            if block is not None:
                self._add_other(block, kind, delta, size, out)
            return
        if text and type(text) is str and block is not None:
            block.spoke = True
            out.append(TextAdded(block.index, text))

    def _add_other(self, block: _Block, kind: object, delta: Mapping[str, Any], size: int, out: list[Delta]) -> None:
        if kind == "signature_delta" and block.kind == _THINKING:
            block.signature = text_of(delta.get("signature"))
            self._hold(block, len(block.signature))
        elif kind == "citations_delta" and block.kind == _TEXT:
            citation = delta.get("citation")
            if isinstance(citation, dict):
                out.append(CitationAdded(block.index, read_citation(citation)))
        elif block.kind == _FOREIGN:  # compaction_delta, and whatever else comes: each member goes to the block's own
            for member, value in delta.items():
                before = block.start.get(member)
                if member != "type" and value is not None:
                    block.start[member] = before + value if isinstance(before, str) and isinstance(value, str) else value
                    self._hold(block, size)

    def start(self, at: object, start: dict[str, Any], size: int, out: list[Delta]) -> None:
        self.end(at, out)  # one that nobody ended
        if type(at) is not int or len(self._open) >= OPEN_MAX:
            self.wrong = "sent a block without a number, or too many at once"
            return
        kind = _KINDS.get(text_of(start.get("type")), _FOREIGN)
        block = self._open[at] = _Block(kind, start)
        if kind in (_FOREIGN, _CALL):
            self._hold(block, size)
        if kind == _FOREIGN:
            return
        part = read_block(start)
        if part is None:
            del self._open[at]
            return
        if isinstance(part, ToolCall):
            self.called = True
            part = ToolCall(part.id, part.name)
        elif isinstance(part, Reasoning) and not part.hidden:
            block.signature = part.seal.value if part.seal is not None else ""
            part = Reasoning(part.text)
        block.index = self.parts
        self.parts += 1
        out.append(PartStarted(block.index, part))

    def end(self, at: object, out: list[Delta]) -> None:
        block = self._open.pop(at, None) if type(at) is int else None
        if block is None:
            return
        self._held -= block.held
        if block.kind == _FOREIGN:
            self._end_foreign(block, out)
            return
        if block.kind == _CALL and not block.spoke:  # no arguments came in pieces: those of the announcement count
            out.append(TextAdded(block.index, input_text(block.start.get("input"))))
        if block.signature and block.signature != UNSIGNED:
            out.append(SealAdded(block.index, Seal(FAMILY, block.signature)))
        out.append(PartEnded(block.index))

    def _end_foreign(self, block: _Block, out: list[Delta]) -> None:
        raw = block.start
        if block.pieces:
            text = "".join(block.pieces)
            found = parse_object(text)
            raw["input"] = {INVALID_JSON: text} if found is None else found
        kind = text_of(raw.get("type"))
        if kind:
            out += (PartStarted(self.parts, Foreign(FAMILY, kind, raw)), PartEnded(self.parts))
            self.parts += 1

    def _instead(self, at: object, start: dict[str, Any], out: list[Delta]) -> _Block | None:
        self.start(at, start, 0, out)
        return self._open.get(at) if type(at) is int else None

    def _hold_piece(self, block: _Block, text: object, size: int) -> None:
        if isinstance(text, str):
            block.pieces.append(text)
            self._hold(block, size)

    def _hold(self, block: _Block, size: int) -> None:
        block.held += size
        self._held += size
        if self._held > self._held_max:
            self.wrong = f"sent a block longer than {self._held_max} bytes"
