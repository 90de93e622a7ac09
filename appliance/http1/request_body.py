"""The body of one request, read from the connection as the application asks for it.

The rule: what was wrong with a body is raised once as one of three exceptions, and again on every later try; a body that failed or was
not read to its end within bounds ends the connection, because the next request's start is then unknown.
"""

from typing import ClassVar

import attrs

from appliance.http1.chunked import BadChunk, ChunkedDecoder
from appliance.http1.peer_socket import PeerSocket, TooSlow
from appliance.http1.server_limits import ServerLimits


class BodyError(Exception):
    """A request body that cannot be had. Left alone by the application it becomes an answer with `status`."""

    status: ClassVar[int] = 400


class BodyTooLarge(BodyError):
    """Longer than body_max_bytes: announced so, or found out while decoding chunks."""

    status = 413


class BodyTimeout(BodyError):
    """Arrived too slowly: silent for body_read_s, or below min_rate_bytes_s."""

    status = 408


class BodyBroken(BodyError):
    """Malformed chunks, or the client's end of the connection closed inside the body."""

    status = 400


class BodyCut(BodyBroken):
    """The client's end of the connection closed inside the body."""


@attrs.define(eq=False)
class RequestBody:
    """`_left` counts down a body of known length; it is None for a chunked one, which `_decoder` reads."""

    _peer: PeerSocket
    _limits: ServerLimits
    _left: int | None
    _decoder: ChunkedDecoder | None = None
    _size_bytes: int = 0
    _failure: BodyError | None = None

    def allow(self, max_bytes: int) -> None:
        """Another bound than body_max_bytes, for a body that is not kept. To be said before any of it is read."""
        self._limits = attrs.evolve(self._limits, body_max_bytes=max_bytes)

    @property
    def complete(self) -> bool:
        return self._left == 0 or (self._decoder is not None and self._decoder.done)

    def buffered(self) -> bytes | None:
        """The whole body, where its length is known and all of it is here; None where `piece` has to be asked."""
        left, peer = self._left, self._peer
        data = peer.buffer
        if not left or len(data) < left or left > self._limits.body_max_bytes or self._failure is not None:
            return None
        peer.buffer = data[left:]
        self._left = 0
        return data[:left]

    async def piece(self) -> bytes:
        """The next bytes; all of them, without waiting, when the whole body is buffered already. b"" only when complete.

        Raises BodyError, and OSError or trio.ClosedResourceError when the connection is lost."""
        left = self._left
        if left == 0:
            return b""
        if self._failure is not None:
            raise self._failure
        if left is None:
            return await self._decoded(self._limits.body_max_bytes)
        if left > self._limits.body_max_bytes:
            raise self._failed(BodyTooLarge(f"the request body is larger than {self._limits.body_max_bytes} bytes"))
        peer = self._peer
        data = peer.buffer or await self._more()
        if len(data) <= left:
            peer.buffer = b""
        else:
            peer.buffer = data[left:]
            data = data[:left]
        self._left = left - len(data)
        return data

    async def _decoded(self, max_bytes: int) -> bytes:
        decoder = self._decoder
        if decoder is None:
            decoder = self._decoder = ChunkedDecoder()
        data = b""
        while not data and not decoder.done:
            raw = self._peer.buffer or await self._more()
            self._peer.buffer = b""
            try:
                data = decoder.feed(raw)
            except BadChunk as error:
                raise self._failed(BodyBroken(str(error))) from None
        self._peer.buffer = decoder.rest
        self._size_bytes += len(data)
        if self._size_bytes > max_bytes:
            raise self._failed(BodyTooLarge(f"the request body is larger than {max_bytes} bytes"))
        return data

    async def _more(self) -> bytes:
        try:
            data = await self._peer.recv_body()
        except TooSlow:
            raise self._failed(BodyTimeout("the request body arrives too slowly")) from None
        if not data:
            raise self._failed(BodyCut("the connection ended inside the request body"))
        return data

    def _failed(self, failure: BodyError) -> BodyError:
        self._failure = failure
        return failure

    @property
    def welcome(self) -> bool:
        """Whether the client should send it: there is one, and it is not known to be too large."""
        return not self.complete and (self._left is None or self._left <= self._limits.body_max_bytes)

    @property
    def discardable(self) -> bool:
        """Whether it is worth reading the rest in order to keep the connection."""
        if self._failure is not None:
            return False
        return self._left is None or self._left <= min(self._limits.discard_max_bytes, self._limits.body_max_bytes)

    async def discard(self) -> bool:
        """Read and drop the rest; False when that was too much or went wrong. Raises OSError or trio.ClosedResourceError like `piece`."""
        dropped = 0
        try:
            while not self.complete:
                dropped += len(await self.piece())
                if dropped > self._limits.discard_max_bytes:
                    return False
        except BodyError:
            return False
        return True


def body_error(error: Exception | None) -> BodyError | None:
    """The body error that the application let pass, also when it comes wrapped by its nurseries."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error if isinstance(error, BodyError) else None
