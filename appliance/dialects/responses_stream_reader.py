"""Reads a backend's Responses stream: events in, deltas out, and what went wrong.

The rule: the stream is over with the event that says so, whatever follows; one that ends without it was cut.
"""

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from appliance.core.delta import Delta, Finished, LogprobsAdded, UsageKnown
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Part, Reasoning, Refusal
from appliance.dialects.openai_usage import read_usage, tiered
from appliance.dialects.responses_answer import finish_of, logprobs_of, pieces_of, start_of
from appliance.dialects.responses_error import fault_in
from appliance.dialects.responses_growth import Event, Growth
from appliance.dialects.sse_reader import Said, SseReader
from appliance.dialects.upstream_error import error_in_answer
from appliance.dialects.upstream_json import parse

SIZE_MAX = 4_096
"""Parts and items of one answer: more than any model writes, so that a stream of empty items ends."""


@attrs.define
class ResponsesStreamReader:
    """See `codec.StreamReader`."""

    event_max_bytes: int
    backend: str = ""
    fault: Fault | None = None
    finished: bool = False
    _sse: SseReader = attrs.field(init=False, repr=False)
    _growth: Growth = attrs.field(factory=Growth)
    _at_start: bool = False

    def __attrs_post_init__(self) -> None:
        self._sse = SseReader(self.event_max_bytes)

    def feed(self, data: bytes) -> list[Delta]:
        if self.fault is not None or self.finished:
            return []
        alone = self._alone(data)
        if alone is not None:
            self._read(alone)
        else:
            self._at_start = data.endswith(b"\n\n")
            for said in self._sse.feed(data):
                self._read(said)
        if self.fault is None and not self.finished:
            if self._sse.overflow:
                self._protocol(f"an event of more than {self.event_max_bytes} bytes")
            elif self._growth.size > SIZE_MAX:
                self._protocol(f"an answer of more than {SIZE_MAX} parts")
        return self._take()

    def end(self) -> list[Delta]:
        if self.fault is None and not self.finished:
            for said in self._sse.end():
                self._read(said)
        if self.fault is None and not self.finished:
            if self._sse.alien and not self._growth.started:
                self._read_alien()
            else:
                self.fault = Fault(FaultKind.STREAM_CUT, f"{self._who()} ended its stream before the answer was complete")
        return self._take()

    def _alone(self, data: bytes) -> Said | None:
        """The event in what came, if that is exactly one as vendors write them and nothing is held back: the case of nearly every piece, at
        a third of the work."""
        if not (self._at_start and self._growth.started and data.startswith(b"event: ") and len(data) <= self.event_max_bytes):
            return None
        line = data.find(b"\n")
        one = data.startswith(b"data: {", line + 1) and data.endswith(b"}\n\n") and data.find(b"\n", line + 1) == len(data) - 2
        return Said(data[7:line], data[line + 7 : -2]) if one and b"\r" not in data else None

    def _take(self) -> list[Delta]:
        out, self._growth.out = self._growth.out, []
        return out

    def _read(self, said: Said) -> None:
        if self.fault is not None or self.finished or said.data.startswith(b"[DONE]"):
            return
        try:
            event = parse(said.data)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            self._read_garbage(said)
            return
        kind = event.get("type")
        if kind == "response.output_text.delta":
            self._growth.words(event)
        elif said.name == b"error" or kind == "error" or event.get("error"):
            self.fault = fault_in(event.get("error") or event, self.backend)
        elif kind in ("response.completed", "response.incomplete", "response.failed"):
            self._end(event, failed=kind == "response.failed")
        elif kind in ("response.created", "response.in_progress", "response.queued"):
            if isinstance(event.get("response"), dict):
                self._growth.start(start_of(event["response"]))
        else:
            read = _READERS.get(kind) if isinstance(kind, str) else None
            if read is not None:
                read(self._growth, event)

    def _read_garbage(self, said: Said) -> None:
        if said.name == b"error":
            self.fault = fault_in(said.data.decode("utf-8", "replace"), self.backend)
        else:
            self._protocol("something that is not an event of a model's answer")

    def _end(self, event: Event, failed: bool) -> None:
        response, growth = event.get("response"), self._growth
        if not isinstance(response, dict):
            self._protocol("an end without its response")
            return
        if failed or response.get("status") == "failed" or response.get("error"):
            self.fault = fault_in(response.get("error"), self.backend)
            return
        growth.start(start_of(response))
        items = pieces_of(response, "output")
        if growth.empty:  # what was said only here
            for index, item in enumerate(items):
                growth.end_item({"output_index": index, "item": item})
        growth.end()
        late = tuple(one for item in items for one in logprobs_of(item))[growth.scored :]
        if late:
            growth.out.append(LogprobsAdded(late))
        growth.out.append(Finished(finish_of(response, growth.kinds, growth.last)))
        usage = tiered(read_usage(response.get("usage")), response)
        if usage is not None:
            growth.out.append(UsageKnown(usage))
        self.finished = True

    def _read_alien(self) -> None:
        """Lines that are no event stream: an error in bare JSON, or a page of HTML."""
        try:
            found = parse(self._sse.alien.strip())
        except ValueError:
            found = None
        fault = error_in_answer(found, self.backend) if isinstance(found, dict) else None
        if fault is not None:
            self.fault = fault
        else:
            self._protocol("something that is not an event of a model's answer")

    def _protocol(self, what: str) -> None:
        self.fault = Fault(FaultKind.PROTOCOL, f"{self._who()} sent {what}")

    def _who(self) -> str:
        return f"the backend {self.backend}" if self.backend else "the backend"


def _part(field: str, part: Part) -> Callable[[Growth, Mapping[str, Any]], None]:
    """A reader of the events of one kind of part: its pieces, and the whole of it."""

    def read(growth: Growth, event: Mapping[str, Any]) -> None:
        grown = growth.grow(event, field, part)
        if grown is not None:
            growth.complete(grown, event.get("text") or event.get("refusal"))

    return read


_THOUGHT, _SUMMARY, _REFUSAL = _part("content", Reasoning()), _part("summary", Reasoning(summary=True)), _part("content", Refusal())

_READERS: dict[str, Callable[[Growth, Mapping[str, Any]], None]] = {
    "response.output_item.added": Growth.add_item,
    "response.output_item.done": Growth.end_item,
    "response.content_part.added": Growth.add_piece,
    "response.content_part.done": Growth.end_piece,
    "response.output_text.done": Growth.words_done,
    "response.output_text.annotation.added": Growth.cite,
    "response.refusal.delta": _REFUSAL,
    "response.refusal.done": _REFUSAL,
    "response.reasoning_text.delta": _THOUGHT,
    "response.reasoning_text.done": _THOUGHT,
    "response.reasoning_summary_part.added": _SUMMARY,
    "response.reasoning_summary_text.delta": _SUMMARY,
    "response.reasoning_summary_text.done": _SUMMARY,
    "response.function_call_arguments.delta": Growth.call,
    "response.function_call_arguments.done": Growth.call,
    "response.custom_tool_call_input.delta": Growth.call,
    "response.custom_tool_call_input.done": Growth.call,
}
