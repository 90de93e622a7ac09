"""Amazon's binary event stream, `application/vnd.amazon.eventstream`: messages of typed headers and a payload, each with two checksums.

A message is a prelude (length of all, length of the headers, CRC32 of these eight bytes), the headers, the payload, and a CRC32 of all that
comes before it; integers are big-endian (smithy.io/2.0/aws/amazon-eventstream.html).

The rule: whatever bytes come, in whatever pieces, nothing is raised and no more than one message's bound is held. A stream that was found
broken stays broken: without intact lengths there is no way to find the next message.
"""

import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple
from zlib import crc32

import attrs

HeaderValue = str | bytes | int | bool

_PRELUDE = struct.Struct(">III")
_PRELUDE_BYTES = 12
_CHECKED_BYTES = 8
_FRAME_BYTES = 16  # prelude and the CRC at the end
_CRC = struct.Struct(">I")
_LENGTH = struct.Struct(">H")
_STRING, _BYTES, _LONG = 7, 6, 5
_TRUE, _FALSE, _UUID = 0, 1, 9
_NUMBERS = {2: struct.Struct(">b"), 3: struct.Struct(">h"), 4: struct.Struct(">i"), _LONG: struct.Struct(">q"), 8: struct.Struct(">q")}
_UUID_BYTES = 16

MEMORY_MAX = 16
"""Header blocks remembered: the handful of kinds of a stream repeat byte for byte, thousands of times."""

REMEMBERED_MAX_BYTES = 512


class Message(NamedTuple):
    """One message. headers: timestamps are milliseconds since the epoch, UUIDs their 16 bytes."""

    headers: Mapping[str, HeaderValue]
    payload: bytes


@attrs.define
class EventStreamReader:
    """Attributes:
    message_max_bytes: of a whole message, frame included.
    broken: what was wrong with the stream, empty while nothing is. Nothing is read any more then.
    """

    message_max_bytes: int
    broken: str = ""
    _held: bytes | bytearray = attrs.field(factory=bytearray, repr=False)
    _needed: int = _PRELUDE_BYTES
    _known: dict[bytes, Mapping[str, HeaderValue]] = attrs.field(factory=dict, repr=False)

    @property
    def held_bytes(self) -> int:
        """Of a message that is not whole yet."""
        return len(self._held)

    def feed(self, data: bytes) -> list[Message]:
        """The whole messages in what has come."""
        if self.broken:
            return []
        if self._held:
            self._held += data
            if len(self._held) < self._needed:
                return []
            data = bytes(self._held)
        messages: list[Message] = []
        start, size = 0, len(data)
        while size - start >= _PRELUDE_BYTES:
            end = self._end_of(data, start)
            if self.broken:
                self._held = bytearray()
                return messages
            if end > size:
                self._needed = end - start
                break
            message = self._read(data, start, end)
            if message is None:
                self._held = bytearray()
                return messages
            messages.append(message)
            start = end
        else:
            self._needed = _PRELUDE_BYTES
        self._held = bytearray(data[start:]) if start < size else bytearray()
        return messages

    def _end_of(self, data: bytes, start: int) -> int:
        """Where the message that starts here ends, perhaps behind what has come."""
        total, headers, check = _PRELUDE.unpack_from(data, start)
        if crc32(data[start : start + _CHECKED_BYTES]) != check:
            self.broken = "a prelude whose checksum is wrong"
        elif headers + _FRAME_BYTES > total:
            self.broken = "a message with impossible lengths"
        elif total > self.message_max_bytes:
            self.broken = f"a message above the limit of {self.message_max_bytes} bytes"
        return start + int(total)

    def _read(self, data: bytes, start: int, end: int) -> Message | None:
        (check,) = _CRC.unpack_from(data, end - 4)
        if crc32(data[start : end - 4]) != check:
            self.broken = "a message whose checksum is wrong"
            return None
        body = start + _PRELUDE_BYTES + _CRC.unpack_from(data, start + 4)[0]
        block = data[start + _PRELUDE_BYTES : body]
        headers = self._known.get(block)
        if headers is None:
            found = read_headers(block)
            if found is None:
                self.broken = "headers that cannot be read"
                return None
            headers = MappingProxyType(found)
            if len(block) <= REMEMBERED_MAX_BYTES and len(self._known) < MEMORY_MAX:
                self._known[block] = headers
        return Message(headers, data[body : end - 4])


def read_headers(block: bytes) -> dict[str, HeaderValue] | None:
    """The headers of a message; None when they are no such thing. Of a name that comes twice the first counts."""
    headers: dict[str, HeaderValue] = {}
    place = 0
    try:
        while place < len(block):
            end = place + 1 + block[place]
            name = block[place + 1 : end].decode()
            value, place = _value(block, end + 1, block[end])
            if place > len(block):
                return None
            headers.setdefault(name, value)
    except (IndexError, ValueError, struct.error):
        return None
    return headers


def _value(block: bytes, place: int, kind: int) -> tuple[HeaderValue, int]:
    """A value and where it ends; raises IndexError, ValueError or struct.error."""
    if kind in (_STRING, _BYTES):
        begin = place + 2
        end = begin + int(_LENGTH.unpack_from(block, place)[0])
        return (block[begin:end].decode() if kind == _STRING else block[begin:end]), end
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, place
    if kind == _UUID:
        return block[place : place + _UUID_BYTES], place + _UUID_BYTES
    number = _NUMBERS.get(kind)
    if number is None:
        raise ValueError
    return int(number.unpack_from(block, place)[0]), place + number.size


def write_message(headers: Mapping[str, HeaderValue], payload: bytes) -> bytes:
    """One message. Names have at most 255 bytes, texts and bytes at most 65,535; numbers go out as 64 bits."""
    block = b"".join(_written(name, value) for name, value in headers.items())
    lengths = struct.pack(">II", len(block) + len(payload) + _FRAME_BYTES, len(block))
    message = lengths + _CRC.pack(crc32(lengths)) + block + payload
    return message + _CRC.pack(crc32(message))


def _written(name: str, value: HeaderValue) -> bytes:
    head = bytes([len(name.encode())]) + name.encode()
    if isinstance(value, bool):
        return head + bytes([_TRUE if value else _FALSE])
    if isinstance(value, int):
        return head + bytes([_LONG]) + _NUMBERS[_LONG].pack(value)
    raw = value.encode() if isinstance(value, str) else value
    return head + bytes([_STRING if isinstance(value, str) else _BYTES]) + _LENGTH.pack(len(raw)) + raw


def write_event(name: str, payload: bytes) -> bytes:
    """An event as services send it: its name and a JSON payload."""
    return write_message({":event-type": name, ":content-type": "application/json", ":message-type": "event"}, payload)


def write_exception(name: str, payload: bytes) -> bytes:
    """A modelled error, after which the stream is over."""
    return write_message({":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}, payload)
