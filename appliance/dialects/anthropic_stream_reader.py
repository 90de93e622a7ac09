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

from appliance.core.delta import Delta, Finished, PartEnded, PartStarted, Started, TextAdded, UsageKnown
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Refusal
from appliance.dialects.anthropic_answer import refusal_of, text_of
from appliance.dialects.anthropic_error import error_in_answer
from appliance.dialects.anthropic_finish import read_finish
from appliance.dialects.anthropic_json import parse
from appliance.dialects.anthropic_open_blocks import OpenBlocks
from appliance.dialects.anthropic_usage import merge_usage, read_usage, tier_of
from appliance.dialects.sse_reader import SseReader

_ORDINARY = b"event: content_block_delta\ndata: {"
_ORDINARY_DATA = len(_ORDINARY) - 1
"""How nearly every event begins, and where its JSON does."""


class AnthropicStreamReader:
    """See codec.StreamReader."""

    __slots__ = (
        "_backend", "_blocks", "_details", "_event_max_bytes", "_id", "_reason", "_sequence", "_sse", "_started", "_steady", "_usage",
        "fault", "finished",
    )  # fmt: skip

    def __init__(self, event_max_bytes: int, backend: str) -> None:
        self.fault: Fault | None = None
        self.finished = False
        self._sse = SseReader(event_max_bytes)
        self._event_max_bytes = event_max_bytes
        self._backend = backend
        self._blocks = OpenBlocks(event_max_bytes)
        self._started = False
        self._steady = False  # events were whole so far, nothing but a line end can be held back: the short way is open
        self._id = ""
        self._reason: object = None
        self._sequence: object = None
        self._details: object = None
        self._usage: dict[str, Any] = {}

    def feed(self, data: bytes) -> list[Delta]:
        out: list[Delta] = []
        if self.fault is None and not self.finished:
            if (
                self._steady
                and data.startswith(_ORDINARY)
                and data.endswith(b"}\n\n")
                and data.count(b"\n") == 3  # two lines and a blank one: exactly one event
                and b"\r" not in data
                and len(data) <= self._event_max_bytes
            ):
                self._read(b"", data[_ORDINARY_DATA:-2], out)
                return out
            for name, event in self._sse.feed(data):
                self._read(name, event, out)
            self._steady = data.endswith(b"\n\n")
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
                if not self._started:
                    self._begin(out)
                self._blocks.add(event.get("index"), delta, len(data), out)
        elif kind == "content_block_start":
            block = event.get("content_block")
            if type(block) is dict:
                self._begin(out)
                self._blocks.start(event.get("index"), block, len(data), out)
        elif kind == "content_block_stop":
            self._blocks.end(event.get("index"), out)
        elif kind == "message_start":
            self._start(event.get("message"), out)
        elif kind == "message_delta":
            self._end_message(event)
        elif kind == "message_stop":
            self._stop(out)
        elif kind == "error" or name == b"error" or (kind is None and "error" in event):
            self.fault = error_in_answer(event, self._backend, named_error=True)
        if self._blocks.wrong:
            self._fail(FaultKind.PROTOCOL, self._blocks.wrong)

    def _start(self, message: object, out: list[Delta]) -> None:
        if not isinstance(message, dict):
            return
        given, again = text_of(message.get("id")), self._started
        if again:
            if given == self._id:
                return
            if self._blocks.touched:
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
                self._blocks.start(place, block, 0, out)
                self._blocks.end(place, out)
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
        self._blocks.end_all(out)
        for part in refusal_of(self._details):
            assert isinstance(part, Refusal)
            index = self._blocks.parts
            out += (PartStarted(index, Refusal()), TextAdded(index, part.text), PartEnded(index))
            self._blocks.parts += 1
        out.append(Finished(read_finish(self._reason or "end_turn", self._blocks.called), text_of(self._sequence)))
        usage = read_usage(self._usage)
        if usage is not None:
            out.append(UsageKnown(usage))
        self.finished = True

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
