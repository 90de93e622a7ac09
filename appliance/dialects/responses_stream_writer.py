"""Writes a model's answer for a caller of the Responses API, event by event or whole.

The rule: one item is open at a time, and within it one part; each is announced, grows, is said in full and is closed, in OpenAI's order of
events and with its numbers. The whole answer is what the stream that says it would end with.
"""

from collections.abc import Sequence
from typing import Any

import attrs

from appliance.core.assembly import unfold
from appliance.core.completion import Completion, Finish
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
from appliance.core.fault import Fault, FaultKind
from appliance.core.sequence import Sequencer
from appliance.core.usage import Usage
from appliance.dialects.codec import Reply
from appliance.dialects.custom_tools import Restoration, Restorer, needs_plain
from appliance.dialects.responses_error import ResponsesCaller, failure
from appliance.dialects.responses_items import Items
from appliance.dialects.responses_response import ending, response_id, shell, write_usage
from appliance.dialects.responses_wire import Wire, written

_CALLER = ResponsesCaller()


@attrs.define
class ResponsesStreamWriter:
    """One answer. Of several candidates only the first is written: this API has no place for others. Calls of plain functions that stand
    for the caller's free-text or grouped tools are turned back."""

    _reply: Reply
    _wire: Wire = attrs.field(factory=Wire)
    _sequencer: Sequencer = attrs.field(factory=Sequencer)
    _shell: dict[str, Any] = attrs.field(factory=dict)
    _items: Items | None = None
    _restorer: Restorer | None = None
    _finish: Finish = ""
    _usage: Usage | None = None
    _broken: bool = False
    full: bool = False  # told by the stream itself, which fails

    def __attrs_post_init__(self) -> None:
        if needs_plain(self._reply.conversation):
            self._restorer = Restoration.of(self._reply.conversation).stream()

    def write(self, deltas: Sequence[Delta]) -> bytes:
        if self._restorer is not None:
            deltas = self._restorer.deltas(deltas)
        for delta in deltas:
            if type(delta) is TextAdded and self._items is not None and delta.index == self._items.open_part and not delta.candidate:
                self._items.add_text(delta.text)  # the usual case: more of the part that is open, for which nothing can wait
            elif not self._broken:
                self._write_delta(delta)
        return self._wire.take()

    def end(self) -> bytes:
        if self._broken:
            return b""
        self._last_event()
        return self._wire.take()

    def error(self, fault: Fault, request_id: str) -> bytes:
        """An `error` event and the failed response, as OpenAI sends both: some clients read the one and some the other."""
        self._fail(fault, request_id)
        return self._wire.take()

    def keepalive(self) -> bytes:
        """Once the response has begun an event, since agents count nothing else as a sign of life (Menci/Floway#498): one that says again
        what it said. OpenAI's own `keepalive` event is unknown to many SDKs (openai/openai-node#1964)."""
        if self._items is None or self._broken:
            return _CALLER.keepalive()
        self._wire.event("response.in_progress", {"response": self._shell})
        return self._wire.take()

    def response(self) -> dict[str, Any]:
        """The whole response as it stands. A backend that told no usage leaves zeros: clients break where a response that is whole has
        none (vercel/ai#20102)."""
        items = self._begun()
        usage = write_usage(self._usage or Usage()) if self._usage is not None or not self._broken else None
        return {**self._shell, **ending(self._finish, items.refused), "output": items.output, "usage": usage}

    def _write_delta(self, delta: Delta) -> None:
        match delta:
            case Started():
                if delta.usage is not None:
                    self._usage = delta.usage
                self._begun(delta)
            case UsageKnown():
                self._usage = delta.usage
            case LogprobsAdded():
                if not delta.candidate:
                    self._begun().add_logprobs(delta.logprobs)
            case _ if delta.candidate:
                pass
            case _:
                items = self._begun()
                for one in self._sequencer.feed(delta):
                    self._write_part(items, one)
                if self._sequencer.full:
                    self._fail(Fault(FaultKind.PROTOCOL, "the backend's answer has too many parts under way at once"), "")

    def _write_part(self, items: Items, delta: Delta) -> None:
        match delta:
            case TextAdded():
                items.add_text(delta.text)
            case PartStarted():
                items.start(delta.index, delta.part)
            case SealAdded():
                items.add_seal(delta.seal)
            case CitationAdded():
                items.add_citation(delta.citation)
            case PartEnded():
                items.end_part()
            case Finished():
                self._finish = delta.finish
                items.close(ending(delta.finish, items.refused)["status"])

    def _begun(self, started: Started | None = None) -> Items:
        if self._items is not None:
            return self._items
        start = started or Started()
        identity = response_id(start.id, self._reply.id)
        self._shell = shell(self._reply, identity, start.created, start.service_tier)
        wish = self._reply.conversation.reasoning
        asked = wish is not None and bool(wish.sealed or wish.summary)
        self._items = Items(self._wire, identity, summaries=asked, seals_of_words=wish is not None and wish.sealed)
        self._wire.event("response.created", {"response": self._shell})
        self._wire.event("response.in_progress", {"response": self._shell})
        return self._items

    def _last_event(self) -> None:
        items = self._begun()
        for one in self._sequencer.feed(Finished(self._finish)):  # parts that nobody ended
            if not isinstance(one, Finished):
                self._write_part(items, one)
        items.close(ending(self._finish, items.refused)["status"])
        response = self.response()
        self._wire.event(f"response.{response['status']}", {"response": response})

    def _fail(self, fault: Fault, request_id: str) -> None:
        items = self._begun()
        self._broken = True
        items.open_part = -1
        self._wire.add(_CALLER.error_event(fault, request_id, self._wire.number()))
        response = {**self.response(), "status": "failed", "incomplete_details": None, "error": failure(fault)}
        self._wire.event("response.failed", {"response": response})


def write_answer(answer: Completion, reply: Reply) -> bytes:
    writer = ResponsesStreamWriter(reply, Wire(silent=True))
    writer.write(unfold(answer))
    writer.end()
    return written(writer.response())
