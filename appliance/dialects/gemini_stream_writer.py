"""Writes an answer for a streaming caller of Gemini's, as server-sent events or as one long JSON array.

The rule: text goes out as it comes; a call goes out whole when it has ended, since the language's arguments are an object; why the answer
ended, and what it cost, is the last chunk. What stands between events for keeping a connection alive is a blank line, because google-genai
raises on comments. Source: ai.google.dev/api/generate-content#method:-models.streamgeneratecontent.
"""

from collections.abc import Sequence
from typing import Any

import attrs
import orjson

from appliance.core.completion import Candidate
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
from appliance.core.message import Citation, Part, Reasoning, Text, ToolCall
from appliance.core.seal import Seal
from appliance.core.sequence import Sequencer
from appliance.core.usage import Usage
from appliance.dialects.codec import Reply
from appliance.dialects.gemini_answer import broken_call, write_answer_part, write_ending, written_time
from appliance.dialects.gemini_citations import write_citations
from appliance.dialects.gemini_error import error_fields
from appliance.dialects.gemini_json import dump
from appliance.dialects.gemini_logprobs import write_logprobs
from appliance.dialects.gemini_usage import write_usage

CITED_MAX_CHARS = 4_000_000
"""Of a text that is kept to tell where in it citations are: no answer of a model is as long."""

_NOTHING: dict[str, Any] = {"text": ""}
"""The part of a chunk that says something about the answer and not of it. Google writes it so, too; google-genai takes a chunk without a
part for an invalid one and forgets the turn."""


@attrs.define
class _Line:
    """One candidate under way. members: what is to be said of its text in the next chunk."""

    number: int
    sequencer: Sequencer = attrs.field(factory=Sequencer)
    part: Part | None = None
    pieces: list[str] = attrs.field(factory=list)
    length: int = 0
    seal: Seal | None = None
    citations: list[Citation] = attrs.field(factory=list)
    members: dict[str, Any] = attrs.field(factory=dict)
    malformed: str = ""
    ending: dict[str, Any] = attrs.field(factory=dict)


@attrs.define
class GeminiStreamWriter:
    """See codec.StreamWriter. array: the caller did not ask for server-sent events (`alt=sse`)."""

    reply: Reply
    array: bool = False
    _lines: dict[int, _Line] = attrs.field(factory=dict)
    _usage: Usage | None = None
    _rest: bytes = b""
    _begun: bool = False

    @property
    def full(self) -> bool:
        return any(line.sequencer.full for line in self._lines.values())

    def write(self, deltas: Sequence[Delta]) -> bytes:
        out: list[bytes] = []
        for delta in deltas:
            if type(delta) is Started:
                self._start(delta)
            elif type(delta) is UsageKnown:
                self._usage = delta.usage
            else:
                number: int = getattr(delta, "candidate", 0)
                line = self._lines.get(number)
                if line is None:
                    line = self._lines[number] = _Line(number)
                for one in line.sequencer.feed(delta):
                    self._say(line, one, out)
        return b"".join(out)

    def end(self) -> bytes:
        candidates = [self._candidate(line, [_NOTHING], line.ending) for line in self._lines.values()]
        last: dict[str, Any] = {"candidates": candidates} if candidates else {}
        if self._usage is not None:
            last["usageMetadata"] = write_usage(self._usage)
        out = self._framed(dump(last)[:-1] + (b"," if last else b"") + self._ending()) if last else b""
        if not self.array:
            return out
        return out + (b"\n]" if self._begun else b"[]")

    def error(self, fault: Fault, request_id: str) -> bytes:
        event = self._framed(dump(error_fields(fault, request_id)))
        return event + b"\n]" if self.array else event

    def keepalive(self) -> bytes:
        return b"\n"

    def _start(self, delta: Started) -> None:
        self._usage = delta.usage or self._usage
        self._rest = self._said_of_all(delta.id, delta.created)

    def _said_of_all(self, answer_id: str, created: int) -> bytes:
        """The end of every chunk: the model and the answer's id."""
        said = {"modelVersion": self.reply.model, "responseId": answer_id or self.reply.id}
        return dump({**said, "createTime": written_time(created)} if created else said)[1:]

    def _ending(self) -> bytes:
        if not self._rest:
            self._rest = self._said_of_all("", 0)
        return self._rest

    def _framed(self, chunk: bytes) -> bytes:
        if not self.array:
            return b"data: %b\n\n" % chunk
        begun, self._begun = self._begun, True
        return b"%b%b" % (b"\n,\r\n" if begun else b"[", chunk)

    def _say(self, line: _Line, delta: Delta, out: list[bytes]) -> None:
        if type(delta) is TextAdded:
            if type(line.part) is ToolCall:
                line.pieces.append(delta.text)
            else:
                self._say_words(line, delta.text, out)
        elif type(delta) is PartStarted:
            self._begin(line, delta.part, out)
        elif type(delta) is SealAdded:
            line.seal = delta.seal if line.seal is None else attrs.evolve(delta.seal, value=line.seal.value + delta.seal.value)
        elif type(delta) is CitationAdded:
            line.citations.append(delta.citation)
        elif type(delta) is PartEnded:
            self._finish(line, out)
        elif type(delta) is LogprobsAdded:
            out.append(self._chunk(line, [_NOTHING], {"logprobsResult": write_logprobs(delta.logprobs)}))
        elif type(delta) is Finished:
            line.ending = write_ending(Candidate((), delta.finish), line.malformed)

    def _say_words(self, line: _Line, words: str, out: list[bytes]) -> None:
        """The short way, of nearly every chunk: around the text all is known."""
        if type(line.part) is Text and line.length <= CITED_MAX_CHARS:
            line.length += len(words)
            line.pieces.append(words)
        thought = b',"thought":true' if type(line.part) is Reasoning else b""
        try:
            said = orjson.dumps(words)
        except orjson.JSONEncodeError:
            said = dump(words)
        chunk = b'{"candidates":[{"content":{"parts":[{"text":%b%b}],"role":"model"},"index":%d}],%b' % (
            said, thought, line.number, self._ending(),
        )  # fmt: skip
        out.append(self._framed(chunk))

    def _begin(self, line: _Line, part: Part, out: list[bytes]) -> None:
        if line.members:
            out.append(self._chunk(line, [_NOTHING], {}))
        line.part = part
        if isinstance(part, Text | Reasoning):
            line.seal = part.seal
            if isinstance(part, Text):
                line.citations += part.citations
            if part.text:
                self._say_words(line, part.text, out)
        elif isinstance(part, ToolCall):
            line.seal = part.seal
            line.pieces.append(part.arguments)
        else:
            self._say_whole(line, part, out)

    def _finish(self, line: _Line, out: list[bytes]) -> None:
        part = line.part
        if isinstance(part, ToolCall):
            call = attrs.evolve(part, arguments="".join(line.pieces), seal=line.seal)
            broken = broken_call(call)
            line.malformed = line.malformed or broken
            if not broken:
                self._say_whole(line, call, out)
        elif isinstance(part, Text | Reasoning):
            if line.seal is not None:
                self._say_whole(line, attrs.evolve(part, text="", seal=line.seal), out)
            if line.citations:
                text = "".join(line.pieces) if line.length <= CITED_MAX_CHARS else ""
                cited = [one if text else attrs.evolve(one, start=-1, end=-1) for one in line.citations]
                line.members = write_citations([(0, text, one) for one in cited])
        line.part, line.seal, line.length = None, None, 0
        line.pieces.clear()
        line.citations.clear()

    def _say_whole(self, line: _Line, part: Part, out: list[bytes]) -> None:
        written = write_answer_part(part)
        if written is not None:
            out.append(self._chunk(line, [written], {}))

    def _chunk(self, line: _Line, parts: list[dict[str, Any]], members: dict[str, Any]) -> bytes:
        return self._framed(dump({"candidates": [self._candidate(line, parts, members)]})[:-1] + b"," + self._ending())

    @staticmethod
    def _candidate(line: _Line, parts: list[dict[str, Any]], members: dict[str, Any]) -> dict[str, Any]:
        """With what there was to say of the candidate's text, which is then said."""
        waiting, line.members = line.members, {}
        return {"content": {"parts": parts, "role": "model"}, **members, "index": line.number, **waiting}
