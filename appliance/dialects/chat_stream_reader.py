"""Reads a backend's chat completion stream: `data:` events of chunks up to `[DONE]`.

The rule: whatever bytes come, nothing is raised and what is held is bounded. A candidate is finished when the stream is: some vendors send
words, calls or counts after a finish reason, so that reason waits for `[DONE]`, or for the end where there is none.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from appliance.core.assembly import unfold
from appliance.core.delta import Delta, Started, UsageKnown
from appliance.core.fault import Fault, FaultKind
from appliance.core.usage import Usage
from appliance.dialects.chat_answer import CHOICES_MAX, answer_of, created_of
from appliance.dialects.chat_answer_parts import links_of, mended, read_json
from appliance.dialects.chat_stream_parts import ChoiceReader
from appliance.dialects.openai_usage import text_of, usage_of
from appliance.dialects.sse_reader import Said, SseReader
from appliance.dialects.upstream_error import error_in_answer

DONE = b"[DONE]"

_DATA = b"data: {"


@attrs.define
class ChatStreamReader:
    """A codec.StreamReader."""

    event_max_bytes: int
    backend: str
    fault: Fault | None = None
    finished: bool = False
    _sse: SseReader = attrs.field(init=False, repr=False)
    _clear: bool = True  # nothing of an event is held by _sse
    _started: bool = False
    _seed: str = ""
    _first: ChoiceReader | None = None
    _choices: dict[int, ChoiceReader] = attrs.field(factory=dict, repr=False)
    _usage: Usage | None = None
    _links: Mapping[str, Any] = attrs.field(factory=dict, repr=False)

    def __attrs_post_init__(self) -> None:
        self._sse = SseReader(self.event_max_bytes)

    def feed(self, data: bytes) -> list[Delta]:
        out: list[Delta] = []
        if self.fault is None and not self.finished:
            events = self._whole_events(data) if self._clear else None
            self._clear = data.endswith(b"\n\n") or (self._clear and not data)
            self._take(self._sse.feed(data) if events is None else events, out)
            if self._sse.overflow:
                self._break(f"sent an event of more than {self.event_max_bytes} bytes")
        return out

    def end(self) -> list[Delta]:
        out: list[Delta] = []
        if self.fault is not None or self.finished:
            return out
        self._take(self._sse.end(), out)
        if self.fault is not None or self.finished:
            return out
        if self._choices and all(one.reason for one in self._choices.values()):  # no [DONE]: Mistral's and others' proxies
            self._finish(out)
        elif self._sse.alien and not self._started:
            self._read_alien(self._sse.alien, out)
        elif self.fault is None:
            self.fault = Fault(FaultKind.STREAM_CUT, f"{self._who()} ended its stream before the answer was complete")
        return out

    def _whole_events(self, data: bytes) -> list[Said] | None:
        """The short way for a read that is whole events of one `data` line each; None for everything else."""
        if not data.endswith(b"\n\n") or b"\r" in data or len(data) > self.event_max_bytes:
            return None
        blocks = data[:-2].split(b"\n\n")
        for block in blocks:
            if not block.startswith(_DATA) or b"\n" in block:
                return None
        return [Said(b"", block[6:]) for block in blocks]

    def _take(self, events: list[Said], out: list[Delta]) -> None:
        for name, data in events:
            self._event(name, data, out)
            if self.fault is not None or self.finished:
                return

    def _event(self, name: bytes, data: bytes, out: list[Delta]) -> None:
        try:
            chunk, lax = read_json(data)
        except ValueError:
            word = data.strip()
            if word == DONE:
                self._finish(out)
            elif word:
                self._break("sent something that is not an event of a model's answer")
            return
        if type(chunk) is not dict:
            self._break("sent something that is not an event of a model's answer")
        elif lax or name or not self._read_words(chunk, out):
            self._read_chunk(chunk, name == b"error", lax, out)

    def _read_words(self, chunk: Mapping[str, Any], out: list[Delta]) -> bool:
        """The short way for what nearly all chunks are: more words of the one open part. False for everything else."""
        first, choices = self._first, chunk.get("choices")
        if first is None or not first.field or first.half or type(choices) is not list or len(choices) != 1:
            return False
        choice = choices[0]
        if type(choice) is not dict or choice.get("finish_reason") or choice.get("logprobs") or choice.get("index"):
            return False
        delta = choice.get("delta")
        if type(delta) is not dict or type(text := delta.get(first.field)) is not str or "error" in chunk or "error" in choice:
            return False
        if chunk.get("usage") or "x_groq" in chunk or choice.get("usage") or choice.get("stop_reason") or "citations" in chunk:
            return False
        if len(delta) > 1:
            for name, value in delta.items():
                if value and name != first.field and name != "role":
                    return False
        if text:
            first.more(text, out)
        return True

    def _read_chunk(self, chunk: dict[str, Any], named_error: bool, lax: bool, out: list[Delta]) -> None:
        fault = error_in_answer(chunk, self.backend, named_error=named_error)
        if fault is not None:
            self.fault = fault
            return
        choices = chunk.get("choices")
        usage = usage_of(chunk)
        if not self._started and (choices or usage is not None):  # Azure's first chunk is about the prompt and names nothing
            self._started = True
            self._seed = text_of(chunk.get("id"))
            started = mended([self._seed, text_of(chunk.get("model")), text_of(chunk.get("system_fingerprint"))])
            tier = text_of(chunk.get("service_tier"))
            out.append(Started(started[0], started[1], created_of(chunk), None, started[2], mended(tier)))
        for choice in choices if isinstance(choices, list) else []:
            if isinstance(choice, dict):
                self._read_choice(choice, lax, out)
        if usage is not None:
            self._usage = usage
        if "citations" in chunk:
            self._links = chunk

    def _read_choice(self, choice: dict[str, Any], lax: bool, out: list[Delta]) -> None:
        number = choice.get("index")
        number = number if isinstance(number, int) and 0 <= number < CHOICES_MAX else 0
        reader = self._choices.get(number)
        if reader is None:
            reader = ChoiceReader(number, f"{self._seed}.{number}" if number else self._seed, self.event_max_bytes)
            self._choices[number] = reader
            self._first = reader if number == 0 else self._first
        reader.read(self._mended(choice) if lax else choice, out)
        if reader.full:
            self._break(f"sent tool calls or seals of more than {self.event_max_bytes} bytes")

    @staticmethod
    def _mended(choice: dict[str, Any]) -> dict[str, Any]:
        """The choice without halves of surrogate pairs, but for those in its words, which the next chunk may complete."""
        delta = choice.get("delta")
        content = delta.get("content") if isinstance(delta, dict) else None
        try:
            choice = mended(choice)
        except RecursionError:
            return {}
        if isinstance(content, str):
            choice["delta"]["content"] = content
        return choice

    def _finish(self, out: list[Delta]) -> None:
        if not self._choices:
            self._break("ended its stream without an answer")
            return
        if self._first is not None:
            self._first.cite(links_of(self._links), out)
        for number in sorted(self._choices):
            self._choices[number].finish(out)
        if self._usage is not None:
            out.append(UsageKnown(self._usage))
        self.finished = True

    def _read_alien(self, text: bytes, out: list[Delta]) -> None:
        """No event stream at all: an error, or a whole answer of a vendor that does not stream."""
        try:
            answer, lax = read_json(text)
            answer = mended(answer) if lax else answer
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            self._break("sent something that is not an event of a model's answer")
            return
        found = answer_of(answer, self.backend)
        if isinstance(found, Fault):
            self.fault = found
        else:
            out += unfold(found)
            self.finished = True

    def _break(self, what: str) -> None:
        if self.fault is None:
            self.fault = Fault(FaultKind.PROTOCOL, f"{self._who()} {what}")

    def _who(self) -> str:
        return f"the backend {self.backend}" if self.backend else "the backend"
