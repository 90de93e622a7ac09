"""One candidate of a stream as it grows: the parts of chunk after chunk, as deltas.

The rule: chunks are cut anywhere, so a part that continues the open one is more of it; a call may come whole, or by its arguments' paths.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from appliance.core.delta import CitationAdded, Delta, Finished, LogprobsAdded, PartEnded, PartStarted, SealAdded, TextAdded
from appliance.core.message import Citation, Part, Reasoning, Text, ToolCall
from appliance.core.tool_ids import made_id
from appliance.dialects.fields import needed, optional, text
from appliance.dialects.gemini_answer import candidate_seed, read_answer_part
from appliance.dialects.gemini_arguments import Arguments
from appliance.dialects.gemini_citations import read_citations
from appliance.dialects.gemini_finish import read_finish
from appliance.dialects.gemini_json import message, messages
from appliance.dialects.gemini_logprobs import read_logprobs
from appliance.dialects.gemini_parts import continues, kind_of, own_seal, read_sealed, read_text, settled


@attrs.define
class CandidateReader:
    """Attributes:
    number: of the candidate. seed: the answer's, for ids of calls.
    words_max: characters of the open text that are kept, to tell where citations are.
    reason: why it ended, as far as it has said so. More may follow: older models and several relays say STOP in every chunk
        (songquanpeng/one-api#1408, Chevey339/kelivo#1003), so the last word counts, when the stream is over.
    """

    number: int
    seed: str
    words_max: int
    reason: object = None
    _next: int = 0
    _open: Part | None = None
    _arguments: Arguments | None = None
    _calls: int = 0
    _cut_call: bool = False
    _words: list[str] = attrs.field(factory=list, repr=False)
    _words_length: int = 0

    def add_words(self, words: str, out: list[Delta]) -> bool:
        """The short way: more of an open text, which is what nearly every chunk is. False where it is not that."""
        if type(self._open) is not Text or self._open.seal is not None:
            return False
        self._keep(words)
        out.append(TextAdded(self._next - 1, words, self.number))
        return True

    def read(self, candidate: Mapping[str, Any], path: str, out: list[Delta]) -> None:
        """One chunk's share; raises Unfit, and OutOfOrder."""
        content = optional(message, candidate, "content", path) or {}
        for place, fields in enumerate(messages(content.get("parts") or [], f"{path}.content.parts")):
            self._read_part(fields, f"{path}.content.parts[{place}]", out)
        logprobs = read_logprobs(candidate.get("logprobsResult"))
        if logprobs:
            out.append(LogprobsAdded(logprobs, self.number))
        self._cite(candidate, out)
        reason = candidate.get("finishReason")
        if reason is not None and reason != "FINISH_REASON_UNSPECIFIED":
            self.reason = reason

    def end(self, out: list[Delta]) -> None:
        """The stream is over, and with it what it said last."""
        self._end_call(out, cut=self.reason != "STOP")
        self._end(out)
        out.append(Finished(read_finish(self.reason, self._calls > 0 and not self._cut_call), "", self.number))

    def _read_part(self, part: Mapping[str, Any], path: str, out: list[Delta]) -> None:
        kind = kind_of(part)
        if kind == "functionCall":
            self._read_call(part, path, out)
            return
        if kind != "text":
            self._end_call(out)
            self._add_whole(read_answer_part(part, path, "", 0), out)
            return
        words = read_text(part, path, own_seal)
        if not words.text and words.seal is None:
            return
        self._end_call(out)
        if self._open is None or not continues(self._open, words):
            alone = settled(words)
            assert isinstance(alone, Text | Reasoning)
            self._start(attrs.evolve(alone, text="", seal=None), out)
        if words.text:
            self._keep(words.text)
            out.append(TextAdded(self._next - 1, words.text, self.number))
        if words.seal is not None:
            out.append(SealAdded(self._next - 1, words.seal, self.number))
            self._open = attrs.evolve(words, text="")

    def _add_whole(self, found: Part | tuple[Part, ...] | None, out: list[Delta]) -> None:
        for part in found if isinstance(found, tuple) else () if found is None else (found,):
            seal = part.seal if isinstance(part, Text) else None
            self._start(attrs.evolve(part, seal=None) if isinstance(part, Text) else part, out)
            if seal is not None:
                out.append(SealAdded(self._next - 1, seal, self.number))
            self._end(out)

    def _read_call(self, part: Mapping[str, Any], path: str, out: list[Delta]) -> None:
        fields = message(part["functionCall"], f"{path}.functionCall")
        if fields.get("name"):
            self._end_call(out)
            call_id = optional(text, fields, "id", f"{path}.functionCall") or made_id(candidate_seed(self.seed, self.number), self._calls)
            self._calls += 1
            name, seal = needed(text, fields, "name", f"{path}.functionCall"), read_sealed(part, path, own_seal)[0]
            self._start(ToolCall(call_id, name, seal=seal), out)
            self._arguments = Arguments()
        if self._arguments is None:
            return  # the end of a call that has ended already
        args = fields.get("args")
        pieces = messages(fields.get("partialArgs") or [], f"{path}.functionCall.partialArgs")
        added = "".join(self._arguments.add(piece) for piece in pieces)
        if not pieces and isinstance(args, dict) and args:
            added = self._arguments.whole(args)
        if added:
            out.append(TextAdded(self._next - 1, added, self.number))
        if fields.get("willContinue") is not True:
            self._end_call(out)

    def _end_call(self, out: list[Delta], cut: bool = False) -> None:
        """The open call is over. cut: what ended it left its arguments as they were, so that nobody may take them for whole."""
        if self._arguments is None:
            return
        rest = "" if cut else self._arguments.end()
        if rest:
            out.append(TextAdded(self._next - 1, rest, self.number))
        self._cut_call = cut
        self._arguments = None
        self._end(out)

    def _cite(self, candidate: Mapping[str, Any], out: list[Delta]) -> None:
        if "groundingMetadata" not in candidate and "citationMetadata" not in candidate:
            return
        is_text = type(self._open) is Text
        texts = {self._next - 1: "".join(self._words)} if is_text and self._words_length <= self.words_max else {}
        cited: list[tuple[int, Citation]] = read_citations(candidate, texts)
        if cited and not is_text:
            self._end_call(out)
            self._start(Text(), out)
        out += [CitationAdded(self._next - 1, citation, self.number) for _, citation in cited]

    def _keep(self, words: str) -> None:
        self._words_length += len(words)
        if self._words_length <= self.words_max:
            self._words.append(words)

    def _start(self, part: Part, out: list[Delta]) -> None:
        self._end(out)
        self._open = part
        out.append(PartStarted(self._next, part, self.number))
        self._next += 1

    def _end(self, out: list[Delta]) -> None:
        if self._open is not None:
            out.append(PartEnded(self._next - 1, self.number))
            self._open = None
        self._words.clear()
        self._words_length = 0
