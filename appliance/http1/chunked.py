"""The chunked transfer coding of a request body (RFC 9112 §7.1), decoded strictly. Pure.

The rule: the decoder stops at the message's last byte and leaves what follows, so the next request in the pipeline is read by the head
parser alone; llhttp cannot be told to stop there. Extensions and trailers are checked, bounded and dropped.
"""

import re

from appliance.http1.request_head import TOKEN

# 16 hex digits are 64 bits; longer sizes overflow in somebody's parser. No sign, no 0x, no white space; an extension is visible text.
SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t \x21-\x7e\x80-\xff]*+)?+\r\n")
TRAILER_LINE = re.compile(TOKEN + rb"++:[\t \x21-\x7e\x80-\xff]*+\r\n")
# Anything that no size line can begin with, for a line that has not ended yet.
SIZE_LINE_BEGUN = re.compile(rb"[0-9A-Fa-f]{1,16}(?:;[\t \x21-\x7e\x80-\xff]*+)?+\r?")
LINE_MAX_BYTES = 1024  # one size line with its extension
EXTENSIONS_MAX_BYTES = 16_384  # all extensions of a message; unbounded ones make a small body cost a lot (CVE-2023-39326)
TRAILERS_MAX_BYTES = 16_384

_SIZE, _DATA, _DATA_END, _TRAILER, _DONE = range(5)


class BadChunk(ValueError):
    """The bytes are not a chunked body. The text says which rule they break."""


class ChunkedDecoder:
    """Feed it bytes, take the decoded ones; once `done`, `rest` is what belongs to the next message."""

    __slots__ = ("_extensions_bytes", "_held", "_left", "_state", "_trailers_bytes", "rest")

    def __init__(self) -> None:
        self._state = _SIZE
        self._held = b""  # an incomplete line, at most LINE_MAX_BYTES
        self._left = 0
        self._extensions_bytes = 0
        self._trailers_bytes = 0
        self.rest = b""

    @property
    def done(self) -> bool:
        return self._state == _DONE

    def feed(self, data: bytes) -> bytes:
        """The body bytes in `data`. Raises BadChunk."""
        if self._held:
            data = self._held + data
            self._held = b""
        pieces: list[bytes] = []
        position, end = 0, len(data)
        while position < end:
            state = self._state
            if state == _DATA:
                piece = data[position : position + self._left]
                pieces.append(piece)
                position += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = _DATA_END
                continue
            if state == _DONE:
                self.rest = data[position:]
                break
            newline = data.find(b"\n", position)
            if newline < 0:
                self._hold(data[position:])
                break
            self._line(data[position : newline + 1])
            position = newline + 1
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _line(self, line: bytes) -> None:
        if len(line) > LINE_MAX_BYTES and self._state != _TRAILER:
            raise BadChunk("a chunk line is too long")
        if self._state == _DATA_END:
            if line != b"\r\n":
                raise BadChunk("a chunk is longer than its size")
            self._state = _SIZE
        elif self._state == _SIZE:
            match = SIZE_LINE.fullmatch(line)
            if match is None:
                raise BadChunk("malformed chunk size")
            self._extensions_bytes += len(line) - len(match[1]) - 2
            if self._extensions_bytes > EXTENSIONS_MAX_BYTES:
                raise BadChunk("too many chunk extensions")
            self._left = int(match[1], 16)
            self._state = _DATA if self._left else _TRAILER
        elif line == b"\r\n":
            self._state = _DONE
        else:
            self._trailers_bytes += len(line)
            if self._trailers_bytes > TRAILERS_MAX_BYTES:
                raise BadChunk("the trailers are too large")
            if TRAILER_LINE.fullmatch(line) is None:
                raise BadChunk("malformed trailer line")

    def _hold(self, part: bytes) -> None:
        """Keep the beginning of a line, unless it can already be seen that no good line begins so."""
        if self._state == _DATA_END:
            good = part == b"\r"
        elif self._state == _SIZE:
            good = len(part) <= LINE_MAX_BYTES and SIZE_LINE_BEGUN.fullmatch(part) is not None
        else:
            good = self._trailers_bytes + len(part) <= TRAILERS_MAX_BYTES and b"\r" not in part[:-1] and b"\0" not in part
        if not good:
            raise BadChunk("malformed chunk")
        self._held = part
