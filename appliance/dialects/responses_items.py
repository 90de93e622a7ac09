"""Output items of a Responses answer as they grow, and the events that say so.

The rule: whatever is added to an item is also said in an event, so that a reader of events has in the end what `output` holds.
"""

from collections.abc import Mapping
from typing import Any

import attrs
import orjson

from appliance.core.completion import TokenLogprob
from appliance.core.message import Citation, Foreign, Media, Part, Reasoning, Refusal, Text, ToolCall
from appliance.core.seal import Seal, wrap
from appliance.dialects.responses_content import FAMILY, write_citation, write_logprobs
from appliance.dialects.responses_input import CARRIED, COMING, OWN
from appliance.dialects.responses_response import item_id
from appliance.dialects.responses_wire import Wire, written

_PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc", "custom_tool_call": "ctc", "image_generation_call": "ig"}


@attrs.define
class Items:
    """The output of one response.

    Attributes:
        summaries: the caller looks for thoughts in summaries.
        seals_of_words: the caller sends back sealed thoughts wherever they stand, so that also the seals of mere words are given to it.
        output: items so far, the open one included. refused: one holds a refusal.
        open_part: number of the part that grows, -1 when none does.

    A call has no member for a seal: it is carried in an item of its own, which the caller sends back with the rest: ahead of it, where
    OpenAI's own reasoning stands, and behind it only where it comes to be known too late (`_carried`), as with words.
    """

    wire: Wire
    response: str
    summaries: bool = False
    seals_of_words: bool = False
    output: list[dict[str, Any]] = attrs.field(factory=list)
    refused: bool = False
    open_part: int = -1
    _item: dict[str, Any] | None = None
    _part: Part | None = None
    _piece: dict[str, Any] | None = None
    _place: dict[str, Any] = attrs.field(factory=dict)
    _delta: tuple[bytes, bytes, bytes] | None = None
    _texts: list[str] = attrs.field(factory=list)
    _seal: Seal | None = None
    _carried: Seal | None = None
    _citations: list[Citation] = attrs.field(factory=list)
    _logprobs: list[dict[str, Any]] = attrs.field(factory=list)
    _last_words: dict[str, Any] | None = None

    def start(self, index: int, part: Part) -> None:
        self.open_part, self._part, self._piece, self._delta = index, part, None, None
        self._texts, self._seal, self._citations = [], None, []
        match part:
            case Text():
                self._start_piece("message", "content", {"type": "output_text", "text": "", "annotations": [], "logprobs": []})
                self._citations += part.citations
            case Refusal():
                self.refused = True
                self._start_piece("message", "content", {"type": "refusal", "refusal": ""})
            case Reasoning():
                self._start_thought(part)
            case ToolCall():
                self._start_call(part)
            case Foreign():
                if part.family == FAMILY and (raw := _fit(part.raw)) is not None:
                    self._open(part.kind, raw)
            case Media(kind="image") if part.data:
                self._open("image_generation_call", {"status": "in_progress", "result": None})
        text = getattr(part, "arguments" if isinstance(part, ToolCall) else "text", "")
        if text:
            self.add_text(text)
        if (seal := getattr(part, "seal", None)) is not None and not isinstance(part, ToolCall):
            self.add_seal(seal)

    def add_text(self, text: str) -> None:
        if self._delta is None or not text:
            return
        self._texts.append(text)
        if self._logprobs and isinstance(self._part, Text):
            self._add_with_logprobs(text)
        elif not self.wire.silent:
            before, after, end = self._delta
            self.wire.add(b"%b%d%b%b%b" % (before, self.wire.number(), after, written(text), end))

    def _add_with_logprobs(self, text: str) -> None:
        logprobs, self._logprobs = self._logprobs, []
        if self._piece is not None:
            self._piece["logprobs"] += logprobs
        self.wire.event("response.output_text.delta", {**self._place, "delta": text, "logprobs": logprobs})

    def add_seal(self, seal: Seal) -> None:
        self._seal = seal if self._seal is None else attrs.evolve(seal, value=self._seal.value + seal.value)

    def add_citation(self, citation: Citation) -> None:
        self._citations.append(citation)

    def add_logprobs(self, logprobs: tuple[TokenLogprob, ...]) -> None:
        """Of words to come, or just said; when all words have been said, of the last ones."""
        written_ones = write_logprobs(logprobs)
        if isinstance(self._part, Text) or self._last_words is None:
            self._logprobs += written_ones
        else:
            self._last_words["logprobs"] += written_ones

    def end_part(self) -> None:
        part, text = self._part, "".join(self._texts)
        self.open_part, self._delta = -1, None
        match part:
            case Text():
                self._end_words(text)
            case Refusal():
                self._piece["refusal"] = text  # type: ignore[index]
                self.wire.event("response.refusal.done", {**self._place, "refusal": text})
                self.wire.event("response.content_part.done", {**self._place, "part": self._piece})
            case Reasoning():
                self._end_thought(text)
            case ToolCall():
                self._end_call(part, text)
            case Media():
                if self._item is not None and self._item["type"] == "image_generation_call":
                    self._item["result"] = part.data
        self._part = self._piece = None

    def close(self, status: str = "completed") -> None:
        """The open item is whole. status: of the answer; the item that it breaks off in is `incomplete`."""
        item, self._item = self._item, None
        if item is None:
            return
        if "status" in item and item["type"] in _PREFIXES:
            broken = status == "incomplete" and item["type"] != "image_generation_call"
            item["status"] = "incomplete" if broken else "completed"
        self.wire.event("response.output_item.done", {"output_index": len(self.output) - 1, "item": item})
        if self._carried is not None:
            seal, self._carried = self._carried, None
            self._open("reasoning", {"summary": [], "encrypted_content": CARRIED + wrap(seal, OWN)})
            self.close()

    def _open(self, kind: str, members: dict[str, Any]) -> dict[str, Any]:
        self.close()
        number = len(self.output)
        self._item = {"id": item_id(_PREFIXES.get(kind, "item"), self.response, number), "type": kind, **members}
        self.output.append(self._item)
        self.wire.event("response.output_item.added", {"output_index": number, "item": self._item})
        return self._item

    def _start_piece(self, kind: str, field: str, piece: dict[str, Any]) -> None:
        """A part of the open item, or of a new one where that is of another kind."""
        item = self._item
        if item is None or item["type"] != kind:
            item = self._open(kind, {"status": "in_progress", "content": [], "role": "assistant"} if kind == "message" else {"summary": []})
        pieces = item.setdefault(field, [])
        pieces.append(piece)
        self._piece = piece
        number = "summary_index" if field == "summary" else "content_index"
        self._place = {"item_id": item["id"], "output_index": len(self.output) - 1, number: len(pieces) - 1}
        event = "response.reasoning_summary_part.added" if field == "summary" else "response.content_part.added"
        self.wire.event(event, {**self._place, "part": piece})
        self._grows({"output_text": "output_text", "summary_text": "reasoning_summary_text"}.get(piece["type"], piece["type"]))

    def _grows(self, name: str) -> None:
        """Get ready what surrounds the words of this part's delta events: they come by the thousand."""
        event = f"response.{name}.delta"
        before = b'event: %b\ndata: {"type":"%b","sequence_number":' % (event.encode(), event.encode())
        place = orjson.dumps(self._place)[1:-1]
        self._delta = (before, b',%b,"delta":' % place, b',"logprobs":[]}\n\n' if name == "output_text" else b"}\n\n")

    def _start_thought(self, part: Reasoning) -> None:
        item = self._item
        as_summary = part.summary or self.summaries
        if item is not None and item["type"] == "reasoning" and (part.hidden or (item["summary"] and not as_summary)):
            self.close()  # raw thoughts stand before summaries in an item; thoughts that are only a seal are an item of their own
        if part.hidden:
            self._open("reasoning", {"summary": []})
        elif as_summary:
            self._start_piece("reasoning", "summary", {"type": "summary_text", "text": ""})
        else:
            self._start_piece("reasoning", "content", {"type": "reasoning_text", "text": ""})

    def _end_thought(self, text: str) -> None:
        piece = self._piece
        if piece is not None:
            piece["text"] = text
            summary = piece["type"] == "summary_text"
            said, closed = ("reasoning_summary_text", "reasoning_summary_part") if summary else ("reasoning_text", "content_part")
            self.wire.event(f"response.{said}.done", {**self._place, "text": text})
            self.wire.event(f"response.{closed}.done", {**self._place, "part": piece})
        if self._seal is not None and self._item is not None:
            self._item["encrypted_content"] = wrap(self._seal, OWN)
            self.close()

    def _end_words(self, text: str) -> None:
        piece = self._piece
        assert piece is not None
        piece["text"] = text
        for number, citation in enumerate(self._citations):
            annotation = write_citation(citation, len(text))
            piece["annotations"].append(annotation)
            added = {**self._place, "annotation_index": number, "annotation": annotation}
            self.wire.event("response.output_text.annotation.added", added)
        piece["logprobs"] += self._logprobs
        self._logprobs = []
        self._last_words = piece
        self.wire.event("response.output_text.done", {**self._place, "text": text, "logprobs": piece["logprobs"]})
        self.wire.event("response.content_part.done", {**self._place, "part": piece})
        if self._seal is not None and self.seals_of_words:
            self._carried = self._seal
            self.close()

    def _start_call(self, call: ToolCall) -> None:
        field = "input" if call.custom else "arguments"
        if call.seal is not None:
            self._open("reasoning", {"summary": [], "encrypted_content": COMING + wrap(call.seal, OWN)})
        members: dict[str, Any] = {"status": "in_progress", "call_id": call.id, "name": call.name, field: ""}
        if call.namespace:
            members["namespace"] = call.namespace
        item = self._open("custom_tool_call" if call.custom else "function_call", members)
        self._place = {"item_id": item["id"], "output_index": len(self.output) - 1}
        self._grows("custom_tool_call_input" if call.custom else "function_call_arguments")

    def _end_call(self, call: ToolCall, text: str) -> None:
        assert self._item is not None
        field = "input" if call.custom else "arguments"
        name = "custom_tool_call_input" if call.custom else "function_call_arguments"
        if not text and not call.custom:  # no arguments are an empty object, which callers parse
            text = "{}"
            self.wire.event(f"response.{name}.delta", {**self._place, "delta": text})
        self._item[field] = text
        self.wire.event(f"response.{name}.done", {**self._place, field: text})
        self._carried = self._seal


def _fit(raw: Mapping[str, Any]) -> dict[str, Any] | None:
    """A block of this language as it came; None for one that cannot be written again."""
    try:
        orjson.dumps(raw)
    except (TypeError, RecursionError):
        return None
    return dict(raw)
