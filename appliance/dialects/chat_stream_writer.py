"""Writes an answer as a stream of chat completion chunks.

The rule: every candidate begins with a chunk that names its role, candidates begin in order, and lists in deltas have an index: OpenAI's
own SDK adds chunks up by these and breaks without them. What adds up badly (a seal, the input of a free-text tool that came as JSON) is
written whole when its part ends.
"""

from collections.abc import Sequence
from typing import Any

import attrs

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
from appliance.core.usage import Usage
from appliance.dialects.chat_answer_writer import dumped, written_usage
from appliance.dialects.chat_request import SERVICE_TIERS
from appliance.dialects.chat_stream_choice import ChoiceWriter
from appliance.dialects.codec import Reply
from appliance.dialects.openai_envelope import OpenAICaller

_CALLER = OpenAICaller()


@attrs.define
class ChatStreamWriter:
    """A codec.StreamWriter."""

    reply: Reply
    _head: bytes = b""
    _tail: bytes = b""
    _id: str = ""
    _tier: str = ""
    _choices: list[ChoiceWriter] = attrs.field(factory=list, repr=False)
    _usage: Usage | None = None
    full: bool = False  # parts may overlap here

    def write(self, deltas: Sequence[Delta]) -> bytes:
        out: list[bytes] = []
        for delta in deltas:
            kind = type(delta)
            if kind is TextAdded:
                self._write_text(delta, out)  # type: ignore[arg-type]
            elif kind is Started:
                self._start(delta)  # type: ignore[arg-type]
            elif kind is UsageKnown:
                self._usage = delta.usage  # type: ignore[union-attr]
            else:
                self._write_other(delta, out)
        return b"".join(out)

    def end(self) -> bytes:
        """Usage in a chunk of its own, if the caller asked for it (`stream_options.include_usage`), and the end."""
        if self._usage is None or not self.reply.conversation.wants_usage:
            return b"data: [DONE]\n\n"
        self._begin()
        usage = dumped(written_usage(self._usage))
        return b"data: " + self._head + b'"choices":[],"usage":' + usage + b"}\n\ndata: [DONE]\n\n"

    def error(self, fault: Fault, request_id: str) -> bytes:
        return _CALLER.stream_error(fault, request_id)

    def keepalive(self) -> bytes:
        return _CALLER.keepalive()

    def _start(self, started: Started) -> None:
        reply = self.reply
        self._id = started.id or reply.id
        head: dict[str, Any] = {"id": self._id, "object": "chat.completion.chunk", "created": started.created or reply.created}
        head |= {"model": reply.model, "system_fingerprint": started.fingerprint or None}
        if started.service_tier in SERVICE_TIERS:
            head["service_tier"] = started.service_tier
        self._head = dumped(head)[:-1] + b","
        self._tail = b',"usage":null}\n\n' if reply.conversation.wants_usage else b"}\n\n"

    def _begin(self) -> None:
        if not self._head:  # nobody said how it starts
            self._start(Started())

    def _write_text(self, delta: TextAdded, out: list[bytes]) -> None:
        """The short way: words of a part whose chunk differs in nothing else."""
        number = delta.candidate
        if number < len(self._choices) and (frame := self._choices[number].frames.get(delta.index)) is not None:
            text = delta.text
            frame[2].took(text)
            out.append(frame[0] + dumped(text) + frame[1])
            return
        self._say(number, self._choice(number).add(delta.index, delta.text), out)

    def _write_other(self, delta: Delta, out: list[bytes]) -> None:
        number: int = getattr(delta, "candidate", 0)
        choice = self._choice(number)
        if isinstance(delta, PartStarted):
            said = choice.start(delta.index, delta.part)
        elif isinstance(delta, SealAdded):
            said = choice.seal(delta.index, delta.seal)
        elif isinstance(delta, CitationAdded):
            said = choice.cite(delta.index, delta.citation)
        elif isinstance(delta, LogprobsAdded):
            said = choice.logprobs(delta.logprobs)
        elif isinstance(delta, PartEnded):
            said = choice.end(delta.index)
        elif isinstance(delta, Finished):
            said = choice.finish(delta)
        else:
            return
        self._say(number, said, out)

    def _choice(self, number: int) -> ChoiceWriter:
        """The candidate's writer. Those before it begin first: SDKs keep them in a list, in the order in which they come."""
        self._begin()
        while len(self._choices) <= number:
            choice = ChoiceWriter(len(self._choices), self._id, self.reply, self._head, self._tail)
            self._choices.append(choice)
        return self._choices[number]

    def _say(self, number: int, entries: list[dict[str, Any]], out: list[bytes]) -> None:
        if not entries:
            return
        for choice in self._choices[: number + 1]:
            if not choice.begun:
                choice.begun = True
                words = choice is not self._choices[number] or "content" in entries[0]["delta"] or bool(entries[0]["finish_reason"])
                self._chunk(choice.entry({"role": "assistant", "content": "" if words else None, "refusal": None}), out)
        for entry in entries:
            self._chunk(entry, out)

    def _chunk(self, entry: dict[str, Any], out: list[bytes]) -> None:
        out.append(b"data: " + self._head + b'"choices":[' + dumped(entry) + b"]" + self._tail)
