"""OTLP's protobuf, as much of it as traces need: spans as bytes, the bytes of a POST, and what a collector answers.

Written here because the single file must stay small and a span is a dozen fields. Field numbers are those of opentelemetry-proto 1.9
(trace.proto, common.proto, resource.proto, trace_service.proto); a test holds every byte against its own reader.
"""

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal

import attrs

Value = str | bool | int | float | tuple[str, ...]
Attributes = Mapping[str, Value]

SERVER: Final = 2
CLIENT: Final = 3
ERROR: Final = 2
"""Values of the enums SpanKind and Status.StatusCode."""

HAS_IS_REMOTE: Final = 0x100
IS_REMOTE: Final = 0x200
"""Bits of Span.flags: whether it says at all if the parent is another process's, and that it is."""

KEYS_MAX: Final = 256
"""Encoded names of attributes that are remembered; there are some 50, and what an operator adds."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_INT64: Final = (1 << 64) - 1
_VARINT_MAX_BYTES: Final = 10


@attrs.frozen
class Span:
    """One span. Ids are lower-case hex; times nanoseconds since the epoch.

    Attributes:
        parent_id: empty for the first of its trace. remote: the parent is another process's.
        error: whether its status is Error; else it is not set. No description goes with it: it could hold a caller's words.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: Literal[2, 3]
    start_ns: int
    end_ns: int
    attributes: Attributes
    sampled: bool = True
    remote: bool = False
    state: str = ""
    error: bool = False


@attrs.frozen
class Taken:
    """A collector's answer: how many spans it threw away, and what it says about that; nothing and no words for full success."""

    rejected: int = 0
    words: str = ""


def span_bytes(span: Span) -> bytes:
    """A `Span` message, as an element of `ScopeSpans.spans`: ready to be joined with others."""
    flags = int(span.sampled) | HAS_IS_REMOTE | (IS_REMOTE if span.remote else 0)
    return _bytes(2, b"".join([
        _bytes(1, bytes.fromhex(span.trace_id)),
        _bytes(2, bytes.fromhex(span.span_id)),
        _text(3, span.state) if span.state else b"",
        _bytes(4, bytes.fromhex(span.parent_id)) if span.parent_id else b"",
        _text(5, span.name),
        _number(6, span.kind),
        struct.pack("<BQBQ", 7 << 3 | _FIXED64, span.start_ns, 8 << 3 | _FIXED64, span.end_ns),
        *[_bytes(9, _pair(name, value)) for name, value in span.attributes.items()],
        _bytes(15, _number(3, ERROR)) if span.error else b"",
        _varint(16 << 3 | _FIXED32), struct.pack("<I", flags),
    ]))  # fmt: skip


def request_bytes(spans: Sequence[bytes], resource: Attributes, scope: str, version: str) -> bytes:
    """An `ExportTraceServiceRequest` of spans of one process. Megabytes are copied once.

    Args:
        spans: as `span_bytes` makes them.
        resource: what they all come from. scope, version: who made them.
    """
    described = _bytes(1, b"".join([_bytes(1, _pair(name, value)) for name, value in resource.items()]))
    made_by = _bytes(1, _text(1, scope) + _text(2, version))
    size = len(made_by) + sum(map(len, spans))
    head = described + _varint(2 << 3 | _BYTES) + _varint(size) + made_by
    return b"".join([_varint(1 << 3 | _BYTES), _varint(len(head) - len(made_by) + size), head, *spans])


def read_taken(body: bytes) -> Taken:
    """Reads an `ExportTraceServiceResponse`; what is none says nothing, as the status has said already that it was taken."""
    partial = _fields(body).get(1, b"")
    found = _fields(partial) if isinstance(partial, bytes) else {}
    rejected, words = found.get(1, 0), found.get(2, b"")
    return Taken(rejected if isinstance(rejected, int) else 0, words.decode("utf-8", "replace") if isinstance(words, bytes) else "")


def _pair(name: str, value: Value) -> bytes:
    return _key(name) + _bytes(2, _any(value))


@lru_cache(KEYS_MAX)
def _key(name: str) -> bytes:
    return _text(1, name)


def _any(value: Value) -> bytes:
    match value:
        case str():
            return _text(1, value)
        case bool():
            return _number(2, value)
        case int():
            return _number(3, value & _INT64)
        case float():
            return struct.pack("<Bd", 4 << 3 | _FIXED64, value)
    return _bytes(5, b"".join([_bytes(1, _text(1, one)) for one in value]))


def _text(field: int, text: str) -> bytes:
    """Protobuf's strings are UTF-8; a lone surrogate becomes `?`."""
    return _bytes(field, text.encode("utf-8", "replace"))


def _bytes(field: int, data: bytes) -> bytes:
    size = len(data)
    if size < 0x80 and field < 16:
        return b"%c%c%b" % (field << 3 | _BYTES, size, data)
    return b"%b%b%b" % (_varint(field << 3 | _BYTES), _varint(size), data)


def _number(field: int, number: int) -> bytes:
    return b"%c%b" % (field << 3 | _VARINT, _varint(number))


def _varint(number: int) -> bytes:
    if number < 0x80:
        return b"%c" % number
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _fields(data: bytes) -> dict[int, int | bytes]:
    """A message's fields by number, the last of each; what is malformed ends the reading."""
    found: dict[int, int | bytes] = {}
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        if tag & 7 == _VARINT:
            found[tag >> 3], at = _read_varint(data, at)
            continue
        if tag & 7 == _BYTES:
            size, at = _read_varint(data, at)
        else:
            size = {_FIXED64: 8, _FIXED32: 4}.get(tag & 7, len(data) + 1)  # of groups, which are long out of use, nothing is known
        if at + size > len(data):
            break
        found[tag >> 3] = data[at : at + size]
        at += size
    return found


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number and where it ends; the end of the data when it does not."""
    number = 0
    for place, byte in enumerate(data[at : at + _VARINT_MAX_BYTES]):
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return number & _INT64, at + place + 1
    return 0, len(data)
