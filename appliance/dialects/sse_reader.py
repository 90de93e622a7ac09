"""A stream of server-sent events as names and data, for readers that want what events say and not their bytes.

The rule: whatever bytes come, in whatever pieces, nothing is raised and no more than one event's bound is held.
"""

from typing import NamedTuple

import attrs

from appliance.dialects.sse import BOM, EventCutter, read_event


class Said(NamedTuple):
    """One event: its `event` field (empty when there is none) and its data lines joined by LF."""

    name: bytes
    data: bytes


@attrs.define
class SseReader:
    """Attributes:
    overflow: an event was longer than the bound. Nothing is read any more.
    alien: lines came that are no event stream at all (HTML, bare JSON), joined as far as the first bound; b"" when none did.
    strict: nothing is read behind alien lines.
    """

    event_max_bytes: int
    strict: bool = False
    overflow: bool = False
    alien: bytes = b""
    _cutter: EventCutter = attrs.field(factory=EventCutter, repr=False)
    _virgin: bool = True

    def feed(self, data: bytes) -> list[Said]:
        """The whole events in what has come; comments and empty events are left out."""
        if self.overflow or not data:
            return []
        cutter = self._cutter
        if cutter.trailing_lf:
            cutter.trailing_lf = False
            if data[:1] == b"\n":
                data = data[1:]
        block = cutter.take(data) if data else b""
        said = [one for start, end, _ in cutter.cut(block) for one in self._read(block[start:end])] if block else []
        self.overflow = self.overflow or cutter.held_bytes > self.event_max_bytes + 2
        return said

    def end(self) -> list[Said]:
        """The body is over: an event without its blank line counts as well (several servers leave the last one off)."""
        rest = self._cutter.rest().rstrip(b"\r\n")
        return self._read(rest) if rest and not self.overflow else []

    def _read(self, lines: bytes) -> list[Said]:
        if len(lines) > self.event_max_bytes:
            self.overflow = True
            return []
        if self._virgin:
            self._virgin = False
            lines = lines.removeprefix(BOM)
        event = read_event(lines.strip(b"\r\n"))
        if event.alien and event.data is None and not self.alien:
            self.alien = lines
        data = event.data if event.data is not None else event.error
        name = event.name if event.data is not None else b"error"
        if data is None or self.overflow or (self.strict and self.alien):
            return []
        return [Said(name, data)]


def written(name: bytes, data: bytes) -> bytes:
    """One event. `data` is JSON without line ends, or a word."""
    return b"event: %b\ndata: %b\n\n" % (name, data) if name else b"data: %b\n\n" % data
