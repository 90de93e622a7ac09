"""The bytes of the journal: how an entry is framed, and how entries are found again in a file that may end anywhere.

Pure. A segment is a head, then frames, then zeros (it is made at its full size):

    head   8 bytes   MAGIC, whose last byte is the format's version
    frame  length    4 bytes, little-endian: of the body
           CRC-32    4 bytes: of the body
           body      one byte for the kind, then a JSON array; padded with zeros so that the next frame starts at a multiple of eight

The rule: what was written whole is found, whatever lies around it. A body holds no zero byte (JSON escapes them), so that no text of a
caller's can look like a frame when a damaged stretch is searched for the next good one.
"""

import struct
import zlib
from collections.abc import Container, Iterable
from typing import Any, Final

import attrs
import orjson

MAGIC: Final = b"APLJRNL\x01"
HEAD_BYTES: Final = len(MAGIC)

OPENED: Final = b"o"
SETTLED: Final = b"s"
RELEASED: Final = b"r"
_KINDS: Final = frozenset(OPENED + SETTLED + RELEASED)

BODY_MAX_BYTES: Final = 65_536
"""A length above this is damage. The longest entry that is made has some 3,000 bytes."""

INTEGER_MAX: Final = 10**16 - 1
"""What a count is cut to: a backend may claim any number of tokens, and sums of them must fit into SQLite's 64 bits."""

_DIGITS_ALIKE = bytes.maketrans(b"123456789", b"000000000")
_LONG = b"0" * 17
"""A number above INTEGER_MAX has seventeen digits, or begins a text that has."""

_FRAME = struct.Struct("<II")
_FRAME_BYTES: Final = _FRAME.size
_ALIGN = 8
_PADDING = tuple(bytes(-size % _ALIGN) for size in range(_ALIGN))


def frame(kind: bytes, values: tuple[Any, ...] | list[Any]) -> bytes:
    """One entry, ready to be written. values: named tuples, too."""
    try:
        body = kind + orjson.dumps(values, tuple)
    except TypeError:  # half a surrogate pair in a name, or a number of more than 64 bits
        body = kind + orjson.dumps(_writable(values), tuple)
    size = len(body)
    return _FRAME.pack(size, zlib.crc32(body)) + body + _PADDING[size % _ALIGN]


@attrs.frozen
class Scan:
    """What a stretch of a segment holds.

    Attributes:
        entries: (kind, JSON array) of each good frame that is wanted, in order.
        end: where the next frame would be written, or was not yet when this was read.
        torn: bytes after the last good frame that are no frame: it was being written when the machine stopped.
        damaged: bytes before a good frame that are no frame: something else wrote there, or the disk forgot.
    """

    entries: list[tuple[bytes, bytes]]
    end: int
    torn: int = 0
    damaged: int = 0


def scan(data: bytes, start: int = HEAD_BYTES, wanted: Container[int] = _KINDS) -> Scan:
    """All good frames of `data` from `start` (a multiple of eight) on. wanted: the kinds that are taken out; all are checked."""
    entries: list[tuple[bytes, bytes]] = []
    at = good = start
    damaged, length = 0, len(data)
    while True:
        begin = at + _FRAME_BYTES
        if begin <= length:
            size, crc = _FRAME.unpack_from(data, at)
            end = begin + size
            if 0 < size <= BODY_MAX_BYTES and end <= length:
                body = data[begin:end]
                kind = body[0]
                if kind in _KINDS and zlib.crc32(body) == crc:
                    if at != good:
                        damaged += at - good
                    if kind in wanted:
                        entries.append((body[:1], body[1:]))
                    at = good = end + -end % _ALIGN
                    continue
        following = _next_candidate(data, at)
        if following is None:
            return Scan(entries, good, len(data[good:].rstrip(b"\0")), damaged)
        at = following


def _next_candidate(data: bytes, at: int) -> int | None:
    """The next multiple of eight past `at` where a frame may start; None when only zeros are left."""
    at += _ALIGN
    if at < len(data) and data[at]:
        return at
    rest = len(data[at:].lstrip(b"\0"))
    return (len(data) - rest) // _ALIGN * _ALIGN if rest else None


def values_of(payload: bytes) -> list[Any]:
    """The array of a good frame, whole numbers in it and in arrays inside it cut to INTEGER_MAX."""
    values: list[Any] = orjson.loads(payload)
    if _LONG in payload.translate(_DIGITS_ALIKE):
        _cut(values)
    return values


def arrays_of(payloads: Iterable[bytes]) -> list[list[Any]]:
    """The same of many: looked through and read as one, which costs two thirds."""
    return values_of(b"[%b]" % b",".join(payloads))


def _cut(values: list[Any]) -> None:
    for place, value in enumerate(values):
        if isinstance(value, int):
            if not -INTEGER_MAX <= value <= INTEGER_MAX:
                values[place] = max(-INTEGER_MAX, min(INTEGER_MAX, value))
        elif isinstance(value, list):
            _cut(value)


def _writable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-INTEGER_MAX, min(INTEGER_MAX, value))
    return [_writable(one) for one in value] if isinstance(value, list | tuple) else value
