"""Cuts a byte stream into server-sent events (WHATWG HTML, "Server-sent events", §9.2.6) and keeps their bytes as they came.

An event ends with a blank line; lines end with LF, CR LF or CR, mixed as the sender likes. Bytes of an event that is not whole yet are held
back, so that nothing of ours can land inside one. The cutter knows nothing of what events mean.
"""

import re
from typing import NamedTuple

import attrs

_BLANK_LINE = re.compile(rb"(?>\r\n?|\n)(?>\r\n?|\n)")
"""Atomic: CR LF must not be read as two line ends."""

_LINE_END = re.compile(rb"\r\n?|\n")

_LONGEST_END_BYTES = 4

BOM = b"\xef\xbb\xbf"


RawEvent = tuple[int, int, int]
"""Where one event stands in a block: its start, the end of its lines, and the end of its blank line."""


class Event(NamedTuple):
    """What an event says.

    Attributes:
        name: of the `event` field, empty when there is none.
        data: the `data` lines joined by LF; None when there was no such line.
        error: the value of a field called `error`, which llama.cpp's server wrote before it turned to `data`; None when there was none.
        alien: some line is neither a comment nor a field that the format knows.
    """

    name: bytes
    data: bytes | None
    error: bytes | None
    alien: bool


@attrs.define
class EventCutter:
    """Holds back what is not a whole event yet.

    Attributes:
        trailing_lf: the last event ended with a CR at the very end of what had arrived: an LF that comes next belongs to it.
    """

    trailing_lf: bool = False
    _held: bytearray = attrs.field(factory=bytearray, repr=False)
    _searched: int = 0
    _only_lf: bool = True

    @property
    def held_bytes(self) -> int:
        return len(self._held)

    def take(self, data: bytes) -> bytes:
        """Add `data`; returns a block to be cut with `cut`, empty while no event is whole. The search never looks at a byte twice."""
        if self._held:
            self._held += data
            self._only_lf = self._only_lf and b"\r" not in data
            begin = max(0, self._searched - _LONGEST_END_BYTES)
            if self._only_lf:
                found = self._held.find(b"\n\n", begin) >= 0
            else:
                found = _BLANK_LINE.search(self._held, begin) is not None
            if not found:
                self._searched = len(self._held)
                return b""
            data = bytes(self._held)
            self._held.clear()
        return data

    def cut(self, block: bytes) -> list[RawEvent]:
        """Where the whole events of a block stand; the rest of it is held back."""
        events: list[RawEvent] = []
        start = 0
        self._only_lf = b"\r" not in block
        if self._only_lf:
            while (content_end := block.find(b"\n\n", start)) >= 0:
                events.append((start, content_end, content_end + 2))
                start = content_end + 2
        else:
            for found in _BLANK_LINE.finditer(block):
                events.append((start, found.start(), found.end()))
                start = found.end()
        self._held += block[start:]
        self._searched = len(self._held)
        self.trailing_lf = bool(events) and not self._held and block.endswith(b"\r")
        return events

    def rest(self) -> bytes:
        """What was held back when the stream ended."""
        held = bytes(self._held)
        self._held.clear()
        return held


def read_event(lines: bytes) -> Event:
    """Read the lines of one event, without its blank line."""
    name, error, alien = b"", None, False
    data: list[bytes] = []
    for line in _LINE_END.split(lines):
        field, _, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
        elif field == b"error":
            error = value
        elif field not in (b"", b"id", b"retry"):
            alien = True
    return Event(name, b"\n".join(data) if data else None, error, alien)
