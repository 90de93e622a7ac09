"""Undoing the content encodings that a provider may use although identity was asked for.

Bounded in every step: a small compressed answer must neither become gigabytes of memory nor hold up other requests while it unfolds.
What cannot be decoded here is a fault, since the gateway could neither read the usage in it nor find an error in it.
"""

import zlib

import attrs
import trio

from appliance.http1.transport import Exchange, Failure

EXPANSION_MAX = 1000
"""A body that grows more than this is not an answer. gzip's own limit is about 1030; JSON compresses 5 to 20 times."""

SLACK_BYTES = 1_048_576
"""Below this much output no ratio is judged: tiny bodies have extreme ones."""

STEP_MAX_BYTES = 262_144
"""Of output at a time, made in about a millisecond; what has not been decoded by then waits compressed."""


@attrs.define(eq=False)
class Decoder:
    """One body.

    Attributes:
        more: there may be output of what was fed already; `feed(b"")` gives it.
        broken: the body is no valid compression, or expands beyond reason.
    """

    _inflate: "zlib._Decompress"
    more: bool = False
    broken: bool = False
    _fed: int = 0
    _made: int = 0

    def feed(self, data: bytes, max_bytes: int = STEP_MAX_BYTES) -> bytes | None:
        """At most `max_bytes` of decoded bytes; None when the body is broken. What follows the end of the compressed data is ignored."""
        self._fed += len(data)
        inflate = self._inflate
        if self.broken or inflate.eof:
            return None if self.broken else b""
        try:
            made = inflate.decompress(inflate.unconsumed_tail + data, max_bytes)
        except zlib.error:
            self.broken, self.more = True, False
            return None
        self._made += len(made)
        if self._made > max(SLACK_BYTES, self._fed * EXPANSION_MAX):
            self.broken, self.more = True, False
            return None
        # A full step may leave output within zlib although it took all of the input.
        self.more = not inflate.eof and (bool(inflate.unconsumed_tail) or len(made) == max_bytes)
        return made

    def end(self) -> bytes | None:
        """The body is over: None when it was cut or broken."""
        return b"" if not self.broken and (self._inflate.eof or not self._fed) else None


def decoder(encoding: bytes) -> Decoder | None:
    """A decoder for a `content-encoding`; None for one that the standard library does not know."""
    name = encoding.strip().lower()
    if name in (b"gzip", b"x-gzip", b"deflate"):
        # 32 + 15: the gzip or zlib header tells which it is (RFC 9110 §8.4.1.2 means zlib by "deflate").
        return Decoder(zlib.decompressobj(47))
    return None


async def read_decoded(answer: Exchange, undo: Decoder) -> bytes | Failure:
    """The next bytes of a body, decoded, at most a step of them; empty at its end, and where it is broken (`Decoder.end` tells)."""
    while True:
        if undo.more:
            await trio.lowlevel.checkpoint()  # nothing is waited for between two steps: others get their turn here
            data = b""
        else:
            read = await answer.read()
            if isinstance(read, Failure) or not read:
                return read
            data = read
        plain = undo.feed(data)
        if plain is None:
            return b""
        if plain:
            return plain
