"""Writes an answer as a stream of legacy completions: every event is a whole answer's shape with the text that came.

The rule: one kind of event for everything; the last one of a choice has its finish reason. Source: a recording of gpt-3.5-turbo-instruct,
and openai-python's types/completion.py ("both the streamed and non-streamed response objects share the same shape").
"""

import math
from collections.abc import Sequence
from typing import Any

import attrs

from appliance.core.completion import TokenLogprob
from appliance.core.delta import Delta, Finished, LogprobsAdded, PartEnded, PartStarted, Started, TextAdded, UsageKnown
from appliance.core.fault import Fault
from appliance.core.message import Refusal, Text
from appliance.core.usage import Usage
from appliance.dialects.chat_answer_parts import LOGPROB_LEAST
from appliance.dialects.chat_answer_writer import FINISHES, dumped, written_usage
from appliance.dialects.codec import Reply
from appliance.dialects.openai_envelope import OpenAICaller

_CALLER = OpenAICaller()


@attrs.define
class CompletionStreamWriter:
    """A codec.StreamWriter.

    Attributes:
        _spoken: (candidate, part) of the open parts whose words are shown. _chars: of each candidate's tokens so far, for `text_offset`.
    """

    reply: Reply
    _head: bytes = b""
    _usage: Usage | None = None
    _spoken: set[tuple[int, int]] = attrs.field(factory=set)
    _chars: dict[int, int] = attrs.field(factory=dict)
    full: bool = False  # parts may overlap here

    def write(self, deltas: Sequence[Delta]) -> bytes:
        return b"".join(self._event(delta) for delta in deltas)

    def _event(self, delta: Delta) -> bytes:
        if isinstance(delta, Started):
            self._begin(delta)
        elif isinstance(delta, UsageKnown):
            self._usage = delta.usage
        elif isinstance(delta, PartStarted) and isinstance(delta.part, Text | Refusal):
            self._spoken.add((delta.candidate, delta.index))
            return self._said(delta.candidate, delta.part.text) if delta.part.text else b""
        elif isinstance(delta, TextAdded) and (delta.candidate, delta.index) in self._spoken:
            return self._said(delta.candidate, delta.text)
        elif isinstance(delta, PartEnded):
            self._spoken.discard((delta.candidate, delta.index))
        elif isinstance(delta, LogprobsAdded):
            before = self._chars.get(delta.candidate, 0)
            self._chars[delta.candidate] = before + sum(len(one.token) for one in delta.logprobs)
            return self._said(delta.candidate, "", logprobs=legacy_logprobs(delta.logprobs, before))
        elif isinstance(delta, Finished):
            return self._said(delta.candidate, "", finish=FINISHES.get(delta.finish, "stop"))
        return b""

    def end(self) -> bytes:
        """Usage in an event of its own, if the caller asked for it, and the end."""
        if self._usage is None or not self.reply.conversation.wants_usage:
            return b"data: [DONE]\n\n"
        self._begin(None)
        return b"data: " + self._head + b'"choices":[],"usage":' + dumped(written_usage(self._usage)) + b"}\n\ndata: [DONE]\n\n"

    def error(self, fault: Fault, request_id: str) -> bytes:
        return _CALLER.stream_error(fault, request_id)

    def keepalive(self) -> bytes:
        return _CALLER.keepalive()

    def _said(self, candidate: int, words: str, logprobs: Any = None, finish: str | None = None) -> bytes:
        self._begin(None)
        entry = dumped({"text": words, "index": candidate, "logprobs": logprobs, "finish_reason": finish})
        tail = b'],"usage":null}\n\n' if self.reply.conversation.wants_usage else b"]}\n\n"
        return b"data: " + self._head + b'"choices":[' + entry + tail

    def _begin(self, started: Started | None) -> None:
        if self._head:
            return
        said = started or Started()
        head: dict[str, Any] = {
            "id": said.id or self.reply.id, "object": "text_completion", "created": said.created or self.reply.created,
            "model": self.reply.model,
        }  # fmt: skip
        if said.fingerprint:
            head["system_fingerprint"] = said.fingerprint
        self._head = dumped(head)[:-1] + b","


def legacy_logprobs(tokens: Sequence[TokenLogprob], before: int) -> dict[str, Any]:
    """before: characters of the tokens that came earlier."""
    offsets: list[int] = []
    for one in tokens:
        offsets.append(before)
        before += len(one.token)
    return {
        "tokens": [one.token for one in tokens],
        "token_logprobs": [_finite(one.logprob) for one in tokens],
        "top_logprobs": [{other.token: _finite(other.logprob) for other in one.top} for one in tokens],
        "text_offset": offsets,
    }


def _finite(logprob: float) -> float:
    return logprob if math.isfinite(logprob) else LOGPROB_LEAST
