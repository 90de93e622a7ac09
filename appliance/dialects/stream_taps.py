"""Streams of any language on their way to the caller, behind the one interface that the gateway knows (protocol.StreamTap).

Two ways. `ReadingTap`: caller and backend speak the same language, so whole events leave as the very bytes that came, and a reader follows
along. `TranslatingTap`: what the reader of the backend's language understands is written in the caller's. The rule for both: nothing of an
event that turns out to be an error, or no event at all, is passed on.
"""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from appliance.core.delta import Delta, Finished, PartStarted, Started, TextAdded, UsageKnown
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Foreign, Media, ToolCall
from appliance.core.usage import Usage
from appliance.dialects.answer_size import text_size
from appliance.dialects.codec import StreamReader, StreamWriter
from appliance.dialects.completion_size import part_size
from appliance.dialects.protocol import Answer
from appliance.dialects.sse import EventCutter
from appliance.dialects.tool_names import restored_deltas

NO_NAMES: Mapping[str, str] = MappingProxyType({})

_COMMENT = re.compile(rb"^:[^\r\n]*", re.MULTILINE)


HELD_MAX_BYTES = 1_048_576
"""Of events before the first that a model made: OpenAI says all of the request twice before it."""

WAITING_MAX = 1_000
"""Deltas before the first that a model made; readers give two."""


class Followed:
    """What a stream says about itself, from its deltas. eager: its very first event is a model's, so that the stream is good with it. Other
    languages announce an answer first, and may say then that there will be none (OpenAI when a limit is reached, Anthropic when
    overloaded): that still leaves the choice of another backend.
    """

    __slots__ = ("_eager", "_finish", "_id", "_model", "_usage", "committed", "deltas", "fault", "finished", "reader", "size")

    def __init__(self, reader: StreamReader, *, eager: bool = False) -> None:
        self.reader = reader
        self._eager = eager
        self.committed = self.finished = False
        self.fault: Fault | None = None
        self.deltas = self.size = 0
        self._usage: Usage | None = None
        self._model = self._finish = self._id = ""

    @property
    def complete(self) -> bool:
        return self.finished or bool(getattr(self.reader, "complete", False))

    @property
    def token_seen(self) -> bool:
        return self.deltas > 0

    def answer(self) -> Answer:
        return Answer(self._usage, self._model, self._finish, self._id)

    def _follow(self, deltas: Sequence[Delta]) -> None:
        for delta in deltas:
            if isinstance(delta, TextAdded):
                self.committed = True
                self.deltas += 1
                text = delta.text
                self.size += len(text) if text.isascii() else text_size(text)
            elif isinstance(delta, PartStarted):
                self.committed = True
                if isinstance(delta.part, ToolCall | Media | Foreign):
                    self.deltas += 1
                self.size += part_size(delta.part)
            elif isinstance(delta, Started):
                self.committed = self.committed or self._eager
                self._model = delta.model or self._model
                self._id = self._id or delta.id
                self._usage = delta.usage or self._usage
            elif isinstance(delta, Finished):
                self.committed = True
                self._finish = self._finish or delta.finish
            elif isinstance(delta, UsageKnown):
                self._usage = delta.usage


class ReadingTap(Followed):
    """Same language on both sides, any that streams server-sent events. comments: may pass; google-genai chokes on them."""

    __slots__ = ("_comments", "_cutter", "_event_max_bytes", "_held", "_lf_passes")

    def __init__(self, reader: StreamReader, event_max_bytes: int, *, comments: bool = True, eager: bool = False) -> None:
        super().__init__(reader, eager=eager)
        self._comments = comments
        self._held = b""
        self._cutter = EventCutter()
        self._event_max_bytes = event_max_bytes
        self._lf_passes = False

    def feed(self, data: bytes) -> bytes:
        if self.committed:
            return self._feed(data)
        self._held += self._feed(data)
        if len(self._held) > HELD_MAX_BYTES:
            self.committed = True
        return self._released()

    def _released(self) -> bytes:
        """What was held back of the time before the first good event, once that is here."""
        if not self.committed:
            return b""
        held, self._held = self._held, b""
        return held

    def _feed(self, data: bytes) -> bytes:
        if self.fault is not None or self.finished or not data:
            return b""
        cutter, reader = self._cutter, self.reader
        prefix = b""
        if cutter.trailing_lf:
            cutter.trailing_lf = False
            if data[:1] == b"\n":
                prefix, data = (b"\n" if self._lf_passes else b""), data[1:]
        block = cutter.take(data) if data else b""
        passed = 0
        for start, _, end in cutter.cut(block) if block else []:
            self._follow(reader.feed(block[start:end]))
            if reader.fault is not None:
                self.fault, self.finished = reader.fault, reader.finished
                return prefix + self._passing(block[:start])
            passed = end
            if reader.finished:
                self.finished = True
                break
        self._lf_passes = passed > 0
        if cutter.held_bytes > self._event_max_bytes + 2:
            self.fault = Fault(FaultKind.PROTOCOL, f"the backend sent an event of more than {self._event_max_bytes} bytes")
        passing = block[:passed]
        return prefix + (passing if self._comments else self._passing(passing))

    def end(self) -> bytes:
        if self.fault is not None or self.finished:
            return b""
        rest = self._cutter.rest()
        self._follow(self.reader.feed(rest))
        self._follow(self.reader.end())
        self.fault, self.finished = self.reader.fault, self.reader.finished
        out = self._passing(rest.rstrip(b"\r\n") + b"\n\n") if rest.strip() and self.fault is None else b""
        return self._released() + out

    def _passing(self, events: bytes) -> bytes:
        """Whole events as they go on; of a comment its line's end stays, which means nothing."""
        if self._comments or not (b"\n:" in events or events.startswith(b":")):
            return events
        return _COMMENT.sub(b"", events)


class TranslatingTap(Followed):
    """The backend's language in, the caller's out."""

    __slots__ = ("_names", "_waiting", "writer")

    def __init__(self, reader: StreamReader, writer: StreamWriter, names: Mapping[str, str] = NO_NAMES) -> None:
        """names: the caller's names of tools by those in the stream, where they differ."""
        super().__init__(reader)
        self.writer = writer
        self._names = names
        self._waiting: list[Delta] = []

    def feed(self, data: bytes) -> bytes:
        if self.fault is not None or self.finished:
            return b""
        return self._written(self.reader.feed(data))

    def end(self) -> bytes:
        if self.fault is not None or self.finished:
            return b""
        return self._written(self.reader.end())

    def _written(self, deltas: Sequence[Delta]) -> bytes:
        """What these deltas are in the caller's language; with the end of the answer once the reader has seen it. Deltas in front of a
        fault are passed on: they came before it."""
        reader, writer = self.reader, self.writer
        self._follow(deltas)
        if not self.committed or self._waiting:
            deltas = self._started(deltas)
        if self._names:
            deltas = restored_deltas(deltas, self._names)
        out = writer.write(deltas) if deltas else b""
        if reader.fault is not None:
            self.fault = reader.fault
        elif writer.full:
            self.fault = Fault(FaultKind.PROTOCOL, "the backend's answer has more parts under way at once than can be put in order")
        elif reader.finished:
            self.finished = True
            out += writer.end()
        return out

    def _started(self, deltas: Sequence[Delta]) -> Sequence[Delta]:
        """Nothing before the first good event; with it all that waited for it."""
        self._waiting += deltas
        self.committed = self.committed or len(self._waiting) > WAITING_MAX
        if not self.committed:
            return []
        waited, self._waiting = self._waiting, []
        return waited
