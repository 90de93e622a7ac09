"""HTTP/2 at Hypercorn's doors: an answer is over when its end has left, and not when its last bytes are about to.

The rule: a stream is closed behind its END_STREAM. Hypercorn (0.18) closes it as soon as it has taken the last bytes out of its own buffer.
During a drain it then says GOAWAY, after which h2 writes nothing more: each answer that ended in a drain lacked its end. And a client who
read slowly had its connection closed under the last frame, 16 kB of its answer, which no request was in flight for any more.
"""

from typing import Any

import trio
from hypercorn.events import Event
from hypercorn.protocol.events import StreamClosed
from hypercorn.protocol.h2 import H2Protocol


class WholeHttp2(H2Protocol):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._ending: dict[int, trio.Event] = {}  # streams whose application has said its last, until that has left

    async def stream_send(self, event: Any) -> None:
        if isinstance(event, StreamClosed):
            await self._end_left(event.stream_id)
        await super().stream_send(event)

    async def _end_left(self, stream_id: int) -> None:
        """Until nothing of the stream is left to send, or nobody to send it to."""
        buffer = self.stream_buffers.get(stream_id)
        if buffer is not None and buffer._complete and not self.closed:  # else it is a stream that breaks off
            await self._ending.setdefault(stream_id, trio.Event()).wait()

    async def _create_stream(self, request: Any) -> None:
        """After so many requests (1,000) Hypercorn says GOAWAY at once, and what is in flight, the last of them with it, is never
        answered. HTTP/2 has a bound of its own, 2**30 streams, at which the client begins a new connection (RFC 9113 §5.1.1).
        """
        await super()._create_stream(request)
        self.keep_alive_requests = 0

    async def _send_data(self, stream_id: int) -> None:
        await super()._send_data(stream_id)
        if stream_id in self._ending and stream_id not in self.stream_buffers:
            self._ending.pop(stream_id).set()

    async def handle(self, event: Event) -> None:
        await super().handle(event)
        if self.closed:
            while self._ending:
                self._ending.popitem()[1].set()
