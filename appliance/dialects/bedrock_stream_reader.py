"""ConverseStream's events as deltas.

A block of text or reasoning starts with its first piece, one of a tool's call with `contentBlockStart`; `messageStop` ends the answer and
`metadata` tells usage behind it, or in front of it (docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html).

The rule: nothing that comes raises; what cannot be an event of an answer is a fault, and after a fault nothing is read.
"""

import base64
from collections.abc import Mapping
from typing import Any

import attrs

from appliance.core.delta import CitationAdded, Delta, Finished, PartEnded, PartStarted, SealAdded, Started, TextAdded, UsageKnown
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Foreign, Media, Part, Reasoning, Text, ToolCall
from appliance.core.seal import Seal
from appliance.core.usage import Usage
from appliance.dialects.aws_eventstream import EventStreamReader, Message
from appliance.dialects.bedrock_answer import FAMILY, JSON_TOOL, citation_of, read_finish, read_usage
from appliance.dialects.bedrock_error import stream_fault
from appliance.dialects.upstream_json import parse

OPEN_MAX = 256
"""Blocks open at a time. Bedrock has one; more than this is no answer of a model."""


@attrs.define
class _Block:
    """A block under way. kind: text, reasoning, hidden, tool; or held: one that is handed on whole, whose `pieces` grow in `raw`."""

    index: int
    kind: str
    raw: dict[str, Any] = attrs.field(factory=dict, repr=False)
    pieces: list[str] = attrs.field(factory=list, repr=False)


@attrs.define
class BedrockStreamReader:
    """See codec.StreamReader. Finished once usage was told, in an event behind the end of the answer, or when the body is over."""

    event_max_bytes: int
    backend: str = ""
    fault: Fault | None = None
    finished: bool = False
    _events: EventStreamReader = attrs.field(
        init=False, repr=False, default=attrs.Factory(lambda self: EventStreamReader(self.event_max_bytes), takes_self=True)
    )
    _blocks: dict[int, _Block] = attrs.field(factory=dict, repr=False)
    _started: bool = False
    _ended: bool = False
    _next: int = 0
    _has_call: bool = False
    _held_bytes: int = 0
    _usage: Usage | None = None

    def feed(self, data: bytes) -> list[Delta]:
        out: list[Delta] = []
        if self.fault is not None:
            return out
        for message in self._events.feed(data):
            self._take(message, out)
            if self.fault is not None:
                return out
        if self._events.broken and not self._ended:
            self._fail(FaultKind.PROTOCOL, f"sent {self._events.broken}")
        return out

    def end(self) -> list[Delta]:
        if self.fault is None:
            if self._ended:
                self.finished = True
            else:
                self._fail(FaultKind.STREAM_CUT, "ended its stream before the answer was complete")
        return []

    def _take(self, message: Message, out: list[Delta]) -> None:
        headers = message.headers
        if headers.get(":message-type") != "event":
            if not self._ended:
                self._take_error(headers, message.payload)
            return
        name = headers.get(":event-type")
        try:
            event = parse(message.payload)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            if not self._ended:
                self._fail(FaultKind.PROTOCOL, "sent something that is not an event of a model's answer")
        elif name == "metadata":
            self._metadata(event, out)
        elif self._ended:
            pass
        else:
            if not self._started:
                self._started = True
                out.append(Started())
            if name == "contentBlockDelta":
                self._delta(event, out)
            elif name == "contentBlockStart":
                self._start(event, out)
            elif name == "contentBlockStop":
                self._stop(_number(event), out)
            elif name == "messageStop":
                self._finish(event, out)

    def _take_error(self, headers: Mapping[str, object], payload: bytes) -> None:
        """A modelled exception, or an error of the transport, which has its words in headers."""
        name = headers.get(":exception-type") or headers.get(":error-code") or headers.get(":event-type")
        self.fault = stream_fault(name if isinstance(name, str) else "", payload, self.backend)

    def _delta(self, event: Mapping[str, Any], out: list[Delta]) -> None:
        number, delta = _number(event), event.get("delta")
        if not isinstance(delta, dict):
            return
        block = self._blocks.get(number)
        text = delta.get("text")
        if isinstance(text, str):
            if block is None or block.kind != "text":
                block = self._begin(number, "text", Text(), out)
            if text:
                out.append(TextAdded(block.index, text))
        elif isinstance(use := delta.get("toolUse"), dict):
            self._add_input(block, use.get("input"), out)
        elif isinstance(thought := delta.get("reasoningContent"), dict):
            self._think(number, block, thought, out)
        elif isinstance(citation := delta.get("citation"), dict):
            if block is None or block.kind != "text":
                block = self._begin(number, "text", Text(), out)
            out.append(CitationAdded(block.index, citation_of(citation)))
        elif block is not None and block.kind == "held":
            self._hold(block, delta)

    def _add_input(self, block: _Block | None, given: object, out: list[Delta]) -> None:
        if block is None or not isinstance(given, str):
            return
        if block.kind == "held":
            self._count(block, given)
        elif given and block.kind in ("tool", "json"):
            out.append(TextAdded(block.index, given))

    def _think(self, number: int, block: _Block | None, thought: Mapping[str, Any], out: list[Delta]) -> None:
        text, signature, redacted = thought.get("text"), thought.get("signature"), thought.get("redactedContent")
        if isinstance(redacted, str):
            if block is None or block.kind != "hidden":
                block = self._begin(number, "hidden", Reasoning(hidden=True), out)
            out.append(SealAdded(block.index, Seal(FAMILY, redacted)))
            return
        if block is None or block.kind != "reasoning":
            block = self._begin(number, "reasoning", Reasoning(), out)
        if isinstance(text, str) and text:
            out.append(TextAdded(block.index, text))
        if isinstance(signature, str) and signature:
            out.append(SealAdded(block.index, Seal(FAMILY, signature)))

    def _start(self, event: Mapping[str, Any], out: list[Delta]) -> None:
        """A start that names nothing announces text, which starts with its first piece."""
        start, number = event.get("start"), _number(event)
        if not isinstance(start, dict):
            return
        use = start.get("toolUse")
        if isinstance(use, dict) and isinstance(name := use.get("name"), str) and not use.get("type"):
            if name == JSON_TOOL:
                self._begin(number, "json", Text(), out)
                return
            given = use.get("toolUseId")
            self._has_call = True
            self._begin(number, "tool", ToolCall(given if isinstance(given, str) else "", name), out)
        elif kind := next((kind for kind, inner in start.items() if isinstance(inner, dict)), ""):
            self._make_room(number, out)
            self._blocks[number] = _Block(-1, "held", {kind: dict(start[kind])})

    def _begin(self, number: int, kind: str, part: Part, out: list[Delta]) -> _Block:
        self._make_room(number, out)
        block = _Block(self._next, kind)
        self._next += 1
        self._blocks[number] = block
        out.append(PartStarted(block.index, part))
        return block

    def _make_room(self, number: int, out: list[Delta]) -> None:
        """End what stood under this number, and blocks of words that nobody ended: some models start the next one without a stop."""
        self._stop(number, out)
        for other, block in list(self._blocks.items()):
            if block.kind in ("text", "reasoning", "hidden"):
                self._stop(other, out)
        if len(self._blocks) >= OPEN_MAX:
            self._fail(FaultKind.PROTOCOL, f"has more than {OPEN_MAX} blocks open at a time")

    def _stop(self, number: int, out: list[Delta]) -> None:
        block = self._blocks.pop(number, None)
        if block is None:
            return
        if block.kind == "held":
            block.index, self._next = self._next, self._next + 1
            out.append(PartStarted(block.index, _whole(block)))
        out.append(PartEnded(block.index))

    def _hold(self, block: _Block, delta: Mapping[str, Any]) -> None:
        """More of a block that is handed on whole: results of the provider's own tools, images."""
        image, results = delta.get("image"), delta.get("toolResult")
        if isinstance(image, dict):
            source = image.get("source")
            data = source.get("bytes") if isinstance(source, dict) else None
            if isinstance(data, str):
                self._count(block, data)
        elif isinstance(results, list):
            inner = block.raw.setdefault("toolResult", {})
            if isinstance(inner.setdefault("content", []), list):
                inner["content"] += [one for one in results if isinstance(one, dict)]
                self._held_bytes += len(str(results))
                self._check()

    def _count(self, block: _Block, piece: str) -> None:
        block.pieces.append(piece)
        self._held_bytes += len(piece) + 1
        self._check()

    def _check(self) -> None:
        if self._held_bytes > self.event_max_bytes:
            self._fail(FaultKind.PROTOCOL, f"sent blocks of more than {self.event_max_bytes} bytes that cannot be passed on in pieces")

    def _finish(self, event: Mapping[str, Any], out: list[Delta]) -> None:
        for number in list(self._blocks):
            self._stop(number, out)
        finish, stop_sequence = read_finish(event, self._has_call)
        out.append(Finished(finish, stop_sequence))
        self._ended = True
        self._tell_usage(out)

    def _metadata(self, event: Mapping[str, Any], out: list[Delta]) -> None:
        """The last event, or (recorded by hand) the last but one."""
        usage = read_usage(event.get("usage"))
        if usage is not None and not self.finished:
            self._usage = usage
            if self._ended:
                self._tell_usage(out)

    def _tell_usage(self, out: list[Delta]) -> None:
        if self._usage is not None:
            out.append(UsageKnown(self._usage))
            self.finished = True

    def _fail(self, kind: FaultKind, what: str) -> None:
        self.fault = Fault(kind, f"the backend {self.backend} {what}" if self.backend else f"the backend {what}")


def _number(event: Mapping[str, Any]) -> int:
    number = event.get("contentBlockIndex")
    return number if type(number) is int else 0


def _whole(block: _Block) -> Part:
    """A held block that has ended."""
    kind, inner = next(iter(block.raw.items()))
    if kind == "image":
        data = b"".join(_decoded(piece) for piece in block.pieces)
        return Media("image", f"image/{inner.get('format') or 'png'}", base64.b64encode(data).decode())
    if block.pieces:
        text = "".join(block.pieces)
        try:
            inner["input"] = parse(text.encode("utf-8", "replace"))
        except ValueError:
            inner["input"] = text
    name = inner.get("type")
    return Foreign(FAMILY, name if isinstance(name, str) and name else kind, block.raw)


def _decoded(piece: str) -> bytes:
    try:
        return base64.b64decode(piece)
    except ValueError:
        return b""
