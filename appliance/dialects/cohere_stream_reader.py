"""The events of Cohere's v2 chat stream as deltas.

Contents and calls are numbered apart, each from 0; citations of a block may come when it has ended, so its end waits for what comes next
(docs.cohere.com/v2/docs/streaming). The rule: nothing that comes raises, and after a fault nothing is read.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from appliance.core.delta import CitationAdded, Delta, Finished, LogprobsAdded, PartEnded, PartStarted, Started, TextAdded, UsageKnown
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Part, Reasoning, Text
from appliance.dialects.cohere_answer import (
    NO_ARGUMENTS,
    Billed,
    call_of,
    citation_of,
    cites_words,
    failed,
    logprob_of,
    read_billed,
    read_finish,
    read_usage,
    text_of,
)
from appliance.dialects.cohere_error import stream_fault
from appliance.dialects.sse_reader import Said, SseReader
from appliance.dialects.upstream_json import parse

OPEN_MAX = 256
"""Parts open at a time. Cohere has one; more than this is no answer of a model."""

HELD_MAX_CHARS = 64
"""Of arguments that may still turn out to be the word null: it with some blanks around."""

PLAN = ("plan", 0)

Place = tuple[str, int]
"""Of a part in Cohere's numbering: text, thinking, plan or call, and its index."""


@attrs.define
class _Open:
    """A part under way. ended: its end has come and waits; held: the start of arguments that may turn out to be `null`."""

    index: int
    ended: bool = False
    held: str | None = None


@attrs.define
class CohereStreamReader:
    """See codec.StreamReader. billed: what the answer is charged for, once that is known."""

    event_max_bytes: int
    backend: str = ""
    fault: Fault | None = None
    finished: bool = False
    billed: Billed | None = None
    _events: SseReader = attrs.field(
        init=False, repr=False, default=attrs.Factory(lambda self: SseReader(self.event_max_bytes), takes_self=True)
    )
    _open: dict[Place, _Open] = attrs.field(factory=dict, repr=False)
    _started: bool = False
    _next: int = 0
    _has_call: bool = False

    def feed(self, data: bytes) -> list[Delta]:
        out: list[Delta] = []
        if self.fault is not None or self.finished:
            return out
        self._take_all(self._events.feed(data), out)
        return out

    def end(self) -> list[Delta]:
        out: list[Delta] = []
        if self.fault is None and not self.finished:
            self._take_all(self._events.end(), out)
        if self.fault is None and not self.finished:
            if self._events.alien:
                self._fail(FaultKind.PROTOCOL, "sent something that is not an event of a model's answer")
            else:
                self._fail(FaultKind.STREAM_CUT, "ended its stream before the answer was complete")
        return out

    def _take_all(self, events: list[Said], out: list[Delta]) -> None:
        for event in events:
            self._take(event, out)
            if self.fault is not None or self.finished:
                return
        if self._events.overflow:
            self._fail(FaultKind.PROTOCOL, f"sent an event of more than {self.event_max_bytes} bytes")

    def _take(self, said: Said, out: list[Delta]) -> None:
        if said.data in (b"", b"[DONE]"):
            return
        try:
            event = parse(said.data)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            self._fail(FaultKind.PROTOCOL, "sent something that is not an event of a model's answer")
            return
        kind = event.get("type")
        if not isinstance(kind, str) or said.name == b"error":
            self.fault = stream_fault(event, self.backend)
            return
        if not self._started:
            self._started = True
            out.append(Started(text_of(event.get("id"))))
        if kind == "content-delta" and len(event) == 3 and self._say_more(event, out):
            return
        message = _inner(event, "delta", "message")
        if kind == "content-delta":
            self._content(event, message, out)
        elif kind == "tool-call-delta":
            self._arguments(event, _inner(message, "tool_calls", "function"), out)
        elif kind == "tool-plan-delta":
            self._say(PLAN, text_of(message.get("tool_plan")), Text(), out)
        elif kind == "citation-start":
            self._cite(_inner(message, "citations"), out)
        else:
            self._turn(kind, event, message, out)

    def _turn(self, kind: str, event: Mapping[str, Any], message: Mapping[str, Any], out: list[Delta]) -> None:
        """Events that start and end something."""
        if kind == "content-start":
            self._content(event, message, out)
        elif kind == "content-end":
            for name in ("text", "thinking"):
                if (part := self._open.get((name, _number(event)))) is not None:
                    part.ended = True
        elif kind == "tool-call-start":
            self._call(event, _inner(message, "tool_calls"), out)
        elif kind == "tool-call-end":
            self._close(("call", _number(event)), out)
        elif kind == "message-end":
            self._finish(_inner(event, "delta"), out)

    def _say_more(self, event: Mapping[str, Any], out: list[Delta]) -> bool:
        """The event of nearly every token: more words for a block that is open. False when it is not that."""
        try:
            text = event["delta"]["message"]["content"]["text"]
            found = self._open["text", event["index"]]
        except (KeyError, TypeError):
            return False
        if type(text) is not str or not text:
            return False
        out.append(TextAdded(found.index, text))
        return True

    def _content(self, event: Mapping[str, Any], message: Mapping[str, Any], out: list[Delta]) -> None:
        content = _inner(message, "content")
        thinking = content.get("thinking")
        if isinstance(thinking, str):
            self._say(("thinking", _number(event)), thinking, Reasoning(), out)
        elif isinstance(text := content.get("text"), str):
            self._say(("text", _number(event)), text, Text(), out)
        if (logprob := logprob_of(event.get("logprobs"))) is not None:
            out.append(LogprobsAdded((logprob,)))

    def _say(self, place: Place, words: str, part: Part, out: list[Delta]) -> None:
        found = self._open.get(place)
        if found is None:
            found = self._begin(place, part, out)
        if words:
            out.append(TextAdded(found.index, words))

    def _call(self, event: Mapping[str, Any], raw: Mapping[str, Any], out: list[Delta]) -> None:
        call = call_of(raw)
        if call is None:
            return
        self._has_call = True
        opened = self._begin(("call", _number(event)), attrs.evolve(call, arguments=""), out)
        if call.arguments:
            opened.held = None
            out.append(TextAdded(opened.index, call.arguments))

    def _arguments(self, event: Mapping[str, Any], function: Mapping[str, Any], out: list[Delta]) -> None:
        """Pieces of arguments. As long as they could be the word null they wait: some models write it for no arguments."""
        call, piece = self._open.get(("call", _number(event))), text_of(function.get("arguments"))
        if call is None or not piece:
            return
        if call.held is not None:
            piece = call.held + piece
            if len(piece) <= HELD_MAX_CHARS and NO_ARGUMENTS.startswith(piece.strip()):
                call.held = piece
                return
            call.held = None
        out.append(TextAdded(call.index, piece))

    def _cite(self, raw: Mapping[str, Any], out: list[Delta]) -> None:
        if not cites_words(raw):
            return
        place = raw.get("content_index")
        part = self._open.get(("text", place)) if type(place) is int else None
        if part is None:
            part = next((one for (kind, _), one in self._open.items() if kind == "text"), None)
        if part is not None:
            out.append(CitationAdded(part.index, citation_of(raw)))

    def _begin(self, place: Place, part: Part, out: list[Delta]) -> _Open:
        """A new part; words before it are over then, whether somebody said so or not."""
        self._close(place, out)
        for other, opened in list(self._open.items()):
            if opened.ended or other[0] != "call":
                self._close(other, out)
        if len(self._open) >= OPEN_MAX:
            self._fail(FaultKind.PROTOCOL, f"has more than {OPEN_MAX} parts open at a time")
        made = self._open[place] = _Open(self._next, held="" if place[0] == "call" else None)
        self._next += 1
        out.append(PartStarted(made.index, part))
        return made

    def _close(self, place: Place, out: list[Delta]) -> None:
        part = self._open.pop(place, None)
        if part is None:
            return
        if part.held and part.held.strip() not in ("", NO_ARGUMENTS):
            out.append(TextAdded(part.index, part.held))
        out.append(PartEnded(part.index))

    def _finish(self, delta: Mapping[str, Any], out: list[Delta]) -> None:
        reason = delta.get("finish_reason")
        if delta.get("error") or failed(reason):
            self.fault = stream_fault({"message": delta.get("error") or ""}, self.backend)
            return
        for place in list(self._open):
            self._close(place, out)
        out.append(Finished(read_finish(reason, self._has_call)))
        self.finished = True
        self.billed = read_billed(delta.get("usage"))
        if (usage := read_usage(delta.get("usage"))) is not None:
            out.append(UsageKnown(usage))

    def _fail(self, kind: FaultKind, what: str) -> None:
        self.fault = Fault(kind, f"the backend {self.backend} {what}" if self.backend else f"the backend {what}")


def _number(event: Mapping[str, Any]) -> int:
    number = event.get("index")
    return number if type(number) is int else 0


def _inner(fields: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """The object found by going down these names; {} when it is none."""
    for name in names:
        found = fields.get(name)
        if not isinstance(found, dict):
            return {}
        fields = found
    return fields
