"""Streams of images, speech and transcriptions in OpenAI's typed events, and in those of vendors that took them over.

The rule: an event says its type and little else that concerns the gateway, so unknown ones pass; only an error, an event that is none, and
a stream that ends before it said so are faults. A picture of megabytes in an event is never parsed.
"""

import re
from typing import Any

import attrs

from appliance.core.delta import Delta, Started, TextAdded, UsageKnown
from appliance.core.fault import Fault, FaultKind
from appliance.core.usage import Usage
from appliance.dialects.openai_usage import PARSE_MAX_BYTES, parse_json, read_answer, text_of, usage_of
from appliance.dialects.protocol import Answer
from appliance.dialects.sse import BOM, read_event
from appliance.dialects.upstream_error import error_in_answer

_TYPE = re.compile(rb'\s*+\{\s*+"type"\s*+:\s*+"([a-z_.]{1,64})"')
_ANY_TYPE = re.compile(rb'"type"\s*+:\s*+"([a-z_]{1,40}\.[a-z_.]{1,40})"')

_FAMILIES = ("transcript.", "speech.audio.", "image_generation.", "image_edit.", "transcription.")
"""Events of streams that end with an event of their own: OpenAI's (platform.openai.com/docs/api-reference/audio, /images-streaming), and
Mistral's (docs.mistral.ai/api)."""

_LAST = (".done", ".completed")


class MediaStreamReader:
    """One stream; see codec.StreamReader. Fed whole events, as stream_taps.ReadingTap does.

    Attributes:
        complete: an event has come that may be the last: of several images each has its own.
    """

    __slots__ = ("_backend", "_begun", "_secrets", "_tells", "complete", "fault", "finished")

    def __init__(self, backend: str, secrets: tuple[bytes, ...] = ()) -> None:
        """backend: its name, for the words of a fault. secrets: what was sent to it to prove who asks, kept out of every fault."""
        self._backend = backend
        self._secrets = secrets
        self._begun = self._tells = False
        self.complete = self.finished = False
        self.fault: Fault | None = None

    def feed(self, data: bytes) -> list[Delta]:
        said = read_event(data.removeprefix(BOM).strip(b"\r\n"))
        text = (said.data if said.data is not None else said.error or b"").strip()
        if said.data is None and said.alien:
            text = data.strip()
        if not text:
            return []
        if text.startswith(b"[DONE]"):
            self.finished = True
            return []
        if len(text) > PARSE_MAX_BYTES:
            return self._long(said.name, text)
        try:
            event = parse_json(text)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            whole = len(data) - len(data.rstrip(b"\r\n")) > 1  # else it is what was left when the body ended
            self.fault = self._cut() if not whole else Fault(
                FaultKind.PROTOCOL, f"the backend {self._backend} sent something that is no event of a stream"
            )  # fmt: skip
            return []
        self.fault = error_in_answer(event, self._backend, named_error=said.name == b"error", secrets=self._secrets)
        if self.fault is not None:
            return []
        return self._event(text_of(event.get("type")) or said.name.decode("latin-1"), usage_of(event), event)

    def end(self) -> list[Delta]:
        if self.fault is None and not self.finished:
            self.finished = self.complete or (self._begun and not self._tells)
            if not self.finished:
                self.fault = self._cut()
        return []

    def _cut(self) -> Fault:
        return Fault(FaultKind.STREAM_CUT, f"the backend {self._backend} ended its stream before the answer was complete")

    def _long(self, name: bytes, text: bytes) -> list[Delta]:
        """An event that holds a file: its type stands before it or, as in what orders members by name, behind it."""
        found = _TYPE.match(text) or _ANY_TYPE.search(text[-1024:])
        said = read_answer(text)
        kind = found[1] if found is not None else name
        return self._event(kind.decode("latin-1"), said.usage if isinstance(said, Answer) else None, {})

    def _event(self, kind: str, usage: Usage | None, event: dict[str, Any]) -> list[Delta]:
        deltas: list[Delta] = [] if self._begun else [Started(model=text_of(event.get("model")))]
        self._begun = True
        choices = event.get("choices")  # of vLLM, which streams a transcription as it does a chat
        told = isinstance(choices, list) and any(isinstance(one, dict) and one.get("finish_reason") for one in choices)
        self._tells = self._tells or kind.startswith(_FAMILIES) or isinstance(choices, list)
        self.complete = self.complete or told or kind.endswith(_LAST)
        if kind.endswith((".delta", ".partial_image")) or choices:
            deltas.append(TextAdded(0, ""))  # that there is some counts here, not what it says
        if usage is not None:
            deltas.append(UsageKnown(drawn(usage) if kind.startswith("image_") else usage))
        return deltas


def drawn(usage: Usage) -> Usage:
    """Of an answer that is an image: where it does not say which of its tokens are one, all are (a model that draws, and tells less)."""
    return usage if usage.output_image_tokens else attrs.evolve(usage, output_image_tokens=usage.output_tokens)
