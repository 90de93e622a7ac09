"""Undoing the content encodings that a provider may use although identity was asked for.

Bounded: a small compressed answer must not become gigabytes of memory. What cannot be decoded here is a fault, since the gateway could
neither read the usage in it nor find an error in it.
"""

import zlib

import attrs

EXPANSION_MAX = 1000
"""A body that grows more than this is not an answer. gzip's own limit is about 1030; JSON compresses 5 to 20 times."""

SLACK_BYTES = 1_048_576
"""Below this much output no ratio is judged: tiny bodies have extreme ones."""


@attrs.define(eq=False)
class Decoder:
    """One body. `feed` returns decoded bytes, or None when the body is broken or expands beyond reason."""

    _inflate: "zlib._Decompress"
    _fed: int = 0
    _made: int = 0

    def feed(self, data: bytes) -> bytes | None:
        self._fed += len(data)
        bound = max(SLACK_BYTES, self._fed * EXPANSION_MAX) - self._made
        try:
            made = self._inflate.decompress(data, max(bound, 1))
        except zlib.error:
            return None
        self._made += len(made)
        return None if self._inflate.unconsumed_tail else made

    def end(self) -> bytes | None:
        """The body is over: None when it was cut."""
        return b"" if self._inflate.eof or not self._fed else None


def decoder(encoding: bytes) -> Decoder | None:
    """A decoder for a `content-encoding`; None for one that the standard library does not know."""
    name = encoding.strip().lower()
    if name in (b"gzip", b"x-gzip", b"deflate"):
        # 32 + 15: the gzip or zlib header tells which it is (RFC 9110 §8.4.1.2 means zlib by "deflate").
        return Decoder(zlib.decompressobj(47))
    return None
