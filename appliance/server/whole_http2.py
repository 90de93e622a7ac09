"""HTTP/2 at Hypercorn's doors: an answer is over when its end has left, and not when its last bytes are about to.

The rule: a stream is closed behind its END_STREAM. Hypercorn (0.18) closes it as soon as it has taken the last bytes out of its own buffer.
During a drain it then says GOAWAY, after which h2 writes nothing more: each answer that ended in a drain lacked its end. And a client who
read slowly had its connection closed under the last frame, 16 kB of its answer, which no request was in flight for any more. What comes of
a request's body behind that end was a bug of Hypercorn's own, which cost all requests of the connection their answers. And who waited for a
client to take more of an answer waited for ever once the connection had ended.

What a client does not take of an answer piles up no further than to BUFFER_HIGH_WATER and what was added last. The answer is given up when
its window has been closed for write_stall_s, of which TCP, that looks after who reads nothing at all, knows nothing.
"""

import contextlib
from typing import Any

import h2.errors
import h2.events
import h2.exceptions
import hypercorn.protocol.h2
import trio
from hypercorn.events import Event, Updated
from hypercorn.protocol.events import StreamClosed
from hypercorn.protocol.h2 import BUFFER_LOW_WATER, H2Protocol, StreamBuffer

from appliance.server.strict_http1 import HeardConfig

LOOKS = 8
"""At the windows, within write_stall_s. Looks are counted, not time: a process that stood still has not read who opened his meanwhile."""


class BoundedBuffer(StreamBuffer):
    """Who adds to it waits until little is left. Hypercorn lets them go on at each frame that is not whole; where the client's window is
    closed that is one of nothing, and all of an answer piled up.

    stalled: at how many looks in a row its window was closed, and nothing had been taken since the one before.
    """

    stalled = 0

    async def pop(self, max_length: int) -> bytes:
        data = bytes(self.buffer[:max_length])
        if data:
            self.stalled = 0
        del self.buffer[:max_length]
        if len(self.buffer) < BUFFER_LOW_WATER:
            await self._paused.set()
        if not self.buffer:
            await self._is_empty.set()
        return data


# The class of one connection looks this name up when a stream begins, and takes no other from its caller.
hypercorn.protocol.h2.StreamBuffer = BoundedBuffer  # type: ignore[misc]


class WholeHttp2(H2Protocol):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._ending: dict[int, trio.Event] = {}  # streams whose application has said its last, until that has left
        self._over = trio.Event()
        self._opened = False  # the connection's window, since the last look at it

    async def initiate(self, *given: Any) -> None:
        await super().initiate(*given)
        if isinstance(self.config, HeardConfig):
            self.task_group.spawn(self._watch_windows, self.config.write_stall_s / LOOKS)

    async def _watch_windows(self, pause_s: float) -> None:
        while not self.closed:
            with trio.move_on_after(pause_s):
                await self._over.wait()
            stalled = [one for one, buffer in self.stream_buffers.items() if self._stalls(one, buffer)]
            self._opened = False
            for stream_id in stalled:
                with contextlib.suppress(h2.exceptions.ProtocolError):  # it has been reset by its client
                    self.connection.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
                await self._flush()
                await self._close_stream(stream_id)
                await self._let_go(stream_id)
                await self._rest()

    def _stalls(self, stream_id: int, buffer: Any) -> bool:
        """Whether its client has had its time: for its own window, or for the connection's, which is closed to all, and is not opened for
        another stream either."""
        stream = self.connection.streams.get(stream_id)
        if not buffer.buffer or stream is None:
            return False
        whole = self.connection.outbound_flow_control_window <= 0 and not self._opened
        buffer.stalled = buffer.stalled + 1 if whole or stream.outbound_flow_control_window <= 0 else 0
        return bool(buffer.stalled > LOOKS)

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
        if not _readable(request.headers):
            self.connection.reset_stream(request.stream_id, h2.errors.ErrorCodes.PROTOCOL_ERROR)
            return
        await super()._create_stream(request)
        self.keep_alive_requests = 0

    async def _priority_updated(self, event: Any) -> None:
        """RFC 9113 (§5.3) has none any more. Hypercorn kept each stream that one was ever told of, and failed at the thousandth."""

    async def _send_data(self, stream_id: int) -> None:
        await super()._send_data(stream_id)
        if stream_id in self._ending and stream_id not in self.stream_buffers:
            self._ending.pop(stream_id).set()

    async def _handle_events(self, events: list[Any]) -> None:
        for event in events:
            if isinstance(event, h2.events.DataReceived) and event.stream_id not in self.streams:
                self._end_body(event)
            else:
                await super()._handle_events([event])
                self._opened = self._opened or (isinstance(event, h2.events.WindowUpdated) and not event.stream_id)
                if isinstance(event, h2.events.StreamReset):
                    await self._let_go(event.stream_id)
                if isinstance(event, (h2.events.RequestReceived, h2.events.StreamReset)):
                    await self._rest()
        await self._flush()

    async def _let_go(self, stream_id: int) -> None:
        """Of a stream that was reset nothing is sent any more. Hypercorn finds that out when it sends, and so not of a closed window."""
        if stream_id in self.stream_buffers:
            await self.stream_buffers[stream_id].close()
            await self._window_updated(stream_id)

    async def _rest(self) -> None:
        """A connection whose last request was refused, or given up by its client, waits for the next one, as behind an answer: Hypercorn
        would keep it for ever, and a drain would wait for it in vain."""
        if self.idle and not self.closed:
            await self.send(Updated(idle=True))

    def _end_body(self, event: h2.events.DataReceived) -> None:
        """The client still sends what has been answered: it is asked to stop, without a fault (RFC 9113 §8.1). What has come so far is
        given back to the connection, whose room the other requests need."""
        self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        with contextlib.suppress(h2.exceptions.ProtocolError):  # the client has given it up already
            self.connection.reset_stream(event.stream_id, h2.errors.ErrorCodes.NO_ERROR)

    async def handle(self, event: Event) -> None:
        await super().handle(event)
        if self.closed:
            self._over.set()
            for buffer in list(self.stream_buffers.values()):  # who waits for room in one, or for its end, would wait for ever
                await buffer.close()
            while self._ending:
                self._ending.popitem()[1].set()


def _readable(headers: Any) -> bool:
    """Whether Hypercorn can tell its application of the request. Where it cannot (a path that is not ASCII, CONNECT, which has none), it
    failed, and all requests of the connection with it."""
    pseudo = {name: value for name, value in headers if name.startswith(b":")}
    return b":path" in pseudo and all(pseudo.get(name, b"").isascii() for name in (b":method", b":path"))
