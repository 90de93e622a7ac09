"""A stream of a Gemini backend on its way to a caller who wants it as one JSON array: the same objects, byte for byte, in the other frame.

The rule: backends are always asked for server-sent events, since only those tell at once when an object is whole.
"""

from appliance.core.fault import Fault, FaultKind
from appliance.dialects.codec import StreamReader
from appliance.dialects.gemini_error import write_error
from appliance.dialects.sse_reader import SseReader
from appliance.dialects.stream_taps import Followed


class ArrayTap(Followed):
    """See protocol.StreamTap; and what the gateway itself says within the array (protocol.InBand)."""

    __slots__ = ("_begun", "_event_max_bytes", "_events")

    def __init__(self, reader: StreamReader, event_max_bytes: int) -> None:
        super().__init__(reader, eager=True)
        self._event_max_bytes = event_max_bytes
        self._events = SseReader(event_max_bytes)
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        if self.fault is not None or self.finished or not data:
            return b""
        out = self._pass([said.data for said in self._events.feed(data)])
        if self.fault is None and self._events.alien:  # an error as bare JSON between events, or no stream at all
            self._read(self._events.alien + b"\n\n")
        if self.fault is None and self._events.overflow:
            self.fault = Fault(FaultKind.PROTOCOL, f"the backend sent an event of more than {self._event_max_bytes} bytes")
        return out

    def end(self) -> bytes:
        if self.fault is not None or self.finished:
            return b""
        out = self._pass([said.data for said in self._events.end()])
        if self.fault is None:
            self._follow(self.reader.end())
            self.fault, self.finished = self.reader.fault, self.reader.finished
        return out if self.fault is not None else out + (b"\n]" if self._begun else b"[]")

    def error(self, fault: Fault, request_id: str) -> bytes:
        return self._framed(write_error(fault, request_id)) + b"\n]"

    def keepalive(self) -> bytes:
        return b"\n"

    def _pass(self, objects: list[bytes]) -> bytes:
        """Read along; nothing of an object that is an error passes, nor anything behind it."""
        out: list[bytes] = []
        for one in objects:
            self._read(b"data: %b\n\n" % one.replace(b"\n", b" "))
            if self.fault is not None:
                break
            if one != b"[DONE]":
                out.append(self._framed(one))
        return b"".join(out)

    def _read(self, event: bytes) -> None:
        self._follow(self.reader.feed(event))
        self.fault = self.reader.fault

    def _framed(self, one: bytes) -> bytes:
        begun, self._begun = self._begun, True
        return (b"\n,\r\n" if begun else b"[") + one
