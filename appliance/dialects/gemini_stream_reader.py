"""Reads a backend's stream in either form, server-sent events or one long JSON array, which its first byte tells.

The rule: nothing is raised whatever comes, no more than one event is held, and an error in the middle of an answer is its end: Google
writes it as an event of its own, or as bare JSON between events. No event says that the stream is over: it is when its body ends, and
complete if every candidate has said why it ended.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from appliance.core.delta import Delta, Finished, Started, UsageKnown
from appliance.core.fault import Fault, FaultKind
from appliance.core.usage import Usage
from appliance.dialects.fields import Unfit, optional, text
from appliance.dialects.gemini_answer import created_at, id_seed, is_blocked, odd_answer
from appliance.dialects.gemini_arguments import OutOfOrder
from appliance.dialects.gemini_array import ArrayReader
from appliance.dialects.gemini_error import error_in_answer
from appliance.dialects.gemini_json import messages, parse, plain
from appliance.dialects.gemini_stream_candidate import CandidateReader
from appliance.dialects.gemini_usage import read_usage
from appliance.dialects.sse_reader import SseReader

CANDIDATES_MAX = 64
"""Google's own bound on candidateCount is 8."""

_BLANKS = b" \t\r\n"

_DATA = b"data: {"


@attrs.define
class GeminiStreamReader:
    """See codec.StreamReader. complete: what has come may be all of the answer; only the body's end tells."""

    event_max_bytes: int
    backend: str
    fault: Fault | None = None
    finished: bool = False
    _events: SseReader | None = None
    _array: ArrayReader | None = None
    _seed: str | None = None
    _candidates: dict[int, CandidateReader] = attrs.field(factory=dict)
    _usage: dict[str, Any] = attrs.field(factory=dict, repr=False)
    _usage_said: Usage | None = None
    _clear: bool = False
    _blocked: bool = False

    @property
    def complete(self) -> bool:
        if self._array is not None and self._array.cut:
            return False
        return self._blocked or (bool(self._candidates) and all(one.reason is not None for one in self._candidates.values()))

    def feed(self, data: bytes) -> list[Delta]:
        out: list[Delta] = []
        if self.fault is None and data:
            for event in self._cut(data):
                self._read(event, out)
                if self.fault is not None:
                    return out
            self._check()
        return out

    def end(self) -> list[Delta]:
        out: list[Delta] = []
        if self.fault is None and self._events is not None:
            for said in self._events.end():
                self._read(said.data, out)
            self._check()
        if self.fault is None and not self.complete:
            self.fault = Fault(FaultKind.STREAM_CUT, f"{self._who()} ended its stream before the answer was complete")
        if self.fault is None:
            for number in sorted(self._candidates):
                self._candidates[number].end(out)
            if not self._candidates:
                out.append(Finished("content_filter"))
            self.finished = True
        self._say_usage(out)
        return out

    def _cut(self, data: bytes) -> list[bytes]:
        """The whole events in what has come."""
        if self._events is None and self._array is None:
            data = data.lstrip(_BLANKS)
            if not data:
                return []
            if data[:1] in (b"[", b"{"):
                self._array = ArrayReader(self.event_max_bytes)
            else:
                self._events = SseReader(self.event_max_bytes, strict=True)
        if self._array is not None:
            return self._array.feed(data)
        assert self._events is not None
        events = self._whole_events(data) if self._clear else None
        self._clear = data.endswith((b"\n\n", b"\r\n\r\n"))
        return [said.data for said in self._events.feed(data)] if events is None else events

    def _whole_events(self, data: bytes) -> list[bytes] | None:
        """The short way for a read that is whole events of one `data` line each, after one that left nothing behind; None for all else."""
        end = b"\r\n\r\n" if data.endswith(b"\r\n\r\n") else b"\n\n"
        if not data.endswith(end) or len(data) > self.event_max_bytes:
            return None
        blocks = data[: -len(end)].split(end)
        for block in blocks:
            if not block.startswith(_DATA) or b"\n" in block or b"\r" in block:
                return None
        return [block[6:] for block in blocks]

    def _check(self) -> None:
        """What the cutter met that is no event."""
        if self.fault is not None:
            return
        overflow = (self._events is not None and self._events.overflow) or (self._array is not None and self._array.overflow)
        if overflow:
            self.fault = Fault(FaultKind.PROTOCOL, f"{self._who()} sent an event of more than {self.event_max_bytes} bytes")
        elif self._events is not None and self._events.alien:
            self.fault = self._bare_error(self._events.alien) or self._garbage()
        elif self._array is not None and self._array.garbled:
            self.fault = self._garbage()

    def _bare_error(self, lines: bytes) -> Fault | None:
        try:
            found = parse(lines)
        except ValueError:
            return None
        found = found[0] if isinstance(found, list) and found else found
        return error_in_answer(found, self.backend) if isinstance(found, dict) else None

    def _garbage(self) -> Fault:
        return Fault(FaultKind.PROTOCOL, f"{self._who()} sent something that is not an event of a model's answer")

    def _read(self, event: bytes, out: list[Delta]) -> None:
        if self.fault is not None or event == b"[DONE]":  # proxies in front of Google's API add OpenAI's word
            return
        try:
            chunk = parse(event)
        except ValueError:
            chunk = None
        if not isinstance(chunk, dict):
            self.fault = self._garbage()
            return
        if "error" in chunk:
            self.fault = error_in_answer(chunk, self.backend)
            if self.fault is not None:
                return
        try:
            if not self._read_words(chunk, out):
                self._read_chunk(plain(chunk), out)
        except Unfit as unfit:
            self.fault = odd_answer(unfit)
        except OutOfOrder:
            self.fault = Fault(FaultKind.PROTOCOL, f"{self._who()} sent a call's arguments out of order")

    def _read_words(self, chunk: Mapping[str, Any], out: list[Delta]) -> bool:
        """The short way for a chunk that is more of a text and nothing else; False where it may be anything."""
        candidates = chunk.get("candidates")
        if type(candidates) is not list or len(candidates) != 1 or type(candidates[0]) is not dict or self._seed is None:
            return False
        candidate: dict[str, Any] = candidates[0]
        if not candidate.keys() <= {"content", "index", "safetyRatings", "tokenCount", "avgLogprobs"}:
            return False
        content = candidate.get("content")
        parts = content.get("parts") if type(content) is dict else None
        if type(parts) is not list or len(parts) != 1 or type(parts[0]) is not dict or parts[0].keys() != {"text"}:
            return False
        index, words = candidate.get("index", 0), parts[0]["text"]
        reader = self._candidates.get(index) if type(index) is int else None
        if reader is None or type(words) is not str or not words or not reader.add_words(words, out):
            return False
        self._note_usage(chunk.get("usageMetadata"))
        return True

    def _read_chunk(self, chunk: Mapping[str, Any], out: list[Delta]) -> None:
        if self._seed is None:
            self._seed = id_seed(chunk)
            answer_id, model = optional(text, chunk, "responseId") or "", optional(text, chunk, "modelVersion") or ""
            out.append(Started(answer_id, model, created_at(chunk.get("createTime"))))
        self._note_usage(chunk.get("usageMetadata"))
        for place, candidate in enumerate(messages(chunk.get("candidates") or [], "candidates")):
            index = candidate.get("index")
            number = index if type(index) is int else place
            reader = self._candidates.get(number)
            if reader is None:
                if not 0 <= number < CANDIDATES_MAX:  # writers make room for all before it
                    raise Unfit("candidates", "are too many")
                reader = self._candidates[number] = CandidateReader(number, self._seed, self.event_max_bytes)
            reader.read(candidate, f"candidates[{place}]", out)
        self._blocked = not self._candidates and (self._blocked or is_blocked(chunk))

    def _note_usage(self, metadata: object) -> None:
        """Every chunk has one; the last with counts is the one that is read."""
        if type(metadata) is dict and ("promptTokenCount" in metadata or "totalTokenCount" in metadata):
            self._usage = metadata

    def _say_usage(self, out: list[Delta]) -> None:
        usage = read_usage(self._usage)
        if usage is not None and usage != self._usage_said:
            out.append(UsageKnown(usage))
            self._usage_said = usage

    def _who(self) -> str:
        return f"the backend {self.backend}" if self.backend else "the backend"
