"""Reads a stream of Anthropic's Messages API as deltas (platform.claude.com/docs/en/build-with-claude/streaming).

The rule: whatever comes, in whatever pieces, nothing is raised and no more than one event's bound is held. Text, thinking and arguments
pass as they come; what no other language has in pieces (server tools, compaction) waits until its block is whole.

Odd streams, all of them seen: a `message_start` said twice is one; a second message spliced in before the first had any content replaces
it; spliced in later it is a fault, since two generations in one answer break its signatures and its tools; content told inside
`message_start` counts; a stream that ends after its stop reason, without `message_stop`, is whole.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from appliance.core.delta import CitationAdded, Delta, Finished, PartEnded, PartStarted, SealAdded, Started, TextAdded, UsageKnown
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Foreign, Reasoning, Refusal, ToolCall
from appliance.core.seal import Seal
from appliance.dialects.anthropic_answer import input_text, read_block, refusal_of, text_of
from appliance.dialects.anthropic_blocks import FAMILY, read_citation
from appliance.dialects.anthropic_error import error_in_answer
from appliance.dialects.anthropic_finish import read_finish
from appliance.dialects.anthropic_json import INVALID_JSON, parse, parse_object
from appliance.dialects.anthropic_usage import merge_usage, read_usage, tier_of
from appliance.dialects.sse_reader import SseReader

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


class AnthropicStreamReader:
    """See codec.StreamReader."""

    __slots__ = (
        "_backend", "_called", "_details", "_event_max_bytes", "_held", "_id", "_open", "_parts", "_reason", "_sequence", "_size", "_sse",
        "_started", "_usage", "fault", "finished",
    )  # fmt: skip

    def __init__(self, event_max_bytes: int, backend: str) -> None:
        self.fault: Fault | None = None
        self.finished = False
        self._sse = SseReader(event_max_bytes)
        self._event_max_bytes = event_max_bytes
        self._backend = backend
        self._open: dict[int, _Block] = {}
        self._parts = 0
        self._held = 0
        self._started = False
        self._size = 0  # of the event that is being read
        self._called = False
        self._id = ""
        self._reason: object = None
        self._sequence: object = None
        self._details: object = None
        self._usage: dict[str, Any] = {}

    def feed(self, data: bytes) -> list[Delta]:
        out: list[Delta] = []
        if self.fault is None and not self.finished:
            for name, event in self._sse.feed(data):
                self._read(name, event, out)
            if self._sse.overflow:
                self._fail(FaultKind.PROTOCOL, f"sent an event longer than {self._event_max_bytes} bytes")
        return out

    def end(self) -> list[Delta]:
        out: list[Delta] = []
        if self.fault is None and not self.finished:
            for name, event in self._sse.end():
                self._read(name, event, out)
        if self.fault is None and not self.finished:
            if self._reason is not None:
                self._stop(out)
            elif not self._started and self._sse.alien:
                self._judge_alien()
            else:
                self._fail(FaultKind.STREAM_CUT, "ended its stream before the answer was complete")
        return out

    def _read(self, name: bytes, data: bytes, out: list[Delta]) -> None:
        if self.fault is not None or self.finished:
            return
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:
            event = self._lax(data)
        if type(event) is not dict:
            return
        kind = event.get("type")
        if kind == "content_block_delta":
            delta = event.get("delta")
            if type(delta) is dict:
                self._size = len(data)
                self._add(event.get("index"), delta, out)
        elif kind == "content_block_start":
            block = event.get("content_block")
            if type(block) is dict:
                self._size = len(data)
                self._start_block(event.get("index"), block, out)
        elif kind == "content_block_stop":
            self._end_block(event.get("index"), out)
        elif kind == "message_start":
            self._start(event.get("message"), out)
        elif kind == "message_delta":
            self._end_message(event)
        elif kind == "message_stop":
            self._stop(out)
        elif kind == "error" or name == b"error" or (kind is None and "error" in event):
            self.fault = error_in_answer(event, self._backend, named_error=True)

    def _add(self, at: object, delta: Mapping[str, Any], out: list[Delta]) -> None:
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
                self._hold_piece(block, text)
                return
            if block is None or block.kind != _CALL:
                return
        elif kind == "thinking_delta":
            text = delta.get("thinking")
            if block is None or block.kind != _THINKING:
                block = self._instead(at, {"type": "thinking"}, out)
        else:
            if block is not None:
                self._add_other(block, kind, delta, out)
            return
        if text and type(text) is str and block is not None:
            block.spoke = True
            out.append(TextAdded(block.index, text))

    def _add_other(self, block: _Block, kind: object, delta: Mapping[str, Any], out: list[Delta]) -> None:
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
                    self._hold(block, self._size)

    def _start_block(self, at: object, start: dict[str, Any], out: list[Delta]) -> None:
        self._begin(out)
        self._end_block(at, out)  # one that nobody ended
        if type(at) is not int or len(self._open) >= OPEN_MAX:
            self._fail(FaultKind.PROTOCOL, "sent a block without a number, or too many at once")
            return
        kind = _KINDS.get(text_of(start.get("type")), _FOREIGN)
        block = self._open[at] = _Block(kind, start)
        if kind in (_FOREIGN, _CALL):
            self._hold(block, self._size)
        if kind == _FOREIGN:
            return
        part = read_block(start)
        if part is None:
            del self._open[at]
            return
        if isinstance(part, ToolCall):
            self._called = True
            part = ToolCall(part.id, part.name)
        elif isinstance(part, Reasoning) and not part.hidden:
            block.signature = part.seal.value if part.seal is not None else ""
            part = Reasoning(part.text)
        block.index = self._parts
        self._parts += 1
        out.append(PartStarted(block.index, part))

    def _end_block(self, at: object, out: list[Delta]) -> None:
        block = self._open.pop(at, None) if type(at) is int else None
        if block is None:
            return
        self._held -= block.held
        if block.kind == _FOREIGN:
            self._end_foreign(block, out)
            return
        if block.kind == _CALL and not block.spoke:  # no arguments came in pieces: those of the announcement count
            out.append(TextAdded(block.index, input_text(block.start.get("input"))))
        if block.signature:
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
            out += (PartStarted(self._parts, Foreign(FAMILY, kind, raw)), PartEnded(self._parts))
            self._parts += 1

    def _instead(self, at: object, start: dict[str, Any], out: list[Delta]) -> _Block | None:
        self._start_block(at, start, out)
        return self._open.get(at) if type(at) is int else None

    def _start(self, message: object, out: list[Delta]) -> None:
        if not isinstance(message, dict):
            return
        given, again = text_of(message.get("id")), self._started
        if again:
            if given == self._id:
                return
            if self._parts or self._open:
                self._fail(FaultKind.STREAM_CUT, "broke off its answer and began another one in the same stream")
                return
        self._id, self._started = given, True
        self._usage.clear()
        merge_usage(self._usage, message.get("usage"))
        if not again:
            known = read_usage(self._usage)
            out.append(Started(given, text_of(message.get("model")), usage=known, service_tier=tier_of(self._usage)))
        content = message.get("content")
        for place, block in enumerate(content if isinstance(content, list) else ()):
            if isinstance(block, dict):
                self._start_block(place, block, out)
                self._end_block(place, out)
        self._end_message({"delta": message})

    def _begin(self, out: list[Delta]) -> None:
        """A stream that never says message_start still begins."""
        if not self._started:
            self._started = True
            out.append(Started())

    def _end_message(self, event: Mapping[str, Any]) -> None:
        delta = event.get("delta")
        if isinstance(delta, Mapping):
            self._reason = delta.get("stop_reason") or self._reason
            self._sequence = delta.get("stop_sequence") or self._sequence
            self._details = delta.get("stop_details") or self._details
        merge_usage(self._usage, event.get("usage"))

    def _stop(self, out: list[Delta]) -> None:
        self._begin(out)
        for at in list(self._open):
            self._end_block(at, out)
        for part in refusal_of(self._details):
            assert isinstance(part, Refusal)
            out += (PartStarted(self._parts, Refusal()), TextAdded(self._parts, part.text), PartEnded(self._parts))
            self._parts += 1
        out.append(Finished(read_finish(self._reason or "end_turn", self._called), text_of(self._sequence)))
        usage = read_usage(self._usage)
        if usage is not None:
            out.append(UsageKnown(usage))
        self.finished = True

    def _hold_piece(self, block: _Block, text: object) -> None:
        if isinstance(text, str):
            block.pieces.append(text)
            self._hold(block, self._size)

    def _hold(self, block: _Block, size: int) -> None:
        block.held += size
        self._held += size
        if self._held > self._event_max_bytes:
            self._fail(FaultKind.PROTOCOL, f"sent a block longer than {self._event_max_bytes} bytes")

    def _lax(self, data: bytes) -> Any:
        """What orjson does not read; None after a fault, and for the last word of other vendors' streams."""
        try:
            return parse(data)
        except ValueError:
            if data.strip() != b"[DONE]":
                self._fail(FaultKind.PROTOCOL, "sent an event that is not JSON")
            return None

    def _judge_alien(self) -> None:
        """Lines that are no events: perhaps an error as bare JSON."""
        try:
            answer = parse(self._sse.alien)
        except ValueError:
            answer = None
        self.fault = error_in_answer(answer, self._backend) if isinstance(answer, dict) else None
        if self.fault is None:
            self._fail(FaultKind.PROTOCOL, "sent something that is no event stream")

    def _fail(self, kind: FaultKind, what: str) -> None:
        if self.fault is None:
            named = f"the backend {self._backend}" if self._backend else "the backend"
            self.fault = Fault(kind, f"{named} {what}")
