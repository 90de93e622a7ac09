"""Writes an answer as a stream of Anthropic's Messages API, event by event.

The rule: the order is the API's own: message_start, then block after block (start, deltas, stop; one open at a time, numbered from 0),
message_delta with the stop reason and usage, message_stop. A block begins with the first thing that is in it, so none is ever empty, or
white: the API refuses such a text when it comes back with the next turn, and some models put line breaks between their calls.
"""

from collections.abc import Sequence
from typing import Any

import attrs
import orjson

from appliance.core.completion import Finish
from appliance.core.delta import (
    CitationAdded,
    Delta,
    Finished,
    LogprobsAdded,
    PartEnded,
    PartStarted,
    SealAdded,
    Started,
    TextAdded,
    UsageKnown,
)
from appliance.core.fault import Fault
from appliance.core.message import Foreign, Media, Part, Reasoning, Refusal, Text, ToolCall
from appliance.core.seal import UNSIGNED, Seal, wrap
from appliance.core.sequence import Sequencer
from appliance.core.tool_forms import arguments_of
from appliance.core.usage import Usage
from appliance.dialects.anthropic_answer_blocks import AnswerBlocks, stop_details, written_citation
from appliance.dialects.anthropic_blocks import BEHIND, FAMILY, carrier
from appliance.dialects.anthropic_error import error
from appliance.dialects.anthropic_finish import stopped_by, write_finish
from appliance.dialects.anthropic_json import dump
from appliance.dialects.anthropic_usage import SERVED_TIERS, write_usage
from appliance.dialects.codec import Reply
from appliance.dialects.token_estimate import estimate

PING = b'event: ping\ndata: {"type":"ping"}\n\n'

_DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%b","%b":'
_END = b"}}\n\n"
_PIECES: dict[type, tuple[bytes, bytes]] = {
    Text: (b"text_delta", b"text"),
    Reasoning: (b"thinking_delta", b"thinking"),
    ToolCall: (b"input_json_delta", b"partial_json"),
}

WHITE_MAX_CHARS = 4_096
"""Of white space at the start of a text, which waits for what follows it."""

_HIGH_SURROGATES = ("\ud800", "\udbff")


@attrs.define
class _Part:
    """The part under way. opened: its block has begun. seal: what was added of it. pieces: text of a free-text call, which goes out when
    it is whole, or the white space that a text began with."""

    index: int
    part: Part
    seal: Seal | None = None
    opened: bool = False
    pieces: list[str] = attrs.field(factory=list)


class AnthropicStreamWriter:
    """See codec.StreamWriter. Of several candidates the first is written: callers of this API cannot ask for more."""

    __slots__ = (
        "_before", "_block", "_blocks", "_called", "_finish", "_half", "_now", "_part", "_refusals", "_reply", "_sequencer", "_started",
        "_stop_sequence", "_usage",
    )  # fmt: skip

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._blocks = AnswerBlocks(reply)
        self._sequencer = Sequencer()
        self._part: _Part | None = None
        self._now = -1  # the part whose text may go out as it comes,
        self._before = b""  # and what stands before such text
        self._half = ""  # first half of a surrogate pair whose second half is still to come
        self._block = -1
        self._started = False
        self._called = False
        self._refusals: list[str] = []  # which this language tells at the end
        self._finish: Finish = ""
        self._stop_sequence = ""
        self._usage: Usage | None = None

    @property
    def full(self) -> bool:
        return self._sequencer.full

    def write(self, deltas: Sequence[Delta]) -> bytes:
        out: list[bytes] = []
        for delta in deltas:
            if type(delta) is TextAdded and delta.index == self._now and not delta.candidate:
                try:
                    out.append(self._before + orjson.dumps(delta.text) + _END)
                except orjson.JSONEncodeError:
                    self._add_text(delta.text, out)
            else:
                self._take(delta, out)
        return b"".join(out)

    def end(self) -> bytes:
        out: list[bytes] = []
        self._start(Started(), out)
        self._end_part(out)
        self._blocks.end()
        usage = write_usage(self._usage) if self._usage is not None else {"output_tokens": 0}
        reason = write_finish(self._finish, self._called, bool(self._refusals))
        stopped = stopped_by(self._finish, self._stop_sequence, self._reply.conversation.sampling.stop)
        delta = {"stop_reason": reason, "stop_sequence": stopped} | stop_details("".join(self._refusals))
        out.append(_event("message_delta", {"delta": delta, "usage": usage}))
        out.append(_event("message_stop", {}))
        return b"".join(out)

    def error(self, fault: Fault, request_id: str) -> bytes:
        return b"event: error\ndata: %b\n\n" % error(fault, request_id)

    def keepalive(self) -> bytes:
        return PING

    def _take(self, delta: Delta, out: list[bytes]) -> None:
        if isinstance(delta, Started):
            self._start(delta, out)
        elif isinstance(delta, UsageKnown):
            self._usage = delta.usage
        elif delta.candidate == 0 and not isinstance(delta, LogprobsAdded):
            self._start(Started(), out)
            for one in self._sequencer.feed(delta):
                self._say(one, out)

    def _say(self, delta: Delta, out: list[bytes]) -> None:
        part = self._part
        if isinstance(delta, PartStarted):
            self._end_part(out)
            self._begin_part(delta, out)
        elif isinstance(delta, Finished):
            self._finish, self._stop_sequence = delta.finish, delta.stop_sequence
        elif part is None:
            return
        elif isinstance(delta, TextAdded):
            self._add_text(delta.text, out)
        elif isinstance(delta, SealAdded):
            part.seal = delta.seal if part.seal is None else Seal(part.seal.maker, part.seal.value + delta.seal.value)
        elif isinstance(delta, CitationAdded):
            written = written_citation(delta.citation)
            if written is not None and isinstance(part.part, Text):
                self._open(out)
                self._add({"type": "citations_delta", "citation": written}, out)
        elif isinstance(delta, PartEnded):
            self._end_part(out)

    def _start(self, started: Started, out: list[bytes]) -> None:
        """message_start, once. Where the backend has not counted the input yet, an estimate stands in; the end has the true figures."""
        if self._started:
            return
        self._started = True
        known = Usage(estimate(self._reply.conversation)) if started.usage is None else started.usage
        usage = write_usage(known)
        if started.service_tier in SERVED_TIERS:
            usage["service_tier"] = started.service_tier
        message: dict[str, Any] = {
            "id": started.id or self._reply.id, "type": "message", "role": "assistant", "model": self._reply.model, "content": [],
            "stop_reason": None, "stop_sequence": None, "usage": usage,
        }  # fmt: skip
        out.append(_event("message_start", {"message": message}))

    def _begin_part(self, delta: PartStarted, out: list[bytes]) -> None:
        part = delta.part
        text = ""
        if isinstance(part, Text | Refusal | Reasoning):
            text = part.text
        elif isinstance(part, ToolCall):
            text = part.arguments
        self._part = _Part(delta.index, part)
        if isinstance(part, ToolCall):
            self._called = True
            self._open(out)  # its name is something already
        if text:
            self._add_text(text, out)
        for citation in part.citations if isinstance(part, Text) else ():
            self._say(CitationAdded(delta.index, citation), out)

    def _open(self, out: list[bytes]) -> None:
        """The block of the part under way begins, unless it has."""
        part = self._part
        if part is None or part.opened:
            return
        part.opened = True
        for sealed in self._blocks.before(part.part):
            self._put(sealed, {}, out)
        block: dict[str, Any] = {"type": "text", "text": ""}
        if isinstance(part.part, Reasoning):
            block = {"type": "thinking", "thinking": "", "signature": ""}
        elif isinstance(part.part, ToolCall):
            block = self._blocks.call(part.part)
        self._block += 1
        self._blocks.words_before = isinstance(part.part, Text)
        out.append(_event("content_block_start", {"index": self._block, "content_block": block}))
        if not (isinstance(part.part, ToolCall) and part.part.custom):
            kind, member = _PIECES[type(part.part)]
            self._before = _DELTA % (self._block, kind, member)
            self._now = part.index

    def _add_text(self, text: str, out: list[bytes]) -> None:
        """Any text, whole pairs of surrogates only: chunks of some vendors cut emoji in two."""
        part = self._part
        if part is not None and isinstance(part.part, Refusal):
            self._refusals.append(text)
        if part is None or type(part.part) not in _PIECES or (isinstance(part.part, Reasoning) and part.part.hidden):
            return
        if isinstance(part.part, ToolCall) and part.part.custom:
            part.pieces.append(text)
            return
        text, self._half = self._half + text, ""
        self._now = -1
        if isinstance(part.part, Text) and not part.opened and not self._blocks.words_before:
            text = "".join((*part.pieces, text))
            if not text.strip() and len(text) < WHITE_MAX_CHARS:
                part.pieces = [text]
                return
        if _HIGH_SURROGATES[0] <= text[-1:] <= _HIGH_SURROGATES[1]:
            text, self._half = text[:-1], text[-1]
        if text:
            self._open(out)
            out.append(self._before + dump(text) + _END)
        if part.opened and not self._half:
            self._now = part.index

    def _add(self, delta: dict[str, Any], out: list[bytes]) -> None:
        out.append(_event("content_block_delta", {"index": self._block, "delta": delta}))

    def _end_part(self, out: list[bytes]) -> None:
        part, self._part, self._now = self._part, None, -1
        half, self._half = self._half, ""
        if part is None:
            return
        said = part.part
        if part.seal is None and isinstance(said, Text | Reasoning | ToolCall):
            part.seal = said.seal
        if isinstance(said, Foreign | Media) or (isinstance(said, Reasoning) and said.hidden):
            self._whole(attrs.evolve(said, seal=part.seal) if isinstance(said, Reasoning) else said, out)
            return
        self._part = part
        if half:
            self._open(out)
            out.append(self._before + dump(half) + _END)
        if isinstance(said, Reasoning) and (part.seal is not None or part.opened):
            self._open(out)
            signature = UNSIGNED if part.seal is None else wrap(part.seal, FAMILY)
            self._add({"type": "signature_delta", "signature": signature}, out)
        if isinstance(said, ToolCall) and said.custom:
            self._add({"type": "input_json_delta", "partial_json": arguments_of("".join(part.pieces))}, out)
        self._part, self._now = None, -1
        if part.opened:
            self._stop_block(out)
            if isinstance(said, Text):
                self._blocks.words_ended(part.seal)
            elif isinstance(said, ToolCall) and part.seal is not None and said.seal is None:  # known too late to stand ahead
                self._put(carrier(part.seal, BEHIND), {}, out)

    def _whole(self, part: Part, out: list[bytes]) -> None:
        """A part that this language cannot say in pieces, but for the members that its own streams say so."""
        for block in self._blocks.whole(part):
            delta: dict[str, Any] = {}
            if block.get("type") == "server_tool_use" and block.get("input"):
                delta = {"type": "input_json_delta", "partial_json": dump(block["input"]).decode()}
                block = block | {"input": {}}
            elif block.get("type") == "compaction":
                delta = {**block, "type": "compaction_delta"}
                block = {"type": "compaction", "content": None}
            self._put(block, delta, out)

    def _put(self, block: dict[str, Any], delta: dict[str, Any], out: list[bytes]) -> None:
        self._block += 1
        self._blocks.words_before = block.get("type") == "text"
        out.append(_event("content_block_start", {"index": self._block, "content_block": block}))
        if delta:
            self._add(delta, out)
        self._stop_block(out)

    def _stop_block(self, out: list[bytes]) -> None:
        out.append(_event("content_block_stop", {"index": self._block}))


def _event(name: str, fields: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), dump({"type": name, **fields}))
