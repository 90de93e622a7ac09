"""A body that is sent while it arrives, in the shape that httpx takes one.

The rule: a body that cannot be completed ends with an exception, after which httpx closes an HTTP/1.1 connection and we reset an HTTP/2
stream, so that it never looks complete.
"""

from appliance.http1.transport import BodySource
from appliance.http1.upload import FramedBody


class GivenUp(Exception):
    """The body's source broke off; whoever gave it knows why."""


class UploadedBody:
    """An asynchronous iterable of pieces, to be gone through once. Framing in chunks is httpx's."""

    __slots__ = ("_framed", "_source")

    def __init__(self, source: BodySource) -> None:
        self._source = source
        self._framed = None if source.length is None else FramedBody(source)

    def __aiter__(self) -> "UploadedBody":
        return self

    async def __anext__(self) -> bytes:
        framed = self._framed
        if framed is not None and framed.ended:
            raise StopAsyncIteration
        data = await (self._source if framed is None else framed).piece()
        if data is None:
            raise GivenUp
        if not data:
            raise StopAsyncIteration
        return data


def framing_headers(source: BodySource) -> list[tuple[bytes, bytes]]:
    return [(b"transfer-encoding", b"chunked")] if source.length is None else [(b"content-length", b"%d" % source.length)]
