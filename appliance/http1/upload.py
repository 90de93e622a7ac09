"""A request's body on the wire while it still comes from elsewhere: framed by its length, or in chunks where nobody knows that.

The rule: a body that cannot be completed must never look complete. One that ends early or goes on too long for the length announced is
given up, and with it its connection.
"""

from appliance.http1.transport import BodySource

LAST_CHUNK = b"0\r\n\r\n"


class FramedBody:
    """The pieces of a source as they are written (RFC 9112 §6).

    Attributes:
        ended: there are no more. Known with the last byte of a body of known length: its answer may come before anybody asks again.
    """

    __slots__ = ("_left", "_source", "ended")

    def __init__(self, source: BodySource) -> None:
        self._source = source
        self._left = source.length
        self.ended = source.length == 0

    async def piece(self) -> bytes | None:
        """The next bytes, never empty before `ended`; None when the body cannot be completed."""
        data = await self._source.piece()
        if data is None:
            return None
        left = self._left
        if left is None:
            if data:
                return b"%x\r\n%b\r\n" % (len(data), data)
            self.ended = True
            return LAST_CHUNK
        if not data or len(data) > left:
            return None  # not as long as was announced
        self._left = left - len(data)
        self.ended = not self._left
        return data


def framing_line(source: BodySource) -> bytes:
    """The header line that tells how the body is framed."""
    return b"transfer-encoding: chunked\r\n" if source.length is None else b"content-length: %d\r\n" % source.length
