"""From a stream of deltas to the whole answer, and from a whole answer to the deltas of a stream that would have said the same.

`fold(unfold(answer)) == answer` for every answer; that, and the codecs' own inverses, is how whole and streamed answers are held equal.
"""

from collections.abc import Iterable

import attrs

from appliance.core.completion import Candidate, Completion, Finish, TokenLogprob
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
from appliance.core.message import Citation, Part, Reasoning, Refusal, Text, ToolCall
from appliance.core.seal import Seal


@attrs.define
class _Growing:
    """One part under way."""

    part: Part
    pieces: list[str] = attrs.field(factory=list)
    citations: list[Citation] = attrs.field(factory=list)
    seal: Seal | None = None

    def whole(self) -> Part:
        part, text = self.part, "".join(self.pieces)
        if isinstance(part, Text):
            return attrs.evolve(part, text=part.text + text, citations=(*part.citations, *self.citations), seal=self.seal or part.seal)
        if isinstance(part, Reasoning):
            return attrs.evolve(part, text=part.text + text, seal=self.seal or part.seal)
        if isinstance(part, ToolCall):
            return attrs.evolve(part, arguments=part.arguments + text, seal=self.seal or part.seal)
        if isinstance(part, Refusal):
            return Refusal(part.text + text)
        return part


@attrs.define
class _Candidate:
    parts: dict[int, _Growing] = attrs.field(factory=dict)
    logprobs: list[TokenLogprob] = attrs.field(factory=list)
    finish: Finish = ""
    stop_sequence: str = ""

    def whole(self) -> Candidate:
        parts = tuple(self.parts[index].whole() for index in sorted(self.parts))
        return Candidate(parts, self.finish, self.stop_sequence, tuple(self.logprobs))


@attrs.define
class Assembly:
    """Takes deltas in, gives the answer so far. Bounded by what its caller feeds: it keeps every word."""

    _start: Started = attrs.field(factory=Started)
    _candidates: dict[int, _Candidate] = attrs.field(factory=dict)
    _usage: UsageKnown | None = None

    def add(self, delta: Delta) -> None:
        if isinstance(delta, Started):
            self._start = delta
        elif isinstance(delta, UsageKnown):
            self._usage = delta
        else:
            self._add_to(self._candidates.setdefault(delta.candidate, _Candidate()), delta)

    def completion(self) -> Completion:
        start = self._start
        candidates = tuple(self._candidates[number].whole() for number in sorted(self._candidates))
        usage = self._usage.usage if self._usage is not None else start.usage
        return Completion(start.id, start.model, candidates, usage, start.created, start.fingerprint, start.service_tier)

    @staticmethod
    def _add_to(candidate: _Candidate, delta: Delta) -> None:
        if isinstance(delta, PartStarted):
            candidate.parts[delta.index] = _Growing(delta.part)
        elif isinstance(delta, TextAdded):
            candidate.parts[delta.index].pieces.append(delta.text)
        elif isinstance(delta, SealAdded):
            growing = candidate.parts[delta.index]
            before = growing.seal
            growing.seal = delta.seal if before is None else attrs.evolve(before, value=before.value + delta.seal.value)
        elif isinstance(delta, CitationAdded):
            candidate.parts[delta.index].citations.append(delta.citation)
        elif isinstance(delta, LogprobsAdded):
            candidate.logprobs += delta.logprobs
        elif isinstance(delta, Finished):
            candidate.finish, candidate.stop_sequence = delta.finish, delta.stop_sequence


def fold(deltas: Iterable[Delta]) -> Completion:
    """The whole answer that a stream of deltas says."""
    assembly = Assembly()
    for delta in deltas:
        assembly.add(delta)
    return assembly.completion()


def unfold(answer: Completion) -> list[Delta]:
    """A stream that says this answer: each part in one addition."""
    deltas: list[Delta] = [Started(answer.id, answer.model, answer.created, None, answer.fingerprint, answer.service_tier)]
    for number, candidate in enumerate(answer.candidates):
        for index, part in enumerate(candidate.parts):
            deltas += _unfold_part(index, part, number)
        if candidate.logprobs:
            deltas.append(LogprobsAdded(candidate.logprobs, number))
        deltas.append(Finished(candidate.finish, candidate.stop_sequence, number))
    if answer.usage is not None:
        deltas.append(UsageKnown(answer.usage))
    return deltas


def _unfold_part(index: int, part: Part, candidate: int) -> list[Delta]:
    bare: Part = part
    text, seal = "", None
    citations: tuple[Citation, ...] = ()
    if isinstance(part, Text):
        bare, text, citations, seal = attrs.evolve(part, text="", citations=(), seal=None), part.text, part.citations, part.seal
    elif isinstance(part, Reasoning):
        bare, text, seal = attrs.evolve(part, text="", seal=None), part.text, part.seal
    elif isinstance(part, ToolCall):
        bare, text = attrs.evolve(part, arguments=""), part.arguments  # its seal is known when it begins, as in the vendors' streams
    elif isinstance(part, Refusal):
        bare, text = Refusal(), part.text
    deltas: list[Delta] = [PartStarted(index, bare, candidate)]
    if text:
        deltas.append(TextAdded(index, text, candidate))
    deltas += [CitationAdded(index, citation, candidate) for citation in citations]
    if seal is not None:
        deltas.append(SealAdded(index, seal, candidate))
    deltas.append(PartEnded(index, candidate))
    return deltas
